package ldapauth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"adconnector/ldapauth/denial"
)

// A nameForm is a way of writing a user name.
type nameForm int

const (
	plainName     nameForm = iota // jon
	principalName                 // jon@corp.example.com
	downLevelName                 // CORP\jon
)

// A typedName is a user name as it was given, taken apart.
type typedName struct {
	whole  string
	form   nameForm
	domain string // behind the last @ or before the first backslash; "" in a plain name
	local  string // the rest
}

// parseName takes a user name apart. The error is a denial of names that no
// account may have.
func parseName(name string) (typedName, error) {
	n := typedName{whole: name, local: name}
	if err := checkName(name); err != nil {
		return n, err
	}
	if before, after, ok := strings.Cut(name, `\`); ok && before != "" && after != "" {
		n.form, n.domain, n.local = downLevelName, before, after
	} else if i := strings.LastIndexByte(name, '@'); !ok && i > 0 && i < len(name)-1 {
		n.form, n.domain, n.local = principalName, name[i+1:], name[:i]
	}
	if n.form != plainName { // blanks at its end count for nothing in some directories
		return n, checkName(n.local)
	}
	return n, nil
}

// A reading is what a name can mean in one directory: an account must have one
// of these to be the one that is meant. A name that can mean none of them is
// not looked for.
type reading struct {
	name      typedName
	mine      bool     // the domain part is this directory's and so no other's
	account   string   // the account's own name (sAMAccountName, uid); "": no way to mean one
	principal bool     // the whole is the userPrincipalName
	mail      bool     // the whole is a mail address
	values    []string // what {0} stands for, where a user_filter is configured
	foreign   string   // why it can mean nobody
}

func (r *reading) meansNobody() bool {
	return r.account == "" && !r.principal && !r.mail && len(r.values) == 0
}

// read returns what n can mean here. What the domain part stands for is known
// from the configuration or the directory, and a name with another one is never
// taken for the local account that its rest would name.
func (d *Directory) read(ctx context.Context, n typedName) (reading, error) {
	if n.form == plainName {
		if d.filter != nil {
			return reading{name: n, values: []string{n.whole}}, nil
		}
		return reading{name: n, account: n.whole}, nil
	}
	who, err := d.identity(ctx)
	if err != nil {
		return reading{}, fmt.Errorf("finding out what the domain is called: %w", err)
	}
	r := d.readDownLevel(who, n)
	if n.form == principalName {
		r = d.readPrincipal(who, n)
	}
	if d.filter != nil {
		r.values, r.account, r.principal = d.filterValues(r), "", false
	}
	return r, nil
}

// readDownLevel reads a name such as CORP\jon. Where nobody knows of a NetBIOS
// name, as on most servers but Active Directory, a backslash is a letter.
func (d *Directory) readDownLevel(who *identity, n typedName) reading {
	r := reading{name: n}
	switch {
	case who.netbios != "" && sameName(n.domain, who.netbios):
		r.mine, r.account = true, n.local
	case who.netbios != "":
		r.foreign = fmt.Sprintf("the domain is %s, not %s", who.netbios, n.domain)
	case who.activeDirectory && d.filter == nil:
		r.foreign = fmt.Sprintf("the domain's NetBIOS name is not known (%v): set ldap.netbios", who.missing)
	default:
		r.account = n.whole
	}
	return r
}

// readPrincipal reads a name such as jon@corp.example.com. In Active Directory
// everybody has the name that ends in the domain's DNS name, besides the one in
// userPrincipalName.
func (d *Directory) readPrincipal(who *identity, n typedName) reading {
	listed := holdsName(d.config.Suffixes, n.domain)
	implicit := who.activeDirectory && sameName(n.domain, who.dns)
	r := reading{name: n, mine: listed || implicit, mail: d.config.MailAsName}
	switch {
	case r.mine && who.activeDirectory:
		r.principal = true
		if implicit {
			r.account = n.local
		}
	case r.mine:
		r.account = n.local
	case len(d.config.Suffixes) > 0:
		r.foreign = fmt.Sprintf("%s is not one of ldap.suffixes", n.domain)
	case !who.activeDirectory:
		r.account = n.whole
	case holdsName(who.suffixes, n.domain):
		r.principal = true
	default:
		r.foreign = fmt.Sprintf("%s is no suffix of this domain (%s) or its forest; if it should be, list it in ldap.suffixes", n.domain, who.dns)
	}
	return r
}

// filterValues returns what {0} in a configured user_filter stands for: the name
// as it was typed, and what a domain part leaves over that the configuration
// says is this directory's.
func (d *Directory) filterValues(r reading) []string {
	n := r.name
	switch {
	case r.foreign != "" && (n.form == downLevelName || len(d.config.Suffixes) > 0):
		return nil
	case n.form == downLevelName && r.mine:
		return []string{n.local} // no attribute holds the other
	case n.form == principalName && holdsName(d.config.Suffixes, n.domain):
		return []string{n.whole, n.local}
	}
	return []string{n.whole}
}

func holdsName(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return sameName(s, name) })
}

// comparisons returns what an account must have, any one of it, in a directory
// of the kind di.
func (r *reading) comparisons(di *dialect) []comparison {
	var list []comparison
	if r.account != "" {
		list = append(list, comparison{di.username, r.account})
	}
	if r.principal {
		list = append(list, comparison{"userPrincipalName", r.name.whole})
	}
	if r.mail {
		list = append(list, comparison{"mail", r.name.whole})
	}
	return list
}

// nameFilter returns the filter that finds whom r means.
func (d *Directory) nameFilter(di *dialect, r *reading) string {
	var list []string
	for _, v := range r.values {
		list = append(list, d.filter.byName(v))
	}
	for _, c := range r.comparisons(di) {
		list = append(list, "("+c.attribute+"="+EscapeFilter(c.value)+")")
	}
	filter := list[0]
	if len(list) > 1 {
		filter = "(|" + strings.Join(list, "") + ")"
	}
	if len(r.values) > 0 {
		return filter
	}
	return "(&" + di.person + filter + ")"
}

// matched returns by what a is whom r means, if it is.
func (d *Directory) matched(a *Account, r *reading) (comparison, bool) {
	for _, v := range r.values {
		if c, ok := d.filter.match(a, v); ok {
			return c, true
		}
	}
	for _, c := range r.comparisons(a.dialect) {
		for _, v := range a.Values(c.attribute) {
			if sameName(v, c.value) {
				return c, true
			}
		}
	}
	return comparison{}, false
}

// errForeign refuses a name that can mean nobody here.
func (r *reading) errForeign() error {
	return denial.New(denial.NoAccount, "the user name %q is of another domain: %s", r.name.whole, r.foreign)
}

// String says how the name was read, "" if that goes without saying.
func (r *reading) String() string {
	if r.name.form == plainName {
		return ""
	}
	var ways []string
	if r.account != "" {
		ways = append(ways, fmt.Sprintf("account name %q", r.account))
	}
	if r.principal {
		ways = append(ways, "userPrincipalName")
	}
	if r.mail {
		ways = append(ways, "mail address")
	}
	for _, v := range r.values {
		ways = append(ways, fmt.Sprintf("%q in ldap.user_filter", v))
	}
	return " (read as " + strings.Join(ways, " or ") + ")"
}

// nameForms says how people may write their names, for the administrator.
func (d *Directory) nameForms(who *identity) string {
	if d.filter != nil {
		return "as ldap.user_filter compares them"
	}
	forms := []string{"jon"}
	suffixes := d.config.Suffixes
	if who.activeDirectory && who.dns != "" && !holdsName(suffixes, who.dns) {
		suffixes = append([]string{who.dns}, suffixes...)
	}
	for _, s := range suffixes {
		forms = append(forms, "jon@"+s)
	}
	if len(d.config.Suffixes) == 0 {
		for _, s := range who.suffixes {
			forms = append(forms, "jon@"+s+" (if it is the userPrincipalName)")
		}
	}
	if who.netbios != "" {
		forms = append(forms, who.netbios+`\jon`)
	}
	if d.config.MailAsName {
		forms = append(forms, "the mail address")
	}
	text := strings.Join(forms, ", ")
	if who.activeDirectory && who.netbios == "" {
		text += fmt.Sprintf("; those with a backslash are refused until ldap.netbios is set (%v)", who.missing)
	}
	return text
}
