package signin_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"

	"github.com/google/go-cmp/cmp"
)

// fresh is a new password that must turn up nowhere either.
const fresh = "Canary-New-Grüße-😀-9b1c"

// newPassword is an attempt of somebody outside to change a password.
func newPassword(name, old string) signin.Attempt {
	a := password(name, "")
	a.Credential = signin.PasswordChange{Username: name, Old: secret.New(old), New: secret.New(fresh)}
	return a
}

// changing are the options of a door where passwords can be changed.
func changing(d signin.Directory) signin.Options {
	return signin.Options{Directory: d, PasswordEnabled: true, ChangePassword: true}
}

func TestChangePolicy(t *testing.T) {
	accounts := staff(t)
	right, wrong := memdir.SamplePassword, canary
	refusing := func(r denial.Reason) *directory {
		return &directory{changeErr: denial.New(r, "the directory says so")}
	}
	within := func(a signin.Attempt, change func(*signin.PasswordChange)) signin.Attempt {
		c := a.Credential.(signin.PasswordChange)
		change(&c)
		a.Credential = c
		return a
	}
	to := func(new string) func(*signin.PasswordChange) {
		return func(c *signin.PasswordChange) { c.New = secret.New(new) }
	}
	for _, tt := range []struct {
		name           string
		options        func(*signin.Options)
		directory      *directory
		attempt        signin.Attempt
		want           denial.Reason // "" means: changed
		recorded       denial.Reason // if it is another
		detail         string
		finds, changes int32
	}{
		{"must change", nil, &directory{}, newPassword("nina", right), "", "", "", 1, 1},
		{"expired", nil, &directory{}, newPassword("paul", right), "", "", "", 1, 1},
		{"nothing wrong with the old one", nil, &directory{}, newPassword("jon", right), "", "", "", 1, 1},
		{"wrong old password", nil, &directory{}, newPassword("nina", wrong), denial.BadCredentials, "", "wrong old", 1, 1},
		{"unknown user looks the same", nil, &directory{}, newPassword("nobody", wrong), denial.BadCredentials, "", "no_account", 1, 0},
		{"a disabled account looks the same", nil, &directory{}, newPassword("dora", right), denial.BadCredentials, denial.AccountDisabled, "disabled", 1, 0},
		{"a locked account looks the same", nil, &directory{}, newPassword("liam", right), denial.BadCredentials, denial.AccountLocked, "locked", 1, 0},
		{"an expired account looks the same", nil, &directory{}, newPassword("eve", right), denial.BadCredentials, denial.AccountExpired, "expired", 1, 0},
		{"C11: somebody whom a group bars looks the same", nil, &directory{groupsErr: errBarred}, newPassword("nina", right), denial.BadCredentials, denial.DeniedGroup, "Domain Admins", 1, 0},
		{"C11: nobody can tell whether a group bars", nil, &directory{groupsErr: errDown}, newPassword("nina", right), fault, "", "directory is down", 1, 0},
		{"groups cannot be read, but none bars", nil, &directory{groupsErr: fmt.Errorf("%w: slow", ldapauth.ErrGroups)}, newPassword("nina", right), "", "", "", 1, 1},
		{"not offered", func(o *signin.Options) { o.ChangePassword = false }, &directory{}, newPassword("nina", right), denial.NotAllowedHere, "", "", 0, 0},
		{"no passwords at all", func(o *signin.Options) { o.PasswordEnabled = false }, &directory{}, newPassword("nina", right), denial.NotAllowedHere, "", "", 0, 0},
		{"not offered here", func(o *signin.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("10.0.0.0/8")) }, &directory{}, newPassword("nina", right), denial.NotAllowedHere, "", "", 0, 0},
		{"too short", nil, refusing(denial.PasswordTooShort), newPassword("nina", right), denial.PasswordTooShort, "", "says so", 1, 1},
		{"not accepted", nil, refusing(denial.PasswordNotAccepted), newPassword("nina", right), denial.PasswordNotAccepted, "", "says so", 1, 1},
		{"locked meanwhile", nil, refusing(denial.AccountLocked), newPassword("nina", right), denial.AccountLocked, "", "says so", 1, 1},
		{"search fails", nil, &directory{findErr: errDown}, newPassword("nina", right), fault, "", "directory is down", 1, 0},
		{"change fails", nil, &directory{changeErr: errDown}, newPassword("nina", right), fault, "", "directory is down", 1, 1},
		{"not answered", nil, &directory{changeErr: errUnanswered}, newPassword("nina", right), fault, "", "connection lost", 1, 1},
		{"E11: the old one again", nil, &directory{}, within(newPassword("nina", right), to(right)), denial.PasswordUsedBefore, "", "nothing was sent", 0, 0},
		{"E11: the user name", nil, &directory{}, within(newPassword("nina", right), to("NINA")), denial.PasswordTooSimple, "", "nothing was sent", 0, 0},
		{"E11: the account in a mail address", nil, &directory{}, within(newPassword("nina@fabrikam.example", right), to("nina")), denial.PasswordTooSimple, "", "nothing was sent", 0, 0},
		{"E11: the account in a name with a domain", nil, &directory{}, within(newPassword(`FABRIKAM\nina`, right), to("nina")), denial.PasswordTooSimple, "", "nothing was sent", 0, 0},
		{"E11: none", nil, &directory{}, within(newPassword("nina", right), to("")), denial.PasswordNotAccepted, "", "nothing was sent", 0, 0},
		{"another credential", nil, &directory{}, password("nina", right), fault, "", "unknown kind", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.directory.accounts = accounts
			o := changing(tt.directory)
			if tt.options != nil {
				tt.options(&o)
			}
			d := open(t, o)
			err := d.ChangePassword(t.Context(), tt.attempt)
			got := denial.ReasonOf(err)
			if err != nil && got == "" {
				got = fault
			}
			if got != tt.want {
				t.Errorf("ChangePassword: %v; want %q", err, tt.want)
			}
			if finds, changes := tt.directory.finds.Load(), tt.directory.changes.Load(); finds != tt.finds || changes != tt.changes {
				t.Errorf("%d searches and %d changes, want %d and %d", finds, changes, tt.finds, tt.changes)
			}
			recorded := tt.want
			if tt.recorded != "" {
				recorded = tt.recorded
			}
			checkLine(t, d, tt.attempt, recorded, tt.detail)
			for name, text := range map[string]string{"audit trail": d.audit.String(), "log": d.log.String(), "error": fmt.Sprintf("%v %+v %#v", err, err, err)} {
				for _, secret := range []string{canary, right, fresh} {
					if strings.Contains(text, secret) {
						t.Errorf("the %s holds a password: %s", name, text)
					}
				}
			}
		})
	}
}

func TestAChangeIsNoSignIn(t *testing.T) {
	d := open(t, changing(nobodyHome{t}))
	if id, err := d.SignIn(t.Context(), newPassword("nina", memdir.SamplePassword)); id != nil || err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("signing in by a change: %v, %v", id, err)
	}
}

// The old password is guessed at both doors with one budget.
func TestE11_AWrongOldPasswordCountsLikeAWrongPassword(t *testing.T) {
	accounts := staff(t)
	for _, tt := range []struct {
		name string
		dir  *directory
		old  string
		want int // guesses that are left after four and this one
	}{
		{"wrong old password", &directory{}, canary, 0},
		{"locked", &directory{changeErr: denial.New(denial.AccountLocked, "no")}, canary, 0},
		{"not answered", &directory{changeErr: errUnanswered}, canary, 0},
		{"not sent", &directory{changeErr: errDown}, canary, 1},
		{"search fails", &directory{findErr: errDown}, canary, 1},
		// Only a change that was made proves something: no answer about the new
		// password gives a guesser his guesses back.
		{"new password too short", &directory{changeErr: denial.New(denial.PasswordTooShort, "no")}, memdir.SamplePassword, 1},
		{"new password not accepted", &directory{changeErr: denial.New(denial.PasswordNotAccepted, "no")}, memdir.SamplePassword, 1},
		{"not allowed", &directory{changeErr: denial.New(denial.ChangeNotAllowed, "no")}, memdir.SamplePassword, 1},
		{"changed", &directory{}, memdir.SamplePassword, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := &directory{accounts: accounts}
			d := open(t, changing(dir))
			for i := range 4 {
				if i%2 == 0 {
					_, _ = d.SignIn(t.Context(), password("jon", canary))
				} else {
					_ = d.ChangePassword(t.Context(), newPassword("jon", canary))
				}
			}
			dir.findErr, dir.changeErr = tt.dir.findErr, tt.dir.changeErr
			_ = d.ChangePassword(t.Context(), newPassword("jon", tt.old))
			dir.findErr, dir.changeErr = nil, nil
			before := dir.binds.Load() + dir.changes.Load()
			for i := range 10 {
				if i%2 == 0 {
					_ = d.ChangePassword(t.Context(), newPassword("jon", canary))
				} else {
					_, _ = d.SignIn(t.Context(), password("jon", canary))
				}
			}
			if left := int(dir.binds.Load() + dir.changes.Load() - before); left != tt.want {
				t.Errorf("%d guesses were left, want %d", left, tt.want)
			}
		})
	}
}

func TestE6_RefusedChangesLookAndLastAlike(t *testing.T) {
	accounts := staff(t)
	type answer struct {
		reason denial.Reason
		took   time.Duration
	}
	ask := func(name string) (answers []answer) {
		synctest.Test(t, func(t *testing.T) {
			o := changing(spellings{&directory{accounts: accounts, takes: 30 * time.Millisecond}})
			o.RefusalFloor = 400 * time.Millisecond
			d := open(t, o)
			for i := range 16 {
				a := newPassword([]string{name, name + "@fabrikam.example"}[i/8], canary)
				start := time.Now()
				err := d.ChangePassword(t.Context(), a)
				answers = append(answers, answer{denial.ReasonOf(err), time.Since(start)})
			}
		})
		return answers
	}
	unknown := ask("nobody")
	for _, name := range []string{"jon", "nina", "dora", "liam"} {
		if diff := cmp.Diff(unknown, ask(name), cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s can be told from an unknown name (-unknown +known):\n%s", name, diff)
		}
	}
}

// What a stranger does at one address must not give back guesses elsewhere, and
// a change must not give the address its guesses back.
func TestAChangeDoesNotClearTheAddress(t *testing.T) {
	d := open(t, changing(&directory{accounts: staff(t)}))
	through := 0
	for i := range 60 {
		_, err := d.SignIn(t.Context(), password(fmt.Sprint("victim", i), canary))
		if denial.ReasonOf(err) == denial.BadCredentials {
			through++
		}
		_ = d.ChangePassword(t.Context(), newPassword("nina", memdir.SamplePassword))
	}
	if through != 50 {
		t.Errorf("%d guesses got through, want 50", through)
	}
}

func TestOnlyAnOldPasswordThatIsRightIsOfferedAChange(t *testing.T) {
	accounts := staff(t)
	needsReset := denial.New(denial.PasswordExpired, "expired: %w", ldapauth.ErrNeedsReset)
	for _, tt := range []struct {
		name    string
		user    string
		bindErr error
		changes bool
		want    bool
	}{
		{"must change", "nina", denial.New(denial.MustChangePassword, "773"), true, true},
		{"expired", "paul", denial.New(denial.PasswordExpired, "532"), true, true},
		{"expired, and only we know", "paul", nil, true, true},
		{"expired for good", "paul", needsReset, true, false},
		{"no changes", "nina", denial.New(denial.MustChangePassword, "773"), false, false},
		{"wrong password", "nina", denial.New(denial.BadCredentials, "52e"), true, false},
		{"disabled", "dora", denial.New(denial.AccountDisabled, "533"), true, false},
		{"locked", "liam", denial.New(denial.AccountLocked, "775"), true, false},
		{"fault", "nina", errDown, true, false},
		{"unknown", "nobody", nil, true, false},
	} {
		o := changing(&directory{accounts: accounts, bindErr: tt.bindErr})
		o.ChangePassword = tt.changes
		d := open(t, o)
		_, err := d.SignIn(t.Context(), password(tt.user, memdir.SamplePassword))
		if _, got := errors.AsType[*signin.Changeable](err); got != tt.want || err == nil {
			t.Errorf("%s: %v, offered %v", tt.name, err, got)
		}
		if denial.ReasonOf(err) != "" && d.lastLine(t)["reason"] != string(denial.ReasonOf(err)) {
			t.Errorf("%s: the audit line says %v", tt.name, d.lastLine(t)["reason"])
		}
	}
	// Nor is one offered to somebody whom it would not let in.
	for _, tt := range []struct {
		groupsErr error
		want      denial.Reason
		offered   bool
	}{
		{errBarred, denial.DeniedGroup, false}, {errDown, "", false}, {fmt.Errorf("%w: slow", ldapauth.ErrGroups), denial.PasswordExpired, true},
	} {
		d := open(t, changing(&directory{accounts: accounts, bindErr: denial.New(denial.PasswordExpired, "532"), groupsErr: tt.groupsErr}))
		_, err := d.SignIn(t.Context(), password("paul", memdir.SamplePassword))
		if _, got := errors.AsType[*signin.Changeable](err); got != tt.offered || denial.ReasonOf(err) != tt.want || err == nil {
			t.Errorf("groups: %v: offered %v, %v", tt.groupsErr, got, err)
		}
	}
	// A certificate has no old password to offer.
	o := changing(&directory{accounts: accounts})
	o.Verifier = verifier{name: "nina"}
	_, err := open(t, o).SignIn(t.Context(), certificate())
	if _, got := errors.AsType[*signin.Changeable](err); got || denial.ReasonOf(err) != denial.MustChangePassword {
		t.Errorf("by certificate: %v, offered %v", err, got)
	}
}

func TestC10_FaultsOfPasswordsAreLetPassOnlyOnDemand(t *testing.T) {
	for flavor, people := range map[memdir.Flavor][]string{
		memdir.ActiveDirectory: {"nina", "paul", "dora", "liam", "eve"}, memdir.OpenLDAP: {"nina", "paul", "dora", "liam", "eve"},
	} {
		_, client := company(t, flavor, memdir.Entry{DN: "cn=default," + base, Attributes: map[string][]string{
			"objectClass": {"device", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdMaxAge": {"3628800"},
		}})
		for _, name := range people {
			for _, allow := range []denial.Reason{"", denial.PasswordExpired, denial.MustChangePassword} {
				account, err := client.FindByName(t.Context(), name+"@fabrikam.example")
				if err != nil {
					t.Fatal(err)
				}
				state := account.State(time.Now())
				o := changing(client)
				o.Verifier = verifier{name: name + "@fabrikam.example"}
				o.AllowExpiredPassword = allow == denial.PasswordExpired
				o.AllowMustChangePassword = allow == denial.MustChangePassword
				for _, a := range []signin.Attempt{
					password(name+"@fabrikam.example", memdir.SamplePassword), certificate(), session(&signin.Identity{ID: account.ID}),
				} {
					d := open(t, o)
					_, got := d.SignIn(t.Context(), a)
					method := a.Credential.Method()
					reason := denial.ReasonOf(state)
					if name == "paul" && method == signin.ByPassword {
						reason = denial.PasswordExpired // the directory knows, even where we do not
					}
					letIn := reason == "" || reason == allow
					if (got == nil) != letIn {
						t.Errorf("%s by %s in flavor %v, allowing %q: %v", name, method, flavor, allow, got)
					}
					var marked any
					if letIn && reason != "" {
						marked = string(allow)
					}
					if line := d.lastLine(t); line["allowed"] != marked {
						t.Errorf("%s by %s in flavor %v, allowing %q: the audit line says %v", name, method, flavor, allow, line["allowed"])
					}
				}
			}
		}
	}
}

func TestC10_OneFaultThatIsLetPassHidesNoOther(t *testing.T) {
	policy := memdir.Entry{DN: "cn=default," + base, Attributes: map[string][]string{
		"objectClass": {"device", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdMaxAge": {"3628800"},
	}}
	server, client := company(t, memdir.OpenLDAP, policy)
	if err := server.Update("uid=nina,ou=people,"+base, map[string][]string{
		"pwdPolicySubentry": {policy.DN}, "pwdChangedTime": {"20150101000000Z"},
	}); err != nil {
		t.Fatal(err)
	}
	o := changing(client)
	o.Verifier = verifier{name: "nina@fabrikam.example"}
	o.AllowMustChangePassword = true
	d := open(t, o)
	if _, err := d.SignIn(t.Context(), certificate()); denial.ReasonOf(err) != denial.PasswordExpired {
		t.Errorf("must change, which is let pass, and expired, which is not: %v", err)
	}
	if line := d.lastLine(t); line["allowed"] != nil {
		t.Errorf("the audit line of a refusal says that something was let pass: %v", line)
	}
	o.AllowExpiredPassword = true
	if _, err := open(t, o).SignIn(t.Context(), certificate()); err != nil {
		t.Errorf("both let pass: %v", err)
	}
}

func TestE12_PasswordsOfAChangeAreNowhere(t *testing.T) {
	attempt := newPassword("nina", canary)
	for _, text := range []string{fmt.Sprint(attempt), fmt.Sprintf("%#v %+v %q", attempt, attempt, attempt.Credential)} {
		if strings.Contains(text, canary) || strings.Contains(text, fresh) {
			t.Errorf("printing the attempt shows a password: %s", text)
		}
	}
	server, client := company(t, memdir.ActiveDirectory)
	d := open(t, changing(client))
	for _, name := range []string{"nina", "dora", "nobody", "*"} {
		if err := d.ChangePassword(t.Context(), newPassword(name, canary)); err == nil {
			t.Errorf("%s: changed", name)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	_ = d.ChangePassword(t.Context(), newPassword("nina", canary))
	if text := d.audit.String() + d.log.String(); strings.Contains(text, canary) || strings.Contains(text, fresh) {
		t.Errorf("a password was written: %s", text)
	}
}

func TestAChangeIsRecordedWhateverEndsIt(t *testing.T) {
	dir := &directory{accounts: staff(t), findErr: errDown}
	d := open(t, changing(dir))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newPassword("nina", canary)
	a.Remote = netip.MustParseAddr("2001:db8::1")
	_ = d.ChangePassword(ctx, a)
	if line := d.lastLine(t); line["result"] != "fault" || line["method"] != "password_change" || line["remote"] != "2001:db8::1" || line["user"] != "nina" {
		t.Errorf("the audit line is %v", line)
	}
}
