package wsfed_test

import (
	"context"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/connector/web"
	"adconnector/connector/wsfed"
)

const (
	callback = "https://fabrikam.eu.auth0.com/login/callback"
	other    = "https://fabrikam.eu.auth0.com/other?x=1&y=%2F"
	grafana  = "https://grafana.fabrikam.example:8443/"
)

func config() wsfed.Config {
	return wsfed.Config{
		Issuer: "urn:fabrikam:adconnector",
		RelyingParties: []wsfed.RelyingParty{
			{Realm: "urn:auth0:fabrikam", ReplyURLs: []string{callback, other}},
			{Realm: "grafana", ReplyURLs: []string{grafana}},
		},
	}
}

// keysAt returns new keys as they are so long after they were made.
func keysAt(age time.Duration) *token.Keys {
	folder, err := os.MkdirTemp("", "adconnector-wsfed")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	dir, err := private.Open(filepath.Join(folder, "data"))
	if err != nil {
		panic(err)
	}
	now := time.Now()
	var keys *token.Keys
	for _, at := range []time.Time{now, now.Add(age)} {
		keys, err = token.OpenKeys(context.Background(), dir, token.DefaultConfig(), token.KeysOptions{
			Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return at },
		})
		if err != nil {
			panic(err)
		}
	}
	return keys
}

// signingKeys are shared by the tests, because making some takes long.
var signingKeys = sync.OnceValue(func() *token.Keys { return keysAt(0) })

func newProtocol(t testing.TB, c wsfed.Config) *wsfed.Protocol {
	t.Helper()
	p, err := wsfed.New(c, signingKeys(), &url.URL{Scheme: "https", Host: "login.fabrikam.example", Path: "/sso"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(query string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://login.fabrikam.example/sso/wsfed", nil)
	r.URL.RawQuery = query
	return r
}

func post(query, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://login.fabrikam.example/sso/wsfed", strings.NewReader(body))
	r.URL.RawQuery = query
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func jon() *signin.Identity {
	return &signin.Identity{
		ID:       "9f1c2f9e-3b52-4a7e-8e4e-0c2b8c6f1a77",
		Username: "jon", Nickname: "jon",
		DisplayName:     "Jon Müller",
		Email:           "jon@fabrikam.example",
		Groups:          []string{"Domain Users", "R&D"},
		AuthenticatedBy: signin.ByPassword,
		AuthenticatedAt: time.Now().Add(-time.Minute),
	}
}

// An answer is an auto-posting page as a browser understands it.
type answer struct {
	action string
	fields map[string]string
	page   string
	header http.Header
}

var (
	formTag  = regexp.MustCompile(`<form [^>]*action="([^"]*)"`)
	inputTag = regexp.MustCompile(`<input [^>]*name="([^"]*)" value="([^"]*)"`)
)

func reply(t testing.TB, p *wsfed.Protocol, pending web.Pending, id *signin.Identity) answer {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Reply(w, get(""), pending, id); err != nil {
		t.Fatal(err)
	}
	a := answer{fields: map[string]string{}, page: w.Body.String(), header: w.Result().Header}
	forms := formTag.FindAllStringSubmatch(a.page, -1)
	if len(forms) != 1 {
		t.Fatalf("%d forms on the page, want 1:\n%s", len(forms), a.page)
	}
	a.action = html.UnescapeString(forms[0][1])
	for _, m := range inputTag.FindAllStringSubmatch(a.page, -1) {
		a.fields[m[1]] = html.UnescapeString(m[2])
	}
	return a
}

// signIn sends a request that must be accepted, and answers it.
func signIn(t testing.TB, p *wsfed.Protocol, r *http.Request) answer {
	t.Helper()
	pending, err := p.Receive(r)
	if err != nil {
		t.Fatal(err)
	}
	if pending.SignOut {
		t.Fatal("taken for a sign-out")
	}
	return reply(t, p, pending, jon())
}

// refused reports an error unless err is a page that tells the user to go back,
// and the operator what it is about.
func refused(t testing.TB, err error, detail string) {
	t.Helper()
	page, ok := errors.AsType[*web.Error](err)
	if !ok {
		t.Fatalf("error %v, want a page", err)
	}
	if page.Status != http.StatusBadRequest || !strings.Contains(page.Message, "application") {
		t.Errorf("page %d %q, want 400 and what to do", page.Status, page.Message)
	}
	if page.Err == nil || !strings.Contains(page.Err.Error(), detail) {
		t.Errorf("detail %v, want one about %q", page.Err, detail)
	}
}

func TestReceive_SignIn(t *testing.T) {
	p := newProtocol(t, config())
	realm := "wtrealm=urn%3Aauth0%3Afabrikam"
	for _, tt := range []struct {
		name          string
		request       *http.Request
		action, wctx  string
		audience, who string
	}{
		{"the least", get(realm), callback, "", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"spelled out", get("wa=wsignin1.0&" + realm + "&wreply=" + url.QueryEscape(callback)), callback, "", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"second reply URL", get(realm + "&wreply=" + url.QueryEscape(other)), other, "", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"realm that is no URI", get("wtrealm=grafana"), grafana, "", "urn:grafana", "grafana"},
		{"context is given back", get(realm + "&wctx=rm%3D0%26id%3Dpassive"), callback, "rm=0&id=passive", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"empty is absent", get("wa=&wreply=&wctx=&wfresh=&" + realm), callback, "", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"what is unknown is ignored", get(realm + "&whr=a&whr=b&wct=x&username=admin"), callback, "", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"by form", post("", realm+"&wctx=x"), callback, "x", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
		{"a form's address says nothing", post("wtrealm=grafana&wctx=y&wa=wsignout1.0", realm+"&wctx=x"), callback, "x", "urn:auth0:fabrikam", "urn:auth0:fabrikam"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pending, err := p.Receive(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if pending.SignOut || pending.MaxAge >= 0 || pending.RelyingParty != tt.who {
				t.Errorf("pending is %+v, want a sign-in to %q with any session", pending, tt.who)
			}
			a := reply(t, p, pending, jon())
			if a.action != tt.action {
				t.Errorf("answer goes to %q, want %q", a.action, tt.action)
			}
			if got, ok := a.fields["wctx"]; got != tt.wctx || !ok {
				t.Errorf("wctx = %q, want %q", got, tt.wctx)
			}
			if got := a.fields["wa"]; got != "wsignin1.0" {
				t.Errorf("wa = %q", got)
			}
			doc := etree.NewDocument()
			if err := doc.ReadFromString(a.fields["wresult"]); err != nil {
				t.Fatal(err)
			}
			if got := doc.FindElement("//Audience").Text(); got != tt.audience {
				t.Errorf("audience = %q, want %q", got, tt.audience)
			}
			if got := doc.Root().SelectAttrValue("Context", ""); got != tt.wctx {
				t.Errorf("Context = %q, want %q", got, tt.wctx)
			}
			if got := doc.FindElement("//Assertion").SelectAttrValue("Issuer", ""); got != "urn:fabrikam:adconnector" {
				t.Errorf("issuer = %q", got)
			}
		})
	}
}

func TestReceive_Refused(t *testing.T) {
	p := newProtocol(t, config())
	realm := "wtrealm=urn%3Aauth0%3Afabrikam"
	typed := func(kind string) *http.Request {
		r := post("", realm)
		r.Header.Set("Content-Type", kind)
		return r
	}
	method := func(m string) *http.Request {
		r := get(realm)
		r.Method = m
		return r
	}
	for _, tt := range []struct {
		name    string
		request *http.Request
		detail  string
	}{
		{"no realm", get("wa=wsignin1.0"), "no wtrealm"},
		{"unknown realm", get("wtrealm=urn%3Aauth0%3Acontoso"), `"urn:auth0:contoso" is not in wsfed.relying_parties`},
		{"realm in another case", get("wtrealm=URN%3Aauth0%3Afabrikam"), "wtrealm"},
		{"audience is no realm", get("wtrealm=urn%3Agrafana"), "wtrealm"},
		{"reply URL of another relying party", get(realm + "&wreply=" + url.QueryEscape(grafana)), "wreply"},
		{"unknown action", get("wa=wattr1.0&" + realm), `"wattr1.0"`},
		{"action in another case", get("wa=WSIGNIN1.0&" + realm), "wa is"},
		{"realm twice", get(realm + "&" + realm), "wtrealm comes 2 times"},
		{"reply twice", get(realm + "&wreply=" + url.QueryEscape(callback) + "&wreply=" + url.QueryEscape(callback)), "wreply comes 2 times"},
		{"action twice", get("wa=wsignin1.0&wa=wsignout1.0&" + realm), "wa comes 2 times"},
		{"context twice", get(realm + "&wctx=&wctx="), "wctx comes 2 times"},
		{"freshness twice, in a form", post("", realm+"&wfresh=0&wfresh=9"), "wfresh comes 2 times"},
		{"freshness is no number", get(realm + "&wfresh=now"), `"now"`},
		{"freshness is negative", get(realm + "&wfresh=-1"), "wfresh"},
		{"freshness has a sign", get(realm + "&wfresh=%2B1"), "wfresh"},
		{"freshness is a fraction", get(realm + "&wfresh=0.5"), "wfresh"},
		{"freshness overflows", get(realm + "&wfresh=9223372036854775808"), "wfresh"},
		{"context too long", get(realm + "&wctx=" + strings.Repeat("x", 8193)), "wctx"},
		{"context that XML cannot carry", get(realm + "&wctx=a%00b"), "wctx"},
		{"context of broken UTF-8", get(realm + "&wctx=%ff"), "wctx"},
		{"query of broken escapes", get(realm + "&x=%zz"), "query"},
		{"query with a semicolon", get(realm + ";wctx=x"), "query"},
		{"form of broken escapes", post("", realm+"&x=%zz"), "form"},
		{"form without a realm, and its address with one", post(realm, "wa=wsignin1.0"), "no wtrealm"},
		{"JSON", typed("application/json"), "application/json"},
		{"multipart", typed("multipart/form-data; boundary=x"), "multipart"},
		{"no type", typed(""), "not a form"},
		{"another method", method(http.MethodPut), "PUT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pending, err := p.Receive(tt.request)
			refused(t, err, tt.detail)
			if pending.State != nil || pending.ReturnTo != "" {
				t.Errorf("refused, yet pending is %+v", pending)
			}
		})
	}
}

func TestReceive_AHugeFormIsToldApart(t *testing.T) {
	r := post("", "wctx="+strings.Repeat("x", 4096))
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 1024)
	_, err := newProtocol(t, config()).Receive(r)
	if _, ok := errors.AsType[*http.MaxBytesError](err); !ok {
		t.Errorf("error %v, want the one of the size limit", err)
	}
}

func TestReceive_TheLogIsNotFlooded(t *testing.T) {
	_, err := newProtocol(t, config()).Receive(get("wtrealm=" + strings.Repeat("x", 5000) + "%0Aforged"))
	refused(t, err, "wtrealm")
	if text := err.Error(); len(text) > 1000 || strings.Contains(text, "\n") {
		t.Errorf("the error is %d bytes: %.100q", len(text), text)
	}
}

func TestReceive_Freshness(t *testing.T) {
	p := newProtocol(t, config())
	for fresh, want := range map[string]time.Duration{
		"":          -1, // any session
		"0":         0,  // none
		"5":         5 * time.Minute,
		"0010":      10 * time.Minute,
		"134217727": 134217727 * time.Minute,
	} {
		pending, err := p.Receive(get("wtrealm=grafana&wfresh=" + fresh))
		if err != nil {
			t.Errorf("wfresh %q: %v", fresh, err)
		} else if pending.MaxAge != want {
			t.Errorf("wfresh %q: MaxAge = %v, want %v", fresh, pending.MaxAge, want)
		}
	}
}

// lookAlikes are URLs that somebody's parser, or somebody's eye, takes for the
// listed one.
var lookAlikes = []struct{ name, url string }{
	{"prefix", callback + "/more"},
	{"prefix with a query", callback + "?x=1"},
	{"prefix of the host", "https://fabrikam.eu.auth0.com.evil.example/login/callback"},
	{"shorter", strings.TrimSuffix(callback, "k")},
	{"other path", "https://fabrikam.eu.auth0.com/login/callback/../evil"},
	{"trailing slash", callback + "/"},
	{"user name", "https://evil@fabrikam.eu.auth0.com/login/callback"},
	{"host as user name", "https://fabrikam.eu.auth0.com@evil.example/login/callback"},
	{"backslash before the @", `https://evil.example\@fabrikam.eu.auth0.com/login/callback`},
	{"backslashes for slashes", `https:\\fabrikam.eu.auth0.com\login\callback`},
	{"no scheme", "//fabrikam.eu.auth0.com/login/callback"},
	{"three slashes", "https:///fabrikam.eu.auth0.com/login/callback"},
	{"path alone", "/login/callback"},
	{"other scheme", "http://fabrikam.eu.auth0.com/login/callback"},
	{"script", "javascript:alert(1)//" + callback},
	{"upper case scheme", "HTTPS://fabrikam.eu.auth0.com/login/callback"},
	{"upper case host", "https://FABRIKAM.eu.auth0.com/login/callback"},
	{"upper case path", "https://fabrikam.eu.auth0.com/LOGIN/callback"},
	{"default port", "https://fabrikam.eu.auth0.com:443/login/callback"},
	{"other port", "https://fabrikam.eu.auth0.com:8443/login/callback"},
	{"dot behind the host", "https://fabrikam.eu.auth0.com./login/callback"},
	{"encoded letter", "https://fabrikam.eu.auth0.com/login/%63allback"},
	{"encoded slash", "https://fabrikam.eu.auth0.com/login%2Fcallback"},
	{"encoded twice", url.QueryEscape(callback)},
	{"fragment", callback + "#x"},
	{"empty fragment", callback + "#"},
	{"empty query", callback + "?"},
	{"blank before", " " + callback},
	{"blank behind", callback + " "},
	{"line end behind", callback + "\r\nSet-Cookie: x=y"},
	{"NUL behind", callback + "\x00.evil.example"},
	{"look-alike letter", strings.Replace(callback, "a", "а", 1)},
	{"full-width dot", strings.Replace(callback, ".", "．", 1)},
	{"two URLs", callback + " https://evil.example/"},
	{"list", callback + ",https://evil.example/"},
	{"of another relying party", grafana},
}

func TestF1_OnlyAListedReplyURLGetsAToken(t *testing.T) {
	p := newProtocol(t, config())
	for _, tt := range lookAlikes {
		t.Run(tt.name, func(t *testing.T) {
			q := url.Values{"wtrealm": {"urn:auth0:fabrikam"}, "wreply": {tt.url}}.Encode()
			for _, r := range []*http.Request{get(q), post("", q)} {
				pending, err := p.Receive(r)
				refused(t, err, "wreply")
				if pending.State != nil {
					t.Errorf("refused, yet there is a state %q", pending.State)
				}
			}
		})
	}
}

func TestReceive_SignOut(t *testing.T) {
	p := newProtocol(t, config())
	back := "&wreply=" + url.QueryEscape(callback)
	for _, tt := range []struct{ name, query, returnTo, who string }{
		{"bare", "wa=wsignout1.0", "", ""},
		{"cleanup", "wa=wsignoutcleanup1.0", "", ""},
		{"to a listed URL", "wa=wsignout1.0" + back, callback, ""},
		{"cleanup, to a listed URL", "wa=wsignoutcleanup1.0" + back, callback, ""},
		{"to a listed URL of its realm", "wa=wsignout1.0&wtrealm=urn%3Aauth0%3Afabrikam" + back, callback, "urn:auth0:fabrikam"},
		{"no URL means no redirect", "wa=wsignout1.0&wtrealm=urn%3Aauth0%3Afabrikam", "", "urn:auth0:fabrikam"},
		{"URL of another realm", "wa=wsignout1.0&wtrealm=grafana" + back, "", "grafana"},
		{"unknown realm", "wa=wsignout1.0&wtrealm=x" + back, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []*http.Request{get(tt.query), post("", tt.query)} {
				pending, err := p.Receive(r)
				if err != nil {
					t.Fatal(err)
				}
				if !pending.SignOut || pending.ReturnTo != tt.returnTo || pending.RelyingParty != tt.who || pending.State != nil {
					t.Errorf("pending is %+v, want a sign-out from %q that leads to %q", pending, tt.who, tt.returnTo)
				}
			}
		})
	}
}

func TestF12_SignOutLeadsNowhereButToAListedURL(t *testing.T) {
	p := newProtocol(t, config())
	for _, realm := range []string{"", "urn:auth0:fabrikam", "unknown"} {
		for _, tt := range lookAlikes {
			if tt.url == grafana && realm == "" {
				continue // it is listed
			}
			pending, err := p.Receive(get(url.Values{"wa": {"wsignout1.0"}, "wtrealm": {realm}, "wreply": {tt.url}}.Encode()))
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if !pending.SignOut || pending.ReturnTo != "" {
				t.Errorf("%s, realm %q: sign-out leads to %q", tt.name, realm, pending.ReturnTo)
			}
		}
	}
}

func TestF4_ContextCannotBreakThePage(t *testing.T) {
	p := newProtocol(t, config())
	for _, wctx := range []string{
		`"><script>alert(1)</script>`,
		`' onfocus=alert(1) autofocus x='`,
		`</form><form action="https://evil.example">`,
		"a\tb  c",
		`&quot;&amp;#34;`,
		`{{.}}${x}<%= y %>`,
		"\u2028\u2029\ufeff",
		strings.Repeat("é", 4096),
	} {
		a := signIn(t, p, get(url.Values{"wtrealm": {"grafana"}, "wctx": {wctx}}.Encode()))
		if a.fields["wctx"] != wctx || a.action != grafana {
			t.Errorf("wctx %q came back as %q, to %q", wctx, a.fields["wctx"], a.action)
		}
		if len(a.fields) != 3 {
			t.Errorf("wctx %q: %d fields, want 3:\n%s", wctx, len(a.fields), a.page)
		}
		if wctx != html.EscapeString(wctx) && strings.Contains(a.page, wctx) {
			t.Errorf("wctx %q stands on the page as it is:\n%s", wctx, a.page)
		}
		if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("content security policy is %q", csp)
		}
	}
}

func TestF3_MarkupInTheDirectoryCannotBreakThePage(t *testing.T) {
	p := newProtocol(t, config())
	pending, err := p.Receive(get("wtrealm=grafana"))
	if err != nil {
		t.Fatal(err)
	}
	id := jon()
	id.DisplayName = `"><script>alert(1)</script>]]>` + "\x00\x01\uFFFE\xff"
	a := reply(t, p, pending, id)
	if strings.Contains(a.page, "<script>alert") {
		t.Errorf("the name stands on the page as it is:\n%s", a.page)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromString(a.fields["wresult"]); err != nil {
		t.Fatal(err)
	}
	want := `"><script>alert(1)</script>]]>`
	if got := doc.FindElement(`//Attribute[@AttributeName='name']/AttributeValue`).Text(); got != want {
		t.Errorf("name = %q, want %q", got, want)
	}
}

func TestReply_TheConfigurationHasChangedMeanwhile(t *testing.T) {
	before := newProtocol(t, config())
	pending, err := before.Receive(get("wtrealm=urn%3Aauth0%3Afabrikam"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*wsfed.Config)
	}{
		{"realm removed", func(c *wsfed.Config) { c.RelyingParties = c.RelyingParties[1:] }},
		{"realm renamed", func(c *wsfed.Config) { c.RelyingParties[0].Realm += "2" }},
		{"reply URL removed", func(c *wsfed.Config) { c.RelyingParties[0].ReplyURLs = []string{other} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			tt.change(&c)
			w := httptest.NewRecorder()
			err := newProtocol(t, c).Reply(w, get(""), pending, jon())
			refused(t, err, "not configured any more")
			if w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("an answer was written all the same: %v\n%s", w.Header(), w.Body)
			}
		})
	}
	t.Run("order changed", func(t *testing.T) {
		c := config()
		slices.Reverse(c.RelyingParties)
		slices.Reverse(c.RelyingParties[1].ReplyURLs)
		if a := reply(t, newProtocol(t, c), pending, jon()); a.action != callback {
			t.Errorf("answer goes to %q, want %q", a.action, callback)
		}
	})
}

func TestReply_WritesNothingWhenItFails(t *testing.T) {
	p := newProtocol(t, config())
	pending, err := p.Receive(get("wtrealm=grafana"))
	if err != nil {
		t.Fatal(err)
	}
	nobody := jon()
	nobody.ID = ""
	damaged := pending
	damaged.State = []byte("grafana\x00" + grafana)
	for name, try := range map[string]func(w http.ResponseWriter) error{
		"identity without a name": func(w http.ResponseWriter) error { return p.Reply(w, get(""), pending, nobody) },
		"damaged state":           func(w http.ResponseWriter) error { return p.Reply(w, get(""), damaged, jon()) },
	} {
		w := httptest.NewRecorder()
		if err := try(w); err == nil {
			t.Errorf("%s: no error", name)
		}
		if w.Body.Len() > 0 || len(w.Header()) > 0 {
			t.Errorf("%s: an answer was written all the same: %v\n%s", name, w.Header(), w.Body)
		}
	}
}

func FuzzReceive(f *testing.F) {
	for _, tt := range lookAlikes {
		f.Add(false, url.Values{"wtrealm": {"urn:auth0:fabrikam"}, "wreply": {tt.url}}.Encode(), "")
		f.Add(true, "", url.Values{"wa": {"wsignout1.0"}, "wreply": {tt.url}}.Encode())
	}
	f.Add(false, "wa=wsignin1.0&wtrealm=grafana&wctx=%22%3E&wfresh=0", "")
	f.Add(true, "wtrealm=grafana", "wtrealm=grafana&wctx=x%00")
	p := newProtocol(f, config())
	listed := []string{callback, other, grafana}
	f.Fuzz(func(t *testing.T, byForm bool, query, body string) {
		r := get(query)
		if byForm {
			r = post(query, body)
		}
		pending, err := p.Receive(r)
		if err != nil {
			if page, ok := errors.AsType[*web.Error](err); !ok || page.Status != http.StatusBadRequest {
				t.Errorf("error %v, want a page", err)
			}
			return
		}
		if pending.SignOut {
			if pending.ReturnTo != "" && !slices.Contains(listed, pending.ReturnTo) {
				t.Errorf("sign-out leads to %q", pending.ReturnTo)
			}
			return
		}
		a := reply(t, p, pending, jon())
		if !slices.Contains(listed, a.action) {
			t.Errorf("token goes to %q", a.action)
		}
		if sent := r.FormValue("wctx"); !byForm && a.fields["wctx"] != sent {
			t.Errorf("wctx %q came back as %q", sent, a.fields["wctx"])
		}
	})
}

func BenchmarkReply(b *testing.B) {
	p := newProtocol(b, config())
	id := jon()
	for b.Loop() {
		pending, err := p.Receive(get("wtrealm=grafana&wctx=rm%3D0%26id%3Dpassive"))
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Reply(httptest.NewRecorder(), nil, pending, id); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
}
