package ldapauth

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// moment writes a time as people compare it.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// notSet says that an attribute has no value, or that there is no way to read it.
const notSet = "not set"

func sayControl(a *Account, _ time.Time) string {
	uac, err := a.integer("userAccountControl")
	if err != nil || a.First("userAccountControl") == "" {
		return "cannot be read"
	}
	says := []string{"enabled"}
	switch {
	case uac&uacTrusts != 0:
		says[0] = "the account of a machine or a trust"
	case uac&uacDisabled != 0:
		says[0] = "disabled"
	}
	if uac&uacNeverExpires != 0 {
		says = append(says, "the password never expires")
	}
	return fmt.Sprintf("%d: %s", uac, strings.Join(says, ", "))
}

func sayExpires(a *Account, _ time.Time) string {
	switch expires, err := a.integer("accountExpires"); {
	case err != nil:
		return "cannot be understood"
	case expires == 0 || expires == math.MaxInt64:
		return "never"
	default:
		return moment(fileTime(expires))
	}
}

func sayLockedOut(a *Account, _ time.Time) string {
	computed, err := a.integer("msDS-User-Account-Control-Computed")
	switch {
	case err != nil:
		return "cannot be understood"
	case a.First("msDS-User-Account-Control-Computed") == "":
		return notSet
	case computed&uacLocked == 0:
		return "not locked"
	}
	if since, err := a.integer("lockoutTime"); err == nil && since > 0 {
		return "locked since " + moment(fileTime(since)) + " (lockoutTime)"
	}
	return "locked"
}

func sayHours(a *Account, now time.Time) string {
	switch {
	case a.First("logonHours") == "":
		return "at any hour"
	case checkHours(a, now) != nil:
		return "not at this hour, " + now.UTC().Format("Monday 15:04 UTC")
	}
	return "not at every hour, but at this one, " + now.UTC().Format("Monday 15:04 UTC")
}

func sayWorkstations(a *Account, _ time.Time) string {
	if w := a.First("userWorkstations"); w != "" {
		return "only at " + w
	}
	return "at any computer"
}

func sayLastSet(a *Account, _ time.Time) string {
	switch set, err := a.integer("pwdLastSet"); {
	case err != nil:
		return "cannot be understood"
	case a.First("pwdLastSet") == "":
		return notSet
	case set == 0:
		return "0: the password must be changed at the next sign-in"
	default:
		return "the password is from " + moment(fileTime(set))
	}
}

func sayPasswordAge(a *Account, _ time.Time) string {
	computed, err := a.integer("msDS-User-Account-Control-Computed")
	switch {
	case err != nil:
		return "cannot be understood"
	case a.First("msDS-User-Account-Control-Computed") == "":
		return notSet
	case computed&uacPasswordExpired != 0:
		return "the password has expired"
	}
	return "the password has not expired"
}

func sayBar(attribute string) func(*Account, time.Time) string {
	return func(a *Account, _ time.Time) string {
		if v := a.First(attribute); v != "" {
			return v
		}
		return notSet
	}
}

// sayTime returns what says the time that an attribute holds.
func sayTime(attribute, none, some string) func(*Account, time.Time) string {
	return func(a *Account, _ time.Time) string {
		switch t, err := a.time(attribute); {
		case err != nil:
			return "cannot be understood"
		case t.IsZero():
			return none
		default:
			return some + " " + moment(t)
		}
	}
}

func sayShadow(a *Account, _ time.Time) string {
	switch days, err := a.integer("shadowExpire"); {
	case err != nil:
		return "cannot be understood"
	case a.First("shadowExpire") == "" || days < 0:
		return "never"
	default:
		return moment(time.Unix(days*86400, 0))
	}
}

func sayLock(a *Account, now time.Time) string {
	v := a.First("pwdAccountLockedTime")
	since, err := a.time("pwdAccountLockedTime")
	switch {
	case v == "":
		return "not locked"
	case v == permanentLock:
		return "locked by an administrator"
	case err != nil:
		return "cannot be understood"
	case a.policy == nil:
		return "locked since " + moment(since) + "; no password policy can be seen that says for how long"
	case a.policy.lockout == 0:
		return "locked since " + moment(since) + " until an administrator ends it"
	case !now.Before(since.Add(a.policy.lockout)):
		return "was locked until " + moment(since.Add(a.policy.lockout))
	}
	return "locked until " + moment(since.Add(a.policy.lockout))
}

func sayReset(a *Account, _ time.Time) string {
	if on, _ := a.boolean("pwdReset"); on {
		return "the password was reset and must be changed"
	}
	return notSet
}

func sayChanged(a *Account, now time.Time) string {
	changed, err := a.time("pwdChangedTime")
	switch {
	case err != nil:
		return "cannot be understood"
	case changed.IsZero():
		return notSet
	case a.policy == nil:
		return "the password is from " + moment(changed) + "; no password policy can be seen that says how old it may be"
	case a.policy.maxAge == 0:
		return "the password is from " + moment(changed) + " and may grow old"
	case checkChanged(a, now) != nil:
		return "the password was good until " + moment(changed.Add(a.policy.maxAge))
	}
	return "the password is good until " + moment(changed.Add(a.policy.maxAge))
}

func sayUnlock(a *Account, now time.Time) string {
	switch {
	case a.First("accountUnlockTime") == atAdministratorsWill:
		return "locked until an administrator ends it"
	case checkUnlock(a, now) == nil && a.First("accountUnlockTime") != "":
		return "no longer locked"
	}
	return sayTime("accountUnlockTime", "not locked", "locked until")(a, now)
}

func sayExpiration(a *Account, now time.Time) string {
	if a.First("passwordExpirationTime") == atAdministratorsWill {
		return "the password was reset and must be changed"
	}
	return sayTime("passwordExpirationTime", "never", "the password is good until")(a, now)
}
