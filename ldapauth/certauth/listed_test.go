package certauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

func selfSigned(t testing.TB, name string, mods ...func(template)) *testca.Leaf {
	t.Helper()
	return must(testca.SelfSigned(name, mods...))(t)
}

// listing accepts the entries, and with authorities their certificates too.
func listing(t testing.TB, change func(*certauth.Config), entries []certauth.ListedFile, cas ...*testca.CA) *certauth.Verifier {
	t.Helper()
	c := certauth.DefaultConfig()
	c.Accept, c.SelfSignedFiles = "self_signed", entries
	if len(cas) > 0 {
		c.Accept = "all"
	}
	if change != nil {
		change(&c)
	}
	v := certauth.New(c, nil)
	if len(cas) > 0 {
		v = verifierWith(t, c, cas...)
	}
	v.SetListed(must(certauth.LoadListed(&c))(t))
	return v
}

func entry(t testing.TB, user string, certs ...*x509.Certificate) certauth.ListedFile {
	t.Helper()
	var text strings.Builder
	for _, c := range certs {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return certauth.ListedFile{File: write(t, text.String()), User: user}
}

func entries(e ...certauth.ListedFile) []certauth.ListedFile { return e }

func TestAListedCertificateIsAcceptedForWhatItSaysOrForWhomItIsListed(t *testing.T) {
	jon, anybody := selfSigned(t, "jon"), selfSigned(t, "Device 7")
	stranger := client(t, newCA(t, "Elsewhere"), "amy") // pinned: its authority is not trusted
	der := certauth.ListedFile{File: write(t, string(jon.Certificate.Raw))}
	v := listing(t, nil, entries(der, entry(t, `CORP\dora`, anybody.Certificate), entry(t, "", stranger.Certificate)))
	wantName(t, v, sent(jon), "jon")
	wantName(t, v, sent(stranger), "amy")
	c, err := v.Verify(t.Context(), sent(anybody))
	if err != nil || c.UserName != `CORP\dora` || c.Rule != certauth.RuleListed || c.Subject != "CN=Device 7" {
		t.Errorf("%+v, %v", c, err)
	}
	again, err := v.VerifyAgain(t.Context(), c)
	if err != nil || again.UserName != c.UserName {
		t.Errorf("judged again: %+v, %v", again, err)
	}
}

func TestAcceptSaysWhoIsLetIn(t *testing.T) {
	ca := newCA(t, "Users")
	chained, listed, other := client(t, ca, "jon"), selfSigned(t, "amy"), selfSigned(t, "amy")
	for _, tt := range []struct {
		accept          string
		chained, listed bool
	}{{"chained", true, false}, {"self_signed", false, true}, {"all", true, true}} {
		t.Run(tt.accept, func(t *testing.T) {
			files := entries(entry(t, "", listed.Certificate))
			if tt.accept == "chained" {
				files = nil
			}
			v := listing(t, func(c *certauth.Config) { c.Accept = tt.accept }, files, ca)
			if _, err := v.Verify(t.Context(), sent(chained)); (err == nil) != tt.chained {
				t.Errorf("a chained one: %v", err)
			}
			if _, err := v.Verify(t.Context(), sent(listed)); (err == nil) != tt.listed {
				t.Errorf("a listed one: %v", err)
			}
			wantReason(t, v, sent(other), denial.Untrusted)
		})
	}
}

// TestB4_OnlyTheListedBytesAreAccepted: whatever can be the same in a
// certificate of somebody else's making is not what counts.
func TestB4_OnlyTheListedBytesAreAccepted(t *testing.T) {
	jon := selfSigned(t, "jon", func(c template) { c.SerialNumber, c.SubjectKeyId = big.NewInt(7), []byte("key id") })
	v := listing(t, nil, entries(entry(t, "", jon.Certificate)))
	wantName(t, v, sent(jon), "jon")
	same := func(c template) {
		c.SerialNumber, c.SubjectKeyId = big.NewInt(7), []byte("key id")
		c.NotBefore, c.NotAfter = jon.Certificate.NotBefore, jon.Certificate.NotAfter
	}
	reissued := func(mods ...func(template)) []*x509.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "jon"}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: jon.Certificate.NotBefore, NotAfter: jon.Certificate.NotAfter,
		}
		for _, mod := range mods {
			mod(template)
		}
		der := must(x509.CreateCertificate(rand.Reader, template, template, jon.Key.Public(), jon.Key))(t)
		return []*x509.Certificate{must(x509.ParseCertificate(der))(t)}
	}
	wantReason(t, v, sent(selfSigned(t, "jon", same)), denial.Untrusted, "self_signed_files")                          // another key
	wantReason(t, v, reissued(), denial.Untrusted)                                                                     // the same key, signed anew
	wantReason(t, v, reissued(func(c template) { c.Subject.CommonName = "admin" }), denial.Untrusted)                  // ... for somebody else
	wantReason(t, v, append(reissued(), jon.Certificate), denial.Untrusted)                                            // with the listed one behind it
	ca := newCA(t, "jon", func(c template) { c.SubjectKeyId = []byte("key id") })                                      // an authority of that name
	wantReason(t, v, sent(client(t, ca, "jon")), denial.Untrusted)                                                     // ... issues
	issuer := &testca.CA{Certificate: jon.Certificate, Key: jon.Key}                                                   // the holder issues
	wantReason(t, v, append(sent(client(t, issuer, "admin")), jon.Certificate), denial.Untrusted, "self_signed_files") // listed is not trusted to issue
	both := listing(t, nil, entries(entry(t, "", jon.Certificate)), newCA(t, "Users"))
	wantReason(t, both, append(sent(client(t, issuer, "admin")), jon.Certificate), denial.Untrusted)
}

// TestB8_SelfSignedInTheNameOfATrustedAuthority is refused unless it is listed.
func TestB8_SelfSignedInTheNameOfATrustedAuthority(t *testing.T) {
	ca := newCA(t, "Users")
	forged := selfSigned(t, "Users", func(c template) { c.SubjectKeyId = ca.Certificate.SubjectKeyId })
	asCA := newCA(t, "Users", func(c template) { c.SubjectKeyId = ca.Certificate.SubjectKeyId })
	other := entry(t, "", selfSigned(t, "amy").Certificate)
	for name, v := range map[string]*certauth.Verifier{
		"chained": verifier(t, ca), "all": listing(t, nil, entries(other), ca), "self_signed": listing(t, nil, entries(other)),
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, v, sent(forged), denial.Untrusted)
			wantReason(t, v, append(sent(forged), ca.Certificate), denial.Untrusted)
			wantReason(t, v, sent(client(t, asCA, "jon")), denial.Untrusted)
			wantReason(t, v, append(sent(client(t, asCA, "jon")), asCA.Certificate), denial.Untrusted)
		})
	}
}

func TestAListedCertificateIsCheckedLikeAnyOther(t *testing.T) {
	now := time.Now()
	noUsage := func(c template) { c.ExtKeyUsage = nil }
	asCA := func(c template) { c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign }
	twoNames := func(c template) {
		c.Subject = pkix.Name{CommonName: "jon", ExtraNames: []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: "jon"}, {Type: []int{2, 5, 4, 3}, Value: "amy"}}}
	}
	for _, tt := range []struct {
		name   string
		change func(template)
		want   denial.Reason
	}{
		{"expired", between(now.Add(-2*time.Hour), now.Add(-time.Second)), denial.Expired},
		{"not yet valid", between(now.Add(time.Minute), now.Add(time.Hour)), denial.NotYetValid},
		{"two names", twoNames, denial.AmbiguousName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := selfSigned(t, "jon", tt.change)
			wantReason(t, listing(t, nil, entries(entry(t, "", l.Certificate))), sent(l), tt.want)
		})
	}
	t.Run("time, if it is to be checked", func(t *testing.T) {
		l := selfSigned(t, "jon", between(now.Add(-2*time.Hour), now.Add(-time.Second)))
		wantName(t, listing(t, func(c *certauth.Config) { c.CheckValidity = false }, entries(entry(t, "", l.Certificate))), sent(l), "jon")
	})
	// What will never be let in is a mistake that is told at the start.
	for name, tt := range map[string]struct {
		change func(template)
		key    crypto.Signer
		want   string
	}{
		"no usage":     {noUsage, nil, "neither clientAuth nor smart-card logon in its extended key usage: have it made anew"},
		"an authority": {asCA, nil, "is that of an authority"},
		"RSA 1024":     {nil, must(rsa.GenerateKey(rand.Reader, 1024))(t), "RSA key of 1024 bits"},
		"P-224":        {nil, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))(t), "P-224"},
		"critical": {func(c template) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, nil, "critical extension"},
	} {
		t.Run(name, func(t *testing.T) {
			l := selfSigned(t, "jon", func(c template) {
				if tt.change != nil {
					tt.change(c)
				}
			})
			if tt.key != nil {
				l = must((&testca.CA{Certificate: l.Certificate, Key: l.Key}).Issue(l.Certificate, tt.key))(t)
			}
			c := certauth.DefaultConfig()
			c.SelfSignedFiles = entries(entry(t, "", l.Certificate))
			wantProblem(t, &c, "self_signed_files[0]: ", tt.want)
		})
	}
	t.Run("usage, if it is to be checked", func(t *testing.T) {
		l := selfSigned(t, "jon", asCA)
		wantName(t, listing(t, func(c *certauth.Config) { c.CheckUsage = false }, entries(entry(t, "", l.Certificate))), sent(l), "jon")
	})
}

func wantProblem(t *testing.T, c *certauth.Config, key, want string) {
	t.Helper()
	l, err := certauth.LoadListed(c)
	if l != nil || err == nil || !strings.HasPrefix(err.Error(), key) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, %v, want %s...%s", l, err, key, want)
	}
}

func TestListedFilesAreTakenAllOrNone(t *testing.T) {
	jon := selfSigned(t, "jon")
	good := entry(t, "", jon.Certificate)
	for name, tt := range map[string]struct {
		entry certauth.ListedFile
		want  string
	}{
		"missing":          {certauth.ListedFile{File: setting.File(t.TempDir() + "/none.crt")}, "correct the path"},
		"empty":            {certauth.ListedFile{File: write(t, "")}, "is empty"},
		"a key":            {certauth.ListedFile{File: write(t, string(jon.KeyPEM()))}, `holds a PEM block "PRIVATE KEY"`},
		"no certificate":   {certauth.ListedFile{File: write(t, "hello")}, "neither PEM nor DER"},
		"of somebody else": {entry(t, "amy", jon.Certificate), "for somebody else"},
	} {
		t.Run(name, func(t *testing.T) {
			c := certauth.DefaultConfig()
			c.SelfSignedFiles = entries(good, tt.entry)
			wantProblem(t, &c, "self_signed_files[1]: ", tt.want)
		})
	}
	c := certauth.DefaultConfig()
	c.SelfSignedFiles = entries(good, good, entry(t, "", jon.Certificate, selfSigned(t, "amy").Certificate))
	l := must(certauth.LoadListed(&c))(t)
	if n := len(l.Certificates()); n != 2 {
		t.Errorf("%d certificates, want each once", n)
	}
}

// TestA3_WhatIsNoLongerListedIsNoLongerAccepted, not even for a session.
func TestA3_WhatIsNoLongerListedIsNoLongerAccepted(t *testing.T) {
	jon, amy := selfSigned(t, "jon"), selfSigned(t, "amy")
	v := listing(t, nil, entries(entry(t, "", jon.Certificate, amy.Certificate)))
	kept := must(v.Verify(t.Context(), sent(jon)))(t)
	c := certauth.DefaultConfig()
	c.SelfSignedFiles = entries(entry(t, "", amy.Certificate))
	v.SetListed(must(certauth.LoadListed(&c))(t))
	wantReason(t, v, sent(jon), denial.Untrusted)
	if _, err := v.VerifyAgain(t.Context(), kept); denial.ReasonOf(err) != denial.Untrusted {
		t.Errorf("a session: %v", err)
	}
	wantName(t, v, sent(amy), "amy")
}

// TestBrowsersAreToldWhomToOffer checks that the name which a browser looks for
// in the issuer of its certificates is there, for each kind of them.
func TestBrowsersAreToldWhomToOffer(t *testing.T) {
	ca, elsewhere := newCA(t, "Users"), newCA(t, "Elsewhere")
	own, pinned := selfSigned(t, "jon"), client(t, elsewhere, "amy")
	files := entries(entry(t, "", own.Certificate), entry(t, "", pinned.Certificate))
	has := func(v *certauth.Verifier, raw []byte) bool {
		return slices.ContainsFunc(v.Names().Subjects(), func(s []byte) bool { return string(s) == string(raw) }) //nolint:staticcheck // not the system's
	}
	all, only := listing(t, nil, files, ca), listing(t, nil, files)
	for _, raw := range [][]byte{own.Certificate.RawSubject, elsewhere.Certificate.RawSubject} {
		if !has(all, raw) || !has(only, raw) {
			t.Errorf("%q is not named", raw)
		}
	}
	if !has(all, ca.Certificate.RawSubject) || has(only, ca.Certificate.RawSubject) {
		t.Error("an authority is named exactly where its certificates are accepted")
	}
	if n := len(verifier(t, ca).Names().Subjects()); n != 1 { //nolint:staticcheck // not the system's
		t.Errorf("%d names with nothing listed", n)
	}
}
