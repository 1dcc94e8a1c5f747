package front_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"adconnector/connector/front"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

// files writes what is in a folder of the test. Everything is for the owner
// alone unless the test changes that.
type files struct {
	t      testing.TB
	folder string
}

func newFiles(t testing.TB) files { return files{t, t.TempDir()} }

func (f files) path(name string) string { return filepath.Join(f.folder, name) }

func (f files) write(name string, data []byte) setting.File {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return setting.File(f.path(name))
}

// openssl runs that program in the folder.
func (f files) openssl(args ...string) {
	f.t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		dirtest.Missing(f.t, "openssl is not installed")
	}
	cmd := exec.Command("openssl", args...)
	cmd.Dir = f.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
}

// chained returns a server certificate below an intermediate authority, and the
// authorities.
func chained(t testing.TB) (leaf *testca.Leaf, middle, root *testca.CA) {
	t.Helper()
	root = authority(t, "Root")
	middle, err := root.Intermediate("Middle")
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = middle.Server(login); err != nil {
		t.Fatal(err)
	}
	return leaf, middle, root
}

// serves makes sure that a client that trusts the root takes the certificate.
func serves(t *testing.T, c *tls.Certificate, root *testca.CA) {
	t.Helper()
	s := open(t, func(o *front.Options) { o.Certificate = c })
	browser := s.browser(tls.VersionTLS13)
	browser.RootCAs = pool(root)
	s.visit(browser, outside)
}

func TestPEM(t *testing.T) {
	leaf, middle, root := chained(t)
	bom := []byte("\xef\xbb\xbf")
	for _, tt := range []struct {
		name      string
		cert, key []byte
	}{
		{"leaf, chain and key", leaf.CertPEM(), leaf.KeyPEM()},
		{"with the root", slices.Concat(leaf.CertPEM(), root.PEM()), leaf.KeyPEM()},
		{"everything in both files", slices.Concat(leaf.CertPEM(), leaf.KeyPEM()), slices.Concat(leaf.CertPEM(), leaf.KeyPEM())},
		{"key before the certificate", slices.Concat(leaf.KeyPEM(), leaf.CertPEM()), leaf.KeyPEM()},
		{"text before and between", slices.Concat([]byte("subject=x\n"), leaf.CertPEM()), slices.Concat([]byte("Bag Attributes\n"), leaf.KeyPEM())},
		{"lines of Windows", bytes.ReplaceAll(leaf.CertPEM(), []byte("\n"), []byte("\r\n")), bytes.ReplaceAll(leaf.KeyPEM(), []byte("\n"), []byte("\r\n"))},
		{"mark of an editor", slices.Concat(bom, leaf.CertPEM()), slices.Concat(bom, leaf.KeyPEM())},
		{"key of EC in its own form", leaf.CertPEM(), sec1(t, leaf.Key)},
		{"with its parameters", leaf.CertPEM(), slices.Concat(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), sec1(t, leaf.Key))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFiles(t)
			c, warnings, err := front.LoadCertificate(front.TLSConfig{CertFile: f.write("cert", tt.cert), KeyFile: f.write("key", tt.key)})
			if err != nil || len(warnings) > 0 {
				t.Fatalf("warnings %q, error %v", warnings, err)
			}
			if c.Leaf == nil || !c.Leaf.Equal(leaf.Certificate) || !bytes.Equal(c.Certificate[1], middle.Certificate.Raw) {
				t.Error("the chain is another")
			}
			serves(t, c, root)
		})
	}
}

func TestKeysOfAllKinds(t *testing.T) {
	ca := authority(t, "CA")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key crypto.Signer
		pem []byte
	}{
		"RSA":                 {rsaKey, nil},
		"RSA in its own form": {rsaKey, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"P-384":               {ecKey, nil},
		"Ed25519":             {edKey, nil},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := issue(t, ca, tt.key)
			if tt.pem == nil {
				tt.pem = leaf.KeyPEM()
			}
			f := newFiles(t)
			c, warnings, err := front.LoadCertificate(front.TLSConfig{CertFile: f.write("cert", leaf.CertPEM()), KeyFile: f.write("key", tt.pem)})
			if err != nil || len(warnings) > 0 {
				t.Fatalf("warnings %q, error %v", warnings, err)
			}
			serves(t, c, ca)
		})
	}
}

func issue(t testing.TB, ca *testca.CA, key crypto.Signer) *testca.Leaf {
	t.Helper()
	leaf, err := ca.Issue(&x509.Certificate{DNSNames: []string{login}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// sec1 writes an EC key in the form that older programs write.
func sec1(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return block("EC PRIVATE KEY", der)
}

func TestA8_FilesThatCannotBeUsed(t *testing.T) {
	leaf, middle, root := chained(t)
	stranger, _, _ := chained(t)
	cert, key := leaf.CertPEM(), leaf.KeyPEM()
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(slices.Clone(cert), []byte("-----END"), []byte("*\n-----END"), 1)
	const none = "(none)"
	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"certificate missing", []byte(none), key, "cert_file: there is no file"},
		{"key missing", cert, []byte(none), "key_file: there is no file"},
		{"certificate empty", nil, key, "is empty"},
		{"key empty", cert, nil, "is empty"},
		{"text", []byte("hello"), key, "no line -----BEGIN CERTIFICATE-----"},
		{"text for a key", cert, []byte("hello"), "no line -----BEGIN PRIVATE KEY-----"},
		{"key in place of the certificate", key, key, "is it the key_file?"},
		{"certificate in place of the key", cert, cert, "is it the cert_file?"},
		{"request", block("CERTIFICATE REQUEST", request), key, "what the CA sent back"},
		{"PKCS #7", block("PKCS7", []byte("x")), key, "openssl pkcs7"},
		{"form of OpenSSL", block("TRUSTED CERTIFICATE", leaf.Certificate.Raw), key, "openssl x509"},
		{"binary certificate", leaf.Certificate.Raw, key, "-inform der"},
		{"binary key", cert, der, "-inform der"},
		{"UTF-16", []byte("\xff\xfe-\x00-\x00"), key, "UTF-16"},
		{"damaged in front", damaged, key, "of 2 PEM blocks only 1"},
		{"cut off", cert[:len(cert)-40], key, "of 2 PEM blocks only 1"},
		{"not a certificate inside", block("CERTIFICATE", []byte("x")), key, "cannot be read"},
		{"not a key inside", cert, block("PRIVATE KEY", []byte("x")), "cannot be read"},
		{"two keys", cert, slices.Concat(key, stranger.KeyPEM()), "more than one private key"},
		{"key for SSH", cert, block("OPENSSH PRIVATE KEY", []byte("x")), "key for SSH"},
		{"key of another certificate", cert, stranger.KeyPEM(), "does not belong"},
		{"CAs only", slices.Concat(middle.PEM(), root.PEM()), key, "CA certificates only"},
		{"wrong order", slices.Concat(root.PEM(), middle.PEM(), leaf.CertPEM()), key, "wrong order: the certificate of the key is number 3 of 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFiles(t)
			c := front.TLSConfig{CertFile: setting.File(f.path("cert")), KeyFile: setting.File(f.path("key"))}
			if string(tt.cert) != none {
				f.write("cert", tt.cert)
			}
			if string(tt.key) != none {
				f.write("key", tt.key)
			}
			refused(t, c, tt.want)
		})
	}
	t.Run("folder", func(t *testing.T) {
		f := newFiles(t)
		refused(t, front.TLSConfig{CertFile: setting.File(f.folder), KeyFile: f.write("key", key)}, "cert_file: ")
	})
	t.Run("unreadable", func(t *testing.T) {
		f := newFiles(t)
		path := f.write("key", key)
		if err := os.Chmod(string(path), 0); err != nil {
			t.Fatal(err)
		}
		certFile := f.write("cert", cert)
		for _, path := range []setting.File{certFile, setting.File(f.folder)} { // the key alone shall be out of reach
			if err := os.Chmod(string(path), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if runtime.GOOS == "windows" {
			return // where a mode does not keep anybody from reading
		}
		dirtest.AsNobody(t, func() {
			refused(t, front.TLSConfig{CertFile: certFile, KeyFile: path}, "may not read")
		})
	})
}

// refused makes sure that the files are, with want in the error and no part of a
// key.
func refused(t *testing.T, c front.TLSConfig, want string) {
	t.Helper()
	got, _, err := front.LoadCertificate(c)
	if err == nil || got != nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error = %v, want %q in it", err, want)
	}
	data, _ := os.ReadFile(string(c.KeyFile))
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestEncryptedKeys(t *testing.T) {
	leaf, _, _ := chained(t)
	f := newFiles(t)
	cert, _ := f.write("cert", leaf.CertPEM()), f.write("key", leaf.KeyPEM())
	f.openssl("pkcs8", "-topk8", "-in", "key", "-out", "pkcs8", "-passout", "pass:secret")
	f.openssl("ec", "-aes256", "-in", "key", "-out", "sec1", "-passout", "pass:secret")
	for _, name := range []string{"pkcs8", "sec1"} {
		if err := os.Chmod(f.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, front.TLSConfig{CertFile: cert, KeyFile: setting.File(f.path(name))}, "is encrypted")
	}
}

// TestPFX reads what others write: openssl as it writes today and as it and
// Windows used to write.
func TestPFX(t *testing.T) {
	leaf, middle, root := chained(t)
	f := newFiles(t)
	f.write("cert", block("CERTIFICATE", leaf.Certificate.Raw))
	f.write("key", leaf.KeyPEM())
	f.write("others", slices.Concat(root.PEM(), middle.PEM())) // any order, with the root
	export := []string{"pkcs12", "-export", "-in", "cert", "-inkey", "key", "-certfile", "others"}
	for _, tt := range []struct {
		name, password string
		args           []string
	}{
		{"modern", "sesam", nil},
		{"legacy, 3DES and RC2", "sesam", []string{"-legacy"}},
		{"legacy 3DES alone", "sesam", []string{"-legacy", "-certpbe", "PBE-SHA1-3DES"}},
		{"certificates not encrypted", "sesam", []string{"-certpbe", "NONE"}},
		{"password with umlauts", "Grüße", nil},
		{"empty password", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.openssl(append(append(export, "-out", "pfx", "-passout", "pass:"+tt.password), tt.args...)...)
			file := setting.File(f.path("pfx"))
			for _, c := range []front.TLSConfig{
				{PFXFile: file, PFXPassword: secret.New(tt.password)},
				{PFXFile: file, PFXPasswordFile: f.write("password", []byte(tt.password+"\r\n"))},
			} {
				got, warnings, err := front.LoadCertificate(c)
				if err != nil || len(warnings) > 0 {
					t.Fatalf("warnings %q, error %v", warnings, err)
				}
				if got.Leaf == nil || !got.Leaf.Equal(leaf.Certificate) || len(got.Certificate) != 2 || !bytes.Equal(got.Certificate[1], middle.Certificate.Raw) {
					t.Error("want the leaf and its issuer, without the root")
				}
				serves(t, got, root)
			}
			refused(t, front.TLSConfig{PFXFile: file, PFXPassword: secret.New("wrong")}, "password for")
			if tt.password != "" {
				refused(t, front.TLSConfig{PFXFile: file}, "set pfx_password_file")
			}
		})
	}
}

// TestPFXWithTheLeafBehind reads a file as Windows may order it.
func TestPFXWithTheLeafBehind(t *testing.T) {
	leaf, middle, root := chained(t)
	data, err := pkcs12.Legacy.Encode(leaf.Key, root.Certificate, []*x509.Certificate{middle.Certificate, leaf.Certificate}, "sesam")
	if err != nil {
		t.Fatal(err)
	}
	f := newFiles(t)
	c, _, err := front.LoadCertificate(front.TLSConfig{PFXFile: f.write("pfx", data), PFXPassword: secret.New("sesam")})
	if err != nil {
		t.Fatal(err)
	}
	serves(t, c, root)

	stranger, _, _ := chained(t)
	if data, err = pkcs12.Modern.Encode(stranger.Key, leaf.Certificate, nil, "sesam"); err != nil {
		t.Fatal(err)
	}
	refused(t, front.TLSConfig{PFXFile: f.write("pfx", data), PFXPassword: secret.New("sesam")}, "none of the certificates")
}

func TestPFXThatWeMake(t *testing.T) {
	leaf, _, root := chained(t)
	data, err := leaf.PFX("sesam")
	if err != nil {
		t.Fatal(err)
	}
	f := newFiles(t)
	c, warnings, err := front.LoadCertificate(front.TLSConfig{PFXFile: f.write("pfx", data), PFXPassword: secret.New("sesam")})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
	serves(t, c, root)
}

func TestA8_PFXThatCannotBeUsed(t *testing.T) {
	leaf, middle, _ := chained(t)
	f := newFiles(t)
	f.write("cert", leaf.CertPEM())
	f.write("key", leaf.KeyPEM())
	f.write("others", middle.PEM())
	f.openssl("pkcs12", "-export", "-nokeys", "-in", "cert", "-out", "nokey", "-passout", "pass:x")
	nokey, err := os.ReadFile(f.path("nokey"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "is empty"},
		{"text", []byte("hello"), "cannot be used"},
		{"PEM", leaf.CertPEM(), "is a PEM file"},
		{"without a key", nokey, "with its private key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, front.TLSConfig{PFXFile: f.write("pfx", tt.data), PFXPassword: secret.New("x")}, tt.want)
		})
	}
	pfx, err := leaf.PFX("x")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, front.TLSConfig{PFXFile: f.write("pfx", pfx), PFXPasswordFile: setting.File(f.path("nothing"))}, "pfx_password_file: there is no file")
	refused(t, front.TLSConfig{PFXFile: setting.File(f.path("nothing"))}, "pfx_file: there is no file")
}

func TestWarnings(t *testing.T) {
	leaf, middle, root := chained(t)
	client, err := root.Client("jon")
	if err != nil {
		t.Fatal(err)
	}
	caKey := testca.Leaf{Certificate: root.Certificate, Key: root.Key}
	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"certificate of a CA", caKey.CertPEM(), caKey.KeyPEM(), "certificate of a CA"},
		{"certificate for clients", client.CertPEM(), client.KeyPEM(), "not meant for servers"},
		{"issuers in the wrong order", slices.Concat(block("CERTIFICATE", leaf.Certificate.Raw), root.PEM(), middle.PEM()), leaf.KeyPEM(), "number 2 (CN=Root) did not issue number 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFiles(t)
			c, warnings, err := front.LoadCertificate(front.TLSConfig{CertFile: f.write("cert", tt.cert), KeyFile: f.write("key", tt.key)})
			if err != nil || c == nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(warnings, "\n"), tt.want) {
				t.Errorf("warnings = %q, want %q in them", warnings, tt.want)
			}
		})
	}
}

// TestBrokenFileChangesNothing: a botched renewal is an error of LoadCertificate,
// before anything reached the front.
func TestBrokenFileChangesNothing(t *testing.T) {
	s := open(t, nil)
	leaf, err := s.servers.Server(login)
	if err != nil {
		t.Fatal(err)
	}
	f := newFiles(t)
	c := front.TLSConfig{CertFile: f.write("cert", leaf.CertPEM()), KeyFile: f.write("key", leaf.KeyPEM())}
	reload := func() error {
		certificate, _, err := front.LoadCertificate(c)
		if err == nil {
			s.front.SetCertificate(certificate)
		}
		return err
	}
	served := func() *x509.Certificate {
		return s.visit(s.browser(tls.VersionTLS13), outside).client.PeerCertificates[0]
	}
	if err := reload(); err != nil || !served().Equal(leaf.Certificate) {
		t.Fatalf("a new file: %v", err)
	}
	next, err := s.servers.Server(login)
	if err != nil {
		t.Fatal(err)
	}
	f.write("cert", next.CertPEM()) // and the key not yet
	if err := reload(); err == nil || !served().Equal(leaf.Certificate) {
		t.Errorf("half of a renewal: %v; the certificate from before must stay", err)
	}
	f.write("key", next.KeyPEM())
	if err := reload(); err != nil || !served().Equal(next.Certificate) {
		t.Errorf("both halves: %v", err)
	}
}

func TestTLSConfigValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config front.TLSConfig
		want   []string // keys
	}{
		{"PEM", front.TLSConfig{CertFile: "c", KeyFile: "k", MinVersion: "1.2"}, nil},
		{"PFX", front.TLSConfig{PFXFile: "p", MinVersion: "1.3"}, nil},
		{"PFX with a password", front.TLSConfig{PFXFile: "p", PFXPassword: secret.New("x")}, nil},
		{"nothing", front.TLSConfig{}, []string{"cert_file"}},
		{"no key", front.TLSConfig{CertFile: "c"}, []string{"key_file"}},
		{"no certificate", front.TLSConfig{KeyFile: "k"}, []string{"cert_file"}},
		{"both", front.TLSConfig{CertFile: "c", KeyFile: "k", PFXFile: "p"}, []string{"pfx_file"}},
		{"key beside PFX", front.TLSConfig{KeyFile: "k", PFXFile: "p"}, []string{"pfx_file"}},
		{"password without PFX", front.TLSConfig{CertFile: "c", KeyFile: "k", PFXPassword: secret.New("x")}, []string{"pfx_password"}},
		{"all at once", front.TLSConfig{CertFile: "c", PFXPassword: secret.New("x"), PFXPasswordFile: "x", MinVersion: "1.1"}, []string{"key_file", "pfx_password_file", "min_version"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, err := range setting.Split(tt.config.Validate()) {
				if p, ok := errors.AsType[*setting.Problem](err); ok {
					got = append(got, p.Key)
				} else {
					t.Errorf("%v is not a problem with a key", err)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("problems with %q, want %q", got, tt.want)
			}
		})
	}
}
