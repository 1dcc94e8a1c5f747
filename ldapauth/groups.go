package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/errgroup"
)

// ErrGroups is in the chain of an error that says that a user's groups could
// not be read, and that none of them bars the user. What follows is
// groups.on_failure's to say: a user without the groups may see less than is
// due.
var ErrGroups = errors.New("the groups could not be read")

var (
	errGroupsLate    = errors.New("not done within ldap.groups.timeout")
	errTooManyGroups = fmt.Errorf("more than %d: take the account out of some, or let ldap.groups.filter find only those that matter", maxGroups)
)

const (
	// maxGroups of one user, nested ones included. Active Directory itself
	// stops at 1,015.
	maxGroups = 10_000
	// groupBatch is how many groups are asked for in one search.
	groupBatch = 100
	// groupSearches is how many searches for one user run at once.
	groupSearches = 8

	// maxCached is how many groups are remembered, at some 200 bytes each.
	maxCached = 50_000
	// maxMemberships is how many memberships of accounts, and of groups, are
	// remembered, at 8 bytes each. What they are kept under weighs as much as
	// perEntry of them.
	maxMemberships = 1_000_000
	perEntry       = 32
)

// group is what is remembered of a group. It is never changed.
type group struct {
	dn       string   // normalised; "" for an identifier that no group bears
	name     string   // as it is reported; "" if it is not
	barred   bool     // deny_groups names it, by whatever name
	parents  []string // the groups that its own memberOf names
	security bool     // Active Directory: it can carry rights
}

// A member is a group that an account is in.
type member struct {
	*group
	direct bool // the account itself is, not only a group that it is in
}

// Groups returns the names of the groups of a, in the order in which the
// directory gave them; none if groups are not to be included. The error is a
// denial with the reason DeniedGroup if one of them is among deny_groups,
// whether groups are to be included or not.
//
// On Active Directory these are the security groups of the user's domain as the
// domain controller works them out, the primary group included. Distribution
// lists give nobody any right and are left out unless they are asked for, and
// so are groups such as BUILTIN\Users, which mean something on the domain
// controller only.
//
// A failure has [ErrGroups] in its chain if it is certain that nothing bars a,
// and ctx has not ended.
func (d *Directory) Groups(ctx context.Context, a *Account) ([]string, error) {
	bars := d.deny.concerns(a.dialect)
	if !bars && !d.config.Groups.Include {
		return nil, nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.config.Groups.Timeout.Std(), errGroupsLate)
	defer cancel()
	r := &roll{d: d, a: a}
	if bars {
		if err := r.bar(limited); denial.ReasonOf(err) != "" {
			return nil, fmt.Errorf("account %q: %w", a.DN, err)
		} else if err != nil {
			return nil, fmt.Errorf("nobody can tell whether ldap.deny_groups bars %q, because its groups could not be read: %w", a.DN, err)
		}
		note(ctx, func() string {
			return "compared here: neither the account nor any of its groups is among ldap.deny_groups"
		})
	} else {
		note(ctx, func() string { return "ldap.deny_groups bars nobody in this directory" })
	}
	if !d.config.Groups.Include {
		return nil, nil
	}
	names, err := r.report(limited)
	switch {
	case err == nil:
		return names, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("reading the groups of %q: %w", a.DN, err)
	}
	return nil, fmt.Errorf("%w: those of %q: %w", ErrGroups, a.DN, err)
}

// GroupNames returns what [Directory.Groups] does of somebody who is refused
// anyway: the names to be reported, whatever bars the account. Unless ask is
// true, the directory is asked nothing, and what is not remembered is an error.
func (d *Directory) GroupNames(ctx context.Context, a *Account, ask bool) ([]string, error) {
	if !d.config.Groups.Include {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.config.Groups.Timeout.Std(), errGroupsLate)
	defer cancel()
	if !ask {
		ctx = context.WithValue(ctx, askNothing{}, true)
	}
	names, err := (&roll{d: d, a: a}).report(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the groups of %q: %w", a.DN, err)
	}
	return names, nil
}

// askNothing is the key of a context under which every search fails.
type askNothing struct{}

var errAskNothing = errors.New("it is not remembered, and the directory is not to be asked")

// A roll is what has been found out of the groups of one account, so that
// nothing is asked twice in one sign-in.
type roll struct {
	d *Directory
	a *Account

	sids      []string // see tokens
	primary   string   // the identifier of the primary group
	primaryDN string   // "" if it lies elsewhere
	bySID     []member // what sids stand for
	climbed   []member // see climb
	filtered  []member // see climbAsConfigured
}

// report returns the names that are to be reported.
func (r *roll) report(ctx context.Context) ([]string, error) {
	found, err := r.reported(ctx)
	if err != nil {
		return nil, err
	}
	var n names
	for _, m := range found {
		if m.direct || r.d.config.Groups.Nested {
			n.add(m.name)
		}
	}
	return n.list, nil
}

// reported returns the groups that are reported if they have a name.
func (r *roll) reported(ctx context.Context) ([]member, error) {
	g := &r.d.config.Groups
	switch {
	case g.Filter != "":
		return r.climbAsConfigured(ctx)
	case !r.a.dialect.tokenGroups:
		return r.climb(ctx)
	}
	found, err := r.tokenGroups(ctx)
	if err != nil || !g.DistributionLists {
		return found, err
	}
	all, err := r.climb(ctx)
	if err != nil {
		return nil, err
	}
	found = slices.Clone(found)
	for _, m := range all {
		if !m.security { // of the others the domain controller knows better
			found = append(found, m)
		}
	}
	return found, nil
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

// groupAttributes returns what is to be known of a group, and more.
func (d *Directory) groupAttributes(more ...string) []string {
	list := append([]string{d.config.Groups.Attribute}, more...)
	if d.deny.named() {
		list = append(list, groupNames...)
	}
	return list
}

// groupNames are the attributes that hold what people call a group.
var groupNames = []string{"cn", "sAMAccountName"}

// groupOf returns the group with this entry.
func (d *Directory) groupOf(e *ldap.Entry) (*group, error) {
	dn, err := ldap.ParseDN(e.DN)
	if err != nil {
		return nil, fmt.Errorf("%q is not a DN: %w", e.DN, err)
	}
	if inParts(e) {
		return nil, fmt.Errorf("the group %q: %w", e.DN, errInParts)
	}
	g := &group{dn: normal(dn), security: isSecurityGroup(e), parents: e.GetEqualFoldAttributeValues("memberOf")}
	name := d.groupName(e)
	reported, err := isUnder(d.groupBases(), dn)
	if err != nil {
		return nil, err
	}
	if reported {
		g.name = name
	}
	if d.deny.named() {
		names := []string{name}
		for _, attribute := range groupNames {
			names = append(names, e.GetEqualFoldAttributeValues(attribute)...)
		}
		g.barred = d.deny.barsGroup(dn, names)
	}
	return g, nil
}

// unseen returns the group with a normalised DN whose entry nobody can read.
func (d *Directory) unseen(dn string) *group {
	g := &group{dn: dn}
	if d.deny.named() {
		parsed, err := ldap.ParseDN(dn)
		g.barred = err == nil && d.deny.barsGroup(parsed, nil)
	}
	return g
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

// inBatches calls search with keys, not too many at a time, several times at
// once.
func inBatches(ctx context.Context, keys []string, search func(context.Context, []string) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(groupSearches)
	for batch := range slices.Chunk(keys, groupBatch) {
		work.Go(func() error { return search(ctx, batch) })
	}
	return work.Wait()
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

// normal is [normalDN] for a DN that has been parsed.
func normal(dn *ldap.DN) string {
	rdns := make([]string, len(dn.RDNs))
	for i, rdn := range dn.RDNs {
		parts := make([]string, len(rdn.Attributes))
		for j, x := range rdn.Attributes {
			parts[j] = strings.Map(fold, x.Type) + "=" + ldap.EscapeDN(strings.Map(fold, x.Value))
		}
		slices.Sort(parts)
		rdns[i] = strings.Join(parts, "+")
	}
	return strings.Join(rdns, ",")
}
