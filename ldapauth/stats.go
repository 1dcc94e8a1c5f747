package ldapauth

import (
	"context"
	"errors"
	"sync/atomic"
)

// DirectoryStats is what one directory was asked since the start, and how its
// servers are now. Nothing in it tells about whom.
type DirectoryStats struct {
	Name string // what the directory is called in messages
	// Failovers is how often a search was given to another server because the one
	// before had failed or said nothing for a while.
	Failovers uint64
	Servers   []ServerStats // in order of preference
}

// ServerStats is the part of one server. Its numbers begin anew when a server
// that discovery had lost comes back.
type ServerStats struct {
	URL string
	// Up says that the server is not passed over at the moment; see
	// [DirectoryStats].Failovers. One that nobody has asked for a while may be
	// down all the same.
	Up bool
	// Searches are those for people and their groups, Binds the passwords that
	// were sent.
	Searches, Binds uint64
	// Searching and Binding are how many of them are under way.
	Searching, Binding int
	Failures           ServerFailures
}

// ServerFailures counts what went wrong with a server.
type ServerFailures struct {
	Connect uint64 // no connection could be made, or none that the service account can use
	Lost    uint64 // a connection broke before the answer came
	Timeout uint64 // no answer came in time, which is ldap.timeout at most
	Busy    uint64 // the server said that it could not or would not answer
}

// counters are the counted part of [ServerStats].
type counters struct{ searches, binds, connect, lost, timeout, busy atomic.Uint64 }

// failed counts a request that got no answer, unless its asker went away. late
// says that it was waited for as long as for any: the library ends that by an
// error of its own.
func (c *counters) failed(err error, late bool) {
	switch {
	case errors.Is(err, context.Canceled):
	case late, errors.Is(err, errNoAnswer), errors.Is(err, errStopped):
		c.timeout.Add(1)
	default:
		c.lost.Add(1)
	}
}

// Stats tells about every directory, and about the global catalogue, if there is
// one, last.
func (s *Domains) Stats() []DirectoryStats {
	list := s.list
	if s.catalog != nil {
		list = append(list[:len(list):len(list)], s.catalog.d)
	}
	stats := make([]DirectoryStats, len(list))
	for i, d := range list {
		stats[i] = d.Stats()
	}
	return stats
}

// Stats tells about the servers of d.
func (d *Directory) Stats() DirectoryStats {
	stats := DirectoryStats{Name: d.label, Failovers: d.failovers.Load()}
	for _, s := range d.all() {
		stats.Servers = append(stats.Servers, s.stats())
	}
	return stats
}

func (s *server) stats() ServerStats {
	stats := ServerStats{
		URL: s.url, Up: s.health.isWell(),
		Searches: s.counters.searches.Load(), Binds: s.counters.binds.Load(),
		Binding: len(s.binds),
		Failures: ServerFailures{
			Connect: s.counters.connect.Load(), Lost: s.counters.lost.Load(),
			Timeout: s.counters.timeout.Load(), Busy: s.counters.busy.Load(),
		},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.service {
		stats.Searching += c.load()
	}
	return stats
}

// A DomainProbe is what came of asking one directory one thing.
type DomainProbe struct {
	Domain string // what the directory is called
	Err    error  // nil: people can be looked up there
}

// Probes asks every directory one thing; see [Directory.Probe].
func (s *Domains) Probes(ctx context.Context) []DomainProbe {
	probes := make([]DomainProbe, len(s.list))
	for i, a := range ask(s.list, func(_ int, d *Directory) (*Account, error) { return nil, d.Probe(ctx) }) {
		probes[i] = DomainProbe{s.list[i].label, a.err}
	}
	return probes
}
