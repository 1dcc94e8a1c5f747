package iprange_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"adconnector/connector/iprange"
)

func TestPrefixText(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"network", "10.0.0.0/8", "10.0.0.0/8"},
		{"everyone of IPv4", "0.0.0.0/0", "0.0.0.0/0"},
		{"everyone of IPv6", "::/0", "::/0"},
		{"one address", "10.1.2.3", "10.1.2.3"},
		{"one address as a network", "10.1.2.3/32", "10.1.2.3"},
		{"IPv6 network", "fd00::/8", "fd00::/8"},
		{"IPv6 in long form", "FD00:0:0:0:0:0:0:0/8", "fd00::/8"},
		{"one IPv6 address", "::1", "::1"},
		{"mapped address becomes IPv4", "::ffff:10.1.2.3", "10.1.2.3"},
		{"mapped network becomes IPv4", "::ffff:10.0.0.0/104", "10.0.0.0/8"},
		{"all of the mapped ones are IPv4", "::ffff:0:0/96", "0.0.0.0/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p iprange.Prefix
			if err := p.UnmarshalText([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			if got, err := p.MarshalText(); string(got) != tt.want || err != nil {
				t.Errorf("text = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	if got := (iprange.Prefix{}).String(); got != "" {
		t.Errorf("zero value prints %q", got)
	}
}

func TestPrefixMistakesSayWhatToWrite(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"host bits", "10.1.2.3/8", "write 10.0.0.0/8 for the network or 10.1.2.3 for the one address"},
		{"IPv6 host bits", "fd00::1/8", "write fd00::/8 for the network or fd00::1 for the one address"},
		{"mapped host bits", "::ffff:10.1.2.3/104", "write 10.0.0.0/8 for the network or 10.1.2.3 for the one address"},
		{"mapped address with the length of IPv4", "::ffff:10.0.0.0/8", "write 10.0.0.0/8"},
		{"mapped address with an odd length", "::ffff:10.0.0.0/64", "write the network as IPv4"},
		{"zone", "fe80::1%eth0", `write fe80::1 without "%eth0"`},
		{"network with a zone", "fe80::%eth0/10", `write fe80::/10 without "%eth0"`},
		{"mask in place of a length", "10.0.0.0/255.0.0.0", "number of bits, 0 to 32"},
		{"too long", "10.0.0.0/33", "number of bits, 0 to 32"},
		{"too long for IPv6", "fd00::/129", "number of bits, 0 to 128"},
		{"no length", "10.0.0.0/", "number of bits"},
		{"from-to", "10.0.0.1-10.0.0.9", "is not an IP range"},
		{"octal, which systems read differently", "010.0.0.1", "is not an IP range"},
		{"name", "localhost", "is not an IP range"},
		{"nothing", "", "is not an IP range"},
		{"blank", " 10.0.0.1", "is not an IP range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p iprange.Prefix
			err := p.UnmarshalText([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
			if p != (iprange.Prefix{}) {
				t.Errorf("a refused text left %v behind", p)
			}
		})
	}
}

func TestContains(t *testing.T) {
	set := func(s ...string) *iprange.Set { return iprange.New(iprange.MustParse(s...)) }
	for _, tt := range []struct {
		name string
		set  *iprange.Set
		addr string
		want bool
	}{
		{"first of a network", set("10.0.0.0/8"), "10.0.0.0", true},
		{"last of a network", set("10.0.0.0/8"), "10.255.255.255", true},
		{"before it", set("10.0.0.0/8"), "9.255.255.255", false},
		{"behind it", set("10.0.0.0/8"), "11.0.0.0", false},
		{"a network within another", set("10.0.0.0/8", "10.1.0.0/16"), "10.200.0.1", true},
		{"two halves that touch", set("10.0.0.0/9", "10.128.0.0/9"), "10.128.0.0", true},
		{"two that begin alike", set("10.0.0.0/16", "10.0.0.0/8", "10.0.0.0/24"), "10.200.0.1", true},
		{"odd length", set("192.168.8.0/21"), "192.168.15.255", true},
		{"behind an odd length", set("192.168.8.0/21"), "192.168.16.0", false},
		{"highest address of all", set("255.255.255.255", "::1"), "255.255.255.255", true},
		{"the lowest IPv6 address is not next to the highest IPv4 one", set("255.255.255.255", "::1"), "::", false},
		{"everyone", set("0.0.0.0/0", "::/0"), "203.0.113.9", true},
		{"every IPv6 address is no IPv4 address", set("::/0"), "203.0.113.9", false},
		{"every IPv4 address is no IPv6 address", set("0.0.0.0/0"), "::1", false},
		{"mapped address is IPv4", set("10.0.0.0/8"), "::ffff:10.1.2.3", true},
		{"mapped address is not IPv6", set("::/0"), "::ffff:10.1.2.3", false},
		{"zone of a client does not matter", set("fe80::/10"), "fe80::1%eth0", true},
		{"nor for a single address", set("fe80::1"), "fe80::1%eth0", true},
		{"the same network twice", set("10.0.0.0/8", "10.0.0.0/8", "12.0.0.0/8"), "10.0.0.1", true},
		{"empty set", set(), "10.0.0.1", false},
		{"nil set", nil, "10.0.0.1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.set.Contains(netip.MustParseAddr(tt.addr)); got != tt.want {
				t.Errorf("Contains(%s) = %v, want %v", tt.addr, got, tt.want)
			}
		})
	}
	if set("0.0.0.0/0", "::/0").Contains(netip.Addr{}) {
		t.Error("an address that is none lies in a range")
	}
	if iprange.New([]iprange.Prefix{{}}).Contains(netip.IPv4Unspecified()) {
		t.Error("a range that is none holds an address")
	}
}

// FuzzContains compares the set with the loop that anybody would write. The
// ranges come from the bytes: 5 for one of IPv4, 17 for one of IPv6.
func FuzzContains(f *testing.F) {
	f.Add([]byte{4, 8, 10, 0, 0, 0, 4, 9, 10, 128, 0, 0}, []byte{10, 1, 2, 3})
	f.Add([]byte{4, 32, 255, 255, 255, 255, 6, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 16))
	f.Add([]byte{6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, ranges, address []byte) {
		a, _ := netip.AddrFromSlice(address)
		var prefixes []iprange.Prefix
		naive := false
		for len(ranges) >= 2 {
			size := 4
			if ranges[0]%2 == 0 && ranges[0] != 4 {
				size = 16
			}
			if len(ranges) < 2+size {
				break
			}
			b, _ := netip.AddrFromSlice(ranges[2 : 2+size])
			n := netip.PrefixFrom(b, int(ranges[1])%(size*8+1)).Masked()
			ranges = ranges[2+size:]
			if n.Addr().Is4In6() {
				continue
			}
			prefixes = append(prefixes, iprange.MustParse(n.String())...)
			naive = naive || n.Contains(a.Unmap())
		}
		if got := iprange.New(prefixes).Contains(a); got != naive {
			t.Errorf("Contains(%v) = %v, want %v; ranges: %v", a, got, naive, prefixes)
		}
	})
}

func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "10.1.2.3/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "::/0", "1/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var p, again iprange.Prefix
		if p.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Errorf("%q is written %q, which reads as %v, %v", s, p, again, err)
		}
	})
}

func BenchmarkContains(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("%d ranges", n), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			text := make([]string, n)
			for i := range text {
				a := binary.BigEndian.AppendUint32(nil, random.Uint32()&^0xff)
				text[i] = fmt.Sprintf("%d.%d.%d.0/24", a[0], a[1], a[2])
			}
			set := iprange.New(iprange.MustParse(text...))
			addresses := make([]netip.Addr, 1024)
			for i := range addresses {
				addresses[i] = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, random.Uint32())))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				set.Contains(addresses[i%len(addresses)])
				i++
			}
		})
	}
}
