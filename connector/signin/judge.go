package signin

import (
	"context"
	"errors"
	"fmt"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
)

// A Verdict is what becomes of somebody who has proved to own an account.
type Verdict struct {
	Identity *Identity     // nil: not let in
	Err      error         // why not: a denial, or a fault
	Passed   denial.Reason // the fault of the password that the configuration lets pass; "" if there is none
	// Groups are those that the directory reports, before the profile; not known
	// if AtState is true. GroupsIncomplete says that they could not be read.
	Groups           []string
	GroupsIncomplete bool
	// AtState says that the account's state was the reason, so that nobody asked
	// for its groups.
	AtState bool
	// Changeable says that whoever types the right password is let choose a new
	// one, which would put an end to the refusal.
	Changeable bool
}

// Find returns the account that is called name, within the time that a sign-in
// has for that.
func (s *Service) Find(ctx context.Context, name string) (*ldapauth.Account, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.directory.FindByName(ctx, name)
}

// Judge tells what would become of somebody who has proved to own account. It is
// the second half of [Service.SignIn], after the proof, for whoever wants to know
// why somebody is not let in: nobody is signed in by it, and nothing is recorded.
func (s *Service) Judge(ctx context.Context, account *ldapauth.Account) Verdict {
	var t trail
	id, err := s.admit(ctx, account, ByPassword, &t)
	_, changeable := errors.AsType[*Changeable](s.offerChange(ctx, account, err))
	return Verdict{
		Identity: id,
		Err:      err,
		Passed:   t.allowed,
		Groups:   t.groups,

		GroupsIncomplete: t.groupsIncomplete,

		AtState:    err != nil && account.State(s.now(), s.allowed...) != nil,
		Changeable: changeable,
	}
}

// offerChange returns err, why somebody is not let into account, as a
// [Changeable] if they may choose a new password: the old one was right, or
// nothing would have been said of its age. Whoever would not be let in with a new
// one either, because a group bars them, is told that instead.
func (s *Service) offerChange(ctx context.Context, account *ldapauth.Account, err error) error {
	if !s.changes || !isPasswordFault(denial.ReasonOf(err)) || errors.Is(err, ldapauth.ErrNeedsReset) {
		return err
	}
	if barred := s.barred(ctx, account); barred != nil {
		return barred
	}
	return &Changeable{err}
}

// barred returns a denial if a group of account bars it, and a fault if nobody
// can tell.
func (s *Service) barred(ctx context.Context, account *ldapauth.Account) error {
	_, err := s.directory.Groups(ctx, account)
	if err == nil || errors.Is(err, ldapauth.ErrGroups) && ctx.Err() == nil { // the latter: certain that none does
		return nil
	}
	return fmt.Errorf("looking for a group that bars the account: %w", err)
}
