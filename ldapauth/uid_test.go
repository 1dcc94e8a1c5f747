package ldapauth_test

import (
	"testing"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
)

// TestWhoseAUIDIs holds what a real server says of two people with one uid.
func TestWhoseAUIDIs(t *testing.T) {
	d := open(t, real(dirtest.SharedOpenLDAP(t)))
	for text, want := range map[string]struct {
		people int
		reason denial.Reason
	}{"zoe": {1, ""}, "Ambi": {2, denial.SeveralAccounts}} {
		people, _, err := d.SearchUsers(t.Context(), text, 10)
		if err != nil || len(people) != want.people {
			t.Fatalf("%s: %d people, %v", text, len(people), err)
		}
		for _, a := range people {
			wantReason(t, a.DN, d.CheckUID(t.Context(), a), want.reason)
		}
	}
}
