package front

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
)

// SourceOf is what handshakes from the address are counted by.
func SourceOf(addr string) netip.Prefix {
	a := netip.MustParseAddr(addr)
	return sourceOf(address(&net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()}))
}

// InProgress is how many handshakes are.
func (f *Front) InProgress() int { return f.handshakes.taken() }

// Open is how many connections are.
func (f *Front) Open() int { return f.connections.taken() }

// taken is how many places are, those included that were taken from somebody
// who has not left yet.
func (l *limits) taken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.count + l.ending
}

// ConfigFor is the config for a connection from the address.
func (f *Front) ConfigFor(remote net.Addr) *tls.Config {
	c, _ := f.config(remote)
	return c
}

// Limits are limits.
type Limits struct{ *limits }

// NewLimits returns limits that log nothing.
func NewLimits(perSource, total int) Limits {
	return Limits{newLimits(perSource, total, "", slog.New(slog.DiscardHandler))}
}

// Enter returns how to leave, or nil for a connection that is turned away.
func (l Limits) Enter(from netip.Addr, conn net.Conn) (leave func()) {
	p := l.enter(from, conn)
	if p == nil {
		return nil
	}
	return func() { l.leave(p) }
}

// Empty reports whether nothing is remembered of anybody.
func (l Limits) Empty() bool {
	return l.taken() == 0 && len(l.nodes) == 0 && len(l.all.children) == 0
}
