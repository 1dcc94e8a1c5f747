package wsfed

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"adconnector/connector/token"
	"adconnector/ldapauth/setting"
)

// Config says who may ask for sign-ins by WS-Federation.
type Config struct {
	// Issuer is the name of this service in tokens and metadata: a URI.
	Issuer         string         `yaml:"issuer"`
	RelyingParties []RelyingParty `yaml:"relying_parties"`
}

// A RelyingParty is an application, or a service that applications trust.
type RelyingParty struct {
	// Realm is the name by which it asks (wtrealm).
	Realm string `yaml:"realm"`
	// ReplyURLs are the addresses to which its tokens may be sent (wreply). A
	// request that names none gets the first.
	ReplyURLs []string `yaml:"reply_urls"`
	// ByTenantID says that it knows people by [signin.Identity].TenantID. That is
	// for the tenant of the hub section alone.
	ByTenantID bool `yaml:"-"`
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var p setting.Problems
	if c.Issuer == "" {
		p.Addf("issuer", `required: a URI that names this service in its tokens, such as "urn:example:adconnector"`)
	} else if u, err := url.Parse(c.Issuer); err != nil || !u.IsAbs() || !isName(c.Issuer) {
		p.Addf("issuer", `must be a URI such as "urn:example:adconnector" or "https://login.example.com", not %q`, c.Issuer)
	}
	if len(c.RelyingParties) == 0 {
		p.Addf("relying_parties", "required: at least one, with its realm and its reply_urls")
	}
	audiences := map[string]int{}
	for i, rp := range c.RelyingParties {
		key := fmt.Sprintf("relying_parties[%d]", i)
		p.Under(key, rp.validate())
		// Two relying parties with one audience would accept each other's tokens.
		if first, taken := audiences[audience(rp.Realm)]; taken && rp.Realm != "" {
			p.Addf(key+".realm", "tokens for %q have the same audience (%s) as those for relying_parties[%d]: give each relying party its own realm, or put the reply_urls of both under one", rp.Realm, audience(rp.Realm), first)
		} else {
			audiences[audience(rp.Realm)] = i
		}
	}
	return p.Err()
}

func (rp *RelyingParty) validate() error {
	var p setting.Problems
	switch {
	case rp.Realm == "":
		p.Addf("realm", "required: the wtrealm that the relying party sends")
	case !isName(rp.Realm):
		p.Addf("realm", "%q has blanks or control characters that no realm has", rp.Realm)
	}
	if len(rp.ReplyURLs) == 0 {
		p.Addf("reply_urls", "required: the addresses to which tokens for this realm may be sent")
	}
	for i, u := range rp.ReplyURLs {
		key := fmt.Sprintf("reply_urls[%d]", i)
		if problem := checkReplyURL(u); problem != "" {
			p.Addf(key, "%s", problem)
		} else if slices.Index(rp.ReplyURLs, u) < i {
			p.Addf(key, "%s is listed twice: remove one", u)
		}
	}
	return p.Err()
}

// isName reports whether s can stand in a token as it is and be typed as it
// looks.
func isName(s string) bool {
	return token.IsText(s) && !strings.ContainsAny(s, "\t\r\n") && strings.TrimSpace(s) == s
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

// checkReplyURL returns what is wrong with a reply URL, or "". It is strict so
// that this program, the browser and whoever reads the configuration can have
// only one opinion on where the URL leads; requests then have to repeat it byte
// for byte.
func checkReplyURL(s string) string {
	const example = ", such as https://app.example.com/callback"
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\\\"<>^`{|}", r) }); i >= 0 {
		return fmt.Sprintf("%q has a character at %d that no URL may have: write it percent-encoded, and international host names in their xn-- form", s, i)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a URL: want an absolute one%s", s, example)
	case !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://"):
		return fmt.Sprintf("%q must be an absolute URL that begins with https://%s", s, example)
	case u.User != nil:
		return fmt.Sprintf("%q must not have a user name: remove what stands before the @", s)
	case strings.Contains(s, "#"):
		return fmt.Sprintf("%q must not have a fragment: remove the # and what follows", s)
	case !isHost(u.Hostname()):
		return fmt.Sprintf("%q does not name a host: want an absolute URL%s", s, example)
	case !isPort(u):
		return fmt.Sprintf("%q has no proper port: remove the colon after the host, or put a number from 1 to 65535 there", s)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Sprintf("%q would send tokens across the network in clear: use https:// (http:// is for this machine only)", s)
	}
	return ""
}

func isHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || hostName.MatchString(host)
}

func isPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// audience returns how a realm is called in tokens. One that does not look like
// a URI gets "urn:" before it, which is what relying parties of Auth0's
// connectors are used to.
func audience(realm string) string {
	for _, scheme := range []string{"urn:", "http:", "https:"} {
		if strings.HasPrefix(realm, scheme) {
			return realm
		}
	}
	return "urn:" + realm
}
