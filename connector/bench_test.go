package connector_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"adconnector/connector/browser"
)

// BenchmarkCertificateSignIn is a whole sign-in: a new connection, a full TLS
// handshake with a certificate, one search, a token. The client is in it too;
// adconnector bench tells the two apart.
func BenchmarkCertificateSignIn(b *testing.B) {
	r := newRig(b, inMemory(b), "audit_file: audit.log")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       dialFrom(inside, r.listen),
		TLSClientConfig:   &tls.Config{RootCAs: r.roots, Certificates: []tls.Certificate{*r.client("jon")}, MinVersion: tls.VersionTLS13},
	}}
	request := r.request()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Get(request)
		if err != nil {
			b.Fatal(err)
		}
		page := readAll(b, resp)
		if !strings.Contains(page, "wresult") {
			b.Fatal(page)
		}
	}
}

// BenchmarkPasswordSignIn is a whole sign-in by a browser without cookies: the
// form, the password, a token.
func BenchmarkPasswordSignIn(b *testing.B) {
	d := inMemory(b)
	r := newRig(b, d, "audit_file: audit.log")
	b.ReportAllocs()
	for b.Loop() {
		w := browser.New(browser.Options{Roots: r.roots, Connect: r.listen, From: outside})
		if _, err := w.SignIn(b.Context(), r.request(), "jon", d.password); err != nil {
			b.Fatal(err)
		}
		w.Close()
	}
}

// BenchmarkSession is a token for somebody who has signed in before.
func BenchmarkSession(b *testing.B) {
	d := inMemory(b)
	r := newRig(b, d, "audit_file: audit.log")
	w := r.browser(outside, nil)
	r.mustSignIn(w, "jon", d.password)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.SignIn(b.Context(), r.request(), "", ""); err != nil {
			b.Fatal(err)
		}
	}
}
