package front

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"adconnector/connector/private"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// TLSConfig says where the server certificate is: in two PEM files or in a PFX
// file.
type TLSConfig struct {
	CertFile        setting.File  `yaml:"cert_file"` // PEM: the server's certificate first, then its chain
	KeyFile         setting.File  `yaml:"key_file"`  // PEM, not encrypted
	PFXFile         setting.File  `yaml:"pfx_file"`  // PKCS #12
	PFXPassword     secret.String `yaml:"pfx_password"`
	PFXPasswordFile setting.File  `yaml:"pfx_password_file"`
	MinVersion      string        `yaml:"min_version"` // "1.2" or "1.3"
}

// Validate reports everything wrong with c at once. It does not look at files.
func (c *TLSConfig) Validate() error {
	var p setting.Problems
	switch {
	case c.PFXFile != "" && (c.CertFile != "" || c.KeyFile != ""):
		p.Addf("pfx_file", "give cert_file and key_file or pfx_file, not both")
	case c.PFXFile == "" && c.CertFile == "" && c.KeyFile == "":
		p.Addf("cert_file", "required: the server certificate as PEM, with key_file, or else as pfx_file")
	case c.PFXFile == "" && c.CertFile == "":
		p.Addf("cert_file", "required with key_file: the certificate that belongs to the key, then its chain")
	case c.PFXFile == "" && c.KeyFile == "":
		p.Addf("key_file", "required with cert_file: the private key that belongs to the certificate")
	}
	switch { // pfx_password is set also when it was read from its file
	case c.PFXFile != "":
	case c.PFXPasswordFile != "":
		p.Addf("pfx_password_file", "goes with pfx_file; the key in key_file must not be encrypted")
	case c.PFXPassword.IsSet():
		p.Addf("pfx_password", "goes with pfx_file; the key in key_file must not be encrypted")
	}
	if _, err := version(c.MinVersion); err != nil {
		p.Addf("min_version", "%v", err)
	}
	return p.Err()
}

// LoadCertificate reads the server certificate with its chain and its key. The
// error says in plain words what is wrong with the files; the warnings are for
// what works but will not please every client, or every auditor.
func LoadCertificate(c TLSConfig) (certificate *tls.Certificate, warnings []string, err error) {
	if c.PFXFile != "" {
		return loadPFX(c)
	}
	return loadPEM(string(c.CertFile), string(c.KeyFile))
}

func loadPEM(certFile, keyFile string) (*tls.Certificate, []string, error) {
	data, err := read(certFile)
	if err != nil {
		return nil, nil, fmt.Errorf("cert_file: %w", err)
	}
	chain, err := parseCertificates(data)
	if err != nil {
		return nil, nil, fmt.Errorf("cert_file: %s %w", certFile, err)
	}
	data, warnings, err := readPrivate(keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("key_file: %w", err)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, nil, fmt.Errorf("key_file: %s %w", keyFile, err)
	}
	switch at := ownerOf(key, chain); {
	case at > 0:
		return nil, nil, fmt.Errorf("cert_file: %s is in the wrong order: the certificate of the key is number %d of %d; put it first and its issuers behind it", certFile, at+1, len(chain))
	case at < 0 && onlyCAs(chain):
		return nil, nil, fmt.Errorf("cert_file: %s holds CA certificates only: the certificate of this server is missing; put it first", certFile)
	case at < 0:
		return nil, nil, fmt.Errorf("key_file: the key in %s does not belong to the certificate in %s (%s): one of them is probably older than the other", keyFile, certFile, chain[0].Subject)
	}
	warnings = append(warnings, remarks(chain)...)
	return assemble(chain, key), warnings, nil
}

func loadPFX(c TLSConfig) (*tls.Certificate, []string, error) {
	file := string(c.PFXFile)
	data, warnings, err := readPrivate(file)
	if err != nil {
		return nil, nil, fmt.Errorf("pfx_file: %w", err)
	}
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		return nil, nil, fmt.Errorf("pfx_file: %s is a PEM file: name it as cert_file and key_file", file)
	}
	password := c.PFXPassword
	if c.PFXPasswordFile != "" { // read at every load: it may have been replaced together with the PFX file
		text, more, err := readPrivate(string(c.PFXPasswordFile))
		if err != nil {
			return nil, nil, fmt.Errorf("pfx_password_file: %w", err)
		}
		warnings = append(warnings, more...)
		password = secret.New(strings.TrimRight(string(text), "\r\n"))
	}
	anyKey, first, others, err := pkcs12.DecodeChain(data, password.Reveal())
	if errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption) {
		if !password.IsSet() {
			return nil, nil, fmt.Errorf("pfx_file: %s is protected by a password: set pfx_password_file", file)
		}
		return nil, nil, fmt.Errorf("pfx_file: the password for %s is wrong", file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("pfx_file: %s cannot be used: %w; export the certificate again, with its private key", file, err)
	}
	key, ok := anyKey.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("pfx_file: the key in %s (%T) cannot sign", file, anyKey)
	}
	all := append([]*x509.Certificate{first}, others...)
	at := ownerOf(key, all)
	if at < 0 {
		return nil, nil, fmt.Errorf("pfx_file: none of the certificates in %s belongs to its key", file)
	}
	chain := issuers(all[at], all)
	warnings = append(warnings, remarks(chain)...)
	return assemble(chain, key), warnings, nil
}

// read returns what the file holds, without the mark that some editors put at
// the beginning.
func read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the account of this service may not read %s", path)
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}

// readPrivate is read for a file that is to be kept from others.
func readPrivate(path string) (data []byte, warnings []string, err error) {
	data, err = read(path)
	if err != nil {
		return nil, nil, err
	}
	warning, err := private.Check(path)
	if err != nil {
		return nil, nil, err
	}
	if warning != "" {
		warnings = []string{warning}
	}
	return data, warnings, nil
}

// blocks returns the PEM blocks in data. A block that is damaged is an error:
// leaving it out would shorten a chain in silence.
func blocks(data []byte) ([]*pem.Block, error) {
	begun := bytes.Count(data, []byte("-----BEGIN "))
	var found []*pem.Block
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		found = append(found, b)
	}
	if len(found) != begun {
		return nil, fmt.Errorf("is damaged: of %d PEM blocks only %d can be read", begun, len(found))
	}
	return found, nil
}

// parseCertificates returns the certificates in a PEM file, at least one. The
// error is written to stand behind the name of the file.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	found, err := blocks(data)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, b := range found {
		switch b.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, fmt.Errorf("holds a certificate (number %d) that cannot be read: %w", len(chain)+1, err)
			}
			chain = append(chain, c)
		case "TRUSTED CERTIFICATE":
			return nil, errors.New("holds a certificate in a form that only OpenSSL knows: convert it with openssl x509")
		}
	}
	if len(chain) > 0 {
		return chain, nil
	}
	switch has := func(kind string) bool {
		return slices.ContainsFunc(found, func(b *pem.Block) bool { return strings.HasSuffix(b.Type, kind) })
	}; {
	case has("PRIVATE KEY"):
		return nil, errors.New("holds a private key and no certificate: is it the key_file?")
	case has("CERTIFICATE REQUEST"):
		return nil, errors.New("holds a request for a certificate: use what the CA sent back for it")
	case has("PKCS7"):
		return nil, errors.New("holds PKCS #7: convert it with openssl pkcs7 -print_certs")
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return nil, errors.New("is a certificate in binary form (DER): convert it with openssl x509 -inform der")
	}
	return nil, noPEM(data, "CERTIFICATE")
}

// parseKey returns the one private key in a PEM file. The error is written to
// stand behind the name of the file, and never holds a part of it.
func parseKey(data []byte) (crypto.Signer, error) {
	found, err := blocks(data)
	if err != nil {
		return nil, err
	}
	var block *pem.Block
	for _, b := range found {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue // the certificate, or the parameters that OpenSSL puts before an EC key
		}
		if block != nil {
			return nil, errors.New("holds more than one private key: leave the one that belongs to the certificate")
		}
		block = b
	}
	switch {
	case block == nil && slices.ContainsFunc(found, func(b *pem.Block) bool { return b.Type == "CERTIFICATE" }):
		return nil, errors.New("holds a certificate and no private key: is it the cert_file?")
	case block == nil && binaryKey(data):
		return nil, errors.New("is a private key in binary form (DER): convert it with openssl pkey -inform der")
	case block == nil:
		return nil, noPEM(data, "PRIVATE KEY")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("is encrypted, and a service has nobody who types a password: write the key without one (openssl pkey -in OLD -out NEW), or use pfx_file with pfx_password_file")
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("holds a key for SSH: it needs the key that the certificate was requested with")
	}
	return decodeKey(block)
}

func decodeKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("holds a private key that cannot be read: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("holds a key (%T) that cannot sign: use RSA or ECDSA", key)
}

func binaryKey(data []byte) bool {
	_, pkcs8 := x509.ParsePKCS8PrivateKey(data)
	_, pkcs1 := x509.ParsePKCS1PrivateKey(data)
	_, ec := x509.ParseECPrivateKey(data)
	return pkcs8 == nil || pkcs1 == nil || ec == nil
}

// noPEM says what the data, which is not what was expected, may be.
func noPEM(data []byte, want string) error {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return errors.New("is written in UTF-16: save it as plain text (ASCII or UTF-8)")
	}
	return fmt.Errorf("is not what was expected: it has no line -----BEGIN %s-----", want)
}

// ownerOf returns the place of the certificate that belongs to the key, -1 if
// there is none.
func ownerOf(key crypto.Signer, chain []*x509.Certificate) int {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return -1
	}
	return slices.IndexFunc(chain, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
}

func onlyCAs(chain []*x509.Certificate) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return !c.IsCA })
}

// issuers returns the leaf and behind it those of all that lead up from it, each
// issued by the next. A root is left out: clients have it or will not believe
// it. PFX files hold certificates in any order, and often the root.
func issuers(leaf *x509.Certificate, all []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for {
		last := chain[len(chain)-1]
		i := slices.IndexFunc(all, func(c *x509.Certificate) bool {
			return !bytes.Equal(c.RawSubject, c.RawIssuer) && !slices.Contains(chain, c) && last.CheckSignatureFrom(c) == nil
		})
		if i < 0 {
			return chain
		}
		chain = append(chain, all[i])
	}
}

// remarks says what clients may not like about the chain.
func remarks(chain []*x509.Certificate) (warnings []string) {
	leaf := chain[0]
	if leaf.IsCA {
		warnings = append(warnings, "the server certificate is the certificate of a CA: its key can sign others and should not lie on a server")
	}
	usable := func(u x509.ExtKeyUsage) bool { return u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny }
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.ContainsFunc(leaf.ExtKeyUsage, usable) {
		warnings = append(warnings, "the server certificate is not meant for servers (extended key usage): browsers will refuse it")
	}
	for i, c := range chain[1:] {
		if !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			warnings = append(warnings, fmt.Sprintf("the chain of the server certificate is not in order: number %d (%s) did not issue number %d; some clients will refuse it", i+2, c.Subject, i+1))
		}
	}
	return warnings
}

func assemble(chain []*x509.Certificate, key crypto.Signer) *tls.Certificate {
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, link := range chain {
		c.Certificate = append(c.Certificate, link.Raw)
	}
	return c
}
