package metrics

import (
	"net"
	"net/netip"
	"strconv"

	"adconnector/connector/iprange"
	"adconnector/ldapauth/setting"
)

// Config says where the numbers are told, and to whom.
type Config struct {
	// Listen is the address and port of a listener for this alone.
	Listen string `yaml:"listen"`
	// AllowFrom are the addresses that may ask besides this machine itself. An
	// address that others can reach needs it.
	AllowFrom []iprange.Prefix `yaml:"allow_from"`
}

// DefaultConfig returns the settings that hold where the section says nothing.
func DefaultConfig() Config { return Config{Listen: "127.0.0.1:9464"} }

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var p setting.Problems
	host, _, ok := c.split()
	switch {
	case !ok:
		p.Addf("listen", `must be an IP address of this machine and a port, such as "127.0.0.1:9464" ("[::1]:9464" for IPv6), not %q`, c.Listen)
	case !isLoopback(host) && len(c.AllowFrom) == 0:
		p.Addf("listen", `other machines can reach %q, and there is neither encryption nor a password: write "127.0.0.1:9464" and let an agent on this machine ask, or list in metrics.allow_from who may`, c.Listen)
	}
	return p.Err()
}

// Port returns the port to listen on, "" if there is none.
func (c *Config) Port() string {
	_, port, _ := c.split()
	return port
}

// split returns the parts of Listen if they are of use. The host may be empty,
// which means all addresses.
func (c *Config) split() (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", false
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != localhost {
		return "", "", false // a name may mean another address tomorrow
	}
	return host, port, true
}

const localhost = "localhost"

// isLoopback reports whether nobody but this machine reaches host.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == localhost || err == nil && a.Unmap().IsLoopback()
}
