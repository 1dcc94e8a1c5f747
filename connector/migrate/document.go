package migrate

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A line is one key of the new configuration.
type line struct {
	key     string // in full, such as "ldap.groups.timeout"
	name    string // the last part of key, where that may hold dots; "": what stands behind the last dot
	value   string // as YAML; "" for a section
	comment string // says what the key does, for whoever edits the file next
	from    string // the old key; "" if there is none
	needed  bool   // without it there is no configuration
	off     bool   // stands behind a #
}

// A document is the new configuration, in the order in which it is written.
type document struct {
	heading string
	lines   []line
}

func (d *document) add(l line) { d.lines = append(d.lines, l) }

// section begins a section.
func (d *document) section(key, comment string) { d.add(line{key: key, comment: comment}) }

// turnOff puts the line that a mistake in key is about behind a #, with all that
// is below it, and returns it; nil if there is none that can be spared.
func (d *document) turnOff(key string) *line {
	var found *line
	for i := range d.lines {
		l := &d.lines[i]
		if !l.off && (key == l.key || within(key, l.key)) && (found == nil || len(l.key) > len(found.key)) {
			found = l
		}
	}
	if found == nil {
		return nil
	}
	below := func(l line) bool { return l.key == found.key || within(l.key, found.key) }
	if slices.ContainsFunc(d.lines, func(l line) bool { return l.needed && below(l) }) {
		return nil
	}
	for i := range d.lines {
		d.lines[i].off = d.lines[i].off || below(d.lines[i])
	}
	return found
}

// within reports whether key is a part of the section or list.
func within(key, section string) bool {
	rest, ok := strings.CutPrefix(key, section)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// render writes the document as a file. Its lines stand in sections that have
// been begun before them.
func (d *document) render() []byte {
	var b bytes.Buffer
	writeComment(&b, "", d.heading)
	for _, l := range d.lines {
		name := l.name
		if name == "" {
			name = l.key[strings.LastIndexByte(l.key, '.')+1:]
		}
		depth := strings.Count(strings.TrimSuffix(l.key, name), ".")
		indent := strings.Repeat("  ", depth)
		if depth == 0 {
			b.WriteByte('\n')
		}
		writeComment(&b, indent, l.comment)
		text := strings.TrimRight(quote(name)+": "+l.value, " ")
		if l.off {
			text = "# " + text
		}
		b.WriteString(indent + text + "\n")
	}
	return b.Bytes()
}

// writeComment writes text as comments of at most 80 characters in a line.
func writeComment(b *bytes.Buffer, indent, text string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		row := indent + "#"
		for word := range strings.FieldsSeq(paragraph) {
			if len(row)+1+len(word) > 80 && row != indent+"#" {
				b.WriteString(row + "\n")
				row = indent + "#"
			}
			row += " " + word
		}
		b.WriteString(row + "\n")
	}
}

// plainText is what can stand in YAML without quotes and be nothing but a text.
var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// keyword is what YAML takes for something else.
var keyword = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null)$`)

// quote returns a text as YAML. The escapes of Go's quoted texts are YAML's too,
// for texts that are valid UTF-8, which everything out of JSON is.
func quote(text string) string {
	if plainText.MatchString(text) && !keyword.MatchString(text) {
		return text
	}
	if strings.ContainsAny(text, `"\`) && !strings.Contains(text, "'") && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "'" + text + "'"
	}
	return strconv.Quote(text)
}

// quoteList returns a list of texts as YAML on one line.
func quoteList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
