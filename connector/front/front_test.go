package front_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector/front"
	"adconnector/connector/iprange"
	"adconnector/ldapauth/testca"
)

// Where clients in these tests come from, and the names of the server.
const (
	inside  = "127.0.0.5"
	outside = "127.0.0.6"

	login = "login.fabrikam.example"
	other = "other.fabrikam.example"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// A site is a front that listens and a server behind it that tells what it sees.
type site struct {
	t       testing.TB
	front   *front.Front
	addr    string
	servers *testca.CA // issued the server's certificate
	people  *testca.CA // issues client certificates
	seen    chan tls.ConnectionState
}

// open starts a site that asks those inside. The server sends one byte on each
// connection and keeps it until the client leaves.
func open(t testing.TB, change func(*front.Options)) *site {
	t.Helper()
	s := &site{t: t, servers: authority(t, "Servers"), people: authority(t, "People"), seen: make(chan tls.ConnectionState, 100)}
	o := front.Options{
		Certificate: s.certificate(login, other),
		Ranges:      iprange.New(iprange.MustParse(inside)),
		ClientCAs:   pool(s.people),
	}
	if change != nil {
		change(&o)
	}
	var err error
	if s.front, err = front.New(o); err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = inner.Addr().String()
	ln := s.front.Listen(inner)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.seen <- conn.(*tls.Conn).ConnectionState()
			work.Go(func() {
				_, _ = conn.Write([]byte("x"))
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		work.Wait()
	})
	return s
}

func authority(t testing.TB, name string) *testca.CA {
	t.Helper()
	ca, err := testca.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func pool(cas ...*testca.CA) *x509.CertPool {
	p := x509.NewCertPool()
	for _, ca := range cas {
		p.AddCert(ca.Certificate)
	}
	return p
}

func (s *site) certificate(names ...string) *tls.Certificate {
	s.t.Helper()
	leaf, err := s.servers.Server(names...)
	if err != nil {
		s.t.Fatal(err)
	}
	c := leaf.TLS()
	return &c
}

// card returns the client certificate of jon.
func card(t testing.TB, ca *testca.CA) tls.Certificate {
	t.Helper()
	leaf, err := ca.Client("jon")
	if err != nil {
		t.Fatal(err)
	}
	return leaf.TLS()
}

// A visit is what came of a connection.
type visit struct {
	asked  bool
	hint   [][]byte            // the CAs that the server named
	client tls.ConnectionState // as the client sees it
	server tls.ConnectionState // as the server sees it
}

// browser is a client that resumes whatever it can.
func (s *site) browser(version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: pool(s.servers), ServerName: login, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
}

// dial connects from the address, without TLS.
func (s *site) dial(from string) net.Conn {
	s.t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", s.addr)
	if err != nil {
		s.t.Skipf("cannot connect from %s here: %v", from, err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// visit connects from the address, with a certificate if one is given, and
// leaves after the first byte, which is when a TLS 1.3 client has its tickets.
func (s *site) visit(browser *tls.Config, from string, cards ...tls.Certificate) visit {
	s.t.Helper()
	v, conn := s.stay(browser, from, cards...)
	_ = conn.Close()
	return v
}

// stay is visit for a client that stays connected.
func (s *site) stay(browser *tls.Config, from string, cards ...tls.Certificate) (visit, *tls.Conn) {
	s.t.Helper()
	var v visit
	browser = browser.Clone() // keeps the cache
	browser.GetClientCertificate = func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		v.asked, v.hint = true, i.AcceptableCAs
		for _, c := range cards {
			if i.SupportsCertificate(&c) == nil {
				return &c, nil
			}
		}
		return &tls.Certificate{}, nil
	}
	conn := tls.Client(s.dial(from), browser)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		s.t.Fatalf("visit from %s: %v", from, err)
	}
	v.client, v.server = conn.ConnectionState(), <-s.seen
	return v, conn
}

// forEachVersion runs the test with a fresh site and a fresh browser for each
// version of TLS.
func forEachVersion(t *testing.T, f func(t *testing.T, s *site, browser *tls.Config)) {
	for _, v := range versions {
		t.Run(tls.VersionName(v), func(t *testing.T) {
			s := open(t, nil)
			browser := s.browser(v)
			f(t, s, browser)
			if v := s.visit(browser, outside); v.client.Version != browser.MaxVersion {
				t.Errorf("spoke %s", tls.VersionName(v.client.Version))
			}
		})
	}
}

func names(chain []*x509.Certificate) (names []string) {
	for _, c := range chain {
		names = append(names, c.Subject.CommonName)
	}
	return names
}

// TestClientsOfTheseTestsResume makes sure of what the others rest on: without
// the rules under test, these clients do resume.
func TestClientsOfTheseTestsResume(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		if v := s.visit(browser, outside); v.server.DidResume {
			t.Error("the first visit was resumed")
		}
		if v := s.visit(browser, outside); !v.server.DidResume || !v.client.DidResume {
			t.Error("the second visit was not resumed")
		}
	})
}

func TestAsksInsideOnly(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		jon := card(t, s.people)
		v := s.visit(browser, outside, jon)
		if v.asked || len(v.server.PeerCertificates) > 0 {
			t.Errorf("outside: asked = %v, server has %v", v.asked, names(v.server.PeerCertificates))
		}
		v = s.visit(browser, inside, jon)
		if got := names(v.server.PeerCertificates); !v.asked || !slices.Equal(got, []string{"jon"}) {
			t.Errorf("inside: asked = %v, server has %v", v.asked, got)
		}
		if len(v.hint) != 1 || !bytes.Equal(v.hint[0], s.people.Certificate.RawSubject) {
			t.Errorf("inside: %d CAs were named, want the one for people", len(v.hint))
		}
		if v = s.visit(browser, inside); !v.asked || len(v.server.PeerCertificates) > 0 {
			t.Errorf("inside without a card: asked = %v, server has %v", v.asked, names(v.server.PeerCertificates))
		}
	})
}

func TestA1_CardRemovedMeansFullHandshake(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		if v := s.visit(browser, inside, card(t, s.people)); len(v.server.PeerCertificates) != 1 {
			t.Fatal("jon did not arrive")
		}
		v := s.visit(browser, inside) // the card is out of the reader
		if v.server.DidResume || !v.asked {
			t.Errorf("resumed = %v, asked = %v; want a full handshake that asks", v.server.DidResume, v.asked)
		}
		if got := names(v.server.PeerCertificates); len(got) > 0 {
			t.Errorf("still identified as %v", got)
		}
	})
}

func TestA1_EveryConnectionInsideSignsAfresh(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		jon := card(t, s.people)
		for range 3 {
			v := s.visit(browser, inside, jon)
			if v.server.DidResume || !v.asked || len(v.server.PeerCertificates) != 1 {
				t.Errorf("resumed = %v, asked = %v, server has %v", v.server.DidResume, v.asked, names(v.server.PeerCertificates))
			}
		}
	})
}

func TestA2_OutsideThenInsideIsAsked(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		s.visit(browser, outside)
		if v := s.visit(browser, outside); !v.server.DidResume {
			t.Fatal("the browser brings no ticket from outside")
		}
		v := s.visit(browser, inside, card(t, s.people))
		if v.server.DidResume || !v.asked {
			t.Errorf("resumed = %v, asked = %v; want a full handshake that asks", v.server.DidResume, v.asked)
		}
		if got := names(v.server.PeerCertificates); !slices.Equal(got, []string{"jon"}) {
			t.Errorf("server has %v", got)
		}
	})
}

func TestA2_InsideThenOutsideIsNobody(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		jon := card(t, s.people)
		s.visit(browser, inside, jon)
		for range 2 { // and not by resuming the first of the two either
			v := s.visit(browser, outside, jon)
			if v.asked || len(v.server.PeerCertificates) > 0 {
				t.Errorf("outside: asked = %v, identified as %v", v.asked, names(v.server.PeerCertificates))
			}
		}
	})
}

func TestA3_ReplacedCAsLeaveNothingToResume(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		jon := card(t, s.people)
		s.visit(browser, inside, jon)
		next := authority(t, "People from now on")
		s.front.SetClientCAs(pool(next))
		v := s.visit(browser, inside, jon)
		if v.server.DidResume || !v.asked {
			t.Errorf("resumed = %v, asked = %v; want a full handshake that asks", v.server.DidResume, v.asked)
		}
		if got := names(v.server.PeerCertificates); len(got) > 0 {
			t.Errorf("identified as %v by the CA that was removed", got)
		}
		if len(v.hint) != 1 || !bytes.Equal(v.hint[0], next.Certificate.RawSubject) {
			t.Errorf("%d CAs were named, want the new one", len(v.hint))
		}
	})
}

// oneSession is a session cache that offers the newest session to every host.
type oneSession struct{ tls.ClientSessionCache }

func (c oneSession) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get("") }

func (c oneSession) Put(_ string, session *tls.ClientSessionState) {
	c.ClientSessionCache.Put("", session)
}

func TestA5_SessionOfOneHostIsNothingToAnother(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		browser.ClientSessionCache = oneSession{browser.ClientSessionCache}
		s.visit(browser, inside, card(t, s.people))
		s.visit(browser, outside)
		browser.ServerName = other
		v := s.visit(browser, outside)
		if v.server.ServerName != other || len(v.server.PeerCertificates) > 0 {
			t.Errorf("for the server it is %q with %v, want %q with nobody", v.server.ServerName, names(v.server.PeerCertificates), other)
		}
		if front.HostMatches(v.server.ServerName, login) {
			t.Error("a request for the first host belongs on the connection for the second")
		}
		if v = s.visit(browser, inside); v.server.DidResume || !v.asked || len(v.server.PeerCertificates) > 0 {
			t.Errorf("inside: resumed = %v, asked = %v, server has %v", v.server.DidResume, v.asked, names(v.server.PeerCertificates))
		}
	})
}

// TestA7_TicketsAreNotEvenGiven: an asked connection has nothing to resume with,
// whatever the client does with what it got.
func TestA7_TicketsAreNotEvenGiven(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		cache := &countingCache{ClientSessionCache: browser.ClientSessionCache}
		browser.ClientSessionCache = cache
		s.visit(browser, inside, card(t, s.people))
		if cache.put > 0 {
			t.Errorf("got %d tickets", cache.put)
		}
	})
}

type countingCache struct {
	tls.ClientSessionCache
	put int
}

func (c *countingCache) Put(key string, session *tls.ClientSessionState) {
	if session != nil {
		c.put++
	}
	c.ClientSessionCache.Put(key, session)
}

// TestA11_NothingIsVerifiedHere: the front hands on what was sent and claims
// nothing about it. Whoever reads it must verify it against explicit roots.
func TestA11_NothingIsVerifiedHere(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		stranger := card(t, authority(t, "Strangers"))
		browser.GetClientCertificate = nil
		v, conn := s.force(browser, inside, stranger)
		_ = conn.Close()
		if got := names(v.server.PeerCertificates); !slices.Equal(got, []string{"jon"}) {
			t.Errorf("server has %v, want the certificate, so that a page can say why it is refused", got)
		}
		if v.server.VerifiedChains != nil {
			t.Error("the handshake claims that it has verified a chain")
		}
	})
}

// force is stay for a client that sends its certificate whatever the hint says.
func (s *site) force(browser *tls.Config, from string, c tls.Certificate) (visit, *tls.Conn) {
	s.t.Helper()
	browser = browser.Clone()
	browser.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
	conn := tls.Client(s.dial(from), browser)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		s.t.Fatalf("visit from %s: %v", from, err)
	}
	return visit{client: conn.ConnectionState(), server: <-s.seen}, conn
}

func TestIPv4InIPv6NotationIsIPv4(t *testing.T) {
	f, err := front.New(front.Options{Certificate: open(t, nil).certificate(login), Ranges: iprange.New(iprange.MustParse("10.0.0.0/8"))})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.1.2.3": false, "::1": false} {
		if got := f.Asks(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Asks(%s) = %v, want %v", addr, got, want)
		}
	}
}

// TestDualStackListener connects over IPv4 to a listener for both, where the
// system reports addresses as ::ffff:127.0.0.5.
func TestDualStackListener(t *testing.T) {
	s := open(t, nil)
	inner, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	ln := s.front.Listen(inner)
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(inner.Addr().String())
	s.addr = net.JoinHostPort("127.0.0.1", port)
	asked := make(chan bool, 1)
	browser := s.browser(tls.VersionTLS13)
	browser.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked <- true
		return &tls.Certificate{}, nil
	}
	var work sync.WaitGroup
	work.Go(func() {
		if conn, err := ln.Accept(); err == nil {
			_ = conn.Close()
		}
	})
	if err := tls.Client(s.dial(inside), browser).Handshake(); err != nil {
		t.Fatal(err)
	}
	work.Wait()
	select {
	case <-asked:
	default:
		t.Error("not asked")
	}
}

func TestNoRangesMeansNobodyIsAsked(t *testing.T) {
	s := open(t, func(o *front.Options) { o.Ranges = nil })
	if v := s.visit(s.browser(tls.VersionTLS13), inside, card(t, s.people)); v.asked {
		t.Error("asked")
	}
}

func TestMinVersion(t *testing.T) {
	s := open(t, func(o *front.Options) { o.MinVersion = "1.3" })
	if err := tls.Client(s.dial(inside), s.browser(tls.VersionTLS12)).Handshake(); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	if v := s.visit(s.browser(tls.VersionTLS13), inside); v.client.Version != tls.VersionTLS13 {
		t.Errorf("spoke %s", tls.VersionName(v.client.Version))
	}
	s = open(t, nil)
	old := s.browser(tls.VersionTLS11)
	old.MinVersion = tls.VersionTLS10
	if err := tls.Client(s.dial(outside), old).Handshake(); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	good := open(t, nil).certificate(login)
	for name, o := range map[string]front.Options{
		"no certificate":    {},
		"empty certificate": {Certificate: &tls.Certificate{}},
		"unknown version":   {Certificate: good, MinVersion: "1.1"},
	} {
		if _, err := front.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSwappedCertificateDropsNobody(t *testing.T) {
	forEachVersion(t, func(t *testing.T, s *site, browser *tls.Config) {
		before, conn := s.stay(browser, outside)
		next := s.certificate(login)
		s.front.SetCertificate(next)
		after := s.visit(s.browser(browser.MaxVersion), outside)
		if !after.client.PeerCertificates[0].Equal(next.Leaf) {
			t.Error("a new connection gets the old certificate")
		}
		if before.client.PeerCertificates[0].Equal(next.Leaf) {
			t.Error("the certificates do not differ")
		}
		if _, err := conn.Write([]byte("still here")); err != nil {
			t.Errorf("the open connection: %v", err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("the open connection: %v, want it to be open", err)
		}
		_ = conn.Close()
	})
}

func TestSwapsBesideHandshakes(t *testing.T) {
	s := open(t, nil)
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	one, two := s.certificate(login), s.certificate(login)
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			s.front.SetCertificate(one)
			s.front.SetClientCAs(pool(s.people))
			s.front.SetCertificate(two)
		}
	})
	jon := card(t, s.people)
	browser := s.browser(tls.VersionTLS13)
	for range 20 {
		if v := s.visit(browser, inside, jon); !v.asked || v.server.DidResume || len(v.server.PeerCertificates) != 1 {
			t.Errorf("asked = %v, resumed = %v, server has %v", v.asked, v.server.DidResume, names(v.server.PeerCertificates))
		}
		if v := s.visit(browser, outside, jon); v.asked {
			t.Error("asked outside")
		}
	}
	close(stop)
	swapping.Wait()
}

func TestTooManyCAsAreNotNamed(t *testing.T) {
	var log bytes.Buffer
	var many []*testca.CA
	for i := range 40 {
		many = append(many, authority(t, fmt.Sprint(i, strings.Repeat("x", 1000))))
	}
	s := open(t, func(o *front.Options) { o.ClientCAs, o.Log = pool(many...), slog.New(slog.NewTextHandler(&log, nil)) })
	if !strings.Contains(log.String(), "use fewer CAs") {
		t.Errorf("no warning in %q", &log)
	}
	for _, version := range versions {
		v := s.visit(s.browser(version), inside, card(t, s.people))
		if !v.asked || len(v.hint) > 0 || len(v.server.PeerCertificates) != 1 {
			t.Errorf("%s: asked = %v, %d CAs named, server has %v", tls.VersionName(version), v.asked, len(v.hint), names(v.server.PeerCertificates))
		}
	}
	s.front.SetClientCAs(pool(many[:30]...))
	for _, version := range versions {
		if v := s.visit(s.browser(version), inside); len(v.hint) != 30 {
			t.Errorf("%s: %d CAs named, want 30, which just fit", tls.VersionName(version), len(v.hint))
		}
	}
}

// TestHTTP serves HTTP/1.1 and HTTP/2 through the front, as the connector does.
func TestHTTP(t *testing.T) {
	s := open(t, nil)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Proto, " ", r.TLS.ServerName, " ", names(r.TLS.PeerCertificates))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.front.Listen(inner)) }()
	s.addr = inner.Addr().String()

	jon := card(t, s.people)
	get := func(proto2 bool, from, want string) {
		t.Helper()
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!proto2)
		protocols.SetHTTP2(proto2)
		transport := &http.Transport{
			Protocols:       protocols,
			TLSClientConfig: &tls.Config{RootCAs: pool(s.servers), Certificates: []tls.Certificate{jon}},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return s.dial(from), nil
			},
		}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		for range 2 { // the second on the same connection
			answer, err := client.Get("https://" + login + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if string(body) != want {
				t.Errorf("got %q, want %q", body, want)
			}
		}
	}
	get(false, inside, "HTTP/1.1 "+login+" [jon]")
	get(false, outside, "HTTP/1.1 "+login+" []")
	get(true, inside, "HTTP/2.0 "+login+" [jon]")
	get(true, outside, "HTTP/2.0 "+login+" []")

	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
	eventually(t, func() bool { return s.front.Open() == 0 })
}
