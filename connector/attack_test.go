package connector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"adconnector/connector/hub/hubtest"
)

// endpoints are all that a connector with every section answers, but for the
// static files.
func endpoints(r *rig) []struct{ method, path, kind, body string } {
	return []struct{ method, path, kind, body string }{
		{http.MethodGet, "/", "", ""},
		{http.MethodGet, strings.TrimPrefix(r.request(), r.url), "", ""},
		{http.MethodGet, "/wsfed?wa=wsignin1.0&wtrealm=" + hubtest.Realm, "", ""},
		{http.MethodPost, "/wsfed", asForm, url.Values{"wa": {"wsignin1.0"}, "wtrealm": {hubtest.Realm}}.Encode()},
		{http.MethodGet, "/wsfed/FederationMetadata/2007-06/FederationMetadata.xml", "", ""},
		{http.MethodPost, "/wsfed/direct", asForm, "client_id=c"},
		{http.MethodPost, "/wsfed/direct", asForm, "username=jon&password="},
		{http.MethodPost, "/wsfed/direct", asJSON, `{"username":"jon"}`},
		{http.MethodGet, "/users?criteria=jon", "", ""},
		{http.MethodGet, "/logout?returnTo=https://app.rig.test/", "", ""},
		{http.MethodGet, "/signin", "", ""},
		{http.MethodPost, "/signin", asForm, "username=jon&password="},
		{http.MethodPost, "/password", asForm, "username=jon&password="},
		{http.MethodPost, "/signout", asForm, ""},
		{http.MethodGet, "/resume?p=x", "", ""},
		{http.MethodGet, "/nothing", "", ""},
	}
}

// TestD10_HeadersThatNameAUserNameNobody: in no spelling, from nowhere, on no
// address of the service. There is no such header here.
func TestD10_HeadersThatNameAUserNameNobody(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "", "")
	names := []string{
		"X-Forwarded-User", "x-forwarded-user", "X_FORWARDED_USER", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Forwarded-Groups",
		"x-iisnode-logon_user", "X-Iisnode-Logon-User", "x-iisnode-auth_user", "LOGON_USER", "AUTH_USER", "REMOTE_USER", "Remote-User", "X-Remote-User",
		"X-Ms-Client-Principal-Name", "X-Auth-Request-User", "X-Authenticated-User", "X-Webauth-User", "Ssl_Client_S_DN_CN", "X-SSL-Client-CN", "X-Client-Cert",
	}
	var header []string
	for _, name := range names {
		header = append(header, name, "paul", name, "FABRIKAM\\paul", name, "paul@fabrikam.example")
	}
	header = append(header, "Authorization", "Negotiate TlRMTVNTUAAB", "X-Forwarded-For", inside.String(), "Forwarded", "for="+inside.String(), "X-Original-Url", "/users")
	for _, from := range []netip.Addr{outside, inside} {
		p := r.program(t, from)
		for _, e := range endpoints(r) {
			without := p.send(e.method, e.path, e.kind, e.body)
			r.audit.take()
			with := p.send(e.method, e.path, e.kind, e.body, header...)
			if with.status != without.status || with.header.Get("Location") == "" && len(with.body) != len(without.body) {
				t.Errorf("%s %s from %v: %d with headers and %d without", e.method, e.path, from, with.status, without.status)
			}
			if strings.Contains(with.body, "wresult") || strings.Contains(with.body, "paul@") || strings.Contains(with.body, `\paul`) {
				t.Errorf("%s %s from %v names somebody:\n%s", e.method, e.path, from, with.body)
			}
			lines := r.audit.take()
			if strings.Contains(lines, `"granted"`) || strings.Contains(lines, "paul") || strings.Contains(lines, `"remote"`) && !strings.Contains(lines, `"remote":"`+from.String()+`"`) {
				t.Errorf("%s %s from %v: audit\n%s", e.method, e.path, from, lines)
			}
		}
	}
}

// TestH6_NothingShowsTheRequest: what the Node.js connector and programs like it
// have for trying things out is not here, with any method, and what is not here
// tells nothing of what it was sent.
func TestH6_NothingShowsTheRequest(t *testing.T) {
	d := inMemory(t)
	r, _ := directRig(t, d, "", "")
	paths := []string{
		"/test-headers", "/test-iis", "/test", "/debug", "/debug/", "/debug/pprof/", "/debug/vars", "/headers", "/echo", "/trace", "/info", "/version", "/env", "/status",
		"/server-status", "/metrics", "/health", "/admin", "/config", "/config.json", "/export", "/logs", "/profile", "/users/jon", "/users/", "/logout/", "/hub",
		"/wsfed/", "/wsfed/direct/", "/wsfed/direct/x", "/wsfed/test-headers", "/WSFED/direct", "/ticket", "/p/ad/secret-ticket/info", "/certs/cert.key", "/adconnector.yaml",
		"/data/web.key", "/data/hub.json", "/static/../adconnector.yaml", "/static/%2e%2e/adconnector.yaml", "/.well-known/", "/favicon.ico/x",
	}
	p := r.program(t, outside)
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, "TRACE", http.MethodOptions} {
			got := p.send(method, path+"?canary-query=1", "text/plain", "canary-body", "X-Canary-Header", "canary-value", "Cookie", "canary=cookie")
			if got.status == http.StatusTemporaryRedirect || got.status == http.StatusMovedPermanently { // a cleaned path
				got = p.send(method, strings.ReplaceAll(got.header.Get("Location"), r.url, ""), "text/plain", "canary-body", "X-Canary-Header", "canary-value")
			}
			if got.status != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
			for name, values := range got.header {
				if strings.Contains(name+strings.Join(values, ""), "anary") {
					t.Errorf("%s %s: header %s: %q", method, path, name, values)
				}
			}
			if strings.Contains(got.body, "anary") {
				t.Errorf("%s %s shows what was sent:\n%s", method, path, got.body)
			}
		}
	}
	for _, e := range endpoints(r) {
		got := p.send(e.method, e.path, e.kind, e.body, "X-Canary-Header", "canary-value", "User-Agent", "canary-agent", "Cookie", "canary=cookie")
		if strings.Contains(got.body+fmt.Sprint(got.header), "canary") {
			t.Errorf("%s %s shows what was sent", e.method, e.path)
		}
	}
}

// forged are user names that would like to be lines of a log, or commands to the
// terminal of whoever reads it.
var forged = []string{
	"jon\nlevel=ERROR msg=forged result=granted",
	"jon\r\n{\"msg\":\"sign_in\",\"result\":\"granted\"}",
	`jon","result":"granted","x":"`,
	"\x1b[31mjon\x1b[0m\x07",
	"jon\u009b31m\u0085forged\u2028forged",
	"\u202enoj\u2066\u200f",
	"jon\x7f\x08\x08\x08amy",
}

// TestH5_NamesForgeNothing: each sign-in is one line of the audit trail, and
// every line of the log begins like one, whatever a name holds and by whatever
// road it comes.
func TestH5_NamesForgeNothing(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel() // refusals take their time
			d := inMemory(t)
			r, tenant := hubRig(t, d)
			r.configure("format: json", "format: "+format)
			r.configure("password: {}", "password: {throttle: {per_address: {failures: 1000, window: 15m}}}")
			r.start()
			c := next(t, tenant)
			p := r.program(t, outside)
			for _, name := range forged {
				for road, attempt := range map[string]func(name string){
					"form": func(name string) {
						if _, err := r.signIn(r.browser(outside, nil), name, "x"); err == nil {
							t.Error("let in")
						}
					},
					"hub":         func(name string) { login(t, tenant, c, name, "x") },
					"direct form": func(name string) { p.direct(name, "x") },
					"direct object": func(name string) {
						object, err := json.Marshal(map[string]string{"username": name, "password": "x"})
						if err != nil {
							t.Fatal(err)
						}
						p.send(http.MethodPost, "/wsfed/direct", asJSON, string(object))
					},
					"certificate": func(name string) { r.get(r.browser(inside, r.client(name)), r.request()) },
				} {
					r.audit.take()
					attempt(road + name) // no name twice: further refusals would take longer
					lines := slices.Collect(strings.Lines(r.audit.take()))
					var line struct{ Msg, Result string }
					if len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &line) != nil || line.Msg != "sign_in" || line.Result != "refused" {
						t.Errorf("%s, %q: audit %q", road, name, lines)
					}
					if i := strings.IndexFunc(strings.Join(lines, ""), commands); i >= 0 {
						t.Errorf("%s, %q: audit %q has something for terminals at %d", road, name, lines, i)
					}
				}
				// What else strangers can have written about.
				p.send(http.MethodGet, "/"+url.PathEscape(name), "", "")
				p.send(http.MethodGet, "/wsfed?"+url.Values{"wtrealm": {name}, "wreply": {name}}.Encode(), "", "")
				p.send(http.MethodPost, "/wsfed/direct?"+url.Values{"wtrealm": {name}}.Encode(), asForm, "username=jon&password=x")
				p.send(http.MethodGet, "/users", "", "", "Authorization", "Bearer "+strings.Map(visible, name))
				c.Send(t.Context(), name, map[string]string{"jwt": "x"})
				c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": name})
			}
			eventually(t, "nothing odd was logged", func() bool { return strings.Contains(r.log.String(), "a message was ignored") })
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			log := r.log.String()
			for line := range strings.Lines(log) {
				if format == "text" && !strings.HasPrefix(line, "time=") || format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("no line of the log: %q", line)
				}
			}
			if i := strings.IndexFunc(log, commands); i >= 0 {
				t.Errorf("the log has something for terminals: %q", log[max(0, i-80):min(len(log), i+80)])
			}
		})
	}
}

// visible puts a blank in the place of what no header of HTTP can have.
func visible(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// commands reports whether r is no part of plain text: a terminal may obey it, or
// show something else than there is.
func commands(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u200f' || r >= '\u2028' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// TestH7_EachInstallationHasSecretsOfItsOwn: they are made at the first start,
// and one that somebody has typed, or left from another program, stops it.
func TestH7_EachInstallationHasSecretsOfItsOwn(t *testing.T) {
	d := inMemory(t)
	made := map[string][][]byte{}
	for range 2 {
		r := newRig(t, d, "")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"web.key", "signing-keys.pem"} {
			data, err := os.ReadFile(r.path("data/" + file))
			if err != nil {
				t.Fatal(err)
			}
			made[file] = append(made[file], data)
		}
	}
	for file, secrets := range made {
		if len(secrets[0]) < 128 || bytes.Equal(secrets[0], secrets[1]) {
			t.Errorf("%s: %d bytes, the same in two installations: %t", file, len(secrets[0]), bytes.Equal(secrets[0], secrets[1]))
		}
	}
	for name, secret := range map[string]string{
		"default of the Node.js connector": "a1b2c3d4567", "its right length": strings.Repeat("a1b2c3d4", 4), "one letter": strings.Repeat("x", 128), "empty": "", "short by one": strings.Repeat("ab", 63) + "a",
	} {
		for _, file := range []string{"web.key", "signing-keys.pem"} {
			r := prepareRig(t, d, "")
			if err := os.Mkdir(r.path("data"), 0o700); err != nil {
				t.Fatal(err)
			}
			r.write("data/"+file, []byte(secret))
			if err := r.try(); err == nil || !strings.Contains(err.Error(), file) || len(secret) > 0 && strings.Contains(err.Error(), secret) {
				t.Errorf("%s as %s: %v", name, file, err)
			}
			if data, _ := os.ReadFile(r.path("data/" + file)); string(data) != secret {
				t.Errorf("%s as %s: it was replaced in silence", name, file)
			}
		}
	}
}
