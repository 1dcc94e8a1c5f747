package hub

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

// TestFewPasswordsAreSetAtTheSameTime, so that sign-ins have connections to the
// directory too; and whoever gives up waiting leaves nothing behind.
func TestFewPasswordsAreSetAtTheSameTime(t *testing.T) {
	a := NewAgent(AgentOptions{})
	var all []func()
	for i := range maxResets {
		done, err := a.resetTurn(t.Context(), fmt.Sprint("user-", i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, done)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.resetTurn(impatient, "one more"); !errors.Is(err, context.Canceled) {
		t.Errorf("one more at the same time: %v", err)
	}
	all[0]()
	done, err := a.resetTurn(t.Context(), "one more")
	if err != nil {
		t.Fatal(err)
	}
	for _, done := range append(all[1:], done) {
		done()
	}
	if n := len(a.turns.names); n != 0 || len(a.resets) != 0 {
		t.Errorf("%d names and %d turns are left", n, len(a.resets))
	}
}

// TestEveryRefusalOfAChangeHasItsAnswer: what is not listed is nothing that
// tenants know.
func TestEveryRefusalOfAChangeHasItsAnswer(t *testing.T) {
	about := &signin.Identity{ID: "1", Nickname: "jon"}
	want := map[denial.Reason]string{
		denial.NoAccount: "WrongUsername", denial.SeveralAccounts: "WrongUsername", denial.BadName: "WrongUsername",
		denial.ResetNotAllowed: "InsufficientAccessRightsError", denial.DeniedGroup: "InsufficientAccessRightsError",
		denial.PasswordTooShort: "PasswordComplexityError", denial.PasswordTooSimple: "PasswordComplexityError",
		denial.PasswordUsedBefore: "PasswordComplexityError", denial.PasswordTooYoung: "PasswordComplexityError",
		denial.PasswordNotAccepted: "PasswordComplexityError",
		denial.AccountDisabled:     "AccountDisabled",
	}
	nameOf := func(err error) string {
		switch e := notChanged(err, "jon", about, "reference").(type) {
		case map[string]any:
			return e["err"].(failure).Name
		case unexpectedAnswer:
			return ""
		default:
			return fmt.Sprintf("%T", e)
		}
	}
	for _, r := range denial.Reasons() {
		if got := nameOf(fmt.Errorf("somewhere: %w", denial.New(r, "canary"))); got != want[r] {
			t.Errorf("%s: %q, want %q", r, got, want[r])
		}
	}
	if got := nameOf(errors.New("canary")); got != "" {
		t.Errorf("a fault: %q", got)
	}
}
