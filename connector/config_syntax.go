package connector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// parseDocument returns the one mapping that the file consists of, or what is
// wrong with its syntax.
//
// The parser's own messages are translated, for they quote what stands in the
// file, and that may be a password that begins with an asterisk.
func parseDocument(data []byte) (root *yaml.Node, mistake *Mistake) {
	if m := checkText(data); m != nil {
		return nil, m
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF), err == nil && isNull(doc.Content[0]):
		return nil, &Mistake{Line: 1, Column: 1, Text: "the file is empty; config.example.yaml shows what belongs in it"}
	case err != nil:
		return nil, syntaxMistake(data, err)
	}
	if root = doc.Content[0]; root.Kind != yaml.MappingNode {
		return nil, &Mistake{Line: root.Line, Column: root.Column, Text: "the file must consist of lines such as \"url: https://login.example.com\""}
	}
	switch err := d.Decode(&second); {
	case errors.Is(err, io.EOF):
		return root, nil
	case err != nil:
		return nil, syntaxMistake(data, err)
	}
	return nil, &Mistake{
		Line: max(second.Line, 1), Column: max(second.Column, 1),
		Text: "a second document begins here and would not be read; remove the line --- and what is there twice",
	}
}

// checkText finds what is no text, or not the text that it looks like.
func checkText(data []byte) *Mistake {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return &Mistake{Line: 1, Column: 1, Text: "the file is in UTF-16; save it as UTF-8"}
	}
	rest := bytes.TrimPrefix(data, []byte("\ufeff"))
	line, column := 1, 1
	for len(rest) > 0 {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			return &Mistake{Line: line, Column: column, Text: "a character that is not UTF-8; save the file as UTF-8"}
		case r == '\n':
			line, column = line+1, 0
		case r < ' ' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 && r != 0x85 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			return &Mistake{Line: line, Column: column, Text: fmt.Sprintf("an invisible character (U+%04X); remove it", r)}
		}
		column++
		rest = rest[n:]
	}
	return nil
}

// useQuotes is for values between brackets or braces, in which YAML takes all of
// these for its own.
const useQuotes = "put values that hold ? : , # or braces in quotes"

var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// fromZero finds the messages whose line the parser counts from 0.
	fromZero = regexp.MustCompile(`^(did not find expected (',' or|key|'-'|node content|<)|found undefined tag handle)`)
	// flowPart finds, between brackets or braces, what may hold anything (texts
	// in quotes and comments) or, as its group, a character that ends a value
	// without quotes in its midst.
	flowPart = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'|(?:^|\s)#.*|[^\s,:?\[\]{}]([?\[{])`)
)

// syntaxWords says what the parser means, by a part of what it says.
var syntaxWords = []struct{ part, text string }{
	{"cannot start any token", `a character that cannot begin a value; put the value in quotes`},
	{"tab character", `a tab; YAML indents with spaces`},
	{"mapping values are not allowed", `a colon where none is expected; check the indentation, and put a value that holds ": " in quotes`},
	{"could not find expected ':'", `this line, or the one before, has no colon after its key, or a text in quotes does not end`},
	{"did not find expected key", `this does not fit the lines above; check the indentation`},
	{"did not find expected '-'", `this does not fit the list above; check the indentation`},
	{"block sequence entries are not allowed", `a list cannot begin here; put it on the next line, or write [a, b]`},
	{"',' or ']'", `a list in brackets that does not end, or lacks a comma; ` + useQuotes},
	{"',' or '}'", `a section in braces that does not end, or lacks a comma; ` + useQuotes},
	{"unknown escape character", `in double quotes a backslash begins an escape; write a Windows path in single quotes`},
	{"unexpected end of stream", `a text in quotes that does not end`},
	{"unexpected document indicator", `a text in quotes that does not end`},
	{"alphabetic or numeric character", `a value that begins with * or & must be in quotes`},
	{"did not find expected node content", `a value is missing or begins with a character that must be in quotes`},
	{"found undefined tag handle", `a value that begins with ! must be in quotes`},
	{"found unknown directive name", `a line that begins with % must be in quotes`},
	{"exceeded max", `nested too deeply`},
}

// syntaxMistake says in words, and without what stands in the file, what the
// parser did not understand.
func syntaxMistake(data []byte, err error) *Mistake {
	m := &Mistake{Line: 1, Column: 1, Text: "this is not valid YAML; check this line and the one before"}
	match := syntaxError.FindStringSubmatch(err.Error())
	if match == nil {
		return m
	}
	m.Line, _ = strconv.Atoi(match[1]) // none is 0
	if fromZero.MatchString(match[2]) {
		m.Line++
	}
	m.Line = max(m.Line, 1)
	if anchor := unknownAnchor.FindStringSubmatch(match[2]); anchor != nil {
		m.Line, m.Column = find(data, "*"+anchor[1])
		m.Text = "a value that begins with * must be in quotes"
		return m
	}
	for _, w := range syntaxWords {
		if strings.Contains(match[2], w.part) {
			m.Text = w.text
			break
		}
	}
	lines := strings.Split(string(data), "\n")
	m.Line = min(m.Line, len(lines))
	// The parser does not always see a tab for what it is.
	for n := max(m.Line-1, 1); n <= min(m.Line+1, len(lines)); n++ {
		indent := lines[n-1][:len(lines[n-1])-len(strings.TrimLeft(lines[n-1], " \t"))]
		if i := strings.IndexByte(indent, '\t'); i >= 0 {
			return &Mistake{Line: n, Column: i + 1, Text: "a tab; YAML indents with spaces"}
		}
	}
	if strings.Contains(m.Text, "does not fit") {
		m.Line = firstMisfit(lines, m.Line, match[2])
	}
	m.Column = 1 + indentOf(lines[m.Line-1])
	if strings.HasSuffix(m.Text, useQuotes) {
		m.endedValue(lines)
	}
	return m
}

// firstMisfit returns the line that the parser stumbled over in a section or
// list that begins at line begin: with it, and not without it, the file has the
// mistake that the parser called by words.
func firstMisfit(lines []string, begin int, words string) int {
	rest := len(lines) - begin + 1
	n := sort.Search(rest, func(i int) bool {
		var doc yaml.Node
		err := yaml.Unmarshal([]byte(strings.Join(lines[:begin+i], "\n")), &doc)
		return err != nil && strings.HasSuffix(err.Error(), words)
	})
	if n == rest {
		return begin // it is in a second document
	}
	return begin + n
}

// endedValue moves m, which stands where a list in brackets or a section in
// braces begins, to the character that ended a value in it too early, if there
// is such a one.
func (m *Mistake) endedValue(lines []string) {
	for i, line := range lines[m.Line-1:] {
		if i > 0 && strings.TrimSpace(line) != "" && indentOf(line) < m.Column && strings.Trim(line, "]}, \r") != "" {
			return // the next key: what began above did not end
		}
		for _, part := range flowPart.FindAllStringSubmatchIndex(line, -1) {
			if at := part[2]; at >= 0 {
				m.Line, m.Column = m.Line+i, 1+utf8.RuneCountInString(line[:at])
				m.Text = fmt.Sprintf("a value in brackets or braces that holds a %c; %s", line[at], useQuotes)
				return
			}
		}
	}
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// find returns the place of the first text in data.
func find(data []byte, text string) (line, column int) {
	before, _, ok := bytes.Cut(data, []byte(text))
	if !ok {
		return 1, 1
	}
	last := before[bytes.LastIndexByte(before, '\n')+1:]
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(last)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
