package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"adconnector/connector/control"
	"adconnector/connector/private"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder returns a data_dir whose path is short enough for a socket.
func folder(t *testing.T) (*private.Dir, string) {
	t.Helper()
	parent, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	path := filepath.Join(parent, "data")
	dir, err := private.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// serve answers in dir until the test ends or stop is called.
func serve(t *testing.T, dir *private.Dir) (stop func()) {
	t.Helper()
	ln, err := control.Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		control.Serve(ctx, ln, map[string]control.Handler{
			"echo": func(_ context.Context, args json.RawMessage) (any, error) { return args, nil },
			"fail": func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("it is Sunday") },
		}, slog.New(slog.DiscardHandler))
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func TestARequestGetsItsAnswer(t *testing.T) {
	dir, path := folder(t)
	serve(t, dir)
	for range 20 {
		var got []string
		if err := control.Call(t.Context(), path, "echo", []string{"a", "ü\n"}, &got); err != nil || len(got) != 2 || got[1] != "ü\n" {
			t.Fatalf("Call: %q, %v", got, err)
		}
	}
	if err := control.Call(t.Context(), path, "fail", nil, nil); err == nil || err.Error() != "it is Sunday" {
		t.Errorf("a handler's error: %v", err)
	}
	if err := control.Call(t.Context(), path, "dance", nil, nil); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("an unknown request: %v", err)
	}
}

func TestWithoutAConnectorTheErrorSaysSo(t *testing.T) {
	dir, path := folder(t)
	for _, state := range []string{"never started", "stopped", "crashed"} {
		switch state {
		case "stopped":
			serve(t, dir)()
		case "crashed":
			crash(t, dir)
		}
		err := control.Call(t.Context(), path, "echo", nil, nil)
		if !errors.Is(err, control.ErrNotRunning) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want ErrNotRunning with the folder", state, err)
		}
	}
}

// crash leaves a socket behind that nobody listens on.
func crash(t *testing.T, dir *private.Dir) {
	t.Helper()
	ln, err := control.Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	if _, err := os.Lstat(dir.Path("control.sock")); err != nil {
		t.Fatal(err)
	}
}

func TestTheSocketOfACrashedConnectorIsReplaced(t *testing.T) {
	dir, path := folder(t)
	crash(t, dir)
	serve(t, dir)
	var got int
	if err := control.Call(t.Context(), path, "echo", 7, &got); err != nil || got != 7 {
		t.Errorf("Call: %d, %v", got, err)
	}
}

func TestTheSocketOfALivingConnectorIsNot(t *testing.T) {
	dir, path := folder(t)
	stop := serve(t, dir)
	if _, err := control.Listen(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "its own data_dir") {
		t.Errorf("Listen: %v", err)
	}
	var got int
	if err := control.Call(t.Context(), path, "echo", 7, &got); err != nil || got != 7 {
		t.Errorf("the first one: %d, %v", got, err)
	}
	stop()
	if _, err := os.Lstat(dir.Path("control.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v, want no socket", err)
	}
}

func TestOnlyTheOwnerOpensTheSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has the rights of its folder, which have their test there
	}
	dir, _ := folder(t)
	serve(t, dir)
	info, err := os.Stat(dir.Path("control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestAPathTooLongForASocketIsSaid(t *testing.T) {
	_, path := folder(t)
	dir, err := private.Open(filepath.Join(path, strings.Repeat("x", 100)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "choose a shorter data_dir") {
		t.Errorf("Listen: %v", err)
	}
}

// Whoever sends nothing, nonsense or too much keeps nobody else waiting for
// long, and nothing is read without bound.
func TestSilentAndLoudClientsDoNotStopTheService(t *testing.T) {
	dir, path := folder(t)
	serve(t, dir)
	dial := func() net.Conn {
		c, err := net.Dial("unix", dir.Path("control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range 5 {
		dial() // and says nothing
	}
	for _, text := range []string{"hello\n", `{"do":`, `{"do":"echo","args":"` + strings.Repeat("x", 1<<20) + `"}`} {
		c := dial()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, err := c.Write([]byte(text))
		if u, ok := c.(*net.UnixConn); ok && err == nil {
			_ = u.CloseWrite()
		}
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q got %d bytes, %v; want the end", text, n, err)
		}
	}
	var got int
	if err := control.Call(t.Context(), path, "echo", 7, &got); err != nil || got != 7 {
		t.Errorf("Call: %d, %v", got, err)
	}
}

func TestTheEndDoesNotWaitForSilentClients(t *testing.T) {
	dir, _ := folder(t)
	stop := serve(t, dir)
	for range 20 { // more than are served at a time
		c, err := net.Dial("unix", dir.Path("control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	start := time.Now()
	stop()
	if d := time.Since(start); d > 5*time.Second { // their patience is ten
		t.Errorf("the end took %v", d)
	}
}
