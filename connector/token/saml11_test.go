package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"
	dsig "github.com/russellhaering/goxmldsig"

	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/dirtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	quiet = slog.New(slog.DiscardHandler)
	noon  = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)
)

// signingKey returns a key that the tests share, because making one takes long.
var signingKey = sync.OnceValue(func() *token.SigningKey {
	folder, err := os.MkdirTemp("", "adconnector-token")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	dir, err := private.Open(filepath.Join(folder, "data"))
	if err != nil {
		panic(err)
	}
	keys, err := token.OpenKeys(context.Background(), dir, token.DefaultConfig(), token.KeysOptions{Log: quiet})
	if err != nil {
		panic(err)
	}
	return keys.Current()
})

// jon returns somebody with a value for everything that a token can say.
func jon() *signin.Identity {
	return &signin.Identity{
		ID:       "9f1c2f9e-3b52-4a7e-8e4e-0c2b8c6f1a77",
		Username: "jon", Nickname: "jon",
		DisplayName: "Jon Müller & Söhne",
		Email:       "jon@fabrikam.example",
		GivenName:   "Jon",
		FamilyName:  "Müller",
		Groups:      []string{"Domain Users", "R&D <core>"},
		Attributes: []signin.Attribute{
			{Name: "dn", Values: []string{`CN=Müller\, Jon,OU=R+D,DC=fabrikam,DC=example`}},
			{Name: "department", Values: []string{"R&D"}},
			{Name: "manager"}, // none
			{Name: "organizationUnits", Values: []string{"R+D", "People"}},
		},
		AuthenticatedBy: signin.ByCertificate,
		AuthenticatedAt: noon.Add(-time.Minute),
		Certificate: &certauth.Certificate{
			Subject:    "CN=jon,O=Fabrikam",
			Issuer:     "CN=Fabrikam Root CA",
			Serial:     "0a1b2c",
			Thumbprint: strings.Repeat("ab", 32),
			Rule:       "san_upn",
			Strong:     true,
		},
	}
}

func statement(id *signin.Identity) *token.SAML11 {
	return &token.SAML11{
		ID:       "_0123456789abcdefghijklmnopqrstuv",
		Issuer:   "urn:fabrikam:adconnector",
		Audience: "urn:auth0:fabrikam",
		Context:  "rm=0&id=passive",
		Now:      noon,
		Identity: id,
	}
}

func sign(t testing.TB, s *token.SAML11) []byte {
	t.Helper()
	signed, err := s.Sign(signingKey())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// verify returns the assertion in a response as far as its signature, checked
// by a library that is not ours, covers it.
func verify(t testing.TB, response []byte) *etree.Element {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(response); err != nil {
		t.Fatalf("%v in\n%s", err, response)
	}
	v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{signingKey().Certificate}})
	v.IdAttribute = "AssertionID"
	assertion, err := v.Validate(doc.FindElement("/RequestSecurityTokenResponse/RequestedSecurityToken/Assertion"))
	if err != nil {
		t.Fatalf("%v in\n%s", err, response)
	}
	return assertion
}

// An attribute is one attribute of an assertion.
type attribute struct {
	Namespace, Name string
	Values          []string
}

func attributes(assertion *etree.Element) []attribute {
	var got []attribute
	for _, e := range assertion.FindElements("./AttributeStatement/Attribute") {
		a := attribute{Namespace: e.SelectAttrValue("AttributeNamespace", ""), Name: e.SelectAttrValue("AttributeName", "")}
		for _, v := range e.SelectElements("AttributeValue") {
			a.Values = append(a.Values, v.Text())
		}
		got = append(got, a)
	}
	return got
}

const (
	claims   = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
	passport = "http://schemas.passportjs.com"
)

// keyDependent matches what differs from key to key.
var keyDependent = regexp.MustCompile(`(<SignatureValue>|<X509Certificate>)[^<]+`)

func TestSAML11_Golden(t *testing.T) {
	byPassword := jon()
	byPassword.AuthenticatedBy = signin.ByPassword
	byPassword.Certificate = nil
	byPassword.GroupsIncomplete = true

	little := &signin.Identity{
		ID:              "Nobody's cat",
		AuthenticatedBy: signin.ByPassword,
		AuthenticatedAt: noon.In(time.FixedZone("", 3600)),
	}
	withoutContext := statement(little)
	withoutContext.Context = ""

	for _, tt := range []struct {
		file string
		s    *token.SAML11
	}{
		{"certificate.xml", statement(jon())},
		{"password.xml", statement(byPassword)},
		{"little.xml", withoutContext},
	} {
		t.Run(tt.file, func(t *testing.T) {
			signed := sign(t, tt.s)
			verify(t, signed)
			// One tag a line, for people; tokens hold no line ends between tags.
			got := bytes.ReplaceAll(keyDependent.ReplaceAll(signed, []byte("$1...")), []byte("><"), []byte(">\n<"))
			file := filepath.Join("testdata", tt.file)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("token is not as it was (-want +got); if that is meant, run the test with -update\n%s", diff)
			}
		})
	}
}

func TestSAML11_AttributesInTheirOrder(t *testing.T) {
	id := jon()
	id.GroupsIncomplete = true
	want := []attribute{
		{claims, "nameidentifier", []string{"9f1c2f9e-3b52-4a7e-8e4e-0c2b8c6f1a77"}},
		{claims, "emailaddress", []string{"jon@fabrikam.example"}},
		{claims, "name", []string{"Jon Müller & Söhne"}},
		{claims, "givenname", []string{"Jon"}},
		{claims, "surname", []string{"Müller"}},
		{passport, "nickname", []string{"jon"}},
		{passport, "groups", []string{"Domain Users", "R&D <core>"}},
		{passport, "dn", []string{`CN=Müller\, Jon,OU=R+D,DC=fabrikam,DC=example`}},
		{passport, "department", []string{"R&D"}},
		{passport, "organizationUnits", []string{"R+D", "People"}},
		{passport, "groups_incomplete", []string{"true"}},
		{passport, "authenticated_by", []string{"certificate"}},
		{passport, "certificate_subject", []string{"CN=jon,O=Fabrikam"}},
		{passport, "certificate_issuer", []string{"CN=Fabrikam Root CA"}},
		{passport, "certificate_serial_number", []string{"0a1b2c"}},
		{passport, "certificate_thumbprint", []string{strings.Repeat("ab", 32)}},
		{passport, "certificate_rule", []string{"san_upn"}},
		{passport, "certificate_strength", []string{"strong"}},
	}
	got := attributes(verify(t, sign(t, statement(id))))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got)\n%s", diff)
	}
}

func TestSAML11_FreshIDForEveryToken(t *testing.T) {
	shape := regexp.MustCompile(`^_[0-9A-Za-z]{32}$`)
	seen := map[string]bool{}
	for range 20 {
		s := statement(jon())
		s.ID = ""
		id := verify(t, sign(t, s)).SelectAttrValue("AssertionID", "")
		if !shape.MatchString(id) {
			t.Fatalf("AssertionID = %q, want %s", id, shape)
		}
		if seen[id] {
			t.Fatalf("AssertionID %q came twice", id)
		}
		seen[id] = true
	}
}

func TestSAML11_RefusesWhatWouldNotBeTrue(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*token.SAML11)
	}{
		{"no issuer", func(s *token.SAML11) { s.Issuer = "" }},
		{"issuer that XML cannot carry", func(s *token.SAML11) { s.Issuer = "urn:a\x00b" }},
		{"no audience", func(s *token.SAML11) { s.Audience = "" }},
		{"audience that XML cannot carry", func(s *token.SAML11) { s.Audience = "urn:a\uFFFEb" }},
		{"audience that would be changed", func(s *token.SAML11) { s.Audience = "urn:a\rb" }},
		{"subject without an ID, for a display name can be changed", func(s *token.SAML11) { s.Identity.ID = "" }},
		{"subject whose name would be another's", func(s *token.SAML11) { s.Identity.ID = "admin\x01" }},
		{"context that XML cannot carry", func(s *token.SAML11) { s.Context = "\xff" }},
		{"attribute whose name XML cannot carry", func(s *token.SAML11) {
			s.Identity.Attributes = []signin.Attribute{{Name: "a\x00", Values: []string{"x"}}}
		}},
		{"session is no proof", func(s *token.SAML11) { s.Identity.AuthenticatedBy = signin.BySession }},
		{"no proof", func(s *token.SAML11) { s.Identity.AuthenticatedBy = "" }},
		{"certificate unknown", func(s *token.SAML11) { s.Identity.Certificate = nil }},
		{"time of the proof unknown", func(s *token.SAML11) { s.Identity.AuthenticatedAt = time.Time{} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := statement(jon())
			tt.change(s)
			if signed, err := s.Sign(signingKey()); err == nil {
				t.Errorf("signed all the same:\n%s", signed)
			}
		})
	}
}

// nasty are texts that have broken tokens of others.
var nasty = []struct{ name, in, want string }{
	{"markup", `</saml:AttributeValue><saml:x y="1">`, `</saml:AttributeValue><saml:x y="1">`},
	{"end of CDATA", `a]]>b<![CDATA[c]]>`, `a]]>b<![CDATA[c]]>`},
	{"entity", `&amp;&#13;&lt;`, `&amp;&#13;&lt;`},
	{"comment", `ad<!-- -->min`, `ad<!-- -->min`},
	{"quotes", `"'`, `"'`},
	{"carriage returns", "a\r\nb\rc\r\r\nd\r", "a\nb\nc\n\nd\n"},
	{"blanks", " \t a  b\n\n ", " \t a  b\n\n "},
	{"controls", "a\x00\x01\x08\x0b\x0c\x1fb", "ab"},
	{"delete and C1 are allowed", "a\x7fb\u0080c", "a\x7fb\u0080c"},
	{"other line ends", "a\u0085b\u2028c\u2029d", "a\u0085b\u2028c\u2029d"},
	{"noncharacters", "a\uFFFEb\uFFFFc", "abc"},
	{"noncharacters of other planes are allowed", "a\U0001FFFEb", "a\U0001FFFEb"},
	{"broken UTF-8", "a\xc3(\xed\xa0\x80b\xff", "a(b"},
	{"replacement character", "a\uFFFDb", "a\uFFFDb"},
	{"byte order mark", "\uFEFFa", "\uFEFFa"},
	{"astral and combining", "𝔍o\u0308n 👩‍🚀", "𝔍o\u0308n 👩‍🚀"},
	{"right to left", "a\u202eb", "a\u202eb"},
}

func TestF3_MarkupAndControlCharactersCannotBreakTheToken(t *testing.T) {
	for _, tt := range nasty {
		t.Run(tt.name, func(t *testing.T) {
			s := statement(jon())
			s.Identity.DisplayName = tt.in
			s.Identity.Groups = []string{tt.in, "last"}
			s.Identity.Attributes = []signin.Attribute{{Name: "description", Values: []string{tt.in}}}
			got := attributes(verify(t, sign(t, s)))
			for _, want := range []attribute{
				{claims, "name", []string{tt.want}},
				{passport, "groups", []string{tt.want, "last"}},
				{passport, "description", []string{tt.want}},
			} {
				if !slices.ContainsFunc(got, func(a attribute) bool { return cmp.Equal(a, want) }) {
					t.Errorf("token lacks %q", want)
				}
			}
		})
	}
}

func TestF3_NamesWithMarkupStayNames(t *testing.T) {
	s := statement(jon())
	s.Issuer = `urn:"><x>&'` + "\t\n"
	s.Audience = `urn:</saml:Audience>]]>&"` + "\t\n"
	s.Identity.ID = `"><&` + "\n"
	s.Context = "a=\"1\"&b=<x>\t\n\r'"
	signed := sign(t, s)
	assertion := verify(t, signed)
	if got := assertion.SelectAttrValue("Issuer", ""); got != s.Issuer {
		t.Errorf("Issuer = %q, want %q", got, s.Issuer)
	}
	if got := assertion.FindElement(".//Audience").Text(); got != s.Audience {
		t.Errorf("Audience = %q, want %q", got, s.Audience)
	}
	for _, e := range assertion.FindElements(".//NameIdentifier") {
		if got := e.Text(); got != s.Identity.ID {
			t.Errorf("NameIdentifier = %q, want %q", got, s.Identity.ID)
		}
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(signed); err != nil {
		t.Fatal(err)
	}
	if got := doc.Root().SelectAttrValue("Context", ""); got != s.Context {
		t.Errorf("Context = %q, want %q", got, s.Context)
	}
}

func TestSAML11_ValuesOfWhichNothingIsLeftAreLeftOut(t *testing.T) {
	s := statement(jon())
	s.Identity.Email = "\x00"
	s.Identity.Groups = []string{"", "a", "\x01"}
	s.Identity.Attributes = []signin.Attribute{{Name: "description", Values: []string{"", "\uFFFF"}}}
	for _, a := range attributes(verify(t, sign(t, s))) {
		switch {
		case a.Name == "emailaddress" || a.Name == "description":
			t.Errorf("%s = %q, want none", a.Name, a.Values)
		case a.Name == "groups" && !slices.Equal(a.Values, []string{"a"}):
			t.Errorf("groups = %q, want only a", a.Values)
		}
	}
}

// asCarried is what the documentation says becomes of a text, the slow way.
func asCarried(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		bad := r == utf8.RuneError && n == 1
		if !bad && (r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 || r == 9 || r == 10) {
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

func FuzzSAML11(f *testing.F) {
	for _, tt := range nasty {
		f.Add(tt.in, tt.in, tt.in)
	}
	f.Add("jon", "department", "a\r\x00\nb")
	f.Fuzz(func(t *testing.T, name, attr, value string) {
		s := statement(jon())
		s.Identity.ID, s.Identity.DisplayName = name, name
		s.Identity.Groups = []string{value, "x" + value}
		s.Identity.Attributes = []signin.Attribute{{Name: "x", Values: []string{attr + value + attr}}}
		s.Context, s.Audience = attr, "urn:"+name
		signed, err := s.Sign(signingKey())
		if err != nil {
			if exact := asCarried(name) == name && name != ""; exact && token.IsText(attr) {
				t.Fatal(err)
			}
			return
		}
		assertion := verify(t, signed)
		if got := assertion.FindElement("./AuthenticationStatement/Subject/NameIdentifier").Text(); got != name {
			t.Errorf("NameIdentifier = %q, want %q", got, name)
		}
		if got := assertion.FindElement(".//Audience").Text(); got != s.Audience {
			t.Errorf("Audience = %q, want %q", got, s.Audience)
		}
		want := map[string][]string{"groups": {asCarried(value), "x" + asCarried(value)}, "x": {asCarried(attr + value + attr)}}
		if want["groups"][0] == "" {
			want["groups"] = want["groups"][1:]
		}
		if want["x"][0] == "" {
			delete(want, "x")
		}
		got := map[string][]string{}
		for _, a := range attributes(assertion) {
			if a.Name == "groups" || a.Name == "x" {
				got[a.Name] = a.Values
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("values (-want +got)\n%s", diff)
		}
	})
}

// TestSAML11_XMLSec has tokens checked by xmlsec1, which canonicalises and
// verifies with libxml2 and OpenSSL.
func TestSAML11_XMLSec(t *testing.T) {
	xmlsec, err := exec.LookPath("xmlsec1")
	if err != nil {
		dirtest.Missing(t, "xmlsec1 is not installed")
	}
	version, err := exec.Command(xmlsec, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirtest.Using(t, "%s", strings.TrimSpace(string(version)))
	s := statement(jon())
	for _, n := range nasty {
		s.Identity.Groups = append(s.Identity.Groups, n.in)
	}
	s.Context = "\"<>&\t\r\n"
	signed := sign(t, s)

	folder := t.TempDir()
	certificate := filepath.Join(folder, "certificate.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signingKey().Certificate.Raw})
	if err := os.WriteFile(certificate, data, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, response []byte) (string, error) {
		file := filepath.Join(folder, "token.xml")
		if err := os.WriteFile(file, response, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), xmlsec, "--verify",
			"--id-attr:AssertionID", "urn:oasis:names:tc:SAML:1.0:assertion:Assertion",
			"--pubkey-cert-pem", certificate, file).CombinedOutput()
		return string(out), err
	}
	if out, err := run(t, signed); err != nil {
		t.Errorf("xmlsec1 refuses the token: %v\n%s\n%s", err, out, signed)
	}
	altered := bytes.Replace(signed, []byte(">jon<"), []byte(">zoe<"), 1)
	if out, err := run(t, altered); err == nil {
		t.Errorf("xmlsec1 accepts an altered token, so it checked nothing:\n%s", out)
	}
}

func TestSigningKey_ConcurrentUse(t *testing.T) {
	want := sign(t, statement(jon()))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := statement(jon()).Sign(signingKey())
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("another token than before, error %v", err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkSAML11(b *testing.B) {
	key, s := signingKey(), statement(jon())
	s.ID = ""
	for i := range 10 {
		s.Identity.Groups = append(s.Identity.Groups, "Group number "+string(rune('0'+i)))
	}
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Sign(key); err != nil {
				b.Fatal(err)
			}
		}
	})
	// What of it is the signature, by a key of the same length.
	bare, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	b.Run("rsa-2048 alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(nil, bare, crypto.SHA256, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
