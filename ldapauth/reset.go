package ldapauth

import (
	"context"
	"fmt"
	"strings"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"

	"github.com/go-ldap/ldap/v3"
)

// ResetPassword sets the password of a to new by the rights of the service
// account, whatever the old one is. It needs TLS to every server. What the
// directory demands of new passwords holds, as far as it holds for those that
// administrators set; Active Directory lets them use earlier ones again.
//
// In Active Directory unlock also ends a lock after wrong passwords, in the same
// request, so that both happen or neither. It takes the right to write
// lockoutTime. Other directories are asked for the password alone: OpenLDAP
// unlocks whoever gets a new one, in any case. It does so even with accounts that
// an administrator has locked for good, so that whoever asks must refuse those
// before.
//
// The password goes out at most once, and only to a server that knows a by its DN
// and its ID. The error is a denial if the directory refused: ResetNotAllowed if
// the service account lacks the right, or one of the reasons for new passwords. It
// has [ErrUnanswered] in its chain if it is unknown whether the password was set.
func (d *Directory) ResetPassword(ctx context.Context, a *Account, new secret.String, unlock bool) error {
	if err := CheckNewPassword(secret.String{}, new, a.Username); err != nil {
		return err
	}
	if err := a.mayHavePassword(); err != nil {
		return err
	}
	return d.askOnce(ctx, a, func(s *server) (dialling, asking) {
		return s.newConnection, func(ctx context.Context, c *conn) (bool, error) {
			if c.as == "" {
				return false, denial.New(denial.ResetNotAllowed, "%s does not say as whom this service is bound, so %q may be the service account itself; nothing was sent", s.url, a.DN)
			}
			if a.isCalled(c.as) {
				return false, denial.New(denial.ResetNotAllowed, "%q is the service account itself; nothing was sent", a.DN)
			}
			if err := s.confirm(ctx, c, a); err != nil {
				return false, err
			}
			if a.dialect.unicodePwd {
				return s.resetUnicodePwd(ctx, c, a.DN, new, unlock)
			}
			return s.resetByOperation(ctx, c, a.DN, new)
		}
	})
}

// confirm makes sure that a server still knows a by its DN. It may be another one
// than the server that found a, and further on or behind: without proof of the old
// password nothing else would keep the new one from whoever has the DN there.
func (s *server) confirm(ctx context.Context, c *conn, a *Account) error {
	var found *ldap.SearchResult
	gone := false
	_, err := s.answerTo(ctx, c, a.DN, func(e *ldap.Error) denial.Reason {
		gone = e.ResultCode == ldap.LDAPResultNoSuchObject
		return ""
	}, func() (err error) {
		found, err = c.ldap.Search(request(a.DN, ldap.ScopeBaseObject, 1, s.d.timeout, "(objectClass=*)", []string{a.dialect.id}))
		return err
	})
	if err != nil && !gone {
		return fmt.Errorf("looking who has the DN %q: %w", a.DN, err)
	}
	if !gone && len(found.Entries) == 1 {
		now := &Account{entry: found.Entries[0]}
		if id, ok := a.dialect.idText(now.First(a.dialect.id)); ok && strings.EqualFold(id, a.ID) {
			return nil
		}
	}
	return fmt.Errorf("%s: %q is not the account that was found, which has been moved, or the servers do not agree; nothing was sent", s.url, a.DN)
}

// mayHavePassword refuses accounts in Active Directory that are not meant to have a
// password that a person knows: those that need a smart card, for which the
// directory itself has set one that nobody knows, and those of machines and trusts.
func (a *Account) mayHavePassword() error {
	if !a.dialect.unicodePwd || a.First("userAccountControl") == "" {
		return nil
	}
	uac, err := a.integer("userAccountControl")
	switch {
	case err != nil:
		return err
	case uac&uacSmartCard != 0:
		return denial.New(denial.ResetNotAllowed, "%q signs in by smart card alone, and a password would be another way in; nothing was sent", a.DN)
	case uac&uacTrusts != 0:
		return denial.New(denial.ResetNotAllowed, "%q is a machine or a trust; nothing was sent", a.DN)
	}
	return nil
}

// resetUnicodePwd writes the attribute without proof of the old password ([MS-ADTS],
// 3.1.1.3.1.5).
func (s *server) resetUnicodePwd(ctx context.Context, c *conn, dn string, new secret.String, unlock bool) (sent bool, err error) {
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace("unicodePwd", []string{unicodePwd(new)})
	if unlock {
		r.Replace("lockoutTime", []string{"0"})
	}
	return s.answerTo(ctx, c, dn, resetReason, func() error { return c.ldap.Modify(r) })
}

// resetByOperation asks for a new password of somebody else (RFC 3062).
func (s *server) resetByOperation(ctx context.Context, c *conn, dn string, new secret.String) (sent bool, err error) {
	return s.answerTo(ctx, c, dn, resetPolicyReason, func() error {
		_, err := c.ldap.Extended(passwordModify(dn, secret.String{}, new))
		return err
	})
}

// isCalled reports whether as, by which a server says who is bound, means a: a
// DN, a name with its domain, or either as an authorisation identity (RFC 4513,
// section 5.2.1.8). Of names with a domain only the name is compared, since there
// is nothing to be lost by taking one too many for the service account.
func (a *Account) isCalled(as string) bool {
	if dn, ok := strings.CutPrefix(as, "dn:"); ok {
		as = dn
	}
	if x, err := normalDN(as); err == nil {
		y, err := normalDN(a.DN)
		return err == nil && x == y
	}
	name := strings.TrimPrefix(as, "u:")
	if _, after, ok := strings.Cut(name, `\`); ok {
		name = after
	}
	if sameName(name, a.First("userPrincipalName")) {
		return name != ""
	}
	name, _, _ = strings.Cut(name, "@")
	return name != "" && sameName(name, a.Username)
}

// resetReason returns why Active Directory refused to set a password; "" is no
// refusal, but something that does not work.
func resetReason(e *ldap.Error) denial.Reason {
	code, text := windowsError(e)
	switch {
	case code == errorPasswordRestriction:
		return restriction(text)
	case code == errorAccessDenied, e.ResultCode == ldap.LDAPResultInsufficientAccessRights:
		return denial.ResetNotAllowed
	case e.ResultCode == ldap.LDAPResultConstraintViolation,
		e.ResultCode == ldap.LDAPResultUnwillingToPerform && code != errorGeneralFailure:
		return denial.PasswordNotAccepted
	}
	return ""
}

// resetPolicyReason returns why a server refused a Password Modify operation for
// somebody else; "" is no refusal, but something that does not work.
func resetPolicyReason(e *ldap.Error) denial.Reason {
	if c := policyControl(e.Packet); c != nil && c.Error >= 5 { // about the new password; the others are about rights
		return changeReasons[c.Error]
	}
	switch e.ResultCode {
	case ldap.LDAPResultConstraintViolation:
		return denial.PasswordNotAccepted
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultStrongAuthRequired: // the latter: nobody is bound
		return denial.ResetNotAllowed
	}
	return ""
}
