package ldapauth_test

import (
	"fmt"
	"testing"

	"adconnector/ldapauth"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	"github.com/go-ldap/ldap/v3"
)

// On a real OpenLDAP with 10,000 people, over TLS.
func BenchmarkDirectory(b *testing.B) {
	s := dirtest.OpenLDAP(b, dirtest.OpenLDAPOptions{Users: 10_000, Quiet: true})
	d := open(b, real(s))
	a := find(b, d, "u05000")
	if _, err := d.Groups(b.Context(), a); err != nil {
		b.Fatal(err)
	}
	password := secret.New(s.Password)
	byFilter, bySubject := holder(ldapauth.ByMail, "u05000"), holder(ldapauth.BySubject, a.DN)
	byFilter.Filter, byFilter.MustBeYounger = "(uid={0})", true
	for _, bm := range []struct {
		name string
		call func() error
	}{
		{"FindByName", func() error { _, err := d.FindByName(b.Context(), "u05000"); return err }},
		{"FindByID", func() error { _, err := d.FindByID(b.Context(), a.ID); return err }},
		{"FindHolder by a filter", func() error { _, err := d.FindHolder(b.Context(), byFilter); return err }},
		{"FindHolder by subject", func() error { _, err := d.FindHolder(b.Context(), bySubject); return err }},
		{"JudgeHolder", func() error { _, err := d.JudgeHolder(b.Context(), a, byFilter); return err }},
		{"Bind", func() error { return d.Bind(b.Context(), a, password) }},
		{"Groups", func() error { _, err := d.Groups(b.Context(), a); return err }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bm.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bm.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bm.call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// On a real domain controller, where groups cost a search.
func BenchmarkActiveDirectory(b *testing.B) {
	s := dirtest.SharedSambaAD(b)
	d := open(b, real(s))
	a := find(b, d, "jon")
	b.Run("FindByName", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.FindByName(b.Context(), "jon"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Groups", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Groups(b.Context(), a); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a name costs with several domains, all on one real domain controller: as
// many searches at the same time as there are domains, or one in the global
// catalogue and one more.
func BenchmarkDomains(b *testing.B) {
	s := dirtest.SharedSambaAD(b)
	for _, n := range []int{1, 2, 8} {
		c := ldapauth.DomainsConfig{Config: real(s)}
		c.Schema, c.BindDN = "active_directory", "svc-connector@corp.example.test"
		for i := range n {
			one := c.Config
			// One holds the people, the others nobody.
			one.BaseDN, one.NetBIOS = setting.OneOrMore{"OU=Groups," + s.BaseDN}, fmt.Sprint("D", i)
			if i == 0 {
				one.BaseDN = setting.OneOrMore{"OU=Staff," + s.BaseDN}
			}
			c.Domains = append(c.Domains, one)
		}
		for _, bm := range []struct {
			how     string
			name    string
			catalog []string
		}{
			{"asked", "jon", nil},
			{"catalogue", "jon", []string{s.CatalogURL}},
			{"named", `D0\jon`, nil},
		} {
			if bm.how != "asked" && n == 1 {
				continue
			}
			c.GlobalCatalog = bm.catalog
			d := openDomains(b, c)
			b.Run(fmt.Sprintf("%d/%s", n, bm.how), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.FindByName(b.Context(), bm.name); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// One search, on one connection that all share, by the LDAP library alone and
// with what a [ldapauth.Directory] adds: health, hedging and deadlines.
func BenchmarkSharedConnection(b *testing.B) {
	s := dirtest.OpenLDAP(b, dirtest.OpenLDAPOptions{Users: 10_000, Quiet: true})
	c := real(s)
	c.Pool.Search = 1
	d := open(b, c)
	alone, err := ldap.DialURL(s.URL, ldap.DialWithTLSConfig(s.TLS(b)))
	if err != nil {
		b.Fatal(err)
	}
	defer alone.Close()
	if err := alone.Bind(s.BindDN, s.BindPassword); err != nil {
		b.Fatal(err)
	}
	request := ldap.NewSearchRequest(s.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 5, false,
		"(&(objectClass=person)(uid=u05000))", []string{"cn", "mail", "memberOf"}, nil)
	for _, bm := range []struct {
		name string
		call func() (int, error)
	}{
		{"library", func() (int, error) {
			r, err := alone.Search(request)
			if err != nil {
				return 0, err
			}
			return len(r.Entries), nil
		}},
		{"directory", func() (int, error) { return d.SearchOne(b.Context(), request) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if n, err := bm.call(); n != 1 || err != nil {
						b.Errorf("%d entries, error %v", n, err)
						return
					}
				}
			})
		})
	}
}
