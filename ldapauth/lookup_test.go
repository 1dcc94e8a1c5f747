package ldapauth_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/setting"
)

// usernames returns the user names of people.
func usernames(people []*ldapauth.Account) []string {
	var list []string
	for _, a := range people {
		list = append(list, a.Username)
	}
	return list
}

func TestPeopleAreFoundByAPartOfTheirName(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		jon := find(t, d, "jon")
		for what, text := range map[string]string{
			"a part of the user name":  "jo",
			"the mail address":         jon.First("mail"),
			"a part of the real name":  jon.First("displayName")[1:],
			"letters of another case":  strings.ToUpper(jon.First("displayName")),
			"everybody, without limit": "",
		} {
			people, more, err := d.SearchUsers(t.Context(), text, 100)
			if err != nil || more || !slices.Contains(usernames(people), "jon") {
				t.Errorf("%s (%q): %q, more %v, error %v", what, text, usernames(people), more, err)
			}
		}
		all, _, err := d.SearchUsers(t.Context(), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.ID == "" || strings.HasSuffix(a.Username, "$") || a.Username == "printer" {
				t.Errorf("%q is no person", a.DN)
			}
		}
		people, more, err := d.SearchUsers(t.Context(), "", 2)
		if err != nil || !more || len(people) > 2 {
			t.Errorf("at most 2 of %d: %q, more %v, error %v", len(all), usernames(people), more, err)
		}
		if people, more, err := d.SearchUsers(t.Context(), "nobody at all", 2); err != nil || more || len(people) > 0 {
			t.Errorf("nobody: %q, more %v, error %v", usernames(people), more, err)
		}
	})
}

// What is looked for is text: it must not become a part of the filter.
func TestE2_SearchTextIsNeverAFilter(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, text := range []string{"*", "j*n", ")(uid=*", "*)(objectClass=*", `\2a`, "jon)(|(cn=*"} {
			people, _, err := d.SearchUsers(t.Context(), text, 100)
			if err != nil || len(people) > 1 || len(people) == 1 && !strings.Contains(people[0].Username, text) {
				t.Errorf("%q: %q, error %v", text, usernames(people), err)
			}
			groups, _, err := d.SearchGroups(t.Context(), text, 100)
			if err != nil || len(groups) > 0 {
				t.Errorf("%q: %q, error %v", text, groups, err)
			}
		}
		for _, text := range []string{"jon\x00", "jon\n", "\xff", strings.Repeat("x", 300)} {
			if _, _, err := d.SearchUsers(t.Context(), text, 100); denial.ReasonOf(err) != denial.BadName {
				t.Errorf("%q: error %v", text, err)
			}
		}
	})
}

func TestUserSearchIsObeyed(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		c := s.config
		c.UserSearch = "(sn=*{0}*)"
		jon := find(t, open(t, s.config), "jon")
		d := open(t, c)
		if people, _, err := d.SearchUsers(t.Context(), jon.First("sn"), 100); err != nil || !slices.Contains(usernames(people), "jon") {
			t.Errorf("by surname: %q, error %v", usernames(people), err)
		}
		if people, _, err := d.SearchUsers(t.Context(), "jon", 100); err != nil || slices.Contains(usernames(people), "jon") {
			t.Errorf("by user name, which is not asked for: %q, error %v", usernames(people), err)
		}
	})
}

func TestGroupsAreFoundByAPartOfTheirName(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		mine, err := d.Groups(t.Context(), find(t, d, "jon"))
		if err != nil || len(mine) == 0 {
			t.Fatalf("groups %q, error %v", mine, err)
		}
		all, more, err := d.SearchGroups(t.Context(), "", 1000)
		if err != nil || more {
			t.Fatalf("more %v, error %v", more, err)
		}
		kinds := map[string]bool{}
		for _, g := range all {
			kinds[g.Kind] = true
		}
		ad := find(t, d, "jon").First("sAMAccountName") != ""
		if ad != kinds["security"] || ad != kinds["distribution"] || ad == kinds[""] {
			t.Errorf("kinds %v", kinds)
		}
		for _, name := range mine {
			groups, _, err := d.SearchGroups(t.Context(), strings.ToUpper(name[1:]), 1000)
			if err != nil || !slices.ContainsFunc(groups, func(g ldapauth.Group) bool { return g.Name == name && g.DN != "" }) {
				t.Errorf("%q: %+v, error %v", name, groups, err)
			}
		}
		if groups, more, err := d.SearchGroups(t.Context(), "", 1); err != nil || !more || len(groups) != 1 {
			t.Errorf("one of them: %v, more %v, error %v", groups, more, err)
		}
	})
}

func TestLookupIsReadPageByPage(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Users: 1600, SizeLimit: 5000})
	c := real(s)
	d := open(t, c)
	for _, tt := range []struct {
		limit, want int
		more        bool
	}{{499, 499, true}, {500, 500, true}, {1250, 1250, true}, {1600, 1600, false}, {5000, 1600, false}} {
		people, more, err := d.SearchUsers(t.Context(), "u0", tt.limit)
		if err != nil || len(people) != tt.want || more != tt.more {
			t.Errorf("at most %d: %d, more %v, error %v; want %d, more %v", tt.limit, len(people), more, err, tt.want, tt.more)
		}
	}
	distinct := map[string]bool{}
	people, _, err := d.SearchUsers(t.Context(), "u0", 1600)
	for _, a := range people {
		distinct[a.DN] = true
	}
	if err != nil || len(distinct) != 1600 {
		t.Errorf("%d different people, error %v", len(distinct), err)
	}
}

func TestServerThatGivesFewerSaysThatThereAreMore(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Users: 40, SizeLimit: 25})
	for _, limit := range []int{30, 1000} {
		people, more, err := open(t, real(s)).SearchUsers(t.Context(), "u0", limit)
		if err != nil || !more || len(people) != 25 {
			t.Errorf("at most %d: %d, more %v, error %v", limit, len(people), more, err)
		}
	}
}

func TestAllDomainsAreLookedThrough(t *testing.T) {
	servers, c := twoDomains(t)
	d := openDomains(t, c)
	people, more, err := d.SearchUsers(t.Context(), "jon", 100)
	if err != nil || more || len(people) != 2 || people[0].Domain() == people[1].Domain() {
		t.Errorf("%q, more %v, error %v", usernames(people), more, err)
	}
	if people, more, err := d.SearchUsers(t.Context(), "jon", 1); err != nil || !more || len(people) != 1 {
		t.Errorf("one of two: %q, more %v, error %v", usernames(people), more, err)
	}
	groups, _, err := d.SearchGroups(t.Context(), "Process Engineers", 100)
	if err != nil || len(groups) != 2 || groups[0].Domain != "fabrikam.example" || groups[1].Domain != "north.example" {
		t.Errorf("%v, error %v", groups, err)
	}
	_ = servers[1].Close()
	if people, _, err := d.SearchUsers(t.Context(), "jon", 100); err == nil || !strings.Contains(err.Error(), "north.example") {
		t.Errorf("one domain is down: %q, error %v", usernames(people), err)
	}
}

func TestAllBasesAreLookedThrough(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		whole, _, err := d.SearchUsers(t.Context(), "jo", 100)
		if err != nil {
			t.Fatal(err)
		}
		c := s.config
		jon := find(t, d, "jon").DN
		c.BaseDN = setting.OneOrMore{jon[strings.IndexByte(jon, ',')+1:], "OU=Groups," + s.config.BaseDN[0]}
		parts, more, err := open(t, c).SearchUsers(t.Context(), "jo", 100)
		if err != nil || more || !slices.Contains(usernames(parts), "jon") || len(parts) > len(whole) {
			t.Errorf("%q, more %v, error %v", usernames(parts), more, err)
		}
		groups, _, err := open(t, c).SearchGroups(t.Context(), "", 100)
		if err != nil || len(groups) == 0 {
			t.Errorf("groups %v, error %v", groups, err)
		}
	})
}

func BenchmarkSearchUsers(b *testing.B) {
	d := open(b, real(dirtest.OpenLDAP(b, dirtest.OpenLDAPOptions{Users: 1000, SizeLimit: 5000, Quiet: true})))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if people, _, err := d.SearchUsers(b.Context(), fmt.Sprintf("u00%03d", i%1000), 50); err != nil || len(people) != 1 {
			b.Fatal(len(people), err)
		}
	}
}

// TestLongListsAtTheSameTime: OpenLDAP knows on each connection how far it was
// with one list alone, and whoever is not served must not take it for ill.
func TestLongListsAtTheSameTime(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Users: 1200, SizeLimit: 5000, Quiet: true})
	log := &journal{}
	d := openWith(t, real(s), ldapauth.Options{Log: logTo(log)})
	var everybody sync.WaitGroup
	for range 6 {
		everybody.Go(func() {
			people, more, err := d.SearchUsers(t.Context(), "u0", 1100)
			if err != nil || len(people) != 1100 || !more {
				t.Errorf("%d people, more %v, error %v", len(people), more, err)
			}
		})
	}
	for i := range 50 {
		find(t, d, fmt.Sprintf("u%05d", i))
	}
	everybody.Wait()
	if log.String() != "" {
		t.Errorf("logged: %s", log)
	}
}
