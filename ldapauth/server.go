package ldapauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/secret"

	"github.com/go-ldap/ldap/v3"
)

const (
	// busy is how many searches may be under way on a connection before
	// another one is opened. One connection carries thousands a second.
	busy = 16
	// bindIdle is how long a bind connection is kept for the next password. It
	// is shorter than what firewalls and servers allow, since a bind on a
	// connection that silently died cannot be repeated.
	bindIdle = 20 * time.Second
	// keepAliveEvery is how often a connection that nobody needs is used. It is
	// shorter than the idle timeouts that servers have: 15 minutes in Active
	// Directory, seldom less than one elsewhere.
	keepAliveEvery = 25 * time.Second
)

var errNoAnswer = errors.New("no answer within ldap.timeout")

// A server is one server of the directory with its connections.
type server struct {
	address
	d      *Directory
	ctx    context.Context // ends with the use of the server //nolint:containedctx // what connects in the background has no caller's
	cancel context.CancelFunc
	health health
	heard  atomic.Int64 // monotonic time when anything came from the server

	counters counters

	mu      sync.Mutex
	service []*conn
	dialing *attempt
	grown   int64 // monotonic time of the last connection that was tried for want of more
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
	s := &server{address: a, d: d, binds: make(chan struct{}, d.config.Pool.Bind)}
	s.ctx, s.cancel = context.WithCancel(d.ctx)
	s.health = health{look: s.look, alone: func() bool { return len(d.all()) == 1 }, spawn: d.spawn, ctx: s.ctx, now: d.now, log: d.log.With("server", a.url)}
	return s
}

// look connects anew and returns when it is known what comes of it.
func (s *server) look() {
	s.mu.Lock()
	a := s.connecting()
	s.mu.Unlock()
	<-a.done
}

// silentSince records that s was asked something and the asker has lost its
// patience. A server that has said anything since is not silent, however long
// the one answer takes.
func (s *server) silentSince(asked int64) {
	if s.heard.Load() < asked {
		s.doubt(errSilent)
	}
}

// lost records that a service connection broke under a request. With others at
// hand that says nothing of the server.
func (s *server) lost(err error) {
	s.mu.Lock()
	usable := s.usable()
	s.mu.Unlock()
	if !usable {
		s.doubt(err)
	}
}

// doubt passes s over until it was looked at. Its bind connections go: a
// password that is sent over one that has silently died is lost.
func (s *server) doubt(err error) {
	s.health.doubt(err)
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, w := range idle {
		w.timer.Stop()
		w.close()
	}
}

// connection returns a service connection on which the caller has been counted
// in: the one with the least to do, or, if there is none or it is to be fresh,
// a new one.
func (s *server) connection(ctx context.Context, fresh bool) (*conn, error) {
	s.mu.Lock()
	if !fresh {
		if c := s.leastBusy(); c != nil {
			s.mu.Unlock()
			return c, nil
		}
	}
	a := s.connecting()
	s.mu.Unlock()

	start := time.Now()
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
	note(ctx, func() string {
		return fmt.Sprintf("connected to %s in %.1f ms, as %s", s.url, time.Since(start).Seconds()*1000, cmp.Or(a.conn.as, "somebody whom it does not name"))
	})
	return a.conn, nil
}

// leastBusy returns the service connection with the fewest requests under way,
// counted in; nil if there is none. When all have much to do, or it has had its
// time, it starts another one for those who come later. The caller holds the
// lock.
func (s *server) leastBusy() *conn {
	s.service = slices.DeleteFunc(s.service, (*conn).dead)
	var best *conn
	for _, c := range s.service {
		if (best == nil || c.load() < best.load()) && !c.quiet(s.d.patience) {
			best = c
		}
	}
	if best == nil || !best.acquire() {
		return nil
	}
	more := best.load() > busy && len(s.service) < s.d.config.Pool.Search
	if (more || s.isOld(best)) && monotonic()-s.grown > int64(s.d.patience) {
		s.connecting()
	}
	return best
}

// isOld reports whether c is to be replaced.
func (s *server) isOld(c *conn) bool {
	lasts := s.d.service.lasts()
	return lasts > 0 && s.d.now().Sub(c.made) > lasts
}

// usable reports whether a request would find a service connection. The caller
// holds the lock.
func (s *server) usable() bool {
	return slices.ContainsFunc(s.service, func(c *conn) bool { return !c.dead() && !c.quiet(s.d.patience) })
}

// connecting starts making a service connection, unless that is under way. It
// does not end with the request that asked for it: others wait for it too. The
// caller holds the lock.
func (s *server) connecting() *attempt {
	if s.dialing != nil {
		return s.dialing
	}
	a := &attempt{done: make(chan struct{})}
	s.dialing = a
	if !s.d.spawn(func() { s.connect(a) }) {
		a.err = errClosed
		close(a.done)
	}
	return a
}

// connect makes the connection of a and records what that says of the server.
func (s *server) connect(a *attempt) {
	defer close(a.done)
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.d.timeout, errNoAnswer)
	defer cancel()
	c, err := s.newConnection(ctx)
	if err != nil && s.ctx.Err() == nil {
		s.counters.connect.Add(1)
	}

	s.mu.Lock()
	s.dialing = nil
	if err == nil && s.ctx.Err() != nil {
		c.close()
		err = errClosed
	}
	if err == nil {
		s.add(c)
	} else {
		s.grown = monotonic()
	}
	usable := s.usable()
	s.mu.Unlock()

	if a.conn, a.err = c, err; err == nil || !usable || !s.health.isWell() {
		s.health.found(err)
	}
}

// add puts a new service connection into use. It replaces those that have had
// their time, and after a trouble those over which nothing has come since: a
// firewall may have forgotten them. The caller holds the lock.
func (s *server) add(c *conn) {
	since, troubled := s.health.troubledSince()
	s.service = slices.DeleteFunc(s.service, func(old *conn) bool {
		if old.dead() {
			return true
		}
		if s.isOld(old) || troubled && old.guard.heard.Load() < since {
			old.retire()
			return true
		}
		return false
	})
	if len(s.service) >= s.d.config.Pool.Search {
		s.service[0].retire()
		s.service = s.service[1:]
	}
	s.service = append(s.service, c)
}

// newConnection returns a new service connection: bound, and with its dialect
// known.
func (s *server) newConnection(ctx context.Context) (*conn, error) {
	if err := s.d.service.held(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.url, err)
	}
	return patiently(ctx, s.d.patience, func(ctx context.Context) (*conn, error) {
		c, err := s.dial(ctx, s.d.service.secure(s.d.tls))
		if err != nil {
			return nil, err
		}
		c.made = s.d.now()
		stop := context.AfterFunc(ctx, c.close)
		err = s.introduce(ctx, c)
		if !stop() {
			err = s.explainSilence(context.Cause(ctx))
		}
		if err != nil {
			c.close()
			return nil, fmt.Errorf("%s: %w", s.url, err)
		}
		return c, nil
	})
}

// introduce binds as the service account, learns what kind of server it is and
// sees it answer a search. The error says what to change.
func (s *server) introduce(ctx context.Context, c *conn) error {
	err := s.greet(ctx, c)
	if cause := c.guard.cause(); err != nil && cause != nil && !errors.Is(err, cause) {
		return s.explainAlert(c, cause) // not merely that the connection is closed
	}
	if err != nil && !answered(err) && c.ldap.IsClosing() {
		return s.explainHangup(err)
	}
	return err
}

func (s *server) greet(ctx context.Context, c *conn) (err error) {
	if c.as, err = s.d.service.bind(ctx, s, c); err != nil {
		return err
	}
	root, err := readRoot(c, s.d.timeout)
	switch {
	case err == nil && s.d.dialect == nil:
		if c.dialect, err = recognise(root); err != nil {
			return err
		}
	case err != nil && (s.d.dialect == nil || !answered(err) || overloaded(err)):
		return err
	default:
		c.dialect = s.d.dialect
	}
	// A server that is starting or shutting down accepts binds and refuses the
	// rest. What else it says of the base is for the one to read who asks.
	_, err = c.ldap.Search(request(s.d.config.BaseDN[0], ldap.ScopeBaseObject, 1, s.d.timeout, "(objectClass=*)", []string{"1.1"}))
	if err != nil && (!answered(err) || overloaded(err)) {
		return fmt.Errorf("reading the base: %w", inWords(err))
	}
	if s.d.service.wantsLimits() {
		s.learnLimits(c, root)
	}
	return nil
}

// keepAlive uses one of the service connections, unless they are in use anyway.
// A loss is noticed and made good before somebody waits for it.
func (s *server) keepAlive() {
	s.mu.Lock()
	s.service = slices.DeleteFunc(s.service, (*conn).dead)
	var c *conn
	if len(s.service) > 0 && s.service[0].load() == 0 {
		c = s.service[0]
	}
	s.mu.Unlock()
	if c == nil || !c.acquire() {
		return
	}
	s.d.spawn(func() {
		defer c.release()
		_, err := c.ldap.Search(request("", ldap.ScopeBaseObject, 1, s.d.timeout, "(objectClass=*)", []string{"1.1"}))
		if err := c.failure(err); err != nil {
			c.retire()
			s.lost(fmt.Errorf("%s: %w", s.url, err))
		}
	})
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

// bind sends one bind with dn and password and waits for the answer until ctx
// ends, but for a connection only until connect ends. sent reports whether the
// password can have reached the server; if it cannot, others may be asked
// instead.
func (s *server) bind(ctx, connect context.Context, dn string, password secret.String) (result *ldap.SimpleBindResult, sent bool, err error) {
	release, err := s.bindSlot(connect)
	if err != nil {
		return nil, false, err
	}
	defer release()
	for {
		c, reused, err := s.bindConnection(connect)
		if err != nil {
			s.blame(ctx, err)
			return nil, false, err
		}
		s.counters.binds.Add(1)
		asked := monotonic()
		silent := time.AfterFunc(s.d.patience, func() { s.silentSince(asked) })
		result, sent, err = c.bind(ctx, dn, password)
		silent.Stop()
		if err == nil || c.failure(err) == nil {
			s.keep(c, err)
			return result, sent, err
		}
		c.close()
		if sent || !reused || ctx.Err() != nil {
			s.counters.failed(err, monotonic()-asked >= int64(s.d.timeout))
			return nil, sent, fmt.Errorf("%s: %w", s.url, c.failure(err))
		}
	}
}

// bindSlot waits until one more connection may carry a password.
func (s *server) bindSlot(ctx context.Context) (release func(), err error) {
	select {
	case s.binds <- struct{}{}:
		return func() { <-s.binds }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: all %d connections for passwords are busy (ldap.pool.bind): %w", s.url, cap(s.binds), context.Cause(ctx))
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
	c, err = s.dialBind(ctx)
	return c, false, err
}

// dialBind returns a new connection that is bound as nobody.
func (s *server) dialBind(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.ctx, func() { cancel(errClosed) })
	defer stop()
	return s.dial(ctx, s.d.tls)
}

// blame records that no connection to s could be had, unless the caller just
// went away.
func (s *server) blame(ctx context.Context, err error) {
	if ctx.Err() == nil || errors.Is(context.Cause(ctx), errNoAnswer) {
		s.counters.connect.Add(1)
		s.doubt(err)
	}
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
	if s.ctx.Err() != nil {
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

// retire lets s take no further requests. Those that are under way come to
// their end.
func (s *server) retire() { s.end((*conn).retire) }

// close ends all connections.
func (s *server) close() { s.end((*conn).close) }

// end lets s take no further requests, does endShared to the connections that
// may be in use and closes those that nobody uses.
func (s *server) end(endShared func(*conn)) {
	s.mu.Lock()
	s.cancel()
	service, idle := s.service, s.idle
	s.service, s.idle = nil, nil
	s.mu.Unlock()
	for _, c := range service {
		endShared(c)
	}
	for _, w := range idle {
		w.timer.Stop()
		w.close()
	}
}
