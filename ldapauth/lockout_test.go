package ldapauth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
)

// lockoutOf returns what the directory does about wrong passwords for name.
func lockoutOf(t testing.TB, d *ldapauth.Directory, name string) ldapauth.Lockout {
	t.Helper()
	l, err := d.Lockout(t.Context(), find(t, d, name))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// realSites are the real servers, one of each kind for a test alone, with their
// client's configuration.
func realSites() map[string]func(t *testing.T) (*dirtest.Server, ldapauth.Config) {
	return map[string]func(t *testing.T) (*dirtest.Server, ldapauth.Config){
		"OpenLDAP": func(t *testing.T) (*dirtest.Server, ldapauth.Config) {
			s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
			c := real(s)
			c.PasswordPolicyDN = defaultPolicy(s)
			return s, c
		},
		"Samba": func(t *testing.T) (*dirtest.Server, ldapauth.Config) {
			s := dirtest.SambaAD(t)
			return s, real(s)
		},
	}
}

func TestLockoutIsTheDirectorysOwnCount(t *testing.T) {
	for name, start := range realSites() {
		t.Run(name, func(t *testing.T) {
			s, c := start(t)
			d := open(t, c)
			began := time.Now()
			for i := range 2 {
				l := lockoutOf(t, d, "zoe")
				if l.Threshold != 3 || l.Window != 30*time.Minute || l.Duration != 30*time.Minute || !l.Usual || l.Prolonged != (s.Kind == dirtest.KindSamba) {
					t.Errorf("policy: %+v, want 3 within 30m for 30m", l)
				}
				if l.Failures != i || l.Locked != nil || l.AsOf.Before(began) || l.AsOf.After(time.Now()) || l.Until.IsZero() != (i == 0) {
					t.Errorf("after %d wrong passwords: %+v", i, l)
				}
				wantReason(t, "a wrong password", d.Bind(t.Context(), find(t, d, "zoe"), secret.New("wrong")), denial.BadCredentials)
			}
			wantReason(t, "the right password", d.Bind(t.Context(), find(t, d, "zoe"), secret.New(s.Password)), "")
			if l := lockoutOf(t, d, "zoe"); l.Failures != 0 {
				t.Errorf("after the right password: %+v", l)
			}
			l := lockoutOf(t, d, "lck")
			wantReason(t, "somebody who is locked out", l.Locked, denial.AccountLocked)
			if l.Failures < l.Threshold {
				t.Errorf("somebody who is locked out: %+v", l)
			}
		})
	}
}

// A sign-in asks for nothing more than the account once the policy is known,
// and a directory that is gone for a while is taken for what it was.
func TestLockoutIsRemembered(t *testing.T) {
	for _, flavor := range []memdir.Flavor{memdir.ActiveDirectory, memdir.OpenLDAP} {
		policy := memdir.Entry{DN: "cn=default," + memBase, Attributes: map[string][]string{
			"objectClass": {"device", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdLockout": {"TRUE"}, "pwdMaxFailure": {"10"},
		}}
		s, c := memory(t, flavor, func(o *memdir.Options) { o.Entries = append(o.Entries, policy) })
		if flavor == memdir.OpenLDAP {
			c.BindDN, c.PasswordPolicyDN = "cn=svc-adconnector,ou=services,"+memBase, policy.DN
		}
		now := time.Now()
		d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return now }})
		a := find(t, d, "jon")
		if _, err := d.Lockout(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		before := s.Stats().Searches
		for range 10 {
			if l, err := d.Lockout(t.Context(), a); err != nil || l.Threshold != 10 {
				t.Errorf("%v: %+v, %v", flavor, l, err)
			}
		}
		if n := s.Stats().Searches - before; n != 0 {
			t.Errorf("%v: %d searches", flavor, n)
		}
		now = now.Add(time.Hour)
		_ = s.Close()
		if l, err := d.Lockout(t.Context(), a); err != nil || l.Threshold != 10 {
			t.Errorf("%v, an hour later, with a directory that is gone: %+v, %v", flavor, l, err)
		}
	}
}

func TestLockoutUnderAPolicyThatCannotBeKnown(t *testing.T) {
	s := dirtest.SharedOpenLDAP(t)
	d := open(t, real(s))
	if _, err := d.Lockout(t.Context(), find(t, d, "jon")); !errors.Is(err, ldapauth.ErrNoLockoutPolicy) {
		t.Errorf("an entry that names no policy: %v", err)
	}
	if _, err := d.UsualLockout(t.Context()); !errors.Is(err, ldapauth.ErrNoLockoutPolicy) {
		t.Errorf("accounts in general: %v", err)
	}
	_, c := memory(t, memdir.ActiveDirectory, func(o *memdir.Options) { delete(o.Entries[0].Attributes, "lockoutThreshold") })
	d = open(t, c)
	if _, err := d.Lockout(t.Context(), find(t, d, "jon")); err == nil || !strings.Contains(err.Error(), "lockoutThreshold") {
		t.Errorf("a domain that hides its policy: %v", err)
	}
}

// addPSO makes a fine-grained policy that holds for the person called name.
func addPSO(t testing.TB, s *dirtest.Server, cn, threshold, name string) (dn string) {
	t.Helper()
	dn = "CN=" + cn + ",CN=Password Settings Container,CN=System," + s.BaseDN
	add := goldap.NewAddRequest(dn, nil)
	for attribute, value := range map[string]string{
		"objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": "10", "msDS-PasswordReversibleEncryptionEnabled": "FALSE",
		"msDS-PasswordHistoryLength": "0", "msDS-PasswordComplexityEnabled": "FALSE", "msDS-MinimumPasswordLength": "0",
		"msDS-MinimumPasswordAge": "0", "msDS-MaximumPasswordAge": "-864000000000000", "msDS-LockoutThreshold": threshold,
		"msDS-LockoutObservationWindow": "-6000000000", "msDS-LockoutDuration": "-9223372036854775808", "msDS-PSOAppliesTo": s.DN(t, name),
	} {
		add.Attribute(attribute, []string{value})
	}
	if err := s.Admin(t).Add(add); err != nil {
		t.Fatal(err)
	}
	return dn
}

func TestFineGrainedPolicies(t *testing.T) {
	s := dirtest.SambaAD(t)
	dn := addPSO(t, s, "Strict", "7", "zoe")

	d := open(t, real(s))
	l := lockoutOf(t, d, "zoe")
	if l.Hidden == "" && l.Threshold != 7 || l.Hidden != "" && (l.Threshold != 3 || !strings.EqualFold(l.Hidden, dn)) || l.Usual {
		t.Errorf("as the service account: %+v, want the 7 of %s, or the domain's 3 and that it is hidden", l, dn)
	}
	if l := lockoutOf(t, d, "jon"); l.Threshold != 3 || !l.Usual || l.Hidden != "" {
		t.Errorf("somebody else: %+v", l)
	}
	c := real(s)
	c.BindDN, c.BindPassword = s.AdminDN, secret.New(s.AdminPassword)
	l = lockoutOf(t, open(t, c), "zoe")
	if l.Threshold != 7 || l.Window != 10*time.Minute || l.Duration != ldapauth.Forever || l.Usual || l.Hidden != "" || !strings.EqualFold(l.Policy, dn) {
		t.Errorf("as an account that sees it: %+v", l)
	}
}

// What the entry still shows need not count any more.
func TestFailuresAreForgottenInTime(t *testing.T) {
	stamp := func(at time.Time) string { return at.UTC().Format("20060102150405.000000Z") }
	fileTime := func(at time.Time) string { return fmt.Sprint((at.Unix() + 11644473600) * 1e7) }
	start := time.Now().Truncate(time.Second)
	for _, tt := range []struct {
		after  time.Duration
		ad, ol int // 3 failures: at 0, 10 and 20 minutes, each for half an hour and a minute for the clocks
	}{{20 * time.Minute, 3, 3}, {32 * time.Minute, 3, 2}, {42 * time.Minute, 3, 1}, {50 * time.Minute, 3, 1}, {52 * time.Minute, 0, 0}} {
		now := func() time.Time { return start.Add(tt.after) }
		s, c := memory(t, memdir.ActiveDirectory)
		if err := s.Update("CN=Jon Smith,OU=Staff,"+memBase, map[string][]string{"badPwdCount": {"3"}, "badPasswordTime": {fileTime(start.Add(20 * time.Minute))}}); err != nil {
			t.Fatal(err)
		}
		if l := lockoutOf(t, openWith(t, c, ldapauth.Options{Now: now}), "jon"); l.Failures != tt.ad {
			t.Errorf("Active Directory, after %v: %d failures count, want %d", tt.after, l.Failures, tt.ad)
		}
		policy := memdir.Entry{DN: "cn=default," + memBase, Attributes: map[string][]string{
			"objectClass": {"device", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdLockout": {"TRUE"}, "pwdMaxFailure": {"10"},
			"pwdFailureCountInterval": {"1800"},
		}}
		s, c = memory(t, memdir.OpenLDAP, func(o *memdir.Options) { o.Entries = append(o.Entries, policy) })
		c.BindDN, c.PasswordPolicyDN = "cn=svc-adconnector,ou=services,"+memBase, policy.DN
		times := []string{stamp(start), stamp(start.Add(10 * time.Minute)), stamp(start.Add(20 * time.Minute))}
		if err := s.Update("uid=jon,ou=people,"+memBase, map[string][]string{"pwdFailureTime": times}); err != nil {
			t.Fatal(err)
		}
		if l := lockoutOf(t, openWith(t, c, ldapauth.Options{Now: now}), "jon"); l.Failures != tt.ol {
			t.Errorf("OpenLDAP, after %v: %d failures count, want %d", tt.after, l.Failures, tt.ol)
		}
	}
}
