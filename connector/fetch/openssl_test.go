package fetch_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"adconnector/connector/fetch"
	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
)

// An authority is one that openssl runs, with a web server for its lists and a
// responder.
type authority struct {
	t       *testing.T
	dir     string
	web     string                   // address of the web server
	answers atomic.Pointer[[]string] // how openssl is called to answer; nil: not at all
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		dirtest.Missing(t, "openssl is not installed")
	}
	a := &authority{t: t, dir: t.TempDir()}
	s := httptest.NewServer(http.HandlerFunc(a.serveHTTP))
	t.Cleanup(s.Close)
	a.web = s.URL
	a.write("ca.cnf", fmt.Sprintf(`
[ca]
default_ca = own
[own]
dir = %[1]s
database = $dir/index.txt
new_certs_dir = $dir
serial = $dir/serial
crlnumber = $dir/crlnumber
certificate = $dir/root.crt
private_key = $dir/root.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
unique_subject = no
[old]
dir = %[1]s
database = $dir/index.txt
certificate = $dir/root.crt
private_key = $dir/root.key
default_md = sha256
default_crl_days = 7
[any]
commonName = supplied
[user]
extendedKeyUsage = clientAuth
crlDistributionPoints = URI:%[2]s/ca.crl
[asks]
extendedKeyUsage = clientAuth
authorityInfoAccess = OCSP;URI:%[2]s/ocsp
[responder]
extendedKeyUsage = OCSPSigning
noCheck = yes
[issuer]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[plain]
authorityKeyIdentifier = keyid
[scoped]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical, @here
[here]
fullname = URI:%[2]s/ca.crl
onlyuser = TRUE
[indirect]
issuingDistributionPoint = critical, @others
[others]
indirectCRL = TRUE
`, a.dir, a.web))
	a.write("index.txt", "")
	a.write("serial", "f0\n")
	a.write("crlnumber", "01\n")
	a.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-subj", "/CN=Authority", "-days", "30",
		"-config", "ca.cnf", "-extensions", "issuer", "-out", "root.crt")
	return a
}

func (a *authority) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) run(args ...string) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), "openssl", args...)
	cmd.Dir = a.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (a *authority) read(name string) *x509.Certificate {
	a.t.Helper()
	data, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		a.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// issue makes a certificate with the extensions of a section.
func (a *authority) issue(name, extensions string) []*x509.Certificate {
	a.t.Helper()
	a.run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name+".key", "-subj", "/CN="+name, "-config", "ca.cnf", "-out", name+".csr")
	a.run("ca", "-batch", "-config", "ca.cnf", "-extensions", extensions, "-notext", "-in", name+".csr", "-out", name+".crt")
	return []*x509.Certificate{a.read(name + ".crt"), a.read("root.crt")}
}

func (a *authority) revoke(name, reason string) {
	a.t.Helper()
	a.run("ca", "-config", "ca.cnf", "-revoke", name+".crt", "-crl_reason", reason)
}

// publish makes a list.
func (a *authority) publish(args ...string) {
	a.t.Helper()
	a.run(append([]string{"ca", "-config", "ca.cnf", "-gencrl", "-out", "new.crl"}, args...)...)
	if err := os.Rename(filepath.Join(a.dir, "new.crl"), filepath.Join(a.dir, "ca.crl")); err != nil {
		a.t.Fatal(err)
	}
}

// respond has openssl answer with this signer. It runs once for each question,
// because as a server it listens on all addresses of the machine.
func (a *authority) respond(signer string, more ...string) {
	a.t.Helper()
	args := append([]string{
		"ocsp", "-index", "index.txt", "-CA", "root.crt", "-reqin", "question", "-respout", "answer",
		"-rsigner", signer + ".crt", "-rkey", signer + ".key",
	}, more...)
	a.answers.Store(&args)
}

// serveHTTP is the web server: lists, and the responder at /ocsp.
func (a *authority) serveHTTP(w http.ResponseWriter, r *http.Request) {
	args := a.answers.Load()
	switch {
	case r.URL.Path != "/ocsp":
		http.ServeFile(w, r, filepath.Join(a.dir, filepath.Base(r.URL.Path)))
		return
	case args == nil:
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	question, err := io.ReadAll(r.Body)
	if err == nil {
		err = os.WriteFile(filepath.Join(a.dir, "question"), question, 0o600)
	}
	if err == nil {
		cmd := exec.CommandContext(r.Context(), "openssl", *args...)
		cmd.Dir = a.dir
		err = cmd.Run()
	}
	if err != nil {
		a.t.Errorf("openssl %s: %v", strings.Join(*args, " "), err)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	http.ServeFile(w, r, filepath.Join(a.dir, "answer"))
}

// ask checks a path with a store that knows nothing yet.
func (a *authority) ask(path []*x509.Certificate) error {
	a.t.Helper()
	c := revocation.DefaultConfig()
	s, err := revocation.Open(c, revocation.Options{Fetch: fetch.HTTP(nil), Anchors: path[1:]})
	if err != nil {
		a.t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Check(a.t.Context(), s.Path(path))
	return err
}

func (a *authority) want(path []*x509.Certificate, want denial.Reason, words ...string) {
	a.t.Helper()
	err := a.ask(path)
	if want == "" && err != nil || denial.ReasonOf(err) != want {
		a.t.Errorf("got %v, want reason %q", err, want)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			a.t.Errorf("the detail lacks %q: %v", word, err)
		}
	}
}

// TestListsByOpenSSL has lists made by somebody else's code and fetched from a
// real server.
func TestListsByOpenSSL(t *testing.T) {
	a := newAuthority(t)
	jon, amy := a.issue("jon", "user"), a.issue("amy", "user")
	a.want(jon, denial.CRLUnreachable, "404")
	a.publish()
	a.want(jon, "")
	a.revoke("jon", "keyCompromise")
	for name, args := range map[string][]string{
		"plain":           nil,
		"with key":        {"-crlexts", "plain"},
		"scoped":          {"-crlexts", "scoped"},
		"of version 1":    {"-name", "old"},
		"RSA-PSS":         {"-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"},
		"by SHA-512":      {"-md", "sha512"},
		"with a deadline": {"-crlhours", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			a.publish(args...)
			a.want(jon, denial.Revoked, "keyCompromise", "CN=jon")
			a.want(amy, "")
			a.run("crl", "-in", "ca.crl", "-outform", "DER", "-out", "ca.crl")
			a.want(jon, denial.Revoked)
			a.want(amy, "")
		})
	}
	a.t = t
	a.publish("-crl_lastupdate", "20250101000000Z", "-crl_nextupdate", "20250102000000Z")
	a.want(amy, denial.CRLExpired, "2025-01-02T00:00:00Z")
	a.want(jon, denial.Revoked) // that much was known then
	a.publish("-md", "sha1")
	a.want(amy, denial.CRLUnusable, "too weak")
	a.publish("-crlexts", "indirect")
	a.want(amy, denial.CRLUnusable, "indirect")
}

// TestAnswersByOpenSSL has answers of a real responder, which repeats our number.
func TestAnswersByOpenSSL(t *testing.T) {
	a := newAuthority(t)
	jon, amy := a.issue("jon", "asks"), a.issue("amy", "asks")
	a.issue("responder", "responder")
	a.want(jon, denial.OCSPUnreachable, "503")
	a.revoke("jon", "superseded")

	a.respond("responder", "-nmin", "10")
	a.want(jon, denial.Revoked, "superseded", a.web)
	a.want(amy, "")
	a.respond("root", "-resp_key_id") // no end, and the authority by its key
	a.want(jon, denial.Revoked)
	a.want(amy, "")
	a.respond("responder", "-nmin", "10", "-rmd", "sha512")
	a.want(amy, "")
	a.respond("amy", "-nmin", "10")
	a.want(amy, denial.OCSPBadAnswer, "not for signing OCSP answers")
	a.respond("responder", "-nmin", "10", "-badsig")
	a.want(amy, denial.OCSPBadAnswer, "signature")
	a.write("index.txt", "")
	a.respond("responder", "-nmin", "10")
	a.want(amy, denial.OCSPUnknown)
}
