package ldapauth_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/testca"
)

// published has the directory publish a revocation list, and returns the entry
// with the list.
func published(t *testing.T, s *dirtest.Server, parent, attribute string) (dn string, list []byte) {
	t.Helper()
	ca, err := testca.New("Published")
	if err != nil {
		t.Fatal(err)
	}
	list, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
	}, ca.Certificate, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	dn = "CN=Published," + parent
	add := goldap.NewAddRequest(dn, nil)
	add.Attribute("objectClass", []string{"cRLDistributionPoint"})
	add.Attribute("cn", []string{"Published"})
	add.Attribute(attribute, []string{string(list)})
	admin := s.Admin(t)
	if err := admin.Add(add); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Del(goldap.NewDelRequest(dn, nil)) })
	return dn, list
}

// TestB12_ListsInTheDirectory: an LDAP point is a question to this directory and
// to no other, about a list and about nothing else.
func TestB12_ListsInTheDirectory(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (s *dirtest.Server, parent, attribute string){
		"OpenLDAP": func(t *testing.T) (*dirtest.Server, string, string) {
			s := dirtest.SharedOpenLDAP(t)
			return s, s.BaseDN, "certificateRevocationList;binary"
		},
		"Samba": func(t *testing.T) (*dirtest.Server, string, string) {
			s := dirtest.SharedSambaAD(t)
			return s, "CN=CDP,CN=Public Key Services,CN=Services,CN=Configuration," + s.BaseDN, "certificateRevocationList"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, parent, attribute := start(t)
			dn, list := published(t, s, parent, attribute)
			d := open(t, real(s))
			server, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			host := server.Hostname()
			entry := url.PathEscape(dn)
			for _, u := range []string{
				"ldap:///" + entry + "?certificateRevocationList?base?objectClass=cRLDistributionPoint", // as Windows writes it
				"ldap:///" + entry + "?certificateRevocationList;binary",
				"ldap:///" + entry,
				"LDAP://" + strings.ToUpper(host) + "/" + entry,
			} {
				if got, err := d.RevocationList(t.Context(), u, 1<<20); err != nil || !bytes.Equal(got, list) {
					t.Errorf("%s: %d bytes, %v", u, len(got), err)
				}
			}
			for u, word := range map[string]string{
				"ldap://elsewhere.example/" + entry:                "names the server",
				"ldap:///" + entry + "?userPassword":               "none for revocation lists",
				"ldap:///" + entry + "?deltaRevocationList":        "has no deltaRevocationList",
				"ldap:///" + url.PathEscape("CN=Nobody,"+s.BaseDN): "No Such Object",
				"ldap:///": "names no entry",
				"ldap:///" + url.PathEscape("*)(objectClass=*"): "Invalid DN",
				"ldap://user:password@" + host + "/" + entry:    "not an LDAP URL",
				"http://" + host + "/" + entry:                  "not an LDAP URL",
				"ldaps:///" + entry:                             "not an LDAP URL",
			} {
				if _, err := d.RevocationList(t.Context(), u, 1<<20); err == nil || !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %v, want an error with %q", u, err, word)
				}
			}
			if _, err := d.RevocationList(t.Context(), "ldap:///"+entry, int64(len(list)-1)); err == nil || !strings.Contains(err.Error(), "more than") {
				t.Errorf("a list that is too large: %v", err)
			}
		})
	}
}
