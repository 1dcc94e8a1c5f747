package ldapauth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// maxPassword is the longest new password, in characters: what Active Directory
// takes at most, and more than anybody types.
const maxPassword = 256

// errClear is why a server is not asked to change a password. Loopback is no
// exception: it holds for the connector's own host at best, and a domain
// controller would not change a password in clear either.
var errClear = errors.New("passwords are changed over TLS only: write ldaps:// or set ldap.start_tls: true")

// errCopy is why a server does not change a password that it would have to ask
// another one to change: a read-only domain controller, or a consumer of OpenLDAP.
var errCopy = errors.New("it is a copy that cannot be written to: name a server that can be in ldap.urls as well")

// CheckNewPassword refuses, before anything is sent, a new password that no
// directory should get: one that is not plain text of up to 256 characters, that
// is the old one, or that is one of the names of its owner. The error is a
// denial.
func CheckNewPassword(old, new secret.String, names ...string) error {
	p := new.Reveal()
	switch {
	case !sendable(new):
		return denial.New(denial.PasswordNotAccepted, "the new password is empty, blank or holds a NUL; nothing was sent")
	case strings.ContainsRune(p, utf8.RuneError):
		// What stands in the place of text that could not be read, or is that text:
		// nobody could type the password that would be set.
		return denial.New(denial.PasswordNotAccepted, "the new password holds something that is no character; nothing was sent")
	case strings.ContainsFunc(p, isUntypable):
		return denial.New(denial.PasswordNotAccepted, "the new password holds a control or formatting character; nothing was sent")
	case utf8.RuneCountInString(p) > maxPassword:
		return denial.New(denial.PasswordNotAccepted, "the new password is longer than %d characters; nothing was sent", maxPassword)
	case p == old.Reveal():
		return denial.New(denial.PasswordUsedBefore, "the new password is the old one; nothing was sent")
	}
	for _, name := range names {
		if name != "" && sameName(p, name) {
			return denial.New(denial.PasswordTooSimple, "the new password is the name of its owner; nothing was sent")
		}
	}
	return nil
}

// isUntypable reports whether r is nothing that people type or see. Of the
// formatting characters, joiners are parts of words in some languages and of
// pictures, and so are tags.
func isUntypable(r rune) bool {
	const nonJoiner, joiner, firstTag, lastTag = '\u200c', '\u200d', '\U000e0020', '\U000e007f'
	return isControl(r) && r != nonJoiner && r != joiner && (r < firstTag || r > lastTag)
}

// ChangePassword replaces the password of a by new, for somebody who knows the
// old one. Nobody's rights but the owner's are used, so the rules of the
// directory for new passwords apply. It needs TLS to every server.
//
// Both passwords go out at most once: a wrong old one counts towards the
// account's lockout. The error is a denial if the directory refused:
// BadCredentials for a wrong old password, one of the reasons for new passwords,
// or what it said of the account. It has [ErrUnanswered] in its chain if it is
// unknown what became of the change.
func (d *Directory) ChangePassword(ctx context.Context, a *Account, old, new secret.String) error {
	if !sendable(old) {
		return denial.New(denial.BadCredentials, "the old password is empty, blank or holds a NUL; it was not sent")
	}
	if err := CheckNewPassword(old, new, a.Username); err != nil {
		return err
	}
	return d.askOnce(ctx, a, func(s *server) (dialling, asking) {
		if a.dialect.unicodePwd {
			return s.newConnection, func(ctx context.Context, c *conn) (bool, error) { return s.changeUnicodePwd(ctx, c, a.DN, old, new) }
		}
		return s.dialBind, func(ctx context.Context, c *conn) (bool, error) { return s.changeAsUser(ctx, c, a.DN, old, new) }
	})
}

// dialling makes a connection before ctx ends.
type dialling func(ctx context.Context) (*conn, error)

// asking asks a server for another password. It reports whether a password can
// have reached the server.
type asking func(ctx context.Context, c *conn) (sent bool, err error)

// askOnce asks for another password of a, in the way that by says, the first
// server that can be asked: a password goes out at most once.
func (d *Directory) askOnce(ctx context.Context, a *Account, by func(*server) (dialling, asking)) error {
	if a.DN == "" {
		return errors.New("changing a password: the account has no DN")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errNoAnswer)
	defer cancel()
	if err := d.known(ctx); err != nil {
		return fmt.Errorf("changing the password of %q: %w", a.DN, err)
	}
	sent, err := false, errClosed
	d.anyServer(ctx, func(connect context.Context, s *server) (final bool) {
		dial, ask := by(s)
		sent, err = s.askOnce(ctx, connect, dial, ask)
		return err == nil || sent || errors.Is(err, errClear) || denial.ReasonOf(err) != ""
	})
	switch {
	case err == nil, denial.ReasonOf(err) != "":
		return err
	case sent && !answered(err):
		return fmt.Errorf("changing the password of %q: %w: %w", a.DN, ErrUnanswered, err)
	}
	return fmt.Errorf("changing the password of %q: %w", a.DN, err)
}

// askOnce asks for another password on a connection of its own, which is closed
// afterwards: what a server makes of a connection after a change, or after one
// that was given up, is nothing to rely on. It waits for an answer until ctx
// ends, but for a connection only until connect ends. sent reports whether a
// password can have reached the server; if it cannot, others may be asked
// instead.
func (s *server) askOnce(ctx, connect context.Context, dial dialling, ask asking) (sent bool, err error) {
	if !s.tls && !s.d.config.StartTLS {
		return false, fmt.Errorf("%s: %w", s.url, errClear)
	}
	release, err := s.bindSlot(connect)
	if err != nil {
		return false, err
	}
	defer release()
	c, err := dial(connect)
	if err != nil {
		s.blame(ctx, err)
		return false, err
	}
	defer c.close()
	return ask(ctx, c)
}

// changeUnicodePwd writes the attribute by which Active Directory changes
// passwords ([MS-ADTS], 3.1.1.3.1.5): whoever deletes the old value and adds the
// new one in one request has proved to know the old one. It is asked for by the
// service account, which needs no right for it, because somebody whose password
// has expired or must be changed cannot bind.
func (s *server) changeUnicodePwd(ctx context.Context, c *conn, dn string, old, new secret.String) (sent bool, err error) {
	r := ldap.NewModifyRequest(dn, nil)
	r.Delete("unicodePwd", []string{unicodePwd(old)})
	r.Add("unicodePwd", []string{unicodePwd(new)})
	return s.answerTo(ctx, c, dn, unicodePwdReason, func() error { return c.ldap.Modify(r) })
}

// unicodePwd returns a password as that attribute holds it: in quotes, in
// UTF-16, the lower byte first.
func unicodePwd(password secret.String) string {
	units := utf16.Encode([]rune(`"` + password.Reveal() + `"`))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// changeAsUser binds as the user and changes the password on that connection
// (RFC 3062). Somebody who must change the password can bind for that, and so
// can somebody whose password has expired, if the policy grants a few more
// binds.
func (s *server) changeAsUser(ctx context.Context, c *conn, dn string, old, new secret.String) (sent bool, err error) {
	result, sent, err := c.bind(ctx, dn, old)
	if result == nil {
		return sent, fmt.Errorf("%s: %w", s.url, err)
	}
	refused := bindError(dn, result, err)
	if reason := denial.ReasonOf(refused); refused != nil && (err != nil || reason != denial.MustChangePassword && reason != denial.PasswordExpired) {
		return true, refused
	}
	_, err = s.answerTo(ctx, c, dn, policyReason, func() error {
		_, err := c.ldap.Extended(passwordModify("", old, new))
		return err
	})
	return true, err // the old password was, and each time may be the last that is granted
}

// passwordModify returns a request for the operation Password Modify (RFC 3062)
// that asks for the reason of a refusal. It acts upon the account at dn, or upon
// whoever is bound if dn is empty; without an old password none is sent.
func passwordModify(dn string, old, new secret.String) *ldap.ExtendedRequest {
	v := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for tag, text := range []string{dn, old.Reveal(), new.Reveal()} {
		if text != "" {
			v.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, ber.Tag(tag), text, ""))
		}
	}
	r := ldap.NewExtendedRequest("1.3.6.1.4.1.4203.1.11.1", v)
	r.Controls = []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}
	return r
}

// answerTo sends one request on c and says what its answer means. It waits no
// longer than ctx lasts. sent is also false if the server has done nothing but name
// another one.
func (s *server) answerTo(ctx context.Context, c *conn, dn string, reasonOf func(*ldap.Error) denial.Reason, request func() error) (sent bool, err error) {
	before := c.guard.writes.Load()
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	err = request()
	if failed := c.failure(err); failed != nil {
		err = failed
	}
	if !stop() {
		err = fmt.Errorf("%w: %w", errStopped, context.Cause(ctx))
	}
	sent = c.guard.writes.Load() != before
	e, isAnswer := errors.AsType[*ldap.Error](err)
	if !isAnswer || !answered(err) {
		if err != nil {
			err = fmt.Errorf("%s: %w", s.url, err)
		}
		return sent, err
	}
	if e.ResultCode == ldap.LDAPResultReferral { // it has done nothing, so that others may be asked
		return false, fmt.Errorf("%s: %w (%w)", s.url, errCopy, inWords(err))
	}
	if reason := reasonOf(e); reason != "" {
		return sent, denial.New(reason, "changing the password of %q: %w", dn, inWords(err))
	}
	return sent, fmt.Errorf("%s: %w", s.url, inWords(err))
}

// adError is the Windows error code at the start of what Active Directory says
// of a refused change.
var adError = regexp.MustCompile(`^([0-9A-Fa-f]{8}):`)

// Windows error codes ([MS-ERREF], 2.2) that concern changes of passwords.
const (
	errorAccessDenied        = 0x5
	errorGeneralFailure      = 0x1f
	errorInvalidPassword     = 0x56
	errorPasswordRestriction = 0x52d
)

// windowsError returns the Windows error code of a refusal by Active Directory, 0
// if there is none, and all that it says.
func windowsError(e *ldap.Error) (code uint64, text string) {
	if e.Err != nil {
		text = e.Err.Error()
	}
	if m := adError.FindStringSubmatch(text); m != nil {
		code, _ = strconv.ParseUint(m[1], 16, 32)
	}
	return code, text
}

// unicodePwdReason returns why Active Directory refused a change; "" is no
// refusal, but something that does not work.
func unicodePwdReason(e *ldap.Error) denial.Reason {
	code, text := windowsError(e)
	switch {
	case code == errorInvalidPassword:
		return denial.BadCredentials
	case code == errorPasswordRestriction:
		return restriction(text)
	case adReasons[strconv.FormatUint(code, 16)] != "":
		return adReasons[strconv.FormatUint(code, 16)]
	case code == errorAccessDenied, e.ResultCode == ldap.LDAPResultInsufficientAccessRights:
		return denial.ChangeNotAllowed
	case e.ResultCode == ldap.LDAPResultConstraintViolation:
		return denial.PasswordNotAccepted
	}
	return ""
}

// hints are words by which Samba says which of the rules a new password breaks.
// Windows has one code for all of them and says no more.
var hints = []struct {
	words  string
	reason denial.Reason
}{
	{"too short", denial.PasswordTooShort},
	{"complexity", denial.PasswordTooSimple},
	{"already used", denial.PasswordUsedBefore},
	{"too young", denial.PasswordTooYoung},
}

// restriction returns which rule a new password breaks, if text tells.
func restriction(text string) denial.Reason {
	for _, h := range hints {
		if strings.Contains(text, h.words) {
			return h.reason
		}
	}
	return denial.PasswordNotAccepted
}

// changeReasons maps the errors of the password policy control
// (draft-behera-ldap-password-policy-10, section 6.2) that concern a change.
var changeReasons = map[int8]denial.Reason{
	0: denial.PasswordExpired,
	1: denial.AccountLocked,
	3: denial.ChangeNotAllowed, // passwordModNotAllowed
	4: denial.ChangeNotAllowed, // mustSupplyOldPassword: it was supplied and is not what is wanted
	5: denial.PasswordTooSimple,
	6: denial.PasswordTooShort,
	7: denial.PasswordTooYoung,
	8: denial.PasswordUsedBefore,
}

// policyReason returns why a server refused a Password Modify operation after
// it had accepted the old password for a bind; "" is no refusal, but something
// that does not work.
func policyReason(e *ldap.Error) denial.Reason {
	if c := policyControl(e.Packet); c != nil && changeReasons[c.Error] != "" {
		return changeReasons[c.Error]
	}
	switch e.ResultCode {
	case ldap.LDAPResultInvalidCredentials:
		return denial.BadCredentials
	case ldap.LDAPResultConstraintViolation:
		return denial.PasswordNotAccepted
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultUnwillingToPerform:
		// Such as "unwilling to verify old password", of OpenLDAP: users may not
		// use the attribute that they may write (access by self =xw).
		return denial.ChangeNotAllowed
	}
	return ""
}

// policyControl returns the password policy control of an answer, nil if it has
// none. The library reads the controls of answers that are good news only.
func policyControl(answer *ber.Packet) *ldap.ControlBeheraPasswordPolicy {
	if answer == nil || len(answer.Children) < 3 {
		return nil
	}
	for _, p := range answer.Children[2].Children {
		decoded, err := ldap.DecodeControl(p)
		if c, ok := decoded.(*ldap.ControlBeheraPasswordPolicy); ok && err == nil {
			return c
		}
	}
	return nil
}
