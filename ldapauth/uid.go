package ldapauth

import (
	"context"
	"fmt"
	"strings"

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

// CheckUID makes sure that nobody else has the uid of a, where it may not be known
// yet: some directories let people write their own. The error is a denial with the
// reason SeveralAccounts if somebody has, or a fault.
func (d *Directory) CheckUID(ctx context.Context, a *Account) error {
	uid := a.UID()
	if uid == "" || a.isNamed(uid) || strings.EqualFold(a.found.attribute, "uid") && sameName(a.found.value, uid) {
		return nil // by which it was found alone
	}
	_, err := d.find(ctx, func(di *dialect) string {
		return "(&(uid=" + EscapeFilter(uid) + ")" + d.userFilter(di).anyone() + ")"
	})
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
