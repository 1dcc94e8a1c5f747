package signin

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A tenant can ask for a thousand sign-ins in one moment. A directory that is
// asked all of that at once is slow with each, until none is answered in time. So
// many are put to it together, and the others wait for their turn, in order.
const (
	maxRelayed = 128
	// relayedTurn is how long an attempt keeps others waiting. One that takes
	// longer goes on beside them: it may be about a directory that does not
	// answer, while theirs does.
	relayedTurn = time.Second
)

// A gate lets in so many at the same time.
type gate chan struct{}

// enter waits for a place, which is kept until leave is called, or for
// relayedTurn.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for other sign-ins: %w", context.Cause(ctx))
	}
	free := sync.OnceFunc(func() { <-g })
	turn := time.AfterFunc(relayedTurn, free)
	return func() { turn.Stop(); free() }, nil
}
