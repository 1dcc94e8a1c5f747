package hub_test

import (
	"context"
	"fmt"
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
