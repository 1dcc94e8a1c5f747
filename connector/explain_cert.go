package connector

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
)

// OtherAccount is the result of an [Explanation] of a certificate that is good
// for an account, but not for the one that was asked about.
const OtherAccount = "other_account"

// A CertificateQuestion is what [ExplainCertificate] is asked.
type CertificateQuestion struct {
	// Chain is what a browser would send: the leaf, then its issuers.
	Chain []*x509.Certificate
	// User is whose certificate it should be; "" if that is not asked.
	User string
	// From is the address of the browser; the zero address if that is not asked.
	From netip.Addr
}

// A CertificateWalk is what was looked at in a certificate.
type CertificateWalk struct {
	Took       Milliseconds        `json:"took_ms"`
	From       string              `json:"from,omitempty"` // the address that was asked about
	Path       []CertificateFacts  `json:"path"`           // the leaf, and those up to the anchor if it leads to one
	Checks     []CertificateCheck  `json:"checks"`
	Rules      []CertificateRule   `json:"rules"`
	SID        string              `json:"sid,omitempty"`      // the security identifier in it
	Strength   string              `json:"strength,omitempty"` // of the link to the account, once that is known
	Revocation []RevocationFinding `json:"revocation"`
	Unknown    string              `json:"revocation_unknown,omitempty"` // what on_unknown: allow lets pass
}

// CertificateFacts are what a certificate says of itself.
type CertificateFacts struct {
	Subject    string    `json:"subject"`
	Issuer     string    `json:"issuer"`
	Serial     string    `json:"serial"`
	Thumbprint string    `json:"thumbprint"` // SHA-256
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
}

func factsOf(c *certauth.Certificate) CertificateFacts {
	return CertificateFacts{c.Subject, c.Issuer, c.Serial, c.Thumbprint, c.NotBefore.UTC(), c.NotAfter.UTC()}
}

// A CertificateCheck is one thing that was checked.
type CertificateCheck struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Reason string `json:"reason,omitempty"` // why it keeps the certificate out
	Detail string `json:"detail,omitempty"`
	Off    bool   `json:"off,omitempty"` // not wanted by the configuration
}

// A CertificateRule is what one rule of user_name found.
type CertificateRule struct {
	Rule    string `json:"rule"`
	Found   string `json:"found"` // "" if nothing
	Reason  string `json:"reason,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Decides bool   `json:"decides,omitempty"`
}

// A RevocationFinding is what is known of one certificate's revocation.
type RevocationFinding struct {
	revocation.Report
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// ExplainCertificate is [Explain] for somebody who comes with a certificate. What
// a sign-in would fetch to know whether it has been revoked is fetched, and not
// kept.
func ExplainCertificate(ctx context.Context, c *Config, q CertificateQuestion) (*Explanation, error) {
	if c.Certificate == nil {
		return nil, errors.New("the configuration has no section certificate, so nobody is asked for one")
	}
	conn, err := openToExplain(c)
	if err != nil {
		return nil, err
	}
	defer conn.directory.Close()
	closeVerifier, err := conn.openVerifier()
	if err != nil {
		return nil, err
	}
	defer closeVerifier()
	o := conn.policy()
	o.Audit = discard
	service, err := signin.New(o)
	if err != nil {
		return nil, err
	}

	x := &Explanation{User: q.User}
	certificate, err := x.explainCertificate(ctx, conn, &q)
	if err != nil {
		x.Verdict = refusal(err)
		return x, nil
	}
	if x.User == "" {
		x.User = certificate.UserName
	}
	var account *ldapauth.Account
	x.Finding = watched(ctx, func(ctx context.Context) { account, err = service.FindByCertificate(ctx, certificate, q.From) })
	if err != nil {
		x.Verdict = refusal(err)
		return x, nil
	}
	x.Certificate.Strength = certificate.Strength()
	x.explainAccount(ctx, conn, service, account)
	if q.User != "" {
		x.explainOwner(ctx, service, account)
	}
	return x, nil
}

// openVerifier opens what judges certificates, as the connector that runs does,
// but changes nothing in data_dir. The function that it returns closes it.
func (c *Connector) openVerifier() (func(), error) {
	anchors, anchorErr := c.loadAnchors()
	listed, listedErr := c.loadListed()
	if err := errors.Join(anchorErr, listedErr); err != nil {
		return nil, err
	}
	c.verifier = certauth.New(c.config.Certificate.verifier(), anchors)
	c.verifier.SetListed(listed)
	if c.config.Certificate.Revocation.Mode == revocation.ModeOff {
		return func() {}, nil
	}
	cache, err := c.keptLists()
	if err != nil {
		return nil, err
	}
	c.revocation, err = openStore(c.config.Certificate.Revocation, anchors, revocation.Options{Fetch: fetcher(c.directory), Cache: cache})
	if err != nil {
		return nil, err
	}
	c.verifier.Revocation = c.revocation
	return c.revocation.Close, nil
}

// keptLists returns the lists that a running connector has fetched, for reading
// only; nil if there is no folder with them.
func (c *Connector) keptLists() (revocation.Cache, error) {
	path := filepath.Join(string(c.config.DataDir), listsDir)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	dir, err := private.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w; run this as the service's account or as an administrator", err)
	}
	return readOnly{dir}, nil
}

// readOnly is a cache that forgets what is put into it.
type readOnly struct{ revocation.Cache }

func (readOnly) Write(string, ...[]byte) error { return nil }
func (readOnly) Remove(string) error           { return nil }

// explainCertificate fills x.Certificate, and returns what the certificate says
// or why it is refused.
func (x *Explanation) explainCertificate(ctx context.Context, conn *Connector, q *CertificateQuestion) (*certauth.Certificate, error) {
	start := time.Now()
	e := conn.verifier.Explain(ctx, q.Chain)
	w := &CertificateWalk{Took: milliseconds(time.Since(start)), Path: []CertificateFacts{}, Checks: []CertificateCheck{}, Rules: []CertificateRule{}, Revocation: []RevocationFinding{}}
	x.Certificate = w
	err := e.Err
	if q.From.IsValid() {
		w.From = q.From.String()
		check := CertificateCheck{Name: "address", Text: w.From + " is in certificate.ip_ranges, so its browsers are asked for a certificate"}
		if !iprange.New(conn.config.Certificate.IPRanges).Contains(q.From) {
			check.Text = w.From + " is not in certificate.ip_ranges, so its browsers are not asked for a certificate"
			check.Reason = string(denial.NotAllowedHere)
			err = denial.New(denial.NotAllowedHere, "sign-in by certificate is not offered to this address")
		}
		w.Checks = append(w.Checks, check)
	}
	for _, c := range e.Path {
		w.Path = append(w.Path, factsOf(c))
	}
	for _, c := range e.Checks {
		w.Checks = append(w.Checks, CertificateCheck{c.Name, c.Text, string(denial.ReasonOf(c.Err)), text(c.Err), c.Off})
	}
	for _, r := range e.Rules {
		w.Rules = append(w.Rules, CertificateRule{r.Rule, r.Text, string(denial.ReasonOf(r.Err)), text(r.Err), r.Decides})
	}
	for _, r := range e.Revocation {
		w.Revocation = append(w.Revocation, RevocationFinding{r, string(denial.ReasonOf(r.Err)), text(r.Err)})
	}
	if e.Certificate != nil {
		w.Unknown, w.SID = e.Certificate.Unknown, e.Certificate.SID
	}
	return e.Certificate, err
}

// explainOwner says whether the certificate is that of the user who was asked
// about.
func (x *Explanation) explainOwner(ctx context.Context, service *signin.Service, account *ldapauth.Account) {
	wanted, err := service.Find(ctx, x.User)
	switch {
	case err != nil && denial.ReasonOf(err) == "":
		x.Verdict = refusal(err)
	case err != nil:
		x.Verdict = Verdict{Result: OtherAccount, Detail: fmt.Sprintf("it is the certificate of %s, and there is nobody called %s: %v", account.DN, x.User, err)}
	case wanted.ID != account.ID:
		x.Verdict = Verdict{Result: OtherAccount, Detail: fmt.Sprintf("it is the certificate of %s, and %s is %s", account.DN, x.User, wanted.DN)}
	}
}

// maxChainFile bounds what is read of a file with certificates.
const maxChainFile = 1 << 20

// ReadChain reads the certificates of a file: PEM, in which everything else is
// passed over, or DER.
func ReadChain(path string) ([]*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxChainFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxChainFile:
		return nil, fmt.Errorf("%s is too large for a file with certificates", path)
	}
	var chain []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // such as the key
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d in it cannot be read: %w", path, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) > 0 {
		return chain, nil
	}
	if chain, err = x509.ParseCertificates(data); err != nil || len(chain) == 0 {
		return nil, fmt.Errorf("%s holds no certificate, neither as PEM nor as DER (of a PFX file, make one with: openssl pkcs12 -nokeys -in FILE -out FILE.crt)", path)
	}
	return chain, nil
}
