package ldapauth

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A late socket hears of the end of its time before the context does.
type late struct{ tries []time.Duration }

func (l *late) try(ctx context.Context) (int, error) {
	deadline, _ := ctx.Deadline()
	l.tries = append(l.tries, time.Until(deadline))
	if len(l.tries) == 3 {
		return 1, nil
	}
	parent, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	<-parent.Done() // at the same moment as ctx, which may not have noticed yet
	return 0, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
}

func TestAConnectionThatIsLateIsBegunAnewWithTwiceTheTime(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var l late
			if v, err := patiently(ctx, time.Second, l.try); v != 1 || err != nil {
				t.Fatalf("%d, error %v after %v", v, err, l.tries)
			}
			for i, d := range l.tries {
				if want := time.Second << i; d != want {
					t.Errorf("try %d has %v, want %v", i, d, want)
				}
			}
		})
	}
}
