package connector_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/testca"
)

// TestRulesFromTheFileToTheToken has certificates that name jon in every way that
// a directory knows, and one that is in two minds.
func TestRulesFromTheFileToTheToken(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := prepareRig(t, d, "")
			r.configure("ca_files: [ca.crt]}", `ca_files: [ca.crt], revocation: {mode: "off"}, user_name: [sid, san_upn, san_email, subject_cn, {rule: subject_dn}]}`)
			r.start()
			first := r.mustSignIn(r.browser(inside, r.client("jon")), "", "")
			one := func(claim string) string {
				if v := first.claim(claim); len(v) == 1 {
					return v[0]
				}
				return ""
			}
			want := func(rule, strength string, mods ...func(*x509.Certificate)) {
				t.Helper()
				mods = append([]func(*x509.Certificate){func(c *x509.Certificate) { c.Subject.CommonName = "nobody" }}, mods...)
				tok := r.mustSignIn(r.browser(inside, r.holder(mods...)), "", "")
				if got := slices.Concat(tok.claim("nickname"), tok.claim("certificate_rule"), tok.claim("certificate_strength")); !slices.Equal(got, []string{d.nickname, rule, strength}) {
					t.Errorf("%s: got %q", rule, got)
				}
			}
			mail := func(c *x509.Certificate) { c.EmailAddresses = []string{one("emailaddress")} }
			want("san_email", "weak", mail)
			if upn := one("userPrincipalName"); upn != "" {
				want("san_upn", "weak", names(upn))
			}
			if name != "samba" {
				return
			}
			s := dirtest.SharedSambaAD(t)
			want("sid", "strong", sid(sidOf(t, s, "jon")), names(one("userPrincipalName")))
			if _, err := r.signIn(r.browser(inside, r.holder(sid(sidOf(t, s, "zoe")), names(one("userPrincipalName")))), "", ""); err == nil {
				t.Error("let in with zoe's identifier and jon's name")
			}
			r.wantRefused("sid_mismatch", `"rule":"sid"`)
		})
	}
}

// TestASubjectThatIsTheNameOfAnEntry on every directory.
func TestASubjectThatIsTheNameOfAnEntry(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			first := newRig(t, d, "")
			dn := first.mustSignIn(first.browser(inside, first.client("jon")), "", "").claim("dn")[0]
			r := prepareRig(t, d, "")
			r.configure("ca_files: [ca.crt]}", `ca_files: [ca.crt], revocation: {mode: "off"}, user_name: [subject_dn]}`)
			r.start()
			tok := r.mustSignIn(r.browser(inside, r.holder(subject(t, dn))), "", "")
			if got := slices.Concat(tok.claim("nickname"), tok.claim("certificate_rule")); !slices.Equal(got, []string{d.nickname, "subject_dn"}) {
				t.Errorf("got %q", got)
			}
			if _, err := r.signIn(r.browser(inside, r.holder(subject(t, "CN=x,"+dn))), "", ""); err == nil {
				t.Error("let in by the name of an entry below")
			}
			r.wantRefused("no_account")
		})
	}
}

// holder makes a certificate that says what the mods make it say.
func (r *rig) holder(mods ...func(*x509.Certificate)) *tls.Certificate {
	r.t.Helper()
	leaf, err := r.ca.Client("jon", mods...)
	if err != nil {
		r.t.Fatal(err)
	}
	pair := leaf.TLS()
	return &pair
}

// subject makes the subject one with single attributes.
func subject(t testing.TB, text string) func(*x509.Certificate) {
	t.Helper()
	dn, err := ldap.ParseDN(text)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]asn1.ObjectIdentifier{
		"cn": {2, 5, 4, 3}, "ou": {2, 5, 4, 11}, "dc": {0, 9, 2342, 19200300, 100, 1, 25}, "uid": {0, 9, 2342, 19200300, 100, 1, 1},
	}
	var list []pkix.AttributeTypeAndValue
	for _, rdn := range slices.Backward(dn.RDNs) {
		a := rdn.Attributes[0]
		list = append(list, pkix.AttributeTypeAndValue{Type: types[strings.ToLower(a.Type)], Value: a.Value})
	}
	return func(c *x509.Certificate) { c.Subject = pkix.Name{ExtraNames: list} }
}

// names makes a principal name the one alternative name.
func names(upn string) func(*x509.Certificate) {
	return general(asn1.ObjectIdentifier{2, 5, 29, 17}, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, cryptobyteasn1.UTF8String, upn)
}

// sid adds a security identifier as authorities of Active Directory do.
func sid(text string) func(*x509.Certificate) {
	return general(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1}, cryptobyteasn1.OCTET_STRING, text)
}

// general adds an extension with one otherName.
func general(id, kind asn1.ObjectIdentifier, tag cryptobyteasn1.Tag, value string) func(*x509.Certificate) {
	constructed := cryptobyteasn1.Tag(0).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(constructed, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(kind)
			b.AddASN1(constructed, func(b *cryptobyte.Builder) {
				b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
			})
		})
	})
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Value: b.BytesOrPanic()})
	}
}

// sidOf returns the security identifier of an account as text.
func sidOf(t testing.TB, s *dirtest.Server, account string) string {
	t.Helper()
	result, err := s.Admin(t).Search(ldap.NewSearchRequest(s.DN(t, account), ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"objectSid"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	raw := result.Entries[0].GetRawAttributeValue("objectSid")
	text := fmt.Sprintf("S-1-%d", raw[7])
	for i := 8; i < len(raw); i += 4 {
		text += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(raw[i:]))
	}
	return text
}

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
