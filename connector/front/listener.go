package front

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Listen returns a listener whose connections are of type [*tls.Conn] and have
// their handshake behind them, so that an HTTP server knows at once which
// protocol was agreed on. Handshakes run beside one another, within the limits:
// a connection beyond them is closed unheard.
//
// Close closes inner as well, breaks handshakes off and waits until all that
// Listen started has ended. Connections that were accepted stay open.
func (f *Front) Listen(inner net.Listener) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{Listener: inner, ready: make(chan accepted), done: ctx.Done(), cancel: cancel}
	l.work.Go(func() { l.run(ctx, f) })
	return l
}

type listener struct {
	net.Listener
	ready  chan accepted
	done   <-chan struct{}
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

func (l *listener) run(ctx context.Context, f *Front) {
	defer l.cancel() // inner may have been closed by itself
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The server decides, as it would without us, whether the error
			// is one to wait for. Until then it does not call Accept, and we
			// wait with it.
			if !l.hand(ctx, accepted{err: err}) {
				return
			}
			continue
		}
		source := sourceOf(address(conn.RemoteAddr()))
		if ok, tell := f.limits.enter(source); !ok {
			_ = conn.Close()
			if tell > 0 {
				f.log.Warn("connections closed: too many TLS handshakes in progress", "remote", conn.RemoteAddr().String(), "closed", tell)
			}
			continue
		}
		l.work.Go(func() {
			defer f.limits.leave(source)
			if c, err := f.handshake(ctx, conn); err == nil && !l.hand(ctx, accepted{conn: c}) {
				_ = conn.Close()
			}
		})
	}
}

// hand gives a to a call of Accept and reports whether there was one before the
// end.
func (l *listener) hand(ctx context.Context, a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-ctx.Done():
		return false
	}
}

// Accept waits for a connection with a finished handshake.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close does what [Front.Listen] says.
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.cancel()
	l.work.Wait()
	return err
}

// sourceOf returns what handshakes are counted by: the address, or the /64
// network that an IPv6 address is in, because whoever has one of its addresses
// has them all.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		network, _ := a.Prefix(64)
		return network.Addr()
	}
	return a
}

// limits count handshakes in progress.
type limits struct {
	perSource, total int

	mu       sync.Mutex
	sources  map[netip.Addr]int
	sum      int
	closed   int // since the last time that it was told
	toldLast time.Time
}

// enter reports whether one more handshake may begin. If not, tell is how many
// were turned away since it was last told, or 0 if that was less than a minute
// ago: whoever opens connections by the thousand must not fill the log.
func (l *limits) enter(source netip.Addr) (ok bool, tell int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum < l.total && l.sources[source] < l.perSource {
		l.sum++
		l.sources[source]++
		return true, 0
	}
	l.closed++
	if now := time.Now(); now.Sub(l.toldLast) > time.Minute {
		tell, l.closed, l.toldLast = l.closed, 0, now
	}
	return false, tell
}

func (l *limits) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum--
	if l.sources[source]--; l.sources[source] == 0 {
		delete(l.sources, source)
	}
}
