package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Of the commands about one user name so many are carried out at the same time,
// and so many may be there at all. The throttle of the one door refuses what is
// more than people do; a tenant may have more to say of one name, and that must
// neither be refused nor be all that is done.
const (
	maxAtOnce  = 32
	maxPerName = maxRunning / 2
)

// turns lets commands about the same name take turns.
type turns struct {
	mu    sync.Mutex
	names map[string]*turn
}

type turn struct {
	sem  chan struct{}
	here int // that wait or are carried out
}

var errTooMany = errors.New("too many commands about one user name wait")

// take waits for a turn, which lasts until done is called.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	name = strings.ToLower(strings.TrimSpace(name))
	t.mu.Lock()
	x := t.names[name]
	if x == nil {
		x = &turn{sem: make(chan struct{}, maxAtOnce)}
		t.names[name] = x
	}
	if x.here >= maxPerName {
		t.mu.Unlock()
		return nil, errTooMany
	}
	x.here++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if x.here--; x.here == 0 {
			delete(t.names, name)
		}
	}
	select {
	case x.sem <- struct{}{}:
		return func() { <-x.sem; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// A room has place for so many commands of one kind. Those that take long must
// not take the places of sign-ins while they wait.
type room chan struct{}

// enter takes a place, which is there until leave is called.
func (r room) enter() (leave func(), err error) {
	select {
	case r <- struct{}{}:
		return func() { <-r }, nil
	default:
		return nil, fmt.Errorf("%d commands of this kind wait already", cap(r))
	}
}
