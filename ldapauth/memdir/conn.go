package memdir

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const (
	idleTimeout      = 15 * time.Minute // MaxConnIdleTime of Active Directory
	handshakeTimeout = 10 * time.Second
	writeTimeout     = 30 * time.Second // for a client that does not read
)

const (
	oidStartTLS   = "1.3.6.1.4.1.1466.20037"
	oidDisconnect = "1.3.6.1.4.1.1466.20036"
	oidWhoAmI     = "1.3.6.1.4.1.4203.1.11.3"
)

// A conn is one client's connection. Its requests are answered one after the
// other, in the order in which they came.
type conn struct {
	server *Server
	done   chan struct{} // closed when the connection is
	once   sync.Once

	mu  sync.Mutex // guards raw, which StartTLS replaces
	raw net.Conn

	r       *bufio.Reader
	w       *bufio.Writer
	secure  bool
	user    string // key of the entry that is bound; "" is anonymous
	limited bool   // bound, but the password must be changed before anything else
	cursors []cursor
}

func newConn(s *Server, nc net.Conn) *conn {
	_, secure := nc.(*tls.Conn)
	c := &conn{server: s, done: make(chan struct{}), secure: secure}
	c.use(nc)
	return c
}

// use makes nc what the connection reads from and writes to.
func (c *conn) use(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.r, c.w = nc, bufio.NewReader(nc), bufio.NewWriter(nc)
}

// close ends the connection, whatever it is doing.
func (c *conn) close() {
	c.once.Do(func() {
		close(c.done)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Close()
	})
}

// serve answers requests until the client leaves or misbehaves.
func (c *conn) serve() {
	defer c.server.forget(c)
	if t, ok := c.raw.(*tls.Conn); ok && !c.handshake(t) {
		return
	}
	for {
		_ = c.raw.SetReadDeadline(time.Now().Add(idleTimeout))
		b, err := readMessage(c.r)
		var m message
		if err == nil {
			m, err = decode(b)
		}
		if err == nil {
			err = c.wait()
		}
		if err == nil {
			_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
			err = c.handle(m)
		}
		if errors.Is(err, errMalformed) {
			c.server.debug("closing a connection", "reason", err)
			c.send(0, result{code: protocolError, text: err.Error()}.packet(opExtendedResponse, contextString(10, oidDisconnect)))
		}
		if e := c.w.Flush(); err != nil || e != nil {
			return
		}
	}
}

// wait takes as long as the server was told to take for every request.
func (c *conn) wait() error {
	delay := time.Duration(c.server.delay.Load())
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.done:
		return net.ErrClosed
	}
}

// answers says with which operation a request is answered.
var answers = map[ber.Tag]byte{
	opBindRequest: opBindResponse, opSearchRequest: opSearchDone, opExtendedRequest: opExtendedResponse,
	opModifyRequest: opModifyResponse, opAddRequest: 9, opDeleteRequest: 11, opModifyDNRequest: 13, opCompareRequest: 15,
}

// handle answers one request. An error ends the connection.
func (c *conn) handle(m message) error {
	switch m.op.Tag {
	case opUnbindRequest:
		return net.ErrClosed
	case opAbandonRequest:
		return nil // what it would abandon has been answered
	}
	answer, known := answers[m.op.Tag]
	if !known {
		return errMalformed
	}
	if oid, ok := m.unknownCritical(); ok {
		c.send(m.id, result{code: criticalUnavailable, text: "control " + oid + " is not supported"}.packet(answer))
		return nil
	}
	if c.limited && m.op.Tag != opBindRequest && m.op.Tag != opExtendedRequest {
		c.send(m.id, result{code: insufficientAccess, text: "Operations are restricted to bind/unbind/abandon/StartTLS/modify password"}.packet(answer))
		return nil
	}
	switch m.op.Tag {
	case opBindRequest:
		return c.bind(m)
	case opSearchRequest:
		return c.search(m)
	case opExtendedRequest:
		return c.extended(m)
	case opModifyRequest:
		return c.modify(m)
	}
	c.send(m.id, readOnly.packet(answer))
	return nil
}

// unknownCritical returns a control that the client insists on and the server
// does not know.
func (m message) unknownCritical() (string, bool) {
	for _, c := range m.controls {
		switch c.oid {
		case oidPaging, oidDomainScope, oidPasswordPolicy, oidManageDsaIT:
		default:
			if c.critical {
				return c.oid, true
			}
		}
	}
	return "", false
}

// control returns the value of a control and whether the request has it.
func (m message) control(oid string) ([]byte, bool) {
	for _, c := range m.controls {
		if c.oid == oid {
			return c.value, true
		}
	}
	return nil, false
}

// send writes one message. A connection that cannot be written to is noticed
// when the buffer is flushed.
func (c *conn) send(id int64, op []byte, controls ...[]byte) {
	_, _ = c.w.Write(envelope(id, op, controls))
}

// extended answers an extended request (RFC 4511 section 4.12).
func (c *conn) extended(m message) error {
	f := fields{rest: m.op.Children}
	oid := content(f.tagged(0))
	if len(f.rest) > 0 {
		f.tagged(1)
	}
	if f.err() != nil {
		return errMalformed
	}
	switch oid {
	case oidStartTLS:
		return c.startTLS(m)
	case oidWhoAmI:
		c.send(m.id, result{}.packet(opExtendedResponse, contextString(11, c.whoAmI())))
		return nil
	}
	c.send(m.id, result{code: protocolError, text: "unknown extended operation"}.packet(opExtendedResponse))
	return nil
}

// startTLS answers the request and continues with TLS (RFC 4511 section 4.14).
func (c *conn) startTLS(m message) error {
	switch {
	case c.server.options.TLS == nil:
		c.send(m.id, result{code: protocolError, text: "StartTLS is not offered"}.packet(opExtendedResponse))
		return nil
	case c.secure:
		c.send(m.id, result{code: operationsError, text: "TLS is already in use"}.packet(opExtendedResponse))
		return nil
	case c.r.Buffered() > 0:
		// Whoever put these requests behind StartTLS in clear may not be the
		// one who will hold the other end of the TLS connection.
		return errMalformed
	}
	c.send(m.id, result{}.packet(opExtendedResponse, contextString(10, oidStartTLS)))
	if err := c.w.Flush(); err != nil {
		return err
	}
	t := tls.Server(c.raw, c.server.options.TLS)
	c.use(t)
	c.secure = true
	if !c.handshake(t) {
		return net.ErrClosed
	}
	return nil
}

func (c *conn) handshake(t *tls.Conn) bool {
	_ = t.SetDeadline(time.Now().Add(handshakeTimeout))
	err := t.Handshake()
	_ = t.SetDeadline(time.Time{})
	if err != nil {
		c.server.debug("TLS handshake", "err", err)
	}
	return err == nil
}

// whoAmI returns the authorization identity of the connection (RFC 4532).
func (c *conn) whoAmI() string {
	s := c.server
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.dir.byDN[c.user]
	switch {
	case c.user == "" || e == nil:
		return ""
	case s.options.Flavor == OpenLDAP:
		return "dn:" + e.dn
	}
	return "u:" + s.dir.netbios + `\` + e.first("sAMAccountName")
}
