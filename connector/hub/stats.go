package hub

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is what an agent has done since the start, and how it is connected.
// Nothing in it tells whom a command was about.
type Stats struct {
	Connected bool   // the hub has let this service in, and the connection stands
	Connects  uint64 // how often that has come about
	Refused   uint64 // how often the hub would not have this service
	Commands  map[CommandKind]uint64
	// Ignored counts messages that were not answered, and requests to /users that
	// were turned away, by what is wrong with them: one of [Oddities].
	Ignored map[string]uint64
	// Provisioned is when the tenant last said what holds; zero: never.
	Provisioned time.Time
}

// A CommandKind is what was asked for and what came of it.
type CommandKind struct {
	Event  string // such as "authenticate_user"
	Failed bool   // the answer was an unexpected error
}

// An oddity says why something is ignored.
type oddity string

const (
	oddForm     oddity = "malformed"     // no text, no JSON, no JWT, no command
	oddEvent    oddity = "unknown_event" // none that this service knows
	oddSize     oddity = "too_large"
	oddRate     oddity = "too_many"
	oddSigner   oddity = "not_signed" // by the tenant's key, that is
	oddTime     oddity = "does_not_hold"
	oddReplayed oddity = "replayed"
)

// Oddities are why messages are ignored: "does_not_hold" are commands that are
// too old, from the future or for another connection.
func Oddities() []string {
	return []string{string(oddForm), string(oddEvent), string(oddSize), string(oddRate), string(oddSigner), string(oddTime), string(oddReplayed)}
}

// oddityOf returns what is wrong with a command that does not verify.
func oddityOf(err error) oddity {
	switch {
	case errors.Is(err, errNotSigned), errors.Is(err, errNotTenant), errors.Is(err, errNoTenant):
		return oddSigner
	case errors.Is(err, errReplayed):
		return oddReplayed
	case errors.Is(err, errFull):
		return oddRate
	}
	return oddTime
}

// A tally is what is counted for [Stats].
type tally struct {
	connected         atomic.Bool
	connects, refused atomic.Uint64

	mu       sync.Mutex
	commands map[CommandKind]uint64 // by events that this service knows
	ignored  map[string]uint64
}

func (t *tally) connect() {
	t.connects.Add(1)
	t.connected.Store(true)
}

func (t *tally) ignore(o oddity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ignored == nil {
		t.ignored = map[string]uint64{}
	}
	t.ignored[string(o)]++
}

func (t *tally) answered(k CommandKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.commands == nil {
		t.commands = map[CommandKind]uint64{}
	}
	t.commands[k]++
}

// counted returns an answerer that does the same and is counted.
func (t *tally) counted(event string, answer *answerer) *answerer {
	return &answerer{answer.suffix, func(ctx context.Context, c *command, reference string) any {
		k := CommandKind{Event: event, Failed: true} // by a panic, unless it ends otherwise
		defer func() { t.answered(k) }()
		payload := answer.do(ctx, c, reference)
		_, k.Failed = payload.(unexpectedAnswer)
		return payload
	}}
}

// Stats tells what a has done.
func (a *Agent) Stats() Stats {
	s := Stats{Connected: a.tally.connected.Load(), Connects: a.tally.connects.Load(), Refused: a.tally.refused.Load()}
	if known := a.settings.Load(); known != nil {
		s.Provisioned = known.AsOf
	}
	a.tally.mu.Lock()
	defer a.tally.mu.Unlock()
	s.Commands, s.Ignored = maps.Clone(a.tally.commands), maps.Clone(a.tally.ignored)
	return s
}

// A Clock is what is known of a tenant's clock.
type Clock struct {
	Ahead  time.Duration // of this machine's; negative: it is behind
	Within time.Duration // by how much that may be wrong
	At     time.Time     // when it was found out
}

// Clock returns what the last comparison of clocks that worked has found; ok is
// false as long as there was none.
func (t *Tenant) Clock() (c Clock, ok bool) {
	if p := t.clock.Load(); p != nil {
		return *p, true
	}
	return Clock{}, false
}

// Failures returns how often the tenant has been asked in vain what the connection
// is.
func (t *Tenant) Failures() uint64 { return t.failures.Load() }
