package connector_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/dirtest"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// A blow is something that happens to a directory while a tenant has asked for
// many sign-ins at once.
type blow struct {
	name   string
	lasts  time.Duration
	happen func(testing.TB, *dirtest.Server) (restore func())
	// harmless says that nobody's sign-in may fail for it.
	harmless bool
}

var blows = []blow{
	{"slow", chaosTimeout / 4, freeze, true},
	{"hangs", chaosTimeout + time.Second, freeze, false},
	{"packets dropped", chaosLasts, dropPackets, false},
	{"killed and restarted", time.Second, kill, false},
	{"connections reset", 0, func(t testing.TB, s *dirtest.Server) func() { s.HangUp(t); return func() {} }, false},
}

// TestChaosOfTheHub: of a thousand commands at once, each is answered once,
// whatever happens to the directory meanwhile: with a profile or as an unexpected
// error. The connection to the hub goes on, sign-ins work when the directory
// does, and nothing is left over.
func TestChaosOfTheHub(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("blows", func(t *testing.T) {
		for _, b := range blows {
			for _, kind := range bothKinds {
				if raced && kind != dirtest.KindOpenLDAP {
					continue // it is for races of ours
				}
				t.Run(kind+"/"+b.name, func(t *testing.T) {
					t.Parallel()
					b.strike(t, kind)
				})
			}
		}
	})
	goleak.VerifyNone(t, before)
}

func (b *blow) strike(t *testing.T, kind string) {
	server := (&fault{}).start(t, kind)[0]
	lockAfterTen(t, server)
	d := real(server)
	r := prepareRig(t, d, hubSection)
	r.configure("level: debug", "level: warn")
	timeout := chaosTimeout
	if b.harmless {
		timeout = time.Minute // a busy machine is no fault of the directory
	}
	r.configure("  base_dn:", fmt.Sprintf("  timeout: %v\n  base_dn:", timeout))
	tenant := startTenant(t, r)
	r.start()
	c := next(t, tenant)
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
		t.Fatalf("before: %v", p)
	}
	commands := burst(tenant, crowd, d.password)
	_ = r.audit.take()
	for _, jwt := range commands {
		c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": jwt})
	}
	seen := newAnswers(t, c, len(commands))
	seen.wait(len(commands)/20, 10*time.Second) // it is in the middle of them
	began := time.Now()
	restore := b.happen(t, server)
	time.Sleep(b.lasts)
	restore()
	seen.wait(len(commands), timeout+30*time.Second)
	t.Logf("%d profiles, %d unexpected errors, %d wrong passwords, in %v", seen.granted, seen.faults, seen.refused, time.Since(began).Round(time.Millisecond))

	// A password whose check was not answered counts as wrong (see
	// docs/throttling.md), so further commands for the same account may be
	// refused. Nobody else may be told that.
	throttled := strings.Count(r.audit.String(), `"reason":"throttled"`)
	if seen.refused != throttled || b.harmless && seen.granted < len(commands) {
		t.Errorf("%d were refused, %d of them by the throttle, and %d granted", seen.refused, throttled, seen.granted)
	}
	eventually(t, "sign-ins work again", func() bool { return login(t, tenant, c, "jon", d.password)["err"] == nil })
	tenant.Lock()
	if n := len(tenant.Tokens); n != 1 {
		t.Errorf("%d connections to the hub", n)
	}
	tenant.Unlock()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if f, ok := <-c.Frames; ok {
		t.Errorf("one answer too many: %s", f.Event)
	}
	if s := websocket.CloseStatus(c.Err); s != websocket.StatusNormalClosure {
		t.Errorf("closed with %v: %v", s, c.Err)
	}
	eventually(t, "no connection to the directory is left", func() bool { return connections(t, d.url) == 0 })
}

// burst returns a thousand commands, for so many people in turn.
func burst(tenant *hubtest.Tenant, people int, password string) []string {
	commands := make([]string, 1000)
	for i := range commands {
		commands[i] = tenant.Sign(map[string]any{"pid": fmt.Sprint("burst-", i), "username": fmt.Sprintf("u%05d", i%people), "password": password})
	}
	return commands
}

// answers are those that came to a burst.
type answers struct {
	t                        *testing.T
	c                        *hubtest.Conn
	seen                     map[string]bool
	granted, faults, refused int
}

func newAnswers(t *testing.T, c *hubtest.Conn, n int) *answers {
	return &answers{t: t, c: c, seen: make(map[string]bool, n)}
}

// wait takes answers until there are n.
func (a *answers) wait(n int, within time.Duration) {
	a.t.Helper()
	deadline := time.After(within)
	for len(a.seen) < n {
		select {
		case f, ok := <-a.c.Frames:
			if !ok {
				a.t.Fatalf("the connection ended: %v", a.c.Err)
			}
			a.take(f)
		case <-deadline:
			a.t.Fatalf("%d of %d were answered within %v", len(a.seen), n, within)
		}
	}
}

func (a *answers) take(f hubtest.Frame) {
	a.t.Helper()
	if a.seen[f.Event] || !strings.HasPrefix(f.Event, "burst-") || !strings.HasSuffix(f.Event, "_result") {
		a.t.Errorf("an answer to nothing, or a second one: %s", f.Event)
	}
	a.seen[f.Event] = true
	var p struct {
		Err     *struct{ Message string }
		Profile *struct{ Nickname string }
	}
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		a.t.Fatal(err)
	}
	switch {
	case p.Err == nil && p.Profile != nil:
		a.granted++
	case p.Err != nil && p.Err.Message == "Unexpected Error" && p.Profile == nil:
		a.faults++
	case p.Err != nil && p.Err.Message == "Wrong password":
		a.refused++
	default:
		a.t.Errorf("%s: %s", f.Event, f.Payload)
	}
}
