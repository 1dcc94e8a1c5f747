package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/connector/web"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
)

// The road of a password, with everything that can happen at its end. That the
// password is in no page and no log, and the operator's detail in no page, is
// checked for every row by the visitor and the site.
func TestPasswordForm(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer error
		before func(s *site, v *visitor, form url.Values)
		status int
		text   string
		asked  bool // the door was asked
	}{
		{"let in", nil, nil, 200, `name="user" value="jon"`, true},
		{"turned away", denied(denial.BadCredentials), nil, 401, "is not right", true},
		{"turned away, and the password was right", denied(denial.AccountDisabled), nil, 401, "Your account is disabled", true},
		{"too many tries", denied(denial.Throttled), nil, 429, "too many failed sign-ins", true},
		{"directory down", errDown, nil, 503, "not working at the moment", true},
		{"too late", nil, func(s *site, _ *visitor, _ url.Values) { s.clock = s.clock.Add(31 * time.Minute) }, 400, "has expired", false},
		{"just in time", nil, func(s *site, _ *visitor, _ url.Values) { s.clock = s.clock.Add(29 * time.Minute) }, 200, `value="jon"`, true},
		{"forged", nil, func(_ *site, _ *visitor, f url.Values) { f.Set("pending", flip(f.Get("pending"))) }, 400, "has expired", false},
		{"no request at all", nil, func(_ *site, _ *visitor, f url.Values) { f.Del("pending") }, 400, "has expired", false},
		{"another site's form", nil, func(_ *site, v *visitor, _ url.Values) { v.header.Set("Sec-Fetch-Site", "cross-site") }, 403, "another site", false},
		{"another site's form, old browser", nil, func(_ *site, v *visitor, _ url.Values) { v.header.Set("Origin", "https://evil.example") }, 403, "another site", false},
		{"field given twice", nil, func(_ *site, _ *visitor, f url.Values) { f.Add("password", "x") }, 400, "not one of ours", false},
		{"method nobody knows", nil, func(_ *site, _ *visitor, f url.Values) { f.Set("method", "kerberos") }, 400, "not one of ours", false},
		{"certificate that is not there", nil, func(_ *site, _ *visitor, f url.Values) { f.Set("method", "certificate") }, 403, "sent no certificate", false},
		{"too large", nil, func(_ *site, _ *visitor, f url.Values) { f.Set("username", strings.Repeat("x", 70_000)) }, 413, "too large", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			v := s.visitor(outside)
			form := v.get("/echo?state=42").typed("jon")
			if tt.before != nil {
				tt.before(s, v, form)
			}
			if tt.answer != nil {
				s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, tt.answer }
			}
			p := v.post("/signin", form)
			if p.status != tt.status || !strings.Contains(p.body, tt.text) {
				t.Errorf("status %d without %q, want %d with it:\n%s", p.status, tt.text, tt.status, p.body)
			}
			if (len(s.attempts) > 0) != tt.asked {
				t.Errorf("the door was asked %d times", len(s.attempts))
			}
			if p.status != 200 && len(p.cookie("__Host-adconnector")) > 0 {
				t.Errorf("a session for nobody: %q", p.cookie("__Host-adconnector"))
			}
			if p.status >= 500 && strings.Contains(p.body, passwordIn) {
				t.Error("a fault offers another try")
			}
			if p.status >= 400 && !reference.MatchString(p.body) {
				t.Errorf("no reference in the page:\n%s", p.body)
			}
		})
	}
}

func flip(s string) string {
	b := []byte(s)
	b[len(b)/2] ^= 1
	return string(b)
}

func TestProtocolThatIsGone(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	form := v.get("/echo").typed("jon")
	resume := v.post("/echo", nil).header.Get("Location")
	// The same keys after a restart, without the protocol.
	o := newSiteWithoutEcho(t, s)
	s.server = o
	if p := v.post("/signin", form); p.status != http.StatusBadRequest {
		t.Errorf("form: status %d, want 400", p.status)
	}
	if p := v.get(resume); p.status != http.StatusBadRequest {
		t.Errorf("resume: status %d, want 400", p.status)
	}
	if len(s.attempts) > 0 {
		t.Error("the door was asked")
	}
}

func newSiteWithoutEcho(t *testing.T, s *site) *web.Server {
	server, err := web.New(web.Options{
		URL: parse(t, "https://login.test"), Service: door(s.signIn), Keys: keys(),
		Now: func() time.Time { return s.clock }, Session: web.DefaultSessionConfig(), PasswordEnabled: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// One GET, no page and no redirect in between, and the door learns all there is.
func TestCertificateSignsInAtTheFirstRequest(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor("[::ffff:10.1.2.3]:4567").with(card())
	p := v.get("/echo?state=42")
	if p.status != 200 || p.signedIn() != "jon by certificate" || p.field("state") != "42" {
		t.Fatalf("status %d, signed in %q, state %q", p.status, p.signedIn(), p.field("state"))
	}
	if len(s.attempts) != 1 {
		t.Fatalf("%d attempts, want 1", len(s.attempts))
	}
	a := s.attempts[0]
	if c, ok := a.Credential.(signin.Certificate); !ok || len(c.Chain) != 1 || c.Chain[0] != card() {
		t.Errorf("credential %#v", a.Credential)
	}
	if a.Via != "echo" || a.RelyingParty != "urn:app" || a.Remote.String() != "10.1.2.3" || a.RequestID == "" {
		t.Errorf("attempt %+v", a)
	}
}

func TestCertificateOutsideTheRangeIsNotLookedAt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		remote string
		change func(*web.Options)
	}{
		{"other address", outside, nil},
		{"no certificate sign-in", inside, func(o *web.Options) { o.Certificates = nil }},
		{"empty set", inside, func(o *web.Options) { o.Certificates = iprange.New(nil) }},
		{"address that is none", "@", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.change)
			v := s.visitor(tt.remote).with(card())
			p := v.get("/echo")
			if len(s.attempts) > 0 || !strings.Contains(p.body, passwordIn) {
				t.Errorf("attempts %q, status %d", s.methods(), p.status)
			}
			form := p.typed("")
			form.Set("method", "certificate")
			if p := v.post("/signin", form); p.status != http.StatusForbidden || len(s.attempts) > 0 {
				t.Errorf("asked for by the form: status %d, attempts %q", p.status, s.methods())
			}
		})
	}
}

func TestRefusedCertificateSaysWhichAndWhy(t *testing.T) {
	s := newSite(t, nil)
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.AccountDisabled) }
	v := s.visitor(inside).with(card())
	p := v.get("/echo")
	seen := certauth.Describe(card())
	for _, want := range []string{seen.Subject, seen.Issuer, seen.Serial, "Your account is disabled", passwordIn, s.attempts[0].RequestID} {
		if !strings.Contains(p.body, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if p.status != http.StatusForbidden || s.methods() != "certificate" {
		t.Errorf("status %d, attempts %q", p.status, s.methods())
	}
	// The form below is the person's own choice, and it works.
	s.answer = nil
	if p := v.post("/signin", p.typed("jon")); p.signedIn() != "jon by password" {
		t.Errorf("status %d, signed in %q", p.status, p.signedIn())
	}
}

func TestRefusedCertificateWhereThereIsNoPasswordForm(t *testing.T) {
	s := newSite(t, func(o *web.Options) { o.PasswordEnabled = false })
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.Untrusted) }
	p := s.visitor(inside).with(card()).get("/echo")
	if p.status != http.StatusForbidden || strings.Contains(p.body, "<form") {
		t.Errorf("status %d:\n%s", p.status, p.body)
	}
}

func TestCertificateThrottled(t *testing.T) {
	s := newSite(t, nil)
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.Throttled) }
	if p := s.visitor(inside).with(card()).get("/echo"); p.status != http.StatusTooManyRequests {
		t.Errorf("status %d, want 429", p.status)
	}
}

// A stronger method that is broken must not hand over to a weaker one.
func TestFaultOffersNoOtherMethod(t *testing.T) {
	s := newSite(t, nil)
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, errDown }
	v := s.visitor(inside).with(card())
	p := v.get("/echo")
	if p.status != http.StatusServiceUnavailable || strings.Contains(p.body, "<form") || s.methods() != "certificate" {
		t.Errorf("certificate: status %d, attempts %q:\n%s", p.status, s.methods(), p.body)
	}
	if m := reference.FindStringSubmatch(p.body); m == nil || m[1] != s.attempts[0].RequestID || !strings.Contains(s.log.String(), m[1]) {
		t.Errorf("page, log and attempt do not share a reference: %q", m)
	}
	if !strings.Contains(s.log.String(), "level=ERROR") || !strings.Contains(s.log.String(), detail) {
		t.Errorf("the log does not tell the operator:\n%s", s.log.String())
	}

	s.answer = nil
	v.get("/echo")
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, errDown }
	s.attempts = nil
	if p := v.get("/echo"); p.status != http.StatusServiceUnavailable || strings.Contains(p.body, "<form") || s.methods() != "session" {
		t.Errorf("session: status %d, attempts %q", p.status, s.methods())
	}
	// The session is still there when the directory is.
	s.answer = nil
	if p := v.get("/echo"); p.signedIn() != "jon by certificate" {
		t.Errorf("afterwards: status %d", p.status)
	}
}

func TestServiceThatSaysNothingLetsNobodyIn(t *testing.T) {
	s := newSite(t, nil)
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, nil } //nolint:nilnil // the mistake under test
	if p := s.visitor(inside).with(card()).get("/echo"); p.status != http.StatusInternalServerError || strings.Contains(s.log.String(), "panic") {
		t.Errorf("status %d, want 500; log:\n%s", p.status, s.log.String())
	}
}

func TestWhatIsOfferedWhere(t *testing.T) {
	only := func(ranges ...string) func(*web.Options) {
		return func(o *web.Options) { o.PasswordFrom = iprange.New(iprange.MustParse(ranges...)) }
	}
	for _, tt := range []struct {
		name   string
		change func(*web.Options)
		remote string
		status int
		text   string
	}{
		{"password everywhere", nil, outside, 200, passwordIn},
		{"password in its range", only("203.0.113.0/24"), outside, 200, passwordIn},
		{"password out of its range", only("192.0.2.0/24"), outside, 403, "not offered on the network"},
		{"no password", func(o *web.Options) { o.PasswordEnabled = false }, outside, 403, "not offered on the network"},
		{"no password, certificate forgotten", func(o *web.Options) { o.PasswordEnabled = false }, inside, 403, "You need a certificate"},
		{"password, certificate forgotten", nil, inside, 200, "did not send it"},
		{"password form does not speak of cards outside", nil, outside, 200, `type="password"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.change)
			v := s.visitor(tt.remote)
			p := v.get("/echo")
			if p.status != tt.status || !strings.Contains(p.body, tt.text) {
				t.Errorf("status %d, want %d with %q:\n%s", p.status, tt.status, tt.text, p.body)
			}
			if tt.remote == outside && strings.Contains(p.body, "card") {
				t.Error("outside the range the page asks for a card")
			}
		})
	}
}

// The form is not the only way to send a password: the address is checked when
// it arrives, too.
func TestPasswordFromElsewhereIsNotTried(t *testing.T) {
	s := newSite(t, func(o *web.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("10.0.0.0/8")) })
	v := s.visitor(inside)
	form := v.get("/echo").typed("jon")
	v.remote = outside
	if p := v.post("/signin", form); p.status != http.StatusForbidden || len(s.attempts) > 0 {
		t.Errorf("status %d, attempts %q", p.status, s.methods())
	}
}

func TestUserNameStaysInTheFormAndThePasswordDoesNot(t *testing.T) {
	s := newSite(t, nil)
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.BadCredentials) }
	v := s.visitor(outside)
	p := v.post("/signin", v.get("/echo").typed(`o'neil "ops"`))
	if !strings.Contains(p.body, `value="o&#39;neil &#34;ops&#34;"`) {
		t.Errorf("the user name is gone:\n%s", p.body)
	}
	// And the form works again, for whoever types it right the second time.
	s.answer = nil
	if p := v.post("/signin", p.typed("jon")); p.signedIn() != "jon by password" {
		t.Errorf("second try: status %d", p.status)
	}
}

// Somebody who clicks twice sends the form twice.
func TestFormSentTwice(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	form := v.get("/echo").typed("jon")
	for range 2 {
		if p := v.post("/signin", form); p.signedIn() != "jon by password" {
			t.Errorf("status %d", p.status)
		}
	}
}

// E6: what tells who exists is told to nobody who types passwords: one page,
// one status.
func TestE6_RefusedPasswordsLookAlike(t *testing.T) {
	plain := map[denial.Reason]bool{
		denial.AccountDisabled: true, denial.AccountExpired: true, denial.PasswordExpired: true, denial.MustChangePassword: true,
		denial.OutsideHours: true, denial.NotAtThisComputer: true, denial.DeniedGroup: true,
		denial.Throttled: true, denial.NotAllowedHere: true, denial.BadForm: true,
	}
	s := newSite(t, nil)
	v := s.visitor(outside)
	refuse := func(r denial.Reason) string {
		s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(r) }
		p := v.post("/signin", v.get("/echo").typed("jon"))
		body := reference.ReplaceAllString(hidden.ReplaceAllString(p.body, ""), "")
		return fmt.Sprint(p.status, p.header, body)
	}
	want := refuse(denial.BadCredentials)
	for _, r := range denial.Reasons() {
		if got := refuse(r); (got == want) == plain[r] {
			t.Errorf("%s: page equal to that of a wrong password is %t, want %t", r, got == want, !plain[r])
		}
	}
}

// A form that another site posts comes without cookies. The redirect brings
// them, and with them the session.
func TestPostFromAnotherSiteFindsTheSession(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	v.post("/signin", v.get("/echo").typed("jon"))
	s.attempts = nil

	bare := s.visitor(outside)
	bare.header.Set("Sec-Fetch-Site", "cross-site")
	p := bare.post("/echo", url.Values{"state": {"from afar"}})
	if p.status != http.StatusSeeOther || len(s.attempts) > 0 {
		t.Fatalf("status %d, attempts %q", p.status, s.methods())
	}
	if p := v.get(p.header.Get("Location")); p.signedIn() != "jon by password" || p.field("state") != "from afar" || s.methods() != "session" {
		t.Errorf("status %d, signed in %q, attempts %q", p.status, p.signedIn(), s.methods())
	}
	// With the session in view there is no need to go round.
	if p := v.post("/echo", url.Values{"state": {"near"}}); p.signedIn() != "jon by password" {
		t.Errorf("post with session: status %d", p.status)
	}
	// The link is good for this and for as long as the form is.
	s.clock = s.clock.Add(31 * time.Minute)
	if p := v.get(p.header.Get("Location")); p.status != http.StatusBadRequest {
		t.Errorf("old link: status %d, want 400", p.status)
	}
}

func TestErrorOfProtocolIsItsPage(t *testing.T) {
	s := newSite(t, nil)
	p := s.visitor(inside).with(card()).get("/echo?age=old")
	if p.status != http.StatusBadRequest || !strings.Contains(p.body, "The age is no number.") || strings.Contains(p.body, "strconv") {
		t.Errorf("status %d:\n%s", p.status, p.body)
	}
	if len(s.attempts) > 0 {
		t.Error("somebody was signed in for a request that is wrong")
	}
}

func TestPanicIsAPage(t *testing.T) {
	s := newSite(t, nil)
	p := s.visitor(inside).get("/echo?panic=1")
	m := reference.FindStringSubmatch(p.body)
	if p.status != http.StatusInternalServerError || m == nil || !strings.Contains(s.log.String(), m[1]) || !strings.Contains(s.log.String(), "walk_test") && !strings.Contains(s.log.String(), "web_test.go") {
		t.Errorf("status %d, reference %q, log:\n%s", p.status, m, s.log.String())
	}
}

func TestPanicInMidAnswerCutsIt(t *testing.T) {
	s := newSite(t, nil)
	s.server.Handle("GET /half", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("half"))
		panic(detail)
	}))
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			t.Errorf("recovered %v, want http.ErrAbortHandler", v)
		}
		if !strings.Contains(s.log.String(), detail) {
			t.Error("not in the log")
		}
	}()
	s.visitor(inside).get("/half")
}

// The home page is a relying party of our own.
func TestHome(t *testing.T) {
	t.Run("certificate", func(t *testing.T) {
		s := newSite(t, nil)
		p := s.visitor(inside).with(card()).get("/")
		if p.status != 200 || !strings.Contains(p.body, "Jon Doe") || !strings.Contains(p.body, "<dd>2</dd>") || !strings.Contains(p.body, "<dd>certificate</dd>") || p.field("token") == "" {
			t.Errorf("status %d:\n%s", p.status, p.body)
		}
	})
	t.Run("password", func(t *testing.T) {
		s := newSite(t, nil)
		v := s.visitor(outside)
		p := v.post("/signin", v.get("/").typed("jon"))
		if p.status != http.StatusSeeOther || p.header.Get("Location") != "/" {
			t.Fatalf("status %d to %q", p.status, p.header.Get("Location"))
		}
		if p := v.get("/"); !strings.Contains(p.body, "Jon Doe") || !strings.Contains(p.body, "<dd>password</dd>") {
			t.Errorf("status %d:\n%s", p.status, p.body)
		}
		if s.attempts[0].Via != "home" {
			t.Errorf("via %q", s.attempts[0].Via)
		}
	})
	t.Run("without sessions", func(t *testing.T) {
		s := newSite(t, noSessions)
		v := s.visitor(outside)
		p := v.post("/signin", v.get("/").typed("jon"))
		if p.status != 200 || !strings.Contains(p.body, "Jon Doe") || p.field("token") != "" || len(p.cookie("__Host-adconnector")) > 0 {
			t.Errorf("status %d, cookies %q:\n%s", p.status, p.header["Set-Cookie"], p.body)
		}
		if p := v.get("/"); !strings.Contains(p.body, passwordIn) {
			t.Error("somebody is still signed in")
		}
	})
	t.Run("no cookies, no loop", func(t *testing.T) {
		s := newSite(t, nil)
		v := s.visitor(inside).with(card())
		v.jar = noCookies{}
		if p := v.get("/"); p.status != 200 {
			t.Errorf("status %d", p.status)
		}
	})
}

type noCookies struct{}

func (noCookies) SetCookies(*url.URL, []*http.Cookie) {}
func (noCookies) Cookies(*url.URL) (c []*http.Cookie) { return c }

func TestPathPrefix(t *testing.T) {
	s := newSite(t, func(o *web.Options) { o.URL = parse(t, "https://login.test/adfs/ls/") })
	s.server.Handle("GET /meta", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("meta")) }))
	v := s.visitor(outside)
	p := v.get("/adfs/ls/echo")
	if p.status != 200 || !strings.Contains(p.body, `action="/adfs/ls/signin"`) || !strings.Contains(p.body, `href="/adfs/ls/static/style.css?v=`) {
		t.Fatalf("status %d:\n%s", p.status, p.body)
	}
	if p := v.post("/adfs/ls/signin", p.typed("jon")); p.signedIn() == "" {
		t.Errorf("sign-in: status %d", p.status)
	}
	if p := v.post("/adfs/ls/echo", nil); p.status != 200 {
		t.Errorf("post with session: status %d", p.status)
	}
	if p := s.visitor(outside).post("/adfs/ls/echo", nil); !strings.HasPrefix(p.header.Get("Location"), "/adfs/ls/resume?p=") {
		t.Errorf("resume at %q", p.header.Get("Location"))
	}
	for path, want := range map[string]int{
		"/adfs/ls/": 200, "/adfs/ls/meta": 200, "/adfs/ls": 303, "/": 404, "/echo": 404, "/signin": 404, "/meta": 404, "/adfs/ls/nothing": 404,
	} {
		if p := v.get(path); p.status != want {
			t.Errorf("%s: status %d, want %d", path, p.status, want)
		}
	}
}

func TestMethods(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"PUT", "/echo", 405, "GET, HEAD, POST"},
		{"DELETE", "/signin", 405, "GET, HEAD, POST"},
		{"POST", "/resume", 405, "GET, HEAD"},
		{"POST", "/", 405, "GET, HEAD"},
		{"TRACE", "/", 405, "GET, HEAD"},
		{"HEAD", "/", 200, ""},
		{"GET", "/signin", 303, ""},
		{"GET", "/signout", 303, ""},
		{"POST", "/nothing", 404, ""},
	} {
		p := v.send(httptest.NewRequest(tt.method, "https://login.test"+tt.path, nil))
		if p.status != tt.status || p.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: status %d, allow %q; want %d, %q", tt.method, tt.path, p.status, p.header.Get("Allow"), tt.status, tt.allow)
		}
	}
}
