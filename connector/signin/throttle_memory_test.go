package signin

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"adconnector/ldapauth"
)

// Guesses at ever other names, accounts and networks, and as many sign-ins from
// ever other addresses, must not take more memory than a machine can spare. This
// many fill everything; after that nothing grows.
func TestMemoryIsBounded(t *testing.T) {
	const most = 256 << 20
	th := newTestThrottle(DefaultThrottle())
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	address := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i), byte(i >> 8), byte(i)})
	}
	for i := range maxKnownAddresses + maxCounters {
		g, err := th.begin(t.Context(), address(i), fmt.Sprint("made up ", i))
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
		if err := g.aim(t.Context(), &ldapauth.Account{ID: id, Username: fmt.Sprint("user", i)}); err != nil {
			t.Fatal(err)
		}
		g.wrong()
		th.known.learn(id, network(address(i)))
	}
	got := heap() - before
	t.Logf("%d MB", got>>20)
	if got > most {
		t.Errorf("%d MB, want at most %d", got>>20, most>>20)
	}
	for _, l := range []*limiter{th.accounts, th.names, th.addresses, th.sites} {
		if n := l.counters.Len(); n != maxCounters {
			t.Errorf("%d counts of each %s, want %d", n, l.what, maxCounters)
		}
	}
	if th.known.count > maxKnownAddresses || len(th.known.networks) > maxKnownAddresses {
		t.Errorf("%d known addresses in %d networks, want at most %d", th.known.count, len(th.known.networks), maxKnownAddresses)
	}
	runtime.KeepAlive(th)
}

func BenchmarkKnown(b *testing.B) {
	k := newKnownAddresses(30*day, time.Now)
	n := network(netip.MustParseAddr("192.0.2.1"))
	b.ReportAllocs()
	for b.Loop() {
		k.learn("7edef5f9-a868-48ef-8000-000000000001", n)
		k.knows("7edef5f9-a868-48ef-8000-000000000001", n)
	}
}

// A list of everything holds up guesses for as long as it takes.
func BenchmarkThrottleReportFull(b *testing.B) {
	t := newTestThrottle(DefaultThrottle())
	for i := range maxCounters {
		g, err := t.begin(b.Context(), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint(i))
		if err != nil {
			b.Fatal(err)
		}
		if err := g.aim(b.Context(), &ldapauth.Account{ID: fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
		g.wrong()
	}
	s := &Service{throttle: t}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.ThrottleReport()
	}
}
