package ldapauth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

const northBase = "DC=north,DC=example"

// openDomains returns the directories that c describes, closed when the test
// ends.
func openDomains(t testing.TB, c ldapauth.DomainsConfig) *ldapauth.Domains {
	t.Helper()
	d, err := ldapauth.NewDomains(c, ldapauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// twoDomains starts two companies with the same people, but for amy, who is in
// FABRIKAM alone, and for norah, who is in NORTH alone.
func twoDomains(t testing.TB) (servers [2]*memdir.Server, c ldapauth.DomainsConfig) {
	t.Helper()
	c = ldapauth.DefaultDomains()
	for i, base := range []string{memBase, northBase} {
		s, one := memoryAt(t, base, memdir.ActiveDirectory)
		servers[i] = s
		one.Suffixes = []string{[]string{"fabrikam.example", "north.example"}[i]}
		one.NetBIOS = []string{"FABRIKAM", "NORTH"}[i]
		c.Domains = append(c.Domains, one)
	}
	if err := servers[1].Update("CN=Amy Reed,OU=Staff,"+northBase, map[string][]string{
		"sAMAccountName": {"norah"}, "userPrincipalName": {"norah@north.example"},
	}); err != nil {
		t.Fatal(err)
	}
	return servers, c
}

func TestANameWithADomainGoesToThatDomainAlone(t *testing.T) {
	servers, c := twoDomains(t)
	d := openDomains(t, c)
	for name, base := range map[string]string{
		`FABRIKAM\jon`: memBase, `north\JON`: northBase, "jon@fabrikam.example": memBase, "Jon@North.Example": northBase,
	} {
		a, err := d.FindByName(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.HasSuffix(a.DN, base) {
			t.Errorf("%s is %s", name, a.DN)
		}
	}
	before := servers[0].Stats().Searches
	for range 3 {
		if _, err := d.FindByName(t.Context(), `NORTH\jon`); err != nil {
			t.Fatal(err)
		}
	}
	if n := servers[0].Stats().Searches - before; n != 0 {
		t.Errorf("the other domain was searched %d times", n)
	}
}

func TestC4_ANameThatTwoDomainsKnowIsNobodys(t *testing.T) {
	_, c := twoDomains(t)
	d := openDomains(t, c)
	_, err := d.FindByName(t.Context(), "jon")
	wantReason(t, "jon", err, denial.SeveralAccounts)
	for name, base := range map[string]string{"amy": memBase, "norah": northBase} {
		a, err := d.FindByName(t.Context(), name)
		if err != nil || !strings.HasSuffix(a.DN, base) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = d.FindByName(t.Context(), "ghost")
	wantReason(t, "ghost", err, denial.NoAccount)
	_, err = d.FindByName(t.Context(), "PC-0042$")
	wantReason(t, "a machine of each", err, denial.NoAccount)
}

func TestC12_AForeignDomainIsRefusedAndNeverStripped(t *testing.T) {
	_, c := twoDomains(t)
	d := openDomains(t, c)
	for _, name := range []string{
		"amy@elsewhere.example", `ELSEWHERE\amy`, `fabrikam.example\amy`, "amy@FABRIKAM", "amy@fabrikam.example.", "amy@fabrikam.example@elsewhere.example",
		`NORTH\amy`, "amy@north.example", `ELSEWHERE\amy@fabrikam.example`, `FABRIKAM\amy@fabrikam.example`,
	} {
		_, err := d.FindByName(t.Context(), name)
		wantReason(t, name, err, denial.NoAccount)
	}
}

// Whoever has taken another's name in a domain that is down must not be let in
// because only one is left.
func TestADomainThatCannotBeAskedIsAFault(t *testing.T) {
	servers, c := twoDomains(t)
	d := openDomains(t, c)
	jon, err := d.FindByName(t.Context(), `FABRIKAM\jon`)
	if err != nil {
		t.Fatal(err)
	}
	_ = servers[1].Close()
	for _, name := range []string{"jon", "amy", "ghost"} {
		if _, err := d.FindByName(t.Context(), name); err == nil || denial.ReasonOf(err) != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{`FABRIKAM\jon`, "jon@fabrikam.example"} {
		if _, err := d.FindByName(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err := d.FindByID(t.Context(), jon.ID); err != nil || a.DN != jon.DN {
		t.Errorf("by ID: %v", err)
	}
	// Another process does not remember where the account is from.
	if a, err := openDomains(t, c).FindByID(t.Context(), jon.ID); err != nil || a.DN != jon.DN {
		t.Errorf("by ID, not remembered: %v", err)
	}
	if _, err := d.FindByID(t.Context(), "00000000-0000-0000-0000-000000000001"); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("an ID that the other may have: %v", err)
	}
	if err := d.Probe(t.Context()); err == nil || ldapauth.Misconfigured(err) {
		t.Errorf("Probe: %v", err)
	}
}

func TestAnAccountIsBoundWhereItWasFound(t *testing.T) {
	servers, c := twoDomains(t)
	if err := servers[1].SetPassword("CN=Jon Smith,OU=Staff,"+northBase, "North-Only-1"); err != nil {
		t.Fatal(err)
	}
	d := openDomains(t, c)
	for name, want := range map[string]denial.Reason{`NORTH\jon`: "", `FABRIKAM\jon`: denial.BadCredentials} {
		a, err := d.FindByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, name, d.Bind(t.Context(), a, secret.New("North-Only-1")), want)
		groups, err := d.Groups(t.Context(), a)
		if err != nil || !slices.Contains(groups, "All Staff") {
			t.Errorf("groups of %s: %q, %v", name, groups, err)
		}
	}
	if err := d.Bind(t.Context(), &ldapauth.Account{DN: "CN=x"}, secret.New("x")); err == nil {
		t.Error("an account of no directory was let in")
	}
	if _, err := d.Groups(t.Context(), &ldapauth.Account{DN: "CN=x"}); err == nil {
		t.Error("an account of no directory has groups")
	}
}

func TestAnIDIsFoundInTheDomainThatHasItNow(t *testing.T) {
	servers, c := twoDomains(t)
	d := openDomains(t, c)
	norah, err := d.FindByName(t.Context(), "norah")
	if err != nil {
		t.Fatal(err)
	}
	before := servers[0].Stats().Searches
	if _, err := d.FindByID(t.Context(), norah.ID); err != nil {
		t.Fatal(err)
	}
	if n := servers[0].Stats().Searches - before; n != 0 {
		t.Errorf("an ID of which the domain is remembered was looked for in the other %d times", n)
	}
	// She is moved, and keeps her ID.
	if err := servers[1].Remove(norah.DN); err != nil {
		t.Fatal(err)
	}
	if err := servers[0].Update("CN=Amy Reed,OU=Staff,"+memBase, map[string][]string{"objectGUID": {norah.ID}}); err != nil {
		t.Fatal(err)
	}
	if a, err := d.FindByID(t.Context(), norah.ID); err != nil || !strings.HasSuffix(a.DN, memBase) {
		t.Errorf("after the move: %v", err)
	}
}

func TestCheckReportsEachDomain(t *testing.T) {
	_, c := twoDomains(t)
	c.Domains[1].BaseDN = setting.OneOrMore{"DC=nowhere"}
	var failed []string
	seen := map[string]bool{}
	for _, f := range openDomains(t, c).Check(t.Context()) {
		label, _, _ := strings.Cut(f.Subject, ", ")
		seen[label] = true
		if f.Level == ldapauth.Failure {
			failed = append(failed, label+": "+f.Text)
		}
	}
	if !seen["fabrikam.example"] || !seen["north.example"] {
		t.Errorf("reported are %v", seen)
	}
	if len(failed) != 1 || !strings.HasPrefix(failed[0], "north.example: ") || !strings.Contains(failed[0], "DC=nowhere") {
		t.Errorf("failures: %q", failed)
	}
	if err := openDomains(t, c).Probe(t.Context()); !ldapauth.Misconfigured(err) || !strings.Contains(err.Error(), "north.example") {
		t.Errorf("Probe: %v", err)
	}
}

func TestValidateOfDomains(t *testing.T) {
	two := func() ldapauth.DomainsConfig {
		c := ldapauth.DomainsConfig{Config: good()}
		c.BaseDN = nil
		for _, name := range []string{"corp", "north"} {
			d := c.Config
			d.BaseDN, d.Suffixes, d.NetBIOS = setting.OneOrMore{"dc=" + name + ",dc=test"}, []string{name + ".test"}, strings.ToUpper(name)
			c.Domains = append(c.Domains, d)
		}
		return c
	}
	for _, tt := range []struct {
		name   string
		change func(*ldapauth.DomainsConfig)
		want   string // "key: part of the text"; "" = nothing is wrong
	}{
		{"nothing", func(*ldapauth.DomainsConfig) {}, ""},
		{"no base in one", func(c *ldapauth.DomainsConfig) { c.Domains[1].BaseDN = nil }, "domains[1].base_dn: missing"},
		{"no server in one", func(c *ldapauth.DomainsConfig) { c.URLs, c.Domains[0].URLs = nil, nil }, "domains[0].urls: at least one"},
		{"a value of one", func(c *ldapauth.DomainsConfig) { c.Domains[1].Timeout = 0 }, "domains[1].timeout: out of bounds"},
		{"a value of all", func(c *ldapauth.DomainsConfig) { c.Timeout, c.Domains[0].Timeout, c.Domains[1].Timeout = 0, 0, 0 }, "timeout: out of bounds"},
		{"a suffix of all", func(c *ldapauth.DomainsConfig) { c.Suffixes = []string{"x.test"} }, "suffixes: in one of ldap.domains"},
		{"a short name of all", func(c *ldapauth.DomainsConfig) { c.NetBIOS = "X" }, "netbios: in one of ldap.domains"},
		{"a suffix twice", func(c *ldapauth.DomainsConfig) { c.Domains[1].Suffixes = []string{"north.test", "Corp.Test"} }, "domains[1].suffixes[1]: domains[0] too"},
		{"a short name twice", func(c *ldapauth.DomainsConfig) { c.Domains[1].NetBIOS = "corp" }, "domains[1].netbios: domains[0] too"},
		{"a domain without a name", func(c *ldapauth.DomainsConfig) { c.Domains[0].Suffixes, c.Domains[0].NetBIOS = nil, "" }, "domains[0].suffixes: missing"},
		{"a short name is enough", func(c *ldapauth.DomainsConfig) { c.Domains[0].Suffixes = nil }, ""},
		{"a policy of one", func(c *ldapauth.DomainsConfig) { c.Domains[1].AllowExpiredPassword = true }, "domains[1].allow_expired_password: the same for all"},
		{"another policy of one", func(c *ldapauth.DomainsConfig) { c.Domains[0].AllowMustChangePassword = true }, "domains[0].allow_must_change_password: the same for all"},
		{"what one does without groups", func(c *ldapauth.DomainsConfig) { c.Domains[1].Groups.OnFailure = ldapauth.OnFailureOmit }, "domains[1].groups.on_failure: the same for all"},
		{"a policy of all", func(c *ldapauth.DomainsConfig) {
			c.AllowExpiredPassword, c.Domains[0].AllowExpiredPassword, c.Domains[1].AllowExpiredPassword = true, true, true
		}, ""},
		{"a catalogue", func(c *ldapauth.DomainsConfig) { c.GlobalCatalog = []string{"ldaps://gc1", "ldaps://gc2:3269"} }, ""},
		{"a catalogue that is a domain's port", func(c *ldapauth.DomainsConfig) { c.GlobalCatalog = []string{"ldaps://gc1", "ldaps://gc2:636"} }, "global_catalog[1]: has port 3268, with TLS 3269"},
		{"a catalogue in clear", func(c *ldapauth.DomainsConfig) { c.GlobalCatalog = []string{"ldap://gc1"} }, "global_catalog[0]: in clear"},
		{"a catalogue that is no URL", func(c *ldapauth.DomainsConfig) { c.GlobalCatalog = []string{"gc1"} }, "global_catalog[0]: must begin with"},
		{"a catalogue twice", func(c *ldapauth.DomainsConfig) { c.GlobalCatalog = []string{"ldaps://gc1", "ldaps://gc1"} }, "global_catalog[1]: twice"},
		{"a catalogue of one domain", func(c *ldapauth.DomainsConfig) {
			c.GlobalCatalog, c.Domains = []string{"ldaps://gc1"}, c.Domains[:1]
		}, "global_catalog: several ldap.domains"},
		{"a catalogue without domains", func(c *ldapauth.DomainsConfig) {
			c.Config, c.Domains, c.GlobalCatalog = good(), nil, []string{"ldaps://gc1"}
		}, "global_catalog: several ldap.domains"},
		{"a catalogue without an account", func(c *ldapauth.DomainsConfig) {
			c.GlobalCatalog, c.BindDN, c.BindPassword = []string{"ldaps://gc1"}, "", secret.String{}
		}, "bind_dn: the service account that stands in ldap itself"},
		{"a catalogue with half an account", func(c *ldapauth.DomainsConfig) {
			c.GlobalCatalog, c.BindPassword = []string{"ldaps://gc1"}, secret.String{}
		}, "bind_password: missing"},
		{"a catalogue with half an account that all have", func(c *ldapauth.DomainsConfig) {
			c.GlobalCatalog, c.BindPassword = []string{"ldaps://gc1"}, secret.String{}
			for i := range c.Domains {
				c.Domains[i].BindPassword = secret.String{}
			}
		}, "bind_password: missing"},
		{"a suffix with its @", func(c *ldapauth.DomainsConfig) { c.Domains[0].Suffixes = []string{"@corp.test"} }, "domains[0].suffixes[0]: without the @"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := two()
			tt.change(&c)
			errs := setting.Split(c.Validate())
			key, text, _ := strings.Cut(tt.want, ": ")
			switch {
			case tt.want == "" && len(errs) == 0:
			case len(errs) != 1:
				t.Errorf("%d problems: %v", len(errs), errs)
			default:
				if p, ok := errors.AsType[*setting.Problem](errs[0]); !ok || p.Key != key || !strings.Contains(p.Text, text) {
					t.Errorf("problem %v, want %s", errs[0], tt.want)
				}
			}
		})
	}
}
