// Package bare asks a directory with the LDAP library and nothing else. It is
// what package ldapauth is measured against; no sign-in uses it.
package bare

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"

	"github.com/go-ldap/ldap/v3"
)

// A Conn is one connection. It may be used by many goroutines at once.
type Conn struct{ ldap *ldap.Conn }

// Dial connects to an ldaps:// or ldap:// URL, the latter with StartTLS if that
// is asked for.
func Dial(address string, startTLS bool, roots *x509.CertPool) (*Conn, error) {
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	c, err := ldap.DialURL(address, ldap.DialWithTLSConfig(config))
	if err != nil {
		return nil, err
	}
	if !startTLS {
		return &Conn{c}, nil
	}
	u, err := url.Parse(address)
	if err == nil {
		config.ServerName = u.Hostname()
		err = c.StartTLS(config)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &Conn{c}, nil
}

// Bind checks a password.
func (c *Conn) Bind(dn, password string) error { return c.ldap.Bind(dn, password) }

// Search looks for the one entry below base that the filter fits.
func (c *Conn) Search(base, filter string, attributes []string) error {
	found, err := c.ldap.Search(&ldap.SearchRequest{
		BaseDN: base, Scope: ldap.ScopeWholeSubtree, SizeLimit: 2, Filter: filter, Attributes: attributes,
	})
	if err == nil && len(found.Entries) != 1 {
		return fmt.Errorf("%d entries for %s, want one", len(found.Entries), filter)
	}
	return err
}

// Close ends the connection.
func (c *Conn) Close() { _ = c.ldap.Close() }
