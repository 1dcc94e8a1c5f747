package ldapauth

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// checkDeny looks whether deny_groups names what there is. A line that names
// nothing bars nobody, and nobody would notice.
func (s *server) checkDeny(c *conn, r *report) {
	given := s.d.config.DenyGroups
	if c.dialect.tokenGroups {
		switch {
		case len(given) == 0:
			r.add(OK, "ldap.deny_groups is empty: administrators of the domain may sign in")
		case slices.Contains(given, DenyProtected):
			r.add(OK, "the accounts and groups that Active Directory protects may not sign in (ldap.deny_groups)")
		default:
			r.add(Warning, "ldap.deny_groups does not list %s, so administrators of the domain may sign in: add it, unless that is meant", DenyProtected)
		}
	}
	if _, err := s.groupsLike(c, "(cn="+nobody+")", s.d.climbBases(c.dialect)); s.d.deny.named() && errors.Is(err, errElsewhere) {
		r.add(Failure, "ldap.deny_groups: nobody can sign in: %v", err)
		return
	}
	for _, g := range given {
		if g != DenyProtected {
			s.checkDenied(c, r, g)
		}
	}
}

// checkDenied looks for one group of deny_groups.
func (s *server) checkDenied(c *conn, r *report, given string) {
	const key = "ldap.deny_groups"
	sid, isSID := sidBytes(given)
	dn, dnErr := ldap.ParseDN(given)
	isDN := dnErr == nil && len(dn.RDNs) > 0
	switch {
	case isSID && !c.dialect.tokenGroups:
		r.add(Failure, "%s: %s is a security identifier, which no group of %s has: write a DN or a name", key, given, c.dialect.name)
	case isSID:
		if found, err := s.groupsLike(c, anyOf("objectSid", []string{sid}), s.d.climbBases(c.dialect)); err != nil || len(found) == 0 {
			r.add(Warning, "%s: no group below %s has the identifier %s; it bars all the same, but look whether it is the right one", key, strings.Join(s.d.climbBases(c.dialect), " or "), given)
		} else {
			r.add(OK, "%s: %s is %s", key, given, found[0].DN)
		}
	case isDN && !s.d.looksUnder(c.dialect, dn):
		r.add(Failure, "%s: %s lies where no groups are looked for: widen ldap.groups.base_dn", key, given)
	case isDN:
		result, err := c.ldap.Search(request(given, ldap.ScopeBaseObject, 1, s.d.timeout, s.d.anyGroup(c.dialect), []string{"1.1"}))
		s.addDenied(r, given, result, err)
	default:
		filter := "(&" + s.d.anyGroup(c.dialect) + "(|"
		for _, attribute := range append([]string{s.d.config.Groups.Attribute}, groupNames...) {
			filter += "(" + attribute + "=" + EscapeFilter(given) + ")"
		}
		found, err := s.groupsLike(c, filter+"))", s.d.climbBases(c.dialect))
		s.addDenied(r, given, &ldap.SearchResult{Entries: found}, err)
	}
}

// anyGroup returns the filter for all groups whose members are looked at.
func (d *Directory) anyGroup(di *dialect) string {
	if d.config.Groups.Filter == "" {
		return di.anyGroup
	}
	return "(|" + di.anyGroup + strings.ReplaceAll(d.config.Groups.Filter, placeholder, "*") + ")"
}

// looksUnder reports whether groups are looked for where dn is.
func (d *Directory) looksUnder(di *dialect, dn *ldap.DN) bool {
	under, err := isUnder(d.climbBases(di), dn)
	return err == nil && under
}

// addDenied reports what a search for a group of deny_groups has found.
func (s *server) addDenied(r *report, given string, result *ldap.SearchResult, err error) {
	switch {
	case err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		r.add(Failure, "ldap.deny_groups: looking for %q: %v", given, inWords(err))
	case err != nil || len(result.Entries) == 0:
		r.add(Failure, "ldap.deny_groups: there is no group %q, or none of a kind whose members ldap.schema knows, or the service account does not see it, so this line bars nobody: correct or remove it", given)
	case len(result.Entries) > 1:
		r.add(OK, "ldap.deny_groups: %q is the name of %d groups; each of them bars", given, len(result.Entries))
	default:
		r.add(OK, "ldap.deny_groups: %s bars its members", result.Entries[0].DN)
	}
}

// groupsLike returns up to two entries under each of the bases that filter
// finds.
func (s *server) groupsLike(c *conn, filter string, bases []string) ([]*ldap.Entry, error) {
	var found []*ldap.Entry
	for _, base := range bases {
		result, err := c.ldap.Search(wholly(c.dialect, subtree(base, 2, s.d.timeout, filter, []string{"1.1"})))
		if err == nil {
			err = elsewhere(result)
		}
		if err != nil && !sizeLimit(err) {
			return nil, err
		}
		found = append(found, result.Entries...)
	}
	return found, nil
}
