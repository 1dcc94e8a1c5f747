package revocation

import (
	"crypto"
	"crypto/x509"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers as the content octets of their DER, so that they compare
// without being decoded.
const (
	oidCRLNumber         = "\x55\x1d\x14"
	oidReasonCode        = "\x55\x1d\x15"
	oidDeltaIndicator    = "\x55\x1d\x1b"
	oidIssuingPoint      = "\x55\x1d\x1c"
	oidDistributionPoint = "\x55\x1d\x1f"
	oidAuthorityKeyID    = "\x55\x1d\x23"
	oidFreshestCRL       = "\x55\x1d\x2e"
	oidOCSPNonce         = "\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
	oidOCSPBasic         = "\x2b\x06\x01\x05\x05\x07\x30\x01\x01"
	oidOCSPNoCheck       = "\x2b\x06\x01\x05\x05\x07\x30\x01\x05"
	oidSHA1              = "\x2b\x0e\x03\x02\x1a"
	oidSHA256            = "\x60\x86\x48\x01\x65\x03\x04\x02\x01"
	oidSHA384            = "\x60\x86\x48\x01\x65\x03\x04\x02\x02"
	oidSHA512            = "\x60\x86\x48\x01\x65\x03\x04\x02\x03"
)

var hashes = map[string]crypto.Hash{
	oidSHA1: crypto.SHA1, oidSHA256: crypto.SHA256, oidSHA384: crypto.SHA384, oidSHA512: crypto.SHA512,
}

var errMalformed = errors.New("it is damaged or not what it should be")

func tagged(n uint8) asn1.Tag     { return asn1.Tag(n).ContextSpecific() }
func taggedCons(n uint8) asn1.Tag { return tagged(n).Constructed() }

// An extension is one of a list, an entry, an answer or a certificate.
type extension struct {
	id       string // content octets
	critical bool
	value    cryptobyte.String
}

// eachExtension calls visit for the extensions in a sequence of them. An
// extension that comes twice is an error: readers would differ on which counts.
func eachExtension(in cryptobyte.String, visit func(extension) error) error {
	seen := make([]string, 0, 8)
	for !in.Empty() {
		var one, id cryptobyte.String
		var e extension
		if !in.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) ||
			!readCritical(&one, &e.critical) ||
			!one.ReadASN1(&e.value, asn1.OCTET_STRING) || !one.Empty() {
			return errMalformed
		}
		e.id = string(id)
		for _, other := range seen {
			if other == e.id {
				return errors.New("an extension comes twice")
			}
		}
		if len(seen) == cap(seen) && len(seen) >= maxExtensions {
			return errors.New("it has too many extensions")
		}
		seen = append(seen, e.id)
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

const maxExtensions = 64

// readCritical reads the optional BOOLEAN of an extension.
func readCritical(in *cryptobyte.String, critical *bool) bool {
	return !in.PeekASN1Tag(asn1.BOOLEAN) || in.ReadASN1Boolean(critical)
}

// eachExtensionIn is eachExtension for a sequence that is still wrapped.
func eachExtensionIn(in cryptobyte.String, visit func(extension) error) error {
	var all cryptobyte.String
	if !in.ReadASN1(&all, asn1.SEQUENCE) || !in.Empty() {
		return errMalformed
	}
	return eachExtension(all, visit)
}

// extensionOf returns the content of a certificate's extension, nil if it has
// none.
func extensionOf(c *x509.Certificate, id string) cryptobyte.String {
	for i := range c.Extensions {
		var b cryptobyte.Builder
		b.AddASN1ObjectIdentifier(c.Extensions[i].Id)
		if der, err := b.Bytes(); err == nil && string(der[2:]) == id {
			return c.Extensions[i].Value
		}
	}
	return nil
}

// readTime reads UTCTime or GeneralizedTime in the one form that RFC 5280,
// section 4.1.2.5, allows: with seconds, in UTC. It is done by hand because
// there is one in each of a million entries.
func readTime(in *cryptobyte.String) (time.Time, bool) {
	var text cryptobyte.String
	var tag asn1.Tag
	if !in.ReadAnyASN1(&text, &tag) || len(text) == 0 || text[len(text)-1] != 'Z' {
		return time.Time{}, false
	}
	digits := text[:len(text)-1]
	for _, d := range digits {
		if d < '0' || d > '9' {
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(digits[i]-'0')*10 + int(digits[i+1]-'0') }
	year := 0
	switch {
	case tag == asn1.UTCTime && len(digits) == 12:
		if year = 1900 + two(0); year < 1950 {
			year += 100
		}
		digits = digits[2:]
	case tag == asn1.GeneralizedTime && len(digits) == 14:
		year = two(0)*100 + two(2)
		digits = digits[4:]
	default:
		return time.Time{}, false
	}
	month, day, hour, minute, second := two(0), two(2), two(4), two(6), two(8)
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if y, m, d := t.Date(); y != year || int(m) != month || d != day || t.Hour() != hour || t.Minute() != minute || t.Second() != second {
		return time.Time{}, false // 31 June, 24:60
	}
	return t, true
}

// readNatural reads an INTEGER that is not negative: its content octets without
// leading zeros, so that equal numbers are equal texts.
func readNatural(in *cryptobyte.String) ([]byte, bool) {
	n, negative, ok := readInteger(in)
	return n, ok && !negative
}

// readInteger reads an INTEGER as readNatural does. The octets of a negative one
// are as they stand.
func readInteger(in *cryptobyte.String) (octets []byte, negative, ok bool) {
	var n cryptobyte.String
	if !in.ReadASN1(&n, asn1.INTEGER) || len(n) == 0 {
		return nil, false, false
	}
	if len(n) > 1 && (n[0] == 0 && n[1] < 0x80 || n[0] == 0xff && n[1] >= 0x80) {
		return nil, false, false // longer than it has to be
	}
	if n[0] >= 0x80 {
		return n, true, true
	}
	if n[0] == 0 && len(n) > 1 {
		n = n[1:]
	}
	return n, false, true
}

// compareNatural orders what readNatural returns.
func compareNatural(a, b []byte) int {
	switch {
	case len(a) != len(b):
		return len(a) - len(b)
	case string(a) < string(b):
		return -1
	case string(a) > string(b):
		return 1
	}
	return 0
}
