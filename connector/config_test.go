package connector

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth/setting"

	"gopkg.in/yaml.v3"
)

// least is the smallest configuration that is valid.
const least = `url: https://login.fabrikam.example
tls: {cert_file: c.pem, key_file: k.pem}
password: {}
ldap: {urls: ["ldaps://dc1"], base_dn: "dc=fabrikam"}
`

// parse reads text as the file "f.yaml" in a folder of its own.
func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	return ParseConfig([]byte(text), "f.yaml", t.TempDir())
}

// mistakes returns the lines of err, which must be a ConfigError if it is one at
// all.
func mistakes(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*ConfigError](err); !ok {
		t.Fatalf("%v is a %T, want a *ConfigError", err, err)
	}
	return strings.Split(err.Error(), "\n")
}

func TestLeastConfig(t *testing.T) {
	c, err := ParseConfig([]byte(least), "f.yaml", "/etc/adconnector")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":443" || c.SiteName != "login.fabrikam.example" {
		t.Errorf("listen %q and site_name %q do not follow from the url", c.Listen, c.SiteName)
	}
	if c.Certificate != nil || c.WSFed != nil {
		t.Error("sections that are absent are on")
	}
	if c.Password == nil || c.Password.Throttle.PerAccount.Failures != 5 || !c.LDAP.Groups.Include || c.Session.Lifetime.String() != "8h" || c.Signing.RSABits != 2048 {
		t.Errorf("defaults are missing: %+v", c)
	}
	for got, want := range map[setting.File]string{c.DataDir: "data", c.TLS.CertFile: "c.pem"} {
		if string(got) != filepath.Join("/etc/adconnector", want) {
			t.Errorf("path %s, want %s in the folder of the file", got, want)
		}
	}
	c, err = ParseConfig([]byte(strings.Replace(least, ".example", ".example:8443/sso", 1)+"data_dir: "+filepath.ToSlash(t.TempDir())), "f.yaml", "/etc/adconnector")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":8443" || strings.HasPrefix(string(c.DataDir), "/etc/adconnector") {
		t.Errorf("listen %q, data_dir %q", c.Listen, c.DataDir)
	}
}

// goTypes finds words that mean something only to who knows the code.
var goTypes = regexp.MustCompile(`\b(string|struct|bool|int|slice|map|unmarshal|nil|Config)\b|!!`)

// TestConfigMistakes has one row for each kind of mistake: the lines that are
// added to a configuration that is valid, and what must be said of them.
func TestConfigMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // all mistakes: the place, and a part of the words
	}{
		{"misspelt key", "sesion: {lifetime: 1h}", []string{"5:1: sesion: unknown key; did you mean session?"}},
		{"letters swapped", "session: {lifetiem: 1h}", []string{"5:11: session.lifetiem: unknown key; did you mean lifetime?"}},
		{"misspelt key of what may be one value", "certificate: {ip_ranges: [10.0.0.0/8], ca_files: [a], accept: all, self_signed_files: [a, {fiel: b}]}", []string{"5:92: certificate.self_signed_files[1].fiel: unknown key; did you mean file?"}},
		{"a list for what may be one value", "certificate: {ip_ranges: [10.0.0.0/8], ca_files: [a], accept: all, self_signed_files: [[a]]}", []string{"5:88: certificate.self_signed_files[0]: must be a section"}},
		{"true for what may be one value", "certificate: {ip_ranges: [10.0.0.0/8], ca_files: [a], accept: all, self_signed_files: [true]}", []string{"5:88: certificate.self_signed_files[0]: must be a text"}},
		{"metrics for everybody", `metrics: {listen: ":9464"}`, []string{`5:19: metrics.listen: other machines can reach ":9464"`}},
		{"metrics by name", "metrics: {listen: \"dc1.example:9464\", allow_from: [10.0.0.9]}", []string{"5:19: metrics.listen: must be an IP address of this machine"}},
		{"metrics where browsers are", `metrics: {listen: "127.0.0.1:443"}`, []string{"5:19: metrics.listen: has the port of listen"}},
		{"metrics on the port of listen", "listen: :8443\nmetrics: {listen: \"127.0.0.1:8443\"}", []string{"6:19: metrics.listen: has the port of listen"}},
		{"misspelt and required", "wsfed: {isuer: x, relying_partys: []}", []string{"5:9: wsfed.isuer: unknown key; did you mean issuer?", "5:19: wsfed.relying_partys: unknown key; did you mean relying_parties?"}},
		{"letters of a short key swapped", "log: {leevl: info}", []string{"5:7: log.leevl: unknown key; did you mean level?"}},
		{"any two letters swapped", "lpad: {}", []string{"5:1: lpad: unknown key; did you mean ldap?"}},
		{"capitals", "URL: x", []string{"5:1: URL: unknown key; did you mean url?"}},
		{"camel case", "certificate: {ip_ranges: [10.0.0.0/8], caFiles: [a]}", []string{"5:40: certificate.caFiles: unknown key; did you mean ca_files?"}},
		{"hyphens", "audit-file: x", []string{"5:1: audit-file: unknown key; did you mean audit_file?"}},
		{"camel case of another section", "bindDN: x", []string{"5:1: bindDN: unknown key here; it belongs in ldap"}},
		{"short key that is like no other", "foo: x", []string{"unknown key; there are url,"}},
		{"no blank after a quoted key", `session: {"lifetime:8h": x}`, []string{"5:11: session.lifetime: a blank is missing after the colon"}},
		{"unreadable section lacks nothing", "certificate: x", []string{"5:14: certificate: must be a section"}},
		{"null section lacks nothing", "wsfed:", []string{"5:1: wsfed: nothing follows"}},
		{"session", "session: {lifetime: -1s, recheck: -1s}", []string{"5:21: session.lifetime: -1s is negative", "5:35: session.recheck: -1s is negative"}},
		{"key of another section", "throttle: {}", []string{"5:1: throttle: unknown key here; it belongs in password"}},
		{"key of several sections", "timeout: 5s", []string{"belongs in certificate.revocation or ldap or ldap.groups"}},
		{"key of the top level", "session: {listen: x}", []string{"belongs in the top level"}},
		{"key of nowhere", "session: {frobnicate: x}", []string{"unknown key; there are lifetime, recheck"}},
		{"section of a list", "wsfed:\n  issuer: urn:x\n  relying_parties:\n    - relm: urn:y\n      reply_urls: [https://a.example/]", []string{"8:7: wsfed.relying_parties[0].relm: unknown key; did you mean realm?"}},
		{"expression", `profile: {x: 'givenName + attr(sn)'}`, []string{"5:14: profile.x: character 13, where the mark is in givenName + ▸attr(sn): the name of the attribute must be written out"}},
		{"type in an expression", `profile: {x: 'lower(values("mail"))'}`, []string{"5:14: profile.x: character 7, where the mark is in lower(▸values(\"mail\")): cannot use list as argument (type text) to call lower"}},
		{"several claims", "profile:\n  email: mail\n  id: uid\n  x: userPassword\n  Y: a\n  y: b", []string{"7:7: profile.id: is reserved", "8:6: profile.x: the attribute userPassword holds secrets", "10:6: profile.y: differs from Y"}},
		{"claim given twice", "profile: {x: a, x: b}", []string{"5:17: profile.x: is given twice, first in line 5"}},
		{"claim without a value", "profile:\n  x:", []string{"6:3: profile.x: nothing follows"}},
		{"list for a claim", "profile: {x: [a]}", []string{"5:14: profile.x: must be the name of an attribute or an expression, not a list"}},
		{"reference for a claim", "profile: {x: &a b}", []string{"5:14: profile.x: anchors (&) are not supported"}},
		{"odd name of a claim", `profile: {"a b": c}`, []string{"5:11: profile.a…: is not the name of a claim"}},
		{"list of claims", "profile: [a]", []string{`5:10: profile: must be a section: claims below it, indented, such as "email: mail"`}},
		{"duplicate key", "log: {level: info, level: debug}", []string{"5:20: log.level: is given twice, first in line 5"}},
		{"duplicate section", "ldap: {}", []string{"5:1: ldap: is given twice, first in line 4"}},
		{"text for a section", "session: 8h", []string{`5:10: session: must be a section`}},
		{"list for a section", "session: [a]", []string{`5:10: session: must be a section`}},
		{"text for a list", "certificate: {ip_ranges: 10.0.0.0/8, ca_files: [a]}", []string{"5:26: certificate.ip_ranges: must be a list: write [a, b]"}},
		{"section for a text", "site_name: {a: b}", []string{"5:12: site_name: must be a text, not a list or a section"}},
		{"section for a duration", "session: {lifetime: {a: b}}", []string{"5:21: session.lifetime: must be a single value"}},
		{"section for a number", "signing: {rsa_bits: [1]}", []string{"must be a number, not a list or a section"}},
		{"true for a text", "site_name: true", []string{"5:12: site_name: must be a text; if true is meant as one, put it in quotes"}},
		{"colon in a list", "wsfed: {issuer: urn:x, relying_parties: [{realm: urn:y, reply_urls: [https://a.example/: b]}]}", []string{"reply_urls[0]: must be a text, not a list or a section; put values that hold ? : , # or braces in quotes"}},
		{"comma in a section in braces", "log: {level: info,debug}", []string{"5:19: log: no value follows; put values that hold ? : , # or braces in quotes"}},
		{"text for a number", "signing: {rsa_bits: big}", []string{`5:21: signing.rsa_bits: must be a number, without quotes, not "big"`}},
		{"quoted number", `signing: {rsa_bits: "3072"}`, []string{`must be a number, without quotes, not "3072"`}},
		{"octal number", "signing: {rsa_bits: 04000}", []string{"does not begin with 0, not 04000"}},
		{"number that YAML 1.1 reads by sixties", "signing: {rsa_bits: 34:08}", []string{"must be a number"}},
		{"hexadecimal number", "signing: {rsa_bits: 0x800}", []string{"decimal digits"}},
		{"fraction", "signing: {rsa_bits: 2048.5}", []string{"whole number"}},
		{"huge number", "signing: {rsa_bits: 99999999999}", []string{"not so large"}},
		{"yes for true", "certificate: {ip_ranges: [10.0.0.0/8], ca_files: [a], check_usage: yes}", []string{`certificate.check_usage: must be true or false, without quotes, not "yes"`}},
		{"quoted true", `certificate: {ip_ranges: [10.0.0.0/8], ca_files: [a], check_usage: "true"}`, []string{`must be true or false, without quotes, not "true"`}},
		{"duration without unit", "session: {lifetime: 8}", []string{`5:21: session.lifetime: "8" is not a duration`}},
		{"host bits", "certificate: {ip_ranges: [10.1.2.3/8], ca_files: [a]}", []string{"5:27: certificate.ip_ranges[0]: \"10.1.2.3/8\" has bits set beyond its length: write 10.0.0.0/8"}},
		{"no range for certificates", "certificate: {ca_files: [a]}", []string{"5:1: certificate.ip_ranges: is missing"}},
		{"empty range for certificates", "certificate: {ca_files: [a], ip_ranges: []}", []string{"5:30: certificate.ip_ranges: is missing"}},
		{"no CA", "certificate: {ip_ranges: [10.0.0.0/8]}", []string{"5:1: certificate.ca_files: required"}},
		{
			"rules that are none",
			"certificate: {ip_ranges: [10.0.0.0/8], ca_files: [a], user_name: [cn, {rule: san_email, filter: mail}, {rule: sid, fliter: x}, {filter: \"(cn={0})\"}]}",
			[]string{
				`certificate.user_name[0]: "cn" is not a rule: write one of subject_cn`, `certificate.user_name[1].filter: must hold {0}`,
				`certificate.user_name[2].fliter: unknown key; did you mean filter?`, `certificate.user_name[3]: "" is not a rule`,
			},
		},
		{
			"authorities that are none",
			"certificate: {ip_ranges: [10.0.0.0/8], authorities: [{ca_file: a, user_name: [{rule: subject_dn, filter: \"(!(cn={0}))\"}], ip_ranges: [x]}, {policies: [high]}]}",
			[]string{
				`certificate.authorities[0].user_name[0].filter: must not have {0} inside a negation`, `certificate.authorities[0].ip_ranges[0]: "x" is not an IP range`,
				`certificate.authorities[1].ca_file: required`, `certificate.authorities[1].policies[0]: "high" is not`,
			},
		},
		{"throttle that is none", "x: y", []string{"5:1: x: unknown key"}},
		{"null section", "session:", []string{"5:1: session: nothing follows: write {}"}},
		{"null value", "session: {lifetime: }", []string{"session.lifetime: nothing follows: write a value"}},
		{"null by name", "site_name: ~", []string{"site_name: nothing follows"}},
		{"null in a list", "certificate: {ca_files: [a], ip_ranges: [~]}", []string{"certificate.ip_ranges[0]: nothing follows"}},
		{"anchor", "site_name: &a b", []string{"5:12: site_name: anchors (&) are not supported"}},
		{"reference", "site_name: &a b\naudit_file: *a", []string{"anchors", "6:13: audit_file: references (*) are not supported"}},
		{"merge", "session: {<<: {lifetime: 1h}}", []string{"5:11: session: a key must be a plain word"}},
		{"key that is a list", "[a]: b", []string{"5:1: a key must be a plain word"}},
		{"tag", "site_name: !!str x", []string{"5:12: site_name: tags (!) are not supported"}},
		{"no blank after the colon", "{session:8h}", []string{"has no colon after its key"}},
		{"log", "log: {level: loud, format: xml}", []string{`5:14: log.level: must be one of debug, info, warn, error, not "loud"`, `5:28: log.format: must be one of auto, text, json, not "xml"`}},
		{"listen", "listen: 443", []string{`5:9: listen: must be an address and a port, such as ":443"`}},
		{"listen port", `listen: ":66000"`, []string{"listen: must be an address and a port"}},
		{"empty data_dir", `data_dir: ""`, []string{"5:11: data_dir: is empty"}},
		{"later sections", "kerberos: {}\noidc: {}", []string{"5:1: kerberos: unknown key", "6:1: oidc: unknown key"}},
		{"everything at once", "sesion: {}\nlisten: x\nlog: {level: loud}\nsigning: {rsa_bits: 1}", []string{"5:1: sesion", "6:9: listen", "7:14: log.level", "8:21: signing.rsa_bits"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, least+tt.text+"\n")
			got := mistakes(t, err)
			if len(got) != len(tt.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(got), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i], want) || !strings.HasPrefix(got[i], "f.yaml:") || goTypes.MatchString(got[i][len("f.yaml"):]) {
					t.Errorf("mistake %d:\n  %s\nwant\n  f.yaml: ... %s", i+1, got[i], want)
				}
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"bindDN", "bind_dn", 0},
		{"ca-files", "ca_files", 0},
		{"lpad", "ldap", 1},
		{"tsl", "tls", 1},
		{"Timoeuts", "timeout", 2},
		{"lpadd", "ldap", 3},
		{"url", "urls", 1},
		{"", "url", 3},
		{"a", "", 1},
		{"ab", "cd", 2},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}

// TestConfigWholeFile is about files that are wrong as such.
func TestConfigWholeFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "f.yaml:1:1: the file is empty"},
		{"comments only", "# nothing\n\n", "f.yaml:1:1: the file is empty"},
		{"null", "---\n", "the file is empty"},
		{"a list", "- a\n", "f.yaml:1:1: the file must consist of lines such as"},
		{"a text", "hello\n", "f.yaml:1:1: the file must consist of lines such as"},
		{"anchor on everything", "&a\nurl: x\n", "anchors (&) are not supported"},
		{"second document", least + "---\nurl: x\n", "f.yaml:5:1: a second document begins here"},
		{"empty second document", least + "---\n", "a second document begins here"},
		{"broken second document", least + "---\n}", "a value is missing"},
		{"tab", "ldap:\n\turls: []\n", "f.yaml:2:1: a tab; YAML indents with spaces"},
		{"tab after spaces", "ldap:\n  urls: []\n  \tbase_dn: x\n", "f.yaml:3:3: a tab"},
		{"not indented", "ldap:\n  urls: []\n   base_dn: x\n", "f.yaml:"},
		{"not indented below a comment", "# x\n\nldap:\n  urls: []\n  base_dn: x\n timeout: 5s\nsite_name: y\n", "f.yaml:6:2: this does not fit the lines above"},
		{"no dash in a list", "a: b\nc:\n  - d\n  - e\n  f: g\n", "f.yaml:5:3: this does not fit the list above"},
		{"open quotes", "url: \"https://x\n", "does not end"},
		{"open bracket", "a: [b, c\n", "a list in brackets that does not end"},
		{"open brace", "a: {b: c\n", "a section in braces that does not end"},
		{"open bracket below other lines", "url: x\na: [b,\n  c\nsite_name: what?\n", "f.yaml:2:1: a list in brackets that does not end, or lacks a comma; put values that hold ? : , # or braces in quotes"},
		{"query in a list", "a:\n  b: [https://rp/, https://rp/cb?x=1]\n", "f.yaml:2:33: a value in brackets or braces that holds a ?; put values that hold ? : , # or braces in quotes"},
		{"query in a list in line 1", "a: [https://rp/cb?x=1]\n", "f.yaml:1:18: a value in brackets or braces that holds a ?"},
		{"query in a list of several lines", "a: b\nc: [\n  \"q?\", 'it''s?', # why?\n  https://rp/ü?x=1,\n]\n", "f.yaml:4:15: a value in brackets or braces that holds a ?"},
		{"query in a section in braces", "a: b\nc: {d: https://rp/cb?x=1}\n", "f.yaml:2:21: a value in brackets or braces that holds a ?"},
		{"braces in a section in braces", "a: b\nc: {d: (uid={user})}\n", "f.yaml:2:13: a value in brackets or braces that holds a {"},
		{"brackets in a list", "a: b\nc: [ldaps://[fd00::1]]\n", "f.yaml:2:13: a value in brackets or braces that holds a ["},
		{"two colons in a list", "a: b\nc: [d: e: f]\n", "f.yaml:2:1: a list in brackets"},
		{"list without a value", "a: b\nc: [d,,e]\n", "f.yaml:2:1: a value is missing"},
		{"Windows path", "a:\n  b: \"C:\\windows\"\n", "f.yaml:2:3: in double quotes a backslash begins an escape"},
		{"colon in a value", "a: b: c\n", "a colon where none is expected"},
		{"at sign", "url: @x\n", "a character that cannot begin a value"},
		{"UTF-16", "\xff\xfeu\x00", "f.yaml:1:1: the file is in UTF-16"},
		{"Latin-1", "url: x\nsite_name: M\xfcller\n", "f.yaml:2:13: a character that is not UTF-8"},
		{"control character", "url: x\nsite_name: ü\x07\n", "f.yaml:2:13: an invisible character (U+0007)"},
		{"unknown reference", "url: x\nsite_name: *nowhere\n", "f.yaml:2:12: a value that begins with * must be in quotes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.text)
			got := mistakes(t, err)
			if len(got) == 0 || !strings.Contains(got[0], tt.want) || goTypes.MatchString(got[0][len("f.yaml"):]) {
				t.Errorf("mistakes %q, want %q first", got, tt.want)
			}
		})
	}
}

func TestConfigByNotepad(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(least+"site_name: Träger\n", "\n", "\r\n")
	c, err := parse(t, text)
	if err != nil || c.SiteName != "Träger" {
		t.Errorf("with a byte order mark and CRLF: %v, %v", c, err)
	}
	if _, err = parse(t, text+"x: y\r\n"); err == nil || !strings.HasPrefix(err.Error(), "f.yaml:6:1: x: ") {
		t.Errorf("a mistake in it: %v", err)
	}
}

func TestConfigURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://login.example.com":              "",
		"https://login.example.com/":             "",
		"https://login.example.com:8443/a/b":     "",
		"https://[fd00::1]":                      "",
		"https://192.0.2.1/login":                "",
		"HTTPS://Login.Example.com":              "",
		"http://login.example.com":               "must begin with https://",
		"login.example.com":                      "must begin with https://",
		"https:login.example.com":                "is not a URL",
		"https://":                               "names no host",
		"https://:443":                           "names no host",
		"https://login.example.com:":             "no valid port",
		"https://login.example.com:0":            "no valid port",
		"https://login.example.com:66000":        "no valid port",
		"https://login.example.com:port":         "is not a URL",
		"https://user:" + "pw@login.example.com": "must not hold a user name or a password",
		"https://login.example.com?":             "remove what begins with ? or #",
		"https://login.example.com/?a=b":         "remove what begins with ? or #",
		"https://login.example.com/'#'":          "remove what begins with ? or #",
		"https://login.example.com/a/":           "has a path",
		"https://login.example.com//a":           "has a path",
		"https://login.example.com/a/../b":       "has a path",
		"https://login.example.com/a%2fb":        "has a path",
		"https://login.example.com/{a}":          "has a path",
		"":                                       "is missing",
	} {
		_, err := parse(t, strings.Replace(least, "https://login.fabrikam.example", "'"+strings.ReplaceAll(url, "'", "")+"'", 1))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), "f.yaml:1:6: url: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("url %q: %v; want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw@") {
			t.Errorf("url %q: the error shows the password: %v", url, err)
		}
	}
	if _, err := parse(t, least[strings.Index(least, "\n")+1:]); err == nil || !strings.HasPrefix(err.Error(), "f.yaml:1:1: url: is missing") {
		t.Errorf("without url: %v", err)
	}
}

func TestConfigThrottle(t *testing.T) {
	_, err := parse(t, strings.Replace(least, "{}", "{throttle: {per_account: {failures: 0}, per_address: {window: 8d}}}", 1))
	got := mistakes(t, err)
	if len(got) != 2 || !strings.HasPrefix(got[0], "f.yaml:3:47: password.throttle.per_account.failures: ") || !strings.HasPrefix(got[1], "f.yaml:3:73: password.throttle.per_address.window: ") {
		t.Errorf("mistakes %q, want one for each limit", got)
	}
}

func TestConfigNeedsAWayIn(t *testing.T) {
	_, err := parse(t, strings.Replace(least, "password: {}\n", "", 1))
	if err == nil || !strings.Contains(err.Error(), "nobody could sign in") {
		t.Errorf("neither certificate nor password: %v", err)
	}
}

func TestConfigSecrets(t *testing.T) {
	t.Setenv("ADC_TEST_SECRET", "from the environment")
	t.Setenv("ADC_TEST_EMPTY", "")
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "bind_password_file: " + name
	}
	for _, tt := range []struct{ name, setting, want, mistake string }{
		{"plain", "bind_password: pässword", "pässword", ""},
		{"quoted", `bind_password: "a b"`, "a b", ""},
		{"digits stay as they are", "bind_password: 0123", "0123", ""},
		{"a date stays as it is", "bind_password: 2026-01-02", "2026-01-02", ""},
		{"true stays as it is", "bind_password: True", "True", ""},
		{"lone dollar", "bind_password: a$b{c}", "a$b{c}", ""},
		{"variable", "bind_password: ${ADC_TEST_SECRET}", "from the environment", ""},
		{"variable within", "bind_password: a${ADC_TEST_SECRET}b", "afrom the environmentb", ""},
		{"block", "bind_password: |\n    secret\n", "secret", ""},
		{"unset variable", "bind_password: x${ADC_TEST_UNSET}", "", "environment variable ADC_TEST_UNSET is not set"},
		{"empty variable", "bind_password: ${ADC_TEST_EMPTY}", "", "environment variable ADC_TEST_EMPTY is not set, or empty"},
		{"open variable", "bind_password: ${ADC_TEST", "", "begins the name of an environment variable"},
		{"empty", `bind_password: ""`, "", "is empty"},
		{"null", "bind_password:", "", "nothing follows"},
		{"file", file("a", "secret\n"), "secret", ""},
		{"file by Windows", file("b", "\ufeffsecret\r\n"), "secret", ""},
		{"file without line end", file("c", "secret"), "secret", ""},
		{"blanks and further lines of a file count", file("d", " a\nb \n\n"), " a\nb \n", ""},
		{"no variables in files", file("e", "${ADC_TEST_SECRET}"), "${ADC_TEST_SECRET}", ""},
		{"empty file", file("f", "\n"), "", "is empty; write the secret into it"},
		{"no file", "bind_password_file: nowhere", "", "there is no file " + filepath.Join(dir, "nowhere")},
		{"folder", "bind_password_file: .", "", "bind_password_file: "},
		{"large file", file("g", strings.Repeat("x", maxSecret+1)), "", "too large for a secret"},
		{"both", file("h", "secret") + "\n  bind_password: x", "", "both bind_password and bind_password_file are given"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(least, `ldap: {urls: ["ldaps://dc1"], base_dn: "dc=fabrikam"}`,
				"ldap:\n  urls: [\"ldaps://dc1\"]\n  base_dn: dc=fabrikam\n  bind_dn: cn=svc\n  "+tt.setting, 1)
			c, err := ParseConfig([]byte(text), "f.yaml", dir)
			if tt.mistake != "" {
				if got := mistakes(t, err); len(got) != 1 || !strings.Contains(got[0], tt.mistake) || !strings.HasPrefix(got[0], "f.yaml:8:") && !strings.HasPrefix(got[0], "f.yaml:9:") {
					t.Errorf("mistakes %q, want one in line 8 or 9 with %q", got, tt.mistake)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.LDAP.BindPassword.Reveal(); got != tt.want {
				t.Errorf("the secret is %q, want %q", got, tt.want)
			}
		})
	}
}

// TestH7_SecretsOfWideRights is about the file, whose rights on Windows are
// another matter: what others may change is refused, what they may read is warned
// about.
func TestH7_SecretsOfWideRights(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing on Windows")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	text := strings.Replace(least, "ldap: {", "ldap: {bind_dn: cn=svc, bind_password_file: secret, ", 1)
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: true, 0o604: true, 0o666: false, 0o620: false} {
		if err := os.WriteFile(path, []byte("Canary-Secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		c, err := ParseConfig([]byte(text), "f.yaml", dir)
		if (err == nil) != ok {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if !ok && !strings.Contains(fmt.Sprint(err), "ldap.bind_password_file: ") {
			t.Errorf("mode %04o: %v, want the key in it", mode, err)
		}
		if ok && (mode&0o044 != 0) != (len(c.Warnings()) == 1) {
			t.Errorf("mode %04o: warnings %q", mode, c.Warnings())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestH7_ConfigFileThatOthersMayChange is about the file itself: who may change
// it decides who can sign in, and a secret in it is as good as its rights.
func TestH7_ConfigFileThatOthersMayChange(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing on Windows")
	}
	t.Setenv("ADC_TEST_SECRET", "Canary-Secret")
	inLDAP := func(password string) string {
		return strings.Replace(least, "ldap: {", "ldap: {bind_dn: cn=svc, bind_password: '"+password+"', ", 1)
	}
	literal, reference := inLDAP("Canary-Secret"), inLDAP("${ADC_TEST_SECRET}${ADC_TEST_SECRET}")
	pfx := strings.Replace(least, "cert_file: c.pem, key_file: k.pem", "pfx_file: c.pfx, pfx_password: Canary-Secret", 1)
	for _, tt := range []struct {
		name, text     string
		mode           os.FileMode
		warning, wrong string // "" means: none
	}{
		{"no secret", least, 0o600, "", ""},
		{"no secret, read by all", least, 0o644, "", ""},
		{"no secret, read-only", least, 0o444, "", ""},
		{"no secret, written by the group", least, 0o664, "its group may change ", ""},
		{"no secret, written by all", least, 0o666, "", "every user of this computer may change this file (mode 0666), and with it who can sign in: run chmod go-w "},
		{"no secret, written by others alone", least, 0o602, "", "run chmod go-w "},
		{"secret", literal, 0o600, "", ""},
		{"secret, read by the group", literal, 0o640, "its group may read ", ""},
		{"secret, written by the group", literal, 0o660, "its group may change ", ""},
		{"secret, read by all", literal, 0o644, "every user of this computer may read the file ", ""},
		{"secret, read by others alone", literal, 0o604, "run chmod 600 ", ""},
		{"secret, written by the group and read by all", literal, 0o664, "", "run chmod 600 "},
		{"secret, written by all", literal, 0o666, "", "run chmod 600 "},
		{"secret from the environment, read by all", reference, 0o644, "", ""},
		{"half a secret from the environment, read by all", inLDAP("x${ADC_TEST_SECRET}"), 0o644, "run chmod 600 ", ""},
		{"secret of a key, read by all", pfx, 0o644, "run chmod 600 ", ""},
		{"secret and another mistake", literal + "x: y\n", 0o646, "", "run chmod 600 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f.yaml")
			if err := errors.Join(os.WriteFile(path, []byte(tt.text), 0o600), os.Chmod(path, tt.mode)); err != nil {
				t.Fatal(err)
			}
			c, err := LoadConfig(path)
			if tt.wrong != "" {
				got := mistakes(t, err)
				if len(got) == 0 || !strings.HasPrefix(got[0], path+":1:1: ") || !strings.Contains(got[0], tt.wrong) {
					t.Errorf("mistakes %q, want %q first, at the begin of the file", got, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Warnings(), "\n"); (got != "") != (tt.warning != "") || !strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

// TestE12_NoMistakeShowsASecret puts a secret in every place where it does not
// belong but a tired administrator may put it.
func TestE12_NoMistakeShowsASecret(t *testing.T) {
	const canary = "CanarySecret"
	for _, line := range []string{
		"bind_password: [" + canary + "]",
		"bind_password: {a: " + canary + "}",
		"bind_password: {" + canary + ": a}",
		"bind_password:\n    - " + canary,
		"bind_password: &" + canary + " x",
		"bind_password: &" + canary,
		"bind_password: *" + canary,
		"bind_password: '*" + canary + "'\n  base_dn: *" + canary,
		"bind_password: !" + canary + " x",
		"bind_password: !!int " + canary,
		"bind_password: !!binary " + canary,
		"bind_password: ${" + canary + "-}",
		"bind_password: \"" + canary + "\\q\"",
		"bind_password: \"" + canary,
		"bind_password: '" + canary + "'x",
		"bind_password: @" + canary,
		"bind_password: %" + canary,
		"bind_password: a: " + canary,
		"bind_password: " + canary + "\n  bind_password: " + canary,
		"bind_password: " + canary + "\n  bind_password_file: a",
		"bind_password: " + canary + "\n\tx: y",
		"bind_password:" + canary,
		"bind_password:" + canary + ": x",
		"{bind_password:" + canary + "}",
		"bind_password:" + canary + "\n  urls: x",
		"bind_pasword: " + canary,
		"bind_pasword: [" + canary + "]",
		"\"bind_password:" + canary + "\": x",
		"? bind_password:" + canary + "\n  : x",
		"bind_password \"" + canary + "\": x",
		"{bind_password: a," + canary + "}",
		"{bind_password: a?" + canary + "}",
	} {
		text := strings.Replace(least, `ldap: {urls: ["ldaps://dc1"], base_dn: "dc=fabrikam"}`, "ldap:\n  "+line, 1)
		_, err := parse(t, text)
		if err == nil {
			t.Errorf("%q is accepted", line)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%q: the secret is in the error:\n%v", line, err)
		}
	}
	for _, text := range []string{least + "ldap:" + canary, "ldap: " + canary, "ldap: [" + canary + "]", canary, "- " + canary, least + canary} {
		if _, err := parse(t, text); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", text, err)
		}
	}
	c, err := parse(t, strings.Replace(least, "ldap: {", "ldap: {bind_dn: cn=svc, bind_password: "+canary+", ", 1))
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	if err := c.Show(&shown); err != nil {
		t.Fatal(err)
	}
	if all := shown.String() + fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(all, canary) {
		t.Errorf("printing the configuration shows the secret: %s", all)
	}
	if !strings.Contains(shown.String(), `bind_password: '********'`) {
		t.Errorf("the secret is not masked but missing:\n%s", shown.String())
	}
}

// walk calls visit for every key that there is.
func walk(t reflect.Type, section string, visit func(key string, t reflect.Type, in []field)) {
	known := fields(t)
	for _, f := range known {
		ft, key := t.FieldByIndex(f.index).Type, under(section, f.key)
		visit(key, ft, known)
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && !isLeaf(ft) && !f.inherits {
			walk(ft, key, visit)
		}
	}
}

func TestEverySecretHasAFile(t *testing.T) {
	secrets := 0
	walk(reflect.TypeFor[Config](), "", func(key string, ft reflect.Type, in []field) {
		if ft != secretType {
			return
		}
		secrets++
		if !slices.ContainsFunc(in, func(f field) bool { return f.key == lastKey(key)+"_file" }) {
			t.Errorf("%s has no twin %s_file", key, key)
		}
	})
	if secrets == 0 {
		t.Error("no secret was found: this test is blind")
	}
}

// TestEveryFieldIsAKey keeps a field from being invisible to operators, and a
// section that may be absent from being anywhere but at the top.
func TestEveryFieldIsAKey(t *testing.T) {
	var check func(reflect.Type, bool)
	check = func(st reflect.Type, top bool) {
		for i := range st.NumField() {
			f := st.Field(i)
			if !f.IsExported() {
				continue
			}
			if tag := f.Tag.Get("yaml"); tag == "" {
				t.Errorf("%v.%s has no key", st, f.Name)
			}
			ft := f.Type
			if ft.Kind() == reflect.Pointer && !top {
				t.Errorf("%v.%s: an optional section below the top is given no defaults", st, f.Name)
			}
			for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct && !isLeaf(ft) {
				check(ft, false)
			}
		}
	}
	check(reflect.TypeFor[Config](), true)
}

func TestShowIsAConfigurationFile(t *testing.T) {
	dir, example := exampleFolder(t)
	for _, text := range []string{example, least} {
		c, err := ParseConfig([]byte(text), "f.yaml", dir)
		if err != nil {
			t.Fatal(err)
		}
		var shown, again bytes.Buffer
		if err := c.Show(&shown); err != nil {
			t.Fatal(err)
		}
		c, err = ParseConfig(shown.Bytes(), "shown.yaml", "/elsewhere")
		if err != nil {
			t.Fatalf("%v in\n%s", err, shown.String())
		}
		if err := c.Show(&again); err != nil {
			t.Fatal(err)
		}
		if shown.String() != again.String() {
			t.Errorf("shown\n%s\nand shown again\n%s", shown.String(), again.String())
		}
		for _, line := range []string{"lifetime: 8h\n", "failures: 5\n", "min_version: \"1.2\"\n", "listen: :443\n"} {
			if !strings.Contains(shown.String(), line) {
				t.Errorf("no line %q in\n%s", line, shown.String())
			}
		}
	}
}

// exampleFolder returns the example and a folder with the secrets it names.
func exampleFolder(t testing.TB) (dir, example string) {
	t.Helper()
	data, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, name := range []string{"ldap-password", "tls/login.pfx-password"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("secret\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, string(data)
}

func TestExampleLoads(t *testing.T) {
	dir, example := exampleFolder(t)
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.LDAP.BindPassword.Reveal() != "secret" || string(c.TLS.KeyFile) != filepath.Join(dir, "tls", "login.key") {
		t.Errorf("password %q, key file %s", c.LDAP.BindPassword.Reveal(), c.TLS.KeyFile)
	}
	if _, err := LoadConfig(filepath.Join(dir, "nowhere.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// off finds the keys in the example that are there but off, and offWithSections
// those in sections that are off as a whole, too.
var (
	off             = regexp.MustCompile(`(?m)^( *)# ([a-z0-9_]+: .*)$`)
	offWithSections = regexp.MustCompile(`(?m)^( *)# ( *[a-z0-9_]+:(?: .*)?)$`)
)

// TestExampleIsComplete holds the example to the keys that there are: each is
// there, in its section, in force or behind a "#".
func TestExampleIsComplete(t *testing.T) {
	_, example := exampleFolder(t)
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(offWithSections.ReplaceAllString(example, "$1$2")), &doc); err != nil {
		t.Fatalf("with all keys in force: %v", err)
	}
	got := map[string]bool{}
	var gather func(*yaml.Node, string)
	gather = func(n *yaml.Node, section string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := under(section, n.Content[i].Value)
				got[key] = true
				gather(n.Content[i+1], key)
			}
		case yaml.SequenceNode:
			for _, item := range n.Content {
				gather(item, section)
			}
		}
	}
	gather(doc.Content[0], "")
	all := map[string]bool{}
	walk(reflect.TypeFor[Config](), "", func(key string, _ reflect.Type, _ []field) {
		if !got[key] {
			t.Errorf("%s is not in config.example.yaml", key)
		}
		all[key] = true
		delete(got, key)
	})
	for key := range got {
		if rest, ok := strings.CutPrefix(key, "ldap.domains."); ok && all["ldap."+rest] {
			continue // a domain has the keys of the section around it
		}
		if strings.HasPrefix(key, "profile.") {
			continue // its keys are the operator's own
		}
		t.Errorf("%s is in config.example.yaml, but there is no such key", key)
	}
	reference, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	walk(reflect.TypeFor[Config](), "", func(key string, _ reflect.Type, _ []field) {
		if !strings.Contains(string(reference), "`"+key+"`") {
			t.Errorf("%s is not in docs/configuration.md", key)
		}
	})
}

// TestExampleStatesTheDefaults: a line that is off changes nothing when it is
// put in force, unless the comment before it calls it an example; and a line in
// force is either a default or one that only the operator can know.
func TestExampleStatesTheDefaults(t *testing.T) {
	dir, example := exampleFolder(t)
	t.Setenv("PFX_PASSWORD", "x")
	t.Setenv("LDAP_PASSWORD", "x")
	show := func(text string) string {
		t.Helper()
		c, err := ParseConfig([]byte(text), "f.yaml", dir)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := c.Show(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := show(example)
	found, stated := 0, 0
	for _, m := range off.FindAllStringSubmatchIndex(example, -1) {
		found++
		before, line := example[:m[0]], example[m[0]:m[1]]
		if isExample(before, line) {
			continue
		}
		stated++
		if got := show(before + off.ReplaceAllString(line, "$1$2") + example[m[1]:]); got != want {
			t.Errorf("%q is not the default:\n%s", line, got)
		}
	}
	if found < 20 || stated < 12 {
		t.Errorf("%d lines are off, of which %d state a default: this test is blind", found, stated)
	}

	own := []string{
		"url", "listen", "site_name", "tls.cert_file", "tls.key_file", "certificate.ip_ranges", "certificate.ca_files",
		"ldap.urls", "ldap.bind_dn", "ldap.bind_password_file", "ldap.base_dn", "wsfed.issuer", "wsfed.relying_parties",
	}
	var defaults bytes.Buffer
	if err := defaultConfig(dir).Show(&defaults); err != nil {
		t.Fatal(err)
	}
	stands, holds := leaves(t, want), leaves(t, defaults.String())
	for key, value := range stands {
		if holds[key] != value && !slices.Contains(own, key) {
			t.Errorf("%s: the example has %s, the default is %q", key, value, holds[key])
		}
	}
}

// leaves returns the values in a file by their full keys; lists are values.
func leaves(t *testing.T, text string) map[string]string {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	var gather func(*yaml.Node, string)
	gather = func(n *yaml.Node, key string) {
		if n.Kind != yaml.MappingNode {
			text, err := yaml.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			values[key] = strings.TrimSpace(string(text))
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			gather(n.Content[i+1], under(key, n.Content[i].Value))
		}
	}
	gather(doc.Content[0], "")
	return values
}

// isExample reports whether the comment that belongs to a line calls it an
// example: the comment lines right before it, other lines that are off included.
func isExample(before, line string) bool {
	if strings.Contains(line, "an example") {
		return true
	}
	lines := strings.Split(strings.TrimSuffix(before, "\n"), "\n")
	for _, l := range slices.Backward(lines) {
		switch text := strings.TrimSpace(l); {
		case !strings.HasPrefix(text, "#"):
			return false
		case off.MatchString(l):
			continue
		default:
			return strings.Contains(strings.ToLower(text), "example")
		}
	}
	return false
}

// FuzzParseConfig: nothing that stands in a file ends the program, and each
// mistake has its place.
func FuzzParseConfig(f *testing.F) {
	_, example := exampleFolder(f)
	f.Add(example)
	f.Add(off.ReplaceAllString(example, "$1$2"))
	for _, text := range []string{
		least, "", "---\n---\n", "a: &a [*a]", "a: *b", "? [a]\n: b", "<<: {a: b}", "url: !!int x", "{a: b", "\ufeff\r\n", "ldap: {bind_password: ${X}}",
		"wsfed: {relying_parties: [~, {}, a]}", "a: |+\n  \t\n", "%YAML 9.9\n---\n", "!<tag:yaml.org,2002:map> {}", "a: \"\\xff\"", "---",
	} {
		f.Add(text)
	}
	place := regexp.MustCompile(`^f\.yaml:[1-9][0-9]*:[1-9][0-9]*: .`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig([]byte(text), "f.yaml", dir)
		if (c == nil) != (err != nil) {
			t.Fatalf("configuration %v and error %v, want exactly one", c, err)
		}
		if err == nil {
			return
		}
		failed, ok := errors.AsType[*ConfigError](err)
		if !ok || len(failed.Mistakes) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		lines := 1 + strings.Count(text, "\n") + strings.Count(text, "\r")
		for _, m := range failed.Mistakes {
			if !place.MatchString(m.String()) || m.Text == "" || m.Line > lines+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029") {
				t.Errorf("mistake without a place: %q", m)
			}
		}
	})
}

func BenchmarkParseConfig(b *testing.B) {
	dir, example := exampleFolder(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseConfig([]byte(example), "f.yaml", dir); err != nil {
			b.Fatal(err)
		}
	}
}
