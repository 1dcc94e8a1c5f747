package certauth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/text/unicode/norm"

	"adconnector/ldapauth/denial"
)

// subjectCN is the DER of a subject whose only attribute is a common name of
// the given string type.
func subjectCN(tag cryptobyteasn1.Tag, value string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 5, 4, 3})
				b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
			})
		})
	})
	return b.BytesOrPanic()
}

func TestC2_NamesThatNoAccountMayHave(t *testing.T) {
	const utf8String = cryptobyteasn1.UTF8String
	for _, tt := range []struct {
		name  string
		tag   cryptobyteasn1.Tag
		value string
		want  string // the account, or "" for refused
	}{
		{"UTF8String", utf8String, "Jürgen", "Jürgen"},
		{"UTF8String beyond the first plane", utf8String, "𠮷野", "𠮷野"},
		{"PrintableString", cryptobyteasn1.PrintableString, "jon.smith", "jon.smith"},
		{"IA5String", cryptobyteasn1.IA5String, "jon@fabrikam.example", "jon@fabrikam.example"},
		{"BMPString", tagBMPString, "\x00J\x00\xfc\x00r", "Jür"},
		{"TeletexString of ASCII", cryptobyteasn1.T61String, "jon_smith", "jon_smith"},

		{"TeletexString beyond ASCII is two names", cryptobyteasn1.T61String, "J\xfcrgen", ""},
		{"PrintableString beyond ASCII", cryptobyteasn1.PrintableString, "J\xc3\xbcrgen", ""},
		{"IA5String beyond ASCII", cryptobyteasn1.IA5String, "J\xc3\xbcrgen", ""},
		{"BMPString with half a character", tagBMPString, "\x00j\x00", ""},
		{"BMPString with surrogates", tagBMPString, "\xd8\x42\xdf\xb7", ""},
		{"BMPString with a closing NUL", tagBMPString, "\x00j\x00\x00", ""},
		{"UniversalString", tagUniversalString, "\x00\x00\x00j", ""},
		{"OCTET STRING", cryptobyteasn1.OCTET_STRING, "jon", ""},
		{"a SEQUENCE", cryptobyteasn1.SEQUENCE, "\x0c\x03jon", ""},

		{"empty", utf8String, "", ""},
		{"invalid UTF-8", utf8String, "jon\xff", ""},
		{"overlong UTF-8", utf8String, "jo\xc1\xae", ""},
		{"surrogate in UTF-8", utf8String, "jon\xed\xa0\x80", ""},
		{"NUL", utf8String, "jon\x00", ""},
		{"NUL in front", utf8String, "\x00jon", ""},
		{"NUL and another name", utf8String, "jon\x00.evil", ""},
		{"newline", utf8String, "jon\nadmin", ""},
		{"carriage return", utf8String, "jon\r", ""},
		{"tab", utf8String, "jon\tadmin", ""},
		{"escape", utf8String, "\x1b[31mjon", ""},
		{"DEL", utf8String, "jon\x7f", ""},
		{"C1 control", utf8String, "jon\u0085x", ""},
		{"line separator", utf8String, "jon\u2028x", ""},
		{"right-to-left override", utf8String, "jon\u202enimda", ""},
		{"right-to-left mark", utf8String, "jon\u200f", ""},
		{"isolate", utf8String, "\u2066jon", ""},
		{"zero-width space", utf8String, "jo\u200bn", ""},
		{"zero-width joiner", utf8String, "jo\u200dn", ""},
		{"soft hyphen", utf8String, "jo\u00adn", ""},
		{"byte-order mark", utf8String, "\ufeffjon", ""},
		{"tag character", utf8String, "jon\U000e0041", ""},
		{"variation selector", utf8String, "jon\ufe0f", ""},
		{"letter that does not show", utf8String, "jon\u3164x", ""},
		{"mark that does not show", utf8String, "jo\u034fn", ""},
		{"private use", utf8String, "jon\ue000", ""},
		{"noncharacter", utf8String, "jon\uffff", ""},
		{"unassigned", utf8String, "jon\u0378", ""},
		{"not composed", utf8String, "Ju\u0308rgen", ""},
		{"compatibility character, which form C keeps", utf8String, "\ufb01nn", "\ufb01nn"},
		{"character that form C replaces", utf8String, "\u212bngstrom", ""}, // Angstrom sign
		{"look-alikes are exactly what they are", utf8String, "\u0430dmin", "\u0430dmin"},
		{"blank inside", utf8String, "Jon Smith", "Jon Smith"},
		{"blank in front", utf8String, " jon", ""},
		{"blank behind", utf8String, "jon ", ""},
		{"no-break space in front", utf8String, "\u00a0jon", ""},
		{"ideographic space behind", utf8String, "jon\u3000", ""},
		{"nothing but blanks", utf8String, "   ", ""},
		{"256 characters", utf8String, strings.Repeat("ü", 256), strings.Repeat("ü", 256)},
		{"257 characters", utf8String, strings.Repeat("u", 257), ""},
		{"64 kB", utf8String, strings.Repeat("u", 60_000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := commonName(subjectCN(tt.tag, tt.value))
			if got != tt.want {
				t.Errorf("name = %q, want %q (error: %v)", got, tt.want, err)
			}
			if tt.want != "" {
				return
			}
			if r := denial.ReasonOf(err); r != denial.BadName {
				t.Fatalf("reason = %q, want bad_name (error: %v)", r, err)
			}
			if text := err.Error(); len(text) > 2100 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("the detail is not fit for a log: %q", text)
			}
		})
	}
}

func TestC2_TheDetailQuotesWhatWasSeen(t *testing.T) {
	_, err := commonName(subjectCN(cryptobyteasn1.UTF8String, "jon\u202enimda"))
	if want := `bad_name: the common name "jon\u202enimda" has the invisible or unassigned character U+202E`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestC1_SubjectsThatAreNotDER(t *testing.T) {
	for _, raw := range []string{
		"", "\x30", "\x31\x00", "\x30\x02\x31\x00", // an empty set names nothing
		"\x30\x10\x31\x00\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon", // an empty set in front
		"\x30\x00\x00", // bytes behind the end
		"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon\x00",                          // a byte behind the set
		"\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x03jon\x0c\x00",                      // a second value
		"\x30\x80\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon\x00\x00",                      // indefinite length
		"\x30\x81\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon",                          // length longer than need be
		"\x30\x0e\x30\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon",                              // a sequence for a set
		"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x03j",                                // cut off
		"\x30\x0f\x31\x0d\x30\x0b\x06\x04\x55\x04\x80\x03\x0c\x03jon",                          // common name, spelt otherwise
		"\x30\x0e\x31\x0c\x30\x0a\x0c\x03\x55\x04\x03\x0c\x03jon",                              // a text for an identifier
		"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x1f\x03jon",                              // a tag of several bytes
		"\x30\x07\x31\x05\x30\x03\x06\x01\x55", "\x30\x09\x31\x07\x30\x05\x06\x03\x55\x04\x03", // no value
	} {
		if name, err := commonName([]byte(raw)); name != "" || err != nil && denial.ReasonOf(err) != denial.BadName {
			t.Errorf("%q: name %q, error %v; want bad_name, or nothing", raw, name, err)
		}
		if name, err := subjectName([]byte(raw)); strings.Contains(name, "jon") && !strings.Contains(name, "1.3=") && err == nil {
			t.Errorf("%q: subject %q; want bad_name", raw, name)
		}
	}
}

func TestNameTextIsRFC4514AndShowsEverything(t *testing.T) {
	av := func(value string, oid ...int) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: oid, Value: value}
	}
	cn := func(value string) pkix.AttributeTypeAndValue { return av(value, 2, 5, 4, 3) }
	for _, tt := range []struct {
		name pkix.RDNSequence
		want string
	}{
		{nil, ""},
		{pkix.RDNSequence{{av("example", 0, 9, 2342, 19200300, 100, 1, 25)}, {av("People", 2, 5, 4, 11)}, {cn("jon")}}, "CN=jon,OU=People,DC=example"},
		{pkix.RDNSequence{{cn("a")}, {cn("b"), cn("c")}, {cn("a")}}, "CN=a,CN=b+CN=c,CN=a"},
		{pkix.RDNSequence{{cn(`Smith, "Jon" <j+k;l\m>`)}}, `CN=Smith\, \"Jon\" \<j\+k\;l\\m\>`},
		{pkix.RDNSequence{{cn(" jon ")}}, `CN=\ jon\ `},
		{pkix.RDNSequence{{cn("#jon# =")}}, `CN=\#jon# =`},
		{pkix.RDNSequence{{cn(" ")}}, `CN=\ `},
		{pkix.RDNSequence{{cn("Jürgen 山")}}, "CN=Jürgen 山"},
		{pkix.RDNSequence{{cn("a\x00\r\n\x1b\u202e\u00a0\ufeffb")}}, `CN=a\00\0d\0a\1b\e2\80\ae\c2\a0\ef\bb\bfb`},
		{pkix.RDNSequence{{av("jon@example", 1, 2, 840, 113549, 1, 9, 1)}}, "emailAddress=jon@example"},
		{pkix.RDNSequence{{av("x", 1, 2, 3)}}, "1.2.3=#130178"},
	} {
		raw, err := asn1.Marshal(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := nameText(raw); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	if got := nameText(subjectCN(cryptobyteasn1.T61String, "J\xfc")); got != "CN=#14024afc" {
		t.Errorf("undecodable value: got %s", got)
	}
	if got := nameText([]byte("nonsense")); got != "(unreadable)" {
		t.Errorf("no DER: got %s", got)
	}
}

func TestDescribeIsBoundedAndPrintableWhateverTheCertificateHolds(t *testing.T) {
	long := subjectCN(cryptobyteasn1.UTF8String, strings.Repeat("ü\n", 20_000))
	var many pkix.RDNSequence
	for range 10_000 {
		many = append(many, []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "jon"}})
	}
	deep, err := asn1.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	odd := subjectCN(cryptobyteasn1.OCTET_STRING, strings.Repeat("\xff", 60_000))
	serial := new(big.Int).Lsh(big.NewInt(1), 400_000)
	for _, raw := range [][]byte{long, deep, odd, nil} {
		c := Describe(&x509.Certificate{Raw: []byte{1}, RawSubject: raw, RawIssuer: raw, SerialNumber: serial, NotAfter: time.Now()})
		for _, text := range []string{c.Subject, c.Issuer, c.Serial} {
			if len(text) > maxNameText+len(ellipsis) {
				t.Errorf("%d bytes, more than %d", len(text), maxNameText)
			}
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) {
				t.Errorf("not printable: %q", text)
			}
		}
		if c.UserName != "" || c.Rule != "" {
			t.Errorf("an unverified certificate names %q by %q", c.UserName, c.Rule)
		}
	}
	if c := Describe(&x509.Certificate{SerialNumber: new(big.Int)}); c.Serial != "00" {
		t.Errorf("serial number 0: got %q", c.Serial)
	}
}

func FuzzCommonName(f *testing.F) {
	for _, name := range []string{"jon", "Jürgen", "Ju\u0308rgen", "jon\x00", " jon", "jon\u202e", ")(cn=*", "𠮷"} {
		f.Add(subjectCN(cryptobyteasn1.UTF8String, name))
	}
	f.Add(subjectCN(tagBMPString, "\x00j\x00o\x00n"))
	f.Add(subjectCN(cryptobyteasn1.T61String, "J\xfc"))
	f.Add(subjectCN(tagUniversalString, "\x00\x00\x00j"))
	f.Add([]byte("\x30\x1a\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01x"))
	f.Add([]byte("\x30\x18\x31\x16\x30\x0a\x06\x03\x55\x04\x03\x0c\x03jon\x30\x08\x06\x03\x55\x04\x03\x0c\x01x"))
	f.Add([]byte{})
	f.Add([]byte("\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x0b\x0c\x03jon")) // OU=jon, and no common name
	f.Fuzz(func(t *testing.T, raw []byte) {
		if text := nameText(raw); len(text) > maxNameText+len(ellipsis) || !utf8.ValidString(text) ||
			strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the text is not fit for a page: %q", text)
		}
		name, err := commonName(raw)
		if err != nil {
			if r := denial.ReasonOf(err); name != "" || r != denial.BadName && r != denial.AmbiguousName {
				t.Errorf("name %q with %v", name, err)
			}
			return
		}
		// "" says that there is none, which the comparison below bears out.
		if !utf8.ValidString(name) || utf8.RuneCountInString(name) > 256 || !norm.NFC.IsNormalString(name) ||
			strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl) {
			t.Errorf("%q is no name for an account", name)
		}
		// Whoever reads the name by another program must read the same.
		var rdns pkix.RDNSequence
		if rest, err := asn1.Unmarshal(raw, &rdns); err != nil || len(rest) > 0 {
			return // stricter than we are, for attributes that are not the name
		}
		var subject pkix.Name
		subject.FillFromRDNSequence(&rdns)
		if subject.CommonName != name {
			t.Errorf("we read %q, crypto/x509/pkix reads %q", name, subject.CommonName)
		}
	})
}
