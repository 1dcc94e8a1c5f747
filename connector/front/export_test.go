package front

import (
	"crypto/tls"
	"net"
	"net/netip"
)

// SourceOf is what handshakes from the address are counted by.
func SourceOf(addr string) netip.Addr {
	a := netip.MustParseAddr(addr)
	return sourceOf(address(&net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()}))
}

// InProgress is how many handshakes are.
func (f *Front) InProgress() int {
	f.limits.mu.Lock()
	defer f.limits.mu.Unlock()
	return f.limits.sum
}

// ConfigFor is the config for a connection from the address.
func (f *Front) ConfigFor(remote net.Addr) *tls.Config {
	c, _ := f.config(remote)
	return c
}
