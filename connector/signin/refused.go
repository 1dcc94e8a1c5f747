package signin

import (
	"context"
	"errors"
	"time"

	"adconnector/ldapauth/denial"
)

// describeRefused finds out whom a refusal is about, with the groups. These are
// told if they can be: a refusal lasts no longer for them, is no other one without
// them, and where the throttle refuses they are only remembered, since such an
// attempt must cost the directory nothing.
func (s *Service) describeRefused(ctx context.Context, err error, t *trail) {
	if t.account == nil || denial.ReasonOf(err) == "" {
		return
	}
	left := s.refusalFloor - time.Since(t.start)
	ctx, cancel := context.WithTimeoutCause(ctx, left, errRefusalLate)
	defer cancel()
	ask := left > 0 && denial.ReasonOf(t.cause) != denial.Throttled
	if !ask {
		ctx = context.WithoutCancel(ctx) // nothing is waited for
	}
	groups, failed := s.directory.GroupNames(ctx, t.account, ask)
	if failed != nil {
		s.log.DebugContext(ctx, "the groups of somebody who is refused are left out", "account_id", t.account.ID, "err", failed)
	}
	about, err := s.describe(t.account, groups, failed != nil)
	if err != nil {
		s.log.WarnContext(ctx, "the profile of somebody who is refused cannot be told", "account_id", t.account.ID, "err", err)
		return
	}
	about.GroupsIncomplete = false // a refusal does not depend on them
	t.about = about
}

var errRefusalLate = errors.New("not done within the time that a refusal takes anyway")
