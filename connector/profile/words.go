package profile

import (
	"regexp"
	"strings"
)

// wordings turn messages of the language into words that say what to do. The first
// whose pattern fits is taken; $1 and $2 are its groups.
var wordings = []struct {
	pattern *regexp.Regexp
	words   string
}{
	{regexp.MustCompile(`^unexpected token EOF`), "it ends too early: a bracket, a quote, a colon with what stands behind it, or a part behind an operator is missing"},
	{regexp.MustCompile(`^unexpected token \w+\("?(.*?)"?\)$`), `$1 is not expected here; is an operator, a comma or a bracket missing before it, or is it one too many?`},
	{regexp.MustCompile(`^invalid operation: (\|\||&&|or|and) \(mismatched types`), `$1 stands between questions; for one text or else another write a != "" ? a : b`},
	{regexp.MustCompile(`^invalid operation: (!|not) \(mismatched type`), `$1 stands before a question; to ask whether there is nothing, write a == ""`},
	{regexp.MustCompile(`^invalid operation: in \(mismatched types`), `in takes a list behind it, such as groups or values("mail")`},
	{regexp.MustCompile(`^invalid operation: (\S+) \(mismatched types (.*) and (.*)\)`), `$1 cannot stand between $2 and $3`},
	{regexp.MustCompile(`^non-bool expression \(type (.*)\) used as condition`), `a condition is a question, not a $1; to ask whether there is something, write a != ""`},
	{regexp.MustCompile(`^predicate should return boolean \(got (.*)\)`), `a question about each element is needed here, such as # startsWith "a", not a $1`},
	{regexp.MustCompile(`^error parsing regexp: (.*)`), "the pattern is wrong: $1"},
}

// reword returns the words for a message, or the message.
func reword(message string) string {
	for _, w := range wordings {
		if m := w.pattern.FindStringSubmatchIndex(message); m != nil {
			words := string(w.pattern.ExpandString(nil, w.words, message, m))
			return strings.ReplaceAll(words, `\"`, `"`)
		}
	}
	return message
}
