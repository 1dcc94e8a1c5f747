package migrate_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/connector/migrate"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/testca"
)

// Both were made with Node.js 20 from password and the key in testdata/certs, as
// old releases and new ones keep it.
const (
	password = "Service-Fabrikam-2026!"
	oldForm  = "994727389533b2813e9f82392abc7be27f1f947229d170beb810af0e4984a81c"
	newForm  = "$2$.00112233445566778899aabbccddeeff.ffeeddccbbaa99887766554433221100.416ba890fc91a55f36f248b3d21941ccdb8cf9b8d3b40863e1990e65387be07f"
)

// An installation is the files of an old connector, by name.
type installation map[string]string

// pair returns the files with the key and its certificate.
func pair(t testing.TB, folder string) installation {
	t.Helper()
	i := installation{}
	for _, name := range []string{"cert.key", "cert.pem"} {
		data, err := os.ReadFile(filepath.Join("testdata", "certs", name))
		if err != nil {
			t.Fatal(err)
		}
		i[folder+name] = string(data)
	}
	return i
}

// config returns a config.json that is complete, with changes; a nil takes a key
// out.
func config(t testing.TB, changes map[string]any) string {
	t.Helper()
	values := map[string]any{
		"PROVISIONING_TICKET": "https://fabrikam.eu.auth0.com/p/ad/canary-ticket",
		"LDAP_URL":            "ldaps://dc1.fabrikam.example", "LDAP_BASE": "DC=fabrikam,DC=example",
		"LDAP_BIND_USER": "CN=svc,DC=fabrikam,DC=example", "LDAP_BIND_CREDENTIALS": newForm,
		"SERVER_URL": "https://login.fabrikam.example:4000", "PORT": 4000,
		"REALM": "urn:auth0:fabrikam", "urn:auth0:fabrikam": "https://fabrikam.eu.auth0.com/login/callback",
		"WSFED_ISSUER": "fabrikam.example", "CONNECTION": "fabrikam-ad", "CLIENT_CERT_AUTH": false, "KERBEROS_AUTH": false,
	}
	for k, v := range changes {
		values[k] = v
		if v == nil {
			delete(values, k)
		}
	}
	data, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write puts an installation into a folder.
func (i installation) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range i {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// export puts an installation into an archive.
func (i installation) export(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(i)) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write([]byte(i[name]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive(t, b.Bytes())
}

func archive(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "connector_export.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// typical is an installation of a release with the new form of the password.
func typical(t testing.TB, changes map[string]any) installation {
	i := pair(t, "certs/")
	i["config.json"] = config(t, changes)
	return i
}

// run imports from a place and loads what came of it.
func run(t testing.TB, from string) (*migrate.Report, *connector.Config) {
	t.Helper()
	report, err := migrate.Run(migrate.Options{From: from, Out: filepath.Join(t.TempDir(), "new")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := connector.LoadConfig(report.Config)
	if err != nil {
		t.Fatal(err)
	}
	return report, c
}

// about returns the text of the note about key, "" if there is none.
func about(notes []migrate.Note, key string) string {
	for _, n := range notes {
		if n.Key == key {
			return n.Text
		}
	}
	return ""
}

// digest is of everything in a folder: names, rights, times and content.
func digest(t testing.TB, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path, info.Mode(), info.ModTime().UnixNano(), info.Size())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			h.Write(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestPasswordInEveryForm(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"new form":          {},
		"old form":          {"LDAP_BIND_CREDENTIALS": oldForm},
		"clear":             {"LDAP_BIND_CREDENTIALS": nil, "LDAP_BIND_PASSWORD": password},
		"not in the way":    {"SESSION_SECRET": newForm},
		"clear and decoded": {"LDAP_BIND_CREDENTIALS": oldForm[:32] + oldForm[:32], "LDAP_BIND_PASSWORD": password},
	} {
		t.Run(name, func(t *testing.T) {
			report, c := run(t, typical(t, changes).write(t))
			if got := c.LDAP.BindPassword.Reveal(); got != password {
				t.Errorf("password is %q", got)
			}
			if text, err := os.ReadFile(report.Config); err != nil || bytes.Contains(text, []byte(password)) {
				t.Errorf("the password stands in the configuration file itself (%v)", err)
			}
		})
	}
}

func TestPasswordThatCannotBeRead(t *testing.T) {
	tampered := newForm[:len(newForm)-1] + "0"
	for name, changes := range map[string]map[string]any{
		"not hexadecimal": {"LDAP_BIND_CREDENTIALS": "zz"},
		"part missing":    {"LDAP_BIND_CREDENTIALS": "$2$.00.00"},
		"short vector":    {"LDAP_BIND_CREDENTIALS": "$2$.00.00.00"},
		"half a block":    {"LDAP_BIND_CREDENTIALS": newForm[:len(newForm)-2]},
		"changed":         {"LDAP_BIND_CREDENTIALS": tampered},
		"none":            {"LDAP_BIND_CREDENTIALS": nil},
	} {
		t.Run(name, func(t *testing.T) {
			from, out := typical(t, changes).write(t), filepath.Join(t.TempDir(), "new")
			_, err := migrate.Run(migrate.Options{From: from, Out: out})
			if err == nil || !strings.Contains(err.Error(), "--bind-password-file") {
				t.Errorf("error %v does not say what to do", err)
			}
			if _, err := os.Stat(out); !os.IsNotExist(err) {
				t.Errorf("something was written: %v", err)
			}
			report, err := migrate.Run(migrate.Options{From: from, Out: out, BindPassword: secret.New("given")})
			if err != nil {
				t.Fatal(err)
			}
			c, err := connector.LoadConfig(report.Config)
			if err != nil || c.LDAP.BindPassword.Reveal() != "given" {
				t.Errorf("the given password is not used (%v)", err)
			}
		})
	}
	t.Run("without the key", func(t *testing.T) {
		i := typical(t, nil)
		delete(i, "certs/cert.key")
		_, err := migrate.Run(migrate.Options{From: i.write(t), Out: filepath.Join(t.TempDir(), "new")})
		if err == nil || !strings.Contains(err.Error(), "certs/cert.key is not there") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestEveryPlaceWhereAnInstallationCanBe(t *testing.T) {
	recent := pair(t, "data/certs/")
	recent["data/config.json"] = config(t, nil)
	inConfig := pair(t, "")
	inConfig["config.json"] = config(t, map[string]any{"AUTH_CERT": inConfig["cert.pem"], "AUTH_CERT_KEY": inConfig["cert.key"]})
	old := typical(t, nil).write(t)
	for name, from := range map[string]string{
		"folder":            old,
		"its config.json":   filepath.Join(old, "config.json"),
		"a recent release":  recent.write(t),
		"its data":          filepath.Join(recent.write(t), "data", "config.json"),
		"export":            typical(t, nil).export(t),
		"key in the config": inConfig.write(t),
	} {
		t.Run(name, func(t *testing.T) {
			report, c := run(t, from)
			if c.URL != "https://login.fabrikam.example:4000" || c.LDAP.BindPassword.Reveal() != password || c.Signing.KeyFile == "" {
				t.Errorf("url %s, signing %+v", c.URL, c.Signing)
			}
			if len(report.Files) != 7 {
				t.Errorf("wrote %q", report.Files)
			}
		})
	}
}

func TestOldInstallationIsNotTouched(t *testing.T) {
	i := typical(t, map[string]any{"LDAP_BIND_CREDENTIALS": oldForm})
	i["lib/profileMapper.js"] = "module.exports = function (raw) { return {}; };\n"
	from := i.write(t)
	before := digest(t, from)
	run(t, from)
	if digest(t, from) != before {
		t.Error("something in it has changed")
	}
	for _, out := range []string{from, filepath.Join(from, "new"), filepath.Join(from, "certs", "..", "new")} {
		if _, err := migrate.Run(migrate.Options{From: from, Out: out}); err == nil || !strings.Contains(err.Error(), "--out") {
			t.Errorf("--out %s: error %v", out, err)
		}
	}
	if digest(t, from) != before {
		t.Error("something was written into it")
	}
}

func TestOutMustBeNewOrEmpty(t *testing.T) {
	from := typical(t, nil).write(t)
	empty, full := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "config.yaml"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate.Run(migrate.Options{From: from, Out: empty}); err != nil {
		t.Error(err)
	}
	_, err := migrate.Run(migrate.Options{From: from, Out: full})
	if err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("error = %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(full, "config.yaml")); string(data) != "precious" {
		t.Errorf("it now holds %q", data)
	}
	_, err = migrate.Run(migrate.Options{From: from, Out: filepath.Join(full, "config.yaml")})
	if err == nil {
		t.Error("a file was taken for a folder")
	}
}

// TestH7_NothingIsWrittenToAFolderThatSomebodyHasPutThere: beside --out, where the
// files are put together.
func TestH7_NothingIsWrittenToAFolderThatSomebodyHasPutThere(t *testing.T) {
	from, parent, theirs := typical(t, nil).write(t), t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(parent, ".a.importing"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(theirs, filepath.Join(parent, ".b.importing")); err != nil {
		t.Skip(err) // on Windows not everybody may
	}
	for _, name := range []string{"a", "b"} {
		_, err := migrate.Run(migrate.Options{From: from, Out: filepath.Join(parent, name)})
		if err == nil || !strings.Contains(err.Error(), "remove it and try again") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	for _, dir := range []string{theirs, filepath.Join(parent, ".a.importing")} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s holds %v, %v", dir, entries, err)
		}
	}
}

func TestH7_ImportedSecretsAreForTheServiceAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights come from the folder there") // see private.Open
	}
	i := typical(t, map[string]any{"HTTP_PROXY": "http://joe:canary-proxy@proxy.example.com:8080"})
	report, _ := run(t, i.write(t))
	for _, name := range report.Files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if info, err := os.Stat(filepath.Dir(name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("folder of %s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestE12_ImportShowsNoSecret(t *testing.T) {
	i := typical(t, map[string]any{
		"LDAP_BIND_CREDENTIALS": nil, "LDAP_BIND_PASSWORD": "canary-password", "SESSION_SECRET": "canary-session",
		"HTTP_PROXY": "http://joe:canary-proxy@proxy.example.com:8080", "SSL_PFX": "canary-pfx", "SSL_KEY_PASSWORD": "canary-pfx-password",
		"PROFILE_MAPPER": "function (raw, cb) { call('canary-mapper'); cb(null, {}); }",
	})
	report, _ := run(t, i.write(t))
	var text, js bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := connector.WriteJSON(&js, report); err != nil {
		t.Fatal(err)
	}
	yaml, err := os.ReadFile(report.Config)
	if err != nil {
		t.Fatal(err)
	}
	for where, shown := range map[string]string{"report": text.String(), "JSON": js.String(), "configuration": string(yaml)} {
		if i := strings.Index(shown, "canary"); i >= 0 {
			t.Errorf("%s holds a secret: %s", where, shown[max(0, i-60):i+20])
		}
	}
	for _, bad := range []string{`{"LDAP_BIND_PASSWORD": "canary" x}`, `{"LDAP_BIND_PASSWORD": "canary`, `"canary"`, "canary"} {
		_, err := migrate.Run(migrate.Options{From: installation{"config.json": bad}.write(t), Out: filepath.Join(t.TempDir(), "new")})
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

func TestSettingsBecomeKeys(t *testing.T) {
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
	report, c := run(t, typical(t, map[string]any{
		"CLIENT_CERT_AUTH": true, "CA_CERT": strings.ReplaceAll(string(ca.PEM()), "\n", `\n`),
		"SSL_PFX": base64.StdEncoding.EncodeToString(pfx), "SSL_KEY_PASSWORD": "pfx-password",
		"LDAP_USER_BY_NAME": "(cn={0})", "LDAP_SEARCH_QUERY": "(&(objectClass=person)(cn=*{0}*))",
		"LDAP_SEARCH_GROUPS": "(&(objectClass=group)(member={0}))", "LDAP_BASE_GROUPS": "OU=Groups,DC=fabrikam,DC=example",
		"GROUPS": "false", "GROUP_PROPERTY": "displayName", "GROUPS_TIMEOUT_SECONDS": 7, "GROUPS_CACHE_SECONDS": "60",
		"ALLOW_PASSWORD_EXPIRED": true, "AUTH_WHEN_PASSWORD_CHANGE_REQUIRED": "true", "SITE_NAME": "Fabrikam: sign in",
		"urn:auth0:fabrikam":  "https://a.example/callback, https://b.example/callback,https://a.example/callback",
		"PROVISIONING_TICKET": nil, // with it the tenant would say the realm
	}).write(t))
	l := c.LDAP
	for name, ok := range map[string]bool{
		"certificate":       c.Certificate != nil && len(c.Certificate.CAFiles) == 1 && len(c.Certificate.IPRanges) == 4,
		"tls":               filepath.Base(string(c.TLS.PFXFile)) == "server.pfx" && c.TLS.PFXPassword.Reveal() == "pfx-password",
		"user_filter":       l.UserFilter == "(cn={0})",
		"user_search":       l.UserSearch == "(&(objectClass=person)(cn=*{0}*))",
		"groups":            !l.Groups.Include && !l.Groups.Nested && l.Groups.Filter == "(&(objectClass=group)(member={0}))" && l.Groups.BaseDN == "OU=Groups,DC=fabrikam,DC=example",
		"groups.attribute":  l.Groups.Attribute == "displayName" && l.Groups.Timeout.String() == "7s" && l.Groups.Cache.String() == "1m",
		"expired passwords": l.AllowExpiredPassword && l.AllowMustChangePassword,
		"site_name":         c.SiteName == "Fabrikam: sign in",
		"wsfed":             c.WSFed.Issuer == "urn:fabrikam.example" && slices.Equal(c.WSFed.RelyingParties[0].ReplyURLs, []string{"https://a.example/callback", "https://b.example/callback"}),
	} {
		if !ok {
			t.Errorf("%s was not taken over as it was", name)
		}
	}
	for _, key := range []string{"LDAP_USER_BY_NAME", "CA_CERT", "SSL_PFX", "GROUPS", "ALLOW_PASSWORD_EXPIRED", "AUTH_WHEN_PASSWORD_CHANGE_REQUIRED", "certs/cert.key", "REALM"} {
		if about(report.Taken, key) == "" {
			t.Errorf("the report does not say where %s is now", key)
		}
	}
	if about(report.Decide, "certificate.ip_ranges") == "" || about(report.Decide, "ldap.deny_groups") == "" {
		t.Error("the report does not say what to decide")
	}
}

func TestWhatCannotBeTakenOverIsReported(t *testing.T) {
	for name, tt := range map[string]struct {
		changes map[string]any
		key     string
		words   string
	}{
		"Kerberos":               {map[string]any{"KERBEROS_AUTH": true}, "KERBEROS_AUTH", "keytab"},
		"every public authority": {map[string]any{"CLIENT_CERT_AUTH": true}, "CLIENT_CERT_AUTH", "every public authority"},
		"group objects":          {map[string]any{"GROUP_PROPERTIES": []string{"cn", "dn"}}, "GROUP_PROPERTIES", "one attribute"},
		"filter of our own kind": {map[string]any{"LDAP_USER_BY_NAME": "(!(cn={0}))"}, "LDAP_USER_BY_NAME", "ldap.user_filter stands behind a #"},
		"filter without a name":  {map[string]any{"LDAP_SEARCH_QUERY": "(cn=x)"}, "LDAP_SEARCH_QUERY", "{0}"},
		"reply address":          {map[string]any{"urn:auth0:fabrikam": "http://app.example/callback,javascript:x", "PROVISIONING_TICKET": nil}, "REALM", "behind a #"},
		"wrong kind":             {map[string]any{"GROUPS_CACHE_SECONDS": []int{1}}, "GROUPS_CACHE_SECONDS", "left out"},
		"setting of nobody":      {map[string]any{"FROBNICATE": "x"}, "FROBNICATE", "not a setting"},
		"PFX":                    {map[string]any{"SSL_PFX": "AAAA"}, "SSL_PFX", "export"},
		"authorities":            {map[string]any{"SSL_CA_PATH": "/etc/ssl/own"}, "SSL_CA_PATH", "/etc/ssl/own"},
		"port":                   {map[string]any{"PORT": "eighty"}, "PORT", "4000"},
		"mapper elsewhere":       {map[string]any{"PROFILE_MAPPER_FILE": "/opt/mapper.js"}, "PROFILE_MAPPER_FILE", "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			report, _ := run(t, typical(t, tt.changes).write(t))
			if got := about(report.Left, tt.key); !strings.Contains(got, tt.words) {
				t.Errorf("the note about %s is %q, want %q in it", tt.key, got, tt.words)
			}
			if about(report.Taken, tt.key) != "" {
				t.Errorf("%s is reported as taken over as well", tt.key)
			}
		})
	}
}

func TestPlainLDAPIsEncryptedFromNowOn(t *testing.T) {
	report, c := run(t, typical(t, map[string]any{"LDAP_URL": "ldap://dc1.fabrikam.example:389"}).write(t))
	if !c.LDAP.StartTLS || c.LDAP.AllowCleartext || about(report.Decide, "ldap.start_tls") == "" {
		t.Errorf("start_tls %v, allow_cleartext %v, report %q", c.LDAP.StartTLS, c.LDAP.AllowCleartext, about(report.Decide, "ldap.start_tls"))
	}
}

func TestSettingsThatMakeNoConfiguration(t *testing.T) {
	for name, tt := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"no directory":    {map[string]any{"LDAP_URL": nil}, "LDAP_URL"},
		"odd directory":   {map[string]any{"LDAP_URL": "http://dc1"}, "the old setting LDAP_URL cannot be taken over"},
		"odd base":        {map[string]any{"LDAP_BASE": "fabrikam"}, "the old setting LDAP_BASE cannot be taken over"},
		"odd address":     {map[string]any{"SERVER_URL": "login"}, "SERVER_URL"},
		"odd account":     {map[string]any{"LDAP_BIND_USER": "a\x07b"}, "LDAP_BIND_USER"},
		"several objects": {nil, "valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			i, parent := typical(t, tt.changes), t.TempDir()
			if tt.changes == nil {
				i["config.json"] += "{}"
			}
			_, err := migrate.Run(migrate.Options{From: i.write(t), Out: filepath.Join(parent, "new")})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestConfigWithMarkAndComments(t *testing.T) {
	i := typical(t, nil)
	i["config.json"] = "\ufeff// ours\r\n/* the\ndirectory */" + strings.Replace(i["config.json"], "{", "{ // \"}\n", 1)
	_, c := run(t, i.write(t))
	if c.LDAP.URLs[0] != "ldaps://dc1.fabrikam.example" || c.URL != "https://login.fabrikam.example:4000" {
		t.Errorf("urls %v: what looks like a comment within a text was taken for one", c.LDAP.URLs)
	}
	i["config.json"] = strings.Replace(config(t, nil), ",", ",\n\n  oops", 1)
	_, err := migrate.Run(migrate.Options{From: i.write(t), Out: filepath.Join(t.TempDir(), "new")})
	if err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("error %v does not name line 4", err)
	}
}

// TestH7_HostileArchives holds that an archive can neither write nor read
// elsewhere, nor grow.
func TestH7_HostileArchives(t *testing.T) {
	header := func(name string, mode fs.FileMode) *zip.FileHeader {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		return h
	}
	for name, tt := range map[string]struct {
		headers []*zip.FileHeader
		content string
		want    string
	}{
		"upwards":         {[]*zip.FileHeader{header("config.json", 0o600), header("../evil", 0o600)}, "{}", "leads out"},
		"in the midst":    {[]*zip.FileHeader{header("certs/../../evil", 0o600)}, "{}", "leads out"},
		"absolute":        {[]*zip.FileHeader{header("/etc/passwd", 0o600)}, "{}", "leads out"},
		"drive":           {[]*zip.FileHeader{header(`C:\evil`, 0o600)}, "{}", "leads out"},
		"backslashes":     {[]*zip.FileHeader{header(`..\evil`, 0o600)}, "{}", "leads out"},
		"link":            {[]*zip.FileHeader{header("config.json", 0o777|fs.ModeSymlink)}, "/etc/shadow", "link"},
		"device":          {[]*zip.FileHeader{header("config.json", 0o600|fs.ModeDevice)}, "", "link or a device"},
		"twice":           {[]*zip.FileHeader{header("config.json", 0o600), header("config.json", 0o600)}, "{}", "twice"},
		"bomb":            {[]*zip.FileHeader{header("config.json", 0o600)}, strings.Repeat(" ", 5<<20), "larger than 4 MiB"},
		"without config":  {[]*zip.FileHeader{header("readme", 0o600)}, "", "no config.json"},
		"many entries":    {manyEntries(header), "", "entries"},
		"encrypted entry": {[]*zip.FileHeader{{Name: "config.json", Flags: 1}}, "{}", "encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := zip.NewWriter(&b)
			for _, h := range tt.headers {
				f, err := w.CreateHeader(h)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = f.Write([]byte(tt.content))
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			data := b.Bytes()
			_, err := migrate.Run(migrate.Options{From: archive(t, data), Out: filepath.Join(t.TempDir(), "new")})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := migrate.Run(migrate.Options{From: archive(t, []byte("PK\x03\x04")), Out: filepath.Join(t.TempDir(), "new")}); err == nil {
		t.Error("what is no archive was read")
	}
}

func manyEntries(header func(string, fs.FileMode) *zip.FileHeader) []*zip.FileHeader {
	var all []*zip.FileHeader
	for i := range 10_001 {
		all = append(all, header(fmt.Sprintf("f%d", i), 0o600))
	}
	return all
}

// TestLinksOutOfTheInstallationAreNotFollowed: whoever may write there must not
// get at what only the administrator can read.
func TestLinksOutOfTheInstallationAreNotFollowed(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(outside, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "certs/cert.key", "lib/profileMapper.js"} {
		i := typical(t, nil)
		i["lib/other.js"] = ""
		delete(i, name)
		dir := i.write(t)
		if err := os.Symlink(outside, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Skip(err)
		}
		_, err := migrate.Run(migrate.Options{From: dir, Out: filepath.Join(t.TempDir(), "new")})
		if err == nil || !strings.Contains(err.Error(), filepath.FromSlash(name)) || !strings.Contains(err.Error(), "link") {
			t.Errorf("%s: a link out of the folder was followed, or the error does not say so: %v", name, err)
		}
	}
}

func TestFileThatIsNone(t *testing.T) {
	i := typical(t, nil)
	delete(i, "config.json")
	i["config.json/x"] = ""
	for _, from := range []string{i.write(t), t.TempDir(), filepath.Join(t.TempDir(), "nothing")} {
		if _, err := migrate.Run(migrate.Options{From: from, Out: filepath.Join(t.TempDir(), "new")}); err == nil {
			t.Errorf("%s was taken for an installation", from)
		}
	}
}

func FuzzConfigJSON(f *testing.F) {
	f.Add([]byte(config(f, nil)))
	f.Add([]byte(config(f, map[string]any{"LDAP_BIND_CREDENTIALS": oldForm, "KERBEROS_AUTH": "true", "HTTP_PROXY": "http://a:b@c"})))
	f.Add([]byte("\ufeff{} // x"))
	f.Add([]byte(`{"LDAP_URL": ["ldap://a", 7], "LDAP_BASE": "dc=a", "PROFILE_MAPPER": "function(a){return {b:a.c};}"}`))
	f.Add([]byte("/*"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, out := t.TempDir(), filepath.Join(t.TempDir(), "new")
		if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := migrate.Run(migrate.Options{From: dir, Out: out, BindPassword: secret.New("given")})
		if err != nil {
			if _, err := os.Stat(out); err == nil {
				t.Error("half an import was left behind")
			}
			return
		}
		if _, err := connector.LoadConfig(report.Config); err != nil {
			t.Errorf("our own loader refuses it: %v", err)
		}
	})
}

// TestChangesOfPasswordsAreTakenOver: to unlock is no setting of its own.
func TestChangesOfPasswordsAreTakenOver(t *testing.T) {
	for _, tt := range []struct{ change, unlock, wantChange, wantUnlock bool }{
		{true, true, true, true}, {true, false, true, false}, {false, true, false, false}, {false, false, false, false},
	} {
		report, c := run(t, typical(t, map[string]any{"ENABLE_WRITE_BACK": tt.change, "AUTO_UNLOCK_ON_PASSWORD_CHANGE": tt.unlock}).write(t))
		if c.Hub.AllowPasswordChange != tt.wantChange || c.Hub.UnlockOnPasswordChange != tt.wantUnlock {
			t.Errorf("%+v: %+v", tt, c.Hub)
		}
		if decide := about(report.Decide, "hub.allow_password_change") != ""; decide != tt.wantChange {
			t.Errorf("%+v: to decide %v", tt, report.Decide)
		}
		if len(report.Left) > 0 {
			t.Errorf("%+v: left %v", tt, report.Left)
		}
	}
}
