// Package control is how an administrator on the same machine talks to a running
// connector: over a Unix socket in data_dir, which nobody opens but the service's
// own account and the administrator. That right is the only proof asked for.
//
// A connection carries one request and one answer, each a JSON object on a line.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"adconnector/connector/private"
)

// socketFile is the name of the socket in data_dir.
const socketFile = "control.sock"

const (
	// maxRequest and maxAnswer bound in bytes what either side reads.
	maxRequest = 64 << 10
	maxAnswer  = 64 << 20
	// maxConnections are served at the same time; further ones wait.
	maxConnections = 8
	// patience is how long a request and its answer may take altogether.
	patience = 10 * time.Second
)

// maxPath is how many bytes the path of a socket may have: what the smallest of
// the systems has room for.
const maxPath = 103

// ErrNotRunning is in the chain of an error that says that nobody answers.
var ErrNotRunning = errors.New("no connector is running with it")

// A Handler answers one kind of request. Its error is told to whoever asked; an
// answer is anything that JSON can write.
type Handler func(ctx context.Context, args json.RawMessage) (any, error)

type request struct {
	Do   string `json:"do"`
	Args any    `json:"args,omitempty"`
}

type answer struct {
	Error  string          `json:"error,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
}

// Listen opens the socket in dir. A socket that a crashed connector has left
// there is replaced; one that somebody listens on is not.
func Listen(ctx context.Context, dir *private.Dir) (net.Listener, error) {
	path := dir.Path(socketFile)
	if len(path) > maxPath {
		return nil, fmt.Errorf("%s is too long a path for a socket: %d bytes and not at most %d; choose a shorter data_dir", path, len(path), maxPath)
	}
	if c, err := dial(ctx, path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("another connector answers at %s: give each its own data_dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "windows" {
		return ln, nil // it has the rights of the folder
	}
	if err := os.Chmod(path, 0o600); err != nil { // until here those protect it too
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// Serve answers the requests that arrive at ln until ctx ends, and closes ln.
func Serve(ctx context.Context, ln net.Listener, handlers map[string]Handler, log *slog.Logger) {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var served sync.WaitGroup
	defer served.Wait()
	room := make(chan struct{}, maxConnections)
	for {
		room <- struct{}{}
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // too many open files, as a rule
			log.Error("a request of an administrator could not be taken", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			<-room
			continue
		}
		served.Go(func() {
			defer func() { <-room }()
			serve(ctx, c, handlers)
		})
	}
}

// serve answers the one request of a connection.
func serve(ctx context.Context, c net.Conn, handlers map[string]Handler) {
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var q struct {
		Do   string
		Args json.RawMessage
	}
	if json.NewDecoder(io.LimitReader(c, maxRequest)).Decode(&q) != nil {
		return // somebody who looks whether anybody is there
	}
	var a answer
	if err := a.from(ctx, handlers[q.Do], q.Args); err != nil {
		a = answer{Error: err.Error()}
	}
	_ = json.NewEncoder(c).Encode(&a) // whoever asked may be gone
}

func (a *answer) from(ctx context.Context, h Handler, args json.RawMessage) error {
	if h == nil {
		return errors.New("the connector that is running does not know this request: it is of another version; restart it")
	}
	v, err := h(ctx, args)
	if err != nil {
		return err
	}
	a.Answer, err = json.Marshal(v)
	return err
}

// Call sends a request to the connector whose data_dir is dir, and reads the
// answer into what result points to. Without anybody who answers the error is
// [ErrNotRunning].
func Call(ctx context.Context, dir, do string, args, result any) error {
	path := filepath.Join(dir, socketFile)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := dial(ctx, path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run this as the service's account or as an administrator", err)
	case err != nil:
		return fmt.Errorf("data_dir %s: %w: start it, or name the file that it was started with (%w)", dir, ErrNotRunning, err)
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewEncoder(c).Encode(request{do, args}); err != nil {
		return fmt.Errorf("asking the connector: %w", err)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&a); err != nil {
		return fmt.Errorf("reading the connector's answer: %w; if it has just stopped, try again", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return json.Unmarshal(a.Answer, result)
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}
