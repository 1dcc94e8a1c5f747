// Package iprange says whether an address lies in one of the configured ranges,
// as fast for ten thousand ranges as for ten.
package iprange

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Prefix is one configured range: a network such as 10.0.0.0/8 or fd00::/8,
// or a single address. The zero value holds no address.
type Prefix struct{ p netip.Prefix }

// UnmarshalText reads a network in CIDR notation or a single address. An error
// says what to write instead.
//
// Two ways to write a range that nobody meant are refused: bits set beyond the
// prefix length, because then either the address or the length is a mistake,
// and zone identifiers, because a range is about numbers and not about a network
// card. IPv4 addresses in IPv6 notation become IPv4.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	addr, _, isNetwork := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return fmt.Errorf("%q is not an IP range: write a network such as 10.0.0.0/8 or fd00::/8, or one address such as 10.1.2.3", s)
	}
	if a.Zone() != "" {
		return fmt.Errorf("%q names a network interface: write %s without %q", s, strings.Replace(s, "%"+a.Zone(), "", 1), "%"+a.Zone())
	}
	if !isNetwork {
		a = a.Unmap()
		p.p = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is not an IP range: after the / comes the number of bits, 0 to %d", s, a.BitLen())
	}
	if network, err = canonical(network); err != nil {
		return fmt.Errorf("%q has bits set beyond its length: %w", s, err)
	}
	p.p = network
	return nil
}

// canonical turns a network of IPv4 addresses in IPv6 notation into IPv4. The
// error, if there are host bits, says what to write instead.
func canonical(n netip.Prefix) (netip.Prefix, error) {
	a, bits := n.Addr(), n.Bits()
	if a.Is4In6() {
		a = a.Unmap()
		switch {
		case bits >= 96:
			bits -= 96
		case bits <= 32: // "::ffff:10.0.0.0/8": the length was meant for IPv4
			return n, fmt.Errorf("write %s", netip.PrefixFrom(a, bits).Masked())
		default:
			return n, errors.New("write the network as IPv4, such as 10.0.0.0/8")
		}
	}
	network := netip.PrefixFrom(a, bits).Masked()
	if network.Addr() != a {
		return n, fmt.Errorf("write %s for the network or %s for the one address", network, a)
	}
	return network, nil
}

// MarshalText writes the range as [Prefix.String] does.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String returns the range as one would write it: an address alone if it is
// only one, "" for the zero value.
func (p Prefix) String() string {
	switch {
	case !p.p.IsValid():
		return ""
	case p.p.IsSingleIP():
		return p.p.Addr().String()
	}
	return p.p.String()
}

// MustParse returns the ranges that are written in s. It panics if one is not a
// range: it is for ranges that the program itself knows.
func MustParse(s ...string) []Prefix {
	ps := make([]Prefix, len(s))
	for i, text := range s {
		if err := ps[i].UnmarshalText([]byte(text)); err != nil {
			panic("iprange: " + err.Error())
		}
	}
	return ps
}

// A Set is a set of addresses made of ranges. It never changes, so it may be
// used by many goroutines. A nil set is empty.
//
// The ranges are kept as intervals which are sorted and do not overlap, IPv4
// before IPv6: a binary search finds the only one that may hold an address.
type Set struct{ intervals []interval }

// An interval holds the addresses from first to last, both included.
type interval struct{ first, last netip.Addr }

// New returns the set of all addresses in the ranges.
//
// Note that IPv4 and IPv6 are two worlds: ::/0 is every IPv6 address and holds
// no IPv4 address.
func New(ranges []Prefix) *Set {
	all := make([]interval, 0, len(ranges))
	for _, r := range ranges {
		if r.p.IsValid() {
			all = append(all, interval{r.p.Addr(), last(r.p)})
		}
	}
	slices.SortFunc(all, func(a, b interval) int { return a.first.Compare(b.first) })
	merged := all[:0]
	for _, i := range all {
		switch n := len(merged); {
		case n == 0 || merged[n-1].last.Less(i.first):
			merged = append(merged, i)
		case merged[n-1].last.Less(i.last):
			merged[n-1].last = i.last
		}
	}
	return &Set{slices.Clip(merged)}
}

// last returns the highest address of the network.
func last(n netip.Prefix) netip.Addr {
	b := n.Addr().AsSlice()
	for i := range b {
		switch host := (i+1)*8 - n.Bits(); { // how many bits of this byte, and those behind it, vary
		case host >= 8:
			b[i] = 0xff
		case host > 0:
			b[i] |= 1<<host - 1
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Contains reports whether a lies in one of the ranges. An IPv4 address in IPv6
// notation counts as IPv4, a zone does not matter, and an address that is not
// valid lies nowhere.
func (s *Set) Contains(a netip.Addr) bool {
	if s == nil || !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	// The interval before the first one that begins behind a.
	i, found := slices.BinarySearchFunc(s.intervals, a, func(i interval, a netip.Addr) int { return i.first.Compare(a) })
	return found || i > 0 && !s.intervals[i-1].last.Less(a)
}
