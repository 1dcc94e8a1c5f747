package ldapauth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/setting"
)

// groupsOf returns the sorted names of the groups of an account.
func groupsOf(t testing.TB, d *ldapauth.Directory, name string) []string {
	t.Helper()
	got, err := d.Groups(t.Context(), find(t, d, name))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func wantGroups(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestThePrimaryGroupIsReported(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	for _, nested := range []bool{true, false} {
		c := real(s)
		c.Groups.Nested = nested
		wantGroups(t, fmt.Sprint("nested ", nested), groupsOf(t, open(t, c), "photo"), "group-PrimaryX", "Domain Users")
	}
}

func TestGroupsAreFoundByMemberWhereNobodyKeepsMemberOf(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{NoMemberOf: true})
	all := []string{"group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x"}
	d := open(t, real(s))
	wantGroups(t, "cold", groupsOf(t, d, "jon"), all...)
	wantGroups(t, "warm", groupsOf(t, d, "jon"), all...)
	wantGroups(t, "somebody else", groupsOf(t, d, "zoe"), "group-A", "group-B", "group-C")
	wantGroups(t, "nobody's", groupsOf(t, d, "chg"))
	c := real(s)
	c.Groups.Nested = false
	wantGroups(t, "direct", groupsOf(t, open(t, c), "jon"), "group-A", "group-D", "Träger (all), x")
}

func TestGroupSettingsAreHonoured(t *testing.T) {
	ad, ol := dirtest.SharedSambaAD, dirtest.SharedOpenLDAP
	for _, tt := range []struct {
		name   string
		server func(testing.TB) *dirtest.Server
		change func(*ldapauth.Config)
		want   []string
	}{
		{"not included", ol, func(c *ldapauth.Config) { c.Groups.Include = false }, nil},
		{"a filter", ol, func(c *ldapauth.Config) { c.Groups.Filter = "(&(objectClass=groupOfNames)(member={0})(cn=group-*))" }, []string{"group-A", "group-B", "group-C", "group-D", "group-E"}},
		{"a filter that ends the walk", ol, func(c *ldapauth.Config) { c.Groups.Filter = "(&(member={0})(!(cn=group-B)))" }, []string{"group-A", "group-D", "group-E", "Träger (all), x"}},
		{"a filter on Active Directory", ad, func(c *ldapauth.Config) { c.Groups.Filter = "(&(objectClass=group)(member={0})(cn=group-*))" }, []string{"group-A", "group-B", "group-C", "group-D", "group-E"}},
		{"a base", ol, func(c *ldapauth.Config) { c.Groups.BaseDN = "OU=Groups, " + c.BaseDN[0] }, []string{"group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x"}},
		{"another base", ol, func(c *ldapauth.Config) { c.Groups.BaseDN = "ou=people," + c.BaseDN[0] }, nil},
		{"a base on Active Directory", ad, func(c *ldapauth.Config) { c.Groups.BaseDN = "OU=Groups," + c.BaseDN[0] }, []string{"group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x"}},
		{"the DN", ol, func(c *ldapauth.Config) { c.Groups.Attribute, c.Groups.Nested = "dn", false }, []string{
			"cn=group-A,ou=groups,dc=corp,dc=example,dc=test", "cn=group-D,ou=groups,dc=corp,dc=example,dc=test",
			`cn=Träger (all)\2C x,ou=groups,dc=corp,dc=example,dc=test`,
		}},
		{"an attribute that no group has", ol, func(c *ldapauth.Config) { c.Groups.Attribute = "mail" }, nil},
		{"no cache", ol, func(c *ldapauth.Config) { c.Groups.Cache = 0 }, []string{"group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := real(tt.server(t))
			tt.change(&c)
			got := groupsOf(t, open(t, c), "jon")
			for i := range got { // slapd writes a comma in a DN as it likes
				got[i] = strings.ReplaceAll(strings.ReplaceAll(got[i], `\,`, `\2C`), "Tr\\C3\\A4ger", "Träger")
			}
			wantGroups(t, "groups", got, tt.want...)
		})
	}
}

func TestAWarmCacheCostsOneSearchForAWholeSignIn(t *testing.T) {
	for _, flavor := range []memdir.Flavor{memdir.ActiveDirectory, memdir.OpenLDAP} {
		s, c := memory(t, flavor)
		if flavor == memdir.OpenLDAP {
			c.BindDN = "cn=svc-adconnector,ou=services," + memBase
		}
		var now atomic.Int64
		d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
		groupsOf(t, d, "jon")
		before := s.Stats()
		for range 10 {
			groupsOf(t, d, "jon")
		}
		after := s.Stats()
		if n := after.Searches - before.Searches; n != 10 {
			t.Errorf("%v: 10 sign-ins cost %d searches, want 10", flavor, n)
		}
		if after.Connections != before.Connections || after.Binds != before.Binds {
			t.Errorf("%v: 10 sign-ins cost %d connections", flavor, after.Connections-before.Connections)
		}
		now.Store(11 * 60)
		groupsOf(t, d, "jon")
		if n := s.Stats().Searches - after.Searches; n <= 1 {
			t.Errorf("%v: the cache does not age", flavor)
		}
	}
}

func TestGroupsOfAMovedMemberFollowAtOnce(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	groupsOf(t, d, "amy")
	if err := s.Update("CN=Process Engineers,OU=Groups,"+memBase, map[string][]string{"member": {"CN=Amy Reed,OU=Staff," + memBase}}); err != nil {
		t.Fatal(err)
	}
	if got := groupsOf(t, d, "amy"); !slices.Contains(got, "Process Engineers") {
		t.Errorf("amy: %q", got)
	}
	if got := groupsOf(t, d, "jon"); slices.Contains(got, "Process Engineers") {
		t.Errorf("jon: %q", got)
	}
}

func TestGroupsThatCannotBeReadAreAFailure(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	c.Groups.Timeout = setting.Duration(50 * time.Millisecond)
	c.Groups.OnFailure = ldapauth.OnFailureOmit
	c.DenyGroups = []string{}
	d := open(t, c)
	a := find(t, d, "jon")
	s.SetDelay(time.Hour)
	_, err := d.Groups(t.Context(), a)
	if !errors.Is(err, ldapauth.ErrGroups) || !strings.Contains(err.Error(), "ldap.groups.timeout") {
		t.Errorf("too slow: %v", err)
	}
	s.SetDelay(0)
	if err := s.Remove(a.DN); err != nil {
		t.Fatal(err)
	}
	if _, err = d.Groups(t.Context(), a); !errors.Is(err, ldapauth.ErrGroups) || denial.ReasonOf(err) != "" {
		t.Errorf("gone: %v", err)
	}
}

// crowd adds n groups with one member.
func crowd(n int, flavor memdir.Flavor, member string) func(*memdir.Options) {
	class := "groupOfNames"
	if flavor == memdir.ActiveDirectory {
		class = "group"
	}
	return func(o *memdir.Options) {
		for i := range n {
			o.Entries = append(o.Entries, memdir.Entry{
				DN: fmt.Sprintf("CN=g%05d,OU=Groups,%s", i, memBase),
				Attributes: map[string][]string{
					"objectClass": {"top", class}, "sAMAccountName": {fmt.Sprintf("g%05d", i)}, "groupType": {"-2147483646"}, "member": {member},
				},
			})
		}
	}
}

func TestE9_TooManyGroupsAreAnError(t *testing.T) {
	const group = "CN=Process Engineers,OU=Groups," + memBase
	for _, tt := range []struct {
		flavor memdir.Flavor
		member string
	}{
		{memdir.ActiveDirectory, "CN=Jon Smith,OU=Staff," + memBase},
		{memdir.ActiveDirectory, group},
		{memdir.OpenLDAP, "uid=jon,ou=people," + memBase},
		{memdir.OpenLDAP, group},
	} {
		_, c := memory(t, tt.flavor, crowd(10_001, tt.flavor, tt.member))
		if tt.flavor == memdir.OpenLDAP {
			c.BindDN = "cn=svc-adconnector,ou=services," + memBase
		}
		d := open(t, c)
		_, err := d.Groups(t.Context(), find(t, d, "jon"))
		if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "more than 10000: take the account out of some") {
			t.Errorf("%v, groups of %s: %v", tt.flavor, tt.member, err)
		}
	}
}

func TestManyGroupsAreNoError(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory, crowd(1500, memdir.ActiveDirectory, "CN=Jon Smith,OU=Staff,"+memBase))
	if got := groupsOf(t, open(t, c), "jon"); len(got) != 1507 {
		t.Errorf("%d groups, want 1507", len(got))
	}
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Groups: 600, Quiet: true})
	if got := groupsOf(t, open(t, real(s)), "jon"); len(got) != 606 {
		t.Errorf("%d groups, want 606", len(got))
	}
}

// Without memberOf a server that lists less than it has must not pass for one
// that has no more.
func TestE9_AnAnswerThatTheServerCutShortIsAFailure(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Groups: 600, NoMemberOf: true, Quiet: true})
	d := open(t, real(s))
	if _, err := d.Groups(t.Context(), find(t, d, "jon")); !errors.Is(err, ldapauth.ErrGroups) {
		t.Errorf("500 of 606 groups: %v", err)
	}
}

func TestE9_AGiantEntryIsAFaultAndHarmsNobodyElse(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	if err := s.Update("CN=Amy Reed,OU=Staff,"+memBase, map[string][]string{"displayName": {strings.Repeat("x", 5<<20)}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := d.FindByName(t.Context(), "amy"); err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "4 MiB") {
			t.Errorf("a giant: %v", err)
		}
		find(t, d, "jon")
	}
}

func TestE9_AttributesOfTheWrongTypeAreAFault(t *testing.T) {
	for attribute, value := range map[string]string{
		"userAccountControl": "yes", "accountExpires": "tomorrow", "pwdLastSet": "long ago", "logonHours": "9-17",
	} {
		s, c := memory(t, memdir.ActiveDirectory)
		if err := s.Update("CN=Jon Smith,OU=Staff,"+memBase, map[string][]string{attribute: {value}}); err != nil {
			t.Fatal(err)
		}
		d := open(t, c)
		a, err := d.FindByName(t.Context(), "jon")
		if err == nil {
			err = a.State(time.Now())
		}
		if err == nil || denial.ReasonOf(err) != "" {
			t.Errorf("%s %q: %v", attribute, value, err)
		}
	}
}
