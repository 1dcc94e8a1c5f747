package connector_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector/browser"
	"adconnector/ldapauth/dirtest"

	"go.uber.org/goleak"
)

// Times of the chaos test. What a directory is done lasts longer than the
// connector waits for an answer.
const (
	chaosLasts = chaosTimeout + 3*time.Second
	// chaosGrace is how long after the directory's return sign-ins may fail.
	chaosGrace = 2 * time.Second
	// crowd is how many people sign in at the same time, over and over, with a
	// pause after each time.
	crowd = 50
)

// A fault is something that happens to directories.
type fault struct {
	name    string
	servers int // with the same content; what happens, happens to the first
	kinds   []string
	options dirtest.OpenLDAPOptions
	baseDN  string // relative to the server's
	lasts   time.Duration
	quiet   bool // nobody comes while it lasts
	still   bool // nobody is under way when it happens
	// harmless says that no sign-in may fail while it lasts.
	harmless bool
	prepare  func(testing.TB, *dirtest.Server)
	happen   func(testing.TB, *dirtest.Server) (restore func())
}

var bothKinds = []string{dirtest.KindOpenLDAP, dirtest.KindSamba}

func kill(t testing.TB, s *dirtest.Server) func() {
	s.Kill()
	return func() { s.Start(t) }
}

func freeze(t testing.TB, s *dirtest.Server) func() { return s.Freeze(t) }

func dropPackets(t testing.TB, s *dirtest.Server) func() { return s.DropPackets(t) }

// idle makes the server hang up after a second, with connections that it will
// hang up.
func idle(t testing.TB, s *dirtest.Server) func() {
	s.IdleTimeout(t, 1)
	s.HangUp(t)
	return func() {}
}

func wrongCertificate(t testing.TB, s *dirtest.Server) func() { return s.WrongCertificate(t) }

func servicePassword(t testing.TB, s *dirtest.Server) func() { return s.ServicePassword(t) }

// lockAfterTen makes the server lock accounts as late as is usual. OpenLDAP's
// service account is never locked.
func lockAfterTen(t testing.TB, s *dirtest.Server) {
	if s.Kind == dirtest.KindSamba {
		s.LockAfter(t, 10)
	}
}

func servicePasswordAndHangUp(t testing.TB, s *dirtest.Server) func() {
	restore := s.ServicePassword(t)
	s.HangUp(t)
	return restore
}

func refer(t testing.TB, s *dirtest.Server) func() {
	return s.Refer(t, "bulk", "ldaps://dc9.corp.example.test")
}

// faults are what the connector has to bear.
var faults = []fault{
	{name: "killed and restarted", kinds: bothKinds, lasts: 1500 * time.Millisecond, happen: kill},
	{name: "frozen", kinds: bothKinds, lasts: chaosFreeze, happen: freeze},
	{name: "packets dropped", kinds: bothKinds, lasts: chaosLasts, happen: dropPackets},
	{name: "idle timeout", kinds: bothKinds, lasts: 3 * time.Second, quiet: true, happen: idle},
	{name: "wrong certificate", kinds: bothKinds, lasts: 1500 * time.Millisecond, happen: wrongCertificate},
	// Connections that are bound already go on working.
	{name: "service password changed", kinds: bothKinds, lasts: 3 * time.Second, harmless: true, happen: servicePassword},
	// A refused account is tried every two seconds, but only half as often as
	// locks it.
	{name: "service password changed and connections lost", kinds: bothKinds, prepare: lockAfterTen, lasts: 3 * time.Second, happen: servicePasswordAndHangUp},
	// Samba answers no search with a referral. Whose entry is moved between the
	// search and the password has a wrong password: nobody may be there.
	{name: "referral", kinds: []string{dirtest.KindOpenLDAP}, baseDN: "ou=bulk,", lasts: 1500 * time.Millisecond, still: true, happen: refer},
	{name: "one of two frozen", servers: 2, kinds: bothKinds, lasts: chaosFreeze, harmless: true, happen: freeze},
	{name: "one of two killed", servers: 2, kinds: bothKinds, lasts: 3 * time.Second, harmless: true, happen: kill},
	{name: "one of two drops packets", servers: 2, kinds: bothKinds, lasts: chaosLasts, harmless: true, happen: dropPackets},
}

// TestChaos does to real directories what happens to directories, while fifty
// people at a time sign in. Whatever it is: nobody waits for longer than the
// timeout of the directory and a second, nobody is told that his password was
// wrong, sign-ins work two seconds after the directory does, and nothing is
// left over. With a second server only a password may be lost that was on its
// way to the first.
func TestChaos(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("faults", func(t *testing.T) {
		for _, f := range faults {
			for _, kind := range f.kinds {
				if raced && kind != dirtest.KindOpenLDAP {
					continue // it is for races of ours
				}
				t.Run(kind+"/"+f.name, func(t *testing.T) {
					t.Parallel()
					f.test(t, kind)
				})
			}
		}
		t.Run("openldap/50,000 groups", func(t *testing.T) {
			t.Parallel()
			testManyGroups(t)
		})
	})
	goleak.VerifyNone(t, before)
}

// testManyGroups lets somebody sign in who is in 50,000 groups, which is taken
// for a broken entry, while others sign in who are not.
func testManyGroups(t *testing.T) {
	f := fault{options: dirtest.OpenLDAPOptions{Groups: 50_000}}
	servers := f.start(t, dirtest.KindOpenLDAP)
	s := newStorm(t, servers, "")
	s.blow()
	for range 10 {
		s.byPassword("jon")
	}
	s.settle()
	attempts := s.take()
	wrong := s.judge(attempts, time.Now(), false)
	for _, a := range attempts {
		switch {
		case a.user == "jon" && a.granted():
			wrong.add("let in without his groups", a)
		case a.user != "jon" && !a.granted() && s.lag() < tooBusy:
			wrong.add("kept out by somebody else's groups", a)
		}
	}
	wrong.report(t, attempts[0].began)
	s.end(servers)
}

// tooBusy is how long a page takes for which no directory is asked if the
// machine is too busy to judge the connector by.
const tooBusy = chaosTimeout / 4

// test tries again if something was wrong on a machine that was too busy.
func (f *fault) test(t *testing.T, kind string) {
	for try := 1; ; try++ {
		began := time.Now()
		wrong, lag := f.strike(t, kind)
		if len(wrong) == 0 || lag < tooBusy || try == 3 {
			wrong.report(t, began)
			return
		}
		t.Logf("once more: the machine took %v for a page", lag.Round(time.Millisecond))
	}
}

// strike starts servers and a connector, lets the fault happen and returns what
// was wrong, and how long the machine was busy.
func (f *fault) strike(t *testing.T, kind string) (wrong complaints, lag time.Duration) {
	servers := f.start(t, kind)
	if f.prepare != nil {
		f.prepare(t, servers[0])
	}
	s := newStorm(t, servers, f.baseDN)
	defer s.end(servers)
	s.blow() // calm: connections are made
	time.Sleep(2 * pause)
	s.settle()
	wrong = s.judge(s.take(), time.Time{}, false)
	if len(wrong) > 0 {
		return wrong, s.lag()
	}

	s.blow()
	time.Sleep(10 * time.Millisecond) // everybody is under way
	if f.still {
		s.settle()
	}
	restore := f.happen(t, servers[0])
	switch {
	case f.quiet:
		s.settle()
	case f.still:
		s.blow()
	}
	time.Sleep(f.lasts)
	if f.still {
		s.settle()
	}
	restore()
	over := time.Now()
	if f.quiet || f.still {
		s.blow()
	}
	time.Sleep(chaosGrace + s.lag() + 2*pause)
	s.settle()

	attempts := s.take()
	wrong = s.judge(attempts, over, f.harmless)
	lost := 0
	var slowest time.Duration
	for _, a := range attempts {
		slowest = max(slowest, a.took)
		if !a.granted() {
			lost++
		}
	}
	t.Logf("%d sign-ins, %d failed; the slowest took %v, the slowest page without a directory %v",
		len(attempts), lost, slowest.Round(time.Millisecond), s.lag().Round(time.Millisecond))
	return wrong, s.lag()
}

// judge returns what may not happen to anybody, whatever happens to a directory
// until it is over. What is harmless makes nobody's attempt fail, unless the
// password was on its way.
//
// The race detector makes everything so slow that nothing can be said of times,
// nor of what fails in the end because of them.
func (s *storm) judge(attempts []attempt, over time.Time, harmless bool) complaints {
	wrong := complaints{}
	for _, a := range attempts {
		switch {
		case !a.granted() && !a.fault():
			wrong.add("not answered as a fault of ours", a)
		case raced:
		case a.took > chaosTimeout+time.Second+s.lag():
			wrong.add("took too long", a)
		case a.granted():
		case a.began.After(over.Add(chaosGrace + s.lag())):
			wrong.add(fmt.Sprint("failed although the directory is back for ", chaosGrace), a)
		case harmless && a.method == "certificate":
			wrong.add("failed although it need not", a)
		}
	}
	for _, line := range s.faults() {
		if harmless && !raced && !strings.Contains(line, "did not answer the password check") {
			wrong.add("recorded as a fault that need not be one", attempt{began: over, err: errors.New(line)})
		}
	}
	return wrong
}

// faults returns the lines of the audit trail that tell of a fault.
func (s *storm) faults() []string {
	s.rig.t.Helper()
	var lines []string
	for line := range strings.Lines(s.rig.audit.take()) {
		var entry struct{ Result string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			s.rig.t.Fatal(err)
		}
		if entry.Result != "granted" {
			lines = append(lines, line)
		}
	}
	return lines
}

// complaints are attempts by what is wrong with them.
type complaints map[string][]attempt

func (c complaints) add(what string, a attempt) { c[what] = append(c[what], a) }

// report fails the test with the first of each kind.
func (c complaints) report(t testing.TB, since time.Time) {
	t.Helper()
	for what, list := range c {
		first := slices.MinFunc(list, func(a, b attempt) int { return a.began.Compare(b.began) })
		t.Errorf("%d %s; the first, which began after %v: %v", len(list), what, first.began.Sub(since).Round(time.Millisecond), first)
	}
}

// start starts the servers that the fault is for.
func (f *fault) start(t testing.TB, kind string) []*dirtest.Server {
	t.Helper()
	var servers []*dirtest.Server
	for range max(1, f.servers) {
		if kind == dirtest.KindSamba {
			servers = append(servers, dirtest.SambaAD(t))
			continue
		}
		o := f.options
		o.Wire, o.Users, o.Quiet = true, 50, true
		servers = append(servers, dirtest.OpenLDAP(t, o))
	}
	return servers
}

// A storm is many people who sign in at a connector.
type storm struct {
	rig      *rig
	password string
	pause    time.Duration      // of everybody, between two visits
	typists  int                // one of so many has a password
	cards    []*tls.Certificate // of u00000 and those after

	people sync.WaitGroup
	calm   chan struct{} // closed when nobody is to come any more

	mu   sync.Mutex
	done []attempt
	// busy is what the machine is to blame for: the longest that anybody waited
	// for a page for which no directory is asked, on a new connection.
	busy time.Duration
}

// An attempt is one sign-in as the person saw it.
type attempt struct {
	method string
	user   string
	began  time.Time
	took   time.Duration
	page   *browser.Page
	err    error // there was no answer
}

func (a attempt) String() string {
	said := fmt.Sprint(a.err)
	if a.err == nil {
		said = fmt.Sprintf("status %d: %.80s", a.page.Status, a.page.Message())
	}
	return fmt.Sprintf("%s by %s after %v: %s", a.user, a.method, a.took.Round(time.Millisecond), said)
}

// granted reports whether the person has a token.
func (a attempt) granted() bool {
	return a.err == nil && a.page.Status == http.StatusOK && strings.Contains(a.page.Body, `name="wresult"`)
}

// fault reports whether the person was told that the fault is not his.
func (a attempt) fault() bool {
	return a.err == nil && a.page.Status == http.StatusServiceUnavailable && strings.Contains(a.page.Body, "something on our side")
}

// newStorm starts a connector in front of the servers.
func newStorm(t testing.TB, servers []*dirtest.Server, baseDN string) *storm {
	t.Helper()
	r := prepareRig(t, real(servers[0]), "")
	var urls, authorities []string
	for _, s := range servers {
		urls, authorities = append(urls, fmt.Sprintf("%q", s.URL)), append(authorities, fmt.Sprintf("%q", s.CAFile))
	}
	r.configure("level: debug", "level: info")
	r.configure(fmt.Sprintf("urls: [%q]", servers[0].URL), "urls: ["+strings.Join(urls, ", ")+"]")
	r.configure(fmt.Sprintf("ca_files: [%q]", servers[0].CAFile), "ca_files: ["+strings.Join(authorities, ", ")+"]")
	r.configure(fmt.Sprintf("base_dn: %q", servers[0].BaseDN), fmt.Sprintf("base_dn: %q\n  timeout: %v\n  groups: {base_dn: %q}",
		baseDN+servers[0].BaseDN, chaosTimeout, servers[0].BaseDN))
	s := &storm{rig: r, password: servers[0].Password, pause: pause, typists: 2}
	if servers[0].Kind == dirtest.KindSamba {
		s.typists = 5 // it takes its time for a password, one after the other
	}
	for i := range crowd {
		s.cards = append(s.cards, r.client(fmt.Sprintf("u%05d", i)))
	}
	r.start()
	return s
}

// blow makes everybody come at the same time and again and again, some with a
// password, until settle is called.
func (s *storm) blow() {
	s.calm = make(chan struct{})
	for i, card := range s.cards {
		visit := func() { s.byCertificate(card) }
		if i%s.typists == 1 {
			visit = func() { s.byPassword(fmt.Sprintf("u%05d", i)) }
		}
		s.people.Go(func() {
			for {
				visit()
				select {
				case <-time.After(s.pause):
				case <-s.calm:
					return
				}
			}
		})
	}
}

// settle lets nobody come any more and waits until everybody has an answer.
func (s *storm) settle() {
	close(s.calm)
	s.people.Wait()
}

// byCertificate is the visit of somebody with a card.
func (s *storm) byCertificate(card *tls.Certificate) {
	b := s.browser(inside, card)
	defer b.Close()
	began := time.Now()
	page, err := b.Get(context.Background(), s.rig.request())
	s.record(attempt{method: "certificate", user: card.Leaf.Subject.CommonName, began: began, took: time.Since(began), page: page, err: err})
}

// byPassword is the visit of somebody without one.
func (s *storm) byPassword(user string) {
	b := s.browser(outside, nil)
	defer b.Close()
	began := time.Now()
	page, err := b.Get(context.Background(), s.rig.request())
	form, err2 := page.Form()
	if err := errors.Join(err, err2); err != nil {
		s.rig.t.Errorf("the form for the password: %v", err)
		return
	}
	s.mu.Lock()
	s.busy = max(s.busy, time.Since(began))
	s.mu.Unlock()
	form.Fields.Set("username", user)
	form.Fields.Set("password", s.password)
	began = time.Now()
	page, err = b.Submit(context.Background(), form, "")
	s.record(attempt{method: "password", user: user, began: began, took: time.Since(began), page: page, err: err})
}

// browser returns a browser that has not been here before.
func (s *storm) browser(from netip.Addr, card *tls.Certificate) *browser.Browser {
	return browser.New(browser.Options{Roots: s.rig.roots, Certificate: card, Connect: s.rig.listen, From: from})
}

func (s *storm) record(a attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, a)
}

// lag returns what the machine is to blame for so far.
func (s *storm) lag() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}

// take returns what has been done since the last time.
func (s *storm) take() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := s.done
	s.done = nil
	return done
}

// end ends the connector, of which nothing may be left.
func (s *storm) end(servers []*dirtest.Server) {
	t := s.rig.t
	t.Helper()
	if err := s.rig.stop(); err != nil {
		t.Errorf("the connector ended with %v", err)
	}
	for _, d := range servers {
		eventually(t, "no connection to "+d.URL+" is left", func() bool { return connections(t, d.URL) == 0 })
	}
}

// connections returns how many connections of this process lead to a server.
func connections(t testing.TB, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	to, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		// Established, being made, or closed by the other side alone (proc(5)).
		if strings.HasSuffix(f[2], fmt.Sprintf(":%04X", to.Port())) && slices.Contains([]string{"01", "02", "08"}, f[3]) {
			n++
		}
	}
	return n
}
