package front_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector/front"
)

// ended waits until the server has closed the connection, or fails the test.
func ended(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%s: read %d bytes, %v; want the connection to be closed", what, n, err)
	}
}

func TestA10_HalfOpenHandshakesAreCappedForEachAddress(t *testing.T) {
	log := new(safeBuffer)
	s := open(t, func(o *front.Options) {
		o.HandshakesPerAddress = 4
		o.HandshakeTimeout = time.Minute
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	browser := s.browser(tls.VersionTLS13)
	var silent []net.Conn
	for range 4 {
		silent = append(silent, s.dial(outside))
	}
	for range 20 {
		ended(t, s.dial(outside), "one more from the same address")
	}
	s.visit(browser, inside) // another address gets in
	if got := strings.Count(log.String(), "too many TLS handshakes"); got != 1 {
		t.Errorf("told %d times, want once: %s", got, log)
	}
	for _, conn := range silent {
		_ = conn.Close()
	}
	eventually(t, func() bool { // those that left make room
		conn := tls.Client(s.dial(outside), browser)
		defer func() { _ = conn.Close() }()
		if conn.Handshake() != nil {
			return false
		}
		<-s.seen
		return true
	})
}

// fill opens n silent connections from each of eight addresses.
func (s *site) fill(n int) (silent []net.Conn) {
	s.t.Helper()
	for i := range 8 {
		for range n {
			silent = append(silent, s.dial(fmt.Sprintf("127.0.0.%d", 11+i)))
		}
	}
	return silent
}

func TestA10_HalfOpenHandshakesAreCappedInAll(t *testing.T) {
	s := open(t, func(o *front.Options) { o.MaxHandshakes, o.HandshakeTimeout = 32, time.Minute })
	s.fill(10)
	s.visit(s.browser(tls.VersionTLS13), outside)
	if n := s.front.InProgress(); n > 32 {
		t.Errorf("%d handshakes in progress, want 32 at the most", n)
	}
}

func TestA10_AFewAddressesKeepNobodyOut(t *testing.T) {
	log := new(safeBuffer)
	s := open(t, func(o *front.Options) {
		o.HandshakesPerAddress, o.MaxHandshakes, o.HandshakeTimeout = 4, 32, time.Minute
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	silent := s.fill(4)
	staying := s.dial(outside) // a place of which it has no more than others
	ended(t, silent[0], "the oldest of all")
	for range 10 {
		s.visit(s.browser(tls.VersionTLS13), inside, card(t, s.people))
	}
	conn := tls.Client(staying, s.browser(tls.VersionTLS13))
	if err := conn.Handshake(); err != nil {
		t.Errorf("who has one place of 32 lost it to those who came later: %v", err)
	}
	if got := strings.Count(log.String(), "too many TLS handshakes"); got != 1 || !strings.Contains(log.String(), "remote=127.0.0.11:") {
		t.Errorf("told %d times, want once and of whom: %s", got, log)
	}
}

func TestA10_SlowHandshakesEnd(t *testing.T) {
	s := open(t, func(o *front.Options) { o.HandshakesPerAddress, o.HandshakeTimeout = 4, 100*time.Millisecond })
	var slow []net.Conn
	for i := range 4 {
		conn := s.dial(outside)
		if i%2 == 1 { // the first bytes of a handshake, and then nothing
			if _, err := conn.Write([]byte{22, 3, 1, 2, 0, 1}); err != nil {
				t.Fatal(err)
			}
		}
		slow = append(slow, conn)
	}
	for _, conn := range slow {
		ended(t, conn, "slow handshake")
	}
	eventually(t, func() bool {
		conn := tls.Client(s.dial(outside), s.browser(tls.VersionTLS13))
		defer func() { _ = conn.Close() }()
		if conn.Handshake() != nil {
			return false
		}
		<-s.seen
		return true
	})
}

// TestA10_FinishedHandshakesDoNotCount: the cap is for handshakes, not for
// people who are connected.
func TestA10_FinishedHandshakesDoNotCount(t *testing.T) {
	s := open(t, func(o *front.Options) { o.HandshakesPerAddress, o.MaxHandshakes = 1, 1 })
	for range 5 {
		var conn *tls.Conn
		eventually(t, func() bool { // the place becomes free right after Accept
			conn = tls.Client(s.dial(outside), s.browser(tls.VersionTLS13))
			return conn.Handshake() == nil
		})
		<-s.seen
	}
}

// enter connects and stays, and reports false if the server hung up.
func (s *site) enter(from string) (*tls.Conn, bool) {
	s.t.Helper()
	conn := tls.Client(s.dial(from), s.browser(tls.VersionTLS13))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return nil, false
	}
	<-s.seen
	return conn, true
}

func TestA10_OpenConnectionsAreCappedForEachAddress(t *testing.T) {
	log := new(safeBuffer)
	s := open(t, func(o *front.Options) {
		o.ConnectionsPerAddress = 4
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	var open []*tls.Conn
	for range 4 {
		_, conn := s.stay(s.browser(tls.VersionTLS13), outside)
		open = append(open, conn)
	}
	for range 10 {
		ended(t, s.dial(outside), "one more from the same address, before its handshake")
	}
	s.visit(s.browser(tls.VersionTLS13), inside)
	if got := strings.Count(log.String(), "too many connections are open"); got != 1 {
		t.Errorf("told %d times, want once: %s", got, log)
	}
	_ = open[0].Close()
	eventually(t, func() bool { // who left made room
		_, ok := s.enter(outside)
		return ok
	})
	for _, conn := range open[1:] {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Errorf("those who were there are not: %v", err)
		}
	}
}

func TestA10_AFewAddressesWithOpenConnectionsKeepNobodyOut(t *testing.T) {
	s := open(t, func(o *front.Options) { o.ConnectionsPerAddress, o.MaxConnections = 4, 32 })
	var first *tls.Conn
	for i := range 8 {
		for range 4 {
			_, conn := s.stay(s.browser(tls.VersionTLS13), fmt.Sprintf("127.0.0.%d", 11+i))
			if first == nil {
				first = conn
			}
		}
	}
	_, staying := s.stay(s.browser(tls.VersionTLS13), outside)
	ended(t, first, "the oldest of all")
	for range 10 {
		s.visit(s.browser(tls.VersionTLS13), inside, card(t, s.people))
	}
	if n := s.front.Open(); n > 32 {
		t.Errorf("%d connections are open, want 32 at the most", n)
	}
	if _, err := staying.Write([]byte("x")); err != nil {
		t.Errorf("who has one of 32 connections lost it to those who came later: %v", err)
	}
}

// TestA10_TurnedAwayTakesNothing: who is refused for one of the limits must not
// be counted in the other.
func TestA10_TurnedAwayTakesNothing(t *testing.T) {
	s := open(t, func(o *front.Options) {
		o.HandshakesPerAddress, o.ConnectionsPerAddress, o.HandshakeTimeout = 3, 2, time.Minute
	})
	for range 2 {
		s.dial(outside)
	}
	for range 10 {
		ended(t, s.dial(outside), "one more")
	}
	eventually(t, func() bool { return s.front.InProgress() == 2 && s.front.Open() == 2 })
}

// TestOpenConnectionsAreCountedDown by whatever ends them.
func TestOpenConnectionsAreCountedDown(t *testing.T) {
	s := open(t, func(o *front.Options) { o.HandshakeTimeout = 100 * time.Millisecond })
	_, conn := s.stay(s.browser(tls.VersionTLS12), outside)
	_, broken := s.stay(s.browser(tls.VersionTLS13), inside, card(t, s.people))
	s.dial(outside) // silent
	if _, err := io.WriteString(s.dial(outside), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return s.front.Open() == 2 })
	if err := broken.NetConn().(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = broken.NetConn().Close() // a reset
	eventually(t, func() bool { return s.front.Open() == 1 })
	_ = conn.Close()
	eventually(t, func() bool { return s.front.Open() == 0 })
}

func TestWhoIsAskedHasTimeForACard(t *testing.T) {
	s := open(t, func(o *front.Options) { o.HandshakeTimeout, o.AskedTimeout = time.Millisecond, time.Minute })
	jon := card(t, s.people)
	browser := s.browser(tls.VersionTLS13)
	typing := make(chan struct{})
	browser.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		<-typing
		return &jon, nil
	}
	conn := tls.Client(s.dial(inside), browser)
	done := make(chan error, 1)
	go func() { done <- conn.Handshake() }()
	ended(t, s.dial(outside), "who is not asked") // by now the short time has passed
	close(typing)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if state := <-s.seen; len(state.PeerCertificates) != 1 {
		t.Error("the certificate did not arrive")
	}
}

func TestCloseBreaksHandshakesOff(t *testing.T) {
	s := open(t, nil)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = inner.Addr().String()
	ln := s.front.Listen(inner)
	var silent []net.Conn
	for range 50 {
		silent = append(silent, s.dial(outside))
	}
	finished := tls.Client(s.dial(outside), s.browser(tls.VersionTLS12)) // but nobody calls Accept
	if err := finished.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if n := s.front.InProgress(); n != 0 {
		t.Errorf("Close left %d handshakes behind", n)
	}
	if n := s.front.Open(); n != 0 {
		t.Errorf("Close left %d connections behind", n)
	}
	for _, conn := range silent {
		ended(t, conn, "half open")
	}
	ended(t, finished, "never accepted")
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want net.ErrClosed", err)
	}
}

func TestInnerListenerThatCloses(t *testing.T) {
	s := open(t, nil)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := s.front.Listen(inner)
	defer func() { _ = ln.Close() }()
	_ = inner.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want net.ErrClosed", err)
	}
}

// flaky fails once, as a system does that has run out of file descriptors.
type flaky struct {
	net.Listener
	once sync.Once
}

var errFlaky = errors.New("too many open files")

func (f *flaky) Accept() (conn net.Conn, err error) {
	f.once.Do(func() { err = errFlaky })
	if err != nil {
		return nil, err
	}
	return f.Listener.Accept()
}

func TestErrorsOfTheInnerListenerAreTheServersToJudge(t *testing.T) {
	s := open(t, nil)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = inner.Addr().String()
	ln := s.front.Listen(&flaky{Listener: inner})
	defer func() { _ = ln.Close() }()
	if _, err := ln.Accept(); !errors.Is(err, errFlaky) {
		t.Errorf("Accept = %v, want the error of the listener", err)
	}
	conn := tls.Client(s.dial(outside), s.browser(tls.VersionTLS13))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = accepted.Close()
}

func TestCloseWithAnErrorThatNobodyAccepted(t *testing.T) {
	s := open(t, nil)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	ln := s.front.Listen(&flaky{Listener: inner})
	go func() { closed <- ln.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Close waits for somebody to take the error")
	}
}

func TestBrokenHandshakesAreForDebugging(t *testing.T) {
	for _, tt := range []struct {
		level slog.Level
		want  bool
	}{{slog.LevelInfo, false}, {slog.LevelDebug, true}} {
		log := new(safeBuffer)
		s := open(t, func(o *front.Options) {
			o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: tt.level}))
		})
		untrusting := s.browser(tls.VersionTLS13)
		untrusting.RootCAs = pool()
		if err := tls.Client(s.dial(outside), untrusting).Handshake(); err == nil {
			t.Error("trusted nobody and yet connected")
		}
		conn := s.dial(outside)
		_ = conn.(*net.TCPConn).CloseWrite()
		ended(t, conn, "left at once")
		if got := strings.Contains(log.String(), "TLS handshake failed"); got != tt.want {
			t.Errorf("at level %v, log is %q", tt.level, log)
		}
	}
}

func TestPlainHTTPIsToldWhatToDo(t *testing.T) {
	s := open(t, nil)
	conn := s.dial(outside)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); !bytes.HasPrefix(answer, []byte("HTTP/1.0 400 ")) || !bytes.Contains(answer, []byte("https://")) {
		t.Errorf("answer = %q", answer)
	}
	conn = s.dial(outside)
	if _, err := io.WriteString(conn, "SSH-2.0-x\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); bytes.Contains(answer, []byte("HTTP")) {
		t.Errorf("answer to what is not HTTP = %q", answer)
	}
}

func TestIPv6IsCountedByNetwork(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		if got := front.SourceOf(tt.a) == front.SourceOf(tt.b); got != tt.same {
			t.Errorf("%s and %s: same = %v, want %v", tt.a, tt.b, got, tt.same)
		}
	}
}

// eventually waits for something that the server does after the client has all
// it waits for, such as giving a place free.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("not in 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// safeBuffer is a buffer for a log that several goroutines write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
