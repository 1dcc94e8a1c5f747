package hub_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/hub"
	"adconnector/connector/hub/hubtest"
	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/ldapauth/testca"
)

// A network connects an agent with a tenant in memory, so that a day is over in
// a moment.
type network struct {
	waiting chan net.Conn
	closed  chan struct{}
	close   sync.Once
	down    atomic.Bool
	dialled atomic.Int32

	mu   sync.Mutex
	last *atomic.Bool // the connection made last says nothing any more
}

func newNetwork() *network {
	return &network{waiting: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.waiting:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.close.Do(func() { close(n.closed) }); return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.dialled.Add(1)
	if n.down.Load() {
		return nil, errors.New("the network is down")
	}
	here, there := net.Pipe()
	frozen := &atomic.Bool{}
	select {
	case n.waiting <- wire{there, frozen}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	n.last = frozen
	n.mu.Unlock()
	return wire{here, frozen}, nil
}

// freeze makes the last connection swallow everything without an end.
func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last.Store(true)
}

type wire struct {
	net.Conn
	frozen *atomic.Bool
}

func (w wire) Write(p []byte) (int, error) {
	if w.frozen.Load() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// A door lets everybody in, or does what a test wants.
type door func(ctx context.Context, a signin.Attempt) (*signin.Identity, error)

func (d door) SignIn(ctx context.Context, a signin.Attempt) (*signin.Identity, error) {
	return d(ctx, a)
}

func open(_ context.Context, a signin.Attempt) (*signin.Identity, error) {
	name := a.Credential.(signin.Password).Username
	return &signin.Identity{ID: "1", Username: name, Nickname: name}, nil
}

// never is a lookup that takes as long as it may.
type never struct{}

func (never) FindPeople(ctx context.Context, _ string, _ int) ([]*signin.Identity, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (never) FindGroups(ctx context.Context, _ string, _ int) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A pair is an agent that runs and its tenant.
type pair struct {
	*network
	tenant  *hubtest.Tenant
	agent   *hub.Agent
	refused atomic.Int32
	stop    func()
}

func start(t *testing.T, service hub.SignInService) *pair {
	t.Helper()
	p := &pair{network: newNetwork()}
	ca, err := testca.New("Tenant CA")
	if err != nil {
		t.Fatal(err)
	}
	if p.tenant, err = hubtest.Serve(p.network, ca, "https://localhost"); err != nil {
		t.Fatal(err)
	}
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p.tenant.Posts = []hubtest.Post{{Certificates: []string{base64.StdEncoding.EncodeToString(keys.Current().Certificate.Raw)}}}
	client, err := hub.Config{}.Client()
	if err != nil {
		t.Fatal(err)
	}
	transport := client.Transport.(*http.Transport)
	transport.Proxy, transport.DialContext, transport.TLSClientConfig.RootCAs = nil, p.dial, p.tenant.Roots()
	p.agent = hub.NewAgent(hub.AgentOptions{
		Service: service, Lookup: never{}, Client: client, Log: slog.New(slog.DiscardHandler),
		Sign:    func(claims any) (string, error) { return keys.Current().JWT(claims) },
		Refused: func() { p.refused.Add(1) },
	})
	p.agent.Use(&hub.Settings{
		Hub: "https://localhost/hub", ConnectionDomain: hubtest.Domain, ConnectionName: hubtest.Connection,
		Realm: hubtest.Realm, SigningKey: p.tenant.SigningKey(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.agent.Run(ctx) }()
	p.stop = func() {
		cancel()
		<-ended
		p.tenant.Close()
		client.CloseIdleConnections()
		for { // connections that were made and not looked at
			gone, cancel := context.WithTimeout(context.Background(), time.Second)
			c, err := p.tenant.Next(gone)
			cancel()
			if err != nil {
				return
			}
			_ = c.CloseNow()
		}
	}
	return p
}

// next returns the next connection, which must be there in time.
func (p *pair) next(t *testing.T, within time.Duration) *hubtest.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := p.tenant.Next(ctx)
	if err != nil {
		t.Fatalf("no connection within %v", within)
	}
	return c
}

// works sends a command and waits for its answer.
func (p *pair) works(t *testing.T, c *hubtest.Conn) {
	t.Helper()
	pid := strconv.Itoa(rand.Int()) // the same command twice in a second is a replay
	p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": pid, "username": "jon", "password": "x"})
	if f, ok := <-c.Frames; !ok || f.Event != pid+"_result" {
		t.Fatalf("answer %+v: %v", f, c.Err)
	}
}

// TestADayOfReconnects: connections that are closed, cut or fall silent are made
// anew, and nothing is left of them. That no goroutine outlives the test is seen
// to by synctest.
func TestADayOfReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		c := p.next(t, time.Second)
		for begin := time.Now(); time.Since(begin) < 24*time.Hour; {
			p.works(t, c)
			time.Sleep(time.Minute + rand.N(15*time.Minute))
			p.works(t, c)
			old, within := c, time.Second // in which the first try is made after a steady connection
			switch rand.N(3) {
			case 0:
				_ = old.CloseNow()
			case 1:
				_ = old.Close(1001, "restart")
			case 2:
				p.freeze()
				within += 15 * time.Second
			}
			c = p.next(t, within)
			_ = old.CloseNow()
		}
	})
}

// TestHubThatIsAwayIsNotFlooded: tries get rarer, down to one in 30 s, and the
// first after its return is not later than that.
func TestHubThatIsAwayIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		c := p.next(t, time.Second)
		p.down.Store(true)
		before := p.dialled.Load()
		_ = c.CloseNow()
		time.Sleep(time.Hour)
		if n := p.dialled.Load() - before; n < 120 || n > 250 {
			t.Errorf("%d tries in an hour", n)
		}
		p.down.Store(false)
		p.works(t, p.next(t, 31*time.Second))
	})
}

func TestRefusalIsRetriedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		c := p.next(t, time.Second)
		p.tenant.Lock()
		p.tenant.Refuse = true
		p.tenant.Unlock()
		_ = c.CloseNow()
		time.Sleep(time.Hour)
		if n := p.refused.Load(); n < 4 || n > 20 {
			t.Errorf("refused %d times in an hour", n)
		}
		p.tenant.Lock()
		p.tenant.Refuse = false
		p.tenant.Unlock()
		for deadline := time.Now().Add(11 * time.Minute); ; {
			c := p.next(t, time.Until(deadline))
			select {
			case <-c.Closed:
				continue // one of those that were refused
			case <-time.After(time.Second):
			}
			p.works(t, c)
			return
		}
	})
}

// TestHubThatSaysNothingIsGivenUp: a hub that takes the connection and never
// says whether it lets this service in is tried again.
func TestHubThatSaysNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		p.tenant.Lock()
		p.tenant.Silent = true
		p.tenant.Unlock()
		c := p.next(t, time.Second)
		select {
		case <-c.Closed: // it was silent already
		case <-time.After(time.Minute):
			_ = c.CloseNow()
		}
		p.tenant.Lock()
		p.tenant.Silent = false
		p.tenant.Unlock()
		p.works(t, p.next(t, time.Minute))
	})
}

// TestPanicIsAnUnexpectedError: one command that fails takes none of the others
// with it.
func TestPanicIsAnUnexpectedError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(func(ctx context.Context, a signin.Attempt) (*signin.Identity, error) {
			switch a.Credential.(signin.Password).Username {
			case "panic":
				panic("out of order")
			case "slow":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return open(ctx, a)
		}))
		defer p.stop()
		c := p.next(t, time.Second)
		for _, name := range []string{"slow", "panic"} {
			p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": name, "username": name, "password": "x"})
		}
		if f := <-c.Frames; f.Event != "panic_result" || !contains(f.Payload, "Unexpected Error") || contains(f.Payload, "out of order") {
			t.Errorf("%s: %s", f.Event, f.Payload)
		}
		p.works(t, c) // while the slow one waits
		if f := <-c.Frames; f.Event != "slow_result" || !contains(f.Payload, "Unexpected Error") {
			t.Errorf("%s: %s", f.Event, f.Payload)
		}
	})
}

func contains(data []byte, text string) bool { return bytes.Contains(data, []byte(text)) }

// TestF7_ACommandIsCarriedOutOnce: a command that comes again, as it was or
// written otherwise, reaches the door no more than once.
func TestF7_ACommandIsCarriedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		p := start(t, door(func(ctx context.Context, a signin.Attempt) (*signin.Identity, error) {
			attempts.Add(1)
			return open(ctx, a)
		}))
		defer p.stop()
		c := p.next(t, time.Second)
		token := p.tenant.Sign(map[string]any{"pid": "once", "username": "jon", "password": "x"})
		for range 3 {
			c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": token})
		}
		_ = c.CloseNow()
		c = p.next(t, 2*time.Second) // nor on another connection
		c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": token})
		p.works(t, c)
		if n := attempts.Load(); n != 2 {
			t.Errorf("%d attempts by two commands", n)
		}
	})
}
