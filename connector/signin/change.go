package signin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
)

// A Changeable is a refusal of somebody who knows the password, for no other
// reason than that it has expired or must be changed: with a new one, which
// [Service.ChangePassword] can set, there would be none.
type Changeable struct{ Refusal error }

// Error returns what the refusal says.
func (c *Changeable) Error() string { return c.Refusal.Error() }

// Unwrap returns the refusal.
func (c *Changeable) Unwrap() error { return c.Refusal }

// isPasswordFault reports whether a new password would put an end to a refusal
// for r.
func isPasswordFault(r denial.Reason) bool {
	return r == denial.PasswordExpired || r == denial.MustChangePassword
}

// ChangePassword changes the password of the user whom a.Credential, a
// [PasswordChange], names, or says why not. It signs nobody in.
//
// Whoever can guess an old password here can sign in with it, so the same
// limits hold in the same order: what the address may, the throttle, and only
// then the directory, which learns the old password and the new one in one go,
// once. A user who does not exist, one whose account is closed and a wrong old
// password are the same to the caller. The account must have no other fault than
// the age of its password.
//
// The error is a denial when the answer is no. Any other error means that
// something is broken; the password may have been changed or not.
func (s *Service) ChangePassword(ctx context.Context, a Attempt) (err error) {
	t := trail{start: time.Now()}
	defer func() { s.writeAudit(ctx, &a, &t, nil, err) }()

	switch c := a.Credential.(type) {
	case PasswordChange:
		err = s.change(ctx, c, a.Remote, &t)
		s.takeTime(ctx, err, &t)
	default:
		err = fmt.Errorf("changing a password by a credential of an unknown kind, %T", c)
	}
	t.returned = true
	return err
}

func (s *Service) change(ctx context.Context, c PasswordChange, remote netip.Addr, t *trail) error {
	t.user = c.Username
	if !s.changes || !s.offersPasswords(remote) {
		return denial.New(denial.NotAllowedHere, "changing a password is not offered to this address")
	}
	// This comes first, and looks at no account: what is refused by it alone
	// must not tell whether there is one.
	if err := ldapauth.CheckNewPassword(c.Old, c.New, namesIn(c.Username)...); err != nil {
		return err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	g, account, err := s.aim(ctx, c.Username, remote, t)
	if denial.ReasonOf(err) == denial.AccountLocked {
		t.cause = err // it is said to whoever signs in; here as little is told as of any other fault
		return &denial.Error{Reason: denial.BadCredentials, Err: err}
	}
	if err != nil {
		return err
	}
	defer g.wrong() // unless something else comes of it

	if err := s.maySignInAfter(ctx, account); denial.ReasonOf(err) != "" {
		t.cause = err
		return &denial.Error{Reason: denial.BadCredentials, Err: err}
	} else if err != nil {
		g.void(ctx)
		return err
	}
	err = s.directory.ChangePassword(ctx, account, c.Old, c.New)
	switch reason := denial.ReasonOf(err); {
	case err == nil:
		g.right()
		return nil
	case reason == denial.BadCredentials, reason == denial.AccountLocked:
		return err
	case reason != "":
		// The old password is right, or the directory would say so first. Still
		// nothing is forgotten: only a change that was made proves that.
		g.void(ctx)
		return err
	case errors.Is(err, ldapauth.ErrUnanswered):
		g.unknown(ctx)
	default:
		g.void(ctx)
	}
	return err
}

// maySignInAfter returns why account may not sign in even with a new password. It
// is asked before the old one is known to be right: a directory would change the
// password of a disabled account too, and of an administrator's that a group
// bars.
func (s *Service) maySignInAfter(ctx context.Context, account *ldapauth.Account) error {
	if err := account.State(s.now(), denial.PasswordExpired, denial.MustChangePassword); err != nil {
		return err
	}
	return s.barred(ctx, account)
}

// namesIn returns a user name as it was typed, and what of it may be the
// account's own name: jon of jon@example.com and of EXAMPLE\jon.
func namesIn(typed string) []string {
	names := []string{typed}
	if before, _, ok := strings.Cut(typed, "@"); ok {
		names = append(names, before)
	}
	if _, after, ok := strings.Cut(typed, `\`); ok {
		names = append(names, after)
	}
	return names
}
