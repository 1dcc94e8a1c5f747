// Package revocation answers whether a certificate has been taken back by the
// authority that issued it: by the lists that authorities publish (RFC 5280)
// and by asking them (OCSP, RFC 6960).
//
// Nothing is fetched during a sign-in if that can be helped. The first sight of
// an authority starts the fetch; after that its lists are fetched anew in the
// background, well before they end, and a sign-in only looks things up in
// memory. It waits when there is no usable answer yet, and no longer than it
// was told.
//
// What is fetched, and from where, is said only by the configuration and by
// certificates of a path that has been verified up to a trust anchor. A
// stranger's certificate makes nobody connect anywhere.
//
// The package does no HTTP and no LDAP itself: it is given a [Fetcher].
package revocation

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"adconnector/ldapauth/setting"
)

// What the settings may say.
const (
	ModeOff     = "off"     // nothing is asked
	ModeOffline = "offline" // files, and what was fetched before
	ModeOnline  = "online"  // ... and what the certificates of a verified path name

	Deny  = "deny"
	Allow = "allow"
)

// Config says where to look and what to do when there is no answer.
type Config struct {
	// Mode is [ModeOff], [ModeOffline] or [ModeOnline].
	Mode string `yaml:"mode"`
	// CRLFiles are revocation lists, PEM or DER, any number in a PEM file.
	CRLFiles []setting.File `yaml:"crl_files"`
	// OCSP are responders that certificates of an authority do not name, or
	// that shall be asked before any list is looked at.
	OCSP []ResponderConfig `yaml:"ocsp"`
	// OnUnknown is [Deny] or [Allow]: what to do with a certificate whose
	// authority cannot be asked, or whose list has ended. It concerns no answer
	// that came and is wrong.
	OnUnknown string `yaml:"on_unknown"`
	// RequireSource refuses a certificate of which nobody could be asked: it
	// names neither list nor responder, and the configuration has none for it.
	RequireSource bool `yaml:"require_source"`
	// Refresh is how old a list or an answer may get before it is fetched anew.
	Refresh setting.Duration `yaml:"refresh"`
	// Timeout is the longest that a sign-in waits.
	Timeout setting.Duration `yaml:"timeout"`
	// MaxSize is the largest list that is read.
	MaxSize setting.Size `yaml:"max_size"`
}

// ResponderConfig is an OCSP responder for the certificates of one authority.
type ResponderConfig struct {
	// CAFile holds the authority's certificate.
	CAFile setting.File `yaml:"ca_file"`
	// URL is where the responder is; without it, where the certificates say.
	URL string `yaml:"url"`
	// ResponderFile holds the certificate of a responder that is trusted by
	// decree: it needs not be issued by the authority.
	ResponderFile setting.File `yaml:"responder_file"`
	// RequireNonce refuses answers that do not repeat the random number of the
	// question. Responders that sign their answers in advance cannot do that;
	// of those that can, an old answer cannot be sent again.
	RequireNonce bool `yaml:"require_nonce"`
}

// DefaultConfig returns the settings that hold where the section is silent.
func DefaultConfig() Config {
	return Config{
		Mode:      ModeOnline,
		OnUnknown: Deny,
		Refresh:   setting.Duration(time.Hour),
		Timeout:   setting.Duration(3 * time.Second),
		MaxSize:   64 << 20,
	}
}

// Limits on the settings.
const (
	minRefresh = time.Minute
	maxRefresh = 30 * 24 * time.Hour
	maxTimeout = 30 * time.Second
	minMaxSize = 64 << 10
	maxMaxSize = 1 << 30
)

// Validate reports everything wrong with c at once, as [setting.Problems]. It
// does not open files; [Open] does.
func (c *Config) Validate() error {
	var p setting.Problems
	if !slices.Contains([]string{ModeOff, ModeOffline, ModeOnline}, c.Mode) {
		p.Addf("mode", "must be one of %s, %s, %s, not %q", ModeOff, ModeOffline, ModeOnline, c.Mode)
	}
	for i, file := range c.CRLFiles {
		if file == "" {
			p.Addf(fmt.Sprintf("crl_files[%d]", i), "is empty: write the path of a revocation list, or remove the entry")
		}
	}
	if len(c.OCSP) > 0 && c.Mode == ModeOffline {
		p.Addf("ocsp", "needs mode: %s, because responders are asked over the network: change the mode, or remove the responders", ModeOnline)
	}
	for i := range c.OCSP {
		p.Under(fmt.Sprintf("ocsp[%d]", i), c.OCSP[i].validate())
	}
	if c.OnUnknown != Deny && c.OnUnknown != Allow {
		p.Addf("on_unknown", "must be %s or %s, not %q", Deny, Allow, c.OnUnknown)
	}
	if d := c.Refresh.Std(); d < minRefresh || d > maxRefresh {
		p.Addf("refresh", "must be from %v to %v, not %v", setting.Duration(minRefresh), setting.Duration(maxRefresh), c.Refresh)
	}
	if d := c.Timeout.Std(); d <= 0 || d > maxTimeout {
		p.Addf("timeout", "must be more than 0 and at most %v, because people wait that long, not %v", maxTimeout, c.Timeout)
	}
	if c.MaxSize < minMaxSize || c.MaxSize > maxMaxSize {
		p.Addf("max_size", "must be from %v to %v, not %v", setting.Size(minMaxSize), setting.Size(maxMaxSize), c.MaxSize)
	}
	return p.Err()
}

func (c *ResponderConfig) validate() error {
	var p setting.Problems
	if c.CAFile == "" {
		p.Addf("ca_file", "required: the file with the certificate of the authority whose certificates the responder knows")
	}
	if c.URL == "" && c.ResponderFile == "" && !c.RequireNonce {
		p.Addf("url", "required, such as http://ocsp.example.com: where the responder is (without it, responder_file or require_nonce is about the responder that the certificates name)")
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		p.Addf("url", "must be the address of an OCSP responder, such as http://ocsp.example.com")
	}
	return p.Err()
}

// A Request is something to be fetched.
type Request struct {
	URL   string // http, https or ldap
	Body  []byte // an OCSP request, which is sent by POST; nil: a list is wanted
	Limit int64  // bytes of the answer; more are an error
}

// A Fetcher gets what a request asks for. It must not go anywhere but to the
// host of the URL, or, for ldap, to the directory that is configured.
type Fetcher func(ctx context.Context, r Request) ([]byte, error)

// A Cache keeps lists over a restart. What it returns is checked as if it came
// from the network. Names are file names made of letters, digits, "-" and ".". A
// file that is being written has another one, with "." before it and more after.
type Cache interface {
	Names() ([]string, error)
	Read(name string) ([]byte, error)
	Write(name string, data ...[]byte) error
	Remove(name string) error
}

// readCertificate reads the one certificate of a file, PEM or DER.
func readCertificate(file setting.File) (*x509.Certificate, error) {
	data, err := os.ReadFile(string(file))
	if err != nil {
		return nil, fmt.Errorf("%w: correct the path, or let the service's account read the file", err)
	}
	if block, rest := pem.Decode(data); block != nil {
		if next, _ := pem.Decode(rest); next != nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: leave one CERTIFICATE block in it and nothing else", file)
		}
		data = block.Bytes
	}
	c, err := x509.ParseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: is no certificate in PEM or DER: %w", file, err)
	}
	return c, nil
}

var errOffline = errors.New("mode is offline, and there is neither a file nor a list from before")
