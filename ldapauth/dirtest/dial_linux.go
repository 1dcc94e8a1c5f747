package dirtest

import (
	"fmt"

	"github.com/go-ldap/ldap/v3"
)

// answers reports whether the server is ready: TLS works and the root DSE names
// the base.
func (s *Server) answers() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	found, err := c.Search(&ldap.SearchRequest{
		Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"namingContexts"},
	})
	if err != nil {
		return err
	}
	for _, e := range found.Entries {
		for _, base := range e.GetAttributeValues("namingContexts") {
			if base == s.BaseDN {
				return nil
			}
		}
	}
	return fmt.Errorf("the root DSE does not name %s", s.BaseDN)
}

// lockOut signs in with wrong passwords until the account is locked.
func (s *Server) lockOut(dn string) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for range 3 {
		err := c.Bind(dn, "not the password")
		if !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			return fmt.Errorf("locking %s out: %w", dn, err)
		}
	}
	return nil
}
