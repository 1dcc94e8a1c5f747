package revocation_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"

	"golang.org/x/crypto/ocsp"
)

// askable issues a certificate that names a responder and no list.
func (w *world) askable() *testca.Leaf {
	w.t.Helper()
	return must(w.ca.Client("jon", func(c *x509.Certificate) { c.OCSPServer = []string{ocspURL} }))(w.t)
}

func (w *world) responder(mods ...func(*x509.Certificate)) *testca.Leaf {
	w.t.Helper()
	return must(w.ca.Client("Responder", append([]func(*x509.Certificate){forOCSP}, mods...)...))(w.t)
}

func TestRespondersSayGoodAndRevoked(t *testing.T) {
	w := newWorld(t)
	for name, signer := range map[string]func(*reply){
		"the authority itself":   func(*reply) {},
		"appointed, no check":    signedBy(w.responder(noCheck)),
		"by the hash of its key": func(r *reply) { r.byKey = true },
	} {
		t.Run(name, func(t *testing.T) {
			jon := w.askable().Certificate
			w.answer(ocspURL, w.ocsp(jon, signer))
			wantGood(t, w.store(), w.path(jon))
			w.answer(ocspURL, w.ocsp(jon, signer, func(r *reply) { r.status = 1 }))
			wantReason(t, w.store(), w.path(jon), denial.Revoked, "keyCompromise", ocspURL)
		})
	}
}

// TestB13_AnswersThatDoNotCount has, for each way in which an answer can be wrong,
// the reason, and whether on_unknown: allow is about it.
func TestB13_AnswersThatDoNotCount(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(w *world, jon *testca.Leaf) func(*reply)
		want    denial.Reason
		words   string
		allowed bool
	}{
		{"unknown", func(*world, *testca.Leaf) func(*reply) { return func(r *reply) { r.status = 2 } }, denial.OCSPUnknown, "does not know the certificate", true},
		{"stale", func(w *world, _ *testca.Leaf) func(*reply) {
			return func(r *reply) { r.this, r.next = w.now().Add(-2*time.Hour), w.now().Add(-time.Hour) }
		}, denial.OCSPExpired, "was good until", true},
		{"from the future", func(w *world, _ *testca.Leaf) func(*reply) {
			return func(r *reply) { r.this, r.next = w.now().Add(time.Hour), w.now().Add(2*time.Hour) }
		}, denial.OCSPExpired, "future", true},
		{"made in the future", func(w *world, _ *testca.Leaf) func(*reply) {
			return func(r *reply) { r.produced = w.now().Add(time.Hour) }
		}, denial.OCSPExpired, "future", true},
		{"without an end and old", func(w *world, _ *testca.Leaf) func(*reply) {
			return func(r *reply) { r.produced, r.next, r.nonce = w.now().Add(-time.Hour), time.Time{}, nil }
		}, denial.OCSPExpired, "was good until", true},
		{"another serial", func(*world, *testca.Leaf) func(*reply) {
			return func(r *reply) { r.serial = r.issuer.SerialNumber }
		}, denial.OCSPBadAnswer, "about another certificate", false},
		{"the same serial of another authority", func(w *world, _ *testca.Leaf) func(*reply) {
			return func(r *reply) { r.issuer = w.root.Certificate }
		}, denial.OCSPBadAnswer, "about another certificate", false},
		{"to another question", func(*world, *testca.Leaf) func(*reply) {
			return func(r *reply) { r.nonce = make([]byte, 32) }
		}, denial.OCSPBadAnswer, "another question", false},
		{"by the person", func(_ *world, jon *testca.Leaf) func(*reply) { return signedBy(jon) }, denial.OCSPBadAnswer, "not for signing OCSP answers", false},
		{"by an appointed one of another authority", func(w *world, _ *testca.Leaf) func(*reply) {
			return signedBy(must(w.root.Client("Responder", forOCSP, noCheck))(w.t))
		}, denial.OCSPBadAnswer, "not issued by the authority", false},
		{"by one who appointed himself", func(w *world, _ *testca.Leaf) func(*reply) {
			return signedBy(must(must(testca.New("Issuing"))(w.t).Client("Responder", forOCSP, noCheck))(w.t))
		}, denial.OCSPBadAnswer, "not issued by the authority", false},
		{"by one whose appointment has ended", func(w *world, _ *testca.Leaf) func(*reply) {
			return signedBy(w.responder(noCheck, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = w.now().Add(-2*time.Hour), w.now().Add(-time.Hour)
			}))
		}, denial.OCSPBadAnswer, "is valid from", false},
		{"by one who may have been dismissed", func(w *world, _ *testca.Leaf) func(*reply) {
			return signedBy(w.responder())
		}, denial.OCSPBadAnswer, `"no check"`, false},
		{"by one whose key is not for signing", func(w *world, _ *testca.Leaf) func(*reply) {
			return signedBy(w.responder(noCheck, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }))
		}, denial.OCSPBadAnswer, "key usage", false},
		{"in the authority's name with another key", func(w *world, _ *testca.Leaf) func(*reply) {
			return func(r *reply) { r.key = newKey(w.t) }
		}, denial.OCSPBadAnswer, "signature", false},
		{"in the name of an appointed one with another key", func(w *world, _ *testca.Leaf) func(*reply) {
			sign := signedBy(w.responder(noCheck))
			return func(r *reply) { sign(r); r.key = newKey(w.t) }
		}, denial.OCSPBadAnswer, "signature", false},
		{"by one who is not there", func(w *world, _ *testca.Leaf) func(*reply) {
			l := w.responder(noCheck)
			return func(r *reply) { r.by, r.key = l.Certificate, l.Key }
		}, denial.OCSPBadAnswer, "signed neither by", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			jon := w.askable()
			w.answer(ocspURL, w.ocsp(jon.Certificate, tt.change(w, jon)))
			wantReason(t, w.store(), w.path(jon.Certificate), tt.want, tt.words)
			_, err := check(t, w.store(allow), w.path(jon.Certificate))
			if got := err == nil; got != tt.allowed {
				t.Errorf("on_unknown: allow lets it in: %v, want %v (%v)", got, tt.allowed, err)
			}
		})
	}
}

func TestB13_WhatIsNoAnswer(t *testing.T) {
	for name, body := range map[string][]byte{
		"nothing":               nil,
		"a page of a proxy":     []byte("<html>Sign in to the network</html>"),
		"an internal error":     {0x30, 0x03, 0x0a, 0x01, 2},
		"to be asked later":     {0x30, 0x03, 0x0a, 0x01, 3},
		"success about nothing": {0x30, 0x03, 0x0a, 0x01, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			jon := w.askable().Certificate
			w.serve(ocspURL, body)
			wantReason(t, w.store(), w.path(jon), denial.OCSPUnreachable, ocspURL)
		})
	}
	w := newWorld(t)
	jon := w.askable().Certificate
	w.serve(ocspURL, []byte{0x30, 0x03, 0x0a, 0x01, 6})
	wantReason(t, w.store(), w.path(jon), denial.OCSPUnknown, "does not answer for this authority")
}

// TestB13_TheLibraryAloneBelievesTheRevokedUser shows why there are checks of ours:
// jon signs "good" about himself with his own key.
func TestB13_TheLibraryAloneBelievesTheRevokedUser(t *testing.T) {
	w := newWorld(t)
	jon := w.askable()
	forged := must(ocsp.CreateResponse(w.ca.Certificate, jon.Certificate, ocsp.Response{
		Status: ocsp.Good, SerialNumber: jon.Certificate.SerialNumber, ThisUpdate: w.now().Add(-time.Minute), NextUpdate: w.now().Add(time.Hour),
		Certificate: jon.Certificate, IssuerHash: crypto.SHA1,
	}, jon.Key))(t)
	answer, err := ocsp.ParseResponseForCert(forged, jon.Certificate, w.ca.Certificate)
	if err != nil || answer.Status != ocsp.Good {
		t.Errorf("the library refuses it by now (%v): is this check of ours still needed?", err)
	}
	w.serve(ocspURL, forged)
	wantReason(t, w.store(), w.path(jon.Certificate), denial.OCSPBadAnswer, "not for signing OCSP answers")

	// What the library makes for the right signer is understood.
	genuine := must(ocsp.CreateResponse(w.ca.Certificate, w.ca.Certificate, ocsp.Response{
		Status: ocsp.Good, SerialNumber: jon.Certificate.SerialNumber, ThisUpdate: w.now().Add(-time.Minute), NextUpdate: w.now().Add(time.Hour),
	}, w.ca.Key))(t)
	w.serve(ocspURL, genuine)
	wantGood(t, w.store(), w.path(jon.Certificate))
}

func TestQuestionsAreReadByTheLibrary(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	var nonces [][]byte
	w.answer(ocspURL, func(body []byte) ([]byte, error) {
		q, err := ocsp.ParseRequest(body)
		if err != nil {
			t.Errorf("the library does not read the question: %v", err)
			return nil, err
		}
		if q.SerialNumber.Cmp(jon.SerialNumber) != 0 || q.HashAlgorithm != crypto.SHA1 {
			t.Errorf("asked about %v by %v", q.SerialNumber, q.HashAlgorithm)
		}
		nonces = append(nonces, nonceOf(body))
		return w.ocsp(jon)(body)
	})
	wantGood(t, w.store(), w.path(jon))
	wantGood(t, w.store(), w.path(jon))
	if len(nonces) != 2 || bytes.Equal(nonces[0], nonces[1]) {
		t.Errorf("the numbers of two questions: %x", nonces)
	}
}

func TestB13_AnAppointedResponderThatIsRevoked(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	responder := w.responder(withList(listURL))
	w.answer(ocspURL, w.ocsp(jon, signedBy(responder)))
	w.serve(listURL, w.listOf(w.ca, 1, mods(scope(listURL)))) // of this place: it says nothing of jon
	wantGood(t, w.store(), w.path(jon))
	w.serve(listURL, w.listOf(w.ca, 2, mods(scope(listURL)), responder.Certificate.SerialNumber))
	wantReason(t, w.store(), w.path(jon), denial.OCSPBadAnswer, "was revoked on", "CN=Responder")
	w.answer(listURL, func([]byte) ([]byte, error) { return nil, os.ErrNotExist })
	wantReason(t, w.store(), w.path(jon), denial.OCSPBadAnswer, "may have been revoked")
}

// configured is a responder of the configuration for w.ca.
func (w *world) configured(change func(*revocation.ResponderConfig)) func(*revocation.Config, *revocation.Options) {
	w.t.Helper()
	r := revocation.ResponderConfig{CAFile: w.file(w.ca.Certificate), URL: ocspURL}
	change(&r)
	return func(c *revocation.Config, _ *revocation.Options) { c.OCSP = append(c.OCSP, r) }
}

func (w *world) file(c *x509.Certificate) setting.File {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), "c.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return setting.File(name)
}

func TestAConfiguredResponderGoesBeforeLists(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf() // names a list and no responder
	w.serve(listURL, w.list(1))
	w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.status = 1 }))
	s := w.store(w.configured(func(*revocation.ResponderConfig) {}))
	wantReason(t, s, w.path(jon), denial.Revoked, ocspURL)
	// Without an answer, a list will do.
	w.answer(ocspURL, func([]byte) ([]byte, error) { return nil, os.ErrNotExist })
	s = w.store(w.configured(func(*revocation.ResponderConfig) {}))
	if got := s.Sources(); len(got) != 1 || got[0].Where != ocspURL || got[0].Issuer != "CN=Issuing" {
		t.Errorf("before it is asked: %+v", got)
	}
	wantGood(t, s, w.path(jon))
}

func TestAResponderCanBeTrustedByDecree(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	stranger := must(must(testca.New("Elsewhere"))(t).Client("Responder"))(t)
	w.answer(ocspURL, w.ocsp(jon, signedBy(stranger)))
	wantReason(t, w.store(), w.path(jon), denial.OCSPBadAnswer)
	decree := w.configured(func(r *revocation.ResponderConfig) { r.ResponderFile = w.file(stranger.Certificate) })
	wantGood(t, w.store(decree), w.path(jon))
	w.answer(ocspURL, w.ocsp(jon, signedBy(stranger), func(r *reply) { r.key = newKey(t) }))
	wantReason(t, w.store(decree), w.path(jon), denial.OCSPBadAnswer, "signature")
	w.answer(ocspURL, w.ocsp(jon, signedBy(stranger)))
	w.later(3 * 365 * 24 * time.Hour)
	wantReason(t, w.store(decree), w.path(jon), denial.OCSPBadAnswer, "responder_file is valid")
}

func TestB13_AnswersWithoutOurNumber(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.nonce = nil }))
	wantGood(t, w.store(), w.path(jon))
	s := w.store(w.configured(func(r *revocation.ResponderConfig) { r.RequireNonce = true }))
	wantReason(t, s, w.path(jon), denial.OCSPBadAnswer, "require_nonce")
}

func TestAnswersAreKeptUntilTheyEndAndRenewedBefore(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.next = w.now().Add(20 * time.Minute) }))
	s := w.store()
	for range 5 {
		wantGood(t, s, w.path(jon))
	}
	if n := w.fetched(ocspURL); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	w.later(11 * time.Minute) // more than half of its time
	wantGood(t, s, w.path(jon))
	s.Settle()
	if n := w.fetched(ocspURL); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	w.answer(ocspURL, func([]byte) ([]byte, error) { return nil, os.ErrNotExist })
	w.later(12 * time.Minute)
	wantGood(t, s, w.path(jon)) // renewing fails, and the answer counts
	s.Settle()
	w.later(10 * time.Minute)
	wantReason(t, s, w.path(jon), denial.OCSPUnreachable)
}

func TestAnOlderAnswerDoesNotUndoARevocation(t *testing.T) {
	w := newWorld(t)
	jon := w.askable().Certificate
	old := w.now().Add(-time.Hour)
	w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.status, r.next = 1, w.now().Add(24*time.Hour) }))
	s := w.store()
	wantReason(t, s, w.path(jon), denial.Revoked)
	w.answer(ocspURL, w.ocsp(jon, func(r *reply) { r.this, r.next, r.nonce = old, w.now().Add(24*time.Hour), nil }))
	w.later(2 * time.Hour)
	wantReason(t, s, w.path(jon), denial.Revoked)
	s.Settle()
	wantReason(t, s, w.path(jon), denial.Revoked)
	if n := w.fetched(ocspURL); n < 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestAResponderThatIsDownIsNotAskedAboutEverybody(t *testing.T) {
	w := newWorld(t)
	s := w.store()
	for range 5 {
		wantReason(t, s, w.path(w.askable().Certificate), denial.OCSPUnreachable, "connection refused")
	}
	if n := w.fetched(ocspURL); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	if got := s.Sources(); len(got) != 1 || got[0].Kind != revocation.FromResponder || !strings.Contains(got[0].Error, "connection refused") {
		t.Errorf("sources: %+v", got)
	}
}

func TestResponderSettingsThatCannotWork(t *testing.T) {
	w := newWorld(t)
	open := func(r ...revocation.ResponderConfig) error {
		c := revocation.DefaultConfig()
		c.OCSP = r
		_, err := revocation.Open(c, revocation.Options{})
		return err
	}
	ca := w.file(w.ca.Certificate)
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"no file":        {open(revocation.ResponderConfig{CAFile: "/nowhere", URL: ocspURL}), "ocsp[0].ca_file"},
		"no certificate": {open(revocation.ResponderConfig{CAFile: ca, URL: ocspURL, ResponderFile: "/nowhere"}), "ocsp[0].responder_file"},
		"twice":          {open(revocation.ResponderConfig{CAFile: ca, URL: ocspURL}, revocation.ResponderConfig{CAFile: ca, URL: ocspURL}), "ocsp[1].ca_file"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, tt.err, tt.want)
		}
	}
}

func TestValidateReportsEveryMistake(t *testing.T) {
	c := revocation.Config{
		Mode: "on", CRLFiles: []setting.File{""}, OnUnknown: "maybe", Refresh: 1, Timeout: setting.Duration(time.Hour),
		OCSP: []revocation.ResponderConfig{{URL: "ftp://x"}, {CAFile: "a"}},
	}
	var keys []string
	for _, e := range setting.Split(c.Validate()) {
		key, _, _ := strings.Cut(e.Error(), ": ")
		keys = append(keys, key)
	}
	want := []string{"mode", "crl_files[0]", "ocsp[0].ca_file", "ocsp[0].url", "ocsp[1].url", "on_unknown", "refresh", "timeout", "max_size"}
	if !slices.Equal(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
	c = revocation.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Mode, c.OCSP = revocation.ModeOffline, []revocation.ResponderConfig{{CAFile: "a", URL: ocspURL}}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "ocsp: needs mode: online") {
		t.Errorf("responders offline: %v", err)
	}
}
