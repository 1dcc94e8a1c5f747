package hub_test

import (
	"testing"
	"time"
)

// TestF7_CommandIsCarriedOutOnceUnderAnyEvent: the event is not signed. Who sees a
// sign-in that failed must not make another command of it, such as one that sets
// the password that was tried.
func TestF7_CommandIsCarriedOutOnceUnderAnyEvent(t *testing.T) {
	p := start(t, door(open))
	defer p.stop()
	c := p.next(t, 20*time.Second)
	jwt := p.tenant.Sign(map[string]any{"pid": "once", "username": "jon", "password": "x"})
	for _, event := range []string{"authenticate_user", "search_users", "list_groups", "change_password"} {
		c.Send(t.Context(), event, map[string]string{"jwt": jwt})
	}
	if f := <-c.Frames; f.Event != "once_result" {
		t.Errorf("event %q", f.Event)
	}
	p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "next", "username": "jon", "password": "x"})
	if f := <-c.Frames; f.Event != "next_result" {
		t.Errorf("a command was answered once more, as %q: %s", f.Event, f.Payload)
	}
}
