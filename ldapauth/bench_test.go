package ldapauth_test

import (
	"testing"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/secret"
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
	for _, bm := range []struct {
		name string
		call func() error
	}{
		{"FindByName", func() error { _, err := d.FindByName(b.Context(), "u05000"); return err }},
		{"FindByID", func() error { _, err := d.FindByID(b.Context(), a.ID); return err }},
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
