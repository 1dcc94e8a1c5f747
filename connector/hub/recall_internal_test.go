package hub

import (
	"log/slog"
	"os"
	"path/filepath"
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
					r.close(now)
				}
				r = begin(t, dir, now)
				for i, at := range captured {
					if r.takes(i, at, now) {
						t.Errorf("%d is carried out again", i)
					}
				}
				if tt.inOrder {
					take(r, issued()) // nothing else is refused
				}
				now = now.Add(15*time.Second + markAhead + time.Second)
				take(r, issued())
			}
		})
	}
}

// TestF7_ADamagedMemoryIsNoneThatIsEmpty: commands from before the start are
// refused, and for no longer than they count.
func TestF7_ADamagedMemoryIsNoneThatIsEmpty(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "other head": "x\n", "no number": recallHead + "refused-until x\n", "short": recallHead + "00ff 12\n", "unknown": recallHead + "refused 12\n",
		"far ahead": recallHead + "refused-until 99999999999\n", "cut off": recallHead + "issued-un",
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
			later := now.Add(2 * time.Minute)
			if !r.takes(3, later, later) {
				t.Error("commands are refused for good")
			}
		})
	}
}

// TestTheMemoryIsNotWrittenForEachCommand: the disk must not set the pace.
func TestTheMemoryIsNotWrittenForEachCommand(t *testing.T) {
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r := begin(t, dir, now)
	writes, last := 0, time.Time{}
	for i := range uint64(200) {
		at := now.Add(time.Duration(i) * 100 * time.Millisecond)
		if !r.takes(i, at, at) {
			t.Fatalf("%d is not carried out", i)
		}
		info, err := os.Stat(dir.Path(recallFile))
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().After(last) {
			writes, last = writes+1, info.ModTime()
		}
	}
	if writes > 5 {
		t.Errorf("written %d times in 20 s", writes)
	}
}
