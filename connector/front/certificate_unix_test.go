//go:build !windows

package front_test

import (
	"os"
	"strings"
	"testing"

	"adconnector/connector/front"
	"adconnector/ldapauth/setting"
)

// TestRightsOfKeyFiles: each file that holds a secret is looked at, and the
// certificate, which is public, is not.
func TestRightsOfKeyFiles(t *testing.T) {
	leaf, _, _ := chained(t)
	pfx, err := leaf.PFX("x")
	if err != nil {
		t.Fatal(err)
	}
	f := newFiles(t)
	inPEM := front.TLSConfig{CertFile: f.write("cert", leaf.CertPEM()), KeyFile: f.write("key", leaf.KeyPEM())}
	inPFX := front.TLSConfig{PFXFile: f.write("pfx", pfx), PFXPasswordFile: f.write("password", []byte("x"))}
	if err := os.Chmod(string(inPEM.CertFile), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file   setting.File
		config front.TLSConfig
	}{{inPEM.KeyFile, inPEM}, {inPFX.PFXFile, inPFX}, {inPFX.PFXPasswordFile, inPFX}} {
		for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "warning", 0o644: "error", 0o660: "error"} {
			if err := os.Chmod(string(tt.file), mode); err != nil {
				t.Fatal(err)
			}
			_, warnings, err := front.LoadCertificate(tt.config)
			got := ""
			switch {
			case err != nil && strings.Contains(err.Error(), "chmod 600 "+string(tt.file)):
				got = "error"
			case err != nil:
				t.Error(err)
			case len(warnings) > 0:
				got = "warning"
			}
			if got != want {
				t.Errorf("%s with mode %o: %q, want %q", tt.file, mode, got, want)
			}
		}
		if err := os.Chmod(string(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
