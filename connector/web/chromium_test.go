package web_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"adconnector/connector/signin"
	"adconnector/connector/web"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/testca"
)

// internet is what the browser can reach: the connector, an application on
// another site, which posts to the connector and is posted to, and a third site
// to which the application sends people on.
type internet struct {
	login http.Handler

	mu    sync.Mutex
	notes []string
}

func (n *internet) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, fmt.Sprintf(format, args...))
}

// taken returns what was noted since the last time.
func (n *internet) taken() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	notes := strings.Join(n.notes, "; ")
	n.notes = nil
	return notes
}

func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Host + r.URL.Path {
	case "app.example/favicon.ico", "third.example/favicon.ico":
	case "app.example/start":
		fmt.Fprint(w, `<title>app</title><form method="post" action="https://login.test/echo"><input name="state" value="42"><button id="go">go</button></form>`)
	case "app.example/acs":
		n.note("app: %s by %s, state %s, origin %s, referrer %s",
			r.PostFormValue("user"), r.PostFormValue("by"), r.PostFormValue("state"), r.Header.Get("Origin"), r.Referer())
		http.Redirect(w, r, "https://third.example/done", http.StatusSeeOther)
	case "third.example/done":
		fmt.Fprint(w, `<title>done</title><p id="done">done</p>`)
	case "login.test/signin", "login.test/signout":
		n.note("%s: origin %s, fetch site %s", r.URL.Path, r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site"))
		n.login.ServeHTTP(w, r)
	default:
		n.login.ServeHTTP(w, r)
	}
}

// A real browser has the last word on cookies, policies and what it sends where.
func TestChromium(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		dirtest.Missing(t, "no chromium: %v", err)
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		dirtest.Missing(t, "chromium does not start: %v", err)
	}
	dirtest.Using(t, "%s", strings.TrimSpace(string(version)))
	n := &internet{}
	s := newSite(t, func(o *web.Options) {
		o.Log = slog.New(slog.DiscardHandler)
		o.Service = door(func(a signin.Attempt) (*signin.Identity, error) {
			n.note("%s", a.Credential.Method())
			if c, ok := a.Credential.(signin.Session); ok {
				return c.Identity, nil
			}
			return &signin.Identity{ID: "1", Username: "jon", AuthenticatedBy: a.Credential.Method(), AuthenticatedAt: time.Now()}, nil
		})
	})
	n.login = s.server.Handler()

	ca, err := testca.New("Web CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Server("login.test", "app.example", "third.example")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(n)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	defer server.Close()

	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(leaf.Certificate.RawSubjectPublicKeyInfo)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1:"+port),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])))...)
	defer stop()
	tab, closeTab := chromedp.NewContext(allocator)
	defer closeTab()
	ctx, cancel := context.WithTimeout(tab, 30*time.Second)
	defer cancel()
	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v (%s)", what, err, n.taken())
		}
	}
	// The first call starts the browser, which lives as long as its context.
	if err := chromedp.Do(tab, chromedp.Navigate("https://app.example/start")); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*cdplog.EventEntryAdded); ok {
			n.note("browser: %s", e.Entry.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	const inOrigin = "origin https://login.test, fetch site same-origin"
	const app = "state 42, origin https://login.test, referrer https://login.test/"

	do("password", chromedp.Click("#go"), chromedp.SendKeys("#username", "jon"), chromedp.SendKeys("#password", canary),
		chromedp.Click("button"), chromedp.WaitVisible("#done"))
	if got, want := n.taken(), "/signin: "+inOrigin+"; password; app: jon by password, "+app; got != want {
		t.Errorf("password:\n%s, want\n%s", got, want)
	}

	// The application's form comes without the session, the redirect with it.
	do("session", chromedp.Navigate("https://app.example/start"), chromedp.Click("#go"), chromedp.WaitVisible("#done"))
	if got, want := n.taken(), "session; app: jon by password, "+app; got != want {
		t.Errorf("session:\n%s, want\n%s", got, want)
	}

	do("sign-out", chromedp.Navigate("https://login.test/"), chromedp.Click("button"), chromedp.WaitVisible(`a[href="/"]`))
	if got, want := n.taken(), "session; /signout: "+inOrigin; got != want {
		t.Errorf("sign-out:\n%s, want\n%s", got, want)
	}

	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	do("without scripts, form", chromedp.Navigate("https://login.test/echo?state=42"), chromedp.SendKeys("#username", "jon"), chromedp.SendKeys("#password", canary))
	// By keyboard: Enter sends the form, Tab and Enter press the button.
	for _, press := range []string{"\r", "\t\r"} {
		if _, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(press)); err != nil {
			t.Fatalf("without scripts, %q: %v (%s)", press, err, n.taken())
		}
	}
	if got, want := n.taken(), "/signin: "+inOrigin+"; password; app: jon by password, "+app; got != want {
		t.Errorf("without scripts:\n%s, want\n%s", got, want)
	}
}
