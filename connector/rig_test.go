package connector_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/connector/browser"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/testca"
)

func TestMain(m *testing.M) { os.Exit(dirtest.Main(m)) }

// Addresses of people: inside the certificate ranges, and outside.
var (
	inside  = netip.MustParseAddr("127.0.0.5")
	outside = netip.MustParseAddr("127.0.0.6")
)

const (
	realm    = "urn:rig:app"
	replyURL = "https://app.rig.test/signed-in"
)

// A directory is what the connector is put in front of.
type directory struct {
	url, caFile, baseDN, bindDN, bindPassword string
	password                                  string   // of every person
	groups                                    []string // some that jon is in
	disabled                                  string   // an account that may not sign in
	nickname                                  string   // jon's
	tenantID                                  string   // by which a tenant knows jon, "" if by the ID
	memory                                    *memdir.Server
}

// inMemory starts a directory in memory with the sample company.
func inMemory(t testing.TB) *directory { return inMemoryWith(t, func(*memdir.Options) {}) }

// inMemoryWith is [inMemory] with something changed.
func inMemoryWith(t testing.TB, change func(*memdir.Options)) *directory {
	t.Helper()
	const base = "DC=fabrikam,DC=example"
	ca, err := testca.New("Directory CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Server("localhost")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12}
	o := memdir.Options{BaseDN: base, Entries: memdir.Sample(base), RequireTLS: true, TLS: config, Log: slog.New(slog.DiscardHandler)}
	change(&o)
	s, err := memdir.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(tls.NewListener(ln, config))
	}()
	t.Cleanup(func() { _ = s.Close(); <-ended })
	caFile := filepath.Join(t.TempDir(), "ldap-ca.crt")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return &directory{
		url: fmt.Sprintf("ldaps://localhost:%d", ln.Addr().(*net.TCPAddr).Port), caFile: caFile,
		baseDN: base, bindDN: "CN=svc-adconnector,OU=Services," + base, bindPassword: memdir.ServicePassword,
		password: memdir.SamplePassword, disabled: "dora", nickname: "jon", memory: s,
		groups: []string{"Process Engineers", "Engineers", "All Staff", "Project Alpine", "Project Boreal", "Domain Users"},
	}
}

// real is one of the real directories.
func real(s *dirtest.Server, more ...string) *directory {
	d := &directory{
		url: s.URL, caFile: s.CAFile, baseDN: s.BaseDN, bindDN: s.BindDN, bindPassword: s.BindPassword,
		password: s.Password, disabled: "dis", nickname: "jon",
		groups: append([]string{"group-A", "group-B", "group-C", "group-D", "group-E"}, more...),
	}
	if s.Kind == dirtest.KindOpenLDAP {
		d.nickname, d.tenantID = "Jon Smith", "jon"
	}
	return d
}

// directories are those that the whole connector is tested on.
func directories() map[string]func(testing.TB) *directory {
	return map[string]func(testing.TB) *directory{
		"memdir":   inMemory,
		"openldap": func(t testing.TB) *directory { return real(dirtest.SharedOpenLDAP(t)) },
		"samba":    func(t testing.TB) *directory { return real(dirtest.SharedSambaAD(t), "Domain Users") },
	}
}

// A rig is a running connector.
type rig struct {
	t      testing.TB
	dir    string
	url    string
	listen netip.AddrPort
	ca     *testca.CA
	roots  *x509.CertPool
	log    *output
	audit  *output
	pages  *output // all that browsers were shown
	stop   func() error
}

// output is what the connector writes while a test reads.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// take returns what has been written since it was called last.
func (o *output) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.buf.String()
	o.buf = bytes.Buffer{}
	return text
}

// newRig starts a connector in front of d. more is added to its configuration.
func newRig(t testing.TB, d *directory, more string) *rig {
	t.Helper()
	r := prepareRig(t, d, more)
	r.start()
	return r
}

// prepareRig writes everything that the connector needs and does not start it.
func prepareRig(t testing.TB, d *directory, more string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), log: &output{}, audit: &output{}, pages: &output{}}
	var err error
	if r.ca, err = testca.New("Rig CA"); err != nil {
		t.Fatal(err)
	}
	r.roots = x509.NewCertPool()
	r.roots.AddCert(r.ca.Certificate)
	r.write("ca.crt", r.ca.PEM())
	r.serverCertificate("localhost")
	r.write("ldap-password", []byte(d.bindPassword))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.listen = ln.Addr().(*net.TCPAddr).AddrPort()
	_ = ln.Close()
	r.url = fmt.Sprintf("https://localhost:%d", r.listen.Port())
	r.write("adconnector.yaml", fmt.Appendf(nil, `
url: %s
listen: %s
data_dir: data
tls: {cert_file: server.crt, key_file: server.key}
certificate: {ip_ranges: [%s], ca_files: [ca.crt]}
password: {}
ldap:
  urls: [%q]
  ca_files: [%q]
  bind_dn: %q
  bind_password_file: ldap-password
  base_dn: %q
wsfed:
  issuer: urn:rig:adconnector
  relying_parties: [{realm: %q, reply_urls: [%q]}]
log: {level: debug, format: json}
%s
`, r.url, r.listen, inside, d.url, d.caFile, d.bindDN, d.baseDN, realm, replyURL, more))
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) write(name string, data []byte) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// configure replaces a piece of the configuration.
func (r *rig) configure(old, new string) {
	r.t.Helper()
	text, err := os.ReadFile(r.path("adconnector.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		r.t.Fatalf("%q is not in the configuration once", old)
	}
	r.write("adconnector.yaml", []byte(strings.Replace(string(text), old, new, 1)))
}

// serverCertificate puts a new server certificate into the rig's folder.
func (r *rig) serverCertificate(names ...string) *testca.Leaf {
	r.t.Helper()
	leaf, err := r.ca.Server(names...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("server.key", leaf.KeyPEM())
	r.write("server.crt", leaf.CertPEM())
	return leaf
}

// try makes the connector and returns why it did not start, if it did not.
func (r *rig) try() error {
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		return err
	}
	conn, err := connector.New(r.t.Context(), c, connector.Options{
		Log: connector.NewLog(c.Log, r.log), Audit: r.audit, WatchEvery: 10 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- conn.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	r.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			r.t.Errorf("the connector ended with %v", err)
		}
		if r.t.Failed() {
			r.t.Logf("log:\n%s\naudit:\n%s", r.log, r.audit)
		}
	})
	return nil
}

func (r *rig) start() {
	r.t.Helper()
	if err := r.try(); err != nil {
		r.t.Fatal(err)
	}
}

// request is what the relying party asks.
func (r *rig) request() string {
	return r.url + "/wsfed?" + url.Values{"wa": {"wsignin1.0"}, "wtrealm": {realm}, "wctx": {"rig"}}.Encode()
}

// client makes a certificate of the rig's CA.
func (r *rig) client(cn string) *tls.Certificate {
	r.t.Helper()
	leaf, err := r.ca.Client(cn)
	if err != nil {
		r.t.Fatal(err)
	}
	pair := leaf.TLS()
	return &pair
}

// browser returns a browser at an address, with a certificate or nil.
func (r *rig) browser(from netip.Addr, certificate *tls.Certificate) *browser.Browser {
	b := browser.New(browser.Options{Roots: r.roots, Certificate: certificate, Connect: r.listen, From: from, Seen: func(p *browser.Page) {
		_, _ = r.pages.Write([]byte(p.URL.String() + "\n" + p.Body))
	}})
	r.t.Cleanup(b.Close)
	return b
}

// A token is what a test wants to know of one; whether it is sound is judged
// elsewhere, by code that is not ours.
type token string

var claims = regexp.MustCompile(`AttributeName="([^"]*)"[^>]*>(.*?)</saml:Attribute>`)

func (t token) claim(name string) []string {
	for _, m := range claims.FindAllStringSubmatch(string(t), -1) {
		if m[1] == name {
			var values []string
			for _, v := range strings.Split(m[2], "</saml:AttributeValue>") {
				if _, text, ok := strings.Cut(v, ">"); ok {
					values = append(values, text)
				}
			}
			return values
		}
	}
	return nil
}

// signIn signs in and returns the token, which must be for the right address.
func (r *rig) signIn(b *browser.Browser, username, password string) (token, error) {
	form, err := b.SignIn(r.t.Context(), r.request(), username, password)
	if err != nil {
		return "", err
	}
	if form.Action != replyURL {
		r.t.Errorf("the token goes to %s", form.Action)
	}
	return token(form.Fields.Get("wresult")), nil
}

// mustSignIn is signIn for people who may.
func (r *rig) mustSignIn(b *browser.Browser, username, password string) token {
	r.t.Helper()
	t, err := r.signIn(b, username, password)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

// get opens a page.
func (r *rig) get(b *browser.Browser, address string) *browser.Page {
	r.t.Helper()
	p, err := b.Get(r.t.Context(), address)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// noSecrets fails the test if a secret is in anything that was written.
func (r *rig) noSecrets(secrets ...string) {
	r.t.Helper()
	written := map[string]string{"log": r.log.String(), "audit": r.audit.String(), "a page": r.pages.String()}
	files, err := os.ReadDir(r.path("data"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue // the socket
		}
		data, err := os.ReadFile(filepath.Join(r.path("data"), f.Name()))
		if err != nil {
			r.t.Fatal(err)
		}
		written[f.Name()] = string(data)
	}
	for where, text := range written {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				r.t.Errorf("%s holds the secret %q", where, s)
			}
		}
	}
}

// holds reports whether all of want are in got.
func holds(got, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(got, s) })
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}
