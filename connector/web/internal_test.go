package web

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

var start = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

func TestEveryReasonHasASentence(t *testing.T) {
	seen := map[string]denial.Reason{}
	for _, r := range denial.Reasons() {
		s := sentences[r]
		if s == "" || !strings.HasSuffix(s, ".") || strings.ContainsAny(s, "_\n") {
			t.Errorf("%s: %q is no sentence", r, s)
		}
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s have the same sentence", r, other)
		}
		seen[s] = r
	}
	if len(sentences) != len(denial.Reasons()) {
		t.Errorf("%d sentences for %d reasons", len(sentences), len(denial.Reasons()))
	}
	// A reason that is not on the list says nothing about itself.
	for _, m := range []signin.Method{signin.ByPassword, signin.ByCertificate} {
		if got := sentence(m, "new_reason"); got != sentences[denial.BadCredentials] {
			t.Errorf("%s: unknown reason says %q", m, got)
		}
	}
}

func sealerAt(t testing.TB, now *time.Time) *sealer {
	t.Helper()
	s, err := newSealer([]byte(strings.Repeat("0123456789abcdef", 2)), func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealKeepsEverything(t *testing.T) {
	now := start
	s := sealerAt(t, &now)
	for _, p := range []Pending{
		{},
		{Protocol: "wsfed", RelyingParty: "urn:app", MaxAge: -1, State: []byte{0, 1, 2}},
		{Protocol: "saml", MaxAge: 5 * time.Minute, SignOut: true, ReturnTo: "https://app.example/bye?x=é", State: bytes.Repeat([]byte("x"), 40_000)},
	} {
		text := s.seal(forForm, "browser", p)
		if strings.Contains(text, "urn:app") || strings.ContainsAny(text, "+/=&") {
			t.Errorf("sealed text %.40q can be read or needs escaping", text)
		}
		got, browser, err := s.open(forForm, text)
		if err != nil || browser != "browser" || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v for %q, %v, want %+v", got, browser, err, p)
		}
		if s.seal(forForm, "browser", p) == text {
			t.Error("sealed twice, same text")
		}
	}
}

func TestSealIsForOnePurposeAndTime(t *testing.T) {
	now := start
	s := sealerAt(t, &now)
	text := s.seal(forForm, "browser", Pending{Protocol: "wsfed"})
	other, err := newSealer(make([]byte, 32), s.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name          string
		by            *sealer
		purpose, text string
		wait          time.Duration
		want          bool
	}{
		{"at once", s, forForm, text, 0, true},
		{"just in time", s, forForm, text, pendingLifetime, true},
		{"too old", s, forForm, text, pendingLifetime + time.Second, false},
		{"clock a little back", s, forForm, text, -time.Minute, true},
		{"from the future", s, forForm, text, -2 * time.Minute, false},
		{"other purpose", s, forResume, text, 0, false},
		{"no purpose", s, "", text, 0, false},
		{"other key", other, forForm, text, 0, false},
		{"empty", s, forForm, "", 0, false},
		{"not base64", s, forForm, "+" + text, 0, false},
	} {
		now = start.Add(tt.wait)
		if _, _, err := tt.by.open(tt.purpose, tt.text); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	now = start
	for i := range text {
		changed := []byte(text)
		changed[i] ^= 1
		if _, _, err := s.open(forForm, string(changed)); err == nil {
			t.Fatalf("opened with byte %d changed", i)
		}
	}
}

// What comes through the seal is ours, but may be of another version.
func FuzzDecodeTicket(f *testing.F) {
	f.Add(encodeTicket(ticket{issued: start}))
	f.Add(encodeTicket(ticket{
		Pending{Protocol: "wsfed", RelyingParty: "urn:app", MaxAge: time.Minute, SignOut: true, ReturnTo: "https://a/", State: []byte("s")},
		"browser", start,
	}))
	f.Add([]byte{ticketVersion, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		read, err := decodeTicket(b)
		if err != nil {
			return
		}
		again, err := decodeTicket(encodeTicket(read))
		if err != nil || !reflect.DeepEqual(read, again) {
			t.Errorf("%x: %+v became %+v (%v)", b, read, again, err)
		}
	})
}

func tableOf(t *testing.T, size, perAccount int) (*table, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	table, err := newTable(size, perAccount, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return table, &log
}

func entryOf(account string, expires time.Duration) entry {
	return entry{identity: &signin.Identity{ID: account}, expires: start.Add(expires)}
}

// has lists the sessions that are still there, and checks that the index of
// accounts agrees.
func (t *table) has(now time.Time, ids ...string) string {
	var there []string
	for _, id := range ids {
		if _, ok := t.find(id, now); ok {
			there = append(there, id)
		}
	}
	indexed := 0
	for _, of := range t.accounts {
		indexed += len(of.sessions)
	}
	if indexed != t.sessions.Len() {
		return fmt.Sprintf("%d sessions, %d in the index", t.sessions.Len(), indexed)
	}
	return strings.Join(there, " ")
}

func TestFullTableDropsTheLongestUnusedAndSaysSo(t *testing.T) {
	table, log := tableOf(t, 3, 3)
	for _, id := range []string{"a", "b", "c"} {
		table.add(id, entryOf(id, time.Hour), start)
	}
	table.find("a", start)
	table.add("d", entryOf("d", time.Hour), start)
	if got := table.has(start, "a", "b", "c", "d"); got != "a c d" {
		t.Errorf("left: %q", got)
	}
	if table.evicted != 1 || strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("evicted %d, log %q", table.evicted, log)
	}
	for i := range 500 {
		table.add(fmt.Sprint(i), entryOf(fmt.Sprint("account", i), time.Hour), start)
	}
	if table.evicted != 501 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("evicted %d, log %q", table.evicted, log)
	}
}

// One user with a script does not sign everybody else out.
func TestOneAccountCannotFillTheTable(t *testing.T) {
	table, _ := tableOf(t, 100, 5)
	table.add("ann", entryOf("ann", time.Hour), start)
	for i := range 1000 {
		table.add(fmt.Sprint("m", i), entryOf("mallory", time.Hour), start)
	}
	if got := table.has(start, "ann", "m994", "m995", "m996", "m997", "m998", "m999"); got != "ann m995 m996 m997 m998 m999" {
		t.Errorf("left: %q", got)
	}
}

// Somebody in a thousand groups with a hundred sessions has one list of groups.
func TestSessionsOfOneAccountShareWhatIsLong(t *testing.T) {
	look := func(groups ...string) *signin.Identity {
		return &signin.Identity{
			ID: "ann", Groups: groups, CheckedAt: start.Add(time.Duration(len(groups))),
			Attributes: []signin.Attribute{{Name: "co", Values: []string{"Norway"}}, {Name: "l", Values: []string{"Oslo", groups[0]}}},
		}
	}
	table, _ := tableOf(t, 10, 10)
	kept := func(id string) *signin.Identity {
		t.Helper()
		e, ok := table.find(id, start)
		if !ok {
			t.Fatalf("there is no session %s", id)
		}
		return e.identity
	}
	add := func(id string, identity *signin.Identity) {
		table.add(id, entry{identity: identity, expires: start.Add(time.Hour)}, start)
	}
	check := func(a, b string, want bool) {
		t.Helper()
		if x, y := kept(a), kept(b); (&x.Groups[0] == &y.Groups[0]) != want || (&x.Attributes[0] == &y.Attributes[0]) != want {
			t.Errorf("sessions %s and %s have the same lists: %t, want %t", a, b, !want, want)
		}
	}
	add("a", look("staff", "ops"))
	add("b", look("staff", "ops"))
	check("a", "b", true)
	for _, id := range []string{"a", "b"} { // both looked up again, and she has moved
		fresh := look("sales", "ops", "new")
		table.renew(id, fresh)
		if got := kept(id); !reflect.DeepEqual(got, fresh) {
			t.Errorf("session %s has %+v, want %+v", id, got, fresh)
		}
	}
	check("a", "b", true)
	table.remove("a")
	add("c", look("sales", "ops", "new"))
	check("b", "c", true)
	add("d", look("staff", "ops"))
	check("b", "d", false)
	if got := kept("d").Groups; !slices.Equal(got, []string{"staff", "ops"}) {
		t.Errorf("another list became %q", got)
	}
	for _, id := range []string{"b", "c", "d"} {
		table.remove(id)
	}
	if n := len(table.accounts); n != 0 {
		t.Errorf("%d accounts are remembered without a session", n)
	}
}

func TestExpiredSessionsMakeRoom(t *testing.T) {
	table, _ := tableOf(t, 100, 100)
	table.add("a", entryOf("a", time.Minute), start)
	table.add("b", entryOf("b", time.Minute), start)
	table.add("c", entryOf("c", time.Hour), start)
	now := start.Add(time.Minute)
	table.add("d", entryOf("d", time.Hour), now)
	if n := table.sessions.Len(); n != 2 {
		t.Errorf("%d sessions are kept, want 2", n)
	}
	if got := table.has(now, "a", "b", "c", "d"); got != "c d" || table.evicted != 0 {
		t.Errorf("left: %q, evicted %d", got, table.evicted)
	}
}

func TestRenewDoesNotBringASessionBack(t *testing.T) {
	table, _ := tableOf(t, 10, 10)
	table.add("a", entryOf("ann", time.Hour), start)
	table.remove("a")
	table.renew("a", &signin.Identity{ID: "ann"})
	if got := table.has(start, "a"); got != "" {
		t.Errorf("left: %q", got)
	}
	// And a session never changes hands.
	table.add("a", entryOf("ann", time.Hour), start)
	table.renew("a", &signin.Identity{ID: "bob"})
	if got := table.has(start, "a"); got != "" {
		t.Errorf("ann's session is bob's: %q", got)
	}
}

func TestStoreSaysWhenItIsMisused(t *testing.T) {
	k := Keys{CookieHash: make([]byte, 32), CookieBlock: make([]byte, 15)}
	if _, err := newStore(DefaultSessionConfig(), k, time.Now, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a block key of 15 bytes shows only at the first sign-in")
	}
	k.CookieBlock = make([]byte, 32)
	s, err := newStore(DefaultSessionConfig(), k, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	session, err := s.Get(r, sessionCookie)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Save(r, httptest.NewRecorder()); err == nil {
		t.Error("a session without an identity was saved")
	}
}

// The cookie's own time limit holds as well, whatever the table says.
func TestCookieCodecHasALimit(t *testing.T) {
	k := Keys{CookieHash: bytes.Repeat([]byte{1}, 32), CookieBlock: bytes.Repeat([]byte{2}, 32)}
	s, err := newStore(DefaultSessionConfig(), k, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	codec := reflect.ValueOf(s.codecs[0]).Elem()
	if got := codec.FieldByName("maxAge").Int(); got != 8*60*60 {
		t.Errorf("the codec accepts cookies for %d s, want 28800", got)
	}
}
