package certauth

import (
	"crypto/sha1" //nolint:gosec // Windows chose it; it finds an entry, the signature proves who it is
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
)

// This file writes what an administrator of Active Directory puts into
// altSecurityIdentities to tie a certificate to an account. There is one way to
// write each form, the one that Windows has, because an account must hold
// exactly that.

// strongIdentities returns the forms that only this certificate or its key can
// have.
func strongIdentities(leaf *x509.Certificate) []string {
	var list []string
	issuer, ok := windowsName(leaf.RawIssuer)
	if serial := leaf.SerialNumber.Bytes(); ok && len(serial) > 0 && len(serial) <= maxSerial {
		// Windows keeps numbers with the lowest byte first.
		slices.Reverse(serial)
		list = append(list, "X509:<I>"+issuer+"<SR>"+hex.EncodeToString(serial))
	}
	if n := len(leaf.SubjectKeyId); n > 0 && n <= maxSerial {
		list = append(list, "X509:<SKI>"+hex.EncodeToString(leaf.SubjectKeyId))
	}
	if key, ok := publicKeyBits(leaf); ok {
		sum := sha1.Sum(key) //nolint:gosec // see above
		list = append(list, "X509:<SHA1-PUKEY>"+hex.EncodeToString(sum[:]))
	}
	return list
}

// weakIdentities returns the forms that another certificate may have as well:
// one that is issued later, maybe to somebody else.
func weakIdentities(leaf *x509.Certificate, names *altNames) []string {
	var list []string
	if subject, ok := windowsName(leaf.RawSubject); ok {
		if issuer, ok := windowsName(leaf.RawIssuer); ok {
			list = append(list, "X509:<I>"+issuer+"<S>"+subject)
		}
		list = append(list, "X509:<S>"+subject)
	}
	if mail, err := names.email(); err == nil && mail != "" {
		list = append(list, "X509:<RFC822>"+mail)
	}
	return list
}

// publicKeyBits returns the public key without the kind of key around it: what
// "certutil -dump" hashes for its "Key Id Hash(rfc-sha1)".
func publicKeyBits(leaf *x509.Certificate) ([]byte, bool) {
	var info struct {
		Kind asn1.RawValue
		Key  asn1.BitString
	}
	rest, err := asn1.Unmarshal(leaf.RawSubjectPublicKeyInfo, &info)
	return info.Key.Bytes, err == nil && len(rest) == 0 && len(info.Key.Bytes) > 0
}

// windowsNames are the names that Windows has for attribute types. All others it
// writes as numbers, UID among them.
var windowsNames = map[string]string{
	oidCommonName:  "CN",
	"\x55\x04\x07": "L",
	"\x55\x04\x08": "S",
	"\x55\x04\x0a": "O",
	"\x55\x04\x0b": "OU",
	"\x55\x04\x06": "C",
	"\x55\x04\x09": "STREET",
	"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
	"\x55\x04\x04":                         "SN",
	"\x55\x04\x05":                         "SERIALNUMBER",
	"\x55\x04\x0c":                         "T",
	"\x55\x04\x2a":                         "G",
	"\x55\x04\x2b":                         "I",
	"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01": "E",
}

// windowsName writes a distinguished name as Windows does: in the order of the
// certificate, which is from the top down, with a comma between the levels and a
// blank between the attributes of one, and with values in quotes that would not
// be clear without. A name that is empty or holds anything that does not show
// cannot be written.
func windowsName(raw []byte) (string, bool) {
	var b strings.Builder
	good := eachRDN(raw, func(rdn []attribute) {
		for i, a := range rdn {
			switch {
			case i > 0:
				b.WriteByte(' ')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			name, known := windowsNames[string(a.oid)]
			if !known {
				name = "OID." + dotted(a.oid)
			}
			b.WriteString(name)
			b.WriteByte('=')
			if text, err := a.text(); err == nil && checkName(text) == nil {
				b.WriteString(windowsQuote(text))
			} else {
				b.WriteByte(0) // which no name has
			}
		}
	})
	text := b.String()
	return text, good && text != "" && len(text) <= maxNameText && !strings.ContainsRune(text, 0)
}

// windowsQuote puts quotes around a value that holds what separates values.
func windowsQuote(text string) string {
	if !strings.ContainsAny(text, `,+="<>#;`) {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}
