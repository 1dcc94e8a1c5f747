package profile

import (
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

func TestOrganizationalUnits(t *testing.T) {
	for _, tt := range []struct {
		name, dn string
		want     []string
	}{
		{"nearest first", "CN=Jon,OU=Staff,OU=Berlin,DC=fabrikam,DC=example", []string{"Staff", "Berlin"}},
		{"none", "CN=Jon,CN=Users,DC=fabrikam,DC=example", nil},
		{"no name at all", "", nil},
		{"any case and blanks", "uid=jon, ou = People ,Ou=x,dc=example", []string{"People", "x"}},
		{"by number", "cn=jon,2.5.4.11=Staff,dc=example", []string{"Staff"}},
		{"escaped comma", `CN=Zoë (Ops)\, Müller,OU=Research\, Development,DC=example`, []string{"Research, Development"}},
		{"what looks like a unit within a value", `CN=jon\,OU=Admins,OU=Staff,DC=example`, []string{"Staff"}},
		{"escaped as hexadecimal", `CN=x,OU=Tr\C3\A4ger \2b \2C,DC=example`, []string{"Träger + ,"}},
		{"level of two parts", "CN=jon+OU=Left,OU=Right+L=Berlin,DC=example", []string{"Left", "Right"}},
		{"escaped blanks at the ends", `CN=x,OU=\ Staff\ ,DC=example`, []string{" Staff "}},
		{"escaped backslash at the end", `CN=x,OU=Staff\\ ,DC=example`, []string{`Staff\`}},
		{"not text", "CN=x,OU=#04024869,OU=Staff", []string{"Staff"}},
		{"bytes that are not UTF-8", `CN=x,OU=\ff,OU=Staff`, []string{"Staff"}},
		{"empty", "CN=x,OU=,OU=Staff", []string{"Staff"}},
		{"cut off", `CN=x,OU=Staff\`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := organizationalUnits(tt.dn); !slices.Equal(got, tt.want) {
				t.Errorf("organizationalUnits(%q) = %q, want %q", tt.dn, got, tt.want)
			}
		})
	}
}

// FuzzOrganizationalUnits also holds the parser against somebody else's
// escaping: whatever a unit is called, it comes back.
func FuzzOrganizationalUnits(f *testing.F) {
	for _, dn := range []string{
		"", "OU=a", `cn=a\,b,ou=c\ `, `OU=\2c+ou=\C3\A4`, "2.5.4.11=x,ou=#0401", `ou=a\`, "ou=a;ou=b", `ou="a,b"`, "ou=  a  b  ,=",
	} {
		f.Add(dn)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		got := organizationalUnits(dn)
		for _, unit := range got {
			if unit == "" || !utf8.ValidString(unit) {
				t.Errorf("organizationalUnits(%q) = %q", dn, got)
			}
		}
		if !utf8.ValidString(dn) {
			return // go-ldap's EscapeDN does not keep such bytes
		}
		escaped := "cn=x,ou=" + ldap.EscapeDN(dn) + ",ou=last"
		want := []string{dn, "last"}
		if dn == "" {
			want = want[1:]
		}
		if got := organizationalUnits(escaped); !slices.Equal(got, want) {
			t.Errorf("organizationalUnits(%q) = %q, want %q", escaped, got, want)
		}
	})
}
