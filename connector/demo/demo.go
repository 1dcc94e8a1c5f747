// Package demo is the connector with everything that it needs around it: a
// directory in memory, certificates, a sample application. It uses the loopback
// addresses only, and everything that it writes is in one temporary folder.
package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"adconnector/connector"
	"adconnector/connector/browser"
	"adconnector/connector/private"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/testca"
)

const (
	baseDN       = "DC=fabrikam,DC=example"
	realm        = "urn:fabrikam:sample-application"
	pfxPassword  = "demo"
	firstPort    = 8443
	signInLimit  = 15 * time.Second
	shutdownWait = 5 * time.Second
)

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
	// neighbour is an address of this machine outside the certificate range,
	// for machines without IPv6.
	neighbour = netip.MustParseAddr("127.0.0.2")
)

//go:embed demo.yaml
var configText string

var configTemplate = template.Must(template.New("demo.yaml").Parse(configText))

// Options say how the demo is run.
type Options struct {
	Out  io.Writer // what a person reads
	Log  io.Writer // the connector's own log
	Once bool      // end after the demo has signed jon in itself
}

// Run starts everything, signs jon in by certificate and by password, prints
// what the sample application was told, and then serves until ctx ends, unless
// o.Once is set. The temporary folder is removed at the end.
func Run(ctx context.Context, o Options) error {
	temp, err := os.MkdirTemp("", "adconnector-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(temp); err != nil { // no reason to call the demo a failure
			_, _ = fmt.Fprintf(o.Out, "The demo's folder could not be removed: %v\n", err)
		}
	}()

	// There are keys in it, and on Windows a temporary folder is not ours alone.
	dir, err := private.Open(filepath.Join(temp, "demo"))
	if err != nil {
		return err
	}
	d := &demo{Options: o, dir: dir.Path("")}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.stop() // after cancel, before the folder goes
	defer cancel()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.signInBothWays(ctx); err != nil {
		return err
	}
	if o.Once {
		return nil
	}
	d.invite()
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.failed:
		return err
	}
}

type demo struct {
	Options
	dir   string
	ca    *testca.CA
	jon   *testca.Leaf
	roots *x509.CertPool
	port  int
	ip6   bool

	directory *memdir.Server
	conn      chan struct{} // closed when the connector has ended
	failed    chan error
	app       *http.Server
	appURL    string
	party     *relyingParty
}

// start brings up directory, connector and application, in this order.
func (d *demo) start(ctx context.Context) error {
	d.failed = make(chan error, 4)
	if err := d.makeCertificates(); err != nil {
		return err
	}
	ldapURL, err := d.startDirectory()
	if err != nil {
		return err
	}
	own, err := d.listen()
	if err != nil {
		return err
	}
	appListeners, err := listenBoth(0, d.ip6)
	if err != nil {
		return err
	}
	d.appURL = fmt.Sprintf("https://localhost:%d", portOf(appListeners[0]))
	if err := d.startConnector(ctx, own, ldapURL); err != nil {
		return err
	}
	return d.startApplication(ctx, appListeners)
}

// makeCertificates writes what browsers and the connector load from files.
func (d *demo) makeCertificates() error {
	kit, err := testca.NewKit(testca.Order{
		CommonName: "adconnector demo CA",
		Hosts:      []string{"localhost", loopback4.String(), loopback6.String()},
		Users:      []string{"jon", "dora"}, // dora's account is disabled
		Password:   pfxPassword,
	})
	if err != nil {
		return err
	}
	d.ca, d.jon = kit.CA, kit.People["jon"]
	d.roots = x509.NewCertPool()
	d.roots.AddCert(d.ca.Certificate)
	if err := kit.Write(d.dir); err != nil {
		return err
	}
	return os.WriteFile(d.path("ldap-password"), []byte(memdir.ServicePassword+"\n"), 0o600)
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) startDirectory() (address string, err error) {
	leaf, err := d.ca.Server("localhost", loopback4.String())
	if err != nil {
		return "", err
	}
	config := &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12}
	d.directory, err = memdir.New(memdir.Options{
		BaseDN: baseDN, Entries: memdir.Sample(baseDN), RequireTLS: true, TLS: config,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(loopback4, 0).String())
	if err != nil {
		return "", err
	}
	go func() { _ = d.directory.Serve(tls.NewListener(ln, config)) }()
	return fmt.Sprintf("ldaps://localhost:%d", portOf(ln)), nil
}

// listen opens the connector's addresses: port 8443, or a free one.
func (d *demo) listen() ([]net.Listener, error) {
	if ln, err := net.Listen("tcp", netip.AddrPortFrom(loopback6, 0).String()); err == nil {
		_ = ln.Close()
		d.ip6 = true
	}
	listeners, err := listenBoth(firstPort, d.ip6)
	if err != nil {
		listeners, err = listenBoth(0, d.ip6)
	}
	if err == nil {
		d.port = portOf(listeners[0])
	}
	return listeners, err
}

// listenBoth listens on the same port of 127.0.0.1 and, with ip6, of ::1.
func listenBoth(port int, ip6 bool) ([]net.Listener, error) {
	for try := 0; ; try++ {
		four, err := net.Listen("tcp", netip.AddrPortFrom(loopback4, uint16(port)).String())
		if err != nil {
			return nil, err
		}
		if !ip6 {
			return []net.Listener{four}, nil
		}
		six, err := net.Listen("tcp", netip.AddrPortFrom(loopback6, uint16(portOf(four))).String())
		if err == nil {
			return []net.Listener{four, six}, nil
		}
		_ = four.Close()
		if port != 0 || try == 10 { // a free port of one may be taken on the other
			return nil, err
		}
	}
}

func portOf(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

func (d *demo) startConnector(ctx context.Context, listeners []net.Listener, ldapURL string) error {
	var text bytes.Buffer
	err := configTemplate.Execute(&text, map[string]any{
		"Port": d.port, "LDAP": ldapURL, "BindDN": "CN=svc-adconnector,OU=Services," + baseDN, "BaseDN": baseDN,
		"Realm": realm, "Reply": d.appURL + "/signed-in",
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path("adconnector.yaml"), text.Bytes(), 0o600); err != nil {
		return err
	}
	c, err := connector.LoadConfig(d.path("adconnector.yaml"))
	if err != nil {
		return err
	}
	conn, err := connector.New(ctx, c, connector.Options{Log: connector.NewLog(c.Log, d.Log), Listeners: listeners})
	if err != nil {
		return err
	}
	d.conn = make(chan struct{})
	go func() {
		defer close(d.conn)
		if err := conn.Run(ctx); err != nil {
			d.failed <- err
		}
	}()
	return nil
}

// startApplication starts the sample application, which learns the connector's
// certificates from its metadata as any relying party does.
func (d *demo) startApplication(ctx context.Context, listeners []net.Listener) error {
	b := d.browser(nil, true)
	defer b.Close()
	page, err := b.Get(ctx, d.base(true)+"/wsfed/FederationMetadata/2007-06/FederationMetadata.xml")
	if err != nil {
		return err
	}
	trusted, err := certificatesIn([]byte(page.Body))
	if err != nil {
		return fmt.Errorf("reading the connector's metadata: %w", err)
	}
	d.party = &relyingParty{realm: realm, reply: d.appURL + "/signed-in", trusted: trusted}
	d.party.signIn = []link{{"Sign in with a certificate (over 127.0.0.1)", d.party.requestURL(d.base(true))}}
	if d.ip6 {
		d.party.signIn = append(d.party.signIn, link{"Sign in with a password (over ::1)", d.party.requestURL(d.base(false))})
	}
	pair, err := tls.LoadX509KeyPair(d.path("server.crt"), d.path("server.key"))
	if err != nil {
		return err
	}
	d.app = &http.Server{
		Handler:           d.party.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	for _, ln := range listeners {
		go func() {
			if err := d.app.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
				d.failed <- err
			}
		}()
	}
	return nil
}

// stop waits for everything that start began; ctx of start has ended.
func (d *demo) stop() {
	if d.app != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
		defer cancel()
		_ = d.app.Shutdown(ctx)
	}
	if d.conn != nil {
		<-d.conn // its error, if any, has gone to failed
	}
	if d.directory != nil {
		_ = d.directory.Close()
	}
}

// base is the connector's address as seen from inside or outside the
// certificate range.
func (d *demo) base(inside bool) string {
	host := loopback4
	if !inside && d.ip6 {
		host = loopback6
	}
	return "https://" + netip.AddrPortFrom(host, uint16(d.port)).String()
}

// browser returns a browser inside or outside the certificate range.
func (d *demo) browser(certificate *tls.Certificate, inside bool) *browser.Browser {
	o := browser.Options{Roots: d.roots, Certificate: certificate}
	if !inside && !d.ip6 {
		o.From = neighbour
	}
	return browser.New(o)
}

// signInBothWays does what a person would: opens the application, follows it to
// the connector, and takes the token back.
func (d *demo) signInBothWays(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, signInLimit)
	defer cancel()
	pair := d.jon.TLS()
	outside := loopback6
	if !d.ip6 {
		outside = neighbour
	}
	for _, way := range []struct {
		title       string
		certificate *tls.Certificate
		inside      bool
		user, pass  string
	}{
		{"by certificate (CN=jon), from " + loopback4.String(), &pair, true, "", ""},
		{"by password, from " + outside.String() + ", which is outside the certificate range", nil, false, "jon", memdir.SamplePassword},
	} {
		b := d.browser(way.certificate, way.inside)
		start := time.Now()
		id, err := d.signIn(ctx, b, way.inside, way.user, way.pass)
		b.Close()
		if err != nil {
			d.printf("✗ jon, %s: %v\n", way.title, err)
			return fmt.Errorf("signing in %s: %w", way.title, err)
		}
		d.printf("✓ jon, %s (%d ms)\n", way.title, time.Since(start).Milliseconds())
		d.print(id)
	}
	return nil
}

func (d *demo) signIn(ctx context.Context, b *browser.Browser, inside bool, user, password string) (*reported, error) {
	form, err := b.SignIn(ctx, d.party.requestURL(d.base(inside)), user, password)
	if err != nil {
		return nil, err
	}
	if form.Action != d.party.reply {
		return nil, fmt.Errorf("the token would go to %s", form.Action)
	}
	page, err := b.Submit(ctx, form, "application/json")
	if err != nil {
		return nil, err
	}
	if page.Status != http.StatusOK {
		return nil, fmt.Errorf("the application refused the token: %s", page.Body)
	}
	id := new(reported)
	return id, json.Unmarshal([]byte(page.Body), id)
}

// print shows an identity as the application was told it.
func (d *demo) print(id *reported) {
	for _, c := range id.Claims {
		for i, v := range c.Values {
			name := c.Name
			if i > 0 { // a value may hold commas, so each has its line
				name = ""
			}
			d.printf("    %-28s %s\n", name, v)
		}
	}
	d.printf("    %-28s %s\n\n", "(method)", id.Method)
}

func (d *demo) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.Out, format, args...) }

// invite tells a person what to try.
func (d *demo) invite() {
	d.printf("The demo keeps running; stop it with Ctrl+C. Its folder: %s\n\n", d.dir)
	d.printf("Try it with a browser on this machine:\n")
	d.printf("  1. Import %s as an authority that identifies websites.\n", d.path("ca.crt"))
	d.printf("  2. Import jon's certificate: %s, password %q. (dora.pfx is for a disabled account.)\n", d.path("jon.pfx"), pfxPassword)
	d.printf("  3. Open the sample application: %s\n", d.appURL)
	d.printf("     or the connector itself, over IPv4 (asks for a certificate): %s\n", d.base(true))
	if d.ip6 {
		d.printf("     and over IPv6 (shows the password form):                     %s\n", d.base(false))
	}
	d.printf("\nImporting on Linux for Chrome or Chromium:\n")
	d.printf("  certutil -A -d sql:$HOME/.pki/nssdb -n adconnector-demo -t C,, -i %s\n", d.path("ca.crt"))
	d.printf("  pk12util -i %s -d sql:$HOME/.pki/nssdb -W %s\n", d.path("jon.pfx"), pfxPassword)
	d.printf("On Windows: open ca.crt and jon.pfx and follow the wizard (\"Trusted Root Certification Authorities\" and \"Personal\").\n")
	d.printf("In Firefox: Settings, Certificates, View Certificates, Authorities and Your Certificates.\n\n")
	d.printf("Everybody's password is %q. Besides jon there are amy, tomas and zoe (Zoë (Ops), Müller), and people who\n", memdir.SamplePassword)
	d.printf("may not sign in: dora (disabled), liam (locked out), eve (expired). nina must change her password and paul's has\n")
	d.printf("expired: they can choose a new one where they type the old one, and are then signed in.\n")
	d.printf("Sign-in attempts are recorded in %s\n", d.path("audit.log"))
	d.printf("To see why dora may not sign in: adconnector explain --config %s --user dora\n", d.path("adconnector.yaml"))
}
