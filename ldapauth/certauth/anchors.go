package certauth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"adconnector/ldapauth/pemfile"
	"adconnector/ldapauth/setting"
)

// Anchors are the authorities whose word is taken on who somebody is. They come
// from the files that the operator named and from nowhere else. A nil *Anchors
// holds nobody.
type Anchors struct {
	certs []*x509.Certificate
	// authorities are the numbers of those that have rules of their own, counted
	// from 1, by name and key.
	authorities map[string]int
}

// LoadAnchors reads the trust anchors that c names: see [LoadAnchors]. Keys are
// those of c.
func (c *Config) LoadAnchors() (*Anchors, error) {
	if len(c.Authorities) == 0 {
		return LoadAnchors(c.CAFiles)
	}
	var p setting.Problems
	all := &Anchors{authorities: map[string]int{}}
	if len(c.CAFiles) > 0 {
		a, err := LoadAnchors(c.CAFiles)
		p = append(p, setting.Split(err)...)
		all.add(a.Certificates()...)
	}
	for i, authority := range c.Authorities {
		key := fmt.Sprintf("authorities[%d].ca_file", i)
		certs, err := readAnchors(string(authority.CAFile))
		if err != nil {
			p.Addf(key, "%v", err)
		}
		for _, cert := range certs {
			if other := all.authorities[identityOf(cert)]; other != 0 && other != i+1 {
				p.Addf(key, "%q is in authorities[%d] too: an authority can have one set of rules only", nameText(cert.RawSubject), other-1)
			}
			all.authorities[identityOf(cert)] = i + 1
		}
		all.add(certs...)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// add adds certificates that are not there yet.
func (a *Anchors) add(certs ...*x509.Certificate) {
	for _, c := range certs {
		if !slices.ContainsFunc(a.certs, c.Equal) {
			a.certs = append(a.certs, c)
		}
	}
}

// identityOf returns what makes an authority the one that it is: its name with
// its key. There may be another of its name, and other certificates of it.
func identityOf(c *x509.Certificate) string {
	return string(c.RawSubject) + string(c.RawSubjectPublicKeyInfo)
}

// authorityOf returns the number of the authority whose rules hold for a path
// that was verified: of the one closest to the leaf. It is looked for by name
// and key on the whole path, so that nobody gets to other rules by sending a
// certificate for it that yet another authority has signed.
func (a *Anchors) authorityOf(path []*x509.Certificate) int {
	if a == nil || len(a.authorities) == 0 {
		return 0
	}
	for _, c := range path {
		if n := a.authorities[identityOf(c)]; n != 0 {
			return n
		}
	}
	return 0
}

// LoadAnchors reads the trust anchors from PEM files, with any number of
// certificates, or DER files. It takes all or nothing: a file that is missing,
// empty or holds anything but certificates of authorities is an error that says
// what to do, as [setting.Problems] under "ca_files[i]". Skipping what cannot be
// read would turn a slip of the operator into an unexplained refusal, or into
// trust in something else.
func LoadAnchors(files []setting.File) (*Anchors, error) {
	var p setting.Problems
	a := &Anchors{}
	if len(files) == 0 {
		p.Addf("ca_files", "required: list the files with the certificates of the authorities that issue your users' certificates")
	}
	for i, file := range files {
		certs, err := readAnchors(string(file))
		if err != nil {
			p.Addf(fmt.Sprintf("ca_files[%d]", i), "%v", err)
		}
		a.add(certs...)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return a, nil
}

// Pool returns the anchors for [crypto/tls.Config].ClientCAs, from which
// browsers learn which certificates to offer. The pool is the caller's own:
// changing it changes nobody's trust.
func (a *Anchors) Pool() *x509.CertPool {
	return poolOf(a.Certificates(), view{})
}

// Certificates returns the anchors. They must not be changed.
func (a *Anchors) Certificates() []*x509.Certificate {
	if a == nil {
		return nil
	}
	return slices.Clone(a.certs)
}

// readAnchors reads one file. Its errors lead with the file's name.
func readAnchors(file string) ([]*x509.Certificate, error) {
	certs, err := readCertificates(file)
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		if err := checkAnchor(c); err != nil {
			return nil, fmt.Errorf("%s: the certificate %q %w", file, nameText(c.RawSubject), err)
		}
	}
	return certs, nil
}

// readCertificates reads all certificates of a file. Its errors lead with the
// file's name.
func readCertificates(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: correct the path, or let the service's account read the file", err)
	}
	certs, err := pemfile.Certificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return certs, nil
}

// checkAnchor refuses a certificate that can never vouch for another. Being out
// of date is no such reason: old and new stand side by side when an authority
// renews.
func checkAnchor(c *x509.Certificate) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("is not that of an authority (it lacks \"CA:TRUE\"): put the certificate of its issuer there")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("is of an authority that may not sign certificates (key usage without keyCertSign): put the one that signs your users' certificates there")
	case hasUncheckedConstraints(c):
		return errors.New("limits names in a way that cannot be checked here (name constraints of a kind other than DNS, e-mail, URI and IP address): put another authority's certificate there")
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("has critical extensions that are not supported here (%v): put another authority's certificate there", c.UnhandledCriticalExtensions)
	}
	return nil
}
