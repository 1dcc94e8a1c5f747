package ldapauth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Level says how bad a finding is.
type Level int

// The levels.
const (
	OK Level = iota
	Warning
	Failure
)

// A Finding is one thing that was looked at.
type Finding struct {
	Level   Level
	Subject string // what was looked at, such as the URL of a server
	Text    string // what was found, and if it is not well, what to do
}

// maxSkew is how far the clocks of the directory and of this machine may be
// apart. Kerberos, and with it the domain, allows five minutes.
const maxSkew = 5 * time.Minute

// Check looks at every server as an operator would: can it be reached, is its
// certificate good, does it accept the service account, are base, people and
// groups there, is its clock right. It checks no password but the service
// account's, once for each server.
func (d *Directory) Check(ctx context.Context) []Finding {
	var r report
	if d.finder != nil {
		d.finder.check(ctx, d.timeout, &r)
		known, cancel := context.WithTimeout(ctx, d.timeout)
		_ = d.known(known) // what is wrong has been said
		cancel()
	}
	for _, s := range d.all() {
		r.subject = s.url
		s.check(ctx, &r)
	}
	if !d.isCatalog {
		d.checkNames(ctx, &r)
	}
	return r.findings
}

// checkNames says how people may write their names. A directory that cannot be
// asked has had its findings.
func (d *Directory) checkNames(ctx context.Context, r *report) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errNoAnswer)
	defer cancel()
	if who, err := d.identity(ctx); err == nil {
		r.subject = "user names"
		r.add(OK, "%s", d.nameForms(who))
	}
}

// report gathers findings about a server.
type report struct {
	subject  string
	findings []Finding
}

func (r *report) add(l Level, format string, args ...any) {
	r.findings = append(r.findings, Finding{l, r.subject, fmt.Sprintf(format, args...)})
}

func (s *server) check(ctx context.Context, r *report) {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*s.d.timeout, errNoAnswer)
	defer cancel()
	dialCtx, cancelDial := context.WithTimeoutCause(ctx, s.d.timeout, errNoAnswer)
	c, err := s.dial(dialCtx, s.d.service.secure(s.d.tls))
	cancelDial()
	if err != nil {
		r.add(Failure, "%s", strings.TrimPrefix(err.Error(), s.url+": "))
		return
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	if s.tls || s.d.config.StartTLS {
		r.add(OK, "reachable, the certificate is trusted and bears the name %s", s.host)
	} else {
		r.add(Warning, "reachable, but not encrypted: passwords can be read on the way; write ldaps:// or set ldap.start_tls: true")
	}
	if err := s.introduce(ctx, c); err != nil {
		r.add(Failure, "%v", err)
		return
	}
	s.checkContent(c, r)
}

// checkContent looks at what the server holds.
func (s *server) checkContent(c *conn, r *report) {
	s.d.service.check(r, c.as, s.d.now())
	r.add(OK, "spoken to as %s", c.dialect.name)
	root, err := readRoot(c, s.d.timeout)
	if err != nil {
		r.add(Failure, "%v", err)
		return
	}
	if found, err := recognise(root); err == nil && found.tokenGroups != c.dialect.tokenGroups {
		r.add(Warning, "looks like %s, but ldap.schema says %s", found.name, c.dialect.name)
	}
	checkClock(root, s.d.now(), r)
	if s.d.isCatalog {
		s.checkCatalog(c, root, r)
		return
	}
	for _, base := range s.d.config.BaseDN {
		if _, err := c.ldap.Search(request(base, ldap.ScopeBaseObject, 1, s.d.timeout, "(objectClass=*)", []string{"objectClass"})); err != nil {
			r.add(Failure, "the base %q cannot be read: check ldap.base_dn and the rights of the service account (%v)", base, inWords(err))
			return
		}
		r.add(OK, "the base %s is there", base)
	}
	var person *Account
	for _, base := range s.d.config.BaseDN {
		person = s.checkUsers(c, base, r)
	}
	if person != nil {
		s.checkUserSearch(c, r)
		s.checkPolicy(c, root, person, r)
	}
	if s.d.config.Groups.Include {
		s.checkGroups(c, r)
	}
	s.checkDeny(c, r)
}

// checkUsers looks for any person under base, and whether what decides can be
// seen. It returns the person, nil if there is none that will do.
func (s *server) checkUsers(c *conn, base string, r *report) *Account {
	filter := s.d.userFilter(c.dialect).anyone()
	start := time.Now()
	result, err := c.ldap.Search(subtree(base, 1, s.d.timeout, filter, s.d.attributesOf(c.dialect)))
	took := time.Since(start)
	switch {
	case err != nil && !sizeLimit(err):
		r.add(Failure, "searching for people under %q with %s: %v", base, filter, inWords(err))
		return nil
	case len(result.Entries) == 0:
		r.add(Failure, "no person found under %q with %s: check ldap.base_dn, ldap.user_filter and the rights of the service account", base, filter)
		return nil
	}
	a := &Account{DN: result.Entries[0].DN, entry: result.Entries[0], dialect: c.dialect}
	if _, ok := c.dialect.idText(a.First(c.dialect.id)); !ok {
		r.add(Failure, "the entry %s shows no %s, by which accounts are told apart: let the service account read it", a.DN, c.dialect.id)
		return nil
	}
	if c.dialect.tokenGroups && a.First("userAccountControl") == "" {
		r.add(Failure, "the entry %s shows no userAccountControl, so that disabled accounts cannot be told: let the service account read it", a.DN)
		return nil
	}
	r.add(OK, "people are found (%s, in %s)", a.DN, milliseconds(took))
	return a
}

// milliseconds writes how long something took.
func milliseconds(d time.Duration) string {
	if d < time.Millisecond {
		return "less than 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// controlPolicy is the control that a server with password policies supports
// (draft-behera-ldap-password-policy-10, section 6).
const controlPolicy = "1.3.6.1.4.1.42.2.27.8.5.1"

// checkPolicy looks whether the password policy can be known that holds for
// person, of whom there are many: the one that the server takes where an entry
// names none is not to be seen from outside.
func (s *server) checkPolicy(c *conn, root *ldap.Entry, person *Account, r *report) {
	dn := s.d.config.PasswordPolicyDN
	switch {
	case dn != "" && !c.dialect.hasPolicies():
		r.add(Warning, "ldap.password_policy_dn has no effect on %s: remove it", c.dialect.name)
	case dn != "":
		p, err := readPolicy(c.ldap.Search(policyRequest(dn, s.d.timeout)))
		if err == nil && p == nil {
			err = errNoPolicy
		}
		if err != nil {
			r.add(Failure, "the password policy %q cannot be read: check ldap.password_policy_dn and the rights of the service account (%v)", dn, inWords(err))
			return
		}
		r.add(OK, "the password policy %s is read", dn)
	case c.dialect.hasPolicies() && person.First("pwdPolicySubentry") == "" && slices.Contains(root.GetEqualFoldAttributeValues("supportedControl"), controlPolicy):
		r.add(Warning, "the entry %s names no password policy, so for a sign-in without a password nobody can tell whether a lock is over or the password too old: set ldap.password_policy_dn to the server's default policy (ppolicy_default or olcPPolicyDefault)", person.DN)
	}
}

// checkUserSearch tries the filter of ldap.user_search, if there is one.
func (s *server) checkUserSearch(c *conn, r *report) {
	if s.d.config.UserSearch == "" {
		return
	}
	filter := strings.ReplaceAll(s.d.config.UserSearch, placeholder, "a")
	if _, err := c.ldap.Search(subtree(s.d.config.BaseDN[0], 1, s.d.timeout, filter, []string{"1.1"})); err != nil && !sizeLimit(err) {
		r.add(Failure, "searching for people by a part of their name with %s: %v; check ldap.user_search", filter, inWords(err))
		return
	}
	r.add(OK, "ldap.user_search is understood (tried as %s)", filter)
}

// checkGroups looks for any group.
func (s *server) checkGroups(c *conn, r *report) {
	filter := s.d.config.Groups.Filter
	if filter == "" {
		filter = c.dialect.groupFilter
	}
	filter = strings.ReplaceAll(filter, placeholder, "*")
	bases := s.d.groupBases()
	result := &ldap.SearchResult{}
	for _, base := range bases {
		var err error
		result, err = c.ldap.Search(subtree(base, 1, s.d.timeout, filter, []string{s.d.config.Groups.Attribute}))
		if err != nil && !sizeLimit(err) {
			r.add(Failure, "searching for groups under %q with %s: %v", base, filter, inWords(err))
			return
		}
		if len(result.Entries) > 0 {
			break
		}
	}
	switch {
	case len(result.Entries) == 0:
		r.add(Warning, "no group found under %q with %s: check ldap.groups.base_dn and ldap.groups.filter, or set ldap.groups.include: false", strings.Join(bases, `" or "`), filter)
	case s.d.groupName(result.Entries[0]) == "":
		r.add(Warning, "the group %s has no attribute %s, so it is not reported: check ldap.groups.attribute", result.Entries[0].DN, s.d.config.Groups.Attribute)
	default:
		r.add(OK, "groups are found (%s)", s.d.groupName(result.Entries[0]))
	}
}

// checkClock compares the clocks, where the server tells the time.
func checkClock(root *ldap.Entry, now time.Time, r *report) {
	text := root.GetEqualFoldAttributeValue("currentTime")
	t, ok := generalizedTime(text)
	if !ok {
		r.add(OK, "does not tell its time, so its clock cannot be compared with the one of this machine")
		return
	}
	skew := now.Sub(t).Round(time.Second)
	switch {
	case skew.Abs() > maxSkew:
		r.add(Failure, "its clock and the one of this machine are %v apart: set both by the same time server", skew.Abs())
	case skew.Abs() > maxSkew/5:
		r.add(Warning, "its clock and the one of this machine are %v apart: let both use the same time server", skew.Abs())
	default:
		r.add(OK, "its clock agrees with the one of this machine")
	}
}
