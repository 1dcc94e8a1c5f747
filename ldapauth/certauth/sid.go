package certauth

import (
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"adconnector/ldapauth/denial"
)

// oidSecurityID is the extension in which an authority of Active Directory says
// whose account it issued the certificate to ([MS-WCCE], 2.2.2.7.7.4).
var oidSecurityID = encodingasn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}

// oidObjectSID is the content of 1.3.6.1.4.1.311.25.2.1, the kind of name in it.
const oidObjectSID = "\x2b\x06\x01\x04\x01\x82\x37\x19\x02\x01"

// sidURI stands in front of a security identifier that is a URI among the
// alternative names, for requests that an authority cannot add to by itself.
const sidURI = "tag:microsoft.com,2022-09-14:sid:"

// securityID returns the security identifier of the account that a certificate
// was issued to, "" if it has none. Both places may have it if they agree.
func securityID(leaf *x509.Certificate, names *altNames) (string, error) {
	found := names.sids
	if raw := extension(leaf, oidSecurityID); raw != nil {
		sid, err := readSecurityID(raw)
		if err != nil {
			return "", denial.New(denial.BadName, "the extension with the security identifier %w", err)
		}
		found = append([]string{sid}, found...)
	}
	if len(names.sids) > 1 {
		return "", denial.New(denial.AmbiguousName, "the certificate has %d security identifiers among its alternative names", len(names.sids))
	}
	for _, sid := range found {
		if !isSecurityID(sid) {
			return "", denial.New(denial.BadName, "%s is not a security identifier", strconv.QuoteToASCII(clip(sid)))
		}
		if sid != found[0] {
			return "", denial.New(denial.AmbiguousName, "the certificate has two security identifiers, %s and %s", found[0], sid)
		}
	}
	return first(found), nil
}

// readSecurityID reads the content of the extension: a list of exactly one
// otherName, whose value is the text as an OCTET STRING.
func readSecurityID(raw []byte) (string, error) {
	sid := ""
	err := eachGeneralName(raw, func(tag asn1.Tag, content cryptobyte.String) error {
		if tag != tagOtherName || sid != "" {
			return errNotDER
		}
		oid, value, err := readOtherName(content)
		if err != nil || string(oid) != oidObjectSID || value.tag != asn1.OCTET_STRING || len(value.value) == 0 {
			return errNotDER
		}
		sid = string(value.value)
		return nil
	})
	if err == nil && sid == "" {
		err = errNotDER
	}
	return sid, err
}

// securityIDText is the one way to write a security identifier ([MS-DTYP],
// 2.4.2.1): no zeros in front, at most 15 numbers behind the authority.
var securityIDText = regexp.MustCompile(`^S-1-(0|[1-9][0-9]{0,14})(-(0|[1-9][0-9]{0,9})){1,15}$`)

func isSecurityID(text string) bool {
	if !securityIDText.MatchString(text) {
		return false
	}
	numbers := strings.Split(text, "-")[2:]
	for i, number := range numbers {
		bits := 32
		if i == 0 {
			bits = 48
		}
		if _, err := strconv.ParseUint(number, 10, bits); err != nil {
			return false
		}
	}
	return true
}
