package certauth

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

// The rules that find out whom a certificate names.
const (
	RuleSubjectCN  = "subject_cn"              // the one common name of the subject
	RuleUPN        = "san_upn"                 // the principal name among the alternative names
	RuleEmail      = "san_email"               // the mail address among the alternative names
	RuleSubjectDN  = "subject_dn"              // the whole subject
	RuleSID        = "sid"                     // the security identifier that Windows authorities write
	RuleIdentities = "alt_security_identities" // what an administrator wrote into the account
)

// ruleNames are the rules in the order of the documentation.
var ruleNames = []string{RuleSubjectCN, RuleUPN, RuleEmail, RuleSubjectDN, RuleSID, RuleIdentities}

// A Rule says what in a certificate names its holder.
type Rule struct {
	Name string `yaml:"rule,alone"`
	// Filter finds the account in the directory; {0} is what the rule found.
	// Without one the kind of directory decides.
	Filter string `yaml:"filter"`
}

// takesFilter reports whether the rule's account can be found by a filter. By a
// security identifier and by what an administrator wrote there is one way only.
func (r Rule) takesFilter() bool { return r.Name != RuleSID && r.Name != RuleIdentities }

// An Authority has rules of its own for the certificates below it.
type Authority struct {
	// CAFile holds the authority's certificate, or several: old and new.
	CAFile setting.File `yaml:"ca_file"`
	// UserName takes the place of [Config].UserName.
	UserName []Rule `yaml:"user_name"`
	// Policies take the place of [Config].Policies.
	Policies []string `yaml:"policies"`
	// RequireStrong is as in [Config], for this authority.
	RequireStrong bool `yaml:"require_strong"`
}

// validateRules looks at a list of rules, the value of key.
func validateRules(p *setting.Problems, key string, rules []Rule) {
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", key, i)
		before := rules[:i]
		switch {
		case !slices.Contains(ruleNames, r.Name):
			p.Addf(at, "%q is not a rule: write one of %s", r.Name, strings.Join(ruleNames, ", "))
		case slices.ContainsFunc(before, func(o Rule) bool { return o.Name == r.Name }):
			p.Addf(at, "%q is listed twice: remove one", r.Name)
		case slices.ContainsFunc(before, func(o Rule) bool { return o.Name == RuleIdentities }):
			p.Addf(at, "never has its turn, because every certificate has something for %s: move that to the end", RuleIdentities)
		case r.Filter != "" && !r.takesFilter():
			p.Addf(at+".filter", "has no effect on %s: remove it", r.Name)
		}
	}
}

// validatePolicies looks at a list of object identifiers, the value of key.
func validatePolicies(p *setting.Problems, key string, policies []string) {
	for i, text := range policies {
		if id, err := x509.ParseOID(text); err != nil || id.EqualASN1OID(oidAnyPolicy) {
			p.Addf(fmt.Sprintf("%s[%d]", key, i), "%q is not the identifier of a certificate policy: write one such as 1.3.6.1.4.1.99999.1.2", text)
		}
	}
}

// validateAuthorities looks at the authorities that have rules of their own.
func (c *Config) validateAuthorities(p *setting.Problems) {
	for i, a := range c.Authorities {
		key := fmt.Sprintf("authorities[%d]", i)
		switch {
		case a.CAFile == "":
			p.Addf(key+".ca_file", "required: write the file with the authority's certificate")
		case slices.ContainsFunc(c.Authorities[:i], func(o Authority) bool { return o.CAFile == a.CAFile }):
			p.Addf(key+".ca_file", "%q is listed twice: put all that holds for the authority in one place", a.CAFile)
		}
		validateRules(p, key+".user_name", a.UserName)
		validatePolicies(p, key+".policies", a.Policies)
	}
}

// A naming is the rules for the certificates of one authority, made ready.
type naming struct {
	rules         []Rule
	policies      []x509.OID
	weak          bool // weak identities count
	requireStrong bool
	refuseOlder   bool
}

// namings returns the rules of c for everybody, then those of each authority.
func (c *Config) namings() []naming {
	common := naming{
		rules: c.UserName, policies: parsePolicies(c.Policies), weak: c.AllowWeakMapping,
		requireStrong: c.RequireStrong, refuseOlder: c.RefuseOlder,
	}
	list := []naming{common}
	for _, a := range c.Authorities {
		n := common
		if len(a.UserName) > 0 {
			n.rules = a.UserName
		}
		if len(a.Policies) > 0 {
			n.policies = parsePolicies(a.Policies)
		}
		n.requireStrong = n.requireStrong || a.RequireStrong
		list = append(list, n)
	}
	return list
}

// parsePolicies reads what Validate has tried.
func parsePolicies(texts []string) []x509.OID {
	var ids []x509.OID
	for _, text := range texts {
		if id, err := x509.ParseOID(text); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// A Name is what one rule found in a certificate.
type Name struct {
	Rule   string
	Filter string // how the account is found; "": as the kind of directory has it
	Text   string
}

// apply puts into c whom the leaf names: by the first rule that finds something.
// A rule that finds too much or something odd ends the search, because the
// next one would be a guess.
func (n *naming) apply(leaf *x509.Certificate, c *Certificate) error {
	names, err := readAltNames(leaf)
	if err != nil {
		return denial.New(denial.BadName, "the alternative names of %q %w", nameText(leaf.RawSubject), err)
	}
	if c.SID, err = securityID(leaf, names); err != nil {
		return err
	}
	var none []string // what each rule missed
	for i, r := range n.rules {
		text, missing, err := n.find(r, leaf, names, c)
		if err != nil {
			return err
		}
		if missing != "" {
			none = append(none, missing)
			continue
		}
		c.UserName, c.Rule, c.Filter = text, r.Name, r.Filter
		c.MustBeStrong, c.MustBeYounger = n.requireStrong, n.refuseOlder
		if r.Name == RuleSID {
			return n.findOther(n.rules[i+1:], leaf, names, c)
		}
		return nil
	}
	return denial.New(denial.BadName, "no rule of user_name finds a name: the certificate %q has %s", nameText(leaf.RawSubject), strings.Join(none, ", "))
}

// findOther puts into c the name that would have decided if there were no
// security identifier: the account must have both.
func (n *naming) findOther(rules []Rule, leaf *x509.Certificate, names *altNames, c *Certificate) error {
	for _, r := range rules {
		if r.Name == RuleIdentities {
			return nil // no name, but what stands in accounts
		}
		text, missing, err := n.find(r, leaf, names, c)
		if err != nil {
			return err
		}
		if missing == "" {
			c.Other = &Name{r.Name, r.Filter, text}
			return nil
		}
	}
	return nil
}

// find returns what a rule finds in a leaf, or what the leaf does not have.
func (n *naming) find(r Rule, leaf *x509.Certificate, names *altNames, c *Certificate) (text, missing string, err error) {
	switch r.Name {
	case RuleSubjectCN:
		text, err = commonName(leaf.RawSubject)
		missing = "no common name"
	case RuleUPN:
		text, err = names.principal()
		missing = "no principal name"
	case RuleEmail:
		text, err = names.email()
		missing = "no e-mail address"
	case RuleSubjectDN:
		text, err = subjectName(leaf.RawSubject)
		missing = "no subject"
	case RuleSID:
		text, missing = c.SID, "no security identifier"
	case RuleIdentities:
		c.Identities = strongIdentities(leaf)
		if n.weak {
			c.WeakIdentities = weakIdentities(leaf, names)
		}
		text, missing = first(c.Identities, c.WeakIdentities), "nothing that can stand in altSecurityIdentities"
	}
	if err != nil || text != "" {
		missing = ""
	}
	return text, missing, err
}

// first returns the first text of the lists, "" if they are empty.
func first(lists ...[]string) string {
	for _, l := range lists {
		if len(l) > 0 {
			return l[0]
		}
	}
	return ""
}
