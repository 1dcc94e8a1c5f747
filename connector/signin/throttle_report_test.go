package signin_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
)

// attacked returns a service whose account jon is known at home, has failed
// there once and four times elsewhere, and of which the directory counts two
// that somebody else made.
func attacked(t *testing.T) (door, *directory) {
	t.Helper()
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
	if _, err := d.SignIn(t.Context(), from(home, "jon", memdir.SamplePassword)); err != nil {
		t.Fatal(err)
	}
	dir.lockout = ldapauth.Lockout{Threshold: 10, Window: 30 * time.Minute, Failures: 2, AsOf: time.Now(), Usual: true}
	_, _ = d.SignIn(t.Context(), from(home, "jon", canary))
	for i := range 4 {
		_, _ = d.SignIn(t.Context(), from(fmt.Sprint("2001:db8:1:", i, "::1"), "JON", canary))
	}
	_, _ = d.SignIn(t.Context(), from("2001:db8:1:1::2", canary, canary)) // typed into the wrong field
	return d, dir
}

func TestThrottleReport(t *testing.T) {
	d, _ := attacked(t)
	r := d.ThrottleReport()
	if len(r.Counts) != 7 || r.OtherNames != 1 || r.Omitted != 0 {
		t.Fatalf("%+v, want an account, a /32, four /64, a /48 and one other name", r)
	}
	if got := r.Counts[0]; got.Username != "jon" || got.AccountID == "" || got.Failures != 5 || got.FailuresKnown != 1 || !got.Closed || got.ClosedKnown || time.Since(got.Last) > time.Minute ||
		time.Until(got.Until) < 25*time.Minute || got.Directory == nil || got.Directory.Threshold != 10 || got.Directory.Failures != 2 {
		t.Errorf("the account: %+v", got)
	}
	networks := map[string]int{}
	for _, c := range r.Counts[1:] {
		networks[c.Network.String()] = c.Failures
		if c.Closed || c.AccountID != "" || c.Directory != nil {
			t.Errorf("a network: %+v", c)
		}
	}
	for n, want := range map[string]int{home + "/32": 1, "2001:db8:1::/64": 1, "2001:db8:1:1::/64": 2, "2001:db8:1::/48": 5} {
		if networks[n] != want {
			t.Errorf("%s has %d failures, want %d", n, networks[n], want)
		}
	}
	if text, err := json.Marshal(r); err != nil || strings.Contains(string(text), canary) {
		t.Errorf("what was typed is in the report, %v: %s", err, text)
	}
}

// What counts no more is not reported, and not kept either.
func TestThrottleReportForgets(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		d := open(t, signin.Options{Directory: &directory{accounts: accounts}, PasswordEnabled: true})
		_, _ = d.SignIn(t.Context(), password("jon", canary))
		time.Sleep(time.Hour)
		if r := d.ThrottleReport(); len(r.Counts) != 0 || r.OtherNames != 0 {
			t.Errorf("%+v, want nothing", r)
		}
	})
}

func TestClearThrottle(t *testing.T) {
	for _, tt := range []struct {
		what    string
		cleared bool
		account int // failures that jon has left
	}{
		{"jon", true, 0},
		{" JON", true, 0},
		{"ID", true, 0},
		{"amy", false, 5},
		{canary, true, 5}, // as a name, which is forgotten
		{home, true, 5},
		{"2001:db8:1:1::2", true, 5},
		{"2001:db8:1::/48", true, 5},
		{"2001:db8:2::1", false, 5},
		{"192.0.2.200", false, 5},
		{"", false, 5},
	} {
		d, dir := attacked(t)
		what := tt.what
		if what == "ID" {
			what = dir.accounts["jon"].ID
		}
		before := d.ThrottleReport()
		if n := d.ClearThrottle(what); (n > 0) != tt.cleared {
			t.Errorf("%q: %d counts are gone", what, n)
		}
		after, account := d.ThrottleReport(), 0
		for _, c := range after.Counts {
			if c.Username == "jon" {
				account = c.Failures
			}
			if a, err := netip.ParseAddr(what); err == nil && c.Network.Contains(a) {
				t.Errorf("%q: %+v is left", what, c)
			}
		}
		if account != tt.account {
			t.Errorf("%q: jon has %d failures left, want %d", what, account, tt.account)
		}
		if !tt.cleared && len(after.Counts) != len(before.Counts) {
			t.Errorf("%q: %d of %d counts are left", what, len(after.Counts), len(before.Counts))
		}
		_, err := d.SignIn(t.Context(), from("203.0.113.9", "jon", memdir.SamplePassword))
		if open := tt.account == 0; open != (err == nil) || !open && denial.ReasonOf(err) != denial.Throttled {
			t.Errorf("%q: then jon signs in from a new address: %v", what, err)
		}
	}
	d, _ := attacked(t)
	if n := d.ClearAllThrottles(); n < 8 {
		t.Errorf("all: %d counts are gone", n)
	}
	if r := d.ThrottleReport(); len(r.Counts) != 0 || r.OtherNames != 0 {
		t.Errorf("all: left is %+v", r)
	}
}

// Clearing while guesses are under way must not give any of them a second place.
func TestClearingKeepsGuessesUnderWay(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		dir := &directory{accounts: accounts, takes: time.Second, lockout: ldapauth.Lockout{Threshold: 3, Window: time.Hour, Usual: true}}
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = d.SignIn(t.Context(), password("jon", canary))
		}()
		time.Sleep(1500 * time.Millisecond) // its password is on the way
		d.ClearThrottle("jon")
		<-done
		for range 9 {
			_, _ = d.SignIn(t.Context(), password("jon", canary))
		}
		if n := dir.binds.Load(); n != 1 {
			t.Errorf("%d guesses, want the one that was under way", n)
		}
	})
}
