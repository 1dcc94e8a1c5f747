package migrate

import (
	"errors"
	"regexp"
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
	markToken
)

// tokenPattern finds the next token, after blanks and comments.
var tokenPattern = regexp.MustCompile(`^(?:` +
	`(\s+|//[^\n]*|/\*(?s:.*?)\*/)` + // 1: nothing
	`|([A-Za-z_$][A-Za-z0-9_$]*)` + // 2: word
	`|([0-9]+(?:\.[0-9]+)?)` + // 3: number
	`|('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")` + // 4: text
	"|(`(?:[^`\\\\]|\\\\(?s:.))*`" + // 5: mark, and a template, which is not understood
	`|===|!==|==|!=|\|\||&&|=>|(?s:.)))`)

// scan takes a script apart.
func scan(script string) []lexeme {
	var tokens []lexeme
	line := 1
	for len(script) > 0 {
		m := tokenPattern.FindStringSubmatch(script)
		switch {
		case m[2] != "":
			tokens = append(tokens, lexeme{wordToken, m[2], line})
		case m[3] != "":
			tokens = append(tokens, lexeme{numberToken, m[3], line})
		case m[4] != "":
			tokens = append(tokens, lexeme{textToken, unescape(m[4][1 : len(m[4])-1]), line})
		case m[5] != "":
			text := m[5]
			if text[0] == '`' {
				text = "`…`"
			}
			tokens = append(tokens, lexeme{markToken, text, line})
		}
		line += strings.Count(m[0], "\n")
		script = script[len(m[0]):]
	}
	return append(tokens, lexeme{kind: endToken, line: line})
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

// A node is an expression of a script.
type node struct {
	kind nodeKind
	text string // name of an attribute, text, number or function
	args []*node
	keys []string // of an object
}

type nodeKind int

const (
	attributeNode nodeKind = iota // text, of the raw entry
	textNode
	numberNode
	boolNode
	nothingNode // undefined or null
	orNode      // the first that is not empty
	plusNode
	equalNode // of two
	unequalNode
	chooseNode // condition, then, else
	callNode   // of one argument: lower, upper, trim, isArray
	listNode
	objectNode
)

// A parser reads the expressions of a script in which the entry is called raw.
type parser struct {
	tokens []lexeme
	at     int
	raw    string
	depth  int
}

// maxNesting is far more than any mapper has.
const maxNesting = 40

var errScript = errors.New("not understood")

func (p *parser) peek() lexeme { return p.tokens[min(p.at, len(p.tokens)-1)] }

func (p *parser) ahead(n int) lexeme { return p.tokens[min(p.at+n, len(p.tokens)-1)] }

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
	if t := p.peek(); t.kind != kind || t.text != text {
		return false
	}
	p.at++
	return true
}

// expression reads what stands to the right of an assignment.
func (p *parser) expression() (*node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errScript
	}
	defer func() { p.depth-- }()
	condition, err := p.comparison()
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
	return &node{kind: chooseNode, args: []*node{condition, then, otherwise}}, nil
}

// comparison reads alternatives (||) and at most one comparison of such.
func (p *parser) comparison() (*node, error) {
	left, err := p.joined("||", orNode, p.sum)
	if err != nil {
		return nil, err
	}
	kind := equalNode
	switch t := p.peek(); {
	case t.kind != markToken:
		return left, nil
	case t.text == "!=" || t.text == "!==":
		kind = unequalNode
	case t.text != "==" && t.text != "===":
		return left, nil
	}
	p.at++
	right, err := p.sum()
	if left.kind == orNode { // a || b == c is something else
		err = errScript
	}
	return &node{kind: kind, args: []*node{left, right}}, err
}

func (p *parser) sum() (*node, error) { return p.joined("+", plusNode, p.operand) }

// joined reads operands with the mark between them.
func (p *parser) joined(mark string, kind nodeKind, operand func() (*node, error)) (*node, error) {
	first, err := operand()
	if err != nil || p.peek() != (lexeme{markToken, mark, p.peek().line}) {
		return first, err
	}
	n := &node{kind: kind, args: []*node{first}}
	for p.mark(mark) {
		more, err := operand()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, more)
	}
	return n, nil
}

// methods are those that are understood, and what they are called here.
var methods = map[string]string{"toLowerCase": "lower", "toUpperCase": "upper", "trim": "trim"}

// operand reads a value and the methods called on it.
func (p *parser) operand() (*node, error) {
	n, err := p.value()
	for err == nil && p.peek().text == "." && p.peek().kind == markToken {
		name := methods[p.ahead(1).text]
		p.at += 2
		switch {
		case name != "" && p.mark("(") && p.mark(")"):
			n = &node{kind: callNode, text: name, args: []*node{n}}
		case p.ahead(-1).text == "toString" && p.mark("(") && p.mark(")") && n.kind == attributeNode:
		default:
			return nil, errScript
		}
	}
	return n, err
}

func (p *parser) value() (*node, error) {
	switch t := p.next(); t.kind {
	case textToken:
		return &node{kind: textNode, text: t.text}, nil
	case numberToken:
		return &node{kind: numberNode, text: t.text}, nil
	case wordToken:
		return p.named(t.text)
	case markToken:
		switch t.text {
		case "(":
			n, err := p.expression()
			if err == nil && !p.mark(")") {
				err = errScript
			}
			return n, err
		case "[":
			return p.list()
		case "{":
			return p.object()
		}
	}
	return nil, errScript
}

// named reads a value that begins with a word.
func (p *parser) named(word string) (*node, error) {
	switch word {
	case "true", "false":
		return &node{kind: boolNode, text: word}, nil
	case "undefined", "null":
		return &node{kind: nothingNode}, nil
	case "Array":
		if p.mark(".") && p.word("isArray") && p.mark("(") {
			n, err := p.expression()
			if err == nil && p.mark(")") {
				return &node{kind: callNode, text: "isArray", args: []*node{n}}, nil
			}
		}
	case p.raw:
		if name, ok := p.member(); ok {
			return &node{kind: attributeNode, text: name}, nil
		}
	}
	return nil, errScript
}

// member reads .name or ['name'].
func (p *parser) member() (string, bool) {
	switch {
	case p.mark("."):
		t := p.next()
		return t.text, t.kind == wordToken
	case p.mark("["):
		t := p.next()
		return t.text, t.kind == textToken && p.mark("]")
	}
	return "", false
}

// list reads the rest of a list.
func (p *parser) list() (*node, error) {
	n := &node{kind: listNode}
	for !p.mark("]") {
		item, err := p.expression()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, item)
		if !p.mark(",") && p.peek().text != "]" {
			return nil, errScript
		}
	}
	return n, nil
}

// object reads the rest of an object.
func (p *parser) object() (*node, error) {
	n := &node{kind: objectNode}
	for !p.mark("}") {
		key := p.next()
		if key.kind != wordToken && key.kind != textToken || !p.mark(":") {
			return nil, errScript
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		n.keys, n.args = append(n.keys, key.text), append(n.args, value)
		if !p.mark(",") && p.peek().text != "}" {
			return nil, errScript
		}
	}
	return n, nil
}
