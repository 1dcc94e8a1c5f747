// Package front is the TLS side of the front-facing URL: it asks connections
// from the configured ranges for a client certificate, and no others.
//
// It asks and does not judge. A certificate that is refused must become a page
// that says why, not a broken connection, and it must be judged again at every
// sign-in, not once for as long as a connection lives. So whatever a client
// sends is handed on with nothing but the proof that the client holds its key.
package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/connector/iprange"
)

// Options say how connections are received. Zero values of the limits mean what
// their comments say.
type Options struct {
	Certificate *tls.Certificate // the server's, with its chain; required
	MinVersion  string           // "1.2", which is the default, or "1.3"

	// Ranges are the addresses whose connections are asked for a certificate.
	// Nil means nobody.
	Ranges *iprange.Set
	// ClientCAs are named to those who are asked, so that browsers offer
	// fitting certificates only. They decide nothing.
	ClientCAs *x509.CertPool

	Log *slog.Logger // nil: no log

	// HandshakeTimeout is the time for a handshake; 0 means 10 s.
	HandshakeTimeout time.Duration
	// AskedTimeout is the time for a handshake that asks for a certificate; 0
	// means 60 s. A person may have to find a smart card and type its PIN.
	AskedTimeout time.Duration
	// HandshakesPerAddress is the most handshakes that may be in progress from
	// one address, for IPv6 from one /64 network; 0 means 256. A /48 network
	// may hold half of MaxHandshakes.
	HandshakesPerAddress int
	// MaxHandshakes is the most handshakes in progress at all; 0 means 2048.
	MaxHandshakes int
	// ConnectionsPerAddress is the most connections that may be open from one
	// address, counted in the same way, those in their handshake included; 0
	// means 1024. Everybody behind a proxy has the same address.
	ConnectionsPerAddress int
	// MaxConnections is the most connections open at all; 0 means 16384. It
	// keeps file descriptors for the directory, logs and pages.
	MaxConnections int
}

// A Front receives TLS connections. Its methods may be called concurrently.
type Front struct {
	options     Options
	log         *slog.Logger
	handshakes  *limits // in progress
	connections *limits // open
	// asking and plain count handshakes; see [Stats].
	asking, plain handshakes

	swap    sync.Mutex // held while configs are replaced
	configs atomic.Pointer[configs]
}

// configs are the two ways to shake hands. They are made when a certificate or
// the CAs change, not for each connection.
//
// A session ticket must carry nothing from one to the other, and nothing from
// one asked connection to the next:
//
//   - asking gives and takes no tickets. Every connection from a range is asked
//     afresh and proves its key by a new signature: a card that was pulled, or
//     CAs that were replaced, leave nothing that could be resumed, and neither
//     does a visit from outside, where nobody was asked.
//   - plain resumes what plain began. Its ticket keys are its own: crypto/tls
//     makes them for each Config, and replaces them every day.
//
// This hangs on handing the right Config to [tls.Server]. A Config that comes
// from GetConfigForClient would be served with the ticket keys of the other.
type configs struct{ plain, asking *tls.Config }

// New returns a front that is ready to listen.
func New(o Options) (*Front, error) {
	if _, err := version(o.MinVersion); err != nil {
		return nil, fmt.Errorf("min_version: %w", err)
	}
	if o.Certificate == nil || len(o.Certificate.Certificate) == 0 {
		return nil, errors.New("front: no server certificate")
	}
	f := &Front{options: o, log: o.Log}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.options.HandshakeTimeout = positive(o.HandshakeTimeout, 10*time.Second)
	f.options.AskedTimeout = positive(o.AskedTimeout, time.Minute)
	f.handshakes = newLimits(positive(o.HandshakesPerAddress, 256), positive(o.MaxHandshakes, 2048),
		"connections closed: too many TLS handshakes in progress", f.log)
	f.connections = newLimits(positive(o.ConnectionsPerAddress, 1024), positive(o.MaxConnections, 16384),
		"connections closed: too many connections are open", f.log)
	f.options.ClientCAs = f.hint(o.ClientCAs)
	f.configs.Store(f.build())
	return f, nil
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// version returns what crypto/tls calls the version that is written so.
func version(s string) (uint16, error) {
	switch s {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf(`write "1.2" or "1.3", not %q`, s)
}

// SetCertificate makes connections from now on use c. Open ones stay.
func (f *Front) SetCertificate(c *tls.Certificate) {
	f.swap.Lock()
	defer f.swap.Unlock()
	f.options.Certificate = c
	f.configs.Store(f.build())
}

// Certificate returns the server certificate that is in use.
func (f *Front) Certificate() *tls.Certificate {
	f.swap.Lock()
	defer f.swap.Unlock()
	return f.options.Certificate
}

// SetClientCAs makes connections from now on name these CAs. Open ones stay.
func (f *Front) SetClientCAs(pool *x509.CertPool) {
	f.swap.Lock()
	defer f.swap.Unlock()
	f.options.ClientCAs = f.hint(pool)
	f.configs.Store(f.build())
}

// build returns the configs that the options ask for.
func (f *Front) build() *configs {
	minVersion, _ := version(f.options.MinVersion) // New has seen it
	return &configs{
		plain: &tls.Config{
			Certificates: []tls.Certificate{*f.options.Certificate},
			MinVersion:   minVersion,
			NextProtos:   []string{"h2", "http/1.1"},
			ClientAuth:   tls.NoClientCert,

			DynamicRecordSizingDisabled: true,
		},
		asking: &tls.Config{
			Certificates:           []tls.Certificate{*f.options.Certificate},
			MinVersion:             minVersion,
			NextProtos:             []string{"h2", "http/1.1"},
			ClientAuth:             tls.RequestClientCert,
			ClientCAs:              f.options.ClientCAs,
			SessionTicketsDisabled: true,

			// An answer is a page, not a film: small records at the start of a
			// connection would cost eight system calls for one token.
			DynamicRecordSizingDisabled: true,
		},
	}
}

// maxHint is how many bytes of CA names are sent. A TLS message could hold
// twice as many, but there are clients that give up at 32 KiB.
const maxHint = 32000

// hint returns the pool if its names fit into a handshake and nil if not:
// clients are then asked all the same and offer all the certificates they have.
func (f *Front) hint(pool *x509.CertPool) *x509.CertPool {
	if pool == nil {
		return nil
	}
	size := 0
	for _, name := range pool.Subjects() { //nolint:staticcheck // deprecated for the pool of the system only, which this never is
		size += 2 + len(name)
	}
	if size > maxHint {
		f.log.Warn("the names of the client CAs are too long to be sent to browsers, so people will also be offered certificates that do not fit: use fewer CAs",
			"bytes", size, "most", maxHint)
		return nil
	}
	return pool
}

// Asks reports whether a connection from that address is asked for a
// certificate.
func (f *Front) Asks(a netip.Addr) bool { return f.options.Ranges.Contains(a) }

// config returns how to shake hands with the address, and how long that may
// take.
func (f *Front) config(remote net.Addr) (*tls.Config, time.Duration) {
	c := f.configs.Load()
	if f.Asks(address(remote)) {
		return c.asking, f.options.AskedTimeout
	}
	return c.plain, f.options.HandshakeTimeout
}

// address returns the IP address in a, unmapped and without zone; one that is
// not valid, and so in no range, if there is none.
func address(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// handshake returns the connection when its handshake is done. If that fails,
// the connection is closed.
//
// A failure is nothing to worry an operator with: browsers break off two or
// three handshakes at each first visit while they look for a certificate, and
// the internet knocks on every door.
func (f *Front) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	config, timeout := f.config(conn.RemoteAddr())
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := tls.Server(conn, config)
	err := c.HandshakeContext(ctx)
	if config.ClientAuth == tls.NoClientCert {
		f.plain.count(err)
	} else {
		f.asking.count(err)
	}
	if err == nil {
		return c, nil
	}
	f.log.Debug("TLS handshake failed", "remote", conn.RemoteAddr().String(), "err", err)
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil && looksLikeHTTP(e.RecordHeader) {
		_, _ = io.WriteString(e.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+
			"This is a secure address: write https:// in front of it.\n")
	}
	_ = conn.Close()
	return nil, err
}

// looksLikeHTTP reports whether the first bytes of a connection are those of a
// request without TLS.
func looksLikeHTTP(b [5]byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST "} {
		if strings.HasPrefix(string(b[:]), method) {
			return true
		}
	}
	return false
}
