package web

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth/setting"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// SessionConfig says how long a sign-in is good for.
type SessionConfig struct {
	// Lifetime is how long a session lasts, counted from the proof and not
	// prolonged by use. With 0 no session is kept: every request is proved
	// afresh.
	Lifetime setting.Duration `yaml:"lifetime"`
	// Recheck is how old the directory's word about an account may be when its
	// session is used.
	Recheck setting.Duration `yaml:"recheck"`
}

// DefaultSessionConfig returns a working day, checked every five minutes.
func DefaultSessionConfig() SessionConfig {
	return SessionConfig{
		Lifetime: setting.Duration(8 * time.Hour),
		Recheck:  setting.Duration(5 * time.Minute),
	}
}

// Validate reports everything wrong with c at once.
func (c *SessionConfig) Validate() error {
	var p setting.Problems
	switch life := c.Lifetime.Std(); {
	case life < 0:
		p.Addf("lifetime", "%v is negative: write how long a session lasts, such as 8h, or 0 to keep none", c.Lifetime)
	case life > 0 && life < time.Second:
		p.Addf("lifetime", "%v is less than a second: write 0 to keep no session", c.Lifetime)
	}
	if c.Recheck < 0 {
		p.Addf("recheck", "%v is negative: write how old the directory's word may be, such as 5m, or 0 to ask it every time", c.Recheck)
	}
	return p.Err()
}

// Cookies carry the prefix that makes browsers refuse them from other hosts,
// over plain HTTP and for part of the site only (RFC 6265bis, 4.1.3.2). A
// neighbour under the same domain cannot plant one.
const (
	sessionCookie   = "__Host-adconnector"
	browserCookie   = "__Host-adconnector-browser"    // random; binds forms to the browser that asked for them
	signedOutCookie = "__Host-adconnector-signed-out" // the person signed out: no certificate sign-in unasked
)

// maxSessions bounds the memory of the session table; a session takes what its
// identity does, which mostly is the names of the groups. No account may hold
// more than one in a thousand of them, or a few users with scripts could sign
// everybody else out.
const (
	maxSessions        = 100_000
	sessionsPerAccount = maxSessions / 1000
)

// An entry is what is kept of one session.
type entry struct {
	identity *signin.Identity
	token    string // in the sign-out form, to show that the form came from us
	expires  time.Time
}

// entryKey is where a gorilla session keeps its entry.
const entryKey = "entry"

// store keeps sessions in this process and gives browsers a random number. The
// point of a table on this side is that signing out is final: a copied cookie
// is worth nothing afterwards. It is a [sessions.Store].
type store struct {
	lifetime time.Duration
	now      func() time.Time
	options  sessions.Options
	codecs   []securecookie.Codec
	table    *table
}

func newStore(c SessionConfig, k Keys, now func() time.Time, log *slog.Logger) (*store, error) {
	s := &store{
		lifetime: c.Lifetime.Std(),
		now:      now,
		// The library's defaults (SameSite=None, readable by scripts, thirty
		// days) are for other uses.
		options: sessions.Options{
			Path:     "/",
			Domain:   "",
			MaxAge:   int(c.Lifetime.Std() / time.Second),
			Secure:   true,
			HttpOnly: true,
			SameSite: http.SameSiteLaxMode, // not Strict: applications send people here
		},
		codecs: securecookie.CodecsFromPairs(k.CookieHash, k.CookieBlock),
	}
	for _, c := range s.codecs {
		c := c.(*securecookie.SecureCookie)
		c.SetSerializer(securecookie.NopEncoder{})
		c.MaxLength(512)
		// The option above only tells the browser; this one is what counts.
		c.MaxAge(s.options.MaxAge)
	}
	// A block key of a wrong length would show at the first sign-in only.
	if _, err := securecookie.EncodeMulti(sessionCookie, []byte("trial"), s.codecs...); err != nil {
		return nil, fmt.Errorf("session cookie keys: %w", err)
	}
	var err error
	s.table, err = newTable(maxSessions, sessionsPerAccount, log)
	return s, err
}

// Get returns the session of this request, which may be a new one.
func (s *store) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New reads the session cookie. A cookie that is forged, outdated, from before
// a restart or under keys that are gone is no session; it never is an error.
func (s *store) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	options := s.options
	session.Options = &options
	session.IsNew = true
	cookie, err := r.Cookie(name)
	if err != nil {
		return session, nil
	}
	var id []byte
	if err := securecookie.DecodeMulti(name, cookie.Value, &id, s.codecs...); err != nil {
		return session, nil
	}
	if e, ok := s.table.find(string(id), s.now()); ok {
		session.ID = string(id)
		session.IsNew = false
		session.Values[entryKey] = e
	}
	return session, nil
}

// Save puts the session into the table and its number into the cookie, or
// removes both if MaxAge is negative.
func (s *store) Save(_ *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	if session.Options.MaxAge < 0 {
		s.table.remove(session.ID)
		setCookie(w, sessions.NewCookie(session.Name(), "", session.Options))
		return nil
	}
	value, err := securecookie.EncodeMulti(session.Name(), []byte(session.ID), s.codecs...)
	if err != nil {
		return fmt.Errorf("encoding the session cookie: %w", err)
	}
	e, ok := session.Values[entryKey].(entry)
	if !ok {
		return fmt.Errorf("session holds a %T", session.Values[entryKey])
	}
	s.table.add(session.ID, e, s.now())
	setCookie(w, sessions.NewCookie(session.Name(), value, session.Options))
	return nil
}

// current returns the session of this request, if it has one.
func (s *store) current(r *http.Request) (entry, bool) {
	if s.lifetime == 0 {
		return entry{}, false
	}
	session, err := s.Get(r, sessionCookie)
	if err != nil {
		return entry{}, false
	}
	e, ok := session.Values[entryKey].(entry)
	return e, ok
}

// begin starts a session for id under a new number, so that a number known
// before the sign-in is worth nothing after it. The session that the browser
// had ends. Nothing is kept if sessions are off or id's certificate is about to
// expire.
func (s *store) begin(w http.ResponseWriter, r *http.Request, id *signin.Identity) error {
	if s.lifetime == 0 {
		return nil
	}
	now := s.now()
	life := s.lifetime
	if id.Certificate != nil {
		life = min(life, id.Certificate.NotAfter.Sub(now))
	}
	if life < time.Second {
		return s.end(w, r)
	}
	session, err := s.Get(r, sessionCookie)
	if err != nil {
		return err
	}
	s.table.remove(session.ID)
	number := make([]byte, 32)
	rand.Read(number) // never fails: the program ends first
	session.ID = string(number)
	session.Values[entryKey] = entry{identity: id, token: rand.Text(), expires: now.Add(life)}
	session.Options.MaxAge = int(life / time.Second)
	return session.Save(r, w)
}

// renew replaces the identity of the request's session by a newer look at it.
func (s *store) renew(r *http.Request, id *signin.Identity) {
	if session, err := s.Get(r, sessionCookie); err == nil {
		s.table.renew(session.ID, id)
	}
}

// end forgets the session of this request, here and in the browser.
func (s *store) end(w http.ResponseWriter, r *http.Request) error {
	session, err := s.Get(r, sessionCookie)
	if err != nil {
		return err
	}
	delete(session.Values, entryKey)
	session.Options.MaxAge = -1
	return session.Save(r, w)
}

// owns reports whether token is the one in the forms of session e.
func (e entry) owns(token string) bool {
	return subtle.ConstantTimeCompare([]byte(e.token), []byte(token)) == 1
}

// A table holds the sessions of all browsers: at most size of them, and at most
// perAccount of one account. What is longest unused goes first.
type table struct {
	size, perAccount int
	log              *slog.Logger

	mu       sync.Mutex
	sessions *simplelru.LRU[string, entry]
	accounts map[string]*holder // by account ID
	evicted  int
}

// A holder is an account with at least one session.
type holder struct {
	sessions []string         // oldest first
	latest   *signin.Identity // of any of them
}

// keep returns id for a session of h to keep. As long as nothing has changed
// since the look at the account before, both share what takes the memory.
func (h *holder) keep(id *signin.Identity) *signin.Identity {
	if h.latest != nil {
		one := *id
		if slices.Equal(one.Groups, h.latest.Groups) {
			one.Groups = h.latest.Groups
		}
		if slices.EqualFunc(one.Attributes, h.latest.Attributes, sameAttribute) {
			one.Attributes = h.latest.Attributes
		}
		id = &one
	}
	h.latest = id
	return id
}

func sameAttribute(a, b signin.Attribute) bool {
	return a.Name == b.Name && a.Form == b.Form && slices.Equal(a.Values, b.Values)
}

func newTable(size, perAccount int, log *slog.Logger) (*table, error) {
	t := &table{size: size, perAccount: perAccount, log: log, accounts: map[string]*holder{}}
	var err error
	t.sessions, err = simplelru.NewLRU(size, t.forgotten)
	return t, err
}

// forgotten keeps accounts in step with sessions; t.mu is held.
func (t *table) forgotten(id string, e entry) {
	h := t.accounts[e.identity.ID]
	h.sessions = slices.DeleteFunc(h.sessions, func(other string) bool { return other == id })
	if len(h.sessions) == 0 {
		delete(t.accounts, e.identity.ID)
	}
}

// find returns the session with that number unless it has expired.
func (t *table) find(id string, now time.Time) (entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.sessions.Get(id)
	if ok && !now.Before(e.expires) {
		t.sessions.Remove(id)
		return entry{}, false
	}
	return e, ok
}

// add makes room, for which sessions that still are good may have to go, and
// keeps e.
func (t *table) add(id string, e entry, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		_, oldest, ok := t.sessions.GetOldest()
		if !ok || now.Before(oldest.expires) {
			break
		}
		t.sessions.RemoveOldest()
	}
	account := e.identity.ID
	if h := t.accounts[account]; h != nil && len(h.sessions) >= t.perAccount {
		t.sessions.Remove(h.sessions[0])
		t.noteEviction("account", account)
	}
	h := t.accounts[account]
	if h == nil {
		h = &holder{}
		t.accounts[account] = h
	}
	h.sessions = append(h.sessions, id)
	e.identity = h.keep(e.identity)
	if t.sessions.Add(id, e) {
		t.noteEviction("sessions", t.size)
	}
}

// noteEviction counts a session that ended for want of room and says so now and
// then; a line for each could fill the disk. t.mu is held.
func (t *table) noteEviction(key string, value any) {
	t.evicted++
	if t.evicted%1000 == 1 {
		t.log.Warn("too many sessions: the oldest ended early", key, value, "ended_early", t.evicted)
	}
}

// renew replaces the identity of a session, if there still is that session: it
// may have ended while the directory was asked.
func (t *table) renew(id string, identity *signin.Identity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.sessions.Peek(id)
	if !ok || e.identity == identity {
		return
	}
	// A new object of the same account; ID stays the key of accounts.
	if e.identity.ID != identity.ID {
		t.sessions.Remove(id)
		return
	}
	e.identity = t.accounts[identity.ID].keep(identity)
	t.sessions.Add(id, e)
}

// remove forgets a session; there need not be one.
func (t *table) remove(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions.Remove(id)
}

// setCookie sets c in place of a cookie of the same name that this answer
// already sets: a session that ends and begins in one answer is one cookie.
func setCookie(w http.ResponseWriter, c *http.Cookie) {
	h := w.Header()
	h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], func(line string) bool {
		return strings.HasPrefix(line, c.Name+"=")
	})
	http.SetCookie(w, c)
}

// setMark sets one of the cookies that live until the browser is closed, or
// removes it if value is "".
func setMark(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	setCookie(w, c)
}
