package ldapauth_test

import (
	"bytes"
	"log/slog"
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
)

// catalogued returns three directories of which the first two are units of the
// domain of s, each with its half of the people, and the third is somebody
// else's, with the catalogue of s.
func catalogued(t testing.TB, s *dirtest.Server) (other *memdir.Server, c ldapauth.DomainsConfig) {
	t.Helper()
	c = ldapauth.DomainsConfig{Config: real(s)}
	c.BaseDN = nil
	c.BindDN = "svc-connector@corp.example.test"
	c.GlobalCatalog = []string{s.CatalogURL}
	for _, unit := range []string{"Staff", "Service"} {
		d := c.Config
		d.BaseDN, d.Suffixes = setting.OneOrMore{"OU=" + unit + "," + s.BaseDN}, []string{strings.ToLower(unit) + ".test"}
		c.Domains = append(c.Domains, d)
	}
	other, d := memoryAt(t, northBase, memdir.ActiveDirectory)
	d.Suffixes = []string{"north.example"}
	c.Domains = append(c.Domains, d)
	return other, c
}

// searches looks for name and counts the searches for it, by server and base.
func searches(t testing.TB, d *ldapauth.Domains, name string) (n map[string]int, a *ldapauth.Account, err error) {
	t.Helper()
	var trace ldapauth.Trace
	a, err = d.FindByName(ldapauth.WithTrace(t.Context(), &trace), name)
	n = map[string]int{}
	steps, _ := trace.Steps()
	for _, s := range steps {
		if s.Search != nil && strings.Contains(s.Search.Filter, "sAMAccountName="+name) {
			n[s.Search.Server+" "+s.Search.Base]++
		}
	}
	return n, a, err
}

func TestTheGlobalCatalogueSaysWhichDomainToAsk(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	_, c := catalogued(t, s)
	d := openDomains(t, c)
	for _, name := range []string{"photo", "svc-connector", "ghost"} { // they say what they are
		_, _ = d.FindByName(t.Context(), name)
	}
	for name, unit := range map[string]string{"photo": "Staff", "svc-connector": "Service", "ghost": ""} {
		n, a, err := searches(t, d, name)
		if unit == "" {
			wantReason(t, name, err, denial.NoAccount)
		} else if err != nil || !strings.Contains(a.DN, "OU="+unit) {
			t.Errorf("%s: %v", name, err)
		}
		for _, u := range []string{"Staff", "Service"} {
			want := 0
			if u == unit {
				want = 1
			}
			if got := n[s.URL+" OU="+u+","+s.BaseDN]; got != want {
				t.Errorf("%s: %d searches in %s, want %d; all: %v", name, got, u, want, n)
			}
		}
		if n[s.CatalogURL+" "] != 1 || len(n) != 3 && unit != "" {
			t.Errorf("%s: %v", name, n)
		}
	}
}

// Who is found through the catalogue is the account that the domain has, with
// all that decides, and its password goes to the domain.
func TestWhomTheCatalogueFoundIsJudgedByTheDomain(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	_, c := catalogued(t, s)
	d := openDomains(t, c)
	for name, want := range map[string]denial.Reason{"nopw": "", "pwx": denial.PasswordExpired, "dis": denial.AccountDisabled} {
		a, err := d.FindByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, name, d.Bind(t.Context(), a, secret.New(s.Password)), want)
		if want != "" {
			wantReason(t, name+", its state", a.State(time.Now()), want)
		}
		if b, err := d.FindByID(t.Context(), a.ID); err != nil || b.DN != a.DN {
			t.Errorf("%s by ID: %v", name, err)
		}
	}
}

// The catalogue leaves no domain out that it does not vouch for, so a name that
// another forest knows too stays ambiguous.
func TestC4_ANameOutsideTheCatalogueCountsToo(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	other, c := catalogued(t, s)
	d := openDomains(t, c)
	_, err := d.FindByName(t.Context(), "jon")
	wantReason(t, "jon, whom both have", err, denial.SeveralAccounts)
	_ = other.Close()
	for _, name := range []string{"jon", "nopw", "ghost"} {
		if _, err := d.FindByName(t.Context(), name); err == nil || denial.ReasonOf(err) != "" {
			t.Errorf("%s, while the other cannot be asked: %v", name, err)
		}
	}
}

// With a catalogue that is none, is down or has no answer, every domain is asked.
func TestWithoutTheCatalogueEveryDomainIsAsked(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	for name, url := range map[string]string{"no catalogue": s.URL, "down": "ldaps://127.0.0.1:9", "frozen": "ldaps://" + frozen(t)} {
		t.Run(name, func(t *testing.T) {
			_, c := catalogued(t, s)
			c.GlobalCatalog = []string{url}
			c.Timeout = setting.Duration(time.Second)
			var log bytes.Buffer
			d, err := ldapauth.NewDomains(c, ldapauth.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				var trace ldapauth.Trace
				if _, err := d.FindByName(ldapauth.WithTrace(within(t, 5*time.Second), &trace), "nopw"); err != nil {
					t.Errorf("nopw: %v", err)
				}
				steps, _ := trace.Steps()
				tried := slices.ContainsFunc(steps, func(s ldapauth.Step) bool {
					return strings.Contains(s.Text, url) || s.Search != nil && s.Search.Base == ""
				})
				if tried && i > 0 {
					t.Errorf("sign-in %d was held up by the catalogue: %+v", i+1, steps)
				}
				_, err = d.FindByName(t.Context(), "jon")
				wantReason(t, "jon", err, denial.SeveralAccounts)
			}
			d.Close()
			if n := strings.Count(log.String(), "of no use"); n != 1 {
				t.Errorf("the log says so %d times:\n%s", n, log.String())
			}
		})
	}
}

func TestCheckLooksAtTheGlobalCatalogue(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	_, c := catalogued(t, s)
	d := openDomains(t, c)
	said := map[string]ldapauth.Level{}
	for _, f := range d.Check(t.Context()) {
		if strings.HasPrefix(f.Subject, "global catalogue") {
			said[f.Text] = f.Level
		}
	}
	for text, level := range map[string]ldapauth.Level{"knows the people": ldapauth.OK, "who is in staff.test": ldapauth.OK, "who is in service.test": ldapauth.OK, "who is in north.example": ldapauth.Warning} {
		found := false
		for s, l := range said {
			found = found || strings.Contains(s, text) && l == level
		}
		if !found {
			t.Errorf("no finding %q of level %d in %v", text, level, said)
		}
	}
	c.GlobalCatalog = []string{s.URL}
	failed := false
	for _, f := range openDomains(t, c).Check(t.Context()) {
		failed = failed || f.Level == ldapauth.Failure && strings.Contains(f.Text, "no global catalogue")
	}
	if !failed {
		t.Error("a domain's own port passes for the global catalogue")
	}
}
