package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A claim is an entry of our profile section.
type claim struct {
	name, source string
	line         int  // of the old script; 0 if it is not from there
	lost         bool // it is left out because that line is not understood
}

// defaults are the claims of the default mapper, which are ours too, and what
// they are made of in our language. The first is the identifier.
var defaults = []claim{
	{name: "id", source: `id != "" ? id : uid != "" ? uid : cn`},
	{name: "displayName", source: "displayName"},
	{name: "familyName", source: "sn"},
	{name: "givenName", source: "givenName"},
	{name: "nickname", source: `sAMAccountName != "" ? sAMAccountName : cn != "" ? cn : commonName`},
	{name: "groups", source: "groups"},
	{name: "email", source: "mail"},
	{name: "dn", source: "dn"},
	{name: "st", source: "st"},
	{name: "description", source: "description"},
	{name: "postalCode", source: "postalCode"},
	{name: "telephoneNumber", source: "telephoneNumber"},
	{name: "distinguishedName", source: "distinguishedName"},
	{name: "co", source: "co"},
	{name: "department", source: "department"},
	{name: "company", source: "company"},
	{name: "mailNickname", source: "mailNickname"},
	{name: "sAMAccountName", source: "sAMAccountName"},
	{name: "sAMAccountType", source: "sAMAccountType"},
	{name: "userPrincipalName", source: "userPrincipalName"},
	{name: "manager", source: "manager"},
	{name: "organizationUnits", source: "dn"}, // sic
}

// ofOne are the claims of which there is one value only.
var ofOne = []string{"displayName", "familyName", "givenName", "nickname", "email"}

// sameAsDefault reports whether source is what the default mapper has, in this
// or an older release.
func sameAsDefault(d claim, source string) bool {
	return source == d.source || d.name == "nickname" && source == `sAMAccountName != "" ? sAMAccountName : cn`
}

func defaultOf(name string) (claim, bool) {
	i := slices.IndexFunc(defaults, func(d claim) bool { return d.name == name })
	if i < 0 {
		return claim{}, false
	}
	return defaults[i], true
}

// report takes over the claims of the profile.
func (r *mapperReader) report() {
	known := map[string]bool{}
	if r.result == nil {
		r.vague = true
		r.result = &node{kind: objectNode}
		for _, name := range slices.Sorted(maps.Keys(r.variables)) {
			// Most probably it is the one that was to be returned.
			if n := r.variables[name]; n.kind == objectNode && len(n.keys) > len(r.result.keys) {
				r.result = n
			}
		}
	}
	r.object(r.result, known)
	r.failing()
	var missing []string
	for _, d := range defaults[1:] {
		if !known[d.name] {
			missing = append(missing, d.name)
		}
	}
	switch {
	case len(missing) == 0:
	case r.vague:
		r.lost = append(r.lost, Note{r.file, "these are reported although no line that is understood sets them: " + strings.Join(missing, ", ") + ". An entry such as st: nil takes one out"})
	default: // whoever took a claim out had a reason
		for _, name := range missing {
			r.claims = append(r.claims, claim{name: name, source: leftOut})
		}
	}
	if !r.vague {
		for _, empty := range []struct{ name, is string }{{"groups", "[]"}, {"name", "{}"}} {
			if i := slices.Index(r.result.keys, empty.name); i < 0 || r.result.args[i].kind == nothingNode {
				r.differs = append(r.differs, Note{r.file, empty.name + " is told as " + empty.is + ", where the old mapper did not tell it"})
			}
		}
	}
	if r.vague && len(r.result.keys) > 0 {
		r.lost = append(r.lost, Note{r.file, "lines that are not understood may change every claim; compare them all (adconnector explain --user NAME)"})
	}
}

// failing notes the lines that may fail and of which nothing else is said.
func (r *mapperReader) failing() {
	for _, line := range r.fragile {
		key := fmt.Sprintf("%s:%d", r.file, line)
		said := func(n Note) bool { return n.Key == key && strings.Contains(n.Text, notIn) }
		if !slices.ContainsFunc(r.differs, said) {
			r.differs = append(r.differs, Note{key, "this line. a missing attribute, or one with several values: it does not matter (before: " + notIn + ")"})
		}
	}
}

// object takes over the claims of an object.
func (r *mapperReader) object(n *node, known map[string]bool) {
	for i, key := range n.keys {
		value, line := n.args[i], n.lines[i]
		switch {
		case key == "name" && value.kind == objectNode:
			r.object(value, known)
		case key == "name" && value.kind == lostNode:
			r.claim("familyName", value, line, known)
			r.claim("givenName", value, line, known)
		default:
			r.claim(key, value, line, known)
		}
	}
}

// claim takes over one claim.
func (r *mapperReader) claim(key string, value *node, line int, known map[string]bool) {
	name := key
	if key == "emails" {
		name = "email"
	}
	if key == "email" && known["email"] {
		r.twoEmails(value, line)
		return
	}
	known[name] = true
	x := &expresser{}
	x.differs[emailKey] = key == "email"
	source, err := x.sourceOf(key, value)
	d, builtIn := defaultOf(name)
	switch {
	case name == "id":
		r.identifier(source, err, line)
	case err != nil:
		r.withheld(name, value, line, builtIn)
	case builtIn && sameAsDefault(d, source):
		if key == "email" {
			r.unlike(name, line, x)
		}
	case source == nothing && !builtIn:
		r.unlike(name, line, x)
	default:
		if source == nothing {
			source = leftOut
		}
		if name == "groups" && (x.kind != listCode || strings.Contains(source, "?")) {
			x.differs[groupsList] = true
		}
		if slices.Contains(ofOne, name) && value.kind == attributeNode {
			x.differs[severalValues] = true
		}
		r.claims = append(r.claims, claim{name, source, line, false})
		r.unlike(name, line, x)
	}
}

// sourceOf returns what a claim is made of.
func (x *expresser) sourceOf(key string, value *node) (string, error) {
	switch {
	case value.kind == lostNode:
		return "", errScript
	case key == "emails":
		return x.email(value)
	}
	source, err := x.claimOf(value)
	if slices.Contains(ofOne, key) && x.kind != textCode && x.kind != noCode {
		err = errScript // it would be told as a text
	}
	return source, err
}

// twoEmails notes that a script has both emails and email, which are one here.
func (r *mapperReader) twoEmails(value *node, line int) {
	other := ""
	if source, err := (&expresser{}).claimOf(value); err == nil && !strings.Contains(source, `"`) {
		other = " (email was " + source + ")"
	}
	r.lose(line, "both emails and email are set; here they are one, profile.email: write what it shall be"+other)
}

// withheld notes a claim that is not understood. It is not reported: the old
// mapper may have kept something back there.
func (r *mapperReader) withheld(name string, value *node, line int, builtIn bool) {
	switch {
	case value.kind != lostNode || value.text == "" && value.line == 0:
		r.lose(line, name+": this is not understood, and the claim is left out; write it into profile")
	case builtIn || value.line != line:
		r.lose(max(line, value.line), name+" is left out until profile."+name+" says what it shall be, since it depends on this line")
	}
	if builtIn {
		r.claims = append(r.claims, claim{name, leftOut, max(line, value.line), true})
	}
}

// byUID are the identifiers that are the uid outside Active Directory.
var byUID = []string{`attr("uid")`, "uid", `uid != "" ? uid : cn`, `id != "" ? id : uid`}

// identifier looks at what the tenant knows people by, which is not for the
// profile to say here.
func (r *mapperReader) identifier(source string, err error, line int) {
	shown := ""
	switch {
	case err != nil:
		r.lose(line, "the identifier by which the tenant knows people is not understood. "+identifierAdvice)
		return
	case sameAsDefault(defaults[0], source):
		return
	case slices.Contains(byUID, source):
		r.differs = append(r.differs, Note{fmt.Sprintf("%s:%d", r.file, line), "the tenant knows people by their uid. So it does here, but in Active Directory, where it is the objectGUID"})
		return
	case !strings.Contains(source, `"`): // texts of the script may be secrets
		shown = " (" + source + ")"
	}
	r.lose(line, "the tenant knows people by another id than objectGUID, uid or cn"+shown+". "+identifierAdvice)
}

// leftOut is the whole of a claim that is not reported.
const leftOut = "nil"

const identifierAdvice = "Here nothing changes who somebody is; with this connector the tenant would take them for new people. Decide this before you move"

// unlike notes how a claim is not the same for every entry.
func (r *mapperReader) unlike(name string, line int, x *expresser) {
	var texts []string
	for d, is := range x.differs {
		if is {
			texts = append(texts, differenceWords[d])
		}
	}
	if len(texts) > 0 {
		r.differs = append(r.differs, Note{fmt.Sprintf("%s:%d", r.file, line), "profile." + name + ". " + strings.Join(texts, "; ")})
	}
}

// email returns what the first mail address is made of: mappers have it as
// [{value: x}], and as that or nothing.
func (x *expresser) email(n *node) (string, error) {
	switch {
	case n.kind == listNode && len(n.args) == 1 && n.args[0].kind == objectNode && slices.Equal(n.args[0].keys, []string{"value"}):
		c, err := x.code(n.args[0].args[0])
		if err == nil && c.kind != textCode {
			err = errScript
		}
		return c.text, err
	case n.kind == chooseNode && n.args[0].kind == isArrayNode: // a list of texts, which tenants cannot read
		return x.email(n.args[2])
	case n.kind == chooseNode && (n.args[2].kind == nothingNode || n.args[2].kind == listNode && len(n.args[2].args) == 0):
		question, err := x.condition(n.args[0])
		if err != nil {
			return "", err
		}
		var source string
		x.where(n.args[0], true, func() { source, err = x.email(n.args[1]) })
		if err == nil && question.text != source+` != ""` {
			source = question.text + " ? " + source + " : " + nothing
		}
		return source, err
	case n.kind == nothingNode || n.kind == listNode && len(n.args) == 0:
		return nothing, nil
	}
	return "", errScript
}
