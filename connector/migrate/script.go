package migrate

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A lexeme is a word, a text or a mark of JavaScript.
type lexeme struct {
	kind lexemeKind
	text string // of a text: what stands between the quotes, with escapes resolved
	line int    // from 1
}

type lexemeKind int

const (
	endToken lexemeKind = iota
	wordToken
	numberToken
	textToken
	templateToken // what stands between the backquotes
	patternToken  // a regular expression, with its slashes and flags
	markToken
)

// tokenPattern finds the next token, after blanks and comments.
var tokenPattern = regexp.MustCompile(`^(?:` +
	`(\s+|//[^\n]*|/\*(?s:.*?)\*/)` + // 1: nothing
	`|([A-Za-z_$][A-Za-z0-9_$]*)` + // 2: word
	`|([0-9]+(?:\.[0-9]+)?)` + // 3: number
	`|('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")` + // 4: text
	"|(`(?:[^`\\\\]|\\\\(?s:.))*`)" + // 5: template
	`|(===|!==|==|!=|>=|<=|\|\||&&|\?\?|\?\.|=>|\+=|\+\+|--|(?s:.)))`) // 6: mark

// regularExpression is one where an operand is expected.
var regularExpression = regexp.MustCompile(`^/((?:[^/\\\[\n*]|\\.|\[(?:[^\]\\\n]|\\.)*\])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])*)/([a-z]*)`)

// maxToken bounds what is looked at for the end of a text or of a regular
// expression: each mark that could begin one would otherwise be followed to the end
// of its line, which may be the whole script.
const maxToken = 1000

// scan takes a script apart, up to a text or a regular expression that is too long:
// what is behind it cannot be told from what is in it.
func scan(script string) []lexeme {
	var tokens []lexeme
	line := 1
	add := func(kind lexemeKind, text string) { tokens = append(tokens, lexeme{kind, text, line}) }
	for len(script) > 0 {
		near := script[:min(len(script), maxToken)]
		tooLong := len(near) < len(script) && !strings.Contains(near, "\n")
		if script[0] == '/' && beforeOperand(tokens) {
			if m := regularExpression.FindString(near); m != "" {
				add(patternToken, m)
				script = script[len(m):]
				continue
			}
			if tooLong && !strings.HasPrefix(script, "//") && !strings.HasPrefix(script, "/*") {
				return append(tokens, lexeme{kind: endToken, line: line})
			}
		}
		for _, open := range []struct{ begin, end string }{{"/*", "*/"}, {"`", "`"}} {
			// Whatever has no end is the rest, looked for once.
			if strings.HasPrefix(script, open.begin) && !strings.Contains(script[len(open.begin):], open.end) {
				add(markToken, open.begin)
				return append(tokens, lexeme{kind: endToken, line: line + strings.Count(script, "\n")})
			}
		}
		quote, here := strings.ContainsRune(`'"`, rune(script[0])), script
		if quote {
			here = near
		}
		m := tokenPattern.FindStringSubmatch(here)
		if quote && m[6] != "" && tooLong {
			return append(tokens, lexeme{kind: endToken, line: line})
		}
		switch {
		case m[2] != "":
			add(wordToken, m[2])
		case m[3] != "":
			add(numberToken, m[3])
		case m[4] != "":
			add(textToken, unescape(m[4][1:len(m[4])-1]))
		case m[5] != "":
			add(templateToken, m[5][1:len(m[5])-1])
		case m[6] != "":
			add(markToken, m[6])
		}
		line += strings.Count(m[0], "\n")
		script = script[len(m[0]):]
	}
	return append(tokens, lexeme{kind: endToken, line: line})
}

// beforeOperand reports whether a slash behind these tokens begins a regular
// expression rather than divides.
func beforeOperand(tokens []lexeme) bool {
	if len(tokens) == 0 {
		return true
	}
	switch last := tokens[len(tokens)-1]; last.kind {
	case markToken:
		return last.text != ")" && last.text != "]" && last.text != "}"
	case wordToken:
		return last.text == "return" || last.text == "typeof" || last.text == "case"
	}
	return false
}

var escape = regexp.MustCompile(`\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(?s:(.)))`)

// unescape resolves the escapes of a text.
func unescape(text string) string {
	return escape.ReplaceAllStringFunc(text, func(s string) string {
		m := escape.FindStringSubmatch(s)
		if digits := m[1] + m[2]; digits != "" {
			n, _ := strconv.ParseUint(digits, 16, 32)
			return string(rune(n))
		}
		switch m[3] {
		case "n":
			return "\n"
		case "t":
			return "\t"
		case "r":
			return "\r"
		}
		return m[3]
	})
}

// A node is an expression of a script. Names of variables in it are replaced by
// what they stand for, so that nodes can share parts; they are never changed.
type node struct {
	kind  nodeKind
	text  string // name of an attribute, text, number, method or pattern
	args  []*node
	keys  []string // of an object, or of the entry where the script changes it
	lines []int    // where the keys stand
	line  int      // where what is lost stands
	size  int      // how many nodes it is written out
}

type nodeKind int

const (
	lostNode      nodeKind = iota // not understood
	rawNode                       // the whole entry
	attributeNode                 // text, of the entry
	elementNode                   // of the list that is gone through
	textNode
	numberNode
	boolNode
	nothingNode // undefined
	nullNode
	notNode
	andNode
	orNode // the first that counts as true, else the last
	plusNode
	equalNode    // of two; text is the mark
	unequalNode  // likewise
	moreThanNode // likewise, with > and >=
	chooseNode   // condition, then, else
	methodNode   // text, called on the first of args with the others
	memberNode   // text, of args[0]
	indexNode    // args[1] of args[0]
	typeNode     // typeof
	isArrayNode
	patternNode // text is the pattern, keys[0] its flags
	closureNode // args[0] is made of an elementNode
	listNode
	objectNode
)

// maxSize bounds what is written out of a node: a variable can stand for much,
// and stand in many places.
const maxSize = 400

// make1 returns a node.
func make1(kind nodeKind, text string, args ...*node) *node {
	n := &node{kind: kind, text: text, args: args, size: 1}
	for _, a := range args {
		n.size = min(n.size+a.size, maxSize+1)
		if a.kind == lostNode {
			return a // what is made of it is not understood either
		}
	}
	if n.size > maxSize {
		return lost
	}
	return n
}

var (
	lost      = &node{kind: lostNode, size: 1}
	nothingIs = &node{kind: nothingNode, size: 1}
)

// A function is one of the script that returns an expression.
type scriptFunction struct {
	parameters []string
	body       int // where the expression begins
}

// A parser reads the expressions of a script.
type parser struct {
	tokens    []lexeme
	at        int
	depth     int
	variables map[string]*node
	functions map[string]scriptFunction
	calls     int
}

// maxNesting is far more than any mapper has, and maxCalls of functions as well.
const (
	maxNesting = 40
	maxCalls   = 200
)

var errScript = errors.New("not understood")

func (p *parser) peek() lexeme { return p.tokens[min(p.at, len(p.tokens)-1)] }

func (p *parser) ahead(n int) lexeme {
	return p.tokens[max(0, min(p.at+n, len(p.tokens)-1))]
}

func (p *parser) next() lexeme {
	t := p.peek()
	p.at++
	return t
}

// mark takes the mark if it is the next token.
func (p *parser) mark(text string) bool { return p.take(markToken, text) }

// word takes the word if it is the next token.
func (p *parser) word(text string) bool { return p.take(wordToken, text) }

func (p *parser) take(kind lexemeKind, text string) bool {
	if !p.is(kind, text) {
		return false
	}
	p.at++
	return true
}

func (p *parser) is(kind lexemeKind, text string) bool {
	t := p.peek()
	return t.kind == kind && t.text == text
}

// expression reads what stands to the right of an assignment.
func (p *parser) expression() (*node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errScript
	}
	defer func() { p.depth-- }()
	condition, err := p.binary(0)
	if err != nil || !p.mark("?") {
		return condition, err
	}
	then, err := p.expression()
	if err != nil {
		return nil, err
	}
	if !p.mark(":") {
		return nil, errScript
	}
	otherwise, err := p.expression()
	if err != nil {
		return nil, err
	}
	return make1(chooseNode, "", condition, then, otherwise), nil
}

// operators are the operators of two operands that are understood, in levels: the
// first binds least.
var operators = []map[string]nodeKind{
	{"||": orNode, "??": orNode},
	{"&&": andNode},
	{"===": equalNode, "==": equalNode, "!==": unequalNode, "!=": unequalNode},
	{">": moreThanNode, ">=": moreThanNode},
	{"+": plusNode},
}

// binary reads operands with operators of a level, and of those that bind more.
func (p *parser) binary(level int) (*node, error) {
	if level == len(operators) {
		return p.unary()
	}
	left, err := p.binary(level + 1)
	for err == nil {
		t := p.peek()
		kind, ok := operators[level][t.text]
		if !ok || t.kind != markToken {
			break
		}
		p.at++
		var right *node
		if right, err = p.binary(level + 1); err == nil {
			left = joined(kind, t.text, left, right)
		}
	}
	return left, err
}

// joined returns two operands with their operator. Alternatives are nested to the
// right, where each can be looked at by itself.
func joined(kind nodeKind, mark string, left, right *node) *node {
	if kind == orNode && left.kind == orNode {
		return make1(orNode, left.text, left.args[0], joined(orNode, mark, left.args[1], right))
	}
	return make1(kind, mark, left, right)
}

func (p *parser) unary() (*node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errScript
	}
	defer func() { p.depth-- }()
	switch {
	case p.mark("!"):
		n, err := p.unary()
		if err != nil {
			return nil, err
		}
		return make1(notNode, "", n), nil
	case p.mark("-"):
		if t := p.next(); t.kind == numberToken {
			return make1(numberNode, "-"+t.text), nil
		}
		return nil, errScript
	case p.word("typeof"):
		n, err := p.unary()
		if err != nil {
			return nil, err
		}
		return make1(typeNode, "", n), nil
	}
	return p.operand()
}

// operand reads a value and what is asked of it.
func (p *parser) operand() (*node, error) {
	n, err := p.value()
	for err == nil {
		switch {
		case p.mark("."), p.mark("?."):
			if p.is(markToken, "(") || p.is(markToken, "[") {
				return nil, errScript // a?.(), a?.[]
			}
			t := p.next()
			if t.kind != wordToken {
				return nil, errScript
			}
			n, err = p.asked(n, t.text)
		case p.mark("["):
			var index *node
			if index, err = p.expression(); err == nil && !p.mark("]") {
				err = errScript
			}
			switch {
			case err != nil:
			case index.kind == textNode:
				n = member(n, index.text)
			default:
				n = make1(indexNode, "", n, index)
			}
		default:
			return n, nil
		}
	}
	return n, err
}

// asked reads the rest of .name or .name(...).
func (p *parser) asked(n *node, name string) (*node, error) {
	if !p.mark("(") {
		return member(n, name), nil
	}
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	return make1(methodNode, name, append([]*node{n}, args...)...), nil
}

// arguments reads the rest of a call.
func (p *parser) arguments() ([]*node, error) {
	var args []*node
	for !p.mark(")") {
		a, err := p.expression()
		if err != nil {
			return nil, err
		}
		args = append(args, a)
		if !p.mark(",") && !p.is(markToken, ")") {
			return nil, errScript
		}
	}
	return args, nil
}

// member returns a part of n.
func member(n *node, name string) *node {
	for i, key := range n.keys {
		if key == name && (n.kind == objectNode || n.kind == rawNode) {
			return n.args[i]
		}
	}
	switch n.kind {
	case rawNode:
		return make1(attributeNode, name)
	case objectNode:
		return nothingIs
	}
	return make1(memberNode, name, n)
}

// with returns an object in which a key has another value.
func with(object *node, key string, value *node, line int) *node {
	if object.kind == lostNode {
		return object
	}
	n := *object
	n.keys, n.args, n.lines = slices.Clone(n.keys), slices.Clone(n.args), slices.Clone(n.lines)
	i := slices.Index(n.keys, key)
	if i < 0 {
		i = len(n.keys)
		n.keys, n.args, n.lines = append(n.keys, key), append(n.args, nil), append(n.lines, 0)
	}
	n.args[i], n.lines[i] = value, line
	n.size = 1
	for _, a := range n.args {
		n.size = min(n.size+a.size, maxObject+1)
	}
	if n.size > maxObject {
		return &node{kind: lostNode, line: line, size: 1}
	}
	return &n
}

// maxObject bounds objects as maxSize does the rest.
const maxObject = 50 * maxSize

func (p *parser) value() (*node, error) {
	switch t := p.next(); t.kind {
	case textToken:
		return make1(textNode, t.text), nil
	case templateToken:
		return p.template(t)
	case patternToken:
		end := strings.LastIndexByte(t.text, '/')
		n := make1(patternNode, t.text[1:end])
		n.keys = []string{t.text[end+1:]}
		return n, nil
	case numberToken:
		if number.MatchString(t.text) && (p.peek().kind != wordToken || p.peek().line != t.line) {
			return make1(numberNode, t.text), nil
		}
	case wordToken:
		return p.named(t.text)
	case markToken:
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			return p.list()
		case "{":
			return p.object()
		}
	}
	return nil, errScript
}

// number is a number that is the same here and there: 010 is eight in JavaScript.
var number = regexp.MustCompile(`^(0|[1-9][0-9]{0,14})(\.[0-9]*[1-9])?$`)

// parenthesis reads the rest of (x), or of (a) => x.
func (p *parser) parenthesis() (*node, error) {
	if p.peek().kind == wordToken && p.ahead(1).text == ")" && p.ahead(2).text == "=>" {
		name := p.next().text
		p.at += 2
		return p.closure(name)
	}
	n, err := p.expression()
	if err == nil && !p.mark(")") {
		err = errScript
	}
	return n, err
}

// template puts the parts of a template together.
func (p *parser) template(t lexeme) (*node, error) {
	whole := make1(textNode, "")
	for text := t.text; text != ""; {
		before, rest, found := strings.Cut(text, "${")
		if before != "" {
			whole = make1(plusNode, "+", whole, make1(textNode, unescape(before)))
		}
		if !found {
			break
		}
		source, after, ok := strings.Cut(rest, "}")
		if !ok || strings.ContainsAny(source, "{`") {
			return nil, errScript
		}
		inner := *p
		inner.tokens, inner.at = scan(source), 0
		part, err := inner.expression()
		if err != nil || inner.peek().kind != endToken {
			return nil, errScript
		}
		whole = make1(plusNode, "+", whole, part)
		text = after
	}
	return whole, nil
}

// named reads a value that begins with a word.
func (p *parser) named(word string) (*node, error) {
	if p.mark("=>") {
		return p.closure(word)
	}
	if n := p.variables[word]; n != nil {
		return n, nil
	}
	if f, ok := p.functions[word]; ok && p.mark("(") {
		return p.call(f)
	}
	switch word {
	case "true", "false":
		return make1(boolNode, word), nil
	case "undefined":
		return nothingIs, nil
	case "null":
		return make1(nullNode, ""), nil
	case "function":
		return p.anonymous()
	case "Array":
		if p.mark(".") && p.word("isArray") && p.mark("(") {
			args, err := p.arguments()
			if err == nil && len(args) == 1 {
				return make1(isArrayNode, "", args[0]), nil
			}
		}
	case "Boolean":
		if !p.is(markToken, "(") { // as in filter(Boolean)
			return make1(closureNode, "", make1(elementNode, "")), nil
		}
		if p.mark("(") {
			args, err := p.arguments()
			if err == nil && len(args) == 1 {
				return make1(notNode, "", make1(notNode, "", args[0])), nil
			}
		}
	}
	return nil, errScript
}

// anonymous reads the rest of function (a) { return x; }.
func (p *parser) anonymous() (*node, error) {
	if p.peek().kind == wordToken {
		p.at++
	}
	if !p.mark("(") || p.peek().kind != wordToken {
		return nil, errScript
	}
	name := p.next().text
	if !p.mark(")") || !p.is(markToken, "{") {
		return nil, errScript
	}
	return p.closure(name)
}

// closure reads the body of a function with one parameter, which is an element of
// a list.
func (p *parser) closure(parameter string) (*node, error) {
	body, err := p.bound(map[string]*node{parameter: make1(elementNode, "")}, p.functionBody)
	if err != nil {
		return nil, err
	}
	return make1(closureNode, "", body), nil
}

// functionBody reads x, or { return x; }.
func (p *parser) functionBody() (*node, error) {
	if !p.mark("{") {
		return p.expression()
	}
	if !p.word("return") {
		return nil, errScript
	}
	n, err := p.expression()
	if p.mark(";"); err == nil && !p.mark("}") {
		err = errScript
	}
	return n, err
}

// call reads the arguments of a function of the script and puts them into it.
func (p *parser) call(f scriptFunction) (*node, error) {
	args, err := p.arguments()
	if p.calls++; err != nil || p.calls > maxCalls {
		return nil, errScript
	}
	bound := map[string]*node{}
	for i, name := range f.parameters {
		if bound[name] = nothingIs; i < len(args) {
			bound[name] = args[i]
		}
	}
	back := p.at
	p.at = f.body
	n, err := p.bound(bound, p.functionBody)
	p.at = back
	return n, err
}

// bound reads something in which names stand for these nodes.
func (p *parser) bound(names map[string]*node, read func() (*node, error)) (*node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errScript
	}
	outer := p.variables
	defer func() { p.depth--; p.variables = outer }()
	p.variables = make(map[string]*node, len(outer)+len(names))
	for name, n := range outer {
		p.variables[name] = n
	}
	for name, n := range names {
		p.variables[name] = n
	}
	return read()
}

// list reads the rest of a list.
func (p *parser) list() (*node, error) {
	var items []*node
	for !p.mark("]") {
		item, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if !p.mark(",") && !p.is(markToken, "]") {
			return nil, errScript
		}
	}
	return make1(listNode, "", items...), nil
}

// object reads the rest of an object. What is not understood of it is lost alone.
func (p *parser) object() (*node, error) {
	n := &node{kind: objectNode, size: 1}
	for !p.mark("}") {
		key := p.next()
		if key.kind != wordToken && key.kind != textToken {
			return nil, errScript
		}
		var value *node
		if p.mark(":") {
			value = p.property()
		} else if value = p.variables[key.text]; value == nil { // {a} stands for {a: a}
			return nil, errScript
		}
		n = with(n, key.text, value, key.line)
		if !p.mark(",") && !p.is(markToken, "}") {
			return nil, errScript
		}
	}
	return n, nil
}

// property reads the value of a key up to its comma.
func (p *parser) property() *node {
	begin := p.at
	value, err := p.expression()
	if err == nil && (p.is(markToken, ",") || p.is(markToken, "}")) && value.kind != lostNode {
		return value
	}
	p.at = begin
	for depth := 0; p.peek().kind != endToken; p.at++ {
		t := p.peek()
		if t.kind != markToken {
			continue
		}
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth < 0 {
				return unread(p.tokens[begin:p.at])
			}
		case ",":
			if depth == 0 {
				return unread(p.tokens[begin:p.at])
			}
		}
	}
	return unread(p.tokens[begin:p.at])
}

// unread returns a node for tokens that are not understood.
func unread(tokens []lexeme) *node {
	n := &node{kind: lostNode, text: masked(tokens), size: 1}
	if len(tokens) > 0 {
		n.line = tokens[0].line
	}
	return n
}

// masked shows tokens without the texts among them, which may be secrets.
func masked(tokens []lexeme) string {
	if n := len(tokens) - 1; n > 0 && tokens[n].text == ";" {
		tokens = tokens[:n]
	}
	var b strings.Builder
	for i, t := range tokens {
		text := t.text
		switch t.kind {
		case textToken:
			text = "'…'"
		case templateToken:
			text = "`…`"
		case patternToken:
			text = "/…/"
		}
		if i > 0 && t.kind == wordToken && tokens[i-1].kind == wordToken {
			b.WriteByte(' ')
		}
		b.WriteString(text)
		if b.Len() > 100 {
			return b.String() + "…"
		}
	}
	return b.String()
}
