package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// A Lockout is what the directory itself does about wrong passwords for an
// account, and how far it has come.
type Lockout struct {
	// Threshold is the number of failures that lock the account; 0: no number
	// does.
	Threshold int
	// Window is how long a failure counts, at most [Forever]. A right password
	// ends it sooner.
	Window time.Duration
	// Prolonged says that a failure lets those before it count on: all are
	// forgotten together, Window after the last. Else each goes by itself.
	Prolonged bool
	// Duration is how long the account stays locked, at most [Forever]: until
	// an administrator ends it.
	Duration time.Duration
	// Policy is the DN of the entry that says so. Usual says that it holds for
	// accounts in general and not just for this one.
	Policy string
	Usual  bool
	// Hidden is the DN of the policy that holds in truth, if the service account
	// does not see it. The rest is then that of the domain.
	Hidden string

	// Failures is how many count now, in the eyes of the server that was asked,
	// whoever made them. AsOf is a moment before it was asked, and Until is when
	// there will be fewer; the zero time if that is not known.
	Failures    int
	AsOf, Until time.Time
	// Locked is a denial if the account is certainly locked, so that no password
	// is worth trying.
	Locked error
}

// Forever is the duration of what has no end.
const Forever = time.Duration(math.MaxInt64)

// ErrNoLockoutPolicy is in the chain of an error that says that no password
// policy is known to hold. Many directories that are not Active Directory have
// none.
var ErrNoLockoutPolicy = errors.New("no password policy is named, neither by the entry nor by ldap.password_policy_dn")

// clockMargin is how much longer than its policy says the directory is taken to
// count failures, because its clock and ours may be that far apart before
// [Directory.Check] warns of it.
const clockMargin = maxSkew / 5

// Lockout returns what the directory does about wrong passwords for a. The
// policies are remembered, and the count came with the account, so that there
// is seldom anything to ask.
//
// The error says why that cannot be known. It is no reason to keep a out.
func (d *Directory) Lockout(ctx context.Context, a *Account) (Lockout, error) {
	l, err := d.lockoutPolicy(ctx, a)
	if err != nil {
		return Lockout{}, fmt.Errorf("how many wrong passwords lock %q: %w", a.DN, err)
	}
	now := d.now()
	l.AsOf = a.asked
	if a.dialect.hasPolicies() {
		l.countTimes(a, now)
	} else {
		l.countDown(a, now)
	}
	if err := a.dialect.locked(a, now); denial.ReasonOf(err) == denial.AccountLocked {
		l.Locked = fmt.Errorf("account %q: %w", a.DN, err)
	}
	return l, nil
}

// UsualLockout returns what the directory does about wrong passwords for
// accounts to which nothing special applies.
func (d *Directory) UsualLockout(ctx context.Context) (Lockout, error) {
	base := d.config.BaseDN[0]
	_, di, err := d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request(base, ldap.ScopeBaseObject, 1, d.timeout, "(objectClass=*)", []string{"1.1"})
	})
	if err != nil {
		return Lockout{}, fmt.Errorf("reading %q: %w", base, inWords(err))
	}
	return d.lockoutPolicy(ctx, &Account{DN: base, dialect: di, entry: &ldap.Entry{}})
}

// lockoutPolicy returns what holds for a, without any count.
func (d *Directory) lockoutPolicy(ctx context.Context, a *Account) (Lockout, error) {
	if !a.dialect.hasPolicies() {
		return d.domainLockout(ctx, a)
	}
	named := a.First("pwdPolicySubentry")
	p := a.policy
	if p == nil && named == "" && d.config.PasswordPolicyDN != "" {
		var err error
		if p, err = d.policyOf(ctx, a); err != nil {
			return Lockout{}, err
		}
	}
	switch {
	case p != nil:
		l := p.locks
		l.Usual = named == ""
		return l, p.unclear
	case named != "":
		return Lockout{}, fmt.Errorf("the password policy %q cannot be read: let the service account read it", named)
	}
	return Lockout{}, ErrNoLockoutPolicy
}

// Where Active Directory says what locks an account: the head of the domain,
// and entries for some of its people ([MS-ADTS], 3.1.1.4.5.36), which only
// domain administrators see unless others are allowed to.
var (
	domainPolicy = lockoutAttributes{"domainDNS", "lockoutThreshold", "lockOutObservationWindow", "lockoutDuration"}
	finePolicy   = lockoutAttributes{"msDS-PasswordSettings", "msDS-LockoutThreshold", "msDS-LockoutObservationWindow", "msDS-LockoutDuration"}
)

type lockoutAttributes struct{ class, threshold, window, duration string }

// domainLockout returns what a domain of Active Directory does.
func (d *Directory) domainLockout(ctx context.Context, a *Account) (Lockout, error) {
	hidden := a.First("msDS-ResultantPSO")
	if hidden != "" {
		l, err := d.readLockout(ctx, hidden, finePolicy)
		if l != nil || err != nil {
			return orZero(l), err
		}
	}
	head := domainHead(a.DN)
	if head == "" {
		return Lockout{}, fmt.Errorf("its DN does not say which domain it is in")
	}
	l, err := d.readLockout(ctx, head, domainPolicy)
	if err == nil && l == nil {
		err = fmt.Errorf("lockoutThreshold of %q cannot be read: let the service account read it", head)
	}
	if err != nil {
		return Lockout{}, err
	}
	found := *l
	found.Usual, found.Hidden = hidden == "", hidden
	return found, nil
}

func orZero(l *Lockout) Lockout {
	if l == nil {
		return Lockout{}
	}
	return *l
}

// domainHead returns the DN of the domain that an entry of Active Directory is
// in: what its DN ends with.
func domainHead(dn string) string {
	head := ""
	for rest := dn; rest != ""; {
		i := strings.LastIndexByte(rest, ',')
		if len(rest) < i+4 || !strings.EqualFold(rest[i+1:i+4], "DC=") || i > 0 && rest[i-1] == '\\' {
			break
		}
		head, rest = dn[i+1:], rest[:max(i, 0)]
	}
	return head
}

// readLockout returns what the entry at dn says, nil if the service account
// does not see it. What was true once is taken for true while the directory
// does not answer.
func (d *Directory) readLockout(ctx context.Context, dn string, from lockoutAttributes) (*Lockout, error) {
	l, fresh := d.lockouts.get(dn, d.now())
	if fresh {
		return l, nil
	}
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest { return lockoutRequest(dn, from, d.timeout) })
	switch {
	case err == nil && len(result.Entries) == 1:
		if l, err = parseLockout(dn, result.Entries[0], from); err != nil {
			return nil, err
		}
	case err == nil, ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultReferral):
		l = nil
	default:
		if l, ok := d.lockouts.stale(dn); ok {
			return l, nil
		}
		return nil, fmt.Errorf("reading %q: %w", dn, inWords(err))
	}
	d.lockouts.put(dn, l, d.now())
	return l, nil
}

// lockoutRequest returns the search for what the entry at dn says.
func lockoutRequest(dn string, from lockoutAttributes, timeout time.Duration) *ldap.SearchRequest {
	return request(dn, ldap.ScopeBaseObject, 1, timeout, "(objectClass="+from.class+")", []string{from.threshold, from.window, from.duration})
}

// defaultWindow is Active Directory's, for one that is not shown.
const defaultWindow = 30 * time.Minute

// parseLockout reads an entry of Active Directory; nil if it does not show the
// threshold.
func parseLockout(dn string, e *ldap.Entry, from lockoutAttributes) (*Lockout, error) {
	a := &Account{entry: e}
	if a.First(from.threshold) == "" {
		return nil, nil
	}
	l := &Lockout{Policy: dn, Prolonged: true, Window: defaultWindow, Duration: Forever}
	threshold, err := a.integer(from.threshold)
	if err != nil {
		return nil, err
	}
	l.Threshold = int(min(max(threshold, 0), math.MaxInt32))
	for _, x := range []struct {
		attribute string
		value     *time.Duration
	}{{from.window, &l.Window}, {from.duration, &l.Duration}} {
		if a.First(x.attribute) == "" {
			continue
		}
		n, err := a.integer(x.attribute)
		if err != nil {
			return nil, err
		}
		*x.value = interval(n)
	}
	return l, nil
}

// interval returns a time span as Active Directory writes it: a negative number
// of steps of 100 ns.
func interval(n int64) time.Duration {
	const step = 100 * time.Nanosecond
	switch {
	case n >= 0:
		return 0
	case n <= -int64(Forever/step):
		return Forever
	}
	return time.Duration(-n) * step
}

// countDown takes the count of an entry of Active Directory, which stays as it
// is when it counts no more.
func (l *Lockout) countDown(a *Account, now time.Time) {
	n, err := a.integer("badPwdCount")
	if err != nil || n <= 0 {
		return
	}
	last, err := a.integer("badPasswordTime")
	if err == nil && last > 0 && l.Window < Forever {
		l.Until = fileTime(last).Add(l.Window + clockMargin)
		if !now.Before(l.Until) {
			l.Until = time.Time{}
			return
		}
	}
	l.Failures = int(min(n, math.MaxInt32))
}

// countTimes counts the failures of which the password policy overlay has kept
// the times. What cannot be read counts.
func (l *Lockout) countTimes(a *Account, now time.Time) {
	for _, v := range a.Values("pwdFailureTime") {
		t, ok := generalizedTime(v)
		if !ok || l.Window == Forever {
			l.Failures++
			continue
		}
		until := t.Add(l.Window + clockMargin)
		if !now.Before(until) {
			continue
		}
		l.Failures++
		if l.Until.IsZero() || until.Before(l.Until) {
			l.Until = until
		}
	}
}
