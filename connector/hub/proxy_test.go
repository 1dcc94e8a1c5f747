package hub_test

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"adconnector/connector/hub"
	"adconnector/connector/hub/hubtest"
	"adconnector/connector/private"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

// startProxy starts a proxy that demands a user and a password, with TLS if ca is
// not nil, and counts the tunnels it makes.
func startProxy(t *testing.T, ca *testca.CA) (address string, tunnels *atomic.Int32) {
	t.Helper()
	tunnels = &atomic.Int32{}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("svc:pa:ss wörd"))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != want {
			w.Header().Set("Proxy-Authenticate", "Basic")
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if r.Method != http.MethodConnect || err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		tunnels.Add(1)
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http"
	if ca != nil {
		leaf, err := ca.Server("localhost")
		if err != nil {
			t.Fatal(err)
		}
		scheme, ln = "https", tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12})
	}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return scheme + "://localhost:" + port, tunnels
}

func TestTenantIsReachedThroughProxies(t *testing.T) {
	tenant, err := hubtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tenant.Close)
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, tenant.CA.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := tenant.CA.Client("signs")
	if err != nil {
		t.Fatal(err)
	}
	base, _ := url.Parse("https://login.example.com/sso")
	for name, ca := range map[string]*testca.CA{"http": nil, "https": tenant.CA} {
		t.Run(name, func(t *testing.T) {
			address, tunnels := startProxy(t, ca)
			c := hub.Config{
				Ticket: secret.New(tenant.Ticket()), CAFiles: []setting.File{setting.File(caFile)},
				Proxy: address, ProxyUser: "svc", ProxyPassword: secret.New("pa:ss wörd"),
			}
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			provision := func() error {
				p, err := hub.NewProvisioner(c, dir, base)
				if err != nil {
					return err
				}
				_, err = p.Provision(t.Context(), leaf.Certificate)
				return err
			}
			if err := provision(); err != nil || tunnels.Load() == 0 {
				t.Errorf("%d tunnels: %v", tunnels.Load(), err)
			}
			c.ProxyPassword = secret.New("wrong")
			if err := provision(); err == nil || !strings.Contains(err.Error(), "hub.proxy_password_file") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("with a wrong password: %v", err)
			}
		})
	}
}

// TestProxyThatLetsNobodyThroughIsSaid: it is the proxy then that somebody has to
// look at, and not the tenant.
func TestProxyThatLetsNobodyThroughIsSaid(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer proxy.Close()
	_, err := provision(t, hub.Config{Ticket: secret.New("https://tenant.test/p/ad/secret-ticket"), Proxy: proxy.URL})
	if err == nil || !strings.Contains(err.Error(), "the proxy does not let this service through to tenant.test") || !strings.Contains(err.Error(), "403") {
		t.Errorf("%v", err)
	}
}

func TestConfigOfHub(t *testing.T) {
	good := hub.Config{Ticket: secret.New("https://tenant.example.com/p/ad/abc")}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct {
		change func(*hub.Config)
		want   string
	}{
		"no ticket":             {func(c *hub.Config) { c.Ticket = secret.String{} }, "ticket: is missing"},
		"F8 ticket in clear":    {func(c *hub.Config) { c.Ticket = secret.New("http://tenant.example.com/p/ad/abc") }, "ticket: must begin with https://"},
		"ticket without a path": {func(c *hub.Config) { c.Ticket = secret.New("https://tenant.example.com/") }, "ticket: is not a provisioning address"},
		"no address":            {func(c *hub.Config) { c.Ticket = secret.New("abc") }, "ticket: is not an address"},
		"proxy of a kind":       {func(c *hub.Config) { c.Proxy = "socks5://proxy:1080" }, "proxy: is not the address of an HTTP proxy"},
		"password in proxy":     {func(c *hub.Config) { c.Proxy = "http://u:" + "p@proxy:8080" }, "proxy: must not hold"},
		"user without proxy":    {func(c *hub.Config) { c.ProxyUser = "u" }, "proxy: is missing"},
	} {
		c := good
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
