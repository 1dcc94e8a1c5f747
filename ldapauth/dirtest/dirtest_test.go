package dirtest_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"

	"github.com/go-ldap/ldap/v3"
)

func TestMain(m *testing.M) { os.Exit(dirtest.Main(m)) }

// dial connects with TLS that trusts the server's CA only, or in clear.
func dial(t *testing.T, s *dirtest.Server, url string) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(url, ldap.DialWithTLSConfig(s.TLS(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestServersAnswer(t *testing.T) {
	for kind, start := range map[string]func(testing.TB) *dirtest.Server{
		dirtest.KindOpenLDAP: dirtest.SharedOpenLDAP,
		dirtest.KindSamba:    dirtest.SharedSambaAD,
	} {
		t.Run(kind, func(t *testing.T) {
			s := start(t)
			t.Run("kind shows in the root DSE", func(t *testing.T) { testRootDSE(t, s) })
			t.Run("sign-ins have the answers they are known for", func(t *testing.T) { testBinds(t, s) })
			t.Run("groups are nested", func(t *testing.T) { testGroups(t, s) })
			t.Run("service account reads and does not write", func(t *testing.T) { testServiceAccount(t, s) })
			t.Run("certificate fits neither another CA nor another name", func(t *testing.T) { testTLS(t, s) })
			t.Run("StartTLS is offered", func(t *testing.T) {
				if err := dial(t, s, s.PlainURL).StartTLS(s.TLS(t)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func testRootDSE(t *testing.T, s *dirtest.Server) {
	const activeDirectory = "1.2.840.113556.1.4.800"
	found, err := dial(t, s, s.URL).Search(&ldap.SearchRequest{
		Filter: "(objectClass=*)", Attributes: []string{"supportedCapabilities", "namingContexts"},
	})
	if err != nil {
		t.Fatal(err)
	}
	root := found.Entries[0]
	if !slices.Contains(root.GetAttributeValues("namingContexts"), s.BaseDN) {
		t.Errorf("root DSE %v does not name %s", root, s.BaseDN)
	}
	isAD := slices.Contains(root.GetAttributeValues("supportedCapabilities"), activeDirectory)
	if want := s.Kind == dirtest.KindSamba; isAD != want {
		t.Errorf("says it is an Active Directory: %v, want %v", isAD, want)
	}
}

func testBinds(t *testing.T, s *dirtest.Server) {
	// What distinguishes a refusal: Active Directory's code in the text, or the
	// answer to a password policy control.
	for _, tt := range []struct{ account, password, samba, openldap string }{
		{"jon", s.Password, "ok", "ok"},
		{"jon", "wrong", "data 52e", "refused"},
		{"dis", s.Password, "data 533", "Account locked"},
		{"exp", s.Password, "data 701", "Account locked"},
		{"lck", s.Password, "data 775", "Account locked"},
		{"mcp", s.Password, "data 773", "ok Password must be changed"},
		{"pwx", s.Password, "data 532", "Password expired"},
		{"zoe", s.Password, "ok", "ok"},
		{"photo", s.Password, "ok", "ok"},
		{"hrs", s.Password, "data 530", ""},
		{"wks", s.Password, "data 531", ""},
		{"nopw", s.Password, "ok", ""},
		{"o'neil (ops)", s.Password, "ok", ""},
		{"chg", s.Password, "", "ok"},
		{`o'neil (ops)\*`, s.Password, "", "ok"},
		{"printer", s.Password, "", "ok"},
	} {
		want := tt.openldap
		if s.Kind == dirtest.KindSamba {
			want = tt.samba
		}
		if want == "" {
			continue // not there
		}
		if got := bind(t, s, s.DN(t, tt.account), tt.password); !strings.Contains(got, want) {
			t.Errorf("%s with %q: got %q, want %q", tt.account, tt.password, got, want)
		}
	}
}

// bind tells what a server says to a sign-in.
func bind(t *testing.T, s *dirtest.Server, dn, password string) string {
	t.Helper()
	request := ldap.NewSimpleBindRequest(dn, password, nil)
	if s.Kind == dirtest.KindOpenLDAP {
		request.Controls = []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}
	}
	result, err := dial(t, s, s.URL).SimpleBind(request)
	said := "ok"
	if err != nil {
		if !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Errorf("%s: %v", dn, err)
		}
		said = "refused " + err.Error()
	}
	if result != nil {
		if c := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy); c != nil {
			said += " " + c.(*ldap.ControlBeheraPasswordPolicy).ErrorString
		}
	}
	return strings.TrimSpace(said)
}

// serviceSearch searches as the service account.
func serviceSearch(t *testing.T, s *dirtest.Server, filter string, attributes ...string) []*ldap.Entry {
	t.Helper()
	c := dial(t, s, s.URL)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	found, err := c.Search(&ldap.SearchRequest{BaseDN: s.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: filter, Attributes: attributes})
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return found.Entries
}

func testGroups(t *testing.T, s *dirtest.Server) {
	member := s.DN(t, "jon")
	for _, name := range []string{"group-A", "group-B", "group-C"} {
		groups := serviceSearch(t, s, "(member="+ldap.EscapeFilter(member)+")", "cn")
		i := slices.IndexFunc(groups, func(e *ldap.Entry) bool { return e.GetAttributeValue("cn") == name })
		if i < 0 {
			t.Fatalf("%s is not in %s: %v", member, name, groups)
		}
		below := serviceSearch(t, s, "(memberOf="+ldap.EscapeFilter(groups[i].DN)+")", "cn")
		if !slices.ContainsFunc(below, func(e *ldap.Entry) bool { return strings.EqualFold(e.DN, member) }) {
			t.Errorf("memberOf of %s does not name %s", member, groups[i].DN)
		}
		member = groups[i].DN
	}
	if got := serviceSearch(t, s, `(cn=Träger \28all\29, x)`, "member"); len(got) != 1 {
		t.Errorf("%d groups have the odd name, want 1", len(got))
	}
}

func testServiceAccount(t *testing.T, s *dirtest.Server) {
	state := "pwdAccountLockedTime"
	if s.Kind == dirtest.KindSamba {
		state = "lockoutTime"
	}
	lck := serviceSearch(t, s, "(cn=Lock Ed)", state, "userPassword", "unicodePwd")
	if len(lck) != 1 || lck[0].GetAttributeValue(state) == "" {
		t.Fatalf("the state of a locked account cannot be read: %v", lck)
	}
	if len(lck[0].Attributes) != 1 {
		t.Errorf("the service account reads passwords: %v", lck[0].Attributes)
	}
	c := dial(t, s, s.URL)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	change := ldap.NewModifyRequest(lck[0].DN, nil)
	change.Replace("description", []string{"changed"})
	if err := c.Modify(change); !ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
		t.Errorf("the service account changes an entry: %v", err)
	}
}

func testTLS(t *testing.T, s *dirtest.Server) {
	strange := s.TLS(t)
	strange.RootCAs = nil
	elsewhere := s.TLS(t)
	elsewhere.ServerName = "dc9.corp.example.test"
	for _, conf := range []ldap.DialOpt{ldap.DialWithTLSConfig(strange), ldap.DialWithTLSConfig(elsewhere)} {
		if c, err := ldap.DialURL(s.URL, conf); err == nil || !strings.Contains(err.Error(), "x509") {
			t.Errorf("connected to %s: %v, %v", s.URL, c, err)
		}
	}
}

func TestMissing(t *testing.T) {
	for _, tt := range []struct{ ci, all, want string }{
		{"", "", "skip missing: slapd is not here"},
		{"true", "", "fatal missing: slapd is not here"},
		{"", "1", "fatal missing: slapd is not here"},
	} {
		t.Setenv("CI", tt.ci)
		t.Setenv("ADCONNECTOR_TEST_ALL", tt.all)
		r := &recorder{TB: t}
		dirtest.Missing(r, "%s is not here", "slapd")
		if len(r.calls) == 0 || r.calls[0] != tt.want {
			t.Errorf("CI=%q ADCONNECTOR_TEST_ALL=%q: %q, want %q", tt.ci, tt.all, r.calls, tt.want)
		}
	}
}

// A recorder is a test that goes on when it is told to end.
type recorder struct {
	testing.TB
	calls []string
}

func (r *recorder) Skipf(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf("skip "+format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf("fatal "+format, args...))
}

func TestServersStopAndFreeze(t *testing.T) {
	for kind, start := range map[string]func(testing.TB) *dirtest.Server{
		dirtest.KindOpenLDAP: func(t testing.TB) *dirtest.Server { return dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}) },
		dirtest.KindSamba:    dirtest.SambaAD,
	} {
		t.Run(kind, func(t *testing.T) {
			s := start(t)
			url := s.URL
			jon := s.DN(t, "jon")
			c := dial(t, s, s.URL)
			c.SetTimeout(300 * time.Millisecond)
			if err := c.Bind(jon, s.Password); err != nil {
				t.Fatal(err)
			}

			thaw := s.Freeze(t)
			if err := c.Bind(jon, s.Password); err == nil || !strings.Contains(err.Error(), "timed out") {
				t.Errorf("a frozen server: %v, want a time-out", err)
			}
			thaw()
			if said := bind(t, s, jon, s.Password); said != "ok" {
				t.Errorf("after the frost: %s", said)
			}

			s.Stop()
			if _, err := ldap.DialURL(s.URL, ldap.DialWithTLSConfig(s.TLS(t))); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dialling a stopped server: %v, want connection refused", err)
			}
			if err := c.Bind(jon, s.Password); err == nil {
				t.Error("a connection survived the end of the server")
			}

			s.Start(t)
			if s.URL != url {
				t.Errorf("moved from %s to %s", url, s.URL)
			}
			if said := bind(t, s, jon, s.Password); said != "ok" {
				t.Errorf("after the restart: %s", said)
			}
			if log := s.Log(); !strings.Contains(strings.ToLower(log), strings.ToLower(jon)) {
				t.Errorf("the log does not tell of %s:\n%s", jon, log)
			}
		})
	}
}

func TestOpenLDAPOptions(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{
		Users: 250, Groups: 40, SizeLimit: 200, IdleSeconds: 1, NoMemberOf: true, TLSRequired: true, Quiet: true,
	})
	for filter, want := range map[string]int{
		"(cn=many*)":   40,
		"(cn=bg*)":     25,
		"(cn=sg*)":     3,
		"(uid=u00249)": 1,
		"(memberOf=*)": 0,
		"(uid=jonas)":  2,
	} {
		if got := len(serviceSearch(t, s, filter, "cn")); got != want {
			t.Errorf("%s: %d entries, want %d", filter, got, want)
		}
	}
	_, err := s.Admin(t).Search(&ldap.SearchRequest{BaseDN: s.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: "(uid=u*)"})
	if err != nil {
		t.Errorf("the administrator has no limit: %v", err)
	}
	c := dial(t, s, s.URL)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	_, err = c.Search(&ldap.SearchRequest{BaseDN: s.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: "(uid=u*)"})
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		t.Errorf("250 entries with a limit of 200: %v", err)
	}
	if err := dial(t, s, s.PlainURL).Bind(s.BindDN, s.BindPassword); !ldap.IsErrorWithCode(err, ldap.LDAPResultConfidentialityRequired) {
		t.Errorf("a password in clear: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); !c.IsClosing(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not hang up on an idle client")
		}
	}
	if log := s.Log(); strings.Contains(log, "BIND") {
		t.Errorf("a quiet server logs operations:\n%s", log)
	}
}

func TestOpenLDAPForgivesAnEmptyPassword(t *testing.T) {
	s := dirtest.SharedOpenLDAP(t)
	request := ldap.NewSimpleBindRequest(s.DN(t, "jon"), "", nil)
	request.AllowEmptyPassword = true
	if _, err := dial(t, s, s.URL).SimpleBind(request); err != nil {
		t.Errorf("want a server that mistakes a missing password for a guest: %v", err)
	}
}
