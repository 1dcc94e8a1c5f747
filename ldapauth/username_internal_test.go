package ldapauth

import (
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/denial"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// offline returns directories that know what they are called and need not be
// asked: an Active Directory, one of another kind and one without domains.
func offline() []*Directory {
	corp := &Directory{now: time.Now, label: "corp.test", dialect: activeDirectory}
	corp.called.Store(&identity{activeDirectory: true, dns: "corp.test", netbios: "CORP", suffixes: []string{"brand.test"}, until: time.Now().Add(1000 * time.Hour)})
	lab := &Directory{now: time.Now, label: "lab.test", dialect: openLDAP, config: Config{Suffixes: []string{"lab.test"}, NetBIOS: "LAB", MailAsName: true}}
	plain := &Directory{now: time.Now, label: "dc=plain", dialect: openLDAP}
	return []*Directory{corp, lab, plain}
}

// FuzzC12_ANameKeepsItsDomain holds every name to this: its parts make up the
// whole, nothing but the whole or the local part is ever looked for, and the
// local part alone only where the domain part is the directory's own.
func FuzzC12_ANameKeepsItsDomain(f *testing.F) {
	for _, s := range []string{
		"jon", "jon@corp.test", `CORP\jon`, "jon@lab.test", `lab\jon`, "jon@brand.test", "jon@corp.test@lab.test", `CORP\jon@lab.test`, `\jon`, `CORP\`, "@corp.test",
		"jon@", `CORP\\jon`, `CORP\*`, "jon)(uid=*@corp.test", `CORP\ jon`, "jon @corp.test", `ＣＯＲＰ\jon`, "jon@\u212aorp.test", "", "\x00", "\xff@corp.test", "@", `\`, `@\`, `\@`,
	} {
		f.Add(s)
	}
	list := offline()
	all, one := &Domains{list: list}, &Domains{list: list[:1]}
	f.Fuzz(func(t *testing.T, name string) {
		n, err := parseName(name)
		if err != nil {
			if denial.ReasonOf(err) != denial.BadName {
				t.Fatalf("%q: %v", name, err)
			}
			if all.NormaliseName(name) != name {
				t.Errorf("%q, which is refused, counts as another", name)
			}
			return
		}
		whole := map[nameForm]string{plainName: n.local, principalName: n.local + "@" + n.domain, downLevelName: n.domain + `\` + n.local}[n.form]
		if n.whole != name || whole != name || n.local == "" || (n.domain == "") != (n.form == plainName) {
			t.Fatalf("%q was taken apart to %+v", name, n)
		}
		for _, d := range list {
			checkReading(t, d, n)
		}
		for _, s := range []*Domains{all, one} {
			if c := s.NormaliseName(name); c != name && !strings.HasPrefix(c, n.local) {
				t.Errorf("%q counts as %q", name, c)
			}
		}
	})
}

// checkReading looks at what n means in d.
func checkReading(t *testing.T, d *Directory, n typedName) {
	r, err := d.read(t.Context(), n)
	if err != nil {
		t.Fatalf("%q: %v", n.whole, err)
	}
	if r.meansNobody() != (r.foreign != "" && !r.mail) {
		t.Errorf("%q in %s: %+v", n.whole, d.label, r)
	}
	if r.meansNobody() {
		return
	}
	own := n.form == principalName && sameName(n.domain, d.label) || n.form == downLevelName && sameName(n.domain, strings.TrimSuffix(d.label, ".test"))
	if r.mine != own || r.account != n.whole && r.account != "" && !own {
		t.Errorf("%q in %s, own: %v, is read as %+v", n.whole, d.label, own, r)
	}
	p, err := ldap.CompileFilter(d.nameFilter(d.dialect, &r))
	if err != nil || p.Tag != ldap.FilterAnd {
		t.Fatalf("%q in %s: %s: %v", n.whole, d.label, d.nameFilter(d.dialect, &r), err)
	}
	last := p.Children[len(p.Children)-1] // the others say that it is a person
	compared := last.Children
	if last.Tag == ldap.FilterEqualityMatch {
		compared = []*ber.Packet{last}
	}
	for _, c := range compared {
		if value := c.Children[1].Data.String(); c.Tag != ldap.FilterEqualityMatch || value != n.whole && value != r.account {
			t.Errorf("%q in %s: looked for is %q", n.whole, d.label, value)
		}
	}
}

func TestSpellingsThatCountAsOne(t *testing.T) {
	list := offline()
	for _, tt := range []struct {
		s          *Domains
		name, want string
	}{
		{&Domains{list: list[:1]}, "jon", "jon"},
		{&Domains{list: list[:1]}, "jon@Corp.Test", "jon"},
		{&Domains{list: list[:1]}, `corp\jon`, "jon"},
		{&Domains{list: list[:1]}, "jon@home@corp.test", "jon@home"},
		{&Domains{list: list[:1]}, `corp\jon\x`, `jon\x`},
		{&Domains{list: list[:1]}, "jon@brand.test", "jon@brand.test"}, // a name that was given to him, or to another
		{&Domains{list: list[:1]}, "jon@elsewhere.test", "jon@elsewhere.test"},
		{&Domains{list: list[1:2]}, `LAB\jon`, "jon"},
		{&Domains{list: list[2:]}, `LAB\jon`, `LAB\jon`},
		{&Domains{list: list}, "jon", "jon"},
		{&Domains{list: list}, `CORP\jon`, "jon@corp.test"},
		{&Domains{list: list}, "jon@CORP.test", "jon@corp.test"},
		{&Domains{list: list}, `lab\jon`, "jon@lab.test"},
		{&Domains{list: list}, `OTHER\jon`, `OTHER\jon`},
	} {
		if got := tt.s.NormaliseName(tt.name); got != tt.want {
			t.Errorf("%d directories: %q counts as %q, want %q", len(tt.s.list), tt.name, got, tt.want)
		}
	}
}

func BenchmarkNames(b *testing.B) {
	list := offline()
	s := &Domains{list: list}
	for _, name := range []string{"jon", "jon@corp.test", `CORP\jon`, "jon@elsewhere.test"} {
		b.Run("Normalise/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = s.NormaliseName(name)
			}
		})
		b.Run("Read/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n, err := parseName(name)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := list[0].read(b.Context(), n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
