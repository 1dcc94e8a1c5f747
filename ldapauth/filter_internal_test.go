package ldapauth

import (
	"strings"
	"testing"
	"unicode/utf8"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// FuzzC3_ANameIsOneLiteral holds for every name, also for those that are
// refused before they get that far.
func FuzzC3_ANameIsOneLiteral(f *testing.F) {
	for _, s := range []string{
		"jon", "*", "jon)(cn=*", "jon)(|(cn=*", `\2a`, "\x00", "o'neil (ops)\\*", "Zoë (Ops), Müller", "{0}", "\xff\xfe", "(&", ")", "",
		stand, "a=b", "~=", ":dn:=", "<", "ｊｏｎ", strings.Repeat("\\", 100),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, err := ldap.CompileFilter(fill("(uid={0})", name))
		if err != nil {
			t.Fatalf("%q makes a filter that does not compile: %v", name, err)
		}
		if p.Tag != ldap.FilterEqualityMatch || len(p.Children) != 2 || p.Children[0].Data.String() != "uid" || p.Children[1].Data.String() != name {
			text, _ := ldap.DecompileFilter(p)
			t.Errorf("%q became %s", name, text)
		}
		p, err = ldap.CompileFilter(fill(activeDirectory.userFilter, name))
		if err != nil || p.Tag != ldap.FilterAnd || len(p.Children) != 3 || p.Children[2].Children[1].Data.String() != name {
			t.Errorf("%q changed the shape of the filter (%v)", name, err)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range [][2]string{{"jon", "JON"}, {"Ärger", "äRGER"}, {"k", "\u212a"}, {"s", "ſ"}, {"ß", "ẞ"}, {"σ", "ς"}, {"\xff", "\xfe"}, {"", "x"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		same := sameName(a, b)
		if same != sameName(b, a) {
			t.Errorf("%q and %q: it depends on who is asked", a, b)
		}
		if same && utf8.ValidString(a) && utf8.ValidString(b) && !strings.EqualFold(a, b) {
			t.Errorf("%q and %q differ in more than case", a, b)
		}
		if !sameName(a, a) {
			t.Errorf("%q is not itself", a)
		}
		if checkName(a) == nil && (a == "" || strings.ContainsAny(a, "\x00\r\n") || strings.TrimSpace(a) != a) {
			t.Errorf("%q is allowed", a)
		}
	})
}

func TestSameName(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"jon", "JON", true},
		{"Zoë", "ZOË", true},
		{"jon", "jon ", false},
		{"jon", "ｊｏｎ", false},
		{"jon", "jón", false},
		{"mark", "mar\u212a", false}, // Kelvin sign, which folds to k
		{"smith", "ſmith", false},    // long s, which folds to s
		{"straße", "strasse", false},
		{"σ", "ς", true},
		{"", "", true},
		{"a", "", false},
	} {
		if got := sameName(tt.a, tt.b); got != tt.want {
			t.Errorf("sameName(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}

func TestUserFilters(t *testing.T) {
	for _, tt := range []struct{ filter, want string }{ // want: the comparisons, or a part of the error
		{"(uid={0})", "uid={0}"},
		{"(&(objectClass=person)(|(uid={0})(mail={0})))", "uid={0} mail={0}"},
		{"(userPrincipalName={0}@corp.example.test)", "userPrincipalName={0}@corp.example.test"},
		{"(|(uid={0})(cn=*{0}*))", "uid={0}"},
		{"(&(uid={0})(!(st=closed)))", "uid={0}"},
		{"(uid=jon)", "must hold {0}"},
		{"", "must hold {0}"},
		{"uid={0}", "not a search filter"},
		{"(uid={0}", "not a search filter"},
		{"(cn=*{0}*)", "must compare an attribute"},
		{"(cn={0}*)", "must compare an attribute"},
		{"(cn>={0})", "must compare an attribute"},
		{"(cn:caseExactMatch:={0})", "must compare an attribute"},
		{"({0}=jon)", "only as a value"},
		{"(&(uid={0})({0}=*))", "only as a value"},
		{"(!(uid={0}))", "negation"},
		{"(&(uid={0})(!(mail={0})))", "negation"},
		{"(uid=" + stand + "{0})", "not a usable"},
	} {
		f, err := parseUserFilter(tt.filter)
		if err != nil {
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.filter, err, tt.want)
			}
			continue
		}
		var got []string
		for _, c := range f.equal {
			got = append(got, c.attribute+"="+c.value)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s compares %q, want %q", tt.filter, s, tt.want)
		}
		if _, err := ldap.CompileFilter(f.anyone()); err != nil {
			t.Errorf("%s: the filter for anyone, %s: %v", tt.filter, f.anyone(), err)
		}
	}
}

func TestNormalDN(t *testing.T) {
	same := []string{
		`CN=Träger (all)\, x,OU=Groups,DC=Corp,DC=test`,
		`cn=tr\c3\a4ger (all)\2c x,ou=groups,dc=corp,dc=test`,
		`cn=TRÄGER (all)\, x, ou=groups , dc=corp,dc=test`,
	}
	want, err := normalDN(same[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, dn := range same {
		if got, err := normalDN(dn); got != want || err != nil {
			t.Errorf("%s is %s (%v), want %s", dn, got, err, want)
		}
	}
	for _, dn := range []string{`cn=a,cn=b`, `cn=a\,cn=b`, `cn=a+cn=b`, `cn=b,cn=a`, `cn=a`} {
		for _, other := range []string{`cn=a,cn=b`, `cn=a\,cn=b`, `cn=a+cn=b`, `cn=b,cn=a`, `cn=a`} {
			x, _ := normalDN(dn)
			y, _ := normalDN(other)
			if (x == y) != (dn == other) {
				t.Errorf("%s and %s: %s and %s", dn, other, x, y)
			}
		}
	}
	if _, err := normalDN("no DN"); err == nil {
		t.Error("what is no DN has a normal form")
	}
}

func TestGUIDs(t *testing.T) {
	raw := "\xf9\xf5\xde\x7e\x68\xa8\xef\x48\x01\x02\x03\x04\x05\x06\x07\x08"
	const text = "7edef5f9-a868-48ef-0102-030405060708"
	if got, ok := guidText(raw); got != text || !ok {
		t.Errorf("guidText = %q, %v", got, ok)
	}
	for _, s := range []string{text, strings.ToUpper(text)} {
		if got, ok := guidBytes(s); got != raw || !ok {
			t.Errorf("guidBytes(%q) = %x, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "*", text[1:], text + "0", strings.ReplaceAll(text, "-", ""), strings.Replace(text, "-", "", 1) + "-", "7edef5f9-a868-48ef-0102-03040506070g"} {
		if _, ok := guidBytes(s); ok {
			t.Errorf("guidBytes(%q) is accepted", s)
		}
	}
	if _, ok := guidText(raw[1:]); ok {
		t.Error("15 bytes are a GUID")
	}
}

func TestRecognise(t *testing.T) {
	for _, tt := range []struct {
		name string
		root map[string][]string
		want *dialect
	}{
		{"a domain controller", map[string][]string{"supportedCapabilities": {"1.2.840.113556.1.4.1670", capActiveDirectory}}, activeDirectory},
		{"OpenLDAP", map[string][]string{"objectClass": {"top", "OpenLDAProotDSE"}}, openLDAP},
		{"AD LDS, which has no user accounts of a domain", map[string][]string{"supportedCapabilities": {"1.2.840.113556.1.4.1851"}}, nil},
		{"389 Directory Server", map[string][]string{"objectClass": {"top"}, "vendorName": {"389 Project"}}, directoryServer},
		{"something else", map[string][]string{"objectClass": {"top"}, "vendorName": {"Novell, Inc."}}, nil},
		{"nothing to see", nil, nil},
	} {
		got, err := recognise(ldap.NewEntry("", tt.root))
		if got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if tt.want == nil && (err == nil || !strings.Contains(err.Error(), "active_directory, openldap, rfc2307, rfc2307bis, 389ds")) {
			t.Errorf("%s: the error does not list what there is: %v", tt.name, err)
		}
	}
}

func TestANameIsHeldAgainstTheEntry(t *testing.T) {
	f, err := parseUserFilter("(|(uid={0})(mail={0}@corp.example.test))")
	if err != nil {
		t.Fatal(err)
	}
	a := &Account{entry: ldap.NewEntry("", map[string][]string{"UID": {"j", "Jon"}, "mail": {"jonny@corp.example.test"}})}
	for name, want := range map[string]bool{"jon": true, "J": true, "jonny": true, "jonn": false, "jonny@corp.example.test": false, "*": false} {
		if _, got := f.match(a, name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if got := denial.ReasonOf(checkName("ok\u200bnot")); got != denial.BadName {
		t.Errorf("zero-width space: %q", got)
	}
}
