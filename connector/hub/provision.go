package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"adconnector/connector/private"
)

// agentVersion is what the connector that tenants know says of itself.
const agentVersion = "0.0.0"

// A Provisioner makes this service known to the tenant, and the tenant to this
// service.
type Provisioner struct {
	Now func() time.Time // time.Now, but for tests
	// Accept refuses settings that cannot be put to use; nil accepts them all.
	// What is refused changes nothing.
	Accept func(*Settings) error

	ticket   *url.URL
	endpoint string // where the tenant sends browsers
	client   *http.Client
	dir      *private.Dir
}

// NewProvisioner returns a provisioner for the ticket of c, which has been
// validated. What the tenant says is kept in dir. base is the URL under which
// browsers find this service.
func NewProvisioner(c Config, dir *private.Dir, base *url.URL) (*Provisioner, error) {
	ticket, problem := parseTicket(c.Ticket)
	if problem != "" {
		return nil, errors.New("ticket: " + problem)
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	return &Provisioner{
		Now:    time.Now,
		ticket: ticket, endpoint: base.JoinPath("wsfed").String(), client: client, dir: dir,
	}, nil
}

// Last returns what the tenant said last, nil if that was never or by another
// ticket.
func (p *Provisioner) Last() (*Settings, error) {
	s, err := load(p.dir, p.ticket)
	if err != nil || s == nil {
		return nil, err
	}
	return s, p.accept(s)
}

func (p *Provisioner) accept(s *Settings) error {
	if p.Accept == nil {
		return nil
	}
	return p.Accept(s)
}

// Provision asks the tenant what this connection is, tells it the certificate
// that signs for this service, and keeps what it says.
func (p *Provisioner) Provision(ctx context.Context, certificate *x509.Certificate) (*Settings, error) {
	s, err := p.info(ctx)
	if err != nil {
		return nil, err
	}
	if s.SigningKey, err = p.post(ctx, certificate); err != nil {
		return nil, err
	}
	s.Posted, s.Ticket, s.AsOf = p.toPost(certificate), hash(p.ticket.String()), p.Now().UTC().Truncate(time.Millisecond)
	err = s.check()
	if err == nil && p.ticket.Scheme == "https" && !s.isEncrypted() {
		err = errors.New("the address of the hub is not one that begins with https://")
	}
	if err == nil {
		err = p.accept(s)
	}
	if err != nil {
		return nil, fmt.Errorf("what %s answers cannot be used: %w", p.ticket.Host, err)
	}
	if err := s.save(p.dir); err != nil {
		return nil, fmt.Errorf("keeping what the tenant says: %w", err)
	}
	return s, nil
}

// IsPosted reports whether the tenant was told the certificate and the address
// of this service by s.
func (p *Provisioner) IsPosted(s *Settings, certificate *x509.Certificate) bool {
	return s != nil && s.Posted == p.toPost(certificate)
}

func (p *Provisioner) toPost(c *x509.Certificate) string { return hash(string(c.Raw) + p.endpoint) }

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// info asks what the connection is.
func (p *Provisioner) info(ctx context.Context) (*Settings, error) {
	u := *p.ticket // not JoinPath, which tidies paths
	u.Path += "/info"
	if u.RawPath != "" {
		u.RawPath += "/info"
	}
	a, err := ask(ctx, p.client, http.MethodGet, &u, nil)
	if err != nil {
		return nil, err
	}
	var info struct {
		Hub              string `json:"adHub"`
		ConnectionDomain string `json:"connectionDomain"`
		ConnectionName   string `json:"connectionName"`
		CertAuth         bool   `json:"certAuth"`
		Kerberos         bool   `json:"kerberos"`
		Realm            struct {
			Name         string `json:"name"`
			PostTokenURL string `json:"postTokenUrl"`
		} `json:"realm"`
	}
	if err := p.read(a, &info); err != nil {
		return nil, err
	}
	s := &Settings{
		Hub: info.Hub, ConnectionDomain: info.ConnectionDomain, ConnectionName: info.ConnectionName,
		Realm: info.Realm.Name, CertAuth: info.CertAuth, Kerberos: info.Kerberos,
	}
	for u := range strings.SplitSeq(info.Realm.PostTokenURL, ",") {
		if u = strings.TrimSpace(u); u != "" {
			s.ReplyURLs = append(s.ReplyURLs, u)
		}
	}
	return s, nil
}

// post tells the tenant who this service is and returns the tenant's key.
func (p *Provisioner) post(ctx context.Context, certificate *x509.Certificate) (key string, err error) {
	body, err := json.Marshal(struct {
		Certificates   []string `json:"certs"`
		SignInEndpoint string   `json:"signInEndpoint"`
		AgentMode      bool     `json:"agentMode"`
		AgentVersion   string   `json:"agentVersion"`
	}{[]string{base64.StdEncoding.EncodeToString(certificate.Raw)}, p.endpoint, true, agentVersion})
	if err != nil {
		return "", err
	}
	a, err := ask(ctx, p.client, http.MethodPost, p.ticket, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	var posted struct {
		SigningKey string `json:"signingKey"`
	}
	err = p.read(a, &posted)
	return posted.SigningKey, err
}

// read decodes an answer, or says what it is instead.
func (p *Provisioner) read(a *answer, to any) error {
	host := p.ticket.Host
	switch {
	case a.status == http.StatusNotFound:
		return fmt.Errorf("%s does not know this ticket: it is wrong, or the connection has been deleted; copy the provisioning address of the connection once more", host)
	case a.status >= 300 && a.status < 400:
		return fmt.Errorf("%s sends elsewhere (status %d), which a tenant does not do: a proxy that wants somebody to sign in may stand between; set hub.proxy", host, a.status)
	case a.status < 200 || a.status > 299:
		return fmt.Errorf("%s answers with status %d; this is tried again", host, a.status)
	case a.kind != "application/json":
		return fmt.Errorf("%s answers with %q and not with JSON: a proxy that wants somebody to sign in may stand between, or the ticket is no provisioning address", host, a.kind)
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		return fmt.Errorf("%s answers with JSON that is damaged or something else", host)
	}
	return nil
}
