package ldapauth_test

import (
	"slices"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/setting"
)

// wantBarred fails the test unless exactly the given people are barred.
func wantBarred(t *testing.T, what string, d *ldapauth.Directory, barred []string, others ...string) {
	t.Helper()
	for _, name := range slices.Concat(barred, others) {
		_, err := d.Groups(t.Context(), find(t, d, name))
		want := denial.Reason("")
		if slices.Contains(barred, name) {
			want = denial.DeniedGroup
		}
		wantReason(t, what+": "+name, err, want)
	}
}

// alter adds or removes one value of an attribute of an entry of a real server.
func alter(t *testing.T, s *dirtest.Server, dn, attribute, value string, add bool) {
	t.Helper()
	m := goldap.NewModifyRequest(dn, nil)
	if add {
		m.Add(attribute, []string{value})
	} else {
		m.Delete(attribute, []string{value})
	}
	if err := s.Admin(t).Modify(m); err != nil {
		t.Fatal(err)
	}
}

func TestC11_ProtectedAccountsOfADomainControllerAreBarred(t *testing.T) {
	s := dirtest.SambaAD(t)
	c := real(s)
	c.Groups.Cache = 0
	d := open(t, c)
	wantBarred(t, "as it is", d, []string{"Administrator", "krbtgt"}, "jon", "zoe", "photo")

	domain := func(cn string) string { return "CN=" + cn + ",CN=Users," + s.BaseDN }
	builtin := func(cn string) string { return "CN=" + cn + ",CN=Builtin," + s.BaseDN }
	for _, group := range []string{
		domain("Domain Admins"), domain("Enterprise Admins"), domain("Schema Admins"),
		builtin("Administrators"), builtin("Account Operators"), builtin("Server Operators"), builtin("Backup Operators"), builtin("Print Operators"),
	} {
		alter(t, s, group, "member", s.DN(t, "group-C"), true) // jon and zoe are two groups away
		wantBarred(t, group, d, []string{"jon", "zoe"}, "photo", "nopw")
		alter(t, s, group, "member", s.DN(t, "group-C"), false)
	}
	wantBarred(t, "out again", d, nil, "jon", "zoe")

	alter(t, s, domain("Domain Admins"), "member", s.DN(t, "photo"), true)
	set(t, s, "photo", "primaryGroupID", "512")
	wantBarred(t, "primary group", d, []string{"photo"}, "jon")

	c.Groups.Include = false
	wantBarred(t, "groups are not reported", open(t, c), []string{"photo", "Administrator"}, "jon")
	c.DenyGroups = []string{}
	wantBarred(t, "switched off", open(t, c), nil, "photo", "Administrator", "jon")
}

func TestC11_GroupsAreBarredByEveryNameTheyHave(t *testing.T) {
	samba := func(t *testing.T) (string, ldapauth.Config) {
		s := dirtest.SharedSambaAD(t)
		return s.BaseDN, real(s)
	}
	openLDAP := func(o dirtest.OpenLDAPOptions) func(t *testing.T) (string, ldapauth.Config) {
		return func(t *testing.T) (string, ldapauth.Config) {
			s := dirtest.OpenLDAP(t, o)
			return s.BaseDN, real(s)
		}
	}
	for name, start := range map[string]func(t *testing.T) (string, ldapauth.Config){
		"Samba": samba, "OpenLDAP": openLDAP(dirtest.OpenLDAPOptions{}), "OpenLDAP without memberOf": openLDAP(dirtest.OpenLDAPOptions{NoMemberOf: true}),
	} {
		t.Run(name, func(t *testing.T) {
			base, config := start(t)
			nested := "CN=group-C,OU=Groups," + base
			for _, rules := range [][]string{
				{"group-C"},
				{"GROUP-c"},
				{" group-C "},
				{"ｇｒｏｕｐ-C"},
				{nested},
				{strings.ToUpper(nested)},
				{"CN=group-C , OU=Groups," + base},
				{"nothing", "group-C"},
				{ldapauth.DenyProtected, "group-C"},
			} {
				for what, change := range map[string]func(*ldapauth.Config){
					"reported":              func(*ldapauth.Config) {},
					"not reported":          func(c *ldapauth.Config) { c.Groups.Include = false },
					"direct ones reported":  func(c *ldapauth.Config) { c.Groups.Nested = false },
					"others reported":       func(c *ldapauth.Config) { c.Groups.Filter = "(&(member={0})(cn=group-D))" },
					"reported by mail":      func(c *ldapauth.Config) { c.Groups.Attribute = "mail" },
					"reported from a unit":  func(c *ldapauth.Config) { c.Groups.BaseDN = "OU=Service," + base },
					"nothing is remembered": func(c *ldapauth.Config) { c.Groups.Cache = 0 },
				} {
					c := config
					c.DenyGroups = rules
					change(&c)
					d := open(t, c)
					wantBarred(t, what+" "+strings.Join(rules, "|"), d, []string{"jon", "zoe"}, "photo")
					wantBarred(t, what+" again "+strings.Join(rules, "|"), d, []string{"jon", "zoe"}, "photo")
				}
			}
			for _, rules := range [][]string{{}, {"nothing"}, {"group"}, {"cn=group-C," + base}, {"*"}} {
				c := config
				c.DenyGroups = rules
				wantBarred(t, strings.Join(rules, "|"), open(t, c), nil, "jon", "zoe")
			}
			c := config
			c.DenyGroups = []string{`Träger  (all), X`}
			wantBarred(t, "odd name", open(t, c), []string{"jon"}, "zoe")
		})
	}
}

func TestC11_ADistributionListBarsWhenItIsNamed(t *testing.T) {
	c := real(dirtest.SharedSambaAD(t))
	c.DenyGroups = []string{"dist-list"}
	wantBarred(t, "by name", open(t, c), []string{"jon"}, "zoe")
}

// What is reported as a group of somebody must not be a name that bars and does
// not.
func TestC11_AGroupBarsThatOnlyTheConfiguredFilterKnows(t *testing.T) {
	crew, jon := "CN=Crew,OU=groups,"+memBase, "uid=jon,ou=people,"+memBase
	_, c := memory(t, memdir.OpenLDAP, func(o *memdir.Options) {
		o.Entries = append(o.Entries,
			memdir.Entry{DN: crew, Attributes: map[string][]string{"objectClass": {"top", "team"}, "seeAlso": {jon}}},
			memdir.Entry{DN: "CN=All Crews,OU=groups," + memBase, Attributes: map[string][]string{"objectClass": {"top", "team"}, "seeAlso": {crew}}})
	})
	c.Groups.Filter = "(&(objectClass=team)(seeAlso={0}))"
	for _, rule := range []string{"crew", crew, "all crews"} {
		for _, nested := range []bool{true, false} {
			c.DenyGroups, c.Groups.Nested = []string{rule}, nested
			d := open(t, c)
			wantBarred(t, rule, d, []string{"jon"}, "amy")
			for _, f := range d.Check(t.Context()) {
				if strings.Contains(f.Text, "deny_groups") && f.Level != ldapauth.OK {
					t.Errorf("%s: check: %s", rule, f.Text)
				}
			}
		}
	}
	c.DenyGroups = nil
	wantGroups(t, "direct", groupsOf(t, open(t, c), "jon"), "Crew")
	c.Groups.Nested = true
	wantGroups(t, "nested", groupsOf(t, open(t, c), "jon"), "Crew", "All Crews")
}

func TestC11_AGroupThatIsNotSeenBarsByTheNameInItsDN(t *testing.T) {
	_, c := memory(t, memdir.OpenLDAP, func(o *memdir.Options) {
		o.Entries = append(o.Entries,
			memdir.Entry{DN: "OU=Vault," + memBase, Attributes: map[string][]string{"objectClass": {"organizationalUnit"}}},
			memdir.Entry{DN: `CN=Keepers\, all,OU=Vault,` + memBase, Attributes: map[string][]string{
				"objectClass": {"top", "groupOfNames"}, "member": {"uid=jon,ou=people," + memBase},
			}})
	})
	c.BaseDN, c.Groups.BaseDN = setting.OneOrMore{"OU=people," + memBase}, "OU=groups,"+memBase
	for _, rule := range []string{`CN=Keepers\, all,OU=Vault,` + memBase, "keepers, all"} {
		c.DenyGroups = []string{rule}
		wantBarred(t, rule, open(t, c), []string{"jon"}, "amy")
	}
}

// A part of the tree that another server holds may hold a group that bars.
func TestE7_GroupsThatMayBeOnAnotherServerAreNotTakenForNone(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	add := goldap.NewAddRequest("ou=more,ou=groups,"+s.BaseDN, []goldap.Control{goldap.NewControlManageDsaIT(true)})
	add.Attribute("objectClass", []string{"referral", "extensibleObject"})
	add.Attribute("ou", []string{"more"})
	add.Attribute("ref", []string{"ldap://127.0.0.1:9/ou=more,ou=groups," + s.BaseDN})
	if err := s.Admin(t).Add(add); err != nil {
		t.Fatal(err)
	}
	c := real(s)
	wantBarred(t, "nothing bars here", open(t, c), nil, "jon", "zoe", "chg")

	c.DenyGroups = []string{"group-Z"}
	d := open(t, c)
	for _, name := range []string{"jon", "chg"} {
		if groups, err := d.Groups(t.Context(), find(t, d, name)); err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ou=more") {
			t.Errorf("%s: %q, %v", name, groups, err)
		}
	}
	if !slices.ContainsFunc(d.Check(t.Context()), func(f ldapauth.Finding) bool {
		return f.Level == ldapauth.Failure && strings.Contains(f.Text, "ldap.base_dn and ldap.groups.base_dn hold no such pointer")
	}) {
		t.Error("check does not say so")
	}
	c.BaseDN, c.Groups.BaseDN = setting.OneOrMore{"ou=people," + s.BaseDN}, "cn=group-C,ou=groups,"+s.BaseDN
	wantBarred(t, "without the pointer", open(t, c), nil, "jon", "chg")
}

func TestC11_AGroupIsBarredBySecurityIdentifier(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	const sid = "S-1-5-21-1-2-3-4444"
	if err := s.Update("CN=Engineers,OU=Groups,"+memBase, map[string][]string{"objectSid": {sid}}); err != nil {
		t.Fatal(err)
	}
	c.DenyGroups = []string{sid}
	wantBarred(t, "by SID", open(t, c), []string{"jon", "dora"}, "amy", "zoe")
	c.DenyGroups = []string{"s" + sid[1:]}
	wantBarred(t, "in lower case", open(t, c), []string{"jon", "dora"}, "amy", "zoe")
}

// Who was let in and joins a group that bars is out with the next question,
// even while the cache is warm.
func TestC11_JoiningABarredGroupShowsAtOnce(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory, func(o *memdir.Options) {
		o.Entries = append(o.Entries, memdir.Entry{DN: "CN=Domain Admins,CN=Users," + memBase, Attributes: map[string][]string{
			"objectClass": {"top", "group"}, "sAMAccountName": {"Domain Admins"}, "groupType": {"-2147483646"},
		}})
	})
	d := open(t, c)
	wantBarred(t, "before", d, nil, "amy", "jon")
	if err := s.Update("CN=Domain Admins,CN=Users,"+memBase, map[string][]string{"member": {"CN=Amy Reed,OU=Staff," + memBase}}); err != nil {
		t.Fatal(err)
	}
	wantBarred(t, "after", d, []string{"amy"}, "jon")
}

func TestC11_WhereGroupsCannotBeReadNobodyGetsInWhoMightBeBarred(t *testing.T) {
	for what, change := range map[string]func(*ldapauth.Config){
		"by default":   func(*ldapauth.Config) {},
		"not reported": func(c *ldapauth.Config) { c.Groups.Include = false },
		"may be left out": func(c *ldapauth.Config) {
			c.Groups.OnFailure = ldapauth.OnFailureOmit
		},
	} {
		s, c := memory(t, memdir.ActiveDirectory)
		change(&c)
		d := open(t, c)
		a := find(t, d, "jon")
		if err := s.Remove(a.DN); err != nil {
			t.Fatal(err)
		}
		_, err := d.Groups(t.Context(), a)
		if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ldap.deny_groups") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCheckSaysWhatDenyGroupsStandFor(t *testing.T) {
	ad, ol := dirtest.SharedSambaAD(t), dirtest.SharedOpenLDAP(t)
	for _, tt := range []struct {
		server *dirtest.Server
		rules  []string
		level  ldapauth.Level
		text   string
	}{
		{ad, []string{ldapauth.DenyProtected}, ldapauth.OK, "protects may not sign in"},
		{ad, []string{}, ldapauth.OK, "administrators of the domain may sign in"},
		{ad, []string{"group-C"}, ldapauth.Warning, "does not list protected"},
		{ad, []string{"group-C"}, ldapauth.OK, "CN=group-C,OU=Groups,DC=corp,DC=example,DC=test bars its members"},
		{ad, []string{"S-1-5-32-544"}, ldapauth.OK, "S-1-5-32-544 is CN=Administrators,CN=Builtin"},
		{ad, []string{"S-1-5-21-1-2-3-512"}, ldapauth.Warning, "has the identifier S-1-5-21-1-2-3-512"},
		{ad, []string{"group-Z"}, ldapauth.Failure, `there is no group "group-Z"`},
		{ad, []string{"CN=Jon Smith,OU=Staff," + ad.BaseDN}, ldapauth.Failure, "there is no group"},
		{ol, []string{ldapauth.DenyProtected}, ldapauth.OK, ""},
		{ol, []string{"cn=group-C,ou=groups," + ol.BaseDN}, ldapauth.OK, "bars its members"},
		{ol, []string{"cn=group-Z,ou=groups," + ol.BaseDN}, ldapauth.Failure, "there is no group"},
		{ol, []string{"cn=group-C,dc=elsewhere"}, ldapauth.Failure, "lies where no groups are looked for"},
		{ol, []string{"S-1-5-32-544"}, ldapauth.Failure, "no group of openldap has"},
	} {
		c := real(tt.server)
		c.DenyGroups = tt.rules
		findings := open(t, c).Check(t.Context())
		if !slices.ContainsFunc(findings, func(f ldapauth.Finding) bool { return f.Level == tt.level && strings.Contains(f.Text, tt.text) }) {
			t.Errorf("%s %q: no finding %q of level %d in %v", tt.server.Kind, tt.rules, tt.text, tt.level, findings)
		}
	}
}
