package connector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable returns text with everything escaped that is not a visible character,
// a blank or the end of a line. What a directory holds was often typed by
// strangers: control characters in it would be commands to the terminal of the
// administrator who reads it, and marks of writing direction could make it read
// as something else.
func Printable(text string) string {
	if strings.IndexFunc(text, hidden) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case hidden(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
		text = text[n:]
	}
	return b.String()
}

// hidden reports whether r is to be escaped.
func hidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// oneLine is [Printable] for a value that stands in a line with others.
func oneLine(text string) string { return strings.ReplaceAll(Printable(text), "\n", `\n`) }

// WriteJSON writes v for programs and people alike: indented, and with escapes
// for all characters that [Printable] would not let through.
func WriteJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeHidden(b.Bytes()))
	return err
}

// escapeHidden returns JSON with escapes for all characters that [Printable]
// would not let through. JSON has them inside of strings only, and is the same
// with the escapes.
func escapeHidden(text []byte) []byte {
	if bytes.IndexFunc(text, hidden) < 0 {
		return text
	}
	var out bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !hidden(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}

// A printableJSON passes JSON on as [escapeHidden] writes it. The JSON of
// the standard library escapes what ends a line, but not everything that a
// terminal obeys.
type printableJSON struct{ w io.Writer }

func (p printableJSON) Write(text []byte) (int, error) {
	if _, err := p.w.Write(escapeHidden(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}
