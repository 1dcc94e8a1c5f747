package ldapauth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	"github.com/go-ldap/ldap/v3"
)

// named returns the configuration of s in which its people have the domains that
// real ones have: an Active Directory on a network knows them by itself.
func named(s site) (c ldapauth.Config, suffix string) {
	c = s.config
	suffix = "fabrikam.example"
	if strings.Contains(c.BaseDN[0], "corp") {
		suffix = "corp.example.test"
	}
	if s.knowsItself {
		return c, suffix
	}
	c.Suffixes, c.NetBIOS = []string{suffix}, "CORP"
	return c, suffix
}

func TestANameInAnyFormIsTheSameAccount(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c, suffix := named(s)
		c.MailAsName = true
		d := open(t, c)
		jon := find(t, d, "jon")
		for _, name := range []string{"JON", "jon@" + suffix, "Jon@" + strings.ToUpper(suffix), `CORP\jon`, `corp\JON`} {
			if a := find(t, d, name); a.ID != jon.ID {
				t.Errorf("%s is %s", name, a.DN)
			}
		}
		mail := jon.First("mail")
		if a := find(t, d, mail); a.ID != jon.ID {
			t.Errorf("%s is %s", mail, a.DN)
		}
		wantReason(t, "the password", d.Bind(t.Context(), find(t, d, `CORP\jon`), secret.New(s.password)), "")
	})
}

func TestCheckSaysHowNamesAreWritten(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c, suffix := named(s)
		for change, want := range map[string]string{"": "jon, jon@" + suffix + `, CORP\jon`, "mail": `CORP\jon, the mail address`, "filter": "ldap.user_filter"} {
			c := c
			c.MailAsName = change == "mail"
			if change == "filter" {
				c.UserFilter = "(mail={0})"
			}
			if _, text := worst(open(t, c).Check(t.Context())); !strings.Contains(text, want) {
				t.Errorf("nothing about %q in\n%s", want, text)
			}
		}
	})
	_, c := memory(t, memdir.ActiveDirectory) // it has no CN=Partitions
	if _, text := worst(open(t, c).Check(t.Context())); !strings.Contains(text, "until ldap.netbios is set") {
		t.Errorf("nothing about the missing name in\n%s", text)
	}
}

func TestC12_ANameOfAnotherForestIsRefused(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c, suffix := named(s)
		d := open(t, c)
		for _, name := range []string{
			"jon@elsewhere.example", `ELSEWHERE\jon`, "jon@sub." + suffix, "jon@" + suffix + ".", "jon@." + suffix, "jon@example.test", "jon@CORP",
			suffix + `\jon`, `CORP.\jon`, `ＣＯＲＰ\jon`, "jon@ｃorp.example.test", `\jon`, `CORP\`, `CORP\\jon`, "@" + suffix, "jon@", "jon@@" + suffix,
			"jon@" + suffix + "@elsewhere.example", "jon@elsewhere.example@" + suffix, `CORP\jon@` + suffix, `ELSEWHERE\jon@` + suffix, `ELSEWHERE\CORP\jon`,
			"CORP/jon", suffix + "/jon", "jon%" + suffix, "smtp:jon@" + suffix,
		} {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name, err, denial.NoAccount)
		}
	})
}

func TestC2_BlanksAroundThePartsOfANameAreRefused(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c, suffix := named(s)
		d := open(t, c)
		for name, want := range map[string]denial.Reason{
			`CORP\ jon`: denial.BadName, "jon @" + suffix: denial.BadName, `CORP\jon `: denial.BadName,
			`CORP \jon`: denial.NoAccount, "jon@ " + suffix: denial.NoAccount,
		} {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name, err, want)
		}
	})
}

func TestE3_SyntaxInEitherPartOfANameIsNoQuestion(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c, suffix := named(s)
		c.MailAsName = true
		d := open(t, c)
		dn := find(t, d, "jon").DN
		for _, name := range []string{
			"*@" + suffix, "jo*@" + suffix, "jon@*", "jon@" + suffix[:4] + "*", `CORP\*`, `CORP\jo*`, `*\jon`, `COR*\jon`,
			"jon)(objectClass=*@" + suffix, `CORP\jon)(objectClass=*`, `CORP\jon)(|(cn=*`, `CORP\*)(uid=*))(|(uid=*`, `CORP\\2a`, `CORP\jo\6e`, `\43ORP\jon`,
			`CORP\` + dn, dn, dn + "@" + suffix, "<SID=S-1-5-21-1-2-3-1000>", `CORP\<GUID=00>`, "{0}", `CORP\{0}`, "{0}@" + suffix,
		} {
			_, err := d.FindByName(t.Context(), name)
			wantReason(t, name, err, denial.NoAccount)
		}
	})
	for name, start := range map[string]func(testing.TB) *dirtest.Server{
		`CORP\o'neil (ops)\*`: dirtest.SharedOpenLDAP,
		`CORP\o'neil (ops)`:   dirtest.SharedSambaAD, "o'neil (ops)@corp.example.test": dirtest.SharedSambaAD,
	} {
		s := start(t)
		c := real(s)
		if s.Kind == dirtest.KindOpenLDAP {
			c.Suffixes, c.NetBIOS = []string{"corp.example.test"}, "CORP"
		}
		d := open(t, c)
		a := find(t, d, name)
		if !strings.HasPrefix(a.Username, "o'neil (ops)") {
			t.Errorf("%s is %s", name, a.DN)
		}
		wantReason(t, name, d.Bind(t.Context(), a, secret.New(s.Password)), "")
	}
}

// A domain controller that allows it (those of today do not) can hold two persons
// of one name: the one whose account is called so, and the one whose
// userPrincipalName says so.
func TestC4_AnotherPersonsImplicitNameIsNobodys(t *testing.T) {
	server, c := memory(t, memdir.ActiveDirectory)
	if err := server.Update("CN=Amy Reed,OU=Staff,"+memBase, map[string][]string{"userPrincipalName": {"jon@fabrikam.example"}}); err != nil {
		t.Fatal(err)
	}
	if err := server.Update("CN=Jon Smith,OU=Staff,"+memBase, map[string][]string{"userPrincipalName": {"smith@fabrikam.example"}}); err != nil {
		t.Fatal(err)
	}
	d := open(t, c)
	for name, want := range map[string]denial.Reason{"jon@fabrikam.example": denial.SeveralAccounts, "jon": "", "smith@fabrikam.example": "", "amy@fabrikam.example": ""} {
		_, err := d.FindByName(t.Context(), name)
		wantReason(t, name, err, want)
	}
}

// A suffix of the forest counts with those to whom it was given, and is never
// cut off to find somebody else.
func TestC12_ASuffixCountsOnlyWithWhomItWasGivenTo(t *testing.T) {
	s := dirtest.SambaAD(t)
	admin := s.Admin(t)
	modify := func(dn, attribute string, values ...string) {
		t.Helper()
		m := ldap.NewModifyRequest(dn, nil)
		m.Replace(attribute, values)
		if err := admin.Modify(m); err != nil {
			t.Fatalf("%s of %s: %v", attribute, dn, err)
		}
	}
	modify("CN=Partitions,CN=Configuration,"+s.BaseDN, "uPNSuffixes", "brand.test", "unused.test")
	modify(s.DN(t, "photo"), "userPrincipalName", "photo@brand.test")
	modify(s.DN(t, "nopw"), "userPrincipalName", "zoe@brand.test")
	d := open(t, real(s))
	for name, want := range map[string]denial.Reason{
		"photo@brand.test":        "",
		"Photo@Brand.Test":        "",
		"photo@corp.example.test": "", // what everybody is called, whatever the attribute says
		`CORP\photo`:              "",
		"jon@brand.test":          denial.NoAccount,
		"photo@unused.test":       denial.NoAccount,
		"zoe@brand.test":          "",
		"photo@elsewhere.test":    denial.NoAccount,
		"zoe@corp.example.test":   "",
		`CORP\zoe`:                "",
		`CORP\nopw`:               "",
		"nopw@corp.example.test":  "",
	} {
		a, err := d.FindByName(t.Context(), name)
		wantReason(t, name, err, want)
		if name == "zoe@brand.test" {
			name = "nopw"
		}
		if local, _, _ := strings.Cut(strings.TrimPrefix(name, `CORP\`), "@"); err == nil && !strings.EqualFold(a.Username, local) {
			t.Errorf("%s is %s", name, a.DN)
		}
	}
	// A list in the configuration is what counts, the domain's own name excepted.
	c := real(s)
	c.Suffixes = []string{"unused.test"}
	d = open(t, c)
	for name, want := range map[string]denial.Reason{"photo@brand.test": denial.NoAccount, "photo@corp.example.test": "", "photo@unused.test": denial.NoAccount} {
		_, err := d.FindByName(t.Context(), name)
		wantReason(t, name+" with suffixes", err, want)
	}
}

func TestC4_AMailAddressOfTwoIsNobodys(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	c := real(s)
	c.MailAsName = true
	d := open(t, c)
	_, err := d.FindByName(t.Context(), "ambi@corp.example.test")
	wantReason(t, "the mail address of two", err, denial.SeveralAccounts)
	c.MailAsName = false
	a := find(t, open(t, c), "ambi@corp.example.test")
	if a.Username != "ambi" {
		t.Errorf("without mail it is %s", a.DN)
	}
}

// realDomains starts an OpenLDAP of its own and uses the domain controller that
// is shared, as two domains. Most people are in both.
func realDomains(t testing.TB) (lab, corp *dirtest.Server, c ldapauth.DomainsConfig) {
	t.Helper()
	lab, corp = dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}), dirtest.SharedSambaAD(t)
	c = ldapauth.DefaultDomains()
	one, two := real(lab), real(corp)
	one.Suffixes, one.NetBIOS = []string{"lab.test"}, "LAB"
	two.Suffixes, two.NetBIOS = []string{"corp.example.test"}, "CORP"
	c.Domains = []ldapauth.Config{one, two}
	return lab, corp, c
}

func TestC4_WhomTwoRealDomainsKnowIsNobodys(t *testing.T) {
	lab, corp, c := realDomains(t)
	d := openDomains(t, c)
	for name, want := range map[string]string{
		`o'neil (ops)\*`: "", // a backslash belongs to a domain here
		"chg":            lab.BaseDN, "nopw": corp.BaseDN, `LAB\jon`: lab.BaseDN, "jon@lab.test": lab.BaseDN, `CORP\jon`: corp.BaseDN, "jon@corp.example.test": corp.BaseDN,
		"DC1$": "", "printer": "", "group-A": "", "ghost": "", "nopw@lab.test": "", `CORP\chg`: "", "jon@elsewhere.test": "",
	} {
		a, err := d.FindByName(t.Context(), name)
		if want == "" {
			wantReason(t, name, err, denial.NoAccount)
		} else if err != nil || !strings.HasSuffix(a.DN, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"jon", "JON", "zoe", "jonas"} { // jonas is two persons in one
		_, err := d.FindByName(t.Context(), name)
		wantReason(t, name, err, denial.SeveralAccounts)
	}
	lab.Stop()
	for _, name := range []string{"nopw", "jon", "ghost", `LAB\jon`} {
		if _, err := d.FindByName(t.Context(), name); err == nil || denial.ReasonOf(err) != "" {
			t.Errorf("%s, while one domain is down: %v", name, err)
		}
	}
	if _, err := d.FindByName(t.Context(), `CORP\jon`); err != nil {
		t.Errorf("the other domain's: %v", err)
	}
}

// The same name and the same password in two domains: whichever is meant, the
// other one never hears the password.
func TestE4_APasswordIsNeverTriedInTwoDomains(t *testing.T) {
	servers := [2]*dirtest.Server{dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}), dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})}
	c := ldapauth.DefaultDomains()
	for i, s := range servers {
		one := real(s)
		one.NetBIOS = []string{"ONE", "TWO"}[i]
		c.Domains = append(c.Domains, one)
	}
	d := openDomains(t, c)
	dn := servers[0].DN(t, "jon")
	for _, tt := range []struct {
		name, password string
		want           [2]int
		reason         denial.Reason
	}{
		{"jon", servers[0].Password, [2]int{}, denial.SeveralAccounts},
		{`ONE\jon`, "Wrong-1", [2]int{1, 0}, denial.BadCredentials},
		{`TWO\jon`, "Wrong-1", [2]int{0, 1}, denial.BadCredentials},
		{`TWO\jon`, servers[1].Password, [2]int{0, 1}, ""},
		{`THREE\jon`, servers[1].Password, [2]int{}, denial.NoAccount},
	} {
		before := [2]int{binds(servers[0].Log(), dn), binds(servers[1].Log(), dn)}
		a, err := d.FindByName(t.Context(), tt.name)
		if err == nil {
			err = d.Bind(t.Context(), a, secret.New(tt.password))
		}
		wantReason(t, tt.name, err, tt.reason)
		if got := [2]int{binds(servers[0].Log(), dn) - before[0], binds(servers[1].Log(), dn) - before[1]}; got != tt.want {
			t.Errorf("%s: binds %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSeveralBasesAreSearchedAsOne(t *testing.T) {
	for kind, start := range map[string]func(testing.TB) *dirtest.Server{"OpenLDAP": dirtest.SharedOpenLDAP, "Samba": dirtest.SharedSambaAD} {
		t.Run(kind, func(t *testing.T) {
			s := start(t)
			c := real(s)
			whole := find(t, open(t, c), "jon")
			groups, err := open(t, c).Groups(t.Context(), whole)
			if err != nil {
				t.Fatal(err)
			}
			parent := whole.DN[strings.Index(whole.DN, ",")+1:]
			c.BaseDN = setting.OneOrMore{"OU=Groups," + s.BaseDN, parent}
			d := open(t, c)
			a := find(t, d, "jon")
			if a.ID != whole.ID {
				t.Errorf("found %s", a.DN)
			}
			got, err := d.Groups(t.Context(), a)
			slices.Sort(got)
			slices.Sort(groups)
			// The primary group of Active Directory is in neither base.
			if want := slices.DeleteFunc(groups, func(g string) bool { return g == "Domain Users" }); err != nil || !slices.Equal(got, want) {
				t.Errorf("groups %q, %v; want %q", got, err, want)
			}
			wantReason(t, "the password", d.Bind(t.Context(), a, secret.New(s.Password)), "")
			if err := d.Probe(within(t, 20*time.Second)); err != nil {
				t.Error(err)
			}
			c.BaseDN = append(c.BaseDN, "OU=Nowhere,"+s.BaseDN)
			if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "OU=Nowhere") {
				t.Errorf("with a base that does not exist: %v", err)
			}
		})
	}
}
