package signin_test

import (
	"context"
	"strings"
	"testing"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
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
	r := open(t, signin.Options{Directory: settable{client}, ResetPassword: true, TenantIDs: true})
	for name, want := range map[string]string{"thief": "", "solo": "solo"} {
		id, err := r.ResetPassword(t.Context(), resetting(name+"@fabrikam.example"))
		if err != nil || id.TenantID != want || id.ID == "" {
			t.Errorf("a new password for %s: %+v, %v; want %q", name, id, err, want)
		}
	}
	if n := strings.Count(d.log.String(), `account_dn="cn=Thief`); n != 1 {
		t.Errorf("%d lines about the thief:\n%s", n, d.log)
	}
}

// settable is a directory that sets every password.
type settable struct{ signin.Directory }

func (settable) ResetPassword(context.Context, *ldapauth.Account, secret.String, bool) error {
	return nil
}

// TestC5_TwoOfOneNameAreNotOneToATenant: a uid in the DN is one person's only
// within its branch. Whoever manages one branch must not be able to become somebody
// of another, and people who only write a name into their own entries must not
// change what its owner is called.
func TestC5_TwoOfOneNameAreNotOneToATenant(t *testing.T) {
	person := func(dn, mail string, uids ...string) memdir.Entry {
		return memdir.Entry{DN: dn + "," + base, Password: memdir.SamplePassword, Attributes: map[string][]string{
			"objectClass": {"top", "person", "organizationalPerson", "inetOrgPerson"}, "cn": {"X"}, "sn": {"X"}, "mail": {mail}, "uid": uids,
		}}
	}
	branch := memdir.Entry{DN: "ou=branch," + base, Attributes: map[string][]string{"objectClass": {"top", "organizationalUnit"}, "ou": {"branch"}}}
	entries := []memdir.Entry{
		branch,
		person("uid=twin,ou=people", "twin@fabrikam.example", "twin"),
		person("uid=Twin,ou=branch", "other@fabrikam.example", "Twin"),
	}
	for i := range 5 {
		n := string(rune('0' + i))
		entries = append(entries, person("cn=Thief"+n+",ou=branch", "thief"+n+"@fabrikam.example", "amy"))
	}
	_, client := company(t, memdir.OpenLDAP, entries...)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true, TenantIDs: true})
	for name, want := range map[string]string{"twin": "", "other": "", "amy": "amy", "thief1": ""} {
		id, err := d.SignIn(t.Context(), password(name+"@fabrikam.example", memdir.SamplePassword))
		if err != nil || id.TenantID != want || id.ID == "" {
			t.Errorf("%s: %+v, %v; want %q", name, id, err, want)
		}
	}
}

// TestC5_AUIDIsNobodysID: those without a uid of their own are known to a tenant by
// their entryUUID. Whoever takes that for a uid must not be them.
func TestC5_AUIDIsNobodysID(t *testing.T) {
	server, client := company(t, memdir.OpenLDAP, memdir.Entry{
		DN: "cn=Thief,ou=people," + base, Password: memdir.SamplePassword,
		Attributes: map[string][]string{"objectClass": {"top", "person", "organizationalPerson", "inetOrgPerson"}, "cn": {"X"}, "sn": {"X"}, "mail": {"thief@fabrikam.example"}, "uid": {"none"}},
	})
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true, TenantIDs: true})
	jon, err := d.SignIn(t.Context(), password("jon@fabrikam.example", memdir.SamplePassword))
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[string]string{
		jon.ID: "", strings.ToUpper(jon.ID): "",
		"01234567-89ab-4cde-8f01-23456789abcd": "01234567-89ab-4cde-8f01-23456789abcd", // but some are called like that
	} {
		if err := server.Update("cn=Thief,ou=people,"+base, map[string][]string{"uid": {uid}}); err != nil {
			t.Fatal(err)
		}
		id, err := d.SignIn(t.Context(), password("thief@fabrikam.example", memdir.SamplePassword))
		if err != nil || id.TenantID != want || id.ID == jon.ID {
			t.Errorf("%s: %+v, %v; want %q", uid, id, err, want)
		}
	}
}
