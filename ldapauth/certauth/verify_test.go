package certauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/testca"
)

var (
	oidSmartCardLogon = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}
	oidKeyUsage       = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCommonName     = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganization   = asn1.ObjectIdentifier{2, 5, 4, 10}
)

func TestVerifyTellsWhatTheLeafSays(t *testing.T) {
	root := newCA(t, "Root")
	ca := intermediate(t, root, "Issuing", func(c template) { c.Subject.Organization = []string{"Fabrikam, Inc."} })
	leaf := client(t, ca, "jon", func(c template) { c.SerialNumber = big.NewInt(0xabc) })
	got := must(verifier(t, root).Verify(t.Context(), sent(leaf)))(t)
	sum := sha256.Sum256(leaf.Certificate.Raw)
	want := &certauth.Certificate{
		UserName:   "jon",
		Rule:       "subject_cn",
		Subject:    "CN=jon",
		Issuer:     `CN=Issuing,O=Fabrikam\, Inc.`,
		Serial:     "0abc",
		Thumbprint: hex.EncodeToString(sum[:]),
		NotBefore:  leaf.Certificate.NotBefore,
		NotAfter:   leaf.Certificate.NotAfter,
		Path:       [][]byte{leaf.Certificate.Raw, ca.Certificate.Raw},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryCertificateOfCAFilesIsAnAnchor(t *testing.T) {
	root := newCA(t, "Root")
	ca := intermediate(t, root, "Issuing")
	below := intermediate(t, ca, "Below")
	leaf := client(t, below, "jon")
	t.Run("root, intermediates sent", func(t *testing.T) {
		wantName(t, verifier(t, root), sent(leaf), "jon")
	})
	t.Run("intermediates in any order, with strangers between", func(t *testing.T) {
		chain := []*x509.Certificate{leaf.Certificate, ca.Certificate, newCA(t, "Other").Certificate, below.Certificate}
		wantName(t, verifier(t, root), chain, "jon")
	})
	t.Run("root, intermediates missing", func(t *testing.T) {
		wantReason(t, verifier(t, root), sent(leaf)[:1], denial.Untrusted, "CN=jon", "CN=Below")
	})
	t.Run("an intermediate, nothing sent but the leaf", func(t *testing.T) {
		wantName(t, verifier(t, below), sent(leaf)[:1], "jon")
	})
	t.Run("an intermediate does not vouch for its issuer's other certificates", func(t *testing.T) {
		wantReason(t, verifier(t, ca), sent(client(t, root, "jon")), denial.Untrusted)
	})
}

func TestNoAnchorsMeansNobodyAndNeverTheSystem(t *testing.T) {
	leaf := client(t, newCA(t, "Root"), "jon")
	wantReason(t, certauth.New(certauth.DefaultConfig(), nil), sent(leaf), denial.Untrusted)
	wantReason(t, certauth.New(certauth.DefaultConfig(), &certauth.Anchors{}), sent(leaf), denial.Untrusted)
}

func TestVerifyLeavesTheCertificatesOfTheConnectionAlone(t *testing.T) {
	root := newCA(t, "Root")
	ca := intermediate(t, root, "Issuing", func(c template) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidSmartCardLogon} })
	leaf := client(t, ca, "jon", smartCardOnly, criticalPrincipalName)
	c := certauth.DefaultConfig()
	c.CheckValidity = false
	chain := sent(leaf)
	before := []x509.Certificate{*chain[0], *chain[1]}
	for _, v := range []*certauth.Verifier{verifier(t, root), verifierWith(t, c, root), verifier(t, ca)} {
		wantName(t, v, chain, "jon")
	}
	for i, c := range chain {
		if !reflect.DeepEqual(*c, before[i]) {
			t.Errorf("certificate %d changed", i)
		}
	}
}

func TestVerifyWhileAnchorsAreSwapped(t *testing.T) {
	root, other := newCA(t, "Root"), newCA(t, "Other")
	leaf := client(t, root, "jon")
	yes, no := anchors(t, root.Certificate), anchors(t, other.Certificate)
	v := certauth.New(certauth.DefaultConfig(), yes)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := v.Verify(t.Context(), sent(leaf)); err != nil && denial.ReasonOf(err) != denial.Untrusted {
					t.Errorf("neither in nor untrusted: %v", err)
				}
			}
		})
	}
	for i := range 100 {
		v.SetAnchors([]*certauth.Anchors{no, yes}[i%2])
	}
	wg.Wait()
	wantName(t, v, sent(leaf), "jon")
}

// TestTheFirstFaultInThePromisedOrderIsTheReason gives every certificate all of
// the faults that come later.
func TestTheFirstFaultInThePromisedOrderIsTheReason(t *testing.T) {
	now := time.Now()
	expired := between(now.Add(-2*time.Hour), now.Add(-time.Hour))
	noUsage := func(c template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	oddExtension := func(c template) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
	}
	twoNames := func(c template) { c.Subject.ExtraNames = cns("jon", "admin") }
	weak := must(rsa.GenerateKey(rand.Reader, 1024))(t)

	root, stranger := newCA(t, "Root"), newCA(t, "Stranger")
	issue := func(ca *testca.CA, key crypto.Signer, mods ...func(template)) []*x509.Certificate {
		return sent(withKey(t, ca, key, mods...))
	}
	v := verifier(t, root)
	wantReason(t, v, issue(stranger, weak, expired, noUsage, oddExtension, twoNames), denial.Untrusted)
	wantReason(t, v, issue(root, weak, expired, noUsage, oddExtension, twoNames), denial.Expired)
	wantReason(t, v, issue(root, weak, noUsage, oddExtension, twoNames), denial.WrongUsage)
	wantReason(t, v, issue(root, weak, oddExtension, twoNames), denial.WeakKey)
	wantReason(t, v, issue(root, nil, oddExtension, twoNames), denial.BadCertificate)
	wantReason(t, v, issue(root, nil, twoNames), denial.AmbiguousName)
}

func TestChecksThatAreOffAreOffAndNoOthers(t *testing.T) {
	now := time.Now()
	root := newCA(t, "Root")
	expired := client(t, root, "jon", between(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	early := client(t, root, "jon", between(now.Add(time.Hour), now.Add(2*time.Hour)))
	server := client(t, root, "jon", func(c template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	noKeyUsage := client(t, root, "jon", func(c template) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
	authority := client(t, root, "jon", func(c template) { c.IsCA = true })
	mail := intermediate(t, root, "Mail", func(c template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
	old := intermediate(t, root, "Old", between(now.Add(-2*time.Hour), now.Add(-time.Hour)))

	timeFaults := map[string]*testca.Leaf{"expired": expired, "early": early, "old issuer": client(t, old, "jon")}
	usageFaults := map[string]*testca.Leaf{
		"for servers": server, "no digitalSignature": noKeyUsage, "an authority": authority, "issuer for mail": client(t, mail, "jon"),
	}
	noTime, noUsage := certauth.DefaultConfig(), certauth.DefaultConfig()
	noTime.CheckValidity, noUsage.CheckUsage = false, false
	for name, leaf := range timeFaults {
		t.Run(name, func(t *testing.T) {
			wantName(t, verifierWith(t, noTime, root), sent(leaf), "jon")
			if _, err := verifierWith(t, noUsage, root).Verify(t.Context(), sent(leaf)); err == nil {
				t.Error("let in without check_usage")
			}
		})
	}
	for name, leaf := range usageFaults {
		t.Run(name, func(t *testing.T) {
			wantName(t, verifierWith(t, noUsage, root), sent(leaf), "jon")
			wantReason(t, verifierWith(t, noTime, root), sent(leaf), denial.WrongUsage)
		})
	}
	t.Run("expired and without usage", func(t *testing.T) {
		leaf := client(t, root, "jon", between(now.Add(-2*time.Hour), now.Add(-time.Hour)), func(c template) { c.ExtKeyUsage = nil })
		wantReason(t, verifierWith(t, noTime, root), sent(leaf), denial.WrongUsage)
		wantReason(t, verifierWith(t, noUsage, root), sent(leaf), denial.Expired)
	})
	t.Run("trust stays", func(t *testing.T) {
		neither := noTime
		neither.CheckUsage = false
		wantReason(t, verifierWith(t, neither, newCA(t, "Root")), sent(expired), denial.Untrusted)
		wantReason(t, verifierWith(t, noUsage, newCA(t, "Root")), sent(expired), denial.Untrusted)
	})
	t.Run("an anchor itself", func(t *testing.T) {
		neither := noTime
		neither.CheckUsage = false
		wantName(t, verifierWith(t, neither, root), []*x509.Certificate{root.Certificate}, "Root")
	})
}

func TestCriticalExtensions(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	wantName(t, v, sent(client(t, root, "jon", criticalPrincipalName)), "jon")
	odd := func(c template) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
	}
	wantReason(t, v, sent(client(t, root, "jon", odd)), denial.BadCertificate, "1.2.3.4")
	wantReason(t, v, sent(client(t, root, "jon", criticalPrincipalName, odd)), denial.BadCertificate, "1.2.3.4")
	t.Run("of an issuer", func(t *testing.T) {
		wantReason(t, v, sent(client(t, intermediate(t, root, "Odd", odd), "jon")), denial.Untrusted, "critical extension")
		wantReason(t, v, sent(client(t, intermediate(t, root, "Odd", criticalPrincipalName), "jon")), denial.Untrusted, "critical extension")
	})
}

func TestA3_AnchorsThatWereRemovedNoLongerVouch(t *testing.T) {
	root, other := newCA(t, "Root"), newCA(t, "Other")
	v := verifier(t, root, other)
	leaf := client(t, root, "jon")
	wantName(t, v, sent(leaf), "jon")
	v.SetAnchors(anchors(t, other.Certificate))
	wantReason(t, v, sent(leaf), denial.Untrusted)
	v.SetAnchors(anchors(t, root.Certificate))
	wantName(t, v, sent(leaf), "jon")
}

func TestA4_ExpiredBetweenTwoSignInsIsRefusedAtTheSecond(t *testing.T) {
	root := newCA(t, "Root")
	leaf := client(t, root, "jon")
	v := verifier(t, root)
	now := time.Now()
	v.Now = func() time.Time { return now }
	wantName(t, v, sent(leaf), "jon")
	now = leaf.Certificate.NotAfter.Add(time.Second)
	wantReason(t, v, sent(leaf), denial.Expired)
}

func TestA9_WhatIsTooLargeOrTooOddIsRefusedInBoundedTime(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	leaf := client(t, root, "jon")
	bounded := func(t *testing.T) {
		start := time.Now()
		t.Cleanup(func() {
			if d := time.Since(start); d > 10*time.Second { // a bound for runaways, not for speed
				t.Errorf("took %v", d)
			}
		})
	}

	t.Run("no certificate", func(t *testing.T) {
		wantReason(t, v, nil, denial.BadCertificate)
		wantReason(t, v, []*x509.Certificate{nil}, denial.BadCertificate)
		wantReason(t, v, []*x509.Certificate{{}}, denial.BadCertificate)
		wantReason(t, v, []*x509.Certificate{leaf.Certificate, {}}, denial.BadCertificate)
	})
	t.Run("deep chain", func(t *testing.T) {
		bounded(t)
		ca := root
		for i := range 7 {
			ca = intermediate(t, ca, fmt.Sprintf("Level %d", i))
		}
		chain := sent(client(t, ca, "jon")) // eight certificates
		wantName(t, v, chain, "jon")
		wantName(t, v, append(chain, chain...), "jon") // still eight
		ca = intermediate(t, ca, "Level 7")
		wantReason(t, v, sent(client(t, ca, "jon")), denial.BadCertificate, "more than 8 certificates")
	})
	t.Run("loop of two authorities that certify each other", func(t *testing.T) {
		bounded(t)
		a, b := newCA(t, "A"), newCA(t, "B")
		aByB := must(b.Certify(a.Certificate, a.Key.Public()))(t)
		bByA := must(a.Certify(b.Certificate, b.Key.Public()))(t)
		chain := []*x509.Certificate{client(t, a, "jon").Certificate, aByB, bByA, aByB, bByA}
		wantReason(t, v, chain, denial.Untrusted)
		wantName(t, verifier(t, b), chain, "jon")
	})
	t.Run("many issuers of one name", func(t *testing.T) {
		bounded(t)
		chain := sameName(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t))
		wantReason(t, v, chain[:3], denial.Untrusted)
		wantReason(t, v, append(chain[:3:3], chain[1:3]...), denial.Untrusted) // sent twice
		wantReason(t, v, chain[:4], denial.BadCertificate, "CN=Same")
	})
	t.Run("10,000 alternative names", func(t *testing.T) {
		bounded(t)
		many := client(t, root, "jon", func(c template) {
			for i := range 10_000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.example", i))
			}
		})
		wantReason(t, v, sent(many), denial.BadCertificate)
	})
	t.Run("alternative names of all kinds count", func(t *testing.T) {
		few := func(kind func(c template, i int)) func(template) {
			return func(c template) {
				for i := range 129 {
					c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.example", i))
					kind(c, i)
				}
			}
		}
		uri := must(url.Parse("https://a.example/"))(t)
		for name, kind := range map[string]func(template, int){
			"e-mail": func(c template, i int) { c.EmailAddresses = append(c.EmailAddresses, fmt.Sprintf("%d@a.example", i)) },
			"URI":    func(c template, _ int) { c.URIs = append(c.URIs, uri) },
			"IP":     func(c template, i int) { c.IPAddresses = append(c.IPAddresses, []byte{10, 0, 0, byte(i)}) },
		} {
			t.Run(name, func(t *testing.T) {
				wantReason(t, v, sent(client(t, root, "jon", few(kind))), denial.BadCertificate, "258 alternative names")
			})
		}
	})
	t.Run("large certificate", func(t *testing.T) {
		bounded(t)
		large := func(size int) func(template) {
			return func(c template) {
				value := must(asn1.Marshal(make([]byte, size)))(t)
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: value})
			}
		}
		wantName(t, v, sent(client(t, root, "jon", large(60<<10))), "jon")
		wantReason(t, v, sent(client(t, root, "jon", large(64<<10))), denial.BadCertificate, "too large")
		a := intermediate(t, root, "A", large(50<<10))
		b := intermediate(t, a, "B", large(50<<10))
		wantReason(t, v, sent(client(t, b, "jon", large(50<<10))), denial.BadCertificate, "too large")
	})
	t.Run("huge RSA", func(t *testing.T) {
		bounded(t)
		for bits, want := range map[int]denial.Reason{8192: "", 8193: denial.BadCertificate, 16384: denial.BadCertificate} {
			// Nobody has the key, which is what the authority cannot know.
			n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), uint(bits)-1), big.NewInt(1))
			cert := must(root.Certify(leaf.Certificate, &rsa.PublicKey{N: n, E: 65537}))(t)
			if want == "" {
				wantName(t, v, []*x509.Certificate{cert}, "jon")
			} else {
				wantReason(t, v, []*x509.Certificate{cert}, want, fmt.Sprint(bits, " bits"))
				wantReason(t, v, []*x509.Certificate{leaf.Certificate, cert}, want, fmt.Sprint(bits, " bits"))
			}
		}
	})
	t.Run("key of an unknown kind", func(t *testing.T) {
		cert := reparse(t, root, leaf.Certificate, func(der []byte) []byte {
			// id-ecPublicKey becomes an identifier that nobody knows.
			return replaceOnce(t, der, "\x2a\x86\x48\xce\x3d\x02\x01", "\x2a\x86\x48\xce\x3d\x02\x7f")
		})
		if cert.PublicKey != nil {
			t.Fatalf("the key is a %T, want one of an unknown kind", cert.PublicKey)
		}
		wantReason(t, v, []*x509.Certificate{cert}, denial.WeakKey, "not supported")
	})
	t.Run("small curve", func(t *testing.T) {
		key := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))(t)
		wantReason(t, v, sent(withKey(t, root, key)), denial.WeakKey, "P-224")
	})
	t.Run("keys that are fine", func(t *testing.T) {
		_, ed, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []crypto.Signer{
			ed,
			must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t),
			must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t),
			must(rsa.GenerateKey(rand.Reader, 2048))(t),
		} {
			wantName(t, v, sent(withKey(t, root, key)), "jon")
			ca := must(testca.NewWithKey("Other", key))(t)
			wantName(t, verifier(t, ca), sent(client(t, ca, "jon")), "jon")
		}
	})
	t.Run("malformed constraints", func(t *testing.T) {
		for _, value := range []string{"\x30\x00", "\x30\x02\xa0\x00", "\x30\x04\xa0\x02\x30\x00", "\x30\x80", "\x05\x00"} {
			der := malformed(t, root, asn1.ObjectIdentifier{2, 5, 29, 30}, value)
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				continue // never gets past the handshake
			}
			wantReason(t, v, []*x509.Certificate{leaf.Certificate, cert}, denial.Untrusted)
		}
	})
}

// crypto/x509 starts at the leaf, and so with whatever keys its sender made up to
// be slow. Here they must not count, however often and in whatever order they are
// sent.
func TestA9_AStrangersKeysAreNeverUsed(t *testing.T) {
	root := newCA(t, "Root")
	list := anchors(t, root.Certificate)
	ofAnchor, ofStranger := 0, 0
	tally(list.Certificates()[0], &ofAnchor)
	v := certauth.New(certauth.DefaultConfig(), list)
	jon := client(t, root, "jon").Certificate
	if err := jon.CheckSignatureFrom(list.Certificates()[0]); err != nil || ofAnchor == 0 {
		t.Fatalf("the use of a key was not counted (error: %v)", err)
	}
	perCheck := ofAnchor

	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	elsewhere := maze(t, newCA(t, "Stranger"), key)
	namesake := maze(t, newCA(t, "Root"), key) // the name is no secret: the handshake tells it
	for _, tt := range []struct {
		name   string
		chain  []*x509.Certificate
		want   denial.Reason // "" means: let in
		checks int           // with the key of the anchor, at most
	}{
		{"a name that is not ours", elsewhere, denial.Untrusted, 0},
		{"the name of the anchor", namesake, denial.Untrusted, 2},
		{"with the anchor itself", append(slices.Clone(namesake), root.Certificate), denial.Untrusted, 2},
		{"from the top", append(namesake[:1:1], backwards(namesake[1:])...), denial.Untrusted, 2},
		{"one name", sameName(t, key), denial.BadCertificate, 0},
		{"behind a leaf that is genuine", append([]*x509.Certificate{jon}, namesake...), "", 5},
		{"as its issuers", []*x509.Certificate{jon, newCA(t, "Root").Certificate, newCA(t, "Root").Certificate}, "", 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range tt.chain {
				if c != jon && !c.Equal(root.Certificate) {
					tally(c, &ofStranger)
				}
			}
			const times = 10
			ofAnchor, ofStranger = 0, 0
			for range times {
				v.SetAnchors(list) // forgets
				if tt.want == "" {
					wantName(t, v, tt.chain, "jon")
				} else {
					wantReason(t, v, tt.chain, tt.want)
				}
			}
			if ofStranger > 0 || ofAnchor > times*tt.checks*perCheck {
				t.Errorf("each time, the strangers' keys checked %d signatures and the anchor's %d, want 0 and %d at most",
					ofStranger/times/perCheck, ofAnchor/times/perCheck, tt.checks)
			}
		})
	}
}

// sameName returns a leaf and nine issuers of one name and key, each of which
// may have signed each.
func sameName(t testing.TB, key crypto.Signer) []*x509.Certificate {
	t.Helper()
	chain := []*x509.Certificate{nil}
	for i := range 9 {
		ca := must(testca.NewWithKey("Same", key, func(c template) { c.DNSNames = []string{fmt.Sprintf("%d.example", i)} }))(t)
		chain = append(chain, ca.Certificate)
		chain[0] = client(t, ca, "jon").Certificate
	}
	return chain
}

// maze returns a leaf and three levels of two issuers each, every one of which
// signed all of the level below; top signed the first two.
func maze(t testing.TB, top *testca.CA, key crypto.Signer) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for _, name := range []string{"C", "B", "A"} {
		var level []*x509.Certificate
		for i := range 2 {
			template := *top.Certificate
			template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
			template.RawSubject, template.Subject = nil, pkix.Name{CommonName: name}
			template.DNSNames = []string{fmt.Sprintf("%d.example", i)}
			level = append(level, must(top.Certify(&template, key.Public()))(t))
		}
		chain = append(level, chain...)
		top = &testca.CA{Certificate: level[0], Key: key}
	}
	return append([]*x509.Certificate{client(t, top, "jon").Certificate}, chain...)
}

func backwards(chain []*x509.Certificate) []*x509.Certificate {
	chain = slices.Clone(chain)
	slices.Reverse(chain)
	return chain
}

// tally makes the key of a certificate, on the curve P-256, count its uses.
func tally(c *x509.Certificate, uses *int) {
	key := *c.PublicKey.(*ecdsa.PublicKey)
	key.Curve = countingCurve{elliptic.P256(), uses}
	c.PublicKey = &key
}

// countingCurve counts how often it is asked for its parameters, which is what
// every check of a signature begins with.
type countingCurve struct {
	elliptic.Curve
	uses *int
}

func (c countingCurve) Params() *elliptic.CurveParams {
	*c.uses++
	return c.Curve.Params()
}

func TestA11_AStrangersChainIsRefusedWhateverTheHandshakeLetThrough(t *testing.T) {
	root, stranger := newCA(t, "Root"), newCA(t, "Stranger")
	leaf := client(t, stranger, "jon")
	v := verifier(t, root)
	wantReason(t, v, sent(leaf), denial.Untrusted)
	wantReason(t, v, append(sent(leaf), stranger.Certificate), denial.Untrusted)
	wantReason(t, v, append(sent(leaf), stranger.Certificate, root.Certificate), denial.Untrusted)
}

func TestB1_OnlyTheFirstCertificateSaysWhoItIs(t *testing.T) {
	root, stranger := newCA(t, "Root"), newCA(t, "Stranger")
	admin, jon, mallory := client(t, root, "admin"), client(t, root, "jon"), client(t, stranger, "mallory")
	v := verifier(t, root)
	wantName(t, v, []*x509.Certificate{jon.Certificate, admin.Certificate}, "jon")
	wantName(t, v, []*x509.Certificate{jon.Certificate, mallory.Certificate, admin.Certificate, root.Certificate}, "jon")
	wantReason(t, v, []*x509.Certificate{mallory.Certificate, admin.Certificate}, denial.Untrusted, "CN=mallory")
	wantReason(t, v, []*x509.Certificate{mallory.Certificate, admin.Certificate, stranger.Certificate, root.Certificate}, denial.Untrusted)
	t.Run("a user's certificate issues nothing", func(t *testing.T) {
		// jon signs a certificate for admin with his own key.
		asCA := &testca.CA{Certificate: jon.Certificate, Key: jon.Key}
		forged := client(t, asCA, "admin")
		wantReason(t, v, []*x509.Certificate{forged.Certificate, jon.Certificate}, denial.Untrusted)
	})
}

func TestB2_ExtendedKeyUsageMustGrantClientAuthentication(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	usages := func(known ...x509.ExtKeyUsage) func(template) {
		return func(c template) { c.ExtKeyUsage = known }
	}
	other := func(c template) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}} }
	for _, tt := range []struct {
		name string
		mods []func(template)
		ok   bool
	}{
		{"client authentication", nil, true},
		{"client authentication among others", []func(template){usages(x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageClientAuth)}, true},
		{"any and client authentication", []func(template){usages(x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth)}, true},
		{"smart-card logon", []func(template){smartCardOnly}, true},
		{"smart-card logon and mail", []func(template){smartCardOnly, usages(x509.ExtKeyUsageEmailProtection)}, true},
		{"server authentication", []func(template){usages(x509.ExtKeyUsageServerAuth)}, false},
		{"code signing", []func(template){usages(x509.ExtKeyUsageCodeSigning)}, false},
		{"none", []func(template){usages()}, false},
		{"any", []func(template){usages(x509.ExtKeyUsageAny)}, false},
		{"any and server authentication", []func(template){usages(x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth)}, false},
		{"one that looks like smart-card logon", []func(template){usages(), other}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaf := client(t, root, "jon", tt.mods...)
			if tt.ok {
				wantName(t, v, sent(leaf), "jon")
			} else {
				wantReason(t, v, sent(leaf), denial.WrongUsage, "CN=jon")
			}
		})
	}
}

func TestB2_IssuersMustGrantItToo(t *testing.T) {
	smartCard := func(c template) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidSmartCardLogon} }
	usage := func(u x509.ExtKeyUsage) func(template) {
		return func(c template) { c.ExtKeyUsage = append(c.ExtKeyUsage, u) }
	}
	both := func(c template) { usage(x509.ExtKeyUsageClientAuth)(c); smartCard(c) }
	nothing := func(template) {}
	for _, tt := range []struct {
		name         string
		issuer, leaf func(template)
		ok           bool
	}{
		{"an issuer without limits", nothing, smartCardOnly, true},
		{"an issuer for any", usage(x509.ExtKeyUsageAny), nothing, true},
		{"an issuer for client authentication", usage(x509.ExtKeyUsageClientAuth), nothing, true},
		{"an issuer for smart-card logon", smartCard, smartCardOnly, true},
		{"an issuer for both", both, smartCardOnly, true},
		{"an issuer for mail", usage(x509.ExtKeyUsageEmailProtection), nothing, false},
		{"an issuer for smart-card logon, a leaf for client authentication", smartCard, nothing, false},
		{"an issuer for client authentication, a leaf for smart-card logon", usage(x509.ExtKeyUsageClientAuth), smartCardOnly, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := newCA(t, "Root")
			sentCA := intermediate(t, root, "Issuing", tt.issuer)
			anchor := newCA(t, "Anchor", tt.issuer)
			for _, chain := range [][]*x509.Certificate{
				sent(client(t, sentCA, "jon", tt.leaf)),
				sent(client(t, anchor, "jon", tt.leaf)),
			} {
				if v := verifier(t, root, anchor); tt.ok {
					wantName(t, v, chain, "jon")
				} else {
					wantReason(t, v, chain, denial.WrongUsage, "issuer")
				}
			}
		})
	}
}

func TestB3_KeyUsageMustHoldDigitalSignatureCriticalOrNot(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	keyUsage := func(critical bool, value string) func(template) {
		return func(c template) {
			c.KeyUsage = 0
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidKeyUsage, Critical: critical, Value: []byte(value)})
		}
	}
	for _, critical := range []bool{true, false} {
		wantReason(t, v, sent(client(t, root, "jon", keyUsage(critical, "\x03\x02\x05\x20"))), denial.WrongUsage, "digitalSignature") // keyEncipherment
		wantReason(t, v, sent(client(t, root, "jon", keyUsage(critical, "\x03\x01\x00"))), denial.WrongUsage, "digitalSignature")     // nothing
		wantName(t, v, sent(client(t, root, "jon", keyUsage(critical, "\x03\x02\x05\xa0"))), "jon")                                   // both
	}
	wantName(t, v, sent(client(t, root, "jon", func(c template) { c.KeyUsage = 0 })), "jon") // not present
}

func TestB5_AnAuthorityIsNoUser(t *testing.T) {
	root := newCA(t, "Root")
	forUsers := func(c template) {
		c.KeyUsage |= x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	ca := intermediate(t, root, "jon", forUsers)
	v := verifier(t, root)
	wantReason(t, v, []*x509.Certificate{ca.Certificate}, denial.WrongUsage, "authority")
	wantReason(t, verifier(t, root, ca), []*x509.Certificate{ca.Certificate}, denial.WrongUsage, "authority")
	wantReason(t, v, []*x509.Certificate{root.Certificate}, denial.WrongUsage, "authority")
}

func TestB6_B8_TheTrustedNameWithoutTheTrustedKey(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	t.Run("B6 issuer by name only", func(t *testing.T) {
		namesake := newCA(t, "Root")
		leaf := client(t, namesake, "jon")
		wantReason(t, v, sent(leaf), denial.Untrusted)
		wantReason(t, v, append(sent(leaf), namesake.Certificate), denial.Untrusted)
		wantReason(t, v, append(sent(leaf), root.Certificate), denial.Untrusted)
	})
	t.Run("B6 issuer by name and key identifier", func(t *testing.T) {
		namesake := newCA(t, "Root", func(c template) { c.SubjectKeyId = root.Certificate.SubjectKeyId })
		wantReason(t, v, sent(client(t, namesake, "jon")), denial.Untrusted)
	})
	t.Run("B8 self-signed", func(t *testing.T) {
		forged := newCA(t, "Root", func(c template) {
			c.IsCA = false
			c.KeyUsage = x509.KeyUsageDigitalSignature
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			c.SerialNumber = root.Certificate.SerialNumber
			c.NotBefore, c.NotAfter = root.Certificate.NotBefore, root.Certificate.NotAfter
		})
		wantReason(t, v, []*x509.Certificate{forged.Certificate}, denial.Untrusted)
		wantReason(t, v, []*x509.Certificate{forged.Certificate, root.Certificate}, denial.Untrusted)
	})
	t.Run("a signature with one bit turned", func(t *testing.T) {
		der := slices.Clone(client(t, root, "jon").Certificate.Raw)
		der[len(der)-1] ^= 1
		wantReason(t, v, []*x509.Certificate{must(x509.ParseCertificate(der))(t)}, denial.Untrusted)
	})
}

func TestB7_TwoAuthoritiesOfOneNameAreToldApartByTheirKeys(t *testing.T) {
	trusted, other := newCA(t, "Root"), newCA(t, "Root")
	good, bad := client(t, trusted, "jon"), client(t, other, "jon")
	v := verifier(t, trusted)
	wantName(t, v, sent(good), "jon")
	wantReason(t, v, sent(bad), denial.Untrusted)
	wantReason(t, v, append(sent(bad), other.Certificate, trusted.Certificate), denial.Untrusted)
	both := verifier(t, other, trusted)
	wantName(t, both, sent(good), "jon")
	wantName(t, both, sent(bad), "jon")
}

func TestB9_TimesAreCheckedToTheSecond(t *testing.T) {
	from := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(time.Hour)
	wide := between(from.AddDate(-1, 0, 0), to.AddDate(1, 0, 0))
	root := newCA(t, "Root", wide)
	v := verifier(t, root)
	at := func(now time.Time) *certauth.Verifier {
		v.Now = func() time.Time { return now }
		return v
	}
	t.Run("leaf", func(t *testing.T) {
		chain := sent(client(t, root, "jon", between(from, to)))
		wantReason(t, at(from.Add(-time.Second)), chain, denial.NotYetValid, "2030-01-01T00:00:00Z", "2029-12-31T23:59:59Z", "CN=jon")
		wantName(t, at(from), chain, "jon")
		wantName(t, at(to), chain, "jon")
		wantReason(t, at(to.Add(time.Second)), chain, denial.Expired, "2030-01-01T01:00:00Z", "2030-01-01T01:00:01Z", "CN=jon")
		wantReason(t, at(from.Add(-10*time.Minute)), chain, denial.NotYetValid) // a clock that is slow
	})
	t.Run("issuer", func(t *testing.T) {
		chain := sent(client(t, intermediate(t, root, "Issuing", between(from, to)), "jon", wide))
		wantReason(t, at(from.Add(-time.Second)), chain, denial.NotYetValid, "CN=Issuing")
		wantName(t, at(from), chain, "jon")
		wantReason(t, at(to.Add(time.Second)), chain, denial.Expired, "CN=Issuing")
	})
	t.Run("anchor", func(t *testing.T) {
		short := newCA(t, "Short", between(from, to))
		v.SetAnchors(anchors(t, short.Certificate))
		chain := sent(client(t, short, "jon", wide))
		wantReason(t, at(from.Add(-time.Second)), chain, denial.NotYetValid, "CN=Short")
		wantName(t, at(to), chain, "jon")
		wantReason(t, at(to.Add(time.Second)), chain, denial.Expired, "CN=Short")
	})
	t.Run("an authority that was renewed under the same key", func(t *testing.T) {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		old := must(testca.NewWithKey("Renewed", key, between(from, to)))(t)
		renewed := must(testca.NewWithKey("Renewed", key, wide))(t)
		chain := sent(client(t, old, "jon", wide))
		v.SetAnchors(anchors(t, old.Certificate, renewed.Certificate))
		wantName(t, at(to.Add(time.Second)), chain, "jon")
	})
	t.Run("an authority that was renewed for another usage", func(t *testing.T) {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		old := must(testca.NewWithKey("Renewed", key, between(from, to)))(t)
		renewed := must(testca.NewWithKey("Renewed", key, wide, func(c template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }))(t)
		v.SetAnchors(anchors(t, old.Certificate, renewed.Certificate))
		wantReason(t, at(to.Add(time.Second)), sent(client(t, old, "jon", wide)), denial.WrongUsage, "issuer")
	})
	t.Run("a stranger's expired certificate is untrusted", func(t *testing.T) {
		chain := sent(client(t, newCA(t, "Stranger", between(from, to)), "jon", between(from, to)))
		wantReason(t, at(to.Add(time.Second)), chain, denial.Untrusted)
	})
}

func TestB10_WeakSignaturesAndKeysAreRefused(t *testing.T) {
	strong, weak := must(rsa.GenerateKey(rand.Reader, 2048))(t), must(rsa.GenerateKey(rand.Reader, 1024))(t)
	root := must(testca.NewWithKey("Root", strong))(t)
	v := verifier(t, root)
	sha1 := func(c template) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	t.Run("SHA-1 on the leaf", func(t *testing.T) {
		wantReason(t, v, sent(client(t, root, "jon", sha1)), denial.WeakSignature, "SHA1-RSA", "CN=jon")
	})
	t.Run("SHA-1 with ECDSA", func(t *testing.T) {
		root := newCA(t, "Root")
		leaf := client(t, root, "jon", func(c template) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
		wantReason(t, verifier(t, root), sent(leaf), denial.WeakSignature, "ECDSA-SHA1")
	})
	t.Run("SHA-1 on an issuer", func(t *testing.T) {
		ca := intermediate(t, root, "Issuing", sha1)
		wantReason(t, v, sent(client(t, ca, "jon")), denial.WeakSignature, "CN=Issuing")
	})
	t.Run("SHA-1 on an issuer that is an anchor itself does not matter", func(t *testing.T) {
		ca := intermediate(t, root, "Issuing", sha1)
		wantName(t, verifier(t, ca), sent(client(t, ca, "jon")), "jon")
	})
	t.Run("SHA-1 by a stranger is untrusted", func(t *testing.T) {
		stranger := must(testca.NewWithKey("Stranger", strong))(t)
		wantReason(t, v, sent(client(t, stranger, "jon", sha1)), denial.Untrusted)
		wantReason(t, v, append(sent(client(t, stranger, "jon", sha1)), stranger.Certificate), denial.Untrusted)
	})
	t.Run("RSA 1024 leaf", func(t *testing.T) {
		wantReason(t, v, sent(withKey(t, root, weak)), denial.WeakKey, "1024 bits", "CN=jon")
	})
	t.Run("RSA 1024 issuer", func(t *testing.T) {
		template := *intermediate(t, newCA(t, "Other"), "Issuing").Certificate
		template.SignatureAlgorithm = x509.SHA256WithRSA
		cert := must(root.Certify(&template, weak.Public()))(t)
		ca := &testca.CA{Certificate: cert, Key: weak}
		wantReason(t, v, append(sent(client(t, ca, "jon")), cert), denial.WeakKey, "1024 bits", "CN=Issuing")
	})
	t.Run("RSA 1024 anchor", func(t *testing.T) {
		ca := must(testca.NewWithKey("Weak", weak))(t)
		wantReason(t, verifier(t, ca), sent(client(t, ca, "jon")), denial.WeakKey, "1024 bits", "CN=Weak")
	})
	t.Run("RSA 2047 is still too short", func(t *testing.T) {
		n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2047), big.NewInt(1))
		cert := must(root.Certify(client(t, root, "jon").Certificate, &rsa.PublicKey{N: n, E: 65537}))(t)
		wantReason(t, v, []*x509.Certificate{cert}, denial.WeakKey, "2047 bits")
	})
}

func TestB11_NameConstraintsOfAnIssuerHold(t *testing.T) {
	root := newCA(t, "Root")
	ca := intermediate(t, root, "Branch", func(c template) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedEmailAddresses = []string{"branch.example"}
		c.ExcludedDNSDomains = []string{"secret.branch.example"}
	})
	v := verifier(t, root)
	mail := func(address string) func(template) {
		return func(c template) { c.EmailAddresses = []string{address} }
	}
	wantName(t, v, sent(client(t, ca, "jon")), "jon")
	wantName(t, v, sent(client(t, ca, "jon", mail("jon@branch.example"))), "jon")
	wantReason(t, v, sent(client(t, ca, "jon", mail("jon@fabrikam.example"))), denial.Untrusted, "jon@fabrikam.example")
	wantReason(t, v, sent(client(t, ca, "jon", func(c template) { c.DNSNames = []string{"a.secret.branch.example"} })), denial.Untrusted)
	t.Run("below another issuer", func(t *testing.T) {
		below := intermediate(t, ca, "Below")
		wantReason(t, v, sent(client(t, below, "jon", mail("jon@fabrikam.example"))), denial.Untrusted)
	})
	t.Run("of an anchor", func(t *testing.T) {
		wantReason(t, verifier(t, ca), sent(client(t, ca, "jon", mail("jon@fabrikam.example"))), denial.Untrusted)
	})
	t.Run("path length", func(t *testing.T) {
		last := intermediate(t, root, "Last", func(c template) { c.MaxPathLenZero = true })
		wantName(t, v, sent(client(t, last, "jon")), "jon")
		wantReason(t, v, sent(client(t, intermediate(t, last, "Below"), "jon")), denial.Untrusted)
	})
	t.Run("on distinguished names, which are not compared here", func(t *testing.T) {
		// Permitted: nothing but O=Branch.
		subtree := "\x30\x15\xa0\x13\x30\x11\xa4\x0f\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x0a\x0c\x02\x42\x72"
		for _, critical := range []bool{true, false} {
			ca := intermediate(t, root, "Branch", func(c template) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
					Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Critical: critical, Value: []byte(subtree),
				})
			})
			wantReason(t, v, sent(client(t, ca, "jon")), denial.Untrusted, "critical extension")
		}
	})
}

func TestC1_ExactlyOneCommonName(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	subject := func(name pkix.RDNSequence) []*x509.Certificate {
		raw := must(asn1.Marshal(name))(t)
		return sent(client(t, root, "", func(c template) { c.RawSubject = raw }))
	}
	cn := func(s string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: oidCommonName, Value: s}
	}
	o := pkix.AttributeTypeAndValue{Type: oidOrganization, Value: "Fabrikam"}

	wantName(t, v, subject(pkix.RDNSequence{{o}, {cn("jon")}}), "jon")
	wantName(t, v, subject(pkix.RDNSequence{{cn("jon")}, {o}}), "jon") // the place does not matter
	wantReason(t, v, subject(pkix.RDNSequence{{cn("jon")}, {cn("admin")}}), denial.AmbiguousName, "CN=admin,CN=jon")
	wantReason(t, v, subject(pkix.RDNSequence{{cn("jon")}, {o}, {cn("jon")}}), denial.AmbiguousName, "2 common names")
	wantReason(t, v, subject(pkix.RDNSequence{{cn("a"), cn("b")}}), denial.AmbiguousName, "CN=a+CN=b")
	wantReason(t, v, subject(pkix.RDNSequence{{cn("jon"), o}}), denial.AmbiguousName, "CN=jon+O=Fabrikam")
	wantReason(t, v, subject(pkix.RDNSequence{{o, cn("jon")}, {cn("jon")}}), denial.AmbiguousName)
	wantReason(t, v, subject(pkix.RDNSequence{{o}}), denial.BadName, "O=Fabrikam")
	wantReason(t, v, subject(pkix.RDNSequence{}), denial.BadName)
	wantReason(t, v, subject(pkix.RDNSequence{{cn("")}}), denial.BadName, "empty")
}

func TestC3_LDAPSyntaxInTheNameIsData(t *testing.T) {
	root := newCA(t, "Root")
	v := verifier(t, root)
	for _, name := range []string{
		"*", ")(objectClass=*", `\2a`, "jon)(|(cn=*", "jon*", "cn=admin,dc=example", "jon, admin", `CORP\jon`, "jon@corp.example",
		"name$", "o'neil (ops)\\*", "jon#", "#jon", "=", "jon+admin", `"jon"`, "<jon>;", "Jürgen Müller", "山田太郎", "Ω", "a b",
	} {
		wantName(t, v, sent(client(t, root, name)), name)
	}
}

// smartCardOnly makes smart-card logon the only extended key usage.
func smartCardOnly(c template) {
	c.ExtKeyUsage = nil
	c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidSmartCardLogon}
}

// criticalPrincipalName adds a critical alternative name that is nothing but a
// principal name, as Active Directory writes it: otherName
// 1.3.6.1.4.1.311.20.2.3, UTF8String "jon@fabrikam.example".
func criticalPrincipalName(c template) {
	const upn = "jon@fabrikam.example"
	value := "\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03\xa0\x16\x0c\x14" + upn
	value = "\xa0" + string(rune(len(value))) + value
	value = "\x30" + string(rune(len(value))) + value
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidSubjectAltName, Critical: true, Value: []byte(value)})
}

// withKey issues a certificate for jon with a key of the caller's choice.
func withKey(t testing.TB, ca *testca.CA, key crypto.Signer, mods ...func(template)) *testca.Leaf {
	t.Helper()
	c := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "jon"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, mod := range mods {
		mod(c)
	}
	return must(ca.Issue(c, key))(t)
}

func cns(names ...string) []pkix.AttributeTypeAndValue {
	var list []pkix.AttributeTypeAndValue
	for _, name := range names {
		list = append(list, pkix.AttributeTypeAndValue{Type: oidCommonName, Value: name})
	}
	return list
}

// reparse changes the signed part of a certificate and signs it again, for
// certificates that crypto/x509 will not make.
func reparse(t testing.TB, ca *testca.CA, c *x509.Certificate, change func(der []byte) []byte) *x509.Certificate {
	t.Helper()
	return must(x509.ParseCertificate(resign(t, ca, change(slices.Clone(c.RawTBSCertificate)))))(t)
}

// resign wraps a to-be-signed certificate and ca's signature (ECDSA with
// SHA-256) in a certificate.
func resign(t testing.TB, ca *testca.CA, tbs []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(tbs)
	signature := must(ca.Key.Sign(rand.Reader, sum[:], crypto.SHA256))(t)
	return must(asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		asn1.RawValue{FullBytes: tbs},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	}))(t)
}

// malformed returns the DER of an authority below ca with an extension that
// holds value, which crypto/x509 may refuse to read.
func malformed(t testing.TB, ca *testca.CA, id asn1.ObjectIdentifier, value string) []byte {
	t.Helper()
	placeholder := append([]byte{0x04, byte(len(value))}, strings.Repeat("\xaa", len(value))...)
	odd := asn1.ObjectIdentifier{2, 5, 29, 127}
	harmless := intermediate(t, ca, "Malformed", func(c template) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: odd, Value: placeholder[2:]})
	})
	tbs := slices.Clone(harmless.Certificate.RawTBSCertificate)
	tbs = replaceOnce(t, tbs, string(must(asn1.Marshal(odd))(t)), string(must(asn1.Marshal(id))(t)))
	return resign(t, ca, replaceOnce(t, tbs, string(placeholder), "\x04"+string(rune(len(value)))+value))
}

func replaceOnce(t testing.TB, der []byte, old, replacement string) []byte {
	t.Helper()
	if len(old) != len(replacement) || strings.Count(string(der), old) != 1 {
		t.Fatalf("%x is not there exactly once, or has not the length of %x", old, replacement)
	}
	return []byte(strings.Replace(string(der), old, replacement, 1))
}
