package hub

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"adconnector/connector/private"
)

// A run is what one run of the service knows of commands.
type run struct {
	*memory
	*recall
}

func begin(t *testing.T, dir *private.Dir, now time.Time) run {
	t.Helper()
	m := newMemory(maxRemembered)
	r := &recall{dir: dir, memory: m, log: slog.New(slog.DiscardHandler)}
	r.open(now)
	return run{m, r}
}

// takes reports whether a command that was issued then, and holds for as long as
// any may, is carried out.
func (r run) takes(command uint64, issued, now time.Time) bool {
	end := issued.Add(maxAge)
	if !now.Before(end) || r.admit(issued) != nil {
		return false
	}
	isNew, _ := r.add(sight(command), end.Add(skew), now)
	if isNew {
		r.record(sight(command), end.Add(skew), now)
	}
	return isNew
}

func TestF7_NothingIsCarriedOutAgainAfterARestart(t *testing.T) {
	const ahead = 40 * time.Second
	for name, tt := range map[string]struct {
		clock   time.Duration // of the tenant, less ours
		inOrder bool
	}{
		"in order": {0, true}, "in order, the tenant is ahead": {ahead, true}, "in order, the tenant is behind": {-ahead, true},
		"crash": {0, false}, "crash, the tenant is ahead": {ahead, false}, "crash, the tenant is behind": {-ahead, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
			if err != nil {
				t.Fatal(err)
			}
			now := time.Unix(1_800_000_000, 0)
			issued := func() time.Time { return now.Add(tt.clock) }
			captured := map[uint64]time.Time{}
			n := uint64(0)
			take := func(r run, at time.Time) {
				t.Helper()
				n++
				if !r.takes(n, at, now) {
					t.Fatalf("%d is not carried out", n)
				}
				captured[n] = at
			}
			r := begin(t, dir, now)
			for range 3 { // runs
				for range 20 {
					take(r, issued())
					now = now.Add(time.Second)
				}
				take(r, issued().Add(15*time.Second)) // by a server whose clock is ahead of the others
				take(r, issued())
				if tt.inOrder {
					r.close()
				}
				r = begin(t, dir, now)
				for i, at := range captured {
					if r.takes(i, at, now) {
						t.Errorf("%d is carried out again", i)
					}
				}
				take(r, issued()) // nothing else is refused
			}
		})
	}
}

// TestF7_ADamagedMemoryIsNoneThatIsEmpty: commands from before the start are
// refused, and for no longer than they count.
func TestF7_ADamagedMemoryIsNoneThatIsEmpty(t *testing.T) {
	const line = "000102030405060708090a0b0c0d0e0f 60000000\n"
	for name, content := range map[string]string{
		"empty": "", "other head": "x\n", "no number": recallHead + "refused-until x\n", "short": recallHead + "00ff 12\n", "unknown": recallHead + "refused 12\n",
		"far ahead": recallHead + "refused-until 99999999999\n", "cut off": recallHead + line + line[:40], "cut off in the number": recallHead + line[:len(line)-3],
		"zeros at the end": recallHead + line + strings.Repeat("\x00", 100), "no hash": recallHead + "x" + line[1:],
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir.Path(recallFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			r := begin(t, dir, now)
			if r.takes(1, now, now) || r.takes(2, now.Add(-time.Minute), now) {
				t.Error("a command that may have been carried out was carried out")
			}
			r = begin(t, dir, now) // another crash makes it no better
			if r.takes(3, now, now) {
				t.Error("after a second start a command that may have been carried out was carried out")
			}
			later := now.Add(2 * time.Minute)
			if !r.takes(4, later, later) {
				t.Error("commands are refused for good")
			}
		})
	}
}

// TestTheFileOfCommandsStaysSmall: it holds no more than what came lately, and
// all of that, however long the service runs.
func TestTheFileOfCommandsStaysSmall(t *testing.T) {
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	r := begin(t, dir, now)
	for i := range uint64(24 * 60) {
		now = now.Add(time.Minute)
		if !r.takes(i, now, now) {
			t.Fatalf("%d is not carried out", i)
		}
		data, err := dir.Read(recallFile)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(data, []byte("\n")); n > 25 {
			t.Fatalf("%d lines after %d minutes", n, i)
		}
		if what := sight(i); !bytes.Contains(data, hex.AppendEncode(nil, what[:])) {
			t.Fatalf("%d is not in the file", i)
		}
	}
}

// TestCommandsAreCarriedOutOnAFullDisk: what cannot be written is told once, and
// written as soon as it can be.
func TestCommandsAreCarriedOutOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	dir, err := private.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := &recall{dir: dir, memory: newMemory(maxRemembered), log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := os.Rename(path, path+".away"); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	now := time.Now()
	r.open(now)
	both := run{r.memory, r}
	var issued []time.Time
	take := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if !both.takes(uint64(len(issued)), now, now) {
			t.Errorf("%d is not carried out", len(issued))
		}
		issued = append(issued, now)
	}
	for range 10 {
		take(time.Second)
	}
	if n := bytes.Count(log.Bytes(), []byte("cannot be written")); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.Bytes())
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	take(recallRetry)
	again := begin(t, dir, now)
	for i, at := range issued {
		if again.takes(uint64(i), at, now) {
			t.Errorf("%d is carried out again", i)
		}
	}
}

func BenchmarkCommandIsWrittenDown(b *testing.B) {
	dir, err := private.Open(filepath.Join(b.TempDir(), "data"))
	if err != nil {
		b.Fatal(err)
	}
	r := &recall{dir: dir, memory: newMemory(maxRemembered), log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	r.open(now)
	defer r.close()
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		r.record(sight(i), now, now)
	}
}
