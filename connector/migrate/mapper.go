package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A claim is an entry of our profile section.
type claim struct {
	name, source string
	line         int // of the old script; 0 if it is not from there
}

// A mapping is what is understood of an old profile mapper.
type mapping struct {
	claims []claim // where it is not as the default, in the order of the script
	lost   []Note  // what is not understood, or cannot be had
	known  map[string]bool
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
	{name: "organizationUnits", source: "organizationUnits"},
}

// maxScript is far more than any mapper has.
const maxScript = 256 << 10

// nothing is the expression of a claim that is not reported.
const nothing = `""`

// readMapper reads a profile mapper of the old connector, called file in notes.
// It runs nothing: it knows the assignments that mappers consist of, and whatever
// else there is becomes a note.
func readMapper(file, script string) *mapping {
	m := &mapping{known: map[string]bool{}}
	if len(script) > maxScript {
		m.lost = append(m.lost, Note{file, "it is too large to be looked at; write what it does into profile"})
		return m
	}
	r := &mapperReader{mapping: m, file: file, parser: parser{tokens: scan(script)}}
	if !r.header() {
		r.lose(1, "no function(raw) or function(raw, callback) is in it; write what it does into profile")
		return m
	}
	r.body()
	var missing []string
	for _, d := range defaults[1:] {
		if !m.known[d.name] {
			missing = append(missing, d.name)
		}
	}
	switch {
	case len(missing) == 0:
	case r.gaps:
		m.lost = append(m.lost, Note{file, "these are reported although no line that is understood sets them: " + strings.Join(missing, ", ") + `. An entry such as st: '""' takes one out`})
	default: // whoever took a claim out had a reason
		for _, name := range missing {
			m.claims = append(m.claims, claim{name: name, source: nothing})
		}
	}
	return m
}

// A mapperReader reads the statements of one mapper.
type mapperReader struct {
	*mapping
	parser
	file     string
	callback string // its second parameter
	profile  string // the variable that becomes the result
	gaps     bool   // there are statements that are not understood
}

// lose notes what is at a line.
func (r *mapperReader) lose(line int, text string) {
	r.lost = append(r.lost, Note{fmt.Sprintf("%s:%d", r.file, line), text})
}

// header reads up to the body of the function.
func (r *mapperReader) header() bool {
	for ; r.peek().kind != endToken; r.at++ {
		begin := r.at
		function := r.word("function")
		if function && r.peek().kind == wordToken {
			r.at++ // it has a name
		}
		var parameters []string
		if r.mark("(") {
			for r.peek().kind == wordToken {
				parameters = append(parameters, r.next().text)
				r.mark(",")
			}
			if !r.mark(")") {
				parameters = nil
			}
		} else if r.peek().kind == wordToken {
			parameters = []string{r.next().text}
		}
		arrow := !function && r.mark("=>")
		if (function || arrow) && (len(parameters) == 1 || len(parameters) == 2) && r.mark("{") {
			r.raw = parameters[0]
			if len(parameters) == 2 {
				r.callback = parameters[1]
			}
			return true
		}
		r.at = begin
	}
	return false
}

// body reads the statements of the function.
func (r *mapperReader) body() {
	for r.peek().kind != endToken && !r.mark("}") {
		if r.mark(";") {
			continue
		}
		begin, claims := r.at, len(r.claims)
		done, err := r.statement(nil)
		if err == nil && r.ends() {
			if done {
				return
			}
			continue
		}
		r.claims = r.claims[:claims]
		r.at = begin
		r.skip()
		r.gaps = true
		r.lose(r.tokens[begin].line, "this is not understood: "+masked(r.tokens[begin:r.at])+"; write it into profile, or into ldap.deny_groups if it keeps somebody out")
	}
	r.gaps = true
	r.lose(r.peek().line, "the function has no end that is understood")
}

// ends reports whether a statement ends here: with a semicolon, a line or a
// block.
func (r *mapperReader) ends() bool {
	before := r.tokens[min(r.at, len(r.tokens))-1]
	return r.mark(";") || r.peek().kind == endToken || r.peek().text == "}" || before.text == "}" || before.text == ";" || r.peek().line > before.line
}

// skip passes over a statement that is not understood, at least one token.
func (r *mapperReader) skip() {
	depth, block := 0, false
	for first := true; r.peek().kind != endToken; first = false {
		t := r.peek()
		if depth == 0 && !first && (t.text == "}" && t.kind == markToken || r.begins()) {
			return
		}
		r.at++
		if t.kind != markToken {
			continue
		}
		switch t.text {
		case "(", "[", "{":
			depth++
			block = block || t.text == "{"
		case ")", "]", "}":
			depth = max(depth-1, 0)
			if depth == 0 && block && t.text == "}" && r.peek().text != "else" && r.peek().kind != markToken {
				return
			}
		case ";":
			if depth == 0 {
				return
			}
		}
	}
}

// begins reports whether a new statement begins at the next token: on a line of
// its own and with a word that begins the ones that are understood.
func (r *mapperReader) begins() bool {
	t := r.peek()
	return t.kind == wordToken && t.line > r.tokens[r.at-1].line && slices.Contains([]string{"var", "let", "const", "if", "return", r.profile}, t.text)
}

// masked shows tokens without the texts among them, which may be secrets.
func masked(tokens []lexeme) string {
	if n := len(tokens) - 1; n > 0 && tokens[n].text == ";" {
		tokens = tokens[:n]
	}
	var b strings.Builder
	for i, t := range tokens {
		text := t.text
		if t.kind == textToken {
			text = "'…'"
		}
		if i > 0 && t.kind != markToken && tokens[i-1].kind != markToken {
			b.WriteByte(' ')
		}
		b.WriteString(text)
		if b.Len() > 100 {
			return b.String() + "…"
		}
	}
	return b.String()
}

// statement reads one statement; done says that it ends the function. With a
// condition, its claims are made only where that holds.
func (r *mapperReader) statement(condition *node) (done bool, err error) {
	line := r.peek().line
	switch {
	case r.word("var") || r.word("let") || r.word("const"):
		name := r.next()
		if name.kind != wordToken || r.profile != "" || condition != nil || !r.mark("=") || !r.mark("{") {
			return false, errScript
		}
		r.profile = name.text
		object, err := r.object()
		if err != nil {
			r.profile = name.text // what is assigned to it later is understood
			return false, err
		}
		return false, r.assign(object, line)
	case r.word("if"):
		if condition != nil {
			return false, errScript
		}
		return false, r.conditional()
	case r.word("return"):
		if condition != nil {
			return false, errScript
		}
		return true, r.result(line)
	case r.callback != "" && r.peek().text == r.callback:
		if condition != nil {
			return false, errScript
		}
		return true, r.result(line)
	case r.profile != "" && r.word(r.profile):
		return false, r.assignment(condition, line)
	}
	return false, errScript
}

// conditional reads if (raw.x) followed by assignments, without an else.
func (r *mapperReader) conditional() error {
	if !r.mark("(") {
		return errScript
	}
	condition, err := r.expression()
	if err != nil || !r.mark(")") {
		return errScript
	}
	if !r.mark("{") {
		_, err := r.statement(condition)
		if r.mark(";"); r.peek().text == "else" {
			return errScript
		}
		return err
	}
	for !r.mark("}") {
		if r.mark(";") {
			continue
		}
		if _, err := r.statement(condition); err != nil || !r.ends() {
			return errScript
		}
	}
	if r.peek().text == "else" {
		return errScript
	}
	return nil
}

// result reads what the function gives back.
func (r *mapperReader) result(line int) error {
	if r.callback != "" && r.word(r.callback) {
		if !r.mark("(") || !r.word("null") || !r.mark(",") || !r.word(r.profile) || !r.mark(")") {
			return errScript
		}
		return nil
	}
	if r.mark("{") {
		object, err := r.object()
		if err != nil {
			return err
		}
		return r.assign(object, line)
	}
	if r.profile == "" || !r.word(r.profile) {
		return errScript
	}
	return nil
}

// assignment reads the rest of profile.x = value.
func (r *mapperReader) assignment(condition *node, line int) error {
	name, ok := r.member()
	if ok && name == "name" && (r.peek().text == "." || r.peek().text == "[") {
		name, ok = r.member()
	}
	if !ok || !r.mark("=") {
		return errScript
	}
	value, err := r.expression()
	if err != nil {
		return err
	}
	if condition != nil {
		value = &node{kind: chooseNode, args: []*node{condition, value, {kind: nothingNode}}}
	}
	return r.claim(name, value, line)
}

// assign takes over the claims of an object.
func (r *mapperReader) assign(object *node, line int) error {
	for i, key := range object.keys {
		value := object.args[i]
		if key == "name" && value.kind == objectNode {
			if err := r.assign(value, line); err != nil {
				return err
			}
			continue
		}
		if err := r.claim(key, value, line); err != nil {
			return err
		}
	}
	return nil
}

// claim takes over one claim.
func (r *mapperReader) claim(name string, value *node, line int) error {
	var source string
	var err error
	if name == "emails" {
		name = "email"
		source, err = email(value)
	} else {
		source, err = express(value)
	}
	if err != nil {
		return err
	}
	r.known[name] = true
	i := slices.IndexFunc(defaults, func(d claim) bool { return d.name == name })
	r.claims = slices.DeleteFunc(r.claims, func(c claim) bool { return c.name == name }) // the last word counts
	switch {
	case i >= 0 && sameAsDefault(defaults[i], source):
	case name == "id":
		shown := ""
		if !strings.Contains(source, `"`) { // texts of the script may be secrets
			shown = " (" + source + ")"
		}
		r.lose(line, "the tenant knows people by another id than objectGUID, uid or cn"+shown+". Here nothing changes who somebody is; with this connector the tenant would take them for new people. Decide this before you move")
	default:
		r.claims = append(r.claims, claim{name, source, line})
	}
	return nil
}

// sameAsDefault reports whether source is what the default mapper has, in this
// or an older release.
func sameAsDefault(d claim, source string) bool {
	return source == d.source || d.name == "nickname" && source == `sAMAccountName != "" ? sAMAccountName : cn`
}

// email returns what the first mail address is made of: mappers have it as
// [{value: x}], and as that or nothing.
func email(n *node) (string, error) {
	switch {
	case n.kind == listNode && len(n.args) == 1 && n.args[0].kind == objectNode && len(n.args[0].keys) == 1 && n.args[0].keys[0] == "value":
		return express(n.args[0].args[0])
	case n.kind == chooseNode && n.args[2].kind == nothingNode && n.args[0].kind == attributeNode:
		source, err := email(n.args[1])
		if err == nil && source != variable(n.args[0].text) {
			source = fmt.Sprintf(`%s != "" ? %s : ""`, variable(n.args[0].text), source)
		}
		return source, err
	case n.kind == chooseNode && n.args[0].kind == callNode && n.args[0].text == "isArray":
		return email(n.args[2])
	}
	return "", errScript
}

// variables are the attributes of the old connector's entry that are called
// something else in our language.
var variables = map[string]string{"objectGUID": "id", "objectSid": "sid", "groups": "groups", "dn": "dn"}

// simple is an attribute that can stand in an expression as it is; reserved are
// the words of the language, and the names of what is no attribute.
var (
	simple   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)
	reserved = []string{"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "let", "if", "else", "true", "false", "nil", "id", "sid", "units", "username"}
)

// variable returns an attribute in our language.
func variable(attribute string) string {
	switch name := variables[attribute]; {
	case name != "":
		return name
	case simple.MatchString(attribute) && !slices.Contains(reserved, attribute):
		return attribute
	}
	return "attr(" + strconv.Quote(attribute) + ")"
}

// express returns a node in our language, in which an attribute that is not there
// is an empty text.
func express(n *node) (string, error) {
	switch n.kind {
	case attributeNode:
		return variable(n.text), nil
	case textNode:
		return strconv.Quote(n.text), nil
	case numberNode, boolNode:
		return n.text, nil
	case nothingNode:
		return nothing, nil
	case orNode:
		return alternatives(n.args)
	case plusNode:
		return between(n.args, " + ")
	case equalNode:
		return between(n.args, " == ")
	case unequalNode:
		return between(n.args, " != ")
	case callNode:
		if n.text == "isArray" {
			break
		}
		inner, err := express(n.args[0])
		return n.text + "(" + inner + ")", err
	case chooseNode:
		return choice(n)
	}
	return "", errScript
}

// between returns operands with an operator between them.
func between(args []*node, operator string) (string, error) {
	parts := make([]string, len(args))
	for i, a := range args {
		part, err := express(a)
		if err != nil {
			return "", err
		}
		if a.kind == chooseNode || a.kind == orNode || a.kind == equalNode || a.kind == unequalNode {
			part = "(" + part + ")"
		}
		parts[i] = part
	}
	return strings.Join(parts, operator), nil
}

// alternatives returns the first of args that is not empty.
func alternatives(args []*node) (string, error) {
	first, err := express(args[0])
	if err != nil || len(args) == 1 || len(args) == 2 && empty(args[1]) {
		return first, err
	}
	// It is written twice, so nothing big.
	if n := args[0]; n.kind != attributeNode && (n.kind != callNode || n.args[0].kind != attributeNode) {
		return "", errScript
	}
	rest, err := alternatives(args[1:])
	return fmt.Sprintf(`%s != "" ? %s : %s`, first, first, rest), err
}

// empty reports whether a node stands for nothing at all.
func empty(n *node) bool {
	return n.kind == nothingNode || n.kind == textNode && n.text == "" || n.kind == listNode && len(n.args) == 0
}

// choice returns the one or the other.
func choice(n *node) (string, error) {
	condition, err := express(n.args[0])
	if err != nil {
		return "", err
	}
	switch n.args[0].kind {
	case equalNode, unequalNode:
	case attributeNode:
		condition += ` != ""`
	default:
		return "", errScript
	}
	then, err := express(n.args[1])
	if err != nil {
		return "", err
	}
	otherwise, err := express(n.args[2])
	if err != nil {
		return "", err
	}
	if n.args[0].kind == attributeNode && otherwise == nothing && then == variable(n.args[0].text) {
		return then, nil
	}
	if n.args[1].kind == chooseNode || n.args[1].kind == orNode {
		then = "(" + then + ")"
	}
	return condition + " ? " + then + " : " + otherwise, nil
}
