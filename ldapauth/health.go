package ldapauth

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// What is waited for a server that has not answered.
const (
	// maxPatience is how long a server may say nothing before the next one is
	// asked too. It is far more than an indexed search takes and far less than
	// people wait; a short ldap.timeout makes it shorter (see [patience]).
	maxPatience = time.Second
	// firstPause and maxPause bound the pauses between two looks at a server
	// that is not well. Each is half as long again as the one before. The only
	// server there is gets no such respite: everybody waits for it.
	firstPause = 800 * time.Millisecond
	maxPause   = 5 * time.Second
	// calm is how long a server must have been well for its next trouble to be
	// a first one.
	calm = time.Minute
)

var errSilent = errors.New("it has stopped answering: check whether the server hangs, and the firewalls in between")

// patience returns how long a server may say nothing when every call ends
// after timeout: a third of that, so that two more servers can be asked.
func patience(timeout time.Duration) time.Duration { return min(maxPatience, timeout/3) }

// health is what is remembered of a server's condition, so that its trouble
// costs one request some time and later ones none.
//
// A server is passed over from the first sign of trouble until it was looked at
// on a fresh connection and answered. The first look follows at once: what only
// seemed to be trouble, such as one search that takes long on a server with
// nothing else to do, is over within milliseconds and not worth a line in the
// log. A server that looks well and then is in trouble again does not flap: the
// looks after a second trouble within a minute come as late as if the first had
// lasted.
//
// Being passed over is no more than that. When no server is well they are all
// asked, so no fault is remembered for longer than it lasts.
type health struct {
	look  func()      // connects afresh, asks something and reports to found
	alone func() bool // there is no other server
	spawn func(func()) bool
	ctx   context.Context //nolint:containedctx // ends with the server's use, not with any call
	now   func() time.Time
	log   *slog.Logger // names the server

	mu      sync.Mutex
	trouble error // why it is passed over; nil: it is well
	since   int64 // of the trouble; see [monotonic]
	said    bool  // the log knows of the trouble
	spells  int   // troubles, each within a minute of the one before
	last    time.Time
	stop    context.CancelFunc // ends the looking
}

// isWell reports whether the server may be asked before others that are not.
func (h *health) isWell() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trouble == nil
}

// troubledSince returns when the present trouble began.
func (h *health) troubledSince() (ticks int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, h.trouble != nil
}

// doubt records a sign of trouble, after which the server is looked at.
func (h *health) doubt(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trouble != nil || h.ctx.Err() != nil {
		return
	}
	h.begin(err, 0)
}

// found records what came of a connection to the server: nil that it answered
// as it should.
func (h *health) found(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ctx.Err() != nil:
		return
	case err == nil && h.trouble == nil:
		return
	case err == nil:
		h.trouble = nil
		h.last = h.now()
		h.stop()
		if h.said {
			h.log.Info("directory server is back")
		}
		return
	case h.trouble == nil:
		h.begin(err, 1)
	}
	if !h.said {
		h.said = true
		h.log.Warn("directory server failed", "error", err)
	}
}

// begin notes a trouble and starts looking; looks is how often that has been
// done already. The caller holds the lock.
func (h *health) begin(err error, looks int) {
	now := h.now()
	if now.Sub(h.last) > calm {
		h.spells = 0
	}
	looks += h.spells
	h.spells++
	h.trouble, h.since, h.said, h.last = err, monotonic(), false, now
	ctx, stop := context.WithCancel(h.ctx)
	h.stop = stop
	if !h.spawn(func() { h.watch(ctx, looks) }) {
		stop()
	}
}

// watch looks at the server until it is well.
func (h *health) watch(ctx context.Context, looks int) {
	for ; ctx.Err() == nil; looks++ {
		if pause(ctx, pauseBefore(looks, h.alone())) {
			h.look()
		}
	}
}

// pauseBefore returns the pause before a look at a server that has been looked
// at so many times. Chance keeps many connectors from looking all at once.
func pauseBefore(looks int, alone bool) time.Duration {
	if looks == 0 {
		return 0
	}
	d := firstPause
	for ; looks > 1 && d < maxPause && !alone; looks-- {
		d = d * 3 / 2
	}
	return jitter(min(d, maxPause))
}

// jitter returns d, a fifth more or less.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5) //nolint:gosec // nobody gains by guessing it
}

// pause reports whether d passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// patiently calls try until it comes to an end that is not the end of its time:
// first for the given time, then for twice as long and so on, until ctx ends.
//
// A connection is begun anew instead of being waited for because what the
// network loses is sent again ever more rarely: one that was begun while packets
// were dropped can be seconds late when they no longer are.
func patiently[T any](ctx context.Context, first time.Duration, try func(context.Context) (T, error)) (T, error) {
	for bound := first; ; bound *= 2 {
		limited, cancel := context.WithTimeoutCause(ctx, bound, errNoAnswer)
		v, err := try(limited)
		late := isOver(limited)
		cancel()
		if err == nil || !late || ctx.Err() != nil {
			return v, err
		}
	}
}

// isOver reports whether ctx has ended or had to by now: what waits on a socket
// hears of a deadline from another clock, which may be a little ahead.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

var programStart = time.Now()

// monotonic is a clock that only measures: nanoseconds, whatever is done to the
// time of day.
func monotonic() int64 { return int64(time.Since(programStart)) }
