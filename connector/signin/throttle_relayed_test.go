package signin_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/setting"
)

// relayed is an attempt that a service has passed on.
func relayed(name, text string) signin.Attempt {
	a := from("203.0.113.1", name, text) // which must not be looked at
	a.Via, a.Relayed = "hub", true
	return a
}

// lets returns how many of many wrong passwords get as far as the directory.
func lets(t *testing.T, d door, dir *directory, attempt func() signin.Attempt) int {
	t.Helper()
	before := dir.binds.Load()
	for range 20 {
		if _, err := d.SignIn(t.Context(), attempt()); denial.ReasonOf(err) == "" {
			t.Errorf("a guess: %v, want a denial", err)
		}
	}
	return int(dir.binds.Load() - before)
}

// TestE4_SlipsThroughAService: a service through which an account signs in is
// as good as an address that is known for it, but the last failure that the
// directory allows stays for such an address.
func TestE4_SlipsThroughAService(t *testing.T) {
	accounts := staff(t)
	type through struct{ strangers, service, home int }
	for _, tt := range []struct {
		name      string
		threshold int
		signedIn  []string
		want      through // one after the other
	}{
		{"3, never", 3, nil, through{1, 0, 0}},
		{"3, through the service", 3, []string{"service"}, through{1, 1, 0}},
		{"3, at home", 3, []string{"home"}, through{1, 0, 1}},
		{"3, both", 3, []string{"service", "home"}, through{1, 0, 1}},
		{"5, through the service", 5, []string{"service"}, through{2, 2, 0}},
		{"5, at home", 5, []string{"home"}, through{2, 0, 2}},
		{"5, both", 5, []string{"service", "home"}, through{2, 1, 1}},
		{"10, both", 10, []string{"service", "home"}, through{4, 4, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := &directory{accounts: accounts, lockout: ldapauth.Lockout{Threshold: tt.threshold, Window: 30 * time.Minute, Usual: true}}
			c := signin.DefaultThrottle()
			c.PerAccount.Failures = 1000 // the directory's limit is the one to be seen
			d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, Throttle: c})
			attempts := map[string]func(text string) signin.Attempt{
				"service": func(text string) signin.Attempt { return relayed("jon", text) },
				"home":    func(text string) signin.Attempt { return from(home, "jon", text) },
			}
			for _, where := range tt.signedIn {
				if _, err := d.SignIn(t.Context(), attempts[where](memdir.SamplePassword)); err != nil {
					t.Fatal(err)
				}
			}
			i := 0
			got := through{
				strangers: lets(t, d, dir, func() signin.Attempt { i++; return from(fmt.Sprint("203.0.113.", i), "jon", canary) }),
				service:   lets(t, d, dir, func() signin.Attempt { return attempts["service"](canary) }),
				home:      lets(t, d, dir, func() signin.Attempt { return attempts["home"](canary) }),
			}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestE4_ASlipThroughAServiceIsNoWait: what somebody mistypes once on the page
// of a service keeps him out no longer than at ours, and for whoever has never
// come that way it is the guess of a stranger.
func TestE4_ASlipThroughAServiceIsNoWait(t *testing.T) {
	for _, addresses := range []time.Duration{30 * 24 * time.Hour, 0} {
		dir := &directory{accounts: staff(t), lockout: ldapauth.Lockout{Threshold: 3, Window: 30 * time.Minute, Usual: true}}
		c := signin.DefaultThrottle()
		c.KnownAddresses = setting.Duration(addresses)
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, Throttle: c})
		if _, err := d.SignIn(t.Context(), relayed("jon", memdir.SamplePassword)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"jon", "amy"} {
			if _, err := d.SignIn(t.Context(), relayed(name, canary)); denial.ReasonOf(err) != denial.BadCredentials {
				t.Errorf("%s, a slip: %v", name, err)
			}
			_, err := d.SignIn(t.Context(), relayed(name, memdir.SamplePassword))
			if open := name == "jon" || addresses == 0; open != (err == nil) {
				t.Errorf("%s, known addresses %v: %v", name, addresses, err)
			}
		}
	}
}

// TestE4_GuessesThroughAServiceLockNobody: nor do they keep the owner out at
// home, and the directory counts them as we do.
func TestE4_GuessesThroughAServiceLockNobody(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
			for _, a := range []signin.Attempt{
				relayed("jon", server.Password), from(home, "jon", server.Password), relayed("zoe", server.Password),
			} {
				if _, err := d.SignIn(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
			var everybody sync.WaitGroup
			for i := range 100 {
				a := relayed([]string{"jon", "ZOE"}[i%2], canary)
				if i%5 == 0 {
					a = from(fmt.Sprint("203.0.113.", i), []string{"jon", "zoe"}[i/5%2], canary)
				}
				everybody.Go(func() {
					if _, err := d.SignIn(t.Context(), a); denial.ReasonOf(err) == "" {
						t.Errorf("a guess: %v, want a denial", err)
					}
				})
			}
			everybody.Wait()
			for name, most := range map[string]int{"jon": 1, "zoe": 2} {
				if l := counted(t, client, name); l.Threshold != 3 || l.Failures < 1 || l.Failures > most || l.Locked != nil {
					t.Errorf("%s: the directory counts %+v, want at most %d failures of 3", name, l, most)
				}
			}
			if _, err := d.SignIn(t.Context(), from(home, "jon", server.Password)); err != nil {
				t.Errorf("the owner at home: %v", err)
			}
		})
	}
}
