package hub

import (
	"context"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// changePassword sets a password.
func (a *Agent) changePassword(ctx context.Context, c *command, reference string) any {
	username := c.plain(c.Username)
	done, err := a.resetTurn(ctx, username)
	if err != nil {
		a.o.Log.Warn("hub: a change of a password had to wait for others until it was given up", "reference", reference, "err", err)
		return unexpected(reference)
	}
	defer done()
	var about *signin.Identity
	id, err := a.o.Passwords.ResetPassword(ctx, a.attempt(signin.PasswordReset{Username: username, New: secret.New(c.Password)}, reference, &about))
	if err == nil {
		return map[string]any{"profile": profileOf(id, true)}
	}
	if denial.ReasonOf(err) == "" {
		a.o.Log.Error("hub: a password could not be changed", "reference", reference, "err", err)
	}
	return notChanged(err, c.Username, about, reference)
}

// resetTurn waits for a turn among the commands about the same name and among the
// changes of all names. Few are made at the same time: each takes a connection to
// the directory, of which sign-ins need some too.
func (a *Agent) resetTurn(ctx context.Context, name string) (done func(), err error) {
	leave, err := a.ordered.enter()
	if err != nil {
		return nil, err
	}
	yield, err := a.turns.take(ctx, name)
	if err != nil {
		leave()
		return nil, err
	}
	select {
	case a.resets <- struct{}{}:
		return func() { <-a.resets; yield(); leave() }, nil
	case <-ctx.Done():
		yield()
		leave()
		return nil, context.Cause(ctx)
	}
}

// The failures of a change that tenants know.
var (
	noRight      = failure{Message: "Service Account has Insufficient Access Rights", Name: "InsufficientAccessRightsError"}
	tooSimple    = failure{Message: "Password doesn\u2019t meet minimum requirements", Name: "PasswordComplexityError"}
	notForClosed = failure{Message: words[denial.AccountDisabled].message, Name: words[denial.AccountDisabled].name}
)

// notChanged returns the answer to a change that was not made, or of which
// nobody knows whether it was.
func notChanged(err error, username string, about *signin.Identity, reference string) any {
	switch reason := denial.ReasonOf(err); reason {
	case denial.NoAccount, denial.SeveralAccounts, denial.BadName:
		return map[string]any{"err": wrongUsername(username)}
	case denial.ResetNotAllowed, denial.DeniedGroup:
		return noRight.about(about)
	case denial.PasswordTooShort, denial.PasswordTooSimple, denial.PasswordUsedBefore, denial.PasswordTooYoung, denial.PasswordNotAccepted:
		return tooSimple.about(about)
	case denial.AccountDisabled:
		return notForClosed.about(about)
	}
	return unexpected(reference)
}
