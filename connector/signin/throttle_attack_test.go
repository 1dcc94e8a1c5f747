package signin_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	"github.com/google/go-cmp/cmp"
)

// realDirectories are the real servers, which lock accounts after three wrong
// passwords, with a client for each.
func realDirectories() map[string]func(t *testing.T) (*dirtest.Server, *ldapauth.Domains) {
	client := func(t *testing.T, s *dirtest.Server, policy string) (*dirtest.Server, *ldapauth.Domains) {
		c := ldapauth.DefaultDomains()
		c.URLs, c.CAFiles = []string{s.URL}, []setting.File{setting.File(s.CAFile)}
		c.BaseDN, c.BindDN, c.BindPassword = setting.OneOrMore{s.BaseDN}, s.BindDN, secret.New(s.BindPassword)
		c.PasswordPolicyDN = policy
		c.MailAsName = true
		if s.Kind == dirtest.KindOpenLDAP { // Active Directory knows by itself
			c.Suffixes, c.NetBIOS = []string{"corp.example.test"}, "CORP"
		}
		d, err := ldapauth.NewDomains(c, ldapauth.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return s, d
	}
	return map[string]func(t *testing.T) (*dirtest.Server, *ldapauth.Domains){
		"OpenLDAP": func(t *testing.T) (*dirtest.Server, *ldapauth.Domains) {
			s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
			return client(t, s, "cn=default,ou=policies,"+s.BaseDN)
		},
		"Samba": func(t *testing.T) (*dirtest.Server, *ldapauth.Domains) {
			return client(t, dirtest.SambaAD(t), "")
		},
	}
}

// from returns an attempt with a password from an address.
func from(address, name, text string) signin.Attempt {
	a := password(name, text)
	a.Remote = netip.MustParseAddr(address)
	return a
}

const home = "198.51.100.77"

// TestE4_AnAttackFromOutsideLocksNobody: fifty guesses from many addresses, in
// many spellings, one after the other and all at once, must neither make the
// directory lock the account nor keep its owner out at home.
func TestE4_AnAttackFromOutsideLocksNobody(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
			if _, err := d.SignIn(t.Context(), from(home, "jon", server.Password)); err != nil {
				t.Fatal(err)
			}
			spellings := []string{"jon", "Jon", "JON ", "ｊｏｎ", "jon\u00a0"}
			var wg sync.WaitGroup
			for i := range 50 {
				guess := func() {
					if _, err := d.SignIn(t.Context(), from(fmt.Sprint("203.0.113.", i), spellings[i%len(spellings)], canary)); denial.ReasonOf(err) == "" {
						t.Errorf("guess %d: %v, want a denial", i, err)
					}
				}
				if i < 25 {
					guess()
				} else {
					wg.Go(guess)
				}
			}
			wg.Wait()
			a, err := client.FindByName(t.Context(), "jon")
			if err != nil {
				t.Fatal(err)
			}
			if l, err := client.Lockout(t.Context(), a); err != nil || l.Threshold != 3 || l.Failures != 1 || l.Locked != nil {
				t.Errorf("the directory after the attack: %+v, %v; want 1 failure of 3", l, err)
			}
			if _, err := d.SignIn(t.Context(), from("192.0.2.200", "jon", server.Password)); denial.ReasonOf(err) == "" {
				t.Errorf("the right password from an unknown address during the attack: %v, want a denial", err)
			}
			if _, err := d.SignIn(t.Context(), from(home, "jon", canary)); denial.ReasonOf(err) != denial.BadCredentials {
				t.Errorf("a slip of the owner at home: %v", err)
			}
			for range 5 { // the third would lock
				_, _ = d.SignIn(t.Context(), from(home, "jon", canary))
			}
			if a, err = client.FindByName(t.Context(), "jon"); err != nil {
				t.Fatal(err)
			}
			if l, err := client.Lockout(t.Context(), a); err != nil || l.Failures != 2 || l.Locked != nil {
				t.Errorf("the directory after slips at home: %+v, %v; want 2 failures of 3", l, err)
			}
		})
	}
}

// The owner signs in from where the account is known, whatever goes on outside.
func TestE5_TheOwnerIsNotKeptOutByAnAttack(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
			for range 3 {
				if _, err := d.SignIn(t.Context(), from(home, "jon", server.Password)); err != nil {
					t.Errorf("the owner at home: %v", err)
				}
				for i := range 17 {
					_, _ = d.SignIn(t.Context(), from(fmt.Sprint("203.0.113.", i), "jon", canary))
				}
			}
			if _, err := d.SignIn(t.Context(), from(home, "jon", server.Password)); err != nil {
				t.Errorf("the owner at home, in the end: %v", err)
			}
		})
	}
}

// TestE5_ADomainInTheNameIsNoFurtherGuess: a name with a domain part shares the
// counters of the same name without, also where nobody is called so.
func TestE5_ADomainInTheNameIsNoFurtherGuess(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
			if _, err := d.SignIn(t.Context(), from(home, `CORP\jon`, server.Password)); err != nil {
				t.Fatal(err)
			}
			stranger := 0
			for _, who := range []string{"jon", "nobody"} {
				for i, spelling := range []string{"%s", "%s@corp.example.test", `CORP\%s`, "%s@CORP.Example.Test", `corp\%s`, `CORP\%s `, "ｃｏｒｐ\\%s"} {
					spelling = fmt.Sprintf(spelling, who)
					stranger++
					_, _ = d.SignIn(t.Context(), from(fmt.Sprint("203.0.113.", stranger), spelling, canary))
					if got := d.lastLine(t)["reason"]; i > 0 && i < 5 && got != string(denial.Throttled) {
						t.Errorf("guess %d, as %q: the audit line says %v, want throttled", i+1, spelling, got)
					}
				}
			}
			a, err := client.FindByName(t.Context(), "jon")
			if err != nil {
				t.Fatal(err)
			}
			if l, err := client.Lockout(t.Context(), a); err != nil || l.Failures != 1 {
				t.Errorf("the directory counts %+v, %v; want 1 failure", l, err)
			}
			if _, err := d.SignIn(t.Context(), from(home, "jon@corp.example.test", server.Password)); err != nil {
				t.Errorf("the owner at home: %v", err)
			}
		})
	}
}

// A directory's own lock is believed: the password stays here.
func TestE4_ALockedAccountIsNotBound(t *testing.T) {
	for name, start := range realDirectories() {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
			dn := server.DN(t, "lck")
			before := strings.Count(server.Log(), dn)
			if _, err := d.SignIn(t.Context(), password("lck", server.Password)); denial.ReasonOf(err) != denial.AccountLocked {
				t.Errorf("SignIn: %v, want account_locked", err)
			}
			for line := range strings.Lines(server.Log()[strings.LastIndex(server.Log(), dn)+1:]) {
				if strings.Contains(line, "BIND dn=\""+dn) {
					t.Errorf("bound: %s", line)
				}
			}
			if n := strings.Count(server.Log(), dn) - before; server.Kind == dirtest.KindSamba && n != 0 {
				t.Errorf("%d binds", n)
			}
		})
	}
}

// budgets are the numbers of failures that a directory's threshold leaves to
// unknown addresses, and to the known ones after those.
func TestTheDirectorysThresholdIsDivided(t *testing.T) {
	accounts := staff(t)
	for _, tt := range []struct{ threshold, unknown, known int }{
		{0, 5, 5}, {1, 0, 0}, {2, 1, 0}, {3, 1, 1}, {4, 1, 2}, {5, 2, 2}, {6, 2, 3}, {10, 4, 5}, {12, 5, 5}, {1000, 5, 5},
	} {
		dir := &directory{accounts: accounts}
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
		if _, err := d.SignIn(t.Context(), from(home, "jon", memdir.SamplePassword)); err != nil {
			t.Fatal(err)
		}
		dir.lockout = ldapauth.Lockout{Threshold: tt.threshold, Window: 30 * time.Minute, Usual: true}
		count := func(address string) int {
			before := dir.binds.Load()
			for i := range 20 {
				_, _ = d.SignIn(t.Context(), from(fmt.Sprint(address, i), "jon", canary))
			}
			return int(dir.binds.Load() - before)
		}
		if n := count("203.0.113.1"); n != tt.unknown {
			t.Errorf("threshold %d: %d guesses from unknown addresses, want %d", tt.threshold, n, tt.unknown)
		}
		before := dir.binds.Load()
		for range 20 {
			_, _ = d.SignIn(t.Context(), from(home, "jon", canary))
		}
		if n := int(dir.binds.Load() - before); n != tt.known {
			t.Errorf("threshold %d: %d guesses from the known address, want %d", tt.threshold, n, tt.known)
		}
		if tt.threshold > 0 && dir.binds.Load() > int32(tt.threshold) { // the first was right
			t.Errorf("threshold %d: %d wrong passwords", tt.threshold, dir.binds.Load()-1)
		}
	}
}

// What others have failed, or another connector, the directory counts too.
func TestTheDirectorysOwnCountIsHeeded(t *testing.T) {
	accounts := staff(t)
	for _, tt := range []struct{ failures, unknown, known int }{
		{0, 4, 5}, {4, 4, 1}, {7, 1, 1}, {8, 0, 1}, {9, 0, 0}, {20, 0, 0},
	} {
		dir := &directory{accounts: accounts}
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
		_, _ = d.SignIn(t.Context(), from(home, "jon", memdir.SamplePassword))
		dir.lockout = ldapauth.Lockout{Threshold: 10, Window: 30 * time.Minute, Failures: tt.failures, AsOf: time.Now(), Until: time.Now().Add(time.Hour)}
		before := dir.binds.Load()
		for range 20 {
			_, _ = d.SignIn(t.Context(), password("jon", canary))
		}
		if n := int(dir.binds.Load() - before); n != tt.unknown {
			t.Errorf("%d failures elsewhere: %d guesses from an unknown address, want %d", tt.failures, n, tt.unknown)
		}
		before = dir.binds.Load()
		for range 20 {
			_, _ = d.SignIn(t.Context(), from(home, "jon", canary))
		}
		if n := int(dir.binds.Load() - before); n != tt.known {
			t.Errorf("%d failures elsewhere: %d guesses from the known address, want %d", tt.failures, n, tt.known)
		}
	}
}

// Active Directory forgets nothing as long as each failure follows the last one
// within its window, and neither must we.
func TestFailuresCountAsLongAsTheDirectoryCountsThem(t *testing.T) {
	accounts := staff(t)
	// Of three in half an hour none locks by itself; prolonged, the fifth would,
	// so that after each four there must be a pause of half an hour.
	for prolonged, want := range map[bool]int{true: 12, false: 16} {
		synctest.Test(t, func(t *testing.T) {
			dir := &directory{accounts: accounts, lockout: ldapauth.Lockout{Threshold: 5, Window: 30 * time.Minute, Prolonged: prolonged}}
			c := signin.DefaultThrottle()
			c.KnownAddresses = 0
			d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, Throttle: c})
			for range 16 {
				_, _ = d.SignIn(t.Context(), password("jon", canary))
				time.Sleep(10 * time.Minute)
			}
			if n := int(dir.binds.Load()); n != want {
				t.Errorf("prolonged %t: %d guesses, want %d", prolonged, n, want)
			}
			time.Sleep(31 * time.Minute)
			if _, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword)); err != nil {
				t.Errorf("prolonged %t, after a pause: %v", prolonged, err)
			}
		})
	}
}

// A policy that cannot be read keeps nobody out, and is logged once.
func TestAnUnknownThresholdLeavesTheConfiguredLimits(t *testing.T) {
	dir := &directory{accounts: staff(t), lockoutErr: fmt.Errorf("policy: %w", errDown)}
	d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
	for range 10 {
		_, _ = d.SignIn(t.Context(), password("jon", canary))
	}
	if n := dir.binds.Load(); n != 5 {
		t.Errorf("%d guesses, want 5", n)
	}
	if _, err := d.SignIn(t.Context(), password("amy", memdir.SamplePassword)); err != nil {
		t.Error(err)
	}
	if n := strings.Count(d.log.String(), "cannot be read how many"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, d.log)
	}
}

// TestE6_RefusalsSlowDownAlike: later refusals take longer, for names that
// nobody has as for those that somebody has, and whatever the directory allows.
func TestE6_RefusalsSlowDownAlike(t *testing.T) {
	accounts := staff(t)
	type answer struct {
		reason denial.Reason
		took   time.Duration
	}
	for _, lockout := range []ldapauth.Lockout{{}, {Threshold: 3, Window: 30 * time.Minute, Usual: true}, {Threshold: 10, Window: 30 * time.Minute, Prolonged: true, Usual: true}} {
		ask := func(name string) (answers []answer) {
			synctest.Test(t, func(t *testing.T) {
				dir := &directory{accounts: accounts, lockout: lockout}
				d := open(t, signin.Options{
					Directory: dir, PasswordEnabled: true, RefusalFloor: 400 * time.Millisecond, DelayStep: 500 * time.Millisecond,
				})
				_, _ = d.SignIn(t.Context(), from(home, "amy", memdir.SamplePassword))
				for range 7 {
					start := time.Now()
					_, err := d.SignIn(t.Context(), password(name, canary))
					answers = append(answers, answer{denial.ReasonOf(err), time.Since(start)})
				}
			})
			return answers
		}
		known, unknown := ask("jon"), ask("nobody")
		if diff := cmp.Diff(unknown, known, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%+v: an account can be told from an unknown name (-unknown +known):\n%s", lockout, diff)
		}
		if lockout.Threshold == 0 {
			want := []answer{
				{denial.BadCredentials, 400 * time.Millisecond},
				{denial.BadCredentials, 400 * time.Millisecond},
				{denial.BadCredentials, 900 * time.Millisecond},
				{denial.BadCredentials, 1400 * time.Millisecond},
				{denial.BadCredentials, 2400 * time.Millisecond},
				{denial.Throttled, 0},
				{denial.Throttled, 0},
			}
			if diff := cmp.Diff(want, known, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		}
	}
}

// A right password is not held back by the failures before it.
func TestARightPasswordIsNotDelayed(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		d := open(t, signin.Options{Directory: &directory{accounts: accounts}, PasswordEnabled: true, DelayStep: time.Second})
		for range 4 {
			_, _ = d.SignIn(t.Context(), password("jon", canary))
		}
		start := time.Now()
		if _, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword)); err != nil || time.Since(start) != 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// An address is known after a sign-in by any method, for this account alone, and
// also after a restart.
func TestAddressesBecomeKnown(t *testing.T) {
	accounts := staff(t)
	dataDir, err := private.Open(t.TempDir() + "/data")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	start := func(dir *directory) door {
		return open(t, signin.Options{
			Directory: dir, PasswordEnabled: true, Recheck: time.Hour, DataDir: dataDir, Now: func() time.Time { return now },
		})
	}
	dir := &directory{accounts: accounts}
	d := start(dir)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx) })
	id, err := d.SignIn(ctx, certificate()) // from inside
	if err != nil {
		t.Fatal(err)
	}
	a := session(id)
	a.Remote = netip.MustParseAddr("2001:db8:1:2::3")
	if _, err := d.SignIn(ctx, a); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SignIn(ctx, from(home, "jon", memdir.SamplePassword)); err != nil {
		t.Fatal(err)
	}
	cancel()
	wg.Wait() // it is written at the end
	for _, text := range []string{"jon", accounts["jon"].ID, home, "10.1.2.3"} {
		data, err := dataDir.Read("known-addresses")
		if err != nil || strings.Contains(string(data), text) {
			t.Errorf("the file of known addresses, %v, holds %s:\n%s", err, text, data)
		}
	}
	// attacked makes a service whose account has no guess left for strangers.
	attacked := func(name string) door {
		dir := &directory{accounts: accounts, lockout: ldapauth.Lockout{Threshold: 3, Window: 30 * time.Minute, Usual: true}}
		d := start(dir)
		_, _ = d.SignIn(t.Context(), from("203.0.113.1", name, canary))
		return d
	}
	for _, tt := range []struct {
		address, name string
		later         time.Duration
		want          denial.Reason
	}{
		{home, "jon", 0, ""},
		{"10.1.2.3", "jon", 0, ""},
		{"2001:db8:1:2:ffff::1", "jon", 0, ""}, // the same /64
		{home, "jon", 29 * 24 * time.Hour, ""},
		{"2001:db8:1:3::1", "jon", 0, denial.Throttled},
		{"203.0.113.2", "jon", 0, denial.Throttled},
		{home, "amy", 0, denial.BadCredentials}, // known, but not for her
		{home, "jon", 40 * 24 * time.Hour, denial.Throttled},
	} {
		now = time.Now().Add(tt.later)
		_, err := attacked(tt.name).SignIn(t.Context(), from(tt.address, tt.name, memdir.SamplePassword))
		if denial.ReasonOf(err) != tt.want || tt.want == "" && err != nil {
			t.Errorf("%s from %s, %v later: %v, want %q", tt.name, tt.address, tt.later, err, tt.want)
		}
	}
}
