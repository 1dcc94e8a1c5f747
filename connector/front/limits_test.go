package front_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"adconnector/connector/front"
)

// A guest is a connection that only knows where it comes from and whether it
// was closed.
type guest struct {
	net.Conn
	from   netip.Addr
	closed bool
	leave  func()
}

func (g *guest) Close() error         { g.closed = true; return nil }
func (g *guest) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(g.from, 1)) }

// A house holds guests within limits, and remembers them in the order in which
// they came.
type house struct {
	front.Limits
	guests []*guest
}

// enter reports whether one more guest was let in, and who had to leave for it.
func (h *house) enter(from string) (ok bool, loser *guest) {
	g := &guest{from: netip.MustParseAddr(from)}
	if g.leave = h.Enter(g.from, g); g.leave != nil {
		h.guests = append(h.guests, g)
	}
	for i, other := range h.guests {
		if other.closed {
			h.guests = slices.Delete(h.guests, i, i+1)
			other.leave()
			return g.leave != nil, other
		}
	}
	return g.leave != nil, nil
}

// count is how many guests come from the network.
func (h *house) count(network netip.Prefix) (n int) {
	for _, g := range h.guests {
		if network.Contains(g.from) {
			n++
		}
	}
	return n
}

// oldest returns whoever came first from the network.
func (h *house) oldest(network netip.Prefix) *guest {
	return h.guests[slices.IndexFunc(h.guests, func(g *guest) bool { return network.Contains(g.from) })]
}

// TestA10_LimitsAreFair lets people come and go at random and looks at every
// decision with a list instead of a tree.
func TestA10_LimitsAreFair(t *testing.T) {
	const perSource, total = 8, 24
	random := rand.New(rand.NewPCG(1, 2))
	h := &house{Limits: front.NewLimits(perSource, total)}
	seen := map[string]int{}
	for step := range 20_000 {
		if len(h.guests) > 0 && random.IntN(8) == 0 {
			i := random.IntN(len(h.guests))
			h.guests[i].leave()
			h.guests[i].leave() // once more does nothing
			h.guests = slices.Delete(h.guests, i, i+1)
			continue
		}
		from := fmt.Sprintf("10.0.0.%d", random.IntN(1+step/500%12))
		before := &house{guests: slices.Clone(h.guests)}
		own := before.count(front.SourceOf(from))
		most := 0
		for _, g := range before.guests {
			most = max(most, before.count(front.SourceOf(g.from.String())))
		}
		ok, loser := h.enter(from)
		switch {
		case own == perSource:
			seen["source full"]++
			if ok || loser != nil {
				t.Fatalf("%s has %d and got one more", from, own)
			}
		case len(before.guests) < total:
			seen["room"]++
			if !ok || loser != nil {
				t.Fatalf("there is room for %s: let in = %v, closed = %v", from, ok, loser)
			}
		case own == most:
			seen["has most"]++
			if ok || loser != nil {
				t.Fatalf("%s has most, %d: let in = %v, closed = %v", from, own, ok, loser)
			}
		default:
			seen["room made"]++
			if !ok || loser == nil {
				t.Fatalf("%s has %d, others have %d: let in = %v, closed = %v", from, own, most, ok, loser)
			}
			source := front.SourceOf(loser.from.String())
			if n := before.count(source); n != most || loser != before.oldest(source) {
				t.Fatalf("closed one of %d of %v; want the oldest of one that has %d", n, source, most)
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("seen only %v", seen)
	}
	for _, g := range h.guests {
		g.leave()
	}
	if !h.Empty() {
		t.Error("all have left and yet something is remembered")
	}
}

// TestA10_ANetworkOfIPv6CountsOnce: a /48 is what one customer gets, or one
// tunnel, and it has 65536 networks that count as one source each.
func TestA10_ANetworkOfIPv6CountsOnce(t *testing.T) {
	const total = 32
	h := &house{Limits: front.NewLimits(8, total)}
	// from is the address of guest i in the network, each in a /64 of its own.
	from := func(network string, i int) string { return fmt.Sprintf("2001:db8:%s:%x::1", network, i) }
	let := func(addr string, want bool, loser string) {
		t.Helper()
		ok, lost := h.enter(addr)
		if ok != want || (lost != nil) != (loser != "") || lost != nil && lost.from != netip.MustParseAddr(loser) {
			t.Fatalf("%s: let in = %v, closed = %v; want %v, %q", addr, ok, lost, want, loser)
		}
	}
	for i := range total / 2 {
		let(from("a", i), true, "")
	}
	let(from("a", 100), true, from("a", 0)) // half of all is a network's most
	let("2001:db8:a:1::2", false, "")       // and it has the most of that network

	for i := range total / 4 {
		let(from("b", i), true, "")
		let(fmt.Sprintf("10.0.0.%d", i), true, "")
	}
	let("10.0.1.1", true, from("a", 1))    // full: who has most, counted by networks, has to leave
	let(from("c", 1), true, from("a", 2))  // from anywhere else
	let(from("b", 99), true, from("a", 3)) // and b has less than a
	let(from("a", 200), true, from("a", 4))
	if n := len(h.guests); n != total {
		t.Errorf("%d guests, want %d", n, total)
	}
	for _, g := range h.guests {
		g.leave()
	}
	if !h.Empty() {
		t.Error("all have left and yet something is remembered")
	}
}

// TestA10_WhoHasToLeaveIsWaitedFor: a place that was taken away is not free
// without end before its holder has left.
func TestA10_WhoHasToLeaveIsWaitedFor(t *testing.T) {
	l := front.NewLimits(4, 4)
	var leave []func()
	for i := range 8 {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		if leave = append(leave, l.Enter(addr, &guest{from: addr})); leave[i] == nil {
			t.Fatalf("number %d was turned away", i)
		}
	}
	late := netip.MustParseAddr("10.0.0.9")
	if l.Enter(late, &guest{from: late}) != nil {
		t.Fatal("let in while 4 of 4 others are still leaving")
	}
	leave[0]()
	leave[0]()
	if leave = append(leave, l.Enter(late, &guest{from: late})); leave[8] == nil {
		t.Fatal("turned away although one has left")
	}
	for _, f := range leave {
		f()
	}
	if !l.Empty() {
		t.Error("all have left and yet something is remembered")
	}
}

// BenchmarkEnterAndLeave is what the limits cost each connection: with nobody
// else there, and when they are full of as many sources as they hold.
func BenchmarkEnterAndLeave(b *testing.B) {
	b.Run("empty", func(b *testing.B) {
		l := front.NewLimits(256, 2048)
		g := &guest{from: netip.MustParseAddr("10.0.0.1")}
		b.ReportAllocs()
		for b.Loop() {
			l.Enter(g.from, g)()
		}
	})
	b.Run("full", func(b *testing.B) {
		const total = 16384
		l := front.NewLimits(1024, total)
		guests := make([]*guest, 2*total)
		for i := range guests {
			guests[i] = &guest{from: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
		}
		leave := make([]func(), len(guests))
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if old := leave[i]; old != nil {
				old()
			}
			leave[i] = l.Enter(guests[i].from, guests[i])
			next := (i + total) % len(guests) // whose place was just taken
			if leave[next] != nil {
				leave[next]()
				leave[next] = nil
			}
			i = (i + 1) % len(guests)
		}
	})
}
