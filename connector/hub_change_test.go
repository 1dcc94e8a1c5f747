package connector_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"

	"github.com/google/go-cmp/cmp"
)

const (
	noRight     = "Service Account has Insufficient Access Rights/InsufficientAccessRightsError"
	notAccepted = "Password doesn’t meet minimum requirements/PasswordComplexityError"
	nobody      = "Wrong username/WrongUsername"
	broken      = "Unexpected Error/<nil>"
)

// A counter is a directory whose service account may set passwords.
type counter struct {
	*directory
	server  *dirtest.Server // nil: it is in memory
	must    string          // must change the password
	older   string          // has one that is too old
	locked  string          // after wrong passwords
	expired string          // whose account has ended
}

// counters are directories that a test may change.
func counters() map[string]func(*testing.T) *counter {
	ofServer := func(s *dirtest.Server) *counter {
		d := real(s)
		d.bindDN = s.ResetDN
		return &counter{d, s, "mcp", "pwx", "lck", "exp"}
	}
	return map[string]func(*testing.T) *counter{
		"memdir": func(t *testing.T) *counter {
			d := inMemoryWith(t, func(o *memdir.Options) {
				o.MayReset = []string{"CN=svc-adconnector,OU=Services," + o.BaseDN}
			})
			return &counter{d, nil, "nina", "paul", "liam", "eve"}
		},
		"openldap": func(t *testing.T) *counter {
			s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
			modify(t, s, "(objectClass=pwdPolicy)", "pwdMaxFailure", "9")
			return ofServer(s)
		},
		"samba": func(t *testing.T) *counter {
			s := dirtest.SambaAD(t)
			modify(t, s, "(objectClass=domain)", "lockoutThreshold", "9")
			return ofServer(s)
		},
	}
}

// changeRig is a running connection of a tenant that may set passwords, with
// more in its hub section.
func changeRig(t *testing.T, d *directory, more string) (*rig, *hubtest.Tenant, *hubtest.Conn) {
	t.Helper()
	r, tenant := hubRig(t, d)
	r.configure("tenant-ca.crt]", "tenant-ca.crt], allow_password_change: true"+more)
	r.start()
	return r, tenant, next(t, tenant)
}

// setPassword has the tenant set a password.
func setPassword(t *testing.T, tenant *hubtest.Tenant, c *hubtest.Conn, username, password string) map[string]any {
	t.Helper()
	return ask(t, tenant, c, "change_password", "_change_password_result", map[string]any{"username": username, "password": password})
}

// resets returns the lines of the audit trail about passwords that were set, or
// were not.
func (r *rig) resets() []map[string]any {
	r.t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(r.audit.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			r.t.Fatal(err)
		}
		if line["msg"] == "password_reset" {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestE11_ATenantSetsPasswords: the new one signs in and the old one does not,
// whatever it is made of, and none of them is in the log or the audit trail.
func TestE11_ATenantSetsPasswords(t *testing.T) {
	for name, start := range counters() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant, c := changeRig(t, d.directory, "")
			before := d.password
			passwords := []string{
				chosen,
				`Canary-"quoted"-'-\-7`,
				"Canary-👩‍💻-𝔘𝔫𝔦-ß-7",
				"Canary-" + strings.Repeat("ä", 119) + "-", // 127 characters
			}
			for _, password := range passwords {
				p := setPassword(t, tenant, c, "jon", password)
				after := login(t, tenant, c, "jon", password)
				if p["err"] != nil || p["profile"] == nil || after["err"] != nil {
					t.Fatalf("%s: %v; then signing in: %v", password, p, after)
				}
				if diff := cmp.Diff(after, p); diff != "" {
					t.Errorf("the profile is not that of a sign-in (-sign-in +change):\n%s", diff)
				}
				if p := login(t, tenant, c, "jon", before); refused(p) != "Wrong password/WrongPassword" {
					t.Errorf("the password before %s: %v", password, p)
				}
				before = password
			}
			escaped := map[string]any{"username": `\6a\6fn`, "password": chosen + "1", "escaped": true}
			if p := ask(t, tenant, c, "change_password", "_change_password_result", escaped); p["err"] != nil {
				t.Errorf("an escaped name: %v", p)
			}
			for _, user := range []string{d.must, d.older} {
				if p := setPassword(t, tenant, c, user, chosen); p["err"] != nil {
					t.Errorf("%s: %v", user, p)
				}
				if p := login(t, tenant, c, user, chosen); p["err"] != nil {
					t.Errorf("%s with the new password: %v", user, p)
				}
			}
			lines := r.resets()
			if len(lines) != len(passwords)+3 {
				t.Errorf("%d audit lines, want %d", len(lines), len(passwords)+3)
			}
			for _, l := range lines {
				if l["result"] != "granted" || l["method"] != "password_reset" || l["via"] != "hub" || l["account_dn"] == nil || l["request_id"] == nil {
					t.Errorf("audit line %v", l)
				}
			}
			r.noSecrets("Canary", d.password, "Grüße", "👩")
		})
	}
}

// TestTenantsAreToldWhyAPasswordIsNotSet in the words that they know, and the
// password stays what it was.
func TestTenantsAreToldWhyAPasswordIsNotSet(t *testing.T) {
	for name, start := range counters() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant, c := changeRig(t, d.directory, "")
			profile := login(t, tenant, c, "jon", d.password)["profile"].(map[string]any)
			type row struct{ what, user, password, want, reason string }
			rows := []row{
				{"too short", "jon", "Can-1", notAccepted, ""},
				{"empty", "jon", "", notAccepted, "password_not_accepted"},
				{"blank", "jon", "   ", notAccepted, "password_not_accepted"},
				{"a NUL", "jon", "Canary-\x00-7890", notAccepted, "password_not_accepted"},
				{"half a character", "jon", "Canary-\ufffd-7890", notAccepted, "password_not_accepted"},
				{"the user name", "jon", "JON", notAccepted, "password_too_simple"},
				{"nobody", "nobody", chosen, nobody, "no_account"},
				{"a wildcard", "jo*", chosen, nobody, ""},
				{"no name", "", chosen, nobody, ""},
				{"disabled", d.disabled, chosen, "Account disabled/AccountDisabled", "account_disabled"},
			}
			if d.server == nil || d.server.Kind == dirtest.KindSamba { // the other has a module for that, which is not here
				rows = append(rows, row{"too simple", "jon", "canarycanary", notAccepted, ""})
			}
			if d.server != nil && d.server.Kind == dirtest.KindOpenLDAP {
				rows = append(rows, row{"the one before", "jon", d.password, notAccepted, "password_used_before"},
					row{"two persons", "jonas", chosen, nobody, "several_accounts"})
			}
			for _, tt := range rows {
				p := setPassword(t, tenant, c, tt.user, tt.password)
				if refused(p) != tt.want {
					t.Errorf("%s: %v, want %s", tt.what, p, tt.want)
				}
				switch about, _ := p["profile"].(map[string]any); {
				case tt.want == nobody:
					want := map[string]any{"err": map[string]any{"message": "Wrong username", "username": tt.user, "name": "WrongUsername"}}
					if diff := cmp.Diff(want, p); diff != "" {
						t.Errorf("%s (-want +got):\n%s", tt.what, diff)
					}
				case about == nil || tt.user == "jon" && about["id"] != profile["id"]:
					t.Errorf("%s: about %v", tt.what, about)
				default:
					if inner := p["err"].(map[string]any)["profile"]; !cmp.Equal(inner, p["profile"]) {
						t.Errorf("%s: the error is about %v", tt.what, inner)
					}
				}
				lines := r.resets()
				if last := lines[len(lines)-1]; last["result"] != "refused" || tt.reason != "" && last["reason"] != tt.reason {
					t.Errorf("%s: audit line %v, want the reason %q", tt.what, last, tt.reason)
				}
			}
			missing := map[string]any{"username": "jon"}
			if p := ask(t, tenant, c, "change_password", "_change_password_result", missing); refused(p) != notAccepted {
				t.Errorf("no password at all: %v", p)
			}
			if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
				t.Errorf("after all that, the old password: %v", p)
			}
			if p := login(t, tenant, c, d.disabled, chosen); p["profile"] == nil || refused(p) == "<nil>/<nil>" {
				t.Errorf("the disabled account: %v", p)
			}
			r.noSecrets("Canary", "Grüße")
		})
	}
}

// TestWithoutTheRightNoPasswordIsSet: the account that only reads is enough
// for everything else.
func TestWithoutTheRightNoPasswordIsSet(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant, c := changeRig(t, d, "")
			p := setPassword(t, tenant, c, "jon", chosen)
			after := login(t, tenant, c, "jon", d.password)
			if after["err"] != nil {
				t.Errorf("after that, the old password: %v", after)
			}
			if refused(p) != noRight || !cmp.Equal(p["profile"], after["profile"]) {
				t.Errorf("%v", p)
			}
			if l := r.resets(); len(l) != 1 || l[0]["reason"] != "reset_not_allowed" {
				t.Errorf("audit lines %v", l)
			}
			r.noSecrets("Canary", d.password)
		})
	}
}

// TestC11_NoTenantSetsThePasswordOfSomebodyBarred: with an administrator's a
// tenant, or whoever has its key, could do more than the service account.
func TestC11_NoTenantSetsThePasswordOfSomebodyBarred(t *testing.T) {
	for name, start := range counters() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant := hubRig(t, d.directory)
			r.configure("tenant-ca.crt]", "tenant-ca.crt], allow_password_change: true")
			r.configure("ldap:\n", "ldap:\n  deny_groups: [\""+d.groups[1]+"\"]\n") // in which jon is through another
			r.start()
			c := next(t, tenant)
			p := setPassword(t, tenant, c, "jon", chosen)
			if about, _ := p["profile"].(map[string]any); refused(p) != noRight || about["nickname"] != d.nickname || len(about["groups"].([]any)) == 0 {
				t.Errorf("%v", p)
			}
			if p := login(t, tenant, c, "jon", d.password); refused(p) != "Account disabled/AccountDisabled" { // is said to the right password only
				t.Errorf("after that, the old password: %v", p)
			}
			if l := r.resets(); len(l) != 1 || l[0]["reason"] != "denied_group" {
				t.Errorf("audit lines %v", l)
			}
		})
	}
}

// TestWithoutTheKeyNoCommandSetsAPassword: it is ignored like any other that
// this service does not know, and the connection goes on.
func TestWithoutTheKeyNoCommandSetsAPassword(t *testing.T) {
	d := counters()["memdir"](t)
	r, tenant := hubRig(t, d.directory)
	r.start()
	c := next(t, tenant)
	tenant.Command(t.Context(), c, "change_password", map[string]any{"pid": "off", "username": "jon", "password": chosen})
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil { // the next answer is to the next command
		t.Errorf("%v", p)
	}
	if n := strings.Count(r.log.String(), "hub.allow_password_change is not on"); n != 1 {
		t.Errorf("%d lines in the log, want 1", n)
	}
	if l := r.resets(); len(l) != 0 {
		t.Errorf("audit lines %v", l)
	}
	r.noSecrets("Canary")
}

// TestF7_AReplayedChangeIsIgnored: it could put an old password back.
func TestF7_AReplayedChangeIsIgnored(t *testing.T) {
	d := counters()["memdir"](t)
	r, tenant, c := changeRig(t, d.directory, "")
	token := map[string]string{"jwt": tenant.Sign(map[string]any{"pid": "once", "username": "jon", "password": chosen})}
	c.Send(t.Context(), "change_password", token)
	if p := answer(t, c, "once_change_password_result"); p["err"] != nil {
		t.Fatalf("%v", p)
	}
	if p := setPassword(t, tenant, c, "jon", "Canary-Later-8"); p["err"] != nil {
		t.Fatalf("%v", p)
	}
	c.Send(t.Context(), "change_password", token)
	c.Send(t.Context(), "authenticate_user", token) // nor is it one of another kind
	eventually(t, "two lines about ignored commands", func() bool { return strings.Count(r.log.String(), "a message was ignored") == 2 })
	if p := login(t, tenant, c, "jon", "Canary-Later-8"); p["err"] != nil {
		t.Errorf("after the replay: %v", p)
	}
	if n := len(r.resets()); n != 2 {
		t.Errorf("%d passwords were set, want 2", n)
	}
}

// TestLockedAccountsAreUnlockedWhereThatIsConfigured: OpenLDAP does so in any
// case. An account that has ended stays so.
func TestLockedAccountsAreUnlockedWhereThatIsConfigured(t *testing.T) {
	for name, start := range counters() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			for _, unlock := range []bool{false, true} {
				r, tenant, c := changeRig(t, d.directory, fmt.Sprintf(", unlock_on_password_change: %t", unlock))
				want := "Account locked/AccountLocked"
				if unlock || name == "openldap" {
					want = "<nil>/<nil>"
				}
				password := fmt.Sprint(chosen, unlock)
				if p := setPassword(t, tenant, c, d.locked, password); p["err"] != nil {
					t.Errorf("unlock %t: %v", unlock, p)
				}
				if p := login(t, tenant, c, d.locked, password); refused(p) != want {
					t.Errorf("unlock %t: signing in: %v, want %s", unlock, p, want)
				}
				if p := setPassword(t, tenant, c, d.expired, password); p["err"] != nil {
					t.Errorf("%s: %v", d.expired, p)
				}
				if p := login(t, tenant, c, d.expired, password); refused(p) == "<nil>/<nil>" {
					t.Errorf("%s signs in", d.expired)
				}
				if err := r.stop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestWhoeverForgotAPasswordSignsInWithTheNewOne: the guesses from before count no
// more.
func TestWhoeverForgotAPasswordSignsInWithTheNewOne(t *testing.T) {
	d := counters()["memdir"](t)
	r, tenant := hubRig(t, d.directory)
	r.configure("tenant-ca.crt]", "tenant-ca.crt], allow_password_change: true, unlock_on_password_change: true")
	r.configure("password: {}", "password: {throttle: {per_account: {failures: 2, window: 15m}}}")
	r.start()
	c := next(t, tenant)
	for range 3 {
		login(t, tenant, c, "jon", "Canary-forgotten")
	}
	if p := login(t, tenant, c, "jon", d.password); refused(p) != "Wrong password/WrongPassword" {
		t.Fatalf("the throttle does not hold: %v", p)
	}
	if p := setPassword(t, tenant, c, "jon", chosen); p["err"] != nil {
		t.Fatalf("%v", p)
	}
	if p := login(t, tenant, c, "jon", chosen); p["err"] != nil {
		t.Errorf("%v", p)
	}
}

// TestE7_NoPasswordIsSetOverAConnectionInClear, not on this machine either, nor by
// nobody: to have asked for it is a mistake.
func TestE7_NoPasswordIsSetOverAConnectionInClear(t *testing.T) {
	d := inMemory(t)
	for _, tt := range []struct{ what, old, new, want string }{
		{"encrypted", "{level: debug", "{level: debug", ""},
		{"in clear", d.url, "ldap://127.0.0.1:389", "ldaps://"},
		{"by nobody", fmt.Sprintf("  bind_dn: %q\n  bind_password_file: ldap-password\n", d.bindDN), "", "ldap.bind_dn"},
		{"unlock alone", "allow_password_change: true", "unlock_on_password_change: true", "set allow_password_change: true as well"},
	} {
		r, _ := hubRig(t, d)
		r.configure("tenant-ca.crt]", "tenant-ca.crt], allow_password_change: true")
		r.configure(tt.old, tt.new)
		_, err := connector.LoadConfig(r.path("adconnector.yaml"))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "hub.") || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
}

func TestCheckSaysWhosePasswordsATenantMaySet(t *testing.T) {
	d := inMemory(t)
	for more, want := range map[string]string{"": "✓ hub.allow_password_change: ", "  deny_groups: []\n": "! hub.allow_password_change: "} {
		r, _ := hubRig(t, d)
		r.configure("tenant-ca.crt]", "tenant-ca.crt], allow_password_change: true")
		r.configure("ldap:\n", "ldap:\n"+more)
		config, err := connector.LoadConfig(r.path("adconnector.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var found strings.Builder
		connector.Check(t.Context(), config, func(f connector.Finding) { fmt.Fprintln(&found, f.Level.Mark(), f.Text) })
		if !strings.Contains(found.String(), want) {
			t.Errorf("%q:\n%s", more, found.String())
		}
	}
}

// TestE4_AChangeWithoutAnAnswerIsAnUnexpectedError: it is not sent again, and
// when the directory is back everything works.
func TestE4_AChangeWithoutAnAnswerIsAnUnexpectedError(t *testing.T) {
	d := counters()["openldap"](t)
	r, tenant := hubRig(t, d.directory)
	r.configure("tenant-ca.crt]", "tenant-ca.crt], allow_password_change: true")
	r.configure("  base_dn:", "  timeout: 1s\n  base_dn:")
	r.start()
	c := next(t, tenant)
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
		t.Fatal(p)
	}
	thaw := d.server.Freeze(t)
	p := setPassword(t, tenant, c, "jon", chosen)
	e, _ := p["err"].(map[string]any)
	inner, _ := e["inner"].(map[string]any)
	reference, _ := inner["reference"].(string)
	if refused(p) != broken || len(p) != 1 || len(inner) != 1 || reference == "" || !strings.Contains(r.log.String(), reference) {
		t.Errorf("%v", p)
	}
	if l := r.resets(); len(l) != 1 || l[0]["result"] != "fault" {
		t.Errorf("audit lines %v", l)
	}
	thaw()
	for end := time.Now().Add(30 * time.Second); ; {
		if p = setPassword(t, tenant, c, "jon", chosen+"2"); p["err"] == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after the directory came back: %v", p)
		}
	}
	if p := login(t, tenant, c, "jon", chosen+"2"); p["err"] != nil {
		t.Errorf("%v", p)
	}
	r.noSecrets("Canary", d.password)
}
