package connector_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"adconnector/ldapauth/testca"
)

// TestC8_ADeviceAuthoritySignsNobodyInByACommonName, from the file to the token:
// its certificates obey its own rules, and its own networks.
func TestC8_ADeviceAuthoritySignsNobodyInByACommonName(t *testing.T) {
	r := prepareRig(t, inMemory(t), "session: {lifetime: 8h, recheck: 0s}")
	devices, err := testca.New("Rig CA") // of the same name as the other one
	if err != nil {
		t.Fatal(err)
	}
	r.write("devices.crt", devices.PEM())
	r.configure("ca_files: [ca.crt]}", `ca_files: [ca.crt], revocation: {mode: "off"}, authorities: [
  {ca_file: devices.crt, user_name: [{rule: san_email, filter: "(mail={0})"}]}]}`)
	r.start()
	device := func(cn, mail string) *tls.Certificate {
		leaf, err := devices.Client(cn, func(c *x509.Certificate) {
			if mail != "" {
				c.EmailAddresses = []string{mail}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		pair := leaf.TLS()
		return &pair
	}
	tok := r.mustSignIn(r.browser(inside, r.client("jon")), "", "")
	if rule, strength := tok.claim("certificate_rule"), tok.claim("certificate_strength"); len(rule) != 1 || rule[0] != "subject_cn" || len(strength) != 1 || strength[0] != "weak" {
		t.Errorf("rule %q, strength %q", rule, strength)
	}
	if _, err := r.signIn(r.browser(inside, device("jon", "")), "", ""); err == nil {
		t.Error("a device is let in by its common name")
	}
	r.wantRefused("bad_name", "no e-mail address")
	tok = r.mustSignIn(r.browser(inside, device("jon", "amy@fabrikam.example")), "", "")
	if name := tok.claim("nickname"); len(name) != 1 || name[0] != "amy" {
		t.Errorf("by the mail address: %q", name)
	}
}

func TestC8_AnAuthoritysOwnNetworksAndStrength(t *testing.T) {
	for name, tt := range map[string]struct{ more, reason string }{
		"networks": {"ip_ranges: [10.20.0.0/16]", "not_allowed_here"},
		"strength": {"require_strong: true", "weak_mapping"},
		"policies": {"policies: [1.3.6.1.4.1.99999.1.2]", "wrong_policy"},
	} {
		t.Run(name, func(t *testing.T) {
			r := prepareRig(t, inMemory(t), "")
			r.configure("ca_files: [ca.crt]}", `revocation: {mode: "off"}, authorities: [{ca_file: ca.crt, `+tt.more+`}]}`)
			r.start()
			if _, err := r.signIn(r.browser(inside, r.client("jon")), "", ""); err == nil {
				t.Error("let in")
			}
			r.wantRefused(tt.reason)
			if strings.Contains(r.pages.String(), "10.20.0.0") {
				t.Error("a page tells the networks")
			}
		})
	}
}
