package hub

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// The times of one connection. A peer that is gone is noticed within pingEvery
// and pongWithin.
const (
	dialTimeout  = 20 * time.Second
	loginTimeout = 10 * time.Second
	pingEvery    = 5 * time.Second
	pongWithin   = 8 * time.Second
	writeTimeout = 10 * time.Second
	drainTimeout = 8 * time.Second
)

// A link is one connection to the hub.
type link struct {
	a        *Agent
	conn     *websocket.Conn
	settings *Settings
	key      *rsa.PublicKey
	ctx      context.Context // ends with the connection //nolint:containedctx // that is what a link is

	mu       sync.Mutex
	closing  bool
	inFlight sync.WaitGroup
	accepted sync.Once
	let      chan struct{} // closed when the hub has let this service in
}

// A frame is what travels, both ways.
type frame struct {
	Event   string          `json:"n"`
	Payload json.RawMessage `json:"p"`
}

// connect holds one connection until it ends, and says why it did, and whether
// the hub had let this service in.
func (a *Agent) connect(ctx context.Context, s *Settings) (letIn bool, err error) {
	key, err := s.key()
	if err != nil {
		return false, err
	}
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(dial, s.socket(), &websocket.DialOptions{HTTPClient: a.o.Client}) //nolint:bodyclose // it is the connection
	if err != nil {
		return false, explain(s.host(), err)
	}
	defer func() { _ = conn.CloseNow() }()
	defer a.tally.connected.Store(false)
	conn.SetReadLimit(-1) // see read

	// The end of ctx is not the end of the connection: what is being answered
	// comes first.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	l := &link{a: a, conn: conn, settings: s, key: key, ctx: life, let: make(chan struct{})}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer end(nil)
	helpers.Go(func() { l.watch(ctx, end) })
	if err := l.login(); err != nil {
		return false, err
	}
	err = l.read()
	select {
	case <-l.let:
		letIn = true
	default:
	}
	if cause := context.Cause(life); cause != nil {
		return letIn, cause
	}
	return letIn, err
}

// login says who this service is.
func (l *link) login() error {
	now := time.Now()
	token, err := l.a.o.Sign(map[string]any{
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"aud": l.settings.Realm, "iss": l.settings.ConnectionName,
	})
	if err != nil {
		return err
	}
	return l.send("authenticate", map[string]string{"jwt": token})
}

// watch ends the connection when the hub does not let this service in, when it
// is gone, and in an orderly way when ctx ends or other settings hold.
func (l *link) watch(ctx context.Context, end context.CancelCauseFunc) {
	login := time.NewTimer(loginTimeout)
	defer login.Stop()
	var ping <-chan time.Time
	let := l.let
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ctx.Done():
			l.drain()
			return
		case <-l.a.changed:
			if l.a.settings.Load().sameHub(l.settings) {
				continue // it changed before this connection was made
			}
			l.drain()
			end(errors.New("the tenant has changed the connection"))
			return
		case <-login.C:
			end(fmt.Errorf("the hub does not say within %v whether it lets this service in", loginTimeout))
			return
		case <-let:
			let = nil
			login.Stop()
			t := time.NewTicker(pingEvery)
			defer t.Stop()
			ping = t.C
		case <-ping:
			alive, cancel := context.WithTimeout(l.ctx, pongWithin)
			err := l.conn.Ping(alive)
			cancel()
			if err != nil {
				end(fmt.Errorf("the hub does not answer a ping within %v", pongWithin))
				return
			}
		}
	}
}

// sameHub reports whether a connection by t need not be made anew for s.
func (s *Settings) sameHub(t *Settings) bool {
	return s.Hub == t.Hub && s.Realm == t.Realm && s.ConnectionName == t.ConnectionName && s.SigningKey == t.SigningKey
}

// drain answers what is being answered and says goodbye.
func (l *link) drain() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); l.inFlight.Wait() }()
	t := time.NewTimer(drainTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-l.ctx.Done():
	}
	_ = l.conn.Close(websocket.StatusNormalClosure, "")
}

// read takes frames until the connection ends.
func (l *link) read() error {
	for {
		kind, r, err := l.conn.Reader(l.ctx)
		if err != nil {
			return ended(err)
		}
		data, err := io.ReadAll(io.LimitReader(r, maxFrame+1))
		if err != nil {
			return ended(err)
		}
		if len(data) > maxFrame {
			n, err := io.Copy(io.Discard, io.LimitReader(r, maxSkip))
			if err != nil {
				return ended(err)
			}
			if n == maxSkip {
				return fmt.Errorf("the hub sends a message of more than %d bytes", maxSkip)
			}
			l.a.strange(oddSize, "it has more than %d bytes", maxFrame)
			continue
		}
		if ok, _ := l.a.pace.take(); !ok {
			l.a.strange(oddRate, "more than %d messages come in a second", framesPerSecond)
			continue
		}
		if kind != websocket.MessageText {
			l.a.strange(oddForm, "it is not text")
			continue
		}
		if err := l.take(data); err != nil {
			return err
		}
	}
}

// ended says how the hub ended a connection.
func ended(err error) error {
	if status := websocket.CloseStatus(err); status >= 0 {
		return fmt.Errorf("the hub closed the connection (%v)", status)
	}
	return fmt.Errorf("the connection to the hub broke off: %w", err)
}

// take does what one frame asks for. An error ends the connection.
func (l *link) take(data []byte) error {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		l.a.strange(oddForm, "it is not JSON with an event")
		return nil
	}
	switch f.Event {
	case "authenticated":
		l.accepted.Do(func() {
			l.a.tally.connect()
			l.a.o.Log.Info("hub: connected", "connection", l.settings.ConnectionName)
			close(l.let)
		})
		return nil
	case "authentication_failure":
		l.a.tally.refused.Add(1)
		return errRefused
	}
	answer := l.answers(f.Event)
	switch {
	case answer == nil && f.Event == "change_password":
		l.a.strange(oddEvent, "change_password: hub.allow_password_change is not on")
		return nil
	case answer == nil:
		l.a.strange(oddEvent, "its event %.40q is none that this service knows", f.Event)
		return nil
	}
	var p struct {
		JWT string `json:"jwt"`
	}
	if err := json.Unmarshal(f.Payload, &p); err != nil || p.JWT == "" {
		l.a.strange(oddForm, "%s: it has no JWT", f.Event)
		return nil
	}
	c, err := l.a.verify(p.JWT, l.settings, l.key, time.Now())
	if err != nil {
		l.a.strange(oddityOf(err), "%s: %w", f.Event, err)
		if errors.Is(err, errNotTenant) {
			l.a.doubtKey()
		}
		return nil
	}
	l.start(c, l.a.tally.counted(f.Event, answer))
	return nil
}

// start answers a command beside others. A directory that is slow with one keeps
// none of the others waiting.
func (l *link) start(c *command, answer *answerer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return // another agent, or the next start, is asked again
	}
	select {
	case l.a.slots <- struct{}{}:
	default:
		l.a.strange(oddRate, "%d commands are being answered already", maxRunning)
		return
	}
	l.inFlight.Add(1)
	l.a.running.Go(func() {
		defer l.inFlight.Done()
		defer func() { <-l.a.slots }()
		event, payload := l.run(c, answer)
		if err := l.send(event, payload); err != nil && l.ctx.Err() == nil {
			l.a.o.Log.Warn("hub: an answer could not be sent", "err", err)
		}
	})
}

// send writes one frame.
func (l *link) send(event string, payload any) error {
	data, err := encode(event, payload)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTimeout)
	defer cancel()
	return l.conn.Write(ctx, websocket.MessageText, data)
}
