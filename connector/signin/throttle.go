package signin

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/setting"

	"golang.org/x/text/unicode/norm"
)

// ThrottleConfig says how many wrong passwords stop further ones from being
// tried.
type ThrottleConfig struct {
	// PerAccount counts the wrong passwords for one account, whatever the
	// spelling of its name and wherever they come from.
	PerAccount Limit `yaml:"per_account"`
	// PerAddress counts them for one address (IPv6: one /64 network), whatever
	// the account.
	PerAddress Limit `yaml:"per_address"`
	// KnownAddresses is how long an address stays known for an account after
	// its last successful sign-in from there. Known and unknown addresses have
	// failures of their own to spend, so that guessing from outside does not
	// keep the owner out. 0: all addresses are the same.
	KnownAddresses setting.Duration `yaml:"known_addresses"`
}

// A Limit is a number of failures within a sliding window: an attempt is turned
// away while that many lie less than Window back.
type Limit struct {
	Failures int              `yaml:"failures"`
	Window   setting.Duration `yaml:"window"`
}

// DefaultThrottle returns the limits that hold when none are configured.
func DefaultThrottle() ThrottleConfig {
	return ThrottleConfig{
		PerAccount: Limit{Failures: 5, Window: setting.Duration(15 * time.Minute)},
		PerAddress: Limit{Failures: 50, Window: setting.Duration(15 * time.Minute)},

		KnownAddresses: setting.Duration(30 * day),
	}
}

// Bounds of a limit. Each failure within the window is remembered, so the
// number of them bounds the memory.
const (
	maxFailures = 1000
	maxWindow   = 7 * day
	maxKnown    = 365 * day
	day         = 24 * time.Hour
)

// Validate reports everything that is wrong with c.
func (c ThrottleConfig) Validate() error {
	var p setting.Problems
	p.Under("per_account", c.PerAccount.validate())
	p.Under("per_address", c.PerAddress.validate())
	if d := c.KnownAddresses.Std(); d < 0 || d > maxKnown || d > 0 && d < day {
		p.Addf("known_addresses", "must be from 1d to %v, or 0 to treat all addresses alike, not %v", setting.Duration(maxKnown), c.KnownAddresses)
	}
	return p.Err()
}

// Lets returns how many wrong passwords for one account c lets through, from
// addresses that are known for it, from others, and from all together, where
// the directory locks accounts after threshold failures (0: never).
func (c ThrottleConfig) Lets(threshold int) (known, unknown, all int) {
	n, split := c.PerAccount.Failures, c.KnownAddresses > 0
	known, unknown, all = n, n, n
	if split {
		all = 2 * n
	}
	if threshold == 0 {
		return known, unknown, all
	}
	r := rule{split: split, lock: &lock{threshold: threshold}}
	share, most := r.budget()
	return min(known, most), min(unknown, share), min(all, most)
}

func (l Limit) validate() error {
	var p setting.Problems
	if l.Failures < 1 || l.Failures > maxFailures {
		p.Addf("failures", "must be from 1 to %d, not %d", maxFailures, l.Failures)
	}
	if l.Window.Std() <= 0 || l.Window.Std() > maxWindow {
		p.Addf("window", "must be longer than 0 and at most %v, such as 15m, not %v", setting.Duration(maxWindow), l.Window)
	}
	return p.Err()
}

// sharedSite is how many times the failures of one address the /48 of an IPv6
// address may have: whoever rents one has 65,536 networks to guess from, but a
// provider may also have put many customers there.
const sharedSite = 4

// A throttle keeps the guessing of passwords slower than the directory's own
// lockout. It counts three things: failures of the address and of the name as
// it was typed, which is known before the directory is asked, and those of the
// account that was found, which all spellings of its name share.
//
// An address is known for an account after its owner has signed in from there.
// What the directory allows before it locks is divided: guesses from elsewhere
// spend at most half of it.
type throttle struct {
	config    ThrottleConfig
	directory Directory
	log       *slog.Logger
	now       func() time.Time

	addresses, sites, names, accounts *limiter
	seed                              maphash.Seed
	known                             *knownAddresses // nil: all addresses are the same

	// usual is what the directory does for accounts in general, as far as that
	// has been seen; of several domains, the strictest. Names that nobody has are
	// treated by it, so that they look like those that somebody has.
	usual atomic.Pointer[lock]

	mu     sync.Mutex
	usuals map[string]lock // by policy
	said   map[string]bool // what has been logged, once and for all
}

func newThrottle(c ThrottleConfig, d Directory, log *slog.Logger, now func() time.Time) *throttle {
	t := &throttle{
		config:    c,
		directory: d,
		log:       log,
		now:       now,
		addresses: newLimiter("address", now),
		sites:     newLimiter("/48 network", now),
		names:     newLimiter("user name", now),
		accounts:  newLimiter("account", now),
		seed:      maphash.MakeSeed(),
		usuals:    map[string]lock{},
		said:      map[string]bool{},
	}
	if c.KnownAddresses > 0 {
		t.known = newKnownAddresses(c.KnownAddresses.Std(), now)
	}
	t.usual.Store(none)
	return t
}

// rule returns the rule for one name or account.
func (t *throttle) rule() rule { return rule{limit: t.config.PerAccount, split: t.known != nil} }

// A guess is one attempt with a password, while it is under way. It has a place
// in each of its counters before the password is sent, so that guesses made at
// the same time cannot be more than the limit allows.
type guess struct {
	throttle                     *throttle
	network                      netip.Prefix // or relay
	address, site, name, account place
}

// begin gives an attempt its place among those from address and for the typed
// name. It returns a denial if there have been too many failures.
func (t *throttle) begin(ctx context.Context, address netip.Addr, name string) (_ *guess, err error) {
	g := &guess{throttle: t, network: network(address)}
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	if err := g.countAddress(ctx); err != nil {
		return nil, err
	}
	if err := g.countName(ctx, name); err != nil {
		return nil, err
	}
	return g, nil
}

// beginRelayed is begin for an attempt that a service has passed on without the
// address it came from. The service is no address to be counted: with all of its
// users behind it, a guesser would keep out everybody.
//
// An account that has signed in through it before may spend more of what the
// directory allows than at an unknown address, for the slips of its owner, but
// not the last failure if an address is known: strangers have the same page.
func (t *throttle) beginRelayed(ctx context.Context, name string) (*guess, error) {
	g := &guess{throttle: t, network: relay}
	if err := g.countName(ctx, name); err != nil {
		g.release()
		return nil, err
	}
	return g, nil
}

func (g *guess) countAddress(ctx context.Context) error {
	t := g.throttle
	r := rule{limit: t.config.PerAddress, lock: none, about: about{network: g.network}}
	if err := t.addresses.take(ctx, t.networkKey(g.network), &r, &g.address); err != nil {
		return err
	}
	if site, ok := siteOf(g.network); ok {
		r.about.network = site
		r.limit.Failures *= sharedSite
		return t.sites.take(ctx, t.networkKey(site), &r, &g.site)
	}
	return nil
}

func (g *guess) countName(ctx context.Context, name string) error {
	t := g.throttle
	key := t.nameKey(name)
	r := t.rule()
	r.lock, r.about = t.usual.Load(), about{name: key}
	if t.known.anybodys(g.network) {
		// From where anybody is known, names are counted apart: nobody there must
		// be kept out by what strangers typed.
		key, r.known = t.keyFrom(key, g.network), true
	}
	return t.names.take(ctx, key, &r, &g.name)
}

func (t *throttle) networkKey(n netip.Prefix) uint64 { return maphash.Comparable(t.seed, n) }

// nameKey returns the key of a typed name. Names are kept as a keyed hash: they
// may be long, and nobody needs to find what people type, now and then a
// password, in a memory dump.
func (t *throttle) nameKey(name string) uint64 {
	return maphash.String(t.seed, foldName(t.directory.NormaliseName(name)))
}

func (t *throttle) accountKey(id string) uint64 { return maphash.String(t.seed, id) }

// keyFrom returns the key of a name as it is typed in one network.
func (t *throttle) keyFrom(name uint64, n netip.Prefix) uint64 {
	return maphash.Comparable(t.seed, struct {
		name    uint64
		network netip.Prefix
	}{name, n})
}

// aim gives the attempt its place among those for the account that was found. An
// attempt that gets none has failed for its address and its name, although no
// password was tried: one for an unknown name has too, and what is left of the
// guesses must not tell the two apart.
//
// The denial is AccountLocked if the directory has locked the account: it would
// refuse any password, and asking it costs it work.
func (g *guess) aim(ctx context.Context, a *ldapauth.Account) error {
	t := g.throttle
	l, err := t.lockOf(ctx, a)
	if err != nil {
		return err
	}
	r := t.rule()
	r.lock, r.about = l, about{account: a.ID, username: a.Username}
	known, others := t.known.knows(a.ID, g.network)
	r.reserve = known || others
	if g.network == relay {
		r.familiar, r.elsewhere = known, others
	} else {
		r.known = known
	}
	key := t.accountKey(a.ID)
	g.name.leadsTo(key)
	return t.accounts.take(ctx, key, &r, &g.account)
}

// lockOf returns what the directory does about wrong passwords for a. If that
// cannot be known the configured limits stand alone: it must not keep a out.
func (t *throttle) lockOf(ctx context.Context, a *ldapauth.Account) (*lock, error) {
	l, err := t.directory.Lockout(ctx, a)
	switch {
	case errors.Is(err, ldapauth.ErrNoLockoutPolicy):
		t.once("", "nobody knows how many wrong passwords the directory allows before it locks an account; if it locks accounts, set ldap.password_policy_dn, or keep password.throttle.per_account below that number")
		return none, nil
	case err != nil:
		if ctx.Err() == nil {
			t.once(err.Error(), "it cannot be read how many wrong passwords the directory allows before it locks an account; password.throttle.per_account stands alone", "err", err)
		}
		return none, nil
	case l.Locked != nil:
		return nil, l.Locked
	}
	if l.Hidden != "" {
		t.once(l.Hidden, "a fine-grained password policy is hidden from the service account, so the domain's number of wrong passwords is taken for its own; let the service account read it", "policy", l.Hidden)
	}
	if l.Threshold == 1 {
		t.once(l.Policy, "the directory locks an account after a single wrong password, so no password can be tried without locking somebody out; let it lock after 10 or so", "policy", l.Policy)
	}
	k := &lock{threshold: l.Threshold, window: l.Window, prolonged: l.Prolonged}
	if l.Usual {
		t.learnUsual(l.Policy, *k)
	}
	k.failures, k.asOf, k.until = l.Failures, l.AsOf, l.Until
	return k, nil
}

// maxUsuals is more than anybody has domains.
const maxUsuals = 1000

// learnUsual keeps what a policy does for accounts in general.
func (t *throttle) learnUsual(policy string, k lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.usuals[policy]; ok && old == k || !ok && len(t.usuals) >= maxUsuals {
		return
	}
	t.usuals[policy] = k
	strictest := *none
	for _, x := range t.usuals {
		if x.threshold > 0 && (strictest.threshold == 0 || x.threshold < strictest.threshold) {
			strictest = x
		}
	}
	t.usual.Store(&strictest)
}

// maxSaid bounds what is remembered to have been logged.
const maxSaid = 100

// once logs a warning that has not been logged about the same thing.
func (t *throttle) once(about, text string, args ...any) {
	t.mu.Lock()
	said := t.said[text+about]
	if !said && len(t.said) < maxSaid {
		t.said[text+about] = true
	}
	full := len(t.said) >= maxSaid
	t.mu.Unlock()
	if !said && !full {
		t.log.Warn("password.throttle: "+text, args...)
	}
}

// failed is how many failures this attempt comes after, as far as anybody may
// learn: those for the name as it was typed, and those of an address that has
// made half of what it may. What the account has is not among them.
func (g *guess) failed() int {
	return max(g.name.failed, g.address.failed-g.throttle.config.PerAddress.Failures/2)
}

// wrong counts a failure wherever none of the other outcomes has been counted.
func (g *guess) wrong() {
	g.address.fail()
	g.site.fail()
	g.name.fail()
	g.account.fail()
}

// right clears what the account and the name have failed before. The failures
// of the address stay: knowing one password must not buy guesses at others.
func (g *guess) right() {
	g.address.release()
	g.site.release()
	g.name.clear()
	g.account.clear()
}

// unknown is for a password that was sent without an answer: the directory may
// have counted it, so the account's counter does.
func (g *guess) unknown(ctx context.Context) {
	g.account.fail()
	g.void(ctx)
}

// void is for an attempt that got no answer from the directory. The address is
// not to blame for a directory that does not work, but it is for a request that
// ended before the answer: whoever resets his requests must not guess for free.
func (g *guess) void(ctx context.Context) {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errProofLate) {
		g.address.fail()
		g.site.fail()
	}
	g.release()
}

// release gives back the places that the attempt still has.
func (g *guess) release() {
	g.address.release()
	g.site.release()
	g.name.release()
	g.account.release()
}

// network returns what counts as one address: whoever has an IPv6 address has
// its whole /64.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address at all; those share the zero prefix
	return p
}

// siteOf returns the /48 that an IPv6 network is in.
func siteOf(n netip.Prefix) (site netip.Prefix, ok bool) {
	if !n.Addr().Is6() {
		return netip.Prefix{}, false
	}
	site, err := n.Addr().Prefix(48)
	return site, err == nil
}

// foldName makes spellings equal that directories hold to be equal: letter
// case, the width of letters, and blanks around and between.
func foldName(name string) string {
	name = strings.ToLower(strings.ToUpper(norm.NFKC.String(name)))
	return strings.Join(strings.Fields(name), " ")
}
