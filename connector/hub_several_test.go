package connector_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"adconnector/connector/browser"
	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/testca"
)

// several are two rigs that are connections of one tenant by the same ticket.
func several(t *testing.T, keeps bool, prepare func(r *rig)) (rigs [2]*rig, tenant *hubtest.Tenant) {
	t.Helper()
	d := inMemory(t)
	for i := range rigs {
		rigs[i] = prepareRig(t, d, hubSection)
	}
	tenant = startTenant(t, rigs[0])
	tenant.Keeps = keeps
	rigs[1].write("ticket", []byte(tenant.Ticket()+"\n"))
	rigs[1].write("tenant-ca.crt", tenant.CA.PEM())
	for _, r := range rigs {
		prepare(r)
	}
	return rigs, tenant
}

// keepKey returns what makes rigs sign with one key that the operator keeps.
func keepKey(t *testing.T) func(*rig) {
	t.Helper()
	key, err := rsa.GenerateKey(nil, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := testca.NewWithKey("kept", key)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *rig) {
		r.write("signing.crt", ca.PEM())
		r.write("signing.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
		r.configure("password: {}\n", "password: {}\nsigning: {cert_file: signing.crt, key_file: signing.key}\n")
	}
}

// TestSeveralServicesAreOneConnection: side by side, with one key or, if the
// tenant keeps all of them, with a key each. Commands to either are answered, and
// one goes on when the other ends.
func TestSeveralServicesAreOneConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		keeps   bool
		prepare func(*rig)
		posted  int // different certificates
	}{
		"one key":    {false, keepKey(t), 1},
		"a key each": {true, func(*rig) {}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			rigs, tenant := several(t, tt.keeps, tt.prepare)
			var conns [2]*hubtest.Conn
			for i, r := range rigs {
				r.start()
				conns[i] = next(t, tenant)
			}
			tenant.Lock()
			certificates := map[string]bool{}
			for _, p := range tenant.Posts {
				certificates[p.Certificates[0]] = true
			}
			tenant.Unlock()
			if len(certificates) != tt.posted {
				t.Errorf("%d certificates were posted, want %d", len(certificates), tt.posted)
			}
			for i, c := range conns {
				if p := login(t, tenant, c, "amy", memdir.SamplePassword); p["err"] != nil {
					t.Errorf("%d: %v", i, p)
				}
			}

			// One ends; the other does not notice.
			if err := rigs[0].stop(); err != nil {
				t.Fatal(err)
			}
			<-conns[0].Closed
			if p := login(t, tenant, conns[1], "amy", memdir.SamplePassword); p["err"] != nil {
				t.Errorf("after the other's end: %v", p)
			}
			rigs[0].start()
			if p := login(t, tenant, next(t, tenant), "amy", memdir.SamplePassword); p["err"] != nil {
				t.Errorf("back again: %v", p)
			}
			if p := login(t, tenant, conns[1], "amy", memdir.SamplePassword); p["err"] != nil {
				t.Errorf("with the other back: %v", p)
			}
		})
	}
}

// TestATenantThatKeepsOneCertificateIsToldAgain: with a key each, whoever comes
// last is known; the other is refused when it comes again, and says who it is.
func TestATenantThatKeepsOneCertificateIsToldAgain(t *testing.T) {
	rigs, tenant := several(t, false, func(*rig) {})
	rigs[0].start()
	first := next(t, tenant)
	tenant.Lock()
	mine := tenant.Posts[0].Certificates[0]
	tenant.Unlock()
	rigs[1].start()
	second := next(t, tenant)
	for i, c := range []*hubtest.Conn{first, second} { // connections that stand are left alone
		if p := login(t, tenant, c, "jon", memdir.SamplePassword); p["err"] != nil {
			t.Errorf("%d: %v", i, p)
		}
	}
	_ = first.CloseNow()
	eventually(t, "the certificate is posted again", func() bool {
		tenant.Lock()
		defer tenant.Unlock()
		return len(tenant.Posts) > 2 && tenant.Posts[len(tenant.Posts)-1].Certificates[0] == mine
	})
	if !strings.Contains(rigs[0].log.String(), "authentication_failure") {
		t.Error("the log does not say that the hub refuses the service")
	}
	if p := login(t, tenant, second, "jon", memdir.SamplePassword); p["err"] != nil {
		t.Errorf("the other: %v", p)
	}
}

// A balancer passes each connection on to another one of several services.
type balancer struct {
	net.Listener
	mu   sync.Mutex
	next int
	to   []string
}

func (b *balancer) serve() {
	for {
		c, err := b.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		to := b.to[b.next%len(b.to)]
		b.next++
		b.mu.Unlock()
		go func() {
			defer func() { _ = c.Close() }()
			s, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(s, c); _ = s.Close() }()
			_, _ = io.Copy(c, s)
		}()
	}
}

// TestSeveralServicesBehindABalancer: with one key for tokens and one for what
// browsers keep, the one takes the password to the form of the other. Sessions are each one's
// own.
func TestSeveralServicesBehindABalancer(t *testing.T) {
	shared := keepKey(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	address := fmt.Sprintf("https://localhost:%d", at.Port())
	rigs, tenant := several(t, false, func(r *rig) {
		shared(r)
		r.configure("url: "+r.url+"\n", "url: "+address+"\n")
		r.url = address
	})
	// The second has what makes its server, and what browsers keep, from the first.
	for _, file := range []string{"server.crt", "server.key"} {
		copyFile(t, rigs[0], rigs[1], file)
	}
	rigs[0].start()
	next(t, tenant)
	if err := os.Mkdir(rigs[1].path("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, rigs[0], rigs[1], "data/web.key")
	rigs[1].start()
	next(t, tenant)
	b := &balancer{Listener: ln, to: []string{rigs[0].listen.String(), rigs[1].listen.String()}}
	go b.serve()

	w := browser.New(browser.Options{Roots: rigs[0].roots, Connect: at})
	defer w.Close()
	page, err := w.Get(t.Context(), rigs[0].request())
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.Form()
	if err != nil {
		t.Fatal(err)
	}
	form.Fields.Set("username", "jon")
	form.Fields.Set("password", memdir.SamplePassword)
	w.Close() // the connection: the next one leads to the other service
	if page, err = w.Submit(t.Context(), form, ""); err != nil || !strings.Contains(page.Body, "wresult") {
		t.Fatalf("the password to the other: %v", page.Message())
	}
	// A session is known where it was begun.
	for i, signedIn := range []bool{false, true} {
		w.Close()
		if page, err = w.Get(t.Context(), rigs[0].request()); err != nil || strings.Contains(page.Body, "wresult") != signedIn {
			t.Errorf("%d: a token without a password: %t, %v", i, !signedIn, err)
		}
	}
}

func copyFile(t *testing.T, from, to *rig, name string) {
	t.Helper()
	data, err := os.ReadFile(from.path(name))
	if err != nil {
		t.Fatal(err)
	}
	to.write(name, data)
}
