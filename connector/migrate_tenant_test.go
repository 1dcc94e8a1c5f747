package connector_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/connector/migrate"
	"adconnector/ldapauth/dirtest"
)

// hubOnly writes an installation of Auth0's connector that only speaks to the hub,
// as most do, in front of d and with a mapper that somebody has changed.
func hubOnly(t *testing.T, r *rig, d *directory, ticket, filter string) (dir, thumbprint string) {
	t.Helper()
	dir = t.TempDir()
	files := map[string][]byte{"lib/profileMapper.js": nil}
	var err error
	for _, name := range []string{"certs/cert.key", "certs/cert.pem"} {
		if files[name], err = os.ReadFile(filepath.Join("migrate", "testdata", name)); err != nil {
			t.Fatal(err)
		}
	}
	standard, err := os.ReadFile(filepath.Join("migrate", "testdata", "mappers", "email-verified.js"))
	if err != nil {
		t.Fatal(err)
	}
	files["lib/profileMapper.js"] = standard
	block, _ := pem.Decode(files["certs/cert.pem"])
	sum := sha1.Sum(block.Bytes)
	thumbprint = hex.EncodeToString(sum[:])
	files["config.json"], err = json.Marshal(map[string]any{
		"PROVISIONING_TICKET": ticket, "LDAP_URL": d.url, "LDAP_BASE": d.baseDN, "LDAP_BIND_USER": d.bindDN, "LDAP_BIND_PASSWORD": d.bindPassword,
		"LDAP_USER_BY_NAME": filter, "SERVER_URL": "http://srv01:4000", "PORT": r.listen.Port(), "CLIENT_CERT_AUTH": false, "KERBEROS_AUTH": false,
		"REALM": "urn:auth0:of-last-year", "urn:auth0:of-last-year": "https://last-year.example/callback", "LAST_SENT_THUMBPRINT": thumbprint,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, thumbprint
}

// TestTheTenantDoesNotNoticeTheMove holds that what an import made from an
// installation that only speaks to the hub starts as it is but for the authorities
// of the test, posts the certificate that the tenant knows, and tells the same of
// people.
func TestTheTenantDoesNotNoticeTheMove(t *testing.T) {
	for name, tt := range map[string]struct {
		start    func(testing.TB) *directory
		filter   string
		id, nick string // attributes
	}{
		"memdir":   {inMemory, "(sAMAccountName={0})", "", "sAMAccountName"},
		"openldap": {func(t testing.TB) *directory { return real(dirtest.SharedOpenLDAP(t)) }, "(uid={0})", "uid", "cn"},
	} {
		t.Run(name, func(t *testing.T) {
			d := tt.start(t)
			r := prepareRig(t, d, "")
			tenant := startTenant(t, r)
			from, thumbprint := hubOnly(t, r, d, tenant.Ticket(), tt.filter)
			out := filepath.Join(t.TempDir(), "new")
			report, err := migrate.Run(migrate.Options{From: from, Out: out})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Left) > 0 {
				t.Errorf("not taken over: %v", report.Left)
			}
			text, err := os.ReadFile(report.Config)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.Replace(text, []byte("  # ca_files: []"), []byte("  ca_files: ['"+d.caFile+"']"), 1)
			text = bytes.Replace(text, []byte("  ticket_file: ticket"), []byte("  ticket_file: ticket\n  ca_files: ["+r.path("tenant-ca.crt")+"]"), 1)
			r.dir = out
			r.write("adconnector.yaml", text)
			if found, worst := r.findings(); worst == connector.Failure {
				t.Errorf("findings:\n%s", found)
			}
			r.start()
			c := next(t, tenant)

			tenant.Lock()
			posts := slices.Clone(tenant.Posts)
			tenant.Unlock()
			if len(posts) != 1 || len(posts[0].Certificates) != 1 || posts[0].SignInEndpoint != "https://srv01:4000/wsfed" {
				t.Fatalf("posted %+v", posts)
			}
			der, err := base64.StdEncoding.DecodeString(posts[0].Certificates[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x509.ParseCertificate(der); err != nil {
				t.Fatal(err)
			}
			if sum := sha1.Sum(der); hex.EncodeToString(sum[:]) != thumbprint {
				t.Error("the tenant is told of another certificate than the old connector's")
			}

			answer := login(t, tenant, c, "jon", d.password)
			profile, _ := answer["profile"].(map[string]any)
			if profile == nil || answer["err"] != nil {
				t.Fatalf("%v", answer)
			}
			if profile["email_verified"] != true || profile["level"] != 3.0 {
				t.Errorf("the claims of the mapper: %v, %v", profile["email_verified"], profile["level"])
			}
			if id, _ := profile["id"].(string); tt.id == "uid" && id != "jon" || tt.id == "" && (len(id) != 36 || strings.Count(id, "-") != 4) {
				t.Errorf("the tenant knows the person by another id: %s", id)
			}
			if tt.nick == "sAMAccountName" && profile["nickname"] != "jon" || tt.nick == "cn" && profile["nickname"] == "" {
				t.Errorf("nickname %v", profile["nickname"])
			}
			known := []string{
				"id", "displayName", "name", "nickname", "groups", "emails", "dn", "st", "description", "postalCode", "telephoneNumber", "distinguishedName", "co",
				"department", "company", "mailNickname", "sAMAccountName", "sAMAccountType", "userPrincipalName", "manager", "organizationUnits", "email_verified", "level",
			}
			for key := range maps.Keys(profile) {
				if !slices.Contains(known, key) {
					t.Errorf("the old connector did not tell %s", key)
				}
			}
			r.noSecrets(d.password, d.bindPassword, "secret-ticket")
		})
	}
}
