package ldapauth

import (
	"context"
	"errors"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// nobody is looked for in order to see whether a search works.
const nobody = "adconnector-probe"

// Probe does what a sign-in needs of the directory before it knows anything of
// the user: connect, introduce itself, search. It returns nil if that works;
// [Misconfigured] tells whether an error will stay until somebody changes
// something.
func (d *Directory) Probe(ctx context.Context) error {
	_, err := d.FindByName(ctx, nobody)
	if denial.ReasonOf(err) != "" {
		return nil // asked and answered
	}
	return err
}

// Misconfigured reports whether err is a definite answer: the directory is
// there, and the configuration does not fit it. Waiting does not help.
func Misconfigured(err error) bool {
	return errors.Is(err, errRefused) || isCertificateError(err) ||
		ldap.IsErrorAnyOf(err,
			ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultReferral,
			ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication,
			ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired)
}
