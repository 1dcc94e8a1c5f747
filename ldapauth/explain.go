package ldapauth

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// This file turns what goes wrong between this machine and a directory server
// into a sentence that says what to change. Errors are explained where they
// arise, so that the log, the check and whoever else prints them say the same.

// explainDial explains why no connection to s was made before ctx ended.
func (s *server) explainDial(ctx context.Context, err error) error {
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		<-ctx.Done() // the connection has the same deadline and may tell of it a moment before
	}
	var text string
	_, dns := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isOver(ctx):
		return fmt.Errorf("%s: %w", s.url, s.explainSilence(cmp.Or(context.Cause(ctx), errNoAnswer)))
	case dns:
		text = fmt.Sprintf("the host name %s cannot be resolved: check ldap.%s and the DNS of this machine", s.host, s.d.config.serversKey())
	case certificate:
		text = s.explainCertificate(err)
	case record:
		text = s.notTLS()
	case isConnectionRefused(err):
		text = fmt.Sprintf("the connection is refused: start the directory server, or check the host, port %s and the firewalls in between", s.port)
	case s.tls && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isConnectionReset(err)):
		if s.heard.Load() > 0 { // it has spoken TLS before: it is going down, or has enough
			return fmt.Errorf("%s: %w", s.url, s.explainHangup(err))
		}
		text = s.notTLS()
	default:
		text = fmt.Sprintf("cannot be used: check the host, port %s and the firewalls in between", s.port)
	}
	return fmt.Errorf("%s: %s (%w)", s.url, text, err)
}

// notTLS is what a server says of itself that answers a TLS handshake with
// something else, or by hanging up.
func (s *server) notTLS() string {
	if !s.tls {
		return "agrees to start_tls and then does not speak TLS: check the server's certificate and its log"
	}
	return fmt.Sprintf("does not speak TLS on port %s: write ldap:// and set ldap.start_tls: true, or write the port of ldaps, which is 636 mostly; or the server has no certificate", s.port)
}

// explainSilence explains that s did not answer in time; cause is why the
// waiting ended.
func (s *server) explainSilence(cause error) error {
	if !errors.Is(cause, errNoAnswer) {
		return cause
	}
	return fmt.Errorf("does not answer: check the host, port %s and the firewalls in between (%w)", s.port, cause)
}

// explainHangup explains that s ended a new connection instead of answering.
func (s *server) explainHangup(err error) error {
	if s.tls || s.d.config.StartTLS {
		return fmt.Errorf("hangs up on a new connection: check the server's log and its limits for connections (%w)", err)
	}
	return fmt.Errorf("hangs up when spoken to in clear on port %s: if it speaks TLS, write ldaps://, else check the port (%w)", s.port, err)
}

// explainAlert explains why the server ended a connection after the handshake,
// if it was for TLS.
func (s *server) explainAlert(c *conn, cause error) error {
	if !isAlert(cause) {
		return cause
	}
	if a, ok := s.d.service.serviceAccount.(*certificateAccount); ok {
		return a.refusal(c, cause)
	}
	return fmt.Errorf("ends the connection for reasons of TLS: if it demands a client certificate (OpenLDAP: TLSVerifyClient demand), let it ask only, or write one to ldap.bind_cert_file (%w)", cause)
}

// serviceTrouble says in words what Active Directory has against the service
// account, by the code in the text of its answer.
var serviceTrouble = map[string]string{
	"525": "there is no such account: check ldap.bind_dn",
	"52e": "the password is wrong, or there is no such account: check ldap.bind_password_file and ldap.bind_dn",
	"530": "the account may not sign in at this hour: allow it all hours",
	"531": "the account may not sign in from this computer: allow it",
	"532": "its password has expired: set a new one, let it never expire, and write it to ldap.bind_password_file",
	"533": "the account is disabled: enable it, or name another one in ldap.bind_dn",
	"701": "the account has expired: let it never expire, or name another one in ldap.bind_dn",
	"773": "its password must be changed first: set one that need not be, and write it to ldap.bind_password_file",
	"775": "the account is locked after wrong passwords: check ldap.bind_password_file, then unlock it",
}

// channelBinding is the code in the answer of a domain controller that wants
// the bind tied to the TLS connection.
const channelBinding = "80090346"

// explainServiceBind explains why the service account dn could not bind. The
// error is [errRefused] if the account or its password is to blame, so that
// trying again may lock it.
func explainServiceBind(dn string, err error) error {
	worded := inWords(err)
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired):
		return fmt.Errorf("the directory takes no passwords in clear, it requires signing or encryption: write ldaps:// or set ldap.start_tls: true (%w)", worded)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) && strings.Contains(err.Error(), channelBinding):
		return fmt.Errorf("the domain controller requires channel binding, which a bind by password does not have: set its policy \"LDAP server channel binding token requirements\" to \"When supported\", and let nothing between it and this machine decrypt TLS (%w)", worded)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidDNSyntax):
		return fmt.Errorf("%w %q: that is not a name that it understands: write the account's DN to ldap.bind_dn (%w)", errRefused, dn, worded)
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject,
		ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultConstraintViolation):
		text := "the password is wrong, the account does not exist, or it is locked or disabled: check ldap.bind_password_file and ldap.bind_dn"
		if m := adCode.FindStringSubmatch(err.Error()); m != nil && serviceTrouble[m[1]] != "" {
			text = serviceTrouble[m[1]]
		}
		return fmt.Errorf("%w %q: %s (%w)", errRefused, dn, text, worded)
	}
	return fmt.Errorf("binding as the service account: %w", worded)
}

// explainBase explains why nothing could be searched below base.
func explainBase(base string, err error) error {
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return fmt.Errorf("base_dn %q does not exist on this server, is a pointer to another one, or is hidden from the service account: check ldap.base_dn, ldap.urls and the rights of the service account (%w)", base, inWords(err))
	case ldap.IsErrorWithCode(err, ldap.LDAPResultReferral):
		return fmt.Errorf("base_dn %q is held by another server, and referrals are not followed: list that server in ldap.urls (%w)", base, inWords(err))
	}
	return err
}

func isCertificateError(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// explainCertificate says what is wrong with the server's certificate and what
// is missing. Nothing is sent to the server on the strength of it.
func (s *server) explainCertificate(err error) string {
	failed, _ := errors.AsType[*tls.CertificateVerificationError](err)
	if len(failed.UnverifiedCertificates) == 0 {
		return "its certificate is refused: check the server's certificate"
	}
	leaf := failed.UnverifiedCertificates[0]
	last := failed.UnverifiedCertificates[len(failed.UnverifiedCertificates)-1]
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("its certificate is not for %s but for %s: write one of these names in ldap.urls, or have the certificate reissued for %s",
			s.host, strings.Join(namesOf(leaf), ", "), s.host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Sprintf("its certificate (%s) leads to an unknown issuer: add the certificate of %q to ldap.ca_files", leaf.Subject, last.Issuer)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		c := invalid.Cert
		if s.d.now().Before(c.NotBefore) {
			return fmt.Sprintf("its certificate (%s) is not valid before %s: check the clocks of both machines", c.Subject, c.NotBefore.Format(time.DateOnly))
		}
		return fmt.Sprintf("its certificate (%s) expired on %s: renew it on the server", c.Subject, c.NotAfter.Format(time.DateOnly))
	}
	return fmt.Sprintf("its certificate (%s, valid from %s to %s) is refused: have a server certificate issued for %s", leaf.Subject,
		leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly), s.host)
}

// namesOf returns the names that a certificate bears.
func namesOf(c *x509.Certificate) []string {
	list := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		list = append(list, "nobody (it has no subject alternative names)")
	}
	return list
}
