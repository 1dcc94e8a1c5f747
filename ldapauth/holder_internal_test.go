package ldapauth

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestC9_NamesThatAreTheSameAndNamesThatOnlyLookSo(t *testing.T) {
	const dn = `CN=Jon Smith+UID=jon,OU=People,DC=fabrikam,DC=example`
	for other, want := range map[string]bool{
		dn: true,
		`cn=jon smith+uid=JON,ou=people,dc=FABRIKAM,dc=example`:                                                   true,
		`UID=jon+CN=Jon Smith,OU=People,DC=fabrikam,DC=example`:                                                   true,
		`CN=Jon Smith + UID=jon, OU=People, DC=fabrikam, DC=example`:                                              true, // blanks around the parts are none of theirs
		`2.5.4.3=Jon Smith+0.9.2342.19200300.100.1.1=jon,OID.2.5.4.11=People,domainComponent=fabrikam,DC=example`: true,
		`CN=J\6fn Smith+UID=jon,OU=People,DC=fabrikam,DC=example`:                                                 true,
		`CN=Jon  Smith+UID=jon,OU=People,DC=fabrikam,DC=example`:                                                  false,
		`CN=Jon Smith\ +UID=jon,OU=People,DC=fabrikam,DC=example`:                                                 false,
		`CN=Jon Smith+UID=jon+UID=jon,OU=People,DC=fabrikam,DC=example`:                                           false,
		`CN=Jon Smith+CN=Jon Smith,OU=People,DC=fabrikam,DC=example`:                                              false,
		`CN=Jon Smith,UID=jon,OU=People,DC=fabrikam,DC=example`:                                                   false,
		`CN=Jon Smith+UID=jon,OU=People,DC=example`:                                                               false,
		`OU=People,CN=Jon Smith+UID=jon,DC=fabrikam,DC=example`:                                                   false,
		`DC=example,DC=fabrikam,OU=People,CN=Jon Smith+UID=jon`:                                                   false,
		`CN=Jon Smith+UID=jon,OU=People,DC=fabrikam,DC=example,`:                                                  false,
		`SN=Jon Smith+UID=jon,OU=People,DC=fabrikam,DC=example`:                                                   false,
		"CN=Jon Smith+UID=jon,OU=People,DC=fabri\u212aam,DC=example":                                              false, // the Kelvin sign
		"": false, "nonsense": false,
	} {
		if sameDN(dn, other) != want || sameDN(other, dn) != want {
			t.Errorf("%q: want %v", other, want)
		}
	}
	if sameDN("", "") {
		t.Error("two empty names are the same")
	}
}

// FuzzHolderFilter puts whatever a certificate holds into the filters of all
// rules. Each stays one filter of the same shape.
func FuzzHolderFilter(f *testing.F) {
	for _, text := range []string{"jon", "*", ")(objectClass=*", `CN=a\,b,DC=c`, "S-1-5-21-1-2-3-4", "X509:<SKI>12", "\x00", "\xff"} {
		f.Add(text, "(|(mail={0})(proxyAddresses=smtp:{0}))")
	}
	d := &Directory{}
	shape := func(filter string) int {
		p, err := ldap.CompileFilter(filter)
		if err != nil {
			return -1
		}
		w := &walker{}
		w.walk(p, false)
		return len(p.Children)
	}
	f.Fuzz(func(t *testing.T, text, template string) {
		for _, di := range []*dialect{activeDirectory, openLDAP, directoryServer} {
			for by := ByMail; by <= ByIdentities; by++ {
				h := &Holder{By: by, Text: text, Identities: []string{text}, WeakIdentities: []string{text}}
				if got := d.holderFilter(di, h, &userFilter{}); shape(got) < 1 {
					t.Errorf("%q becomes %q", text, got)
				}
			}
			if u, err := parseUserFilter(template); err == nil {
				if got := d.holderFilter(di, &Holder{Text: text, Filter: template}, u); shape(got) != 2 {
					t.Errorf("%q in %q becomes %q", text, template, got)
				}
			}
		}
		if sameDN(text, template) != sameDN(template, text) {
			t.Errorf("%q and %q: one way only", text, template)
		}
	})
}
