package revocation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"adconnector/ldapauth/denial"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// points is an extension with one distribution point at these addresses. With an
// issuer, its list is signed by somebody of that name.
func points(issuer []byte, urls ...string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(context0(0), func(b *cryptobyte.Builder) {
				b.AddASN1(context0(0), func(b *cryptobyte.Builder) {
					for _, u := range urls {
						b.AddASN1(tags.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(u)) })
					}
				})
			})
			if issuer != nil {
				b.AddASN1(context0(2), func(b *cryptobyte.Builder) {
					b.AddASN1(context0(4), func(b *cryptobyte.Builder) { b.AddBytes(issuer) })
				})
			}
		})
	})
	return b.BytesOrPanic()
}

func withPoints(value []byte, id ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.CRLDistributionPoints = nil
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier(id), Value: value})
	}
}

func withOnePoint(_ testing.TB, urls ...string) func(*x509.Certificate) {
	return withPoints(points(nil, urls...), 2, 5, 29, 31)
}

// withDelta names the delta list as well.
func withDelta(testing.TB) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: points(nil, deltaURL)})
	}
}

// TestPointsThatCannotBeUsedAreNoExcuse: whoever names only such places is
// refused with the reason why.
func TestPointsThatCannotBeUsedAreNoExcuse(t *testing.T) {
	other := must(asn1.Marshal(pkix.Name{CommonName: "Other"}.ToRDNSequence()))(t)
	for _, tt := range []struct {
		name  string
		value []byte
		word  string // "": crypto/x509 does not read such a certificate
	}{
		{"signed by another", points(other, listURL), "indirect"},
		{"a file", points(nil, "file:///etc/passwd"), "http, https or ldap"},
		{"an FTP server", points(nil, "ftp://pki.example/ca.crl"), "http, https or ldap"},
		{"damaged", []byte{0x30, 0x05, 0x01}, ""},
		{"nothing", []byte{0x30, 0x00}, "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			jon := w.leafRaw(withPoints(tt.value, 2, 5, 29, 31))
			if tt.word == "" {
				if jon != nil {
					t.Error("crypto/x509 reads it: say what becomes of it here")
				}
				return
			}
			if jon == nil {
				t.Fatal("crypto/x509 does not read the certificate")
			}
			wantReason(t, w.store(), w.path(jon), denial.RevocationUnknown, tt.word)
		})
	}
}

// leafRaw is leaf for certificates that crypto/x509 may not read; then it is nil.
func (w *world) leafRaw(mods ...func(*x509.Certificate)) *x509.Certificate {
	l, err := w.ca.Client("jon", mods...)
	if err != nil {
		return nil
	}
	return l.Certificate
}
