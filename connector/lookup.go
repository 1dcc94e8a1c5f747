package connector

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"adconnector/connector/private"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
)

// MaxLookup is the most that one lookup returns.
const MaxLookup = ldapauth.MaxLookup

// People are what a lookup of people found.
type People struct {
	Users []Person `json:"users"`
	More  bool     `json:"more"` // there are others, beyond the limit
}

// A Person is one account as the directory has it.
type Person struct {
	Username string `json:"username"`
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
	State    string `json:"state"` // "ok", or why the account may not sign in
	DN       string `json:"dn"`
	ID       string `json:"id"`
	Domain   string `json:"domain,omitempty"` // which of several
}

// FindPeople looks in the directory for people by a part of their name, at most
// limit of them.
func FindPeople(ctx context.Context, c *Config, text string, limit int) (*People, error) {
	d, err := openDirectory(c, nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	accounts, more, err := d.SearchUsers(ctx, text, limit)
	if err != nil {
		return nil, err
	}
	p := &People{Users: []Person{}, More: more}
	now := time.Now()
	for _, a := range accounts {
		p.Users = append(p.Users, Person{
			Username: a.Username, Name: a.First("displayName"), Email: a.First("mail"), State: stateOf(a, now),
			DN: a.DN, ID: a.ID, Domain: c.domain(a.Domain()),
		})
	}
	return p, nil
}

// stateOf returns one word for the state of an account.
func stateOf(a *ldapauth.Account, now time.Time) string {
	err := a.State(now)
	switch reason := denial.ReasonOf(err); {
	case err == nil:
		return "ok"
	case reason != "":
		return string(reason)
	}
	return "unclear" // the entry holds something that cannot be understood
}

// domain returns a directory's name if there are several.
func (c *Config) domain(label string) string {
	if len(c.LDAP.Domains) == 0 {
		return ""
	}
	return label
}

// WriteText writes p for people to read.
func (p *People) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(p.Users) > 0 {
		line(t, "USER NAME", "STATE", "NAME", "MAIL", "DN")
	}
	for _, u := range p.Users {
		line(t, u.Username, u.State, u.Name, u.Email, u.DN)
	}
	return t.Flush()
}

// GroupList is what a lookup of groups found.
type GroupList struct {
	Groups []GroupEntry `json:"groups"`
	More   bool         `json:"more"` // there are others, beyond the limit
}

// A GroupEntry is one group as the directory has it.
type GroupEntry struct {
	Name   string `json:"name"`           // as it is reported
	Kind   string `json:"kind,omitempty"` // in Active Directory: security or distribution
	DN     string `json:"dn"`
	Domain string `json:"domain,omitempty"` // which of several
}

// FindGroups looks in the directory for groups by a part of their name, at most
// limit of them.
func FindGroups(ctx context.Context, c *Config, text string, limit int) (*GroupList, error) {
	d, err := openDirectory(c, nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	groups, more, err := d.SearchGroups(ctx, text, limit)
	if err != nil {
		return nil, err
	}
	l := &GroupList{Groups: []GroupEntry{}, More: more}
	for _, g := range groups {
		l.Groups = append(l.Groups, GroupEntry{Name: g.Name, Kind: g.Kind, DN: g.DN, Domain: c.domain(g.Domain)})
	}
	return l, nil
}

// WriteText writes l for people to read.
func (l *GroupList) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(l.Groups) > 0 {
		line(t, "NAME", "KIND", "DN")
	}
	for _, g := range l.Groups {
		line(t, g.Name, g.Kind, g.DN)
	}
	return t.Flush()
}

// line writes the cells of one line of a table.
func line(w io.Writer, cells ...string) {
	for i, c := range cells {
		if cells[i] = oneLine(c); c == "" {
			cells[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) // Flush says what went wrong
}

// openDirectory returns the directory of the ldap section, for a command that
// asks it something once: for these attributes of people, or for those that
// describe them.
func openDirectory(c *Config, attributes []string) (*ldapauth.Domains, error) {
	d, err := ldapauth.NewDomains(c.LDAP, ldapauth.Options{Log: discard, CheckFile: private.Check, Attributes: attributes})
	if err != nil {
		return nil, fmt.Errorf("ldap: %w", err)
	}
	return d, nil
}
