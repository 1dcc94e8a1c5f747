package connector_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/ldapauth/testca"
)

// findings runs check on the rig's configuration.
func (r *rig) findings() (text string, worst connector.Level) {
	r.t.Helper()
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	var b strings.Builder
	connector.Check(r.t.Context(), c, func(f connector.Finding) {
		worst = max(worst, f.Level)
		fmt.Fprintf(&b, "%s %s\n", f.Level.Mark(), f.Text)
	})
	return b.String(), worst
}

func TestCheckFindsNothingWrong(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			r := prepareRig(t, start(t), "audit_file: audit.log")
			text, worst := r.findings()
			if worst == connector.Failure {
				t.Errorf("findings:\n%s", text)
			}
			for _, want := range []string{
				"✓ tls: the server certificate is for localhost", "✓ tls: the server certificate is valid until",
				"✓ data_dir: ", "✓ audit_file: ", "✓ certificate.ca_files: CN=Rig CA", "the certificate is trusted",
				"people are found", "groups are found", "✓ wsfed: urn:rig:app",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			// Nothing was left behind.
			entries, err := os.ReadDir(r.dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".") || e.Name() == "data" || e.Name() == "audit.log" {
					t.Errorf("check made %s", e.Name())
				}
			}
		})
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	d := inMemory(t)
	for _, tt := range []struct {
		name  string
		spoil func(*rig)
		want  string
	}{
		{"server certificate for another host", func(r *rig) { r.serverCertificate("other.example") }, "✗ tls: the server certificate is not for localhost"},
		{"no server certificate", func(r *rig) { _ = os.Remove(r.path("server.crt")) }, "✗ tls: "},
		{"empty CA file", func(r *rig) { r.write("ca.crt", nil) }, "✗ certificate.ca_files: "},
		{"data_dir is a file", func(r *rig) { r.write("data", nil) }, "is a file, not a folder"},
		{"data_dir that others can read", func(r *rig) { _ = os.Mkdir(r.path("data"), 0o755); _ = os.Chmod(r.path("data"), 0o755) }, "chmod 700"},
		{"audit_file without a folder", func(r *rig) { r.configure("audit_file: audit.log", "audit_file: nowhere/audit.log") }, "✗ audit_file: "},
		{"audit_file is a folder", func(r *rig) { _ = os.Mkdir(r.path("audit.log"), 0o700) }, "✗ audit_file: "},
		{"data_dir that cannot be made", func(r *rig) { r.configure("data_dir: data", "data_dir: server.crt/data") }, "✗ data_dir: "},
		{"wrong password of the service account", func(r *rig) { r.write("ldap-password", []byte("canary-wrong")) }, "ldap.bind_password_file"},
		{"directory with a certificate of another CA", func(r *rig) { r.configure(d.caFile, r.path("ca.crt")) }, `add the certificate of "CN=Directory CA"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(tt.want, "chmod") {
				return
			}
			r := prepareRig(t, d, "audit_file: audit.log")
			tt.spoil(r)
			text, worst := r.findings()
			if worst != connector.Failure || !strings.Contains(text, tt.want) {
				t.Errorf("want %q in\n%s", tt.want, text)
			}
			if strings.Contains(text, "canary") {
				t.Errorf("a finding shows a secret:\n%s", text)
			}
		})
	}
}

func TestCheckWarnsBeforeACertificateEnds(t *testing.T) {
	r := prepareRig(t, inMemory(t), "")
	ca, err := testca.New("Soon CA", ending)
	if err != nil {
		t.Fatal(err)
	}
	r.write("ca.crt", ca.PEM())
	text, worst := r.findings()
	if worst != connector.Warning || !strings.Contains(text, "! certificate.ca_files: CN=Soon CA") || !strings.Contains(text, "expires on") {
		t.Errorf("findings:\n%s", text)
	}
}

// ending makes a certificate that is good for ten days more.
func ending(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 10) }

// Both numbers stand in one line: when the directory locks, and what is let
// through to it.
func TestCheckShowsWhenTheDirectoryLocks(t *testing.T) {
	for name, tt := range map[string]struct{ policy, throttle, want string }{
		"memdir":   {"", "", "✓ password.throttle: DC=fabrikam,DC=example: the directory locks an account after 10 wrong passwords within 30m (DC=fabrikam,DC=example); here at most 9 are let through, at most 5 of them from known addresses and 4 from others"},
		"samba":    {"", "per_account: {failures: 1}", "! password.throttle: DC=corp,DC=example,DC=test: the directory locks an account after 3 wrong passwords within 30m (DC=corp,DC=example,DC=test), which leaves little room to mistype: let it lock after 10 or so; here at most 2 are let through, at most 1 of them from known addresses and 1 from others"},
		"openldap": {"cn=default,ou=policies,dc=corp,dc=example,dc=test", "known_addresses: 0", "! password.throttle: dc=corp,dc=example,dc=test: the directory locks an account after 3 wrong passwords"},
	} {
		t.Run(name, func(t *testing.T) {
			r := prepareRig(t, directories()[name](t), "")
			r.configure("password: {}", "password: {throttle: {"+tt.throttle+"}}")
			if tt.policy != "" {
				r.configure("bind_password_file: ldap-password", "bind_password_file: ldap-password\n  password_policy_dn: "+tt.policy)
			}
			if text, _ := r.findings(); !strings.Contains(text, tt.want) {
				t.Errorf("want %q in\n%s", tt.want, text)
			}
		})
	}
	r := prepareRig(t, directories()["openldap"](t), "")
	if text, _ := r.findings(); !strings.Contains(text, "! password.throttle: dc=corp,dc=example,dc=test: nobody knows when") || !strings.Contains(text, "password_policy_dn") {
		t.Errorf("without a policy:\n%s", text)
	}
}
