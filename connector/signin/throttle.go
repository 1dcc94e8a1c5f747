package signin

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"

	"github.com/hashicorp/golang-lru/v2/simplelru"
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
	}
}

// Bounds of a limit. Each failure within the window is remembered, so the
// number of them bounds the memory.
const (
	maxFailures = 1000
	maxWindow   = 7 * 24 * time.Hour
)

// Validate reports everything that is wrong with c.
func (c ThrottleConfig) Validate() error {
	var p setting.Problems
	p.Under("per_account", c.PerAccount.validate())
	p.Under("per_address", c.PerAddress.validate())
	return p.Err()
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

const (
	// maxCounters is how many accounts, names and addresses are remembered, of
	// each kind. Whoever failed longest ago is forgotten first; the kinds have
	// room of their own, so that made-up names cannot push out an account.
	maxCounters = 100_000
	// maxWaiting is how many attempts wait for the outcome of others with the
	// same key (see [limiter.take]) before further ones are turned away.
	maxWaiting = 128
)

// A throttle keeps the guessing of passwords slower than the directory's own
// lockout. It counts three things: failures of the address and of the name as
// it was typed, which is known before the directory is asked, and those of the
// account that was found, which all spellings of its name share.
type throttle struct {
	addresses, names, accounts *limiter
	seed                       maphash.Seed
}

func newThrottle(c ThrottleConfig, now func() time.Time) *throttle {
	return &throttle{
		addresses: newLimiter("address", c.PerAddress, now),
		names:     newLimiter("user name", c.PerAccount, now),
		accounts:  newLimiter("account", c.PerAccount, now),
		seed:      maphash.MakeSeed(),
	}
}

// A guess is one attempt with a password, while it is under way. It has a place
// in each of its counters before the password is sent, so that guesses made at
// the same time cannot be more than the limit allows.
type guess struct {
	throttle               *throttle
	address, name, account *place
}

// begin gives an attempt its place among those from address and for the typed
// name. It returns a denial if there have been too many failures.
func (t *throttle) begin(ctx context.Context, address netip.Addr, name string) (*guess, error) {
	g := &guess{throttle: t}
	var err error
	if g.address, err = t.addresses.take(ctx, maphash.Comparable(t.seed, network(address))); err != nil {
		return nil, err
	}
	// Names are kept as a keyed hash: they may be long, and nobody needs to
	// find what people type, now and then a password, in a memory dump.
	if g.name, err = t.names.take(ctx, maphash.String(t.seed, foldName(name))); err != nil {
		g.address.release()
		return nil, err
	}
	return g, nil
}

// aim gives the attempt its place among those for the account that was found. An
// attempt that gets none has failed for its address and its name, although no
// password was tried: one for an unknown name has too, and what is left of the
// guesses must not tell the two apart.
func (g *guess) aim(ctx context.Context, accountID string) (err error) {
	g.account, err = g.throttle.accounts.take(ctx, maphash.String(g.throttle.seed, accountID))
	return err
}

// wrong counts a failure wherever none of the other outcomes has been counted.
func (g *guess) wrong() {
	g.address.fail()
	g.name.fail()
	g.account.fail()
}

// right clears what the account and the name have failed before. The failures
// of the address stay: knowing one password must not buy guesses at others.
func (g *guess) right() {
	g.address.release()
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
	if ctx.Err() != nil {
		g.address.fail()
	}
	g.address.release()
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

// foldName makes spellings equal that directories hold to be equal: letter
// case, the width of letters, and blanks around and between.
func foldName(name string) string {
	name = strings.ToLower(strings.ToUpper(norm.NFKC.String(name)))
	return strings.Join(strings.Fields(name), " ")
}

// A limiter counts failures by key over a sliding window.
type limiter struct {
	what  string // what a key stands for, in words
	limit Limit
	now   func() time.Time

	mu       sync.Mutex
	counters *simplelru.LRU[uint64, *counter]
}

// A counter is what is remembered of one key.
type counter struct {
	failed  []time.Time   // oldest first
	pending int           // attempts whose outcome is not known yet
	waiting int           // attempts that wait for one of those
	settled chan struct{} // closed when an outcome is known; nil if nobody waits
}

func newLimiter(what string, l Limit, now func() time.Time) *limiter {
	counters, err := simplelru.NewLRU[uint64, *counter](maxCounters, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &limiter{what: what, limit: l, now: now, counters: counters}
}

// take returns a place under key: the right to one attempt. It is a denial if
// the limit has been reached. If it would be reached should all attempts under
// way fail, take waits until that is known: people who know their passwords do
// not pay for signing in at the same time.
func (l *limiter) take(ctx context.Context, key uint64) (*place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		c := l.counter(key)
		l.forget(c)
		if len(c.failed) >= l.limit.Failures {
			return nil, denial.New(denial.Throttled, "%d failures for this %s within %v; the next attempt is possible in %v",
				len(c.failed), l.what, l.limit.Window, c.failed[0].Add(l.limit.Window.Std()).Sub(l.now()).Round(time.Second))
		}
		if len(c.failed)+c.pending < l.limit.Failures {
			c.pending++
			return &place{limiter: l, key: key, counter: c}, nil
		}
		if c.waiting >= maxWaiting {
			return nil, denial.New(denial.Throttled, "%d attempts for this %s at the same time", c.pending+c.waiting, l.what)
		}
		if err := l.wait(ctx, c); err != nil {
			return nil, fmt.Errorf("waiting for other attempts for this %s: %w", l.what, err)
		}
	}
}

// counter returns the counter of key, a new one if there is none.
func (l *limiter) counter(key uint64) *counter {
	c, ok := l.counters.Get(key)
	if !ok {
		c = &counter{}
		l.counters.Add(key, c)
	}
	return c
}

// forget drops the failures that the window has passed.
func (l *limiter) forget(c *counter) {
	since, n := l.now().Add(-l.limit.Window.Std()), 0
	for n < len(c.failed) && !c.failed[n].After(since) {
		n++
	}
	c.failed = append(c.failed[:0], c.failed[n:]...)
}

// wait gives up the lock until an attempt under way has an outcome.
func (l *limiter) wait(ctx context.Context, c *counter) error {
	if c.settled == nil {
		c.settled = make(chan struct{})
	}
	settled := c.settled
	c.waiting++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		c.waiting--
	}()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A place is the right to one attempt. The first outcome that it is told
// counts; nil has none to tell.
type place struct {
	limiter *limiter
	key     uint64
	counter *counter
	done    bool
}

// fail counts the attempt as a failure.
func (p *place) fail() {
	p.settle(func(c *counter) { c.failed = append(c.failed, p.limiter.now()) })
}

// release counts the attempt as nothing.
func (p *place) release() { p.settle(func(*counter) {}) }

// clear counts the attempt as a success: what failed before is forgotten.
func (p *place) clear() { p.settle(func(c *counter) { c.failed = nil }) }

func (p *place) settle(outcome func(*counter)) {
	if p == nil || p.done {
		return
	}
	p.done = true
	l, c := p.limiter, p.counter
	l.mu.Lock()
	defer l.mu.Unlock()
	c.pending--
	outcome(c)
	if c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
	if len(c.failed) > 0 || c.pending > 0 || c.waiting > 0 {
		return
	}
	if current, ok := l.counters.Peek(p.key); ok && current == c {
		l.counters.Remove(p.key)
	}
}
