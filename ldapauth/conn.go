package ldapauth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// maxMessage is the largest message that is read from a directory. An entry is
// one message: ours ask for no photos and no members, so even one with
// thousands of groups stays well below. Without a bound a broken entry is as
// much memory as somebody put into it.
const maxMessage = 4 << 20

var (
	errTooLarge = fmt.Errorf("the directory sent an entry of more than %d MiB", maxMessage>>20)
	errNotLDAP  = errors.New("the server does not speak LDAP on this port: check the URL's scheme (ldap:// or ldaps://) and port")
)

// deadAfter is how long the other side may acknowledge nothing until the system
// gives a connection up, be it that the machine is gone or that a firewall
// forgot the connection.
const deadAfter = 5 * time.Second

// newDialer returns a dialer whose connections notice within [deadAfter] that the
// other side is gone: idle ones by keep-alive, others by [limitSilence].
func newDialer(r *net.Resolver) *net.Dialer {
	return &net.Dialer{
		Resolver:        r,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			if e := c.Control(func(fd uintptr) { err = limitSilence(fd) }); e != nil {
				return e
			}
			return err
		},
	}
}

// conn is one connection to a directory server.
//
// It is either a service connection, bound once and shared by any number of
// searches, or a bind connection, which does nothing but binds.
type conn struct {
	ldap    *ldap.Conn
	guard   *guard
	raw     net.Conn  // below TLS
	dialect *dialect  // of a service connection
	as      string    // of a service connection: as whom the server knows it
	made    time.Time // by the directory's clock; of a service connection
	// paging has room for one search that is answered page by page: OpenLDAP
	// knows on each connection how far it was with one alone, and refuses to go on
	// with others.
	paging chan struct{}

	mu      sync.Mutex
	users   int   // requests under way
	busy    int64 // monotonic time since when users is not zero
	retired bool  // gets no further requests; closed when users is zero
}

// dial connects to s, encrypts as config says and returns a connection on which
// nothing has been said yet. Everything ends when ctx does. The error says what
// to change.
func (s *server) dial(ctx context.Context, config *tls.Config) (*conn, error) {
	raw, err := s.d.dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return nil, s.explainDial(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	nc, err := secure(ctx, raw, s.address, config, s.d.config.StartTLS)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, s.explainDial(ctx, err)
	}
	g := &guard{Conn: nc, timeout: s.d.timeout, server: &s.heard}
	g.heard.Store(monotonic())
	c := &conn{ldap: ldap.NewConn(g, s.tls || s.d.config.StartTLS), guard: g, raw: raw, paging: make(chan struct{}, 1)}
	c.ldap.SetTimeout(s.d.timeout)
	c.ldap.Start()
	return c, nil
}

// secure returns raw with TLS on it, if there is to be any.
func secure(ctx context.Context, raw net.Conn, a address, config *tls.Config, startTLS bool) (net.Conn, error) {
	if !a.tls && !startTLS {
		return raw, nil
	}
	if !a.tls {
		if err := requestTLS(raw); err != nil {
			return nil, fmt.Errorf("start_tls: %w", err)
		}
	}
	config = config.Clone()
	config.ServerName = a.host
	t := tls.Client(raw, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// startTLSRequest is message 1, an extended request with the name of StartTLS
// (RFC 4511, section 4.14.1).
var startTLSRequest = func() []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", ""))
	p.AppendChild(op)
	return p.Bytes()
}()

// requestTLS asks the server to go on in TLS. It is done here and not by the
// LDAP library because the library's handshake obeys no deadline, and because
// nothing that came in clear may be left in a buffer: what follows the answer
// is read by TLS, so words that somebody put into the stream end the handshake.
func requestTLS(raw net.Conn) error {
	if _, err := raw.Write(startTLSRequest); err != nil {
		return err
	}
	p, err := ber.ReadPacket(&guard{Conn: raw})
	if err != nil {
		return err
	}
	if len(p.Children) < 2 || p.Children[1].ClassType != ber.ClassApplication || p.Children[1].Tag != ldap.ApplicationExtendedResponse {
		return errNotLDAP
	}
	if err := ldap.GetLDAPError(p); err != nil {
		return fmt.Errorf("the server refuses encryption: %w", inWords(err))
	}
	return nil
}

// acquire reports whether c can take a request, and counts it in.
func (c *conn) acquire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired || c.ldap.IsClosing() {
		return false
	}
	if c.users == 0 {
		c.busy = monotonic()
	}
	c.users++
	return true
}

// quiet reports whether c has been asked something and nothing has come over it
// for d.
func (c *conn) quiet(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.users > 0 && monotonic()-max(c.busy, c.guard.heard.Load()) > int64(d)
}

// dead reports whether c takes no more requests.
func (c *conn) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retired || c.ldap.IsClosing()
}

// release ends what acquire began. The last one out closes a retired
// connection: one request that ran out of time is no reason to cut off others.
func (c *conn) release() {
	c.mu.Lock()
	c.users--
	last := c.retired && c.users == 0
	c.mu.Unlock()
	if last {
		c.close()
	}
}

// load returns the number of requests under way.
func (c *conn) load() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.users
}

// retire lets c take no further requests.
func (c *conn) retire() {
	c.mu.Lock()
	c.retired = true
	idle := c.users == 0
	c.mu.Unlock()
	if idle {
		c.close()
	}
}

// close ends the connection at once. The socket goes first: the library's
// Close waits for its writer, which waits for a peer that does not read.
func (c *conn) close() {
	_ = c.raw.Close()
	_ = c.ldap.Close()
}

// errConnection marks failures of the connection, as opposed to answers.
var errConnection = errors.New("the connection failed")

// failure returns err, marked as [errConnection], if no answer came; nil if the
// server answered, be it with an error. The library reports a lost connection
// in several ways, so whatever carries no result code of LDAP is one.
func (c *conn) failure(err error) error {
	if err == nil {
		return nil
	}
	if answered(err) || sizeLimit(err) {
		return nil
	}
	if cause := c.guard.cause(); cause != nil {
		return fmt.Errorf("%w: %w", errConnection, cause)
	}
	return fmt.Errorf("%w: %w", errConnection, inWords(err))
}

// answered reports whether err is a server's answer. What the library says of
// its own has codes from ErrorNetwork on.
func answered(err error) bool {
	e, ok := errors.AsType[*ldap.Error](err)
	return ok && e.ResultCode < ldap.ErrorNetwork
}

// guard stands between the LDAP library and the connection. It bounds the size
// of what is read, gives every write a deadline, and counts the writes, so that
// it is known whether a password can have left this machine.
type guard struct {
	net.Conn
	timeout time.Duration // for each write; 0 = none
	writes  atomic.Int64
	heard   atomic.Int64  // monotonic time when something was read last
	server  *atomic.Int64 // the same, of all connections to the server; may be nil
	refused atomic.Pointer[error]

	head [6]byte // tag and length of the message that is beginning
	n    int     // how much of head is filled
	left int64   // how much of the message is still to come
}

// cause returns why the guard ended the connection, nil if it did not.
func (g *guard) cause() error {
	if e := g.refused.Load(); e != nil {
		return *e
	}
	return nil
}

// Write writes p and counts it as sent, whatever becomes of it.
func (g *guard) Write(p []byte) (int, error) {
	g.writes.Add(1)
	if g.timeout > 0 {
		if err := g.SetWriteDeadline(time.Now().Add(g.timeout)); err != nil {
			return 0, err
		}
	}
	return g.Conn.Write(p)
}

// Read reads what has come, unless it begins a message that is too large or
// none at all.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 {
		now := monotonic()
		g.heard.Store(now)
		if g.server != nil {
			g.server.Store(now)
		}
	}
	if e := g.follow(p[:n]); e != nil {
		g.refused.Store(&e)
		return 0, e
	}
	if isAlert(err) {
		g.refused.Store(&err)
	}
	return n, err
}

// isAlert reports whether err is what the other side said about our TLS, such as
// that it does not accept the certificate, before it hung up. In TLS 1.3 that
// comes after the handshake.
func isAlert(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "remote error"
}

// follow keeps account of where messages begin. Each is a sequence with a
// length of one to four bytes (RFC 4511, section 5.1).
func (g *guard) follow(b []byte) error {
	for len(b) > 0 {
		if g.left > 0 {
			k := min(g.left, int64(len(b)))
			g.left -= k
			b = b[k:]
			continue
		}
		g.head[g.n] = b[0]
		g.n++
		b = b[1:]
		if g.head[0] != 0x30 {
			return errNotLDAP
		}
		if g.n == 1 {
			continue
		}
		size := int64(g.head[1])
		if size >= 0x80 {
			k := int(size - 0x80)
			if k < 1 || k > 4 {
				return errNotLDAP
			}
			if g.n < 2+k {
				continue
			}
			size = 0
			for _, x := range g.head[2 : 2+k] {
				size = size<<8 | int64(x)
			}
		}
		if size > maxMessage {
			return errTooLarge
		}
		g.left, g.n = size, 0
	}
	return nil
}
