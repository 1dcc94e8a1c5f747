package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/connector/private"
	"adconnector/connector/signin"
)

// The rhythm of the connection.
const (
	firstReconnect = time.Second
	lastReconnect  = 30 * time.Second
	// A hub that refuses this service will not change its mind in a moment.
	firstRefused = time.Minute
	lastRefused  = 10 * time.Minute
	// steady is how long a connection must have lasted for the next one to be
	// tried as if none had failed before. A connection that the hub had let in
	// counts like that in any case, but not again and again: a hub that throws out
	// whom it lets in is one that is broken.
	steady                 = 30 * time.Second
	letInAnew, letInAnewIn = 10, 10 * time.Minute
	// doubtEvery is how rarely a command by another key makes this service ask the
	// tenant for it.
	doubtEvery = 5 * time.Minute
)

// SignInService is the one door; signin.Service is the real one.
type SignInService interface {
	SignIn(ctx context.Context, a signin.Attempt) (*signin.Identity, error)
}

// ResetService sets passwords; signin.Service is the real one.
type ResetService interface {
	// ResetPassword returns whom it is about.
	ResetPassword(ctx context.Context, a signin.Attempt) (*signin.Identity, error)
}

// A Lookup finds people and groups by a part of their names; an empty text finds
// all. A limit below 1 means as many as there may be. Finding somebody is no
// sign-in.
type Lookup interface {
	FindPeople(ctx context.Context, text string, limit int) ([]*signin.Identity, error)
	FindGroups(ctx context.Context, text string, limit int) ([]string, error)
}

// AgentOptions are what an Agent needs.
type AgentOptions struct {
	Service SignInService
	// Passwords sets passwords for the tenant. Nil: its commands to do so are
	// ignored.
	Passwords ResetService
	Lookup    Lookup
	Client    *http.Client // reaches the tenant; see [Config.Client]
	// Sign returns claims as a JWT by the key whose certificate the tenant knows.
	Sign func(claims any) (string, error)
	// Refused is called when the hub does not let this service in, or sends
	// commands by another key than the tenant's, but not often: the tenant
	// may have forgotten its certificate. Nil: nothing is done about it.
	Refused func()
	// DataDir keeps what was carried out over a restart, so that it is not carried
	// out again; nil: it is forgotten.
	DataDir *private.Dir
	Log     *slog.Logger
}

// An Agent holds the connection to the hub and answers its commands.
type Agent struct {
	o        AgentOptions
	settings atomic.Pointer[Settings]
	changed  chan struct{}
	seen     *memory
	recall   *recall
	odd      *bucket // log lines about what is odd
	oddUsers *bucket // the same for GET /users, which anybody can ask
	pace     *bucket // frames
	doubts   *bucket // questions whether the tenant has another key
	running  sync.WaitGroup
	slots    chan struct{} // commands that are being answered
	lookups  chan struct{} // of which are lookups
	resets   chan struct{} // and of which set passwords
	asked    room          // for lookups, with those that wait
	ordered  room          // for passwords to set, likewise
	turns    *turns
	tally    tally
}

// Client returns what reaches the tenant and its hub.
func (c Config) Client() (*http.Client, error) { return newClient(c) }

// NewAgent returns an agent that connects as soon as it has settings.
func NewAgent(o AgentOptions) *Agent {
	seen := newMemory(maxRemembered)
	return &Agent{
		o:        o,
		changed:  make(chan struct{}, 1),
		seen:     seen,
		recall:   &recall{dir: o.DataDir, memory: seen, log: o.Log},
		odd:      newBucket(oddPerSecond, oddBurst),
		oddUsers: newBucket(oddPerSecond, oddBurst),
		pace:     newBucket(framesPerSecond, framesBurst),
		doubts:   newBucket(1/doubtEvery.Seconds(), 1),
		slots:    make(chan struct{}, maxRunning),
		lookups:  make(chan struct{}, maxLookups),
		resets:   make(chan struct{}, maxResets),
		asked:    make(room, maxWaiting),
		ordered:  make(room, maxWaiting),
		turns:    &turns{names: map[string]*turn{}},
	}
}

// Use makes the agent connect by s, which the tenant said. It takes effect at
// once if the hub is another one.
func (a *Agent) Use(s *Settings) {
	if old := a.settings.Swap(s); old != nil && s.sameHub(old) {
		return
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Realm returns the tenant's realm, "" as long as nobody knows it.
func (a *Agent) Realm() string {
	if s := a.settings.Load(); s != nil {
		return s.Realm
	}
	return ""
}

// errRefused is why a connection ended that the hub would not have.
var errRefused = errors.New("the hub refuses this service (authentication_failure): its certificate or the connection's name is not what the tenant knows; it is tried again, and nothing else is affected")

// Run keeps a connection until ctx ends, and then answers what is being answered
// before it closes it.
func (a *Agent) Run(ctx context.Context) {
	a.recall.open(time.Now())
	defer a.recall.close()
	defer a.running.Wait()
	failed, refused := 0, 0
	anew := newBucket(letInAnew/letInAnewIn.Seconds(), letInAnew)
	for ctx.Err() == nil {
		s := a.settings.Load()
		if s == nil {
			a.pause(ctx, lastRefused)
			continue
		}
		began := time.Now()
		letIn, err := a.connect(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= steady {
			failed, refused = 0, 0
		} else if letIn {
			if ok, _ := anew.take(); ok {
				failed = 0
			}
		}
		var wait time.Duration
		if errors.Is(err, errRefused) {
			wait = backoff(firstRefused, lastRefused, refused)
			refused++
			if a.o.Refused != nil {
				a.o.Refused()
			}
		} else {
			wait = backoff(firstReconnect, lastReconnect, failed)
			failed++
		}
		a.o.Log.Warn("hub: not connected", "err", err, "next_try", wait.Round(time.Millisecond).String())
		a.pause(ctx, wait)
	}
}

// doubtKey has the tenant asked whether it signs with another key by now.
func (a *Agent) doubtKey() {
	if ok, _ := a.doubts.take(); ok && a.o.Refused != nil {
		a.o.Refused()
	}
}

// backoff returns how long to wait after that many failures in a row, at random
// so that many agents do not come back at the same time.
func backoff(first, last time.Duration, failed int) time.Duration {
	d := min(first<<min(failed, 16), last)
	return d/2 + rand.N(d/2)
}

// pause waits, but not longer than the settings stay what they are.
func (a *Agent) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a.changed:
	case <-t.C:
	}
}

// strange counts that something of the hub was ignored, and logs it.
func (a *Agent) strange(o oddity, format string, args ...any) { a.ignore(a.odd, o, format, args...) }

// ignore counts and logs what was ignored. Whoever sends nothing else must not fill
// the disk, so lines are limited.
func (a *Agent) ignore(lines *bucket, o oddity, format string, args ...any) {
	a.tally.ignore(o)
	ok, dropped := lines.take()
	if !ok {
		return
	}
	line := a.o.Log.With()
	if dropped > 0 {
		line = line.With("not_logged_before", dropped)
	}
	line.Warn("hub: a message was ignored", "err", fmt.Errorf(format, args...))
}
