package connector_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"adconnector/connector/hub/hubtest"

	"github.com/google/go-cmp/cmp"
)

// A program asks a rig over HTTPS, from an address.
type program struct {
	t      *testing.T
	r      *rig
	client *http.Client
}

func (r *rig) program(t *testing.T, from netip.Addr) *program {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	c := &http.Client{
		Transport: &http.Transport{
			DialContext:     dialer.DialContext,
			TLSClientConfig: &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(c.CloseIdleConnections)
	return &program{t, r, c}
}

const (
	asForm = "application/x-www-form-urlencoded"
	asJSON = "application/json"
)

// A response is what a program is answered.
type response struct {
	status int
	header http.Header
	body   string
}

// send sends a request and returns the answer. header holds names and values by
// turns.
func (p *program) send(method, path, kind, body string, header ...string) response {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.r.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header[header[i]] = append(request.Header[header[i]], header[i+1])
	}
	got, err := p.client.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	data, err := io.ReadAll(got.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	_, _ = p.r.pages.Write(data)
	return response{got.StatusCode, got.Header, string(data)}
}

// direct posts a form with a user name and a password.
func (p *program) direct(username, password string) response {
	p.t.Helper()
	form := url.Values{"username": {username}, "password": {password}}
	return p.send(http.MethodPost, "/wsfed/direct", asForm, form.Encode())
}

var (
	bareForm   = regexp.MustCompile(`(?s)^<form method="post" name="hiddenform" action="([^"]*)">(.*)</form>$`)
	hiddenOnes = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// formOf returns where a bare form goes and its fields.
func formOf(t *testing.T, body string) (action string, fields map[string]string) {
	t.Helper()
	m := bareForm.FindStringSubmatch(body)
	if m == nil || strings.Contains(body, "<script") {
		t.Fatalf("no bare form:\n%s", body)
	}
	fields = map[string]string{}
	for _, f := range hiddenOnes.FindAllStringSubmatch(m[2], -1) {
		fields[f[1]] = html.UnescapeString(f[2])
	}
	return html.UnescapeString(m[1]), fields
}

// directRig is a rig that knows its tenant.
func directRig(t *testing.T, d *directory, old, new string) (*rig, *hubtest.Tenant) {
	t.Helper()
	r, tenant := hubRig(t, d)
	if old != "" {
		r.configure(old, new)
	}
	r.start()
	next(t, tenant)
	return r, tenant
}

const wrongEmail = `{"invalid_user_password":"Wrong email or password."}`

func TestDirectSignInIsAnsweredAsTenantsKnowIt(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant := directRig(t, d, "", "")
			p := r.program(t, outside)
			object := fmt.Sprintf(`{"username":"jon", "password":%q, "client_id":"c1", "session":"mine", "scope":["openid"], "state":"a\"<&"}`, d.password)
			form := url.Values{"username": {"jon"}, "password": {d.password}, "client_id": {"c1"}, "state": {`a"<&`}}
			for kind, tt := range map[string]struct {
				body string
				want map[string]any
			}{
				asForm:                     {form.Encode(), map[string]any{"strategy": "ad", "client_id": "c1", "state": `a"<&`}},
				asJSON + "; charset=utf-8": {object, map[string]any{"strategy": "ad", "client_id": "c1", "state": `a"<&`, "scope": []any{"openid"}}},
			} {
				got := p.send(http.MethodPost, "/wsfed/direct?wtrealm="+url.QueryEscape(hubtest.Realm), kind, tt.body)
				if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
					t.Fatalf("%s: %d\n%s", kind, got.status, got.body)
				}
				action, fields := formOf(t, got.body)
				if action != hubtest.ReplyURL || fields["wa"] != "wsignin1.0" || len(fields) != 3 {
					t.Errorf("%s: to %s with %v", kind, action, fields)
				}
				var context map[string]any
				if err := json.Unmarshal([]byte(fields["wctx"]), &context); err != nil || !strings.HasPrefix(fields["wctx"], `{"strategy":"ad",`) || !strings.Contains(fields["wctx"], `"a\"<&"`) {
					t.Errorf("%s: wctx %s, %v", kind, fields["wctx"], err)
				}
				session, _ := context["session"].(string)
				delete(context, "session")
				if diff := cmp.Diff(tt.want, context); diff != "" {
					t.Errorf("%s: wctx (-want +got):\n%s", kind, diff)
				}
				if !strings.Contains(r.audit.String(), `"request_id":"`+session+`"`) {
					t.Errorf("%s: the session %q is not the reference of the sign-in", kind, session)
				}
				result := fields["wresult"]
				if !strings.Contains(result, "<saml:Audience>"+hubtest.Realm+"</saml:Audience>") {
					t.Errorf("%s: wrong audience in\n%s", kind, result)
				}
				if !holds(token(result).claim("groups"), d.groups) {
					t.Errorf("%s: groups %v, want %v", kind, token(result).claim("groups"), d.groups)
				}
				tenant.Lock()
				certificate := tenant.Posts[0].Certificates[0]
				tenant.Unlock()
				if v := judgedByTenant(t, result, certificate, hubtest.Realm); v.Error != "" || v.Profile["http://schemas.passportjs.com/nickname"] != d.nickname {
					t.Errorf("%s: the tenant's library says %v", kind, v)
				}
				for _, name := range []string{"Set-Cookie", "Access-Control-Allow-Origin"} {
					if got.header.Get(name) != "" {
						t.Errorf("%s: the answer has %s", kind, name)
					}
				}
			}
			if n := strings.Count(r.audit.String(), `"result":"granted","method":"password","via":"wsfed-direct","relying_party":"`+hubtest.Realm+`"`); n != 2 {
				t.Errorf("%d audit lines, want 2:\n%s", n, r.audit)
			}
			r.noSecrets(d.password)
		})
	}
}

// TestE6_DirectRefusalsLookAlike: whatever the reason, the answer is the one that
// tenants know, and there is an audit line with the true one.
func TestE6_DirectRefusalsLookAlike(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "password: {}", "password: {throttle: {per_account: {failures: 3, window: 15m}}}")
	p := r.program(t, outside)
	for _, tt := range []struct{ username, password, reason string }{
		{"nobody", "x", "bad_credentials"},
		{"jon", "wrong", "bad_credentials"},
		{"jon", "", "bad_credentials"},
		{"", d.password, "bad_credentials"},
		{d.disabled, d.password, "account_disabled"},
		{"amy", "1", "bad_credentials"},
		{"amy", "2", "bad_credentials"},
		{"amy", "3", "bad_credentials"},
		{"amy", d.password, "throttled"},
	} {
		r.audit.take()
		got := p.direct(tt.username, tt.password)
		if got.status != http.StatusUnauthorized || got.body != wrongEmail || !strings.HasPrefix(got.header.Get("Content-Type"), asJSON) {
			t.Errorf("%q with %q: %d %s", tt.username, tt.password, got.status, got.body)
		}
		if line := r.audit.take(); strings.Count(line, "\n") != 1 || !strings.Contains(line, `"reason":"`+tt.reason+`"`) || !strings.Contains(line, `"remote":"`+outside.String()+`"`) {
			t.Errorf("%q with %q: audit\n%s", tt.username, tt.password, line)
		}
	}
}

func TestDirectObeysThePasswordsAddresses(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "password: {}", fmt.Sprintf("password: {ip_ranges: [%s]}", inside))
	if got := r.program(t, outside).direct("jon", d.password); got.status != http.StatusForbidden || strings.Contains(got.body, "wresult") {
		t.Errorf("outside: %d\n%s", got.status, got.body)
	}
	if !strings.Contains(r.audit.String(), `"reason":"not_allowed_here"`) {
		t.Errorf("audit:\n%s", r.audit)
	}
	if got := r.program(t, inside).direct("jon", d.password); got.status != http.StatusOK {
		t.Errorf("inside: %d\n%s", got.status, got.body)
	}
}

// TestF1_DirectTokensGoToTheTenantOnly: neither another address nor another
// realm, not even one that is configured.
func TestF1_DirectTokensGoToTheTenantOnly(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "", "")
	p := r.program(t, outside)
	body := url.Values{"username": {"jon"}, "password": {d.password}, "wreply": {"https://evil.test/"}, "wtrealm": {realm}}.Encode()
	for query, status := range map[string]int{
		"":                                         http.StatusOK, // what the body says of addresses is context
		"wreply=" + hubtest.ReplyURL:               http.StatusOK,
		"wreply=https://evil.test/":                http.StatusBadRequest,
		"wreply=" + hubtest.ReplyURL + "/":         http.StatusBadRequest,
		"wreply=" + replyURL:                       http.StatusBadRequest,
		"wtrealm=" + realm:                         http.StatusBadRequest,
		"wtrealm=LDAP_BIND_PASSWORD":               http.StatusBadRequest,
		"wtrealm=" + realm + "&wreply=" + replyURL: http.StatusBadRequest,
		"wreply=" + hubtest.ReplyURL + "&wreply=https://evil.test/": http.StatusBadRequest,
	} {
		r.audit.take()
		got := p.send(http.MethodPost, "/wsfed/direct?"+query, asForm, body)
		if got.status != status || status != http.StatusOK && strings.Contains(got.body, "wresult") {
			t.Errorf("%s: %d, want %d", query, got.status, status)
			continue
		}
		if status != http.StatusOK {
			if line := r.audit.take(); !strings.Contains(line, `"reason":"bad_form"`) {
				t.Errorf("%s: audit %s", query, line)
			}
			continue
		}
		if action, _ := formOf(t, got.body); action != hubtest.ReplyURL {
			t.Errorf("%s: to %s", query, action)
		}
	}
}

// TestF4_NoPageSignsItsVisitorsInDirectly: a page of another site can neither try
// passwords from its visitors' addresses nor read an answer, and an answer is no
// way into a session.
func TestF4_NoPageSignsItsVisitorsInDirectly(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "", "")
	p := r.program(t, outside)
	body := url.Values{"username": {"jon"}, "password": {d.password}}.Encode()
	object := fmt.Sprintf(`{"username":"jon","password":%q}`, d.password)
	for name, header := range map[string][]string{
		"form of another site":    {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
		"script of another site":  {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Origin", "https://evil.test"},
		"neighbour":               {"Sec-Fetch-Site", "same-site"},
		"old browser":             {"Origin", "https://evil.test"},
		"page without an address": {"Origin", "null"},
	} {
		r.audit.take()
		for kind, body := range map[string]string{asForm: body, asJSON: object, "text/plain": object} {
			got := p.send(http.MethodPost, "/wsfed/direct", kind, body, header...)
			if got.status != http.StatusForbidden || strings.Contains(got.body, "wresult") {
				t.Errorf("%s, %s: %d", name, kind, got.status)
			}
		}
		if lines := r.audit.take(); strings.Count(lines, `"reason":"bad_form"`) != 3 || strings.Contains(lines, "jon") {
			t.Errorf("%s: audit\n%s", name, lines)
		}
	}
	got := p.send(http.MethodOptions, "/wsfed/direct", "", "", "Origin", "https://evil.test", "Access-Control-Request-Method", "POST")
	for name := range got.header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("a script is told %s", name)
		}
	}
	if got.status != http.StatusMethodNotAllowed {
		t.Errorf("OPTIONS: %d", got.status)
	}

	got = p.direct("jon", d.password)
	if len(got.header["Set-Cookie"]) > 0 {
		t.Errorf("cookies %q", got.header["Set-Cookie"])
	}
	var context struct{ Session string }
	_, fields := formOf(t, got.body)
	if err := json.Unmarshal([]byte(fields["wctx"]), &context); err != nil || context.Session == "" {
		t.Fatalf("%s: %v", fields["wctx"], err)
	}
	for _, cookie := range []string{"__Host-adconnector", "auth0-ad-conn", "connect.sess"} {
		if got := p.send(http.MethodGet, strings.TrimPrefix(r.request(), r.url), "", "", "Cookie", cookie+"="+context.Session); strings.Contains(got.body, "wresult") {
			t.Errorf("the session opens %s as %s", r.url, cookie)
		}
	}
}

func TestDirectTakesNothingButPlainRequests(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "", "")
	p := r.program(t, outside)
	form := url.Values{"username": {"jon"}, "password": {d.password}}
	for name, tt := range map[string]struct {
		query, kind, body string
		status            int
	}{
		"F4 password in the query": {"?" + form.Encode(), asForm, "x=1", http.StatusUnauthorized},
		"both in the query":        {"?" + form.Encode(), asJSON, "{}", http.StatusUnauthorized},
		"odd query":                {"?wreply=%zz", asJSON, fmt.Sprintf(`{"username":"jon","password":%q}`, d.password), http.StatusBadRequest},
		"large form":               {"", asForm, form.Encode() + "&x=" + strings.Repeat("x", 1<<17), http.StatusRequestEntityTooLarge},
		"large object":             {"", asJSON, `{"x":"` + strings.Repeat("x", 1<<17) + `"}`, http.StatusRequestEntityTooLarge},
		"long context":             {"", asForm, form.Encode() + "&x=" + strings.Repeat("x", 1<<14), http.StatusBadRequest},
		"no type":                  {"", "", form.Encode(), http.StatusUnsupportedMediaType},
		"text":                     {"", "text/plain", form.Encode(), http.StatusUnsupportedMediaType},
		"form with a piece":        {"", asForm, "username=jon&password=%zz", http.StatusBadRequest},
		"two names":                {"", asForm, "username=jon&username=amy&password=x", http.StatusBadRequest},
		"list":                     {"", asJSON, `[]`, http.StatusBadRequest},
		"null":                     {"", asJSON, `null`, http.StatusBadRequest},
		"nothing":                  {"", asJSON, ``, http.StatusBadRequest},
		"half":                     {"", asJSON, `{"username":"jon"`, http.StatusBadRequest},
		"more":                     {"", asJSON, `{} {}`, http.StatusBadRequest},
		"two passwords":            {"", asJSON, `{"username":"jon","password":"x","password":"y"}`, http.StatusBadRequest},
		"name is a list":           {"", asJSON, `{"username":["jon"],"password":"x"}`, http.StatusBadRequest},
		"password is null":         {"", asJSON, `{"username":"jon","password":null}`, http.StatusBadRequest},
		"not UTF-8":                {"", asJSON, "{\"username\":\"jon\xff\",\"password\":\"x\"}", http.StatusBadRequest},
		"deep":                     {"", asJSON, `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, http.StatusBadRequest},
		"names of other cases":     {"", asJSON, fmt.Sprintf(`{"USERNAME":"jon","Password":%q}`, "x"), http.StatusUnauthorized},
		"no XML":                   {"", asJSON, fmt.Sprintf(`{"username":"jon","password":%q,"x":"%s"}`, d.password, "\uFFFF"), http.StatusBadRequest},
	} {
		got := p.send(http.MethodPost, "/wsfed/direct"+tt.query, tt.kind, tt.body)
		if got.status != tt.status || strings.Contains(got.body, "wresult") {
			t.Errorf("%s: %d, want %d\n%s", name, got.status, tt.status, got.body)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if got := p.send(method, "/wsfed/direct?"+form.Encode(), "", ""); got.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, got.status)
		}
	}
	if strings.Contains(r.audit.String(), `"granted"`) {
		t.Error("somebody was let in")
	}
	r.noSecrets(d.password)
}

// TestDirectFaultsSayNothing: what is broken stands in the log, under the
// reference that the answer has.
func TestDirectFaultsSayNothing(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "", "")
	if err := d.memory.Close(); err != nil {
		t.Fatal(err)
	}
	got := r.program(t, outside).direct("jon", d.password)
	if got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "ldap") || strings.Contains(got.body, "localhost:") {
		t.Errorf("%d\n%s", got.status, got.body)
	}
	reference := regexp.MustCompile(`[A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4}`).FindString(got.body)
	if reference == "" || !strings.Contains(r.log.String(), reference) || !strings.Contains(r.audit.String(), `"request_id":"`+reference) {
		t.Errorf("reference %q is not in log and audit trail", reference)
	}
}

// TestDirectNeedsATenant: without a hub section there is no such address, and
// before the tenant is known nobody is asked for anything.
func TestDirectNeedsATenant(t *testing.T) {
	d := inMemory(t)
	r := newRig(t, d, "")
	if got := r.program(t, outside).direct("jon", d.password); got.status != http.StatusNotFound {
		t.Errorf("without a hub section: %d", got.status)
	}
	r, tenant := hubRig(t, d)
	tenant.Close()
	r.start()
	got := r.program(t, outside).direct("jon", d.password)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "not known yet") {
		t.Errorf("before the tenant is known: %d\n%s", got.status, got.body)
	}
}
