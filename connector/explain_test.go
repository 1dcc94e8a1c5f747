package connector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"adconnector/connector"
	"adconnector/connector/browser"
)

// explain runs explain on the rig's configuration and returns the answer, and
// how it is printed.
func (r *rig) explain(user string) (x *connector.Explanation, text string) {
	r.t.Helper()
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	if x, err = connector.Explain(r.t.Context(), c, user); err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.WriteText(&b); err != nil {
		r.t.Fatal(err)
	}
	return x, b.String()
}

func TestExplainSaysWhatASignInWouldComeTo(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := newRig(t, d, "")
			for _, user := range []string{"jon", "JON", d.disabled, "nobody-here", "jon\x00", "*"} {
				x, text := r.explain(user)
				// With the password the directory itself may have words of its own.
				if refused := r.reasonOf(r.browser(outside, nil), user, d.password) != ""; refused != (x.Result == connector.Refused) {
					t.Errorf("%q with a password: refused %v, and explain says %+v", user, refused, x.Verdict)
				}
				if denial := r.reasonOf(r.browser(inside, r.client(user)), "", ""); denial != x.Reason {
					t.Errorf("%q with a certificate: refused for %q, and explain says %+v", user, denial, x.Verdict)
				}
				if !strings.Contains(text, "✓ would be let in") && !strings.Contains(text, "✗ would be refused: "+x.Reason) {
					t.Errorf("no verdict in\n%s", text)
				}
				if strings.Contains(text, d.bindPassword) || strings.Contains(text, d.password) {
					t.Errorf("a password is shown:\n%s", text)
				}
			}
		})
	}
}

// reasonOf signs in and returns the reason in the audit line, "" if the user is
// let in.
func (r *rig) reasonOf(b *browser.Browser, user, password string) string {
	r.t.Helper()
	before := len(r.audit.String())
	_, _ = r.signIn(b, user, password)
	first, _, _ := strings.Cut(r.audit.String()[before:], "\n")
	var line struct{ Reason string }
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		r.t.Fatal(err)
	}
	return line.Reason
}

func TestExplainShowsEveryStep(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := prepareRig(t, d, "")
			x, text := r.explain("jon")
			if x.Account == nil || len(x.State) == 0 || x.Lockout == nil || x.Groups == nil {
				t.Fatalf("%+v", x)
			}
			for _, g := range d.groups {
				if !slices.Contains(x.Groups.Names, g) {
					t.Errorf("no group %q in %q", g, x.Groups.Names)
				}
			}
			searches := 0
			for _, p := range []connector.Phase{x.Finding, x.Lockout.Phase, x.Groups.Phase} {
				for _, s := range p.Steps {
					if q := s.Search; q != nil {
						searches++
						if q.Server != d.url || q.Filter == "" || q.Scope == "" || q.Took <= 0 || q.Took > p.Took || !utf8.ValidString(q.Filter) {
							t.Errorf("search %+v in a phase of %v", q, p.Took)
						}
					}
				}
			}
			if searches < 2 {
				t.Errorf("%d searches", searches)
			}
			for _, want := range []string{"connected to " + d.url + " in ", "as " + d.bindDN, "=jon)", x.Account.DN, d.baseDN, "\nState\n", "\nWrong passwords (", "\nGroups (", " ms"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			// What stands in the way first does not hide the rest.
			x, text = r.explain(d.disabled)
			if x.Groups == nil || !x.Groups.Aside || x.Groups.Error != "" || !strings.Contains(text, "✗ ") {
				t.Errorf("groups %+v in\n%s", x.Groups, text)
			}
		})
	}
}

func TestExplainObeysWhatTheConfigurationLetsPass(t *testing.T) {
	d := inMemory(t)
	for _, tt := range []struct {
		user, ldap string
		want       connector.Verdict
	}{
		{"paul", "", connector.Verdict{Result: connector.Refused, Reason: "password_expired", CanChangePassword: true}},
		{"nina", "", connector.Verdict{Result: connector.Refused, Reason: "must_change_password", CanChangePassword: true}},
		{"paul", "allow_expired_password: true", connector.Verdict{Result: connector.LetIn, Passed: "password_expired"}},
		{"jon", "groups: {base_dn: \"OU=Nowhere,DC=fabrikam,DC=example\"}", connector.Verdict{Result: connector.Fault}},
		{"jon", "groups: {base_dn: \"OU=Nowhere,DC=fabrikam,DC=example\", on_failure: omit}", connector.Verdict{Result: connector.LetIn}},
	} {
		t.Run(tt.user+" "+tt.ldap, func(t *testing.T) {
			r := prepareRig(t, d, "")
			r.configure("ldap:\n", "ldap:\n  "+tt.ldap+"\n") // an empty line, if nothing
			x, text := r.explain(tt.user)
			got := x.Verdict
			got.Detail = ""
			if got != tt.want {
				t.Errorf("verdict %+v, want %+v:\n%s", x.Verdict, tt.want, text)
			}
		})
	}
}

func TestExplainSaysWhichGroupBars(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			x, text := prepareRig(t, d, "").explain("jon")
			if x.Result != connector.LetIn || !strings.Contains(text, "ldap.deny_groups") {
				t.Errorf("verdict %+v in\n%s", x.Verdict, text)
			}
			r := prepareRig(t, d, "")
			r.configure("ldap:\n", fmt.Sprintf("ldap:\n  deny_groups: [%q]\n", d.groups[len(d.groups)-2]))
			x, text = r.explain("jon")
			if x.Result != connector.Refused || x.Reason != "denied_group" || !strings.Contains(x.Groups.Denied, "ldap.deny_groups") ||
				!strings.Contains(text, "✗ would be refused: denied_group") {
				t.Errorf("verdict %+v in\n%s", x.Verdict, text)
			}
		})
	}
}

func TestExplainSaysWhenPasswordsAreHeldBack(t *testing.T) {
	d := inMemory(t)
	if err := d.memory.Update("CN=Jon Smith,OU=Staff,"+d.baseDN, map[string][]string{"badPwdCount": {"9"}}); err != nil {
		t.Fatal(err)
	}
	x, text := prepareRig(t, d, "").explain("jon")
	if x.Result != connector.LetIn || x.Lockout.Failures != 9 || x.Lockout.Threshold != 10 || x.Lockout.Here == nil || x.Lockout.Here.All != 9 || !strings.Contains(text, "! 9 count now") || !strings.Contains(text, "throttled") {
		t.Errorf("lockout %+v in\n%s", x.Lockout, text)
	}
}

func TestExplainSaysWhichDomainsWereAsked(t *testing.T) {
	d := inMemory(t)
	r := prepareRig(t, d, "")
	base := fmt.Sprintf("base_dn: %q", d.baseDN)
	r.configure("  "+base, "  domains: [{netbios: FABRIKAM, "+base+"}, {netbios: NORTH, "+base+"}]")
	x, text := r.explain("jon")
	if x.Reason != "several_accounts" || !strings.Contains(text, "FABRIKAM, NORTH") {
		t.Errorf("verdict %+v in\n%s", x.Verdict, text)
	}
	x, text = r.explain(`north\jon`)
	if x.Result != connector.LetIn || x.Account.Domain != "NORTH" || !strings.Contains(text, "domain     NORTH") || strings.Contains(text, "FABRIKAM, NORTH") {
		t.Errorf("verdict %+v in\n%s", x.Verdict, text)
	}
	x, _ = r.explain(`SOUTH\jon`)
	if x.Reason != "no_account" {
		t.Errorf("verdict %+v", x.Verdict)
	}
}

func TestExplainChangesAndRecordsNothing(t *testing.T) {
	d := inMemory(t)
	r := prepareRig(t, d, "audit_file: audit.log")
	before := d.memory.Stats().Binds
	r.explain("jon")
	if n := d.memory.Stats().Binds - before; n != 1 {
		t.Errorf("%d binds, of which one is the service account's", n)
	}
	for _, name := range []string{"audit.log", "data"} {
		if _, err := os.Stat(r.path(name)); err == nil {
			t.Errorf("explain made %s", name)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Träger (alle)\\, Nord": "Träger (alle)\\, Nord", "日本 🙂": "日本 🙂", "two\nlines": "two\nlines",
		"\x1b[2J": `\x1b[2J`, "\x07": `\a`, "\r": `\r`, "\t": `\t`, "\x00": `\x00`, "\x7f": `\x7f`, "\u009b": `\u009b`,
		"\xff\xc3": `\xff\xc3`, "\u202eexe": `\u202eexe`, "\u200b": `\u200b`, "\ufeff": `\ufeff`, "\U000e0041": `\U000e0041`, "'": "'", "'\x1b'": `'\x1b'`,
		"\u2028": `\u2028`, "\ufffd": "\ufffd",
	} {
		if got := connector.Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzWriteJSON(f *testing.F) {
	for _, s := range []string{"jon", "\x1b]0;x\x07", "\u202e", "\U000e0041", "\xff", "\u009b", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		if err := connector.WriteJSON(&b, map[string]string{"value": s}); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); connector.Printable(got) != got {
			t.Errorf("not printable: %q", got)
		}
		var back map[string]string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["value"] != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("%q came back as %q, error %v", s, back["value"], err)
		}
	})
}
