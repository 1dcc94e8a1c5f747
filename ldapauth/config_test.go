package ldapauth_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

// good returns a configuration with nothing wrong in it.
func good() ldapauth.Config {
	c := ldapauth.DefaultConfig()
	c.URLs = []string{"ldaps://dc1.corp.example.test"}
	c.BindDN, c.BindPassword = "svc@corp.example.test", secret.New("canary-password")
	c.BaseDN = setting.OneOrMore{"dc=corp,dc=example,dc=test"}
	return c
}

func TestValidateNamesTheKeyThatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*ldapauth.Config)
		want   string // "key: part of the text"; "" = nothing is wrong
	}{
		{"nothing", func(*ldapauth.Config) {}, ""},
		{"no server", func(c *ldapauth.Config) { c.URLs = nil }, "urls: at least one"},
		{"servers twice over", func(c *ldapauth.Config) { c.Discover = "corp.example.test" }, "discover: takes the place of urls"},
		{"a URL to discover", func(c *ldapauth.Config) { c.URLs, c.Discover = nil, "ldaps://corp.example.test" }, "discover: not a DNS domain"},
		{"an address to discover", func(c *ldapauth.Config) { c.URLs, c.Discover = nil, "192.0.2.1" }, "discover: not a DNS domain"},
		{"one label to discover", func(c *ldapauth.Config) { c.URLs, c.Discover = nil, "corp" }, "discover: not a DNS domain"},
		{"a site of nothing", func(c *ldapauth.Config) { c.Site = "Branch" }, "site: discover"},
		{"a site with a dot", func(c *ldapauth.Config) { c.URLs, c.Discover, c.Site = nil, "corp.example.test", "a.b" }, "site: not the name of a site"},
		{"another scheme", func(c *ldapauth.Config) { c.URLs = []string{"https://dc1"} }, "urls[0]: ldaps://"},
		{"second of two", func(c *ldapauth.Config) { c.URLs = append(c.URLs, "ldaps://") }, "urls[1]: names no host"},
		{"twice", func(c *ldapauth.Config) { c.URLs = append(c.URLs, c.URLs[0]) }, "urls[1]: listed twice"},
		{"a base in the URL", func(c *ldapauth.Config) { c.URLs[0] += "/dc=corp" }, "urls[0]: base_dn"},
		{"a password in the URL", func(c *ldapauth.Config) { c.URLs[0] = "ldaps://svc:canary-password@dc1" }, "urls[0]: bind_password_file"},
		{"a port that is none", func(c *ldapauth.Config) { c.URLs[0] += ":99999" }, "urls[0]: port"},
		{"IPv6", func(c *ldapauth.Config) { c.URLs[0] = "ldaps://[2001:db8::1]:636" }, ""},
		{"E7: in clear", func(c *ldapauth.Config) { c.URLs[0] = "ldap://dc1.corp.example.test" }, "urls[0]: in clear"},
		{"in clear, to a name that only looks like this machine", func(c *ldapauth.Config) { c.URLs[0] = "ldap://localhost.example.test" }, "urls[0]: in clear"},
		{"in clear, to this machine", func(c *ldapauth.Config) { c.URLs[0] = "ldap://127.0.0.1" }, ""},
		{"in clear, to this machine by IPv6", func(c *ldapauth.Config) { c.URLs[0] = "ldap://[::1]" }, ""},
		{"in clear, but with StartTLS", func(c *ldapauth.Config) { c.URLs[0], c.StartTLS = "ldap://dc1", true }, ""},
		{"in clear on purpose", func(c *ldapauth.Config) { c.URLs[0], c.AllowCleartext = "ldap://dc1", true }, ""},
		{"an empty CA file", func(c *ldapauth.Config) { c.CAFiles = []setting.File{"ca.pem", ""} }, "ca_files[1]: empty"},
		{"anonymous", func(c *ldapauth.Config) { c.BindDN, c.BindPassword = "", secret.String{} }, ""},
		{"a password for nobody", func(c *ldapauth.Config) { c.BindDN = "" }, "bind_dn: missing"},
		{"nobody's password", func(c *ldapauth.Config) { c.BindPassword = secret.String{} }, "bind_password: missing"},
		{"a password in a file", func(c *ldapauth.Config) { c.BindPassword, c.BindPasswordFile = secret.String{}, "pw" }, ""},
		{"E1: an empty service password", func(c *ldapauth.Config) { c.BindPassword = secret.New("") }, "bind_password: anonymous"},
		{"a blank service password", func(c *ldapauth.Config) { c.BindPassword = secret.New(" \n") }, "bind_password: anonymous"},
		{"a line break in the DN", func(c *ldapauth.Config) { c.BindDN += "\n" }, "bind_dn: control"},
		{"no base", func(c *ldapauth.Config) { c.BaseDN = nil }, "base_dn: missing"},
		{"a base that is no DN", func(c *ldapauth.Config) { c.BaseDN = setting.OneOrMore{"corp"} }, "base_dn: not a DN"},
		{"a policy", func(c *ldapauth.Config) { c.PasswordPolicyDN = "cn=default,ou=policies,dc=corp" }, ""},
		{"a policy that is no DN", func(c *ldapauth.Config) { c.PasswordPolicyDN = "default" }, "password_policy_dn: not a DN"},
		{"an unknown schema", func(c *ldapauth.Config) { c.Schema = "novell" }, "schema: auto, active_directory, openldap, rfc2307, rfc2307bis, 389ds"},
		{"a filter without a name", func(c *ldapauth.Config) { c.UserFilter = "(uid=jon)" }, "user_filter: {0}"},
		{"a filter that finds parts", func(c *ldapauth.Config) { c.UserFilter = "(uid={0}*)" }, "user_filter: compare"},
		{"a search that is no filter", func(c *ldapauth.Config) { c.UserSearch = "({0}" }, "user_search: not a search filter"},
		{"no time", func(c *ldapauth.Config) { c.Timeout = 0 }, "timeout: out of bounds"},
		{"a certificate", func(c *ldapauth.Config) { without(c); c.BindCertFile, c.BindKeyFile = "a", "b" }, ""},
		{"a certificate without a key", func(c *ldapauth.Config) { without(c); c.BindCertFile = "a" }, "bind_key_file: required with bind_cert_file"},
		{"a key without a certificate", func(c *ldapauth.Config) { without(c); c.BindKeyFile = "b" }, "bind_cert_file: required with bind_key_file"},
		{"a certificate and a password", func(c *ldapauth.Config) { c.BindCertFile, c.BindKeyFile = "a", "b" }, "bind_cert_file: second way"},
		{"a certificate in clear", func(c *ldapauth.Config) {
			without(c)
			c.BindCertFile, c.BindKeyFile, c.URLs = "a", "b", []string{"ldap://localhost"}
		}, "bind_cert_file: start_tls"},
		{"a keytab", func(c *ldapauth.Config) { without(c); c.BindKeytabFile, c.BindPrincipal = "a", "svc@CORP" }, ""},
		{"a keytab with a configuration of Kerberos", func(c *ldapauth.Config) {
			without(c)
			c.BindKeytabFile, c.BindPrincipal, c.Krb5ConfFile = "a", "svc@CORP", "krb5.conf"
		}, ""},
		{"a keytab of nobody", func(c *ldapauth.Config) { without(c); c.BindKeytabFile = "a" }, "bind_principal: in capitals"},
		{"a keytab of nowhere", func(c *ldapauth.Config) { without(c); c.BindKeytabFile, c.BindPrincipal = "a", "svc" }, "bind_principal: in capitals"},
		{"a principal without a keytab", func(c *ldapauth.Config) { without(c); c.BindPrincipal = "svc@CORP" }, "bind_keytab_file: required"},
		{"a keytab and a password", func(c *ldapauth.Config) { c.BindKeytabFile, c.BindPrincipal = "a", "svc@CORP" }, "bind_keytab_file: second way"},
		{"a keytab and a certificate", func(c *ldapauth.Config) {
			without(c)
			c.BindKeytabFile, c.BindPrincipal, c.BindCertFile, c.BindKeyFile = "a", "svc@CORP", "c", "d"
		}, "bind_keytab_file: second way"},
		{"a keytab in clear", func(c *ldapauth.Config) {
			without(c)
			c.BindKeytabFile, c.BindPrincipal, c.URLs = "a", "svc@CORP", []string{"ldap://localhost"}
		}, "bind_keytab_file: start_tls"},
		{"a configuration of Kerberos alone", func(c *ldapauth.Config) { c.Krb5ConfFile = "krb5.conf" }, "krb5_conf_file: no effect"},
		{"an hour", func(c *ldapauth.Config) { c.Timeout = setting.Duration(time.Hour) }, "timeout: out of bounds"},
		{"an attribute that is none", func(c *ldapauth.Config) { c.Groups.Attribute = "c n" }, "groups.attribute: not the name"},
		{"a group base that is no DN", func(c *ldapauth.Config) { c.Groups.BaseDN = "x" }, "groups.base_dn: not a DN"},
		{"a group filter without a member", func(c *ldapauth.Config) { c.Groups.Filter = "(cn=x)" }, "groups.filter: {0}"},
		{"a negative cache", func(c *ldapauth.Config) { c.Groups.Cache = -1 }, "groups.cache: negative"},
		{"no cache", func(c *ldapauth.Config) { c.Groups.Cache = 0 }, ""},
		{"no time for groups", func(c *ldapauth.Config) { c.Groups.Timeout = 0 }, "groups.timeout: out of bounds"},
		{"C11: protected, nearly", func(c *ldapauth.Config) { c.DenyGroups = []string{"Protected"} }, "deny_groups[0]: small letters"},
		{"allow", func(c *ldapauth.Config) { c.Groups.OnFailure = "allow" }, "groups.on_failure: deny or omit"},
		{"omit", func(c *ldapauth.Config) { c.Groups.OnFailure = ldapauth.OnFailureOmit }, ""},
		{"no connections", func(c *ldapauth.Config) { c.Pool.Search = 0 }, "pool.search: from 1 to"},
		{"too many connections", func(c *ldapauth.Config) { c.Pool.Bind = 100000 }, "pool.bind: from 1 to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(&c)
			errs := setting.Split(c.Validate())
			if tt.want == "" {
				if len(errs) != 0 {
					t.Errorf("%v", errs)
				}
				return
			}
			key, text, _ := strings.Cut(tt.want, ": ")
			if len(errs) != 1 {
				t.Fatalf("%d problems, want one: %v", len(errs), errs)
			}
			if p, ok := errors.AsType[*setting.Problem](errs[0]); !ok || p.Key != key || !strings.Contains(p.Text, text) {
				t.Errorf("problem %v, want %s", errs[0], tt.want)
			}
			if strings.Contains(errs[0].Error(), "canary-password") {
				t.Errorf("E12: the problem shows the password: %v", errs[0])
			}
		})
	}
}

// without removes the service account.
func without(c *ldapauth.Config) { c.BindDN, c.BindPassword = "", secret.String{} }

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	c := ldapauth.Config{URLs: []string{"x", "ldap://dc1"}, BindDN: "svc"}
	// urls twice, bind_password, base_dn, schema, timeout, groups: attribute,
	// timeout and on_failure, pool twice.
	if errs := setting.Split(c.Validate()); len(errs) != 11 {
		t.Errorf("%d problems:\n%v", len(errs), c.Validate())
	}
}

func TestDefaultsLackOnlyWhatNobodyCanGuess(t *testing.T) {
	c := ldapauth.DefaultConfig()
	errs := setting.Split(c.Validate())
	if len(errs) != 2 || !strings.HasPrefix(errs[0].Error(), "urls:") || !strings.HasPrefix(errs[1].Error(), "base_dn:") {
		t.Errorf("%v", errs)
	}
}

func TestA8_CAFilesThatHoldNoCertificateStopTheStart(t *testing.T) {
	dir := t.TempDir()
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data string
		ok   bool
	}{
		"good.pem":      {string(ca.PEM()), true},
		"good.der":      {string(ca.Certificate.Raw), true},
		"two.pem":       {string(ca.PEM()) + string(leaf.CertPEM()), true},
		"empty.pem":     {"", false},
		"text.pem":      {"not a certificate", false},
		"key.pem":       {string(leaf.KeyPEM()), false},
		"both.pem":      {string(ca.PEM()) + string(leaf.KeyPEM()), false},
		"cut.pem":       {string(ca.PEM()[:len(ca.PEM())/2]), false},
		"cut-later.pem": {string(ca.PEM()) + string(ca.PEM()[:len(ca.PEM())/2]), false},
		"damaged.pem":   {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", false},
		"missing.pem":   {"-", false},
	} {
		file := filepath.Join(dir, name)
		if tt.data != "-" {
			if err := os.WriteFile(file, []byte(tt.data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := good()
		c.CAFiles = []setting.File{setting.File(file)}
		d, err := ldapauth.New(c, ldapauth.Options{})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "ca_files[0]: ") {
			t.Errorf("%s: the error does not name the key: %v", name, err)
		}
		if name == "missing.pem" && !strings.HasSuffix(err.Error(), "; check the path, and that the service may read the file") {
			t.Errorf("%s: the error does not say what to do: %v", name, err)
		}
		if d != nil {
			d.Close()
		}
	}
}

func TestNewNeedsThePasswordThatTheFileHolds(t *testing.T) {
	c := good()
	c.BindPassword, c.BindPasswordFile = secret.String{}, "not resolved"
	if _, err := ldapauth.New(c, ldapauth.Options{}); err == nil {
		t.Error("a directory without the service account's password")
	}
}
