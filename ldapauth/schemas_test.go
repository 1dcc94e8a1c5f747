package ldapauth_test

import (
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
)

// put adds an entry to a real server; attributes are names and values by turns.
func put(t *testing.T, s *dirtest.Server, dn string, attributes ...[]string) {
	t.Helper()
	r := goldap.NewAddRequest(dn, nil)
	for _, a := range attributes {
		r.Attribute(a[0], a[1:])
	}
	if err := s.Admin(t).Add(r); err != nil {
		t.Fatalf("adding %s: %v", dn, err)
	}
}

// makeUnixUser makes an account of a Unix system of somebody.
func makeUnixUser(t *testing.T, s *dirtest.Server, name, gid string) {
	t.Helper()
	m := goldap.NewModifyRequest(s.DN(t, name), nil)
	m.Add("objectClass", []string{"posixAccount"})
	m.Add("uidNumber", []string{"2000"})
	m.Add("gidNumber", []string{gid})
	m.Add("homeDirectory", []string{"/home/" + name})
	if err := s.Admin(t).Modify(m); err != nil {
		t.Fatal(err)
	}
}

func TestUnixGroupsListNamesAndThePrimaryOneNobody(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	for name, gid := range map[string]string{"jon": "5001", "zoe": "5002"} {
		makeUnixUser(t, s, name, gid)
	}
	group := func(cn, gid string, members ...string) {
		attributes := [][]string{{"objectClass", "posixGroup"}, {"gidNumber", gid}}
		if len(members) > 0 {
			attributes = append(attributes, append([]string{"memberUid"}, members...))
		}
		put(t, s, "cn="+cn+",ou=groups,"+s.BaseDN, attributes...)
	}
	group("unix-jon", "5001")
	group("unix-zoe", "5002")
	group("unix-all", "5003", "jon", "zoe")
	group("unix-other", "5004", "jonas", "JON")

	c := real(s)
	c.Schema = "rfc2307"
	for _, nested := range []bool{true, false} {
		c.Groups.Nested = nested
		d := open(t, c)
		wantGroups(t, "jon", groupsOf(t, d, "jon"), "unix-jon", "unix-all")
		wantGroups(t, "zoe, who types in capitals", groupsOf(t, d, "ZOE"), "unix-zoe", "unix-all")
	}
	c.DenyGroups = []string{"unix-jon"}
	wantBarred(t, "C11: by the primary group", open(t, c), []string{"jon"}, "zoe")
	c.DenyGroups = []string{"cn=Unix-All,ou=groups," + s.BaseDN}
	wantBarred(t, "C11: by the list", open(t, c), []string{"jon", "zoe"})
	c.DenyGroups = []string{"unix-other"}
	wantBarred(t, "C11: somebody else's", open(t, c), nil, "jon", "zoe")
}

// A uniqueMember may carry a bit string, which tells apart those who had the same
// DN at different times: it is the x500UniqueIdentifier of the one who is meant.
func TestAUniqueMemberWithABitStringIsWhoeverBearsIt(t *testing.T) {
	for _, o := range []dirtest.OpenLDAPOptions{{}, {NoMemberOf: true}} {
		s := dirtest.OpenLDAP(t, o)
		person := func(name string) string { return "uid=" + name + ",ou=people," + s.BaseDN }
		alter(t, s, person("jon"), "objectClass", "extensibleObject", true)
		alter(t, s, person("jon"), "x500UniqueIdentifier", "'0101'B", true)
		group := func(cn string, members ...string) string {
			dn := "cn=" + cn + ",ou=groups," + s.BaseDN
			put(t, s, dn, []string{"objectClass", "groupOfUniqueNames"}, append([]string{"uniqueMember"}, members...))
			return dn
		}
		group("unique-plain", person("jon"), person("zoe"))
		group("unique-above", strings.ToUpper(group("unique-bits", person("jon")+"#'0101'B", person("zoe")+"#'0101'B")))
		group("unique-before", person("jon")+"#'1'B", person("zoe")+"#'1'B")

		c := real(s)
		if o.NoMemberOf {
			wantGroups(t, "jon", groupsOf(t, open(t, c), "jon"), "group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x", "unique-plain", "unique-bits", "unique-above")
			wantGroups(t, "zoe", groupsOf(t, open(t, c), "zoe"), "group-A", "group-B", "group-C", "unique-plain")
		}
		for group, barred := range map[string][]string{"unique-plain": {"jon", "zoe"}, "unique-bits": {"jon"}, "unique-above": {"jon"}, "unique-before": nil} {
			c.DenyGroups = []string{group}
			wantBarred(t, "C11: "+group, open(t, c), barred, "jon", "zoe")
		}
	}
}

func TestDynamicGroupsCountLikeOthers(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{DynamicGroups: true, NoMemberOf: true})
	put(t, s, `cn=Everybody\, really,ou=groups,`+s.BaseDN, []string{"objectClass", "groupOfURLs"},
		[]string{"memberURL", "ldap:///ou=people," + s.BaseDN + "??sub?(uid=jon)"})
	c := real(s)
	d := open(t, c)
	for _, what := range []string{"cold", "warm"} {
		got := groupsOf(t, d, "jon")
		wantGroups(t, what, got, "group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x", "Everybody, really")
	}
	wantGroups(t, "somebody else", groupsOf(t, d, "zoe"), "group-A", "group-B", "group-C")
	for _, rule := range []string{"everybody, really", `CN=Everybody\2C Really , OU=groups,` + s.BaseDN} {
		c.DenyGroups = []string{ldapauth.DenyProtected, rule}
		wantBarred(t, "C11: "+rule, open(t, c), []string{"jon"}, "zoe")
	}
}

func Test389DirectoryServer(t *testing.T) {
	s := dirtest.DS389(t)
	c := real(s)
	all := []string{"group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x", "unique"}
	d := open(t, c)
	for _, what := range []string{"cold", "warm"} {
		wantGroups(t, what, groupsOf(t, d, "jon"), all...)
		wantGroups(t, what+", somebody else", groupsOf(t, d, "zoe"), "group-A", "group-B", "group-C", "unique")
		wantGroups(t, what+", nobody's", groupsOf(t, d, "chg"))
	}
	jon := find(t, d, "jon")
	if again, err := d.FindByID(t.Context(), jon.ID); err != nil || again.DN != jon.DN {
		t.Errorf("by its ID %q: %v, %v", jon.ID, again, err)
	}
	direct := c
	direct.Groups.Nested = false
	wantGroups(t, "direct", groupsOf(t, open(t, direct), "jon"), "group-A", "group-D", "Träger (all), x")
	for _, group := range []string{"group-C", "unique", "cn=Group-C , OU=Groups," + s.BaseDN} {
		c.DenyGroups = []string{group}
		wantBarred(t, "C11: "+group, open(t, c), []string{"jon", "zoe"}, "chg")
	}
	set(t, s, "jon", "nsAccountLock", "true")
	wantReason(t, "C10: disabled", find(t, d, "jon").State(time.Now()), denial.AccountDisabled)
	for _, f := range d.Check(t.Context()) {
		if f.Level == ldapauth.Failure {
			t.Errorf("check: %s: %s", f.Subject, f.Text)
		}
	}
}
