package revocation_test

import (
	"testing"

	"adconnector/ldapauth/certauth/revocation"
)

// FuzzReply sends anything as the answer of a responder about a certificate of
// which the authority has said nothing. What it says of another one is among the
// seeds; no change to that may let anybody in.
func FuzzReply(f *testing.F) {
	w := newWorld(f)
	jon := w.askable().Certificate
	body := must(w.ocsp(jon, func(r *reply) { r.nonce = nil })(nil))(f)
	f.Add(body)
	f.Add(must(w.ocsp(jon, signedBy(w.responder(noCheck)), func(r *reply) { r.nonce = nil })(nil))(f))
	f.Add(must(w.ocsp(jon, func(r *reply) { r.status, r.nonce = 1, nil })(nil))(f))
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 6})
	f.Fuzz(func(t *testing.T, data []byte) {
		w.t = t // targets run one at a time
		s := w.store(func(_ *revocation.Config, o *revocation.Options) { o.Log = nil })
		defer s.Close()
		amy := w.askable().Certificate
		w.serve(ocspURL, data)
		if _, err := check(t, s, w.path(amy)); err == nil {
			t.Errorf("let in by %x", data)
		}
	})
}
