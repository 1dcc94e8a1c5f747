package revocation

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/denial"
)

const (
	// fetchTimeout is how long one place has to deliver a list. A sign-in does
	// not wait that long; the list serves the next one.
	fetchTimeout = time.Minute
	// Places that fail are asked again after a while, which doubles each time.
	firstBackoff = 10 * time.Second
	lastBackoff  = 10 * time.Minute
	// tick is how often the background looks for what is due.
	tick = 5 * time.Second
	// idle is how long a list is fetched anew for nobody.
	idle = 7 * 24 * time.Hour
)

// A source is a distribution point of an authority, with the list that it gave.
type source struct {
	id        digest
	authority *authority
	point
	delta bool

	list    atomic.Pointer[list]         // nil: none yet; its signature has been checked
	problem atomic.Pointer[denial.Error] // why the last fetch was none
	used    atomic.Int64                 // when it was last needed, seconds

	mu       sync.Mutex
	flight   *flight   // the fetch under way
	loaded   bool      // the cache has been looked at
	next     time.Time // no fetch before
	failures int
	fetched  time.Time
}

// A flight is something under way that several may wait for.
type flight struct{ done chan struct{} }

// landed reports whether all flights have ended.
func landed(flights []*flight) bool {
	return !slices.ContainsFunc(flights, func(f *flight) bool {
		select {
		case <-f.done:
			return false
		default:
			return true
		}
	})
}

// land ends f and wakes whoever waits.
func (s *Store) land(f *flight) {
	close(f.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// launch runs fly in the background unless the store is closed.
func (s *Store) launch(f *flight, fly func()) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if closed {
		close(f.done)
		return
	}
	go func() {
		defer s.wg.Done()
		defer s.land(f)
		fly()
	}()
}

// startLists starts to fetch what l needs and returns what is under way.
func (s *Store) startLists(l *link) []*flight {
	var flights []*flight
	for _, src := range s.sourcesOf(l) {
		if f := s.start(src); f != nil {
			flights = append(flights, f)
		}
	}
	return flights
}

// sourcesOf returns the sources that l names, full lists first.
func (s *Store) sourcesOf(l *link) []*source {
	var all []*source
	for _, r := range l.lists {
		all = append(all, r.source)
	}
	return append(all, l.deltas...)
}

// start starts to fetch the list of src, if it is due. It returns what is under
// way, nil if nothing is. One that worked and has no list that counts is due, as
// after [Store.forget], or when the clock was put right or the machine slept.
func (s *Store) start(src *source) *flight {
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.flight != nil {
		return src.flight
	}
	if now := s.now(); now.Before(src.next) && (src.failures > 0 || src.current(now)) {
		return nil
	}
	f := &flight{make(chan struct{})}
	src.flight = f
	s.launch(f, func() { s.fly(src) })
	return f
}

// current reports whether src has a list that counts now.
func (src *source) current(now time.Time) bool {
	l := src.list.Load()
	return l != nil && l.current(now)
}

// fly fetches the list of src: at the first time from the cache, else from where
// it is. A delta list that the list itself names belongs to it.
func (s *Store) fly(src *source) {
	s.mu.Lock()
	s.keep(src)
	s.mu.Unlock()
	err := s.get(src)
	l := src.list.Load() // once: see forget
	if l != nil && !src.delta {
		for _, d := range s.deltasOf(src, l) {
			d.used.Store(src.used.Load())
			if f := s.start(d); f != nil {
				<-f.done
			}
		}
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	src.flight = nil
	now := s.now()
	if err != nil {
		src.failures++
		src.next = now.Add(backoff(src.failures, s.config.Refresh.Std()))
		s.report(src, err)
		src.problem.Store(err)
		return
	}
	if src.failures > 0 {
		s.log.Info("a revocation list can be had again", "urls", strings.Join(src.urls, " "), "issuer", src.authority.name)
	}
	src.failures = 0
	src.problem.Store(nil)
	if l != nil {
		src.next = src.fetched.Add(s.until(l, now))
	}
}

// report logs that src failed: the first time aloud, then softly.
func (s *Store) report(src *source, err *denial.Error) {
	if s.ctx.Err() != nil {
		return // the store is closed
	}
	log := s.log.Warn
	if src.failures > 1 && src.problem.Load() != nil && src.problem.Load().Reason == err.Reason {
		log = s.log.Debug
	}
	log("a revocation list cannot be had or used; the one before counts until it ends", "reason", err.Reason, "err", err.Err,
		"issuer", src.authority.name, "failures", src.failures, "next_try", src.next.UTC())
}

// deltasOf returns the sources of the delta lists to l, which src gave.
func (s *Store) deltasOf(src *source, l *list) []*source {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*source
	for _, p := range l.freshest {
		all = append(all, s.source(src.authority, p, true))
	}
	return all
}

// until returns how long after a fetch the next one is due: Config.Refresh, or
// half of the time that is left of the list, whichever is sooner, and a little
// less each time so that not all of them come at once.
func (s *Store) until(l *list, now time.Time) time.Duration {
	d := min(s.config.Refresh.Std(), l.nextUpdate.Sub(now)/2)
	return jitter(max(d, firstBackoff))
}

// backoff returns how long to wait after that many failures in a row.
func backoff(failures int, most time.Duration) time.Duration {
	d := firstBackoff << min(failures-1, 10)
	return jitter(min(d, lastBackoff, most))
}

// jitter takes up to a tenth off d.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}

// get puts a list into src, from the cache if it has not been looked at.
func (s *Store) get(src *source) *denial.Error {
	src.mu.Lock()
	loaded := src.loaded
	src.loaded = s.fetch != nil // without a fetcher the cache is all there is
	src.mu.Unlock()
	if !loaded && s.load(src) {
		return nil
	}
	if s.fetch == nil {
		return &denial.Error{Reason: denial.RevocationUnknown, Err: fmt.Errorf("%s: %w", strings.Join(src.urls, ", "), errOffline)}
	}
	leave := enter(s.ctx, src.authority.slots.lists, s.slots.lists)
	if leave == nil {
		return denial.New(denial.CRLUnreachable, "%w", s.ctx.Err())
	}
	defer leave()
	var all []*denial.Error
	for _, u := range src.urls {
		data, err := s.getFrom(u)
		if err == nil {
			if err = s.take(src, u, data); err == nil {
				return nil
			}
		}
		all = append(all, err)
	}
	reason, texts := worst(all)
	return denial.New(reason, "%s", strings.Join(texts, "; "))
}

func (s *Store) getFrom(u string) ([]byte, *denial.Error) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	data, err := s.fetch(ctx, Request{URL: u, Limit: int64(s.config.MaxSize)})
	if err != nil {
		return nil, denial.New(denial.CRLUnreachable, "%s: %w", u, err)
	}
	return data, nil
}

// take makes the list in data the one of src, if it is one, by the right
// authority, and no older than the one before. A list that has ended already is
// taken, since what it says is revoked is revoked, and is an error all the same.
func (s *Store) take(src *source, u string, data []byte) *denial.Error {
	now := s.now()
	held := src.list.Load()
	if held == nil || held.digest != sha256.Sum256(data) {
		l, err := s.accept(src, data)
		if err != nil {
			return &denial.Error{Reason: err.Reason, Err: fmt.Errorf("%s: %w", u, err.Err)}
		}
		s.put(src, l)
		if held = l; l.current(now) {
			s.save(src, u, now, data)
		}
	}
	if !held.current(now) {
		return denial.New(denial.CRLExpired, "%s: the %s was good from %s to %s, and the clock here says %s", u, held.name(),
			held.thisUpdate.Format(time.RFC3339), held.nextUpdate.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	src.mu.Lock()
	src.fetched = now
	src.mu.Unlock()
	return nil
}

// accept reads and judges a list for src.
func (s *Store) accept(src *source, data []byte) (*list, *denial.Error) {
	unusable := func(format string, args ...any) (*list, *denial.Error) {
		return nil, denial.New(denial.CRLUnusable, format, args...)
	}
	lists, err := parseLists(data)
	switch {
	case err != nil:
		return unusable("what came %w", err)
	case len(lists) != 1:
		return unusable("what came holds %d lists and not one", len(lists))
	}
	l := lists[0]
	if err := src.authority.vouches(l); err != nil {
		return nil, asDenial(err)
	}
	switch {
	case l.delta() && !src.delta:
		return unusable("a delta list (to number %s) came where a full list should be", decimal(l.base))
	case !l.delta() && src.delta:
		return unusable("a full list came where a delta list should be")
	case l.delta() && l.number == nil:
		return unusable("a delta list came that has no number")
	case len(l.scope.names) > 0 && !share(l.scope.names, src.names):
		return unusable("the %s is for another distribution point", l.name())
	}
	if now := s.now(); l.thisUpdate.After(now.Add(skew)) {
		return nil, denial.New(denial.CRLExpired, "the %s begins on %s, and the clock here says %s", l.name(),
			l.thisUpdate.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if held := src.list.Load(); held != nil && l.older(held) {
		return nil, denial.New(denial.CRLReplayed, "the %s came, which is older than the %s that is held: this may be an attempt to undo a revocation", l.name(), held.name())
	}
	l.signed = signed{} // has done its duty
	if l.delta() && !s.continues(src.authority, l) {
		s.log.Warn("a delta list continues no list that is held and is of no use by itself", "issuer", src.authority.name,
			"list", l.name(), "base", decimal(l.base))
	}
	return l, nil
}

// continues reports whether there is a full list of a that the delta list d
// continues.
func (s *Store) continues(a *authority, d *list) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		if l := src.list.Load(); src.authority == a && l != nil && !l.delta() && l.continuedBy(d) {
			return true
		}
	}
	return slices.ContainsFunc(a.held.Load().files, func(l *list) bool { return l.continuedBy(d) })
}

// put makes l the list of src.
func (s *Store) put(src *source, l *list) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src.list.Store(l)
	s.rebuild(src.authority)
	s.log.Info("revocation list taken", "issuer", src.authority.name, "list", l.name(), "entries", l.entries.count,
		"this_update", l.thisUpdate, "next_update", l.nextUpdate)
}

// Run fetches lists anew before they end, until ctx does.
func (s *Store) Run(ctx context.Context) {
	if s.fetch == nil {
		return
	}
	s.tidy()
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, src := range s.due() {
			s.start(src)
		}
	}
}

// due returns the sources in use. Those whose time has not come do not start.
func (s *Store) due() []*source {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.now().Add(-idle).Unix()
	var all []*source
	for _, src := range s.sources {
		if src.used.Load() >= since {
			all = append(all, src)
		}
	}
	return all
}

// use notes that src is needed. It writes once in a second: many processors read
// what lies beside it.
func (src *source) use(at int64) {
	if src.used.Load() != at {
		src.used.Store(at)
	}
}

// inUse notes that l's sources are needed, and has an answer renewed that is
// getting old.
func (s *Store) inUse(l *link, now time.Time, a answer, asked bool) {
	at := now.Unix()
	for i := range l.lists {
		l.lists[i].use(at)
	}
	for _, d := range l.deltas {
		d.use(at)
	}
	if asked && a.status != unknown && !now.Before(a.again) {
		s.ask(l)
	}
}
