package connector_test

import (
	"net/http"
	"strings"
	"testing"

	"adconnector/connector/browser"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"

	goldap "github.com/go-ldap/ldap/v3"
)

// chosen is a new password with letters of one byte to four, which must turn up
// nowhere, and quotes, between which Active Directory wants it.
const chosen = `Canary-"Grüße"-€-😀-7`

// A lodger is somebody whose password has had its time, in a directory that the
// test may change.
type lodger struct {
	*directory
	must  string // must change the password
	older string // has one that is too old
	// join makes must a member of a group that deny_groups can name.
	join func(group string)
	ldap string // configuration by which the age of passwords is known
}

func lodgers() map[string]func(*testing.T) *lodger {
	return map[string]func(*testing.T) *lodger{
		"memdir": func(t *testing.T) *lodger {
			d := inMemory(t)
			return &lodger{d, "nina", "paul", func(group string) {
				update(t, d, "CN="+group+",OU=Groups,"+d.baseDN, map[string][]string{"member": {personDN(t, d, "nina")}})
			}, ""}
		},
		"openldap": func(t *testing.T) *lodger {
			s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
			modify(t, s, "(objectClass=pwdPolicy)", "pwdGraceAuthNLimit", "9")
			policy := entries(t, s, "(objectClass=pwdPolicy)")[0]
			return &lodger{real(s), "mcp", "pwx", func(group string) { joinGroup(t, s, group) }, "  password_policy_dn: \"" + policy + "\"\n"}
		},
		"samba": func(t *testing.T) *lodger {
			s := dirtest.SambaAD(t)
			modify(t, s, "(objectClass=domain)", "lockoutThreshold", "10") // it counts on when an expired password is right
			return &lodger{real(s), "mcp", "pwx", func(group string) { joinGroup(t, s, group) }, ""}
		},
	}
}

func update(t *testing.T, d *directory, dn string, attributes map[string][]string) {
	t.Helper()
	if err := d.memory.Update(dn, attributes); err != nil {
		t.Fatal(err)
	}
}

func personDN(t *testing.T, d *directory, username string) string {
	t.Helper()
	for _, e := range memdir.Sample(d.baseDN) {
		if names := e.Attributes["sAMAccountName"]; len(names) == 1 && names[0] == username {
			return e.DN
		}
	}
	t.Fatalf("nobody is called %s", username)
	return ""
}

// modify replaces an attribute of every entry that the filter finds.
func modify(t *testing.T, s *dirtest.Server, filter, attribute string, values ...string) {
	t.Helper()
	for _, dn := range entries(t, s, filter) {
		m := goldap.NewModifyRequest(dn, nil)
		m.Replace(attribute, values)
		if err := s.Admin(t).Modify(m); err != nil {
			t.Fatal(err)
		}
	}
}

// joinGroup puts mcp into a group.
func joinGroup(t *testing.T, s *dirtest.Server, group string) {
	t.Helper()
	modify(t, s, "(cn="+group+")", "member", entries(t, s, "(|(uid=mcp)(sAMAccountName=mcp))")...)
}

// entries returns the DNs of what the filter finds, of which there must be some.
func entries(t *testing.T, s *dirtest.Server, filter string) []string {
	t.Helper()
	found, err := s.Admin(t).Search(goldap.NewSearchRequest(s.BaseDN, goldap.ScopeWholeSubtree, 0, 0, 0, false, filter, []string{"1.1"}, nil))
	if err != nil || len(found.Entries) == 0 {
		t.Fatalf("%s: found %v, %v", filter, found, err)
	}
	var dns []string
	for _, e := range found.Entries {
		dns = append(dns, e.DN)
	}
	return dns
}

// submit sends a form.
func (r *rig) submit(b *browser.Browser, f *browser.Form) *browser.Page {
	r.t.Helper()
	p, err := b.Submit(r.t.Context(), f, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// formOf returns the form of a page.
func (r *rig) formOf(p *browser.Page) *browser.Form {
	r.t.Helper()
	f, err := p.Form()
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// typed fills in the sign-in form and returns what comes of it.
func (r *rig) typed(b *browser.Browser, username, password string) *browser.Page {
	r.t.Helper()
	f := r.formOf(r.get(b, r.request()))
	f.Fields.Set("username", username)
	f.Fields.Set("password", password)
	return r.submit(b, f)
}

// change fills in the form for a new password on a page and returns what comes
// of it.
func (r *rig) change(b *browser.Browser, p *browser.Page, old, new, again string) *browser.Page {
	r.t.Helper()
	f := r.formOf(p)
	if !strings.HasSuffix(f.Action, "/password") {
		r.t.Fatalf("no form for a new password, but status %d: %s", p.Status, p.Message())
	}
	f.Fields.Set("old", old)
	f.Fields.Set("new", new)
	f.Fields.Set("again", again)
	return r.submit(b, f)
}

// TestE11_APasswordThatHasHadItsTimeIsChangedAndTheSignInGoesOn, and E12: none of
// the passwords is in a page, the log or the audit trail.
func TestE11_APasswordThatHasHadItsTimeIsChangedAndTheSignInGoesOn(t *testing.T) {
	for name, start := range lodgers() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := newRig(t, d.directory, "")
			for _, user := range []string{d.must, d.older} {
				b := r.browser(outside, nil)
				if p := r.typed(b, user, "Canary-wrong-1"); strings.Contains(p.Body, `name="old"`) || p.Status != http.StatusUnauthorized {
					t.Errorf("%s with a wrong password: status %d: %s", user, p.Status, p.Message())
				}
				offered := r.typed(b, user, d.password)
				for _, tt := range []struct{ what, old, new, again, want string }{
					{"unequal", d.password, chosen, chosen + "x", "not the same"},
					{"wrong old one", "Canary-wrong-2", chosen, chosen, "old password is not right"},
					{"short", d.password, "Ca-1", "Ca-1", "too short"},
					{"the old one", d.password, d.password, d.password, "have used that password before"},
					{"none", d.password, "", "", "against the rules"},
					{"a NUL", d.password, "Canary-\x00-78", "Canary-\x00-78", "against the rules"},
					{"very long", d.password, "Canary-1" + strings.Repeat("ä", 250), "Canary-1" + strings.Repeat("ä", 250), "against the rules"},
				} {
					p := r.change(b, offered, tt.old, tt.new, tt.again)
					if !strings.Contains(p.Body, tt.want) || !strings.Contains(p.Body, `value="`+user+`"`) || !strings.Contains(p.Body, `name="old"`) {
						t.Errorf("%s, %s: status %d: %s", user, tt.what, p.Status, p.Message())
					}
				}
				p := r.change(b, offered, d.password, chosen, chosen)
				if f, err := p.Form(); err != nil || f.Action != replyURL || f.Fields.Get("wctx") != "rig" || token(f.Fields.Get("wresult")).claim("authenticated_by")[0] != "password" {
					t.Fatalf("%s: after the change, status %d: %s", user, p.Status, p.Message())
				}
				if p := r.change(b, offered, d.password, chosen, chosen); !strings.Contains(p.Body, "old password is not right") {
					t.Errorf("%s: the form once more: status %d: %s", user, p.Status, p.Message())
				}
				r.mustSignIn(r.browser(outside, nil), user, chosen)
				if _, err := r.signIn(r.browser(outside, nil), user, d.password); err == nil {
					t.Errorf("%s: the old password still lets in", user)
				}
			}
			if n := strings.Count(r.audit.String(), `"result":"granted","method":"password_change"`); n != 2 {
				t.Errorf("%d audit lines of changes, want 2", n)
			}
			r.noSecrets("Canary", d.password, "Grüße")
		})
	}
}

// TestC11_ABarredAccountIsNotLetChooseAPassword: whoever got hold of the expired
// password of an administrator must not be able to renew it here.
func TestC11_ABarredAccountIsNotLetChooseAPassword(t *testing.T) {
	for name, start := range lodgers() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			group := d.groups[0]
			if d.memory != nil {
				group = "Project Boreal"
			}
			r := prepareRig(t, d.directory, "")
			r.configure("ldap:\n", "ldap:\n  deny_groups: ["+group+"]\n")
			r.start()
			b := r.browser(outside, nil)
			offered := r.typed(b, d.must, d.password)
			d.join(group)
			if p := r.change(b, offered, d.password, chosen, chosen); !strings.Contains(p.Body, "old password is not right") {
				t.Errorf("a form from before: status %d: %s", p.Status, p.Message())
			}
			if p := r.typed(b, d.must, d.password); !strings.Contains(p.Body, "Your account may not be used to sign in here") || strings.Contains(p.Body, `name="old"`) {
				t.Errorf("after that: status %d: %s", p.Status, p.Message())
			}
			if n := strings.Count(r.audit.String(), `"reason":"denied_group"`); n != 2 {
				t.Errorf("%d audit lines with the reason, want 2", n)
			}
		})
	}
}

// TestC10_WhoMustChangeIsLetInOnlyWhereThatIsConfigured on every directory, by
// password and by certificate.
func TestC10_WhoMustChangeIsLetInOnlyWhereThatIsConfigured(t *testing.T) {
	for name, start := range lodgers() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			for _, allow := range []string{"", "allow_must_change_password: true", "allow_expired_password: true"} {
				r := prepareRig(t, d.directory, "")
				if allow != "" {
					r.configure("ldap:\n", "ldap:\n  "+allow+"\n")
				}
				r.configure("ldap:\n", "ldap:\n"+d.ldap)
				r.configure("password: {}", "password: {allow_change: false}")
				r.start()
				for _, who := range []struct{ name, key, said string }{
					{d.must, "allow_must_change_password: true", "You must change your password"},
					{d.older, "allow_expired_password: true", "Your password has expired"},
					{d.disabled, "none", ""},
				} {
					p := r.typed(r.browser(outside, nil), who.name, d.password)
					if letIn := strings.Contains(p.Body, "wresult"); letIn != (who.key == allow) || !letIn && !strings.Contains(p.Body, who.said) || strings.Contains(p.Body, `name="old"`) {
						t.Errorf("%s by password with %q: status %d: %s", who.name, allow, p.Status, p.Message())
					}
					p = r.get(r.browser(inside, r.client(who.name)), r.request())
					if letIn := strings.Contains(p.Body, "wresult"); letIn != (who.key == allow) {
						t.Errorf("%s by certificate with %q: status %d: %s", who.name, allow, p.Status, p.Message())
					}
				}
				if err := r.stop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
