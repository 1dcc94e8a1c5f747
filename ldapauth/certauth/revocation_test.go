package certauth_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

const listURL = "http://pki.example/ca.crl"

// An authority is one that publishes a list, and counts who asks for what.
type authority struct {
	*testca.CA
	t testing.TB

	mu    sync.Mutex
	list  []byte
	asked []string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{CA: newCA(t, "Root"), t: t}
	a.publish()
	return a
}

func (a *authority) publish(revoked ...*x509.Certificate) {
	a.t.Helper()
	der := listBy(a.t, a.CA, revoked...)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = der
}

// listBy makes a list with what ca has revoked.
func listBy(t testing.TB, ca *testca.CA, revoked ...*x509.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	return must(x509.CreateRevocationList(rand.Reader, l, ca.Certificate, ca.Key))(t)
}

func (a *authority) fetch(_ context.Context, r revocation.Request) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.URL)
	if r.URL != listURL {
		return nil, errors.New("connection refused")
	}
	return a.list, nil
}

func (a *authority) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// verifier trusts the authority and asks it.
func (a *authority) verifier(change ...func(*revocation.Config)) *certauth.Verifier {
	a.t.Helper()
	c := certauth.DefaultConfig()
	for _, f := range change {
		f(&c.Revocation)
	}
	v := certauth.New(c, anchors(a.t, a.Certificate))
	v.Revocation = must(revocation.Open(c.Revocation, revocation.Options{Fetch: a.fetch, Anchors: []*x509.Certificate{a.Certificate}}))(a.t)
	a.t.Cleanup(v.Revocation.Close)
	return v
}

func withList(urls ...string) func(template) {
	return func(c template) { c.CRLDistributionPoints = urls }
}

// TestA4_ARevokedCertificateIsRefusedAtTheNextSignIn also where the verifier has
// accepted the very same chain before, and checks nothing else of it again.
func TestA4_ARevokedCertificateIsRefusedAtTheNextSignIn(t *testing.T) {
	a := newAuthority(t)
	jon, amy := client(t, a.CA, "jon", withList(listURL)), client(t, a.CA, "amy", withList(listURL))
	v := a.verifier()
	wantName(t, v, sent(jon), "jon")
	wantName(t, v, sent(jon), "jon")
	kept := must(v.Verify(t.Context(), sent(jon)))(t)
	if again := must(v.VerifyAgain(t.Context(), kept))(t); again.UserName != "jon" || again.Thumbprint != kept.Thumbprint {
		t.Errorf("checked again: %+v", again)
	}

	a.publish(jon.Certificate)
	other := a.verifier() // a fresh look at the list
	v.Revocation = other.Revocation
	v.SetAnchors(anchors(t, a.Certificate))
	wantReason(t, v, sent(jon), denial.Revoked, "CN=jon")
	wantReason(t, v, sent(jon), denial.Revoked)
	wantName(t, v, sent(amy), "amy")
	if _, err := v.VerifyAgain(t.Context(), kept); denial.ReasonOf(err) != denial.Revoked {
		t.Errorf("the session of a revoked certificate: %v", err)
	}
}

// TestB14_NothingThatAnUntrustedCertificateNamesIsFetched: neither lists nor
// responders nor issuers, whatever is wrong with the certificate.
func TestB14_NothingThatAnUntrustedCertificateNamesIsFetched(t *testing.T) {
	a := newAuthority(t)
	inside := func(c template) {
		c.CRLDistributionPoints = []string{"http://169.254.169.254/latest/meta-data", "ldap://127.0.0.1/CN=x"}
		c.OCSPServer = []string{"http://127.0.0.1:9/ocsp"}
		c.IssuingCertificateURL = []string{"http://127.0.0.1:9/issuer.crt"}
	}
	now := time.Now()
	stranger := newCA(t, "Stranger")
	for name, chain := range map[string][]*x509.Certificate{
		"a stranger's":                sent(client(t, stranger, "jon", inside)),
		"a stranger's, same name":     sent(client(t, newCA(t, "Root"), "jon", inside)),
		"a stranger's, with its root": append(sent(client(t, stranger, "jon", inside)), stranger.Certificate),
		"below a stranger's":          sent(client(t, intermediate(t, stranger, "Issuing", inside), "jon", inside)),
		"signed by itself":            {newCA(t, "jon", inside).Certificate},
		"expired":                     sent(client(t, a.CA, "jon", inside, between(now.Add(-2*time.Hour), now.Add(-time.Hour)))),
		"of a server":                 sent(client(t, a.CA, "jon", inside, func(c template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })),
	} {
		v := a.verifier()
		if _, err := v.Verify(t.Context(), chain); denial.ReasonOf(err) == "" {
			t.Errorf("%s: accepted (%v)", name, err)
		}
	}
	if got := a.requests(); len(got) != 0 {
		t.Errorf("asked for %v", got)
	}
	// What a trusted one names is fetched, except who issued it.
	v := a.verifier()
	wantReason(t, v, sent(client(t, a.CA, "jon", inside)), denial.CRLUnreachable)
	if got := strings.Join(a.requests(), " "); !strings.Contains(got, "169.254.169.254") || strings.Contains(got, "issuer.crt") {
		t.Errorf("asked for %v", got)
	}
}

func TestB16_ARevokedIntermediateIsFoundThroughTheVerifier(t *testing.T) {
	a := newAuthority(t)
	issuing := intermediate(t, a.CA, "Issuing", withList(listURL))
	jon := client(t, issuing, "jon")
	wantName(t, a.verifier(), sent(jon), "jon")
	a.publish(issuing.Certificate)
	wantReason(t, a.verifier(), sent(jon), denial.Revoked, "CN=Issuing")
}

func TestWhatIsUnknownAndAllowedStandsInTheCertificate(t *testing.T) {
	a := newAuthority(t)
	jon := client(t, a.CA, "jon", withList("http://dead.example/"))
	v := a.verifier(func(c *revocation.Config) { c.OnUnknown = revocation.Allow })
	for range 2 {
		c := must(v.Verify(t.Context(), sent(jon)))(t)
		if !strings.Contains(c.Unknown, "crl_unreachable") || !strings.Contains(c.Unknown, "dead.example") {
			t.Errorf("unknown: %q", c.Unknown)
		}
	}
	// ... and in nobody else's.
	v = a.verifier(func(c *revocation.Config) { c.OnUnknown = revocation.Allow })
	if c := must(v.Verify(t.Context(), sent(client(t, a.CA, "amy", withList(listURL)))))(t); c.Unknown != "" {
		t.Errorf("unknown: %q", c.Unknown)
	}
}

// BenchmarkVerifyWithList is BenchmarkVerify for a chain whose two certificates
// are on lists that are there: what revocation costs at each sign-in.
func BenchmarkVerifyWithList(b *testing.B) {
	a := newAuthority(b)
	issuing := intermediate(b, a.CA, "Issuing", withList(listURL))
	jon := sent(client(b, issuing, "jon"))
	for name, v := range map[string]*certauth.Verifier{"without": verifier(b, a.CA), "with": a.verifier()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), jon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestOneOfSeveralChainsThatIsNotRevokedIsEnough: two roots have certified one
// authority, the client sends both, and one root has taken it back. Whoever wanted
// to could have sent the other alone.
func TestOneOfSeveralChainsThatIsNotRevokedIsEnough(t *testing.T) {
	a := newAuthority(t)
	second := newCA(t, "Second root")
	issuing := intermediate(t, a.CA, "Issuing", withList(listURL))
	template := *intermediate(t, second, "Issuing").Certificate
	template.CRLDistributionPoints = []string{listURL + "?second"}
	cross := must(second.Certify(&template, issuing.Key.Public()))(t)
	jon := append(sent(client(t, issuing, "jon")), cross)

	for name, tt := range map[string]struct {
		byFirst, bySecond []*x509.Certificate
		want              denial.Reason // "" if it passes
	}{
		"neither":    {nil, nil, ""},
		"the first":  {[]*x509.Certificate{issuing.Certificate}, nil, ""},
		"the second": {nil, []*x509.Certificate{cross}, ""},
		"both":       {[]*x509.Certificate{issuing.Certificate}, []*x509.Certificate{cross}, denial.Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			first, other := listBy(t, a.CA, tt.byFirst...), listBy(t, second, tt.bySecond...)
			o := revocation.Options{Fetch: func(_ context.Context, r revocation.Request) ([]byte, error) {
				if r.URL == listURL {
					return first, nil
				}
				return other, nil
			}}
			v := certauth.New(certauth.DefaultConfig(), anchors(t, a.Certificate, second.Certificate))
			v.Revocation = must(revocation.Open(revocation.DefaultConfig(), o))(t)
			defer v.Revocation.Close()
			for range 2 { // at first and when it is known
				if tt.want != "" {
					wantReason(t, v, jon, tt.want)
					continue
				}
				wantName(t, v, jon, "jon")
				kept := must(v.Verify(t.Context(), jon))(t)
				if _, err := v.VerifyAgain(t.Context(), kept); err != nil {
					t.Errorf("checked again: %v", err)
				}
			}
			if tt.byFirst != nil {
				wantReason(t, v, jon[:2], denial.Revoked) // without the other
				if tt.want == "" {
					wantName(t, v, jon, "jon") // and with it again
				}
			}
			x := v.Explain(t.Context(), jon)
			bad := slices.ContainsFunc(x.Revocation, func(r revocation.Report) bool { return r.Answer == revocation.AnswerRevoked })
			if bad != (tt.want != "") || len(x.Revocation) != 2 || denial.ReasonOf(x.Err) != tt.want {
				t.Errorf("explained: %v with %+v", x.Err, x.Revocation)
			}
		})
	}
}

// TestB12_NobodyWaitsTwice where one chain is remembered and more was sent: the
// other one has what is left of the time.
func TestB12_NobodyWaitsTwice(t *testing.T) {
	root, second := newCA(t, "Root"), newCA(t, "Second root")
	issuing := intermediate(t, root, "Issuing", withList(listURL))
	template := *intermediate(t, second, "Issuing").Certificate
	template.CRLDistributionPoints = []string{listURL + "?second"}
	cross := must(second.Certify(&template, issuing.Key.Public()))(t)
	jon := append(sent(client(t, issuing, "jon")), cross)

	c := certauth.DefaultConfig()
	c.Revocation.Timeout = setting.Duration(2 * time.Second)
	v := certauth.New(c, anchors(t, root.Certificate, second.Certificate))
	v.Revocation = must(revocation.Open(c.Revocation, revocation.Options{Fetch: func(ctx context.Context, _ revocation.Request) ([]byte, error) {
		<-ctx.Done() // both hang
		return nil, ctx.Err()
	}}))(t)
	defer v.Revocation.Close()
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := v.Verify(gone, jon[:2]); denial.ReasonOf(err) != denial.CRLUnreachable {
		t.Fatalf("with one chain: %v", err)
	}
	start := time.Now()
	wantReason(t, v, jon, denial.CRLUnreachable)
	if took := time.Since(start); took > 3500*time.Millisecond {
		t.Errorf("it took %v, and the timeout is %v", took, c.Revocation.Timeout)
	}
}
