package connector

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"adconnector/connector/hub"
	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/connector/wsfed"
	"adconnector/ldapauth/setting"
)

// openHub prepares what the hub section asks for, without asking the tenant.
// Upstreams are configured by what it said last.
func (c *Connector) openHub(base *url.URL, dir *private.Dir) error {
	provisioner, err := hub.NewProvisioner(*c.config.Hub, dir, base)
	if err != nil {
		return fmt.Errorf("hub.%w", err)
	}
	provisioner.Accept = c.config.accept
	if c.settings, err = provisioner.Last(); err != nil {
		c.settings = nil // the tenant is asked again at once
		c.log.Error("hub: what the tenant said last cannot be used", "err", err)
	}
	c.tenant = hub.NewTenant(provisioner, c.certificate, c.tenantSays, c.log)
	client, err := c.config.Hub.Client()
	if err != nil {
		return fmt.Errorf("hub.%w", err)
	}
	c.agent = hub.NewAgent(hub.AgentOptions{
		Service:   c.service,
		Lookup:    lookup{c},
		Passwords: c.resets(),
		Client:    client,
		Sign:      func(claims any) (string, error) { return c.keys.Current().JWT(claims) },
		Refused:   c.tenant.Again,
		DataDir:   dir,
		Log:       c.log,
	})
	if c.settings != nil {
		c.agent.Use(c.settings)
	}
	return nil
}

// lookup answers the tenant's questions for people and groups.
type lookup struct{ c *Connector }

// FindPeople returns the profiles of people, without their groups. Somebody whose
// claims cannot be worked out is left out: people can change much of their own
// entries, and one must not keep all from being found.
func (l lookup) FindPeople(ctx context.Context, text string, limit int) ([]*signin.Identity, error) {
	accounts, _, err := l.c.directory.SearchUsers(ctx, text, most(limit))
	if err != nil {
		return nil, err
	}
	people := make([]*signin.Identity, 0, len(accounts))
	var left error
	for _, a := range accounts {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		person, err := l.c.service.Describe(a)
		if err != nil {
			left = cmp.Or(left, fmt.Errorf("%s: %w", a.DN, err))
			continue
		}
		people = append(people, person)
	}
	if left != nil {
		l.c.log.Warn("hub: a search leaves out people whose claims cannot be worked out", "people", len(accounts)-len(people), "err", left)
	}
	return people, nil
}

// FindGroups returns the names of groups.
func (l lookup) FindGroups(ctx context.Context, text string, limit int) ([]string, error) {
	groups, _, err := l.c.directory.SearchGroups(ctx, text, most(limit))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	return names, nil
}

// most returns the limit of a lookup of which a tenant has said limit.
func most(limit int) int {
	if limit < 1 {
		return MaxLookup
	}
	return min(limit, MaxLookup)
}

// certificate returns the certificate that signs now.
func (c *Connector) certificate() *x509.Certificate { return c.keys.Current().Certificate }

// accept refuses what a tenant says if one part of it could not be put to use: it
// holds as a whole or not at all.
func (c *Config) accept(s *hub.Settings) error {
	if w := c.wsfed(s); w == nil {
		return nil
	} else if err := w.Validate(); err != nil {
		var problems setting.Problems
		problems.Under("wsfed", err)
		return fmt.Errorf("its realm cannot be used for WS-Federation:\n%w", problems.Err())
	}
	return nil
}

// tenantSays puts to use what the tenant says, which has been accepted.
func (c *Connector) tenantSays(s *hub.Settings) {
	if w := c.config.wsfed(s); w == nil {
		c.wsfed.Forget()
	} else if err := c.wsfed.Configure(*w); err != nil {
		c.log.Error("hub: what the tenant says cannot be used", "err", err)
		return
	}
	c.agent.Use(s)
}

// wsfed returns the relying parties of the configuration together with the
// tenant, as s describes it; nil if there are none. Where both speak of the same
// realm, the configuration holds. A tenant that names no address for tokens sends no
// browsers.
func (c *Config) wsfed(s *hub.Settings) *wsfed.Config {
	if s == nil {
		return c.WSFed
	}
	w := &wsfed.Config{Issuer: s.Issuer()}
	if c.WSFed != nil {
		*w = *c.WSFed
	}
	w.RelyingParties = slices.Clone(w.RelyingParties)
	for i := range w.RelyingParties {
		if rp := &w.RelyingParties[i]; rp.Realm == s.Realm {
			rp.ByTenantID = true
			return w
		}
	}
	if len(s.ReplyURLs) == 0 {
		return c.WSFed
	}
	w.RelyingParties = append(w.RelyingParties, wsfed.RelyingParty{Realm: s.Realm, ReplyURLs: s.ReplyURLs, ByTenantID: true})
	return w
}

// makeWSFed returns the protocol, nil if nobody asks by it.
func (c *Connector) makeWSFed(base *url.URL) (*wsfed.Protocol, error) {
	switch config := c.config.wsfed(c.settings); {
	case config != nil:
		return wsfed.New(*config, c.keys, base)
	case c.config.Hub != nil:
		return wsfed.Waiting(c.keys, base), nil
	}
	return nil, nil
}

// Provision asks the tenant what the connection is, tells it who this service
// is, and keeps what it says for a connector that runs or will.
func Provision(ctx context.Context, c *Config) (*hub.Settings, error) {
	if c.Hub == nil {
		return nil, errors.New("the configuration has no hub section; add one with the ticket_file of the connection")
	}
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	dir, err := private.Open(string(c.DataDir))
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	keys, err := token.OpenKeys(ctx, dir, c.Signing, token.KeysOptions{Log: discard})
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	p, err := hub.NewProvisioner(*c.Hub, dir, base)
	if err != nil {
		return nil, fmt.Errorf("hub.%w", err)
	}
	p.Accept = c.accept
	s, err := p.Provision(ctx, keys.Current().Certificate)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return s, nil
}

// TenantSettings returns what the tenant said last, nil if that was never. It
// makes nothing.
func (c *Config) TenantSettings() (*hub.Settings, error) {
	if c.Hub == nil {
		return nil, nil
	}
	if _, err := os.Stat(string(c.DataDir)); err != nil {
		return nil, nil
	}
	dir, err := private.Open(string(c.DataDir))
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return c.Hub.Last(dir)
}

// WriteTenantSettings writes what a tenant said, each line behind prefix.
func WriteTenantSettings(w io.Writer, prefix string, s *hub.Settings) error {
	var err error
	for _, line := range []struct{ name, value string }{
		{"connection", s.ConnectionName},
		{"domain", s.ConnectionDomain},
		{"issuer", s.Issuer()},
		{"realm", s.Realm},
		{"reply_urls", strings.Join(s.ReplyURLs, ", ")},
		{"hub", s.Hub},
		{"signing key", "SHA-256 " + s.Fingerprint()},
		{"sign-in by certificate", yesNo(s.CertAuth)},
		{"sign-in by Kerberos", yesNo(s.Kerberos)},
		{"as of", s.AsOf.Format("2006-01-02 15:04:05 MST")},
	} {
		if err == nil {
			_, err = fmt.Fprintf(w, "%s%s: %s\n", prefix, line.name, oneLine(line.value))
		}
	}
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// hub tells what is known of the tenant. It is asked for the time and nothing
// else: that would be telling it something.
func (k *check) hub(ctx context.Context) {
	if k.config.Hub == nil {
		return
	}
	if k.config.Password == nil {
		k.say(Warning, "hub: without a password section the sign-ins that the tenant passes on are refused")
	} else if len(k.config.Password.IPRanges) > 0 {
		k.say(Warning, "hub: password.ip_ranges does not apply to the sign-ins that the tenant passes on: where they come from is for the tenant to limit")
	}
	k.tenantChange()
	switch s, err := k.config.TenantSettings(); {
	case err != nil:
		k.say(Failure, "hub: %v", err)
	case s == nil:
		k.say(Warning, "hub: the tenant has not been asked yet: run adconnector provision, or start the service")
	default:
		k.say(OK, "hub: connection %s, realm %s, as the tenant said on %s", s.ConnectionName, s.Realm, s.AsOf.Format("2006-01-02"))
		if s.CertAuth && k.config.Certificate == nil {
			k.say(Warning, "hub: the tenant has sign-in by certificate on for the connection, but there is no certificate section: people get the form")
		}
		if s.Kerberos {
			k.say(Warning, "hub: the tenant has sign-in by Kerberos on for the connection, which this service does not offer: people show a certificate or get the form")
		}
	}
	base, err := url.Parse(k.config.URL)
	if err != nil {
		return // has been told
	}
	p, err := hub.NewProvisioner(*k.config.Hub, nil, base)
	if err != nil {
		k.say(Failure, "hub.%v", err)
		return
	}
	ahead, within, err := p.Skew(ctx)
	if err != nil {
		k.say(Failure, "hub: %v", err)
	} else if err := hub.SkewError(ahead, within); err != nil {
		k.say(Failure, "hub: %v", err)
	} else {
		k.say(OK, "hub: the tenant answers, and its clock is as this machine's")
	}
}
