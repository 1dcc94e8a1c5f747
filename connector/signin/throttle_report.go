package signin

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"adconnector/ldapauth"
)

// A ThrottleReport is what the throttle counts now.
type ThrottleReport struct {
	// Counts are the accounts and networks with failures that still count: those
	// that are closed first, and of them the latest first. Omitted is how many
	// more there are than a report holds.
	Counts  []ThrottleCount `json:"counts"`
	Omitted int             `json:"omitted,omitempty"`
	// OtherNames is how many typed names have failures and have led to no
	// account. What was typed is not kept.
	OtherNames int `json:"other_names"`
}

// A ThrottleCount is what the throttle counts of one account or one network.
type ThrottleCount struct {
	AccountID string `json:"account_id,omitempty"`
	Username  string `json:"username,omitempty"`
	// Network is an IPv4 address, an IPv6 /64 or a /48.
	Network netip.Prefix `json:"network,omitzero"`

	// Failures is how many count: from everywhere, and of them from addresses
	// that are known for the account.
	Failures      int       `json:"failures"`
	FailuresKnown int       `json:"failures_from_known_addresses"`
	Last          time.Time `json:"last"`
	// Closed says that no password from an unknown address is tried, and Until
	// for how long; the zero time if nobody can tell. ClosedKnown and UntilKnown
	// say so of known addresses. A network is closed altogether.
	Closed      bool      `json:"closed"`
	Until       time.Time `json:"until,omitzero"`
	ClosedKnown bool      `json:"closed_to_known_addresses"`
	UntilKnown  time.Time `json:"until_known_addresses,omitzero"`
	// Directory is what the directory said of the account at the last attempt;
	// nil if it locks nobody or that is not known.
	Directory *ThrottleDirectory `json:"directory,omitempty"`
}

// A ThrottleDirectory is how close the directory is to locking an account.
type ThrottleDirectory struct {
	Threshold int       `json:"threshold"`
	Failures  int       `json:"failures"`
	AsOf      time.Time `json:"as_of"`
}

// maxReported is how many counts of each kind a report holds: those with the
// latest attempts.
const maxReported = 5_000

// ThrottleReport returns what the throttle counts now.
func (s *Service) ThrottleReport() *ThrottleReport {
	t := s.throttle
	r := &ThrottleReport{Counts: []ThrottleCount{}}
	for _, l := range []*limiter{t.accounts, t.addresses, t.sites} {
		counts, omitted := l.report(t.ruleOf(l))
		r.Counts, r.Omitted = append(r.Counts, counts...), r.Omitted+omitted
	}
	slices.SortFunc(r.Counts, func(a, b ThrottleCount) int {
		if a.Closed != b.Closed {
			if a.Closed {
				return -1
			}
			return 1
		}
		return b.Last.Compare(a.Last)
	})
	t.names.each(t.ruleOf(t.names), func(c *counter, _ *rule, _ time.Duration) {
		if c.leadsTo == 0 {
			r.OtherNames++
		}
	})
	return r
}

// ruleOf returns the rule for all that l counts, without what depends on the
// attempt.
func (t *throttle) ruleOf(l *limiter) rule {
	switch l {
	case t.addresses:
		return rule{limit: t.config.PerAddress}
	case t.sites:
		r := rule{limit: t.config.PerAddress}
		r.limit.Failures *= sharedSite
		return r
	}
	return t.rule()
}

// each calls f with every counter that has failures, its rule and the moment;
// those with the latest attempts come first. The limiter is locked meanwhile.
func (l *limiter) each(r rule, f func(c *counter, r *rule, now time.Duration)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Sub(l.epoch)
	for _, key := range slices.Backward(l.counters.Keys()) {
		c, _ := l.counters.Peek(key)
		if c.lock == nil {
			continue // not one attempt has got a place yet
		}
		r.reserve, r.lock = c.reserve, c.lock
		c.forget(&r, now)
		if len(c.failed) > 0 {
			f(c, &r, now)
		}
		l.drop(key, c)
	}
}

// report returns what is counted, and of how many more.
func (l *limiter) report(r rule) (counts []ThrottleCount, omitted int) {
	l.each(r, func(c *counter, r *rule, now time.Duration) {
		if len(counts) == maxReported {
			omitted++
			return
		}
		n := ThrottleCount{AccountID: c.about.account, Username: c.about.username, Network: c.about.network}
		n.Failures, n.Last = len(c.failed), l.epoch.Add(c.failed[len(c.failed)-1].at()).Round(0)
		for _, f := range c.failed {
			n.FailuresKnown += kind(f.known())
		}
		if c.lock.threshold > 0 && c.about.account != "" {
			n.Directory = &ThrottleDirectory{c.lock.threshold, c.lock.failures, c.lock.asOf.Round(0)}
		}
		r.known = false
		n.Closed, n.Until = l.closed(c, r, now)
		if n.ClosedKnown, n.UntilKnown = n.Closed, n.Until; r.split {
			r.known = true
			n.ClosedKnown, n.UntilKnown = l.closed(c, r, now)
		}
		counts = append(counts, n)
	})
	return counts, omitted
}

// closed reports whether r allows no attempt, and until when: of several bounds
// that are reached the last to give way.
func (l *limiter) closed(c *counter, r *rule, now time.Duration) (closed bool, until time.Time) {
	tallies := l.tallies(c, r, now)
	for i := range tallies {
		t := &tallies[i]
		switch {
		case t.failed < t.most:
		case t.until.IsZero():
			return true, time.Time{}
		case !closed || t.until.After(until):
			closed, until = true, t.until.Round(0)
		}
	}
	return closed, until
}

// ClearThrottle forgets the failures of what is named: an account by any name
// that is typed to sign in, or by its ID; an address, with the networks that it
// is in; or a network. It returns how many counts are gone. What the directory
// counts stays.
func (s *Service) ClearThrottle(what string) int {
	t := s.throttle
	if n, err := netip.ParsePrefix(what); err == nil {
		return t.clearNetwork(n)
	}
	if a, err := netip.ParseAddr(what); err == nil {
		return t.clearNetwork(network(a))
	}
	return t.clearAccount(what)
}

// ClearAllThrottles forgets every failure and returns how many counts are gone.
func (s *Service) ClearAllThrottles() int {
	t, cleared := s.throttle, 0
	for _, l := range []*limiter{t.accounts, t.names, t.addresses, t.sites} {
		cleared += l.clear(func(uint64, *counter) bool { return true })
	}
	return cleared
}

func (t *throttle) clearNetwork(n netip.Prefix) int {
	n = n.Masked()
	site, _ := siteOf(n)
	return t.addresses.clear(func(_ uint64, c *counter) bool { return c.about.network == n }) +
		t.sites.clear(func(_ uint64, c *counter) bool { return c.about.network == n || c.about.network == site })
}

// clearAccount forgets what was counted of the name, of the accounts that it
// has led to, and of other names that have led to those.
func (t *throttle) clearAccount(what string) int {
	name, local, accounts := t.nameKey(what), t.directory.NormaliseName(what), map[uint64]bool{}
	cleared := t.names.clear(func(_ uint64, c *counter) bool {
		if c.about.name != name {
			return false
		}
		accounts[c.leadsTo] = true
		return true
	})
	delete(accounts, 0) // it has led nowhere
	cleared += t.accounts.clear(func(key uint64, c *counter) bool {
		if c.about.account == what || strings.EqualFold(c.about.username, local) {
			accounts[key] = true
		}
		return accounts[key]
	})
	return cleared + t.names.clear(func(_ uint64, c *counter) bool { return accounts[c.leadsTo] })
}

// forget forgets what was counted of an account, and of the names that have led to
// it.
func (t *throttle) forget(a *ldapauth.Account) {
	account := t.accountKey(a.ID)
	t.accounts.clear(func(key uint64, _ *counter) bool { return key == account })
	t.names.clear(func(_ uint64, c *counter) bool { return c.leadsTo == account })
}

// clear forgets the failures of the counters that chosen picks, and returns how
// many had any.
func (l *limiter) clear(chosen func(key uint64, c *counter) bool) (cleared int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.counters.Keys() {
		c, _ := l.counters.Peek(key)
		if len(c.failed) == 0 || !chosen(key, c) {
			continue
		}
		c.failed = nil
		cleared++
		l.drop(key, c)
	}
	return cleared
}
