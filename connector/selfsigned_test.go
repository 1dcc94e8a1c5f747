package connector_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/connector/browser"
	"adconnector/ldapauth/testca"
)

// selfSigned makes a certificate that nobody has issued and writes it into the
// rig's folder, as NAME.crt.
func (r *rig) selfSigned(file, cn string) *testca.Leaf {
	r.t.Helper()
	leaf, err := testca.SelfSigned(cn)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(file, leaf.CertPEM())
	return leaf
}

func (r *rig) as(leaf *testca.Leaf) *browser.Browser {
	pair := leaf.TLS()
	return r.browser(inside, &pair)
}

func TestSignInWithASelfSignedCertificate(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := prepareRig(t, d, "")
			jon, kiosk, other := r.selfSigned("jon.crt", "jon"), r.selfSigned("kiosk.crt", "Kiosk 7"), r.selfSigned("other.crt", "jon")
			closed := r.selfSigned("closed.crt", d.disabled)
			r.configure("ca_files: [ca.crt]", "ca_files: [ca.crt], accept: all, self_signed_files: [jon.crt, closed.crt, {file: kiosk.crt, user: jon}]")
			r.start()
			for _, leaf := range []*testca.Leaf{jon, kiosk} {
				if got := r.mustSignIn(r.as(leaf), "", "").claim("nickname"); !slices.Equal(got, []string{d.nickname}) {
					t.Errorf("%s signs in %q", leaf.Certificate.Subject, got)
				}
			}
			for _, want := range []string{`"rule":"self_signed_files","strength":"strong"`, `"rule":"subject_cn","strength":"weak"`} {
				if !strings.Contains(r.audit.String(), want) {
					t.Errorf("no %s in the audit:\n%s", want, r.audit)
				}
			}
			if got := r.reasonOf(r.as(other), "", ""); got != "untrusted" {
				t.Errorf("one that is not listed: %q", got)
			}
			if got := r.reasonOf(r.as(closed), "", ""); got != "account_disabled" {
				t.Errorf("one for an account that is closed: %q", got)
			}
			if got := r.reasonOf(r.browser(inside, r.client("jon")), "", ""); got != "" {
				t.Errorf("one that the authority issued: %q", got)
			}
		})
	}
}

// TestAnotherFileIsAnotherCertificate: what is listed is what is in the files
// now, and what does not work changes nothing.
func TestAnotherFileIsAnotherCertificate(t *testing.T) {
	r := prepareRig(t, inMemory(t), "session: {lifetime: 0s}")
	old := r.selfSigned("jon.crt", "jon")
	r.configure("ca_files: [ca.crt]", "accept: self_signed, self_signed_files: [jon.crt]")
	r.start()
	r.mustSignIn(r.as(old), "", "")
	if got := r.reasonOf(r.browser(inside, r.client("jon")), "", ""); got != "untrusted" {
		t.Errorf("one of an authority that nobody listed: %q", got)
	}
	r.write("jon.crt", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n"))
	eventually(t, "the log says that the file does not work", func() bool { return strings.Contains(r.log.String(), "stay in use") })
	r.mustSignIn(r.as(old), "", "")
	renewed := r.selfSigned("jon.crt", "jon")
	eventually(t, "the log says that it is replaced", func() bool { return strings.Contains(r.log.String(), "self-signed certificates replaced") })
	r.mustSignIn(r.as(renewed), "", "")
	if got := r.reasonOf(r.as(old), "", ""); got != "untrusted" {
		t.Errorf("the one before: %q", got)
	}
}

func TestWhatCanNeverBeLetInKeepsTheConnectorFromStarting(t *testing.T) {
	r := prepareRig(t, inMemory(t), "")
	r.write("jon.crt", r.ca.PEM()) // an authority's
	r.configure("ca_files: [ca.crt]", "accept: self_signed, self_signed_files: [jon.crt]")
	if err := r.try(); err == nil || !strings.Contains(err.Error(), "certificate.self_signed_files[0]: "+r.path("jon.crt")) {
		t.Errorf("%v", err)
	}
	if text, _ := r.findings(); !strings.Contains(text, "✗ certificate.self_signed_files[0]: "+r.path("jon.crt")) {
		t.Errorf("check says\n%s", text)
	}
	r.selfSigned("jon.crt", "jon")
	if text, _ := r.findings(); !strings.Contains(text, "✓ certificate.self_signed_files: CN=jon in "+r.path("jon.crt")) || strings.Contains(text, "ca_files: required") {
		t.Errorf("check says\n%s", text)
	}
}

// TestAFileAloneIsShownAsThat checks the way back from the settings to YAML.
func TestAFileAloneIsShownAsThat(t *testing.T) {
	r := prepareRig(t, inMemory(t), "")
	r.configure("ca_files: [ca.crt]", "accept: self_signed, self_signed_files: [jon.crt, {file: kiosk.crt, user: kiosk}]")
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Show(&b); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("self_signed_files:\n    - %s\n    - file: %s\n      user: kiosk\n", r.path("jon.crt"), r.path("kiosk.crt"))
	if !strings.Contains(b.String(), want) {
		t.Errorf("no\n%sin\n%s", want, &b)
	}
	again := filepath.Join(t.TempDir(), "again.yaml")
	if err := os.WriteFile(again, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if back, err := connector.LoadConfig(again); err != nil || !slices.Equal(back.Certificate.SelfSignedFiles, c.Certificate.SelfSignedFiles) {
		t.Errorf("%v", err)
	}
}
