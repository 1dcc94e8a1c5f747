package ldapauth_test

import (
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth"
)

func TestOnlyTheAttributesThatAreNeededAreAskedForInOneSearch(t *testing.T) {
	for name, tt := range map[string]struct {
		want    []string
		asked   []string
		unasked []string
	}{
		"what describes a person": {nil, []string{"objectClass", "displayName", "title", "department"}, nil},
		"these":                   {[]string{"l", "MAIL"}, []string{"objectClass", "l", "mail"}, []string{"displayName", "title", "MAIL"}},
		"none":                    {[]string{}, []string{"objectClass"}, []string{"displayName", "title", "l"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := plain(t)
			d := openWith(t, c, ldapauth.Options{Attributes: tt.want})
			var trace ldapauth.Trace
			if _, err := d.FindByName(ldapauth.WithTrace(t.Context(), &trace), "jon"); err != nil {
				t.Fatal(err)
			}
			steps, _ := trace.Steps()
			var asked [][]string
			for _, s := range steps {
				if s.Search != nil && strings.Contains(s.Search.Filter, "jon") {
					asked = append(asked, s.Search.Attributes)
				}
			}
			if len(asked) != 1 {
				t.Fatalf("%d searches for jon", len(asked))
			}
			for _, a := range tt.asked {
				if !slices.Contains(asked[0], a) {
					t.Errorf("%s is not asked for: %q", a, asked[0])
				}
			}
			for _, a := range tt.unasked {
				if slices.Contains(asked[0], a) {
					t.Errorf("%s is asked for: %q", a, asked[0])
				}
			}
		})
	}
}
