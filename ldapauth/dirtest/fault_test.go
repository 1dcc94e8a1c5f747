package dirtest_test

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"

	"github.com/go-ldap/ldap/v3"
)

// faulty are servers to which anything can be done.
var faulty = map[string]func(testing.TB) *dirtest.Server{
	dirtest.KindOpenLDAP: func(t testing.TB) *dirtest.Server {
		return dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Wire: true})
	},
	dirtest.KindSamba: dirtest.SambaAD,
}

func TestServersSufferWhatServersSuffer(t *testing.T) {
	for kind, start := range faulty {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			for _, tt := range []struct {
				name string
				test func(*testing.T, *dirtest.Server)
			}{
				{"packets are lost both ways and come back", testDrop},
				{"connections are ended", testHangUp},
				{"a crash ends connections", testKill},
				{"the certificate is wrong and right again", testWrongCertificate},
				{"the service account's password changes and changes back", testServicePassword},
				{"idle clients are hung up on", testIdleTimeout},
			} {
				t.Run(tt.name, func(t *testing.T) {
					tt.test(t, s)
					if said := bind(t, s, s.DN(t, "jon"), s.Password); said != "ok" {
						t.Errorf("afterwards: %s", said)
					}
				})
			}
		})
	}
}

// soon is a connection whose requests end soon.
func soon(t *testing.T, s *dirtest.Server) *ldap.Conn {
	c := dial(t, s, s.URL)
	c.SetTimeout(500 * time.Millisecond)
	return c
}

// reach connects in clear, as far as TCP goes.
func reach(s *dirtest.Server) error {
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.PlainURL, "ldap://"), 500*time.Millisecond)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func testDrop(t *testing.T, s *dirtest.Server) {
	jon := s.DN(t, "jon")
	c := soon(t, s)
	restore := s.DropPackets(t)
	if err := c.Bind(jon, s.Password); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("a request: %v, want a time-out", err)
	}
	if e, ok := errors.AsType[net.Error](reach(s)); !ok || !e.Timeout() {
		t.Errorf("a new connection: %v, want a time-out", e)
	}
	if c.IsClosing() {
		t.Error("the connection was closed")
	}
	restore()
	c.SetTimeout(20 * time.Second) // TCP takes its time to try again
	if err := c.Bind(jon, s.Password); err != nil {
		t.Errorf("afterwards, on the same connection: %v", err)
	}
}

func testHangUp(t *testing.T, s *dirtest.Server) {
	c := soon(t, s)
	s.HangUp(t)
	for end := time.Now().Add(10 * time.Second); !c.IsClosing(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still there")
		}
	}
}

func testKill(t *testing.T, s *dirtest.Server) {
	c := soon(t, s)
	s.Kill()
	if err := c.Bind(s.BindDN, s.BindPassword); err == nil {
		t.Error("a connection survived the crash")
	}
	if err := reach(s); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a dead server: %v, want connection refused", err)
	}
	s.Start(t)
}

func testWrongCertificate(t *testing.T, s *dirtest.Server) {
	restore := s.WrongCertificate(t)
	if _, err := ldap.DialURL(s.URL, ldap.DialWithTLSConfig(s.TLS(t))); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("connecting: %v, want an error of x509", err)
	}
	restore()
	soon(t, s)
}

func testServicePassword(t *testing.T, s *dirtest.Server) {
	restore := s.ServicePassword(t)
	if err := dial(t, s, s.URL).Bind(s.BindDN, s.BindPassword); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("the old password: %v", err)
	}
	restore()
	if err := dial(t, s, s.URL).Bind(s.BindDN, s.BindPassword); err != nil {
		t.Errorf("the old password is back: %v", err)
	}
}

func testIdleTimeout(t *testing.T, s *dirtest.Server) {
	s.IdleTimeout(t, 1)
	c := dial(t, s, s.URL)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !c.IsClosing(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server does not hang up")
		}
	}
}

func TestAReferralTakesThePlaceOfAUnit(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	c := dial(t, s, s.URL)
	if err := c.Bind(s.BindDN, s.BindPassword); err != nil {
		t.Fatal(err)
	}
	below := &ldap.SearchRequest{BaseDN: "ou=people," + s.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: "(uid=jon)"}
	restore := s.Refer(t, "people", "ldaps://other.example.test")
	if _, err := c.Search(below); !ldap.IsErrorWithCode(err, ldap.LDAPResultReferral) {
		t.Errorf("searching below the unit: %v, want a referral", err)
	}
	restore()
	if found, err := c.Search(below); err != nil || len(found.Entries) != 1 {
		t.Errorf("afterwards: %v, %v", found, err)
	}
}

func TestServersOfAKindHaveTheSameContent(t *testing.T) {
	for kind, start := range faulty {
		t.Run(kind, func(t *testing.T) {
			id := "entryUUID"
			if kind == dirtest.KindSamba {
				id = "objectGUID"
			}
			filter := "(cn=Jon Smith)"
			first, second := serviceSearch(t, start(t), filter, id), serviceSearch(t, start(t), filter, id)
			if a, b := first[0].GetAttributeValue(id), second[0].GetAttributeValue(id); a == "" || a != b {
				t.Errorf("%s is %x and %x", id, a, b)
			}
		})
	}
}
