package ldapauth

import (
	"context"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/errgroup"
)

// eachBase runs search under every base, at the same time if there are several,
// and returns all that was found. The first error ends it.
func eachBase(ctx context.Context, bases []string, search func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error)) ([]*ldap.Entry, *dialect, error) {
	if len(bases) == 1 {
		result, di, err := search(ctx, bases[0])
		if err != nil {
			return nil, nil, err
		}
		return result.Entries, di, nil
	}
	results := make([]*ldap.SearchResult, len(bases))
	dialects := make([]*dialect, len(bases))
	work, ctx := errgroup.WithContext(ctx)
	for i, base := range bases {
		work.Go(func() (err error) {
			results[i], dialects[i], err = search(ctx, base)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, nil, err
	}
	var entries []*ldap.Entry
	for _, r := range results {
		entries = append(entries, r.Entries...)
	}
	return entries, dialects[0], nil
}

// groupBases is where the groups are that are reported.
func (d *Directory) groupBases() []string {
	if d.config.Groups.BaseDN != "" {
		return []string{d.config.Groups.BaseDN}
	}
	return d.config.BaseDN
}

// climbBases returns where groups are looked for. For the sake of deny_groups,
// these are all places where one may be that leads to a group which bars; what
// is reported comes from [Directory.groupBases] alone.
func (d *Directory) climbBases(di *dialect) []string {
	bases := d.groupBases()
	if !d.deny.named() {
		return bases
	}
	for _, base := range d.config.BaseDN {
		if di.tokenGroups {
			base = domainOf(base)
		}
		bases = widen(bases, base)
	}
	return bases
}

// widen returns bases and base, without those that lie within another.
func widen(bases []string, base string) []string {
	parsed, err := ldap.ParseDN(base)
	if err != nil {
		return bases
	}
	if covered, _ := isUnder(bases, parsed); covered {
		return bases
	}
	wider := []string{base}
	for _, b := range bases {
		if dn, err := ldap.ParseDN(b); err != nil || !holdsDN(parsed, dn) {
			wider = append(wider, b)
		}
	}
	return wider
}

// domainOf returns the part of a DN that names the domain: dc=example,dc=com.
// It is the DN itself if there is none.
func domainOf(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return dn
	}
	i := len(parsed.RDNs)
	for i > 0 && strings.EqualFold(parsed.RDNs[i-1].Attributes[0].Type, "dc") {
		i--
	}
	if i == len(parsed.RDNs) {
		return dn
	}
	return (&ldap.DN{RDNs: parsed.RDNs[i:]}).String()
}

// isUnder reports whether dn is one of the bases or below it.
func isUnder(bases []string, dn *ldap.DN) (bool, error) {
	for _, b := range bases {
		base, err := ldap.ParseDN(b)
		if err != nil {
			return false, err
		}
		if holdsDN(base, dn) {
			return true, nil
		}
	}
	return false, nil
}
