package ldapauth

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// placeholder stands for the escaped value in a filter template.
const placeholder = "{0}"

// stand is put in the place of the placeholder to see where in a filter a
// value would land. It needs no escaping and occurs in no sensible filter.
const stand = "adconnector-placeholder"

// EscapeFilter returns value in the form in which a search filter takes every
// character of it literally (RFC 4515, section 3).
func EscapeFilter(value string) string { return ldap.EscapeFilter(value) }

// fill puts value, escaped, wherever template has the placeholder. This is the
// only place where text from outside enters a filter.
func fill(template, value string) string {
	return strings.ReplaceAll(template, placeholder, EscapeFilter(value))
}

// checkTemplate reports whether template is a filter that has the placeholder
// where a value belongs.
func checkTemplate(template string) error {
	_, err := parseTemplate(template)
	return err
}

// A comparison is an equality in a filter: what an attribute must be, with the
// placeholder in it.
type comparison struct{ attribute, value string }

// parseTemplate returns the equalities of template that the placeholder takes
// part in.
func parseTemplate(template string) ([]comparison, error) {
	n := strings.Count(template, placeholder)
	if n == 0 {
		return nil, errors.New("must hold {0}, which stands for the value that is looked for")
	}
	if strings.Contains(template, stand) || !utf8.ValidString(template) {
		return nil, errors.New("is not a usable search filter")
	}
	packet, err := ldap.CompileFilter(strings.ReplaceAll(template, placeholder, stand))
	if err != nil {
		return nil, fmt.Errorf("%q is not a search filter (%w); write one such as (uid={0})", template, inWords(err))
	}
	w := &walker{}
	w.walk(packet, false)
	if w.negated {
		return nil, errors.New("must not have {0} inside a negation (!...)")
	}
	if w.values != n {
		return nil, errors.New("may have {0} only as a value, to the right of a comparison")
	}
	return w.equal, nil
}

// walker looks for the stand-in in a compiled filter.
type walker struct {
	equal   []comparison
	values  int // how often it stands where a value belongs
	negated bool
}

func (w *walker) walk(p *ber.Packet, not bool) {
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		for _, c := range p.Children {
			w.walk(c, not || p.Tag == ldap.FilterNot)
		}
		return
	case ldap.FilterPresent:
		return
	}
	if len(p.Children) < 2 {
		return
	}
	n := 0
	for _, c := range p.Children[1:] {
		n += countIn(c)
	}
	w.values += n
	w.negated = w.negated || not && n > 0
	if n > 0 && p.Tag == ldap.FilterEqualityMatch {
		w.equal = append(w.equal, comparison{
			attribute: p.Children[0].Data.String(),
			value:     strings.ReplaceAll(p.Children[1].Data.String(), stand, placeholder),
		})
	}
}

// countIn counts the stand-in in p and, for substrings, in its parts.
func countIn(p *ber.Packet) int {
	if len(p.Children) == 0 {
		return strings.Count(p.Data.String(), stand)
	}
	n := 0
	for _, c := range p.Children {
		n += countIn(c)
	}
	return n
}

// A userFilter finds an account by its name.
type userFilter struct {
	template string
	equal    []comparison
}

// parseUserFilter reads a filter that finds an account by its name. At least
// one attribute must be compared with the name for equality: it is what the
// entry that came back is held against.
func parseUserFilter(template string) (*userFilter, error) {
	equal, err := parseTemplate(template)
	if err != nil {
		return nil, err
	}
	if len(equal) == 0 {
		return nil, errors.New("must compare an attribute with the whole of {0}, as in (uid={0})")
	}
	return &userFilter{template, equal}, nil
}

// byName returns the filter that finds name.
func (f *userFilter) byName(name string) string { return fill(f.template, name) }

// anyone returns the filter that finds everybody whom the template could find
// by some name, so that whoever it leaves out is left out by ID as well.
func (f *userFilter) anyone() string { return strings.ReplaceAll(f.template, placeholder, "*") }

// attributes returns the attributes that names are compared with.
func (f *userFilter) attributes() []string {
	var names []string
	for _, c := range f.equal {
		names = append(names, c.attribute)
	}
	return names
}

// match returns by what a is indeed called name, if it is. Directories compare
// loosely: they find "jon" for fullwidth letters, for trailing blanks and for
// accents left out, and so would sign in the wrong bearer of a certificate.
func (f *userFilter) match(a *Account, name string) (comparison, bool) {
	for _, c := range f.equal {
		want := strings.ReplaceAll(c.value, placeholder, name)
		for _, v := range a.Values(c.attribute) {
			if sameName(v, want) {
				return comparison{c.attribute, want}, true
			}
		}
	}
	return comparison{}, false
}
