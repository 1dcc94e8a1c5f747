// Package memdir is an LDAP directory server in memory.
//
// It speaks enough LDAPv3 (RFC 4511) to be taken for a small Active Directory
// domain controller or a small OpenLDAP server by a client that signs people
// in: simple binds with the answers of the real servers, searches with every
// kind of filter, paging, nested groups, StartTLS. The only thing that can be
// changed over the network is the password of an account in the Active Directory
// flavor, by whoever knows the old one or may set it. The demo runs on it, and so
// do the tests that need a directory but not a real one.
//
// Where the two real servers are lenient, this one is lenient in the same way,
// because that is what a client must be tested against: it finds "jon" when
// asked for " JON ", and as an Active Directory it answers success to a bind
// that gives a name and no password.
package memdir

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Flavor is the product whose answers the server gives.
type Flavor int

// The flavors.
const (
	ActiveDirectory Flavor = iota
	OpenLDAP
)

// Options say what a server holds and how it behaves.
type Options struct {
	// BaseDN is the only naming context, such as "DC=fabrikam,DC=example".
	BaseDN string
	// Entries may come in any order. Each but the base entry needs its parent;
	// the base entry is made when it is not among them.
	//
	// The base entry also carries the password policy: lockoutThreshold,
	// maxPwdAge, minPwdAge, minPwdLength, pwdHistoryLength and pwdProperties
	// (Active Directory), pwdMaxFailure and pwdMaxAge (OpenLDAP).
	Entries []Entry
	Flavor  Flavor
	// TLS is the server's side of StartTLS; nil means that there is none.
	TLS *tls.Config
	// RequireTLS refuses passwords on connections without TLS.
	RequireTLS bool
	// AnonymousRead lets anybody search. Otherwise only the root DSE is open.
	AnonymousRead bool
	// MayReset are the DNs of accounts that may set the passwords of others and
	// unlock them, in the Active Directory flavor.
	MayReset []string
	// MaxPageSize is how many entries one answer holds at most: MaxPageSize of
	// Active Directory (default 1000), the size limit of OpenLDAP (default 500).
	MaxPageSize int

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default none
}

// An Entry is one entry as the caller describes it. What the real servers add
// by themselves is added by [New] unless it is given: objectGUID, objectSid and
// the like from the DN, so that they are the same in every run. Binary values
// are given as they are, except that objectSid and objectGUID may be text.
type Entry struct {
	DN         string
	Attributes map[string][]string
	// Password is what a simple bind must give; "" means that nobody can bind
	// as this entry. No search ever returns it.
	Password string
}

// Stats counts what reached the server since it was made.
type Stats struct {
	Connections uint64 // accepted
	Open        uint64 // of these, not closed yet
	Binds       uint64 // bind requests of every kind, refused ones included
	Searches    uint64 // search requests, refused ones included
}

// A Server is an LDAP server. Its methods may be called at any time by several
// goroutines.
type Server struct {
	options Options
	mu      sync.RWMutex // guards dir
	dir     *directory

	delay                        atomic.Int64
	connections, binds, searches atomic.Uint64
	cookies                      atomic.Uint64

	running sync.Mutex // guards the next three
	closed  bool
	open    map[*conn]struct{}
	serving map[net.Listener]struct{}
	wait    sync.WaitGroup // every Serve and every connection
}

// New returns a server for the entries in o. The error reports everything that
// is wrong with them.
func New(o Options) (*Server, error) {
	o.MaxPageSize = cmp.Or(o.MaxPageSize, map[Flavor]int{ActiveDirectory: 1000, OpenLDAP: 500}[o.Flavor])
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := newDirectory(o.Flavor, o.BaseDN, o.Entries)
	if err != nil {
		return nil, err
	}
	return &Server{options: o, dir: dir, open: map[*conn]struct{}{}, serving: map[net.Listener]struct{}{}}, nil
}

// Serve answers the connections that ln accepts, and closes ln, until
// [Server.Close] is called; then it returns nil. A listener made by
// [tls.NewListener] gives LDAPS.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	s.running.Lock()
	if s.closed {
		s.running.Unlock()
		return fmt.Errorf("memdir: serving on %v: %w", ln.Addr(), net.ErrClosed)
	}
	s.serving[ln] = struct{}{}
	s.wait.Add(1)
	s.running.Unlock()
	defer s.wait.Done()

	for {
		nc, err := ln.Accept()
		if err != nil && s.isClosed() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("memdir: accepting on %v: %w", ln.Addr(), err)
		}
		if c := s.admit(nc); c != nil {
			go c.serve()
		}
	}
}

// admit registers a new connection; nil if it came too late.
func (s *Server) admit(nc net.Conn) *conn {
	s.running.Lock()
	defer s.running.Unlock()
	if s.closed {
		nc.Close()
		return nil
	}
	c := newConn(s, nc)
	s.open[c] = struct{}{}
	s.connections.Add(1)
	s.wait.Add(1)
	return c
}

// forget undoes admit when a connection has ended.
func (s *Server) forget(c *conn) {
	c.close()
	s.running.Lock()
	delete(s.open, c)
	s.running.Unlock()
	s.wait.Done()
}

func (s *Server) isClosed() bool {
	s.running.Lock()
	defer s.running.Unlock()
	return s.closed
}

// Close closes all listeners and connections and waits until nothing of the
// server runs any more.
func (s *Server) Close() error {
	s.running.Lock()
	s.closed = true
	var errs []error
	for ln := range s.serving {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.running.Unlock()
	s.DropAll()
	s.wait.Wait()
	return errors.Join(errs...)
}

// DropAll closes all connections, as a restarting server does. Listeners stay.
func (s *Server) DropAll() {
	s.running.Lock()
	defer s.running.Unlock()
	for c := range s.open {
		c.close()
	}
}

// SetDelay makes every request from now on wait for d before it is answered.
func (s *Server) SetDelay(d time.Duration) { s.delay.Store(int64(d)) }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.running.Lock()
	defer s.running.Unlock()
	return Stats{
		Connections: s.connections.Load(),
		Open:        uint64(len(s.open)),
		Binds:       s.binds.Load(),
		Searches:    s.searches.Load(),
	}
}

// Update replaces the named attributes of an entry; one without values is
// removed.
func (s *Server) Update(dn string, attributes map[string][]string) error {
	return s.change(dn, func(e *entry) error { return s.dir.update(e, attributes) })
}

// SetPassword replaces the password of an entry and nothing else: neither
// pwdLastSet nor a lockout changes.
func (s *Server) SetPassword(dn, password string) error {
	return s.change(dn, func(e *entry) error {
		next := e.clone()
		next.password = password
		s.dir.replace(e, next)
		return nil
	})
}

// Remove deletes an entry. Groups keep naming it, which real servers prevent.
func (s *Server) Remove(dn string) error {
	return s.change(dn, func(e *entry) error {
		s.dir.remove(e)
		return nil
	})
}

// change runs f on the entry dn while nobody else reads or changes the
// directory.
func (s *Server) change(dn string, f func(*entry) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := normalDN(dn)
	if err != nil {
		return fmt.Errorf("memdir: %w", err)
	}
	e, ok := s.dir.byDN[key]
	if !ok {
		return fmt.Errorf("memdir: there is no entry %q", dn)
	}
	if err := f(e); err != nil {
		return fmt.Errorf("memdir: changing %q: %w", dn, err)
	}
	return nil
}

// debug logs what happened on a connection, for whoever wonders what a client
// sends. Passwords are never among it.
func (s *Server) debug(msg string, args ...any) {
	s.options.Log.DebugContext(context.Background(), msg, args...)
}
