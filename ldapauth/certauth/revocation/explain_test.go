package revocation_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
)

// explain signs in, as it were, and returns what is known of the leaf then.
func explain(w *world, s *revocation.Store, leaf *x509.Certificate) revocation.Report {
	w.t.Helper()
	p := s.Path(w.path(leaf))
	_, _ = s.Check(w.t.Context(), p)
	return s.Explain(p)[0]
}

func TestExplainSaysWhoSaidWhat(t *testing.T) {
	w := newWorld(t)
	good, bad, asked, nobody := w.leaf(), w.leaf(), w.askable().Certificate, w.leaf(withList())
	w.serve(listURL, w.list(7, bad.SerialNumber))
	w.answer(ocspURL, w.ocsp(asked))
	s := w.store()
	for _, tt := range []struct {
		name         string
		report       revocation.Report
		answer, says string
		reason       denial.Reason
		sources      int
	}{
		{"on no list", explain(w, s, good), revocation.AnswerGood, "does not have it", "", 1},
		{"on the list", explain(w, s, bad), revocation.AnswerRevoked, "was revoked on", denial.Revoked, 1},
		{"a responder", explain(w, w.store(), asked), revocation.AnswerGood, "good", "", 1},
		{"nobody", explain(w, w.store(), nobody), revocation.AnswerNobody, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.report
			if r.Answer != tt.answer || denial.ReasonOf(r.Err) != tt.reason || len(r.Sources) < tt.sources {
				t.Fatalf("%+v", r)
			}
			if tt.sources == 0 {
				return
			}
			o := r.Sources[0]
			if !strings.Contains(o.Answer, tt.says) || o.ThisUpdate.IsZero() || !o.NextUpdate.After(o.ThisUpdate) || !o.Verified || o.Error != "" {
				t.Errorf("%+v", o)
			}
		})
	}
}

func TestExplainSaysWhyThereIsNoAnswer(t *testing.T) {
	w := newWorld(t)
	r := explain(w, w.store(), w.leaf())
	if r.Answer != revocation.AnswerUnknown || denial.ReasonOf(r.Err) != denial.CRLUnreachable || len(r.Sources) != 1 || r.Sources[0].Error == "" || r.Sources[0].Answer != "" {
		t.Errorf("a list that does not come: %+v", r)
	}
	r = explain(w, w.store(), w.askable().Certificate)
	if r.Answer != revocation.AnswerUnknown || denial.ReasonOf(r.Err) != denial.OCSPUnreachable || len(r.Sources) != 1 || r.Sources[0].Kind != revocation.FromResponder || r.Sources[0].Error == "" {
		t.Errorf("a responder that does not answer: %+v", r)
	}
}
