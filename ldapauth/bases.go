package ldapauth

import (
	"context"

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

// groupBases is where groups are.
func (d *Directory) groupBases() []string {
	if d.config.Groups.BaseDN != "" {
		return []string{d.config.Groups.BaseDN}
	}
	return d.config.BaseDN
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
