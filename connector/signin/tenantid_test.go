package signin_test

import (
	"strings"
	"testing"

	"adconnector/connector/signin"
	"adconnector/ldapauth/memdir"
)

// TestC5_NobodyIsATenantsSomebodyElse: some directories let people write their own
// uid. By another one they must not become another person to the tenant.
func TestC5_NobodyIsATenantsSomebodyElse(t *testing.T) {
	person := func(rdn, mail string, uids ...string) memdir.Entry {
		return memdir.Entry{DN: rdn + ",ou=people," + base, Password: memdir.SamplePassword, Attributes: map[string][]string{
			"objectClass": {"top", "person", "organizationalPerson", "inetOrgPerson"}, "cn": {"X"}, "sn": {"X"}, "mail": {mail}, "uid": uids,
		}}
	}
	_, client := company(
		t, memdir.OpenLDAP,
		person("cn=Thief", "thief@fabrikam.example", "Jon"),
		person("uid=adder", "adder@fabrikam.example", "amy", "adder"),
		person("cn=Both", "both@fabrikam.example", "both1", "both2"),
		person("cn=Solo", "solo@fabrikam.example", "solo"),
	)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true, TenantIDs: true})
	for name, want := range map[string]string{"thief": "", "adder": "adder", "both": "", "solo": "solo", "jon": "jon", "amy": "amy"} {
		id, err := d.SignIn(t.Context(), password(name+"@fabrikam.example", memdir.SamplePassword))
		if err != nil || id.TenantID != want || id.ID == "" {
			t.Errorf("%s: %+v, %v; want %q", name, id, err, want)
		}
	}
	if n := strings.Count(d.log.String(), `account_dn="cn=Thief`); n != 1 {
		t.Errorf("%d lines about the thief:\n%s", n, d.log)
	}
}
