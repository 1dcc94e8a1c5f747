package revocation_test

import (
	"testing"

	"adconnector/ldapauth/certauth/revocation"
)

// BenchmarkCheck is what a sign-in costs when everything is there already: two
// certificates, by lists and by answers.
func BenchmarkCheck(b *testing.B) {
	w := newWorld(b, withList(rootURL))
	byList, byAnswer := w.leaf(), w.askable().Certificate
	w.serve(rootURL, w.listOf(w.root, 1, nil))
	w.serve(listURL, w.listOf(w.ca, 1, mods(scope(listURL))))
	w.answer(ocspURL, w.ocsp(byAnswer))
	s := w.store()
	for name, p := range map[string]*revocation.Path{"list": s.Path(w.path(byList)), "answer": s.Path(w.path(byAnswer))} {
		if _, err := s.Check(b.Context(), p); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Check(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
