package memdir_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/ldapauth/memdir"

	"github.com/go-ldap/ldap/v3"
)

func TestNewReportsEverythingThatIsWrong(t *testing.T) {
	class := map[string][]string{"objectClass": {"user"}}
	_, err := memdir.New(memdir.Options{BaseDN: base, Entries: []memdir.Entry{
		{DN: "no dn", Attributes: class},
		{DN: "CN=far,DC=contoso,DC=example", Attributes: class},
		{DN: "x" + base, Attributes: class},
		{DN: "CN=twice," + base, Attributes: class},
		{DN: `cn=TW\49CE ,` + base, Attributes: class},
		{DN: "CN=orphan,OU=Nowhere," + base, Attributes: class},
		{DN: "CN=leak," + base, Attributes: map[string][]string{"userPassword": {"x"}}},
		{DN: "CN=member," + base, Attributes: map[string][]string{"member": {"jon"}}},
		{DN: "CN=members," + base, Attributes: map[string][]string{"member": {"CN=a," + base, "cn=A," + base}}},
		{DN: "CN=name," + base, Attributes: map[string][]string{"a b": {"x"}}},
	}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no dn", "far", `"xDC=fabrikam,DC=example": it is not below`, "another entry", "orphan", "userPassword cannot", `member: "jon"`, "is there twice", `"a b"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q:\n%v", want, err)
		}
	}
	if _, err := memdir.New(memdir.Options{BaseDN: "fabrikam.example"}); err == nil {
		t.Error("accepted a base that is no DN")
	}
}

func TestDerivedIdentifiersAreTheSameInEveryRun(t *testing.T) {
	ids := func(flavor memdir.Flavor, attribute string) map[string]bool {
		_, addr := start(t, memdir.Options{Flavor: flavor})
		found := map[string]bool{}
		for _, e := range find(t, signedIn(t, flavor, addr), "("+attribute+"=*)", attribute) {
			found[string(e.GetRawAttributeValue(attribute))] = true
		}
		return found
	}
	for attribute, flavor := range map[string]memdir.Flavor{"objectGUID": 0, "objectSid": 0, "entryUUID": memdir.OpenLDAP} {
		first, second := ids(flavor, attribute), ids(flavor, attribute)
		if len(first) < 15 {
			t.Errorf("%s: only %d different values", attribute, len(first))
		}
		for id := range first {
			if !second[id] {
				t.Errorf("%s %x is gone in the second run", attribute, id)
			}
		}
	}
}

func TestLDAPSAndStartTLS(t *testing.T) {
	server, client := certificates(t)
	s, plain := start(t, memdir.Options{TLS: server})
	secure := serve(t, s, tls.NewListener(listen(t), server))

	c := dialURL(t, "ldaps://"+secure.String(), ldap.DialWithTLSConfig(client))
	if err := c.Bind(service, memdir.ServicePassword); err != nil {
		t.Errorf("LDAPS: %v", err)
	}
	if _, err := c.Extended(ldap.NewExtendedRequest("1.3.6.1.4.1.1466.20037", nil)); code(err) != 1 {
		t.Errorf("StartTLS on LDAPS: %v, want code 1", err)
	}
	c = dial(t, plain)
	if err := c.StartTLS(client); err != nil {
		t.Fatalf("StartTLS: %v", err)
	}
	if err := c.Bind(service, memdir.ServicePassword); err != nil {
		t.Errorf("after StartTLS: %v", err)
	}
	_, none := start(t, memdir.Options{})
	if err := dial(t, none).StartTLS(client); code(err) != 2 {
		t.Errorf("StartTLS where there is none: %v, want code 2", err)
	}
}

// A client's first request after StartTLS must come through TLS: one that was
// put behind StartTLS in clear is not to be answered as if it had.
func TestNothingFollowsStartTLSInClear(t *testing.T) {
	server, _ := certificates(t)
	s, addr := start(t, memdir.Options{TLS: server})
	const (
		startTLS = "301d02010177188016312e332e362e312e342e312e313436362e3230303337"
		bind     = "300c020102600702010304008000"
	)
	answer := exchange(t, addr, unhex(t, startTLS+bind))
	if bytes.Contains(answer, []byte{0x61, 0x07, 0x0a}) || s.Stats().Binds != 0 {
		t.Errorf("answered the bind: %x", answer)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchange sends bytes and returns what comes until the server hangs up.
func exchange(t testing.TB, addr net.Addr, b []byte) []byte {
	t.Helper()
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(nc)
	if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // net.Conn returns it as it is
		t.Fatal("the server did not hang up")
	}
	return answer
}

// element encodes one BER element.
func element(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	return append([]byte{tag, 0x82, byte(len(content) >> 8), byte(len(content))}, content...)
}

// searching encodes a search request up to its filter, and what follows that.
func searching(filter []byte) []byte {
	before := []byte{4, 0, 10, 1, 2, 10, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0}
	return element(0x30, []byte{2, 1, 1}, element(0x63, before, filter, []byte{0x30, 0}))
}

func TestMalformedRequestsEndTheConnection(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	deep := element(0x87, []byte("cn"))
	for range 200 {
		deep = element(0xa2, deep)
	}
	id, whoAmI := []byte{2, 1, 1}, element(0x77, element(0x80, []byte("1.3.6.1.4.1.4203.1.11.3")))
	for _, tt := range []struct {
		rule string
		b    []byte
	}{
		{"not LDAP", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"a TLS handshake", unhex(t, "16030100050100000100")},
		{"more than a megabyte", unhex(t, "3084001000010000")},
		{"four gigabytes", unhex(t, "3084ffffffff0000")},
		{"indefinite length", unhex(t, "30800201014200")},
		{"length of nine bytes", unhex(t, "3089010101010101010101")},
		{"nothing in it", element(0x30)},
		{"message ID 0", element(0x30, []byte{2, 1, 0}, whoAmI)},
		{"negative message ID", element(0x30, []byte{2, 1, 0xff}, whoAmI)},
		{"message ID of nine bytes", element(0x30, []byte{2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1}, whoAmI)},
		{"unknown operation", element(0x30, id, element(0x5e))},
		{"an answer", element(0x30, id, element(0x61, []byte{10, 1, 0, 4, 0, 4, 0}))},
		{"a part longer than the whole", element(0x30, id, []byte{0x42, 5})},
		{"bind without a password", element(0x30, id, element(0x60, []byte{2, 1, 3, 4, 0}))},
		{"search without a filter", searching(nil)},
		{"unknown filter", searching(element(0xaf))},
		{"filter without a class of its own", searching(element(0x30))},
		{"not of two", searching(element(0xa2, element(0x87, []byte("a")), element(0x87, []byte("b"))))},
		{"substrings of nothing", searching(element(0xa4, element(4, []byte("cn")), element(0x30)))},
		{"filter two hundred deep", searching(deep)},
		{"something left over", element(0x30, id, whoAmI, element(0xa0), element(1, []byte{0xff}))},
		{"a string in pieces", element(0x30, id, element(0x60, []byte{2, 1, 3}, element(0x24), []byte{0x80, 0}))},
		{"a real number", element(0x30, id, element(0x60, []byte{9, 1, 3, 4, 0, 0x80, 0}))},
		{"a tag of several bytes", element(0x30, id, element(0x7f, []byte{1, 0}))},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			answer := exchange(t, addr, tt.b)
			if len(answer) > 0 && !bytes.Contains(answer, []byte("1.3.6.1.4.1.1466.20036")) {
				t.Errorf("answered %x", answer)
			}
		})
	}
	signedIn(t, memdir.ActiveDirectory, addr) // the server is none the worse
}

func TestDeepFiltersAreAnswered(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	filter := "(sn=Smith)"
	for range 60 {
		filter = "(!" + filter + ")"
	}
	if got := names(find(t, signedIn(t, memdir.ActiveDirectory, addr), filter)); got != "Jon Smith" {
		t.Errorf("found %q", got)
	}
}

func TestUnbindEndsTheConnection(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	if answer := exchange(t, addr, unhex(t, "30050201014200")); len(answer) > 0 {
		t.Errorf("answered %x", answer)
	}
}

func TestAbandonIsNotAnswered(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	if answer := exchange(t, addr, unhex(t, "3006020102500101"+"30050201034200")); len(answer) > 0 {
		t.Errorf("answered %x", answer)
	}
}

func TestWhatIsNotSupported(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	if err := c.Del(ldap.NewDelRequest("CN=Jon Smith,OU=Staff,"+base, nil)); code(err) != 50 {
		t.Errorf("delete: %v, want code 50", err)
	}
	m := ldap.NewModifyRequest("CN=Jon Smith,OU=Staff,"+base, nil)
	m.Replace("sn", []string{"Jones"})
	if err := c.Modify(m); code(err) != 50 {
		t.Errorf("modify: %v, want code 50", err)
	}
	if _, err := c.Compare("CN=Jon Smith,OU=Staff,"+base, "sn", "Smith"); code(err) != 50 {
		t.Errorf("compare: %v, want code 50", err)
	}
	if _, err := c.PasswordModify(ldap.NewPasswordModifyRequest("", "a", "b")); code(err) != 2 {
		t.Errorf("unknown extended operation: %v, want code 2", err)
	}
	r := request("(sn=Smith)")
	r.Controls = []ldap.Control{ldap.NewControlString("1.2.3.4", true, "")}
	if _, err := c.Search(r); code(err) != 12 {
		t.Errorf("unknown critical control: %v, want code 12", err)
	}
	r.Controls = []ldap.Control{ldap.NewControlString("1.2.3.4", false, "")}
	if _, err := c.Search(r); err != nil {
		t.Errorf("unknown control: %v", err)
	}
}

func TestChangesWhileRunning(t *testing.T) {
	s, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	jon := "CN=Jon Smith,OU=Staff," + base
	user := dial(t, addr)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	must(s.Update(strings.ToUpper(jon), map[string][]string{"userAccountControl": {"514"}, "title": nil, "sAMAccountName": {"jonny"}}))
	if got := subCode(user.Bind(jon, memdir.SamplePassword)); got != "533" {
		t.Errorf("disabled: sub-code %q", got)
	}
	if names(find(t, c, "(sAMAccountName=jon)")) != "" || names(find(t, c, "(sAMAccountName=jonny)")) != "Jon Smith" {
		t.Error("the new account name is not the one that is found")
	}
	if read(t, c, jon).GetAttributeValue("title") != "" {
		t.Error("title is still there")
	}
	must(s.Update(jon, map[string][]string{"userAccountControl": {"66048"}}))
	must(s.SetPassword(jon, "new"))
	if got := subCode(user.Bind(jon, memdir.SamplePassword)); got != "52e" {
		t.Errorf("old password: sub-code %q", got)
	}
	must(user.Bind(jon, "new"))

	must(s.Update("CN=Process Engineers,OU=Groups,"+base, map[string][]string{"member": {"CN=Amy Reed,OU=Staff," + base}}))
	if got := names(find(t, c, "(memberOf=CN=Process Engineers,OU=Groups,"+base+")")); got != "Amy Reed" {
		t.Errorf("members: %q", got)
	}

	must(s.Remove(jon))
	if names(find(t, c, "(|(cn=Jon Smith)(title=Driver))")) != "Paul Kern" {
		t.Error("removed, but still found")
	}
	if got := subCode(user.Bind(jon, "new")); got != "52e" {
		t.Errorf("removed: sub-code %q", got)
	}
	if names(find(t, c, "(sAMAccountName=amy)")) != "Amy Reed" {
		t.Error("amy went with jon")
	}

	for _, err := range []error{s.Remove(jon), s.SetPassword("jon", "x"), s.Update("OU=Staff,"+base, map[string][]string{"memberOf": {jon}})} {
		if err == nil {
			t.Error("no error")
		}
	}
}

func TestDropAllEndsConnectionsButNotTheServer(t *testing.T) {
	s, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	s.DropAll()
	if _, err := c.Search(request("(sn=Smith)")); err == nil {
		t.Error("the old connection still answers")
	}
	signedIn(t, memdir.ActiveDirectory, addr)
	if got := s.Stats(); got.Connections != 2 || got.Binds != 2 {
		t.Errorf("stats %+v", got)
	}
}

// pipe is a listener whose connections stay within the test.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p pipe) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipe) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// inBubble runs f with a server and a connection to it where time passes only
// when everything waits.
func inBubble(t *testing.T, f func(t *testing.T, s *memdir.Server, c *ldap.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memdir.New(memdir.Options{BaseDN: base, Entries: memdir.Sample(base)})
		if err != nil {
			t.Fatal(err)
		}
		ln := pipe{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ln) }()
		client, server := net.Pipe()
		ln.conns <- server
		c := ldap.NewConn(client, false)
		c.Start()
		f(t, s, c)
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s.Stats().Open != 0 {
			t.Errorf("stats %+v", s.Stats())
		}
		if err := s.Serve(ln); err == nil {
			t.Error("serves after Close")
		}
	})
}

func TestDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memdir.Server, c *ldap.Conn) {
		s.SetDelay(3 * time.Second)
		before := time.Now()
		if err := c.Bind(service, memdir.ServicePassword); err != nil || time.Since(before) != 3*time.Second {
			t.Errorf("answered after %v: %v", time.Since(before), err)
		}
		s.SetDelay(0)
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memdir.Server, c *ldap.Conn) {
		s.SetDelay(time.Minute)
		failed := make(chan error, 1)
		go func() { _, err := c.WhoAmI(nil); failed <- err }()
		synctest.Wait()
		before := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil || time.Since(before) != 0 {
			t.Errorf("after %v: %v", time.Since(before), err)
		}
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *memdir.Server, c *ldap.Conn) {
		time.Sleep(14 * time.Minute)
		if _, err := c.WhoAmI(nil); err != nil {
			t.Errorf("after 14 minutes: %v", err)
		}
		time.Sleep(15*time.Minute + time.Second)
		if s.Stats().Open != 0 {
			t.Error("open after 15 minutes of silence")
		}
	})
}

func TestManyRequestsOnOneConnection(t *testing.T) {
	_, addr := start(t, memdir.Options{Entries: crowd(100), AnonymousRead: true})
	c := dial(t, addr)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				want := "u00" + string(rune('0'+i%10)) + string(rune('0'+j%10))
				if res, err := c.Search(request("(uid="+want+")", "uid")); err != nil || names(res.Entries) != want {
					t.Errorf("asked for %s: %v, %v", want, res, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPasswordsAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	s, addr := start(t, memdir.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	_ = c.Bind("jon@fabrikam.example", "canary-wrong")
	find(t, c, "(sn=Smith)")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "jon@fabrikam.example") || strings.Contains(text, "canary") || strings.Contains(text, memdir.ServicePassword) {
		t.Errorf("log:\n%s", text)
	}
}
