package certauth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/testca"
)

// first returns the first check that keeps a certificate out, then the rule.
func firstFault(x *certauth.Explanation) (check string, reason denial.Reason) {
	for _, c := range x.Checks {
		if c.Err != nil {
			return c.Name, denial.ReasonOf(c.Err)
		}
	}
	for _, r := range x.Rules {
		if r.Err != nil && r.Decides {
			return "rule", denial.ReasonOf(r.Err)
		}
	}
	return "", ""
}

// TestExplainFindsWhatVerifyFinds: the check that is shown as the first to fail
// is the one for which Verify refuses, for each of them.
func TestExplainFindsWhatVerifyFinds(t *testing.T) {
	now := time.Now()
	root, stranger := newCA(t, "Root"), newCA(t, "Stranger")
	expiredCA := intermediate(t, root, "Old", between(now.Add(-3*time.Hour), now.Add(-time.Minute)))
	serverCA := intermediate(t, root, "Servers", func(c template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	weakCA := withKeyCA(t, root, must(rsa.GenerateKey(rand.Reader, 1024))(t))
	issuing := intermediate(t, root, "Issuing")
	listed, expiredListed := selfSigned(t, "Kiosk"), selfSigned(t, "Old kiosk", between(now.Add(-3*time.Hour), now.Add(-time.Minute)))
	v := listing(t, nil, entries(entry(t, "jon", listed.Certificate), entry(t, "", expiredListed.Certificate)), root)
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		check string
		want  denial.Reason
		path  int
	}{
		{"good", sent(client(t, root, "jon")), "", "", 2},
		{"over an intermediate", sent(client(t, issuing, "jon")), "", "", 3},
		{"listed", sent(listed), "", "", 1},
		{"listed and expired", sent(expiredListed), "time", denial.Expired, 1},
		{"nothing", nil, "size", denial.BadCertificate, 0},
		{"stranger", sent(client(t, stranger, "jon")), "trust", denial.Untrusted, 1},
		{"without the intermediate", sent(client(t, issuing, "jon"))[:1], "trust", denial.Untrusted, 1},
		{"expired", sent(client(t, root, "jon", between(now.Add(-2*time.Hour), now.Add(-time.Minute)))), "time", denial.Expired, 2},
		{"not yet valid", sent(client(t, root, "jon", between(now.Add(time.Hour), now.Add(2*time.Hour)))), "time", denial.NotYetValid, 2},
		{"issuer expired", sent(client(t, expiredCA, "jon")), "time", denial.Expired, 3},
		{"usage", sent(client(t, root, "jon", func(c template) { c.ExtKeyUsage = nil })), "usage", denial.WrongUsage, 2},
		{"usage of the issuer", sent(client(t, serverCA, "jon")), "usage", denial.WrongUsage, 3},
		{"key", sent(withKey(t, root, must(rsa.GenerateKey(rand.Reader, 1024))(t))), "key", denial.WeakKey, 2},
		{"key of the issuer", append(sent(client(t, weakCA, "jon")), weakCA.Certificate), "key", denial.WeakKey, 3},
		{"extension", sent(client(t, root, "jon", func(c template) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		})), "extensions", denial.BadCertificate, 2},
		{"name", sent(client(t, root, "jon", func(c template) { c.Subject.ExtraNames = cns("jon", "admin") })), "rule", denial.AmbiguousName, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), tt.chain)
			x := v.Explain(t.Context(), tt.chain)
			check, reason := firstFault(x)
			if check != tt.check || reason != tt.want || denial.ReasonOf(x.Err) != tt.want || denial.ReasonOf(err) != tt.want {
				t.Errorf("%s fails for %q; Verify says %v, Explain %v", check, reason, err, x.Err)
			}
			if len(x.Path) != tt.path {
				t.Errorf("%d certificates looked at, want %d", len(x.Path), tt.path)
			}
			if (x.Certificate == nil) == (tt.want == "") {
				t.Errorf("certificate %+v", x.Certificate)
			}
		})
	}
}

func withKeyCA(t *testing.T, root *testca.CA, key *rsa.PrivateKey) *testca.CA {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Weak"}, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	leaf := must(root.Issue(template, key))(t)
	ca := must(testca.NewWithKey("Weak", key))(t)
	return &testca.CA{Certificate: leaf.Certificate, Key: ca.Key}
}

func TestExplainSaysWhichChecksAreOff(t *testing.T) {
	root := newCA(t, "Root")
	c := certauth.DefaultConfig()
	c.CheckUsage, c.CheckValidity = false, false
	now := time.Now()
	x := verifierWith(t, c, root).Explain(t.Context(), sent(client(t, root, "jon", between(now.Add(-2*time.Hour), now.Add(-time.Hour)), func(c template) { c.ExtKeyUsage = nil })))
	if x.Err != nil {
		t.Error(x.Err)
	}
	for _, check := range x.Checks {
		if off := check.Name == "time" || check.Name == "usage"; check.Off != off || check.Err != nil {
			t.Errorf("%+v", check)
		}
	}
}

func TestExplainShowsEveryRule(t *testing.T) {
	root := newCA(t, "Root")
	c := certauth.DefaultConfig()
	c.UserName = []certauth.Rule{{Name: certauth.RuleUPN}, {Name: certauth.RuleEmail}, {Name: certauth.RuleSubjectCN}}
	x := verifierWith(t, c, root).Explain(t.Context(), sent(client(t, root, "jon", func(c template) { c.EmailAddresses = []string{"jon@fabrikam.example"} })))
	want := []certauth.RuleResult{{Rule: "san_upn"}, {Rule: "san_email", Text: "jon@fabrikam.example", Decides: true}, {Rule: "subject_cn", Text: "jon"}}
	if !slices.Equal(x.Rules, want) || x.Certificate.Rule != "san_email" {
		t.Errorf("%+v", x.Rules)
	}
}

func FuzzExplain(f *testing.F) {
	root := newCA(f, "Root")
	v := verifier(f, root)
	f.Add(client(f, root, "jon").Certificate.Raw)
	f.Add(root.Certificate.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		x := v.Explain(t.Context(), []*x509.Certificate{c})
		if _, reason := firstFault(x); reason != denial.ReasonOf(x.Err) {
			t.Errorf("%q, and Verify says %v", reason, x.Err)
		}
		for _, check := range x.Checks {
			if len(check.Text) > 16<<10 || strings.ContainsFunc(check.Text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q", check.Text)
			}
		}
	})
}
