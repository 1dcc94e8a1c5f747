package ldapauth

import (
	"context"
	"fmt"
	"strings"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// UID returns the one uid that means a: that of its DN, which people cannot change,
// else the only one. Of several in the entry people could add one and choose, so
// there is none then.
func (a *Account) UID() string {
	uids := a.Values("uid")
	for _, uid := range uids {
		if a.isNamed(uid) {
			return uid
		}
	}
	if len(uids) != 1 {
		return ""
	}
	return uids[0]
}

// isNamed reports whether the DN of a begins with this uid.
func (a *Account) isNamed(uid string) bool {
	dn, err := ldap.ParseDN(a.DN)
	if err != nil || len(dn.RDNs) == 0 {
		return false
	}
	for _, x := range dn.RDNs[0].Attributes {
		if strings.EqualFold(x.Type, "uid") && sameName(x.Value, uid) {
			return true
		}
	}
	return false
}

// maxSameUID is how many entries with one uid are looked at. Nobody needs more
// than one; people who write a uid into their own entries must not be able to keep
// the one unseen that has it in its DN.
const maxSameUID = 20

// CheckUID makes sure that nobody else has the uid of a, where it may not be known
// yet: some directories let people write their own, and in a DN it is one person's
// only within a branch. Whoever has it in the DN keeps it against all who do not.
// Nor must it be somebody else's [Account.ID].
// The error is a denial if somebody has, or if that cannot be seen, or a fault.
func (d *Directory) CheckUID(ctx context.Context, a *Account) error {
	uid := a.UID()
	id, isID := a.dialect.idValue(uid)
	if uid == "" || !isID && strings.EqualFold(a.found.attribute, "uid") && sameName(a.found.value, uid) {
		return nil // by which it was found alone
	}
	has := "(uid=" + EscapeFilter(uid) + ")"
	if isID { // which is how others may be known
		has = "(|" + has + "(" + a.dialect.id + "=" + EscapeFilter(id) + "))"
	}
	named := a.isNamed(uid)
	entries, _, err := eachBase(ctx, d.config.BaseDN, func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error) {
		return d.search(ctx, func(di *dialect) *ldap.SearchRequest {
			return subtree(base, maxSameUID, d.timeout, "(&"+has+d.userFilter(di).anyone()+")", []string{di.id})
		})
	})
	seen, others := false, false
	for _, e := range entries {
		other := &Account{DN: e.DN, entry: e}
		if sameDN(e.DN, a.DN) {
			seen = true
		} else if !named || other.isNamed(uid) || isID && strings.EqualFold(other.First(a.dialect.id), id) {
			others = true
		}
	}
	switch {
	case sizeLimit(err), others:
		err = denial.New(denial.SeveralAccounts, "more than one entry has it")
	case err == nil && !seen:
		err = denial.New(denial.NoAccount, "by it the entry itself is not found")
	}
	if err != nil {
		return fmt.Errorf("looking whether the uid %q of %q is somebody else's: %w", uid, a.DN, err)
	}
	return nil
}

// CheckUID looks in the directory that a came from; see [Directory.CheckUID].
func (s *Domains) CheckUID(ctx context.Context, a *Account) error {
	if a.directory == nil {
		return fmt.Errorf("looking for a uid: %w", errStranger)
	}
	return a.directory.CheckUID(ctx, a)
}
