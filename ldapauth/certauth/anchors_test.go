package certauth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/setting"
)

func TestLoadAnchorsReadsWhatAuthoritiesGiveOut(t *testing.T) {
	a, b := newCA(t, "A"), newCA(t, "B")
	for _, tt := range []struct {
		name string
		text string
		want string // the subjects
	}{
		{"PEM", string(a.PEM()), "A"},
		{"DER", string(a.Certificate.Raw), "A"},
		{"several in PEM", string(a.PEM()) + string(b.PEM()), "A B"},
		{"several in DER", string(a.Certificate.Raw) + string(b.Certificate.Raw), "A B"},
		{"one twice", string(a.PEM()) + string(b.PEM()) + string(a.PEM()), "A B"},
		{"text between, as openssl writes it", "Certificate:\n  Data:\n" + string(a.PEM()) + "\n# B\n" + string(b.PEM()), "A B"},
		{"Windows", "\xef\xbb\xbf" + strings.ReplaceAll(string(a.PEM()), "\n", "\r\n"), "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := must(certauth.LoadAnchors([]setting.File{write(t, tt.text)}))(t)
			var names []string
			for _, c := range got.Certificates() {
				names = append(names, c.Subject.CommonName)
			}
			if s := strings.Join(names, " "); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
	t.Run("several files", func(t *testing.T) {
		got := must(certauth.LoadAnchors([]setting.File{write(t, string(a.PEM())), write(t, string(b.Certificate.Raw)), write(t, string(a.PEM()))}))(t)
		if n := len(got.Certificates()); n != 2 {
			t.Errorf("got %d anchors, want 2", n)
		}
	})
	t.Run("one out of date, which may stand beside its successor", func(t *testing.T) {
		old := newCA(t, "Old", between(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
		must(certauth.LoadAnchors([]setting.File{write(t, string(old.PEM()))}))(t)
	})
}

func TestA8_LoadAnchorsTakesAllOrNothingAndSaysWhatToDo(t *testing.T) {
	a := newCA(t, "A")
	leaf := client(t, a, "jon")
	good := string(a.PEM())
	odd := func(id asn1.ObjectIdentifier, critical bool, value string) string {
		ca := newCA(t, "Odd", func(c template) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: []byte(value)})
		})
		return string(ca.PEM())
	}
	folder := t.TempDir()
	for _, tt := range []struct {
		name string
		file setting.File
		want string
	}{
		{"missing", setting.File(filepath.Join(folder, "none.crt")), "correct the path"},
		{"a folder", setting.File(folder), "correct the path"},
		{"empty", write(t, ""), "is empty"},
		{"blank", write(t, " \r\n"), "is empty"},
		{"text", write(t, "hello"), "neither PEM nor DER"},
		{"UTF-16, as a Windows shell writes it", write(t, "\xff\xfe-\x00-\x00"), "neither PEM nor DER"},
		{"a private key", write(t, string(leaf.KeyPEM())), `"PRIVATE KEY"`},
		{"a private key behind a certificate", write(t, good+string(leaf.KeyPEM())), `"PRIVATE KEY"`},
		{"a request", write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{1}}))), `"CERTIFICATE REQUEST"`},
		{"a user's certificate", write(t, string(leaf.CertPEM())), "is not that of an authority"},
		{"a user's certificate in DER", write(t, string(leaf.Certificate.Raw)), "is not that of an authority"},
		{"a user's certificate behind a good one", write(t, good+string(leaf.CertPEM())), `"CN=jon" is not that of an authority`},
		{"an authority that may not sign", write(t, string(newCA(t, "A", func(c template) { c.KeyUsage = x509.KeyUsageCRLSign }).PEM())), "keyCertSign"},
		{"an unknown critical extension", write(t, odd(asn1.ObjectIdentifier{1, 2, 3, 4}, true, "\x05\x00")), "1.2.3.4"},
		{
			"limits on distinguished names",
			write(t, odd(asn1.ObjectIdentifier{2, 5, 29, 30}, false, "\x30\x15\xa0\x13\x30\x11\xa4\x0f\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x0a\x0c\x02\x42\x72")),
			"limits names",
		},
		{"damaged PEM", write(t, good+strings.Replace(good, "MII", "M!!", 1)), "damaged or cut off"},
		{"damaged PEM in front", write(t, strings.Replace(good, "MII", "M!!", 1)+good), "damaged or cut off"},
		{"PEM cut off", write(t, good+good[:len(good)-30]), "damaged or cut off"},
		{"PEM of something else", write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nonsense")}))), "certificate 1 in it cannot be read"},
		{"DER with a byte too many", write(t, string(a.Certificate.Raw)+"\x00"), "neither PEM nor DER"},
		{"DER cut off", write(t, string(a.Certificate.Raw[:100])), "neither PEM nor DER"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := certauth.LoadAnchors([]setting.File{write(t, good), tt.file})
			if err == nil || got != nil {
				t.Fatalf("got %v and error %v, want an error alone", got, err)
			}
			text := err.Error()
			if !strings.HasPrefix(text, "ca_files[1]: ") || !strings.Contains(text, string(tt.file)) || !strings.Contains(text, tt.want) {
				t.Errorf("want ca_files[1], the file and %q: %v", tt.want, err)
			}
		})
	}
	t.Run("no files", func(t *testing.T) {
		if got, err := certauth.LoadAnchors(nil); err == nil || got != nil {
			t.Errorf("got %v and error %v, want an error alone", got, err)
		}
	})
	t.Run("every bad file is reported", func(t *testing.T) {
		_, err := certauth.LoadAnchors([]setting.File{write(t, ""), write(t, good), write(t, "x")})
		if n := len(setting.Split(err)); n != 2 {
			t.Errorf("got %d problems, want 2: %v", n, err)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			return // where a mode does not keep anybody from reading
		}
		file := write(t, good)
		if err := os.Chmod(string(file), 0); err != nil {
			t.Fatal(err)
		}
		dirtest.AsNobody(t, func() {
			if _, err := certauth.LoadAnchors([]setting.File{file}); err == nil || !strings.Contains(err.Error(), string(file)) {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	})
}

func TestPoolIsTheCallersOwn(t *testing.T) {
	a, b := newCA(t, "A"), newCA(t, "B")
	list := anchors(t, a.Certificate)
	v := certauth.New(certauth.DefaultConfig(), list)
	pool := list.Pool()
	pool.AddCert(b.Certificate)
	list.Certificates()[0] = b.Certificate
	want := x509.NewCertPool()
	want.AddCert(a.Certificate)
	if !list.Pool().Equal(want) {
		t.Error("the anchors changed with the pool")
	}
	v.SetAnchors(list)
	if _, err := v.Verify(t.Context(), sent(client(t, b, "jon"))); err == nil {
		t.Error("a stranger was let in")
	}
	var none *certauth.Anchors
	if !none.Pool().Equal(x509.NewCertPool()) {
		t.Error("no anchors are not an empty pool")
	}
}
