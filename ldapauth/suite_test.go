package ldapauth_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// A site is one directory that the suite runs on, and what it knows of it.
type site struct {
	config   ldapauth.Config
	server   *dirtest.Server // nil: it is in memory
	memory   *memdir.Server  // nil: it is real
	password string          // of everybody
	people   []condition
	nested   []string // jon's groups
	direct   []string
	// names are what jon is called, by attribute.
	names map[string]string
	// odd is somebody's name with the syntax of filters in it.
	odd string
	// nobody are names that find an entry that is no person's.
	nobody []string
	// knowsItself says that the directory says what its domain is called.
	knowsItself bool
	// ambiguous is a name that two persons have, with the filter for it.
	ambiguous, filter string
	// must is somebody who must change the password, "" where nobody can, and
	// locks how many wrong ones lock an account.
	must  string
	locks int
}

// A condition is an account that must not get in: what a bind with the right
// password says, and what its state says without one.
type condition struct {
	name        string
	bind, state denial.Reason
}

// sites returns the directories that can be had here. Those that are the test's
// own may be changed.
func sites() map[string]func(t *testing.T, own bool) site {
	return map[string]func(t *testing.T, own bool) site{
		"memory as Active Directory": memoryAsActiveDirectory,
		"memory as OpenLDAP":         memoryAsOpenLDAP,
		"OpenLDAP":                   onOpenLDAP,
		"Samba":                      onSamba,
	}
}

var (
	memNested  = []string{"Process Engineers", "Engineers", "All Staff", "Project Alpine", "Project Boreal", "Träger (alle), Nord #1"}
	memDirect  = []string{"Process Engineers", "Project Alpine", "Träger (alle), Nord #1"}
	realNested = []string{"group-A", "group-B", "group-C", "group-D", "group-E", "Träger (all), x"}
	realDirect = []string{"group-A", "group-D", "Träger (all), x"}
)

// oddPeople adds two persons with one mail address to the sample company. The
// name of one is odd.
func oddPeople(name string) func(*memdir.Options) {
	return func(o *memdir.Options) {
		i := slices.IndexFunc(o.Entries, func(e memdir.Entry) bool { return slices.Contains(e.Attributes["mail"], "jon@fabrikam.example") })
		_, parent, _ := strings.Cut(o.Entries[i].DN, ",")
		for _, account := range []string{"o'neil (ops)", "oneil"} {
			e := memdir.Entry{DN: "cn=" + account + "," + parent, Attributes: maps.Clone(o.Entries[i].Attributes), Password: o.Entries[i].Password}
			e.Attributes[name], e.Attributes["mail"] = []string{account}, []string{"oneil@fabrikam.example"}
			delete(e.Attributes, "userPrincipalName")
			delete(e.Attributes, "cn")
			o.Entries = append(o.Entries, e)
		}
	}
}

func memoryAsActiveDirectory(t *testing.T, _ bool) site {
	s, c := memory(t, memdir.ActiveDirectory, oddPeople("sAMAccountName"), mayReset)
	return site{
		config: c, memory: s, password: memdir.SamplePassword, must: "nina", locks: 10,
		people: []condition{
			{"jon", "", ""},
			{"dora", denial.AccountDisabled, denial.AccountDisabled},
			{"liam", denial.AccountLocked, denial.AccountLocked},
			{"eve", denial.AccountExpired, denial.AccountExpired},
			{"nina", denial.MustChangePassword, denial.MustChangePassword},
			{"paul", denial.PasswordExpired, denial.PasswordExpired},
		},
		nested: append(memNested, "Domain Users"), direct: append(memDirect, "Domain Users"),
		names: map[string]string{"sAMAccountName": "jon", "cn": "Jon Smith", "userPrincipalName": "jon@fabrikam.example"},
		odd:   "o'neil (ops)", nobody: []string{"PC-0042$", "Engineers"}, ambiguous: "oneil@fabrikam.example", filter: "(mail={0})",
	}
}

func memoryAsOpenLDAP(t *testing.T, _ bool) site {
	// Its policy is what the server in memory obeys: no lock ends by itself.
	policy := memdir.Entry{DN: "cn=default," + memBase, Attributes: map[string][]string{
		"objectClass": {"device", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdMaxAge": {"3628800"},
	}}
	s, c := memory(t, memdir.OpenLDAP, func(o *memdir.Options) { o.Entries = append(o.Entries, policy) }, oddPeople("uid"))
	c.BindDN = "cn=svc-adconnector,ou=services," + memBase
	c.PasswordPolicyDN = policy.DN
	return site{
		config: c, memory: s, password: memdir.SamplePassword,
		people: []condition{
			{"jon", "", ""},
			{"dora", denial.AccountLocked, denial.AccountDisabled},
			{"liam", denial.AccountLocked, denial.AccountLocked},
			{"eve", denial.AccountLocked, denial.AccountExpired},
			{"nina", denial.MustChangePassword, denial.MustChangePassword},
			{"paul", denial.PasswordExpired, denial.PasswordExpired},
		},
		nested: memNested, direct: memDirect,
		names: map[string]string{"uid": "jon", "cn": "Jon Smith"},
		odd:   "o'neil (ops)", nobody: []string{"Engineers"}, ambiguous: "oneil@fabrikam.example", filter: "(mail={0})",
	}
}

func onOpenLDAP(t *testing.T, own bool) site {
	s := pick(t, own, dirtest.SharedOpenLDAP, func(t testing.TB) *dirtest.Server { return dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}) })
	c := real(s)
	c.PasswordPolicyDN = defaultPolicy(s)
	return site{
		config: c, server: s, password: s.Password, must: "mcp", locks: 3,
		people: []condition{
			{"jon", "", ""},
			{"dis", denial.AccountLocked, denial.AccountDisabled},
			{"exp", denial.AccountLocked, denial.AccountExpired},
			{"lck", denial.AccountLocked, denial.AccountLocked},
			{"mcp", denial.MustChangePassword, denial.MustChangePassword},
			{"pwx", denial.PasswordExpired, denial.PasswordExpired},
		},
		nested: realNested, direct: realDirect,
		names: map[string]string{"uid": "jon", "cn": "Jon Smith", "mail": "jon@corp.example.test"},
		odd:   `o'neil (ops)\*`, nobody: []string{"printer", "group-A"}, ambiguous: "jonas",
	}
}

func onSamba(t *testing.T, own bool) site {
	s := pick(t, own, dirtest.SharedSambaAD, dirtest.SambaAD)
	return site{
		config: real(s), server: s, password: s.Password, knowsItself: true, must: "mcp", locks: 3,
		people: []condition{
			{"jon", "", ""},
			{"nopw", "", ""},
			{"dis", denial.AccountDisabled, denial.AccountDisabled},
			{"exp", denial.AccountExpired, denial.AccountExpired},
			{"lck", denial.AccountLocked, denial.AccountLocked},
			{"mcp", denial.MustChangePassword, denial.MustChangePassword},
			{"pwx", denial.PasswordExpired, denial.PasswordExpired},
			{"hrs", denial.OutsideHours, denial.OutsideHours},
			{"wks", denial.NotAtThisComputer, denial.NotAtThisComputer},
		},
		nested: append(realNested, "Domain Users"), direct: append(realDirect, "Domain Users"),
		names: map[string]string{"sAMAccountName": "jon", "cn": "Jon Smith", "mail": "jon@corp.example.test", "userPrincipalName": "jon@corp.example.test"},
		odd:   "o'neil (ops)", nobody: []string{"DC1$", "group-A", "krbtgt$"}, ambiguous: "ambi@corp.example.test", filter: "(mail={0})",
	}
}

func pick(t *testing.T, own bool, shared, fresh func(testing.TB) *dirtest.Server) *dirtest.Server {
	if own {
		return fresh(t)
	}
	return shared(t)
}

// forEachSite runs a test that changes nothing on every directory.
func forEachSite(t *testing.T, test func(t *testing.T, s site)) {
	for name, start := range sites() {
		t.Run(name, func(t *testing.T) { test(t, start(t, false)) })
	}
}

// forEachOwnSite runs a test on directories that are for it alone and in which
// passwords can be changed.
func forEachOwnSite(t *testing.T, test func(t *testing.T, s site)) {
	for name, start := range sites() {
		t.Run(name, func(t *testing.T) {
			if s := start(t, true); s.must != "" {
				test(t, s)
			}
		})
	}
}

var idForm = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

func TestAnAccountIsFoundByNameAndByID(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, name := range []string{"jon", "JON", "zoe"} {
			a := find(t, d, name)
			if !strings.EqualFold(a.Username, name) {
				t.Errorf("FindByName(%q) is called %q", name, a.Username)
			}
			if !idForm.MatchString(a.ID) {
				t.Errorf("ID %q has not the form of a GUID", a.ID)
			}
			if !strings.HasPrefix(a.First("MAIL"), strings.ToLower(name)+"@") {
				t.Errorf("mail is %q", a.First("MAIL"))
			}
			b, err := d.FindByID(t.Context(), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			if b.DN != a.DN || b.ID != a.ID || b.Username != a.Username {
				t.Errorf("by name %s (%s), by ID %s (%s)", a.DN, a.ID, b.DN, b.ID)
			}
		}
		_, err := d.FindByID(t.Context(), "00000000-0000-0000-0000-000000000001")
		wantReason(t, "an ID that nobody has", err, denial.NoAccount)
		_, err = d.FindByID(t.Context(), "*")
		wantReason(t, "an ID that is none", err, denial.BadName)
	})
}

func TestAnAccountIsFoundByWhateverAttributeTheFilterNames(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		jon := find(t, open(t, s.config), "jon")
		for attribute, value := range s.names {
			c := s.config
			c.UserFilter = "(" + attribute + "={0})"
			if a := find(t, open(t, c), value); a.ID != jon.ID {
				t.Errorf("by %s: %s, want %s", attribute, a.DN, jon.DN)
			}
		}
	})
}

func TestAnAccountHasItsProfile(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		a := find(t, open(t, s.config), "zoe")
		for attribute, want := range map[string]string{"givenName": "Zoë", "SN": "Müller", "mail": a.First("mail"), "objectclass": "top"} {
			if got := a.Values(attribute); len(got) == 0 || attribute != "objectclass" && got[0] != want {
				t.Errorf("%s: %q, want %q", attribute, got, want)
			}
		}
	})
}

func TestABaseThatIsNotThereIsAFault(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		s.config.BaseDN = setting.OneOrMore{"ou=nowhere," + s.config.BaseDN[0]}
		_, err := open(t, s.config).FindByName(t.Context(), "jon")
		if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "base_dn") {
			t.Errorf("%v, want a fault", err)
		}
	})
}

func TestBindTellsTheReasonsApart(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, p := range s.people {
			wantReason(t, p.name, d.Bind(t.Context(), find(t, d, p.name), secret.New(s.password)), p.bind)
		}
		wantReason(t, "a wrong password", d.Bind(t.Context(), find(t, d, "zoe"), secret.New("Wrong-"+s.password)), denial.BadCredentials)
		wantReason(t, "the right one after that", d.Bind(t.Context(), find(t, d, "zoe"), secret.New(s.password)), "")
	})
}

func TestC10_AccountStateIsReadWithoutAPassword(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, p := range s.people {
			wantReason(t, p.name, find(t, d, p.name).State(time.Now()), p.state)
		}
	})
}

func TestC10_AnAccountOutsideTheBaseIsNoAccount(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		id := find(t, open(t, s.config), "jon").ID
		// People are in a unit of their own, so the groups' has none of them.
		s.config.BaseDN = setting.OneOrMore{"OU=Groups," + s.config.BaseDN[0]}
		_, err := open(t, s.config).FindByID(t.Context(), id)
		wantReason(t, "outside the base", err, denial.NoAccount)
	})
}

func TestC10_WhoeverTheUserFilterLeavesOutIsLeftOutByIDToo(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		a := find(t, open(t, s.config), "jon")
		s.config.UserFilter = "(&(objectClass=person)(mail={0})(sn=Nobody))"
		_, err := open(t, s.config).FindByID(t.Context(), a.ID)
		wantReason(t, "left out by the filter", err, denial.NoAccount)
	})
}

func TestC3_FilterSyntaxInANameIsJustAName(t *testing.T) {
	names := []string{
		"*", "jo*", "*n", "jon)(cn=*", "jon)(|(cn=*", "jon)(objectClass=*", `\2a`, `jo\6e`, "jon)", "(jon",
		"jon))(|(uid=*", "|", "&", "!", "jon\\", "jon,", "jon+x",
	}
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, name := range names {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name, err, denial.NoAccount)
		}
	})
}

func TestC2_NamesThatDirectoriesMatchLooselyFindNobody(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for name, want := range map[string]denial.Reason{
			"":                       denial.BadName,
			" jon":                   denial.BadName,
			"jon ":                   denial.BadName,
			"jon\u00a0":              denial.BadName,
			"jon\x00":                denial.BadName,
			"jon\x00x":               denial.BadName,
			"jo\nn":                  denial.BadName,
			"jon\u202e":              denial.BadName,
			"jo\xff":                 denial.BadName,
			"zoe\u0308":              denial.BadName, // not in form C
			strings.Repeat("j", 257): denial.BadName,
			"ｊｏｎ":                    denial.NoAccount,
			"jo\u00adn":              denial.BadName,
			"j on":                   denial.NoAccount,
			"jón":                    denial.NoAccount,
		} {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name, err, want)
		}
	})
}

func TestC4_OnlyOnePersonIsEverFound(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, name := range s.nobody {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name, err, denial.NoAccount)
		}
		// A filter that is too wide lets no machine or group in either.
		wide := s.config
		wide.UserFilter = "(|(cn={0})(uid={0})(sAMAccountName={0}))"
		d = open(t, wide)
		for _, name := range s.nobody {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name+" by a wide filter", err, denial.NoAccount)
		}
		if s.ambiguous != "" {
			s.config.UserFilter = s.filter
			_, err := open(t, s.config).FindByName(t.Context(), s.ambiguous)
			wantReason(t, s.ambiguous, err, denial.SeveralAccounts)
		}
	})
}

func TestC4_AnAccountNamedLikeAnotherPersonIsAmbiguousOrItself(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	if err := s.Update("CN=Amy Reed,OU=Staff,"+memBase, map[string][]string{"sAMAccountName": {"Jon Smith"}}); err != nil {
		t.Fatal(err)
	}
	if a := find(t, open(t, c), "Jon Smith"); !strings.HasPrefix(a.DN, "CN=Amy Reed,") {
		t.Errorf("found %s", a.DN)
	}
	c.UserFilter = "(|(cn={0})(sAMAccountName={0}))"
	_, err := open(t, c).FindByName(t.Context(), "Jon Smith")
	wantReason(t, "one by cn and one by account name", err, denial.SeveralAccounts)
}

// A trust's account has the class of a user and nothing of a computer but its
// name.
func TestC4_AnAccountWithADollarIsNobody(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	if err := s.Update("CN=Amy Reed,OU=Staff,"+memBase, map[string][]string{"sAMAccountName": {"AMY$"}}); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, c).FindByName(t.Context(), "amy$")
	wantReason(t, "amy$", err, denial.NoAccount)
	c.UserFilter = "(mail={0})"
	_, err = open(t, c).FindByName(t.Context(), "amy@fabrikam.example")
	wantReason(t, "amy$ by mail", err, denial.NoAccount)
}

// defaultPolicy returns the DN of the policy that slapd.conf names.
func defaultPolicy(s *dirtest.Server) string { return "cn=default,ou=policies," + s.BaseDN }

// set changes one attribute of the person called name.
func set(t testing.TB, s *dirtest.Server, name, attribute, value string) {
	t.Helper()
	change := goldap.NewModifyRequest(s.DN(t, name), nil)
	change.Replace(attribute, []string{value})
	if err := s.Admin(t).Modify(change); err != nil {
		t.Fatal(err)
	}
}

// ago returns the time that lies d back, as OpenLDAP writes it.
func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format("20060102150405Z") }

// A certificate has no bind in which the server would do this itself.
func TestC10_TheServersDefaultPolicyHoldsWithoutAPassword(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	set(t, s, "lck", "pwdAccountLockedTime", ago(2*time.Hour)) // pwdLockoutDuration is half an hour
	c := real(s)
	d := open(t, c)
	wantReason(t, "a lock that is over, under a policy that cannot be known", find(t, d, "lck").State(time.Now()), denial.AccountLocked)
	wantReason(t, "an old password, under a policy that cannot be known", find(t, d, "pwx").State(time.Now()), "")

	c.PasswordPolicyDN = defaultPolicy(s)
	d = open(t, c)
	wantReason(t, "a lock that is over", find(t, d, "lck").State(time.Now()), "")
	wantReason(t, "an old password", find(t, d, "pwx").State(time.Now()), denial.PasswordExpired)
	wantReason(t, "nothing special", find(t, d, "jon").State(time.Now()), "")
	set(t, s, "lck", "pwdAccountLockedTime", ago(20*time.Minute))
	wantReason(t, "a lock that is not over", find(t, d, "lck").State(time.Now()), denial.AccountLocked)

	set(t, s, "pwx", "pwdPolicySubentry", "cn=service,ou=policies,"+s.BaseDN) // without a greatest age
	wantReason(t, "an old password under a policy of its own", find(t, d, "pwx").State(time.Now()), "")
}

func TestAPasswordPolicyThatIsConfiguredMustBeReadable(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	set(t, s, "chg", "pwdPolicySubentry", defaultPolicy(s))
	for _, dn := range []string{"cn=nothing,ou=policies," + s.BaseDN, "cn=policy,dc=elsewhere", s.DN(t, "zoe")} {
		c := real(s)
		c.PasswordPolicyDN = dn
		d := open(t, c)
		_, err := d.FindByName(t.Context(), "jon")
		if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ldap.password_policy_dn") {
			t.Errorf("%s: %v", dn, err)
		}
		if _, err := d.FindByName(t.Context(), "chg"); err != nil {
			t.Errorf("somebody with a policy of its own: %v", err)
		}
		if level, text := worst(d.Check(t.Context())); level != ldapauth.Failure || !strings.Contains(text, "ldap.password_policy_dn") {
			t.Errorf("%s:\n%s", dn, text)
		}
	}
	// As soon as it is there, it is used.
	c := real(s)
	c.PasswordPolicyDN = "cn=late,ou=policies," + s.BaseDN
	d := open(t, c)
	if _, err := d.FindByName(t.Context(), "jon"); err == nil {
		t.Fatal("a policy that is not there was read")
	}
	add := goldap.NewAddRequest(c.PasswordPolicyDN, nil)
	add.Attribute("objectClass", []string{"device", "pwdPolicy"})
	add.Attribute("pwdAttribute", []string{"userPassword"})
	if err := s.Admin(t).Add(add); err != nil {
		t.Fatal(err)
	}
	find(t, d, "jon")
}

func TestALockThatIsOverEndsWithTheFirstRightPassword(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	set(t, s, "lck", "pwdAccountLockedTime", ago(time.Hour))
	d := open(t, real(s))
	a := find(t, d, "lck")
	wantReason(t, "without a password, under a policy that cannot be known", a.State(time.Now()), denial.AccountLocked)
	wantReason(t, "the password", d.Bind(t.Context(), a, secret.New(s.Password)), "")
	wantReason(t, "after it", a.State(time.Now()), "")
}

func TestGroupsAreNestedOrDirect(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		for _, tt := range []struct {
			nested bool
			want   []string
		}{{true, s.nested}, {false, s.direct}} {
			s.config.Groups.Nested = tt.nested
			d := open(t, s.config)
			for _, round := range []string{"cold", "warm"} {
				got, err := d.Groups(t.Context(), find(t, d, "jon"))
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(got)
				want := slices.Sorted(slices.Values(tt.want))
				if !slices.Equal(got, want) {
					t.Errorf("nested %v, %s:\n got %q\nwant %q", tt.nested, round, got, want)
				}
			}
		}
	})
}

func TestE8_ASearchAfterAFailedBindStillRunsAsTheService(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		s.config.Pool = ldapauth.PoolConfig{Search: 1, Bind: 1}
		d := open(t, s.config)
		a := find(t, d, "zoe")
		for _, password := range []string{"Wrong-" + s.password, s.password} {
			_ = d.Bind(t.Context(), a, secret.New(password))
			// Users may read nothing on OpenLDAP, and strangers nothing anywhere.
			if _, err := d.FindByName(t.Context(), "jon"); err != nil {
				t.Errorf("after a bind with %q: %v", password, err)
			}
		}
	})
}

func TestE1_PasswordsThatAreNoneNeverReachTheWire(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		a := find(t, d, "jon")
		before := s.binds(a.DN)
		for _, password := range []string{"", " ", "\t \n", "\u00a0\u3000", "\x00", "\x00" + s.password, s.password + "\x00"} {
			wantReason(t, password, d.Bind(t.Context(), a, secret.New(password)), denial.BadCredentials)
		}
		wantReason(t, "not set", d.Bind(t.Context(), a, secret.String{}), denial.BadCredentials)
		if n := s.binds(a.DN) - before; n != 0 {
			t.Errorf("%d binds reached the server", n)
		}
	})
}

// The real OpenLDAP of the tests answers success to a name without a password.
func TestE2_AServerThatAllowsAnonymousBindsLetsNobodyIn(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, password := range []string{"", " ", "\x00"} {
			wantReason(t, password, d.Bind(t.Context(), find(t, d, "jon"), secret.New(password)), denial.BadCredentials)
		}
		if err := d.Bind(t.Context(), &ldapauth.Account{}, secret.New("x")); err == nil {
			t.Error("an account without a DN was let in")
		}
	})
}

func TestE3_ANameWithFilterSyntaxSignsInAsItself(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		a := find(t, d, s.odd)
		if a.Username != s.odd {
			t.Errorf("found %q", a.Username)
		}
		wantReason(t, s.odd, d.Bind(t.Context(), a, secret.New(s.password)), "")
	})
}

func TestE4_APasswordIsBoundExactlyOnce(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c := s.config
		c.URLs = append(slices.Clone(c.URLs), strings.Replace(c.URLs[0], "127.0.0.1", "localhost", 1)) // a "second server"
		d := open(t, c)
		a := find(t, d, "jon")
		for _, password := range []string{"Wrong-Password-1", s.password} {
			before := s.binds(a.DN)
			_ = d.Bind(t.Context(), a, secret.New(password))
			if n := s.binds(a.DN) - before; n != 1 {
				t.Errorf("%d binds reached the server, want 1", n)
			}
		}
	})
}

// binds returns how many passwords for dn have reached the server; the one in
// memory counts for everybody together.
func (w site) binds(dn string) int {
	switch {
	case w.memory != nil:
		return int(w.memory.Stats().Binds)
	case w.server.Kind == dirtest.KindSamba:
		return strings.Count(w.server.Log(), `simple bind/TLS] user [CORP]\[`+dn+`]`)
	}
	return binds(w.server.Log(), dn)
}

// binds counts the bind requests for dn in a log of slapd.
func binds(log, dn string) int { return strings.Count(log, `BIND dn="`+dn+`" method=128`) }
