package revocation_test

import (
	"testing"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
)

// statsOf returns what is counted of the sources of a kind.
func statsOf(t *testing.T, s *revocation.Store, kind revocation.SourceKind) revocation.KindStats {
	t.Helper()
	for _, k := range s.Stats() {
		if k.Kind == kind {
			return k
		}
	}
	t.Fatalf("nothing of %s", kind)
	return revocation.KindStats{}
}

func TestStatsTellHowOldListsAreAndWhatFails(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	s := w.store()
	if k := statsOf(t, s, revocation.FromPoint); k.Sources != 0 || !k.FirstEnd.IsZero() {
		t.Errorf("before anybody came: %+v", k)
	}
	wantReason(t, s, w.path(jon), denial.CRLUnreachable)
	if k := statsOf(t, s, revocation.FromPoint); k.Sources != 1 || k.Failing != 1 || !k.Oldest.IsZero() || !k.FirstEnd.IsZero() {
		t.Errorf("without a list: %+v", k)
	}

	w.serve(listURL, w.listOf(w.ca, 1, mods(w.during(-time.Hour, 24*time.Hour))))
	w.later(time.Hour) // by then it is tried again
	wantGood(t, s, w.path(jon))
	k := statsOf(t, s, revocation.FromPoint)
	if begin := w.now().Add(-2 * time.Hour); k.Failing != 0 || k.Oldest.Before(begin.Add(-time.Hour)) || !k.FirstEnd.After(w.now()) {
		t.Errorf("with a list: %+v", k)
	}

	w.later(8 * 24 * time.Hour) // a week in which nobody needs it
	if k := statsOf(t, s, revocation.FromPoint); k.Sources != 0 || !k.FirstEnd.IsZero() {
		t.Errorf("after a week for nobody: %+v", k)
	}
}

func TestStatsTellOfTheListThatEndsFirst(t *testing.T) {
	w := newWorld(t)
	s := w.store(w.files(
		w.listOf(w.ca, 1, mods(w.during(-3*time.Hour, 48*time.Hour))),
		w.listOf(w.ca, 2, mods(w.during(-time.Hour, 24*time.Hour))),
	))
	k := statsOf(t, s, revocation.FromFile)
	if k.Sources != 2 || !k.Oldest.Equal(w.now().Add(-3*time.Hour)) || !k.FirstEnd.Equal(w.now().Add(24*time.Hour)) {
		t.Errorf("%+v at %v", k, w.now())
	}
}
