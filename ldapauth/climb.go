package ldapauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"
)

// climb returns the groups of the account, level by level, in the way that its
// directory offers. Where the server keeps memberOf, the account's entry names
// the groups and their entries lead on; otherwise the groups are searched for
// the member.
func (r *roll) climb(ctx context.Context) (found []member, err error) {
	if r.climbed != nil {
		return r.climbed, nil
	}
	nested := r.d.config.Groups.Nested
	deep := nested || r.d.deny.named()
	di := r.a.dialect
	direct := slices.Clone(r.a.Values("memberOf"))
	if di.tokenGroups { // of the primary group nobody is a member by memberOf
		if _, err := r.tokenGroups(ctx); err != nil {
			return nil, err
		}
		if r.primaryDN != "" {
			direct = append(direct, r.primaryDN)
		}
	}
	switch {
	case inParts(r.a.entry):
		return nil, errInParts
	case len(direct) > maxGroups:
		return nil, errTooManyGroups
	case len(direct) == 0, di.direct != nil, di.nestedMemberOf && !nested: // then only the groups tell who is in them
		found, err = r.climbByFilter(ctx, "", deep)
	default:
		found, err = r.climbByEntry(ctx, direct, deep)
	}
	if err != nil {
		return nil, err
	}
	r.climbed = append([]member{}, found...) // not nil: the question has been asked
	note(ctx, r.sayClimbed)
	return r.climbed, nil
}

// sayClimbed says which groups the account is itself in, and how many it is in
// through them.
func (r *roll) sayClimbed() string {
	var direct []string
	n := 0
	for _, m := range r.climbed {
		if m.direct {
			if n++; n <= maxTraced {
				direct = append(direct, m.dn)
			}
		}
	}
	return fmt.Sprintf("itself a member of %d groups, through these of %d more: %s", n, len(r.climbed)-n, strings.Join(direct, "; "))
}

// climbByEntry goes up from the groups with the given DNs by what their own
// memberOf says.
func (r *roll) climbByEntry(ctx context.Context, direct []string, deep bool) ([]member, error) {
	met := map[string]bool{}
	level, err := r.d.groupsByDN(ctx, r.a.dialect, direct, met)
	if err != nil {
		return nil, err
	}
	return levels(level, deep, func(level []*group) ([]*group, error) {
		var above []string
		for _, g := range level {
			above = append(above, g.parents...)
		}
		return r.d.groupsByDN(ctx, r.a.dialect, above, met)
	})
}

// climbByFilter goes up by searching for the groups that have a member. The
// filter is the directory's own if template is empty.
func (r *roll) climbByFilter(ctx context.Context, template string, deep bool) ([]member, error) {
	di := r.a.dialect
	filter := memberFilter(di.groupFilter, r.a.asMember())
	switch {
	case template != "":
		filter = fill(template, r.a.DN)
	case di.direct != nil:
		var err error
		if filter, err = di.direct(r.a); err != nil {
			return nil, err
		}
	}
	level, err := r.d.holders(ctx, di, filter)
	if sizeLimit(err) {
		err = fmt.Errorf("%q is a member of more groups than the server lists in one answer: raise its size limit for the service account (%w)", r.a.DN, err)
	}
	if err != nil {
		return nil, err
	}
	met := map[string]bool{}
	level = unmet(level, met)
	return levels(level, deep && (template != "" || di.direct == nil), func(level []*group) ([]*group, error) {
		above, err := r.d.groupsAbove(ctx, di, template, level)
		return unmet(above, met), err
	})
}

// climbAsConfigured returns the groups that groups.filter finds.
func (r *roll) climbAsConfigured(ctx context.Context) ([]member, error) {
	if r.filtered == nil {
		found, err := r.climbByFilter(ctx, r.d.config.Groups.Filter, r.d.config.Groups.Nested || r.d.deny.named())
		if err != nil {
			return nil, err
		}
		r.filtered = append([]member{}, found...) // not nil: the question has been asked
	}
	return r.filtered, nil
}

// asMember returns what a group may name the account by: its DN, and the DN with
// a bit string that the account itself bears. With any other bit string it is
// not this account that a group means, but one that had the DN before or after
// (RFC 4519, 2.40).
func (a *Account) asMember() []string {
	names := []string{a.DN}
	for _, bits := range a.Values("x500UniqueIdentifier") {
		names = append(names, a.DN+"#"+bits)
	}
	return names
}

// levels gathers the groups of level and, if deep, those above them, level by
// level. above returns only groups that it has not returned before, so cycles
// end.
func levels(level []*group, deep bool, above func([]*group) ([]*group, error)) ([]member, error) {
	var found []member
	for direct := true; len(level) > 0; direct = false {
		if len(found)+len(level) > maxGroups {
			return nil, errTooManyGroups
		}
		for _, g := range level {
			found = append(found, member{g, direct})
		}
		if !deep {
			break
		}
		var err error
		if level, err = above(level); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// unmet returns the groups that are met for the first time, and notes them as
// met.
func unmet(level []*group, met map[string]bool) []*group {
	var first []*group
	for _, g := range level {
		if !met[g.dn] {
			met[g.dn] = true
			first = append(first, g)
		}
	}
	return first
}

// groupsByDN returns the groups with the given DNs that are met for the first
// time, by one search for a hundred of them. One that lies outside the bases, or
// is gone or hidden, has nothing but its name.
func (d *Directory) groupsByDN(ctx context.Context, di *dialect, dns []string, met map[string]bool) ([]*group, error) {
	now := d.now()
	bases := d.climbBases(di)
	var groups []*group
	var ask []string
	place := map[string]int{}
	for _, dn := range dns {
		parsed, err := ldap.ParseDN(dn)
		if err != nil {
			return nil, fmt.Errorf("memberOf %q is not a DN: %w", dn, err)
		}
		normal := normal(parsed)
		if met[normal] {
			continue
		}
		met[normal] = true
		if g, ok := d.groups.get(normal, now); ok {
			groups = append(groups, g)
			continue
		}
		inside, err := isUnder(bases, parsed)
		if err != nil {
			return nil, err
		}
		if inside {
			place[normal] = len(groups)
			ask = append(ask, normal)
		}
		groups = append(groups, d.unseen(normal)) // until its entry is read
	}
	var mu sync.Mutex
	err := inBatches(ctx, ask, func(ctx context.Context, batch []string) error {
		found, err := d.searchByDN(ctx, di, bases, batch)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, dn := range batch {
			g := found[dn]
			if g == nil {
				g = d.unseen(dn)
			}
			d.groups.put(dn, g, now)
			groups[place[dn]] = g
		}
		return nil
	})
	return groups, err
}

// searchByDN finds groups by their DNs.
func (d *Directory) searchByDN(ctx context.Context, di *dialect, bases, dns []string) (map[string]*group, error) {
	found := map[string]*group{}
	err := d.searchGroups(ctx, bases, anyOf(di.dn, dns), d.groupAttributes("memberOf", "groupType"), func(_ *ldap.Entry, g *group) {
		found[g.dn] = g
	})
	return found, err
}

// groupsAbove returns the groups that have a group of level as a member. What
// it finds is remembered for all of level together: which of them is the member
// could be told only by reading all members of what is found, and a group can
// have a hundred thousand.
func (d *Directory) groupsAbove(ctx context.Context, di *dialect, template string, level []*group) ([]*group, error) {
	dns := make([]string, len(level))
	for i, g := range level {
		dns[i] = g.dn
	}
	slices.Sort(dns)
	sum := sha256.Sum256([]byte(strings.Join(append(dns, template), "\n")))
	key, now := string(sum[:]), d.now()
	if above, ok := d.above.get(key, now); ok {
		return above, nil
	}
	var mu sync.Mutex
	var above []*group
	err := inBatches(ctx, dns, func(ctx context.Context, batch []string) error {
		found, err := d.holdersOfAny(ctx, di, template, batch)
		mu.Lock()
		defer mu.Unlock()
		above = append(above, found...)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.above.put(key, above, now)
	return above, nil
}

// holdersOfAny searches for the groups that have one of dns as a member. If the
// server lists only so many entries in one answer, it asks for fewer at a time.
func (d *Directory) holdersOfAny(ctx context.Context, di *dialect, template string, dns []string) ([]*group, error) {
	filter := memberFilter(di.groupFilter, dns)
	if template != "" {
		var b strings.Builder
		for _, dn := range dns {
			b.WriteString(fill(template, dn))
		}
		filter = "(|" + b.String() + ")"
	}
	found, err := d.holders(ctx, di, filter)
	if !sizeLimit(err) {
		return found, err
	}
	if len(dns) == 1 {
		return nil, fmt.Errorf("%q is a member of more groups than the server lists in one answer: raise its size limit for the service account (%w)", dns[0], err)
	}
	half, err := d.holdersOfAny(ctx, di, template, dns[:len(dns)/2])
	if err != nil {
		return nil, err
	}
	rest, err := d.holdersOfAny(ctx, di, template, dns[len(dns)/2:])
	return append(half, rest...), err
}

// holders returns the groups that filter finds. The same group is the same
// value as long as it is remembered, so that what is kept of memberships is
// little more than pointers.
func (d *Directory) holders(ctx context.Context, di *dialect, filter string) ([]*group, error) {
	now := d.now()
	var found []*group
	err := d.searchGroups(ctx, d.climbBases(di), filter, d.groupAttributes(), func(_ *ldap.Entry, g *group) {
		key := "member:" + g.dn // not what groupsByDN remembers: its groups know their parents
		if known, ok := d.groups.get(key, now); ok && known.equal(g) {
			g = known
		} else {
			d.groups.put(key, g, now)
		}
		found = append(found, g)
	})
	return found, err
}

// equal reports whether g and h are the same but for their memberships.
func (g *group) equal(h *group) bool {
	return g.dn == h.dn && g.name == h.name && g.barred == h.barred
}

// searchGroups calls found with each entry under the bases that filter finds.
func (d *Directory) searchGroups(ctx context.Context, bases []string, filter string, attributes []string, found func(*ldap.Entry, *group)) error {
	entries, _, err := eachBase(ctx, bases, func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error) {
		result, di, err := d.search(ctx, func(di *dialect) *ldap.SearchRequest {
			return wholly(di, subtree(base, maxGroups, d.timeout, filter, attributes))
		})
		switch {
		case sizeLimit(err) && result != nil && len(result.Entries) >= maxGroups: // it is our limit
			err = errTooManyGroups
		case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			err = fmt.Errorf("groups are looked for below %q, which does not exist or is hidden from the service account: check ldap.groups.base_dn (%w)", base, inWords(err))
		case err == nil && d.deny.named():
			err = elsewhere(result)
		}
		return result, di, err
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		g, err := d.groupOf(e)
		if err != nil {
			return err
		}
		found(e, g)
	}
	return nil
}

// wholly returns r, so made that the server says if another one holds a part of
// what is asked. Active Directory would always name the other domains.
func wholly(di *dialect, r *ldap.SearchRequest) *ldap.SearchRequest {
	if !di.tokenGroups {
		r.Controls = nil
	}
	return r
}

// elsewhere returns an error if a part of what was asked is held by another
// server (RFC 4511, section 4.5.3): a group that bars may be there.
func elsewhere(result *ldap.SearchResult) error {
	if len(result.Referrals) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %q", errElsewhere, result.Referrals[0])
}

var errElsewhere = errors.New("some groups may be on another server, to which this one only points, and referrals are not followed: " +
	"for ldap.deny_groups let ldap.base_dn and ldap.groups.base_dn hold no such pointer")

// anyOf returns a filter for entries with one of these values.
func anyOf(attribute string, values []string) string {
	var b strings.Builder
	b.WriteString("(|")
	for _, v := range values {
		b.WriteString("(" + attribute + "=" + EscapeFilter(v) + ")")
	}
	b.WriteString(")")
	return b.String()
}

// memberClause finds the comparisons with a member in a dialect's group filter.
var memberClause = regexp.MustCompile(`\(([A-Za-z]+)=\{0\}\)`)

// memberFilter returns the filter of a dialect for the groups that have one of
// dns as a member. Each class of groups is named once, not once for each DN,
// since servers take classes and members together.
func memberFilter(groupFilter string, dns []string) string {
	return memberClause.ReplaceAllStringFunc(groupFilter, func(clause string) string {
		return anyOf(memberClause.FindStringSubmatch(clause)[1], dns)
	})
}
