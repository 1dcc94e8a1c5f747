package hub

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"adconnector/connector/private"
)

// What outlasts a restart of which commands were carried out: a line in a file
// for each, written before it is carried out. The lines are handed to the system
// one by one, which is enough for whatever may end this service, and to the disk
// about once a second, for what may end the machine.
const (
	recallFile = "hub-commands"
	recallHead = "adconnector hub commands 2\n"
	// recallAnew is after how long a file has more in it that has ended than not.
	recallAnew  = 10 * time.Minute
	recallRetry = 5 * time.Second
	recallSync  = time.Second
	// refusedUntil begins a line that says up to which iat all are refused.
	refusedUntil = "refused-until"
)

// A recall keeps a memory over a restart.
type recall struct {
	dir    *private.Dir // nil: nothing is kept
	memory *memory
	log    *slog.Logger

	mu     sync.Mutex
	before int64     // commands issued up to then, in seconds since 1970, are refused
	file   *os.File  // nil if it cannot be written
	begun  time.Time // when that was tried last
	dirty  bool      // a sync is due
	failed bool      // and that has been told
}

// open takes over what an earlier run has left. A file that is damaged may have
// held anything: what may have been issued by now is refused.
func (r *recall) open(now time.Time) {
	if r.dir == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := now.Add(skew).Unix() // later ones cannot have been taken by now
	data, err := r.dir.Read(recallFile)
	if err == nil {
		err = r.unmarshal(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.before = last
		r.log.Error("hub: it cannot be read which commands were carried out before this start; those from before it are ignored",
			"file", r.dir.Path(recallFile), "err", err)
	}
	r.before = min(r.before, last)
	r.begin(now)
}

func (r *recall) unmarshal(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(recallHead))
	if !ok {
		return errors.New("its first line is not the one of such a file")
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for line := range bytes.Lines(rest) {
		what, text, _ := bytes.Cut(line, []byte(" "))
		text, whole := bytes.CutSuffix(text, []byte("\n"))
		number, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || !whole {
			return fmt.Errorf("line %.80q is of no command", line)
		}
		if string(what) == refusedUntil {
			r.before = max(r.before, number)
			continue
		}
		var seen sighting
		if len(what) != hex.EncodedLen(len(seen)) {
			return fmt.Errorf("line %.80q is of no command", line)
		}
		if _, err := hex.Decode(seen[:], what); err != nil {
			return fmt.Errorf("line %.80q is of no command", line)
		}
		r.memory.put(seen, number)
	}
	return nil
}

// begin starts the file anew, with what is remembered.
func (r *recall) begin(now time.Time) {
	if r.file != nil {
		_ = r.file.Close() // no file that is open can be replaced on Windows
		r.file = nil
	}
	head := []byte(recallHead)
	if r.before > now.Add(-maxAge).Unix() {
		head = fmt.Appendf(head, "%s %d\n", refusedUntil, r.before)
	}
	err := r.dir.Write(recallFile, head, r.memory.lines(now))
	file, also := r.dir.Append(recallFile) // the one before, if it could not be replaced
	if also == nil {
		r.file = file
	}
	r.begun = now
	if err := errors.Join(err, also); err != nil {
		r.complain(err)
	}
}

// admit refuses a command that may have been carried out before this start.
func (r *recall) admit(issued time.Time) error {
	if r.dir == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if issued.Unix() <= r.before {
		return errors.New("it may have been carried out before this service was started: what was carried out then cannot be read")
	}
	return nil
}

// record makes sure that the next start knows of a command.
func (r *recall) record(what sighting, end, now time.Time) {
	if r.dir == nil {
		return
	}
	var line [64]byte
	text := append(hex.AppendEncode(line[:0], what[:]), ' ')
	text = append(strconv.AppendInt(text, unitOf(end), 10), '\n')
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.begun); age >= recallAnew || r.file == nil && age >= recallRetry {
		r.begin(now) // with this one
		return
	}
	if r.file == nil {
		return
	}
	if _, err := r.file.Write(text); err != nil {
		r.complain(err)
		return
	}
	if r.failed = false; !r.dirty {
		r.dirty = true
		time.AfterFunc(recallSync, r.sync)
	}
}

// sync hands to the disk what was written.
func (r *recall) sync() {
	r.mu.Lock()
	file := r.file
	r.dirty = false
	r.mu.Unlock()
	if file == nil {
		return
	}
	// Meanwhile commands go on; a file that is closed has been replaced.
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.complain(err)
	}
}

// complain tells once that nothing is kept. A full disk must not keep everybody
// out: who replays must be able to write in the tenant's name besides.
func (r *recall) complain(err error) {
	if !r.failed {
		r.log.Error("hub: it cannot be written which commands are carried out; one from before a restart could be carried out again after it", "err", err)
	}
	r.failed = true
}

// close ends the file.
func (r *recall) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return
	}
	if err := errors.Join(r.file.Sync(), r.file.Close()); err != nil {
		r.complain(err)
	}
	r.file = nil
}
