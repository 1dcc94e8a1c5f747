package connector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A ConfigError is everything that is wrong with a configuration file.
type ConfigError struct{ Mistakes []Mistake }

// A Mistake is one thing that the operator has to change.
type Mistake struct {
	File         string
	Line, Column int    // from 1; the column counts characters
	Key          string // in full, such as "ldap.urls[1]"; "" if the file as a whole is meant
	Text         string // what is wrong and what to write instead; never a secret
}

// String returns the mistake on one line, in the form in which editors find the
// place.
func (m Mistake) String() string {
	where := fmt.Sprintf("%s:%d:%d: ", m.File, m.Line, m.Column)
	if m.Key != "" {
		where += m.Key + ": "
	}
	return where + m.Text
}

// Error lists the mistakes in the order of the file, one on each line.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns the mistakes as an error, in the order of the file; nil if
// there are none.
func sorted(mistakes []Mistake) error {
	if len(mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &ConfigError{mistakes}
}
