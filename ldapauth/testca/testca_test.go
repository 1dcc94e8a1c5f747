package testca_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/testca"
)

func TestHandshakeThroughAnIntermediateNeedsOnlyTheRoot(t *testing.T) {
	root := must(testca.New("Root"))(t)
	ca := must(root.Intermediate("Issuing"))(t)
	server := must(ca.Server("login.example", "127.0.0.1", "::1"))(t)
	client := must(ca.Client("jon"))(t)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root.PEM()) {
		t.Fatal("the root's PEM holds no certificate")
	}

	for _, name := range []string{"login.example", "127.0.0.1", "::1"} {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() {
			srv := tls.Server(far, &tls.Config{
				Certificates: []tls.Certificate{server.TLS()},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    roots,
			})
			err := srv.Handshake()
			_ = far.Close()
			done <- err
		}()
		conn := tls.Client(near, &tls.Config{
			RootCAs:      roots,
			ServerName:   name,
			Certificates: []tls.Certificate{client.TLS()},
		})
		_, err := conn.Read(make([]byte, 1)) // TLS 1.3 tells the client's certificate last
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: the client sees %v, want EOF", name, err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: the server sees %v", name, err)
		}
	}
}

func TestModsChangeTheTemplateBeforeItIsSigned(t *testing.T) {
	root := must(testca.New("Root", func(c *x509.Certificate) { c.MaxPathLenZero = true }))(t)
	if root.Certificate.MaxPathLen != 0 {
		t.Errorf("root: path length %d, want 0", root.Certificate.MaxPathLen)
	}
	end := time.Now().Add(time.Minute).Truncate(time.Second).UTC()
	leaf := must(root.Client("jon", func(c *x509.Certificate) {
		c.NotAfter = end
		c.Subject = pkix.Name{CommonName: "ann"}
	}))(t)
	if got := leaf.Certificate; !got.NotAfter.Equal(end) || got.Subject.CommonName != "ann" {
		t.Errorf("leaf for %q until %v, want ann until %v", got.Subject.CommonName, got.NotAfter, end)
	}
}

func TestPEMIsReadByTheStandardLibrary(t *testing.T) {
	root := must(testca.New("Root"))(t)
	ca := must(root.Intermediate("Issuing"))(t)
	leaf := must(ca.Client("jon"))(t)
	pair := must(tls.X509KeyPair(leaf.CertPEM(), leaf.KeyPEM()))(t)
	if len(pair.Certificate) != 2 {
		t.Errorf("%d certificates, want the leaf and one issuer", len(pair.Certificate))
	}
}

func TestPFXHoldsLeafKeyAndChain(t *testing.T) {
	root := must(testca.New("Root"))(t)
	ca := must(root.Intermediate("Issuing"))(t)
	leaf := must(ca.Client("jon"))(t)
	pfx := must(leaf.PFX("changeit"))(t)

	key, cert, chain, err := pkcs12.DecodeChain(pfx, "changeit")
	if err != nil {
		t.Fatal(err)
	}
	if !key.(*ecdsa.PrivateKey).Equal(leaf.Key) || !cert.Equal(leaf.Certificate) || len(chain) != 1 || !chain[0].Equal(ca.Certificate) {
		t.Error("the file holds something else than went in")
	}

	file := filepath.Join(t.TempDir(), "jon.p12")
	if err := os.WriteFile(file, pfx, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("openssl", func(t *testing.T) {
		out := run(t, "openssl", "pkcs12", "-in", file, "-passin", "pass:changeit", "-nodes")
		if n := strings.Count(out, "BEGIN CERTIFICATE"); n != 2 || !strings.Contains(out, "BEGIN PRIVATE KEY") {
			t.Errorf("openssl finds %d certificates, want 2 and a key:\n%s", n, out)
		}
	})
	t.Run("NSS, as Firefox and Chromium on Linux", func(t *testing.T) {
		db := "sql:" + t.TempDir()
		run(t, "certutil", "-N", "-d", db, "--empty-password")
		run(t, "pk12util", "-i", file, "-d", db, "-W", "changeit")
		if out := run(t, "certutil", "-K", "-d", db); !strings.Contains(out, "jon") {
			t.Errorf("the key did not arrive:\n%s", out)
		}
	})
}

// run runs a program and returns its output; without the program it skips.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		dirtest.Missing(t, "%s is not installed", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
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
