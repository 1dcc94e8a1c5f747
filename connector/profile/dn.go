package profile

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// organizationalUnits returns the values of the OU parts of a distinguished
// name in the string form of RFC 4514, nearest to the entry first. Parts that
// are not well formed are passed over: the name comes from the directory, and a
// claim is no reason to turn somebody away.
func organizationalUnits(dn string) []string {
	var units []string
	for dn != "" {
		var part string
		part, dn = cutUnescaped(dn)
		kind, value, ok := strings.Cut(part, "=")
		if kind = strings.TrimSpace(kind); !ok || !strings.EqualFold(kind, "OU") && kind != "2.5.4.11" {
			continue
		}
		if unit, ok := unescape(trimBlanks(value)); ok && unit != "" {
			units = append(units, unit)
		}
	}
	return units
}

// cutUnescaped cuts dn around the first comma or plus sign (which joins the
// parts of a level) that no backslash takes the meaning from.
func cutUnescaped(dn string) (part, rest string) {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',', '+':
			return dn[:i], dn[i+1:]
		}
	}
	return dn, ""
}

// trimBlanks removes the blanks around a value that are not part of it. The
// last one is if a backslash stands before it.
func trimBlanks(value string) string {
	value = strings.TrimLeft(value, " ")
	trimmed := strings.TrimRight(value, " ")
	backslashes := len(trimmed) - len(strings.TrimRight(trimmed, `\`))
	if backslashes%2 == 1 && len(trimmed) < len(value) {
		trimmed += " "
	}
	return trimmed
}

// unescape resolves the escapes of a value: a backslash before a special
// character or before two hexadecimal digits. A value in BER ("#04...") is not
// text and has no result.
func unescape(value string) (string, bool) {
	if strings.HasPrefix(value, "#") {
		return "", false
	}
	if !strings.Contains(value, `\`) {
		return value, utf8.ValidString(value)
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			b.WriteByte(value[i])
			continue
		}
		if i++; i == len(value) {
			return "", false
		}
		if c, err := hex.DecodeString(value[i:min(i+2, len(value))]); err == nil {
			b.Write(c)
			i++
			continue
		}
		b.WriteByte(value[i])
	}
	return b.String(), utf8.ValidString(b.String())
}
