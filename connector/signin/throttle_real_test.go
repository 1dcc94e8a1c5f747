package signin_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"

	"github.com/google/go-cmp/cmp"
)

// counted returns what the directory itself counts of an account.
func counted(t *testing.T, d *ldapauth.Domains, name string) ldapauth.Lockout {
	t.Helper()
	a, err := d.FindByName(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Lockout(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestE4_AHundredGuessesAtOnceLockNobody: guesses at both doors, from known and
// unknown addresses, all at the same time, stay below the directory's three, and
// a real sign-in among them is not turned away for them.
func TestE4_AHundredGuessesAtOnceLockNobody(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			o := changing(client)
			d := open(t, o)
			if _, err := d.SignIn(t.Context(), from(home, "jon", server.Password)); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range 100 {
				address := fmt.Sprint("203.0.113.", i)
				if i%4 == 0 {
					address = home
				}
				wg.Go(func() {
					var err error
					if i%2 == 0 {
						_, err = d.SignIn(t.Context(), from(address, "jon", canary))
					} else {
						a := newPassword("JON", canary)
						a.Remote = netip.MustParseAddr(address)
						err = d.ChangePassword(t.Context(), a)
					}
					if denial.ReasonOf(err) == "" {
						t.Errorf("guess %d: %v, want a denial", i, err)
					}
				})
			}
			wg.Wait()
			if l := counted(t, client, "jon"); l.Threshold != 3 || l.Failures > 2 || l.Failures == 0 || l.Locked != nil {
				t.Errorf("the directory after the attack: %+v, want 1 or 2 failures of 3", l)
			}
		})
	}
}

// TestE11_WrongOldPasswordsLockNobody: the form for a new password is no way
// around the throttle.
func TestE11_WrongOldPasswordsLockNobody(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			d := open(t, changing(client))
			for i := range 20 {
				a := newPassword("zoe", canary)
				a.Remote = netip.MustParseAddr(fmt.Sprint("203.0.113.", i))
				if err := d.ChangePassword(t.Context(), a); denial.ReasonOf(err) == "" {
					t.Errorf("wrong old password %d: %v, want a denial", i, err)
				}
			}
			if l := counted(t, client, "zoe"); l.Threshold != 3 || l.Failures > 2 || l.Locked != nil {
				t.Errorf("the directory counts %+v, want at most 2 failures of 3", l)
			}
			// The guesses at the one door are those at the other.
			if _, err := d.SignIn(t.Context(), from("203.0.113.99", "zoe", server.Password)); denial.ReasonOf(err) == "" {
				t.Errorf("sign-in after the guesses: %v, want a denial", err)
			}
		})
	}
}

// TestE4_FailuresElsewhereLeaveFewer: what somebody fails at other programs, the
// directory tells, and we keep below its limit with it.
func TestE4_FailuresElsewhereLeaveFewer(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			_, client := start(t)
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
			elsewhere := open(t, signin.Options{Directory: client, PasswordEnabled: true}) // a program with counts of its own
			for i := range 4 {
				_, _ = elsewhere.SignIn(t.Context(), from(fmt.Sprint("192.0.2.", i), "jon", canary))
			}
			before := counted(t, client, "jon")
			for i := range 20 {
				_, _ = d.SignIn(t.Context(), from(fmt.Sprint("203.0.113.", i), "jon", canary))
			}
			after := counted(t, client, "jon")
			if before.Failures == 0 || after.Failures > 2 || after.Locked != nil {
				t.Errorf("failures elsewhere %d, then %+v; want it not locked", before.Failures, after)
			}
		})
	}
}

// TestE6_NoAnswerTellsWhoExists: an unknown name, a wrong password, a disabled
// and a locked account are the same to whoever tries wrong passwords. At sign-in
// the reason account_locked stands for bad_credentials, as on the page: there
// the directory says it to anybody.
func TestE6_NoAnswerTellsWhoExists(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			_, client := start(t)
			ask := func(who string, change bool) (answers []denial.Reason) {
				d := open(t, changing(client))
				// What the directory does in general is known after the first account.
				_, _ = d.SignIn(t.Context(), from("192.0.2.99", "photo", canary))
				for i := range 4 {
					address := fmt.Sprint("203.0.113.", i)
					var err error
					if change {
						a := newPassword(who, canary)
						a.Remote = netip.MustParseAddr(address)
						err = d.ChangePassword(t.Context(), a)
					} else {
						_, err = d.SignIn(t.Context(), from(address, who, canary))
						if denial.ReasonOf(err) == denial.AccountLocked {
							err = denial.New(denial.BadCredentials, "as the page says it")
						}
					}
					answers = append(answers, denial.ReasonOf(err))
				}
				return answers
			}
			for change, names := range map[bool][]string{false: {"jon", "dis", "lck"}, true: {"jon", "dis", "lck"}} {
				unknown := ask("nobody", change)
				for _, who := range names {
					if diff := cmp.Diff(unknown, ask(who, change)); diff != "" {
						t.Errorf("%s, change %t, can be told from an unknown name (-unknown +known):\n%s", who, change, diff)
					}
				}
			}
		})
	}
}

// Whatever the threshold, the limit, and the order in which guesses from known
// and unknown addresses end: no more reach the account than leave it open.
func TestParallelGuessesNeverExceedTheBudget(t *testing.T) {
	accounts := staff(t)
	for threshold := 1; threshold <= 12; threshold++ {
		dir := &directory{accounts: accounts}
		o := changing(spellings{dir})
		o.Throttle = signin.DefaultThrottle()
		o.Throttle.PerAccount.Failures = 1 + threshold
		d := open(t, o)
		if _, err := d.SignIn(t.Context(), from(home, "jon", memdir.SamplePassword)); err != nil {
			t.Fatal(err)
		}
		dir.lockout = ldapauth.Lockout{Threshold: threshold, Window: time.Hour, Usual: true}
		dir.binds.Store(0)
		names := []string{"jon", "JON ", "jon@fabrikam.example", `FABRIKAM\jon`}
		var wg sync.WaitGroup
		for i := range 100 {
			address := fmt.Sprint("203.0.113.", rand.N(200))
			if i%2 == 0 {
				address = home
			}
			wg.Go(func() {
				if i%5 == 0 {
					a := newPassword(names[i%4], canary)
					a.Remote = netip.MustParseAddr(address)
					_ = d.ChangePassword(t.Context(), a)
					return
				}
				_, _ = d.SignIn(t.Context(), from(address, names[i%4], canary))
			})
		}
		wg.Wait()
		if n := int(dir.binds.Load() + dir.changes.Load()); n >= threshold {
			t.Errorf("%d of 100 guesses reached an account that is locked after %d", n, threshold)
		}
	}
}
