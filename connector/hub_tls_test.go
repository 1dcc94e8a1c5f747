package connector_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/testca"
)

// A middle stands between a connector and its tenant, as a proxy (CONNECT) or in
// the tenant's place. It passes everything on as it is, until it has a
// certificate of its own: then it opens the traffic, and whoever accepts the
// certificate is overheard.
type middle struct {
	address   string
	tenant    string
	own       atomic.Pointer[tls.Certificate]
	overheard atomic.Int32 // connections on which something came in clear

	mu    sync.Mutex
	conns map[net.Conn]bool
	gone  bool
}

func startMiddle(t *testing.T, tenant *hubtest.Tenant, proxy bool) *middle {
	t.Helper()
	u, err := url.Parse(tenant.URL)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{address: fmt.Sprintf("localhost:%d", ln.Addr().(*net.TCPAddr).Port), tenant: u.Host, conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { m.serve(c, proxy) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); m.cut(true); running.Wait() })
	return m
}

// cut ends all connections, and those to come if it is for good.
func (m *middle) cut(forGood bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = m.gone || forGood
	for c := range m.conns {
		_ = c.Close()
	}
}

func (m *middle) keep(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[c] = true
	return !m.gone
}

func (m *middle) serve(here net.Conn, proxy bool) {
	defer func() { _ = here.Close() }()
	if !m.keep(here) {
		return
	}
	if proxy {
		r, err := http.ReadRequest(bufio.NewReader(here))
		if err != nil || r.Method != http.MethodConnect {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	}
	there, err := net.Dial("tcp", m.tenant)
	if err != nil {
		return
	}
	defer func() { _ = there.Close() }()
	if !m.keep(there) {
		return
	}
	if own := m.own.Load(); own != nil {
		opened := tls.Server(here, &tls.Config{Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12})
		first := make([]byte, 1)
		if n, _ := opened.Read(first); n > 0 {
			m.overheard.Add(1)
		}
		return
	}
	go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
	_, _ = io.Copy(here, there)
}

// TestF9_WhoeverStandsBetweenIsNotTalkedTo: neither to ask for the settings nor
// by the WebSocket nor by a check, and each says whose certificate it was.
func TestF9_WhoeverStandsBetweenIsNotTalkedTo(t *testing.T) {
	for name, tt := range map[string]struct {
		proxy bool
		leaf  func(tenant *hubtest.Tenant) (*testca.Leaf, error)
		want  []string
	}{
		"wrong name": {false, func(tenant *hubtest.Tenant) (*testca.Leaf, error) {
			return tenant.CA.Server("other.example.com")
		}, []string{`"CN=other.example.com" by "CN=Tenant CA"`, "for another host"}},
		"unknown authority": {false, func(*hubtest.Tenant) (*testca.Leaf, error) {
			ca, err := testca.New("Nobody's CA")
			if err != nil {
				return nil, err
			}
			return ca.Server("localhost")
		}, []string{`"CN=localhost" by "CN=Nobody's CA"`, "hub.ca_files"}},
		"expired": {false, func(tenant *hubtest.Tenant) (*testca.Leaf, error) {
			return tenant.CA.Issue(&x509.Certificate{
				Subject: pkix.Name{CommonName: "old"}, DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
				NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
			}, nil)
		}, []string{`"CN=old" by "CN=Tenant CA"`, "expired"}},
		"for clients only": {false, func(tenant *hubtest.Tenant) (*testca.Leaf, error) {
			return tenant.CA.Client("localhost", func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} })
		}, []string{`"CN=localhost" by "CN=Tenant CA"`, "cannot be accepted"}},
		"proxy that opens the traffic": {true, func(*hubtest.Tenant) (*testca.Leaf, error) {
			ca, err := testca.New("Proxy CA")
			if err != nil {
				return nil, err
			}
			return ca.Server("localhost")
		}, []string{`"CN=localhost" by "CN=Proxy CA"`, "if a proxy opens the traffic", "hub.ca_files"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait
			r, tenant := hubRig(t, inMemory(t))
			m := startMiddle(t, tenant, tt.proxy)
			if tt.proxy {
				r.configure("ticket_file: ticket", "ticket_file: ticket, proxy: 'http://"+m.address+"'")
			} else {
				r.write("ticket", []byte(strings.Replace(tenant.Ticket(), m.tenant, m.address, 1)))
				tenant.Info["adHub"] = "https://" + m.address + "/hub"
			}
			leaf, err := tt.leaf(tenant)
			if err != nil {
				t.Fatal(err)
			}
			certificate := leaf.TLS()
			refuses := func(what, text string) {
				t.Helper()
				for _, want := range tt.want {
					if !strings.Contains(text, want) {
						t.Errorf("%s does not say %q:\n%s", what, want, text)
					}
				}
			}
			m.own.Store(&certificate)

			config, err := connector.LoadConfig(r.path("adconnector.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := connector.Provision(t.Context(), config); err == nil {
				t.Error("provisioning goes on")
			} else {
				refuses("provisioning", err.Error())
			}
			text, worst := r.findings()
			if worst != connector.Failure {
				t.Error("check finds nothing wrong")
			}
			refuses("check", text)

			// The WebSocket: what was right when it was made is not any more.
			m.own.Store(nil)
			r.start()
			c := next(t, tenant)
			m.own.Store(&certificate)
			r.log.take()
			m.cut(false)
			<-c.Closed
			var lines string
			eventually(t, "no line about the connection", func() bool {
				lines += r.log.take()
				return strings.Count(lines, "hub: not connected") > 1 // the first is about the one that was cut
			})
			for line := range strings.Lines(lines) {
				if strings.Contains(line, "hub: not connected") && strings.Contains(line, "showed") {
					refuses("the log", strings.ReplaceAll(line, `\"`, `"`))
				}
			}
			if !strings.Contains(lines, "showed") {
				t.Errorf("the log does not say what was shown:\n%s", lines)
			}
			if n := m.overheard.Load(); n > 0 {
				t.Errorf("%d connections were talked on", n)
			}
			m.own.Store(nil)
			next(t, tenant) // and comes back by itself
			if strings.Contains(lines, "secret-ticket") {
				t.Error("the ticket is in the log")
			}
		})
	}
}
