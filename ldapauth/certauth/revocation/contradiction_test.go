package revocation_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"testing"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

// TestB12_ListsOfWhichEachSeemsOlder as after an authority began to count anew:
// neither must take the other out of the game, or nobody says "revoked" any more.
func TestB12_ListsOfWhichEachSeemsOlder(t *testing.T) {
	w := newWorld(t)
	jon, amy, zoe := w.leaf(), w.leaf(), w.leaf()
	file := w.listOf(w.ca, 9, mods(w.during(-2*time.Hour, time.Hour)), jon.SerialNumber)
	w.serve(listURL, w.list(3, amy.SerialNumber))
	s := w.store(w.files(file), allow)
	wantReason(t, s, w.path(jon), denial.Revoked, "number 9")
	s.Refresh()
	s.Settle()
	wantReason(t, s, w.path(jon), denial.Revoked, "number 9")
	wantReason(t, s, w.path(amy), denial.Revoked, "number 3")
	wantGood(t, s, w.path(zoe))
}

// TestADeltaListThatIsAheadOfItsBaseRevokes between the day on which an authority
// makes a new full list and the hour in which that is fetched here. What such a
// list takes off another one counts for nothing.
func TestADeltaListThatIsAheadOfItsBaseRevokes(t *testing.T) {
	for name, mod := range map[string][]listMod{
		"of a later base":  mods(delta(t, 12)),
		"of another scope": mods(delta(t, 10), scope("", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			jon, amy, zoe := w.leaf(withDelta(t)), w.leaf(withDelta(t)), w.leaf(withDelta(t))
			w.serve(listURL, w.list(10, amy.SerialNumber))
			w.serve(deltaURL, w.listOf(w.ca, 13, append(mod, takesOff(w, amy), w.during(-time.Minute, time.Hour)), jon.SerialNumber))
			s := w.store()
			wantReason(t, s, w.path(jon), denial.Revoked, "delta list number 13")
			wantReason(t, s, w.path(amy), denial.Revoked, "list number 10")
			wantGood(t, s, w.path(zoe))
			// A full list that is newer knows better: that was a hold.
			w.later(2 * time.Hour)
			w.serve(listURL, w.listOf(w.ca, 20, mods(w.during(-time.Minute, 24*time.Hour))))
			s.Refresh()
			s.Settle()
			wantGood(t, s, w.path(jon))
			wantGood(t, s, w.path(amy))
		})
	}
}

func takesOff(w *world, c *x509.Certificate) listMod {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: w.now(), ReasonCode: 8})
	}
}

// TestB12_ADeltaListAloneIsNoReasonToPass: a file with changes and none with what
// they change.
func TestB12_ADeltaListAloneIsNoReasonToPass(t *testing.T) {
	w := newWorld(t)
	jon, amy := w.leaf(withList()), w.leaf(withList())
	s := w.store(w.files(w.listOf(w.ca, 12, mods(delta(t, 10)), jon.SerialNumber)))
	wantReason(t, s, w.path(jon), denial.Revoked, "delta list number 12")
	wantReason(t, s, w.path(amy), denial.RevocationUnknown)
}

// TestB12_AnotherPlaceOfTheAuthorityKnowsMore: who names a place that serves an
// old list has been revoked all the same if a newer one says so that is held
// because of somebody else.
func TestB12_AnotherPlaceOfTheAuthorityKnowsMore(t *testing.T) {
	const mirror = "http://mirror.example/ca.crl"
	w := newWorld(t)
	jon, amy := w.leaf(withList(mirror)), w.leaf()
	w.serve(mirror, w.listOf(w.ca, 7, mods(w.during(-3*time.Hour, 24*time.Hour))))
	w.serve(listURL, w.list(8, jon.SerialNumber))
	s := w.store()
	wantGood(t, s, w.path(jon)) // nobody has seen the other
	wantGood(t, s, w.path(amy))
	wantReason(t, s, w.path(jon), denial.Revoked, "number 8")
	// It was a hold, and the mirror is the first to know.
	w.later(2 * time.Hour)
	w.serve(mirror, w.listOf(w.ca, 9, mods(w.during(-time.Minute, 24*time.Hour))))
	s.Refresh()
	s.Settle()
	wantGood(t, s, w.path(jon))
}

// TestB13_WhoIsKnownToBeRevokedStaysSo when the answer has ended and the holder
// keeps the next one away, or sends one from before.
func TestB13_WhoIsKnownToBeRevokedStaysSo(t *testing.T) {
	dead := func([]byte) ([]byte, error) { return nil, os.ErrNotExist }
	t.Run("with a list that does not know it yet", func(t *testing.T) {
		w := newWorld(t)
		jon := w.leaf()
		w.serve(listURL, w.list(1))
		w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.status = 1 }))
		s := w.store(w.configured(func(*revocation.ResponderConfig) {}))
		wantReason(t, s, w.path(jon), denial.Revoked)
		w.answer(ocspURL, dead)
		w.later(3 * time.Hour)
		wantReason(t, s, w.path(jon), denial.Revoked)
		wantReason(t, s, w.path(jon), denial.Revoked)
		// A list that was made later knows better: that was a hold.
		w.later(2 * time.Hour)
		w.serve(listURL, w.listOf(w.ca, 2, mods(w.during(-time.Minute, 24*time.Hour))))
		s.Refresh()
		s.Settle()
		wantGood(t, s, w.path(jon))
	})
	t.Run("with on_unknown: allow", func(t *testing.T) {
		w := newWorld(t)
		jon := w.askable().Certificate
		w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.status = 1 }))
		s := w.store(allow)
		wantReason(t, s, w.path(jon), denial.Revoked)
		w.answer(ocspURL, dead)
		w.later(3 * time.Hour)
		wantReason(t, s, w.path(jon), denial.Revoked)
	})
	t.Run("with an answer from before", func(t *testing.T) {
		w := newWorld(t)
		jon := w.askable().Certificate
		before := w.now().Add(-time.Hour)
		w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.status = 1 }))
		s := w.store()
		wantReason(t, s, w.path(jon), denial.Revoked)
		w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.this, r.next, r.nonce = before, before.Add(7*24*time.Hour), nil }))
		w.later(3 * time.Hour)
		wantReason(t, s, w.path(jon), denial.Revoked)
		w.answer(ocspURL, w.ocsp(jon)) // it was a hold
		w.later(time.Hour)
		wantGood(t, s, w.path(jon))
	})
}

// TestAResponderThatSendsSeveralCertificatesOfItsName as while its key changes:
// one of them signed.
func TestAResponderThatSendsSeveralCertificatesOfItsName(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	ended := w.responder(noCheck, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = w.now().Add(-2*time.Hour), w.now().Add(-time.Hour)
	})
	other, valid := w.responder(noCheck), w.responder(noCheck)
	w.answer(ocspURL, w.ocsp(jon, signedBy(valid), func(r *reply) {
		r.certificates = []*x509.Certificate{ended.Certificate, other.Certificate, valid.Certificate}
	}))
	wantGood(t, w.store(), w.path(jon))
}

// crowd makes more paths than places are remembered, each with a place of its own.
func crowd(w *world, s *revocation.Store, n int) {
	for i := range n {
		s.Path(w.path(w.leaf(withList(fmt.Sprintf("http://crowd.example/%d", i)))))
	}
}

// TestAPlaceThatWasForgottenIsAskedAgain, and at once: to forget is our affair.
func TestAPlaceThatWasForgottenIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	w.serve(listURL, w.list(1))
	s := w.store()
	p := s.Path(w.path(jon))
	if _, err := s.Check(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.later(time.Minute)
	crowd(w, s, 1001)
	if _, err := s.Check(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// crowded is a folder on whose disk it takes so long to write that a crowd comes
// by meanwhile.
type crowded struct {
	folder
	come func()
}

func (c *crowded) Write(name string, data ...[]byte) error {
	if c.come != nil {
		c.come()
	}
	return c.folder.Write(name, data...)
}

func TestAPlaceThatIsForgottenWhileItsListComes(t *testing.T) {
	w := newWorld(t)
	kept := &crowded{}
	s := w.store(func(_ *revocation.Config, o *revocation.Options) { o.Cache = kept })
	kept.come = func() { kept.come = nil; w.later(time.Minute); crowd(w, s, 1001) }
	w.serve(listURL, w.list(1))
	p := s.Path(w.path(w.leaf()))
	_, _ = s.Check(t.Context(), p)
	if _, err := s.Check(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// TestAnAuthorityThatHangsKeepsNoOtherWaiting, however many lists and answers are
// wanted of it.
func TestAnAuthorityThatHangsKeepsNoOtherWaiting(t *testing.T) {
	w := newWorld(t)
	other := must(w.root.Intermediate("Other"))(t)
	release := make(chan struct{})
	hang := func([]byte) ([]byte, error) { <-release; return nil, os.ErrDeadlineExceeded }
	s := w.store(func(c *revocation.Config, _ *revocation.Options) { c.Timeout = setting.Duration(30 * time.Second) })
	defer s.Settle()
	defer close(release)
	gone, leave := context.WithCancel(t.Context())
	leave()
	w.answer(ocspURL, hang)
	for i := range 100 {
		url := fmt.Sprintf("http://hang.example/%d", i)
		w.answer(url, hang)
		_, _ = s.Check(gone, s.Path(w.path(w.leaf(withList(url)))))
		_, _ = s.Check(gone, s.Path(w.path(w.askable().Certificate)))
	}
	w.serve(rootURL, w.listOf(other, 1, nil))
	jon := must(other.Client("jon", withList(rootURL)))(t).Certificate
	wantGood(t, s, []*x509.Certificate{jon, other.Certificate, w.root.Certificate})
	w.answer(deltaURL, w.ocsp(jon, func(r *reply) { r.by, r.key, r.issuer = other.Certificate, other.Key, other.Certificate }))
	amy := must(other.Client("amy", func(c *x509.Certificate) { c.OCSPServer, c.SerialNumber = []string{deltaURL}, jon.SerialNumber }))(t).Certificate
	wantGood(t, s, []*x509.Certificate{amy, other.Certificate, w.root.Certificate})
}

// TestWhatAPowerFailureLeavesIsRemoved: half of a list, under the name that it has
// while it is written.
func TestWhatAPowerFailureLeavesIsRemoved(t *testing.T) {
	w := newWorld(t)
	kept := &folder{files: map[string][]byte{".crl-00.crl.123": []byte("half"), "of somebody else": nil}}
	s := w.store(func(_ *revocation.Config, o *revocation.Options) { o.Cache = kept })
	ended, end := context.WithCancel(t.Context())
	end()
	s.Run(ended)
	names, _ := kept.Names()
	if len(names) != 1 || names[0] != "of somebody else" {
		t.Errorf("left: %q", names)
	}
}
