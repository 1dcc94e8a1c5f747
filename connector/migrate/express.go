package migrate

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// A code is an expression of our language. What it is in JavaScript is known by
// its kind.
type code struct {
	text string
	atom bool // needs no parentheses where it is an operand
	kind codeKind
}

type codeKind int

const (
	textCode codeKind = iota // also an attribute, of which it is the first value
	listCode
	boolCode
	numberCode
	noCode   // "", for undefined
	someCode // the one or the other
)

// A difference is what our expression does otherwise than the old mapper, for
// some entries.
type difference int

const (
	severalValues difference = iota
	missingWord
	missingThrows
	missingItem
	emptyText
	emptyList
	nullValue
	sharpS
	surrogates
	emailKey
	groupsList
	differences
)

// notIn is what came of a mapper that failed.
const notIn = "such people did not get in"

// differenceWords say each as: when, what now, what before.
var differenceWords = [differences]string{
	severalValues: "an attribute with several values: the first counts (before: a list, or " + notIn + ")",
	missingWord:   "a missing attribute: nothing stands there (before: the word undefined)",
	missingThrows: "a missing attribute: it is empty (before: " + notIn + ")",
	missingItem:   "a missing attribute: no element of the list (before: null)",
	emptyText:     "an empty text: no claim (before: \"\")",
	emptyList:     "an empty list: no claim (before: [])",
	nullValue:     "null: no claim (before: null)",
	sharpS:        "ß as a capital letter: ß (before: SS)",
	surrogates:    "emoji and other rare characters: they count as one (before: two)",
	groupsList:    "nothing or a single text: it is told as a list (before: as it is)",
	emailKey:      "the claim: it is told as the first of emails (before: as email)",
}

// An expresser puts nodes into our language, in which an attribute that is not
// there is an empty text.
type expresser struct {
	present []string // attributes that are there, as the conditions around say
	differs [differences]bool
	within  bool     // a closure
	kind    codeKind // of the last claim
}

// maxCode bounds an expression; the language has a bound of its own.
const maxCode = 1500

// nothing is an expression for what is not there.
const nothing = `""`

// claimOf returns the whole of a claim.
func (x *expresser) claimOf(n *node) (string, error) {
	n = x.plain(n)
	x.kind = textCode
	if n.kind == attributeNode && n.text != "groups" && ours[n.text] == "" {
		if !attributeName.MatchString(n.text) || slices.Contains(notReported, n.text) {
			return "", errScript
		}
		if !slices.Contains(variableNames, n.text) {
			return n.text, nil // with all its values, as it was
		}
	}
	c, err := x.code(n)
	x.kind = c.kind
	switch {
	case err != nil:
		return "", err
	case c.kind == noCode && n.kind == nullNode:
		x.differs[nullValue] = true
	case n.kind == textNode && n.text == "":
		x.differs[emptyText] = true
	case n.kind == attributeNode:
	case simple.MatchString(c.text) && c.kind == textCode && !slices.Contains(variableNames, c.text):
		return "attr(" + strconv.Quote(c.text) + ")", nil // the first value alone
	}
	if c.kind == listCode && (n.kind != listNode || !slices.ContainsFunc(n.args, x.sure)) {
		x.differs[emptyList] = true
	}
	if len(c.text) > maxCode {
		return "", errScript
	}
	return c.text, nil
}

// plain returns x for x or nothing, which is the same in a profile.
func (x *expresser) plain(n *node) *node {
	rest := nothingIs
	switch {
	case n.kind == orNode:
		rest = n.args[1]
	case n.kind == chooseNode && sameNode(n.args[0], n.args[1]):
		rest = n.args[2]
	case n.kind == andNode && sameNode(n.args[0], n.args[1]):
	default:
		return n
	}
	if n.args[0].kind != attributeNode {
		return n
	}
	switch {
	case rest.kind == nothingNode:
	case rest.kind == nullNode:
		x.differs[nullValue] = true
	case empty(rest):
		x.differs[emptyText] = true
	case rest.kind == listNode && len(rest.args) == 0:
		x.differs[emptyList] = n.args[0].text != "groups" // which is always there
	default:
		return n
	}
	return n.args[0]
}

// ours are the attributes of the old connector's entry that are called something
// else in our language, and notReported are those that it has not.
var (
	ours        = map[string]string{"objectGUID": "id", "objectSid": "sid", "groups": "groups", "dn": "dn", "organizationUnits": "dn"}
	notReported = []string{"controls", "ldapStatus"}
)

// simple is an attribute that can stand in an expression as it is; variableNames
// and words are names that are something else there.
var (
	attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
	simple        = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)
	variableNames = []string{"id", "sid", "units", "username", "groups", "dn"}
	words         = []string{"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "let", "if", "else", "true", "false", "nil"}
)

// variable returns an attribute in our language.
func variable(attribute string) string {
	switch name := ours[attribute]; {
	case name != "":
		return name
	case simple.MatchString(attribute) && !slices.Contains(words, attribute) && !slices.Contains(variableNames, attribute):
		return attribute
	}
	return "attr(" + strconv.Quote(attribute) + ")"
}

// code returns a node as a value.
func (x *expresser) code(n *node) (code, error) {
	c, err := x.valueOf(n)
	if len(c.text) > 2*maxCode {
		return code{}, errScript
	}
	return c, err
}

func (x *expresser) valueOf(n *node) (code, error) {
	switch n.kind {
	case attributeNode:
		return x.attribute(n)
	case elementNode:
		if !x.within {
			return code{}, errScript
		}
		return code{"#", true, textCode}, nil
	case textNode:
		return code{strconv.Quote(n.text), true, textCode}, nil
	case numberNode:
		return code{n.text, n.text[0] != '-', numberCode}, nil
	case boolNode:
		return code{n.text, true, boolCode}, nil
	case nothingNode, nullNode:
		return code{nothing, true, noCode}, nil
	case orNode, andNode:
		switch {
		case isQuestion(n):
			return x.condition(n)
		case n.kind == orNode:
			return x.choice(n.args[0], n.args[0], n.args[1])
		}
		return x.choice(n.args[0], n.args[1], nothingIs)
	case chooseNode:
		if c, ok := x.one(n); ok {
			return c, nil
		}
		return x.choice(n.args[0], n.args[1], n.args[2])
	case plusNode:
		return x.sum(n)
	case notNode, equalNode, unequalNode, moreThanNode:
		return x.condition(n)
	case listNode:
		return x.list(n)
	case indexNode:
		return x.index(n)
	case methodNode:
		return x.method(n)
	}
	return code{}, errScript
}

func (x *expresser) attribute(n *node) (code, error) {
	if !attributeName.MatchString(n.text) || slices.Contains(notReported, n.text) {
		return code{}, errScript
	}
	if n.text == "groups" {
		return code{"groups", true, listCode}, nil
	}
	if ours[n.text] == "" {
		x.differs[severalValues] = true
	}
	return code{variable(n.text), true, textCode}, nil
}

// sure reports whether n is certainly a text.
func (x *expresser) sure(n *node) bool {
	switch n.kind {
	case attributeNode:
		return slices.Contains(x.present, n.text) || n.text == "dn" || n.text == "organizationUnits"
	case orNode:
		return x.sure(n.args[len(n.args)-1])
	case chooseNode:
		return x.sure(n.args[2]) && (x.sure(n.args[1]) || sameNode(n.args[0], n.args[1]))
	case textNode, elementNode, plusNode, methodNode:
		return true
	}
	return false
}

// given returns the attributes that are there if n counts as true, or as false.
func given(n *node, holds bool) []string {
	switch {
	case n.kind == notNode:
		return given(n.args[0], !holds)
	case n.kind == attributeNode && holds:
		return []string{n.text}
	case n.kind == andNode && holds, n.kind == orNode && !holds:
		return append(given(n.args[0], holds), given(n.args[1], holds)...)
	case n.kind == unequalNode && holds, n.kind == equalNode && !holds:
		if n.args[0].kind == attributeNode && (n.args[1].kind == nothingNode || n.args[1].kind == nullNode && len(n.text) == 2) {
			return []string{n.args[0].text}
		}
	case n.kind == equalNode && holds:
		if n.args[0].kind == attributeNode && n.args[1].kind == textNode {
			return []string{n.args[0].text}
		}
	}
	return nil
}

// where calls f with the attributes of what is given by a condition.
func (x *expresser) where(condition *node, holds bool, f func()) {
	before := x.present
	x.present = append(slices.Clone(before), given(condition, holds)...)
	f()
	x.present = before
}

// choice returns the one or the other.
func (x *expresser) choice(condition, then, otherwise *node) (code, error) {
	question, err := x.condition(condition)
	if err != nil {
		return code{}, err
	}
	var a, b code
	var errA, errB error
	x.where(condition, true, func() { a, errA = x.code(then) })
	x.where(condition, false, func() { b, errB = x.code(otherwise) })
	switch {
	case errA != nil:
		return code{}, errA
	case question.text == "true":
		return a, nil
	case errB != nil:
		return code{}, errB
	case question.text == "false":
		return b, nil
	}
	if otherwise.kind == nullNode || then.kind == nullNode {
		x.differs[nullValue] = true
	}
	if empty(otherwise) || empty(then) {
		x.differs[emptyText] = true
	}
	if otherwise.kind == listNode && len(otherwise.args) == 0 {
		x.differs[emptyList] = true
	}
	if b.text == nothing && sameNode(condition, then) {
		return a, nil // x or nothing
	}
	kind := a.kind
	switch {
	case a.kind == noCode:
		kind = b.kind
	case b.kind != noCode && b.kind != a.kind:
		kind = someCode
	}
	if !a.atom && strings.Contains(a.text, "?") {
		a.text = "(" + a.text + ")"
	}
	return code{question.text + " ? " + a.text + " : " + b.text, false, kind}, nil
}

func empty(n *node) bool { return n.kind == textNode && n.text == "" }

// sameNode reports whether two nodes are the same in all.
func sameNode(a, b *node) bool {
	return a == b || a.kind == b.kind && a.kind != lostNode && a.text == b.text && slices.Equal(a.keys, b.keys) && slices.EqualFunc(a.args, b.args, sameNode)
}

// one recognises how scripts treat an attribute that may have several values:
// Array.isArray(x) ? x[0] : x, and what else there is in the place of x[0] and of
// x.
func (x *expresser) one(n *node) (code, bool) {
	if n.args[0].kind != isArrayNode {
		return code{}, false
	}
	a, then, otherwise := n.args[0].args[0], n.args[1], n.args[2]
	if a.kind != attributeNode || ours[a.text] != "" {
		return code{}, false
	}
	if _, err := (&expresser{}).attribute(a); err != nil {
		return code{}, false
	}
	all := "values(" + strconv.Quote(a.text) + ")"
	switch {
	case sameNode(otherwise, a) && then.kind == indexNode && sameNode(then.args[0], a) && then.args[1].kind == numberNode && then.args[1].text == "0":
		return code{variable(a.text), true, textCode}, true
	case sameNode(otherwise, a) && then.kind == methodNode && then.text == "join" && sameNode(then.args[0], a) && len(then.args) == 2 && then.args[1].kind == textNode:
		return code{"join(" + all + ", " + strconv.Quote(then.args[1].text) + ")", true, textCode}, true
	case sameNode(then, a) && otherwise.kind == listNode && len(otherwise.args) == 1 && sameNode(otherwise.args[0], a):
		if !x.sure(a) {
			x.differs[missingItem] = true
		}
		return code{all, true, listCode}, true
	}
	return code{}, false
}

// operand returns a node as an operand of an operator.
func (x *expresser) operand(n *node) (code, error) {
	c, err := x.code(n)
	if !c.atom {
		c.text, c.atom = "("+c.text+")", true
	}
	return c, err
}

// sum puts texts together.
func (x *expresser) sum(n *node) (code, error) {
	parts := addends(n)
	var texts []string
	isText, filled := false, false
	for _, part := range parts {
		if part.kind == textNode && part.text == "" && len(parts) > 2 {
			isText = true // as at the beginning of a template
			continue
		}
		before := x.differs[emptyText]
		c, err := x.operand(part)
		x.differs[emptyText] = before // it is not alone
		switch {
		case err != nil:
			return code{}, err
		case c.kind == noCode, c.kind == someCode:
			return code{}, errScript
		case c.kind == listCode:
			c.text = "join(" + c.text + `, ",")`
		}
		if c.kind == numberCode || c.kind == boolCode {
			// Only texts are put together in the same way.
			if len(texts) == 0 && !isText {
				return code{}, errScript
			}
		} else if part.kind == attributeNode && !x.sure(part) || (part.kind == chooseNode || part.kind == orNode || part.kind == andNode) && !x.sure(part) {
			x.differs[missingWord] = true
		}
		texts = append(texts, c.text)
		filled = filled || part.kind == attributeNode || part.kind == textNode && part.text != "" || part.kind == numberNode || part.kind == boolNode
	}
	if !filled {
		x.differs[emptyText] = true
	}
	if len(texts) == 1 {
		return code{texts[0], true, textCode}, nil
	}
	return code{strings.Join(texts, " + "), false, textCode}, nil
}

// addends returns what is added, from the left.
func addends(n *node) []*node {
	if n.kind != plusNode {
		return []*node{n}
	}
	return append(addends(n.args[0]), n.args[1])
}

// list returns a list that the script writes out.
func (x *expresser) list(n *node) (code, error) {
	if len(n.args) == 0 {
		x.differs[emptyList] = true
		return code{nothing, true, noCode}, nil
	}
	var items []string
	for _, item := range n.args {
		c, err := x.code(item)
		if err != nil || c.kind != textCode {
			return code{}, errScript
		}
		if !x.sure(item) {
			x.differs[missingItem] = true
		}
		items = append(items, c.text)
	}
	return code{"[" + strings.Join(items, ", ") + "]", true, listCode}, nil
}

// isQuestion reports whether n is yes or no.
func isQuestion(n *node) bool {
	switch n.kind {
	case boolNode, notNode, equalNode, unequalNode, moreThanNode:
		return true
	case andNode, orNode:
		return isQuestion(n.args[0]) && isQuestion(n.args[1])
	case methodNode:
		return slices.Contains([]string{"includes", "startsWith", "endsWith", "test", "some", "every"}, n.text)
	}
	return false
}

func yes(text string) (code, error) { return code{text, false, boolCode}, nil }

// condition returns whether a node counts as true.
func (x *expresser) condition(n *node) (code, error) {
	switch n.kind {
	case boolNode:
		return code{n.text, true, boolCode}, nil
	case nothingNode, nullNode:
		return code{"false", true, boolCode}, nil
	case textNode:
		return code{strconv.FormatBool(n.text != ""), true, boolCode}, nil
	case notNode:
		return x.not(n.args[0])
	case andNode, orNode:
		return x.both(n)
	case equalNode, unequalNode:
		return x.compared(n)
	case moreThanNode:
		return x.moreThan(n)
	case methodNode:
		if isQuestion(n) {
			return x.question(n)
		}
	case memberNode:
		return x.length(n)
	}
	// An attribute with several values counts as true, as its first does.
	several := x.differs[severalValues]
	c, err := x.operand(n)
	if n.kind == attributeNode {
		x.differs[severalValues] = several
	}
	switch {
	case err != nil:
		return code{}, err
	case c.kind == listCode:
		return code{"true", true, boolCode}, nil // an empty list as well
	case c.kind == boolCode:
		return c, nil
	case c.kind != textCode:
		return code{}, errScript
	}
	return yes(c.text + ` != ""`)
}

func (x *expresser) not(n *node) (code, error) {
	c, err := x.condition(n)
	switch {
	case err != nil:
		return code{}, err
	case c.text == "true":
		return code{"false", true, boolCode}, nil
	case c.text == "false":
		return code{"true", true, boolCode}, nil
	}
	if before, ok := strings.CutSuffix(c.text, ` != ""`); ok && !strings.ContainsAny(before, " ") {
		return yes(before + ` == ""`)
	}
	if before, ok := strings.CutSuffix(c.text, ` == ""`); ok && !strings.ContainsAny(before, " ") {
		return yes(before + ` != ""`)
	}
	return code{"!(" + c.text + ")", true, boolCode}, nil
}

// both returns two conditions, of which both or one must hold.
func (x *expresser) both(n *node) (code, error) {
	a, err := x.condition(n.args[0])
	if err != nil {
		return code{}, err
	}
	var b code
	x.where(n.args[0], n.kind == andNode, func() { b, err = x.condition(n.args[1]) })
	if err != nil {
		return code{}, err
	}
	mark := " && "
	if n.kind == orNode {
		mark = " || "
	}
	return code{"(" + a.text + mark + b.text + ")", true, boolCode}, nil
}

// compared returns whether two texts are, or are not, the same.
func (x *expresser) compared(n *node) (code, error) {
	a, b := n.args[0], n.args[1]
	if a.kind == textNode || a.kind == numberNode || a.kind == nothingNode || a.kind == nullNode {
		a, b = b, a
	}
	mark := " == "
	if n.kind == unequalNode {
		mark = " != "
	}
	strict := len(n.text) == 3
	switch {
	case a.kind == typeNode && b.kind == textNode && b.text == "undefined":
		a = a.args[0]
		fallthrough
	case b.kind == nothingNode || b.kind == nullNode && !strict:
		if a.kind != attributeNode || a.text == "groups" {
			return code{}, errScript
		}
		several := x.differs[severalValues]
		c, err := x.operand(a)
		x.differs[severalValues] = several
		c.text, c.atom, c.kind = c.text+mark+`""`, false, boolCode
		return c, err
	case b.kind == numberNode:
		return x.position(n, a, b)
	case empty(b) && !x.sure(a), b.kind == nullNode:
		return code{}, errScript // what is missing is not an empty text there
	}
	filled := func(n *node) bool { return n.kind == textNode && n.text != "" || n.kind == elementNode }
	same := filled(a) || filled(b) || x.sure(a) && x.sure(b) || a.kind == attributeNode && b.kind == attributeNode
	if !same {
		return code{}, errScript // for the same reason
	}
	left, err := x.operand(a)
	if err != nil {
		return code{}, err
	}
	right, err := x.operand(b)
	if err != nil || left.kind != textCode || right.kind != textCode {
		return code{}, errScript
	}
	return yes(left.text + mark + right.text)
}

// position returns what a comparison of a.indexOf(b) with a number asks.
func (x *expresser) position(n, a, b *node) (code, error) {
	if a.kind != methodNode || a.text != "indexOf" || len(a.args) != 2 {
		if a.kind == memberNode && a.text == "length" && b.text == "0" {
			c, err := x.length(a)
			if err == nil && n.kind == equalNode {
				return x.negated(c)
			}
			return c, err
		}
		return code{}, errScript
	}
	var c code
	var err error
	switch b.text {
	case "-1":
		c, err = x.question(make1(methodNode, "includes", a.args...))
	case "0":
		list, listErr := x.probe(a.args[0])
		if listErr != nil || list.kind != textCode {
			return code{}, errScript
		}
		c, err = x.question(make1(methodNode, "startsWith", a.args...))
	default:
		return code{}, errScript
	}
	if err == nil && (n.kind == equalNode) == (b.text == "-1") {
		return x.negated(c)
	}
	return c, err
}

// probe returns what a node is without a trace.
func (x *expresser) probe(n *node) (code, error) {
	other := *x
	return other.code(n)
}

func (x *expresser) negated(c code) (code, error) {
	return code{"!(" + c.text + ")", true, boolCode}, nil
}

// moreThan returns a.length > 0 and a.indexOf(b) > -1, and the same with >=.
func (x *expresser) moreThan(n *node) (code, error) {
	a, b := n.args[0], n.args[1]
	least := b.text
	if b.kind != numberNode {
		return code{}, errScript
	}
	if n.text == ">=" {
		switch b.text {
		case "1":
			least = "0"
		case "0":
			least = "-1"
		default:
			return code{}, errScript
		}
	}
	switch {
	case least == "0" && a.kind == memberNode:
		return x.length(a)
	case least == "-1" && a.kind == methodNode && a.text == "indexOf" && len(a.args) == 2:
		return x.question(make1(methodNode, "includes", a.args...))
	}
	return code{}, errScript
}

// length returns whether a.length is more than none.
func (x *expresser) length(n *node) (code, error) {
	if n.text != "length" {
		return code{}, errScript
	}
	several := x.differs[severalValues]
	c, err := x.operand(n.args[0])
	x.differs[severalValues] = several
	switch {
	case err != nil:
		return code{}, err
	case c.kind == listCode:
		return yes("len(" + c.text + ") > 0")
	case c.kind != textCode:
		return code{}, errScript
	case !x.sure(n.args[0]):
		x.differs[missingThrows] = true
	}
	return yes(c.text + ` != ""`)
}

// question returns a method that answers yes or no.
func (x *expresser) question(n *node) (code, error) {
	if len(n.args) != 2 {
		return code{}, errScript
	}
	about, arg := n.args[0], n.args[1]
	if n.text == "test" {
		return x.matches(about, arg)
	}
	c, err := x.operand(about)
	if err != nil {
		return code{}, err
	}
	if c.kind == listCode {
		switch n.text {
		case "includes":
			what, err := x.operand(arg)
			if err != nil || what.kind != textCode {
				return code{}, errScript
			}
			return yes(what.text + " in " + c.text)
		case "some":
			return x.each("any", c, arg)
		case "every":
			return x.each("all", c, arg)
		}
		return code{}, errScript
	}
	operator := map[string]string{"includes": " contains ", "startsWith": " startsWith ", "endsWith": " endsWith "}[n.text]
	// Whether an attribute has several values must not decide what is asked.
	if c.kind != textCode || operator == "" || about.kind == attributeNode && about.text == "memberOf" {
		return code{}, errScript
	}
	if !x.sure(about) {
		x.differs[missingThrows] = true
	}
	what, err := x.operand(arg)
	if err != nil || what.kind != textCode || !x.sure(arg) {
		return code{}, errScript
	}
	return yes(c.text + operator + what.text)
}

// matches returns whether a pattern finds something.
func (x *expresser) matches(pattern, about *node) (code, error) {
	if pattern.kind != patternNode || !x.sure(about) {
		return code{}, errScript
	}
	ours, err := translated(pattern.text, pattern.keys[0])
	if err != nil {
		return code{}, err
	}
	c, err := x.operand(about)
	if err != nil || c.kind != textCode {
		return code{}, errScript
	}
	return yes(c.text + " matches " + strconv.Quote(ours))
}

// unlike is what patterns mean otherwise in JavaScript, or not at all.
var unlike = regexp.MustCompile(`\\[^dDwWbB.^$*+?()\[\]{}|/\\-]|\(\?[^:]|\[\]|\[\^\]|\[:`)

// translated returns a pattern of JavaScript that means the same here.
func translated(pattern, flags string) (string, error) {
	if strings.Trim(flags, "gi") != "" || unlike.MatchString(pattern) {
		return "", errScript
	}
	if strings.Contains(flags, "i") {
		pattern = "(?i)" + pattern
	}
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil {
		return "", errScript
	}
	return pattern, nil
}

// each returns a function of our language that goes through a list.
func (x *expresser) each(name string, list code, closure *node) (code, error) {
	if closure.kind != closureNode || x.within {
		return code{}, errScript
	}
	x.within = true
	defer func() { x.within = false }()
	body := closure.args[0]
	if name == "map" {
		c, err := x.code(body)
		if err != nil || c.kind != textCode {
			return code{}, errScript
		}
		return code{"map(" + list.text + ", " + c.text + ")", true, listCode}, nil
	}
	c, err := x.condition(body)
	if err != nil {
		return code{}, err
	}
	kind := boolCode
	if name == "filter" {
		kind = listCode
	}
	return code{name + "(" + list.text + ", " + c.text + ")", true, kind}, nil
}

// textMethods are methods of texts without arguments, and what they are called
// here.
var textMethods = map[string]string{"toLowerCase": "lower", "toUpperCase": "upper", "toLocaleLowerCase": "lower", "toLocaleUpperCase": "upper", "trim": "trim", "toString": ""}

// method returns what a method makes.
func (x *expresser) method(n *node) (code, error) {
	about, args := n.args[0], n.args[1:]
	if isQuestion(n) {
		return x.question(n)
	}
	if n.text == "concat" && about.kind == listNode && len(about.args) == 0 && len(args) == 1 {
		return x.concatenated(args[0])
	}
	c, err := x.code(about)
	if err != nil {
		return code{}, err
	}
	if c.kind == listCode {
		return x.listMethod(n.text, c, args)
	}
	if c.kind != textCode {
		return code{}, errScript
	}
	if !x.sure(about) {
		x.differs[missingThrows] = true
	}
	if name, ok := textMethods[n.text]; ok && len(args) == 0 {
		if name == "upper" {
			x.differs[sharpS] = true
		}
		if name == "" {
			return c, nil
		}
		return code{name + "(" + c.text + ")", true, textCode}, nil
	}
	if n.text == "split" && len(args) == 1 && args[0].kind == textNode && args[0].text != "" {
		return code{"split(" + c.text + ", " + strconv.Quote(args[0].text) + ")", true, listCode}, nil
	}
	return x.part(n.text, c, args)
}

// concatenated returns [].concat(x) and [].concat(x || []): the values of x.
func (x *expresser) concatenated(n *node) (code, error) {
	orNone := n.kind == orNode && n.args[1].kind == listNode && len(n.args[1].args) == 0
	if orNone {
		n = n.args[0]
	}
	switch {
	case n.kind != attributeNode || !attributeName.MatchString(n.text) || slices.Contains(notReported, n.text):
		return code{}, errScript
	case n.text == "groups":
		return code{"groups", true, listCode}, nil
	case ours[n.text] != "":
		return code{}, errScript
	}
	if !orNone && !x.sure(n) {
		x.differs[missingItem] = true
	}
	return code{"values(" + strconv.Quote(n.text) + ")", true, listCode}, nil
}

func (x *expresser) listMethod(name string, list code, args []*node) (code, error) {
	switch {
	case (name == "filter" || name == "map") && len(args) == 1:
		return x.each(name, list, args[0])
	case name == "sort" && len(args) == 0:
		return code{"sort(" + list.text + ")", true, listCode}, nil
	case name == "join" && len(args) == 1 && args[0].kind == textNode:
		x.differs[emptyText] = true
		return code{"join(" + list.text + ", " + strconv.Quote(args[0].text) + ")", true, textCode}, nil
	}
	return code{}, errScript
}

// part returns a part of a text by the places of its characters.
func (x *expresser) part(method string, c code, args []*node) (code, error) {
	var places []int
	for _, a := range args {
		n, err := strconv.Atoi(a.text)
		if a.kind != numberNode || err != nil || n < 0 || n > 10_000 {
			return code{}, errScript
		}
		places = append(places, n)
	}
	from, to := 0, -1
	switch {
	case (method == "substring" || method == "slice" || method == "substr") && len(places) == 1:
		from = places[0]
	case (method == "substring" || method == "slice") && len(places) == 2 && places[0] <= places[1]:
		from, to = places[0], places[1]
	case method == "substr" && len(places) == 2:
		from, to = places[0], places[0]+places[1]
	case method == "charAt" && len(places) == 1:
		from, to = places[0], places[0]+1
	default:
		return code{}, errScript
	}
	x.differs[surrogates], x.differs[emptyText] = true, true
	if !c.atom {
		c.text = "(" + c.text + ")"
	}
	end := ""
	if to >= 0 {
		end = strconv.Itoa(to)
	}
	return code{fmt.Sprintf("%s[%d:%s]", c.text, from, end), true, textCode}, nil
}

// index returns x.split(y)[0] and [1].
func (x *expresser) index(n *node) (code, error) {
	list, place := n.args[0], n.args[1]
	if list.kind != methodNode || list.text != "split" || len(list.args) != 2 || list.args[1].kind != textNode || list.args[1].text == "" || place.kind != numberNode {
		return code{}, errScript
	}
	c, err := x.code(list.args[0])
	if err != nil || c.kind != textCode {
		return code{}, errScript
	}
	if !x.sure(list.args[0]) {
		x.differs[missingThrows] = true
	}
	x.differs[emptyText] = true
	separator := strconv.Quote(list.args[1].text)
	switch place.text {
	case "0":
		return code{"before(" + c.text + ", " + separator + ")", true, textCode}, nil
	case "1":
		return code{"before(after(" + c.text + ", " + separator + "), " + separator + ")", true, textCode}, nil
	}
	return code{}, errScript
}
