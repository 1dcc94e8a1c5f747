package hub

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"
	"unicode"

	"adconnector/connector/private"
)

// settingsFile is what the tenant said last, in the data directory, so that a
// restart needs no tenant.
const settingsFile = "hub.json"

// Settings are what the tenant says of the connection. Nothing in them is
// secret.
type Settings struct {
	Hub              string    `json:"hub" yaml:"hub"`                             // where the agent connects to
	ConnectionDomain string    `json:"connection_domain" yaml:"connection_domain"` // names the issuer of tokens
	ConnectionName   string    `json:"connection_name" yaml:"connection_name"`
	Realm            string    `json:"realm" yaml:"realm"`
	ReplyURLs        []string  `json:"reply_urls" yaml:"reply_urls"`
	CertAuth         bool      `json:"cert_auth" yaml:"cert_auth"` // the tenant sends browsers here for certificates
	Kerberos         bool      `json:"kerberos" yaml:"kerberos"`
	SigningKey       string    `json:"signing_key" yaml:"signing_key"` // PEM: signs the tenant's commands
	Posted           string    `json:"posted" yaml:"posted"`           // SHA-256 of the certificate and address that the tenant was told
	AsOf             time.Time `json:"as_of" yaml:"as_of"`
	Ticket           string    `json:"ticket" yaml:"-"` // SHA-256 of the ticket that this came by
}

// Last returns what is kept in dir of what the tenant of the ticket said, nil if
// there is nothing.
func (c *Config) Last(dir *private.Dir) (*Settings, error) {
	ticket, problem := parseTicket(c.Ticket)
	if problem != "" {
		return nil, errors.New("ticket: " + problem)
	}
	return load(dir, ticket)
}

// load returns the settings that are kept in dir, nil if there are none by this
// ticket.
func load(dir *private.Dir, ticket *url.URL) (*Settings, error) {
	data, err := dir.Read(settingsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &Settings{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w; delete it, and the tenant is asked again", dir.Path(settingsFile), err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w; delete it, and the tenant is asked again", dir.Path(settingsFile), err)
	}
	if s.Ticket != hash(ticket.String()) {
		return nil, nil
	}
	return s, nil
}

func (s *Settings) save(dir *private.Dir) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	return dir.Write(settingsFile, b.Bytes())
}

// Issuer returns what tokens for the tenant are issued by.
func (s *Settings) Issuer() string { return "urn:" + s.ConnectionDomain }

// What a tenant may say, far above what tenants say: it goes into log lines and
// tokens.
const (
	maxName      = 256 // bytes
	maxAddress   = 2000
	maxReplyURLs = 100
)

// check refuses settings with which nothing would work, or not safely.
func (s *Settings) check() error {
	for _, x := range []struct {
		what, text string
		most       int
	}{
		{"the name of the connection", s.ConnectionName, maxName},
		{"the domain of the connection", s.ConnectionDomain, maxName},
		{"the realm", s.Realm, maxName},
		{"the address of the hub", s.Hub, maxAddress},
	} {
		if len(x.text) > x.most || strings.ContainsFunc(x.text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("%s, %.200q, is longer than %d bytes or has characters that cannot be seen", x.what, x.text, x.most)
		}
	}
	if len(s.ReplyURLs) > maxReplyURLs {
		return fmt.Errorf("there are %d addresses for tokens (postTokenUrl), and %d are the most", len(s.ReplyURLs), maxReplyURLs)
	}
	for _, u := range s.ReplyURLs {
		if len(u) > maxAddress {
			return fmt.Errorf("an address for tokens (postTokenUrl), %.200q, is longer than %d bytes", u, maxAddress)
		}
	}
	u, err := url.Parse(s.Hub)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || !isSafe(u, "https", "http") && !isSafe(u, "wss", "ws"):
		return fmt.Errorf("the address of the hub, %.200q, is not one that begins with https://", s.Hub)
	case s.ConnectionDomain == "" || s.ConnectionName == "" || s.Realm == "":
		return errors.New("the connection has no name, no domain or no realm")
	}
	_, err = s.key()
	return err
}

// lineEnds undoes what happens to lines that travel as JSON.
var lineEnds = strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", "\r\n", "\n", "\r", "\n")

// key returns the key that the tenant signs commands with.
func (s *Settings) key() (*rsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(lineEnds.Replace(strings.TrimSpace(s.SigningKey))))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the tenant's signing key is not one certificate or public key in PEM form")
	}
	var public any
	var err error
	switch block.Type {
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		err = fmt.Errorf("a %.40q is none", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("the tenant's signing key cannot be read: %w", err)
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 2048 || key.N.BitLen() > 8192 || key.E < 3 {
		return nil, errors.New("the tenant's signing key is not an RSA key of 2048 bits or more (8192 at most)")
	}
	return key, nil
}

// Fingerprint returns the SHA-256 of the key that the tenant signs commands with
// (of its SubjectPublicKeyInfo, RFC 5280, 4.1), "" if there is none.
func (s *Settings) Fingerprint() string {
	key, err := s.key()
	if err != nil {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	return hash(string(der))
}

// isEncrypted reports whether nobody on the way to the hub can listen.
func (s *Settings) isEncrypted() bool {
	return strings.HasPrefix(s.Hub, "https:") || strings.HasPrefix(s.Hub, "wss:")
}

// host returns the host of the hub.
func (s *Settings) host() string {
	u, err := url.Parse(s.Hub)
	if err != nil {
		return "the hub"
	}
	return u.Host
}

// socket returns the address of the hub as one for a WebSocket.
func (s *Settings) socket() string {
	if rest, ok := strings.CutPrefix(s.Hub, "http"); ok {
		return "ws" + rest
	}
	return s.Hub
}
