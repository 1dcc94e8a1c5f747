// Package testca makes certification authorities and certificates for trying
// things out: the demonstration and the tests live on it. Nothing that it makes
// is meant to protect anything; keys are handed out freely.
package testca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// How long things are good for. They start an hour back, so that a machine
// whose clock is a little behind can use them at once. A leaf gets no more than
// browsers accept from a server.
const (
	backdate     = time.Hour
	caLifetime   = 5 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
)

// A CA is a certification authority: a root or an intermediate.
type CA struct {
	Certificate *x509.Certificate
	Key         crypto.Signer

	// chain is what a peer that knows only the root needs to know of this
	// authority: its own certificate and those above it, without the root.
	chain []*x509.Certificate
}

// A Leaf is a certificate with its key, as a server or a person has it.
type Leaf struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Chain       []*x509.Certificate // its issuers, nearest first, without the root
}

// New returns a root: a P-256 key with a certificate that it signed itself,
// good from an hour ago for five years. The mods change the template before it
// is signed.
func New(commonName string, mods ...func(*x509.Certificate)) (*CA, error) {
	return NewWithKey(commonName, nil, mods...)
}

// NewWithKey is [New] with the caller's key. A nil key means a fresh one.
func NewWithKey(commonName string, key crypto.Signer, mods ...func(*x509.Certificate)) (*CA, error) {
	template := caTemplate(commonName, mods)
	key, err := orFresh(key)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the root %q: %w", commonName, err)
	}
	return &CA{Certificate: cert, Key: key}, nil
}

// Intermediate returns an authority below ca. The mods change the template
// before ca signs it.
func (ca *CA) Intermediate(commonName string, mods ...func(*x509.Certificate)) (*CA, error) {
	leaf, err := ca.Issue(caTemplate(commonName, mods), nil)
	if err != nil {
		return nil, err
	}
	return &CA{
		Certificate: leaf.Certificate,
		Key:         leaf.Key,
		chain:       append([]*x509.Certificate{leaf.Certificate}, leaf.Chain...),
	}, nil
}

// Server returns a certificate for TLS servers under the given DNS names and
// IP addresses. The first is also the common name.
func (ca *CA) Server(names ...string) (*Leaf, error) {
	if len(names) == 0 {
		return nil, errors.New("a server certificate needs at least one name")
	}
	template := leafTemplate(names[0], x509.ExtKeyUsageServerAuth)
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return ca.Issue(template, nil)
}

// Client returns a certificate with which a person signs in: one common name,
// client authentication, digital signature. The mods change the template, such
// as its times, usages, subject or further extensions, before ca signs it.
func (ca *CA) Client(commonName string, mods ...func(*x509.Certificate)) (*Leaf, error) {
	template := leafTemplate(commonName, x509.ExtKeyUsageClientAuth)
	for _, mod := range mods {
		mod(template)
	}
	return ca.Issue(template, nil)
}

// Issue signs the template, which may be as odd as a test likes. A nil key
// means a fresh P-256 key. Times that are not set become "from an hour ago for
// a year"; the serial number, if not set, is random.
func (ca *CA) Issue(template *x509.Certificate, key crypto.Signer) (*Leaf, error) {
	key, err := orFresh(key)
	if err != nil {
		return nil, err
	}
	cert, err := ca.Certify(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &Leaf{Certificate: cert, Key: key, Chain: slices.Clone(ca.chain)}, nil
}

// Certify signs the template for a public key whose private key may be
// elsewhere, or exist nowhere.
func (ca *CA) Certify(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	filled := *template
	fillTimes(&filled, leafLifetime)
	cert, err := sign(&filled, ca.Certificate, public, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %q: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}

// PEM returns the authority's certificate.
func (ca *CA) PEM() []byte { return certPEM(ca.Certificate) }

// TLS returns the leaf in the form that crypto/tls wants, with its chain.
func (l *Leaf) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: l.Key, Leaf: l.Certificate}
	for _, cert := range l.certificates() {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// CertPEM returns the leaf, followed by its chain.
func (l *Leaf) CertPEM() []byte { return certPEM(l.certificates()...) }

// KeyPEM returns the private key, not encrypted (PKCS #8). It panics if the key
// is of a kind that cannot be written, which none made here is.
func (l *Leaf) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(l.Key)
	if err != nil {
		panic(fmt.Sprintf("testca: the key of %q: %v", l.Certificate.Subject.CommonName, err))
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// PFX returns leaf, key and chain as a PKCS #12 file that Windows (10 and
// Server 2019, or later), Firefox and NSS import.
func (l *Leaf) PFX(password string) ([]byte, error) {
	pfx, err := pkcs12.Modern2023.Encode(l.Key, l.Certificate, l.Chain, password)
	if err != nil {
		return nil, fmt.Errorf("writing the PFX file of %q: %w", l.Certificate.Subject.CommonName, err)
	}
	return pfx, nil
}

func (l *Leaf) certificates() []*x509.Certificate {
	return append([]*x509.Certificate{l.Certificate}, l.Chain...)
}

func caTemplate(commonName string, mods []func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, mod := range mods {
		mod(template)
	}
	fillTimes(template, caLifetime)
	return template
}

func leafTemplate(commonName string, usage x509.ExtKeyUsage) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true,
	}
}

func fillTimes(template *x509.Certificate, lifetime time.Duration) {
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-backdate)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(lifetime)
	}
}

func orFresh(key crypto.Signer) (crypto.Signer, error) {
	if key != nil {
		return key, nil
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func certPEM(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer takes everything
	}
	return b.Bytes()
}
