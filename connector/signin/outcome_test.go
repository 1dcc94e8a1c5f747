package signin_test

import (
	"errors"
	"testing"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
)

// TestWhoCountsIsToldWhatTheAuditTrailIs: the same method, result and reason as in
// the line of each attempt, also where the caller is told less, and how long it
// took.
func TestWhoCountsIsToldWhatTheAuditTrailIs(t *testing.T) {
	d := &directory{accounts: staff(t)}
	var seen []signin.Outcome
	o := signin.Options{
		Directory: d, PasswordEnabled: true, ChangePassword: true, Recheck: time.Hour,
		Observe: func(o signin.Outcome) { seen = append(seen, o) },
	}
	s := open(t, o)
	id, err := s.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.SignIn(t.Context(), certificate())
	_, _ = s.SignIn(t.Context(), session(id))
	_, _ = s.SignIn(t.Context(), password("dora", memdir.SamplePassword))
	_, _ = s.SignIn(t.Context(), password("nobody", "x"))
	for range 6 { // the last is turned away, whatever the password
		_, _ = s.SignIn(t.Context(), password("amy", "wrong"))
	}
	d.findErr = errors.New("the directory is down")
	_, _ = s.SignIn(t.Context(), password("zoe", memdir.SamplePassword))
	d.findErr = nil
	_ = s.ChangePassword(t.Context(), signin.Attempt{
		Credential: signin.PasswordChange{Username: "jon", Old: secret.New("old"), New: secret.New("old")}, Via: "wsfed", Remote: outside,
	})
	lines := s.lines(t)
	if len(lines) != len(seen) {
		t.Fatalf("%d lines and %d outcomes", len(lines), len(seen))
	}
	results := map[string]bool{}
	for i, line := range lines {
		reason, _ := line["reason"].(string)
		if o := seen[i]; string(o.Method) != line["method"] || o.Via != line["via"] || o.Result != line["result"] || string(o.Reason) != reason || o.Took <= 0 {
			t.Errorf("%+v of %v", o, line)
		}
		results[seen[i].Result] = true
	}
	if len(results) != 3 {
		t.Errorf("results %v, want three", results)
	}
	if o := seen[len(seen)-3]; o.Reason != denial.Throttled {
		t.Errorf("the guess too many: %+v", o)
	}
	if o := seen[len(seen)-1]; o.Method != signin.ByPasswordChange {
		t.Errorf("the change: %+v", o)
	}
}

// TestAPanicIsCountedAsAFault like any other.
func TestAPanicIsCountedAsAFault(t *testing.T) {
	var seen []signin.Outcome
	s := open(t, signin.Options{
		Directory: bomb{&directory{accounts: staff(t)}}, PasswordEnabled: true,
		Observe: func(o signin.Outcome) { seen = append(seen, o) },
	})
	func() {
		defer func() { _ = recover() }()
		_, _ = s.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	}()
	if len(seen) != 1 || seen[0].Result != signin.Fault || seen[0].Reason != "" || seen[0].Method != signin.ByPassword {
		t.Errorf("%+v", seen)
	}
}
