package hub_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/hub/hubtest"
	"adconnector/connector/signin"
)

// TestNobodyWaitsForOthers: sign-ins of one name that wait, and searches that
// the directory does not answer, delay nobody else's sign-in; and all of them are
// answered in the end.
func TestNobodyWaitsForOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		event, suffix string
		count         int
	}{
		"500 sign-ins of one name": {"authenticate_user", "_result", 500},
		"2100 searches":            {"search_users", "_search_users_result", 2100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, door(func(ctx context.Context, a signin.Attempt) (*signin.Identity, error) {
					if a.Credential.(signin.Password).Username == "Jon" {
						time.Sleep(time.Second)
					}
					return open(ctx, a)
				}))
				defer p.stop()
				c := p.next(t, time.Second)
				waiting := map[string]bool{}
				for i := range tt.count {
					pid := fmt.Sprint("slow-", i)
					waiting[pid+tt.suffix] = true
					p.tenant.Command(t.Context(), c, tt.event, map[string]any{"pid": pid, "username": "Jon", "password": "x"})
				}
				began := time.Now()
				p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "quick", "username": "amy", "password": "x"})
				for quick := false; len(waiting) > 0 || !quick; {
					var f hubtest.Frame
					select {
					case f = <-c.Frames:
					case <-time.After(5 * time.Minute):
						t.Fatalf("%d are not answered, somebody else is %t", len(waiting), quick)
					}
					switch {
					case f.Event == "quick_result":
						quick = true
						if waited := time.Since(began); waited > 0 {
							t.Errorf("somebody else waited %v", waited)
						}
					case !waiting[f.Event]:
						t.Errorf("answered twice, or never asked: %s", f.Event)
					}
					delete(waiting, f.Event)
				}
			})
		})
	}
}

// TestF7_MoreCommandsThanThereIsRoomFor: while a directory hangs, so many are
// begun and no more; each of these is answered, once, and then there is room
// again.
func TestF7_MoreCommandsThanThereIsRoomFor(t *testing.T) {
	const room, more = 2048, 52
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int32
		hangs := make(chan struct{})
		p := start(t, door(func(ctx context.Context, a signin.Attempt) (*signin.Identity, error) {
			begun.Add(1)
			<-hangs
			return open(ctx, a)
		}))
		defer p.stop()
		c := p.next(t, time.Second)
		for i := range room + more {
			p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": fmt.Sprint("hung-", i), "username": fmt.Sprint("u", i), "password": "x"})
		}
		synctest.Wait()
		if n := begun.Load(); n != room {
			t.Errorf("%d were begun, want %d", n, room)
		}
		if n := p.agent.Stats().Ignored["too_many"]; n != more {
			t.Errorf("%d were ignored, want %d", n, more)
		}
		close(hangs)
		answered := map[string]bool{}
		for range room {
			f := <-c.Frames
			answered[f.Event] = true
		}
		if len(answered) != room {
			t.Errorf("%d different ones were answered, want %d", len(answered), room)
		}
		p.works(t, c)
	})
}
