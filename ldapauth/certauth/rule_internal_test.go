package certauth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"unicode/utf8"

	"adconnector/ldapauth/denial"
)

func TestC6_TextsThatAreNoSecurityIdentifier(t *testing.T) {
	for _, good := range []string{
		"S-1-5-21-1004336348-1177238915-682003330-1104", "S-1-5-18", "S-1-1-0", "S-1-281474976710655-4294967295",
		"S-1-5" + strings.Repeat("-1", 15),
	} {
		if !isSecurityID(good) {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{
		"", "S", "S-1", "S-1-5", "s-1-5-18", "S-2-5-18", "S-1-05-18", "S-1-5-018", "S-1-5--18", "S-1-5-18-", " S-1-5-18", "S-1-5-18\n", "S-1-5-18\x00",
		"S-1-5-4294967296", "S-1-281474976710656-1", "S-1-5-0x12", "S-1-5-+18", "S-1-5-18*", "S-1-5" + strings.Repeat("-1", 16), "S-1-5-１８",
	} {
		if isSecurityID(bad) {
			t.Errorf("%q is taken for one", bad)
		}
	}
}

// name returns the DER of a distinguished name of single attributes.
func name(t testing.TB, list ...pkix.AttributeTypeAndValue) []byte {
	t.Helper()
	var rdns pkix.RDNSequence
	for _, a := range list {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{a})
	}
	der, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestC7_NamesAreWrittenAsWindowsWritesThem(t *testing.T) {
	av := func(value string, id ...int) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: id, Value: value}
	}
	cn := func(value string) pkix.AttributeTypeAndValue { return av(value, 2, 5, 4, 3) }
	for _, tt := range []struct {
		der  []byte
		want string // "": it cannot be written
	}{
		{name(t, av("US", 2, 5, 4, 6), av("U.S. Government", 2, 5, 4, 10), av("Certification Authorities", 2, 5, 4, 11)), "C=US,O=U.S. Government,OU=Certification Authorities"},
		{name(t, av("Bayern", 2, 5, 4, 8), av("jon@f.example", 1, 2, 840, 113549, 1, 9, 1), av("47", 2, 5, 4, 5)), "S=Bayern,E=jon@f.example,SERIALNUMBER=47"},
		{name(t, cn("jon"), av("4711", 0, 9, 2342, 19200300, 100, 1, 1)), "CN=jon,OID.0.9.2342.19200300.100.1.1=4711"},
		{name(t, cn("a,b")), `CN="a,b"`},
		{name(t, cn(`a "b" c`)), `CN="a ""b"" c"`},
		{name(t, cn("<SR>12")), `CN="<SR>12"`}, // no tag in a name is one of ours
		{name(t, cn("a#b")), `CN="a#b"`},
		{name(t, cn("Jürgen Müller")), "CN=Jürgen Müller"},
		{name(t, cn(" a")), ""},
		{name(t, cn("a\nb")), ""},
		{name(t, cn("")), ""},
		{name(t, cn("jo\u202en")), ""},
		{name(t, cn(strings.Repeat("a", 257))), ""},
		{name(t), ""},
		{[]byte("nonsense"), ""},
	} {
		got, ok := windowsName(tt.der)
		if !ok {
			got = ""
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	joined, err := asn1.Marshal(pkix.RDNSequence{{cn("JANE DOE"), av("47001003151020", 0, 9, 2342, 19200300, 100, 1, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := windowsName(joined)
	if want := []string{"CN=JANE DOE OID.0.9.2342.19200300.100.1.1=47001003151020", "OID.0.9.2342.19200300.100.1.1=47001003151020 CN=JANE DOE"}; !ok || got != want[0] && got != want[1] {
		t.Errorf("parts of one level: %q", got)
	}
}

// FuzzSecurityID reads the extension and the URI. What comes out is the one way
// to write an identifier, or nothing.
func FuzzSecurityID(f *testing.F) {
	const sid = "S-1-5-21-1004336348-1177238915-682003330-1104"
	f.Add([]byte("\x30\x3f\xa0\x3d\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x19\x02\x01\xa0\x2f\x04\x2d"+sid), sid)
	f.Add([]byte("\x30\x00"), "")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSecurityID, Value: raw}}}
		for _, names := range []*altNames{{}, {sids: []string{text}}, {sids: []string{text, sid}}} {
			for _, c := range []*x509.Certificate{leaf, {}} {
				got, err := securityID(c, names)
				if err != nil && (got != "" || denial.ReasonOf(err) == "") {
					t.Fatalf("%q, %v", got, err)
				}
				if got != "" && (!isSecurityID(got) || len(names.sids) > 0 && got != names.sids[0] || len(names.sids) > 1) {
					t.Errorf("got %q of %q", got, names.sids)
				}
			}
		}
	})
}

// FuzzAltNames reads alternative names. What comes out is a name that somebody
// may have, and stands in the certificate.
func FuzzAltNames(f *testing.F) {
	f.Add([]byte("\x30\x24\xa0\x22\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03\xa0\x14\x0c\x12jon@contoso.com.au"))
	f.Add([]byte("\x30\x0f\x81\x0djon@a.example"))
	f.Add([]byte("\x30\x0f\x86\x0dtag:x.example"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: raw}}}
		names, err := readAltNames(leaf)
		if err != nil {
			return
		}
		for _, read := range []func() (string, error){names.principal, names.email} {
			got, err := read()
			if err != nil && (got != "" || denial.ReasonOf(err) == "") {
				t.Fatalf("%q, %v", got, err)
			}
			if got != "" && (checkAddress(got) != nil || !utf8.ValidString(got)) {
				t.Errorf("let pass: %q", got)
			}
		}
	})
}

// FuzzIdentities writes what may stand in altSecurityIdentities. No name can
// bring a tag of its own.
func FuzzIdentities(f *testing.F) {
	f.Add(name(f, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "a<SR>12"}), []byte{1, 2})
	f.Add(subjectCN(12, `"<S>`), []byte{})
	f.Fuzz(func(t *testing.T, raw, id []byte) {
		text, ok := windowsName(raw)
		if !ok {
			return
		}
		quoted := false
		for _, r := range text {
			switch {
			case r == '"':
				quoted = !quoted
			case strings.ContainsRune("<>", r) && !quoted:
				t.Fatalf("a tag outside quotes: %q", text)
			}
		}
		if quoted || !utf8.ValidString(text) || len(text) > maxNameText {
			t.Errorf("not well formed: %q", text)
		}
	})
}

// FuzzSubjectName writes subjects for searches.
func FuzzSubjectName(f *testing.F) {
	f.Add(subjectCN(12, `a,b+c"d\e<f>g;h#i`))
	f.Add(subjectCN(30, "\x00a\x00b"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := subjectName(raw)
		if err != nil {
			if text != "" || denial.ReasonOf(err) == "" {
				t.Fatalf("%q, %v", text, err)
			}
			return
		}
		if !utf8.ValidString(text) || len(text) > maxNameText || strings.ContainsFunc(text, func(r rune) bool { return !isVisible(r) }) {
			t.Errorf("not fit for a search: %q", text)
		}
	})
}
