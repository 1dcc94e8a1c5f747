package ldapauth

import (
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// In every order in which a server may list them.
func TestAChildDomainIsNotItsParent(t *testing.T) {
	parent := ldap.NewEntry("CN=CORP,CN=Partitions", map[string][]string{"nETBIOSName": {"CORP"}, "nCName": {"DC=corp,DC=test"}})
	child := ldap.NewEntry("CN=EMEA,CN=Partitions", map[string][]string{"NETBIOSNAME": {"EMEA"}, "NCNAME": {"DC=emea,DC=corp,DC=test"}})
	other := ldap.NewEntry("CN=LAB,CN=Partitions", map[string][]string{"nETBIOSName": {"LAB"}, "nCName": {"DC=lab,DC=test"}})
	container := ldap.NewEntry("CN=Partitions", map[string][]string{"uPNSuffixes": {"mail.test", "brand.test"}})
	schema := ldap.NewEntry("CN=Enterprise Schema,CN=Partitions", map[string][]string{"nCName": {"CN=Schema,CN=Configuration,DC=corp,DC=test"}})
	for _, entries := range [][]*ldap.Entry{
		{container, parent, child, other, schema}, {schema, other, child, parent, container},
	} {
		var id identity
		id.readForest(entries)
		if len(id.forest) != 3 || len(id.suffixes) != 2 {
			t.Fatalf("%d domains and the suffixes %q", len(id.forest), id.suffixes)
		}
		for dn, want := range map[string]string{
			"DC=corp,DC=test":              "CORP",
			"OU=Staff,dc=Corp,dc=Test":     "CORP",
			"DC=emea,DC=corp,DC=test":      "EMEA",
			"CN=x,DC=EMEA,DC=corp,DC=test": "EMEA",
			"CN=x,DC=lab,DC=test":          "LAB",
			"CN=x,DC=other,DC=test":        "",
			"DC=test":                      "",
		} {
			parsed, err := ldap.ParseDN(dn)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if p := id.forest.domainOf(parsed); p != nil {
				got = p.netbios
			}
			if got != want {
				t.Errorf("%s is in %q, want %q", dn, got, want)
			}
		}
	}
}

func TestTheCatalogueHasServersOfItsOwn(t *testing.T) {
	c := DomainsConfig{Config: DefaultConfig(), GlobalCatalog: []string{"ldaps://gc1", "ldap://gc2", "ldaps://gc3:13269", "ldaps://[::1]"}}
	c.Discover, c.Site, c.UserFilter, c.BindDN = "corp.test", "Oslo", "(mail={0})", "svc@corp.test"
	k := c.catalog()
	if want := []string{"ldaps://gc1:3269", "ldap://gc2:3268", "ldaps://gc3:13269", "ldaps://[::1]:3269"}; !slices.Equal(k.URLs, want) {
		t.Errorf("servers %q, want %q", k.URLs, want)
	}
	if k.Discover != "" || k.Site != "" || k.UserFilter != "" || k.BindDN != c.BindDN || 2*k.Timeout != c.Timeout {
		t.Errorf("the catalogue has %+v", k)
	}
}
