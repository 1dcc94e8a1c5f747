package certauth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"io"
	"math/big"
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
				if _, err := v.Verify(b.Context(), chain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+" first sight", func(b *testing.B) {
			b.ReportAllocs()
			list := anchors(b, root.Certificate)
			for b.Loop() {
				v.SetAnchors(list) // forgets
				if _, err := v.Verify(b.Context(), chain); err != nil {
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
// known are many issuers, each of which may have signed each, with keys that are
// slow to check with.
func BenchmarkVerifyRefused(b *testing.B) {
	root := newCA(b, "Root")
	now := time.Now()
	slow := newSlowKey(b)
	for _, bb := range []struct {
		name  string
		chain []*x509.Certificate
	}{
		{"untrusted", sent(client(b, intermediate(b, newCA(b, "Stranger"), "Issuing"), "jon"))},
		{"expired", sent(client(b, intermediate(b, root, "Issuing"), "jon", between(now.Add(-2*time.Hour), now.Add(-time.Hour))))},
		{"one name", sameName(b, slow)},
		{"maze", maze(b, newCA(b, "Stranger"), slow)},
		{"maze under the anchor's name", maze(b, newCA(b, "Root"), slow)},
	} {
		v := verifier(b, root)
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), bb.chain); denial.ReasonOf(err) == "" {
					b.Fatal(err)
				}
			}
		})
	}
}

// slowKey is an RSA key of the size and with the exponent that take the longest
// to check a signature with. It has sixteen short primes: nobody is meant to
// trust it, and long ones are slow to find.
type slowKey struct {
	public rsa.PublicKey
	d      *big.Int
}

func newSlowKey(b *testing.B) *slowKey {
	b.Helper()
	e, one := big.NewInt(1<<31-1), big.NewInt(1)
	n, phi := big.NewInt(1), big.NewInt(1)
	for n.BitLen() <= 8192-512 {
		p := must(rand.Prime(rand.Reader, min(512, 8192-n.BitLen()+1)))(b)
		n.Mul(n, p)
		phi.Mul(phi, new(big.Int).Sub(p, one))
	}
	return &slowKey{rsa.PublicKey{N: n, E: int(e.Int64())}, new(big.Int).ModInverse(e, phi)}
}

func (k *slowKey) Public() crypto.PublicKey { return &k.public }

// Sign makes a signature of PKCS #1 version 1.5, RFC 8017 section 8.2.1, over a
// SHA-256 digest.
func (k *slowKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	info := append([]byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"), digest...)
	block := bytes.Repeat([]byte{0xff}, k.public.Size())
	block[0], block[1] = 0, 1
	block[len(block)-len(info)-1] = 0
	copy(block[len(block)-len(info):], info)
	s := new(big.Int).SetBytes(block)
	return s.Exp(s, k.d, k.public.N).FillBytes(block), nil
}

// BenchmarkVerifyListed is a certificate that is accepted as it is, among a
// thousand.
func BenchmarkVerifyListed(b *testing.B) {
	var certs []*x509.Certificate
	var last *testca.Leaf
	for range 1000 {
		last = selfSigned(b, "jon")
		certs = append(certs, last.Certificate)
	}
	v := listing(b, nil, entries(entry(b, "", certs...)))
	chain := sent(last)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), chain); err != nil {
			b.Fatal(err)
		}
	}
}
