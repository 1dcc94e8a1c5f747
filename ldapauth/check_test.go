package ldapauth_test

import (
	"crypto/tls"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// worst returns the gravest finding, and all findings as text.
func worst(findings []ldapauth.Finding) (ldapauth.Level, string) {
	level := ldapauth.OK
	var b strings.Builder
	for _, f := range findings {
		level = max(level, f.Level)
		b.WriteString([]string{"✓ ", "! ", "✗ "}[f.Level] + f.Subject + ": " + f.Text + "\n")
	}
	return level, b.String()
}

func TestCheckFindsNothingWrongWithAGoodDirectory(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		level, text := worst(open(t, s.config).Check(t.Context()))
		if level != ldapauth.OK {
			t.Errorf("findings:\n%s", text)
		}
		for _, want := range []string{"certificate is trusted", "accepts the service account", "spoken to as", "the base", "people are found", "groups are found"} {
			if !strings.Contains(text, want) {
				t.Errorf("nothing about %q in\n%s", want, text)
			}
		}
		if !regexp.MustCompile(`people are found \(.*, in (less than 1|[1-9][0-9]*) ms\)`).MatchString(text) {
			t.Errorf("nothing about the time that a search takes in\n%s", text)
		}
	})
}

func TestCheckSaysWhatToDo(t *testing.T) {
	_, elsewhere := listen(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, tt := range []struct {
		name   string
		change func(*ldapauth.Config)
		level  ldapauth.Level
		want   string
	}{
		{"no name", func(c *ldapauth.Config) { c.URLs[0] = "ldaps://dc1.invalid" }, ldapauth.Failure, "cannot be resolved"},
		{"nobody listens", func(c *ldapauth.Config) { c.URLs[0] = "ldaps://" + closed.Addr().String() }, ldapauth.Failure, "the connection is refused: start the directory server"},
		{"no answer", func(c *ldapauth.Config) { *c = short(*c); c.URLs[0] = "ldaps://" + frozen(t) }, ldapauth.Failure, "firewalls"},
		{"another name", func(c *ldapauth.Config) { c.URLs[0] = strings.Replace(c.URLs[0], "127.0.0.1", "localhost", 1) }, ldapauth.Failure, "not for localhost but for 127.0.0.1"},
		{"unknown issuer", func(c *ldapauth.Config) { c.CAFiles = []setting.File{elsewhere} }, ldapauth.Failure, `add the certificate of "CN=Directory CA" to ldap.ca_files`},
		{"not TLS", func(c *ldapauth.Config) { c.URLs[0] = strings.Replace(c.URLs[0], "ldaps", "ldap", 1) }, ldapauth.Failure, "ldaps://"},
		{"wrong service password", func(c *ldapauth.Config) { c.BindPassword = secret.New("canary-1") }, ldapauth.Failure, "ldap.bind_dn"},
		{"wrong base", func(c *ldapauth.Config) { c.BaseDN = setting.OneOrMore{"DC=nowhere"} }, ldapauth.Failure, "ldap.base_dn"},
		{"nobody there", func(c *ldapauth.Config) { c.UserFilter = "(&(objectClass=person)(sAMAccountName={0})(sn=Nobody))" }, ldapauth.Failure, "no person found"},
		{"no group there", func(c *ldapauth.Config) { c.Groups.BaseDN = "OU=Staff," + memBase }, ldapauth.Warning, "no group found"},
		{"groups without a name", func(c *ldapauth.Config) { c.Groups.Attribute = "mail" }, ldapauth.Warning, "ldap.groups.attribute"},
		{"search for people", func(c *ldapauth.Config) { c.UserSearch = "(&(objectCategory=person)(displayName=*{0}*))" }, ldapauth.OK, "ldap.user_search is understood"},
		{"another schema", func(c *ldapauth.Config) { c.Schema, c.UserFilter = "openldap", "(sAMAccountName={0})" }, ldapauth.Failure, "entryUUID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := memory(t, memdir.ActiveDirectory)
			tt.change(&c)
			level, text := worst(open(t, c).Check(t.Context()))
			if level != tt.level || !strings.Contains(text, tt.want) {
				t.Errorf("want %q in\n%s", tt.want, text)
			}
			if m := emptyDetail.FindString(text); m != "" {
				t.Errorf("a detail that says nothing, %q, in\n%s", m, text)
			}
			if strings.Contains(text, "canary-1") {
				t.Errorf("E12: a finding shows the password:\n%s", text)
			}
		})
	}
}

// emptyDetail is what is left of a detail that a server did not give.
var emptyDetail = regexp.MustCompile(`\(\s*\)|:\s*\)|:\s*(?m:$)`)

// OpenLDAP says no more than the number of its answer.
func TestCheckSaysWhatToDoAboutOpenLDAP(t *testing.T) {
	s := dirtest.SharedOpenLDAP(t)
	for _, tt := range []struct {
		name   string
		change func(*ldapauth.Config)
		want   []string
	}{
		{"in clear on the port for TLS", func(c *ldapauth.Config) { c.URLs[0] = strings.Replace(c.URLs[0], "ldaps", "ldap", 1) }, []string{"if it speaks TLS, write ldaps://"}},
		{"the same, anonymously", func(c *ldapauth.Config) {
			c.URLs[0] = strings.Replace(c.URLs[0], "ldaps", "ldap", 1)
			c.BindDN, c.BindPassword = "", secret.String{}
		}, []string{"if it speaks TLS, write ldaps://"}},
		{"TLS on the port without", func(c *ldapauth.Config) { c.URLs[0] = strings.Replace(s.PlainURL, "ldap", "ldaps", 1) }, []string{"write ldap:// and set ldap.start_tls: true"}},
		{"wrong service password", func(c *ldapauth.Config) { c.BindPassword = secret.New("canary-1") }, []string{"ldap.bind_dn", "(Invalid Credentials)"}},
		{"wrong base", func(c *ldapauth.Config) { c.BaseDN = setting.OneOrMore{"dc=nowhere"} }, []string{"ldap.base_dn", "(No Such Object)"}},
		{"wrong base of groups", func(c *ldapauth.Config) { c.Groups.BaseDN = "dc=nowhere" }, []string{"searching for groups", ": No Such Object"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := real(s)
			tt.change(&c)
			level, text := worst(open(t, c).Check(t.Context()))
			for _, want := range tt.want {
				if level != ldapauth.Failure || !strings.Contains(text, want) {
					t.Errorf("want %q in\n%s", want, text)
				}
			}
			if m := emptyDetail.FindString(text); m != "" {
				t.Errorf("a detail that says nothing, %q, in\n%s", m, text)
			}
		})
	}
}

func TestCheckLooksAtTheClock(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory)
	for offset, want := range map[time.Duration]ldapauth.Level{
		0: ldapauth.OK, 30 * time.Second: ldapauth.OK, -2 * time.Minute: ldapauth.Warning, 6 * time.Minute: ldapauth.Failure,
	} {
		d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return time.Now().Add(offset) }})
		if level, text := worst(d.Check(t.Context())); level != want {
			t.Errorf("%v apart:\n%s", offset, text)
		}
	}
	_, text := worst(open(t, real(dirtest.SharedOpenLDAP(t))).Check(t.Context()))
	if !strings.Contains(text, "✓ "+dirtest.SharedOpenLDAP(t).URL+": does not tell its time") {
		t.Errorf("nothing about the clock of OpenLDAP in\n%s", text)
	}
}

func TestCheckSaysWhenAccountStatesCannotBeJudged(t *testing.T) {
	s := dirtest.SharedOpenLDAP(t)
	c := real(s)
	level, text := worst(open(t, c).Check(t.Context()))
	if level != ldapauth.Warning || !strings.Contains(text, "set ldap.password_policy_dn") {
		t.Errorf("no policy is known:\n%s", text)
	}
	c.PasswordPolicyDN = defaultPolicy(s)
	level, text = worst(open(t, c).Check(t.Context()))
	if level != ldapauth.OK || !strings.Contains(text, "the password policy "+c.PasswordPolicyDN+" is read") {
		t.Errorf("the policy is configured:\n%s", text)
	}

	own := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	set(t, own, "jon", "pwdPolicySubentry", defaultPolicy(own))
	c = real(own)
	c.UserFilter = "(&(objectClass=person)(uid={0})(sn=Smith))"
	if level, text := worst(open(t, c).Check(t.Context())); level != ldapauth.OK {
		t.Errorf("the person names a policy:\n%s", text)
	}

	_, c = memory(t, memdir.ActiveDirectory)
	c.PasswordPolicyDN = "cn=default," + memBase
	d := open(t, c)
	if level, text := worst(d.Check(t.Context())); level != ldapauth.Warning || !strings.Contains(text, "ldap.password_policy_dn has no effect") {
		t.Errorf("Active Directory:\n%s", text)
	}
	find(t, d, "jon")
}

func TestCheckLooksAtEveryServer(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory)
	c.URLs = append([]string{"ldaps://" + frozen(t)}, c.URLs...)
	findings := open(t, short(c)).Check(t.Context())
	if findings[0].Level != ldapauth.Failure || findings[0].Subject != c.URLs[0] {
		t.Errorf("the first server: %+v", findings[0])
	}
	// The last finding of all is about the directory and not about a server.
	if last := findings[len(findings)-2]; last.Level != ldapauth.OK || last.Subject != c.URLs[1] {
		t.Errorf("the second server: %+v", last)
	}
}

func TestCheckWarnsOfPasswordsInClear(t *testing.T) {
	_, c := plain(t)
	if level, text := worst(open(t, c).Check(t.Context())); level != ldapauth.Warning || !strings.Contains(text, "not encrypted") {
		t.Errorf("findings:\n%s", text)
	}
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{TLSRequired: true})
	r := real(s)
	r.URLs = []string{s.PlainURL}
	if level, text := worst(open(t, r).Check(t.Context())); level != ldapauth.Failure || !strings.Contains(text, "takes no passwords in clear") {
		t.Errorf("findings:\n%s", text)
	}
}

func TestTLSIsNeverOlderThan12(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	old, file := listenWith(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	go func() { _ = s.Serve(old) }()
	c.URLs, c.CAFiles = []string{"ldaps://" + old.Addr().String()}, []setting.File{file}
	if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}
