package certauth

import (
	encodingasn1 "encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/text/unicode/norm"

	"adconnector/ldapauth/denial"
)

const (
	maxNameRunes = 256  // characters of an account's name; the schema of Active Directory has no longer ones
	maxNameText  = 1024 // bytes of a distinguished name that are shown
)

// String types of ASN.1 that cryptobyte has no name for.
const (
	tagUniversalString asn1.Tag = 28
	tagBMPString       asn1.Tag = 30
)

// An attribute is one type and value of a distinguished name.
type attribute struct {
	oid   []byte // the content of its DER, not the dotted text
	tag   asn1.Tag
	value []byte // without tag and length
	der   []byte // with them
}

// oidCommonName is 2.5.4.3.
const oidCommonName = "\x55\x04\x03"

// eachRDN calls f with the attributes of each relative distinguished name in
// the DER of a name, in the order of the certificate, and reports whether all
// of it could be read. The slice is used again for the next call.
func eachRDN(raw []byte, f func(rdn []attribute)) bool {
	in := cryptobyte.String(raw)
	var name cryptobyte.String
	if !in.ReadASN1(&name, asn1.SEQUENCE) || !in.Empty() {
		return false
	}
	rdn := make([]attribute, 0, 4)
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, asn1.SET) || set.Empty() {
			return false
		}
		for rdn = rdn[:0]; !set.Empty(); {
			var pair, oid, der, value cryptobyte.String
			var tag asn1.Tag
			if !set.ReadASN1(&pair, asn1.SEQUENCE) || !pair.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
				!pair.ReadAnyASN1Element(&der, &tag) || !pair.Empty() {
				return false
			}
			content := der
			if !content.ReadAnyASN1(&value, &tag) {
				return false
			}
			rdn = append(rdn, attribute{oid, tag, value, der})
		}
		f(rdn)
	}
	return true
}

// commonName returns the one common name of a subject, "" if it has none. It walks the DER itself:
// crypto/x509 keeps the last of several in silence, other software the first,
// and a name on which two programs disagree is a way in.
func commonName(rawSubject []byte) (string, error) {
	var cn attribute
	count, joined := 0, false
	ok := eachRDN(rawSubject, func(rdn []attribute) {
		for _, a := range rdn {
			if string(a.oid) == oidCommonName {
				cn = a
				count++
				joined = joined || len(rdn) > 1
			}
		}
	})
	switch {
	case !ok:
		return "", denial.New(denial.BadName, "the subject cannot be read")
	case count == 0:
		return "", nil
	case count > 1:
		return "", denial.New(denial.AmbiguousName, "the subject %q has %d common names", nameText(rawSubject), count)
	case joined:
		return "", denial.New(denial.AmbiguousName, "the subject %q joins its common name to another attribute", nameText(rawSubject))
	}
	name, err := cn.text()
	if err != nil {
		return "", denial.New(denial.BadName, "the common name %w", err)
	}
	if err := checkName(name); err != nil {
		return "", denial.New(denial.BadName, "the common name %s %w", strconv.QuoteToASCII(clip(name)), err)
	}
	return name, nil
}

// text decodes a value of a type that DirectoryString allows (RFC 5280 section
// 4.1.2.4), and of IA5String, which some authorities write.
//
// TeletexString is taken as ASCII only: beyond that the standard says T.61 and
// practice says Latin-1, so the same bytes are two names. UniversalString is
// not taken at all; nobody issues it, and crypto/x509 does not read it either.
func (a attribute) text() (string, error) {
	switch a.tag {
	case asn1.UTF8String:
		if utf8.Valid(a.value) {
			return string(a.value), nil
		}
		return "", fmt.Errorf("%s is not valid UTF-8", strconv.QuoteToASCII(clip(string(a.value))))
	case asn1.PrintableString, asn1.IA5String, asn1.T61String:
		if i := slices.IndexFunc(a.value, func(b byte) bool { return b >= utf8.RuneSelf }); i < 0 {
			return string(a.value), nil
		}
		return "", fmt.Errorf("%s has bytes that are not ASCII in a string of ASN.1 type %d", strconv.QuoteToASCII(clip(string(a.value))), a.tag)
	case tagBMPString:
		return bmpText(a.value)
	case tagUniversalString:
		return "", errors.New("is a UniversalString, which is not supported")
	}
	return "", fmt.Errorf("is of ASN.1 type %d, which is not one of text", a.tag)
}

// bmpText decodes a BMPString: two bytes for each character, without
// surrogates (they would make it UTF-16, which it is not).
func bmpText(value []byte) (string, error) {
	if len(value)%2 != 0 {
		return "", errors.New("is a BMPString with half a character")
	}
	text := make([]byte, 0, len(value))
	for i := 0; i < len(value); i += 2 {
		r := rune(value[i])<<8 | rune(value[i+1])
		if !utf8.ValidRune(r) {
			return "", fmt.Errorf("is a BMPString with the surrogate %#x", r)
		}
		text = utf8.AppendRune(text, r)
	}
	return string(text), nil
}

// checkName refuses names that a person cannot tell from another by looking, or
// that software on the way may change. What is left is passed on as it is, be
// it full of LDAP syntax: it is data.
func checkName(name string) error {
	if name == "" {
		return errors.New("is empty")
	}
	if n := utf8.RuneCountInString(name); n > maxNameRunes {
		return fmt.Errorf("has %d characters, more than %d", n, maxNameRunes)
	}
	for _, r := range name {
		if !isVisible(r) {
			return fmt.Errorf("has the invisible or unassigned character %U", r)
		}
	}
	if strings.TrimSpace(name) != name {
		return errors.New("begins or ends with a blank")
	}
	if !norm.NFC.IsNormalString(name) {
		return errors.New("is not in Unicode normalisation form C")
	}
	return nil
}

// isVisible reports whether r shows, be it as a blank. Left out are control
// and formatting characters (among them those that turn the direction of text),
// code points for private use or for no use, and the odd letter or mark that is
// defined to be invisible.
func isVisible(r rune) bool {
	if r < utf8.RuneSelf {
		return ' ' <= r && r <= '~'
	}
	return unicode.IsGraphic(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// attributeNames are the names for attribute types that people know: those of
// RFC 4514 section 3, then others that have one in LDAP, and e-mail.
var attributeNames = map[string]string{
	oidCommonName:  "CN",
	"\x55\x04\x07": "L",
	"\x55\x04\x08": "ST",
	"\x55\x04\x0a": "O",
	"\x55\x04\x0b": "OU",
	"\x55\x04\x06": "C",
	"\x55\x04\x09": "STREET",
	"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
	"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
	"\x55\x04\x04":                         "SN",
	"\x55\x04\x05":                         "serialNumber",
	"\x55\x04\x0c":                         "title",
	"\x55\x04\x2a":                         "givenName",
	"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01": "emailAddress",
}

// subjectName writes the subject as RFC 4514 says, for a search and to be read
// back; "" if it is empty. Unlike [nameText] it leaves nothing out: a subject
// that cannot be written so is refused.
func subjectName(rawSubject []byte) (string, error) {
	var rdns []string
	var fault error
	ok := eachRDN(rawSubject, func(rdn []attribute) {
		var b strings.Builder
		for i, a := range rdn {
			text, err := a.text()
			if err == nil {
				err = checkName(text)
			}
			if err != nil && fault == nil {
				fault = fmt.Errorf("a value that %w", err)
			}
			if i > 0 {
				b.WriteByte('+')
			}
			a.write(&b)
		}
		rdns = append(rdns, b.String())
	})
	slices.Reverse(rdns)
	text := strings.Join(rdns, ",")
	switch {
	case !ok:
		return "", denial.New(denial.BadName, "the subject cannot be read")
	case fault != nil:
		return "", denial.New(denial.BadName, "the subject %q has %w", nameText(rawSubject), fault)
	case len(text) > maxNameText:
		return "", denial.New(denial.BadName, "the subject is longer than %d bytes", maxNameText)
	}
	return text, nil
}

// nameText writes a distinguished name as RFC 4514 says, for people. Unlike
// [crypto/x509/pkix.Name.String] it keeps order and repetitions, escapes
// everything that is not plainly visible, and stops at a bound.
func nameText(raw []byte) string {
	var rdns []string
	length := 0
	ok := eachRDN(raw, func(rdn []attribute) {
		if length > maxNameText {
			return
		}
		var b strings.Builder
		for i, a := range rdn {
			if i > 0 {
				b.WriteByte('+')
			}
			a.write(&b)
			if b.Len() > maxNameText {
				break
			}
		}
		length += b.Len()
		rdns = append(rdns, b.String())
	})
	if !ok {
		return "(unreadable)"
	}
	slices.Reverse(rdns)
	text := strings.Join(rdns, ",")
	if len(text) <= maxNameText {
		return text
	}
	return strings.ToValidUTF8(text[:maxNameText], "") + ellipsis
}

// write writes type and value. A value that is no text, or whose type has no
// name, is written as the hexadecimal of its DER.
func (a attribute) write(b *strings.Builder) {
	name, known := attributeNames[string(a.oid)]
	if !known {
		name = dotted(a.oid)
	}
	b.WriteString(name)
	b.WriteByte('=')
	text, err := a.text()
	if err != nil || !known {
		b.WriteByte('#')
		b.WriteString(hex.EncodeToString(a.der[:min(len(a.der), maxNameText)]))
		return
	}
	escape(b, text)
}

// dotted writes the content of an object identifier with dots.
func dotted(oid []byte) string {
	var b cryptobyte.Builder
	b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
	der := cryptobyte.String(b.BytesOrPanic())
	var id encodingasn1.ObjectIdentifier
	if !der.ReadASN1ObjectIdentifier(&id) {
		return "?"
	}
	return id.String()
}

// escape writes a value as RFC 4514 section 2.4 says; in addition everything
// that is not visible becomes the hexadecimal of its UTF-8.
func escape(b *strings.Builder, text string) {
	for i, r := range text {
		switch {
		case strings.ContainsRune(`"+,;<>\`, r),
			r == '#' && i == 0,
			r == ' ' && (i == 0 || i == len(text)-1):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ' ' || isVisible(r) && !unicode.IsSpace(r):
			b.WriteRune(r)
		default:
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(b, `\%02x`, c)
			}
		}
		if b.Len() > maxNameText {
			return
		}
	}
}
