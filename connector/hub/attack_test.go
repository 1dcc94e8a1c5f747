package hub_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/connector/hub"
	"adconnector/connector/private"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/testca"
)

// TestF7_CommandIsCarriedOutOnceUnderAnyEvent: the event is not signed. Who sees a
// sign-in that failed must not make another command of it, such as one that sets
// the password that was tried.
func TestF7_CommandIsCarriedOutOnceUnderAnyEvent(t *testing.T) {
	p := start(t, door(open))
	defer p.stop()
	c := p.next(t, 20*time.Second)
	jwt := p.tenant.Sign(map[string]any{"pid": "once", "username": "jon", "password": "x"})
	for _, event := range []string{"authenticate_user", "search_users", "list_groups", "change_password"} {
		c.Send(t.Context(), event, map[string]string{"jwt": jwt})
	}
	if f := <-c.Frames; f.Event != "once_result" {
		t.Errorf("event %q", f.Event)
	}
	p.tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "next", "username": "jon", "password": "x"})
	if f := <-c.Frames; f.Event != "next_result" {
		t.Errorf("a command was answered once more, as %q: %s", f.Event, f.Payload)
	}
}

// provision asks a tenant of a test by c.
func provision(t *testing.T, c hub.Config) (*hub.Settings, error) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Client("signs")
	if err != nil {
		t.Fatal(err)
	}
	base, _ := url.Parse("https://login.example.com")
	p, err := hub.NewProvisioner(c, dir, base)
	if err != nil {
		t.Fatal(err)
	}
	return p.Provision(t.Context(), leaf.Certificate)
}

// TestF8_TicketInClearStaysOnThisMachine: http:// is accepted because it leads no
// further. A proxy would be further.
func TestF8_TicketInClearStaysOnThisMachine(t *testing.T) {
	var asked, seen atomic.Int32
	tenant := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer tenant.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		http.NotFound(w, r)
	}))
	defer proxy.Close()
	_, err := provision(t, hub.Config{Ticket: secret.New(tenant.URL + "/p/ad/secret-ticket"), Proxy: proxy.URL})
	if err == nil || asked.Load() == 0 || seen.Load() != 0 {
		t.Errorf("the tenant was asked %d times, the proxy %d times: %v", asked.Load(), seen.Load(), err)
	}
}

// TestAnswersOfServersDoNotFillTheLog: what stands between may answer at length,
// and is asked again and again.
func TestAnswersOfServersDoNotFillTheLog(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("HTTP/1.1 599 " + strings.Repeat("x", 60_000) + "\r\n\r\n"))
		_ = c.Close()
	}))
	defer proxy.Close()
	_, err := provision(t, hub.Config{Ticket: secret.New("https://tenant.test/p/ad/secret-ticket"), Proxy: proxy.URL})
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}
