package ldapauth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/errgroup"
)

// ErrGroups is in the chain of an error that says that a user's groups could
// not be read. What follows is groups.on_failure's to say: a user without the
// groups may see less than is due, or, where a group bars, more.
var ErrGroups = errors.New("the groups could not be read")

var (
	errGroupsLate    = errors.New("not done within ldap.groups.timeout")
	errTooManyGroups = fmt.Errorf("more than %d", maxGroups)
)

const (
	// maxGroups of one user, nested ones included. Active Directory itself
	// stops at 1,015.
	maxGroups = 10_000
	// maxCached is how many groups are remembered, at some 200 bytes each.
	maxCached = 50_000
	// sidBatch is how many groups are asked for in one search.
	sidBatch = 100
	// groupSearches is how many searches for one user run at once.
	groupSearches = 8
)

// group is what is remembered of a group.
type group struct {
	name    string     // as it is reported; "" if it is not
	dn      string     // normalised
	parents []groupRef // the groups that it is a direct member of
}

// groupRef points at a group.
type groupRef struct {
	dn   string // as the directory wrote it
	name string // if it came along
}

// Groups returns the names of the groups of a, in the order in which the
// directory gave them; none if groups are not to be included.
//
// On Active Directory these are the security groups of the user's domain as the
// domain controller works them out, the primary group included. Distribution
// lists give nobody any right and are left out, and so are groups such as
// BUILTIN\Users, which mean something on the domain controller only.
//
// A failure has [ErrGroups] in its chain, unless ctx has ended.
func (d *Directory) Groups(ctx context.Context, a *Account) (names []string, err error) {
	if !d.config.Groups.Include {
		return nil, nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.config.Groups.Timeout.Std(), errGroupsLate)
	defer cancel()
	if a.dialect.tokenGroups && d.config.Groups.Filter == "" {
		names, err = d.tokenGroups(limited, a)
	} else {
		names, err = d.walkGroups(limited, a)
	}
	switch {
	case err == nil:
		return names, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("reading the groups of %q: %w", a.DN, err)
	}
	return nil, fmt.Errorf("%w: those of %q: %w", ErrGroups, a.DN, err)
}

// groupName returns the name by which the group with this entry is reported.
func (d *Directory) groupName(e *ldap.Entry) string {
	switch attribute := d.config.Groups.Attribute; strings.ToLower(attribute) {
	case "dn", "distinguishedname":
		return e.DN
	default:
		return e.GetEqualFoldAttributeValue(attribute)
	}
}

// names gathers group names, each once.
type names struct {
	list []string
	seen map[string]bool
}

func (n *names) add(name string) {
	if name == "" || n.seen[name] {
		return
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[name] = true
	n.list = append(n.list, name)
}

// tokenGroups asks the domain controller for the security identifiers that it
// would put in the user's token: one cheap search, however deep the nesting.
// Their names are remembered.
func (d *Directory) tokenGroups(ctx context.Context, a *Account) ([]string, error) {
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request(a.DN, ldap.ScopeBaseObject, 1, d.timeout, "(objectClass=*)", []string{"tokenGroups"})
	})
	if err != nil {
		return nil, err
	}
	var sids []string
	for _, e := range result.Entries {
		for _, sid := range e.GetEqualFoldAttributeValues("tokenGroups") {
			if isDomainSID(sid) {
				sids = append(sids, sid)
			}
		}
	}
	switch {
	case len(sids) == 0: // everybody has a primary group
		return nil, errors.New("the directory shows no tokenGroups: let the service account read them")
	case len(sids) > maxGroups:
		return nil, errTooManyGroups
	}
	groups, err := d.groupsBySID(ctx, sids)
	if err != nil {
		return nil, err
	}
	keep := func(string, group) bool { return true }
	if !d.config.Groups.Nested {
		if keep, err = directOnly(a); err != nil {
			return nil, err
		}
	}
	var n names
	for i, g := range groups {
		if keep(sids[i], g) {
			n.add(g.name)
		}
	}
	return n.list, nil
}

// directOnly returns a test for the groups that a is itself a member of.
func directOnly(a *Account) (func(sid string, g group) bool, error) {
	direct := map[string]bool{}
	for _, dn := range a.Values("memberOf") {
		normal, err := normalDN(dn)
		if err != nil {
			return nil, err
		}
		direct[normal] = true
	}
	for _, x := range a.entry.Attributes {
		if strings.HasPrefix(strings.ToLower(x.Name), "memberof;range=") {
			return nil, errors.New("the directory gives memberOf in parts only: set groups.nested: true")
		}
	}
	primary, err := a.integer("primaryGroupID")
	if err != nil {
		return nil, err
	}
	sid := a.First("objectSid")
	if len(sid) < 4 {
		return nil, errors.New("objectSid cannot be read: let the service account read it")
	}
	primarySID := sid[:len(sid)-4] + string(binary.LittleEndian.AppendUint32(nil, uint32(primary)))
	return func(sid string, g group) bool { return sid == primarySID || direct[g.dn] }, nil
}

// isDomainSID reports whether a binary security identifier is one of a domain:
// S-1-5-21-... ([MS-DTYP], 2.4.2.2).
func isDomainSID(sid string) bool {
	return len(sid) >= 12 && len(sid) == 8+4*int(sid[1]) &&
		sid[0] == 1 && sid[2:8] == "\x00\x00\x00\x00\x00\x05" && sid[8:12] == "\x15\x00\x00\x00"
}

// groupsBySID returns what the security identifiers stand for, in their order.
// One that nothing under the base bears, such as one from a domain that people
// moved from, is an empty group.
func (d *Directory) groupsBySID(ctx context.Context, sids []string) ([]group, error) {
	now := d.now()
	groups := make([]group, len(sids))
	missing := map[string][]int{} // where it belongs
	var ask []string
	for i, sid := range sids {
		g, ok := d.groups.get(sid, now)
		if groups[i] = g; ok {
			continue
		}
		if missing[sid] == nil {
			ask = append(ask, sid)
		}
		missing[sid] = append(missing[sid], i)
	}
	for batch := range slices.Chunk(ask, sidBatch) {
		found, err := d.searchSIDs(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, sid := range batch {
			d.groups.put(sid, found[sid], now)
			for _, i := range missing[sid] {
				groups[i] = found[sid]
			}
		}
	}
	return groups, nil
}

// searchSIDs finds groups by security identifier.
func (d *Directory) searchSIDs(ctx context.Context, sids []string) (map[string]group, error) {
	var filter strings.Builder
	filter.WriteString("(|")
	for _, sid := range sids {
		filter.WriteString("(objectSid=" + EscapeFilter(sid) + ")")
	}
	filter.WriteString(")")
	entries, _, err := eachBase(ctx, d.groupBases(), func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error) {
		return d.search(ctx, func(*dialect) *ldap.SearchRequest {
			return subtree(base, len(sids), d.timeout, filter.String(), []string{"objectSid", d.config.Groups.Attribute})
		})
	})
	if err != nil {
		return nil, err
	}
	found := map[string]group{}
	for _, e := range entries {
		dn, err := normalDN(e.DN)
		if err != nil {
			return nil, err
		}
		found[e.GetEqualFoldAttributeValue("objectSid")] = group{name: d.groupName(e), dn: dn}
	}
	return found, nil
}

// walkGroups goes from a to its groups and on to theirs, level by level. Groups
// that were met before are not followed again, so cycles end.
func (d *Directory) walkGroups(ctx context.Context, a *Account) ([]string, error) {
	level, expand, err := d.directGroups(ctx, a)
	if err != nil {
		return nil, err
	}
	var n names
	met := map[string]bool{}
	for level = unmet(level, met); len(level) > 0; level = unmet(level, met) {
		if len(met) > maxGroups {
			return nil, errTooManyGroups
		}
		groups, err := d.expandAll(ctx, level, expand)
		if err != nil {
			return nil, err
		}
		level = nil
		for _, g := range groups {
			n.add(g.name)
			if d.config.Groups.Nested {
				level = append(level, g.parents...)
			}
		}
	}
	return n.list, nil
}

// unmet returns the groups of level that are met for the first time, and notes
// them as met. What is no DN is left for others to complain of.
func unmet(level []groupRef, met map[string]bool) []groupRef {
	return slices.DeleteFunc(level, func(r groupRef) bool {
		dn, err := normalDN(r.dn)
		again := err == nil && met[dn]
		met[dn] = true
		return again
	})
}

// expander finds out what a group is called and what it is a member of.
type expander func(context.Context, groupRef) (group, error)

// directGroups returns the groups that a is itself a member of, and the way to
// go on from there. Where the server keeps memberOf, the user's entry names
// them and the groups' entries lead on; otherwise, or if a filter is
// configured, the groups are searched for the member.
func (d *Directory) directGroups(ctx context.Context, a *Account) ([]groupRef, expander, error) {
	memberOf := a.Values("memberOf")
	if len(memberOf) == 0 || d.config.Groups.Filter != "" {
		level, err := d.groupsOfMember(ctx, a.DN)
		return level, d.expandByMember, err
	}
	if len(memberOf) > maxGroups {
		return nil, nil, errTooManyGroups
	}
	level := make([]groupRef, len(memberOf))
	for i, dn := range memberOf {
		level[i].dn = dn
	}
	return level, d.expandByEntry, nil
}

// expandAll expands a level, remembering what it finds.
func (d *Directory) expandAll(ctx context.Context, level []groupRef, expand expander) ([]group, error) {
	groups := make([]group, len(level))
	now := d.now()
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(groupSearches)
	for i, r := range level {
		if g, ok := d.groups.get(r.dn, now); ok {
			groups[i] = g
			continue
		}
		work.Go(func() error {
			g, err := expand(ctx, r)
			if err == nil {
				groups[i] = g
				d.groups.put(r.dn, g, now)
			}
			return err
		})
	}
	return groups, work.Wait()
}

// expandByEntry reads a group's own entry. A group outside the base, or one
// that is gone or hidden, is an empty one.
func (d *Directory) expandByEntry(ctx context.Context, r groupRef) (group, error) {
	dn, err := ldap.ParseDN(r.dn)
	if err != nil {
		return group{}, fmt.Errorf("memberOf %q is not a DN: %w", r.dn, err)
	}
	if under, err := isUnder(d.groupBases(), dn); err != nil || !under {
		return group{}, err
	}
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request(r.dn, ldap.ScopeBaseObject, 1, d.timeout, "(objectClass=*)", []string{"memberOf", d.config.Groups.Attribute})
	})
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights):
		return group{}, nil
	case err != nil:
		return group{}, err
	case len(result.Entries) == 0:
		return group{}, nil
	}
	e := result.Entries[0]
	g := group{name: d.groupName(e), dn: normal(dn)}
	for _, p := range e.GetEqualFoldAttributeValues("memberOf") {
		g.parents = append(g.parents, groupRef{dn: p})
	}
	return g, nil
}

// expandByMember searches for the groups that have a group as a member.
func (d *Directory) expandByMember(ctx context.Context, r groupRef) (g group, err error) {
	g.name = r.name
	if g.dn, err = normalDN(r.dn); err != nil || !d.config.Groups.Nested {
		return g, err
	}
	g.parents, err = d.groupsOfMember(ctx, r.dn)
	return g, err
}

// groupsOfMember searches for the groups that have dn as a direct member.
func (d *Directory) groupsOfMember(ctx context.Context, dn string) ([]groupRef, error) {
	entries, _, err := eachBase(ctx, d.groupBases(), func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error) {
		return d.search(ctx, func(di *dialect) *ldap.SearchRequest {
			template := d.config.Groups.Filter
			if template == "" {
				template = di.groupFilter
			}
			return subtree(base, maxGroups, d.timeout, fill(template, dn), []string{d.config.Groups.Attribute})
		})
	})
	switch {
	case sizeLimit(err):
		return nil, fmt.Errorf("%q is a member of more groups than the server lists in one answer: %w", dn, err)
	case err != nil:
		return nil, err
	}
	refs := make([]groupRef, len(entries))
	for i, e := range entries {
		refs[i] = groupRef{dn: e.DN, name: d.groupName(e)}
	}
	return refs, nil
}

// normalDN returns dn in a form in which equal names are equal strings: servers
// differ in case, in blanks and in how they escape, even between two answers.
func normalDN(dn string) (string, error) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return "", fmt.Errorf("%q is not a DN: %w", dn, err)
	}
	return normal(parsed), nil
}

func normal(dn *ldap.DN) string {
	var b strings.Builder
	for _, rdn := range dn.RDNs {
		parts := make([]string, len(rdn.Attributes))
		for i, x := range rdn.Attributes {
			parts[i] = strings.Map(fold, x.Type) + "=" + ldap.EscapeDN(strings.Map(fold, x.Value))
		}
		slices.Sort(parts)
		b.WriteString(strings.Join(parts, "+"))
		b.WriteByte(',')
	}
	return b.String()
}
