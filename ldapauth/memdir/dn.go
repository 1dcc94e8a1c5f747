package memdir

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// A dn is a distinguished name (RFC 4514), leaf first.
type dn []rdn

// An rdn is one step of a name. It has several parts when they are joined by
// "+", as in "CN=Jon+UID=7".
type rdn []part

type part struct{ attribute, value string }

// parseDN reads the text form of a name. The hexadecimal form of values, #04...,
// is not supported.
func parseDN(text string) (dn, error) {
	var name dn
	for rest, more := text, text != ""; more; {
		var step rdn
		for sep := byte('+'); sep == '+'; {
			attribute, after, ok := strings.Cut(rest, "=")
			attribute = strings.Trim(attribute, " ")
			if !ok || !isDescriptor(attribute) {
				return nil, fmt.Errorf("%q is not a DN such as \"CN=Jon,DC=fabrikam,DC=example\"", text)
			}
			value, n, err := scanValue(after)
			if err != nil {
				return nil, fmt.Errorf("%q is not a DN: %w", text, err)
			}
			step = append(step, part{attribute, value})
			if sep, rest = 0, ""; n < len(after) {
				sep, rest = after[n], after[n+1:]
			}
			more = sep != 0
		}
		name = append(name, step)
	}
	return name, nil
}

// isDescriptor reports whether s can be the name of an attribute.
func isDescriptor(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' {
			return false
		}
	}
	return s != ""
}

// scanValue returns the unescaped value at the start of s and the index of the
// comma, semicolon or plus sign behind it, or len(s).
func scanValue(s string) (value string, end int, err error) {
	var b []byte
	keep := 0 // what is escaped is kept, be it blank
	for end < len(s) {
		switch c := s[end]; {
		case c == ',' || c == ';' || c == '+':
			return trimTail(b, keep), end, nil
		case c == '"' || c == '<' || c == '>' || c == 0 || c == '#' && len(b) == 0:
			return "", 0, fmt.Errorf("%q must be escaped in a value", c)
		case c == ' ' && len(b) == 0:
			end++
		case c != '\\':
			b = append(b, c)
			end++
		case end+1 < len(s) && strings.IndexByte(` "#+,;<=>\`, s[end+1]) >= 0:
			b = append(b, s[end+1])
			end, keep = end+2, len(b)
		case end+2 < len(s):
			raw, err := hex.DecodeString(s[end+1 : end+3])
			if err != nil {
				return "", 0, fmt.Errorf("%q is no escape", s[end:end+3])
			}
			b = append(b, raw...)
			end, keep = end+3, len(b)
		default:
			return "", 0, fmt.Errorf("it ends within an escape")
		}
	}
	return trimTail(b, keep), end, nil
}

// trimTail removes trailing blanks, but none of the first keep bytes.
func trimTail(b []byte, keep int) string {
	for len(b) > keep && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return string(b)
}

// inKey escapes what would end a value within a key. No comma is left, so a
// comma in a key always separates two steps.
var inKey = strings.NewReplacer(`\`, `\5c`, `,`, `\2c`, `+`, `\2b`, `=`, `\3d`)

// key returns the one spelling that all equal names share.
func (d dn) key() string {
	steps := make([]string, len(d))
	for i, step := range d {
		parts := make([]string, len(step))
		for j, p := range step {
			parts[j] = strings.ToLower(p.attribute) + "=" + inKey.Replace(fold(p.value))
		}
		slices.Sort(parts)
		steps[i] = strings.Join(parts, "+")
	}
	return strings.Join(steps, ",")
}

// domain returns the DNS name of the domain "DC=fabrikam,DC=example".
func (d dn) domain() string {
	labels := make([]string, len(d))
	for i, step := range d {
		labels[i] = strings.ToLower(step[0].value)
	}
	return strings.Join(labels, ".")
}

// normalDN returns the key of the name in text.
func normalDN(text string) (string, error) {
	d, err := parseDN(text)
	return d.key(), err
}

// parentKey returns the key of the entry above the one with this key.
func parentKey(key string) string {
	_, parent, _ := strings.Cut(key, ",")
	return parent
}

// isWithin reports whether key names base or something below it.
func isWithin(key, base string) bool {
	above, ok := strings.CutSuffix(key, base)
	return ok && (above == "" || above[len(above)-1] == ',')
}

// fold returns the one spelling that all equal texts share: case does not
// matter, nor do blanks around the text or how many there are within. Samba
// ends a text at its first NUL and OpenLDAP takes a no-break space for a blank;
// a client that copes with this copes with both.
func fold(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return strings.Join(strings.Fields(strings.ToLower(s)), " ")
}
