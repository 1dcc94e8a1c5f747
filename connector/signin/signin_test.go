package signin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"

	"github.com/google/go-cmp/cmp"
)

var (
	errDown       = errors.New("directory is down")
	errUnanswered = fmt.Errorf("binding: %w: connection lost", ldapauth.ErrUnanswered)
	errBarred     = denial.New(denial.DeniedGroup, "is in Domain Admins")
	errGroups     = fmt.Errorf("%w: time is up", ldapauth.ErrGroups)
)

// canary is a password that must turn up nowhere.
const canary = "Canary-Passw0rd-7f3a"

// fault stands in the tables for an error that is no denial.
const fault denial.Reason = "(fault)"

func TestSignInPolicy(t *testing.T) {
	accounts := staff(t)
	right, wrong := memdir.SamplePassword, canary
	everything := signin.Options{PasswordEnabled: true, Recheck: time.Minute}
	with := func(change func(*signin.Options)) signin.Options {
		o := everything
		change(&o)
		return o
	}
	omit := with(func(o *signin.Options) { o.GroupsOnFailure = signin.OmitGroups })
	fresh := &signin.Identity{ID: accounts["jon"].ID, Username: "jon", AuthenticatedBy: signin.ByPassword, CheckedAt: time.Now()}
	stale := func(name string) *signin.Identity {
		return &signin.Identity{ID: accounts[name].ID, Username: name, AuthenticatedBy: signin.ByPassword, CheckedAt: time.Now().Add(-time.Hour)}
	}
	at := func(a signin.Attempt, remote netip.Addr) signin.Attempt {
		a.Remote = remote
		return a
	}

	for _, tt := range []struct {
		name         string
		options      signin.Options
		directory    *directory // its accounts are the staff
		attempt      signin.Attempt
		want         denial.Reason // "" means: let in
		detail       string        // in the audit line
		finds, binds int32
	}{
		{"right password", everything, &directory{}, password("jon", right), "", "", 1, 1},
		{"wrong password", everything, &directory{}, password("jon", wrong), denial.BadCredentials, "invalid credentials", 1, 1},
		{"unknown user looks like a wrong password", everything, &directory{}, password("nobody", wrong), denial.BadCredentials, "no_account", 1, 0},
		{"ambiguous user looks like a wrong password", everything, &directory{findErr: denial.New(denial.SeveralAccounts, "two")}, password("jon", right), denial.BadCredentials, "two", 1, 0},
		{"impossible user looks like a wrong password", everything, &directory{findErr: denial.New(denial.BadName, "blank")}, password("jon ", right), denial.BadCredentials, "bad_name", 1, 0},
		{"password not offered", signin.Options{}, &directory{}, password("jon", right), denial.NotAllowedHere, "", 0, 0},
		{"password not offered here", with(func(o *signin.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("10.0.0.0/8")) }), &directory{}, password("jon", right), denial.NotAllowedHere, "", 0, 0},
		{"password offered here", with(func(o *signin.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("10.0.0.0/8")) }), &directory{}, at(password("jon", right), netip.MustParseAddr("::ffff:10.9.9.9")), "", "", 1, 1},
		{"password range and no address", with(func(o *signin.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("0.0.0.0/0", "::/0")) }), &directory{}, at(password("jon", right), netip.Addr{}), denial.NotAllowedHere, "", 0, 0},
		{"search fails", everything, &directory{findErr: errDown}, password("jon", right), fault, "directory is down", 1, 0},
		{"bind fails", everything, &directory{bindErr: errDown}, password("jon", right), fault, "directory is down", 1, 1},
		{"bind is not answered", everything, &directory{bindErr: errUnanswered}, password("jon", right), fault, "connection lost", 1, 1},
		{"bind says locked", everything, &directory{bindErr: denial.New(denial.AccountLocked, "data 775")}, password("jon", wrong), denial.AccountLocked, "data 775", 1, 1},
		{"groups fail", everything, &directory{groupsErr: errGroups}, password("jon", right), fault, "time is up", 1, 1},
		{"groups fail and may be omitted", omit, &directory{groupsErr: errGroups}, password("jon", right), "", "", 1, 1},
		{"another fault is not taken for missing groups", omit, &directory{groupsErr: errDown}, password("jon", right), fault, "directory is down", 1, 1},
		{"a group bars", everything, &directory{groupsErr: errBarred}, password("jon", right), denial.DeniedGroup, "Domain Admins", 1, 1},
		{"a group bars and groups may be omitted", omit, &directory{groupsErr: errBarred}, password("jon", right), denial.DeniedGroup, "Domain Admins", 1, 1},
		{"a group bars, but the password is wrong", everything, &directory{groupsErr: errBarred}, password("jon", wrong), denial.BadCredentials, "invalid credentials", 1, 1},

		{"certificate", everything, &directory{}, certificate(), "", "", 1, 0},
		{"certificate of somebody whom a group bars", everything, &directory{groupsErr: errBarred}, certificate(), denial.DeniedGroup, "Domain Admins", 1, 0},
		{"certificate without password", signin.Options{}, &directory{}, certificate(), "", "", 1, 0},
		{"certificate out of range", everything, &directory{}, at(certificate(), outside), denial.NotAllowedHere, "", 0, 0},
		{"certificate without address", everything, &directory{}, at(certificate(), netip.Addr{}), denial.NotAllowedHere, "", 0, 0},
		{"certificate refused", with(func(o *signin.Options) { o.Verifier = verifier{err: denial.New(denial.Untrusted, "no chain")} }), &directory{}, certificate(), denial.Untrusted, "no chain", 0, 0},
		{"certificate cannot be judged", with(func(o *signin.Options) { o.Verifier = verifier{err: errDown} }), &directory{}, certificate(), fault, "directory is down", 0, 0},
		{"certificate of nobody", with(func(o *signin.Options) { o.Verifier = verifier{name: "nobody"} }), &directory{}, certificate(), denial.NoAccount, "", 1, 0},
		{"certificate of several", everything, &directory{findErr: denial.New(denial.SeveralAccounts, "two")}, certificate(), denial.SeveralAccounts, "two", 1, 0},
		{"certificate and no directory", everything, &directory{findErr: errDown}, certificate(), fault, "directory is down", 1, 0},

		{"fresh session", everything, &directory{}, session(fresh), "", "", 0, 0},
		{"stale session", everything, &directory{}, session(stale("jon")), "", "", 1, 0},
		{"session rechecked always", with(func(o *signin.Options) { o.Recheck = 0 }), &directory{}, session(fresh), "", "", 1, 0},
		{"session of a disabled account", everything, &directory{}, session(stale("dora")), denial.AccountDisabled, "", 1, 0},
		{"session of somebody whom a group bars by now", everything, &directory{groupsErr: errBarred}, session(stale("jon")), denial.DeniedGroup, "Domain Admins", 1, 0},
		{"session of an account that is gone", everything, &directory{}, session(&signin.Identity{ID: "gone"}), denial.SessionEnded, "no_account", 1, 0},
		{"session and no directory", everything, &directory{findErr: errDown}, session(stale("jon")), fault, "directory is down", 1, 0},
		{"no session", everything, &directory{}, session(nil), denial.SessionEnded, "", 0, 0},
		{"no credential", everything, &directory{}, signin.Attempt{}, fault, "unknown kind", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.directory.accounts = accounts
			tt.options.Directory = tt.directory
			d := open(t, tt.options)
			id, err := d.SignIn(t.Context(), tt.attempt)
			got := denial.ReasonOf(err)
			if err != nil && got == "" {
				got = fault
			}
			if got != tt.want {
				t.Errorf("SignIn: %v; want %q", err, tt.want)
			}
			if (id == nil) != (err != nil) {
				t.Errorf("identity %v and error %v; want exactly one", id, err)
			}
			if finds, binds := tt.directory.finds.Load(), tt.directory.binds.Load(); finds != tt.finds || binds != tt.binds {
				t.Errorf("%d searches and %d binds, want %d and %d", finds, binds, tt.finds, tt.binds)
			}
			recorded := tt.want
			if r := denial.ReasonOf(tt.directory.findErr); r == denial.SeveralAccounts {
				recorded = r // whatever the caller is told: somebody has to put it right
			}
			checkLine(t, d, tt.attempt, recorded, tt.detail)
			for name, text := range map[string]string{"audit trail": d.audit.String(), "log": d.log.String(), "error": fmt.Sprintf("%v %+v %#v", err, err, err)} {
				if strings.Contains(text, canary) || strings.Contains(text, right) {
					t.Errorf("the %s holds the password: %s", name, text)
				}
			}
		})
	}
}

// checkLine makes sure that there is exactly one audit line, with the outcome
// and what is known of the attempt.
func checkLine(t *testing.T, d door, a signin.Attempt, want denial.Reason, detail string) {
	t.Helper()
	if n := len(d.lines(t)); n != 1 {
		t.Fatalf("there are %d audit lines, want 1: %s", n, d.audit)
	}
	line := d.lastLine(t)
	result, reason := "refused", any(string(want))
	switch want {
	case "":
		result, reason = "granted", nil
	case fault:
		result, reason = "fault", nil
	}
	event := "sign_in"
	if _, ok := a.Credential.(signin.PasswordReset); ok {
		event = "password_reset"
	}
	if line["msg"] != event || line["result"] != result || line["reason"] != reason {
		t.Errorf("the audit line says %v, %v, %v; want %s, %v, %v", line["msg"], line["result"], line["reason"], event, result, reason)
	}
	if text, _ := line["detail"].(string); !strings.Contains(text, detail) {
		t.Errorf("the detail is %q, want something with %q", text, detail)
	}
	if a.RequestID == "" {
		return
	}
	for key, want := range map[string]any{
		"method": string(a.Credential.Method()), "via": a.Via, "relying_party": a.RelyingParty, "request_id": a.RequestID,
	} {
		if line[key] != want {
			t.Errorf("the audit line has %s = %v, want %v", key, line[key], want)
		}
	}
	if _, ok := line["duration_ms"].(float64); !ok {
		t.Error("the audit line has no duration")
	}
}

// TestE12_PasswordIsNowhere is about the texts that the policy table cannot
// have: what a directory answers, and a panic.
func TestE12_PasswordIsNowhere(t *testing.T) {
	server, client := company(t, memdir.ActiveDirectory)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
	for _, name := range []string{"jon", "liam", "dora", "nobody", "jon\x00", "*", canary[:4] + "*"} {
		_, err := d.SignIn(t.Context(), password(name, canary))
		if err == nil || strings.Contains(fmt.Sprintf("%v %#v", err, err), canary) {
			t.Errorf("signing in as %q: %v", name, err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SignIn(t.Context(), password("jon", canary)); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("without a directory: %v, want a fault", err)
	}
	if text := d.audit.String() + d.log.String(); strings.Contains(text, canary) {
		t.Errorf("the password was written: %s", text)
	}
	attempt := password("jon", canary)
	for _, text := range []string{fmt.Sprint(attempt), fmt.Sprintf("%#v %+v %q", attempt, attempt, attempt.Credential)} {
		if strings.Contains(text, canary) {
			t.Errorf("printing the attempt shows the password: %s", text)
		}
	}
}

// TestC10_StateIsAskedWhateverTheProof: a certificate and a session bypass the
// directory's own judgement, so they must meet ours.
func TestC10_StateIsAskedWhateverTheProof(t *testing.T) {
	ca, verify := authority(t)
	for flavor, states := range map[memdir.Flavor]map[string]denial.Reason{
		memdir.ActiveDirectory: {
			"jon": "", "dora": denial.AccountDisabled, "liam": denial.AccountLocked, "eve": denial.AccountExpired,
			"nina": denial.MustChangePassword, "paul": denial.PasswordExpired,
		},
		memdir.OpenLDAP: {
			"jon": "", "dora": denial.AccountDisabled, "liam": denial.AccountLocked, "eve": denial.AccountExpired,
			"nina": denial.MustChangePassword,
		},
	} {
		_, client := company(t, flavor)
		for name, want := range states {
			d := open(t, signin.Options{Directory: client, PasswordEnabled: true, Verifier: verify})
			account, err := client.FindByName(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := ca.Client(name)
			if err != nil {
				t.Fatal(err)
			}
			for method, a := range map[string]signin.Attempt{
				"certificate": certificate(leaf.Certificate),
				"session":     session(&signin.Identity{ID: account.ID}),
				"password":    password(name, memdir.SamplePassword),
			} {
				_, err := d.SignIn(t.Context(), a)
				got := denial.ReasonOf(err)
				if method == "password" && flavor == memdir.OpenLDAP && got == denial.AccountLocked {
					got = want // OpenLDAP calls every such account locked
				}
				if got != want || (err == nil) != (want == "") {
					t.Errorf("%s by %s in flavor %v: %v, want %q", name, method, flavor, err, want)
				}
			}
		}
	}
}

// authority returns a CA and what verifies certificates of it.
func authority(t testing.TB) (*testca.CA, *certauth.Verifier) {
	t.Helper()
	ca, err := testca.New("Fabrikam CA")
	if err != nil {
		t.Fatal(err)
	}
	c := certauth.DefaultConfig()
	c.CAFiles = []setting.File{setting.File(t.TempDir() + "/ca.pem")}
	if err := os.WriteFile(string(c.CAFiles[0]), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	anchors, err := certauth.LoadAnchors(c.CAFiles)
	if err != nil {
		t.Fatal(err)
	}
	return ca, certauth.New(c, anchors)
}

func TestE4_OneBindWhateverTheAnswer(t *testing.T) {
	for _, answer := range []error{
		nil, errDown, errUnanswered, denial.New(denial.BadCredentials, "no"), denial.New(denial.AccountLocked, "no"), context.DeadlineExceeded,
	} {
		dir := &directory{accounts: staff(t), bindErr: answer}
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
		_, _ = d.SignIn(t.Context(), password("jon", memdir.SamplePassword))
		if n := dir.binds.Load(); n != 1 {
			t.Errorf("with the answer %v the password was sent %d times, want once", answer, n)
		}
	}
}

// spellings finds jon whatever the spelling, as directories do.
type spellings struct{ *directory }

func (s spellings) FindByName(ctx context.Context, name string) (*ldapauth.Account, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	name = strings.TrimPrefix(strings.TrimSuffix(name, "@fabrikam.example"), `fabrikam\`)
	return s.directory.FindByName(ctx, strings.Map(func(r rune) rune {
		if 'ａ' <= r && r <= 'ｚ' {
			r -= 'ａ' - 'a'
		}
		return r
	}, name))
}

func TestE5_SpellingsShareOneCounter(t *testing.T) {
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: spellings{dir}, PasswordEnabled: true})
	for i, name := range []string{
		"jon", "Jon", "JON ", " jon", "ｊｏｎ", "jon@fabrikam.example", `FABRIKAM\jon`, "JON@Fabrikam.Example", "jon\u00a0", `fabrikam\JON`,
	} {
		_, _ = d.SignIn(t.Context(), password(name, canary))
		want := denial.BadCredentials
		if i >= 5 {
			want = denial.Throttled
		}
		if got := d.lastLine(t)["reason"]; got != string(want) {
			t.Errorf("guess %d, as %q: the audit line says %v, want %s", i+1, name, got, want)
		}
	}
	if n := dir.binds.Load(); n != 5 {
		t.Errorf("%d guesses reached the account, want 5", n)
	}
	if _, err := d.SignIn(t.Context(), password("amy", memdir.SamplePassword)); err != nil {
		t.Errorf("another account suffers: %v", err)
	}
	if _, err := d.SignIn(t.Context(), certificate()); err != nil {
		t.Errorf("sign-in by certificate suffers: %v", err)
	}
}

// The same, with a real directory client in front of a server that is as
// lenient as the real ones.
func TestE5_SpellingsAreRefusedOrShareOneCounter(t *testing.T) {
	server, client := company(t, memdir.ActiveDirectory)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
	if _, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword)); err != nil {
		t.Fatal(err)
	}
	before := server.Stats().Binds
	for range 3 {
		for _, name := range []string{"jon", "Jon", "JON", "JON ", " jon", "ｊｏｎ", "jon\u00a0", "jon\x00", "jon\u200e", "jo\u212a", "jon@fabrikam.example"} {
			if _, err := d.SignIn(t.Context(), password(name, canary)); denial.ReasonOf(err) == "" {
				t.Errorf("as %q: %v, want a denial", name, err)
			}
		}
	}
	if n := server.Stats().Binds - before; n > 5 {
		t.Errorf("%d guesses reached the directory, want at most 5", n)
	}
}

func TestThrottledBeforeTheDirectoryIsAsked(t *testing.T) {
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
	for range 20 {
		_, _ = d.SignIn(t.Context(), password("nobody", canary))
	}
	if n := dir.finds.Load(); n != 5 {
		t.Errorf("an unknown user was searched for %d times, want 5", n)
	}
	for i := range 60 {
		_, err := d.SignIn(t.Context(), password(fmt.Sprint("nobody", i), canary))
		if want := map[bool]denial.Reason{true: denial.BadCredentials, false: denial.Throttled}[i < 45]; denial.ReasonOf(err) != want {
			t.Fatalf("other name number %d from the same address: %v, want %s", i, err, want)
		}
	}
	if n := dir.finds.Load(); n != 50 {
		t.Errorf("%d searches for one address, want 50", n)
	}
	a := password("jon", memdir.SamplePassword)
	a.Remote = netip.MustParseAddr("192.0.2.8")
	if _, err := d.SignIn(t.Context(), a); err != nil {
		t.Errorf("another address suffers: %v", err)
	}
}

func TestFiftyParallelGuessesAreFive(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		dir := &directory{accounts: accounts, takes: 100 * time.Millisecond}
		d := open(t, signin.Options{Directory: spellings{dir}, PasswordEnabled: true})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				a := password([]string{"jon", "jon@fabrikam.example", `fabrikam\jon`}[i%3], canary)
				a.Remote = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
				if _, err := d.SignIn(t.Context(), a); denial.ReasonOf(err) == "" {
					t.Errorf("guess %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if n := dir.binds.Load(); n != 5 {
			t.Errorf("%d guesses reached the account, want 5", n)
		}
	})
}

// TestWhatCounts makes four wrong guesses, then one attempt with another
// outcome, and then sees how many more guesses are left.
func TestWhatCounts(t *testing.T) {
	accounts := staff(t)
	for _, tt := range []struct {
		name string
		dir  *directory
		text string
		want int
	}{
		{"wrong password", &directory{}, canary, 0},
		{"bind not answered", &directory{bindErr: errUnanswered}, canary, 0},
		{"refused as locked", &directory{bindErr: denial.New(denial.AccountLocked, "no")}, canary, 0},
		{"bind not sent", &directory{bindErr: errDown}, canary, 1},
		{"search fails", &directory{findErr: errDown}, canary, 1},
		{"right password", &directory{}, memdir.SamplePassword, 5},
		{"right password, groups fail", &directory{groupsErr: errGroups}, memdir.SamplePassword, 5},
		{"right password, which must be changed", &directory{bindErr: denial.New(denial.MustChangePassword, "no")}, memdir.SamplePassword, 5},
		{"right password, expired", &directory{bindErr: denial.New(denial.PasswordExpired, "no")}, memdir.SamplePassword, 5},
		{"right password, account disabled", &directory{bindErr: denial.New(denial.AccountDisabled, "no")}, memdir.SamplePassword, 5},
		{"right password, account expired", &directory{bindErr: denial.New(denial.AccountExpired, "no")}, memdir.SamplePassword, 5},
		{"right password, at the wrong time", &directory{bindErr: denial.New(denial.OutsideHours, "no")}, memdir.SamplePassword, 5},
		{"right password, at the wrong computer", &directory{bindErr: denial.New(denial.NotAtThisComputer, "no")}, memdir.SamplePassword, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := &directory{accounts: accounts}
			d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
			for range 4 {
				_, _ = d.SignIn(t.Context(), password("jon", canary))
			}
			dir.findErr, dir.bindErr, dir.groupsErr = tt.dir.findErr, tt.dir.bindErr, tt.dir.groupsErr
			_, _ = d.SignIn(t.Context(), password("jon", tt.text))
			dir.findErr, dir.bindErr, dir.groupsErr = nil, nil, nil
			before := dir.binds.Load()
			for range 10 {
				_, _ = d.SignIn(t.Context(), password("jon", canary))
			}
			if left := int(dir.binds.Load() - before); left != tt.want {
				t.Errorf("%d guesses were left, want %d", left, tt.want)
			}
		})
	}
}

func TestOwnAccountDoesNotClearTheAddress(t *testing.T) {
	d := open(t, signin.Options{Directory: &directory{accounts: staff(t)}, PasswordEnabled: true})
	through := 0
	for i := range 60 {
		_, err := d.SignIn(t.Context(), password(fmt.Sprint("victim", i), canary))
		if denial.ReasonOf(err) == denial.BadCredentials {
			through++
		}
		_, _ = d.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	}
	if through != 50 {
		t.Errorf("%d guesses went through, want 50", through)
	}
}

// A directory that does not answer is not the fault of the people who share an
// address.
func TestTheAddressIsNotToBlameForTheDirectory(t *testing.T) {
	limits := signin.DefaultThrottle()
	limits.PerAddress.Failures = 10
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, Throttle: limits})
	for range 5 {
		_, _ = d.SignIn(t.Context(), password("jon", canary))
	}
	dir.bindErr = errUnanswered
	for range 4 {
		_, _ = d.SignIn(t.Context(), password("zoe", canary))
		_, _ = d.SignIn(t.Context(), password("dora", canary))
	}
	dir.bindErr = nil
	if _, err := d.SignIn(t.Context(), password("amy", memdir.SamplePassword)); err != nil {
		t.Errorf("after 5 guesses of 10: %v", err)
	}
}

// TestE6_ThrottledAccountLooksLikeAnUnknownName: whoever has used up the guesses
// at one spelling of a name must not learn from another whether there is such an
// account, neither from the answer nor from its time nor from what is left of
// the guesses.
func TestE6_ThrottledAccountLooksLikeAnUnknownName(t *testing.T) {
	accounts := staff(t)
	type answer struct {
		reason denial.Reason
		took   time.Duration
	}
	ask := func(name string, text string) (answers []answer, last door, dir *directory) {
		synctest.Test(t, func(t *testing.T) {
			dir = &directory{accounts: accounts}
			limits := signin.DefaultThrottle()
			limits.PerAddress.Failures = 15
			last = open(t, signin.Options{
				Directory: spellings{dir}, PasswordEnabled: true, Throttle: limits, RefusalFloor: 400 * time.Millisecond,
			})
			try := func(name, text string) {
				start := time.Now()
				_, err := last.SignIn(t.Context(), password(name, text))
				answers = append(answers, answer{denial.ReasonOf(err), time.Since(start)})
			}
			for range 6 {
				try(name, canary)
			}
			for range 6 {
				try(name+"@fabrikam.example", text)
			}
			for i := range 10 {
				try(fmt.Sprint("nobody", i), canary)
			}
		})
		return answers, last, dir
	}
	unknown, _, _ := ask("nobody", canary)
	for _, text := range []string{canary, memdir.SamplePassword} {
		known, d, dir := ask("jon", text)
		if diff := cmp.Diff(unknown, known, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("an account can be told from an unknown name (-unknown +known):\n%s", diff)
		}
		if n := dir.binds.Load(); n != 5 {
			t.Errorf("%d passwords were sent, want 5", n)
		}
		line := d.lines(t)[6]
		if line["reason"] != "throttled" || !strings.Contains(fmt.Sprint(line["detail"]), "5 failures for this account") || line["account_id"] != accounts["jon"].ID {
			t.Errorf("the audit line does not say what happened: %v", line)
		}
	}
}

// The morning after all passwords of an office have expired.
func TestExpiredPasswordsDoNotShutOutTheAddress(t *testing.T) {
	dir := &impatient{directory: &directory{bindErr: denial.New(denial.PasswordExpired, "data 532")}}
	d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
	for i := range 60 {
		if _, err := d.SignIn(t.Context(), password(fmt.Sprint("person", i), memdir.SamplePassword)); denial.ReasonOf(err) != denial.PasswordExpired {
			t.Fatalf("person %d: %v, want password_expired", i, err)
		}
	}
}

// impatient is a directory with an account for every name, whose caller goes
// away while it is asked the question named in at.
type impatient struct {
	*directory
	at    string
	leave context.CancelFunc
}

func (d *impatient) FindByName(ctx context.Context, name string) (*ldapauth.Account, error) {
	d.finds.Add(1)
	if d.at == "search" {
		d.leave()
		return nil, ctx.Err()
	}
	return &ldapauth.Account{ID: name, DN: "CN=" + name}, nil
}

func (d *impatient) Bind(ctx context.Context, _ *ldapauth.Account, _ secret.String) error {
	switch d.at {
	case "before the bind":
		d.leave()
		return ctx.Err()
	case "bind":
		d.binds.Add(1)
		d.leave()
		return fmt.Errorf("%w: %w", ldapauth.ErrUnanswered, ctx.Err())
	}
	return d.bindErr
}

// Whoever resets the request while the directory works has made it work, and
// may have had a password tried: going away must not make guessing free.
func TestAttemptsThatAreGivenUpCountAtTheAddress(t *testing.T) {
	limits := signin.DefaultThrottle()
	limits.PerAddress.Failures = 10
	for _, tt := range []struct {
		at      string
		bindErr error
		asked   int32 // of 60 attempts
	}{
		{"search", nil, 10},
		{"before the bind", nil, 10},
		{"bind", nil, 10},
		{"never: the directory is down", errDown, 60},
		{"never: the directory does not answer", errUnanswered, 60},
	} {
		dir := &impatient{directory: &directory{bindErr: tt.bindErr}, at: tt.at}
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, Throttle: limits})
		for i := range 60 {
			ctx, cancel := context.WithCancel(t.Context())
			dir.leave = cancel
			if _, err := d.SignIn(ctx, password(fmt.Sprint("victim", i), canary)); err == nil {
				t.Fatalf("given up at %s: let in", tt.at)
			}
			cancel()
		}
		if n := dir.finds.Load(); n != tt.asked {
			t.Errorf("given up at %s: %d attempts asked the directory, want %d", tt.at, n, tt.asked)
		}
	}
}

func TestCertificatesAreNotThrottled(t *testing.T) {
	d := open(t, signin.Options{Directory: &directory{accounts: staff(t)}, Verifier: verifier{name: "dora"}})
	for range 100 {
		if _, err := d.SignIn(t.Context(), certificate()); denial.ReasonOf(err) != denial.AccountDisabled {
			t.Fatalf("SignIn: %v, want account_disabled each time", err)
		}
	}
}

// TestE6_RefusalsLastAlike: with a directory that answers at once for unknown
// names and slowly for known ones, the time of a refusal must not tell which.
func TestE6_RefusalsLastAlike(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name, user, text string
			takes            time.Duration
			bindErr          error
			want             time.Duration
		}{
			{"unknown user", "nobody", canary, 0, nil, 400 * time.Millisecond},
			{"wrong password", "jon", canary, 30 * time.Millisecond, nil, 400 * time.Millisecond},
			{"locked", "jon", canary, 30 * time.Millisecond, denial.New(denial.AccountLocked, "no"), 400 * time.Millisecond},
			{"right password of a disabled account", "dora", memdir.SamplePassword, 30 * time.Millisecond, nil, 400 * time.Millisecond},
			{"slow directory", "jon", canary, 300 * time.Millisecond, nil, 600 * time.Millisecond},
			{"right password", "jon", memdir.SamplePassword, 30 * time.Millisecond, nil, 60 * time.Millisecond},
			{"fault", "jon", canary, 30 * time.Millisecond, errDown, 60 * time.Millisecond},
		} {
			d := open(t, signin.Options{
				Directory:       &directory{accounts: accounts, takes: tt.takes, bindErr: tt.bindErr},
				PasswordEnabled: true, RefusalFloor: 400 * time.Millisecond,
			})
			start := time.Now()
			_, err := d.SignIn(t.Context(), password(tt.user, tt.text))
			if got := time.Since(start); got != tt.want {
				t.Errorf("%s: took %v, want %v (%v)", tt.name, got, tt.want, err)
			}
		}
	})
}

func TestE6_WaitingEndsWithTheCaller(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		d := open(t, signin.Options{Directory: &directory{accounts: accounts}, PasswordEnabled: true, RefusalFloor: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := d.SignIn(ctx, password("jon", canary)); denial.ReasonOf(err) != denial.BadCredentials {
			t.Errorf("SignIn: %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		// Who is throttled before the directory is asked has nothing to learn
		// from the time, and must not be kept waiting.
		for range 4 {
			_, _ = d.SignIn(ctx, password("jon", canary))
		}
		start = time.Now()
		if _, err := d.SignIn(t.Context(), password("jon", canary)); denial.ReasonOf(err) != denial.Throttled || time.Since(start) != 0 {
			t.Errorf("SignIn: %v after %v, want throttled at once", err, time.Since(start))
		}
	})
}

func TestH5_NamesCannotForgeAuditLines(t *testing.T) {
	d := open(t, signin.Options{Directory: &directory{}, PasswordEnabled: true})
	for _, name := range []string{
		"jon\n{\"msg\":\"sign_in\",\"result\":\"granted\"}", "jon\r\n", "\x1b[31mjon\x1b[0m", "jon\x00", `jon","result":"granted`, "jon\xff", "a\u2028b",
	} {
		a := password(name, canary)
		a.RelyingParty, a.RequestID, a.Via = name, name, name
		before := len(d.lines(t))
		_, _ = d.SignIn(t.Context(), a)
		if n := len(d.lines(t)) - before; n != 1 {
			t.Errorf("%q made %d audit lines, want 1", name, n)
		}
		line := d.lastLine(t)
		if line["result"] != "refused" {
			t.Errorf("%q changed the result to %v", name, line["result"])
		}
		if want := strings.ToValidUTF8(name, "\ufffd"); line["user"] != want {
			t.Errorf("the user in the audit line is %q, want %q", line["user"], want)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(d.audit.String(), "\n", ""), "\x1b\r\x00") {
		t.Error("control characters reached the audit trail")
	}
	_, _ = d.SignIn(t.Context(), password(strings.Repeat("ü", 1<<20), canary))
	if lines := strings.Split(strings.TrimSpace(d.audit.String()), "\n"); len(lines[len(lines)-1]) > 16<<10 {
		t.Errorf("an audit line has %d bytes", len(lines[len(lines)-1]))
	}
}

// A bomb is a directory with a bug.
type bomb struct{ *directory }

func (bomb) Bind(context.Context, *ldapauth.Account, secret.String) error { panic("bug") }

func TestAuditLineOnPanic(t *testing.T) {
	d := open(t, signin.Options{Directory: bomb{&directory{accounts: staff(t)}}, PasswordEnabled: true})
	for range 6 {
		func() {
			defer func() { _ = recover() }()
			_, _ = d.SignIn(t.Context(), password("jon", canary))
		}()
	}
	lines := d.lines(t)
	if len(lines) != 6 || lines[0]["result"] != "fault" || lines[0]["account_dn"] == nil {
		t.Errorf("audit trail after panics: %v", lines)
	}
	if last := lines[len(lines)-1]; last["reason"] != "throttled" {
		t.Errorf("guesses that end in a panic are not counted: %v", last)
	}
}

func TestAuditLineWhenTheCallerIsGone(t *testing.T) {
	_, client := company(t, memdir.ActiveDirectory)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.SignIn(ctx, password("jon", canary))
	if err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("SignIn: %v, want a fault", err)
	}
	if line := d.lastLine(t); line["result"] != "fault" || line["user"] != "jon" {
		t.Errorf("audit line: %v", line)
	}
}

func TestAuditTrailThatCannotBeWritten(t *testing.T) {
	var log buffer
	s, err := signin.New(signin.Options{
		Directory: &directory{accounts: staff(t)}, PasswordEnabled: true,
		Audit: signin.NewAudit(brokenWriter{}), Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignIn(t.Context(), password("jon", memdir.SamplePassword)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "disk is full") {
		t.Errorf("the log says nothing of the lost audit line: %s", log.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk is full") }

func TestAuditLineOfACertificate(t *testing.T) {
	ca, verify := authority(t)
	d := open(t, signin.Options{Directory: &directory{accounts: staff(t), strong: true}, Verifier: verify})
	leaf, err := ca.Client("jon")
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.SignIn(t.Context(), certificate(leaf.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	line := d.lastLine(t)
	seen, _ := line["certificate"].(map[string]any)
	if seen["subject"] != id.Certificate.Subject || seen["issuer"] != id.Certificate.Issuer || seen["serial"] != id.Certificate.Serial ||
		seen["thumbprint"] != id.Certificate.Thumbprint || seen["rule"] != "subject_cn" || seen["strength"] != "strong" || len(seen) != 6 {
		t.Errorf("certificate in the audit line: %v, want %+v", seen, id.Certificate)
	}
	if line["user"] != "jon" || line["account_id"] != id.ID || line["groups"] != 2.0 || line["remote"] != inside.String() {
		t.Errorf("audit line: %v", line)
	}

	stranger, err := testca.New("Fabrikam CA")
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = stranger.Client("jon"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SignIn(t.Context(), certificate(leaf.Certificate)); denial.ReasonOf(err) != denial.Untrusted {
		t.Errorf("a stranger's certificate: %v, want untrusted", err)
	}
	line = d.lastLine(t)
	seen, _ = line["certificate"].(map[string]any)
	if seen["thumbprint"] != certauth.Describe(leaf.Certificate).Thumbprint || seen["rule"] != nil || line["user"] != nil {
		t.Errorf("audit line of a refused certificate: %v", line)
	}
	if _, err := d.SignIn(t.Context(), certificate()); denial.ReasonOf(err) == "" {
		t.Errorf("no certificate at all: %v, want a denial", err)
	}
}

func TestSession(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		dir := &directory{accounts: accounts}
		d := open(t, signin.Options{Directory: dir, Recheck: 5 * time.Minute})
		first, err := d.SignIn(t.Context(), certificate())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		use := func(id *signin.Identity) (*signin.Identity, error) { return d.SignIn(t.Context(), session(id)) }

		time.Sleep(5*time.Minute - time.Nanosecond)
		if id, err := use(first); err != nil || id != first || dir.finds.Load() != 1 {
			t.Errorf("a fresh session: %p, %v after %d searches; want the same identity without another", id, err, dir.finds.Load())
		}
		if line := d.lastLine(t); line["result"] != "granted" || line["method"] != "session" || line["authenticated_by"] != "certificate" || line["account_id"] != first.ID {
			t.Errorf("audit line of a fresh session: %v", line)
		}
		time.Sleep(time.Nanosecond)
		second, err := use(first)
		if err != nil || second == first || dir.finds.Load() != 2 {
			t.Fatalf("a session of 5 minutes: %p, %v after %d searches; want a new identity after another", second, err, dir.finds.Load())
		}
		want := *first
		want.CheckedAt = start.Add(5 * time.Minute)
		if diff := cmp.Diff(&want, second); diff != "" {
			t.Errorf("the rechecked identity differs (-want +got):\n%s", diff)
		}

		dir.findErr = errDown
		time.Sleep(time.Minute)
		if _, err := use(second); err != nil {
			t.Errorf("a fresh session while the directory is down: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if _, err := use(second); err == nil || denial.ReasonOf(err) != "" {
			t.Errorf("a stale session while the directory is down: %v, want a fault", err)
		}
		dir.findErr = denial.New(denial.BadName, "no such ID")
		if _, err := use(second); denial.ReasonOf(err) != denial.SessionEnded {
			t.Errorf("a session without an account: %v, want session_ended", err)
		}

		// The certificate is valid for an hour from the sign-in.
		dir.findErr = nil
		time.Sleep(44 * time.Minute)
		if _, err := use(second); err != nil {
			t.Errorf("exactly at the end of the certificate: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := use(second); denial.ReasonOf(err) != denial.Expired {
			t.Errorf("behind the end of the certificate: %v, want expired", err)
		}
		// With check_validity off, an expired certificate can be where a session
		// begins; that cannot be why it ends.
		late := *second
		late.AuthenticatedAt = time.Now()
		if _, err := use(&late); err != nil {
			t.Errorf("a session that an expired certificate began: %v", err)
		}
		ahead := *first
		ahead.Certificate, ahead.CheckedAt = nil, time.Now().Add(time.Hour)
		before := dir.finds.Load()
		if _, err := use(&ahead); err != nil || dir.finds.Load() == before {
			t.Errorf("a session checked in the future: %v after %d searches, want another", err, dir.finds.Load()-before)
		}
	})
}

// TestA4_TheCertificateOfASessionIsCheckedAgain whenever the account is: it may
// have been revoked since, or nobody knows any more.
func TestA4_TheCertificateOfASessionIsCheckedAgain(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		dir, v := &directory{accounts: accounts}, &verifier{name: "jon"}
		d := open(t, signin.Options{Directory: dir, Verifier: v, PasswordEnabled: true, Recheck: 5 * time.Minute})
		first, err := d.SignIn(t.Context(), certificate())
		if err != nil {
			t.Fatal(err)
		}
		byPassword, err := d.SignIn(t.Context(), password("amy", memdir.SamplePassword))
		if err != nil {
			t.Fatal(err)
		}
		v.err = denial.New(denial.Revoked, "on some list")
		time.Sleep(5*time.Minute - time.Second)
		if _, err := d.SignIn(t.Context(), session(first)); err != nil {
			t.Errorf("before it is time: %v", err)
		}
		time.Sleep(time.Minute)
		before := dir.finds.Load()
		if _, err := d.SignIn(t.Context(), session(first)); denial.ReasonOf(err) != denial.Revoked || dir.finds.Load() != before {
			t.Errorf("a revoked certificate: %v after %d searches, want revoked after none", err, dir.finds.Load()-before)
		}
		if line := d.lastLine(t); line["reason"] != "revoked" || line["certificate"] == nil || line["account_id"] != first.ID {
			t.Errorf("audit line: %v", line)
		}
		if _, err := d.SignIn(t.Context(), session(byPassword)); err != nil {
			t.Errorf("a session that a password began: %v", err)
		}
		v.err = errDown
		if _, err := d.SignIn(t.Context(), session(first)); err == nil || denial.ReasonOf(err) != "" {
			t.Errorf("a certificate that cannot be judged: %v, want a fault", err)
		}
	})
}

func TestWhatIsNotKnownOfRevocationIsInTheAuditLine(t *testing.T) {
	d := open(t, signin.Options{Directory: &directory{accounts: staff(t)}, Verifier: verifier{name: "jon", unknown: "crl_expired: since Monday"}})
	if _, err := d.SignIn(t.Context(), certificate()); err != nil {
		t.Fatal(err)
	}
	line := d.lastLine(t)
	if seen, _ := line["certificate"].(map[string]any); seen["revocation_unknown"] != "crl_expired: since Monday" {
		t.Errorf("audit line: %v", line)
	}
}

func TestProfile(t *testing.T) {
	_, client := company(t, memdir.ActiveDirectory)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true})
	before := time.Now()
	id, err := d.SignIn(t.Context(), password("ZOE", memdir.SamplePassword))
	if err != nil {
		t.Fatal(err)
	}
	if id.AuthenticatedBy != signin.ByPassword || id.AuthenticatedAt.Before(before) || !id.CheckedAt.Equal(id.AuthenticatedAt) || id.Certificate != nil {
		t.Errorf("proof: %+v", id)
	}
	if len(id.ID) != 36 || id.Username != "zoe" || id.Nickname != "zoe" || id.DisplayName != "Zoë Müller" || id.GivenName != "Zoë" || id.FamilyName != "Müller" || id.Email == "" {
		t.Errorf("names: %+v", id)
	}
	if !slices.Contains(id.Groups, "All Staff") || !slices.Contains(id.Groups, "Träger (alle), Nord #1") {
		t.Errorf("groups: %q", id.Groups)
	}
	order := []string{
		"dn", "st", "description", "postalCode", "telephoneNumber", "distinguishedName", "co", "department", "company",
		"mailNickname", "sAMAccountName", "sAMAccountType", "userPrincipalName", "manager", "organizationUnits",
	}
	var got []string
	values := map[string][]string{}
	for _, a := range id.Attributes {
		got = append(got, a.Name)
		values[a.Name] = a.Values
		if len(a.Values) == 0 {
			t.Errorf("attribute %s has no value: it should be left out", a.Name)
		}
	}
	if want := slices.DeleteFunc(slices.Clone(order), func(name string) bool { return values[name] == nil }); !slices.Equal(got, want) {
		t.Errorf("attributes in the order %q, want %q", got, want)
	}
	for name, want := range map[string]string{
		"dn": `CN=Zoë (Ops)\, Müller,OU=Staff,` + base, "sAMAccountName": "zoe", "department": "Operations", "organizationUnits": `CN=Zoë (Ops)\, Müller,OU=Staff,` + base,
	} {
		if !slices.Equal(values[name], []string{want}) {
			t.Errorf("%s = %q, want %q", name, values[name], want)
		}
	}
}

func TestProfileOfAnAccountWithoutUserName(t *testing.T) {
	_, client := company(t, memdir.OpenLDAP, memdir.Entry{
		DN: "cn=Kim Roe,ou=people," + base, Password: memdir.SamplePassword,
		Attributes: map[string][]string{"objectClass": {"top", "person", "organizationalPerson", "inetOrgPerson"}, "cn": {"Kim Roe"}, "sn": {"Roe"}, "mail": {"kim@fabrikam.example"}},
	})
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true, TenantIDs: true})
	id, err := d.SignIn(t.Context(), password("kim@fabrikam.example", memdir.SamplePassword))
	if err != nil || id.Username != "Kim Roe" || id.DisplayName != "" || id.TenantID != "" {
		t.Errorf("SignIn: %+v, %v; want the common name for a user name, and nothing made up", id, err)
	}
}

func TestOmittedGroupsAreSaidToBeIncomplete(t *testing.T) {
	d := open(t, signin.Options{
		Directory:       &directory{accounts: staff(t), groupsErr: errGroups},
		PasswordEnabled: true, GroupsOnFailure: signin.OmitGroups,
	})
	id, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	if err != nil || !id.GroupsIncomplete || len(id.Groups) != 0 {
		t.Errorf("SignIn: %+v, %v; want no groups, and that said", id, err)
	}
	if line := d.lastLine(t); line["groups_incomplete"] != true {
		t.Errorf("audit line: %v", line)
	}
	if !strings.Contains(d.log.String(), "time is up") {
		t.Errorf("log: %s", d.log)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.SignIn(ctx, password("jon", memdir.SamplePassword)); err == nil {
		t.Error("a caller who went away got an identity without groups")
	}
}

func TestNewRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	good := signin.Options{Directory: &directory{}, Audit: log, Log: log}
	if _, err := signin.New(good); err != nil {
		t.Errorf("the least that is needed: %v", err)
	}
	for name, change := range map[string]func(*signin.Options){
		"no directory":               func(o *signin.Options) { o.Directory = nil },
		"no audit trail":             func(o *signin.Options) { o.Audit = nil },
		"no log":                     func(o *signin.Options) { o.Log = nil },
		"certificates from nowhere":  func(o *signin.Options) { o.Verifier = verifier{} },
		"unknown policy for groups":  func(o *signin.Options) { o.GroupsOnFailure = "ignore" },
		"negative recheck":           func(o *signin.Options) { o.Recheck = -1 },
		"negative floor":             func(o *signin.Options) { o.RefusalFloor = -1 },
		"throttle without addresses": func(o *signin.Options) { o.Throttle.PerAccount = signin.DefaultThrottle().PerAccount },
	} {
		o := good
		change(&o)
		if s, err := signin.New(o); err == nil || s != nil {
			t.Errorf("%s: New = %v, %v; want an error", name, s, err)
		}
	}
}

func BenchmarkSignIn(b *testing.B) {
	accounts := staff(b)
	s, err := signin.New(signin.Options{
		Directory: &directory{accounts: accounts}, PasswordEnabled: true, Recheck: time.Hour,
		Verifier: verifier{name: "jon"}, CertificatesFrom: iprange.New(iprange.MustParse("10.0.0.0/8")),
		Audit: signin.NewAudit(io.Discard), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	id, err := s.SignIn(b.Context(), certificate())
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name    string
		attempt signin.Attempt
	}{
		{"certificate", certificate()},
		{"password", password("jon", memdir.SamplePassword)},
		{"session", session(id)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.SignIn(b.Context(), bb.attempt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What was refused before it was looked at is recorded and asks nobody.
func TestRefusedIsRecorded(t *testing.T) {
	var audit strings.Builder
	s, err := signin.New(signin.Options{
		Directory: nobodyHome{t}, PasswordEnabled: true,
		Audit: signin.NewAudit(&audit), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.SignIn(t.Context(), signin.Attempt{
		Credential: signin.Refused{By: signin.ByPassword, Username: "jon", Why: denial.New(denial.BadForm, "too old")},
		Via:        "wsfed", RequestID: "AAAA",
	})
	if id != nil || denial.ReasonOf(err) != denial.BadForm {
		t.Errorf("identity %v, error %v", id, err)
	}
	for _, want := range []string{`"result":"refused"`, `"reason":"bad_form"`, `"detail":"too old"`, `"method":"password"`, `"user":"jon"`, `"request_id":"AAAA"`} {
		if !strings.Contains(audit.String(), want) {
			t.Errorf("no %s in %s", want, audit.String())
		}
	}
}

// nobodyHome is a directory that must not be asked.
type nobodyHome struct{ t *testing.T }

func (nobodyHome) NormaliseName(name string) string { return name }

func (d nobodyHome) FindByName(context.Context, string) (*ldapauth.Account, error) {
	d.t.Error("the directory was asked")
	return nil, errors.New("asked")
}

func (d nobodyHome) FindByID(context.Context, string) (*ldapauth.Account, error) {
	d.t.Error("the directory was asked")
	return nil, errors.New("asked")
}

func (d nobodyHome) FindHolder(context.Context, *ldapauth.Holder) (*ldapauth.Account, error) {
	d.t.Error("the directory was asked")
	return nil, errors.New("asked")
}

func (d nobodyHome) JudgeHolder(context.Context, *ldapauth.Account, *ldapauth.Holder) (bool, error) {
	d.t.Error("the directory was asked")
	return false, errors.New("asked")
}

func (d nobodyHome) Bind(context.Context, *ldapauth.Account, secret.String) error {
	d.t.Error("the directory was asked")
	return errors.New("asked")
}

func (d nobodyHome) ChangePassword(context.Context, *ldapauth.Account, secret.String, secret.String) error {
	d.t.Error("the directory was asked")
	return errors.New("asked")
}

func (d nobodyHome) ResetPassword(context.Context, *ldapauth.Account, secret.String, bool) error {
	d.t.Error("the directory was asked")
	return errors.New("asked")
}

func (d nobodyHome) Lockout(context.Context, *ldapauth.Account) (ldapauth.Lockout, error) {
	d.t.Error("the directory was asked")
	return ldapauth.Lockout{}, errors.New("asked")
}

func (d nobodyHome) Groups(context.Context, *ldapauth.Account) ([]string, error) {
	d.t.Error("the directory was asked")
	return nil, errors.New("asked")
}

func (d nobodyHome) CheckUID(context.Context, *ldapauth.Account) error {
	d.t.Error("the directory was asked")
	return errors.New("asked")
}

func (d nobodyHome) GroupNames(context.Context, *ldapauth.Account, bool) ([]string, error) {
	d.t.Error("the directory was asked")
	return nil, errors.New("asked")
}
