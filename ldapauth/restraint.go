package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// soonAgain is the pause after which a refused service account is tried
	// again: whoever just changed its password in the directory may be about to
	// change it here too.
	soonAgain = 2 * time.Second
	// assumedThreshold and assumedWindow stand for a lockout policy that nobody
	// could read. Hardly any is stricter.
	assumedThreshold = 3
	assumedWindow    = 30 * time.Minute
	// endlessWindow is the pause where refusals are never forgotten, and
	// untilChanged the one when the next of them could lock the account.
	endlessWindow = time.Hour
	untilChanged  = 10 * 365 * 24 * time.Hour
)

var errRefused = errors.New("the directory refuses the service account")

// A restraint keeps the service account from being locked by its own connector:
// what the directory refuses is shown to it a few times, fewer than lock the
// account, to whichever server, and then not before the directory has forgotten
// them. It is one for all servers, since they count together.
//
// Another password, keytab or certificate than the refused one is shown at once.
type restraint struct {
	serviceAccount
	now     func() time.Time
	sharers int // directories that show the same account to servers which may count together

	mu      sync.Mutex
	refusal error  // of what the account shows; nil: it was not refused
	of      string // the [serviceAccount.version] that was refused
	refused int    // refusals since the last success or long pause
	due     time.Time
	limits  *lockoutLimits // nil: not known
	learned time.Time
}

// lockoutLimits is what a directory does about wrong passwords.
type lockoutLimits struct {
	threshold int           // wrong passwords that lock an account; 0 = never
	window    time.Duration // after which they are forgotten
}

// held returns why the account must be left alone, nil if it may be tried.
func (r *restraint) held() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wait(r.version())
}

// wait is [restraint.held] for a caller that holds the lock.
func (r *restraint) wait(version string) error {
	if r.refusal == nil || r.of != version || !r.now().Before(r.due) {
		return nil
	}
	return fmt.Errorf("%w; it is left alone until %s, so that it is not locked", r.refusal, r.due.Format(time.DateTime))
}

// bind introduces the service account on c unless it must be left alone. What
// was refused before is shown on one connection at a time.
func (r *restraint) bind(ctx context.Context, s *server, c *conn) (as string, err error) {
	version := r.version()
	r.mu.Lock()
	err = r.wait(version)
	refusal := r.refusal
	again := refusal != nil && r.of == version
	if again && err == nil {
		r.due = r.now().Add(soonAgain)
	}
	r.mu.Unlock()
	if err != nil {
		return "", err
	}
	as, err = r.serviceAccount.bind(ctx, s, c)
	switch {
	case err == nil, errors.Is(err, errRefused):
		r.judged(version, err)
	case again && !answered(err):
		// The server may be slow and yet have counted it.
		r.judged(version, refusal)
	}
	return as, err
}

// judged records what the directory thought of what the account has shown: why
// it was refused, or nil.
func (r *restraint) judged(version string, refusal error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if refusal == nil {
		r.refusal, r.refused = nil, 0
		return
	}
	r.refused++
	r.refusal, r.of, r.due = refusal, version, r.now().Add(r.pause())
}

// pause returns how long to leave the account alone after a refusal: a moment
// while there are fewer of them than half of what locks it, and then longer than
// the directory remembers them. Every failure begins that time anew in Active
// Directory, so trying at long intervals would not do.
func (r *restraint) pause() time.Duration {
	limits := lockoutLimits{assumedThreshold, assumedWindow}
	if r.limits != nil {
		limits = *r.limits
	}
	if limits.threshold == 0 || !r.lockable() {
		return soonAgain
	}
	tries := max(1, min(limits.threshold-1, max(2, limits.threshold/2))/max(1, r.sharers))
	switch {
	case r.refused < tries:
		return soonAgain
	case limits.window == Forever && r.refused < limits.threshold-1:
		return endlessWindow
	case limits.window == Forever:
		return untilChanged
	}
	r.refused = 0
	return limits.window + limits.window/10
}

// policyCacheFor is how long the lockout policy is taken as known.
const policyCacheFor = time.Hour

// wantsLimits reports whether the lockout policy should be read anew.
func (r *restraint) wantsLimits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.learned.IsZero() || r.now().After(r.learned.Add(policyCacheFor))
}

// learn records the lockout policy, nil if it cannot be known.
func (r *restraint) learn(limits *lockoutLimits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits, r.learned = limits, r.now()
}

// learnLimits reads over c how many wrong passwords lock an account.
func (s *server) learnLimits(c *conn, root *ldap.Entry) {
	var l *Lockout
	dn := s.d.config.PasswordPolicyDN
	switch {
	case !c.dialect.hasPolicies():
		if head := domainHead(s.d.config.BaseDN[0]); head != "" {
			if r, err := c.ldap.Search(lockoutRequest(head, domainPolicy, s.d.timeout)); err == nil && len(r.Entries) == 1 {
				l, _ = parseLockout(head, r.Entries[0], domainPolicy) // what cannot be understood is not known
			}
		}
	case root != nil && !slices.Contains(root.GetEqualFoldAttributeValues("supportedControl"), controlPolicy):
		l = &Lockout{} // a server without password policies locks nobody
	default:
		if own := ownPolicy(c, s.d.timeout); own != "" {
			dn = own
		}
		if dn == "" {
			break
		}
		if p, err := readPolicy(c.ldap.Search(policyRequest(dn, s.d.timeout))); err == nil && p != nil && p.unclear == nil {
			l = &p.locks
		}
	}
	if l == nil {
		s.d.service.learn(nil)
		return
	}
	s.d.service.learn(&lockoutLimits{l.Threshold, l.Window})
}

// ownPolicy returns the name of the password policy that the service account's
// own entry names, "" if it names none or cannot be read.
func ownPolicy(c *conn, timeout time.Duration) string {
	if _, err := ldap.ParseDN(c.as); err != nil || c.as == "" {
		return ""
	}
	r, err := c.ldap.Search(request(c.as, ldap.ScopeBaseObject, 1, timeout, "(objectClass=*)", []string{"pwdPolicySubentry"}))
	if err != nil || len(r.Entries) != 1 {
		return ""
	}
	return r.Entries[0].GetEqualFoldAttributeValue("pwdPolicySubentry")
}
