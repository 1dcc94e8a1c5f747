package front_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"adconnector/connector/front"
	"adconnector/connector/iprange"
)

// BenchmarkConfig is what choosing between asking and not asking costs for each
// connection.
func BenchmarkConfig(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("%d ranges", n), func(b *testing.B) {
			text := make([]string, n)
			for i := range text {
				text[i] = fmt.Sprintf("10.%d.%d.0/25", i/256, i%256) // the other halves stay outside
			}
			f, err := front.New(front.Options{Certificate: open(b, nil).certificate(login), Ranges: iprange.New(iprange.MustParse(text...))})
			if err != nil {
				b.Fatal(err)
			}
			in, out := &net.TCPAddr{IP: net.IPv4(10, 0, 3, 4)}, &net.TCPAddr{IP: net.IPv4(10, 0, 3, 204)}
			if f.ConfigFor(in).ClientAuth != tls.RequestClientCert || f.ConfigFor(out).ClientAuth != tls.NoClientCert {
				b.Fatal("wrong config")
			}
			b.ReportAllocs()
			for b.Loop() {
				f.ConfigFor(in)
				f.ConfigFor(out)
			}
		})
	}
}

// BenchmarkHandshake is a whole connection over loopback, client and server
// together: TCP, a full TLS handshake, one byte.
func BenchmarkHandshake(b *testing.B) {
	for _, version := range versions {
		for _, tt := range []struct{ name, from string }{{"not asked", outside}, {"asked", inside}} {
			b.Run(tls.VersionName(version)+" "+tt.name, func(b *testing.B) {
				s := open(b, nil)
				jon := card(b, s.people)
				browser := s.browser(version)
				browser.ClientSessionCache = nil
				b.ReportAllocs()
				for b.Loop() {
					s.visit(browser, tt.from, jon)
				}
			})
		}
	}
}
