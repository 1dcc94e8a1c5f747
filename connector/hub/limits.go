package hub

import (
	"slices"
	"sync"
	"time"
)

// Limits on what the hub, or whoever writes in its name, can make this service
// do and remember.
const (
	maxFrame = 64 << 10 // of what is looked at, in bytes
	maxSkip  = 16 << 20 // of what is passed over before the connection is given up

	maxRunning = 2048 // commands that are being answered
	maxLookups = 4    // of which ask the directory for lists

	framesPerSecond, framesBurst = 500, 5000
	oddPerSecond, oddBurst       = 1, 20

	maxRemembered = 1 << 17
)

// A bucket limits how often something may happen.
type bucket struct {
	mu      sync.Mutex
	rate    float64 // per second
	burst   float64
	left    float64
	last    time.Time
	dropped int
}

func newBucket(rate, burst float64) *bucket {
	return &bucket{rate: rate, burst: burst, left: burst, last: time.Now()}
}

// take reports whether it may happen once more, and then how often it might not
// since it last might.
func (b *bucket) take() (ok bool, dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(b.burst, b.left+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	if b.left < 1 {
		b.dropped++
		return false, 0
	}
	b.left--
	dropped, b.dropped = b.dropped, 0
	return true, dropped
}

// A memory knows what was seen not long ago.
type memory struct {
	mu    sync.Mutex
	most  int
	hold  time.Duration
	seen  map[[32]byte]struct{}
	queue []sighting // oldest first
}

type sighting struct {
	what  [32]byte
	until time.Time
}

func newMemory(most int, hold time.Duration) *memory {
	return &memory{most: most, hold: hold, seen: map[[32]byte]struct{}{}}
}

// add reports whether what is new, and why not: it was there before, or there is
// no room to remember it, without which it must not be used either.
func (m *memory) add(what [32]byte, now time.Time) (isNew, full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := 0
	for gone < len(m.queue) && !now.Before(m.queue[gone].until) {
		delete(m.seen, m.queue[gone].what)
		gone++
	}
	m.queue = m.queue[gone:] // append makes a new array when this one has no room at its end
	if _, ok := m.seen[what]; ok {
		return false, false
	}
	if len(m.seen) >= m.most {
		return false, true
	}
	m.seen[what] = struct{}{}
	m.queue = append(m.queue, sighting{what, now.Add(m.hold)})
	return true, false
}

// put adds what an earlier run has seen.
func (m *memory) put(what [32]byte, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.seen[what]; ok || len(m.seen) >= m.most {
		return
	}
	m.seen[what] = struct{}{}
	m.queue = append(m.queue, sighting{what, until})
}

// all returns what is remembered, oldest first.
func (m *memory) all() []sighting {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.queue)
}
