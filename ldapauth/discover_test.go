package ldapauth_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"

	"golang.org/x/net/dns/dnsmessage"
)

// A zone is a DNS server on loopback. Names that it has addresses for are at
// 127.0.0.1.
type zone struct {
	address string
	mu      sync.Mutex
	records map[string][]dnsmessage.SRVResource
	hosts   []string
	silent  bool
}

func newZone(t testing.TB) *zone {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{address: pc.LocalAddr().String(), records: map[string][]dnsmessage.SRVResource{}}
	done := make(chan struct{})
	t.Cleanup(func() { _ = pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := z.answer(buf[:n]); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	}()
	return z
}

func (z *zone) answer(question []byte) []byte {
	z.mu.Lock()
	defer z.mu.Unlock()
	var m dnsmessage.Message
	if z.silent || m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
	records, known := z.records[name], slices.Contains(z.hosts, name)
	switch {
	case q.Type == dnsmessage.TypeSRV:
		for _, r := range records {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &r})
		}
	case q.Type == dnsmessage.TypeA && known:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}})
	}
	if len(records) == 0 && !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// resolver returns a resolver that asks z and nobody else.
func (z *zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", z.address)
	}}
}

func (z *zone) setSilent(silent bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.silent = silent
}

// A target is a server in the DNS: what it is called, and where it is.
type target struct {
	host     string
	url      string
	priority uint16
}

// point lets the name of a service lead to targets.
func (z *zone) point(t testing.TB, service string, targets ...target) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[service] = nil
	for _, x := range targets {
		port, err := strconv.ParseUint(x.url[strings.LastIndexByte(x.url, ':')+1:], 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		z.records[service] = append(z.records[service], dnsmessage.SRVResource{
			Priority: x.priority, Weight: 100, Port: uint16(port), Target: dnsmessage.MustNewName(x.host + "."),
		})
		z.hosts = append(z.hosts, strings.ToLower(x.host))
	}
}

const (
	domain   = "corp.example.test"
	ofDomain = "_ldap._tcp." + domain
)

// controllers starts a server in memory for each of the names in the domain,
// and returns the configuration that discovers them.
func controllers(t testing.TB, names ...string) (servers map[string]*memdir.Server, urls map[string]string, c ldapauth.Config) {
	t.Helper()
	ca, err := testca.New("Domain CA")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, urls = map[string]*memdir.Server{}, map[string]string{}
	for _, name := range names {
		var server *memdir.Server
		server, c = memory(t, memdir.ActiveDirectory)
		servers[name] = server
		leaf, err := ca.Server(name + "." + domain)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(ln) }()
		urls[name] = "ldaps://" + ln.Addr().String()
	}
	c.URLs, c.Discover, c.CAFiles = nil, domain, []setting.File{setting.File(file)}
	return servers, urls, c
}

// asked reports whether s was asked anything since the last call.
func asked(s *memdir.Server, seen *uint64) bool {
	n := s.Stats().Searches
	was := *seen
	*seen = n
	return n != was
}

func TestDiscoveredServersAreAskedInTheOrderOfTheirPriority(t *testing.T) {
	servers, urls, c := controllers(t, "dc1", "dc2")
	z := newZone(t)
	z.point(t, ofDomain, target{"dc1." + domain, urls["dc1"], 20}, target{"DC2." + domain, urls["dc2"], 10})
	d := openWith(t, short(c), ldapauth.Options{Resolver: z.resolver()})
	wantReason(t, "password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(memdir.SamplePassword)), "")
	if servers["dc1"].Stats().Connections != 0 || servers["dc2"].Stats().Binds != 2 {
		t.Error("the server with the lower number was not asked first")
	}
	servers["dc2"].SetDelay(time.Hour)
	find(t, d, "jon")
	if servers["dc1"].Stats().Searches == 0 {
		t.Error("the second server was not asked in place of one that does not answer")
	}
	level, text := worst(d.Check(t.Context()))
	if level != ldapauth.Failure || !strings.Contains(text, "the DNS names dc2."+domain+", dc1."+domain) {
		t.Errorf("findings:\n%s", text)
	}
}

func TestDiscoveredServersOfTheSiteComeFirst(t *testing.T) {
	servers, urls, c := controllers(t, "dc1", "dc2")
	c.Site = "Branch-1"
	z := newZone(t)
	far, near := target{"dc1." + domain, urls["dc1"], 0}, target{"dc2." + domain, urls["dc2"], 50}
	z.point(t, "_ldap._tcp.dc._msdcs."+domain, far, near)
	z.point(t, "_ldap._tcp.branch-1._sites.dc._msdcs."+domain, near)
	d := openWith(t, short(c), ldapauth.Options{Resolver: z.resolver()})
	find(t, d, "jon")
	if servers["dc1"].Stats().Connections != 0 {
		t.Error("a server of another site was asked")
	}
	servers["dc2"].SetDelay(time.Hour)
	find(t, d, "jon")
}

func TestE7_DiscoveredServersOutsideOfTheDomainAreNotUsed(t *testing.T) {
	servers, urls, c := controllers(t, "dc1", "dc2")
	z := newZone(t)
	for _, host := range []string{"dc1.attacker.test", "dc1.evil" + domain, "127.0.0.1.nip.test"} {
		z.point(t, ofDomain, target{host, urls["dc1"], 0})
		d := openWith(t, c, ldapauth.Options{Resolver: z.resolver()})
		if _, err := d.FindByName(t.Context(), "jon"); err == nil || !strings.Contains(err.Error(), "outside of the domain") {
			t.Errorf("%s: %v", host, err)
		}
		z.point(t, ofDomain, target{host, urls["dc1"], 0}, target{"dc2." + domain, urls["dc2"], 10})
		d = openWith(t, c, ldapauth.Options{Resolver: z.resolver()})
		find(t, d, "jon")
	}
	if n := servers["dc1"].Stats().Connections; n != 0 {
		t.Errorf("%d connections to servers outside of the domain", n)
	}
}

func TestE7_ADiscoveredServerMustShowACertificateForItsOwnName(t *testing.T) {
	servers, urls, c := controllers(t, "dc1")
	z := newZone(t)
	z.point(t, ofDomain, target{"dc9." + domain, urls["dc1"], 0}) // genuine, but dc1's
	d := openWith(t, c, ldapauth.Options{Resolver: z.resolver()})
	if _, err := d.FindByName(t.Context(), "jon"); err == nil || !strings.Contains(err.Error(), "not for dc9."+domain+" but for dc1."+domain) {
		t.Errorf("error %v", err)
	}
	if n := servers["dc1"].Stats().Binds; n != 0 {
		t.Errorf("%d binds were sent", n)
	}
}

func TestADiscoveryThatFailsKeepsTheServersFromBefore(t *testing.T) {
	servers, urls, c := controllers(t, "dc1", "dc2")
	z := newZone(t)
	z.point(t, ofDomain, target{"dc1." + domain, urls["dc1"], 0})
	log := &journal{}
	d := openWith(t, short(c), ldapauth.Options{Resolver: z.resolver(), Log: logTo(log)})
	find(t, d, "jon")
	z.setSilent(true)
	if err := d.Rediscover(); err == nil {
		t.Error("a silent DNS is no error")
	}
	find(t, d, "jon")
	z.setSilent(false)
	z.point(t, ofDomain)
	if err := d.Rediscover(); err == nil || !strings.Contains(err.Error(), "ldap.discover") {
		t.Errorf("a DNS that knows nobody: %v", err)
	}
	find(t, d, "jon")
	if n := servers["dc1"].Stats().Connections; n != 1 {
		t.Errorf("%d connections, want the one from the beginning", n)
	}

	// And the next answer counts.
	z.point(t, ofDomain, target{"dc2." + domain, urls["dc2"], 0})
	if err := d.Rediscover(); err != nil {
		t.Fatal(err)
	}
	var seen uint64
	asked(servers["dc1"], &seen)
	find(t, d, "jon")
	if asked(servers["dc1"], &seen) || servers["dc2"].Stats().Searches == 0 {
		t.Error("a server that is in the DNS no more was asked")
	}
	if !strings.Contains(log.String(), "in the DNS no more") {
		t.Errorf("log:\n%s", log)
	}
}

func TestADiscoveryThatFailsAtTheStartIsMadeGood(t *testing.T) {
	_, urls, c := controllers(t, "dc1")
	z := newZone(t)
	d := openWith(t, c, ldapauth.Options{Resolver: z.resolver()})
	if _, err := d.FindByName(t.Context(), "jon"); err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ldap.discover") {
		t.Errorf("error %v", err)
	}
	z.point(t, ofDomain, target{"dc1." + domain, urls["dc1"], 0})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := d.FindByName(t.Context(), "jon"); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestADiscoveryDoesNotMoveWithoutNeed(t *testing.T) {
	servers, urls, c := controllers(t, "dc1", "dc2", "dc3")
	z := newZone(t)
	var targets []target
	for name, url := range urls {
		targets = append(targets, target{name + "." + domain, url, 0}) // all with the same weight
	}
	z.point(t, ofDomain, targets...)
	d := openWith(t, c, ldapauth.Options{Resolver: z.resolver()})
	for range 20 {
		if err := d.Rediscover(); err != nil {
			t.Fatal(err)
		}
		find(t, d, "jon")
	}
	used := 0
	for _, s := range servers {
		if s.Stats().Connections > 0 {
			used++
		}
	}
	if used != 1 {
		t.Errorf("%d servers were used, want 1", used)
	}
}

func TestDiscoveryFindsARealDomainController(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	z := newZone(t)
	for _, startTLS := range []bool{false, true} {
		url := s.URL
		if startTLS {
			url = s.PlainURL
		}
		z.point(t, ofDomain, target{"dc1." + domain, url, 0})
		c := real(s)
		c.URLs, c.Discover, c.StartTLS = nil, domain, startTLS
		d := openWith(t, c, ldapauth.Options{Resolver: z.resolver()})
		wantReason(t, "password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(s.Password)), "")
	}
}
