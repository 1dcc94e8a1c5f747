package ldapauth

import (
	"context"
	"slices"
	"strings"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/unicode/norm"
)

// DenyProtected in deny_groups stands for the accounts and groups that Active
// Directory itself protects. Elsewhere it stands for nothing.
const DenyProtected = "protected"

// protectedRIDs are the accounts and groups of a domain that
// [DenyProtected] stands for. Whoever is one of them, or can become one of
// them unasked, owns the domain, and with it everybody: a stolen certificate or
// a guessed password must be worth nothing here.
//
// They are what a domain controller guards by AdminSDHolder ([MS-ADTS],
// 3.1.1.6.1), by their relative identifiers ([MS-DTYP], 2.4.2.4), and the
// read-only domain controllers of the forest. Names would not do: they are
// translated, and administrators rename them.
var protectedRIDs = []uint32{
	498, // Enterprise Read-only Domain Controllers
	500, // the account Administrator
	502, // the account krbtgt
	512, // Domain Admins
	516, // Domain Controllers
	518, // Schema Admins
	519, // Enterprise Admins
	521, // Read-only Domain Controllers
	526, // Key Admins
	527, // Enterprise Key Admins
}

// protectedBuiltin are the groups under S-1-5-32 that [DenyProtected] stands
// for, from the same list. They administer the domain controllers and so can
// become any of the others.
var protectedBuiltin = []uint32{
	544, // Administrators
	548, // Account Operators
	549, // Server Operators
	550, // Print Operators
	551, // Backup Operators
	552, // Replicator
}

// isProtected reports whether [DenyProtected] stands for a binary security
// identifier. The domain does not matter: Enterprise Admins and Schema Admins
// are in the forest's first one.
func isProtected(sid string) bool {
	return isDomainSID(sid) && slices.Contains(protectedRIDs, rid(sid)) ||
		isBuiltinSID(sid) && slices.Contains(protectedBuiltin, rid(sid))
}

// denyRules are deny_groups, taken apart.
type denyRules struct {
	protected bool
	sids      map[string]bool // binary
	dns       map[string]bool // see looseDN
	names     map[string]bool // see loose
}

// newDenyRules takes deny_groups apart: the word for what is protected, security
// identifiers, DNs, and names.
func newDenyRules(groups []string) denyRules {
	r := denyRules{sids: map[string]bool{}, dns: map[string]bool{}, names: map[string]bool{}}
	for _, g := range groups {
		if g == DenyProtected {
			r.protected = true
			continue
		}
		if sid, ok := sidBytes(g); ok {
			r.sids[sid] = true
			continue
		}
		if dn, ok := looseDN(g); ok {
			r.dns[dn] = true
			continue
		}
		r.names[loose(g)] = true
	}
	return r
}

// named reports whether there are groups that are barred by DN or by name.
func (r denyRules) named() bool { return len(r.dns)+len(r.names) > 0 }

// concerns reports whether anybody in a directory of this kind can be barred.
func (r denyRules) concerns(di *dialect) bool {
	return r.named() || di.tokenGroups && (r.protected || len(r.sids) > 0)
}

// bars reports whether a group, or an account, with this binary security
// identifier is barred.
func (r denyRules) bars(sid string) bool { return r.sids[sid] || r.protected && isProtected(sid) }

// barsGroup reports whether a group is barred by its DN or one of its names. What
// its DN begins with is one, and all that is known of a group that the service
// account does not see or that lies where no groups are looked for.
func (r denyRules) barsGroup(dn *ldap.DN, names []string) bool {
	if len(dn.RDNs) > 0 {
		for _, x := range dn.RDNs[0].Attributes {
			names = append(names, x.Value)
		}
	}
	if slices.ContainsFunc(names, func(name string) bool { return r.names[loose(name)] }) {
		return true
	}
	if len(r.dns) == 0 {
		return false
	}
	text, ok := looseDN(dn.String())
	return ok && r.dns[text]
}

// loose returns a name in a form in which names that look alike are equal: a
// group must not escape being barred by how its name was typed. To bar too many
// is the lesser evil.
func loose(name string) string {
	return strings.Join(strings.Fields(strings.Map(fold, norm.NFKC.String(name))), " ")
}

// looseDN is [loose] for DNs. It reports whether dn is one.
func looseDN(dn string) (string, bool) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return "", false
	}
	for _, rdn := range parsed.RDNs {
		for _, x := range rdn.Attributes {
			x.Value = loose(x.Value)
		}
	}
	normal, err := normalDN(parsed.String())
	return normal, err == nil
}

// bar returns a denial with the reason DeniedGroup if the account is among
// deny_groups, or in one of them, directly or through other groups. Any other
// error means that nobody can tell.
//
// Security identifiers are judged as the domain controller gives them, before
// anything is looked up: what they stand for may lie where the service account
// sees nothing.
func (r *roll) bar(ctx context.Context) error {
	rules := r.d.deny
	if r.a.dialect.tokenGroups {
		sids, err := r.tokens(ctx)
		if err != nil {
			return err
		}
		for _, sid := range append([]string{r.a.First("objectSid")}, sids...) {
			if rules.bars(sid) {
				return denial.New(denial.DeniedGroup, "is, or is in, %s, which ldap.deny_groups bars", sidText(sid))
			}
		}
	}
	if !rules.named() {
		return nil
	}
	for _, ask := range r.everyWay() {
		groups, err := ask(ctx)
		if err != nil {
			return err
		}
		for _, m := range groups {
			if m.barred {
				return denial.New(denial.DeniedGroup, "is in %s, which ldap.deny_groups bars", m.dn)
			}
		}
	}
	return nil
}

// everyWay returns the ways that it takes to find all groups that may bar. No
// single one sees every kind of group: Active Directory leaves distribution
// lists out of the token, other servers may keep memberOf for one class of groups
// and not for the next, and a configured filter may know a class that we do not.
func (r *roll) everyWay() (ways []func(context.Context) ([]member, error)) {
	di := r.a.dialect
	if di.tokenGroups {
		ways = append(ways, r.tokenGroups)
	}
	ways = append(ways, r.climb)
	if !di.tokenGroups && di.direct == nil && len(r.a.Values("memberOf")) > 0 {
		ways = append(ways, func(ctx context.Context) ([]member, error) { return r.climbByFilter(ctx, "", true) })
	}
	if r.d.config.Groups.Filter != "" {
		ways = append(ways, r.climbAsConfigured)
	}
	return ways
}
