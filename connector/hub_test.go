package connector_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/connector/hub/hubtest"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// startTenant starts a tenant and puts its ticket and its authority into the
// rig's folder.
func startTenant(t testing.TB, r *rig) *hubtest.Tenant {
	t.Helper()
	tenant, err := hubtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tenant.Close)
	r.write("ticket", []byte(tenant.Ticket()+"\n"))
	r.write("tenant-ca.crt", tenant.CA.PEM())
	return tenant
}

const hubSection = "hub: {ticket_file: ticket, ca_files: [tenant-ca.crt]}\n"

// hubRig is a rig that is a connection of a tenant, not yet started.
func hubRig(t *testing.T, d *directory) (*rig, *hubtest.Tenant) {
	t.Helper()
	r := prepareRig(t, d, hubSection)
	return r, startTenant(t, r)
}

// next returns the next connection to the tenant's hub.
func next(t testing.TB, tenant *hubtest.Tenant) *hubtest.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := tenant.Next(ctx)
	if err != nil {
		t.Fatal("no connection to the hub:", err)
	}
	return c
}

// answer returns the payload of the next answer, which must be to pid.
func answer(t *testing.T, c *hubtest.Conn, event string) map[string]any {
	t.Helper()
	select {
	case f, ok := <-c.Frames:
		if !ok || f.Event != event {
			t.Fatalf("event %q (%t), want %q", f.Event, ok, event)
		}
		var p map[string]any
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		return p
	case <-time.After(20 * time.Second):
		t.Fatalf("no answer %s", event)
	}
	return nil
}

// ask sends a command and returns what is answered to it.
func ask(t *testing.T, tenant *hubtest.Tenant, c *hubtest.Conn, event, suffix string, claims map[string]any) map[string]any {
	t.Helper()
	claims = maps.Clone(claims)
	claims["pid"] = "pid-" + rand.Text()
	tenant.Command(t.Context(), c, event, claims)
	return answer(t, c, claims["pid"].(string)+suffix)
}

func login(t *testing.T, tenant *hubtest.Tenant, c *hubtest.Conn, username, password string) map[string]any {
	t.Helper()
	return ask(t, tenant, c, "authenticate_user", "_result", map[string]any{"username": username, "password": password})
}

// refused returns message and name of an answer that is an error.
func refused(p map[string]any) string {
	e, _ := p["err"].(map[string]any)
	return fmt.Sprint(e["message"], "/", e["name"])
}

func TestTenantsRealmIsConfiguredByTheTicket(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	c := next(t, tenant)
	tenant.Lock()
	posts := tenant.Posts
	tenant.Unlock()
	if len(posts) != 1 || !posts[0].AgentMode || posts[0].SignInEndpoint != r.url+"/wsfed" || len(posts[0].Certificates) != 1 {
		t.Fatalf("posted %+v", posts)
	}
	b := r.browser(outside, nil)
	request := r.url + "/wsfed?" + url.Values{"wa": {"wsignin1.0"}, "wtrealm": {hubtest.Realm}}.Encode()
	form, err := b.SignIn(t.Context(), request, "jon", d.password)
	if err != nil || form.Action != hubtest.ReplyURL {
		t.Fatalf("the tenant's realm: %+v, %v", form, err)
	}
	if text := form.Fields.Get("wresult"); !strings.Contains(text, posts[0].Certificates[0]) {
		t.Error("the token is not signed by the certificate that was posted")
	}
	r.mustSignIn(r.browser(outside, nil), "jon", d.password) // what the configuration says holds beside it

	var shown bytes.Buffer
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Show(&shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# ", hubtest.Realm, hubtest.ReplyURL, hubtest.Connection} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("config show lacks %q:\n%s", want, shown.String())
		}
	}
	_ = c.CloseNow()
	tenant.Close()

	// The tenant is gone; what it said last is enough for a new start.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if _, err := r.browser(outside, nil).SignIn(t.Context(), request, "jon", d.password); err != nil {
		t.Errorf("with the tenant gone: %v", err)
	}
}

// TestClocksThatAreApartAreWarnedOf: and nothing else comes of it.
func TestClocksThatAreApartAreWarnedOf(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	tenant.Lag = -20 * time.Second
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	connector.Check(t.Context(), config, func(f connector.Finding) { found = append(found, f.Level.Mark()+" "+f.Text) })
	if strings.Contains(strings.Join(found, "\n"), "ip_ranges does not apply") {
		t.Errorf("check:\n%s", found)
	}
	if text := strings.Join(found, "\n"); !strings.Contains(text, "✗ hub: the clock of this machine is 20s ahead of the tenant's") {
		t.Errorf("check:\n%s", text)
	}
	r.start()
	c := next(t, tenant)
	eventually(t, "no warning", func() bool { return strings.Contains(r.log.String(), "20s ahead of the tenant's") })
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
		t.Errorf("%v", p)
	}
}

func TestF8_TicketIsNowhere(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	login(t, tenant, next(t, tenant), "jon", d.password)
	tenant.Lock()
	tenant.Fail = func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.URL.Path, http.StatusBadGateway) }
	tenant.Unlock()
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = connector.Provision(t.Context(), config)
	if err == nil || strings.Contains(err.Error(), "secret-ticket") {
		t.Errorf("the error of a failing tenant: %v", err)
	}
	var shown bytes.Buffer
	_ = config.Show(&shown)
	if strings.Contains(shown.String(), "secret-ticket") {
		t.Error("config show has the ticket")
	}
	r.noSecrets("secret-ticket", d.password)
}

func TestProvisioningErrorsSayWhatToDo(t *testing.T) {
	r, tenant := hubRig(t, inMemory(t))
	fail := func(h http.HandlerFunc) { tenant.Lock(); tenant.Fail = h; tenant.Unlock() }
	for _, tt := range []struct {
		name, want string
		prepare    func()
	}{
		{"wrong ticket", "does not know this ticket", func() { fail(http.NotFound) }},
		{"captive proxy", "a proxy that wants somebody to sign in", func() {
			fail(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in") })
		}},
		{"redirect", "sends elsewhere", func() {
			fail(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://proxy.test/", http.StatusFound)
			})
		}},
		{"no hub", "the address of the hub", func() { fail(nil); tenant.Info["adHub"] = "http://hub.example.com" }},
		{"F9 certificate of a proxy", `"CN=localhost`, func() { r.write("tenant-ca.crt", r.ca.PEM()) }},
		{"unreachable", "cannot be reached", func() { r.write("ticket", []byte("https://localhost:1/p/ad/secret-ticket")) }},
	} {
		tt.prepare()
		config, err := connector.LoadConfig(r.path("adconnector.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connector.Provision(t.Context(), config); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret-ticket") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestHubCommandsAreAnsweredAsTenantsKnowIt(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant := hubRig(t, d)
			r.start()
			c := next(t, tenant)

			p := login(t, tenant, c, "jon", d.password)
			profile, _ := p["profile"].(map[string]any)
			if profile == nil || p["err"] != nil || profile["id"] == "" || profile["dn"] != profile["organizationUnits"] || profile["nickname"] != d.nickname {
				t.Errorf("right password: %v", p)
			}
			var groups []string
			for _, g := range profile["groups"].([]any) {
				groups = append(groups, g.(string))
			}
			if !holds(groups, d.groups) {
				t.Errorf("groups %v, want %v", groups, d.groups)
			}

			p = ask(t, tenant, c, "authenticate_user", "_result", map[string]any{"username": `\6a\6fn`, "password": d.password, "escaped": true})
			if p["profile"] == nil || p["err"] != nil {
				t.Errorf("escaped name: %v", p)
			}
			p = login(t, tenant, c, "jon", "wrong")
			about, _ := p["profile"].(map[string]any)
			if refused(p) != "Wrong password/WrongPassword" || about["id"] != profile["id"] {
				t.Errorf("wrong password: %v", p)
			}
			if p = login(t, tenant, c, "jon", ""); refused(p) != "Wrong password/WrongPassword" {
				t.Errorf("empty password: %v", p)
			}
			p = login(t, tenant, c, "nobody", "x")
			want := map[string]any{
				"err":     map[string]any{"message": "Wrong username", "username": "nobody", "name": "WrongUsername"},
				"profile": map[string]any{"username": "nobody"},
			}
			if diff := cmp.Diff(want, p); diff != "" {
				t.Errorf("unknown user (-want +got):\n%s", diff)
			}
			if p = login(t, tenant, c, d.disabled, d.password); refused(p) != "Account disabled/AccountDisabled" && refused(p) != "Account locked/AccountLocked" {
				t.Errorf("disabled account: %v", p)
			}

			p = ask(t, tenant, c, "search_users", "_search_users_result", map[string]any{"search": "jon", "limit": 5})
			users, _ := p["users"].([]any)
			if len(users) == 0 {
				t.Errorf("search: %v", p)
			}
			p = ask(t, tenant, c, "search_users", "_search_users_result", map[string]any{"search": "nobody at all"})
			if diff := cmp.Diff(map[string]any{"users": []any{}}, p); diff != "" {
				t.Errorf("search for nobody: %s", diff)
			}
			p = ask(t, tenant, c, "list_groups", "_list_groups_result", map[string]any{"limit": 2})
			if list, _ := p["groups"].([]any); len(list) != 2 {
				t.Errorf("two groups: %v", p)
			}
			if n := strings.Count(r.audit.String(), `"via":"hub"`); n != 6 {
				t.Errorf("%d audit lines of the hub, want 6", n)
			}
			r.noSecrets(d.password, "secret-ticket")
		})
	}
}

// TestF6F7_OddCommandsAreIgnored: whatever is not a fresh command of the tenant
// is not answered, and the connection goes on.
func TestF6F7_OddCommandsAreIgnored(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	c := next(t, tenant)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(more map[string]any) map[string]any {
		m := map[string]any{"pid": "odd", "username": "jon", "password": d.password}
		maps.Copy(m, more)
		return m
	}
	now := time.Now().Unix()
	timed := claims(map[string]any{"iat": now, "exp": now + 60})
	forged := &hubtest.Tenant{Key: other}
	good := tenant.Sign(claims(nil))
	parts := strings.Split(good, ".")
	altered := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(payload(t, good), `"jon"`, `"amy"`, 1))) + "." + parts[2]
	for name, token := range map[string]string{
		"F6 alg none":           hubtest.JWT(map[string]any{"alg": "none"}, maps.Clone(timed), func([]byte) []byte { return nil }),
		"F6 HS256, public key":  hubtest.JWT(map[string]any{"alg": "HS256"}, maps.Clone(timed), hs256(tenant.SigningKey())),
		"F6 HS256, empty key":   hubtest.JWT(map[string]any{"alg": "HS256"}, maps.Clone(timed), hs256("")),
		"F6 other key":          forged.Sign(claims(nil)),
		"F6 altered":            altered,
		"F6 expired":            tenant.Sign(claims(map[string]any{"iat": now - 120, "exp": now - 60})),
		"F6 no exp":             tenant.Sign(claims(map[string]any{"exp": nil})),
		"F6 no iat":             tenant.Sign(claims(map[string]any{"iat": nil})),
		"F6 long life, old":     tenant.Sign(claims(map[string]any{"iat": now - 3600, "exp": now + 3600})),
		"F6 from the future":    tenant.Sign(claims(map[string]any{"iat": now + 3600, "exp": now + 3660})),
		"F6 not before":         tenant.Sign(claims(map[string]any{"nbf": now + 3600})),
		"F7 other connection":   tenant.Sign(claims(map[string]any{"aud": "urn:auth0:other"})),
		"F7 no pid":             tenant.Sign(claims(map[string]any{"pid": nil})),
		"F7 pid is an object":   tenant.Sign(claims(map[string]any{"pid": map[string]any{}})),
		"F7 garbage":            "a.b.c",
		"F7 empty":              "",
		"F7 other form of JWS":  `{"payload":"x"}`,
		"F7 username is a list": tenant.Sign(claims(map[string]any{"username": []string{"jon"}})),
	} {
		before := r.log.String()
		c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": token})
		eventually(t, name+": no line in the log", func() bool {
			return strings.Count(r.log.String()[len(before):], "a message was ignored") == 1
		})
	}
	for name, text := range map[string]string{
		"F7 no JSON": "{", "F7 no event": "{}", "F7 list": "[1]", "F7 unknown event": `{"n":"reboot","p":{}}`, "F7 payload of a kind": `{"n":"authenticate_user","p":7}`,
		"F7 large": `{"n":"authenticate_user","p":{"jwt":"` + strings.Repeat("x", 1<<20) + `"}}`,
	} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte{0xff, 0}); err != nil {
		t.Fatal(err)
	}

	// The good one is answered, once.
	for range 3 {
		c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": good})
	}
	if p := answer(t, c, "odd_result"); p["err"] != nil {
		t.Errorf("the good one: %v", p)
	}
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil { // the next answer is to the next command
		t.Errorf("after that: %v", p)
	}
	if n := strings.Count(r.audit.String(), `"via":"hub"`); n != 2 {
		t.Errorf("%d attempts went through the door, want 2", n)
	}
}

// TestUsersAreForTheTenant: GET /users answers who shows a token of the tenant's,
// which is none of a command.
func TestUsersAreForTheTenant(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	next(t, tenant)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged, now := &hubtest.Tenant{Key: other}, time.Now().Unix()
	for name, tt := range map[string]struct {
		bearer string
		status int
		body   string
	}{
		"none":               {"", http.StatusForbidden, "Forbidden\n"},
		"forged":             {forged.Sign(nil), http.StatusUnauthorized, "Unauthorized\n"},
		"F6 alg none":        {hubtest.JWT(map[string]any{"alg": "none"}, map[string]any{"iat": now, "exp": now + 60}, func([]byte) []byte { return nil }), http.StatusUnauthorized, "Unauthorized\n"},
		"of a command":       {tenant.Sign(map[string]any{"pid": "1"}), http.StatusUnauthorized, "Unauthorized\n"},
		"without an end":     {tenant.Sign(map[string]any{"exp": nil}), http.StatusUnauthorized, "Unauthorized\n"},
		"over":               {tenant.Sign(map[string]any{"iat": now - 90, "exp": now - 30}), http.StatusUnauthorized, "Unauthorized\n"},
		"the tenant's":       {tenant.Sign(nil), http.StatusOK, `"nickname":"jon"`},
		"of another tenancy": {tenant.Sign(map[string]any{"aud": "urn:other"}), http.StatusUnauthorized, "Unauthorized\n"},
	} {
		if status, body := users(t, r, tt.bearer); status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s: %d, %q", name, status, body)
		}
	}
	if status, _ := usersBy(t, r, "bearer "+tenant.Sign(nil)); status != http.StatusOK { // RFC 9110, 11.1
		t.Errorf("scheme in lower case: %d", status)
	}
}

func payload(t *testing.T, token string) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func hs256(key string) func([]byte) []byte {
	return func(data []byte) []byte {
		h := hmac.New(sha256.New, []byte(key))
		h.Write(data)
		return h.Sum(nil)
	}
}

func TestF7_ThousandCommandsAtOnceAreAnswered(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.configure("  base_dn:", "  timeout: 1m # a busy machine is no fault of the directory\n  base_dn:")
	r.start()
	c := next(t, tenant)
	const all = 1000
	for i := range all {
		tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": fmt.Sprint(i), "username": "jon", "password": d.password})
	}
	seen := map[string]bool{}
	deadline := time.After(2 * time.Minute)
	for len(seen) < all {
		select {
		case f, ok := <-c.Frames:
			if !ok {
				t.Fatalf("the connection ended: %v", c.Err)
			}
			if bytes.Contains(f.Payload, []byte(`"err"`)) || seen[f.Event] {
				t.Fatalf("%s: %s", f.Event, f.Payload)
			}
			seen[f.Event] = true
		case <-deadline:
			t.Fatalf("%d of %d were answered", len(seen), all)
		}
	}
}

func TestHubComesBack(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	for range 3 {
		c := next(t, tenant)
		if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
			t.Errorf("after a new connection: %v", p)
		}
		_ = c.CloseNow()
	}
	c := next(t, tenant)
	c.Send(t.Context(), "authentication_failure", nil)
	<-c.Closed
	eventually(t, "no line about the refusal", func() bool { return strings.Contains(r.log.String(), "authentication_failure") })
	r.mustSignIn(r.browser(outside, nil), "jon", d.password) // nothing else is affected
}

// TestHubEndsInOrder: what is being answered is answered before the connection
// is closed.
func TestHubEndsInOrder(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	c := next(t, tenant)
	tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "last", "username": "jon", "password": "wrong"})
	eventually(t, "the command is being answered", func() bool { return c.Ping(t.Context()) == nil })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if p := answer(t, c, "last_result"); refused(p) != "Wrong password/WrongPassword" {
		t.Errorf("%v", p)
	}
	<-c.Closed
	if s := websocket.CloseStatus(c.Err); s != websocket.StatusNormalClosure {
		t.Errorf("closed with %v: %v", s, c.Err)
	}
}

// TestGuessesThroughTheHubKeepNobodyElseOut: the tenant is no address to be
// counted, but each name is, and whoever guesses one is not told that it is
// counted.
func TestGuessesThroughTheHubKeepNobodyElseOut(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.configure("password: {}", "password: {ip_ranges: [192.0.2.0/24], throttle: {per_account: {failures: 3, window: 15m}, per_address: {failures: 10, window: 15m}}}")
	r.start()
	c := next(t, tenant)
	const all = 30
	for i := range all {
		tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": fmt.Sprint("guess-", i), "username": fmt.Sprint("nobody-", i), "password": "x"})
	}
	for range all {
		if f := <-c.Frames; !bytes.Contains(f.Payload, []byte("Wrong username")) {
			t.Errorf("%s: %s", f.Event, f.Payload)
		}
	}
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
		t.Errorf("after %d failures for others: %v", all, p)
	}
	for range 5 {
		if p := login(t, tenant, c, "amy", "wrong"); refused(p) != "Wrong password/WrongPassword" {
			t.Errorf("a guess: %v", p)
		}
	}
	if p := login(t, tenant, c, "amy", d.password); refused(p) != "Wrong password/WrongPassword" {
		t.Errorf("the right password after too many wrong ones: %v", p)
	}
	if n := strings.Count(r.audit.String(), `"reason":"throttled"`); n == 0 {
		t.Error("nothing was throttled")
	}
}

// TestHubNeedsSignInByPassword: who has turned it off has done so for the hub
// as well.
func TestHubNeedsSignInByPassword(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.configure("password: {}\n", "")
	r.start()
	if p := login(t, tenant, next(t, tenant), "jon", d.password); refused(p) != "Unexpected Error/<nil>" {
		t.Errorf("%v", p)
	}
	if !strings.Contains(r.audit.String(), `"reason":"not_allowed_here"`) {
		t.Error("the audit trail does not say why")
	}
}

// TestLogoutGoesNowhereElse: /logout ends the session and redirects to listed
// addresses only.
func TestLogoutGoesNowhereElse(t *testing.T) {
	d := inMemory(t)
	r, _ := hubRig(t, d)
	r.configure("tenant-ca.crt]", "tenant-ca.crt], logout_urls: [\"https://app.rig.test/bye\"]")
	r.start()
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	for to, want := range map[string]string{
		"https://app.rig.test/bye": "https://app.rig.test/bye", "https://app.rig.test/bye2": "", "https://evil.test/": "", "": "", "//evil.test": "",
	} {
		response, err := client.Get(r.url + "/logout?" + url.Values{"returnTo": {to}}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Location"); got != want || response.StatusCode >= 400 {
			t.Errorf("%q: %s to %q, want %q", to, response.Status, got, want)
		}
	}
}

// TestH8_WhatATenantSaysHoldsAsAWholeOrNotAtAll: an answer of which a part cannot
// be used, or not safely, changes nothing.
func TestH8_WhatATenantSaysHoldsAsAWholeOrNotAtAll(t *testing.T) {
	r, tenant := hubRig(t, inMemory(t))
	r.write("ticket", []byte(tenant.Ticket()))
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connector.Provision(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	before, err := config.TenantSettings()
	if err != nil || before == nil {
		t.Fatal(err)
	}
	good := maps.Clone(tenant.Info)
	says := func(name, urls string) map[string]any { return map[string]any{"name": name, "postTokenUrl": urls} }
	long := strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		name, key string
		value     any
	}{
		{"reply URL of a script", "realm", says(hubtest.Realm, "javascript:alert(1)")},
		{"reply URL in clear", "realm", says(hubtest.Realm, "http://app.example.com/callback")},
		{"one of two reply URLs", "realm", says(hubtest.Realm, hubtest.ReplyURL+",https://u@app.example.com/")},
		{"a thousand reply URLs", "realm", says(hubtest.Realm, strings.TrimSuffix(strings.Repeat(hubtest.ReplyURL+",", 1000), ","))},
		{"audience of another relying party", "realm", says(strings.TrimPrefix(realm, "urn:"), "https://thief.example.com/")},
		{"realm with a new line", "realm", says("urn:a\nb", hubtest.ReplyURL)},
		{"long realm", "realm", says("urn:"+long, hubtest.ReplyURL)},
		{"long connection", "connectionName", long},
		{"connection that speaks to the terminal", "connectionName", "rig\x1b[2J"},
		{"domain that is none", "connectionDomain", "a b\x00"},
		{"hub in clear on this machine", "adHub", "http://127.0.0.1:80/"},
		{"hub of the cloud's own", "adHub", "http://169.254.169.254/"},
	} {
		tenant.Lock()
		tenant.Info = maps.Clone(good)
		tenant.Info[tt.key] = tt.value
		tenant.Unlock()
		if _, err := connector.Provision(t.Context(), config); err == nil || len(err.Error()) > 2000 {
			t.Errorf("%s: %.300v", tt.name, err)
		}
		if after, err := config.TenantSettings(); err != nil || cmp.Diff(before, after) != "" {
			t.Errorf("%s: %v\n%.2000s", tt.name, err, cmp.Diff(before, after))
		}
	}

	// A tenant without addresses for tokens sends no browsers, and has a hub.
	tenant.Lock()
	tenant.Info = maps.Clone(good)
	tenant.Info["realm"] = says(hubtest.Realm, "")
	tenant.Unlock()
	r.start()
	if p := login(t, tenant, next(t, tenant), "nobody", "x"); refused(p) != "Wrong username/WrongUsername" {
		t.Errorf("%v", p)
	}

	// What the tenant of another ticket said is nothing that this one said.
	r.write("ticket", []byte(tenant.URL+"/p/ad/another-ticket"))
	if config, err = connector.LoadConfig(r.path("adconnector.yaml")); err != nil {
		t.Fatal(err)
	}
	if s, err := config.TenantSettings(); s != nil || err != nil {
		t.Errorf("by another ticket: %+v, %v", s, err)
	}
}

// TestWhatTheTenantSignsWithIsShown: whoever looks for it must see which key it is,
// and that it is another one.
func TestWhatTheTenantSignsWithIsShown(t *testing.T) {
	r, tenant := hubRig(t, inMemory(t))
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := connector.Provision(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&tenant.Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := fmt.Sprintf("%x", sha256.Sum256(der))
	var shown bytes.Buffer
	if err := connector.WriteTenantSettings(&shown, "", s); err != nil || !strings.Contains(shown.String(), fingerprint) || !strings.Contains(shown.String(), "issuer: urn:"+hubtest.Domain) {
		t.Errorf("%v\n%s", err, shown.String())
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tenant.Lock()
	tenant.Key = other
	tenant.Unlock()
	r.start()
	eventually(t, "no warning of another key", func() bool {
		return strings.Contains(r.log.String(), "another key") && strings.Contains(r.log.String(), fingerprint)
	})
}

// TestRangesThatTheTenantPassesByAreWarnedOf: who limits passwords to some networks
// must know that the tenant's page is another way in.
func TestRangesThatTheTenantPassesByAreWarnedOf(t *testing.T) {
	r, _ := hubRig(t, inMemory(t))
	config, err := os.ReadFile(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("adconnector.yaml", bytes.Replace(config, []byte("password: {}"), []byte("password: {ip_ranges: [10.0.0.0/8]}"), 1))
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	connector.Check(t.Context(), c, func(f connector.Finding) { found = append(found, f.Level.Mark()+" "+f.Text) })
	if text := strings.Join(found, "\n"); !strings.Contains(text, "! hub: password.ip_ranges does not apply") {
		t.Errorf("check:\n%s", text)
	}
}

// TestSearchLeavesOutWhoseClaimsFail: people can change much of their own entries. One
// of whom nothing can be said must not keep the tenant from finding the others.
func TestSearchLeavesOutWhoseClaimsFail(t *testing.T) {
	d := inMemory(t)
	r := prepareRig(t, d, hubSection+"profile: {level: 'username == \"amy\" ? string(int(sn)) : \"1\"'}\n")
	tenant := startTenant(t, r)
	r.start()
	c := next(t, tenant)
	p := ask(t, tenant, c, "search_users", "_search_users_result", map[string]any{"search": ""})
	users, _ := p["users"].([]any)
	if len(users) < 3 || strings.Contains(fmt.Sprint(users), "nickname:amy") {
		t.Errorf("found %v", p)
	}
	if n := strings.Count(r.log.String(), "profile.level cannot be worked out"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestListsForTheTenantAreLogged: a list of everybody is not given away without a
// trace.
func TestListsForTheTenantAreLogged(t *testing.T) {
	r, tenant := hubRig(t, inMemory(t))
	r.start()
	c := next(t, tenant)
	ask(t, tenant, c, "search_users", "_search_users_result", map[string]any{"search": "jon"})
	ask(t, tenant, c, "list_groups", "_list_groups_result", map[string]any{"limit": 2})
	if status, _ := users(t, r, tenant.Sign(nil)); status != http.StatusOK {
		t.Fatal(status)
	}
	for _, want := range []string{
		`"msg":"hub: people were listed for the tenant","found":1,"reference":`,
		`"msg":"hub: groups were listed for the tenant","found":2,"reference":`,
		`"msg":"hub: people were listed for the tenant","found":1,"remote":"127.0.0.1"`,
	} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

// TestF7_StrangersDoNotHideWhatTheHubSends: anybody can ask GET /users without
// being the tenant, but not use up the lines that odd messages of the hub have.
func TestF7_StrangersDoNotHideWhatTheHubSends(t *testing.T) {
	r, tenant := hubRig(t, inMemory(t))
	r.start()
	c := next(t, tenant)
	for range 60 {
		if status, _ := users(t, r, "x.y.z"); status != http.StatusUnauthorized {
			t.Fatal(status)
		}
	}
	if n := strings.Count(r.log.String(), "GET /users"); n < 1 || n > 40 {
		t.Errorf("%d lines of strangers", n)
	}
	c.Send(t.Context(), "reboot", map[string]any{})
	eventually(t, "no line of the hub", func() bool { return strings.Contains(r.log.String(), "reboot") })
}

// users asks GET /users with a bearer.
func users(t *testing.T, r *rig, bearer string) (status int, body string) {
	t.Helper()
	if bearer != "" {
		bearer = "Bearer " + bearer
	}
	return usersBy(t, r, bearer)
}

// usersBy is users with the whole of the header.
func usersBy(t *testing.T, r *rig, authorization string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/users?criteria=jon&limit=3", nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12}}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}
