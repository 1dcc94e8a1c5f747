package certauth_test

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
)

// What is remembered of a chain must never outlive what made it good.
func TestARememberedChainIsJudgedByTheTimeOfNow(t *testing.T) {
	root := newCA(t, "Root")
	now := time.Now()
	issuing := intermediate(t, root, "Issuing", between(now.Add(-2*time.Hour), now.Add(time.Hour)))
	chain := sent(client(t, issuing, "jon", between(now.Add(-time.Hour), now.Add(2*time.Hour))))
	v := verifier(t, root)
	clock := now
	v.Now = func() time.Time { return clock }
	wantName(t, v, chain, "jon")
	wantName(t, v, chain, "jon")

	clock = now.Add(time.Hour + time.Second)
	wantReason(t, v, chain, denial.Expired) // the issuer, whose end is before the leaf's
	clock = now.Add(-time.Hour - time.Second)
	wantReason(t, v, chain, denial.NotYetValid) // the leaf, whose start is after the issuer's
	clock = now
	wantName(t, v, chain, "jon")
}

func TestARememberedChainSaysNothingOfAnother(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	good := sent(client(t, intermediate(t, root, "Issuing"), "jon"))
	wantName(t, v, good, "jon")

	stranger := client(t, intermediate(t, newCA(t, "Root"), "Issuing"), "admin").Certificate
	wantReason(t, v, []*x509.Certificate{stranger, good[1]}, denial.Untrusted)
	wantReason(t, v, []*x509.Certificate{stranger, good[0], good[1]}, denial.Untrusted)
	wantReason(t, v, []*x509.Certificate{good[0]}, denial.Untrusted) // without its issuer
	wantReason(t, v, []*x509.Certificate{good[0], good[0]}, denial.Untrusted)
	wantReason(t, v, []*x509.Certificate{good[0], stranger}, denial.Untrusted)
	wantName(t, v, []*x509.Certificate{good[0], stranger, good[1]}, "jon")
	wantName(t, v, []*x509.Certificate{good[0], good[1], stranger}, "jon")
}

// One path may end where another goes on: an authority that is certified twice.
func TestARememberedLeafMayComeWithAnotherIssuer(t *testing.T) {
	root, other := newCA(t, "Root"), newCA(t, "Other")
	now := time.Now()
	issuing := intermediate(t, root, "Issuing", between(now.Add(-time.Hour), now.Add(time.Hour)))
	cross := must(other.Certify(intermediate(t, other, "Issuing").Certificate, issuing.Key.Public()))(t)
	leaf := client(t, issuing, "jon").Certificate
	v := verifier(t, root, other)
	clock := now
	v.Now = func() time.Time { return clock }
	wantName(t, v, []*x509.Certificate{leaf, issuing.Certificate}, "jon")
	wantName(t, v, []*x509.Certificate{leaf, cross}, "jon")
	wantName(t, v, []*x509.Certificate{leaf, issuing.Certificate}, "jon")

	clock = now.Add(2 * time.Hour)
	wantReason(t, v, []*x509.Certificate{leaf, issuing.Certificate}, denial.Expired)
	wantName(t, v, []*x509.Certificate{leaf, cross}, "jon")
	wantName(t, v, []*x509.Certificate{leaf, issuing.Certificate, cross}, "jon")
}

// What is sent along and not needed must not make one chain look like many, or
// somebody with a certificate could push out everybody else.
func TestARememberedLeafIsRememberedOnce(t *testing.T) {
	root := newCA(t, "Root")
	list := anchors(t, root.Certificate)
	checks := 0
	tally(list.Certificates()[0], &checks)
	v := certauth.New(certauth.DefaultConfig(), list)
	leaf := client(t, intermediate(t, root, "Issuing"), "jon")
	wantName(t, v, sent(leaf), "jon")
	checks = 0
	for i := range 5 {
		junk := newCA(t, fmt.Sprintf("Junk %d", i)).Certificate
		wantName(t, v, append(sent(leaf), junk), "jon")
		wantName(t, v, []*x509.Certificate{leaf.Certificate, junk, root.Certificate, leaf.Chain[0], junk}, "jon")
	}
	if checks > 0 {
		t.Errorf("a chain that is known was looked at again")
	}
}

func TestARememberedChainGoesWithItsAnchors(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	chain := sent(client(t, root, "jon"))
	wantName(t, v, chain, "jon")
	v.SetAnchors(anchors(t, newCA(t, "Root").Certificate))
	wantReason(t, v, chain, denial.Untrusted)
}

// A caller that changes what it was given changes nothing for the next one.
func TestARememberedAnswerIsTheCallersOwn(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	chain := sent(client(t, root, "jon"))
	for range 3 {
		c, err := v.Verify(t.Context(), chain)
		if err != nil {
			t.Fatal(err)
		}
		if c.UserName != "jon" {
			t.Fatalf("user name %q", c.UserName)
		}
		*c = certauth.Certificate{UserName: "admin"}
	}
}
