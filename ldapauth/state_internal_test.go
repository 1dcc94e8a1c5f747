package ldapauth

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// now is a Wednesday, 10:30 UTC.
var now = time.Date(2026, 11, 18, 10, 30, 0, 0, time.UTC)

const fault = denial.Reason("(a fault)")

// reasonFor returns the reason of a denial, or that err is a fault.
func reasonFor(err error) denial.Reason {
	if err != nil && denial.ReasonOf(err) == "" {
		return fault
	}
	return denial.ReasonOf(err)
}

func accountWith(d *dialect, attributes map[string]string) *Account {
	values := map[string][]string{}
	for k, v := range attributes {
		values[k] = []string{v}
	}
	return &Account{DN: "cn=jon", dialect: d, entry: ldap.NewEntry("cn=jon", values)}
}

func TestC10_ActiveDirectoryState(t *testing.T) {
	type attrs = map[string]string
	const computed = "msDS-User-Account-Control-Computed"
	hours := func(set ...int) string {
		b := make([]byte, 21)
		for _, h := range set {
			b[h/8] |= 1 << (h % 8)
		}
		return string(b)
	}
	thisHour := int(now.Weekday())*24 + now.Hour()
	for _, tt := range []struct {
		name  string
		attrs attrs
		want  denial.Reason
	}{
		{"a normal account", attrs{"userAccountControl": "512", computed: "0", "pwdLastSet": "133500000000000000", "accountExpires": "9223372036854775807"}, ""},
		{"account control cannot be read", attrs{}, fault},
		{"account control is no number", attrs{"userAccountControl": "normal"}, fault},
		{"account control is no number of 64 bits", attrs{"userAccountControl": "99999999999999999999"}, fault},
		{"disabled", attrs{"userAccountControl": "514"}, denial.AccountDisabled},
		{"disabled and its password never expires", attrs{"userAccountControl": "66050"}, denial.AccountDisabled},
		{"a workstation", attrs{"userAccountControl": "4096"}, denial.NoAccount},
		{"a domain controller", attrs{"userAccountControl": "532480"}, denial.NoAccount},
		{"a trust", attrs{"userAccountControl": "2080"}, denial.NoAccount},
		{"locked", attrs{"userAccountControl": "512", computed: "16"}, denial.AccountLocked},
		{"the computed flags are no number", attrs{"userAccountControl": "512", computed: "0x10"}, fault},
		{"never expires, written as 0", attrs{"userAccountControl": "512", "accountExpires": "0"}, ""},
		{"expires in a second", attrs{"userAccountControl": "512", "accountExpires": ticks(now.Add(time.Second))}, ""},
		{"expires now", attrs{"userAccountControl": "512", "accountExpires": ticks(now)}, denial.AccountExpired},
		{"expired long ago", attrs{"userAccountControl": "512", "accountExpires": "1"}, denial.AccountExpired},
		{"expired before time began", attrs{"userAccountControl": "512", "accountExpires": "-5"}, denial.AccountExpired},
		{"expiry is no number", attrs{"userAccountControl": "512", "accountExpires": "never"}, fault},
		{"must change", attrs{"userAccountControl": "512", "pwdLastSet": "0", computed: "8388608"}, denial.MustChangePassword},
		{"must change, said without the computed flags", attrs{"userAccountControl": "512", "pwdLastSet": "0"}, denial.MustChangePassword},
		{"password never set, but never expires", attrs{"userAccountControl": "66048", "pwdLastSet": "0", computed: "0"}, ""},
		{"password expired", attrs{"userAccountControl": "512", "pwdLastSet": "133500000000000000", computed: "8388608"}, denial.PasswordExpired},
		{"password expired, date hidden", attrs{"userAccountControl": "512", computed: "8388608"}, denial.PasswordExpired},
		{"last change is no number", attrs{"userAccountControl": "512", "pwdLastSet": "x"}, fault},
		{"locked and expired password: the lock counts", attrs{"userAccountControl": "512", computed: "8388624"}, denial.AccountLocked},
		{"in the only hour", attrs{"userAccountControl": "512", "logonHours": hours(thisHour)}, ""},
		{"an hour late", attrs{"userAccountControl": "512", "logonHours": hours(thisHour - 1)}, denial.OutsideHours},
		{"a day early", attrs{"userAccountControl": "512", "logonHours": hours(thisHour + 24)}, denial.OutsideHours},
		{"no hour at all", attrs{"userAccountControl": "512", "logonHours": hours()}, denial.OutsideHours},
		{"hours of the wrong length", attrs{"userAccountControl": "512", "logonHours": "\xff\xff"}, fault},
		{"at one computer", attrs{"userAccountControl": "512", "userWorkstations": "PC1"}, denial.NotAtThisComputer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := accountWith(activeDirectory, tt.attrs).State(now)
			if got := reasonFor(err); got != tt.want {
				t.Errorf("reason %q, want %q (error: %v)", got, tt.want, err)
			}
		})
	}
}

// ticks writes a time as Active Directory does.
func ticks(t time.Time) string {
	const epoch = 11644473600
	return itoa64((t.Unix() + epoch) * 1e7)
}

func itoa64(n int64) string { return strconv.FormatInt(n, 10) }

func TestC10_OpenLDAPState(t *testing.T) {
	type attrs = map[string]string
	lenient := &policy{lockout: 30 * time.Minute, maxAge: 90 * 24 * time.Hour}
	for _, tt := range []struct {
		name   string
		attrs  attrs
		policy *policy
		want   denial.Reason
	}{
		{"a normal account", attrs{"pwdChangedTime": "20261101000000Z"}, lenient, ""},
		{"locked by an administrator", attrs{"pwdAccountLockedTime": "000001010000Z"}, lenient, denial.AccountDisabled},
		{"locked, policy unknown", attrs{"pwdAccountLockedTime": "20200101000000Z"}, nil, denial.AccountLocked},
		{"locked until an administrator acts", attrs{"pwdAccountLockedTime": "20200101000000Z"}, &policy{}, denial.AccountLocked},
		{"locked 29 minutes ago", attrs{"pwdAccountLockedTime": "20261118100100Z"}, lenient, denial.AccountLocked},
		{"locked 30 minutes ago", attrs{"pwdAccountLockedTime": "20261118100000Z"}, lenient, ""},
		{"locked 30 minutes ago, with a fraction", attrs{"pwdAccountLockedTime": "20261118095959.999Z"}, lenient, ""},
		{"locked at no time", attrs{"pwdAccountLockedTime": "yesterday"}, lenient, fault},
		{"locked at an impossible time", attrs{"pwdAccountLockedTime": "20261318100000Z"}, lenient, fault},
		{"reset", attrs{"pwdReset": "TRUE"}, nil, denial.MustChangePassword},
		{"reset, in small letters", attrs{"pwdReset": "true"}, nil, denial.MustChangePassword},
		{"not reset", attrs{"pwdReset": "FALSE"}, nil, ""},
		{"perhaps reset", attrs{"pwdReset": "maybe"}, nil, fault},
		{"ended", attrs{"pwdEndTime": "20261118103000Z"}, nil, denial.AccountExpired},
		{"ends in a second", attrs{"pwdEndTime": "20261118103001Z"}, nil, ""},
		{"not begun", attrs{"pwdStartTime": "20261118103001Z"}, nil, denial.AccountDisabled},
		{"begun", attrs{"pwdStartTime": "20261118103000Z"}, nil, ""},
		{"begins at no time", attrs{"pwdStartTime": "0"}, nil, fault},
		{"password too old", attrs{"pwdChangedTime": "20260101000000Z"}, lenient, denial.PasswordExpired},
		{"password old, policy unknown", attrs{"pwdChangedTime": "20260101000000Z"}, nil, ""},
		{"password changed at no time", attrs{"pwdChangedTime": "?"}, lenient, fault},
		{"shadow: never", attrs{"shadowExpire": "-1"}, nil, ""},
		{"shadow: today", attrs{"shadowExpire": itoa64(now.Unix() / 86400)}, nil, denial.AccountExpired},
		{"shadow: tomorrow", attrs{"shadowExpire": itoa64(now.Unix()/86400 + 1)}, nil, ""},
		{"shadow: no number", attrs{"shadowExpire": "soon"}, nil, fault},
		{"barred by 389 Directory Server", attrs{"nsAccountLock": "true"}, nil, denial.AccountDisabled},
		{"barred by eDirectory", attrs{"loginDisabled": "TRUE"}, nil, denial.AccountDisabled},
		{"perhaps barred", attrs{"loginDisabled": "1"}, nil, fault},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := accountWith(openLDAP, tt.attrs)
			a.policy = tt.policy
			err := a.State(now)
			if got := reasonFor(err); got != tt.want {
				t.Errorf("reason %q, want %q (error: %v)", got, tt.want, err)
			}
		})
	}
}

func TestC10_389DirectoryServerState(t *testing.T) {
	for _, tt := range []struct {
		name, attribute, value string
		want                   denial.Reason
	}{
		{"barred", "nsAccountLock", "true", denial.AccountDisabled},
		{"not barred", "nsAccountLock", "false", ""},
		{"locked", "accountUnlockTime", "20261118103001Z", denial.AccountLocked},
		{"locked until now", "accountUnlockTime", "20261118103000Z", ""},
		{"locked until an administrator acts", "accountUnlockTime", "19700101000000Z", denial.AccountLocked},
		{"locked until nobody knows", "accountUnlockTime", "soon", fault},
		{"password good for a second", "passwordExpirationTime", "20261118103001Z", ""},
		{"password expired", "passwordExpirationTime", "20261118103000Z", denial.PasswordExpired},
		{"password was reset", "passwordExpirationTime", "19700101000000Z", denial.MustChangePassword},
		{"password expires when nobody knows", "passwordExpirationTime", "soon", fault},
		{"shadow: today", "shadowExpire", itoa64(now.Unix() / 86400), denial.AccountExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := accountWith(directoryServer, map[string]string{tt.attribute: tt.value}).State(now)
			if got := reasonFor(err); got != tt.want {
				t.Errorf("reason %q, want %q (error: %v)", got, tt.want, err)
			}
		})
	}
}

// The overlay leaves the mark of a lock that is over until a password fits, and
// the entry was read before that.
func TestALockThatAPasswordHasEndedIsNoLock(t *testing.T) {
	a := accountWith(openLDAP, map[string]string{"pwdAccountLockedTime": "20200101000000Z"})
	a.proved.Store(true)
	if err := a.State(now); err != nil {
		t.Errorf("a timed lock: %v", err)
	}
	a = accountWith(openLDAP, map[string]string{"pwdAccountLockedTime": permanentLock})
	a.proved.Store(true)
	if got := reasonFor(a.State(now)); got != denial.AccountDisabled {
		t.Errorf("a lock by the administrator: %q", got)
	}
}

const adText = "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data "

func refused(text string) error {
	return ldap.NewError(ldap.LDAPResultInvalidCredentials, errors.New(text))
}

func TestBindError(t *testing.T) {
	said := func(code int8) []ldap.Control {
		c := ldap.NewControlBeheraPasswordPolicy()
		c.Error = code
		return []ldap.Control{c}
	}
	for _, tt := range []struct {
		name     string
		err      error
		controls []ldap.Control
		want     denial.Reason
	}{
		{"let in", nil, nil, ""},
		{"let in, the policy has nothing to say", nil, said(-1), ""},
		{"let in after a reset", nil, said(2), denial.MustChangePassword},
		{"let in although locked", nil, said(1), denial.AccountLocked},
		{"let in after a reset, said in the old way", nil, []ldap.Control{&ldap.ControlVChuPasswordMustChange{MustChange: true}}, denial.MustChangePassword},
		{"wrong password", refused(adText + "52e, v4563"), nil, denial.BadCredentials},
		{"unknown user looks the same", refused(adText + "525, v4563"), nil, denial.BadCredentials},
		{"hours", refused(adText + "530, v1db1"), nil, denial.OutsideHours},
		{"workstations", refused(adText + "531, v1db1"), nil, denial.NotAtThisComputer},
		{"password expired", refused(adText + "532, v1db1"), nil, denial.PasswordExpired},
		{"disabled", refused(adText + "533, v1db1\x00"), nil, denial.AccountDisabled},
		{"account expired", refused(adText + "701, v1db1"), nil, denial.AccountExpired},
		{"must change", refused(adText + "773, v1db1"), nil, denial.MustChangePassword},
		{"locked", refused(adText + "775, v1db1"), nil, denial.AccountLocked},
		{"code nobody knows", refused(adText + "fff, v1"), nil, denial.BadCredentials},
		{"a code that begins like another", refused(adText + "7750, v1"), nil, denial.BadCredentials},
		{"OpenLDAP gives no text", refused(""), nil, denial.BadCredentials},
		{"OpenLDAP says locked", refused(""), said(1), denial.AccountLocked},
		{"OpenLDAP says expired", refused(""), said(0), denial.PasswordExpired},
		{"gone since it was found", ldap.NewError(ldap.LDAPResultNoSuchObject, io.EOF), nil, denial.BadCredentials},
		{"has no password", ldap.NewError(ldap.LDAPResultInappropriateAuthentication, io.EOF), nil, denial.BadCredentials},
		{"server is busy", ldap.NewError(ldap.LDAPResultBusy, io.EOF), nil, fault},
		{"server demands encryption", ldap.NewError(ldap.LDAPResultConfidentialityRequired, io.EOF), nil, fault},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := bindError("cn=ann", &ldap.SimpleBindResult{Controls: tt.controls}, tt.err)
			if got := reasonFor(err); got != tt.want {
				t.Errorf("reason %q, want %q (error: %v)", got, tt.want, err)
			}
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("error %v lost its cause", err)
			}
		})
	}
}

func FuzzBindError(f *testing.F) {
	f.Add(adText + "52e, v4563")
	f.Add("data ")
	f.Add("data 775\x00")
	f.Fuzz(func(t *testing.T, text string) {
		if denial.ReasonOf(bindError("cn=ann", &ldap.SimpleBindResult{}, refused(text))) == "" {
			t.Errorf("a refused bind must be a denial, whatever its text: %q", text)
		}
	})
}

func FuzzGeneralizedTime(f *testing.F) {
	for _, s := range []string{"20261118103000Z", "202611181030Z", "20261118103000.0Z", "000001010000Z", "20261118103000+0100", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := generalizedTime(s)
		if ok && !strings.HasPrefix(s, got.Format("200601021504")) {
			t.Errorf("%q is read as %v", s, got)
		}
	})
}
