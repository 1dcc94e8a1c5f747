package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// Flags of userAccountControl and of its computed twin ([MS-ADTS], 2.2.16).
const (
	uacDisabled        = 0x2
	uacLocked          = 0x10
	uacTrusts          = 0x800 | 0x1000 | 0x2000 // trusts, workstations, domain controllers
	uacNeverExpires    = 0x10000
	uacSmartCard       = 0x40000 // is needed
	uacPasswordExpired = 0x800000
)

// A stateCheck looks at one thing that may keep an account out.
type stateCheck struct {
	attribute string // or the two that it takes
	// judge returns a denial, or a fault if the entry holds something that
	// cannot be understood.
	judge func(*Account, time.Time) error
	// says tells in words what the entry holds. Only those ask who want to know
	// why: a sign-in does without.
	says func(*Account, time.Time) string
}

// activeDirectoryState is what the domain controller would check itself if the
// user signed in by password.
var activeDirectoryState = []stateCheck{
	{"userAccountControl", checkControl, sayControl},
	{"accountExpires", checkExpires, sayExpires},
	{"msDS-User-Account-Control-Computed", checkLockedOut, sayLockedOut},
	{"logonHours", checkHours, sayHours},
	{"userWorkstations", checkWorkstations, sayWorkstations},
	{"pwdLastSet", checkMustChange, sayLastSet},
	{"msDS-User-Account-Control-Computed", checkPasswordAge, sayPasswordAge},
}

func checkControl(a *Account, _ time.Time) error {
	if a.First("userAccountControl") == "" {
		return fmt.Errorf("userAccountControl cannot be read: let the service account read it")
	}
	uac, err := a.integer("userAccountControl")
	switch {
	case err != nil:
		return err
	case uac&uacTrusts != 0:
		return denial.New(denial.NoAccount, "userAccountControl %d is that of a machine or a trust", uac)
	case uac&uacDisabled != 0:
		return denial.New(denial.AccountDisabled, "disabled (userAccountControl %d)", uac)
	}
	return nil
}

func checkExpires(a *Account, now time.Time) error {
	expires, err := a.integer("accountExpires")
	if err != nil {
		return err
	}
	if expires != 0 && expires != math.MaxInt64 && !now.Before(fileTime(expires)) {
		return denial.New(denial.AccountExpired, "expired at %v (accountExpires)", fileTime(expires).UTC())
	}
	return nil
}

func checkLockedOut(a *Account, _ time.Time) error {
	computed, err := a.integer("msDS-User-Account-Control-Computed")
	if err != nil {
		return err
	}
	if computed&uacLocked != 0 {
		return denial.New(denial.AccountLocked, "locked after wrong passwords (msDS-User-Account-Control-Computed %d)", computed)
	}
	return nil
}

func checkWorkstations(a *Account, _ time.Time) error {
	if w := a.First("userWorkstations"); w != "" {
		return denial.New(denial.NotAtThisComputer, "may sign in only at %q (userWorkstations)", w)
	}
	return nil
}

func checkMustChange(a *Account, _ time.Time) error {
	uac, err := a.integer("userAccountControl")
	if err != nil {
		return err
	}
	set, err := a.integer("pwdLastSet")
	if err != nil {
		return err
	}
	if set == 0 && a.First("pwdLastSet") != "" && uac&uacNeverExpires == 0 {
		return denial.New(denial.MustChangePassword, "must change the password at the next sign-in (pwdLastSet 0)")
	}
	return nil
}

// checkPasswordAge leaves out a password that must be changed, of which
// [checkMustChange] knows: what the domain controller works out calls that one
// expired too.
func checkPasswordAge(a *Account, now time.Time) error {
	if checkMustChange(a, now) != nil {
		return nil
	}
	computed, err := a.integer("msDS-User-Account-Control-Computed")
	if err != nil {
		return err
	}
	if computed&uacPasswordExpired != 0 {
		return denial.New(denial.PasswordExpired, "the password has expired (msDS-User-Account-Control-Computed %d)", computed)
	}
	return nil
}

// checkHours reads logonHours: a bit for each hour of the week, beginning on
// Sunday at midnight UTC, the least significant bit of each byte first.
func checkHours(a *Account, now time.Time) error {
	hours := a.First("logonHours")
	if hours == "" {
		return nil // at any time
	}
	if len(hours) != 21 {
		return fmt.Errorf("logonHours has %d bytes instead of 21", len(hours))
	}
	t := now.UTC()
	h := int(t.Weekday())*24 + t.Hour()
	if hours[h/8]&(1<<(h%8)) == 0 {
		return denial.New(denial.OutsideHours, "may not sign in on %s at %02d:00 UTC (logonHours)", t.Weekday(), t.Hour())
	}
	return nil
}

// fileTime returns a time that is counted in steps of 100 ns since 1601.
func fileTime(n int64) time.Time {
	const epoch = 11644473600 // seconds from 1601 to 1970
	return time.Unix(n/1e7-epoch, n%1e7*100)
}

// openLDAPState is what the password policy overlay keeps
// (draft-behera-ldap-password-policy-10, section 5.3), and by what other servers
// bar accounts.
var openLDAPState = []stateCheck{
	{"nsAccountLock", barredBy("nsAccountLock"), sayBar("nsAccountLock")},
	{"loginDisabled", barredBy("loginDisabled"), sayBar("loginDisabled")},
	{"pwdStartTime", checkStart, sayTime("pwdStartTime", "at any time", "valid from")},
	{"pwdEndTime", checkEnd, sayTime("pwdEndTime", "never ends", "valid until")},
	{"shadowExpire", checkShadow, sayShadow},
	{"pwdAccountLockedTime", checkLock, sayLock},
	{"pwdReset", checkReset, sayReset},
	{"pwdChangedTime", checkChanged, sayChanged},
}

// barredBy returns a check of an attribute that disables an account if it is
// true.
func barredBy(attribute string) func(*Account, time.Time) error {
	return func(a *Account, _ time.Time) error {
		if on, err := a.boolean(attribute); err != nil || !on {
			return err
		}
		return denial.New(denial.AccountDisabled, "disabled (%s)", attribute)
	}
}

func checkStart(a *Account, now time.Time) error {
	start, err := a.time("pwdStartTime")
	if err == nil && now.Before(start) {
		err = denial.New(denial.AccountDisabled, "not valid before %v (pwdStartTime)", start)
	}
	return err
}

func checkEnd(a *Account, now time.Time) error {
	end, err := a.time("pwdEndTime")
	if err == nil && !end.IsZero() && !now.Before(end) {
		err = denial.New(denial.AccountExpired, "expired at %v (pwdEndTime)", end)
	}
	return err
}

func checkShadow(a *Account, now time.Time) error {
	if a.First("shadowExpire") == "" {
		return nil
	}
	days, err := a.integer("shadowExpire")
	if err != nil {
		return err
	}
	if days >= 0 && now.Unix()/86400 >= days { // -1: never
		return denial.New(denial.AccountExpired, "expired on day %d after 1970-01-01 (shadowExpire)", days)
	}
	return nil
}

func checkReset(a *Account, _ time.Time) error {
	if on, err := a.boolean("pwdReset"); err != nil || !on {
		return err
	}
	return denial.New(denial.MustChangePassword, "must change the password after a reset (pwdReset)")
}

func checkChanged(a *Account, now time.Time) error {
	changed, err := a.time("pwdChangedTime")
	if err != nil {
		return err
	}
	if !changed.IsZero() && a.policy != nil && a.policy.maxAge > 0 && !now.Before(changed.Add(a.policy.maxAge)) {
		return denial.New(denial.PasswordExpired, "the password is older than %v (pwdChangedTime, pwdMaxAge)", a.policy.maxAge)
	}
	return nil
}

// directoryServerState is what 389 Directory Server would check itself if the
// user signed in by password.
var directoryServerState = []stateCheck{
	{"nsAccountLock", barredBy("nsAccountLock"), sayBar("nsAccountLock")},
	{"shadowExpire", checkShadow, sayShadow},
	{"accountUnlockTime", checkUnlock, sayUnlock},
	{"passwordExpirationTime", checkExpiration, sayExpiration},
}

// atAdministratorsWill is the time with which 389 Directory Server marks what
// only a person ends: a lock, or a password that must be changed.
const atAdministratorsWill = "19700101000000Z"

// checkUnlock reads accountUnlockTime, which the server leaves behind when the
// lock is over.
func checkUnlock(a *Account, now time.Time) error {
	until, err := a.time("accountUnlockTime")
	switch {
	case err != nil:
		return err
	case a.First("accountUnlockTime") == atAdministratorsWill:
		return denial.New(denial.AccountLocked, "locked after wrong passwords until an administrator ends it (accountUnlockTime)")
	case now.Before(until):
		return denial.New(denial.AccountLocked, "locked after wrong passwords until %v (accountUnlockTime)", until)
	}
	return nil
}

func checkExpiration(a *Account, now time.Time) error {
	until, err := a.time("passwordExpirationTime")
	switch {
	case err != nil:
		return err
	case a.First("passwordExpirationTime") == atAdministratorsWill:
		return denial.New(denial.MustChangePassword, "must change the password after a reset (passwordExpirationTime)")
	case !until.IsZero() && !now.Before(until):
		return denial.New(denial.PasswordExpired, "the password has expired at %v (passwordExpirationTime)", until)
	}
	return nil
}

// permanentLock is the time of a lock that only an administrator ends. OpenLDAP
// itself never sets it, so it is not for wrong passwords: the account is disabled.
const permanentLock = "000001010000Z"

// checkLock reads pwdAccountLockedTime. The overlay leaves the mark of a lock
// that is over until the next password that fits, so after one it has no say;
// without one it takes the policy to tell whether the lock is over.
func checkLock(a *Account, now time.Time) error {
	switch a.First("pwdAccountLockedTime") {
	case "":
		return nil
	case permanentLock:
		return denial.New(denial.AccountDisabled, "locked by an administrator (pwdAccountLockedTime)")
	}
	since, err := a.time("pwdAccountLockedTime")
	switch {
	case err != nil:
		return err
	case a.proved.Load():
		return nil
	case a.policy != nil && a.policy.lockout > 0 && !now.Before(since.Add(a.policy.lockout)):
		return nil
	}
	return denial.New(denial.AccountLocked, "locked since %v (pwdAccountLockedTime)", since)
}

// policy is what of a password policy bears on an account's state.
type policy struct {
	maxAge  time.Duration // of a password; 0 = for ever
	lockout time.Duration // after wrong passwords; 0 = until an administrator ends it
	locks   Lockout       // what wrong passwords lead to
	unclear error         // why that is not known; it bars nobody
}

const (
	policyCache = 10 * time.Minute
	maxPolicies = 1000
)

// policyOf returns the password policy that holds for a: the one that its entry
// names, else the configured one; nil if there is none or it may not be seen. A
// configured one must be seen: without it, nobody would notice that the age of
// passwords is no longer judged.
func (d *Directory) policyOf(ctx context.Context, a *Account) (*policy, error) {
	if dn := a.First("pwdPolicySubentry"); dn != "" {
		p, err := d.policy(ctx, dn)
		if err != nil {
			return nil, fmt.Errorf("reading the password policy %q: %w", dn, err)
		}
		return p, nil
	}
	dn := d.config.PasswordPolicyDN
	if dn == "" || !a.dialect.hasPolicies() {
		return nil, nil
	}
	p, err := d.policy(ctx, dn)
	if err == nil && p == nil {
		err = errNoPolicy
	}
	if err != nil {
		return nil, fmt.Errorf("reading the password policy %q (ldap.password_policy_dn): %w", dn, err)
	}
	return p, nil
}

// errNoPolicy says why nothing came of reading a policy.
var errNoPolicy = errors.New("it does not exist, is no pwdPolicy or is hidden from the service account")

// policy returns the password policy at dn, nil if the service account does not
// see one there.
func (d *Directory) policy(ctx context.Context, dn string) (*policy, error) {
	if p, ok := d.policies.get(dn, d.now()); ok {
		return p, nil
	}
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest { return policyRequest(dn, d.timeout) })
	p, err := readPolicy(result, err)
	if err != nil {
		return nil, err
	}
	if p != nil || dn != d.config.PasswordPolicyDN { // that one keeps people out until it is seen
		d.policies.put(dn, p, d.now())
	}
	return p, nil
}

// policyRequest returns the search for the policy at dn.
func policyRequest(dn string, timeout time.Duration) *ldap.SearchRequest {
	return request(dn, ldap.ScopeBaseObject, 1, timeout, "(objectClass=pwdPolicy)", []string{
		"pwdMaxAge", "pwdLockout", "pwdLockoutDuration", "pwdMaxFailure", "pwdFailureCountInterval",
	})
}

// readPolicy returns the policy in the answer to a [policyRequest], nil if there
// is none to be seen.
func readPolicy(result *ldap.SearchResult, err error) (*policy, error) {
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights):
		return nil, nil
	case err != nil:
		return nil, err
	case len(result.Entries) == 0:
		return nil, nil
	}
	e, p := &Account{entry: result.Entries[0]}, &policy{}
	if p.maxAge, err = e.seconds("pwdMaxAge"); err != nil {
		return nil, err
	}
	if p.lockout, err = e.seconds("pwdLockoutDuration"); err != nil {
		return nil, err
	}
	p.unclear = p.readLocks(e)
	p.locks.Policy = e.entry.DN
	return p, nil
}

// readLocks reads which wrong passwords lock an account
// (draft-behera-ldap-password-policy-10, sections 5.2.9 to 5.2.12).
func (p *policy) readLocks(e *Account) error {
	p.locks.Window, p.locks.Duration = Forever, Forever
	if p.lockout > 0 {
		p.locks.Duration = p.lockout
	}
	on, err := e.boolean("pwdLockout")
	if err != nil || !on {
		return err
	}
	most, err := e.integer("pwdMaxFailure")
	if err != nil {
		return err
	}
	p.locks.Threshold = int(min(max(most, 0), math.MaxInt32))
	interval, err := e.seconds("pwdFailureCountInterval")
	if interval > 0 {
		p.locks.Window = interval
	}
	return err
}

// integer returns the value of an attribute, 0 if it has none.
func (a *Account) integer(attribute string) (int64, error) {
	v := a.First(attribute)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is %q and not a number", attribute, v)
	}
	return n, nil
}

// seconds returns the value of an attribute that counts seconds.
func (a *Account) seconds(attribute string) (time.Duration, error) {
	n, err := a.integer(attribute)
	if err == nil && (n < 0 || n > math.MaxInt64/int64(time.Second)) {
		err = fmt.Errorf("%s is %d and not a number of seconds", attribute, n)
	}
	return time.Duration(n) * time.Second, err
}

// boolean returns the value of an attribute, false if it has none.
func (a *Account) boolean(attribute string) (bool, error) {
	switch v := a.First(attribute); {
	case v == "", strings.EqualFold(v, "FALSE"):
		return false, nil
	case strings.EqualFold(v, "TRUE"):
		return true, nil
	default:
		return false, fmt.Errorf("%s is %q and neither TRUE nor FALSE", attribute, v)
	}
}

// time returns the value of an attribute of the syntax Generalized Time (RFC
// 4517, section 3.3.13), the zero time if it has none.
func (a *Account) time(attribute string) (time.Time, error) {
	v := a.First(attribute)
	if v == "" {
		return time.Time{}, nil
	}
	t, ok := generalizedTime(v)
	if !ok {
		return time.Time{}, fmt.Errorf("%s is %q and not a time", attribute, v)
	}
	return t, nil
}

// generalizedTime reads the forms that directories write: in UTC, with or
// without seconds and their fraction.
func generalizedTime(v string) (time.Time, bool) {
	for _, layout := range []string{"20060102150405Z", "200601021504Z"} { // a fraction is read without being named
		if t, err := time.Parse(layout, strings.Replace(v, ",", ".", 1)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
