package connector_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/ldapauth/testca"
)

// explainCert runs explain --cert on the rig's configuration and returns the
// answer, and how it is printed.
func (r *rig) explainCert(q connector.CertificateQuestion) (x *connector.Explanation, text string) {
	r.t.Helper()
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	if x, err = connector.ExplainCertificate(r.t.Context(), c, q); err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.WriteText(&b); err != nil {
		r.t.Fatal(err)
	}
	return x, b.String()
}

func chainOf(l *testca.Leaf) []*x509.Certificate {
	return append([]*x509.Certificate{l.Certificate}, l.Chain...)
}

// TestExplainOfACertificateIsWhatASignInComesTo, for every reason that there is
// to refuse one.
func TestExplainOfACertificateIsWhatASignInComesTo(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := prepareRig(t, d, "")
			stranger, err := testca.New("Rig CA") // of the same name
			if err != nil {
				t.Fatal(err)
			}
			issuing, err := r.ca.Intermediate("Rig Issuing CA")
			if err != nil {
				t.Fatal(err)
			}
			old := func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			}
			certificates := map[string]*testca.Leaf{}
			client := func(title string, ca *testca.CA, cn string, mods ...func(*x509.Certificate)) {
				leaf, err := ca.Client(cn, mods...)
				if err != nil {
					t.Fatal(err)
				}
				certificates[title] = leaf
			}
			client("good", r.ca, "jon")
			client("over an intermediate", issuing, "jon")
			client("disabled", r.ca, d.disabled)
			client("nobody", r.ca, "nobody-here")
			client("odd name", r.ca, "jon ")
			client("expired", r.ca, "jon", old)
			client("stranger", stranger, "jon")
			client("no usage", r.ca, "jon", func(c *x509.Certificate) { c.ExtKeyUsage = nil })
			client("revoked", r.ca, "jon")
			certificates["listed"], certificates["not listed"] = r.selfSigned("listed.crt", "Kiosk"), r.selfSigned("other.crt", "jon")
			list, err := r.ca.List(1, certificates["revoked"].Certificate)
			if err != nil {
				t.Fatal(err)
			}
			r.write("ca.crl", list)
			r.configure("ca_files: [ca.crt]", "ca_files: [ca.crt], accept: all, self_signed_files: [{file: listed.crt, user: jon}], revocation: {mode: offline, crl_files: [ca.crl]}")
			r.start()
			for title, leaf := range certificates {
				pair := leaf.TLS()
				x, text := r.explainCert(connector.CertificateQuestion{Chain: chainOf(leaf), From: inside})
				if reason := r.reasonOf(r.browser(inside, &pair), "", ""); reason != x.Reason || (reason == "") != (x.Result == connector.LetIn) {
					t.Errorf("%s: refused for %q, and explain says %+v", title, reason, x.Verdict)
				}
				if !strings.Contains(text, "✓ would be let in") && !strings.Contains(text, "✗ would be refused: "+x.Reason) {
					t.Errorf("%s: no verdict in\n%s", title, text)
				}
				if strings.Contains(text, d.bindPassword) {
					t.Errorf("%s: a password is shown:\n%s", title, text)
				}
			}
			x, text := r.explainCert(connector.CertificateQuestion{Chain: chainOf(certificates["good"]), From: outside})
			if x.Reason != "not_allowed_here" || !strings.Contains(text, "✗ address: ") || !strings.Contains(text, "✓ subject_cn: jon") {
				t.Errorf("from outside: %+v\n%s", x.Verdict, text)
			}
		})
	}
}

// TestExplainObeysTheRangesOfAnAuthority, which are not those of all others.
func TestExplainObeysTheRangesOfAnAuthority(t *testing.T) {
	r := prepareRig(t, inMemory(t), "")
	r.configure("ca_files: [ca.crt]", fmt.Sprintf("authorities: [{ca_file: ca.crt, ip_ranges: [%s]}]", outside))
	r.configure(fmt.Sprintf("ip_ranges: [%s], ", inside), fmt.Sprintf("ip_ranges: [%s, %s], ", inside, outside))
	r.start()
	jon, err := r.ca.Client("jon")
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []netip.Addr{inside, outside} {
		pair := jon.TLS()
		x, text := r.explainCert(connector.CertificateQuestion{Chain: chainOf(jon), From: from})
		if reason := r.reasonOf(r.browser(from, &pair), "", ""); reason != x.Reason || (reason == "") != (from == outside) || x.User != "jon" {
			t.Errorf("from %s: refused for %q, and explain says %+v\n%s", from, reason, x.Verdict, text)
		}
	}
}

func TestExplainOfACertificateFetchesListsAndKeepsNothing(t *testing.T) {
	ca, err := testca.New("Published CA")
	if err != nil {
		t.Fatal(err)
	}
	web := newListServer(t)
	named := func(c *x509.Certificate) { c.CRLDistributionPoints = []string{web.URL + "/ca.crl"} }
	jon, err := ca.Client("jon", named)
	if err != nil {
		t.Fatal(err)
	}
	r := prepareRig(t, inMemory(t), "audit_file: audit.log")
	r.write("ca.crt", ca.PEM())
	q := connector.CertificateQuestion{Chain: chainOf(jon)}
	x, text := r.explainCert(q)
	if x.Reason != "crl_unreachable" || !strings.Contains(text, "list from "+web.URL+"/ca.crl: no answer") || !strings.Contains(text, "error  ") {
		t.Errorf("%+v\n%s", x.Verdict, text)
	}
	if web.list, err = ca.List(7); err != nil {
		t.Fatal(err)
	}
	x, text = r.explainCert(q)
	if x.Result != connector.LetIn || !strings.Contains(text, "list from "+web.URL+"/ca.crl: does not have it") {
		t.Errorf("%+v\n%s", x.Verdict, text)
	}
	if web.list, err = ca.List(8, jon.Certificate); err != nil {
		t.Fatal(err)
	}
	x, text = r.explainCert(q)
	if x.Reason != "revoked" || !strings.Contains(text, "list from "+web.URL+"/ca.crl: was revoked on ") {
		t.Errorf("%+v\n%s", x.Verdict, text)
	}
	asked := web.asked.Load()
	if x, _ := r.explainCert(connector.CertificateQuestion{Chain: []*x509.Certificate{selfMade(t, named)}}); x.Reason != "untrusted" || web.asked.Load() != asked {
		t.Errorf("a stranger's certificate made somebody fetch: %+v", x.Verdict)
	}
	for _, name := range []string{"audit.log", "data"} {
		if _, err := os.Stat(r.path(name)); err == nil {
			t.Errorf("explain made %s", name)
		}
	}
}

func selfMade(t *testing.T, mods ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	leaf, err := testca.SelfSigned("jon", mods...)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate
}

// TestCertificatesAreListedByWhoeverUsesThem: by the connector that runs, with
// what it has fetched and when, and by the files if none does.
func TestCertificatesAreListedByWhoeverUsesThem(t *testing.T) {
	web := newListServer(t)
	r := prepareRig(t, inMemory(t), "")
	r.selfSigned("jon.crt", "jon")
	r.configure("ca_files: [ca.crt]", "ca_files: [ca.crt], accept: all, self_signed_files: [jon.crt]")
	r.start()
	amy, err := r.ca.Client("amy", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{web.URL + "/ca.crl"} })
	if err != nil {
		t.Fatal(err)
	}
	if web.list, err = r.ca.List(7, amy.Certificate); err != nil {
		t.Fatal(err)
	}
	if got := r.reasonOf(r.as(amy), "", ""); got != "revoked" {
		t.Fatalf("%q", got)
	}
	running, text := r.certs()
	if !running.Running || len(running.Authorities) != 1 || len(running.SelfSigned) != 1 || !running.Usable() {
		t.Errorf("%+v", running)
	}
	wantList := func(l *connector.CertificateList, text string) {
		t.Helper()
		if len(l.Sources) != 1 || l.Sources[0].Entries != 1 || l.Sources[0].Number != "7" || l.Sources[0].Where != web.URL+"/ca.crl" ||
			time.Since(l.Sources[0].Fetched) > time.Minute || !l.Sources[0].Verified {
			t.Errorf("%+v", l.Sources)
		}
		if !strings.Contains(text, "✓ list from "+web.URL+"/ca.crl: 1 entry, ") || !strings.Contains(text, "fetched     20") {
			t.Errorf("%s", text)
		}
	}
	wantList(running, text)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	files, text := r.certs()
	if files.Running || len(files.SelfSigned) != 1 || !strings.Contains(text, "No connector is running") {
		t.Errorf("%+v\n%s", files, text)
	}
	wantList(files, text)

	// Somebody looks at a certificate with another list: that is fetched, and not
	// kept, for the connector's cache is the connector's.
	kept := func() int {
		names, err := os.ReadDir(r.path("data/crl"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before, asked := kept(), web.asked.Load()
	jon, err := r.ca.Client("jon", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{web.URL + "/other.crl"} })
	if err != nil {
		t.Fatal(err)
	}
	if x, text := r.explainCert(connector.CertificateQuestion{Chain: chainOf(jon)}); x.Result != connector.LetIn || web.asked.Load() != asked+1 || kept() != before {
		t.Errorf("%d files, %d before, asked %d times:\n%s", kept(), before, web.asked.Load()-asked, text)
	}
}

func (r *rig) certs() (*connector.CertificateList, string) {
	r.t.Helper()
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := connector.ListCertificates(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.WriteText(&b); err != nil {
		r.t.Fatal(err)
	}
	return l, b.String()
}

// A listServer is the web server of an authority.
type listServer struct {
	*httptest.Server
	list  []byte // PEM; nil: it has none
	asked atomic.Int32
}

func newListServer(t *testing.T) *listServer {
	s := &listServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		if s.list == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(s.list)
	}))
	t.Cleanup(s.Close)
	return s
}
