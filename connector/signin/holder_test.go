package signin_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
)

// A teller is a verifier that takes any chain for the certificate that it is.
type teller certauth.Certificate

func (v *teller) Verify(context.Context, []*x509.Certificate) (*certauth.Certificate, error) {
	c := certauth.Certificate(*v)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	return &c, nil
}

func (v *teller) VerifyAgain(ctx context.Context, _ *certauth.Certificate) (*certauth.Certificate, error) {
	return v.Verify(ctx, nil)
}

// TestC6_WhatACertificateSaysIsHeldAgainstTheAccount by every rule, in a real
// directory, and is in the identity and in the audit line.
func TestC6_WhatACertificateSaysIsHeldAgainstTheAccount(t *testing.T) {
	const jonsSID, amysSID = "S-1-5-21-1-2-3-1104", "S-1-5-21-1-2-3-1105"
	server, client := company(t, memdir.ActiveDirectory)
	for name, attributes := range map[string]map[string][]string{
		"jon": {"objectSid": {jonsSID}, "altSecurityIdentities": {"X509:<SKI>12ab"}},
		"amy": {"objectSid": {amysSID}},
	} {
		a, err := client.FindByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Update(a.DN, attributes); err != nil {
			t.Fatal(err)
		}
	}
	upn := "jon@fabrikam.example"
	for _, tt := range []struct {
		name   string
		c      teller
		user   string
		strong bool
		reason denial.Reason
	}{
		{"a name", teller{Rule: "subject_cn", UserName: "jon"}, "jon", false, ""},
		{"a principal name", teller{Rule: "san_upn", UserName: upn}, "jon", false, ""},
		{"a name with the right identifier", teller{Rule: "san_upn", UserName: upn, SID: jonsSID}, "jon", true, ""},
		{"C6: a name with another's identifier", teller{Rule: "san_upn", UserName: upn, SID: amysSID}, "", false, denial.SIDMismatch},
		{"an identifier", teller{Rule: "sid", UserName: amysSID, SID: amysSID}, "amy", true, ""},
		{"C6: an identifier with another's name", teller{Rule: "sid", UserName: amysSID, SID: amysSID, Other: &certauth.Name{Rule: "san_upn", Text: upn}}, "", false, denial.SIDMismatch},
		{"a mail address", teller{Rule: "san_email", UserName: "amy@fabrikam.example"}, "amy", false, ""},
		{"the name of an entry", teller{Rule: "subject_dn", UserName: "CN=Amy Reed,OU=Staff," + base}, "amy", false, ""},
		{"a filter", teller{Rule: "subject_cn", UserName: "Amy Reed", Filter: "(displayName={0})"}, "amy", false, ""},
		{"a strong identity", teller{Rule: "alt_security_identities", UserName: "X509:<SKI>12ab", Identities: []string{"X509:<SKI>12ab"}}, "jon", true, ""},
		{"a weak identity", teller{Rule: "alt_security_identities", UserName: "x", WeakIdentities: []string{"X509:<SKI>12ab"}}, "jon", false, ""},
		{"no identity", teller{Rule: "alt_security_identities", UserName: "x", Identities: []string{"X509:<SKI>12"}}, "", false, denial.NoAccount},
		{"a weak one where it must be strong", teller{Rule: "subject_cn", UserName: "jon", MustBeStrong: true}, "", false, denial.WeakMapping},
		{"C5: one from before the account", teller{Rule: "subject_cn", UserName: "jon", MustBeYounger: true}, "jon", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, signin.Options{Directory: client, Verifier: &tt.c})
			id, err := d.SignIn(t.Context(), certificate())
			if denial.ReasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
				t.Fatalf("got %v, want %q", err, tt.reason)
			}
			line := d.lastLine(t)
			seen, _ := line["certificate"].(map[string]any)
			if tt.reason != "" {
				if line["reason"] != string(tt.reason) || seen["rule"] != tt.c.Rule || seen["strength"] != nil {
					t.Errorf("audit line: %v", line)
				}
				return
			}
			if id.Username != tt.user || id.Certificate.Strong != tt.strong || seen["strength"] != id.Certificate.Strength() || line["user"] != tt.c.UserName {
				t.Errorf("%s, strong %v; audit line %v; want %s, %v", id.Username, id.Certificate.Strong, line, tt.user, tt.strong)
			}
			again, err := d.SignIn(t.Context(), session(id))
			if err != nil || again.Certificate.Strong != tt.strong {
				t.Errorf("its session: %+v, %v", again, err)
			}
		})
	}

	t.Run("a session ends with the entry in the account", func(t *testing.T) {
		d := open(t, signin.Options{Directory: client, Verifier: &teller{Rule: "alt_security_identities", UserName: "x", Identities: []string{"X509:<SKI>12ab"}}})
		id, err := d.SignIn(t.Context(), certificate())
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Update("CN=Jon Smith,OU=Staff,"+base, map[string][]string{"altSecurityIdentities": nil}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.SignIn(t.Context(), session(id)); denial.ReasonOf(err) != denial.NoAccount {
			t.Errorf("got %v", err)
		}
	})
}

// TestC8_AnAuthoritysCertificatesAreAcceptedFromItsAddressesOnly.
func TestC8_AnAuthoritysCertificatesAreAcceptedFromItsAddressesOnly(t *testing.T) {
	accounts := staff(t)
	c := &teller{Rule: "subject_cn", UserName: "jon", Authority: 2}
	dir := &directory{accounts: accounts}
	d := open(t, signin.Options{
		Directory: dir, Verifier: c,
		AuthoritiesFrom: []*iprange.Set{nil, iprange.New(iprange.MustParse("10.20.0.0/16"))},
	})
	from := func(address string) error {
		a := certificate()
		a.Remote = netip.MustParseAddr(address)
		_, err := d.SignIn(t.Context(), a)
		return err
	}
	if err := from("10.20.1.1"); err != nil {
		t.Errorf("from its addresses: %v", err)
	}
	before := dir.finds.Load()
	if err := from("10.21.1.1"); denial.ReasonOf(err) != denial.NotAllowedHere || dir.finds.Load() != before {
		t.Errorf("from elsewhere: %v", err)
	}
	if line := d.lastLine(t); line["reason"] != "not_allowed_here" || line["certificate"] == nil {
		t.Errorf("audit line: %v", line)
	}
	for _, n := range []int{0, 1} {
		if c.Authority = n; from("10.21.1.1") != nil {
			t.Errorf("authority %d: refused", n)
		}
	}
}

// TestACertificateThatCannotBeComparedIsAFault and no reason to let anybody in.
func TestACertificateThatCannotBeComparedIsAFault(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		dir := &directory{accounts: accounts}
		d := open(t, signin.Options{Directory: dir, Verifier: verifier{name: "jon"}})
		id, err := d.SignIn(t.Context(), certificate())
		if err != nil {
			t.Fatal(err)
		}
		dir.judgeErr = errors.New("no objectSid")
		for _, a := range []signin.Attempt{certificate(), session(id)} {
			if _, err := d.SignIn(t.Context(), a); err == nil || denial.ReasonOf(err) != "" {
				t.Errorf("%s: %v, want a fault", a.Credential.Method(), err)
			}
		}
	})
}
