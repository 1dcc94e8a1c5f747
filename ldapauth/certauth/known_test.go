package certauth_test

import (
	"crypto/x509"
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
	wantName(t, v, []*x509.Certificate{good[0], good[1], stranger}, "jon")
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
		c, err := v.Verify(chain)
		if err != nil {
			t.Fatal(err)
		}
		if c.UserName != "jon" {
			t.Fatalf("user name %q", c.UserName)
		}
		*c = certauth.Certificate{UserName: "admin"}
	}
}
