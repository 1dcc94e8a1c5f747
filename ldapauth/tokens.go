package ldapauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unique"

	"github.com/go-ldap/ldap/v3"
)

// tokens returns the security identifiers that the domain controller would put
// in the user's token: one cheap search, however deep the nesting, and none
// while the answer is remembered.
//
// An answer is remembered with what the account's entry says of its direct
// memberships, so that a change of these shows at once; a change further up
// shows when the answer is too old.
func (r *roll) tokens(ctx context.Context) ([]string, error) {
	if r.sids != nil {
		return r.sids, nil
	}
	var err error
	if r.primary, err = r.a.primaryGroup(); err != nil {
		return nil, err
	}
	key, direct := r.a.membershipKey()
	now := r.d.now()
	if kept, ok := r.d.tokens.get(key, now); ok {
		r.sids = make([]string, len(kept))
		for i, sid := range kept {
			r.sids[i] = sid.Value()
		}
		return r.sids, nil
	}
	if r.sids, err = r.readTokens(ctx); err != nil {
		return nil, err
	}
	note(ctx, r.sayTokens)
	if direct > 0 || r.primaryOnly() {
		kept := make([]unique.Handle[string], len(r.sids))
		for i, sid := range r.sids {
			kept[i] = unique.Make(sid)
		}
		r.d.tokens.put(key, kept, now)
	}
	return r.sids, nil
}

// sayTokens says what the domain controller told.
func (r *roll) sayTokens() string {
	shown := r.sids[:min(len(r.sids), maxTraced)]
	texts := make([]string, len(shown))
	for i, sid := range shown {
		texts[i] = sidText(sid)
	}
	more := ""
	if n := len(r.sids) - len(shown); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("tokenGroups, nested groups included: %s%s", strings.Join(texts, ", "), more)
}

// readTokens asks the domain controller for the security identifiers of the
// user's groups.
func (r *roll) readTokens(ctx context.Context) ([]string, error) {
	result, _, err := r.d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request(r.a.DN, ldap.ScopeBaseObject, 1, r.d.timeout, "(objectClass=*)", []string{"tokenGroups"})
	})
	if err != nil {
		return nil, err
	}
	var sids []string
	for _, e := range result.Entries {
		sids = append(sids, e.GetEqualFoldAttributeValues("tokenGroups")...)
	}
	switch i := slices.IndexFunc(sids, func(sid string) bool { return !isSID(sid) }); {
	case i >= 0:
		return nil, fmt.Errorf("tokenGroups holds %q, which is not a security identifier", sids[i])
	case !slices.ContainsFunc(sids, isDomainSID): // everybody has a primary group
		return nil, errors.New("the directory shows no tokenGroups: let the service account read them")
	case len(sids) > maxGroups:
		return nil, errTooManyGroups
	}
	return sids, nil
}

// primaryOnly reports whether the account's token holds no group of the domain
// but the primary one. Where it holds others although the entry names none, the
// service account may be blind to memberOf, and a change would not show.
func (r *roll) primaryOnly() bool {
	return !slices.ContainsFunc(r.sids, func(sid string) bool { return isDomainSID(sid) && sid != r.primary })
}

// membershipKey returns a text that changes with the direct memberships of a
// and is no other account's, and how many memberships there are; "" and -1 if
// the directory tells them in parts only, or not whose they are.
func (a *Account) membershipKey() (key string, n int) {
	if inParts(a.entry) {
		return "", -1
	}
	direct := slices.Sorted(slices.Values(a.Values("memberOf")))
	h := sha256.New()
	for _, v := range append(direct, a.First("primaryGroupID"), a.First("objectSid")) {
		h.Write(strconv.AppendInt(nil, int64(len(v)), 10))
		h.Write([]byte{' '})
		h.Write([]byte(v))
	}
	return a.ID + string(h.Sum(nil)), len(direct)
}

// inParts reports whether the directory gave the values of memberOf in parts
// ([MS-ADTS], 3.1.1.3.1.3.3).
func inParts(e *ldap.Entry) bool {
	return slices.ContainsFunc(e.Attributes, func(x *ldap.EntryAttribute) bool {
		return strings.HasPrefix(strings.ToLower(x.Name), "memberof;range=")
	})
}

// primaryGroup returns the security identifier of the primary group, of which
// nobody is a member by memberOf.
func (a *Account) primaryGroup() (string, error) {
	n, err := a.integer("primaryGroupID")
	if err != nil {
		return "", err
	}
	sid := a.First("objectSid")
	switch {
	case !isDomainSID(sid):
		return "", errors.New("objectSid cannot be read: let the service account read it")
	case n <= 0 || n > math.MaxUint32:
		return "", errors.New("primaryGroupID cannot be read: let the service account read it")
	}
	return withRID(sid, uint32(n)), nil
}

// tokenGroups returns the groups of the domain that are in the user's token.
func (r *roll) tokenGroups(ctx context.Context) ([]member, error) {
	if r.bySID != nil {
		return r.bySID, nil
	}
	sids, err := r.tokens(ctx)
	if err != nil {
		return nil, err
	}
	sids = slices.DeleteFunc(slices.Clone(sids), func(sid string) bool { return !isDomainSID(sid) })
	groups, err := r.d.groupsBySID(ctx, r.a.dialect, sids)
	if err != nil {
		return nil, err
	}
	direct := func(*group) bool { return false }
	if !r.d.config.Groups.Nested {
		if direct, err = r.a.direct(); err != nil {
			return nil, err
		}
	}
	for i, g := range groups {
		primary := sids[i] == r.primary
		r.bySID = append(r.bySID, member{g, primary || direct(g)})
		if primary {
			r.primaryDN = g.dn
		}
	}
	return r.bySID, nil
}

// errInParts is why the direct memberships of an account or a group are not known.
var errInParts = errors.New("the directory gives memberOf in parts only, which happens above 1,500 direct groups: take it out of some")

// direct returns a test for the groups that a's entry names.
func (a *Account) direct() (func(*group) bool, error) {
	if inParts(a.entry) {
		return nil, errInParts
	}
	named := map[string]bool{}
	for _, dn := range a.Values("memberOf") {
		normal, err := normalDN(dn)
		if err != nil {
			return nil, err
		}
		named[normal] = true
	}
	return func(g *group) bool { return named[g.dn] }, nil
}

// groupsBySID returns what the security identifiers stand for, in their order.
// One that nothing under the base bears, such as one from a domain that people
// moved from, is an empty group.
func (d *Directory) groupsBySID(ctx context.Context, di *dialect, sids []string) ([]*group, error) {
	now := d.now()
	groups := make([]*group, len(sids))
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
	var mu sync.Mutex
	err := inBatches(ctx, ask, func(ctx context.Context, batch []string) error {
		found, err := d.searchBySID(ctx, di, batch)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, sid := range batch {
			g := found[sid]
			if g == nil {
				g = &group{}
			}
			d.groups.put(sid, g, now)
			for _, i := range missing[sid] {
				groups[i] = g
			}
		}
		return nil
	})
	return groups, err
}

// searchBySID finds groups by security identifier.
func (d *Directory) searchBySID(ctx context.Context, di *dialect, sids []string) (map[string]*group, error) {
	found := map[string]*group{}
	err := d.searchGroups(ctx, d.climbBases(di), anyOf("objectSid", sids), d.groupAttributes("objectSid", "groupType"), func(e *ldap.Entry, g *group) {
		found[e.GetEqualFoldAttributeValue("objectSid")] = g
	})
	return found, err
}

// groupTypeSecurity is the flag of a group that can carry rights ([MS-ADTS],
// 2.2.12).
const groupTypeSecurity = 0x80000000

// isSecurityGroup reports whether the entry is that of a security group of
// Active Directory.
func isSecurityGroup(e *ldap.Entry) bool {
	n, err := strconv.ParseInt(e.GetEqualFoldAttributeValue("groupType"), 10, 64)
	return err == nil && n&groupTypeSecurity != 0
}
