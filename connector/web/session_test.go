package web_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"adconnector/connector/signin"
	"adconnector/connector/web"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

// signIn lets the visitor in with a password.
func (v *visitor) signIn() page {
	v.site.t.Helper()
	p := v.post("/signin", v.get("/echo").typed("jon"))
	if p.signedIn() == "" {
		v.site.t.Fatalf("not signed in: status %d", p.status)
	}
	v.site.attempts = nil
	return p
}

// Every attribute of every cookie is somebody's decision.
func TestCookieAttributes(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	form := v.get("/echo")
	in := v.post("/signin", form.typed("jon"))
	token := v.get("/").field("token")
	out := v.post("/signout", url.Values{"token": {token}})
	for _, tt := range []struct {
		what string
		got  []string
		want string
	}{
		{"number of the browser", form.header["Set-Cookie"], `^__Host-adconnector-browser=[A-Z2-7]{26}; Path=/; HttpOnly; Secure; SameSite=Lax$`},
		{"session", in.header["Set-Cookie"], `^__Host-adconnector=[\w=-]+; Path=/; Expires=[^;]+; Max-Age=28800; HttpOnly; Secure; SameSite=Lax$`},
		{"session, ended", out.cookie("__Host-adconnector"), `^__Host-adconnector=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax$`},
		{"signed out", out.cookie("__Host-adconnector-signed-out"), `^__Host-adconnector-signed-out=1; Path=/; HttpOnly; Secure; SameSite=Lax$`},
	} {
		if len(tt.got) != 1 || !regexp.MustCompile(tt.want).MatchString(tt.got[0]) {
			t.Errorf("%s: %q, want one that matches %s", tt.what, tt.got, tt.want)
		}
	}
}

func TestSessionIsUsedAsOftenAsTheRequestAllows(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  string // what the request demands, in seconds
		old  time.Duration
		want string
	}{
		{"any age", "-1", 7 * time.Hour, "session"},
		{"young enough", "600", 10 * time.Minute, "session"},
		{"too old", "600", 10*time.Minute + time.Second, ""},
		{"fresh proof", "0", 0, ""},
		{"proof by a clock that was put back", "600", -time.Second, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			v := s.visitor(outside)
			v.signIn()
			s.clock = s.clock.Add(tt.old)
			p := v.get("/echo?age=" + tt.age)
			if s.methods() != tt.want || (p.signedIn() != "") != (tt.want != "") {
				t.Errorf("attempts %q, want %q; signed in: %q", s.methods(), tt.want, p.signedIn())
			}
			if tt.want != "" {
				return
			}
			// The proof that is given now answers the request, however strict.
			if p := v.post("/signin", p.typed("jon")); p.signedIn() == "" {
				t.Errorf("after the password: status %d", p.status)
			}
		})
	}
}

// A fresh proof by certificate needs no page either.
func TestFreshProofByCertificate(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(inside).with(card())
	v.get("/echo")
	v.get("/echo?age=0")
	if s.methods() != "certificate certificate" {
		t.Errorf("attempts %q", s.methods())
	}
}

func TestSessionKeepsTheNewerLookAtTheAccount(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	v.signIn()
	fresh := s.jon(signin.ByPassword)
	fresh.Groups = nil
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return fresh, nil }
	v.get("/echo")
	s.answer = nil
	v.get("/echo")
	if c := s.attempts[1].Credential.(signin.Session); !reflect.DeepEqual(c.Identity, fresh) {
		t.Errorf("the second request used %+v", c.Identity)
	}
}

// C10: an account that may no longer sign in loses its session, and is not let
// in by the next method unless that says yes by itself.
func TestC10_SessionOfDisabledAccountEnds(t *testing.T) {
	t.Run("then the form", func(t *testing.T) {
		s := newSite(t, nil)
		v := s.visitor(outside)
		v.signIn()
		s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.SessionEnded) }
		p := v.get("/echo")
		if p.status != 200 || !strings.Contains(p.body, "Your session has ended") || !strings.Contains(p.body, passwordIn) || s.methods() != "session" {
			t.Errorf("status %d, attempts %q", p.status, s.methods())
		}
		s.answer, s.attempts = nil, nil
		if p := v.get("/echo"); p.signedIn() != "" || s.methods() != "" {
			t.Errorf("the session came back: attempts %q", s.methods())
		}
	})
	t.Run("then the certificate", func(t *testing.T) {
		s := newSite(t, nil)
		v := s.visitor(inside).with(card())
		v.get("/echo")
		s.attempts = nil
		s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.AccountDisabled) }
		p := v.get("/echo")
		if p.status != http.StatusForbidden || s.methods() != "session certificate" {
			t.Errorf("status %d, attempts %q", p.status, s.methods())
		}
	})
	t.Run("one cookie when it ends and begins at once", func(t *testing.T) {
		s := newSite(t, nil)
		v := s.visitor(inside).with(card())
		v.get("/echo")
		s.answer = func(a signin.Attempt) (*signin.Identity, error) {
			if a.Credential.Method() == signin.BySession {
				return nil, denied(denial.SessionEnded)
			}
			return s.jon(signin.ByCertificate), nil
		}
		if p := v.get("/echo"); len(p.cookie("__Host-adconnector")) != 1 || strings.Contains(p.cookie("__Host-adconnector")[0], "Max-Age=0") {
			t.Errorf("cookies %q", p.cookie("__Host-adconnector"))
		}
	})
}

func TestSessionExpires(t *testing.T) {
	for _, tt := range []struct {
		name     string
		notAfter time.Duration // of the certificate, from the sign-in on; 0: password
		wait     time.Duration
		want     string
	}{
		{"just before the lifetime", 0, 8*time.Hour - time.Second, "session"},
		{"at the lifetime, used or not", 0, 8 * time.Hour, ""},
		{"certificate still valid", 2 * time.Hour, 2*time.Hour - time.Second, "session"},
		{"certificate expired", 2 * time.Hour, 2 * time.Hour, ""},
		{"certificate outlives the lifetime", 24 * time.Hour, 8 * time.Hour, ""},
		{"certificate had expired already", -time.Hour, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			v := s.visitor(outside)
			s.answer = func(a signin.Attempt) (*signin.Identity, error) {
				id := s.jon(signin.ByPassword)
				if tt.notAfter != 0 {
					id.Certificate = &certauth.Certificate{NotAfter: s.clock.Add(tt.notAfter)}
				}
				return id, nil
			}
			v.signIn()
			s.answer = nil
			s.clock = s.clock.Add(tt.wait / 2)
			v.get("/echo") // use does not prolong it
			s.attempts = nil
			s.clock = s.clock.Add(tt.wait - tt.wait/2)
			if v.get("/echo"); s.methods() != tt.want {
				t.Errorf("attempts %q, want %q", s.methods(), tt.want)
			}
		})
	}
}

func TestNoSessionsAtAll(t *testing.T) {
	s := newSite(t, noSessions)
	v := s.visitor(inside).with(card())
	for range 2 {
		p := v.get("/echo")
		if p.signedIn() != "jon by certificate" || len(p.header["Set-Cookie"]) > 0 {
			t.Errorf("signed in %q, cookies %q", p.signedIn(), p.header["Set-Cookie"])
		}
	}
	if s.methods() != "certificate certificate" {
		t.Errorf("attempts %q", s.methods())
	}
}

// A cookie that says nothing to us is no session and no reason to fail.
func TestCookieThatIsNotOursIsNoSession(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	v.signIn()
	good := v.jar.Cookies(parse(t, "https://login.test/"))
	var ours string
	for _, c := range good {
		if c.Name == "__Host-adconnector" {
			ours = c.Value
		}
	}
	other := newSite(t, func(o *web.Options) {
		o.Keys.CookieHash = []byte(strings.Repeat("another key", 6))
	})
	for name, value := range map[string]string{
		"empty": "", "noise": "noise", "changed": flip(ours), "cut": ours[:len(ours)-4], "long": strings.Repeat("A", 4000), "of other keys": ours,
	} {
		t.Run(name, func(t *testing.T) {
			at := s
			if name == "of other keys" {
				at = other
			}
			at.attempts = nil
			v := at.visitor(outside)
			v.header.Set("Cookie", "__Host-adconnector="+value)
			if p := v.get("/echo"); p.status != 200 || p.signedIn() != "" || len(at.attempts) > 0 {
				t.Errorf("status %d, signed in %q, attempts %q", p.status, p.signedIn(), at.methods())
			}
		})
	}
	// The same cookie after a restart: the keys are there, the table is not.
	restarted := newSite(t, nil)
	v2 := restarted.visitor(outside)
	v2.header.Set("Cookie", "__Host-adconnector="+ours)
	if p := v2.get("/echo"); p.status != 200 || p.signedIn() != "" {
		t.Errorf("after a restart: status %d, signed in %q", p.status, p.signedIn())
	}
}

// F4: a number that was known before the sign-in is worth nothing after it.
func TestF4_NoSessionFixation(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	first := v.signIn().cookie("__Host-adconnector")[0]
	second := v.post("/signin", v.get("/echo?age=0").typed("jon")).cookie("__Host-adconnector")[0]
	if first == second {
		t.Fatal("the number of the session stayed the same")
	}
	old := s.visitor(outside)
	old.header.Set("Cookie", strings.Split(first, ";")[0])
	s.attempts = nil
	if p := old.get("/echo"); p.signedIn() != "" || s.methods() != "" {
		t.Errorf("the number from before the sign-in still is a session: attempts %q", s.methods())
	}
}

// F4: nobody can be signed in as somebody else by a form from elsewhere.
func TestF4_NoLoginCSRF(t *testing.T) {
	s := newSite(t, nil)
	mallory, ann := s.visitor(outside), s.visitor(outside)
	form := mallory.get("/echo").typed("mallory")
	for _, tt := range []struct {
		name string
		do   func() page
	}{
		{"browser without a number", func() page { return ann.post("/signin", form) }},
		{"form of another browser", func() page { ann.get("/echo"); return ann.post("/signin", form) }},
		{"link as a form", func() page {
			link := parse(t, mallory.post("/echo", nil).header.Get("Location"))
			return ann.post("/signin", url.Values{"pending": {link.Query().Get("p")}, "username": {"mallory"}, "password": {canary}})
		}},
		{"form as a link", func() page { return ann.get("/resume?p=" + url.QueryEscape(form.Get("pending"))) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p := tt.do(); p.status != http.StatusBadRequest || len(p.cookie("__Host-adconnector")) > 0 || len(s.attempts) > 0 {
				t.Errorf("status %d, cookies %q, attempts %q", p.status, p.header["Set-Cookie"], s.methods())
			}
		})
	}
	// Whoever fills in what comes instead is asked for their own name.
	form = ann.post("/signin", form).typed("ann")
	if p := ann.post("/signin", form); p.signedIn() == "" || s.attempts[0].Credential.(signin.Password).Username != "ann" {
		t.Errorf("second form: status %d, attempts %q", p.status, s.methods())
	}
	// A number that nobody drew is none.
	bob := s.visitor(outside)
	bob.header.Set("Cookie", "__Host-adconnector-browser=x")
	if p := bob.get("/echo"); len(p.cookie("__Host-adconnector-browser")) != 1 {
		t.Error("a browser may choose its own number")
	}
}

// A browser that opens several pages at once gets several numbers and keeps the
// last. No page is a dead end.
func TestPagesOpenedAtTheSameTime(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	first := v.get("/echo?state=1")
	other := s.visitor(outside)
	second := other.get("/echo?state=2")
	v.jar = other.jar // it was not there when the second request left
	p := v.post("/signin", first.typed("jon"))
	if p.status != http.StatusBadRequest || !strings.Contains(p.body, passwordIn) || strings.Contains(p.body, `value="jon"`) {
		t.Fatalf("first page: status %d:\n%s", p.status, p.body)
	}
	if p := v.post("/signin", p.typed("jon")); p.signedIn() == "" || p.field("state") != "1" {
		t.Errorf("first page, again: status %d", p.status)
	}
	if p := v.post("/signin", second.typed("jon")); p.signedIn() == "" || p.field("state") != "2" {
		t.Errorf("second page: status %d", p.status)
	}
}

// F12: nobody can be signed out by a page from elsewhere.
func TestF12_NoLogoutCSRF(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	v.signIn()
	token := v.get("/").field("token")
	stranger := s.visitor(outside)
	stranger.signIn()
	strangersToken := stranger.get("/").field("token")
	for _, tt := range []struct {
		name   string
		do     func() page
		status int
	}{
		{"link", func() page { return v.get("/signout") }, 303},
		{"no token", func() page { return v.post("/signout", url.Values{}) }, 403},
		{"token of another session", func() page { return v.post("/signout", url.Values{"token": {strangersToken}}) }, 403},
		{"another site's form", func() page {
			v.header.Set("Sec-Fetch-Site", "same-site")
			defer v.header.Del("Sec-Fetch-Site")
			return v.post("/signout", url.Values{"token": {token}})
		}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p := tt.do(); p.status != tt.status || len(p.header["Set-Cookie"]) > 0 {
				t.Errorf("status %d, want %d; cookies %q", p.status, tt.status, p.header["Set-Cookie"])
			}
			s.attempts = nil
			if p := v.get("/echo"); p.signedIn() == "" || s.methods() != "session" {
				t.Errorf("signed out: attempts %q", s.methods())
			}
		})
	}
}

// F12: after signing out the browser goes where the protocol allowed, or
// nowhere.
func TestF12_SignOutByProtocol(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	v.signIn()
	p := v.get("/echo?out=1&to=https://app.example/bye")
	if p.status != http.StatusFound || p.header.Get("Location") != "https://app.example/bye" {
		t.Errorf("status %d to %q", p.status, p.header.Get("Location"))
	}
	if p := v.get("/echo"); p.signedIn() != "" {
		t.Error("still signed in")
	}
	if p := v.get("/echo?out=1"); p.status != 200 || !strings.Contains(p.body, "You are signed out") {
		t.Errorf("without a target: status %d", p.status)
	}
	// By POST from another site it takes the same way round as a sign-in.
	v.signIn()
	p = s.visitor(outside).post("/echo", url.Values{"out": {"1"}, "to": {"https://app.example/bye"}})
	if p = v.get(p.header.Get("Location")); p.header.Get("Location") != "https://app.example/bye" {
		t.Errorf("by post: status %d to %q", p.status, p.header.Get("Location"))
	}
	if p := v.get("/echo"); p.signedIn() != "" {
		t.Error("by post: still signed in")
	}
}

func TestSignOutIsReal(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	copied := strings.Split(v.signIn().cookie("__Host-adconnector")[0], ";")[0]
	if p := v.post("/signout", url.Values{"token": {v.get("/").field("token")}}); p.status != 200 || !strings.Contains(p.body, "You are signed out") {
		t.Fatalf("status %d", p.status)
	}
	thief := s.visitor(outside)
	thief.header.Set("Cookie", copied)
	s.attempts = nil
	if p := thief.get("/echo"); p.signedIn() != "" || len(s.attempts) > 0 {
		t.Error("a copy of the cookie still is a session")
	}
	// Once more, from a page that was left open.
	if p := v.post("/signout", url.Values{"token": {"old"}}); p.status != 200 {
		t.Errorf("second time: status %d", p.status)
	}
}

// After signing out the card in the reader is not the way right back in; its
// owner has to say so.
func TestSignedOutPeopleAreAskedBeforeTheirCertificateIsUsed(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(inside).with(card())
	home := v.get("/")
	v.post("/signout", url.Values{"token": {home.field("token")}})
	s.attempts = nil
	p := v.get("/echo?state=42")
	if s.methods() != "" || !strings.Contains(p.body, "Sign in with certificate jon") || !strings.Contains(p.body, passwordIn) {
		t.Fatalf("attempts %q:\n%s", s.methods(), p.body)
	}

	// With a password they are somebody else, and stay that: the certificate
	// does not come back when this session is over.
	if p := v.post("/signin", p.typed("jon-admin")); p.signedIn() == "" {
		t.Fatalf("password: status %d", p.status)
	}
	s.clock = s.clock.Add(9 * time.Hour)
	s.attempts = nil
	p = v.get("/echo?state=42")
	if s.methods() != "" {
		t.Errorf("after the password's session: attempts %q", s.methods())
	}

	in := v.post("/signin", url.Values{"pending": {p.field("pending")}, "method": {"certificate"}})
	if in.signedIn() != "jon by certificate" || in.field("state") != "42" {
		t.Fatalf("button: status %d, signed in %q", in.status, in.signedIn())
	}
	if c := in.cookie("__Host-adconnector-signed-out"); len(c) != 1 || !strings.Contains(c[0], "Max-Age=0") {
		t.Errorf("mark after the button: %q", c)
	}
	s.clock = s.clock.Add(9 * time.Hour)
	s.attempts = nil
	if v.get("/echo"); s.methods() != "certificate" {
		t.Errorf("after the button: attempts %q", s.methods())
	}
}

// A browser keeps its cookies when the next person puts a card into the reader.
func TestAnotherCardEndsTheSession(t *testing.T) {
	jon, amy := card(), newCard("amy")
	for _, tt := range []struct {
		name   string
		remote string
		chain  []*x509.Certificate
		cookie string // added to the request
		refuse bool   // amy's certificate
		want   string // attempts, and who is signed in then
		after  string // the same, with no card in the reader
	}{
		{"the same card", inside, []*x509.Certificate{jon}, "", false, "session: jon by certificate", "session: jon by certificate"},
		{"no card", inside, nil, "", false, "session: jon by certificate", "session: jon by certificate"},
		{"not asked for a card", outside, []*x509.Certificate{amy}, "", false, "session: jon by certificate", "session: jon by certificate"},
		{"another card", inside, []*x509.Certificate{amy}, "", false, "certificate: amy by certificate", "session: amy by certificate"},
		{"another card, which is refused", inside, []*x509.Certificate{amy}, "", true, "certificate: ", ": "},
		{"another card, after signing out", inside, []*x509.Certificate{amy}, "__Host-adconnector-signed-out=1", false, ": ", ": "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			s.answer = func(a signin.Attempt) (*signin.Identity, error) {
				switch c := a.Credential.(type) {
				case signin.Session:
					return c.Identity, nil
				case signin.Certificate:
					id := s.jon(signin.ByCertificate)
					id.Certificate = certauth.Describe(c.Chain[0])
					id.Certificate.NotAfter = s.clock.Add(time.Hour)
					if c.Chain[0] == amy {
						id.ID, id.Username = "another", "amy"
						if tt.refuse {
							return nil, denied(denial.Untrusted)
						}
					}
					return id, nil
				}
				return nil, errDown
			}
			v := s.visitor(inside).with(jon)
			v.get("/echo")
			use := func() string {
				s.attempts = nil
				p := v.get("/echo")
				return s.methods() + ": " + p.signedIn()
			}
			v.remote, v.chain = tt.remote, tt.chain
			if tt.cookie != "" {
				v.header.Set("Cookie", tt.cookie)
			}
			if got := use(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			v.chain = nil
			if got := use(); got != tt.after {
				t.Errorf("with no card after that %q, want %q", got, tt.after)
			}
		})
	}
}

// Whoever typed a password did not ask to be the person on the card.
func TestSessionOfAPasswordStaysWhateverTheCard(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(inside)
	v.signIn()
	if p := v.with(newCard("amy")).get("/echo"); s.methods() != "session" || p.signedIn() != "jon by password" {
		t.Errorf("attempts %q, signed in %q", s.methods(), p.signedIn())
	}
}

func TestCertificateButtonWithoutPassword(t *testing.T) {
	s := newSite(t, func(o *web.Options) { o.PasswordEnabled = false })
	v := s.visitor(inside).with(card())
	v.get("/echo?out=1")
	p := v.get("/echo")
	if p.status != 200 || strings.Contains(p.body, passwordIn) || !strings.Contains(p.body, "Sign in with certificate jon") {
		t.Errorf("status %d:\n%s", p.status, p.body)
	}
}

func TestSessionConfig(t *testing.T) {
	d := web.DefaultSessionConfig()
	if err := d.Validate(); err != nil || d.Lifetime != hours(8) || d.Recheck != setting.Duration(5*time.Minute) {
		t.Errorf("default %+v: %v", d, err)
	}
	for _, tt := range []struct {
		config web.SessionConfig
		keys   string
	}{
		{web.SessionConfig{}, ""},
		{web.SessionConfig{Lifetime: -1, Recheck: -1}, "lifetime recheck"},
		{web.SessionConfig{Lifetime: setting.Duration(time.Millisecond)}, "lifetime"},
	} {
		var keys []string
		for _, err := range setting.Split(tt.config.Validate()) {
			keys = append(keys, strings.SplitN(fmt.Sprint(err), ":", 2)[0])
		}
		if got := strings.Join(keys, " "); got != tt.keys {
			t.Errorf("%+v: mistakes in %q, want %q", tt.config, got, tt.keys)
		}
	}
}
