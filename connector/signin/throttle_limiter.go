package signin

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxCounters is how many accounts, names and addresses are remembered, of
	// each kind. Whoever failed longest ago is forgotten first; the kinds have
	// room of their own, so that made-up names cannot push out an account.
	maxCounters = 100_000
	// maxWaiting is how many attempts wait for the outcome of others with the
	// same key (see [limiter.take]) before further ones are turned away.
	maxWaiting = 128
)

// A rule says how many failures a key may have.
type rule struct {
	// limit is as configured. If split is set, known and unknown addresses have
	// that many each; known is the kind that this attempt is from.
	limit        Limit
	split, known bool
	// familiar says that the attempt was relayed for an account that has signed in
	// so before, and elsewhere that it has done so from addresses as well.
	familiar, elsewhere bool
	// reserve leaves the last failure that the directory allows to the known
	// addresses: there are some.
	reserve bool
	lock    *lock
	about   about
}

// none is the lock of a directory that does nothing about failures.
var none = &lock{}

// A lock is what the directory does about failures.
type lock struct {
	threshold int           // that many lock the account; 0: none
	window    time.Duration // how long each of them counts
	prolonged bool          // all of them count until window has passed since the last

	failures int       // that it counted, whoever made them
	asOf     time.Time // before it was asked
	until    time.Time // when it will count fewer; zero: not known
}

// budget returns how many failures may come from addresses of the rule's kind,
// and how many from all together, so that the directory does not lock.
func (r *rule) budget() (own, all int) {
	all = r.lock.threshold - 1
	if !r.split || r.known {
		return all, all
	}
	own = min(all, max(1, all/2))
	reserve := r.reserve
	if r.familiar {
		own, reserve = all, r.elsewhere
	}
	if reserve && all > 1 {
		all--
	}
	return own, all
}

// about is what a counter stands for, as far as that may be kept.
type about struct {
	network           netip.Prefix
	account, username string
	name              uint64 // the key of a name, from wherever it was typed
}

// A limiter counts failures by key.
type limiter struct {
	what  string // what a key stands for, in words
	now   func() time.Time
	epoch time.Time // from which failures are dated

	mu       sync.Mutex
	counters *simplelru.LRU[uint64, *counter]
}

// A counter is what is remembered of one key.
type counter struct {
	failed  []failure     // oldest first
	pending [2]int32      // attempts whose outcome is not known yet, from unknown and from known addresses
	waiting int32         // attempts that wait for one of those
	reserve bool          // as in the rule of the last attempt
	lock    *lock         // likewise
	settled chan struct{} // closed when an outcome is known; nil if nobody waits
	about   about
	leadsTo uint64 // of a name: the key of the account that it led to
}

// A failure is one wrong password: when it was made, in nanoseconds after the
// epoch, and in the lowest bit whether it came from a known address. There may
// be many, so they are kept small.
type failure int64

func (l *limiter) failure(known bool) failure {
	return failure(l.now().Sub(l.epoch)<<1) | failure(kind(known))
}

func (f failure) at() time.Duration { return time.Duration(f >> 1) }

func (f failure) known() bool { return f&1 == 1 }

func newLimiter(what string, now func() time.Time) *limiter {
	counters, err := simplelru.NewLRU[uint64, *counter](maxCounters, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &limiter{what: what, now: now, epoch: now(), counters: counters}
}

// take gives p a place under key: the right to one attempt. It is a denial if r
// allows none. If it would allow none should all attempts under way fail, take
// waits until that is known: people who know their passwords do not pay for
// signing in at the same time.
func (l *limiter) take(ctx context.Context, key uint64, r *rule, p *place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		c, now := l.counter(key, &r.about), l.now().Sub(l.epoch)
		c.reserve, c.lock = r.reserve, r.lock
		c.forget(r, now)
		tallies := l.tallies(c, r, now)
		busy := false
		for i := range tallies {
			if t := &tallies[i]; t.failed >= t.most {
				l.drop(key, c) // the directory may have counted all of them elsewhere
				return l.refuse(i, t, r)
			}
			busy = busy || tallies[i].failed+tallies[i].pending >= tallies[i].most
		}
		if !busy {
			c.pending[kind(r.known)]++
			*p = place{limiter: l, key: key, counter: c, known: r.known, failed: tallies[byLimit].failed}
			return nil
		}
		if c.waiting >= maxWaiting {
			return denial.New(denial.Throttled, "%d attempts for this %s at the same time", c.pending[0]+c.pending[1]+c.waiting, l.what)
		}
		if err := l.wait(ctx, c); err != nil {
			return fmt.Errorf("waiting for other attempts for this %s: %w", l.what, err)
		}
	}
}

func kind(known bool) int {
	if known {
		return 1
	}
	return 0
}

// What there are tallies of.
const (
	byLimit = iota // failures from addresses of this kind, against the configured limit
	byShare        // the same, against their share of what the directory allows
	byLock         // failures from everywhere, against all that it allows
)

// A tally is how far the failures under a key have come towards one bound.
type tally struct {
	failed, pending, most int
	until                 time.Time // when failed will be smaller; zero: nobody knows
}

// tallies returns how far the failures of c have come.
func (l *limiter) tallies(c *counter, r *rule, now time.Duration) (t [3]tally) {
	pending := int(c.pending[kind(r.known)])
	t[byLimit] = tally{most: r.limit.Failures, pending: pending}
	window := r.limit.Window.Std()
	for _, f := range c.failed {
		if f.known() == r.known && f.at() > now-window {
			if t[byLimit].failed++; t[byLimit].failed == 1 {
				t[byLimit].until = l.epoch.Add(f.at() + window)
			}
		}
	}
	t[byShare].most, t[byLock].most = math.MaxInt, math.MaxInt
	if r.lock.threshold == 0 {
		return t
	}
	t[byShare].most, t[byLock].most = r.budget()
	t[byShare].pending, t[byLock].pending = pending, int(c.pending[0]+c.pending[1])
	counted, later := c.failed[r.lock.first(c.failed, now):], 0
	asOf := r.lock.asOf.Sub(l.epoch)
	for _, f := range counted {
		if f.known() == r.known {
			t[byShare].failed++
		}
		if f.at() >= asOf {
			later++
		}
	}
	if r.known || !r.split {
		t[byShare].failed = 0 // no share: the whole
	}
	// The directory has counted ours too, but for those that came after it was
	// asked; and the servers of one directory do not all count the same.
	t[byLock].failed = max(len(counted), r.lock.failures+later)
	until := r.lock.until
	if own := l.end(r.lock, counted); len(counted) > 0 && (own.IsZero() || own.After(until)) {
		until = own
	}
	t[byShare].until, t[byLock].until = until, until
	return t
}

// first returns the index of the first failure that the directory still counts.
func (k *lock) first(failed []failure, now time.Duration) int {
	i := len(failed)
	if k.threshold == 0 {
		return i
	}
	for next := now; i > 0 && next-failed[i-1].at() < k.window; i-- {
		if k.prolonged {
			next = failed[i-1].at()
		}
	}
	return i
}

// end returns when the directory will count fewer than these; the zero time if
// it forgets none.
func (l *limiter) end(k *lock, counted []failure) time.Time {
	if len(counted) == 0 || k.window == ldapauth.Forever {
		return time.Time{}
	}
	decisive := counted[0]
	if k.prolonged {
		decisive = counted[len(counted)-1]
	}
	return l.epoch.Add(decisive.at()).Add(k.window)
}

// refuse says which tally leaves no attempt.
func (l *limiter) refuse(which int, t *tally, r *rule) error {
	next := "none is possible until a right password is used elsewhere or an administrator clears the failures"
	if !t.until.IsZero() {
		next = fmt.Sprintf("the next attempt is possible in %v", t.until.Sub(l.now()).Round(time.Second))
	}
	switch {
	case which == byLimit:
		return denial.New(denial.Throttled, "%d failures for this %s within %v; %s", t.failed, l.what, r.limit.Window, next)
	case r.lock.threshold == 1:
		return denial.New(denial.Throttled, "the directory locks accounts after a single wrong password, so none can be tried: let it lock after 10 or so (lockoutThreshold, pwdMaxFailure)")
	case which == byShare:
		return denial.New(denial.Throttled, "%d failures for this %s from unknown addresses, which may make %d of the %d that lock it in the directory; %s", t.failed, l.what, t.most, r.lock.threshold, next)
	}
	return denial.New(denial.Throttled, "%d failures count for this %s, and %d lock it in the directory; %s", t.failed, l.what, r.lock.threshold, next)
}

// counter returns the counter of key, a new one if there is none.
func (l *limiter) counter(key uint64, a *about) *counter {
	c, ok := l.counters.Get(key)
	if !ok {
		c = &counter{about: *a}
		l.counters.Add(key, c)
	}
	return c
}

// forget drops the failures that count no more, neither here nor in the
// directory.
func (c *counter) forget(r *rule, now time.Duration) {
	since, n := now-r.limit.Window.Std(), 0
	for n < len(c.failed) && c.failed[n].at() <= since {
		n++
	}
	if n = min(n, r.lock.first(c.failed, now)); n > 0 {
		c.failed = append(c.failed[:0], c.failed[n:]...)
	}
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
		return context.Cause(ctx)
	}
}

// A place is the right to one attempt. The first outcome that it is told
// counts; the zero value has none to tell.
type place struct {
	limiter *limiter
	key     uint64
	counter *counter
	known   bool
	failed  int // how many failures it comes after
}

// leadsTo says which account the name of this place belongs to.
func (p *place) leadsTo(account uint64) {
	if p.limiter == nil {
		return
	}
	p.limiter.mu.Lock()
	defer p.limiter.mu.Unlock()
	p.counter.leadsTo = account
}

// fail counts the attempt as a failure.
func (p *place) fail() {
	p.settle(func(l *limiter, c *counter) { c.failed = append(c.failed, l.failure(p.known)) })
}

// release counts the attempt as nothing.
func (p *place) release() { p.settle(func(*limiter, *counter) {}) }

// clear counts the attempt as a success: what failed before is forgotten.
func (p *place) clear() { p.settle(func(_ *limiter, c *counter) { c.failed = nil }) }

func (p *place) settle(outcome func(*limiter, *counter)) {
	l, c := p.limiter, p.counter
	if l == nil {
		return
	}
	p.limiter = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	c.pending[kind(p.known)]--
	outcome(l, c)
	if c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
	l.drop(p.key, c)
}

// drop forgets a counter that has nothing to remember. The caller holds the lock.
func (l *limiter) drop(key uint64, c *counter) {
	if len(c.failed) > 0 || c.pending != [2]int32{} || c.waiting > 0 {
		return
	}
	if current, ok := l.counters.Peek(key); ok && current == c {
		l.counters.Remove(key)
	}
}
