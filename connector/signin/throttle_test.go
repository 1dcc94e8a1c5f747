package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

func limit(failures int, window time.Duration) Limit {
	return Limit{Failures: failures, Window: setting.Duration(window)}
}

// A limited is a limiter with one rule for everybody.
type limited struct {
	*limiter
	rule rule
}

func newLimited(what string, r rule, now func() time.Time) *limited {
	r.lock = none
	return &limited{newLimiter(what, now), r}
}

func (l *limited) take(ctx context.Context, key uint64) (*place, error) {
	p := &place{}
	return p, l.limiter.take(ctx, key, &l.rule, p)
}

// tried makes n attempts that fail and returns how many of them were let
// through.
func tried(t testing.TB, l *limited, key uint64, n int) int {
	t.Helper()
	through := 0
	for range n {
		p, err := l.take(t.Context(), key)
		if err == nil {
			p.fail()
			through++
		} else if denial.ReasonOf(err) != denial.Throttled {
			t.Fatalf("take: %v, want a denial with the reason throttled", err)
		}
	}
	return through
}

func TestLimiterWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited("account", rule{limit: limit(3, 10*time.Minute)}, time.Now)
		for _, step := range []struct {
			after          time.Duration
			tries, through int
		}{
			{0, 1, 1},
			{6 * time.Minute, 5, 2},                 // failed at 0:00, 6:00, 6:00
			{4*time.Minute - time.Nanosecond, 5, 0}, // the first is not ten minutes old
			{time.Nanosecond, 5, 1},                 // it is: 6:00, 6:00, 10:00
			{6*time.Minute - time.Nanosecond, 5, 0},
			{time.Nanosecond, 1, 1}, // 6:00 twice is over: 10:00, 16:00
			{time.Minute, 5, 1},     // 10:00, 16:00, 17:00
			{time.Hour, 5, 3},
		} {
			time.Sleep(step.after)
			if got := tried(t, l, 1, step.tries); got != step.through {
				t.Errorf("%v later %d of %d attempts went through, want %d", step.after, got, step.tries, step.through)
			}
		}
	})
}

func TestLimiterKeysAreApart(t *testing.T) {
	l := newLimited("account", rule{limit: limit(2, time.Minute)}, time.Now)
	if a, b := tried(t, l, 1, 5), tried(t, l, 2, 5); a != 2 || b != 2 {
		t.Errorf("%d and %d attempts went through, want 2 for each key", a, b)
	}
}

func TestLimiterOutcomes(t *testing.T) {
	l := newLimited("account", rule{limit: limit(3, time.Minute)}, time.Now)
	take := func() *place {
		t.Helper()
		p, err := l.take(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for range 10 {
		take().release()
	}
	tried(t, l, 1, 2)
	take().clear()
	if got := tried(t, l, 1, 5); got != 3 {
		t.Errorf("after a success %d attempts went through, want 3", got)
	}
	l = newLimited("account", rule{limit: limit(1, time.Minute)}, time.Now)
	p := take()
	p.release()
	p.fail() // too late: the first outcome counts
	if got := tried(t, l, 1, 2); got != 1 {
		t.Errorf("%d attempts went through, want 1", got)
	}
}

// Fifty guesses at once must not be more than the limit allows, and whoever
// knows the password must not be turned away because others sign in too.
func TestLimiterParallel(t *testing.T) {
	const parallel = 50
	run := func(outcome func(*place)) (sent int32) {
		synctest.Test(t, func(t *testing.T) {
			l := newLimited("account", rule{limit: limit(5, time.Minute)}, time.Now)
			var wg sync.WaitGroup
			var n atomic.Int32
			for range parallel {
				wg.Go(func() {
					p, err := l.take(t.Context(), 1)
					if err != nil {
						return
					}
					n.Add(1)
					time.Sleep(time.Second) // the directory takes its time
					outcome(p)
				})
			}
			wg.Wait()
			sent = n.Load()
		})
		return sent
	}
	if got := run((*place).fail); got != 5 {
		t.Errorf("%d of %d wrong passwords were sent, want 5", got, parallel)
	}
	if got := run((*place).clear); got != parallel {
		t.Errorf("%d of %d right passwords were sent, want all", got, parallel)
	}
	if got := run((*place).release); got != parallel {
		t.Errorf("%d of %d attempts that came to nothing were made, want all", got, parallel)
	}
}

func TestLimiterWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited("account", rule{limit: limit(1, time.Minute)}, time.Now)
		first, err := l.take(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range maxWaiting {
			wg.Go(func() {
				if _, err := l.take(ctx, 1); !errors.Is(err, context.Canceled) {
					t.Errorf("waiting ended with %v, want the end of the context", err)
				}
			})
		}
		synctest.Wait()
		if _, err := l.take(t.Context(), 1); denial.ReasonOf(err) != denial.Throttled {
			t.Errorf("one more than may wait: %v, want throttled", err)
		}
		cancel()
		wg.Wait()
		first.release()
		if got := tried(t, l, 1, 2); got != 1 {
			t.Errorf("after all that %d attempts went through, want 1", got)
		}
	})
}

func TestLimiterMemoryIsBounded(t *testing.T) {
	l := newLimited("user name", rule{limit: limit(3, time.Hour)}, time.Now)
	for key := range uint64(maxCounters + 1000) {
		tried(t, l, key, 1)
	}
	if n := l.counters.Len(); n != maxCounters {
		t.Errorf("%d counters are kept, want %d", n, maxCounters)
	}
	l = newLimited("user name", rule{limit: limit(3, time.Hour)}, time.Now)
	for key := range uint64(1000) {
		p, err := l.take(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		p.clear()
	}
	if n := l.counters.Len(); n != 0 {
		t.Errorf("%d counters are kept of attempts that did not fail, want none", n)
	}
}

// unlimited is a directory that locks nobody.
type unlimited struct{ Directory }

func (unlimited) Lockout(context.Context, *ldapauth.Account) (ldapauth.Lockout, error) {
	return ldapauth.Lockout{Usual: true}, nil
}

func (unlimited) NormaliseName(name string) string { return name }

func newTestThrottle(c ThrottleConfig) *throttle {
	return newThrottle(c, unlimited{}, slog.New(slog.DiscardHandler), time.Now)
}

// Whoever goes away while he waits for others with the same account has had the
// directory searched.
func TestWaitingThatIsGivenUpCountsAtTheAddress(t *testing.T) {
	th := newTestThrottle(ThrottleConfig{PerAccount: limit(1, time.Minute), PerAddress: limit(3, time.Minute)})
	try := func(ctx context.Context, address, name string) (*guess, error) {
		g, err := th.begin(ctx, netip.MustParseAddr(address), name)
		if err != nil {
			return nil, err
		}
		return g, g.aim(ctx, &ldapauth.Account{ID: "the account"})
	}
	if _, err := try(t.Context(), "192.0.2.1", "jon"); err != nil { // and is under way from here on
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 4 {
		g, err := try(gone, "192.0.2.2", fmt.Sprint("jon", i))
		if (denial.ReasonOf(err) == denial.Throttled) != (i == 3) || err == nil {
			t.Errorf("attempt %d: %v; want throttled from the fourth on", i+1, err)
		}
		if g != nil {
			g.wrong()
		}
	}
}

func TestNetwork(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		a, b := network(netip.MustParseAddr(tt.a)), network(netip.MustParseAddr(tt.b))
		if (a == b) != tt.same {
			t.Errorf("network(%s) = %v, network(%s) = %v; the same: want %t", tt.a, a, tt.b, b, tt.same)
		}
	}
	if got := network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("requests without an address must share a counter, but have %v", got)
	}
}

func TestFoldName(t *testing.T) {
	for _, same := range [][]string{
		{"jon", "Jon", "JON ", " jon", "\tjon\n", "ｊｏｎ", "ＪＯＮ", "jon\u00a0"},
		{"zoë", "ZOË", "zoe\u0308"},
		{"jon smith", "Jon  Smith", "JON\u3000SMITH"},
		{"σοφος", "ΣΟΦΟΣ", "σοφος"},
	} {
		for _, name := range same {
			if got, want := foldName(name), foldName(same[0]); got != want {
				t.Errorf("foldName(%q) = %q, want %q as for %q", name, got, want, same[0])
			}
		}
	}
	for _, name := range []string{"jon2", "jo", "jon@fabrikam.example", `FABRIKAM\jon`, "j on", ""} {
		if foldName(name) == foldName("jon") {
			t.Errorf("foldName(%q) is that of another user", name)
		}
	}
}

func TestThrottleConfigValidate(t *testing.T) {
	if err := DefaultThrottle().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	err := ThrottleConfig{PerAccount: limit(0, time.Minute), PerAddress: limit(1001, -1), KnownAddresses: setting.Duration(time.Hour)}.Validate()
	for _, key := range []string{"per_account.failures: ", "per_address.failures: ", "per_address.window: ", "known_addresses: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Validate = %v, want a line for %s", err, key)
		}
	}
	if n := len(setting.Split(err)); n != 4 {
		t.Errorf("%d mistakes were found, want 4: %v", n, err)
	}
}

func BenchmarkThrottle(b *testing.B) {
	t := newTestThrottle(DefaultThrottle())
	address := netip.MustParseAddr("192.0.2.1")
	jon := &ldapauth.Account{ID: "7edef5f9-a868-48ef-8000-000000000001"}
	t.known.learn(jon.ID, network(address))
	b.ReportAllocs()
	for b.Loop() {
		g, err := t.begin(b.Context(), address, "jon")
		if err != nil {
			b.Fatal(err)
		}
		if err := g.aim(b.Context(), jon); err != nil {
			b.Fatal(err)
		}
		g.right()
	}
}

func BenchmarkThrottleFull(b *testing.B) {
	t := newTestThrottle(DefaultThrottle())
	names, r := make([]string, maxCounters+1), t.rule()
	r.lock = none
	for i := range names {
		names[i] = fmt.Sprint("user", i)
		tried(b, &limited{t.names, r}, uint64(i), 1)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g, err := t.begin(b.Context(), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), names[i%len(names)])
		if err != nil {
			b.Fatal(err)
		}
		g.void(b.Context())
	}
}
