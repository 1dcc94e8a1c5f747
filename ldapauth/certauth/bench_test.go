package certauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/testca"
)

// BenchmarkVerify has one intermediate, as most authorities do. The leaf's key
// hardly matters, the keys of those who signed do; so leaf and authorities have
// keys of the same kind.
func BenchmarkVerify(b *testing.B) {
	for _, bb := range []struct {
		name string
		key  func() crypto.Signer
	}{
		{"P-256", func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(b) }},
		{"RSA-2048", func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048))(b) }},
	} {
		root := must(testca.NewWithKey("Root", bb.key()))(b)
		key := bb.key()
		template := *intermediate(b, newCA(b, "Other"), "Issuing").Certificate
		template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
		issuing := &testca.CA{Certificate: must(root.Certify(&template, key.Public()))(b), Key: key}
		chain := []*x509.Certificate{withKey(b, issuing, bb.key()).Certificate, issuing.Certificate}
		v := verifier(b, root)
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(chain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+" first sight", func(b *testing.B) {
			b.ReportAllocs()
			list := anchors(b, root.Certificate)
			for b.Loop() {
				v.SetAnchors(list) // forgets
				if _, err := v.Verify(chain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+" library alone", func(b *testing.B) {
			b.ReportAllocs()
			roots := x509.NewCertPool()
			roots.AddCert(root.Certificate)
			for b.Loop() {
				intermediates := x509.NewCertPool()
				intermediates.AddCert(chain[1])
				_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyRefused is what a stranger can make us do. The worst that is
// known are issuers of one name and key, each of which may have signed each.
func BenchmarkVerifyRefused(b *testing.B) {
	root := newCA(b, "Root")
	now := time.Now()
	key := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(b)
	maze := []*x509.Certificate{nil}
	for i := range 9 {
		ca := must(testca.NewWithKey("Same", key, func(c template) { c.DNSNames = []string{fmt.Sprintf("%d.example", i)} }))(b)
		maze = append(maze, ca.Certificate)
		maze[0] = client(b, ca, "jon").Certificate
	}
	for name, chain := range map[string][]*x509.Certificate{
		"untrusted": sent(client(b, intermediate(b, newCA(b, "Stranger"), "Issuing"), "jon")),
		"expired":   sent(client(b, intermediate(b, root, "Issuing"), "jon", between(now.Add(-2*time.Hour), now.Add(-time.Hour)))),
		"maze":      maze,
	} {
		v := verifier(b, root)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(chain); denial.ReasonOf(err) == "" {
					b.Fatal(err)
				}
			}
		})
	}
}
