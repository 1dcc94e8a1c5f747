package connector_test

import (
	"net/http"
	"strings"
	"testing"

	"adconnector/ldapauth/memdir"
)

// TestC11_ABarredAccountIsRefusedByEveryMethod: by certificate and by password,
// and only who knows the password learns of it.
func TestC11_ABarredAccountIsRefusedByEveryMethod(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := prepareRig(t, d, "")
			r.configure("ldap:\n", "ldap:\n  deny_groups: ["+d.groups[2]+"]\n") // jon is in it through others
			r.start()
			const said = "Your account may not be used to sign in here"

			p := r.get(r.browser(inside, r.client("jon")), r.request())
			if p.Status != http.StatusForbidden || !strings.Contains(p.Body, said) {
				t.Errorf("certificate: status %d: %s", p.Status, p.Message())
			}
			if _, err := r.signIn(r.browser(outside, nil), "jon", d.password); err == nil || !strings.Contains(err.Error(), said) {
				t.Errorf("right password: %v", err)
			}
			if _, err := r.signIn(r.browser(outside, nil), "jon", "canary-wrong"); err == nil || strings.Contains(err.Error(), said) {
				t.Errorf("wrong password: %v", err)
			}
			if n := strings.Count(r.audit.String(), `"reason":"denied_group"`); n != 2 {
				t.Errorf("%d audit lines with the reason, want 2:\n%s", n, r.audit.String())
			}
			if strings.Contains(r.pages.String(), d.groups[2]) {
				t.Error("a page names the group")
			}
		})
	}
}

// TestC11_ASessionEndsWhenItsAccountJoinsABarredGroup needs no restart and no
// patience beyond session.recheck.
func TestC11_ASessionEndsWhenItsAccountJoinsABarredGroup(t *testing.T) {
	d := inMemory(t)
	r := prepareRig(t, d, "session: {lifetime: 8h, recheck: 0s}")
	r.configure("ldap:\n", "ldap:\n  deny_groups: [protected, Project Boreal]\n")
	r.start()
	b := r.browser(outside, nil)
	r.mustSignIn(b, "zoe", memdir.SamplePassword)
	r.mustSignIn(b, "", "")
	if err := d.memory.Update("CN=Project Boreal,OU=Groups,"+d.baseDN, map[string][]string{"member": {`CN=Zoë (Ops)\, Müller,OU=Staff,` + d.baseDN}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.signIn(b, "", ""); err == nil {
		t.Error("the session goes on")
	}
}
