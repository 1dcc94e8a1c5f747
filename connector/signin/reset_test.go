package signin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
)

// resetting is an attempt of a service to set a password.
func resetting(name string) signin.Attempt {
	return signin.Attempt{
		Credential: signin.PasswordReset{Username: name, New: secret.New(fresh)},
		Via:        "hub", RelyingParty: "urn:tenant", RequestID: "r-1", Relayed: true,
	}
}

func TestResetPolicy(t *testing.T) {
	accounts := staff(t)
	refusing := func(r denial.Reason) *directory {
		return &directory{resetErr: denial.New(r, "the directory says so")}
	}
	for _, tt := range []struct {
		name      string
		options   func(*signin.Options)
		directory *directory
		attempt   signin.Attempt
		want      denial.Reason // "" means: set
		detail    string
		resets    int32
		about     string // of whom is told
	}{
		{"nothing wrong", nil, &directory{}, resetting("jon"), "", "", 1, "jon"},
		{"without sign-in by password", func(o *signin.Options) { o.PasswordEnabled = false }, &directory{}, resetting("jon"), "", "", 1, "jon"},
		{"must change", nil, &directory{}, resetting("nina"), "", "", 1, "nina"},
		{"expired password", nil, &directory{}, resetting("paul"), "", "", 1, "paul"},
		{"locked", nil, &directory{}, resetting("liam"), "", "", 1, "liam"},
		{"expired account", nil, &directory{}, resetting("eve"), "", "", 1, "eve"},
		{"disabled", nil, &directory{}, resetting("dora"), denial.AccountDisabled, "disabled", 0, "dora"},
		{"C11: barred", nil, &directory{groupsErr: errBarred}, resetting("jon"), denial.DeniedGroup, "Domain Admins", 0, "jon"},
		{"C11: nobody can tell whether a group bars", nil, &directory{groupsErr: errDown}, resetting("jon"), fault, "directory is down", 0, ""},
		{"groups cannot be read, but none bars", nil, &directory{groupsErr: fmt.Errorf("%w: slow", ldapauth.ErrGroups)}, resetting("jon"), "", "", 1, "jon"},
		{"nobody", nil, &directory{}, resetting("nobody"), denial.NoAccount, "no entry", 0, ""},
		{"several", nil, &directory{findErr: denial.New(denial.SeveralAccounts, "two")}, resetting("jon"), denial.SeveralAccounts, "two", 0, ""},
		{"not offered", func(o *signin.Options) { o.ResetPassword = false }, &directory{}, resetting("jon"), denial.NotAllowedHere, "", 0, ""},
		{"search fails", nil, &directory{findErr: errDown}, resetting("jon"), fault, "directory is down", 0, ""},
		{"no right", nil, refusing(denial.ResetNotAllowed), resetting("jon"), denial.ResetNotAllowed, "says so", 1, "jon"},
		{"too short", nil, refusing(denial.PasswordTooShort), resetting("jon"), denial.PasswordTooShort, "says so", 1, "jon"},
		{"fails", nil, &directory{resetErr: errDown}, resetting("jon"), fault, "directory is down", 1, ""},
		{"not answered", nil, &directory{resetErr: errUnanswered}, resetting("jon"), fault, "connection lost", 1, ""},
		{"another credential", nil, &directory{}, password("jon", memdir.SamplePassword), fault, "unknown kind", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.directory.accounts = accounts
			o := signin.Options{Directory: tt.directory, PasswordEnabled: true, ResetPassword: true}
			if tt.options != nil {
				tt.options(&o)
			}
			d, about := open(t, o), ""
			tt.attempt.About = func(id *signin.Identity) { about = id.Username }
			id, err := d.ResetPassword(t.Context(), tt.attempt)
			got := denial.ReasonOf(err)
			if err != nil && got == "" {
				got = fault
			}
			if err == nil {
				about = id.Username
			}
			if got != tt.want || err != nil && id != nil || about != tt.about {
				t.Errorf("ResetPassword: %v, %v, about %q; want %q, about %q", id, err, about, tt.want, tt.about)
			}
			if n := tt.directory.resets.Load(); n != tt.resets || tt.directory.unlocks.Load() != 0 || tt.directory.binds.Load() != 0 {
				t.Errorf("%d resets, %d with unlocking, %d binds; want %d, 0, 0", n, tt.directory.unlocks.Load(), tt.directory.binds.Load(), tt.resets)
			}
			checkLine(t, d, tt.attempt, tt.want, tt.detail)
			for name, text := range map[string]string{"audit trail": d.audit.String(), "log": d.log.String(), "error": fmt.Sprintf("%v %+v %#v", err, err, err)} {
				if strings.Contains(text, fresh) || strings.Contains(text, memdir.SamplePassword) {
					t.Errorf("the %s holds a password: %s", name, text)
				}
			}
		})
	}
}

func TestAResetUnlocksWhereThatIsAskedFor(t *testing.T) {
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: dir, ResetPassword: true, UnlockOnReset: true})
	if _, err := d.ResetPassword(t.Context(), resetting("liam")); err != nil || dir.unlocks.Load() != 1 {
		t.Errorf("%v, %d unlocked", err, dir.unlocks.Load())
	}
}

func TestAResetIsNoSignIn(t *testing.T) {
	d := open(t, signin.Options{Directory: nobodyHome{t}, PasswordEnabled: true, ChangePassword: true, ResetPassword: true})
	if id, err := d.SignIn(t.Context(), resetting("jon")); id != nil || err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("signing in by a reset: %v, %v", id, err)
	}
	if err := d.ChangePassword(t.Context(), resetting("jon")); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("a change by a reset: %v", err)
	}
}

// TestOnlyAResetForgetsGuesses: that of this account, and only when it was made.
func TestOnlyAResetForgetsGuesses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		resetErr error
		of       string
		want     int32 // guesses that are left
	}{
		{"made", nil, "jon", 5},
		{"of somebody else", nil, "amy", 0},
		{"refused", denial.New(denial.PasswordTooShort, "no"), "jon", 0},
		{"not answered", errUnanswered, "jon", 0},
	} {
		dir := &directory{accounts: staff(t), resetErr: tt.resetErr}
		d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, ResetPassword: true})
		guess := func() {
			for range 7 {
				_, _ = d.SignIn(t.Context(), password("jon", canary))
			}
		}
		guess()
		before := dir.binds.Load()
		_, _ = d.ResetPassword(t.Context(), resetting(tt.of))
		guess()
		if left := dir.binds.Load() - before; left != tt.want {
			t.Errorf("%s: %d guesses were left, want %d", tt.name, left, tt.want)
		}
	}
}

// A hangUp is a directory whose asker goes away as soon as it is asked to set a
// password.
type hangUp struct {
	*directory
	cancel func()
}

func (h hangUp) ResetPassword(ctx context.Context, a *ldapauth.Account, new secret.String, unlock bool) error {
	h.cancel()
	return h.directory.ResetPassword(ctx, a, new, unlock)
}

// TestAResetIsSeenThrough: when whoever asked is gone, the audit trail says what
// became of it all the same; and nothing is begun for nobody.
func TestAResetIsSeenThrough(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: hangUp{dir, cancel}, ResetPassword: true})
	if _, err := d.ResetPassword(ctx, resetting("jon")); err != nil || d.lastLine(t)["result"] != "granted" {
		t.Errorf("given up in between: %v", err)
	}
	if _, err := d.ResetPassword(ctx, resetting("jon")); !errors.Is(err, context.Canceled) || dir.resets.Load() != 1 {
		t.Errorf("given up before: %v, set %d times", err, dir.resets.Load())
	}
}

// TestWhatCannotBeUnderstoodIsNotReset: nobody can tell whether the account is
// disabled.
func TestWhatCannotBeUnderstoodIsNotReset(t *testing.T) {
	_, client := company(t, memdir.ActiveDirectory, memdir.Entry{DN: "CN=Odd,OU=Staff," + base, Attributes: map[string][]string{
		"objectClass": {"top", "person", "organizationalPerson", "user"}, "sAMAccountName": {"odd"}, "mail": {"odd@fabrikam.example"},
		"userAccountControl": {"canary"},
	}})
	a, err := client.FindByName(t.Context(), "odd@fabrikam.example")
	if err != nil {
		t.Fatal(err)
	}
	dir := &directory{accounts: map[string]*ldapauth.Account{"odd": a}}
	d := open(t, signin.Options{Directory: dir, ResetPassword: true})
	if _, err := d.ResetPassword(t.Context(), resetting("odd")); err == nil || denial.ReasonOf(err) != "" || dir.resets.Load() != 0 {
		t.Errorf("%v, set %d times", err, dir.resets.Load())
	}
}
