package memdir

import (
	"crypto/subtle"
	"strconv"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// oidPasswordPolicy is the control that asks why a bind was refused
// (draft-behera-ldap-password-policy). Only OpenLDAP answers it.
const oidPasswordPolicy = "1.3.6.1.4.1.42.2.27.8.5.1"

// bind answers a bind request (RFC 4511 section 4.2).
func (c *conn) bind(m message) error {
	c.server.binds.Add(1)
	f := fields{rest: m.op.Children}
	version, name, method := f.integer(ber.TagInteger), f.text(), f.next()
	if f.err() != nil || method.ClassType != ber.ClassContext {
		return errMalformed
	}
	var res result
	switch {
	case version != 3:
		res = result{code: protocolError, text: "only version 3 is spoken"}
	case method.Tag != 0:
		res = result{code: authMethodUnsupported, text: "only simple binds are supported"}
	default:
		_, explain := m.control(oidPasswordPolicy)
		res = c.simpleBind(name, content(method), explain)
	}
	c.server.debug("bind", "name", name, "code", res.code, "text", strings.TrimRight(res.text, "\x00"))
	c.send(m.id, res.packet(opBindResponse), res.controls...)
	return nil
}

// simpleBind decides on a name and a password and sets who the connection is.
func (c *conn) simpleBind(name, password string, explain bool) result {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dir
	switch {
	case password == "" && (name == "" || d.flavor == ActiveDirectory):
		// RFC 4513 section 5.1.2: a name without a password is nobody. That
		// Active Directory calls it a success is why clients must not ask.
		c.user, c.limited = "", false
		return result{}
	case password == "":
		return result{code: unwillingToPerform, text: "unauthenticated bind (DN with no password) disallowed"}
	case s.options.RequireTLS && !c.secure && d.flavor == OpenLDAP:
		return result{code: confidentialityNeeded, text: "confidentiality required"}
	case s.options.RequireTLS && !c.secure:
		return result{code: strongerAuthRequired, text: "00002028: LdapErr: DSID-0C090259, comment: The server requires binds to turn on integrity checking if SSL\\TLS are not already active on the connection, data 0, v4563\x00"}
	case d.flavor == OpenLDAP:
		return c.bindOpenLDAP(d, name, password, explain)
	}
	return c.bindActiveDirectory(d, name, password)
}

// bindActiveDirectory binds like a domain controller. Only whoever knows the
// password learns more than that the bind failed, with the exception of a
// lockout. After a failure the connection stays who it was.
func (c *conn) bindActiveDirectory(d *directory, name, password string) result {
	now := c.server.options.Now()
	e := d.account(name)
	code := "52e"
	switch {
	case e == nil:
	case isLocked(e):
		code = "775"
	case !e.hasPassword(password):
		d.countFailure(e, now)
	default:
		code = d.accountState(e, now)
	}
	if code != "" {
		return result{code: invalidCredentials, text: "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data " + code + ", v1db1\x00"}
	}
	if e.number("badPwdCount") != 0 {
		_ = d.update(e, map[string][]string{"badPwdCount": {"0"}}) // cannot fail
	}
	c.user, c.limited = e.key, false
	return result{}
}

// account finds whom a name given to a bind means: a DN, a user principal name,
// the account name with either name of the domain, or DOMAIN\name.
func (d *directory) account(name string) *entry {
	if domain, account, ok := strings.Cut(name, `\`); ok && strings.EqualFold(domain, d.netbios) {
		return one(d.index["samaccountname"][fold(account)])
	}
	if e := one(d.index["userprincipalname"][fold(name)]); e != nil {
		return e
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 && (strings.EqualFold(name[i+1:], d.domain) || strings.EqualFold(name[i+1:], d.netbios)) {
		return one(d.index["samaccountname"][fold(name[:i])])
	}
	if key, err := normalDN(name); err == nil {
		return d.byDN[key]
	}
	return nil
}

// one returns the only entry there is, or nil.
func one(found []*entry) *entry {
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// hasPassword compares with the password of the entry, which may have none. The
// one that is given is never empty: that case is decided before.
func (e *entry) hasPassword(password string) bool {
	return subtle.ConstantTimeCompare([]byte(e.password), []byte(password)) == 1
}

// countFailure counts a wrong password and locks the account when the domain's
// lockoutThreshold is reached.
func (d *directory) countFailure(e *entry, now time.Time) {
	failures := e.number("badPwdCount") + 1
	changed := map[string][]string{
		"badPwdCount": {strconv.FormatInt(failures, 10)}, "badPasswordTime": {strconv.FormatInt(filetime(now), 10)},
	}
	if threshold := d.byDN[d.base].number("lockoutThreshold"); threshold > 0 && failures >= threshold {
		changed["lockoutTime"] = []string{strconv.FormatInt(filetime(now), 10)}
	}
	_ = d.update(e, changed) // cannot fail
}

// Bits of userAccountControl and of its computed twin.
const (
	controlDisabled        = 2
	controlLocked          = 16
	controlNoExpiry        = 65536
	controlPasswordExpired = 8388608
)

// never is how Active Directory writes "at no time".
const never = 1<<63 - 1

func isLocked(e *entry) bool { return e.number("lockoutTime") > 0 }

// accountState returns the code with which a logon is refused in spite of the
// right password, or "".
func (d *directory) accountState(e *entry, now time.Time) string {
	expires := e.number("accountExpires")
	switch {
	case e.number("userAccountControl")&controlDisabled != 0:
		return "533"
	case expires != 0 && expires <= filetime(now):
		return "701"
	case outsideHours(e, now):
		return "530"
	case e.first("userWorkstations") != "": // a bind comes from no workstation
		return "531"
	case !e.passwordExpired(d, now):
		return ""
	case e.first("pwdLastSet") == "0":
		return "773"
	}
	return "532"
}

// outsideHours reads logonHours: a bit for each hour of the week, from Sunday
// 0:00 UTC.
func outsideHours(e *entry, now time.Time) bool {
	hours, now := e.first("logonHours"), now.UTC()
	hour := int(now.Weekday())*24 + now.Hour()
	return len(hours) == 21 && hours[hour/8]>>(hour%8)&1 == 0
}

func computedControl(d *directory, e *entry, now time.Time) []string {
	if e.first("userAccountControl") == "" {
		return nil
	}
	n := 0
	if isLocked(e) {
		n |= controlLocked
	}
	if e.passwordExpired(d, now) {
		n |= controlPasswordExpired
	}
	return []string{strconv.Itoa(n)}
}

func passwordExpiry(d *directory, e *entry, _ time.Time) []string {
	if e.first("userAccountControl") == "" {
		return nil
	}
	return []string{strconv.FormatInt(e.passwordExpires(d), 10)}
}

func (e *entry) passwordExpired(d *directory, now time.Time) bool {
	return e.passwordExpires(d) <= filetime(now)
}

// passwordExpires returns when the password is too old for the domain's
// maxPwdAge, which is a negative number; 0 when it must be changed at once. An
// account without pwdLastSet has a password without age.
func (e *entry) passwordExpires(d *directory) int64 {
	maxAge := d.byDN[d.base].number("maxPwdAge")
	switch {
	case e.number("userAccountControl")&controlNoExpiry != 0 || e.first("pwdLastSet") == "":
		return never
	case e.first("pwdLastSet") == "0":
		return 0
	case maxAge >= 0 || maxAge == -1<<63:
		return never
	}
	return e.number("pwdLastSet") - maxAge
}

// filetime returns t as Windows counts it: in 100 ns since 1601.
func filetime(t time.Time) int64 {
	return (t.Unix()+11644473600)*1e7 + int64(t.Nanosecond())/100
}

// bindOpenLDAP binds like slapd with the ppolicy overlay and
// ppolicy_use_lockout. Every attempt leaves the connection anonymous until it
// succeeds.
func (c *conn) bindOpenLDAP(d *directory, name, password string, explain bool) result {
	c.user, c.limited = "", false
	key, err := normalDN(name)
	if err != nil {
		return result{code: invalidDNSyntax, text: "invalid DN"}
	}
	e := d.byDN[key]
	if e == nil {
		return result{code: invalidCredentials} // not even with a control
	}
	now := c.server.options.Now()
	code, reason := int64(invalidCredentials), int64(policyNone)
	switch {
	case e.policyLocked(now):
		reason = policyLocked
	case !e.hasPassword(password):
		d.countPolicyFailure(e, now)
	case d.policyExpired(e, now):
		reason = policyExpired
	default:
		code = success
		if e.first("pwdFailureTime") != "" {
			_ = d.update(e, map[string][]string{"pwdFailureTime": nil}) // cannot fail
		}
		if c.user = e.key; strings.EqualFold(e.first("pwdReset"), "TRUE") {
			c.limited, reason = true, policyMustChange
		}
	}
	res := result{code: code}
	if explain {
		res.controls = append(res.controls, policyControl(reason))
	}
	return res
}

// The reasons that the password policy control gives.
const (
	policyNone       = -1
	policyExpired    = 0
	policyLocked     = 1
	policyMustChange = 2
)

func policyControl(reason int64) []byte {
	if reason == policyNone {
		return answerControl(oidPasswordPolicy, sequence())
	}
	return answerControl(oidPasswordPolicy, sequence(number(0x81, reason)))
}

// generalizedTime is how LDAP writes a time.
const generalizedTime = "20060102150405Z"

// time returns an attribute as a time, and whether it is one.
func (e *entry) time(name string) (time.Time, bool) {
	t, err := time.Parse(generalizedTime, e.first(name))
	return t, err == nil
}

func (e *entry) policyLocked(now time.Time) bool {
	end, ends := e.time("pwdEndTime")
	return e.first("pwdAccountLockedTime") != "" || ends && !now.Before(end)
}

func (d *directory) policyExpired(e *entry, now time.Time) bool {
	maxAge := time.Duration(d.byDN[d.base].number("pwdMaxAge")) * time.Second
	changed, known := e.time("pwdChangedTime")
	return known && maxAge > 0 && now.Sub(changed) > maxAge
}

// countPolicyFailure notes a wrong password and locks the account when the
// policy's pwdMaxFailure is reached.
func (d *directory) countPolicyFailure(e *entry, now time.Time) {
	stamp := now.UTC().Format(generalizedTime)
	failures := append(e.attributes["pwdfailuretime"].values, stamp)
	changed := map[string][]string{"pwdFailureTime": failures}
	if most := d.byDN[d.base].number("pwdMaxFailure"); most > 0 && int64(len(failures)) >= most {
		changed["pwdAccountLockedTime"] = []string{stamp}
	}
	_ = d.update(e, changed) // cannot fail
}
