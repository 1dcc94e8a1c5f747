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

// A mapping is what is understood of an old profile mapper.
type mapping struct {
	claims  []claim // where it is not as the default, in the order of the script
	lost    []Note  // what is not understood, or cannot be had
	differs []Note  // what is translated and not the same for every entry
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

// maxScript is far more than any mapper has.
const maxScript = 256 << 10

// readMapper reads a profile mapper of the old connector, called file in notes.
//
// It runs nothing. It follows the statements that mappers consist of and keeps of
// each variable what it is made of; in the end it puts what the profile is made of
// into our language. A statement that is not understood becomes a note, and what
// it might have changed is not reported: the old mapper may have kept something
// back there.
func readMapper(file, script string) *mapping {
	m := &mapping{}
	if len(script) > maxScript {
		m.lost = append(m.lost, Note{file, "it is too large to be looked at; write what it does into profile"})
		return m
	}
	r := &mapperReader{mapping: m, file: file, noted: map[*node]bool{}, parser: parser{
		tokens: scan(script), variables: map[string]*node{}, functions: map[string]scriptFunction{},
	}}
	if !r.header() {
		r.lose(1, "no function(raw) or function(raw, callback) is in it that is understood; write what it does into profile")
		return m
	}
	r.body()
	r.report()
	return m
}

// A mapperReader follows the statements of one mapper.
type mapperReader struct {
	*mapping
	parser
	file     string
	callback string // its second parameter
	branches int    // how many conditions are around
	result   *node  // the profile
	vague    bool   // something that is not understood may change all of it
	noted    map[*node]bool
	fragile  []int // lines on which the script may fail
}

// maxLost is how many notes somebody may read.
const maxLost = 500

// lose notes what is at a line.
func (r *mapperReader) lose(line int, text string) {
	if len(r.lost) == maxLost {
		text = "this and more is not understood; write what the mapper does into profile"
	} else if len(r.lost) > maxLost {
		return
	}
	r.lost = append(r.lost, Note{fmt.Sprintf("%s:%d", r.file, line), text})
}

// header reads what stands before the mapper, up to its body: constants, and
// functions that it may call.
func (r *mapperReader) header() bool {
	name := r.exported()
	for r.peek().kind != endToken {
		switch begin := r.at; {
		case r.mark(";"), r.mark("("): // around an expression
		case r.peek().kind == textToken: // 'use strict'
			r.at++
		case r.word("function") && r.peek().kind == wordToken && name != "" && r.peek().text != name:
			r.at = begin
			r.declaration()
		case r.at == begin+1 && name == "", r.is(wordToken, name):
			r.at = begin
			return r.parameters()
		case r.exports():
			if r.peek().kind == wordToken && r.peek().text == name {
				return false // its function stands behind
			}
			return r.parameters()
		case r.is(wordToken, "var") || r.is(wordToken, "let") || r.is(wordToken, "const"):
			if name != "" && r.ahead(1).text == name {
				r.at += 3
				return r.parameters()
			}
			if _, err := r.statement(); err != nil || !r.ends() {
				r.at = begin
				r.pass() // what it is for is seen where it is used
			}
		case name == "":
			return r.parameters()
		default:
			r.at++
		}
	}
	return false
}

// exported returns the name of the function that the script exports, "" if it
// exports one without.
func (r *mapperReader) exported() string {
	defer func() { r.at = 0 }()
	for r.at = 0; r.peek().kind != endToken; {
		if !r.exports() {
			r.at++
			continue
		}
		if t := r.peek(); t.kind == wordToken && t.text != "function" && t.text != "async" && r.ahead(1).text != "=>" {
			return t.text
		}
		return "module.exports" // no name that a function could have
	}
	return ""
}

// exports takes module.exports = and exports.x =, if that is next.
func (r *mapperReader) exports() bool {
	begin := r.at
	if r.word("module") && r.mark(".") && r.word("exports") && r.mark("=") {
		return true
	}
	r.at = begin
	if r.word("exports") && r.mark(".") && r.next().kind == wordToken && r.mark("=") {
		return true
	}
	r.at = begin
	return false
}

// parameters reads function (raw, callback) { or (raw, callback) => {.
func (r *mapperReader) parameters() bool {
	function := r.word("function")
	if function && r.peek().kind == wordToken {
		r.at++
	}
	var names []string
	if r.mark("(") {
		for r.peek().kind == wordToken {
			names = append(names, r.next().text)
			r.mark(",")
		}
		if !r.mark(")") {
			return false
		}
	} else if !function && r.peek().kind == wordToken {
		names = []string{r.next().text}
	}
	if !function && !r.mark("=>") || len(names) < 1 || len(names) > 2 {
		return false
	}
	if len(names) == 2 {
		r.callback = names[1]
	}
	r.variables[names[0]] = make1(rawNode, "")
	return r.mark("{") || !function && r.is(markToken, "(") && r.ahead(1).text == "{"
}

// body reads the statements of the function.
func (r *mapperReader) body() {
	if r.is(markToken, "(") { // raw => ({...})
		line := r.peek().line
		if n, err := r.value(); err == nil && n.kind == objectNode {
			r.result = n
			return
		}
		r.lose(line, "what it returns is not understood; write it into profile")
		return
	}
	for r.peek().kind != endToken && !r.mark("}") {
		begin, before := r.at, maps.Clone(r.variables)
		done, err := r.statement()
		switch {
		case err == nil && done:
			return
		case err == nil && r.ends():
			continue
		}
		r.variables = before
		r.at, r.branches = begin, 0
		r.pass()
		r.gone(begin)
	}
	r.lose(r.peek().line, "the end of the function is not understood, with what it returns")
}

// gone notes the statement that begins there and is not understood.
func (r *mapperReader) gone(begin int) {
	tokens := r.tokens[begin:r.at]
	first, last := tokens[0].line, tokens[len(tokens)-1].line
	lines := ""
	if last > first {
		lines = fmt.Sprintf(" (up to line %d)", last)
	}
	advice := "write it into profile"
	out := func(t lexeme) bool {
		return t.kind == wordToken && (t.text == "throw" || t.text == "return" || t.text == r.callback && r.callback != "")
	}
	if slices.ContainsFunc(tokens, out) {
		advice += ", or into ldap.deny_groups if it keeps somebody out"
		r.vague = true // what follows may not have been reached
	}
	r.lose(first, "this is not understood"+lines+": "+masked(tokens)+"; "+advice)
	r.touched(begin, r.at)
}

// touched marks as not understood what tokens that are not may have changed.
func (r *mapperReader) touched(from, to int) {
	for i := from; i < to; i++ {
		t := r.tokens[i]
		n := r.variables[t.text]
		if t.kind != wordToken || n == nil || i > 0 && (r.tokens[i-1].text == "." || r.tokens[i-1].text == "?.") {
			continue
		}
		gone := &node{kind: lostNode, line: t.line, size: 1}
		p := parser{tokens: r.tokens, at: i + 1}
		path, ok := p.path()
		changed := p.is(markToken, "=") || p.is(markToken, "+=") || i > 0 && r.tokens[i-1].text == "delete" || mutates(&p)
		switch {
		case n.kind != objectNode && n.kind != rawNode:
			if mutates(&p) {
				r.replace(n, gone)
			}
			if changed {
				r.variables[t.text] = gone
			}
		case !ok || len(path) == 0 && (n.kind == objectNode || changed): // p[x], f(p)
			r.vague = r.vague || n.kind == objectNode
			if n.kind == rawNode && changed {
				r.variables[t.text] = gone
			}
		case changed:
			if value := member(n, path[0]); mutates(&p) && value.kind != nothingNode && value.kind != objectNode {
				r.replace(value, gone)
			}
			r.variables[t.text] = with(r.variables[t.text], path[0], gone, t.line)
		}
	}
}

// mutates reports whether a method that changes a list is called next.
func mutates(p *parser) bool {
	return p.is(markToken, ".") && slices.Contains([]string{"push", "pop", "shift", "unshift", "splice", "reverse", "sort", "fill"}, p.ahead(1).text)
}

// replace puts gone wherever a list that has been changed stands: other names
// stand for the same list.
func (r *mapperReader) replace(n, gone *node) {
	for name, v := range r.variables {
		for i, value := range v.args {
			if value == n && v.kind == objectNode {
				v = with(v, v.keys[i], gone, v.lines[i])
			}
		}
		if v.kind == rawNode && n.kind == attributeNode {
			v = with(v, n.text, gone, gone.line)
		}
		if v == n {
			v = gone
		}
		r.variables[name] = v
	}
}

// ends reports whether a statement ends here: with a semicolon, a line or a
// block.
func (r *mapperReader) ends() bool {
	before := r.ahead(-1)
	return r.mark(";") || r.peek().kind == endToken || r.is(markToken, "}") || before.text == "}" || before.text == ";" || r.peek().line > before.line
}

// pass passes over a statement that is not understood, at least one token.
func (r *mapperReader) pass() {
	depth, block := 0, false
	for first := true; r.peek().kind != endToken; first = false {
		t := r.peek()
		if depth == 0 && !first && (r.is(markToken, "}") || r.begins()) {
			return
		}
		r.at++
		if t.kind != markToken {
			continue
		}
		switch t.text {
		case "(", "[", "{":
			depth++
			block = block || t.text == "{" && depth == 1
		case ")", "]", "}":
			depth = max(depth-1, 0)
			next := r.peek()
			goesOn := next.text == "else" || next.text == "catch" || next.text == "finally" || next.text == "while" || next.kind == markToken && next.text != "}"
			if depth == 0 && block && t.text == "}" && !goesOn {
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
	if t.kind != wordToken || t.line == r.ahead(-1).line || r.ahead(-1).kind == markToken && strings.Contains("=+,?:(&&||", r.ahead(-1).text) {
		return false
	}
	return slices.Contains([]string{"var", "let", "const", "if", "return", r.callback}, t.text) || r.variables[t.text] != nil
}

// statement reads one statement; done says that it ends the function.
func (r *mapperReader) statement() (done bool, err error) {
	switch {
	case r.mark(";"):
		return false, nil
	case r.peek().kind == textToken: // 'use strict'
		r.at++
		return false, nil
	case r.word("var"), r.word("let"), r.word("const"):
		return false, r.declared()
	case r.word("function"):
		r.at--
		r.declaration()
		return false, nil
	case r.word("if"):
		return false, r.conditional()
	case r.word("return"), r.callback != "" && r.is(wordToken, r.callback):
		if r.branches > 0 {
			return false, errScript
		}
		return true, r.returned()
	case r.word("delete"):
		return false, r.assignment(true)
	case r.is(wordToken, "console"): // writes into the log
		r.pass()
		return false, nil
	case r.peek().kind == wordToken && r.variables[r.peek().text] != nil:
		return false, r.assignment(false)
	}
	return false, errScript
}

// declared reads a = x, b = y.
func (r *mapperReader) declared() error {
	for {
		name := r.next()
		if name.kind != wordToken {
			return errScript
		}
		value := nothingIs
		if r.mark("=") {
			var err error
			if value, err = r.expression(); err != nil {
				return err
			}
		}
		r.noteLost(value)
		r.mayFail(name.line, value)
		r.variables[name.text] = value
		if !r.mark(",") {
			return nil
		}
	}
}

// noteLost notes what of an object is not understood.
func (r *mapperReader) noteLost(n *node) {
	if r.noted[n] || n.kind != objectNode {
		return
	}
	r.noted[n] = true
	for _, value := range n.args {
		if value.kind == lostNode && value.text != "" && !r.noted[value] {
			r.noted[value] = true
			r.lose(value.line, "this is not understood: "+value.text+"; write it into profile")
		}
		r.noteLost(value)
	}
}

// mayFail notes the line of an expression that fails for some entries, whatever
// becomes of its value.
func (r *mapperReader) mayFail(line int, n *node) {
	if !slices.Contains(r.fragile, line) && fails(n) {
		r.fragile = append(r.fragile, line)
	}
}

// fails reports whether an expression fails for some entries: it asks something of
// an attribute that may be missing, or be a list.
func fails(n *node) bool {
	switch n.kind {
	case methodNode, memberNode, indexNode:
		if uncertain(n.args[0]) || isQuestion(n.args[0]) || n.args[0].kind == textNode && slices.Contains(ofLists[:6], n.text) || isList(n.args[0]) && n.kind != indexNode && !slices.Contains(ofLists, n.text) {
			return true
		}
	case chooseNode:
		if _, ok := (&expresser{}).one(n); ok {
			return false
		}
	case objectNode: // whose parts were looked at where they were written
		return slices.ContainsFunc(n.args, func(part *node) bool { return part.kind != objectNode && fails(part) })
	}
	return slices.ContainsFunc(n.args, fails)
}

// ofLists are what lists have of what is understood; the first six have texts not.
var ofLists = []string{"filter", "map", "some", "every", "join", "sort", "includes", "indexOf", "length", "concat", "slice"}

// isList reports whether n is a list.
func isList(n *node) bool {
	switch n.kind {
	case attributeNode:
		return n.text == "groups"
	case listNode:
		return true
	case methodNode:
		return slices.Contains([]string{"filter", "map", "sort", "concat", "split"}, n.text)
	case orNode:
		return isList(n.args[0])
	}
	return false
}

// uncertain reports whether n may be nothing or a list where a text is meant.
func uncertain(n *node) bool {
	switch n.kind {
	case attributeNode:
		return ours[n.text] == ""
	case orNode, andNode:
		return uncertain(n.args[0]) || uncertain(n.args[1])
	case chooseNode:
		return uncertain(n.args[1]) || uncertain(n.args[2])
	case plusNode: // of two that are missing it makes no text
		return !slices.ContainsFunc(addends(n), func(part *node) bool { return part.kind == textNode })
	case nothingNode, nullNode, memberNode, indexNode, boolNode, numberNode, notNode, equalNode, unequalNode, moreThanNode:
		return true
	}
	return false
}

// declaration reads a function that may be called, if it is no more than one
// expression.
func (r *mapperReader) declaration() {
	begin := r.at
	r.at++
	name := r.next()
	f := scriptFunction{}
	if r.mark("(") {
		for r.peek().kind == wordToken {
			f.parameters = append(f.parameters, r.next().text)
			r.mark(",")
		}
		if r.mark(")") && r.is(markToken, "{") && name.kind == wordToken {
			f.body = r.at
			r.functions[name.text] = f
		}
	}
	r.at = begin
	r.pass()
}

// conditional reads the rest of if (a) b else c. What is changed there is what it
// is under the condition or else what it was.
func (r *mapperReader) conditional() error {
	if !r.mark("(") {
		return errScript
	}
	condition, err := r.expression()
	if err != nil || !r.mark(")") {
		return errScript
	}
	r.mayFail(r.ahead(-1).line, condition)
	before := maps.Clone(r.variables)
	if err := r.branch(); err != nil {
		return err
	}
	then := r.variables
	r.variables = before
	end := r.at
	if r.mark(";"); !r.is(wordToken, "else") {
		r.at = end
	} else if r.at++; true {
		if err := r.branch(); err != nil {
			return err
		}
	}
	r.variables = merged(condition, then, r.variables)
	return nil
}

// branch reads a statement or a block under a condition.
func (r *mapperReader) branch() error {
	r.branches++
	defer func() { r.branches-- }()
	if r.branches > maxNesting {
		return errScript
	}
	if !r.mark("{") {
		_, err := r.statement()
		return err
	}
	for !r.mark("}") {
		if _, err := r.statement(); err != nil || !r.ends() {
			return errScript
		}
	}
	return nil
}

// merged returns the variables behind a condition.
func merged(condition *node, then, otherwise map[string]*node) map[string]*node {
	all := maps.Clone(otherwise)
	for name, a := range then {
		b := otherwise[name]
		if b == nil {
			b = nothingIs
		}
		all[name] = mergedNode(condition, a, b)
	}
	return all
}

func mergedNode(condition, a, b *node) *node {
	if a == b {
		return a
	}
	if a.kind != objectNode && a.kind != rawNode || a.kind != b.kind {
		return make1(chooseNode, "", condition, a, b)
	}
	n := b
	for i, key := range a.keys {
		if before := member(b, key); !sameNode(before, a.args[i]) {
			n = with(n, key, mergedNode(condition, a.args[i], before), a.lines[i])
		}
	}
	for i, key := range b.keys {
		if !slices.Contains(a.keys, key) { // it was deleted
			n = with(n, key, mergedNode(condition, member(a, key), b.args[i]), b.lines[i])
		}
	}
	return n
}

// path reads .a['b'].
func (p *parser) path() (keys []string, ok bool) {
	for {
		switch {
		case p.is(markToken, ".") && p.ahead(1).kind == wordToken && p.ahead(2).text != "(" && !mutates(p):
			keys = append(keys, p.ahead(1).text)
			p.at += 2
		case p.is(markToken, "[") && p.ahead(1).kind == textToken && p.ahead(2).text == "]":
			keys = append(keys, p.ahead(1).text)
			p.at += 3
		default:
			return keys, !p.is(markToken, "[")
		}
	}
}

// assignment reads a = x, a.b = x and a.b.c = x, or what to delete.
func (r *mapperReader) assignment(remove bool) error {
	t := r.next()
	variable := r.variables[t.text]
	path, ok := r.path()
	switch {
	case variable == nil || !ok || len(path) > 2:
		return errScript
	case remove && len(path) == 0:
		return errScript
	}
	value := nothingIs
	if !remove {
		add := r.mark("+=")
		if !add && !r.mark("=") {
			return errScript
		}
		var err error
		if value, err = r.expression(); err != nil {
			return err
		}
		if add {
			before := variable
			for _, key := range path {
				before = member(before, key)
			}
			value = make1(plusNode, "+", before, value)
		}
	}
	r.noteLost(value)
	r.mayFail(t.line, value)
	changed, err := assigned(variable, path, value, t.line)
	if err != nil || len(path) > 0 && r.shared(t.text, variable) {
		return errScript
	}
	r.variables[t.text] = changed
	return nil
}

// assigned returns n with another value at the path.
func assigned(n *node, path []string, value *node, line int) (*node, error) {
	switch {
	case len(path) == 0:
		return value, nil
	case n.kind != objectNode && (n.kind != rawNode || len(path) > 1):
		return nil, errScript
	}
	inner, err := assigned(member(n, path[0]), path[1:], value, line)
	if err != nil {
		return nil, err
	}
	return with(n, path[0], inner, line), nil
}

// shared reports whether another variable is the same object, or has it: then it
// changes with it.
func (r *mapperReader) shared(name string, object *node) bool {
	has := func(n *node) bool {
		return n == object || n.kind == objectNode && slices.ContainsFunc(n.args, func(part *node) bool { return part == object })
	}
	for other, n := range r.variables {
		if other != name && n.kind == objectNode && has(n) {
			return true
		}
		// A part of it that is a variable of its own would be left behind.
		if other != name && n.kind == objectNode && slices.Contains(object.args, n) {
			return true
		}
	}
	return false
}

// returned reads what the function gives back.
func (r *mapperReader) returned() error {
	if r.callback != "" && r.word(r.callback) {
		if !r.mark("(") || !r.word("null") && !r.word("undefined") || !r.mark(",") {
			return errScript
		}
		defer r.mark(")")
	}
	n, err := r.expression()
	if err != nil || n.kind != objectNode {
		return errScript
	}
	r.noteLost(n)
	r.mayFail(r.ahead(-1).line, n)
	r.result = n
	return nil
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
	x := &expresser{}
	name := key
	var source string
	var err error
	switch {
	case value.kind == lostNode:
		err = errScript
	case key == "emails":
		source, err = x.email(value)
	default:
		source, err = x.claimOf(value)
		if slices.Contains(ofOne, key) && x.kind != textCode && x.kind != noCode {
			err = errScript // it would be told as a text
		}
	}
	if key == "emails" {
		name = "email"
	}
	if key == "email" {
		if known["email"] {
			other := ""
			if source, err := x.claimOf(value); err == nil && !strings.Contains(source, `"`) {
				other = " (email was " + source + ")"
			}
			r.lose(line, "both emails and email are set; here they are one, profile.email: write what it shall be"+other)
			return
		}
		x.differs[emailKey] = true
	}
	d, builtIn := defaultOf(name)
	known[name] = true
	switch {
	case err != nil:
		if value.kind != lostNode || value.text == "" && value.line == 0 {
			r.lose(line, name+": this is not understood; write it into profile")
		}
		if value.kind == lostNode && name != "id" && (builtIn || value.line != line) {
			r.lose(max(line, value.line), name+" is left out until profile."+name+" says what it shall be, since it depends on this line")
		}
		if builtIn && name != "id" {
			r.claims = append(r.claims, claim{name, leftOut, max(line, value.line), true})
		}
		if name == "id" {
			r.lose(line, "the identifier by which the tenant knows people is not understood. "+identifierAdvice)
		}
	case builtIn && sameAsDefault(d, source):
		if key == "email" {
			r.unlike(name, line, x)
		}
	case name == "id" && (source == `attr("uid")` || source == "uid" || source == `uid != "" ? uid : cn` || source == `id != "" ? id : uid`):
		r.differs = append(r.differs, Note{fmt.Sprintf("%s:%d", r.file, line), "the tenant knows people by their uid. So it does here, but in Active Directory, where it is the objectGUID"})
	case name == "id":
		shown := ""
		if !strings.Contains(source, `"`) || source == `id != "" ? id : uid` { // texts of the script may be secrets
			shown = " (" + source + ")"
		}
		r.lose(line, "the tenant knows people by another id than objectGUID, uid or cn"+shown+". "+identifierAdvice)
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
