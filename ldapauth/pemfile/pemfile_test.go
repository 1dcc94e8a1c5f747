package pemfile_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"adconnector/ldapauth/pemfile"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

func write(t *testing.T, data string) setting.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return setting.File(path)
}

func TestRoots(t *testing.T) {
	one, err := testca.New("One")
	if err != nil {
		t.Fatal(err)
	}
	other, err := testca.New("Other")
	if err != nil {
		t.Fatal(err)
	}
	if pool, err := pemfile.Roots(nil); pool != nil || err != nil {
		t.Errorf("no files: %v, %v; want none, so that the system's authorities hold", pool, err)
	}
	for name, files := range map[string][]setting.File{
		"two files":           {write(t, string(one.PEM())), write(t, string(other.PEM()))},
		"two in one":          {write(t, string(one.PEM())+"Other:\r\n"+string(other.PEM()))},
		"DER":                 {write(t, string(one.Certificate.Raw)), write(t, string(other.Certificate.Raw))},
		"byte order mark":     {write(t, "\xef\xbb\xbf"+string(one.PEM())+string(other.PEM()))},
		"the same once again": {write(t, string(one.PEM())), write(t, string(other.PEM())), write(t, string(one.PEM()))},
	} {
		want := x509.NewCertPool()
		want.AddCert(one.Certificate)
		want.AddCert(other.Certificate)
		if pool, err := pemfile.Roots(files); err != nil || !pool.Equal(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, tt := range map[string]struct {
		file setting.File
		want string
	}{
		"missing":   {setting.File(filepath.Join(t.TempDir(), "none")), "check the path"},
		"empty":     {write(t, ""), "is empty"},
		"text":      {write(t, "hello"), "neither PEM nor DER"},
		"a key":     {write(t, string(one.PEM())+"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"), `"PRIVATE KEY"`},
		"cut off":   {write(t, string(one.PEM()[:100])), "cut off"},
		"long kind": {write(t, "-----BEGIN "+strings.Repeat("X", 1000)+"-----\nAA==\n-----END "+strings.Repeat("X", 1000)+"-----\n"), "holds a PEM block"},
	} {
		pool, err := pemfile.Roots([]setting.File{write(t, string(one.PEM())), tt.file})
		if err == nil || pool != nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "ca_files[1]: ") || !strings.Contains(text, string(tt.file)) || !strings.Contains(text, tt.want) || len(text) > 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
