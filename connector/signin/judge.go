package signin

import (
	"context"
	"errors"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
)

// A Verdict is what becomes of somebody who has proved to own an account.
type Verdict struct {
	Identity *Identity     // nil: not let in
	Err      error         // why not: a denial, or a fault
	Passed   denial.Reason // the fault of the password that the configuration lets pass; "" if there is none
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
	return Verdict{
		Identity:   id,
		Err:        err,
		Passed:     t.allowed,
		AtState:    err != nil && account.State(s.now(), s.allowed...) != nil,
		Changeable: s.offersChange(err),
	}
}

// offersChange reports whether whoever is refused by err may choose a new
// password: the old one was right, or nothing would have been said of it.
func (s *Service) offersChange(err error) bool {
	return s.changes && isPasswordFault(denial.ReasonOf(err)) && !errors.Is(err, ldapauth.ErrNeedsReset)
}
