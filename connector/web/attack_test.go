package web_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/connector/web"
	"adconnector/ldapauth/denial"
	"adconnector/templates"
)

// A5 and A6: what was asked in the handshake was asked for one name. A request
// for another name on that connection is in the wrong place, and the browser
// tries again on a new one.
func testMisdirected(t *testing.T) {
	for _, tt := range []struct {
		name, sni, host string
		want            int
	}{
		{"as asked", "login.test", "login.test", 200},
		{"with port", "login.test", "login.test:8443", 200},
		{"case differs", "login.test", "LOGIN.Test", 200},
		{"another name of the certificate", "login.test", "certauth.login.test", 421},
		{"the other way round", "certauth.login.test", "login.test", 421},
		{"an address on a connection for a name", "login.test", "10.0.0.1", 421},
		{"nothing", "login.test", "", 421},
		{"user part", "login.test", "login.test@evil.example", 421},
		{"several ports", "login.test", "login.test:1:2", 421},
		{"final dot", "login.test", "login.test.", 200},
		{"letter that only folds to the name", "k.test", "\u212a.test", 421},
		{"no name, address", "", "127.0.0.1", 200},
		{"no name, address with port", "", "127.0.0.1:8443", 200},
		{"no name, IPv6 address", "", "[::1]:8443", 200},
		{"no name, IPv6 address without port", "", "[::1]", 200},
		{"no name, name of the URL", "", "login.test:8443", 200},
		{"no name, another name", "", "evil.example", 421},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			v := s.visitor(inside).with(card())
			v.sni = tt.sni
			r := httptest.NewRequest(http.MethodGet, "https://login.test/echo", nil)
			r.Host = tt.host
			if p := v.send(r); p.status != tt.want || (len(s.attempts) > 0) != (tt.want == 200) {
				t.Errorf("status %d, want %d; attempts %q", p.status, tt.want, s.methods())
			}
		})
	}
}

func TestA5_HostThatIsNotTheServerName(t *testing.T) { testMisdirected(t) }

func TestA6_CoalescedConnectionIsMisdirected(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(inside).with(card())
	v.get("/echo") // signed in on this connection
	s.attempts = nil
	r := httptest.NewRequest(http.MethodGet, "https://login.test/echo", nil)
	r.Host = "certauth.login.test"
	r.ProtoMajor = 2
	if p := v.send(r); p.status != http.StatusMisdirectedRequest || p.signedIn() != "" || len(s.attempts) > 0 {
		t.Errorf("status %d, signed in %q, attempts %q", p.status, p.signedIn(), s.methods())
	}
}

// D10: there is no header that says who somebody is or where they come from.
func TestD10_NoHeaderIsBelieved(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	for _, name := range []string{
		"X-Forwarded-For", "X-Real-Ip", "True-Client-Ip", "Forwarded", "Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip",
	} {
		v.header.Set(name, "10.1.2.3")
	}
	for _, name := range []string{
		"X-Forwarded-User", "X-Iisnode-Logon_user", "Remote-User", "X-Remote-User", "Client-Cert", "Client-Certificate", "X-Ssl-Client-Cert",
		"X-Forwarded-Client-Cert", "X-Arr-Clientcert", "Authorization",
	} {
		v.header.Set(name, "jon")
	}
	v.header.Set("X-Forwarded-Host", "evil.example")
	v.header.Set("X-Forwarded-Proto", "http")
	v.header.Set("X-Request-Id", "of-my-choice")
	v.header.Set("X-Http-Method-Override", "PUT")
	p := v.get("/echo")
	if p.status != 200 || p.signedIn() != "" || len(s.attempts) > 0 || strings.Contains(p.body, "evil") {
		t.Fatalf("status %d, signed in %q, attempts %q", p.status, p.signedIn(), s.methods())
	}
	v.post("/signin", p.typed("jon"))
	if a := s.attempts[0]; a.Remote.String() != "203.0.113.9" || a.RequestID == "of-my-choice" {
		t.Errorf("attempt from %v with reference %q", a.Remote, a.RequestID)
	}
}

// E12: passwords are in no page and no log, whatever happens on the way. The
// visitor and the site look at each.
func TestE12_PasswordIsNowhere(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	form := v.get("/echo").typed("jon")
	for _, answer := range []error{nil, denied(denial.BadCredentials), denied(denial.Throttled), errDown} {
		s.answer = func(signin.Attempt) (*signin.Identity, error) { return s.jon(signin.ByPassword), answer }
		v.post("/signin", form)
	}
	s.answer = func(a signin.Attempt) (*signin.Identity, error) { panic(a) }
	v.post("/signin", form)
	// A body that is no form, of which the decoder quotes a piece.
	r := httptest.NewRequest(http.MethodPost, "https://login.test/signin", strings.NewReader("password=100%sure"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p := v.send(r); p.status != http.StatusBadRequest || strings.Contains(s.log.String(), "%su") {
		t.Errorf("status %d, log:\n%s", p.status, s.log.String())
	}
}

// Whatever ends an attempt, the door hears of it, and the audit trail with it.
func TestFormsThatAreRefusedAreRecorded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(o *web.Options)
		post   func(s *site, v *visitor, form url.Values) page
		method signin.Method
		want   denial.Reason
	}{
		{
			"from an address without passwords", func(o *web.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("10.1.0.0/16")) },
			func(s *site, v *visitor, form url.Values) page { v.remote = outside; return v.post("/signin", form) }, signin.ByPassword, denial.NotAllowedHere,
		},
		{"damaged", nil, func(_ *site, v *visitor, form url.Values) page {
			form.Set("pending", form.Get("pending")+"x")
			return v.post("/signin", form)
		}, signin.ByPassword, denial.BadForm},
		{"too old", nil, func(s *site, v *visitor, form url.Values) page {
			s.clock = s.clock.Add(24 * time.Hour)
			return v.post("/signin", form)
		}, signin.ByPassword, denial.BadForm},
		{"in another browser", nil, func(s *site, _ *visitor, form url.Values) page {
			return s.visitor(inside).post("/signin", form)
		}, signin.ByPassword, denial.BadForm},
		{"by another site", nil, func(_ *site, v *visitor, form url.Values) page {
			v.header.Set("Sec-Fetch-Site", "cross-site")
			return v.post("/signin", form)
		}, signin.ByPassword, denial.BadForm},
		{"for a method that there is not", nil, func(_ *site, v *visitor, form url.Values) page {
			form.Set("method", "magic")
			return v.post("/signin", form)
		}, signin.ByPassword, denial.BadForm},
		{"for a certificate that there is not", nil, func(_ *site, v *visitor, form url.Values) page {
			form.Set("method", "certificate")
			return v.post("/signin", form)
		}, signin.ByCertificate, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.change)
			v := s.visitor(inside)
			form := v.get("/echo").typed("jon")
			if p := tt.post(s, v, form); p.status < 400 {
				t.Errorf("status %d", p.status)
			}
			if len(s.attempts) != 0 {
				t.Errorf("the credential was looked at: %+v", s.attempts)
			}
			if len(s.refused) != 1 {
				t.Fatalf("%d lines, want 1", len(s.refused))
			}
			a := s.refused[0]
			if c, ok := a.Credential.(signin.Refused); ok != (tt.want != "") || ok && (c.Why.Reason != tt.want || strings.Contains(c.Why.Error(), canary)) {
				t.Errorf("recorded as %+v", a.Credential)
			}
			if a.Credential.Method() != tt.method || a.RequestID == "" || !a.Remote.IsValid() {
				t.Errorf("recorded as %+v", a)
			}
		})
	}
}

// Addresses are kept in histories, logs and referrers.
func TestNoCredentialsFromTheQuery(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	form := v.get("/echo").typed("jon")
	if p := v.post("/signin?"+form.Encode(), url.Values{}); p.status != http.StatusBadRequest || len(s.attempts) > 0 {
		t.Errorf("all in the query: status %d, attempts %d", p.status, len(s.attempts))
	}
	p := v.post("/signin?"+form.Encode(), url.Values{"pending": form["pending"]})
	if c := s.attempts[0].Credential.(signin.Password); c.Username != "" || c.Password.Reveal() != "" {
		t.Errorf("status %d, user name %q from the query", p.status, c.Username)
	}
	v.get("/echo?" + form.Encode())
	v.get("/signin?" + form.Encode())
}

func TestOnlyFormsAreRead(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	form := v.get("/echo").typed("jon")
	for kind, body := range map[string]string{
		"application/json":               `{"username":"jon","password":"x"}`,
		"text/plain":                     form.Encode(),
		"multipart/form-data; boundary=": form.Encode(),
		"":                               form.Encode(),
	} {
		r := httptest.NewRequest(http.MethodPost, "https://login.test/signin", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		if p := v.send(r); p.status != http.StatusUnsupportedMediaType || len(s.attempts) > 0 {
			t.Errorf("%q: status %d, attempts %d", kind, p.status, len(s.attempts))
		}
	}
}

// hostile is text that breaks out of every kind of place in a page.
const hostile = `"'><script>alert(1)</script><!-- ]]> {{.Site}} &amp; ` + "\u202e\r\n\x1b[31m"

// F3: whatever a name holds, it is text in the page.
func TestF3_HostileTextStaysText(t *testing.T) {
	s := newSite(t, func(o *web.Options) { o.SiteName = hostile })
	s.server.Mount("/hostile", "hostile", hostileProtocol{})
	v := s.visitor(outside)
	check := func(name string, p page) page {
		t.Helper()
		if strings.Contains(p.body, "<script>alert") || strings.Contains(p.body, `"'>`) || strings.Contains(p.body, "<!--") {
			t.Errorf("%s: markup came through:\n%s", name, p.body)
		}
		if !strings.Contains(p.body, "&lt;script&gt;alert(1)") {
			t.Errorf("%s: the text is not there, the test shows nothing:\n%s", name, p.body)
		}
		return p
	}
	form := check("form", v.get("/hostile")).typed(hostile)
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.BadCredentials) }
	check("form again", v.post("/signin", form))
	s.answer = func(signin.Attempt) (*signin.Identity, error) {
		id := s.jon(signin.ByPassword)
		id.Username, id.DisplayName = hostile, hostile
		return id, nil
	}
	check("auto-post", v.post("/signin", form))
	token := check("home", v.get("/")).field("token")
	check("signed out", v.post("/signout", url.Values{"token": {token}}))
	check("error", v.get("/nothing"))

	inside := s.visitor(inside).with(newCard(`"'><script>alert(1)</script>`))
	s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, denied(denial.BadName) }
	check("refused", inside.get("/hostile"))
	inside.get("/hostile?out=1")
	check("button", inside.get("/hostile"))
}

type hostileProtocol struct{}

func (hostileProtocol) Receive(r *http.Request) (web.Pending, error) {
	return web.Pending{RelyingParty: hostile, MaxAge: -1, State: []byte(hostile), SignOut: r.FormValue("out") != ""}, nil
}

func (hostileProtocol) Reply(w http.ResponseWriter, _ *http.Request, p web.Pending, id *signin.Identity) error {
	return web.WriteAutoPost(w, "https://app.example/acs?a=b&c="+url.QueryEscape(hostile), []web.Field{
		{Name: "user", Value: id.Username}, {Name: hostile, Value: string(p.State)},
	})
}

// H4 and H6: what helps people who look after a service is not on the address
// that the world can open. The paths are those that scanners try.
func testNothingThere(t *testing.T, paths ...string) {
	s := newSite(t, nil)
	for _, path := range paths {
		for _, v := range []*visitor{s.visitor(outside), s.visitor(inside).with(card())} {
			p := v.get(path)
			if p.status != http.StatusNotFound || !strings.Contains(p.body, "Page not found") {
				t.Errorf("%s: status %d:\n%.200s", path, p.status, p.body)
			}
		}
	}
	if len(s.attempts) > 0 {
		t.Errorf("attempts %q", s.methods())
	}
	if strings.Contains(s.log.String(), "level=INFO") {
		t.Error("a scanner can fill the log")
	}
}

func TestH4_NoOperationsPages(t *testing.T) {
	testNothingThere(t, "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/metrics", "/health", "/healthz", "/livez", "/readyz", "/status", "/server-status")
}

func TestH6_NoEchoOfTheRequest(t *testing.T) {
	testNothingThere(t, "/test-headers", "/test-iis", "/users", "/config.json", "/.env", "/.git/config", "/static/", "/static",
		"/static/static.go", "/static/%2e%2e/style.css", "/templates/form.html", "/favicon.ico/x", "/signin/", "/echo/")
}

// H5: one request is one line of the log, whatever it holds.
func TestH5_LogLinesCannotBeForged(t *testing.T) {
	for name, format := range map[string]func(*bytes.Buffer, *slog.HandlerOptions) slog.Handler{
		"text": func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(b, o) },
		"json": func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(b, o) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := newSite(t, func(o *web.Options) {
				o.Log = slog.New(format(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			s.answer = func(signin.Attempt) (*signin.Identity, error) { return nil, errDown }
			v := s.visitor(outside)
			v.get("/x%0alevel=ERROR%20msg=%22forged%22%1b[31m")
			v.post("/signin", v.get("/echo").typed("jon\nlevel=ERROR msg=forged \x1b[31m"))
			r := httptest.NewRequest(http.MethodGet, "https://login.test/", nil)
			r.Host = "evil\nlevel=ERROR msg=forged"
			v.send(r)
			lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			if len(lines) != 3 || strings.ContainsAny(log.String(), "\x1b\r") {
				t.Errorf("%d lines for 3 requests:\n%q", len(lines), log.String())
			}
			for _, line := range lines {
				if name == "json" && !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %s", line)
				}
			}
		})
	}
}

// H7: keys that were never made stop the start.
func TestH7_WeakKeysAreRefused(t *testing.T) {
	for name, change := range map[string]func(*web.Keys){
		"no cookie hash":      func(k *web.Keys) { k.CookieHash = nil },
		"short cookie hash":   func(k *web.Keys) { k.CookieHash = k.CookieHash[:16] },
		"short cookie block":  func(k *web.Keys) { k.CookieBlock = k.CookieBlock[:16] },
		"no cookie block":     func(k *web.Keys) { k.CookieBlock = nil },
		"short seal":          func(k *web.Keys) { k.Seal = k.Seal[:31] },
		"seal of zeros":       func(k *web.Keys) { k.Seal = make([]byte, 32) },
		"cookie hash of ones": func(k *web.Keys) { k.CookieHash = bytes.Repeat([]byte{1}, 64) },
	} {
		k := keys()
		change(&k)
		_, err := web.New(web.Options{URL: parse(t, "https://login.test"), Service: door(nil), Keys: k})
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, o := range map[string]web.Options{
		"no door":          {URL: parse(t, "https://login.test"), Keys: keys()},
		"no URL":           {Service: door(nil), Keys: keys()},
		"plain HTTP":       {URL: parse(t, "http://login.test"), Service: door(nil), Keys: keys()},
		"no host":          {URL: parse(t, "https:///x"), Service: door(nil), Keys: keys()},
		"odd path":         {URL: parse(t, "https://login.test/{x}"), Service: door(nil), Keys: keys()},
		"path with dots":   {URL: parse(t, "https://login.test/../x"), Service: door(nil), Keys: keys()},
		"double slash":     {URL: parse(t, "https://login.test//x"), Service: door(nil), Keys: keys()},
		"space":            {URL: parse(t, "https://login.test/a%20b"), Service: door(nil), Keys: keys()},
		"session negative": {URL: parse(t, "https://login.test"), Service: door(nil), Keys: keys(), Session: web.SessionConfig{Lifetime: -1}},
	} {
		if _, err := web.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSecurityHeadersAreOnEverything(t *testing.T) {
	s := newSite(t, nil)
	s.server.Handle("GET /meta", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("meta")) }))
	v := s.visitor(outside)
	wrong := httptest.NewRequest(http.MethodGet, "https://login.test/", nil)
	wrong.Host = "evil.example"
	pages := map[string]page{
		"form": v.get("/echo"), "home": v.get("/"), "404": v.get("/nothing"), "static": v.get("/static/style.css"), "421": v.send(wrong),
		"redirect": v.post("/echo", nil), "405": v.post("/", nil), "meta": v.get("/meta"), "error": v.get("/echo?age=x"), "cleaned path": v.get("//echo"),
	}
	for name, p := range pages {
		for header, want := range map[string]string{
			"Content-Security-Policy":   "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":    "nosniff",
			"Referrer-Policy":           "same-origin",
			"Strict-Transport-Security": "max-age=31536000",
		} {
			if got := p.header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if got := p.header.Get("Cache-Control"); name != "static" && got != "no-store" {
			t.Errorf("%s: cache-control %q", name, got)
		}
	}
	// HSTS holds for every port of a host: never for the machine's own names.
	for _, u := range []string{"https://localhost:8443", "https://127.0.0.1:8443", "https://[::1]:8443", "https://demo.localhost"} {
		s := newSite(t, func(o *web.Options) { o.URL = parse(t, u) })
		if p := s.visitor(outside).get("/echo"); p.header.Get("Strict-Transport-Security") != "" {
			t.Errorf("HSTS for %s", u)
		}
	}
}

func TestStaticFiles(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	p := v.get("/nothing")
	for _, want := range []struct{ start, kind string }{{"/static/style.css?v=", "text/css; charset=utf-8"}, {"/static/icon.svg?v=", "image/svg+xml"}} {
		_, after, ok := strings.Cut(p.body, `"`+want.start)
		version, _, _ := strings.Cut(after, `"`)
		if !ok || version == "" {
			t.Errorf("no link to %s in the page", want.start)
			continue
		}
		file := v.get(want.start + version)
		if file.status != 200 || file.header.Get("Content-Type") != want.kind || file.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || file.body == "" {
			t.Errorf("%s: status %d, %v", want.start, file.status, file.header)
		}
		if old := v.get(want.start + "old"); old.status != 200 || old.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s, other version: status %d, %v", want.start, old.status, old.header)
		}
	}
}

// Every page was looked at: a new file needs a line here and a test above.
func TestEveryTemplateIsKnown(t *testing.T) {
	files, err := fs.Glob(templates.FS, "*")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"autopost.html", "change.html", "error.html", "form.html", "home.html", "layout.html", "parts.html", "refused.html", "signedout.html"}
	if !slices.Equal(files, want) {
		t.Errorf("templates are %q, want %q", files, want)
	}
}

func TestWriteAutoPost(t *testing.T) {
	w := httptest.NewRecorder()
	err := web.WriteAutoPost(w, acs, []web.Field{{Name: "wa", Value: "wsignin1.0"}, {Name: "wresult", Value: `<t a="b">'+&amp;</t>`}})
	if err != nil {
		t.Fatal(err)
	}
	body := w.Body.String()
	for _, want := range []string{
		"<title>Working...</title>", `<form method="post" name="hiddenform" action="https://app.example/acs">`,
		`<input type="hidden" name="wa" value="wsignin1.0">`, `value="&lt;t a=&#34;b&#34;&gt;&#39;+&amp;amp;&lt;/t&gt;"`,
		`<button type="submit">`, `<script>document.forms[0].submit()</script>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %s:\n%s", want, body)
		}
	}
	for _, action := range []string{"", "javascript:alert(1)", "data:text/html,x", "//app.example/acs", "/acs", "https:acs", "https://", "ftp://app.example/"} {
		w := httptest.NewRecorder()
		if err := web.WriteAutoPost(w, action, nil); err == nil || w.Body.Len() > 0 {
			t.Errorf("posting to %q: %v, %d bytes written", action, err, w.Body.Len())
		}
	}
	for _, value := range []string{"a\x00b", "\xff"} {
		w := httptest.NewRecorder()
		if err := web.WriteAutoPost(w, acs, []web.Field{{Name: "x", Value: value}}); err == nil || w.Body.Len() > 0 {
			t.Errorf("field %q: %v", value, err)
		}
	}
}
