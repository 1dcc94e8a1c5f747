// Package profile says what upstreams learn of a person: it makes claims of the
// attributes of an entry, the built-in ones and those of the operator, by name
// or by an expression.
//
// An expression sees the entry and nothing else. What it may cost is bounded: its
// length, its nodes and its patterns when it is compiled; its steps, the text that
// it makes and the lists that it builds when it runs; and the time that all of
// somebody's claims take together.
//
// A claim is right or there is no sign-in. What the entry does not have has no
// claim; an expression that fails is a fault, because the person can often
// change the entry's values and would otherwise decide to go without the claim.
package profile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"adconnector/ldapauth/setting"

	"github.com/expr-lang/expr/vm"
)

// An Entry has attributes. The case of their names does not matter; the values
// must not be changed.
type Entry interface {
	Values(attribute string) []string
}

// A Subject is the person whom the claims are about.
type Subject struct {
	Entry    Entry
	ID       string // by which upstreams know the person
	DN       string
	Username string // "" if there is none
	SID      string // security identifier as text, "" if there is none
	// Groups are the groups to report. Incomplete says that they could not be
	// read: then no claim is made that needs them.
	Groups     []string
	Incomplete bool
}

// Config is the profile section: the operator's claims in the order of the file.
type Config []Definition

// A Definition says what a claim is made of.
type Definition struct {
	Claim  string
	Source string // the name of an attribute or of a variable, or an expression
}

// The claims that have a place of their own in an identity. Of their values only
// the first counts, but for [Groups].
const (
	DisplayName = "displayName"
	GivenName   = "givenName"
	FamilyName  = "familyName"
	Nickname    = "nickname"
	Groups      = "groups"
	Email       = "email"
)

// defaults are the built-in claims in the order of the report, which is that of
// Auth0's AD/LDAP Connector.
var defaults = Config{
	{DisplayName, "displayName"},
	{FamilyName, "sn"},
	{GivenName, "givenName"},
	{Nickname, `sAMAccountName != "" ? sAMAccountName : cn`},
	{Groups, "groups"},
	{Email, "mail"},
	{"dn", "dn"},
	{"st", "st"},
	{"description", "description"},
	{"postalCode", "postalCode"},
	{"telephoneNumber", "telephoneNumber"},
	{"distinguishedName", "distinguishedName"},
	{"co", "co"},
	{"department", "department"},
	{"company", "company"},
	{"mailNickname", "mailNickname"},
	{"sAMAccountName", "sAMAccountName"},
	{"sAMAccountType", "sAMAccountType"},
	{"userPrincipalName", "userPrincipalName"},
	{"manager", "manager"},
	{"organizationUnits", "dn"}, // sic: that connector reports the whole name
}

// A Profile is compiled claims. It can be used by many goroutines at the same
// time.
type Profile struct {
	claims     []claim
	attributes []string
	machines   sync.Pool // of *machine
}

// A claim is a definition that is ready for use.
type claim struct {
	Definition
	builtIn bool
	// One of three: an attribute, a variable, or an expression.
	attribute   string
	variable    func(*Subject) []string
	program     *vm.Program
	needsGroups bool
}

// A machine runs one expression at a time.
type machine struct {
	vm    vm.VM
	state state
}

// maxClaims is how many claims a configuration may define.
const maxClaims = 100

// Validate reports everything that is wrong with c; the keys are the claims.
func (c Config) Validate() error {
	_, err := Compile(c)
	return err
}

// Compile returns the built-in claims with those of c in their place or behind
// them. The error holds every mistake, by claim.
func Compile(c Config) (*Profile, error) {
	var problems setting.Problems
	p := &Profile{machines: sync.Pool{New: func() any { return &machine{vm: vm.VM{MemoryBudget: maxElements}} }}}
	used := map[string]string{}
	if len(c) > maxClaims {
		problems.Addf("", "defines %d claims; %d are the most", len(c), maxClaims)
		c = c[:maxClaims]
	}
	for _, d := range defaults {
		builtIn := true
		if i := slices.IndexFunc(c, func(own Definition) bool { return own.Claim == d.Claim }); i >= 0 {
			d, builtIn = c[i], false
		}
		p.add(d, builtIn, used, &problems)
	}
	for i, d := range c {
		if err := checkName(d.Claim, c[:i]); err != nil {
			problems.Addf(d.Claim, "%v", err)
		} else if !isBuiltIn(d.Claim) {
			p.add(d, false, used, &problems)
		}
	}
	p.attributes = slices.Sorted(maps.Values(used))
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// add compiles one claim.
func (p *Profile) add(d Definition, builtIn bool, used map[string]string, problems *setting.Problems) {
	c := claim{Definition: d, builtIn: builtIn}
	switch variable, isVariable := variables[d.Source]; {
	case isVariable:
		c.variable, c.needsGroups = variable, d.Source == Groups
	case attributeName.MatchString(d.Source) && !slices.Contains(words, d.Source):
		if err := checkAttribute(d.Source); err != nil {
			problems.Addf(d.Claim, "%v", err)
			return
		}
		need(used, d.Source)
		c.attribute = d.Source
	default:
		x, err := compile(d.Source)
		if err != nil {
			problems.Addf(d.Claim, "%v", err)
			return
		}
		for _, a := range x.attributes {
			need(used, a)
		}
		c.program, c.needsGroups = x.program, x.groups
	}
	p.claims = append(p.claims, c)
}

// need adds an attribute to those that are needed, unless it is among them in any
// case.
func need(used map[string]string, attribute string) {
	if lower := strings.ToLower(attribute); used[lower] == "" {
		used[lower] = attribute
	}
}

func isBuiltIn(name string) bool {
	return slices.ContainsFunc(defaults, func(d Definition) bool { return d.Claim == name })
}

// Attributes returns the attributes that the claims are made of.
func (p *Profile) Attributes() []string { return append([]string{}, p.attributes...) }

// A Result is what became of one claim.
type Result struct {
	Definition
	BuiltIn bool     // it is as it is without configuration
	Values  []string // none: the claim is left out
	// Withheld says that the claim is left out because it needs groups, which
	// could not be read.
	Withheld bool
	Err      error
}

// Results returns what becomes of each claim, in the order of the report.
func (p *Profile) Results(s *Subject) []Result {
	results, deadline := make([]Result, 0, len(p.claims)), time.Now().Add(maxTime)
	for i := range p.claims {
		c := &p.claims[i]
		r := Result{Definition: c.Definition, BuiltIn: c.builtIn, Withheld: c.needsGroups && s.Incomplete}
		r.Values, _, r.Err = p.values(c, s, deadline)
		results = append(results, r)
	}
	return results
}

// A Form says how the values of a claim are told to those who tell texts, lists,
// numbers and truth apart.
type Form int

// The forms.
const (
	Plain   Form = iota // one value is a text, several are a list: as attributes are
	List                // a list, also of one
	Literal             // one value: a number, true or false
)

// Each calls yield with each claim that the subject has, in the order of the
// report. The values must not be changed. An error says which claim could not be
// worked out; then the claims before it must not be used either.
func (p *Profile) Each(s *Subject, yield func(name string, values []string, form Form)) error {
	deadline := time.Now().Add(maxTime)
	for i := range p.claims {
		c := &p.claims[i]
		values, form, err := p.values(c, s, deadline)
		if err != nil {
			return err
		}
		if len(values) > 0 {
			yield(c.Claim, values, form)
		}
	}
	return nil
}

// values returns the values of one claim.
func (p *Profile) values(c *claim, s *Subject, deadline time.Time) ([]string, Form, error) {
	switch {
	case c.needsGroups && s.Incomplete:
		return nil, Plain, nil
	case c.variable != nil && (c.Source == Groups || c.Source == "units"):
		return c.variable(s), List, nil
	case c.variable != nil:
		return c.variable(s), Plain, nil
	}
	values, form, err := p.workOut(c, s, deadline)
	if err != nil {
		return nil, Plain, &Error{c.Claim, err}
	}
	return values, form, nil
}

// An Error says why a claim could not be worked out for somebody.
type Error struct {
	Claim string
	Err   error
}

// Error names the claim as a key of the configuration.
func (e *Error) Error() string {
	return fmt.Sprintf("profile.%s cannot be worked out for this account: %v", e.Claim, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// workOut returns the values of a claim that is an attribute or an expression.
func (p *Profile) workOut(c *claim, s *Subject, deadline time.Time) ([]string, Form, error) {
	if c.program == nil {
		values, err := attribute(s, c.attribute)
		return values, Plain, err
	}
	if time.Now().After(deadline) {
		return nil, Plain, errTime
	}
	m, _ := p.machines.Get().(*machine)
	m.state.begin(s, deadline)
	out, err := m.vm.Run(c.program, &m.state)
	m.state.subject = nil
	p.machines.Put(m)
	if err != nil {
		return nil, Plain, explain(err, c.Source, false)
	}
	return valuesOf(out)
}

// variables are the names that expressions know besides those of attributes.
var variables = map[string]func(*Subject) []string{
	"dn":       func(s *Subject) []string { return one(s.DN) },
	Groups:     func(s *Subject) []string { return s.Groups },
	"id":       func(s *Subject) []string { return one(s.ID) },
	"sid":      func(s *Subject) []string { return one(s.SID) },
	"units":    func(s *Subject) []string { return organizationalUnits(s.DN) },
	"username": func(s *Subject) []string { return one(s.Username) },
}

// one returns the list of one value, or of none if it is empty.
func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// texts returns the values that expressions see: those that are text, which are
// usually all. What is none is passed over: to leave out only what is wrong with it
// would make another value, maybe somebody else's.
func texts(values []string) []string {
	for i, v := range values {
		if IsText(v) {
			continue
		}
		kept := slices.Clone(values[:i])
		for _, v := range values[i:] {
			if IsText(v) {
				kept = append(kept, v)
			}
		}
		return kept
	}
	return values
}

// IsText reports whether s is UTF-8 without characters that some upstream could
// not carry.
func IsText(s string) bool {
	for i, r := range s {
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == '\uFFFE', r == '\uFFFF':
			return false
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			return false
		}
	}
	return true
}
