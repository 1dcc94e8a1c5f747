package ldapauth_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// Two servers, since a refusal by one counts at the other too.
func TestE4_ARefusedServiceAccountIsTriedTwiceAndThenLeftAlone(t *testing.T) {
	first, c := memory(t, memdir.ActiveDirectory)
	second, c2 := memory(t, memdir.ActiveDirectory)
	c.URLs, c.CAFiles = append(c.URLs, c2.URLs...), append(c.CAFiles, c2.CAFiles...)
	c.BindPassword = secret.New("Wrong-Service-1")
	var now atomic.Int64
	d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	for _, step := range []struct {
		at    time.Duration
		binds uint64
	}{{0, 1}, {time.Second, 1}, {2 * time.Second, 2}, {time.Minute, 2}, {30 * time.Minute, 2}, {34 * time.Minute, 3}, {34*time.Minute + 3*time.Second, 4}, {time.Hour, 4}} {
		now.Store(int64(step.at / time.Second))
		for range 10 {
			_, err := d.FindByName(t.Context(), "jon")
			if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ldap.bind_password_file") {
				t.Fatalf("error %v", err)
			}
		}
		if n := first.Stats().Binds + second.Stats().Binds; n != step.binds {
			t.Errorf("%d binds after %v, want %d", n, step.at, step.binds)
		}
	}
}

func TestAnotherServicePasswordIsTriedAtOnce(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Wrong-1")
	c.BindPassword, c.BindPasswordFile = secret.New("Wrong-1"), setting.File(file)
	d := openWith(t, c, ldapauth.Options{
		Now: func() time.Time { return time.Unix(0, 0) }, // so that no pause ends
		ReadSecret: func(path string) (secret.String, error) {
			data, err := os.ReadFile(path)
			return secret.New(string(data)), err
		},
	})
	for range 5 {
		if _, err := d.FindByName(t.Context(), "jon"); err == nil || s.Stats().Binds != 1 {
			t.Fatalf("error %v after %d binds", err, s.Stats().Binds)
		}
	}
	write(memdir.ServicePassword)
	find(t, d, "jon")
}

// A server that is too slow to answer may have counted what it was shown.
func TestE4_AServiceAccountThatWasRefusedIsSparedASlowServer(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	c.BindPassword = secret.New("Wrong-Service-1")
	c.Timeout = setting.Duration(900 * time.Millisecond)
	var now atomic.Int64
	d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	_, _ = d.FindByName(t.Context(), "jon")
	const tooLong = 500 * time.Millisecond // a connection is given up after a third of the timeout
	s.SetDelay(tooLong)
	for at := int64(3); at < 20; at += 3 {
		now.Store(at)
		_, _ = d.FindByName(t.Context(), "jon")
	}
	time.Sleep(2 * tooLong)
	if n := s.Stats().Binds; n > 2 {
		t.Errorf("%d binds within 20 seconds, want 2", n)
	}
}

func TestTheServiceAccountsOwnPolicyHolds(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Wire: true}) // the account's policy locks nobody
	var now atomic.Int64
	d := openWith(t, real(s), ldapauth.Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	find(t, d, "jon")
	restore := s.ServicePassword(t)
	s.HangUp(t)
	for at := range int64(20) {
		now.Store(at)
		if _, err := d.FindByName(t.Context(), "jon"); err == nil {
			t.Fatal("the service account was let in")
		}
	}
	restore()
	now.Add(2)
	find(t, d, "jon")
}
