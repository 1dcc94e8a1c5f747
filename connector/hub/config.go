package hub

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// Config says of which tenant the connector is a connection.
type Config struct {
	// Ticket is the address that the tenant shows when the connection is made.
	// Whoever knows it can put another connector in the place of this one.
	Ticket     secret.String `yaml:"ticket"`
	TicketFile setting.File  `yaml:"ticket_file"`
	// Proxy is the HTTP proxy to the outside, http:// or https://. Empty means
	// what the environment says: HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
	Proxy string `yaml:"proxy"`
	// ProxyUser and ProxyPassword are for a proxy that asks who one is.
	ProxyUser         string        `yaml:"proxy_user"`
	ProxyPassword     secret.String `yaml:"proxy_password"`
	ProxyPasswordFile setting.File  `yaml:"proxy_password_file"`
	// CAFiles vouch for the servers of the tenant and for a proxy; none means
	// the authorities of the system.
	CAFiles []setting.File `yaml:"ca_files"`
	// AllowPasswordChange carries out the tenant's commands to set passwords, by
	// the rights of the directory's service account.
	AllowPasswordChange bool `yaml:"allow_password_change"`
	// UnlockOnPasswordChange also unlocks the account, where a new password does
	// not do so by itself.
	UnlockOnPasswordChange bool `yaml:"unlock_on_password_change"`
	// LogoutURLs are the addresses to which /logout may send browsers.
	LogoutURLs []string `yaml:"logout_urls"`
}

// Validate reports everything that is wrong with c. No message holds any of the
// ticket.
func (c *Config) Validate() error {
	var p setting.Problems
	switch {
	case !c.Ticket.IsSet() && c.TicketFile != "":
		// Why the file cannot be read has been told.
	case !c.Ticket.IsSet():
		p.Addf("ticket", "is missing, and so is ticket_file: write the provisioning address that the tenant shows for this connection")
	default:
		if _, err := parseTicket(c.Ticket); err != "" {
			p.Addf("ticket", "%s", err)
		}
	}
	c.validateProxy(&p)
	for i, f := range c.CAFiles {
		if f == "" {
			p.Addf("ca_files", "entry %d is empty; remove it", i+1)
		}
	}
	if c.UnlockOnPasswordChange && !c.AllowPasswordChange {
		p.Addf("unlock_on_password_change", "is on, but no password is changed; set allow_password_change: true as well, or remove it")
	}
	for i, raw := range c.LogoutURLs {
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || !isSafe(u, "https", "http") {
			p.Addf(fmt.Sprintf("logout_urls[%d]", i), "%q is not an address to which browsers can be sent; write it as in https://app.example.com/bye", raw)
		}
	}
	return p.Err()
}

func (c *Config) validateProxy(p *setting.Problems) {
	const example = "write it as in http://proxy.example.com:8080"
	u, err := url.Parse(c.Proxy)
	switch {
	case c.Proxy == "" && (c.ProxyUser != "" || c.ProxyPassword.IsSet()):
		p.Addf("proxy", "is missing, but there is a user or a password for it; %s", example)
	case c.Proxy == "":
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		p.Addf("proxy", "is not the address of an HTTP proxy; %s", example)
	case u.User != nil:
		p.Addf("proxy", "must not hold a user name or a password; write them as proxy_user and proxy_password_file")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		p.Addf("proxy", "must end after the host and the port; %s", example)
	}
	if c.ProxyUser == "" && c.ProxyPassword.IsSet() {
		p.Addf("proxy_user", "is missing, but there is a password for it")
	}
}

// parseTicket returns the ticket as a URL, or what is wrong with it. People copy
// blanks with it, or the address at which it was tried out.
func parseTicket(ticket secret.String) (u *url.URL, problem string) {
	const example = "copy the whole address that the tenant shows, as in https://tenant.example.com/p/..."
	text := strings.TrimRight(strings.TrimSpace(ticket.Reveal()), "/")
	u, err := url.Parse(strings.TrimSuffix(text, "/info"))
	switch {
	case err != nil || u.Hostname() == "":
		return nil, "is not an address; " + example
	case !isSafe(u, "https", "http"):
		return nil, "must begin with https://: whoever reads it on its way can put another connector in the place of this one"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(u.Path) < 2:
		return nil, "is not a provisioning address; " + example
	}
	return u, ""
}

// isSafe reports whether u is encrypted, or leads no further than this machine.
func isSafe(u *url.URL, encrypted, clear string) bool {
	switch u.Scheme {
	case encrypted:
		return true
	case clear:
		ip, err := netip.ParseAddr(u.Hostname())
		return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	}
	return false
}
