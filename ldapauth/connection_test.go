package ldapauth_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"
)

// frozen returns the address of a server that accepts connections, reads and
// never answers.
func frozen(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() })
		}
	})
	return ln.Addr().String()
}

// short makes every operation of c end soon.
func short(c ldapauth.Config) ldapauth.Config {
	c.Timeout = setting.Duration(time.Second)
	return c
}

func TestAServerThatNeverAnswersEndsByTheTimeout(t *testing.T) {
	for _, tt := range []struct {
		scheme   string
		startTLS bool
	}{{"ldaps://", false}, {"ldap://", true}, {"ldap://", false}} {
		c := ldapauth.DefaultConfig()
		c.URLs = []string{tt.scheme + frozen(t)}
		c.StartTLS = tt.startTLS
		c.BaseDN = setting.OneOrMore{memBase}
		d := open(t, short(c))
		_, err := d.FindByName(within(t, 20*time.Second), "jon")
		if err == nil || denial.ReasonOf(err) != "" || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s start_tls=%v: %v", tt.scheme, tt.startTLS, err)
		}
	}
}

func TestNothingRunsAfterClose(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	never := "ldaps://" + frozen(t)
	d := open(t, c)
	a := find(t, d, "jon")
	before := goleak.IgnoreCurrent()

	c.URLs = append(c.URLs, never)
	d, err := ldapauth.New(short(c), ldapauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	find(t, d, "jon")
	if err := d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)); err != nil {
		t.Fatal(err)
	}
	// Searches that are under way when it closes, and one that was given up.
	s.SetDelay(150 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { _, _ = d.FindByName(ctx, "jon") })
	}
	time.Sleep(20 * time.Millisecond) // so that they are
	cancel()
	wg.Wait()
	d.Close()
	s.SetDelay(0)
	if _, err := d.FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("a closed directory answers: %v", err)
	}
	if err := d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("a closed directory binds: %v", err)
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("adconnector/ldapauth/memdir.(*Server).serve"),
		goleak.IgnoreAnyFunction("adconnector/ldapauth/memdir.(*conn).serve"))
}

func TestACancelledCallReturnsAtOnce(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c) // with a timeout of 5 s
	a := find(t, d, "jon")
	s.SetDelay(time.Hour)
	for name, call := range map[string]func(context.Context) error{
		"search": func(ctx context.Context) error { _, err := d.FindByName(ctx, "jon"); return err },
		"groups": func(ctx context.Context) error { _, err := d.Groups(ctx, a); return err },
		"bind":   func(ctx context.Context) error { return d.Bind(ctx, a, secret.New(memdir.SamplePassword)) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ldapauth.ErrGroups) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ldapauth.ErrUnanswered) != (name == "bind") {
			t.Errorf("%s: unanswered is wrong: %v", name, err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestARestartedServerIsUsedAgainWithinTheRequest(t *testing.T) {
	for name, start := range map[string]func() *dirtest.Server{
		"OpenLDAP": func() *dirtest.Server { return dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}) },
		"Samba":    func() *dirtest.Server { return dirtest.SambaAD(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start()
			d := open(t, real(s))
			a := find(t, d, "jon")
			wantReason(t, "before", d.Bind(t.Context(), a, secret.New(s.Password)), "")
			s.Stop()
			if _, err := d.FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" {
				t.Errorf("a stopped server: %v", err)
			}
			s.Start(t)
			find(t, d, "jon")
			wantReason(t, "after", d.Bind(t.Context(), a, secret.New(s.Password)), "")
		})
	}
}

func TestConnectionsThatTheServerClosedAreReplaced(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	a := find(t, d, "jon")
	for range 50 {
		s.DropAll() // no pause: the loss is often not yet noticed
		find(t, d, "jon")
		if err := d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)); err != nil && !errors.Is(err, ldapauth.ErrUnanswered) {
			t.Fatal(err)
		}
	}
}

// After a restart behind a balancer all connections are dead and none of them
// looks so. The second try must not be wasted on another of them.
func TestTheSecondTryOfASearchIsOnAFreshConnection(t *testing.T) {
	s, c := plain(t)
	w := tap(t, strings.TrimPrefix(c.URLs[0], "ldap://"), "")
	c.URLs = []string{"ldap://" + w.address}
	c.Pool.Search = 3
	d := open(t, c)
	find(t, d, "jon")
	s.SetDelay(20 * time.Millisecond)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { _, _ = d.FindByName(t.Context(), "jon") })
	}
	wg.Wait()
	s.SetDelay(0)
	if n := w.came.Load(); n < 2 {
		t.Fatalf("%d connections, want several", n)
	}
	w.doomed.Store(w.came.Load())
	find(t, d, "jon")
}

func TestAFrozenServerIsNoticedAndRecovers(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	d := open(t, short(real(s)))
	a := find(t, d, "jon")
	thaw := s.Freeze(t)
	if _, err := d.FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("search on a frozen server: %v", err)
	}
	before := binds(s.Log(), a.DN)
	err := d.Bind(t.Context(), a, secret.New(s.Password))
	if err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("bind on a frozen server: %v", err)
	}
	thaw()
	find(t, d, "jon")
	wantReason(t, "after", d.Bind(t.Context(), a, secret.New(s.Password)), "")
	if n := binds(s.Log(), a.DN) - before; n > 2 {
		t.Errorf("two passwords made %d binds", n)
	}
}

// A wire is a relay before a server without TLS. It counts the passwords that
// pass, and does to them what is asked for.
type wire struct {
	address string
	target  string
	binds   atomic.Int64 // user binds: those that name dn
	dn      string
	fate    atomic.Int64
	doomed  atomic.Int64 // connections that came before this many end with their next request
	came    atomic.Int64
}

const (
	deliver int64 = iota
	swallow       // the server never gets it
	cut           // the connection breaks after it
)

func tap(t testing.TB, target, dn string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: ln.Addr().String(), target: target, dn: dn}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.relay(c) })
		}
	})
	return w
}

func (w *wire) relay(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer s.Close()
	number := w.came.Add(1)
	go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || number <= w.doomed.Load() {
			return
		}
		if op := p.Children[1]; op.Tag == ldap.ApplicationBindRequest && op.Children[1].Value == w.dn {
			w.binds.Add(1)
			switch w.fate.Load() {
			case swallow:
				continue
			case cut:
				return
			}
		}
		if _, err := s.Write(p.Bytes()); err != nil {
			return
		}
	}
}

func TestE4_APasswordWithoutAnAnswerIsNotSentAgain(t *testing.T) {
	_, c := plain(t)
	target := strings.TrimPrefix(c.URLs[0], "ldap://")
	dn := find(t, open(t, c), "jon").DN
	first, second := tap(t, target, dn), tap(t, target, dn)
	c.URLs = []string{"ldap://" + first.address, "ldap://" + second.address}
	d := open(t, short(c))
	a := find(t, d, "jon")
	for _, fate := range []int64{swallow, cut, swallow, cut} {
		for _, reuse := range []bool{false, true} { // a new connection, or one that has been used
			first.fate.Store(deliver)
			second.fate.Store(deliver)
			if reuse {
				wantReason(t, "delivered", d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)), "")
			}
			before := first.binds.Load() + second.binds.Load()
			first.fate.Store(fate) // whichever of them is asked
			second.fate.Store(fate)
			if err := d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)); !errors.Is(err, ldapauth.ErrUnanswered) {
				t.Errorf("fate %d: %v", fate, err)
			}
			if n := first.binds.Load() + second.binds.Load() - before; n != 1 {
				t.Errorf("fate %d: %d binds were sent, want 1", fate, n)
			}
		}
	}
}

func TestABindFailsOverWhileThePasswordHasNotBeenSent(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	a := find(t, d, "jon")
	c.URLs = append([]string{"ldaps://" + frozen(t), "ldaps://127.0.0.1:1"}, c.URLs...)
	d = open(t, short(c))
	before := s.Stats().Binds
	wantReason(t, "third server", d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)), "")
	if n := s.Stats().Binds - before; n != 1 {
		t.Errorf("%d binds were sent, want 1", n)
	}
}

func TestAFailedServerIsPassedOverAndComesBack(t *testing.T) {
	first, c := memory(t, memdir.ActiveDirectory)
	second, c2 := memory(t, memdir.ActiveDirectory)
	c.URLs = append(c.URLs, c2.URLs...)
	c.CAFiles = append(c.CAFiles, c2.CAFiles...)
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	d := openWith(t, short(c), ldapauth.Options{Now: clock})
	find(t, d, "jon")

	first.SetDelay(time.Hour)
	find(t, d, "jon") // runs out of time on the first, found on the second
	start, asked := time.Now(), first.Stats().Searches
	for range 20 {
		find(t, d, "jon")
	}
	if first.Stats().Searches != asked || time.Since(start) > 5*time.Second {
		t.Errorf("a server that is down was asked %d times", first.Stats().Searches-asked)
	}

	first.SetDelay(0)
	now.Store(60)
	for deadline := time.Now().Add(10 * time.Second); first.Stats().Searches == asked; {
		find(t, d, "jon")
		if time.Now().After(deadline) {
			t.Fatal("the preferred server is not used again")
		}
	}
	for asked = second.Stats().Searches; ; asked = second.Stats().Searches {
		find(t, d, "jon")
		if second.Stats().Searches == asked {
			break // and now it is the only one
		}
	}
}

func TestSearchesShareFewConnectionsAndBindsAreBounded(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	c.Pool = ldapauth.PoolConfig{Search: 3, Bind: 2}
	c.Timeout = setting.Duration(time.Minute) // two hundred at once take as long as the machine is busy
	d := open(t, c)
	a := find(t, d, "jon")
	s.SetDelay(5 * time.Millisecond)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := d.FindByName(t.Context(), "jon"); err != nil {
				t.Error(err)
			}
		})
	}
	for range 20 {
		wg.Go(func() {
			if err := d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.Stats().Connections; n > 5 {
		t.Errorf("%d connections, want at most 3 for searches and 2 for binds", n)
	}

	// Whoever waits for a bind connection can give up.
	s.SetDelay(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var holding sync.WaitGroup
	for range 2 {
		holding.Go(func() { _ = d.Bind(ctx, a, secret.New("x")) })
	}
	time.Sleep(50 * time.Millisecond) // until they hold both
	err := d.Bind(within(t, 50*time.Millisecond), a, secret.New("x"))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ldapauth.ErrUnanswered) {
		t.Errorf("waiting: %v", err)
	}
	cancel()
	holding.Wait()
}

func TestE7_TheServersNameIsChecked(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	c.URLs[0] = strings.Replace(c.URLs[0], "127.0.0.1", "localhost", 1) // the certificate is for 127.0.0.1
	d := open(t, c)
	if _, err := d.FindByName(t.Context(), "jon"); err == nil || !strings.Contains(err.Error(), "localhost") {
		t.Errorf("wrong name: %v", err)
	}
	_, other := listen(t)
	_, c = memory(t, memdir.ActiveDirectory)
	c.CAFiles = []setting.File{other}
	if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil {
		t.Error("an unknown authority was trusted")
	}
	c.CAFiles = nil // the system's roots do not know it either
	if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil {
		t.Error("an unknown authority was trusted")
	}
	if n := s.Stats().Binds; n != 0 {
		t.Errorf("%d binds were sent", n)
	}
}

// plain starts a server without TLS on its port.
func plain(t testing.TB) (*memdir.Server, ldapauth.Config) {
	t.Helper()
	s, c := memory(t, memdir.ActiveDirectory)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	c.URLs = []string{"ldap://" + ln.Addr().String()}
	return s, c
}

func TestE7_StartTLSRequiredMeansRequired(t *testing.T) {
	s, c := plain(t) // a server, or somebody before it, that says there is no StartTLS
	c.StartTLS = true
	d := open(t, c)
	if _, err := d.FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("without StartTLS: %v", err)
	}
	if st := s.Stats(); st.Binds != 0 || st.Searches != 0 {
		t.Errorf("the server saw %d binds and %d searches in clear", st.Binds, st.Searches)
	}
}

func TestE7_StartTLSWorksOnRealServers(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *dirtest.Server{"OpenLDAP": dirtest.SharedOpenLDAP, "Samba": dirtest.SharedSambaAD} {
		t.Run(name, func(t *testing.T) {
			s := server(t)
			c := real(s)
			c.URLs, c.StartTLS = []string{s.PlainURL}, true
			d := open(t, c)
			wantReason(t, "right", d.Bind(t.Context(), find(t, d, "jon"), secret.New(s.Password)), "")
		})
	}
}

// What somebody puts into the stream before TLS must not be taken for an answer
// that came in it.
func TestE7_WordsInClearAfterStartTLSEndTheConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1000)
		_, _ = c.Read(buf)
		success := "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
		bindAnswer := "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
		_, _ = io.WriteString(c, success+bindAnswer)
		_, _ = io.Copy(io.Discard, c)
	}()
	c := ldapauth.DefaultConfig()
	c.URLs, c.StartTLS, c.BaseDN = []string{"ldap://" + ln.Addr().String()}, true, setting.OneOrMore{memBase}
	d := open(t, c)
	_, err = d.FindByName(t.Context(), "jon")
	if _, ok := errors.AsType[tls.RecordHeaderError](err); !ok {
		t.Errorf("error %v, want one of TLS", err)
	}
	<-answered
}

func TestE7_ReferralsAreNotFollowed(t *testing.T) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer trap.Close()
	var caught atomic.Bool
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			caught.Store(true)
			_ = c.Close()
		}
	}()
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	add := ldap.NewAddRequest("ou=elsewhere,"+s.BaseDN, []ldap.Control{ldap.NewControlManageDsaIT(true)})
	add.Attribute("objectClass", []string{"referral", "extensibleObject"})
	add.Attribute("ou", []string{"elsewhere"})
	add.Attribute("ref", []string{"ldap://" + trap.Addr().String() + "/ou=elsewhere," + s.BaseDN})
	if err := s.Admin(t).Add(add); err != nil {
		t.Fatal(err)
	}
	c := real(s)
	find(t, open(t, c), "jon") // a reference comes along with the entry
	c.BaseDN = setting.OneOrMore{"ou=elsewhere," + s.BaseDN}
	if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("a base that is elsewhere: %v", err)
	}
	if caught.Load() {
		t.Error("a referral was followed")
	}
}

func TestAServerOfAnotherKindIsNamed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 mail.example.test ESMTP\r\n")
			_ = c.Close()
		}
	}()
	c := ldapauth.DefaultConfig()
	c.URLs, c.BaseDN = []string{"ldap://" + ln.Addr().String()}, setting.OneOrMore{memBase}
	if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil || !strings.Contains(err.Error(), "does not speak LDAP") {
		t.Errorf("error %v", err)
	}
}

// A server that is going down resets whoever connects, which is how one without
// TLS looks too.
func TestAServerThatHasSpokenTLSIsNotSaidToLackIt(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	find(t, d, "jon")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var ln net.Listener
	address := strings.TrimPrefix(c.URLs[0], "ldaps://")
	for ln == nil { // the port is free at once, or nearly
		ln, _ = net.Listen("tcp", address)
	}
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = nc.(*net.TCPConn).SetLinger(0)
			_ = nc.Close()
		}
	}()
	_, err := d.FindByName(t.Context(), "jon")
	if err == nil || strings.Contains(err.Error(), "TLS") || !strings.Contains(err.Error(), "hangs up") {
		t.Errorf("error %v", err)
	}
}
