package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"

	"github.com/go-ldap/ldap/v3"
)

// ErrUnanswered is in the chain of an error that says that a password may have
// reached the directory although no answer came back. The directory may have
// counted it as a failure.
var ErrUnanswered = errors.New("the directory did not answer the password check")

// errStopped is the error of a bind whose caller went away.
var errStopped = errors.New("the password check was given up")

// sendable reports whether a directory would take password for a password. An
// empty one asks for no authentication at all and is answered with success (RFC
// 4513, section 5.1.2); servers that cut at a NUL or trim blanks see an empty
// one in more than that.
func sendable(password secret.String) bool {
	p := password.Reveal()
	return strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsSpace(r) }) && !strings.ContainsRune(p, 0)
}

// Bind checks the password of a by one bind, which is never repeated once it
// may have been sent: every repetition counts towards the account's lockout.
//
// The error is a denial if the directory refused: BadCredentials, or what it
// said of the account's state. It has [ErrUnanswered] in its chain if it is
// unknown what the directory thought of the password.
func (d *Directory) Bind(ctx context.Context, a *Account, password secret.String) error {
	if !sendable(password) {
		return denial.New(denial.BadCredentials, "the password is empty, blank or holds a NUL; it was not sent")
	}
	if a.DN == "" {
		return errors.New("binding: the account has no DN") // an empty DN is an anonymous bind
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errNoAnswer)
	defer cancel()
	result, sent, err := d.bindAnywhere(ctx, a.DN, password)
	switch {
	case result != nil:
		err = bindError(a.DN, result, err)
		if err == nil {
			a.proved.Store(true)
		}
		return err
	case sent:
		return fmt.Errorf("binding as %q: %w: %w", a.DN, ErrUnanswered, err)
	}
	return fmt.Errorf("binding as %q: %w", a.DN, err)
}

// bindAnywhere sends one bind to the first server to which it can be sent. The
// result is nil unless a server answered.
func (d *Directory) bindAnywhere(ctx context.Context, dn string, password secret.String) (result *ldap.SimpleBindResult, sent bool, err error) {
	if err = d.known(ctx); err != nil {
		return nil, false, err
	}
	err = errClosed
	d.anyServer(ctx, func(connect context.Context, s *server) (final bool) {
		result, sent, err = s.bind(ctx, connect, dn, password)
		return result != nil || sent
	})
	return result, sent, err
}

// anyServer calls try with one server after the other until it says that there
// must be no other. It is for what may be sent only once: try gives up at the
// end of connect as long as nothing has been sent. Each server has a little time
// to let itself be connected to; when all have had their turn, those that were
// only late have another one with more time.
func (d *Directory) anyServer(ctx context.Context, try func(connect context.Context, s *server) (final bool)) {
	up, down := d.candidates()
	servers := append(up, down...)
	for bound := d.patience; len(servers) > 0; bound *= 2 {
		var late []*server
		for _, s := range servers {
			if d.ctx.Err() != nil {
				return
			}
			connect, cancel := context.WithTimeoutCause(ctx, bound, errNoAnswer)
			final := try(connect, s)
			expired := isOver(connect)
			cancel()
			switch {
			case final, ctx.Err() != nil:
				return
			case expired:
				late = append(late, s)
			}
		}
		servers = late
	}
}

// bind sends one bind and waits for its answer. The connection is of no
// further use if ctx ends first. The result is nil unless the server answered.
func (c *conn) bind(ctx context.Context, dn string, password secret.String) (result *ldap.SimpleBindResult, sent bool, err error) {
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	before := c.guard.writes.Load()
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	result, err = c.ldap.SimpleBind(&ldap.SimpleBindRequest{
		Username: dn,
		Password: password.Reveal(),
		Controls: []ldap.Control{ldap.NewControlBeheraPasswordPolicy()},
	})
	if c.failure(err) != nil {
		result = nil
	}
	if !stop() {
		result, err = nil, fmt.Errorf("%w: %w", errStopped, context.Cause(ctx))
	}
	return result, c.guard.writes.Load() != before, err
}

// adReasons maps the code that Active Directory puts in the text of a refused
// bind to what it stands for. LDAP itself says only "invalid credentials", and
// so do the codes that are not here, 525 (no such user) and 52e (wrong
// password) among them.
var adReasons = map[string]denial.Reason{
	"530": denial.OutsideHours,
	"531": denial.NotAtThisComputer,
	"532": denial.PasswordExpired,
	"533": denial.AccountDisabled,
	"701": denial.AccountExpired,
	"773": denial.MustChangePassword,
	"775": denial.AccountLocked, // the only one that is said even to a wrong password
}

var adCode = regexp.MustCompile(`\bdata ([0-9a-f]+)`)

// policyReasons maps the errors of the password policy control
// (draft-behera-ldap-password-policy-10, section 6.2) that concern a bind.
var policyReasons = map[int8]denial.Reason{
	0: denial.PasswordExpired,
	1: denial.AccountLocked,
	2: denial.MustChangePassword, // said of a bind that succeeded
}

// ErrNeedsReset is in the chain of a denial that says that the password has
// expired and that the directory lets its owner change it no more.
var ErrNeedsReset = errors.New("the directory accepts it no more, not even to change it: somebody who may must set a new one")

// bindError says what the answer to a bind means: nil only for a success that
// no control takes back. A success that is one of the last few which the policy
// grants after the end of a password is taken back too.
func bindError(dn string, result *ldap.SimpleBindResult, err error) error {
	reason, detail := denial.Reason(""), err
	if err == nil {
		detail = errors.New("the password is right")
	}
	if c, ok := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy); ok {
		reason = policyReasons[c.Error]
		switch {
		case reason == denial.PasswordExpired && err != nil:
			detail = fmt.Errorf("%w (%w)", ErrNeedsReset, err)
		case reason == "" && err == nil && c.Grace == 0:
			reason, detail = denial.PasswordExpired, fmt.Errorf("the password is right, but has expired; %w", ErrNeedsReset)
		case reason == "" && err == nil && c.Grace > 0:
			reason, detail = denial.PasswordExpired, fmt.Errorf("the password is right, but has expired; the directory would accept it %d times more", c.Grace)
		}
	}
	if err == nil && ldap.FindControl(result.Controls, ldap.ControlTypeVChuPasswordMustChange) != nil {
		reason = denial.MustChangePassword
	}
	if reason == "" && ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication) {
		reason = denial.BadCredentials
		if m := adCode.FindStringSubmatch(err.Error()); m != nil && adReasons[m[1]] != "" {
			reason = adReasons[m[1]]
		}
	}
	switch {
	case reason != "":
		return denial.New(reason, "binding as %q: %w", dn, detail)
	case err != nil:
		return fmt.Errorf("binding as %q: %w", dn, err)
	}
	return nil
}
