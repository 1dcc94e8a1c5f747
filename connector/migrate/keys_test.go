package migrate_test

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/connector/migrate"
	"adconnector/connector/profile"
	"adconnector/ldapauth/testca"
)

// everySetting are all the settings that releases of the old connector know, or
// write by themselves, with values that are not the defaults.
func everySetting(t *testing.T) map[string]any {
	t.Helper()
	ca, err := testca.New("Fabrikam Root")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Server("login.fabrikam.example")
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := leaf.PFX("pfx-password")
	if err != nil {
		t.Fatal(err)
	}
	signing := pair(t, "")
	return map[string]any{
		"PORT": 4001, "SERVER_URL": "https://login.fabrikam.example", "LDAP_BIND_PASSWORD": "x",
		"LDAP_USER_BY_NAME": "(cn={0})", "LDAP_SEARCH_QUERY": "(cn=*{0}*)", "LDAP_SEARCH_ALL_QUERY": "(cn=*)",
		"LDAP_SEARCH_LIST_GROUPS_QUERY": "(cn=g*)", "LDAP_SEARCH_GROUPS": "(&(objectClass=group)(member={0}))", "LDAP_BASE_GROUPS": "OU=Groups,DC=fabrikam,DC=example",
		"LDAP_SEARCH_RESULTS_OMIT_GROUPS": false, "GROUPS": false, "GROUP_PROPERTY": "name", "GROUP_PROPERTIES": []string{"cn", "dn"},
		"GROUPS_TIMEOUT_SECONDS": 5, "GROUPS_CACHE_SECONDS": 60, "GROUPS_DEREF_ALIASES": 3,
		"LDAP_NUMBER_OF_PARALLEL_BINDS": 9, "LDAP_HEARTBEAT_SECONDS": 30, "LDAP_HEARTBEAT_SEARCH_QUERY": "(cn=x)",
		"ALLOW_PASSWORD_EXPIRED": true, "ALLOW_PASSWORD_CHANGE_REQUIRED": true, "AUTH_WHEN_PASSWORD_EXPIRED": true, "AUTH_WHEN_PASSWORD_CHANGE_REQUIRED": true,
		"ENABLE_WRITE_BACK": true, "ENABLE_ACTIVE_DIRECTORY_UNICODE_PASSWORD": true, "AUTO_UNLOCK_ON_PASSWORD_CHANGE": true,
		"SESSION_SECRET": "01234567890123456789012345678901", "CA_CERT": string(ca.PEM()),
		"SSL_PFX": base64.StdEncoding.EncodeToString(pfx), "SSL_KEY_PASSWORD": "pfx-password",
		"SSL_CA_PATH": "/etc/own", "SSL_CA_FILE": "x", "SSL_OPENSSLDIR_PATTERN": "x", "SSL_ENABLE_EMPTY_SUBJECT": true,
		"AUTH_CERT": signing["cert.pem"], "AUTH_CERT_KEY": signing["cert.key"],
		"WS_RECONNECT_INTERVAL_MS": 5000, "MAX_HEADER_SIZE": 20000, "PROFILE_MAPPER": "function (r) { return {}; }", "PROFILE_MAPPER_FILE": "m.js",
		"KERBEROS_AUTH": true, "WITH_KERBEROS_PROXY_FRONTEND": true, "KERBEROS_DEBUG_USER": "jon", "CLIENT_CERT_AUTH": true,
		"HTTP_PROXY": "http://proxy.example.com:8080", "ANONYMOUS_SEARCH_ENABLED": true, "AGENT_MODE": true, "SITE_NAME": "Fabrikam",
		"AD_HUB": "https://x/hub", "CONNECTION": "c", "FIREWALL_RULE_CREATED": true, "LAST_SENT_THUMBPRINT": "00", "TENANT_SIGNING_KEY": "k",
		"OVERRIDE_CONFIG": true, "CACHE_FILE": "/var/cache.db", "AUTHENTICATION": "FORM", "WSFED_ISSUER": "fabrikam",
		"PROFILE_MAPPING_MEMORY_LIMIT_MB": 1, "PROFILE_MAPPING_TIMEOUT_MS": 1,
	}
}

func TestNoOldSettingIsLostInSilence(t *testing.T) {
	// The first two are what older releases call two others, which win; a password
	// without an account is of no use.
	harmless := []string{"AUTH_WHEN_PASSWORD_EXPIRED", "AUTH_WHEN_PASSWORD_CHANGE_REQUIRED", "LDAP_BIND_PASSWORD"}
	for name, keep := range map[string]func(key string) bool{
		"all":                 func(string) bool { return true },
		"without a ticket":    func(key string) bool { return key != "PROVISIONING_TICKET" },
		"without a PFX":       func(key string) bool { return key != "SSL_PFX" },
		"without authorities": func(key string) bool { return key != "CA_CERT" },
		"without the form":    func(key string) bool { return key != "LDAP_BIND_USER" && key != "PROFILE_MAPPER" },
	} {
		t.Run(name, func(t *testing.T) {
			values := everySetting(t)
			values["PROVISIONING_TICKET"] = "https://fabrikam.eu.auth0.com/p/ad/t"
			maps.DeleteFunc(values, func(key string, _ any) bool { return !keep(key) })
			if !keep("PROVISIONING_TICKET") {
				values["PROVISIONING_TICKET"] = nil
			}
			if !keep("LDAP_BIND_USER") {
				values["LDAP_BIND_USER"] = nil
			}
			for _, note := range allSaid(t, installation{"config.json": config(t, values)}, values).Unneeded {
				if strings.HasPrefix(note.Text, "with this value") && !slices.Contains(harmless, note.Key) {
					t.Errorf("%s is said to change nothing", note.Key)
				}
			}
		})
	}
	t.Run("as it is written by default", func(t *testing.T) {
		values := map[string]any{
			"GROUPS": true, "GROUP_PROPERTY": "cn", "GROUP_PROPERTIES": []string{}, "GROUPS_DEREF_ALIASES": 0, "SSL_CA_PATH": false,
			"LDAP_USER_BY_NAME": "(sAMAccountName={0})", "LDAP_SEARCH_ALL_QUERY": "(objectCategory=person)", "LDAP_SEARCH_RESULTS_OMIT_GROUPS": true,
			"LDAP_SEARCH_GROUPS": "(member:1.2.840.113556.1.4.1941:={0})", "ALLOW_PASSWORD_EXPIRED": false, "ENABLE_WRITE_BACK": false,
			"AUTO_UNLOCK_ON_PASSWORD_CHANGE": false, "HTTP_PROXY": "", "SSL_PFX": "", "CA_CERT": "", "PROFILE_MAPPER": "", "SESSION_SECRET": "a1b2c3d4567",
		}
		report := allSaid(t, typical(t, values), values)
		if len(report.Left) > 0 {
			t.Errorf("listed as lost: %v", report.Left)
		}
	})
}

// allSaid imports i, and holds that each of its settings has a line in the report.
func allSaid(t *testing.T, i installation, values map[string]any) *migrate.Report {
	t.Helper()
	report, _ := run(t, i.write(t))
	notes := slices.Concat(report.Taken, report.Left, report.Unneeded, report.Decide)
	for key, value := range values {
		n := 0
		for _, note := range notes {
			if note.Key == key || strings.HasPrefix(note.Key, key+":") {
				n++
			}
		}
		if value != nil && n == 0 {
			t.Errorf("nothing is said of %s", key)
		}
	}
	return report
}

// TestWithoutAListenerTheServiceStartsAllTheSame: most installations only speak
// to the hub, and have no server certificate.
func TestWithoutAListenerTheServiceStartsAllTheSame(t *testing.T) {
	report, c := run(t, typical(t, map[string]any{"SERVER_URL": "http://srv01:4000"}).write(t))
	if c.Listen != "127.0.0.1:4000" || c.URL != "https://srv01:4000" || about(report.Decide, "tls.cert_file") == "" {
		t.Errorf("listen %q, url %q, %v", c.Listen, c.URL, report.Decide)
	}
	connector.Check(t.Context(), c, func(f connector.Finding) {
		if f.Level == connector.Failure && strings.HasPrefix(f.Text, "tls") {
			t.Error(f.Text)
		}
	})
}

// TestWithATicketTheTenantSaysItsRealm: what stands in the file would win over
// what the tenant says next year.
func TestWithATicketTheTenantSaysItsRealm(t *testing.T) {
	report, c := run(t, typical(t, nil).write(t))
	text, err := os.ReadFile(report.Config)
	if err != nil {
		t.Fatal(err)
	}
	if c.WSFed != nil || !strings.Contains(string(text), "# relying_parties: [{realm: \"urn:auth0:fabrikam\"") {
		t.Errorf("wsfed %v in\n%s", c.WSFed, text)
	}
}

func TestReleasesWithAFolderForTheirData(t *testing.T) {
	engine := "class ProfileMapper { constructor(a) { } }\nfunction run(script) { return script; }\nmodule.exports = new ProfileMapper();\n"
	custom := "module.exports = function (raw) { var p = {}; p.title = raw.title; return p; };"
	i := pair(t, "data/certs/")
	i["data/config.json"] = config(t, map[string]any{"PROFILE_MAPPER": "function (raw) { return {title: raw.other}; }"})
	i["lib/profileMapper.js"] = engine
	i["data/profileMapper/custom.js"] = custom
	report, c := run(t, i.write(t))
	if d := c.Profile[slices.IndexFunc(c.Profile, func(d profile.Definition) bool { return d.Claim == "title" })]; d.Source != "title" {
		t.Errorf("profile.title is %s: the wrong mapper was read", d.Source)
	}
	if about(report.Unneeded, "PROFILE_MAPPER") == "" {
		t.Error("nothing is said of the mapper that was not in use")
	}
	delete(i, "data/profileMapper/custom.js")
	i["data/config.json"] = config(t, nil)
	if report, c = run(t, i.write(t)); len(report.Left) > 0 || len(c.Profile) > 0 {
		t.Errorf("a part of the program was taken for a mapper: %v, %v", report.Left, c.Profile)
	}
}

// TestALinkToTheNewFolderStays: the files go where it leads.
func TestALinkToTheNewFolderStays(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("disk", link); err != nil {
		t.Skip(err)
	}
	if _, err := migrate.Run(migrate.Options{From: typical(t, nil).write(t), Out: link}); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "disk" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "disk", "config.yaml")); err != nil {
		t.Error(err)
	}
}

func TestFoldersMadeForNothingAreRemoved(t *testing.T) {
	dir := t.TempDir()
	_, err := migrate.Run(migrate.Options{From: typical(t, map[string]any{"LDAP_BASE": "fabrikam"}).write(t), Out: filepath.Join(dir, "a", "b", "c")})
	if err == nil {
		t.Fatal("a base that is none was taken")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProxyIsTakenOver(t *testing.T) {
	for raw, want := range map[string]string{
		"http://proxy.example.com:8080":                     "http://proxy.example.com:8080",
		"http://proxy.example.com:8080/":                    "http://proxy.example.com:8080",
		"http://joe:pa%24s@proxy.example.com:8080/path?x=y": "http://proxy.example.com:8080",
		"proxy.example.com:8080":                            "",
	} {
		report, c := run(t, typical(t, map[string]any{"HTTP_PROXY": raw}).write(t))
		if c.Hub == nil || c.Hub.Proxy != want || (about(report.Left, "HTTP_PROXY") != "") != (want == "") {
			t.Errorf("%s: %+v, left %v", raw, c.Hub, report.Left)
			continue
		}
		if strings.Contains(raw, "joe") && (c.Hub.ProxyUser != "joe" || c.Hub.ProxyPassword.Reveal() != "pa$s") {
			t.Errorf("%s: user %s", raw, c.Hub.ProxyUser)
		}
	}
}
