package connector

import (
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth"
)

// A list that is absent bars the administrators; only one that is written empty
// bars nobody. The same holds in a domain, which takes an absent one from around
// it.
func TestC11_DenyGroupsAreSwitchedOffOnlyByAnEmptyList(t *testing.T) {
	dir := domainsFolder(t)
	for _, tt := range []struct {
		common, first string   // as written
		want          []string // in the first domain
		second        []string // which says nothing
	}{
		{"", "", []string{ldapauth.DenyProtected}, []string{ldapauth.DenyProtected}},
		{"", "deny_groups: []", nil, []string{ldapauth.DenyProtected}},
		{"deny_groups: []", "", nil, nil},
		{"deny_groups: [A]", "", []string{"A"}, []string{"A"}},
		{"deny_groups: [A]", "deny_groups: [protected, B]", []string{ldapauth.DenyProtected, "B"}, []string{"A"}},
		{"deny_groups: []", "deny_groups: [protected]", []string{ldapauth.DenyProtected}, nil},
	} {
		text := strings.Replace(withDomains, "ldap:\n", "ldap:\n  "+tt.common+"\n", 1)
		text = strings.Replace(text, "      base_dn: DC=fabrikam", "      "+tt.first+"\n      base_dn: DC=fabrikam", 1)
		c, err := ParseConfig([]byte(text), "f.yaml", dir)
		if err != nil {
			t.Errorf("%q, %q: %v", tt.common, tt.first, err)
			continue
		}
		for i, want := range [][]string{tt.want, tt.second} {
			if got := c.LDAP.Domains[i].DenyGroups; !slices.Equal(got, want) {
				t.Errorf("%q, %q: domain %d bars %q, want %q", tt.common, tt.first, i, got, want)
			}
		}
	}
	if _, err := ParseConfig([]byte(strings.Replace(withDomains, "ldap:\n", "ldap:\n  deny_groups:\n", 1)), "f.yaml", dir); err == nil {
		t.Error("a list that was begun and not written passes for an empty one")
	}
}
