package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/testca"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Environment variables by which the test starts itself again: inside network
// and mount namespaces of its own, and there as the driver of one browser.
const (
	inNamespaces = "ADCONNECTOR_TEST_NAMESPACES"
	asBrowser    = "ADCONNECTOR_TEST_BROWSER"
	// screenshots, if set, is a folder that gets a picture of every page.
	screenshots = "ADCONNECTOR_TEST_SCREENSHOTS"
)

// TestBrowser signs people in with a real Chromium that has real certificates
// installed, from a network inside the certificate ranges and from one outside.
// All of it happens in network namespaces of the test's own.
func TestBrowser(t *testing.T) {
	if os.Getenv(inNamespaces) == "" {
		needsForBrowser(t)
		version, err := exec.Command("chromium", "--version").Output()
		if err != nil {
			dirtest.Missing(t, "chromium does not start: %v", err)
		}
		dirtest.Using(t, "%s", strings.TrimSpace(string(version)))
		again := exec.Command(os.Args[0], "-test.run=^TestBrowser$", "-test.v", "-test.timeout=5m")
		again.Env = append(os.Environ(), inNamespaces+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
		}
		out, err := again.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(out, []byte("--- PASS: TestBrowser/")) {
			t.Fatal("the test ran nothing inside its namespaces")
		}
		return
	}
	lab := newBrowserLab(t)
	for _, tt := range browserTests() {
		t.Run(tt.name, func(t *testing.T) {
			lab.browse(t, tt.network, tt.home, tt.steps)
		})
	}
}

func needsForBrowser(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		dirtest.Missing(t, "network namespaces need root")
	}
	for _, p := range []string{"chromium", "certutil", "pk12util", "ip", "mount"} {
		if _, err := exec.LookPath(p); err != nil {
			dirtest.Missing(t, "%v", err)
		}
	}
}

const (
	loginURL = "https://login.lab.test"
	appURL   = "https://app.lab.test:444"
	request  = loginURL + "/wsfed?wa=wsignin1.0&wtrealm=urn:lab:app&wctx=%22%3E%3Cb%3Econtext"
)

// A step is something that a person does, and what the page then says.
type step struct {
	Open  string // an address, or ...
	Click string // ... an element (CSS), or ...
	Type  string // ... text, into ...
	Into  string // ... this field (CSS)
	Want  string // regular expression that the text of the page must fulfil in the end
	Not   string // and one that it must not
	Shot  string // name of the picture; there is one of a telephone and one in the dark too
}

func browserTests() []struct {
	name, network, home string
	steps               []step
} {
	return []struct {
		name, network, home string
		steps               []step
	}{
		{"inside with a certificate: signed in without a page", "in", "jon", []step{
			{Open: request, Want: "^app: jon by certificate, context \"><b>context$", Shot: "app-certificate"},
		}},
		{"inside with a self-signed certificate that is listed: signed in without a page", "in", "kiosk", []step{
			{Open: request, Want: "^app: jon by certificate", Shot: "app-self-signed"},
			{Open: loginURL + "/", Want: "(?is)Jon Smith.*certificate"},
		}},
		{"inside with a self-signed certificate that is not listed: it is not offered", "in", "stray", []step{
			{Open: request, Want: "(?i)password", Not: "(?i)CN=stray|^app:"},
		}},
		{"outside with the same certificate: the form", "out", "jon", []step{
			{Open: request, Want: "(?i)password", Not: "(?i)certificate", Shot: "form"},
			{Type: "jon", Into: "input[name=username]"},
			{Type: "canary-wrong", Into: "input[name=password]"},
			{Click: "form button", Want: "(?i)is not right", Not: "canary|^app:", Shot: "wrong-password"},
			{Type: "PASSWORD", Into: "input[name=password]"},
			{Click: "form button", Want: "^app: jon by password"},
			{Open: request, Want: "^app: jon by password"}, // the session
		}},
		{"inside without a certificate: the form", "in", "none", []step{
			{Open: request, Want: "(?i)password", Shot: "form-inside"},
			{Type: "jon", Into: "input[name=username]"},
			{Type: "PASSWORD", Into: "input[name=password]"},
			{Click: "form button", Want: "^app: jon by password"},
		}},
		{"inside with a refused certificate: which, why, and the form", "in", "nobody", []step{
			{Open: request, Want: "(?is)no account.*CN=nobody.*password", Shot: "refused"},
			{Type: "jon", Into: "input[name=username]"},
			{Type: "PASSWORD", Into: "input[name=password]"},
			{Click: "form button", Want: "^app: jon by password"},
		}},
		{"a disabled account with a good certificate is refused", "in", "dis", []step{
			{Open: request, Want: "(?is)(locked|disabled).*CN=dis", Not: "^app:", Shot: "refused-account"},
		}},
		{"a password that must be changed is, and the sign-in goes on", "out", "none", []step{
			{Open: request, Want: "(?i)password"},
			{Type: "mcp", Into: "input[name=username]"},
			{Type: "PASSWORD", Into: "input[name=password]"},
			{Click: "form button", Want: "(?s)must choose a new password.*Old password", Not: "^app:", Shot: "change"},
			{Type: "PASSWORD", Into: "input[name=old]"},
			{Type: "canary-New-1", Into: "input[name=new]"},
			{Type: "canary-New-2", Into: "input[name=again]"},
			{Click: "form button", Want: "not the same", Not: "canary", Shot: "change-unequal"},
			{Type: "PASSWORD", Into: "input[name=old]"},
			{Type: "canary", Into: "input[name=new]"},
			{Type: "canary", Into: "input[name=again]"},
			{Click: "form button", Want: "too short", Not: "canary", Shot: "change-too-short"},
			{Type: "PASSWORD", Into: "input[name=old]"},
			{Type: "canary-Grüße-😀", Into: "input[name=new]"},
			{Type: "canary-Grüße-😀", Into: "input[name=again]"},
			{Click: "form button", Want: "^app: mcp by password, context \"><b>context$", Shot: "change-done"},
			{Open: request, Want: "^app: mcp by password"}, // the session
		}},
		{"home, sign-out, and no certificate sign-in behind the person's back", "in", "jon", []step{
			{Open: loginURL + "/", Want: "(?is)Jon Smith.*certificate", Shot: "home"},
			{Click: "form button", Want: "(?i)signed out", Shot: "signed-out"},
			{Open: request, Want: "(?i)password", Not: "^app:", Shot: "form-after-sign-out"},
			{Click: "button.second", Want: "^app: jon by certificate"},
		}},
	}
}

// A browserLab is a connector with a directory and an application, reachable
// from two networks.
type browserLab struct {
	dir      string
	password string
}

func newBrowserLab(t *testing.T) *browserLab {
	t.Helper()
	makeNetworks(t)
	directory := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	lab := &browserLab{dir: t.TempDir(), password: directory.Password}
	ca, err := testca.New("Lab CA")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("login.lab.test", "app.lab.test")
	if err != nil {
		t.Fatal(err)
	}
	lab.write(t, "ca.crt", ca.PEM())
	lab.write(t, "server.crt", server.CertPEM())
	lab.write(t, "server.key", server.KeyPEM())
	lab.home(t, "none", nil)
	for _, name := range []string{"jon", "nobody", "dis"} {
		leaf, err := ca.Client(name)
		if err != nil {
			t.Fatal(err)
		}
		lab.home(t, name, leaf)
	}
	for _, name := range []string{"kiosk", "stray"} {
		leaf, err := testca.SelfSigned(name)
		if err != nil {
			t.Fatal(err)
		}
		lab.write(t, name+".crt", leaf.CertPEM())
		lab.home(t, name, leaf)
	}
	lab.write(t, "ldap-password", []byte(directory.BindPassword))
	lab.write(t, "adconnector.yaml", fmt.Appendf(nil, `
url: %s
data_dir: data
site_name: The Lab
tls: {cert_file: server.crt, key_file: server.key}
certificate:
  ip_ranges: [10.77.1.0/24]
  ca_files: [ca.crt]
  accept: all
  self_signed_files: [{file: kiosk.crt, user: jon}]
password: {}
ldap:
  urls: [%q]
  ca_files: [%q]
  bind_dn: %q
  bind_password_file: ldap-password
  base_dn: %q
wsfed:
  issuer: urn:lab:adconnector
  relying_parties: [{realm: "urn:lab:app", reply_urls: [%q]}]
log: {level: debug, format: json}
`, loginURL, directory.URL, directory.CAFile, directory.BindDN, directory.BaseDN, appURL+"/"))
	lab.startApp(t, server)
	lab.startConnector(t)
	return lab
}

// makeNetworks makes one network inside the certificate range and one outside,
// and hides the machine's own browser policies behind the test's.
func makeNetworks(t *testing.T) {
	t.Helper()
	command(t, "mount", "--make-rprivate", "/")
	for _, dir := range []string{"/run/netns", "/etc/chromium"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		command(t, "mount", "-t", "tmpfs", "tmpfs", dir)
	}
	policies := "/etc/chromium/policies/managed"
	if err := os.MkdirAll(policies, 0o755); err != nil {
		t.Fatal(err)
	}
	policy := `{"AutoSelectCertificateForUrls":["{\"pattern\":\"` + loginURL + `\",\"filter\":{}}"]}`
	if err := os.WriteFile(filepath.Join(policies, "lab.json"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "ip", "link", "set", "lo", "up")
	for name, net := range map[string]string{"in": "10.77.1", "out": "10.77.2"} {
		command(t, "ip", "netns", "add", name)
		command(t, "ip", "link", "add", "v-"+name, "type", "veth", "peer", "name", "eth0", "netns", name)
		// Without link-local IPv6 addresses, which appear a second or two later:
		// a browser breaks requests off when the network changes.
		command(t, "ip", "link", "set", "v-"+name, "addrgenmode", "none")
		command(t, "ip", "-n", name, "link", "set", "eth0", "addrgenmode", "none")
		command(t, "ip", "addr", "add", net+".1/24", "dev", "v-"+name)
		command(t, "ip", "link", "set", "v-"+name, "up")
		command(t, "ip", "-n", name, "addr", "add", net+".10/24", "dev", "eth0")
		command(t, "ip", "-n", name, "link", "set", "eth0", "up")
		command(t, "ip", "-n", name, "link", "set", "lo", "up")
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (lab *browserLab) path(name string) string { return filepath.Join(lab.dir, name) }

func (lab *browserLab) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(lab.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// home makes a person's home folder: a browser that trusts the lab's CA and,
// with a leaf, has a certificate.
func (lab *browserLab) home(t *testing.T, name string, leaf *testca.Leaf) {
	t.Helper()
	db := lab.path("home-" + name + "/.pki/nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, "certutil", "-N", "-d", "sql:"+db, "--empty-password")
	command(t, "certutil", "-A", "-d", "sql:"+db, "-n", "lab", "-t", "C,,", "-i", lab.path("ca.crt"))
	if leaf == nil {
		return
	}
	pfx, err := leaf.PFX("changeit")
	if err != nil {
		t.Fatal(err)
	}
	lab.write(t, name+".pfx", pfx)
	command(t, "pk12util", "-i", lab.path(name+".pfx"), "-d", "sql:"+db, "-W", "changeit")
}

var (
	claimName   = regexp.MustCompile(`AttributeName="dn"[^>]*><saml:AttributeValue[^>]*>uid=([^,<]*),`)
	claimMethod = regexp.MustCompile(`AttributeName="authenticated_by"[^>]*><saml:AttributeValue[^>]*>([^<]*)<`)
)

// startApp serves an application that says who was reported. That tokens are
// sound is tested elsewhere; here it matters that they arrive.
func (lab *browserLab) startApp(t *testing.T, leaf *testca.Leaf) {
	t.Helper()
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.PostFormValue("wresult")
		name, method := claimName.FindStringSubmatch(token), claimMethod.FindStringSubmatch(token)
		if name == nil || method == nil {
			http.Error(w, "no token", http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, "<!doctype html>app: %s by %s, context %s", name[1], method[1], html.EscapeString(r.PostFormValue("wctx")))
	}))
	_ = app.Listener.Close()
	var err error
	app.Listener, err = listenAnywhere("444")
	if err != nil {
		t.Fatal(err)
	}
	pair := leaf.TLS()
	app.TLS = serverTLS(&pair)
	app.StartTLS()
	t.Cleanup(app.Close)
}

func (lab *browserLab) startConnector(t *testing.T) {
	t.Helper()
	cmd := process(t.Context(), "run", "--config", lab.path("adconnector.yaml"))
	log, err := os.Create(lab.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the connector ended with %v", err)
		}
		data, _ := os.ReadFile(lab.path("log"))
		if t.Failed() {
			t.Logf("the connector's log:\n%s", data)
		}
		for _, secret := range []string{"canary", lab.password, "Svc-Passw0rd"} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("the log holds the secret %q", secret)
			}
		}
	})
	awaitListener(t, "127.0.0.1:443", cmd, lab.path("log"))
}

// browse lets a browser in one of the networks do what a person would.
func (lab *browserLab) browse(t *testing.T, network, home string, steps []step) {
	t.Helper()
	for i := range steps {
		if steps[i].Type == "PASSWORD" {
			steps[i].Type = lab.password
		}
	}
	server := map[string]string{"in": "10.77.1.1", "out": "10.77.2.1"}[network]
	task, err := json.Marshal(browserTask{Home: lab.path("home-" + home), Server: server, Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", network, os.Args[0], "-test.run=^TestDriveBrowser$", "-test.v")
	cmd.Env = append(os.Environ(), asBrowser+"="+base64.StdEncoding.EncodeToString(task))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestDriveBrowser")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// A browserTask is what TestBrowser asks of TestDriveBrowser.
type browserTask struct {
	Home, Server string
	Steps        []step
}

// TestDriveBrowser drives one browser for TestBrowser; by itself it does
// nothing.
func TestDriveBrowser(t *testing.T) {
	text, err := base64.StdEncoding.DecodeString(os.Getenv(asBrowser))
	if err != nil || len(text) == 0 {
		return
	}
	var task browserTask
	if err := json.Unmarshal(text, &task); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.WindowSize(900, 700),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP *.lab.test "+task.Server),
		chromedp.Env("HOME="+task.Home))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	// The first call starts the browser and must not have a deadline of its own.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	for i, s := range task.Steps {
		limited, done := context.WithTimeout(ctx, 20*time.Second)
		if err := s.do(limited); err != nil {
			t.Errorf("step %d, %+v: %v", i+1, s, err)
		}
		if dir := os.Getenv(screenshots); dir != "" && s.Shot != "" {
			if err := s.picture(ctx, dir); err != nil {
				t.Errorf("step %d: picture: %v", i+1, err)
			}
		}
		done()
		if t.Failed() {
			return
		}
	}
}

// picture takes pictures of the page as it is, on a telephone and in the dark.
func (s *step) picture(ctx context.Context, dir string) error {
	for _, look := range []struct {
		suffix, scheme string
		width, height  int64
	}{{"", "light", 900, 700}, {"-phone", "light", 360, 640}, {"-dark", "dark", 900, 700}} {
		scheme := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}},
			})
			return err
		})
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(look.width, look.height), scheme); err != nil {
			return err
		}
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s.Shot+look.suffix+".png"), png, 0o644); err != nil {
			return err
		}
	}
	return chromedp.Do(ctx, chromedp.EmulateViewport(900, 700))
}

func (s *step) do(ctx context.Context) error {
	var err error
	switch {
	case s.Open != "":
		err = chromedp.Do(ctx, chromedp.Navigate(s.Open))
	case s.Click != "":
		err = chromedp.Do(ctx, chromedp.Click(chromedp.CSS(s.Click)))
	default:
		err = chromedp.Do(ctx, chromedp.Clear(chromedp.CSS(s.Into)), chromedp.SendKeys(chromedp.CSS(s.Into), s.Type))
	}
	if err != nil || s.Want == "" {
		return err
	}
	return s.await(ctx)
}

// await waits until the page says what is wanted: pages that post themselves
// take a moment.
func (s *step) await(ctx context.Context) error {
	want := regexp.MustCompile(s.Want)
	var text string
	for {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText.trim() : ""`))
		if err == nil {
			text = got
		}
		if want.MatchString(text) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the page does not say %q but:\n%s", s.Want, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if s.Not != "" && regexp.MustCompile(s.Not).MatchString(text) {
		return fmt.Errorf("the page says %q, which it must not:\n%s", s.Not, text)
	}
	return nil
}
