package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// search runs the search that build describes and returns the first answer.
// Errors of LDAP itself are answers: they are returned as they are.
//
// The servers are asked one after the other: the next as soon as one has
// failed, and in parallel when one has said nothing for a while. A search can be
// asked twice without harm, a password cannot; see [Directory.Bind]. The whole
// ends after ldap.timeout, and those who lose the race run out by the timeout of
// their connection.
func (d *Directory) search(ctx context.Context, build func(*dialect) *ldap.SearchRequest) (*ldap.SearchResult, *dialect, error) {
	if ctx.Value(askNothing{}) != nil {
		return nil, nil, errAskNothing
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errNoAnswer)
	defer cancel()
	if err := d.known(ctx); err != nil {
		return nil, nil, err
	}
	up, down := d.candidates()
	r := race{d: d, build: build, up: up, down: down, answers: make(chan outcome, len(up)+len(down)+1)}
	return r.run(ctx)
}

// A race is one search and the servers that are asked.
type race struct {
	d        *Directory
	build    func(*dialect) *ldap.SearchRequest
	up, down []*server // not asked yet
	first    *leg
	latest   *leg
	repeated bool // the first server was asked again
	running  int
	answers  chan outcome // has room for all of them, so that nobody waits for a loser
}

// A leg is one server's part in a race.
type leg struct {
	server *server
	fresh  bool                 // only a new connection will do
	began  int64                // monotonic
	conn   atomic.Pointer[conn] // once there is one
}

// An outcome is what became of a leg.
type outcome struct {
	result  *ldap.SearchResult
	dialect *dialect
	err     error
}

func (r *race) run(ctx context.Context) (*ldap.SearchResult, *dialect, error) {
	r.next(ctx)
	hedge := time.NewTimer(r.d.patience)
	defer hedge.Stop()
	for {
		select {
		case a := <-r.answers:
			r.running--
			switch {
			case a.err == nil, !errors.Is(a.err, errConnection), errors.Is(a.err, errTooLarge):
				return a.result, a.dialect, a.err
			case ctx.Err() != nil:
				return nil, nil, r.late(ctx)
			}
			note(ctx, func() string {
				return fmt.Sprintf("no answer, and another server or connection is tried if there is one: %v", a.err)
			})
			switch {
			case r.next(ctx):
				hedge.Reset(r.d.patience)
			case r.running == 0:
				return nil, nil, a.err
			}
		case <-hedge.C:
			r.latest.server.silentSince(r.latest.began)
			if r.next(ctx) {
				hedge.Reset(r.d.patience)
			}
		case <-ctx.Done():
			return nil, nil, r.late(ctx)
		}
	}
}

// late returns the error of a race that nobody won in time.
func (r *race) late(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errNoAnswer) {
		return fmt.Errorf("%w: %s: %w", errConnection, r.first.server.url, cause)
	}
	return cause
}

// next asks the next server and reports whether there was one: those that are
// well, then the first one again if its connection rather than itself may be to
// blame, then those that are not well.
func (r *race) next(ctx context.Context) bool {
	var l *leg
	switch {
	case len(r.up) > 0:
		l = &leg{server: r.up[0]}
		r.up = r.up[1:]
	case r.first != nil && !r.repeated && r.first.inDoubt():
		l = &leg{server: r.first.server, fresh: true}
		r.repeated = true
	case len(r.down) > 0:
		l = &leg{server: r.down[0]}
		r.down = r.down[1:]
	default:
		return false
	}
	if r.first == nil {
		r.first = l
	} else if l.server != r.latest.server {
		r.d.failovers.Add(1)
	}
	r.latest = l
	l.began = monotonic()
	r.running++
	if !r.d.spawn(func() { r.answers <- l.ask(ctx, r.build) }) {
		r.answers <- outcome{err: errClosed}
	}
	return true
}

// inDoubt reports whether the leg may fare better on a new connection: the one
// that it had is lost, or nothing has come over it since. An expensive search on
// a server with nothing else to do looks the same and is then asked twice, which
// is the price for not waiting on a connection that a firewall forgot.
func (l *leg) inDoubt() bool {
	c := l.conn.Load()
	return c != nil && (c.dead() || c.guard.heard.Load() < l.began)
}

// ask runs the search on the leg's server. It may return long after the race is
// over.
func (l *leg) ask(ctx context.Context, build func(*dialect) *ldap.SearchRequest) outcome {
	s := l.server
	c, err := s.connection(ctx, l.fresh)
	if err != nil {
		return outcome{err: err}
	}
	defer c.release()
	l.conn.Store(c)
	r, start := build(c.dialect), time.Now()
	s.counters.searches.Add(1)
	result, err := c.ask(ctx, r)
	if ctx.Err() == nil {
		noteSearch(ctx, s.url, r, result, err, time.Since(start))
	}
	if lost := c.failure(err); lost != nil {
		late := monotonic()-l.began >= int64(s.d.timeout)
		if late {
			lost = fmt.Errorf("%w: %w", errConnection, errNoAnswer)
		}
		err = fmt.Errorf("%s: %w", s.url, lost)
		s.counters.failed(err, late)
		c.retire()
		s.lost(err)
		return outcome{err: err}
	}
	if overloaded(err) {
		err = fmt.Errorf("%w: %s: %w", errConnection, s.url, inWords(err))
		s.counters.busy.Add(1)
		s.health.doubt(err)
		return outcome{err: err}
	}
	return outcome{result, c.dialect, err}
}

// overloaded reports whether err is the answer of a server that cannot or will
// not do what others may.
func overloaded(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultUnwillingToPerform)
}
