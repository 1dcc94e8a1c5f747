package connector

import (
	"errors"
	"fmt"

	"adconnector/connector/profile"
	"adconnector/ldapauth"
)

// A Profile is what upstreams would learn of an account, and of what.
type Profile struct {
	// Entry are the attributes that the claims are made of, as far as the entry
	// has them.
	Entry  []Attribute `json:"entry"`
	Claims []Claim     `json:"claims"`
}

// An Attribute is one of an entry.
type Attribute struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// A Claim is one statement about a person.
type Claim struct {
	Name    string   `json:"name"`
	From    string   `json:"from"`     // the attribute or the expression
	BuiltIn bool     `json:"built_in"` // it does not stand in the configuration
	Values  []string `json:"values"`   // none: it is left out
	// Withheld says that it is left out because groups could not be read.
	Withheld bool   `json:"withheld,omitempty"`
	Error    string `json:"error,omitempty"` // why nobody is let in with it
}

// explainProfile puts down the results of the claims.
func (x *Explanation) explainProfile(p *profile.Profile, results []profile.Result, account *ldapauth.Account) {
	x.Profile = &Profile{Entry: []Attribute{}}
	for _, name := range p.Attributes() {
		if values := account.Values(name); len(values) > 0 {
			x.Profile.Entry = append(x.Profile.Entry, Attribute{name, shown(values)})
		}
	}
	for _, r := range results {
		c := Claim{Name: r.Claim, From: r.Source, BuiltIn: r.BuiltIn, Values: r.Values, Withheld: r.Withheld}
		if c.Values == nil {
			c.Values = []string{}
		}
		if e, ok := errors.AsType[*profile.Error](r.Err); ok {
			c.Error = text(e.Err)
		}
		x.Profile.Claims = append(x.Profile.Claims, c)
	}
}

// shown returns values with words in the place of those that are no text, which
// expressions do not see.
func shown(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		if out[i] = v; !profile.IsText(v) {
			out[i] = fmt.Sprintf("(%d bytes that are not text)", len(v))
		}
	}
	return out
}

// profile writes what upstreams learn. What the entry does not have is not worth a
// line, unless the operator asks for it.
func (t *sheet) profile(p *Profile) {
	t.say("", "\nProfile: the entry")
	for _, a := range p.Entry {
		for _, v := range a.Values {
			t.say("", "    %-22s %s", a.Name, quote(v))
		}
	}
	t.say("", "\nProfile: the claims")
	for i := range p.Claims {
		t.claim(&p.Claims[i])
	}
}

func (t *sheet) claim(c *Claim) {
	from := "from " + c.From
	if !c.BuiltIn {
		from = "by profile." + c.Name + ": " + c.From
	}
	switch {
	case c.Error != "":
		t.say(wrong, "%s cannot be worked out, %s", c.Name, quote(from))
		t.say("", "      %s", quote(c.Error))
	case c.Withheld:
		t.say(look, "%s is left out, because the groups are not known, %s", c.Name, quote(from))
	case len(c.Values) > 0:
		t.say(fine, "%s %s", c.Name, quote(from))
		for _, v := range c.Values {
			t.say("", "      %s", quote(v))
		}
	case !c.BuiltIn:
		t.say(look, "%s is left out, because there is nothing to say, %s", c.Name, quote(from))
	}
}
