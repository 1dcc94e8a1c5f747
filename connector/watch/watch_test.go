package watch_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/watch"
)

const interval = watch.DefaultInterval

// bench is a watcher over the files cert and key in a folder, in a bubble where
// time passes only when everybody waits. The files themselves live outside: for
// the bubble, they were written decades ahead, and so they are always read.
type bench struct {
	t      *testing.T
	folder string
	calls  atomic.Int32
}

// watched runs f with a watcher that is running.
func watched(t *testing.T, f func(b *bench)) {
	t.Helper()
	b := &bench{t: t, folder: t.TempDir()}
	b.write("cert", "one")
	b.write("key", "one")
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		w := watch.New(0)
		w.Add([]string{b.path("cert"), b.path("key")}, func() { b.calls.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx)
		time.Sleep(interval / 2) // from now on between two looks
		f(b)
	})
}

func (b *bench) path(name string) string { return filepath.Join(b.folder, name) }

func (b *bench) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// after lets n looks pass and says how many calls there should be by then.
func (b *bench) after(n, calls int, what string) {
	b.t.Helper()
	time.Sleep(time.Duration(n) * interval)
	synctest.Wait()
	if got := int(b.calls.Load()); got != calls {
		b.t.Errorf("%s: %d calls, want %d", what, got, calls)
	}
}

func TestOneCallForOneChange(t *testing.T) {
	watched(t, func(b *bench) {
		b.after(5, 0, "nothing happened")
		b.write("cert", "two")
		b.write("key", "two")
		b.after(1, 0, "seen for the first time")
		b.after(1, 1, "seen again")
		b.after(5, 1, "nothing more happened")
		b.write("cert", "six") // same length
		b.after(2, 2, "another change")
	})
}

func TestWaitsUntilTheFilesSettle(t *testing.T) {
	watched(t, func(b *bench) {
		for _, part := range []string{"t", "tw", "two"} { // a slow copy
			b.write("cert", part)
			b.after(1, 0, "still growing")
		}
		b.write("key", "two") // and its companion
		b.after(1, 0, "the key has just come")
		b.after(1, 1, "both are there")
	})
}

func TestSameContentIsNoChange(t *testing.T) {
	watched(t, func(b *bench) {
		b.write("cert", "one")
		b.after(3, 0, "written anew with what it held")
		b.write("cert", "two")
		b.after(1, 0, "seen for the first time")
		b.write("cert", "one")
		b.after(3, 0, "put back before it settled")
	})
}

func TestFileThatGoesAndComesBack(t *testing.T) {
	watched(t, func(b *bench) {
		if err := os.Remove(b.path("key")); err != nil {
			t.Fatal(err)
		}
		b.after(2, 1, "gone")
		if err := os.Mkdir(b.path("key"), 0o700); err != nil {
			t.Fatal(err)
		}
		b.after(2, 1, "a folder is still no file")
		if err := os.Remove(b.path("key")); err != nil {
			t.Fatal(err)
		}
		b.write("key", "one")
		b.after(2, 2, "back")
	})
}

// TestFlippedLink does what Kubernetes does with a mounted secret: the files
// are links through a link to a folder, and only that one is replaced.
func TestFlippedLink(t *testing.T) {
	folder := t.TempDir()
	for version, content := range map[string]string{"v1": "one", "v2": "two"} {
		if err := os.Mkdir(filepath.Join(folder, version), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, version, "cert")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // also for the bubble: not read again for its age
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		temp := filepath.Join(folder, "temp")
		if err := os.Symlink(target, temp); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		if err := os.Rename(temp, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("v1", "..data")
	link(filepath.Join("..data", "cert"), "cert")
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, folder: folder}
		w := watch.New(0)
		w.Add([]string{b.path("cert")}, func() { b.calls.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx)
		time.Sleep(interval / 2)
		b.after(3, 0, "nothing happened")
		link("v2", "..data")
		b.after(2, 1, "flipped")
	})
}

// TestOldFileIsNotReadAgain: content is compared only when size, time or file
// are others, so that large files cost nothing. Seen from outside: a content
// that changed without any trace is not noticed.
func TestOldFileIsNotReadAgain(t *testing.T) {
	watched(t, func(b *bench) {
		old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
		age := func() {
			b.t.Helper()
			if err := os.Chtimes(b.path("cert"), old, old); err != nil {
				b.t.Fatal(err)
			}
		}
		age()
		b.after(3, 0, "another time and the same content")
		b.write("cert", "two")
		age()
		b.after(3, 0, "no trace")
		b.write("cert", "three")
		age()
		b.after(2, 1, "another size")
	})
}

// TestFileOfJustNowIsReadAgain: two writes within one step of the file system's
// clock leave the same time behind.
func TestFileOfJustNowIsReadAgain(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, folder: folder}
		justNow := time.Now().Add(-time.Second) // in the time of the bubble
		write := func(content string) {
			b.write("cert", content)
			if err := os.Chtimes(b.path("cert"), justNow, justNow); err != nil {
				t.Fatal(err)
			}
		}
		write("one")
		w := watch.New(0)
		w.Add([]string{b.path("cert")}, func() { b.calls.Add(1) })
		write("two")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx)
		time.Sleep(interval / 2)
		b.after(2, 1, "the same time and the same size")
	})
}

func TestGroupsAreSeparate(t *testing.T) {
	watched(t, func(b *bench) {
		var other atomic.Int32
		w := watch.New(interval)
		w.Add(nil, func() { t.Error("no files, no change") })
		w.Add([]string{b.path("other")}, func() { other.Add(1) })
		ctx, cancel := context.WithCancel(b.t.Context())
		defer cancel()
		go w.Run(ctx)
		b.write("other", "x")
		b.after(3, 0, "another group's file")
		if got := other.Load(); got != 1 {
			t.Errorf("calls = %d, want 1", got)
		}
	})
}
