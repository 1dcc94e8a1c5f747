package signin_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
)

// A slow directory takes its time for each question, but no longer than it is
// given.
type slow struct {
	*directory
	takes time.Duration
}

func (d *slow) pause(ctx context.Context) error {
	select {
	case <-time.After(d.takes):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *slow) FindByName(ctx context.Context, name string) (*ldapauth.Account, error) {
	if err := d.pause(ctx); err != nil {
		return nil, err
	}
	return d.directory.FindByName(ctx, name)
}

func (d *slow) FindHolder(ctx context.Context, h *ldapauth.Holder) (*ldapauth.Account, error) {
	return d.FindByName(ctx, h.Text)
}

func (d *slow) FindByID(ctx context.Context, id string) (*ldapauth.Account, error) {
	if err := d.pause(ctx); err != nil {
		return nil, err
	}
	return d.directory.FindByID(ctx, id)
}

func (d *slow) Bind(ctx context.Context, a *ldapauth.Account, password secret.String) error {
	if err := d.pause(ctx); err != nil {
		return err
	}
	return d.directory.Bind(ctx, a, password)
}

func TestAProofTakesNoLongerThanItMayHoweverManyStepsItHas(t *testing.T) {
	accounts := staff(t)
	const limit = 3 * time.Second
	jon := accounts["jon"].ID
	for name, a := range map[string]signin.Attempt{
		"certificate": certificate(),
		"session":     session(&signin.Identity{ID: jon, Username: "jon", AuthenticatedBy: signin.ByPassword}),
		"password":    password("jon", memdir.SamplePassword),
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := &slow{&directory{accounts: accounts}, 2 * time.Second} // less for each step
			if name != "password" {                                       // they have but one
				dir.takes = time.Minute
			}
			d := open(t, signin.Options{Directory: dir, PasswordEnabled: true, ProofTimeout: limit})
			// So many at once that the throttle lets some of them wait for others.
			var everybody sync.WaitGroup
			for range 20 {
				everybody.Go(func() {
					start := time.Now()
					_, err := d.SignIn(t.Context(), a)
					if err == nil || denial.ReasonOf(err) != "" {
						t.Errorf("%s: %v, want a fault", name, err)
					}
					if took := time.Since(start); took > limit {
						t.Errorf("%s took %v", name, took)
					}
				})
			}
			everybody.Wait()
			dir.takes = 0
			if _, err := d.SignIn(t.Context(), a); err != nil {
				t.Errorf("%s, when the directory is quick again: %v", name, err)
			}
		})
	}
}
