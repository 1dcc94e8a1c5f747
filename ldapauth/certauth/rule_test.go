package certauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what Windows hashes with
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

var (
	oidPrincipalName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	oidObjectSID     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1}
	oidSecurityID    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}
	oidUID           = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	oidDC            = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
)

const (
	jonSID = "S-1-5-21-1004336348-1177238915-682003330-1104"
	amySID = "S-1-5-21-1004336348-1177238915-682003330-1105"
	sidURI = "tag:microsoft.com,2022-09-14:sid:"
)

// A general is one alternative name.
type general func(*cryptobyte.Builder)

func otherName(id asn1.ObjectIdentifier, tag cryptobyteasn1.Tag, value string) general {
	constructed := cryptobyteasn1.Tag(0).ContextSpecific().Constructed()
	return func(b *cryptobyte.Builder) {
		b.AddASN1(constructed, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(id)
			b.AddASN1(constructed, func(b *cryptobyte.Builder) {
				b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
			})
		})
	}
}

func upn(name string) general { return otherName(oidPrincipalName, cryptobyteasn1.UTF8String, name) }

func plainName(tag uint8, value string) general {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
	}
}

func mail(address string) general { return plainName(1, address) }
func uri(text string) general     { return plainName(6, text) }

func generals(list ...general) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, g := range list {
			g(b)
		}
	})
	return b.BytesOrPanic()
}

// named adds alternative names.
func named(list ...general) func(template) {
	return withExtension(oidSubjectAltName, generals(list...))
}

// withSID adds the extension of Active Directory.
func withSID(sid string) func(template) {
	return withExtension(oidSecurityID, generals(otherName(oidObjectSID, cryptobyteasn1.OCTET_STRING, sid)))
}

func withExtension(id asn1.ObjectIdentifier, value []byte) func(template) {
	return func(c template) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Value: value})
	}
}

func rules(names ...string) certauth.Config {
	c := certauth.DefaultConfig()
	c.UserName = nil
	for _, name := range names {
		c.UserName = append(c.UserName, certauth.Rule{Name: name})
	}
	return c
}

// TestRulesFindWhatTheyAreFor, one at a time and in order.
func TestRulesFindWhatTheyAreFor(t *testing.T) {
	root := newCA(t, "Root")
	cn, none := "jon", ""
	for _, tt := range []struct {
		name   string
		rules  string
		cn     string
		mods   []func(template)
		want   string // the name
		by     string // the rule
		reason denial.Reason
		words  string
	}{
		{"a principal name", "san_upn", cn, []func(template){named(upn("jon@fabrikam.example"))}, "jon@fabrikam.example", "san_upn", "", ""},
		{"a principal name among others", "san_upn", cn, []func(template){named(mail("x@y.example"), uri("https://x.example/"), upn("jon@fabrikam.example"))}, "jon@fabrikam.example", "san_upn", "", ""},
		{"a principal name and no subject", "san_upn", none, []func(template){named(upn("jon@fabrikam.example"))}, "jon@fabrikam.example", "san_upn", "", ""},
		{"another kind of other name", "san_upn", cn, []func(template){named(otherName(oidUID, cryptobyteasn1.UTF8String, "jon@fabrikam.example"))}, "", "", denial.BadName, "no principal name"},
		{"no principal name", "san_upn", cn, nil, "", "", denial.BadName, "no principal name"},
		{"C1: two principal names", "san_upn", cn, []func(template){named(upn("jon@fabrikam.example"), upn("amy@fabrikam.example"))}, "", "", denial.AmbiguousName, "2 principal names"},
		{"C1: one principal name twice", "san_upn", cn, []func(template){named(upn("jon@fabrikam.example"), upn("jon@fabrikam.example"))}, "", "", denial.AmbiguousName, "2 principal names"},
		{"C2: a principal name with NUL", "san_upn", cn, []func(template){named(upn("jon\x00@fabrikam.example"))}, "", "", denial.BadName, `jon\x00`},
		{"C2: a principal name that is not UTF-8", "san_upn", cn, []func(template){named(upn("jon\xff@fabrikam.example"))}, "", "", denial.BadName, "UTF-8"},
		{"a principal name in another type of text", "san_upn", cn, []func(template){named(otherName(oidPrincipalName, 30, "\x00j\x00@\x00f"))}, "j@f", "san_upn", "", ""},
		{"a principal name that is no text", "san_upn", cn, []func(template){named(otherName(oidPrincipalName, cryptobyteasn1.OCTET_STRING, "jon@f.example"))}, "", "", denial.BadName, "not one of text"},
		{"a principal name without a domain", "san_upn", cn, []func(template){named(upn("jon"))}, "", "", denial.BadName, "name@domain"},
		{"a principal name with nothing behind the @", "san_upn", cn, []func(template){named(upn("jon@"))}, "", "", denial.BadName, "name@domain"},
		{"C12: a principal name with another domain in front", "san_upn", cn, []func(template){named(upn(`CORP\amy@fabrikam.example`))}, "", "", denial.BadName, "backslash"},
		{"a mail address", "san_email", cn, []func(template){named(mail("jon@fabrikam.example"))}, "jon@fabrikam.example", "san_email", "", ""},
		{"no mail address", "san_email", cn, []func(template){named(upn("jon@fabrikam.example"))}, "", "", denial.BadName, "no e-mail address"},
		{"C1: two mail addresses", "san_email", cn, []func(template){named(mail("jon@fabrikam.example"), mail("amy@fabrikam.example"))}, "", "", denial.AmbiguousName, "2 e-mail addresses"},
		{"a mail address that is none", "san_email", cn, []func(template){named(mail("@fabrikam.example"))}, "", "", denial.BadName, "name@domain"},
		{"a subject", "subject_dn", cn, []func(template){func(c template) { c.Subject.Organization = []string{"Fabrikam, Inc."} }}, `CN=jon,O=Fabrikam\, Inc.`, "subject_dn", "", ""},
		{"C1: a subject with several names is still one subject", "subject_dn", cn, []func(template){func(c template) { c.Subject.ExtraNames = cns("a", "b") }}, "CN=b,CN=a", "subject_dn", "", ""},
		{"no subject", "subject_dn", none, []func(template){named(mail("jon@fabrikam.example"))}, "", "", denial.BadName, "no subject"},
		{"C2: a subject with what does not show", "subject_dn", "jo\u202en", nil, "", "", denial.BadName, "U+202E"},
		{"a security identifier", "sid", cn, []func(template){withSID(jonSID)}, jonSID, "sid", "", ""},
		{"a security identifier as a URI", "sid", cn, []func(template){named(uri(sidURI + jonSID))}, jonSID, "sid", "", ""},
		{"both, the same", "sid", cn, []func(template){withSID(jonSID), named(uri(sidURI + jonSID))}, jonSID, "sid", "", ""},
		{"C6: both, not the same", "sid", cn, []func(template){withSID(jonSID), named(uri(sidURI + amySID))}, "", "", denial.AmbiguousName, "two security identifiers"},
		{"C6: two URIs", "sid", cn, []func(template){named(uri(sidURI+jonSID), uri(sidURI+jonSID))}, "", "", denial.AmbiguousName, "2 security identifiers"},
		{"no security identifier", "sid", cn, nil, "", "", denial.BadName, "no security identifier"},
		{"C6: an identifier that is none, though it is no rule", "subject_cn", cn, []func(template){withSID("S-1-5-21-x")}, "", "", denial.BadName, "is not a security identifier"},
		{"C6: an extension that cannot be read, though it is no rule", "subject_cn", cn, []func(template){withExtension(oidSecurityID, []byte("\x30\x00"))}, "", "", denial.BadName, "cannot be read"},
		{"C6: two in the extension", "sid", cn, []func(template){withExtension(oidSecurityID, generals(otherName(oidObjectSID, 4, jonSID), otherName(oidObjectSID, 4, jonSID)))}, "", "", denial.BadName, "cannot be read"},
		{"the first that finds something", "sid san_upn subject_cn", cn, []func(template){named(upn("jon@fabrikam.example"))}, "jon@fabrikam.example", "san_upn", "", ""},
		{"the last", "sid san_upn subject_cn", cn, nil, cn, "subject_cn", "", ""},
		{"none", "sid san_upn subject_cn", none, []func(template){named(mail("jon@fabrikam.example"))}, "", "", denial.BadName, "no security identifier, no principal name, no common name"},
		{"one that finds too much ends it", "san_upn subject_cn", cn, []func(template){named(upn("jon@a.example"), upn("jon@b.example"))}, "", "", denial.AmbiguousName, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := verifierWith(t, rules(strings.Fields(tt.rules)...), root)
			mods := append([]func(template){func(c template) { c.Subject.CommonName = tt.cn }}, tt.mods...)
			chain := sent(client(t, root, "jon", mods...))
			if tt.reason != "" {
				wantReason(t, v, chain, tt.reason, tt.words)
				return
			}
			for range 2 { // the second is remembered
				c := must(v.Verify(t.Context(), chain))(t)
				if c.UserName != tt.want || c.Rule != tt.by {
					t.Errorf("name = %q by %q, want %q by %q", c.UserName, c.Rule, tt.want, tt.by)
				}
			}
		})
	}
}

// TestC6_TheNameThatWouldHaveDecidedIsGivenAlong with a security identifier, for
// the account to be compared with.
func TestC6_TheNameThatWouldHaveDecidedIsGivenAlong(t *testing.T) {
	root := newCA(t, "Root")
	chain := sent(client(t, root, "jon", withSID(jonSID), named(upn("jon@fabrikam.example"))))
	for _, tt := range []struct {
		rules string
		want  *certauth.Name
	}{
		{"sid", nil},
		{"sid san_upn subject_cn", &certauth.Name{Rule: "san_upn", Text: "jon@fabrikam.example"}},
		{"sid san_email subject_cn", &certauth.Name{Rule: "subject_cn", Text: "jon"}},
		{"sid alt_security_identities", nil},
		{"san_upn sid subject_cn", nil},
	} {
		c := must(verifierWith(t, rules(strings.Fields(tt.rules)...), root).Verify(t.Context(), chain))(t)
		if c.SID != jonSID || (c.Other == nil) != (tt.want == nil) || c.Other != nil && *c.Other != *tt.want {
			t.Errorf("%s: SID %s and %+v, want %+v", tt.rules, c.SID, c.Other, tt.want)
		}
	}
	twice := sent(client(t, root, "jon", withSID(jonSID), named(upn("jon@a.example"), upn("jon@b.example"))))
	wantReason(t, verifierWith(t, rules("sid", "san_upn"), root), twice, denial.AmbiguousName)
	wantReason(t, verifierWith(t, rules("sid"), root), sent(client(t, root, "jon", withSID("S-1-5-21-1-2-3-99999999999"))), denial.BadName)
}

// TestC7_IdentitiesAreWrittenAsWindowsWritesThem: the issuer from the top, the
// bytes of the serial number in reverse.
func TestC7_IdentitiesAreWrittenAsWindowsWritesThem(t *testing.T) {
	dc := func(s string) pkix.AttributeTypeAndValue { return pkix.AttributeTypeAndValue{Type: oidDC, Value: s} }
	root := newCA(t, "Root", func(c template) {
		c.Subject = pkix.Name{ExtraNames: append([]pkix.AttributeTypeAndValue{dc("com"), dc("contoso")}, cns("CONTOSO-DC-CA")...)}
	})
	serial, _ := new(big.Int).SetString("2B0000000011AC0000000012", 16)
	leaf := client(t, root, "jon", named(mail("jon@contoso.com")), func(c template) {
		c.SerialNumber = serial
		c.SubjectKeyId = []byte{0x12, 0xab}
		c.Subject = pkix.Name{ExtraNames: append([]pkix.AttributeTypeAndValue{dc("com")}, cns(`Smith, "Jon"`)...)}
	})
	key := must(leaf.Certificate.PublicKey.(*ecdsa.PublicKey).ECDH())(t).Bytes()
	sum := sha1.Sum(key) //nolint:gosec // what Windows hashes with
	strong := []string{
		"X509:<I>DC=com,DC=contoso,CN=CONTOSO-DC-CA<SR>1200000000ac11000000002b",
		"X509:<SKI>12ab",
		"X509:<SHA1-PUKEY>" + hex.EncodeToString(sum[:]),
	}
	weak := []string{
		`X509:<I>DC=com,DC=contoso,CN=CONTOSO-DC-CA<S>DC=com,CN="Smith, ""Jon"""`,
		`X509:<S>DC=com,CN="Smith, ""Jon"""`,
		"X509:<RFC822>jon@contoso.com",
	}
	c := rules("alt_security_identities")
	got := must(verifierWith(t, c, root).Verify(t.Context(), sent(leaf)))(t)
	if strings.Join(got.Identities, "\n") != strings.Join(strong, "\n") || got.WeakIdentities != nil || got.UserName != strong[0] {
		t.Errorf("got %q and %q, want %q alone", got.Identities, got.WeakIdentities, strong)
	}
	c.AllowWeakMapping = true
	got = must(verifierWith(t, c, root).Verify(t.Context(), sent(leaf)))(t)
	if strings.Join(got.Identities, "\n") != strings.Join(strong, "\n") || strings.Join(got.WeakIdentities, "\n") != strings.Join(weak, "\n") {
		t.Errorf("got %q and %q, want %q and %q", got.Identities, got.WeakIdentities, strong, weak)
	}
}

// caFile writes certificates to a file.
func caFile(t testing.TB, certs ...*x509.Certificate) setting.File {
	t.Helper()
	var text strings.Builder
	for _, c := range certs {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	return write(t, text.String())
}

func verifierOf(t testing.TB, c certauth.Config) *certauth.Verifier {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return certauth.New(c, must(c.LoadAnchors())(t))
}

// TestC8_AnAuthoritysCertificatesObeyItsRulesAlone: one for devices can sign in
// nobody by a common name, whatever way its certificates come.
func TestC8_AnAuthoritysCertificatesObeyItsRulesAlone(t *testing.T) {
	people, devices := newCA(t, "Fabrikam CA"), newCA(t, "Fabrikam CA") // told apart by their keys
	issuing := intermediate(t, devices, "Issuing")
	// An authority that is trusted for people vouches for the one for devices.
	cross := must(people.Certify(devices.Certificate, devices.Key.Public()))(t)
	c := rules("subject_cn")
	c.CAFiles = []setting.File{caFile(t, people.Certificate)}
	c.Authorities = []certauth.Authority{{CAFile: caFile(t, devices.Certificate), UserName: []certauth.Rule{{Name: "san_upn"}}, RequireStrong: true}}
	v := verifierOf(t, c)

	wantName(t, v, sent(client(t, people, "admin")), "admin")
	wantReason(t, v, sent(client(t, devices, "admin")), denial.BadName, "no principal name")
	below := sent(client(t, issuing, "admin"))
	wantReason(t, v, below, denial.BadName, "no principal name")
	for _, chain := range [][]*x509.Certificate{
		append(sent(client(t, devices, "admin")), cross),
		append(below, cross),
		append(below, cross, devices.Certificate),
		append(below, devices.Certificate, cross),
	} {
		wantReason(t, v, chain, denial.BadName, "no principal name")
	}
	got := must(v.Verify(t.Context(), sent(client(t, issuing, "x", named(upn("pc@fabrikam.example"))))))(t)
	if got.UserName != "pc@fabrikam.example" || got.Authority != 1 || !got.MustBeStrong {
		t.Errorf("%q by authority %d, must be strong: %v", got.UserName, got.Authority, got.MustBeStrong)
	}
	if got := must(v.Verify(t.Context(), sent(client(t, people, "jon"))))(t); got.Authority != 0 || got.MustBeStrong {
		t.Errorf("another authority's: %+v", got)
	}

	t.Run("an issuing authority that is listed itself", func(t *testing.T) {
		c := rules("subject_cn")
		c.CAFiles = []setting.File{caFile(t, devices.Certificate)}
		c.Authorities = []certauth.Authority{{CAFile: caFile(t, issuing.Certificate), UserName: []certauth.Rule{{Name: "sid"}}}}
		wantReason(t, verifierOf(t, c), below, denial.BadName, "no security identifier")
	})
	t.Run("certified by another when its own certificate has ended", func(t *testing.T) {
		now := time.Now()
		old := newCA(t, "Old", between(now.Add(-2*time.Hour), now.Add(-time.Hour)))
		cross := must(people.Certify(newCA(t, "Old").Certificate, old.Key.Public()))(t)
		chain := append(sent(client(t, old, "admin")), cross)
		c := rules("subject_cn")
		c.CAFiles = []setting.File{caFile(t, people.Certificate)}
		wantName(t, verifierOf(t, c), chain, "admin")
		c.Authorities = []certauth.Authority{{CAFile: caFile(t, old.Certificate), UserName: []certauth.Rule{{Name: "sid"}}}}
		wantReason(t, verifierOf(t, c), chain, denial.BadName, "no security identifier")
	})
	t.Run("in two places with other rules", func(t *testing.T) {
		c := rules("subject_cn")
		c.Authorities = []certauth.Authority{{CAFile: caFile(t, devices.Certificate)}, {CAFile: caFile(t, people.Certificate, cross)}}
		if _, err := c.LoadAnchors(); err == nil || !strings.Contains(err.Error(), "authorities[1].ca_file: ") || !strings.Contains(err.Error(), "authorities[0] too") {
			t.Errorf("got %v, want an error of the second", err)
		}
	})
	t.Run("a file that is not there", func(t *testing.T) {
		c := rules("subject_cn")
		c.Authorities = []certauth.Authority{{CAFile: setting.File(filepath.Join(t.TempDir(), "none"))}}
		if _, err := c.LoadAnchors(); err == nil || !strings.HasPrefix(err.Error(), "authorities[0].ca_file: ") {
			t.Errorf("got %v", err)
		}
	})
}

// policy makes certificates be issued under policies.
func policy(ids ...string) func(template) {
	return func(c template) {
		for _, text := range ids {
			id, err := x509.ParseOID(text)
			if err != nil {
				panic(err)
			}
			c.Policies = append(c.Policies, id)
		}
	}
}

func TestPoliciesHoldAlongThePath(t *testing.T) {
	const high, low, anyPolicy = "1.3.6.1.4.1.99999.1.2", "1.3.6.1.4.1.99999.1.1", "2.5.29.32.0"
	root := newCA(t, "Root")
	free, cards, plain := intermediate(t, root, "Free", policy(anyPolicy)), intermediate(t, root, "Cards", policy(high)), intermediate(t, root, "Plain")
	common := rules("subject_cn")
	common.Policies = []string{"1.2.3", high}
	own := rules("subject_cn")
	own.Policies = []string{"1.2.3"}
	own.Authorities = []certauth.Authority{{CAFile: caFile(t, root.Certificate), Policies: []string{high}}}
	common.CAFiles = []setting.File{caFile(t, root.Certificate)}
	for name, c := range map[string]certauth.Config{"for all": common, "for an authority": own} {
		v := verifierOf(t, c)
		for _, tt := range []struct {
			name   string
			leaf   *testca.Leaf
			reason denial.Reason
		}{
			{"directly below the root", client(t, root, "jon", policy(high)), ""},
			{"one of several", client(t, root, "jon", policy(low, high)), ""},
			{"an issuer that may do anything", client(t, free, "jon", policy(high)), ""},
			{"an issuer that may do just that", client(t, cards, "jon", policy(high)), ""},
			{"a critical principal name", client(t, cards, "jon", policy(high), criticalPrincipalName), ""},
			{"smart card", client(t, cards, "jon", policy(high), smartCardOnly), ""},
			{"none", client(t, root, "jon"), denial.WrongPolicy},
			{"another", client(t, free, "jon", policy(low)), denial.WrongPolicy},
			{"an issuer that may do something else", client(t, cards, "jon", policy(low)), denial.WrongPolicy},
			{"an issuer that may do nothing", client(t, plain, "jon", policy(high)), denial.WrongPolicy},
		} {
			t.Run(name+", "+tt.name, func(t *testing.T) {
				if tt.reason != "" {
					wantReason(t, v, sent(tt.leaf), tt.reason)
				} else {
					wantName(t, v, sent(tt.leaf), "jon")
				}
			})
		}
	}
}

// TestKindsOfKeysThatAreAccepted, in leaves and in authorities.
func TestKindsOfKeysThatAreAccepted(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"RSA 4096": must(rsa.GenerateKey(rand.Reader, 4096))(t),
		"P-384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t),
		"P-521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t),
		"Ed25519":  edwards,
	} {
		root := must(testca.NewWithKey("Root "+name, key))(t)
		wantName(t, verifier(t, root), sent(withKey(t, root, key)), "jon")
		c := rules("alt_security_identities")
		got := must(verifierWith(t, c, root).Verify(t.Context(), sent(withKey(t, root, key))))(t)
		if len(got.Identities) != 2 || !strings.HasPrefix(got.Identities[0], "X509:<I>CN=Root "+name+"<SR>") {
			t.Errorf("%s: %q", name, got.Identities)
		}
	}
}

// TestB4_AListedAuthorityIsComparedWhole: a certificate that bears the name and
// even the key identifier of a trusted one is another one.
func TestB4_AListedAuthorityIsComparedWhole(t *testing.T) {
	good := newCA(t, "Devices", func(c template) { c.SubjectKeyId = []byte{1, 2, 3} })
	forged := newCA(t, "Devices", func(c template) {
		c.SubjectKeyId, c.SerialNumber = []byte{1, 2, 3}, good.Certificate.SerialNumber
	})
	c := rules("subject_cn")
	c.Authorities = []certauth.Authority{{CAFile: caFile(t, good.Certificate)}}
	v := verifierOf(t, c)
	wantName(t, v, sent(client(t, good, "jon")), "jon")
	wantReason(t, v, sent(client(t, forged, "jon")), denial.Untrusted)
	wantReason(t, v, append(sent(client(t, forged, "jon")), good.Certificate, forged.Certificate), denial.Untrusted)
}

// BenchmarkRules is the first sight of a certificate by each of the rules. At
// later sign-ins what they found is remembered with the chain.
func BenchmarkRules(b *testing.B) {
	root := newCA(b, "Root")
	leaf := client(b, root, "jon", withSID(jonSID), named(upn("jon@fabrikam.example"), mail("jon@fabrikam.example")))
	for _, name := range []string{"subject_cn", "san_upn", "san_email", "subject_dn", "sid", "alt_security_identities"} {
		list := anchors(b, root.Certificate)
		c := rules(name)
		c.AllowWeakMapping = true
		v := certauth.New(c, list)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.SetAnchors(list) // forgets
				if _, err := v.Verify(b.Context(), sent(leaf)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+" again", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), sent(leaf)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
