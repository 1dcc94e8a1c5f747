package hub

import (
	"fmt"
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
	maxResets  = 4    // of which set passwords, on a connection each
	maxWaiting = 256  // of either that are carried out or wait

	// Each frame costs a signature to verify, some 30 µs.
	framesPerSecond, framesBurst = 10_000, 20_000
	oddPerSecond, oddBurst       = 1, 20

	// maxRemembered takes 40 MB. Of commands that hold for a minute it is as many
	// as come at 8,000 in a second.
	maxRemembered = 1 << 20
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

// A memory knows which commands were carried out, as long as they hold. Those
// that end at about the same time are forgotten together.
type memory struct {
	mu    sync.Mutex
	most  int
	count int
	ends  map[int64]map[sighting]struct{} // by when they end, in units of endUnit since 1970
	swept int64                           // what ended before is gone
}

// A sighting is a command: the beginning of a hash of what was signed.
type sighting [16]byte

// endUnit is small beside the time for which commands hold.
const endUnit = 30 * time.Second

func newMemory(most int) *memory {
	return &memory{most: most, ends: map[int64]map[sighting]struct{}{}}
}

func unitOf(t time.Time) int64 { return t.Unix() / int64(endUnit/time.Second) }

// add reports whether a command is new, and why not: it was there before, or
// there is no room to remember it, without which it must not be carried out
// either. From when end is on it must be refused for its age; the same command
// must come with the same end.
func (m *memory) add(what sighting, end, now time.Time) (isNew, full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(unitOf(now))
	unit := unitOf(end)
	if _, ok := m.ends[unit][what]; ok {
		return false, false
	}
	if m.count >= m.most {
		return false, true
	}
	m.put(what, unit)
	return true, false
}

// sweep forgets what ended before now. The caller holds the lock.
func (m *memory) sweep(now int64) {
	if now == m.swept {
		return
	}
	m.swept = now
	for unit, seen := range m.ends {
		if unit < now {
			m.count -= len(seen)
			delete(m.ends, unit)
		}
	}
}

// lines returns a line for each command that is remembered, as [recall] keeps it.
func (m *memory) lines(now time.Time) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(unitOf(now))
	var lines []byte
	for unit, seen := range m.ends {
		for what := range seen {
			lines = fmt.Appendf(lines, "%x %d\n", what, unit)
		}
	}
	return lines
}

// put remembers a command. The caller holds the lock.
func (m *memory) put(what sighting, unit int64) {
	seen := m.ends[unit]
	if _, ok := seen[what]; ok {
		return
	}
	if seen == nil {
		seen = map[sighting]struct{}{}
		m.ends[unit] = seen
	}
	seen[what] = struct{}{}
	m.count++
}
