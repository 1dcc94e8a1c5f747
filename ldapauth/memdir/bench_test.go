package memdir_test

import (
	"fmt"
	"testing"

	"adconnector/ldapauth/memdir"

	"github.com/go-ldap/ldap/v3"
)

// The figures of these benchmarks contain the client, which takes the larger
// part.

func BenchmarkBind(b *testing.B) {
	_, addr := start(b, memdir.Options{Entries: crowd(10_000)})
	c := dial(b, addr)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprintf("u%04d", i%10_000)
		if err := c.Bind("FABRIKAM\\"+name, name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	_, addr := start(b, memdir.Options{Entries: crowd(10_000), AnonymousRead: true})
	c := dial(b, addr)
	for _, bb := range []struct{ name, filter string }{
		{"indexed", "(&(objectClass=user)(sAMAccountName=u%04d))"},
		{"scan", "(&(sn=Crowd)(displayName=u%04d))"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := c.Search(request(fmt.Sprintf(bb.filter, i%10_000), "*")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTokenGroups(b *testing.B) {
	_, addr := start(b, memdir.Options{})
	c := signedIn(b, memdir.ActiveDirectory, addr)
	r := ldap.NewSearchRequest("CN=Jon Smith,OU=Staff,"+base, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"tokenGroups"}, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Search(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	entries := crowd(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := memdir.New(memdir.Options{BaseDN: base, Entries: entries}); err != nil {
			b.Fatal(err)
		}
	}
}
