package ldapauth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// A HolderRule says by what the account of a certificate's holder is found.
type HolderRule int

// The rules.
const (
	// ByUserName: the text is a user name, as people type it.
	ByUserName HolderRule = iota
	// ByMail: it is the account's mail address.
	ByMail
	// BySubject: it is the distinguished name of the account's entry.
	BySubject
	// BySID: it is the security identifier of an account in Active Directory.
	BySID
	// ByIdentities: an account in Active Directory has one of the identities in
	// altSecurityIdentities.
	ByIdentities
)

// A Holder is whom a certificate names, and what its account is asked for.
type Holder struct {
	By   HolderRule
	Text string
	// Filter finds the account in the place of what By does, {0} being the text.
	// Not for BySID and ByIdentities.
	Filter string
	// SID is the security identifier that the certificate has, whatever the rule.
	SID string
	// Also is a name that the account must have besides; nil: none.
	Also *Holder
	// Identities are the forms of the certificate that altSecurityIdentities may
	// hold, WeakIdentities those that other certificates may have too.
	Identities, WeakIdentities []string
	// Pinned says that the configuration itself ties the certificate to the name.
	Pinned bool

	IssuedAt time.Time // the certificate's notBefore
	// MustBeStrong demands more than a name, MustBeYounger that or an account
	// that is not younger than the certificate.
	MustBeStrong, MustBeYounger bool
}

// backdating is how much earlier than at its making a certificate may say that
// it begins. Authorities do that for clocks that are behind; ten minutes is what
// those of Windows do.
const backdating = 10 * time.Minute

// CheckHolderFilter reports whether a filter can find the accounts of holders.
func CheckHolderFilter(filter string) error {
	_, err := parseUserFilter(filter)
	return err
}

// FindHolder returns the one person whom a certificate names, with one search.
// The error is a denial with the reason NoAccount, SeveralAccounts or BadName, or
// a fault. What else the certificate says is for [Directory.JudgeHolder].
func (d *Directory) FindHolder(ctx context.Context, h *Holder) (*Account, error) {
	if h.By == ByUserName && h.Filter == "" {
		return d.FindByName(ctx, h.Text)
	}
	f, err := d.holderTemplate(h)
	if err != nil {
		return nil, err
	}
	a, err := d.find(ctx, func(di *dialect) string { return d.holderFilter(di, h, f) }, f.attributes()...)
	if err != nil {
		return nil, fmt.Errorf("looking for the holder of a certificate, %q: %w", h.Text, err)
	}
	if a.found, err = d.confirmHolder(ctx, a, h); err != nil {
		return nil, err
	}
	if a.found == (comparison{}) {
		return nil, denial.New(denial.NoAccount, "the directory found %q for %q, but that is not what it has", a.DN, h.Text)
	}
	note(ctx, func() string { return fmt.Sprintf("compared here: the entry indeed has %s", a.FoundBy()) })
	return a, nil
}

// holderTemplate returns the filter of h, taken apart; an empty one if it has
// none. It is done once for each that is configured.
func (d *Directory) holderTemplate(h *Holder) (*userFilter, error) {
	if h.Filter == "" {
		return &userFilter{}, nil
	}
	if f, ok := d.templates.Load(h.Filter); ok {
		return f.(*userFilter), nil //nolint:forcetypeassert // nothing else is stored
	}
	f, err := parseUserFilter(h.Filter)
	if err != nil {
		return nil, fmt.Errorf("the filter %q %w", h.Filter, err)
	}
	d.templates.Store(h.Filter, f)
	return f, nil
}

// nothing is a filter that finds nothing.
const nothing = "(!(objectClass=*))"

// holderFilter returns the filter that finds the holder among those who may be
// found by a name.
func (d *Directory) holderFilter(di *dialect, h *Holder, f *userFilter) string {
	var find string
	switch {
	case f.template != "":
		find = f.byName(h.Text)
	case h.By == ByMail:
		find = "(mail=" + EscapeFilter(h.Text) + ")"
	case h.By == BySubject:
		find = "(" + di.dn + "=" + EscapeFilter(h.Text) + ")"
	case !di.tokenGroups: // the rest is of Active Directory alone
		return nothing
	case h.By == BySID:
		sid, ok := sidBytes(h.Text)
		if !ok {
			return nothing
		}
		find = "(objectSid=" + EscapeFilter(sid) + ")"
	default:
		find = anyOf("altSecurityIdentities", slices.Concat(h.Identities, h.WeakIdentities))
	}
	return "(&" + find + d.userFilter(di).anyone() + ")"
}

// confirmHolder returns by what a is whom h names; an empty comparison if it is
// not. Directories compare loosely, and by rules of their own; here what counts
// is equal but for the case of letters.
func (d *Directory) confirmHolder(ctx context.Context, a *Account, h *Holder) (comparison, error) {
	switch {
	case h.By == ByUserName && h.Filter == "":
		n, err := parseName(h.Text)
		if err != nil {
			return comparison{}, err
		}
		r, err := d.read(ctx, n)
		if err != nil {
			return comparison{}, err
		}
		c, _ := d.matched(a, &r)
		return c, nil
	case h.Filter != "":
		f, err := d.holderTemplate(h)
		if err != nil {
			return comparison{}, err
		}
		return matchHolder(a, h, f), nil
	case h.By == BySubject && sameDN(a.DN, h.Text):
		return comparison{a.dialect.dn, a.DN}, nil
	case h.By == BySID && hasSID(a, h.Text):
		return comparison{"objectSid", h.Text}, nil
	case h.By == ByMail:
		for _, v := range a.Values("mail") {
			if sameName(v, h.Text) {
				return comparison{"mail", v}, nil
			}
		}
	case h.By == ByIdentities:
		return comparison{}.orIdentity(a, h.Identities).orIdentity(a, h.WeakIdentities), nil
	}
	return comparison{}, nil
}

// matchHolder is [userFilter.match] for a holder: a subject is compared as the
// name that it is, not as its text.
func matchHolder(a *Account, h *Holder, f *userFilter) comparison {
	if h.By != BySubject {
		c, _ := f.match(a, h.Text)
		return c
	}
	for _, c := range f.equal {
		want := strings.ReplaceAll(c.value, placeholder, h.Text)
		for _, v := range a.Values(c.attribute) {
			if c.value == placeholder && sameDN(v, h.Text) || c.value != placeholder && v == want {
				return comparison{c.attribute, v}
			}
		}
	}
	return comparison{}
}

// hasSID reports whether a has the security identifier.
func hasSID(a *Account, text string) bool {
	sid, ok := sidBytes(text)
	return ok && a.First("objectSid") == sid
}

// orIdentity returns c, or if it is empty the value of altSecurityIdentities that
// is one of the identities.
func (c comparison) orIdentity(a *Account, identities []string) comparison {
	if c != (comparison{}) {
		return c
	}
	const attribute = "altSecurityIdentities"
	for _, v := range a.Values(attribute) {
		if slices.ContainsFunc(identities, func(want string) bool { return sameIdentity(v, want) }) {
			return comparison{attribute, v}
		}
	}
	return comparison{}
}

// sameIdentity compares a value of altSecurityIdentities with what it must be.
// Names must be the same to the letter, with every blank. Only what is written
// in hexadecimal may be so in small and in capital letters.
func sameIdentity(value, want string) bool {
	end := strings.LastIndexByte(want, '>') + 1
	head, tail := want[:end], want[end:]
	for _, tag := range []string{"<SR>", "<SKI>", "<SHA1-PUKEY>"} {
		if strings.HasSuffix(head, tag) {
			return len(value) == len(want) && value[:end] == head && strings.EqualFold(value[end:], tail)
		}
	}
	return value == want
}

// JudgeHolder holds the rest of what a certificate says against the account that
// was found by it, or that it let in before. It asks nobody. strong reports
// whether more than a name ties them together. The error is a denial with the
// reason SIDMismatch, WeakMapping, OlderThanAccount or NoAccount, or a fault.
func (d *Directory) JudgeHolder(ctx context.Context, a *Account, h *Holder) (strong bool, err error) {
	strong = h.Pinned
	if h.By == ByIdentities {
		strong = comparison{}.orIdentity(a, h.Identities) != comparison{}
		if !strong && (comparison{}.orIdentity(a, h.WeakIdentities) == comparison{}) {
			return false, denial.New(denial.NoAccount, "altSecurityIdentities of %q holds nothing of the certificate", a.DN)
		}
	}
	if h.SID != "" && a.dialect.tokenGroups {
		if err := checkSID(a, h.SID); err != nil {
			return false, err
		}
		strong = true
	}
	if h.Also != nil {
		c, err := d.confirmHolder(ctx, a, h.Also)
		switch {
		case err != nil:
			return false, err
		case c == comparison{}:
			return false, denial.New(denial.SIDMismatch, "by its security identifier %s the certificate is of %q, but it bears the name %q, which is not that account's", h.SID, a.DN, h.Also.Text)
		}
	}
	switch {
	case strong:
		return true, nil
	case h.MustBeStrong:
		return false, denial.New(denial.WeakMapping, "nothing but a name, %q, ties the certificate to %q", h.Text, a.DN)
	case h.MustBeYounger:
		return false, a.checkAge(h.IssuedAt)
	}
	return false, nil
}

// checkSID demands that a has the security identifier that a certificate was
// issued to.
func checkSID(a *Account, text string) error {
	sid := a.First("objectSid")
	switch {
	case !isSID(sid):
		return fmt.Errorf("entry %q shows no objectSid, which the certificate has to agree with: let the service account read it", a.DN)
	case !hasSID(a, text):
		return denial.New(denial.SIDMismatch, "the certificate was issued to %s, but %q is %s", text, a.DN, sidText(sid))
	}
	return nil
}

// checkAge demands that the account was there when a certificate was issued: it
// could be that of somebody who had its name before.
func (a *Account) checkAge(issued time.Time) error {
	created, err := a.time(a.dialect.created)
	switch {
	case err != nil:
		return err
	case created.IsZero():
		return fmt.Errorf("entry %q shows no %s, and refuse_older_than_account needs it: let the service account read it", a.DN, a.dialect.created)
	case issued.Add(backdating).Before(created):
		return denial.New(denial.OlderThanAccount, "the certificate begins at %s, but %q was made at %s",
			issued.UTC().Format(time.RFC3339), a.DN, created.UTC().Format(time.RFC3339))
	}
	return nil
}

// FindHolder is [Directory.FindHolder] in all directories, or in the one that a
// user name belongs to.
func (s *Domains) FindHolder(ctx context.Context, h *Holder) (*Account, error) {
	if h.By == ByUserName && h.Filter == "" {
		return s.FindByName(ctx, h.Text)
	}
	if len(s.list) == 1 {
		return s.list[0].FindHolder(ctx, h)
	}
	a, err := only(ask(s.list, func(_ int, d *Directory) (*Account, error) { return d.FindHolder(ctx, h) }))
	if err != nil {
		return nil, err
	}
	s.origins.Add(a.ID, a.directory)
	return a, nil
}

// JudgeHolder is [Directory.JudgeHolder] in the directory that a came from.
func (s *Domains) JudgeHolder(ctx context.Context, a *Account, h *Holder) (strong bool, err error) {
	if a.directory == nil {
		return false, fmt.Errorf("judging a certificate: %w", errStranger)
	}
	return a.directory.JudgeHolder(ctx, a, h)
}

// sameDN compares two distinguished names part by part: types by what they
// stand for, values but for the case of letters, and the parts of one level in
// any order. Blanks count: directories are freer there, and so let two names be
// one.
func sameDN(a, b string) bool {
	x, err := ldap.ParseDN(a)
	if err != nil {
		return false
	}
	y, err := ldap.ParseDN(b)
	if err != nil || len(x.RDNs) != len(y.RDNs) || len(x.RDNs) == 0 {
		return false
	}
	for i := range x.RDNs {
		if !sameRDN(x.RDNs[i].Attributes, y.RDNs[i].Attributes) {
			return false
		}
	}
	return true
}

func sameRDN(a, b []*ldap.AttributeTypeAndValue) bool {
	if len(a) != len(b) {
		return false
	}
	rest := slices.Clone(b)
	for _, x := range a {
		i := slices.IndexFunc(rest, func(y *ldap.AttributeTypeAndValue) bool {
			return typeKey(x.Type) == typeKey(y.Type) && sameName(x.Value, y.Value)
		})
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return true
}

// typeKey returns the same for all names of an attribute type.
func typeKey(name string) string {
	name = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "oid.")
	if key := typeKeys[name]; key != "" {
		return key
	}
	return name
}

// typeKeys are the short names of attribute types by their other names (RFC
// 4519, and what is in use besides).
var typeKeys = map[string]string{
	"2.5.4.3": "cn", "commonname": "cn",
	"2.5.4.4": "sn", "surname": "sn",
	"2.5.4.5": "serialnumber",
	"2.5.4.6": "c", "countryname": "c",
	"2.5.4.7": "l", "localityname": "l",
	"2.5.4.8": "st", "s": "st", "stateorprovincename": "st",
	"2.5.4.9": "street", "streetaddress": "street",
	"2.5.4.10": "o", "organizationname": "o",
	"2.5.4.11": "ou", "organizationalunitname": "ou",
	"2.5.4.12": "title", "t": "title",
	"2.5.4.42": "givenname", "gn": "givenname", "g": "givenname",
	"0.9.2342.19200300.100.1.1": "uid", "userid": "uid",
	"0.9.2342.19200300.100.1.25": "dc", "domaincomponent": "dc",
	"1.2.840.113549.1.9.1": "emailaddress", "e": "emailaddress", "email": "emailaddress",
}
