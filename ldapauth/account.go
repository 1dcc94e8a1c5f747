package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/denial"

	"github.com/go-ldap/ldap/v3"
)

// An Account is one person's entry as it was when it was found.
type Account struct {
	ID       string // stable: objectGUID as Windows writes it, else entryUUID
	DN       string
	Username string // sAMAccountName, else uid

	entry     *ldap.Entry
	dialect   *dialect
	directory *Directory
	found     comparison  // by what it was found; empty: by its ID
	policy    *policy     // the password policy; nil if it cannot be known
	proved    atomic.Bool // the directory has accepted the password
	asked     time.Time   // before the directory was asked for the entry
}

// First returns the first value of an attribute, "" if there is none. The case
// of the name does not matter.
func (a *Account) First(attribute string) string {
	if v := a.Values(attribute); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns the values of an attribute in the order in which the
// directory gave them. The caller must not change them.
func (a *Account) Values(attribute string) []string {
	for _, x := range a.entry.Attributes {
		if strings.EqualFold(x.Name, attribute) {
			return x.Values
		}
	}
	return nil
}

// SID returns the security identifier as text, such as S-1-5-21-1-2-3-1104. It is
// "" outside Active Directory.
func (a *Account) SID() string {
	if sid := a.First("objectSid"); isSID(sid) {
		return sidText(sid)
	}
	return ""
}

// State reports whether the account may sign in at now: nil, a denial that
// says why not, or a fault when the entry holds something that cannot be
// understood. It must be asked for every method of signing in, since all but a
// password bypass the directory's own judgement. Denials for one of the reasons
// in except are passed over.
func (a *Account) State(now time.Time, except ...denial.Reason) error {
	for _, c := range a.dialect.state {
		if err := c.judge(a, now); err != nil && !slices.Contains(except, denial.ReasonOf(err)) {
			return fmt.Errorf("account %q: %w", a.DN, err)
		}
	}
	return nil
}

// A Fact is one thing that [Account.State] looks at.
type Fact struct {
	Attribute string
	Text      string // what it says, in words
	Err       error  // why it keeps the account out; nil if it does not
}

// Facts returns everything that [Account.State] looks at, in its order: State
// is the first error among them.
func (a *Account) Facts(now time.Time) []Fact {
	facts := make([]Fact, len(a.dialect.state))
	for i, c := range a.dialect.state {
		facts[i] = Fact{c.attribute, c.says(a, now), c.judge(a, now)}
	}
	return facts
}

// FoundBy says what made the account the one that a user name means: an
// attribute and its value, such as sAMAccountName=jon. It is "" if the account
// was found otherwise.
func (a *Account) FoundBy() string {
	if a.found.attribute == "" {
		return ""
	}
	return a.found.attribute + "=" + a.found.value
}

// Domain returns what the account's directory is called in messages.
func (a *Account) Domain() string { return a.directory.label }

// FindByName returns the one person called name, which may be written in any of
// the forms that the directory knows: jon, jon@corp.example.com, CORP\jon. The
// error is a denial with the reason NoAccount, SeveralAccounts or BadName, or a
// fault.
func (d *Directory) FindByName(ctx context.Context, name string) (*Account, error) {
	n, err := parseName(name)
	if err != nil {
		return nil, err
	}
	r, err := d.read(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("looking for user %q: %w", name, err)
	}
	return d.findRead(ctx, &r)
}

// findRead returns the one person whom r means.
func (d *Directory) findRead(ctx context.Context, r *reading) (*Account, error) {
	if r.meansNobody() {
		return nil, r.errForeign()
	}
	a, err := d.find(ctx, func(di *dialect) string { return d.nameFilter(di, r) })
	if err != nil {
		return nil, fmt.Errorf("looking for user %q%v: %w", r.name.whole, r, err)
	}
	return d.confirm(ctx, a, r)
}

// confirm returns a if it is whom r means.
func (d *Directory) confirm(ctx context.Context, a *Account, r *reading) (*Account, error) {
	var ok bool
	if a.found, ok = d.matched(a, r); !ok {
		return nil, denial.New(denial.NoAccount, "the directory found %q for the user name %q, but that is not its name", a.DN, r.name.whole)
	}
	note(ctx, func() string {
		return fmt.Sprintf("compared here: the entry is indeed called %q (by %s)", r.name.whole, a.FoundBy())
	})
	return a, nil
}

// FindByID returns the person whose [Account.ID] is id. Whoever was moved out
// of the base, or is no longer let through by the user filter, is NoAccount.
func (d *Directory) FindByID(ctx context.Context, id string) (*Account, error) {
	_, guid := guidBytes(id)
	if _, other := nsUniqueIDText(id); !guid && !other {
		return nil, denial.New(denial.BadName, "%q is not an account's ID", id)
	}
	a, err := d.find(ctx, func(di *dialect) string {
		value, ok := di.idValue(id)
		if !ok { // another kind of directory's
			return "(!(objectClass=*))"
		}
		return "(&(" + di.id + "=" + EscapeFilter(value) + ")" + d.userFilter(di).anyone() + ")"
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the account with ID %s: %w", id, err)
	}
	if !strings.EqualFold(a.ID, id) {
		return nil, denial.New(denial.NoAccount, "the directory found %q for the ID %s, but that is not its ID", a.DN, id)
	}
	return a, nil
}

// find returns the one person whom the filter finds, with more attributes than
// every sign-in needs.
func (d *Directory) find(ctx context.Context, filter func(*dialect) string, more ...string) (*Account, error) {
	asked := d.now()
	entries, di, err := eachBase(ctx, d.config.BaseDN, func(ctx context.Context, base string) (*ldap.SearchResult, *dialect, error) {
		return d.findUnder(ctx, base, filter, more)
	})
	switch {
	case sizeLimit(err), err == nil && len(entries) > 1:
		return nil, denial.New(denial.SeveralAccounts, "more than one entry fits")
	case err != nil:
		return nil, err
	case len(entries) == 0:
		return nil, denial.New(denial.NoAccount, "no entry fits")
	}
	a, err := d.account(ctx, di, entries[0])
	if err == nil {
		a.asked = asked
	}
	return a, err
}

// findUnder returns what the filter finds under base: at most two entries, which
// are enough to know that it is not one.
func (d *Directory) findUnder(ctx context.Context, base string, filter func(*dialect) string, more []string) (*ldap.SearchResult, *dialect, error) {
	result, di, err := d.search(ctx, func(di *dialect) *ldap.SearchRequest {
		return subtree(base, 2, d.timeout, filter(di), append(d.attributesOf(di), more...))
	})
	if err != nil {
		err = explainBase(base, err)
	}
	return result, di, err
}

// account returns the entry as an account, if it is a person's.
func (d *Directory) account(ctx context.Context, di *dialect, e *ldap.Entry) (*Account, error) {
	a := &Account{DN: e.DN, entry: e, dialect: di, directory: d}
	a.Username = a.First(di.username)
	if err := a.checkPerson(); err != nil {
		return nil, err
	}
	note(ctx, func() string {
		return fmt.Sprintf("%q is a person (%s)", a.DN, strings.Join(a.Values("objectClass"), ", "))
	})
	raw := a.First(di.id)
	id, ok := di.idText(raw)
	if !ok {
		return nil, fmt.Errorf("entry %q shows no usable %s, the attribute that identifies it for good: let the service account read it, and check ldap.schema", e.DN, di.id)
	}
	if a.ID = id; a.DN == "" {
		return nil, errors.New("the directory sent an entry without a DN")
	}
	var err error
	if a.policy, err = d.policyOf(ctx, a); err != nil {
		return nil, err
	}
	return a, nil
}

// notPersons are the classes of entries that can have a name and a password,
// but are nobody.
var notPersons = []string{
	"computer", "msDS-ManagedServiceAccount", "msDS-GroupManagedServiceAccount", "trustedDomain",
	"group", "groupOfNames", "groupOfUniqueNames", "groupOfMembers", "posixGroup", "device",
}

// checkPerson refuses entries of machines and groups, whatever filter found
// them: a computer's account could otherwise be named like a person's.
func (a *Account) checkPerson() error {
	classes := a.Values("objectClass")
	if len(classes) == 0 {
		return fmt.Errorf("entry %q shows no objectClass: let the service account read it", a.DN)
	}
	for _, c := range classes {
		for _, n := range notPersons {
			if strings.EqualFold(c, n) {
				return denial.New(denial.NoAccount, "%q is a %s, not a person", a.DN, n)
			}
		}
	}
	if strings.HasSuffix(a.First("sAMAccountName"), "$") {
		return denial.New(denial.NoAccount, "%q is a machine's or a trust's account, not a person's", a.DN)
	}
	return nil
}
