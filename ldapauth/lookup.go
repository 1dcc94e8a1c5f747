package ldapauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

const (
	// MaxLookup is the most that one lookup returns.
	MaxLookup = 10_000
	// pageSize is how many entries are asked for at a time. Active Directory
	// gives no more than a thousand (MaxPageSize), and one message for each
	// entry is held in memory until the page is complete.
	pageSize = 500
)

// SearchUsers returns people by a part of their name, found by ldap.user_search,
// in the order of their user names, at most limit; more says that there are
// others. An empty text finds everybody. Machines and groups that the filter
// finds are left out.
func (d *Directory) SearchUsers(ctx context.Context, text string, limit int) (people []*Account, more bool, err error) {
	entries, di, more, err := d.lookup(ctx, d.config.BaseDN, text, limit, d.userSearch, d.attributesOf)
	if err != nil {
		return nil, false, fmt.Errorf("looking for people called %q: %w", text, err)
	}
	for _, e := range entries {
		switch a, err := d.account(ctx, di, e); {
		case err == nil:
			people = append(people, a)
		case denial.ReasonOf(err) == "":
			return nil, false, err
		}
	}
	slices.SortFunc(people, byUsername)
	return people, more, nil
}

func byUsername(a, b *Account) int { return byName(a.Username, b.Username, a.DN, b.DN) }

// userSearch returns the filter that finds people by a part of a name.
func (d *Directory) userSearch(di *dialect, text string) string {
	anyone := d.userFilter(di).anyone()
	switch {
	case text == "":
		return anyone
	case d.config.UserSearch != "":
		return fill(d.config.UserSearch, text)
	}
	return "(&" + anyone + holds(text, "cn", "displayName", di.username, "userPrincipalName", "mail") + ")"
}

// holds returns the filter for entries in which one of the attributes holds text.
func holds(text string, attributes ...string) string {
	var b strings.Builder
	for _, a := range attributes {
		b.WriteString(fill("("+a+"=*"+placeholder+"*)", text))
	}
	return "(|" + b.String() + ")"
}

// A Group is one group's entry.
type Group struct {
	Name   string // as it is reported; "" if it is not
	DN     string
	Kind   string // of Active Directory: "security" or "distribution"; else ""
	Domain string // what its directory is called in messages
}

// SearchGroups returns groups by a part of their name, in the order of their
// names, at most limit; more says that there are others. An empty text finds
// all.
func (d *Directory) SearchGroups(ctx context.Context, text string, limit int) (groups []Group, more bool, err error) {
	entries, di, more, err := d.lookup(ctx, d.groupBases(), text, limit, d.groupSearch, func(*dialect) []string {
		return []string{d.config.Groups.Attribute, "groupType"}
	})
	if err != nil {
		return nil, false, fmt.Errorf("looking for groups called %q: %w", text, err)
	}
	for _, e := range entries {
		groups = append(groups, Group{Name: d.groupName(e), DN: e.DN, Kind: groupKind(di, e), Domain: d.label})
	}
	slices.SortFunc(groups, byGroupName)
	return groups, more, nil
}

func byGroupName(a, b Group) int { return byName(a.Name, b.Name, a.DN, b.DN) }

// groupSearch returns the filter that finds groups by a part of a name.
func (d *Directory) groupSearch(di *dialect, text string) string {
	filter := di.anyGroup
	if d.config.Groups.Filter != "" {
		filter = strings.ReplaceAll(d.config.Groups.Filter, placeholder, "*")
	}
	if text == "" {
		return filter
	}
	attributes := []string{"cn"}
	if a := d.config.Groups.Attribute; !slices.Contains([]string{"cn", "dn", "distinguishedname"}, strings.ToLower(a)) {
		attributes = append(attributes, a)
	}
	return "(&" + filter + holds(text, attributes...) + ")"
}

// groupKind tells what a group of Active Directory is for ([MS-ADTS], 2.2.12).
func groupKind(di *dialect, e *ldap.Entry) string {
	kind := e.GetEqualFoldAttributeValue("groupType")
	switch {
	case !di.tokenGroups || kind == "":
		return ""
	case strings.HasPrefix(kind, "-"): // the topmost bit
		return "security"
	}
	return "distribution"
}

// byName compares two entries by their names as people read them, else by DN.
func byName(a, b, dnA, dnB string) int {
	return cmp.Or(cmp.Compare(strings.Map(fold, a), strings.Map(fold, b)), cmp.Compare(dnA, dnB))
}

// lookup returns at most limit entries under the bases that the filter for text
// finds, and whether there are more.
func (d *Directory) lookup(ctx context.Context, bases []string, text string, limit int, filter func(*dialect, string) string, attributes func(*dialect) []string) ([]*ldap.Entry, *dialect, bool, error) {
	if text != "" {
		if err := checkName(text); err != nil {
			return nil, nil, false, err
		}
	}
	limit = atMost(limit)
	var cut atomic.Bool
	entries, di, err := eachBase(ctx, bases, func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error) {
		result, di, err := d.search(ctx, func(di *dialect) *ldap.SearchRequest {
			// One more tells that there are more, on servers that do not say so.
			r := subtree(base, limit+1, d.timeout, filter(di, text), attributes(di))
			if limit >= pageSize {
				r.Controls = append(slices.Clone(r.Controls), ldap.NewControlPaging(pageSize))
			}
			return r
		})
		if sizeLimit(err) {
			cut.Store(true)
			err = nil
		}
		return result, di, inWords(err)
	})
	if err != nil {
		return nil, nil, false, err
	}
	more := cut.Load()
	if len(entries) > limit {
		entries, more = entries[:limit], true
	}
	return entries, di, more, nil
}

// SearchUsers is [Directory.SearchUsers] in all directories. One that gives no
// answer makes it a fault: nobody is to take a part for the whole.
func (s *Domains) SearchUsers(ctx context.Context, text string, limit int) (people []*Account, more bool, err error) {
	return lookupAll(s.list, limit, byUsername, func(d *Directory) ([]*Account, bool, error) {
		return d.SearchUsers(ctx, text, limit)
	})
}

// SearchGroups is [Directory.SearchGroups] in all directories, like
// [Domains.SearchUsers].
func (s *Domains) SearchGroups(ctx context.Context, text string, limit int) (groups []Group, more bool, err error) {
	return lookupAll(s.list, limit, byGroupName, func(d *Directory) ([]Group, bool, error) {
		return d.SearchGroups(ctx, text, limit)
	})
}

// lookupAll looks in all directories at the same time and returns the first
// limit of what they find, in the order of compare.
func lookupAll[T any](list []*Directory, limit int, compare func(T, T) int, lookup func(*Directory) ([]T, bool, error)) (all []T, more bool, err error) {
	if len(list) == 1 {
		return lookup(list[0])
	}
	found, cut, errs := make([][]T, len(list)), make([]bool, len(list)), make([]error, len(list))
	var wait sync.WaitGroup
	for i, d := range list {
		wait.Go(func() {
			if found[i], cut[i], errs[i] = lookup(d); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", d.label, errs[i])
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, false, err
	}
	all = slices.SortedFunc(slices.Values(slices.Concat(found...)), compare)
	more = slices.Contains(cut, true)
	if limit = atMost(limit); len(all) > limit {
		all, more = all[:limit], true
	}
	return all, more, nil
}

// atMost returns the limit that holds for a lookup.
func atMost(limit int) int { return min(max(limit, 1), MaxLookup) }

// ask runs a search. One with a control for pages is asked page by page, all on
// this connection, on which alone the server knows how far it was, until there
// are as many entries as the request allows (RFC 2696) or ctx ends: pages may be
// empty, so that nothing else would stop a server which always promises another.
func (c *conn) ask(ctx context.Context, r *ldap.SearchRequest) (*ldap.SearchResult, error) {
	if ldap.FindControl(r.Controls, ldap.ControlTypePaging) == nil {
		return c.ldap.Search(r)
	}
	select {
	case c.paging <- struct{}{}:
		defer func() { <-c.paging }()
	case <-ctx.Done():
		return nil, ldap.NewError(ldap.LDAPResultTimeLimitExceeded, context.Cause(ctx))
	}
	page, all := *r, &ldap.SearchResult{}
	page.SizeLimit = 0 // it would count for the whole
	for {
		result, err := c.ldap.Search(&page)
		if result != nil {
			all.Entries = append(all.Entries, result.Entries...)
		}
		if err == nil && len(all.Entries) > r.SizeLimit {
			all.Entries, err = all.Entries[:r.SizeLimit], ldap.ErrSizeLimitExceeded
		}
		if err != nil {
			return all, err
		}
		next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		switch {
		case !ok || len(next.Cookie) == 0:
			return all, nil
		case ctx.Err() != nil: // nobody waits for the rest
			return nil, ldap.NewError(ldap.LDAPResultTimeLimitExceeded, context.Cause(ctx))
		}
		control := ldap.NewControlPaging(pageSize)
		control.SetCookie(next.Cookie)
		page.Controls = append(slices.DeleteFunc(slices.Clone(page.Controls), func(x ldap.Control) bool {
			return x.GetControlType() == ldap.ControlTypePaging
		}), control)
	}
}
