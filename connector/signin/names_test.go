package signin_test

import (
	"testing"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

// A certificate's name is read as one that was typed: with its domain, which
// must be the directory's own.
func TestC12_ACertificateNamesItsDomainToo(t *testing.T) {
	for kind, start := range realDirectories() {
		t.Run(kind, func(t *testing.T) {
			_, client := start(t)
			for name, want := range map[string]denial.Reason{
				"jon": "", "jon@corp.example.test": "", "JON@Corp.Example.Test": "", `CORP\jon`: "",
				"jon@elsewhere.test": denial.NoAccount, `OTHER\jon`: denial.NoAccount, `corp.example.test\jon`: denial.NoAccount,
				"jon@corp.example.test@elsewhere.test": denial.NoAccount, `CORP\*`: denial.NoAccount, `CORP\jon `: denial.BadName,
			} {
				d := open(t, signin.Options{Directory: client, Verifier: verifier{name: name}})
				id, err := d.SignIn(t.Context(), certificate())
				if denial.ReasonOf(err) != want || err != nil && want == "" {
					t.Errorf("%s: %v, want %q", name, err, want)
				}
				if err == nil && id.Username != "jon" {
					t.Errorf("%s: signed in is %s", name, id.Username)
				}
			}
		})
	}
}
