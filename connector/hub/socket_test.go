package hub_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Opcodes and bits of WebSocket frames (RFC 6455, section 5.2).
const (
	opContinuation, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10

	fin, reserved1 = 0x80, 0x40
)

// A rawHub is a hub at the level of frames.
type rawHub struct {
	*pair
	conns chan *rawConn
}

// A rawConn is one connection of an agent, which has been let in. Its pings are
// answered as long as it is read from.
type rawConn struct {
	net.Conn
	text  chan []byte // closed at the end
	pongs atomic.Int32
	deaf  atomic.Bool // nothing is read any more
	mute  atomic.Bool // pings are not answered any more

	mu sync.Mutex
}

func startRaw(t *testing.T, p *pair) *rawHub {
	t.Helper()
	h := &rawHub{pair: p, conns: make(chan *rawConn, 100)}
	p.tenant.Lock()
	p.tenant.Hub = h.serve
	p.tenant.Unlock()
	before, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if c, err := p.tenant.Next(before); err == nil { // it was made before that
		_ = c.CloseNow()
	}
	return h
}

func (h *rawHub) serve(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	c := &rawConn{Conn: conn, text: make(chan []byte, 2000)}
	_, _ = io.WriteString(conn, accept(r)+"\r\n")
	go c.read(buffered.Reader)
	<-c.text // authenticate
	c.frame(fin|opText, []byte(`{"n":"authenticated","p":{}}`))
	h.conns <- c
}

// accept returns the head of the answer that opens a WebSocket (RFC 6455, section
// 4.2.2).
func accept(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
}

// read reads frames, which are masked and short.
func (c *rawConn) read(r *bufio.Reader) {
	defer close(c.text)
	for !c.deaf.Load() {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := int64(head[1] &^ 0x80)
		if n == 126 {
			var long [2]byte
			_, _ = io.ReadFull(r, long[:])
			n = int64(binary.BigEndian.Uint16(long[:]))
		}
		data := make([]byte, 4+n)
		if _, err := io.ReadFull(r, data); err != nil {
			return
		}
		mask, data := data[:4], data[4:]
		for i := range data {
			data[i] ^= mask[i%4]
		}
		switch head[0] &^ fin {
		case opText:
			c.text <- data
		case opPing:
			if !c.mute.Load() {
				go c.frame(fin|opPong, data)
			}
		case opPong:
			c.pongs.Add(1)
		}
	}
}

// frame sends one frame of any kind.
func (c *rawConn) frame(first byte, payload []byte) bool {
	return c.send(header(first, len(payload)), payload)
}

func (c *rawConn) send(pieces ...[]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(bytes.Join(pieces, nil))
	return err == nil
}

func header(first byte, n int) []byte {
	switch {
	case n < 126:
		return []byte{first, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
}

// next returns the next connection, which must be there in time.
func (h *rawHub) next(t *testing.T, what string, within time.Duration) *rawConn {
	t.Helper()
	select {
	case c := <-h.conns:
		return c
	case <-time.After(within):
		t.Fatalf("%s: no connection within %v", what, within)
		return nil
	}
}

// command returns a command as it is sent, and the beginning of its answer.
func (h *rawHub) command() (text, answer []byte) {
	pid := "raw-" + strconv.FormatInt(commands.Add(1), 10)
	text, _ = json.Marshal(map[string]any{"n": "authenticate_user", "p": map[string]string{"jwt": h.tenant.Sign(map[string]any{"pid": pid, "username": "jon", "password": "x"})}})
	return text, []byte(`{"n":"` + pid + `_result"`)
}

var commands atomic.Int64

// answered waits for an answer and reports whether it is the right one.
func (c *rawConn) answered(answer []byte) bool {
	select {
	case text := <-c.text:
		return bytes.HasPrefix(text, answer)
	case <-time.After(time.Second):
		return false
	}
}

// works reports whether a command is answered.
func (h *rawHub) works(c *rawConn) bool {
	text, answer := h.command()
	return c.frame(fin|opText, text) && c.answered(answer)
}

// TestF7_OddFramesLeaveTheConnectionUsable: whatever a hub may send by the rules
// of WebSocket is answered or passed over.
func TestF7_OddFramesLeaveTheConnectionUsable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		h := startRaw(t, p)
		c := h.next(t, "first", time.Second)
		defer c.Close()
		for name, odd := range map[string]func() bool{
			"in pieces": func() bool {
				text, answer := h.command()
				c.frame(opText, text[:10])
				c.frame(fin|opPing, []byte("between"))
				c.frame(opContinuation, nil)
				c.frame(opContinuation, text[10:400])
				c.frame(fin|opPong, nil)
				c.frame(fin|opContinuation, text[400:])
				return c.answered(answer)
			},
			"ten thousand pings": func() bool {
				before := c.pongs.Load()
				for range 10_000 {
					c.frame(fin|opPing, bytes.Repeat([]byte{'x'}, 125))
				}
				synctest.Wait()
				return c.pongs.Load() == before+10_000
			},
			"pongs that nobody asked for": func() bool { return c.frame(fin|opPong, []byte("x")) && c.frame(fin|opPong, nil) },
			"binary":                      func() bool { return c.frame(fin|opBinary, []byte{0, 0xff}) },
			"not UTF-8": func() bool {
				return c.frame(fin|opText, []byte("{\"n\":\"authenticate_user\xff\",\"p\":{\"jwt\":\"\xc0\x80\"}}"))
			},
			"empty": func() bool { return c.frame(fin|opText, nil) },
			"1 MB":  func() bool { return c.frame(fin|opText, bytes.Repeat([]byte{'x'}, 1<<20)) },
			"10 MB in pieces": func() bool {
				c.frame(opText, []byte(`{"n":"`))
				for range 10 << 10 {
					c.frame(opContinuation, bytes.Repeat([]byte{'x'}, 1<<10))
				}
				return c.frame(fin|opContinuation, []byte(`"}`))
			},
			"many pieces of nothing": func() bool {
				c.frame(opText, nil)
				for range 20_000 {
					c.frame(opContinuation, nil)
				}
				return c.frame(fin|opContinuation, nil)
			},
			"masked": func() bool { return c.send([]byte{fin | opText, 0x80 | 1, 1, 2, 3, 4, 'x'}) },
			"deep JSON": func() bool {
				return c.frame(fin|opText, []byte(`{"n":"authenticate_user","p":`+strings.Repeat("[", 60_000)))
			},
		} {
			if !odd() || !h.works(c) {
				t.Errorf("%s: the connection is not usable", name)
			}
			time.Sleep(time.Second)
		}
		if len(h.conns) > 0 {
			t.Error("the connection was made anew")
		}
	})
}

// TestF7_BrokenConnectionsAreMadeAnew: what is against the rules, or ends a
// connection, is followed by another one within a second, without memory that
// the hub chose.
func TestF7_BrokenConnectionsAreMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		h := startRaw(t, p)
		closing := func(payload string) func(*rawConn) {
			return func(c *rawConn) { c.frame(fin|opClose, []byte(payload)) }
		}
		for name, odd := range map[string]func(*rawConn){
			"pieces without a beginning": func(c *rawConn) { c.frame(fin|opContinuation, []byte("x")) },
			"another in the middle":      func(c *rawConn) { c.frame(opText, []byte("x")); c.frame(fin|opText, []byte("x")) },
			"compressed, a bomb":         func(c *rawConn) { c.frame(fin|reserved1|opText, bytes.Repeat([]byte{0xff}, 1000)) },
			"unknown opcode":             func(c *rawConn) { c.frame(fin|3, []byte("x")) },
			"long ping":                  func(c *rawConn) { c.frame(fin|opPing, bytes.Repeat([]byte{'x'}, 126)) },
			"ping in pieces":             func(c *rawConn) { c.frame(opPing, []byte("x")) },
			"length below zero":          func(c *rawConn) { c.send([]byte{fin | opText, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) },
			"100 MB": func(c *rawConn) {
				for more := c.send(header(fin|opText, 100<<20)); more; {
					more = c.send(bytes.Repeat([]byte{'x'}, 1<<20))
				}
			},
			"100 MB in pieces": func(c *rawConn) {
				c.frame(opText, []byte("x"))
				for i := 0; i < 100 && c.frame(opContinuation, bytes.Repeat([]byte{'x'}, 1<<20)); i++ {
				}
			},
			"cut in the middle of a frame": func(c *rawConn) { c.send(header(fin|opText, 1000), []byte(`{"n":"auth`)) },
			"cut":                          func(*rawConn) {},
			"closed without a code":        closing(""),
			"closed with half a code":      closing("\x03"),
			"closed with 1000":             closing("\x03\xe8"),
			"closed with 1001":             closing("\x03\xe9going away"),
			"closed with 1008":             closing("\x03\xf0"),
			"closed with 1011":             closing("\x03\xf3"),
			"closed with 4000":             closing("\x0f\xa0" + strings.Repeat("x", 123)),
			"closed with 999":              closing("\x03\xe7"),
			"closed, not UTF-8":            closing("\x03\xe8\xff\xfe"),
		} {
			c := h.next(t, name+": before", time.Minute)
			time.Sleep(31 * time.Second) // it is steady
			if !h.works(c) {
				t.Fatalf("%s: the connection before it does not work", name)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			odd(c)
			if strings.HasPrefix(name, "cut") {
				_ = c.Close()
			}
			again := h.next(t, name, time.Second)
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; strings.HasPrefix(name, "100 MB") && grown > 80<<20 { // of which the hub's 1 MB at a time
				t.Errorf("%s: %d MB were allocated", name, grown>>20)
			}
			if !h.works(again) {
				t.Errorf("%s: the connection after it does not work", name)
			}
			_ = c.Close()
			h.conns <- again
		}
		_ = (<-h.conns).Close()
	})
}

// TestAHubThatStopsHalfwayIsNoticed: within 15 seconds, whether it stops in the
// middle of a frame, reads nothing any more, or takes everything and says
// nothing; and nothing is left of what was under way.
func TestAHubThatStopsHalfwayIsNoticed(t *testing.T) {
	const all = 1000
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		h := startRaw(t, p)
		c := h.next(t, "first", time.Second)
		for name, stop := range map[string]func(){
			"in the middle of a frame": func() {
				c.send(header(fin|opText, 1000), []byte(`{"n":"auth`))
				c.mute.Store(true)
			},
			"reads nothing": func() {
				var texts [][]byte
				for range all {
					text, _ := h.command()
					texts = append(texts, append(header(fin|opText, len(text)), text...))
				}
				c.deaf.Store(true)
				c.send(texts...)
			},
			"says nothing": func() { p.freeze() },
		} {
			time.Sleep(31 * time.Second)
			if !h.works(c) {
				t.Fatalf("%s: the connection before it does not work", name)
			}
			goroutines := runtime.NumGoroutine()
			stop()
			old := c
			c = h.next(t, name, 16*time.Second)
			if !h.works(c) {
				t.Errorf("%s: the connection after it does not work", name)
			}
			_ = old.Close()
			time.Sleep(time.Second)
			if n := runtime.NumGoroutine(); n > goroutines+10 {
				t.Errorf("%s: %d goroutines, %d before", name, n, goroutines)
			}
		}
		_ = c.Close()
	})
}

// TestAHubThatAnswersOtherwiseIsTriedAgain: a proxy that wants somebody to sign
// in, a hub that is being repaired, or an answer to another question is none of a
// hub. Nobody is followed elsewhere.
func TestAHubThatAnswersOtherwiseIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		c := p.next(t, time.Second)
		var asked, elsewhere, opened atomic.Int32
		unasked := func(header string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, accept(r)+header+"\r\n\r\n")
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				if n, _ := conn.Read(make([]byte, 1)); n > 0 {
					opened.Add(1)
				}
			}
		}
		for name, answer := range map[string]http.HandlerFunc{
			"401": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) },
			"200": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in") },
			"503": func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, strings.Repeat("x", 1<<20), http.StatusServiceUnavailable)
			},
			"302": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://localhost/hub?elsewhere", http.StatusFound)
			},
			"307": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://proxy.test/hub?elsewhere", http.StatusTemporaryRedirect)
			},
			"101 of nothing": raw("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
			"101 of another": raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
			"101 with compression that nobody asked for": unasked("Sec-WebSocket-Extensions: permessage-deflate"),
			"101 with a protocol that nobody asked for":  unasked("Sec-WebSocket-Protocol: chat"),
			"no HTTP":          raw("\x00\x01\x02\r\n"),
			"nothing":          raw(""),
			"half an answer":   raw("HTTP/1.1 101 Swit"),
			"endless header":   raw("HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 1<<20)),
			"an answer, later": func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) },
		} {
			p.tenant.Lock()
			p.tenant.Hub = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery != "" || r.Host != "localhost" {
					elsewhere.Add(1)
				}
				asked.Add(1)
				answer(w, r)
			}
			p.tenant.Unlock()
			asked.Store(0)
			_ = c.CloseNow()
			time.Sleep(2 * time.Minute)
			if n := asked.Load(); n < 2 || n > 20 {
				t.Errorf("%s: asked %d times in two minutes", name, n)
			}
			p.tenant.Lock()
			p.tenant.Hub = nil
			p.tenant.Unlock()
			c = p.next(t, time.Minute)
			p.works(t, c)
			time.Sleep(31 * time.Second)
		}
		if n := elsewhere.Load(); n > 0 {
			t.Errorf("followed elsewhere %d times", n)
		}
		if n := opened.Load(); n > 0 {
			t.Errorf("spoken to %d times although it answered what nobody had asked", n)
		}
	})
}

// raw answers with text as it is, and then hangs up.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

// TestF7_AFloodIsOverInAMoment: more messages than any tenant sends are not
// looked at, and what comes a second later is.
func TestF7_AFloodIsOverInAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		h := startRaw(t, p)
		c := h.next(t, "first", time.Second)
		defer c.Close()
		flood := bytes.Repeat(append(header(fin|opText, 2), "{}"...), 40_000)
		c.send(flood)
		text, answer := h.command()
		c.frame(fin|opText, text)
		if c.answered(answer) { // it waited a second
			t.Error("there is no end to what is looked at")
		}
		if !h.works(c) {
			t.Error("the connection is not usable after a flood")
		}
		if n := p.agent.Stats().Ignored["too_many"]; n < 19_000 || n > 21_000 {
			t.Errorf("%d of 40,000 messages were too many", n)
		}
	})
}
