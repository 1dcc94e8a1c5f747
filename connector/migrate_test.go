package connector_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/connector/migrate"
	"adconnector/ldapauth/dirtest"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// oldConnector writes an installation of Auth0's connector in front of d, which
// serves at the address of r.
func oldConnector(t *testing.T, r *rig, d *directory) (dir string, signing *x509.Certificate) {
	t.Helper()
	dir = t.TempDir()
	leaf, err := r.ca.Server("localhost")
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := leaf.PFX("pfx-password")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"LDAP_URL": d.url, "LDAP_BASE": d.baseDN, "LDAP_BIND_USER": d.bindDN, "LDAP_BIND_PASSWORD": d.bindPassword,
		"SERVER_URL": r.url, "PORT": r.listen.Port(), "CLIENT_CERT_AUTH": true, "CA_CERT": string(r.ca.PEM()),
		"SSL_PFX": base64.StdEncoding.EncodeToString(pfx), "SSL_KEY_PASSWORD": "pfx-password",
		"REALM": realm, realm: replyURL, "WSFED_ISSUER": "rig.test",
	}
	config, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"config.json": config}
	for _, name := range []string{"certs/cert.key", "certs/cert.pem"} {
		if files[name], err = os.ReadFile(filepath.Join("migrate", "testdata", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	block, _ := pem.Decode(files["certs/cert.pem"])
	if signing, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return dir, signing
}

// TestImportedConfiguration holds that people sign in with what an import made,
// and that whoever trusts the old connector's certificate trusts the tokens.
func TestImportedConfiguration(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *directory{
		"memdir":   inMemory,
		"openldap": func(t testing.TB) *directory { return real(dirtest.SharedOpenLDAP(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := prepareRig(t, d, "")
			from, signing := oldConnector(t, r, d)
			out := filepath.Join(t.TempDir(), "new")
			report, err := migrate.Run(migrate.Options{From: from, Out: out})
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(report.Config)
			if err != nil {
				t.Fatal(err)
			}
			// What an administrator has to decide here: who is asked for a
			// certificate, and who vouches for the directory; and nobody publishes
			// lists of revoked certificates.
			text = bytes.Replace(text, []byte(`["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]`), []byte(`["`+inside.String()+`"]`), 1)
			text = bytes.Replace(text, []byte("  # ca_files: []"), []byte("  ca_files: ['"+d.caFile+"']"), 1)
			text = bytes.Replace(text, []byte("mode: online"), []byte(`mode: "off"`), 1)
			r.dir = out
			r.write("adconnector.yaml", text)
			r.start()

			for method, tok := range map[string]token{
				"password":    r.mustSignIn(r.browser(outside, nil), "jon", d.password),
				"certificate": r.mustSignIn(r.browser(inside, r.client("jon")), "", ""),
			} {
				if !signedBy(t, string(tok), signing) {
					t.Errorf("%s: the token is not signed by the imported key", method)
				}
				if !strings.Contains(string(tok), `Issuer="urn:rig.test"`) || !holds(tok.claim("groups"), d.groups) {
					t.Errorf("%s: another issuer, or groups are missing: %s", method, tok)
				}
			}
			r.noSecrets(d.password, d.bindPassword, "pfx-password")
			if names, err := filepath.Glob(r.path("data/signing-keys.pem")); err != nil || len(names) > 0 {
				t.Errorf("a signing key was made besides the imported one: %v, %v", names, err)
			}
			if text, worst := r.findings(); worst == connector.Failure || !strings.Contains(text, "✓ signing: ") {
				t.Errorf("findings:\n%s", text)
			}
		})
	}
}

// signedBy judges the signature with code that is not ours.
func signedBy(t *testing.T, wresult string, certificate *x509.Certificate) bool {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(wresult); err != nil {
		t.Fatal(err)
	}
	v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate}})
	v.IdAttribute = "AssertionID"
	v.Clock = dsig.NewFakeClockAt(time.Now())
	_, err := v.Validate(doc.FindElement("//Assertion"))
	if err != nil {
		t.Log(err)
	}
	return err == nil
}
