package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/private"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/testca"
)

// direct brings requests to a handler without a network, whose time a bubble
// could not pass.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// newPublic returns a public key as tenants hand it out.
func newPublic() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

// TestTenantIsToldOfANewCertificate: within a minute of the change; and a tenant
// that does not answer is asked again, ever more rarely.
func TestTenantIsToldOfANewCertificate(t *testing.T) {
	public, err := newPublic()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	var certificates [2]*x509.Certificate
	for i := range certificates {
		leaf, err := ca.Client("signs")
		if err != nil {
			t.Fatal(err)
		}
		certificates[i] = leaf.Certificate
	}
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var asked atomic.Int32
		var posted []string
		mux := http.NewServeMux()
		answer := func(w http.ResponseWriter, text string) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, text)
		}
		mux.HandleFunc("GET /p/ad/x/info", func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if down.Load() {
				http.Error(w, "down", http.StatusBadGateway)
				return
			}
			answer(w, `{"adHub":"https://hub.test/","connectionDomain":"d","connectionName":"c","realm":{"name":"urn:r","postTokenUrl":"https://a.test/1, https://a.test/2"}}`)
		})
		mux.HandleFunc("POST /p/ad/x", func(w http.ResponseWriter, r *http.Request) {
			var body struct{ Certs []string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Certs) != 1 {
				t.Errorf("posted %v: %v", body, err)
			}
			posted = append(posted, body.Certs[0])
			text, _ := json.Marshal(map[string]string{"signingKey": public})
			answer(w, string(text))
		})
		base, _ := url.Parse("https://login.test")
		p, err := NewProvisioner(Config{Ticket: secret.New("https://tenant.test/p/ad/x")}, dir, base)
		if err != nil {
			t.Fatal(err)
		}
		p.client = &http.Client{Transport: direct{mux}}
		var current atomic.Pointer[x509.Certificate]
		current.Store(certificates[0])
		var said atomic.Pointer[Settings]
		var log bytes.Buffer
		tenant := NewTenant(p, current.Load, said.Store, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		go tenant.Run(ctx, nil)
		defer synctest.Wait()
		defer cancel()
		tells := func(want ...*x509.Certificate) {
			t.Helper()
			synctest.Wait()
			if len(posted) != len(want) {
				t.Fatalf("%d certificates were posted, want %d", len(posted), len(want))
			}
			for i, c := range want {
				if posted[i] != base64.StdEncoding.EncodeToString(c.Raw) {
					t.Errorf("%d: another certificate was posted", i)
				}
			}
		}
		tells(certificates[0])
		if s := said.Load(); s == nil || len(s.ReplyURLs) != 2 || s.ReplyURLs[1] != "https://a.test/2" {
			t.Errorf("settings %+v", s)
		}
		time.Sleep(time.Hour)
		tells(certificates[0]) // once is enough

		down.Store(true)
		current.Store(certificates[1])
		before := asked.Load()
		time.Sleep(time.Hour)
		if n := asked.Load() - before; n < 12 || n > 40 {
			t.Errorf("asked %d times in an hour", n)
		}
		down.Store(false)
		time.Sleep(lastRetry)
		tells(certificates[0], certificates[1])
		if last, err := p.Last(); err != nil || !p.IsPosted(last, certificates[1]) {
			t.Errorf("what is kept: %+v, %v", last, err)
		}

		// Somebody asks by hand, and the tenant has another key.
		if public, err = newPublic(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Provision(ctx, certificates[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		if synctest.Wait(); strings.Count(log.String(), "another key") != 1 || said.Load().SigningKey != public {
			t.Errorf("the key that was asked for by hand:\n%s", log.String())
		}

		// The same, in a moment in which the service has asked.
		tenant.Again()
		synctest.Wait()
		if public, err = newPublic(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if _, err := p.Provision(ctx, certificates[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		if synctest.Wait(); said.Load().SigningKey != public {
			t.Error("what was asked for by hand just after the service had asked was not taken over")
		}
	})
}
