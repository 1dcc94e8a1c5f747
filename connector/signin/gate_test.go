package signin_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/memdir"
)

// A counter is a directory that counts what it is asked at the same time, and is
// stuck with some names.
type counter struct {
	directory
	now, most atomic.Int32
}

func (c *counter) FindByName(ctx context.Context, name string) (*ldapauth.Account, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	if strings.HasPrefix(name, "stuck") {
		time.Sleep(5 * time.Second)
		name = "amy"
	} else {
		time.Sleep(10 * time.Millisecond)
		name = "jon"
	}
	return c.directory.FindByName(ctx, name)
}

// TestDirectoryIsNotAskedAThousandThingsAtOnce: what a tenant asks for in one
// moment waits for its turn; and what the directory is stuck with keeps the others
// waiting for a second and not for as long as it lasts.
func TestDirectoryIsNotAskedAThousandThingsAtOnce(t *testing.T) {
	accounts := staff(t)
	synctest.Test(t, func(t *testing.T) {
		c := &counter{directory: directory{accounts: accounts}}
		d := open(t, signin.Options{Directory: c, PasswordEnabled: true, ProofTimeout: 6 * time.Second})
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				if _, err := d.SignIn(t.Context(), relayed(fmt.Sprint("user", i), memdir.SamplePassword)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := c.most.Load(); n > 128 {
			t.Errorf("%d were put to the directory at the same time", n)
		}

		var stuck sync.WaitGroup
		for i := range 256 {
			stuck.Go(func() { _, _ = d.SignIn(t.Context(), relayed(fmt.Sprint("stuck", i), memdir.SamplePassword)) })
		}
		synctest.Wait()
		before := time.Now()
		if _, err := d.SignIn(t.Context(), relayed("jon", memdir.SamplePassword)); err != nil || time.Since(before) > 2500*time.Millisecond {
			t.Errorf("beside those that are stuck it took %v: %v", time.Since(before), err)
		}
		stuck.Wait()
	})
}
