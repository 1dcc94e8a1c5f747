package wsfed_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"adconnector/connector/signin"
	"adconnector/connector/wsfed"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/dirtest"
)

// A delivery is what a relying party gets and what it goes by.
type delivery struct {
	Result      string `json:"wresult"`
	Certificate string `json:"certificate"` // which it trusts: base64 of the DER
	Audience    string `json:"audience"`    // which it is
}

// A verdict is what it makes of it.
type verdict struct {
	Profile map[string]any `json:"profile"`
	Error   string         `json:"error"`
}

// deliver has deliveries judged by passport-wsfed-saml2, the library that
// Auth0's connections are made of.
func deliver(t *testing.T, deliveries []delivery) []verdict {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		dirtest.Missing(t, "node is not installed")
	}
	const folder = "testdata/rp"
	if _, err := os.Stat(folder + "/node_modules/passport-wsfed-saml2"); err != nil {
		dirtest.Missing(t, "passport-wsfed-saml2 is not installed: run npm ci in connector/wsfed/%s", folder)
	}
	var module struct{ Version string }
	if data, err := os.ReadFile(folder + "/node_modules/passport-wsfed-saml2/package.json"); err != nil || json.Unmarshal(data, &module) != nil {
		t.Fatalf("the version of passport-wsfed-saml2 cannot be told: %v", err)
	}
	dirtest.Using(t, "passport-wsfed-saml2 %s", module.Version)
	input, err := json.Marshal(deliveries)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--no-deprecation", "verify.js")
	cmd.Dir = folder
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var verdicts []verdict
	if err := json.Unmarshal(output, &verdicts); err != nil || len(verdicts) != len(deliveries) {
		t.Fatalf("%v in\n%s", err, output)
	}
	return verdicts
}

// issue returns the wresult of a sign-in as a browser delivers it: what it
// submits has CRLF for line ends.
func issue(t *testing.T, p *wsfed.Protocol, id *signin.Identity) string {
	t.Helper()
	pending, err := p.Receive(get(url.Values{"wtrealm": {"urn:auth0:fabrikam"}, "wctx": {`a="1"&b=<x>`}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(reply(t, p, pending, id).fields["wresult"], "\n", "\r\n")
}

func TestRelyingParty(t *testing.T) {
	p := newProtocol(t, config())
	certificate := base64.StdEncoding.EncodeToString(signingKeys().Current().Certificate.Raw)
	otherCertificate := base64.StdEncoding.EncodeToString(keysAt(0).Current().Certificate.Raw)
	const realm = "urn:auth0:fabrikam"

	byCertificate := jon()
	byCertificate.AuthenticatedBy = signin.ByCertificate
	byCertificate.Certificate = &certauth.Certificate{
		Subject: "CN=jon", Issuer: "CN=Fabrikam Root CA", Serial: "0a1b2c", Thumbprint: strings.Repeat("ab", 32),
	}
	nasty := jon()
	nasty.DisplayName = `"><script>alert(1)</script>]]>&amp;&#13;<!-- x --><![CDATA[y]]>`
	nasty.Groups = []string{
		"Main Street 1\r\n12345 Town\rCountry", " a  b\t", "a\x00b\x1f\uFFFEc\xff",
		"Träger (all), x", "𝔍 👩‍🚀 \u202e \u00ad", `\"'`, "next\u0085line", "line\u2028separator\u2029s", "\uFEFFx\u007f",
	}
	nasty.Attributes = []signin.Attribute{{Name: "organizationUnits", Values: []string{"People"}}}

	good := issue(t, p, jon())
	issuedAgo := func(d time.Duration) string {
		p := newProtocol(t, config())
		p.Now = func() time.Time { return time.Now().Add(-d) }
		return issue(t, p, jon())
	}
	const claims, passport = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/", "http://schemas.passportjs.com/"
	tests := []struct {
		name     string
		delivery delivery
		profile  map[string]any // part of what it must see
		refusal  string         // or part of why it must refuse
	}{
		{"password", delivery{good, certificate, realm}, map[string]any{
			"issuer":                      "urn:fabrikam:adconnector",
			claims + "nameidentifier":     "9f1c2f9e-3b52-4a7e-8e4e-0c2b8c6f1a77",
			claims + "emailaddress":       "jon@fabrikam.example",
			claims + "name":               "Jon Müller",
			passport + "nickname":         "jon",
			passport + "groups":           []any{"Domain Users", "R&D"},
			passport + "authenticated_by": "password",
		}, ""},
		{"certificate", delivery{issue(t, p, byCertificate), certificate, realm}, map[string]any{
			passport + "authenticated_by":          "certificate",
			passport + "certificate_subject":       "CN=jon",
			passport + "certificate_issuer":        "CN=Fabrikam Root CA",
			passport + "certificate_serial_number": "0a1b2c",
			passport + "certificate_thumbprint":    strings.Repeat("ab", 32),
		}, ""},
		{"texts that break tokens", delivery{issue(t, p, nasty), certificate, realm}, map[string]any{
			claims + "name": nasty.DisplayName,
			passport + "groups": []any{
				"Main Street 1\n12345 Town\nCountry", " a  b\t", "abc",
				"Träger (all), x", "𝔍 👩‍🚀 \u202e \u00ad", `\"'`, "next\u0085line", "line\u2028separator\u2029s", "\uFEFFx\u007f",
			},
			passport + "organizationUnits": "People",
		}, ""},
		{"other audience", delivery{good, certificate, "urn:auth0:contoso"}, nil, "Audience is invalid"},
		{"other certificate", delivery{good, otherCertificate, realm}, nil, "signature"},
		{"altered name", delivery{strings.Replace(good, ">jon<", ">zoe<", 1), certificate, realm}, nil, "digest"},
		{"altered audience", delivery{strings.Replace(good, ">"+realm+"<", ">urn:auth0:contoso<", 1), certificate, "urn:auth0:contoso"}, nil, "digest"},
		{"no signature", delivery{good[:strings.Index(good, "<Signature ")] + good[strings.Index(good, "</Signature>")+len("</Signature>"):], certificate, realm}, nil, "Signature is missing"},
		{"expired", delivery{issuedAgo(8*time.Hour + 5*time.Minute), certificate, realm}, nil, "expired"},
		{"just not expired", delivery{issuedAgo(8*time.Hour - 5*time.Minute), certificate, realm}, map[string]any{passport + "nickname": "jon"}, ""},
		{"of tomorrow", delivery{issuedAgo(-24 * time.Hour), certificate, realm}, nil, "expired"},
	}
	var deliveries []delivery
	for _, tt := range tests {
		deliveries = append(deliveries, tt.delivery)
	}
	verdicts := deliver(t, deliveries)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdicts[i]
			if tt.refusal != "" {
				if !strings.Contains(v.Error, tt.refusal) {
					t.Errorf("it says %q and sees %v, want a refusal about %q", v.Error, v.Profile, tt.refusal)
				}
				return
			}
			if v.Error != "" {
				t.Fatalf("it refuses: %s\n%s", v.Error, tt.delivery.Result)
			}
			for name, want := range tt.profile {
				if got := v.Profile[name]; !reflect.DeepEqual(got, want) {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}
