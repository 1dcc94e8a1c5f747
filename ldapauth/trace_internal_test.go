package ldapauth

import (
	"bytes"
	"testing"
	"unicode"

	"github.com/go-ldap/ldap/v3"
)

// What a trace shows can be read, and finds what was asked for.
func FuzzLegible(f *testing.F) {
	for _, s := range []string{"jon", "zoë", "\x01\x05\x00", "\u202e", "\x1b[2J", "*()\\", "\xff", "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		filter := "(&(objectClass=person)(cn=" + EscapeFilter(value) + "))"
		shown := legible(filter)
		for _, r := range shown {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is shown as %q", filter, shown)
			}
		}
		want, err := ldap.CompileFilter(filter)
		if err != nil {
			t.Skip()
		}
		got, err := ldap.CompileFilter(shown)
		if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%q is shown as %q, which is another filter (error %v)", filter, shown, err)
		}
	})
}
