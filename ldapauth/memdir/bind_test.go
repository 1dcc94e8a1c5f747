package memdir_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/memdir"

	"github.com/go-ldap/ldap/v3"
)

// subCode returns what Active Directory writes into the text of a refused bind.
func subCode(err error) string {
	if err == nil {
		return ""
	}
	m := regexp.MustCompile(`, data ([0-9a-f]+), v`).FindStringSubmatch(err.Error())
	if m == nil {
		return "none"
	}
	return m[1]
}

func TestActiveDirectoryBind(t *testing.T) {
	entries := memdir.Sample(base)
	at := func(account string, attributes map[string][]string) {
		for _, e := range entries {
			if len(e.Attributes["sAMAccountName"]) > 0 && e.Attributes["sAMAccountName"][0] == account {
				for name, values := range attributes {
					e.Attributes[name] = values
				}
			}
		}
	}
	at("amy", map[string][]string{"logonHours": {strings.Repeat("\x00", 21)}})
	at("tomas", map[string][]string{"userWorkstations": {"PC-0042"}})
	_, addr := start(t, memdir.Options{Entries: entries})

	for _, tt := range []struct {
		rule, name, password, want string // want is the sub-code
	}{
		{"by principal name", "jon@fabrikam.example", memdir.SamplePassword, ""},
		{"by principal name in another case", "JON@Fabrikam.Example", memdir.SamplePassword, ""},
		{"by short domain behind", "jon@FABRIKAM", memdir.SamplePassword, ""},
		{"by short domain in front", `fabrikam\Jon`, memdir.SamplePassword, ""},
		{"by DN", "CN=Jon Smith,OU=Staff," + base, memdir.SamplePassword, ""},
		{"by DN in another spelling", `cn=jon\20smith, ou=STAFF , dc=Fabrikam,dc=example`, memdir.SamplePassword, ""},
		{"by DN with escapes", `CN=Zo\c3\ab (Ops)\2c M\c3\bcller,OU=Staff,` + base, memdir.SamplePassword, ""},
		{"by the bare account name", "jon", memdir.SamplePassword, "52e"},
		{"by DNS domain in front", `fabrikam.example\jon`, memdir.SamplePassword, "52e"},
		{"in a foreign domain", "jon@contoso.example", memdir.SamplePassword, "52e"},
		{"wrong password", "jon@fabrikam.example", "wrong", "52e"},
		{"right password in another case", "jon@fabrikam.example", strings.ToUpper(memdir.SamplePassword), "52e"},
		{"unknown user looks like a wrong password", "nobody@fabrikam.example", memdir.SamplePassword, "52e"},
		{"no DN", "cn=", memdir.SamplePassword, "52e"},
		{"entry without a password", "OU=Staff," + base, "x", "52e"},
		{"disabled", "dora@fabrikam.example", memdir.SamplePassword, "533"},
		{"disabled, wrong password", "dora@fabrikam.example", "wrong", "52e"},
		{"expired", "eve@fabrikam.example", memdir.SamplePassword, "701"},
		{"expired, wrong password", "eve@fabrikam.example", "wrong", "52e"},
		{"must change", "nina@fabrikam.example", memdir.SamplePassword, "773"},
		{"password too old", "paul@fabrikam.example", memdir.SamplePassword, "532"},
		{"locked", "liam@fabrikam.example", memdir.SamplePassword, "775"},
		{"a lockout is said even to a wrong password", "liam@fabrikam.example", "wrong", "775"},
		{"outside hours", "amy@fabrikam.example", memdir.SamplePassword, "530"},
		{"bound to a workstation", "tomas@fabrikam.example", memdir.SamplePassword, "531"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			err := dial(t, addr).Bind(tt.name, tt.password)
			if got := subCode(err); got != tt.want {
				t.Fatalf("sub-code %q, want %q (%v)", got, tt.want, err)
			}
			if err != nil && (code(err) != ldap.LDAPResultInvalidCredentials || !strings.HasSuffix(err.Error(), "v1db1\x00")) {
				t.Errorf("error %q; want code 49 and a NUL at the end", err)
			}
		})
	}
}

func TestLogonHoursAreHoursOfTheWeek(t *testing.T) {
	hours := make([]byte, 21) // today is a Wednesday, 10:30
	hours[(3*24+10)/8] = 1 << ((3*24 + 10) % 8)
	now := today
	_, addr := start(t, memdir.Options{
		Now: func() time.Time { return now },
		Entries: []memdir.Entry{{DN: "CN=amy," + base, Password: "x", Attributes: map[string][]string{
			"objectClass": {"user"}, "logonHours": {string(hours)},
		}}},
	})
	c := dial(t, addr)
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, ""}, {time.Hour, "530"}, {-time.Hour, "530"}, {24 * time.Hour, "530"}, {7 * 24 * time.Hour, ""}} {
		now = today.Add(tt.after)
		if got := subCode(c.Bind("CN=amy,"+base, "x")); got != tt.want {
			t.Errorf("at %v: sub-code %q, want %q", now, got, tt.want)
		}
	}
}

func TestActiveDirectoryKeepsTheIdentityOfAFailedBind(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	if err := c.Bind("jon@fabrikam.example", "wrong"); err == nil {
		t.Fatal("bound with a wrong password")
	}
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != `u:FABRIKAM\svc-adconnector` {
		t.Errorf("who am I: %+v, %v", who, err)
	}
	if err := c.Bind("jon@fabrikam.example", memdir.SamplePassword); err != nil {
		t.Fatal(err)
	}
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != `u:FABRIKAM\jon` {
		t.Errorf("who am I: %+v, %v", who, err)
	}
}

func TestOpenLDAPForgetsTheIdentityOfAFailedBind(t *testing.T) {
	_, addr := start(t, memdir.Options{Flavor: memdir.OpenLDAP})
	c := signedIn(t, memdir.OpenLDAP, addr)
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != "dn:cn=svc-adconnector,ou=services,"+base {
		t.Errorf("who am I: %+v, %v", who, err)
	}
	if err := c.Bind("uid=jon,ou=people,"+base, "wrong"); err == nil {
		t.Fatal("bound with a wrong password")
	}
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != "" {
		t.Errorf("who am I: %+v, %v", who, err)
	}
}

func TestNameWithoutPasswordIsNobody(t *testing.T) {
	empty := &ldap.SimpleBindRequest{Username: "jon@fabrikam.example", AllowEmptyPassword: true}
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	if _, err := c.SimpleBind(empty); err != nil {
		t.Errorf("Active Directory answers success: %v", err)
	}
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != "" {
		t.Errorf("who am I: %+v, %v", who, err)
	}

	_, addr = start(t, memdir.Options{Flavor: memdir.OpenLDAP})
	empty.Username = "uid=jon,ou=people," + base
	if _, err := dial(t, addr).SimpleBind(empty); code(err) != ldap.LDAPResultUnwillingToPerform {
		t.Errorf("OpenLDAP: %v, want code 53", err)
	}
	if err := dial(t, addr).UnauthenticatedBind(""); err != nil {
		t.Errorf("anonymous bind: %v", err)
	}
}

func TestLockout(t *testing.T) {
	entries := memdir.Sample(base)
	entries[0].Attributes["lockoutThreshold"] = []string{"3"}
	s, addr := start(t, memdir.Options{Entries: entries})
	c := dial(t, addr)
	try := func(password, want string) {
		t.Helper()
		if got := subCode(c.Bind("jon@fabrikam.example", password)); got != want {
			t.Fatalf("sub-code %q, want %q", got, want)
		}
	}
	try("wrong", "52e")
	try("wrong", "52e")
	try(memdir.SamplePassword, "") // starts again
	try("wrong", "52e")
	try("wrong", "52e")
	try("wrong", "52e")
	try(memdir.SamplePassword, "775")
	jon := find(t, signedIn(t, memdir.ActiveDirectory, addr), "(sAMAccountName=jon)", "*", "msDS-User-Account-Control-Computed")[0]
	if jon.GetAttributeValue("badPwdCount") != "3" || jon.GetAttributeValue("msDS-User-Account-Control-Computed") != "16" {
		t.Errorf("badPwdCount %q, computed %q", jon.GetAttributeValue("badPwdCount"), jon.GetAttributeValue("msDS-User-Account-Control-Computed"))
	}
	if err := s.Update(jon.DN, map[string][]string{"lockoutTime": {"0"}}); err != nil {
		t.Fatal(err)
	}
	try(memdir.SamplePassword, "")
}

func TestOpenLDAPBind(t *testing.T) {
	_, addr := start(t, memdir.Options{Flavor: memdir.OpenLDAP})
	const none, absent = -1, -2
	for _, tt := range []struct {
		rule, name, password string
		code, policy         int
	}{
		{"right password", "uid=jon,ou=people," + base, memdir.SamplePassword, 0, none},
		{"wrong password", "uid=jon,ou=people," + base, "wrong", 49, none},
		{"unknown user, without even a control", "uid=nobody,ou=people," + base, "wrong", 49, absent},
		{"locked by the administrator", "uid=dora,ou=people," + base, memdir.SamplePassword, 49, 1},
		{"locked, wrong password", "uid=liam,ou=people," + base, "wrong", 49, 1},
		{"account expired", "uid=eve,ou=people," + base, memdir.SamplePassword, 49, 1},
		{"password expired", "uid=paul,ou=people," + base, memdir.SamplePassword, 49, 0},
		{"password expired, wrong password", "uid=paul,ou=people," + base, "wrong", 49, none},
		{"must change is let in", "uid=nina,ou=people," + base, memdir.SamplePassword, 0, 2},
		{"no DN", "jon", memdir.SamplePassword, 34, absent},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			request := ldap.NewSimpleBindRequest(tt.name, tt.password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()})
			res, err := dial(t, addr).SimpleBind(request)
			if code(err) != tt.code {
				t.Errorf("code %d, want %d (%v)", code(err), tt.code, err)
			}
			policy := absent
			if res != nil {
				if c, ok := ldap.FindControl(res.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy); ok {
					policy = int(c.Error)
				}
			}
			if policy != tt.policy {
				t.Errorf("policy error %d, want %d", policy, tt.policy)
			}
		})
	}
}

func TestOpenLDAPMustChangeMayDoNothingElse(t *testing.T) {
	_, addr := start(t, memdir.Options{Flavor: memdir.OpenLDAP})
	c := dial(t, addr)
	if err := c.Bind("uid=nina,ou=people,"+base, memdir.SamplePassword); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil)); code(err) != 50 {
		t.Errorf("search: %v, want code 50", err)
	}
}

func TestOpenLDAPLockout(t *testing.T) {
	entries := memdir.SampleOpenLDAP(base)
	entries[0].Attributes["pwdMaxFailure"] = []string{"2"}
	_, addr := start(t, memdir.Options{Flavor: memdir.OpenLDAP, Entries: entries})
	c := dial(t, addr)
	jon := "uid=jon,ou=people," + base
	for i, tt := range []struct {
		password string
		code     int
	}{{"wrong", 49}, {memdir.SamplePassword, 0}, {"wrong", 49}, {"wrong", 49}, {memdir.SamplePassword, 49}} {
		if err := c.Bind(jon, tt.password); code(err) != tt.code {
			t.Errorf("attempt %d: %v, want code %d", i+1, err, tt.code)
		}
	}
}

func TestPasswordsNeedTLSWhereRequired(t *testing.T) {
	server, client := certificates(t)
	for _, tt := range []struct {
		flavor memdir.Flavor
		name   string
		code   int
	}{
		{memdir.ActiveDirectory, "jon@fabrikam.example", 8},
		{memdir.OpenLDAP, "uid=jon,ou=people," + base, 13},
	} {
		_, addr := start(t, memdir.Options{Flavor: tt.flavor, TLS: server, RequireTLS: true})
		c := dial(t, addr)
		if err := c.Bind(tt.name, memdir.SamplePassword); code(err) != tt.code {
			t.Errorf("in clear: %v, want code %d", err, tt.code)
		}
		if err := c.StartTLS(client); err != nil {
			t.Fatal(err)
		}
		if err := c.Bind(tt.name, memdir.SamplePassword); err != nil {
			t.Errorf("after StartTLS: %v", err)
		}
	}
}

func TestOnlySimpleBinds(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	if err := dial(t, addr).ExternalBind(); code(err) != ldap.LDAPResultAuthMethodNotSupported {
		t.Errorf("SASL bind: %v, want code 7", err)
	}
}
