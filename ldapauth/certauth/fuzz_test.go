package certauth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
)

// FuzzVerify changes a leaf and an issuer that is sent along. Whatever comes of
// it, the answer is a denial, or the leaf is one that was signed.
func FuzzVerify(f *testing.F) {
	root := newCA(f, "Root")
	ca := intermediate(f, root, "Issuing")
	leaf := client(f, ca, "jon", criticalPrincipalName)
	v := verifier(f, root)
	lax := certauth.DefaultConfig()
	lax.CheckUsage, lax.CheckValidity = false, false
	vLax := verifierWith(f, lax, root)

	signed := map[string]bool{}
	add := func(leaf, issuer *x509.Certificate) {
		f.Add(leaf.Raw, issuer.Raw)
		signed[string(leaf.RawTBSCertificate)] = true
		signed[string(issuer.RawTBSCertificate)] = true
	}
	add(leaf.Certificate, ca.Certificate)
	add(ca.Certificate, root.Certificate)
	for _, mod := range []func(template){
		smartCardOnly,
		func(c template) { c.Subject.ExtraNames = cns("jon", "admin") },
		func(c template) {
			c.DNSNames = []string{"a.example"}
			c.EmailAddresses = []string{"jon@a.example"}
			c.PolicyIdentifiers = []asn1.ObjectIdentifier{{1, 2, 3}}
		},
		func(c template) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 1000) },
		func(c template) {
			c.IsCA, c.MaxPathLenZero = true, true
			c.PermittedDNSDomains, c.ExcludedEmailAddresses = []string{"a.example"}, []string{"b.example"}
		},
		func(c template) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Value: []byte("\x30\x15\xa0\x13\x30\x11\xa4\x0f\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x0a\x0c\x02\x42\x72")}}
		},
	} {
		add(client(f, ca, "jon", mod).Certificate, intermediate(f, root, "Issuing", mod).Certificate)
	}
	f.Fuzz(func(t *testing.T, leafDER, issuerDER []byte) {
		got, err := x509.ParseCertificate(leafDER)
		if err != nil {
			return
		}
		chain := []*x509.Certificate{got, ca.Certificate}
		if issuer, err := x509.ParseCertificate(issuerDER); err == nil {
			chain = append(chain, issuer)
		}
		for _, v := range []*certauth.Verifier{v, vLax} {
			c, err := v.Verify(t.Context(), chain)
			if (c == nil) == (err == nil) || err != nil && denial.ReasonOf(err) == "" {
				t.Fatalf("neither a name nor a denial: %v, %v", c, err)
			}
			if err == nil && !signed[string(got.RawTBSCertificate)] {
				t.Errorf("let in as %q by a certificate that nobody signed", c.UserName)
			}
		}
	})
}
