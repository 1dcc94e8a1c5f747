package front

import "sync/atomic"

// Stats is what a front has done since the start, and what it does now.
type Stats struct {
	// Asking are handshakes with addresses that are asked for a certificate, Plain
	// those with others.
	Asking, Plain Handshakes
	Open          int // connections, those in their handshake included
	Shaking       int // handshakes in progress
	// Closed is how many connections were closed because there were too many of
	// them, or too many handshakes.
	Closed uint64
}

// Handshakes counts handshakes by how they ended.
type Handshakes struct{ Done, Failed uint64 }

// handshakes counts them while they happen.
type handshakes struct{ done, failed atomic.Uint64 }

func (h *handshakes) count(err error) {
	if err == nil {
		h.done.Add(1)
	} else {
		h.failed.Add(1)
	}
}

func (h *handshakes) load() Handshakes { return Handshakes{h.done.Load(), h.failed.Load()} }

// Stats tells what f has done.
func (f *Front) Stats() Stats {
	open, tooMany := f.connections.stats()
	shaking, tooManyShaking := f.handshakes.stats()
	return Stats{
		Asking: f.asking.load(), Plain: f.plain.load(),
		Open: open, Shaking: shaking, Closed: tooMany + tooManyShaking,
	}
}

// stats returns how many places are taken, and how many connections have been
// closed because of these limits.
func (l *limits) stats() (taken int, closed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.count, l.closedEver
}
