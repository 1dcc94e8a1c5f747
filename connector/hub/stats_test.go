package hub_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/hub"
	"adconnector/connector/hub/hubtest"
	"adconnector/connector/signin"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// TestConnectionsAndCommandsAreCounted: what was answered, by what it was, and
// whether the connection stands.
func TestConnectionsAndCommandsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(func(ctx context.Context, a signin.Attempt) (*signin.Identity, error) {
			switch a.Credential.(signin.Password).Username {
			case "panic":
				panic("out of order")
			case "fault":
				return nil, errors.New("the directory is down")
			}
			return open(ctx, a)
		}))
		defer p.stop()
		c := p.next(t, time.Second)
		p.works(t, c)
		for _, name := range []string{"panic", "fault"} {
			p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": name, "username": name, "password": "x"})
			<-c.Frames
		}
		synctest.Wait()
		want := map[hub.CommandKind]uint64{{Event: "authenticate_user"}: 1, {Event: "authenticate_user", Failed: true}: 2}
		s := p.agent.Stats()
		if diff := cmp.Diff(want, s.Commands); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}
		if !s.Connected || s.Connects != 1 || s.Refused != 0 || len(s.Ignored) != 0 {
			t.Errorf("%+v", s)
		}

		p.tenant.Lock()
		p.tenant.Refuse = true
		p.tenant.Unlock()
		_ = c.CloseNow()
		_ = p.next(t, 2*time.Second)
		synctest.Wait()
		if s := p.agent.Stats(); s.Connected || s.Connects != 1 || s.Refused != 1 {
			t.Errorf("refused: %+v", s)
		}
	})
}

// TestWhatIsIgnoredIsCountedByWhatIsWrongWithIt, and by nothing that the other
// side can choose.
func TestWhatIsIgnoredIsCountedByWhatIsWrongWithIt(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		c := p.next(t, time.Second)
		forged := &hubtest.Tenant{Key: other}
		now := time.Now().Unix()
		command := func(token string) {
			c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": token})
		}
		claims := map[string]any{"pid": "1", "username": "jon", "password": "x"}
		good := p.tenant.Sign(claims)
		for range 3 { // two are replays
			command(good)
		}
		<-c.Frames
		command(forged.Sign(claims))
		command("a.b.c")
		command(p.tenant.Sign(map[string]any{"pid": "2", "iat": now - 600, "exp": now - 540}))
		command(p.tenant.Sign(map[string]any{"pid": "3", "aud": "urn:other"}))
		command("")
		for _, text := range []string{"{", "{}", `{"n":"canary","p":{}}`, `{"n":"authenticate_user","p":7}`, strings.Repeat("x", 100_000)} {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Write(t.Context(), websocket.MessageBinary, []byte{1}); err != nil {
			t.Fatal(err)
		}
		p.works(t, c)
		synctest.Wait()
		want := map[string]uint64{"replayed": 2, "not_signed": 2, "does_not_hold": 2, "malformed": 4, "unknown_event": 2, "too_large": 1}
		got := p.agent.Stats().Ignored
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for kind := range got {
			if !slices.Contains(hub.Oddities(), kind) {
				t.Errorf("%q is not among the kinds", kind)
			}
		}
	})
}
