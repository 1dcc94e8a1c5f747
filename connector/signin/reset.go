package signin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
)

// ResetPassword sets the password of the user whom a.Credential, a
// [PasswordReset], names, for a service that may ask for that, and returns whom
// it is about. It signs nobody in.
//
// It is no guess, so no throttle applies; but what it had counted is forgotten
// when the password is set, for whoever has forgotten a password has guessed
// before. Accounts that a group bars are not for such services: with the password
// of an administrator a service could do more than it was ever asked to. Nor are
// disabled ones, which some directories enable with a new password. All other
// faults of an account stay what they are, but for those of its password.
//
// The error is a denial when the answer is no, also for nobody and for several of
// that name: services are told which. Any other error means that something is
// broken; with [ldapauth.ErrUnanswered] in its chain the password may have been
// set.
func (s *Service) ResetPassword(ctx context.Context, a Attempt) (id *Identity, err error) {
	t := trail{start: time.Now()}
	defer func() { s.writeAudit(ctx, &a, &t, nil, err) }()

	switch c := a.Credential.(type) {
	case PasswordReset:
		id, err = s.reset(ctx, c, &t)
	default:
		err = fmt.Errorf("setting a password by a credential of an unknown kind, %T", c)
	}
	if denial.ReasonOf(err) != "" && t.about != nil && a.About != nil {
		a.About(t.about)
	}
	t.returned = true
	return id, err
}

func (s *Service) reset(ctx context.Context, c PasswordReset, t *trail) (*Identity, error) {
	t.user = c.Username
	if !s.resets {
		return nil, denial.New(denial.NotAllowedHere, "setting passwords is not offered")
	}
	account, err := s.Find(ctx, c.Username)
	if err != nil {
		return nil, fmt.Errorf("looking for the account: %w", err)
	}
	t.account = account
	id, err := s.resettable(ctx, account)
	if err != nil {
		s.describeRefused(ctx, err, t)
		return nil, err
	}
	t.about = id
	// What is under way is seen through, even if nobody waits for it any more: the
	// directory may have done it, and the audit trail has to say so. It has a
	// time-out of its own.
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := s.directory.ResetPassword(context.WithoutCancel(ctx), account, c.New, s.unlocks); err != nil {
		return nil, err
	}
	s.throttle.forget(account)
	return id, nil
}

// resettable returns whom account is about, unless its password is none that
// services set. Everything that can go wrong with its description goes wrong
// before the password is set.
func (s *Service) resettable(ctx context.Context, account *ldapauth.Account) (*Identity, error) {
	for _, f := range account.Facts(s.now()) {
		if reason := denial.ReasonOf(f.Err); f.Err != nil && (reason == "" || reason == denial.AccountDisabled) {
			return nil, f.Err
		}
	}
	groups, err := s.directory.Groups(ctx, account)
	incomplete := errors.Is(err, ldapauth.ErrGroups) && ctx.Err() == nil // but certain that none bars
	if err != nil && !incomplete {
		return nil, fmt.Errorf("looking for a group that bars the account: %w", err)
	}
	id, err := s.describe(account, groups, incomplete)
	if err != nil {
		return nil, err
	}
	if err := s.checkTenantID(ctx, account, id); err != nil {
		return nil, err
	}
	return id, nil
}
