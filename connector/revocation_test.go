package connector_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/ldapauth/testca"
)

// list makes a list of the rig's authority that counts for so long.
func (r *rig) list(number int64, ends time.Duration, revoked ...*tls.Certificate) []byte {
	r.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-48 * time.Hour).Add(time.Duration(number) * time.Minute), NextUpdate: time.Now().Add(ends)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now(), ReasonCode: 1})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, r.ca.Certificate, r.ca.Key)
	if err != nil {
		r.t.Fatal(err)
	}
	return der
}

// asks sets the revocation section.
func (r *rig) asks(section string) {
	r.t.Helper()
	r.configure("ca_files: [ca.crt]}", "ca_files: [ca.crt], revocation: "+section+"}")
}

// clientWith makes a certificate that names a list.
func (r *rig) clientWith(cn, list string) *tls.Certificate {
	r.t.Helper()
	leaf, err := r.ca.Client(cn, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{list} })
	if err != nil {
		r.t.Fatal(err)
	}
	pair := leaf.TLS()
	return &pair
}

// wantRefused fails unless the last line of the audit trail has this reason.
func (r *rig) wantRefused(reason string, words ...string) {
	r.t.Helper()
	lines := strings.Split(strings.TrimSpace(r.audit.String()), "\n")
	last := lines[len(lines)-1]
	for _, word := range append(words, `"result":"refused"`, `"reason":"`+reason+`"`) {
		if !strings.Contains(last, word) {
			r.t.Errorf("no %s in %s", word, last)
		}
	}
}

// TestA4_ARevokedCertificateEndsItsSessionsAndItsConnection: nothing that was
// agreed on before counts, neither the TLS connection nor the session.
func TestA4_ARevokedCertificateEndsItsSessionsAndItsConnection(t *testing.T) {
	r := prepareRig(t, inMemory(t), "session: {lifetime: 8h, recheck: 0s}")
	jon, amy := r.client("jon"), r.client("amy")
	r.write("ca.crl", r.list(1, time.Hour))
	r.asks("{mode: offline, crl_files: [ca.crl]}")
	r.start()
	open, session, other := r.browser(inside, jon), r.browser(inside, jon), r.browser(inside, amy)
	r.mustSignIn(open, "", "")
	r.mustSignIn(session, "", "")
	r.mustSignIn(session, "", "") // by the session
	r.mustSignIn(other, "", "")

	r.write("ca.crl", r.list(2, time.Hour, jon))
	eventually(t, "the list is loaded anew", func() bool { return strings.Contains(r.log.String(), "revocation lists in files replaced") })
	p := r.get(session, r.request())
	if p.Status != http.StatusForbidden || !strings.Contains(p.Body, "revoked") {
		t.Errorf("status %d: %s", p.Status, p.Message())
	}
	r.wantRefused("revoked", "keyCompromise", "CN=jon", "list number 2")
	if !strings.Contains(r.audit.String(), `"result":"refused","reason":"revoked","detail":`) || !strings.Contains(r.audit.String(), `"method":"session"`) {
		t.Errorf("the session did not end for the reason:\n%s", r.audit)
	}
	if p := r.get(open, r.request()); p.Status != http.StatusForbidden {
		t.Errorf("on the connection that was open: status %d", p.Status)
	}
	r.mustSignIn(other, "", "")
}

// TestB12_ListsAreFetchedKeptAndUsedAfterARestart walks the way of a list from
// the web server to data_dir and back.
func TestB12_ListsAreFetchedKeptAndUsedAfterARestart(t *testing.T) {
	r := prepareRig(t, inMemory(t), "session: {lifetime: 0s}")
	var body atomic.Pointer[[]byte]
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if b := body.Load(); b != nil {
			_, _ = w.Write(*b)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer web.Close()
	jon, amy := r.clientWith("jon", web.URL+"/ca.crl"), r.clientWith("amy", web.URL+"/ca.crl")
	list := r.list(7, time.Hour, jon)
	body.Store(&list)
	r.start()
	r.mustSignIn(r.browser(inside, amy), "", "")
	if p := r.get(r.browser(inside, jon), r.request()); p.Status != http.StatusForbidden {
		t.Errorf("status %d", p.Status)
	}
	r.wantRefused("revoked")
	if n := asked.Load(); n != 1 {
		t.Errorf("the web server was asked %d times", n)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	body.Store(nil)
	text, worst := r.findings()
	if !strings.Contains(text, "✓ certificate.revocation: the list of CN=Rig CA from "+web.URL+"/ca.crl has 1 entries and counts until") || worst == connector.Failure {
		t.Errorf("findings:\n%s", text)
	}
	r.start()
	r.mustSignIn(r.browser(inside, amy), "", "")
	if p := r.get(r.browser(inside, jon), r.request()); p.Status != http.StatusForbidden {
		t.Errorf("status %d", p.Status)
	}
	r.wantRefused("revoked")
	r.noSecrets()
}

// TestOnUnknownAllowIsInTheAuditLineOfEach sign-in that it let in, and in no other.
func TestOnUnknownAllowIsInTheAuditLineOfEach(t *testing.T) {
	r := prepareRig(t, inMemory(t), "session: {lifetime: 0s}")
	r.asks("{on_unknown: allow}")
	r.start()
	r.mustSignIn(r.browser(inside, r.client("amy")), "", "")
	if strings.Contains(r.audit.String(), "revocation_unknown") {
		t.Errorf("a certificate that names nobody to ask:\n%s", r.audit)
	}
	jon := r.clientWith("jon", "http://127.0.0.1:1/ca.crl")
	for range 2 {
		r.mustSignIn(r.browser(inside, jon), "", "")
	}
	if n := strings.Count(r.audit.String(), `"revocation_unknown":"crl_unreachable: `); n != 2 {
		t.Errorf("%d audit lines say so, want 2:\n%s", n, r.audit)
	}
	if n := strings.Count(r.log.String(), "on_unknown: allow"); n != 2 {
		t.Errorf("%d lines of the log say so, want 2", n)
	}
	text, _ := r.findings()
	if !strings.Contains(text, "! certificate.revocation.on_unknown: allow") {
		t.Errorf("findings:\n%s", text)
	}
}

func TestListsThatCannotBeUsedStopTheStart(t *testing.T) {
	d := inMemory(t)
	for _, tt := range []struct {
		name, section string
		spoil         func(*rig)
		start, check  string
	}{
		{"missing", "{crl_files: [ca.crl]}", func(*rig) {}, "certificate.revocation.crl_files[0]: open ", "✗ certificate.revocation.crl_files[0]: "},
		{"empty", "{crl_files: [ca.crl]}", func(r *rig) { r.write("ca.crl", nil) }, "is empty", "✗ certificate.revocation.crl_files[0]: "},
		{"forged", "{crl_files: [ca.crl]}", func(r *rig) {
			good := r.ca
			defer func() { r.ca = good }()
			r.ca = prepareRig(t, d, "").ca // of the same name
			r.write("ca.crl", r.list(1, time.Hour))
		}, "crl_files[0]: ", "✗ certificate.revocation.crl_files[0]: "},
		{"no responder", "{ocsp: [{ca_file: nowhere.crt, url: \"http://ocsp.example\"}]}", func(*rig) {}, "certificate.revocation.ocsp[0].ca_file: open ", "✗ certificate.revocation.ocsp[0].ca_file: "},
		{"ended", "{crl_files: [ca.crl]}", func(r *rig) { r.write("ca.crl", r.list(1, -time.Hour)) }, "", "✗ certificate.revocation: the list of CN=Rig CA from "},
		{"by a stranger", "{crl_files: [ca.crl]}", func(r *rig) {
			good := r.ca
			defer func() { r.ca = good }()
			var err error
			if r.ca, err = testca.New("Other"); err != nil {
				t.Fatal(err)
			}
			r.write("ca.crl", r.list(1, time.Hour))
		}, "", "! certificate.revocation: the list of CN=Other from "},
		{"off", "{mode: off}", func(*rig) {}, "", "! certificate.revocation.mode: off"},
		{"good", "{crl_files: [ca.crl]}", func(r *rig) { r.write("ca.crl", r.list(1, time.Hour)) }, "", "✓ certificate.revocation: the list of CN=Rig CA from "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := prepareRig(t, d, "")
			r.asks(tt.section)
			tt.spoil(r)
			text, _ := r.findings()
			if !strings.Contains(text, tt.check) {
				t.Errorf("no %q in\n%s", tt.check, text)
			}
			if _, err := os.Stat(r.path("data")); err == nil {
				t.Error("check made data_dir")
			}
			err := r.try()
			if got := err != nil; got != (tt.start != "") || got && !strings.Contains(err.Error(), tt.start) {
				t.Errorf("start: %v, want %q", err, tt.start)
			}
		})
	}
}
