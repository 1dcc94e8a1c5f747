package hub

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"adconnector/connector/private"
)

// What outlasts a restart of which commands were carried out.
//
// While the service runs, the file says up to when, by the tenant's clock,
// commands may have been carried out. That is a little ahead of them, so that it
// is written once in a few seconds and not for each. Whatever ends the service,
// commands up to then are refused afterwards. A service that ends in order leaves
// all that it remembers instead, and nothing but that is refused.
//
// The tenant's clock is compared with itself alone: this machine's may be ahead
// of it or behind.
const (
	recallFile = "hub-commands"
	recallHead = "adconnector hub commands 1\n"
	// markAhead is for how long the number holds once it is written, and so for
	// how long fresh commands are refused after a crash.
	markAhead = 5 * time.Second
)

// A recall keeps a memory over a restart.
type recall struct {
	dir    *private.Dir // nil: nothing is kept
	memory *memory
	log    *slog.Logger

	// In seconds since 1970: commands issued up to before are refused, and up to
	// mark they may have been carried out.
	mu           sync.Mutex
	before, mark int64
	marked       bool // the file says so
}

// open takes over what an earlier run has left. A file that is damaged may have
// held anything: what may have been issued by now is refused.
func (r *recall) open(now time.Time) {
	if r.dir == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	data, err := r.dir.Read(recallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return // nothing was ever carried out
	}
	if err == nil {
		err = r.unmarshal(data)
	}
	last := now.Add(skew + markAhead).Unix() // later ones cannot have been taken by now
	if err != nil {
		r.before = last
		r.log.Error("hub: it cannot be read which commands were carried out before this start; those from before it are ignored",
			"file", r.dir.Path(recallFile), "err", err)
	}
	r.before, r.mark = min(r.before, last), min(r.mark, last)
}

func (r *recall) unmarshal(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(recallHead))
	if !ok {
		return errors.New("its first line is not the one of such a file")
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for line := range bytes.Lines(rest) {
		var what string
		var number int64
		if _, err := fmt.Sscanf(string(line), "%s %d\n", &what, &number); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		seen, err := hex.DecodeString(what)
		switch {
		case what == "refused-until":
			r.before = number
		case what == "issued-until":
			r.mark = number
		case err == nil && len(seen) == len(sighting{}):
			r.memory.put(sighting(seen), number)
		default:
			return fmt.Errorf("line %q is of no command", line)
		}
	}
	return nil
}

// admit refuses a command that may have been carried out before this start, and
// makes sure that the next start knows of one that was issued then.
func (r *recall) admit(issued time.Time) error {
	if r.dir == nil {
		return nil
	}
	at := issued.Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	if at <= r.before {
		return errors.New("it may have been carried out before this service was started, which did not end in order the last time")
	}
	if r.marked && at <= r.mark {
		return nil
	}
	r.mark, r.marked = max(r.mark, at+int64(markAhead/time.Second)), true
	if err := r.dir.Write(recallFile, fmt.Appendf([]byte(recallHead), "refused-until %d\n", r.mark)); err != nil {
		// A full disk must not keep everybody out: who replays must be able to
		// write in the tenant's name besides.
		r.log.Error("hub: it cannot be written which commands are carried out; one from before a restart could be carried out again after it", "err", err)
	}
	return nil
}

// close leaves what is remembered to the next run.
func (r *recall) close(now time.Time) {
	if r.dir == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := fmt.Appendf([]byte(recallHead), "refused-until %d\nissued-until %d\n", r.before, r.mark)
	r.memory.mu.Lock()
	r.memory.sweep(unitOf(now))
	for unit, seen := range r.memory.ends {
		for what := range seen {
			out = fmt.Appendf(out, "%x %d\n", what, unit)
		}
	}
	r.memory.mu.Unlock()
	if err := r.dir.Write(recallFile, out); err != nil {
		r.log.Error("hub: it cannot be written which commands were carried out; after the next start some are ignored", "err", err)
	}
}
