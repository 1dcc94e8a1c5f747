package web_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"html"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/connector/web"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

// canary is the password of every test. It may appear nowhere.
const canary = "c4n4ry-Passw0rd<&>"

// detail is what operators may read and nobody else.
const detail = "dc1 said 0x52e"

// Addresses: inside has certificates and passwords, outside passwords only.
const (
	inside  = "10.1.2.3:4567"
	outside = "203.0.113.9:4567"
)

// door is the one door as a function.
type door func(a signin.Attempt) (*signin.Identity, error)

func (d door) SignIn(_ context.Context, a signin.Attempt) (*signin.Identity, error) { return d(a) }

func (d door) ChangePassword(_ context.Context, a signin.Attempt) error {
	_, err := d(a)
	return err
}

// echo is a protocol that reports to a relying party what it was given. What it
// is asked for stands in the fields age (seconds), out, to and state.
type echo struct{}

const acs = "https://app.example/acs"

func (echo) Receive(r *http.Request) (web.Pending, error) {
	p := web.Pending{RelyingParty: "urn:app", MaxAge: -1, State: []byte(r.FormValue("state"))}
	if age := r.FormValue("age"); age != "" {
		seconds, err := strconv.Atoi(age)
		if err != nil {
			return p, &web.Error{Status: http.StatusBadRequest, Message: "The age is no number.", Err: err}
		}
		p.MaxAge = time.Duration(seconds) * time.Second
	}
	p.SignOut, p.ReturnTo = r.FormValue("out") != "", r.FormValue("to")
	if r.FormValue("panic") != "" {
		panic(detail)
	}
	return p, nil
}

func (echo) Reply(w http.ResponseWriter, _ *http.Request, p web.Pending, id *signin.Identity) error {
	return web.WriteAutoPost(w, acs, []web.Field{
		{Name: "user", Value: id.Username},
		{Name: "by", Value: string(id.AuthenticatedBy)},
		{Name: "state", Value: string(p.State)},
	})
}

// site is a server with a clock, a log and a door that remembers who came.
type site struct {
	t        testing.TB
	server   *web.Server
	clock    time.Time
	log      bytes.Buffer
	attempts []signin.Attempt
	refused  []signin.Attempt // recorded, but not looked at
	answer   door             // nil: everybody who shows a credential is jon
}

func newSite(t testing.TB, change func(*web.Options)) *site {
	t.Helper()
	s := &site{t: t, clock: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	o := web.Options{
		URL:             parse(t, "https://login.test"),
		SiteName:        "Fabrikam",
		Service:         door(s.signIn),
		Log:             slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:             func() time.Time { return s.clock },
		Session:         web.DefaultSessionConfig(),
		Keys:            keys(),
		Certificates:    iprange.New(iprange.MustParse("10.0.0.0/8")),
		PasswordEnabled: true,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if s.server, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	s.server.Mount("/echo", "echo", echo{})
	t.Cleanup(func() {
		if strings.Contains(s.log.String(), canary) || strings.Contains(s.log.String(), strconv.Quote(canary)) {
			t.Errorf("the password is in the log:\n%s", s.log.String())
		}
	})
	return s
}

func (s *site) signIn(a signin.Attempt) (*signin.Identity, error) {
	if c, ok := a.Credential.(signin.Refused); ok {
		s.refused = append(s.refused, a)
		return nil, c.Why
	}
	if c, ok := a.Credential.(signin.Certificate); ok && len(c.Chain) == 0 {
		s.refused = append(s.refused, a)
		return nil, denied(denial.BadCertificate)
	}
	s.attempts = append(s.attempts, a)
	if s.answer != nil {
		return s.answer(a)
	}
	if c, ok := a.Credential.(signin.Session); ok {
		return c.Identity, nil
	}
	return s.jon(a.Credential.Method()), nil
}

func (s *site) jon(by signin.Method) *signin.Identity {
	return &signin.Identity{
		ID: "6f9619ff-8b86-d011-b42d-00c04fc964ff", Username: "jon", DisplayName: "Jon Doe",
		Groups: []string{"staff", "ops"}, AuthenticatedBy: by, AuthenticatedAt: s.clock, CheckedAt: s.clock,
	}
}

// methods returns by what people tried to sign in, in order.
func (s *site) methods() string {
	var m []string
	for _, a := range s.attempts {
		m = append(m, string(a.Credential.Method()))
	}
	return strings.Join(m, " ")
}

// visitor is somebody with a browser, which keeps cookies but follows nothing
// by itself.
type visitor struct {
	site   *site
	jar    http.CookieJar
	remote string
	sni    string
	chain  []*x509.Certificate
	header http.Header // added to every request
}

func (s *site) visitor(remote string) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{site: s, jar: jar, remote: remote, sni: "login.test", header: http.Header{}}
}

// with is the visitor's card.
func (v *visitor) with(chain ...*x509.Certificate) *visitor {
	v.chain = chain
	return v
}

type page struct {
	status int
	header http.Header
	body   string
}

func (v *visitor) send(r *http.Request) page {
	v.site.t.Helper()
	maps.Copy(r.Header, v.header)
	r.RemoteAddr = v.remote
	r.TLS = v.tls()
	u := &url.URL{Scheme: "https", Host: "login.test", Path: r.URL.Path}
	for _, c := range v.jar.Cookies(u) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	v.site.server.Handler().ServeHTTP(w, r)
	result := w.Result()
	defer result.Body.Close()
	v.jar.SetCookies(u, result.Cookies())
	if strings.Contains(w.Body.String(), canary) || strings.Contains(w.Body.String(), html.EscapeString(canary)) {
		v.site.t.Errorf("the password is in the page:\n%s", w.Body)
	}
	if strings.Contains(w.Body.String(), detail) {
		v.site.t.Errorf("the operator's detail is in the page:\n%s", w.Body)
	}
	return page{result.StatusCode, result.Header, w.Body.String()}
}

func (v *visitor) tls() *tls.ConnectionState {
	return &tls.ConnectionState{ServerName: v.sni, PeerCertificates: v.chain}
}

func (v *visitor) get(target string) page {
	v.site.t.Helper()
	return v.send(httptest.NewRequest(http.MethodGet, "https://login.test"+target, nil))
}

func (v *visitor) post(target string, form url.Values) page {
	v.site.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://login.test"+target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.send(r)
}

var (
	hidden     = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)
	reference  = regexp.MustCompile(`<code>([A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4})</code>`)
	passwordIn = `type="password"`
)

// field returns a hidden field of the page.
func (p page) field(name string) string {
	for _, m := range hidden.FindAllStringSubmatch(p.body, -1) {
		if m[1] == name {
			return html.UnescapeString(m[2])
		}
	}
	return ""
}

// typed is the sign-in form of p, filled in.
func (p page) typed(username string) url.Values {
	return url.Values{"pending": {p.field("pending")}, "username": {username}, "password": {canary}}
}

// signedIn says as whom and how the page lets somebody in, "" if it does not.
func (p page) signedIn() string {
	if p.field("user") == "" {
		return ""
	}
	return p.field("user") + " by " + p.field("by")
}

// cookie returns the Set-Cookie lines for a name.
func (p page) cookie(name string) []string {
	var lines []string
	for _, line := range p.header["Set-Cookie"] {
		if strings.HasPrefix(line, name+"=") {
			lines = append(lines, line)
		}
	}
	return lines
}

func parse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func keys() web.Keys {
	var b [128]byte
	for i := range b {
		b[i] = byte(i)
	}
	return web.Keys{CookieHash: b[:64], CookieBlock: b[64:96], Seal: b[96:]}
}

// card is the certificate of jon.
var card = sync.OnceValue(func() *x509.Certificate { return newCard("jon") })

func newCard(name string) *x509.Certificate {
	ca, err := testca.New("Fabrikam CA")
	if err != nil {
		panic(err)
	}
	leaf, err := ca.Client(name)
	if err != nil {
		panic(err)
	}
	return leaf.Certificate
}

func denied(r denial.Reason) error { return denial.New(r, detail) }

var errDown = errors.New(detail)

func noSessions(o *web.Options) { o.Session.Lifetime = 0 }

func hours(n int) setting.Duration { return setting.Duration(time.Duration(n) * time.Hour) }
