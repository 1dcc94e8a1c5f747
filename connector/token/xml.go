package token

import (
	"strings"
	"unicode/utf8"
)

// The functions here write Exclusive XML Canonicalization 1.0 at once, so that
// what is signed is what is sent and nothing has to be parsed to be signed:
// attributes in the order of their names, no empty-element tags, and exactly
// the escapes of its section 2.3 (which is Canonical XML's).

// IsText reports whether XML can carry s without a change: valid UTF-8 without
// the characters that XML 1.0 forbids. A carriage return passes; it has to be
// written as a reference.
func IsText(s string) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !isChar(r, n) {
			return false
		}
		i += n
	}
	return true
}

// isChar reports whether r, decoded from n bytes, is a Char of XML 1.0,
// section 2.2.
func isChar(r rune, n int) bool {
	switch {
	case r == utf8.RuneError:
		return n > 1 // a U+FFFD that was written, not one that stands for bad UTF-8
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	}
	return r != '\uFFFE' && r != '\uFFFF'
}

// appendText appends s as the text of an element.
//
// A line end, however it is written, becomes a line feed: XML would demand a
// reference for a carriage return, and verifiers in the field compute another
// digest for it. Characters that XML cannot carry are left out, as LDAP's own
// string preparation does with them (RFC 4518, section 2.2).
func appendText(b []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		var out string
		switch {
		case r == '&':
			out = "&amp;"
		case r == '<':
			out = "&lt;"
		case r == '>':
			out = "&gt;"
		case r == '\r':
			if !strings.HasPrefix(s[i+1:], "\n") {
				out = "\n"
			}
		case !isChar(r, n):
		default:
			i += n
			continue
		}
		b = append(append(b, s[done:i]...), out...)
		i += n
		done = i
	}
	return append(b, s[done:]...)
}

// appendAttr appends s as the value of an attribute, without the quotes. It is
// for texts that must arrive as they are: the caller has refused what [IsText]
// does.
func appendAttr(b []byte, s string) []byte {
	done := 0
	for i := range len(s) {
		var out string
		switch s[i] {
		case '&':
			out = "&amp;"
		case '<':
			out = "&lt;"
		case '"':
			out = "&quot;"
		case '\t':
			out = "&#x9;"
		case '\n':
			out = "&#xA;"
		case '\r':
			out = "&#xD;"
		default:
			continue
		}
		b = append(append(b, s[done:i]...), out...)
		done = i + 1
	}
	return append(b, s[done:]...)
}
