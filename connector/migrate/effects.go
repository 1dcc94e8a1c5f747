package migrate

import (
	"fmt"
	"maps"
	"slices"
)

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
