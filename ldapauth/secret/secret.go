// Package secret holds credentials that cannot be printed by accident.
package secret

import (
	"fmt"
	"io"
)

// masked is what a set secret looks like wherever it is printed.
const masked = "********"

// String is a credential. Whatever prints or marshals it gets a mask; only
// [String.Reveal] gives the text. The zero value is "not set".
//
// The text sits behind a pointer because fmt prints unexported fields of other
// structs without asking their methods: there it shows an address.
type String struct{ text *string }

// New returns a secret that holds text. An empty text is set, but empty.
func New(text string) String { return String{&text} }

// Reveal returns the text; "" if the secret is not set.
func (s String) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether the secret holds a text, be it an empty one.
func (s String) IsSet() bool { return s.text != nil }

// String returns a mask, or "" if the secret is not set.
func (s String) String() string {
	if s.text == nil {
		return ""
	}
	return masked
}

// Format writes the mask for every verb and flag.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns the mask, for JSON, YAML and slog.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
