package certauth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

// RuleListed is the [Certificate.Rule] of a name that stands in the
// configuration, beside the file with the certificate.
const RuleListed = "self_signed_files"

// A ListedFile is a file with certificates that are accepted as they are,
// whoever issued them.
type ListedFile struct {
	// File is PEM, with any number of certificates, or DER.
	File setting.File `yaml:"file,alone"`
	// User is whose certificates they are. Without it, the rules find the name.
	User string `yaml:"user"`
}

// ListedFiles returns the files of SelfSignedFiles.
func (c *Config) ListedFiles() []setting.File {
	files := make([]setting.File, len(c.SelfSignedFiles))
	for i, entry := range c.SelfSignedFiles {
		files[i] = entry.File
	}
	return files
}

// Listed are the certificates that are accepted without the word of an
// authority: exactly these. A nil *Listed holds none.
type Listed struct {
	all   []*listed
	byDER map[string]*listed
}

type listed struct {
	certificate *x509.Certificate
	file        setting.File
	user        string
}

// LoadListed reads the certificates that c lists. Like [LoadAnchors] it takes all
// or nothing, and gives mistakes as [setting.Problems]. A certificate that c
// would never let in, other than for its time, is such a mistake.
func LoadListed(c *Config) (*Listed, error) {
	var p setting.Problems
	l := &Listed{byDER: map[string]*listed{}}
	for i, entry := range c.SelfSignedFiles {
		key := fmt.Sprintf("self_signed_files[%d]", i)
		certs, err := readCertificates(string(entry.File))
		if err != nil {
			p.Addf(key, "%v", err)
		}
		for _, cert := range certs {
			if err := l.add(c, &listed{cert, entry.File, entry.User}); err != nil {
				p.Addf(key, "%s: the certificate %q %v", entry.File, nameText(cert.RawSubject), err)
			}
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Listed) add(c *Config, e *listed) error {
	if c.CheckUsage {
		if fault := usageFault(e.certificate); fault != "" {
			return fmt.Errorf("%s: have it made anew (docs/certificates.md has the command), or write check_usage: false", fault)
		}
	}
	if err := checkKey(e.certificate); err != nil {
		return fmt.Errorf("has %w: have it made anew", err)
	}
	if err := checkExtensions(e.certificate); err != nil {
		return errors.New("has a critical extension that is not supported: have it made anew")
	}
	switch have := l.find(e.certificate); {
	case have == nil:
		l.all = append(l.all, e)
		l.byDER[string(e.certificate.Raw)] = e
	case have.user != e.user:
		return fmt.Errorf("is in %s as well, for somebody else: leave it in one place", have.file)
	}
	return nil
}

// find returns the entry of a certificate, nil if it is not listed. It compares
// all of the bytes: names, numbers and even keys can be had by others, in a
// certificate of their own.
func (l *Listed) find(c *x509.Certificate) *listed {
	if l == nil {
		return nil
	}
	return l.byDER[string(c.Raw)]
}

// A ListedCertificate is one of [Listed.Certificates].
type ListedCertificate struct {
	*x509.Certificate
	File setting.File
	User string // "": the rules find the name
}

// Certificates returns all of l. They must not be changed.
func (l *Listed) Certificates() []ListedCertificate {
	if l == nil {
		return nil
	}
	all := make([]ListedCertificate, len(l.all))
	for i, e := range l.all {
		all[i] = ListedCertificate{e.certificate, e.file, e.user}
	}
	return all
}

// SetListed makes l what every [Verifier.Verify] accepts that starts later.
func (v *Verifier) SetListed(l *Listed) { v.listed.Store(l) }

// Listed returns what [Verifier.SetListed] was given.
func (v *Verifier) Listed() *Listed { return v.listed.Load() }

// acceptListed judges a certificate that is listed: its time, usage, key,
// extensions and name, as with every other. There is no authority whose word
// counts, so neither its signature nor revocation is looked at.
func (v *Verifier) acceptListed(e *listed, now time.Time) (*accepted, error) {
	leaf := e.certificate
	path := []*x509.Certificate{leaf}
	if v.config.CheckValidity {
		if err := outdated(leaf, now); err != nil {
			return nil, err
		}
	}
	if v.config.CheckUsage {
		if err := checkUsage(leaf); err != nil {
			return nil, err
		}
	}
	if err := checkPathKeys(path); err != nil {
		return nil, err
	}
	if err := checkExtensions(leaf); err != nil {
		return nil, err
	}
	c := Describe(leaf)
	n := &v.namings[0] // there is no authority that could have others
	if err := v.checkPolicies(path, n.policies, now); err != nil {
		return nil, err
	}
	if c.UserName, c.Rule = e.user, RuleListed; e.user == "" {
		if err := n.apply(leaf, c); err != nil {
			return nil, err
		}
	}
	return newAccepted(c, [][]*x509.Certificate{path}, v.config.CheckValidity), nil
}

// notListed is the refusal where only listed certificates are accepted.
func notListed(leaf *x509.Certificate) error {
	return denial.New(denial.Untrusted, "the certificate %q, issued by %q, is none of those in self_signed_files, and no others are accepted",
		nameText(leaf.RawSubject), nameText(leaf.RawIssuer))
}

// Names returns the names of those whose certificates are accepted, for
// [crypto/tls.Config].ClientCAs: of the authorities and, since browsers look for
// the issuer, of those who issued what is listed, which mostly are the owners
// themselves. The pool serves for that only: nobody in it is to be trusted.
func (v *Verifier) Names() *x509.CertPool {
	pool := x509.NewCertPool()
	if v.config.Accept != acceptSelfSigned {
		pool = v.trust.Load().anchors.Pool()
	}
	for _, c := range v.Listed().Certificates() {
		named := *c.Certificate
		named.RawSubject = named.RawIssuer
		pool.AddCert(&named)
	}
	return pool
}

// checkUser refuses a user name in the configuration that can be nobody's.
func checkUser(name string) error {
	if name == "" {
		return nil
	}
	if err := checkName(name); err != nil {
		return fmt.Errorf("%s %w", strconv.QuoteToASCII(clip(name)), err)
	}
	return nil
}
