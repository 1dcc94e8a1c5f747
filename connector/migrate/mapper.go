package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A mapping is what is understood of an old profile mapper.
type mapping struct {
	claims  []claim // where it is not as the default, in the order of the script
	lost    []Note  // what is not understood, or cannot be had
	differs []Note  // what is translated and not the same for every entry
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

// maxVariables is far more than any mapper has. What they are is copied before each
// statement and each condition.
const maxVariables = 300

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
		if len(r.variables) >= maxVariables {
			return errScript
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
