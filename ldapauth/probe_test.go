package ldapauth_test

import (
	"testing"

	"adconnector/ldapauth"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// A mistake is told from a directory that is merely away: the one stops the
// start, the other does not.
func TestProbeTellsAMistakeFromABadMoment(t *testing.T) {
	_, elsewhere := listen(t)
	for _, tt := range []struct {
		name              string
		change            func(*ldapauth.Config)
		fails, misconfigd bool
	}{
		{"all is well", func(*ldapauth.Config) {}, false, false},
		{"no answer", func(c *ldapauth.Config) { c.URLs[0] = "ldaps://" + frozen(t) }, true, false},
		{"no such host", func(c *ldapauth.Config) { c.URLs[0] = "ldaps://dc1.invalid" }, true, false},
		{"wrong service password", func(c *ldapauth.Config) { c.BindPassword = secret.New("canary") }, true, true},
		{"wrong base", func(c *ldapauth.Config) { c.BaseDN = setting.OneOrMore{"DC=nowhere"} }, true, true},
		{"unknown issuer", func(c *ldapauth.Config) { c.CAFiles = []setting.File{elsewhere} }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := memory(t, memdir.ActiveDirectory)
			tt.change(&c)
			err := open(t, short(c)).Probe(t.Context())
			if (err != nil) != tt.fails || ldapauth.Misconfigured(err) != tt.misconfigd {
				t.Errorf("error %v, misconfigured %v", err, ldapauth.Misconfigured(err))
			}
		})
	}
}
