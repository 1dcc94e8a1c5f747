package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"adconnector/ldapauth/secret"

	"github.com/go-ldap/ldap/v3"
)

const (
	// downFor is how long a server that failed is passed over.
	downFor = 10 * time.Second
	// refusedFor is how long a server is left alone that refused the service
	// account: to ask again at every sign-in would lock that account.
	refusedFor = time.Minute
	// busy is how many searches may be under way on a connection before
	// another one is opened. One connection carries thousands a second.
	busy = 16
	// bindIdle is how long a bind connection is kept for the next password. It
	// is shorter than what firewalls and servers allow, since a bind on a
	// connection that silently died cannot be repeated.
	bindIdle = 20 * time.Second
)

var (
	errNoAnswer = errors.New("no answer within ldap.timeout")
	errRefused  = errors.New("the directory refuses the service account")
)

// A server is one server of the directory with its connections.
type server struct {
	address
	d *Directory

	mu      sync.Mutex
	closed  bool
	service []*conn
	dialing *attempt
	down    time.Time // until when it is passed over; zero: it is up
	refused error     // why it must not even be tried as the last resort
	idle    []*idleConn

	binds chan struct{} // one token for each bind connection in use
}

// attempt is a service connection in the making, for all who wait for it.
type attempt struct {
	done chan struct{}
	conn *conn
	err  error
}

// idleConn is a bind connection that waits for the next password.
type idleConn struct {
	*conn
	timer *time.Timer
}

func newServer(d *Directory, a address) *server {
	return &server{address: a, d: d, binds: make(chan struct{}, d.config.Pool.Bind)}
}

// standing says whether a server may be used.
type standing int

const (
	isUp   standing = iota
	isDue           // down, but for long enough to look again
	isDown          // down; only for when no other is left
	isHeld          // must be left alone
)

// standing returns whether s may be used at now, and if not at all, why.
func (s *server) standing(now time.Time) (standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down.IsZero():
		return isUp, nil
	case !now.Before(s.down):
		return isDue, nil
	case s.refused != nil:
		return isHeld, s.refused
	}
	return isDown, nil
}

// failed records that s could not be used. Requests go to the other servers
// for a while, after which s is tried in the background.
func (s *server) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	wasUp := s.down.IsZero()
	s.down, s.refused = s.d.now().Add(downFor), nil
	if errors.Is(err, errRefused) {
		s.down, s.refused = s.d.now().Add(refusedFor), err
	}
	if wasUp {
		s.d.log.Warn("directory server failed", "server", s.url, "error", err)
	}
}

// recovered records that s answers again.
func (s *server) recovered() {
	if !s.down.IsZero() {
		s.d.log.Info("directory server is back", "server", s.url)
	}
	s.down, s.refused = time.Time{}, nil
}

// search runs one search on s, a second time on a fresh connection if the
// first one had died.
func (s *server) search(ctx context.Context, build func(*dialect) *ldap.SearchRequest) (*ldap.SearchResult, *dialect, error) {
	for try := 0; ; try++ {
		c, err := s.connection(ctx, try > 0)
		if err != nil {
			return nil, nil, err
		}
		start := time.Now()
		r := build(c.dialect)
		result, err := c.search(ctx, &s.d.wg, r)
		noteSearch(ctx, s.url, r, result, err, time.Since(start))
		switch {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable):
			return nil, nil, fmt.Errorf("%w: %s: %w", errConnection, s.url, err)
		case !errors.Is(err, errConnection):
			return result, c.dialect, err
		case time.Since(start) >= s.d.timeout:
			return nil, nil, fmt.Errorf("%w: %s: %w", errConnection, s.url, errNoAnswer)
		case try > 0 || ctx.Err() != nil:
			return nil, nil, fmt.Errorf("%s: %w", s.url, err)
		}
	}
}

// connection returns a service connection on which the caller has been counted
// in: the one with the least to do, or, if there is none or it is to be fresh,
// a new one.
func (s *server) connection(ctx context.Context, fresh bool) (*conn, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	if !fresh {
		if c := s.leastBusy(); c != nil {
			s.mu.Unlock()
			return c, nil
		}
	}
	a := s.dial()
	s.mu.Unlock()

	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if a.err != nil {
		return nil, fmt.Errorf("%w: %w", errConnection, a.err)
	}
	if !a.conn.acquire() {
		return nil, fmt.Errorf("%w: %s closed the connection at once", errConnection, s.url)
	}
	return a.conn, nil
}

// leastBusy returns the service connection with the fewest requests under way,
// counted in; nil if there is none. When all have much to do it starts another
// one for those who come later. The caller holds the lock.
func (s *server) leastBusy() *conn {
	s.service = slices.DeleteFunc(s.service, (*conn).dead)
	var best *conn
	for _, c := range s.service {
		if best == nil || c.load() < best.load() {
			best = c
		}
	}
	if best == nil || !best.acquire() {
		return nil
	}
	if best.load() > busy && len(s.service) < s.d.config.Pool.Search {
		s.dial()
	}
	return best
}

// probe looks in the background whether s is back.
func (s *server) probe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.dial()
	}
}

// dial starts making a service connection, unless that is under way. It does
// not end with the request that asked for it: others wait for it too. The
// caller holds the lock.
func (s *server) dial() *attempt {
	if s.dialing != nil {
		return s.dialing
	}
	a := &attempt{done: make(chan struct{})}
	if s.refused != nil && s.d.now().Before(s.down) {
		a.err = s.refused
		close(a.done)
		return a
	}
	s.dialing = a
	s.d.wg.Go(func() {
		c, err := s.connect(s.d.ctx)
		if err != nil {
			s.failed(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dialing = nil
		if err == nil && s.closed {
			c.close()
			c, err = nil, errClosed
		}
		if err == nil {
			s.service = append(s.service, c)
			s.recovered()
		}
		a.conn, a.err = c, err
		close(a.done)
	})
	return a
}

// connect returns a new service connection: bound, and with its dialect known.
func (s *server) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.d.timeout, errNoAnswer)
	defer cancel()
	c, err := dial(ctx, s.address, s.d.service.secure(s.d.tls), s.d.config.StartTLS, s.d.timeout)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, c.close)
	err = s.introduce(ctx, c)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%s: %w", s.url, err)
	}
	return c, nil
}

// introduce binds as the service account and learns what kind of server it is.
func (s *server) introduce(ctx context.Context, c *conn) error {
	err := s.greet(ctx, c)
	if cause := c.guard.cause(); err != nil && cause != nil && !errors.Is(err, cause) {
		return cause // not merely that the connection is closed
	}
	if err != nil && !answered(err) && c.ldap.IsClosing() && !s.tls && !s.d.config.StartTLS {
		return fmt.Errorf("hangs up when spoken to in clear on port %s: if it speaks TLS, write ldaps://, else check the port (%w)", s.port, err)
	}
	return err
}

func (s *server) greet(ctx context.Context, c *conn) (err error) {
	if c.as, err = s.d.service.bind(ctx, s, c); err != nil {
		return err
	}
	if c.dialect = s.d.dialect; c.dialect != nil {
		return nil
	}
	root, err := readRoot(c, s.d.timeout)
	if err != nil {
		return err
	}
	c.dialect, err = recognise(root)
	return err
}

// serviceBindError says what to do about a refused service account.
func serviceBindError(err error) error {
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInvalidDNSyntax,
		ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultUnwillingToPerform,
		ldap.LDAPResultConstraintViolation):
		return fmt.Errorf("%w: check ldap.bind_dn and ldap.bind_password_file (%w)", errRefused, inWords(err))
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired):
		return fmt.Errorf("the directory takes no passwords in clear: write ldaps:// or set ldap.start_tls: true (%w)", inWords(err))
	}
	return fmt.Errorf("binding as the service account: %w", inWords(err))
}

// readRoot reads what the server tells of itself.
func readRoot(c *conn, timeout time.Duration) (*ldap.Entry, error) {
	r, err := c.ldap.Search(request("", ldap.ScopeBaseObject, 1, timeout, "(objectClass=*)", rootAttributes))
	if err != nil {
		return nil, fmt.Errorf("reading the root DSE: %w", inWords(err))
	}
	if len(r.Entries) != 1 {
		return nil, errors.New("reading the root DSE: the server shows none")
	}
	return r.Entries[0], nil
}

// bind sends one bind with dn and password. sent reports whether the password
// can have reached the server; if it cannot, others may be asked instead.
func (s *server) bind(ctx context.Context, dn string, password secret.String) (result *ldap.SimpleBindResult, sent bool, err error) {
	release, err := s.bindSlot(ctx)
	if err != nil {
		return nil, false, err
	}
	defer release()
	for {
		c, reused, err := s.bindConnection(ctx)
		if err != nil {
			return nil, false, err
		}
		result, sent, err = c.bind(ctx, dn, password)
		if err == nil || c.failure(err) == nil {
			s.keep(c, err)
			return result, sent, err
		}
		c.close()
		if sent || !reused || ctx.Err() != nil {
			return nil, sent, fmt.Errorf("%s: %w", s.url, c.failure(err))
		}
	}
}

// bindSlot waits until one more connection may carry a password.
func (s *server) bindSlot(ctx context.Context) (release func(), err error) {
	wait, cancel := context.WithTimeoutCause(ctx, s.d.timeout, errNoAnswer)
	defer cancel()
	select {
	case s.binds <- struct{}{}:
		return func() { <-s.binds }, nil
	case <-wait.Done():
		return nil, fmt.Errorf("%s: all %d connections for passwords are busy (ldap.pool.bind): %w", s.url, cap(s.binds), context.Cause(wait))
	}
}

// bindConnection returns a connection for one bind: one that waits, or a new
// one.
func (s *server) bindConnection(ctx context.Context) (c *conn, reused bool, err error) {
	s.mu.Lock()
	for len(s.idle) > 0 {
		last := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if last.timer.Stop() && !last.ldap.IsClosing() {
			s.mu.Unlock()
			return last.conn, true, nil
		}
		last.close()
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, s.d.timeout, errNoAnswer)
	defer cancel()
	stop := context.AfterFunc(s.d.ctx, cancel)
	defer stop()
	c, err = dial(ctx, s.address, s.d.tls, s.d.config.StartTLS, s.d.timeout)
	return c, false, err
}

// keep holds a bind connection ready for the next password if the last answer
// left no doubt about its condition: plain yes or plain no. It is never used
// for anything but binds, so it does not matter as whom it is bound.
func (s *server) keep(c *conn, err error) {
	if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		c.close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.close()
		return
	}
	w := &idleConn{conn: c}
	w.timer = time.AfterFunc(bindIdle, func() { s.drop(w) })
	s.idle = append(s.idle, w)
}

// drop closes a bind connection that nobody needed.
func (s *server) drop(w *idleConn) {
	s.mu.Lock()
	s.idle = slices.DeleteFunc(s.idle, func(x *idleConn) bool { return x == w })
	s.mu.Unlock()
	w.close()
}

// close ends all connections.
func (s *server) close() {
	s.mu.Lock()
	service, idle := s.service, s.idle
	s.service, s.idle, s.closed = nil, nil, true
	s.mu.Unlock()
	for _, c := range service {
		c.close()
	}
	for _, w := range idle {
		w.timer.Stop()
		w.close()
	}
}
