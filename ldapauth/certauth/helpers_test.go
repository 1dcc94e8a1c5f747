package certauth_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

// template is what a test changes before a certificate is signed.
type template = *x509.Certificate

func newCA(t testing.TB, name string, mods ...func(template)) *testca.CA {
	t.Helper()
	return must(testca.New(name, mods...))(t)
}

func intermediate(t testing.TB, ca *testca.CA, name string, mods ...func(template)) *testca.CA {
	t.Helper()
	return must(ca.Intermediate(name, mods...))(t)
}

func client(t testing.TB, ca *testca.CA, name string, mods ...func(template)) *testca.Leaf {
	t.Helper()
	return must(ca.Client(name, mods...))(t)
}

// sent is what the holder of a leaf sends: the leaf and its issuers.
func sent(l *testca.Leaf) []*x509.Certificate {
	return append([]*x509.Certificate{l.Certificate}, l.Chain...)
}

// anchors loads certificates as an operator would give them: from a file.
func anchors(t testing.TB, certs ...*x509.Certificate) *certauth.Anchors {
	t.Helper()
	var text strings.Builder
	for _, c := range certs {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	return must(certauth.LoadAnchors([]setting.File{write(t, text.String())}))(t)
}

// verifier trusts the authorities and has the default settings.
func verifier(t testing.TB, cas ...*testca.CA) *certauth.Verifier {
	t.Helper()
	return verifierWith(t, certauth.DefaultConfig(), cas...)
}

func verifierWith(t testing.TB, c certauth.Config, cas ...*testca.CA) *certauth.Verifier {
	t.Helper()
	var certs []*x509.Certificate
	for _, ca := range cas {
		certs = append(certs, ca.Certificate)
	}
	return certauth.New(c, anchors(t, certs...))
}

// wantName fails unless the chain is accepted and names name.
func wantName(t testing.TB, v *certauth.Verifier, chain []*x509.Certificate, name string) {
	t.Helper()
	c, err := v.Verify(t.Context(), chain)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	if c.UserName != name || c.Rule != "subject_cn" {
		t.Errorf("name = %q by %q, want %q by subject_cn", c.UserName, c.Rule, name)
	}
}

// wantReason fails unless the chain is refused for the reason, with a detail
// that holds all of the words.
func wantReason(t testing.TB, v *certauth.Verifier, chain []*x509.Certificate, want denial.Reason, words ...string) {
	t.Helper()
	c, err := v.Verify(t.Context(), chain)
	if got := denial.ReasonOf(err); got != want || want == "" {
		t.Fatalf("reason = %q, want %q (error: %v)", got, want, err)
	}
	if c != nil {
		t.Errorf("a refusal came with a certificate: %+v", c)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the detail lacks %q: %v", word, err)
		}
	}
}

func write(t testing.TB, text string) setting.File {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return setting.File(file)
}

// between sets the times of a template.
func between(from, to time.Time) func(template) {
	return func(c template) { c.NotBefore, c.NotAfter = from, to }
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
