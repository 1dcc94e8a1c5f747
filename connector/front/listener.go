package front

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Listen returns a listener whose connections are of type [*tls.Conn] and have
// their handshake behind them, so that an HTTP server knows at once which
// protocol was agreed on. Handshakes run beside one another.
//
// Connections are counted from here until they are closed. When there are too
// many, or too many handshakes, the oldest of the source that has most is closed
// for one from elsewhere, and one more of that source is closed unheard.
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
		c := f.count(conn)
		if c == nil {
			_ = conn.Close()
			continue
		}
		l.work.Go(func() {
			secured, err := f.handshake(ctx, c)
			f.handshakes.leave(c.handshake)
			if err == nil && !l.hand(ctx, accepted{conn: secured}) {
				_ = c.Close()
			}
		})
	}
}

// counted is a connection that has its place among the open ones until it is
// closed, and one among the handshakes until its own is done.
type counted struct {
	net.Conn
	front           *Front
	open, handshake *place
}

// count returns the connection with its places, or nil if there are none for it.
func (f *Front) count(conn net.Conn) *counted {
	from := address(conn.RemoteAddr())
	handshake := f.handshakes.enter(from, conn)
	if handshake == nil {
		return nil
	}
	open := f.connections.enter(from, conn)
	if open == nil {
		f.handshakes.leave(handshake)
		return nil
	}
	return &counted{Conn: conn, front: f, open: open, handshake: handshake}
}

// Close may be called more than once, as [tls.Conn] and servers do.
func (c *counted) Close() error {
	err := c.Conn.Close()
	c.front.connections.leave(c.open)
	return err
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
