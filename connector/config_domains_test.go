package connector

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth/setting"
)

// withDomains is a file with two domains.
const withDomains = `url: https://login.fabrikam.example
tls: {cert_file: c.pem, key_file: k.pem}
password: {}
ldap:
  domains:
    - suffixes: [fabrikam.example]
      base_dn: DC=fabrikam,DC=example
    - netbios: NORTH
      base_dn: ["OU=Staff,DC=north", "OU=Guests,DC=north"]
      urls: [ldaps://north]
      ca_files: [north.pem]
      bind_dn: svc@north
      bind_password: "${NORTH_PASSWORD}"
      user_filter: (mail={0})
      groups: {nested: false}
      timeout: 2s
  urls: [ldaps://dc1]
  bind_dn: svc@fabrikam
  bind_password_file: password
  groups: {attribute: name}
`

// domainsFolder returns a folder with the secret that withDomains names.
func domainsFolder(t *testing.T) string {
	t.Helper()
	t.Setenv("NORTH_PASSWORD", "north-secret")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("common-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestADomainTakesWhatItDoesNotSayFromTheSectionAroundIt(t *testing.T) {
	dir := domainsFolder(t)
	c, err := ParseConfig([]byte(withDomains), "f.yaml", dir)
	if err != nil {
		t.Fatal(err)
	}
	here, north := c.LDAP.Domains[0], c.LDAP.Domains[1]
	if here.URLs[0] != "ldaps://dc1" || here.BindPassword.Reveal() != "common-secret" || here.Groups.Attribute != "name" || !here.Groups.Nested || here.Pool.Bind != 16 {
		t.Errorf("the first domain has %+v", here)
	}
	if north.URLs[0] != "ldaps://north" || north.BindPassword.Reveal() != "north-secret" || north.BindPasswordFile != "" || north.Groups.Attribute != "name" || north.Groups.Nested {
		t.Errorf("the second domain has %+v", north)
	}
	if want := setting.File(filepath.Join(dir, "north.pem")); north.CAFiles[0] != want {
		t.Errorf("ca_files %s, want %s", north.CAFiles[0], want)
	}
	if len(c.LDAP.CAFiles) != 0 || !c.LDAP.Groups.Nested || c.LDAP.UserFilter != "" {
		t.Errorf("a domain has changed the section around it: %+v", c.LDAP.Config)
	}
	if !slices.Equal(north.BaseDN, []string{"OU=Staff,DC=north", "OU=Guests,DC=north"}) || !slices.Equal(here.BaseDN, []string{"DC=fabrikam,DC=example"}) {
		t.Errorf("base_dn %q and %q", here.BaseDN, north.BaseDN)
	}
}

// The name of one account with the password of another is what nobody means.
func TestADomainHasAServiceAccountOfItsOwnOrTheCommonOne(t *testing.T) {
	for own, want := range map[string]string{
		"bind_cert_file: svc.pem\n      bind_key_file: svc.key":         "",
		"bind_keytab_file: svc.keytab\n      bind_principal: svc@NORTH": "",
		"bind_dn: svc@north":                 "8:7: ldap.domains[1].bind_password: is missing",
		`bind_password: "${NORTH_PASSWORD}"`: "8:7: ldap.domains[1].bind_dn: is missing although there is a password",
	} {
		file := strings.Replace(withDomains, "bind_dn: svc@north\n      bind_password: \"${NORTH_PASSWORD}\"", own, 1)
		c, err := ParseConfig([]byte(file), "f.yaml", domainsFolder(t))
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", own, err)
				continue
			}
			if north := c.LDAP.Domains[1]; north.BindDN != "" || north.BindPassword.IsSet() || c.LDAP.Domains[0].BindDN != "svc@fabrikam" {
				t.Errorf("%s: %+v", own, c.LDAP.Domains)
			}
			continue
		}
		if got := mistakes(t, err); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: mistakes %q, want %s", own, got, want)
		}
	}
}

func TestShowOfDomainsIsAConfigurationFile(t *testing.T) {
	c, err := ParseConfig([]byte(withDomains), "f.yaml", domainsFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	var shown, again bytes.Buffer
	if err := c.Show(&shown); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"common-secret", "north-secret"} {
		if strings.Contains(shown.String(), secret) {
			t.Errorf("E12: the secret %q is shown", secret)
		}
	}
	for _, want := range []string{"      base_dn: DC=fabrikam,DC=example\n", "      base_dn: ['OU=Staff,DC=north', 'OU=Guests,DC=north']\n", "bind_password: '********'\n"} {
		if !strings.Contains(strings.ReplaceAll(shown.String(), `"`, "'"), want) {
			t.Errorf("no %q in\n%s", want, shown.String())
		}
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
}

func TestMistakesInADomainHaveTheirPlace(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"a value", "OU=Guests,DC=north", "Guests", `9:38: ldap.domains[1].base_dn[1]: "Guests" is not a DN`},
		{"a base in another", "OU=Guests,DC=north", "OU=A,OU=Staff,DC=north", `ldap.domains[1].base_dn[1]: "OU=A,OU=Staff,DC=north" is searched with`},
		{"a base around another", `["OU=Staff,DC=north", "OU=Guests,DC=north"]`, `["OU=Staff,DC=north", "DC=North"]`, `9:38: ldap.domains[1].base_dn[1]: "DC=North" holds`},
		{"a DN without quotes", `["OU=Staff,DC=north", "OU=Guests,DC=north"]`, "[OU=Staff,DC=north]", "9:7: ldap.domains[1].base_dn: looks like one DN that was taken apart"},
		{"a section for a base", "base_dn: DC=fabrikam,DC=example", "base_dn: {a: b}", "7:16: ldap.domains[0].base_dn: must be a list"},
		{"no base", "      base_dn: DC=fabrikam,DC=example\n", "", "6:7: ldap.domains[0].base_dn: is missing"},
		{"an unknown key", "user_filter", "usre_filter", "14:7: ldap.domains[1].usre_filter: unknown key; did you mean user_filter?"},
		{"domains in a domain", "netbios: NORTH", "netbios: NORTH\n      domains: []", "9:7: ldap.domains[1].domains: unknown key here; it belongs in ldap"},
		{"a value of all", "  groups: {attribute: name}\n", "  groups: {attribute: a b}\n", `20:23: ldap.groups.attribute: "a b" is not the name`},
		{"a secret of two kinds", `bind_password: "${NORTH_PASSWORD}"`, "bind_password: x\n      bind_password_file: password", "14:7: ldap.domains[1].bind_password_file: both"},
		{"a variable that is not set", "NORTH_PASSWORD", "NO_SUCH", "13:22: ldap.domains[1].bind_password: the environment variable NO_SUCH"},
		{"no list", "  domains:\n    - suffixes: [fabrikam.example]\n      base_dn: DC=fabrikam,DC=example\n    - netbios", "  base_dn: DC=x\n  domains:\n      netbios", "7:7: ldap.domains: must be a list"},
		{"a common suffix", "  urls: [ldaps://dc1]", "  urls: [ldaps://dc1]\n  suffixes: [x]", "18:3: ldap.suffixes: must stand in one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(withDomains, tt.old) != 1 {
				t.Fatalf("%q is not there once", tt.old)
			}
			_, err := ParseConfig([]byte(strings.Replace(withDomains, tt.old, tt.new, 1)), "f.yaml", domainsFolder(t))
			got := mistakes(t, err)
			if len(got) != 1 || !strings.HasPrefix(got[0], "f.yaml:") || !strings.Contains(got[0], tt.want) {
				t.Errorf("mistakes:\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestABaseIsOneOrSeveral(t *testing.T) {
	for text, want := range map[string]string{
		`base_dn: "dc=fabrikam"`:              "base_dn: dc=fabrikam\n",
		`base_dn: ["dc=fabrikam"]`:            "base_dn: dc=fabrikam\n",
		`base_dn: ["ou=a,dc=x", "ou=b,dc=x"]`: "base_dn: ['ou=a,dc=x', 'ou=b,dc=x']\n",
	} {
		c, err := parse(t, strings.Replace(least, `base_dn: "dc=fabrikam"`, text, 1))
		if err != nil {
			t.Fatal(err)
		}
		var shown bytes.Buffer
		if err := c.Show(&shown); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(shown.String(), `"`, "'"), want) {
			t.Errorf("%s: no %q in\n%s", text, want, shown.String())
		}
	}
}
