package ldapauth

import (
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"adconnector/ldapauth/denial"

	"golang.org/x/text/unicode/norm"
)

// maxName is the longest user name, in characters. Active Directory allows 20
// for sAMAccountName and 256 for the logon name.
const maxName = 256

// checkName refuses names that no account may have, before any search: what
// looks like another name, or is matched like one, must not become a question.
func checkName(name string) error {
	switch {
	case name == "":
		return denial.New(denial.BadName, "the user name is empty")
	case !utf8.ValidString(name):
		return denial.New(denial.BadName, "the user name is not valid UTF-8")
	case utf8.RuneCountInString(name) > maxName:
		return denial.New(denial.BadName, "the user name is longer than %d characters", maxName)
	case strings.ContainsFunc(name, isControl):
		return denial.New(denial.BadName, "the user name %q holds a control or formatting character", name)
	case !norm.NFC.IsNormalString(name):
		return denial.New(denial.BadName, "the user name %q is not in Unicode normal form C", name)
	case strings.TrimSpace(name) != name:
		return denial.New(denial.BadName, "the user name %q begins or ends with a blank", name)
	}
	return nil
}

// isControl reports control characters and the invisible formatting ones, such
// as the marks that change the direction of writing.
func isControl(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// sameName compares two names as people do: letter case does not matter, all
// else does.
func sameName(a, b string) bool {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if fold(x) != fold(y) {
			return false
		}
		a, b = a[n:], b[m:]
	}
	return a == b
}

// fold returns the same rune for all runes that differ in letter case only.
// Letters outside ASCII never equal one inside it: Unicode folds the Kelvin sign
// to k, and a name so written is somebody else's.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	least := r
	for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
		if x >= utf8.RuneSelf {
			least = min(least, x)
		}
	}
	return least
}

// guidText returns the 16 bytes of an objectGUID as Windows writes them.
func guidText(b string) (string, bool) {
	if len(b) != 16 {
		return "", false
	}
	h := hex.EncodeToString(swapGUID([]byte(b)))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], true
}

// guidBytes is the inverse of [guidText]; it reports whether text is one.
func guidBytes(text string) (string, bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != 16 {
		return "", false
	}
	raw := string(swapGUID(b))
	back, _ := guidText(raw)
	return raw, back == strings.ToLower(text)
}

// swapGUID reverses the first three fields of a GUID, which are little-endian
// in the directory and big-endian in its text.
func swapGUID(b []byte) []byte {
	slices.Reverse(b[:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return b
}
