package front_test

import (
	"crypto/tls"
	"testing"

	"adconnector/connector/front"
)

func TestHandshakesAreCountedByWhatWasAsked(t *testing.T) {
	s := open(t, nil)
	browser := s.browser(tls.VersionTLS13)
	s.visit(browser, inside)
	s.visit(browser, outside)
	s.visit(browser, outside)
	conn := s.dial(outside)
	if _, err := conn.Write([]byte("no TLS at all, and so no handshake")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		stats := s.front.Stats()
		return stats.Asking == front.Handshakes{Done: 1} && stats.Plain == front.Handshakes{Done: 2, Failed: 1}
	})
	silent := s.dial(outside)
	eventually(t, func() bool { stats := s.front.Stats(); return stats.Shaking == 1 && stats.Open >= 1 })
	_ = silent.Close()
	eventually(t, func() bool { return s.front.Stats().Shaking == 0 })
}

func TestConnectionsThatWereTooManyAreCounted(t *testing.T) {
	s := open(t, func(o *front.Options) { o.HandshakesPerAddress = 2 })
	for range 2 {
		s.dial(outside)
	}
	eventually(t, func() bool { return s.front.Stats().Shaking == 2 })
	for range 3 {
		ended(t, s.dial(outside), "one more from the same address")
	}
	if n := s.front.Stats().Closed; n != 3 {
		t.Errorf("%d are counted, want 3", n)
	}
}
