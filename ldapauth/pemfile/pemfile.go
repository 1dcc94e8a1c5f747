// Package pemfile reads files with certificates.
package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"adconnector/ldapauth/setting"
)

// Certificates reads what a file with certificates holds: PEM if there is
// any sign of it, else DER. Whatever else is in it is an error, which is written
// to stand behind the file's name.
func Certificates(data []byte) ([]*x509.Certificate, error) {
	const begin = "-----BEGIN "
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // some Windows editors put this first
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("is empty: put the certificate there, or remove the file from the list")
	}
	blocks := bytes.Count(data, []byte(begin))
	if blocks == 0 {
		certs, err := x509.ParseCertificates(data)
		if err != nil {
			return nil, fmt.Errorf("is neither PEM nor DER: export the certificate as \"Base-64 encoded X.509\" (%w)", err)
		}
		return certs, nil
	}
	var certs []*x509.Certificate
	for range blocks {
		var block *pem.Block
		// Decode jumps over a block that is damaged, so fewer come out than
		// begin.
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("holds a PEM block that is damaged or cut off: get the file again")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a PEM block %.80q: leave nothing but CERTIFICATE blocks in it", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it cannot be read: get the file again (%w)", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// Roots returns the certificates in the files of the key ca_files, nil if there are
// none: then the authorities of the system hold. The error begins with the key.
func Roots(files []setting.File) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for i, f := range files {
		data, err := os.ReadFile(string(f))
		if err != nil {
			return nil, fmt.Errorf("ca_files[%d]: %w; check the path, and that the service may read the file", i, err)
		}
		certs, err := Certificates(data)
		if err != nil {
			return nil, fmt.Errorf("ca_files[%d]: %s %w", i, f, err)
		}
		for _, cert := range certs {
			pool.AddCert(cert)
		}
	}
	return pool, nil
}
