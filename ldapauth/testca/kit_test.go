package testca_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/testca"
)

func order() testca.Order {
	return testca.Order{
		CommonName: "Kit CA", Hosts: []string{"localhost", "127.0.0.1"}, Users: []string{"jon"}, Revoked: []string{"dora"},
		SelfSigned: []string{"kiosk"}, Password: "changeit",
	}
}

func kitIn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := must(testca.NewKit(order()))(t).Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOpenSSLJudgesAKit asks a program that is not ours.
func TestOpenSSLJudgesAKit(t *testing.T) {
	dir := kitIn(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	lists := []string{"verify", "-x509_strict", "-crl_check", "-CAfile", file("ca.crt"), "-CRLfile", file("ca.crl")}
	for _, way := range [][]string{{"-purpose", "sslclient", file("jon.crt")}, {"-purpose", "sslserver", "-verify_hostname", "localhost", file("server.crt")}} {
		if out := run(t, "openssl", append(lists, way...)...); !strings.Contains(out, ": OK") {
			t.Errorf("%s", out)
		}
	}
	for name, why := range map[string]string{"dora": "certificate revoked", "kiosk": "self-signed certificate"} {
		out, err := exec.CommandContext(t.Context(), "openssl", append(lists, file(name+".crt"))...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), why) {
			t.Errorf("%s: %v, want %q in\n%s", name, err, why, out)
		}
	}
	if out := run(t, "openssl", "crl", "-in", file("ca.crl"), "-CAfile", file("ca.crt"), "-noout", "-text"); !strings.Contains(out, "verify OK") || !strings.Contains(out, "Key Compromise") {
		t.Errorf("the list:\n%s", out)
	}
	run(t, "openssl", "x509", "-in", file("kiosk.crt"), "-noout", "-checkend", "0")
	for name, certificates := range map[string]int{"jon": 1, "kiosk": 1, "server": 1} {
		out := run(t, "openssl", "pkcs12", "-in", file(name+".pfx"), "-passin", "pass:changeit", "-nodes")
		if n := strings.Count(out, "BEGIN CERTIFICATE"); n != certificates || !strings.Contains(out, "BEGIN PRIVATE KEY") {
			t.Errorf("%s.pfx holds %d certificates:\n%s", name, n, out)
		}
		key := run(t, "openssl", "pkey", "-in", file(name+".key"), "-pubout")
		if cert := run(t, "openssl", "x509", "-in", file(name+".crt"), "-noout", "-pubkey"); key != cert {
			t.Errorf("%s.key is not the key of %s.crt", name, name)
		}
	}
}

func TestAKitIsForItsOwnerAndOverwritesNothing(t *testing.T) {
	dir := kitIn(t)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3+4*3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o600) {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	before := must(os.ReadFile(filepath.Join(dir, "jon.key")))(t)
	o := order()
	o.Users = append(o.Users, "amy")
	if err := must(testca.NewKit(o))(t).Write(dir); err == nil || !strings.Contains(err.Error(), "nothing is overwritten") {
		t.Errorf("%v", err)
	}
	if after := must(os.ReadFile(filepath.Join(dir, "jon.key")))(t); string(after) != string(before) {
		t.Error("jon.key is another")
	}
	if _, err := os.Lstat(filepath.Join(dir, "amy.key")); err == nil {
		t.Error("some of the files were written all the same")
	}
	if runtime.GOOS == "windows" {
		return // links need a right there
	}
	// A link that leads nowhere is something, too.
	other := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(other, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if err := must(testca.NewKit(order()))(t).Write(other); err == nil {
		t.Error("a link was followed")
	}
}

func TestNamesThatCannotBeFilesAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../jon", "a/b", `a\b`, "a b", "-rf", ".ssh", "a\x00", "a:b", "ca", "SERVER", "jon", "Jon", "DORA", strings.Repeat("a", 65)} {
		o := order()
		o.SelfSigned = append(o.SelfSigned, name)
		if _, err := testca.NewKit(o); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	o := order()
	o.Users = []string{"jon@fabrikam.example", "zoë", "o.neil-2"}
	if _, err := testca.NewKit(o); err != nil {
		t.Error(err)
	}
	o.Hosts = nil
	if _, err := testca.NewKit(o); err == nil {
		t.Error("a server without a name")
	}
}

func TestMain(m *testing.M) { os.Exit(dirtest.Main(m)) }
