package certauth

import (
	"crypto/x509"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"adconnector/ldapauth/denial"
)

// The kinds of GeneralName that say who somebody is (RFC 5280, section 4.2.1.6).
var (
	tagOtherName = asn1.Tag(0).ContextSpecific().Constructed()
	tagEmail     = asn1.Tag(1).ContextSpecific()
	tagURI       = asn1.Tag(6).ContextSpecific()
	tagExplicit  = asn1.Tag(0).ContextSpecific().Constructed()
)

// oidPrincipalName is the content of 1.3.6.1.4.1.311.20.2.3.
const oidPrincipalName = "\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03"

// altNames are the alternative names of a leaf that rules ask for.
type altNames struct {
	principals []attribute // principal names, not yet decoded
	emails     []string
	sids       []string // what stands behind the tag of a security identifier
}

// readAltNames reads the alternative names from the DER: crypto/x509 does not
// know principal names. A certificate without any has none of everything.
func readAltNames(leaf *x509.Certificate) (*altNames, error) {
	names := &altNames{}
	raw := extension(leaf, oidSubjectAltName)
	if raw == nil {
		return names, nil
	}
	err := eachGeneralName(raw, func(tag asn1.Tag, content cryptobyte.String) error {
		switch tag {
		case tagOtherName:
			oid, value, err := readOtherName(content)
			if err == nil && string(oid) == oidPrincipalName {
				names.principals = append(names.principals, value)
			}
			return err
		case tagEmail:
			names.emails = append(names.emails, string(content))
		case tagURI:
			if sid, ok := cutPrefixFold(string(content), sidURI); ok {
				names.sids = append(names.sids, sid)
			}
		}
		return nil
	})
	return names, err
}

// cutPrefixFold is [strings.CutPrefix] without regard to the case of letters.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// errNotDER is about bytes that cannot be taken apart.
var errNotDER = errors.New("cannot be read")

// eachGeneralName calls f with each name of a sequence of GeneralName.
func eachGeneralName(raw []byte, f func(tag asn1.Tag, content cryptobyte.String) error) error {
	in := cryptobyte.String(raw)
	var list cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) || !in.Empty() {
		return errNotDER
	}
	for !list.Empty() {
		var content cryptobyte.String
		var tag asn1.Tag
		if !list.ReadAnyASN1(&content, &tag) {
			return errNotDER
		}
		if err := f(tag, content); err != nil {
			return err
		}
	}
	return nil
}

// readOtherName takes the content of an otherName apart into its kind and its
// one value.
func readOtherName(content cryptobyte.String) (oid []byte, value attribute, err error) {
	var id, explicit cryptobyte.String
	if !content.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) || !content.ReadASN1(&explicit, tagExplicit) || !content.Empty() {
		return nil, value, errNotDER
	}
	value.der = explicit
	var inner cryptobyte.String
	if !explicit.ReadAnyASN1(&inner, &value.tag) || !explicit.Empty() {
		return nil, value, errNotDER
	}
	value.value = inner
	return id, value, nil
}

// principal returns the one principal name, "" if there is none.
func (n *altNames) principal() (string, error) {
	switch len(n.principals) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", denial.New(denial.AmbiguousName, "the certificate has %d principal names", len(n.principals))
	}
	name, err := n.principals[0].text()
	if err != nil {
		return "", denial.New(denial.BadName, "the principal name %w", err)
	}
	if err := checkAddress(name); err != nil {
		return "", denial.New(denial.BadName, "the principal name %s %w", strconv.QuoteToASCII(clip(name)), err)
	}
	return name, nil
}

// email returns the one mail address, "" if there is none.
func (n *altNames) email() (string, error) {
	switch len(n.emails) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", denial.New(denial.AmbiguousName, "the certificate has %d e-mail addresses", len(n.emails))
	}
	if err := checkAddress(n.emails[0]); err != nil {
		return "", denial.New(denial.BadName, "the e-mail address %s %w", strconv.QuoteToASCII(clip(n.emails[0])), err)
	}
	return n.emails[0], nil
}

// checkAddress refuses what cannot be a name with a domain behind it. What has
// no @ would be looked for as a plain account name, and what has a backslash as
// one of another domain.
func checkAddress(name string) error {
	if !utf8.ValidString(name) {
		return errors.New("is not valid UTF-8")
	}
	if err := checkName(name); err != nil {
		return err
	}
	if i := strings.LastIndexByte(name, '@'); i <= 0 || i == len(name)-1 {
		return errors.New("is not of the form name@domain")
	}
	if strings.Contains(name, `\`) {
		return errors.New("holds a backslash")
	}
	return nil
}
