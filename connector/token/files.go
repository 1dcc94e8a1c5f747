package token

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"adconnector/connector/private"
)

// open makes the key in the operator's files the one to sign with, for as long
// as the process lives.
//
// A certificate that has expired is no error: relying parties that know this
// very certificate do not look at its dates, as a rule, and to refuse it would
// keep everybody out on a day that nobody has chosen.
func (k *Keys) open(ctx context.Context, c Config) error {
	key, warning, err := ReadKey(string(c.CertFile), string(c.KeyFile))
	if err != nil {
		return err
	}
	if warning != "" {
		k.log.WarnContext(ctx, "signing.key_file: "+warning)
	}
	now := k.now()
	if from := key.Certificate.NotBefore; now.Before(from) {
		return fmt.Errorf("cert_file: %s is valid from %s and now is %s: set the clock of this machine, or name the certificate that is in use", c.CertFile, from.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	k.kept = true
	k.publish(ctx, []*SigningKey{key}, now)
	if now.After(key.Certificate.NotAfter) {
		k.log.WarnContext(ctx, "signing.cert_file: the certificate has expired: relying parties that look at its dates refuse tokens", about(key)...)
	}
	return nil
}

// ReadKey reads a certificate and its key from PEM files. The warning is that of
// [private.Check] about the file with the key; an error says which file is wrong
// and holds nothing of what is in it.
func ReadKey(certFile, keyFile string) (key *SigningKey, warning string, err error) {
	cert, err := readPEM(certFile)
	if err != nil {
		return nil, "", fmt.Errorf("cert_file: %w", err)
	}
	secret, err := readPEM(keyFile)
	if err != nil {
		return nil, "", fmt.Errorf("key_file: %w", err)
	}
	if warning, err = private.Check(keyFile); err != nil {
		return nil, "", fmt.Errorf("key_file: %w", err)
	}
	if key, err = ParsePair(cert, secret); err != nil {
		return nil, "", fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	return key, warning, nil
}

func readPEM(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", path)
	}
	return data, err
}

// ParsePair reads a certificate and its RSA key from PEM texts, the first
// certificate and the first private key of each, and refuses what must not sign.
func ParsePair(certificate, key []byte) (*SigningKey, error) {
	cert := findPEM(certificate, "CERTIFICATE")
	if cert == nil || cert.Type != "CERTIFICATE" {
		return nil, errors.New("there is no certificate: want a PEM block CERTIFICATE")
	}
	block := findPEM(key, "PRIVATE KEY")
	switch {
	case block == nil:
		return nil, errors.New("there is no private key: want a PEM block PRIVATE KEY")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("the private key is encrypted, and a service has nobody who types a password: write it without one (openssl pkey -in OLD -out NEW)")
	case block.Type == "RSA PRIVATE KEY":
		parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("damaged private key: %w", err)
		}
		return parseRSA(parsed, cert.Bytes)
	}
	return parseKey(block.Bytes, cert.Bytes)
}

// findPEM returns the first block whose type ends in kind.
func findPEM(data []byte, kind string) *pem.Block {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil || strings.HasSuffix(b.Type, kind) {
			return b
		}
	}
}

// parseRSA reads the certificate of an RSA key and refuses what must not sign.
func parseRSA(key *rsa.PrivateKey, certificate []byte) (*SigningKey, error) {
	if n := key.N.BitLen(); n < minBits {
		return nil, fmt.Errorf("an RSA key of %d bits is too weak: at least %d are needed", n, minBits)
	}
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("damaged certificate: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the certificate belongs to another key")
	}
	return newSigningKey(key, cert), nil
}
