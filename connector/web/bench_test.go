package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"adconnector/connector/signin"
	"adconnector/connector/web"
)

// tokens replies with something of the size and kind of a signed token.
type tokens struct{ token string }

func (tokens) Receive(*http.Request) (web.Pending, error) { return web.Pending{MaxAge: -1}, nil }

func (t tokens) Reply(w http.ResponseWriter, _ *http.Request, _ web.Pending, _ *signin.Identity) error {
	return web.WriteAutoPost(w, acs, []web.Field{{Name: "wa", Value: "wsignin1.0"}, {Name: "wresult", Value: t.token}, {Name: "wctx", Value: "42"}})
}

// A request that brings a certificate, from the first byte of the header to the
// last of the posting page, less the handshake, the directory and the signature.
func BenchmarkCertificateRequest(b *testing.B) {
	id := &signin.Identity{ID: "1", Username: "jon", AuthenticatedBy: signin.ByCertificate}
	s := newSite(b, func(o *web.Options) {
		o.Service = door(func(signin.Attempt) (*signin.Identity, error) { return id, nil })
		o.Log = nil
	})
	s.server.Mount("/tokens", "tokens", tokens{strings.Repeat(`<saml:AttributeValue xsi:type="xs:string">some value of an attribute</saml:AttributeValue>`, 70)})
	h := s.server.Handler()
	r := httptest.NewRequest(http.MethodGet, "https://login.test/tokens", nil)
	r.RemoteAddr = inside
	r.TLS = s.visitor(inside).with(card()).tls()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.Clone(b.Context()))
		if w.Code != http.StatusOK {
			b.Fatalf("status %d", w.Code)
		}
	}
}
