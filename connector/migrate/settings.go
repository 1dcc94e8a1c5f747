package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"adconnector/ldapauth/secret"
)

// settings are what a config.json holds, by key, and which of it has been asked
// for.
type settings struct {
	values map[string]any
	used   map[string]bool
	wrong  []Note // of a kind that the key cannot have
}

// parseSettings reads a config.json: an object in JSON, with a byte order mark
// and comments forgiven. No error holds what stands in it, for that may be a
// password.
func parseSettings(data []byte) (*settings, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, errors.New("it is in UTF-16: save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8: save it as UTF-8")
	}
	data = withoutComments(data)
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var values map[string]any
	err := d.Decode(&values)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = &json.SyntaxError{Offset: d.InputOffset()}
		}
	}
	wrong, place := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	switch {
	case errors.As(err, &wrong):
		before := data[:min(int(wrong.Offset), len(data))]
		column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
		return nil, fmt.Errorf("it is not valid JSON: look at line %d, at character %d", 1+bytes.Count(before, []byte("\n")), max(column, 1))
	case errors.As(err, &place), err == nil && values == nil:
		return nil, errors.New("it is not a list of settings in braces")
	case err != nil:
		return nil, errors.New("it is not valid JSON: it ends too early")
	}
	return &settings{values: values, used: map[string]bool{}}, nil
}

// withoutComments puts blanks in the place of what stands behind // and between
// /* and */, outside of texts. Lines stay where they are.
func withoutComments(data []byte) []byte {
	out := bytes.Clone(data)
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
	}
	for i := 0; i < len(data); i++ {
		switch {
		case data[i] == '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case bytes.HasPrefix(data[i:], []byte("//")):
			end := i + lengthTo(data[i:], "\n")
			blank(i, end)
			i = end - 1
		case bytes.HasPrefix(data[i:], []byte("/*")):
			end := min(i+2+lengthTo(data[i+2:], "*/")+2, len(data))
			blank(i, end)
			i = end - 1
		}
	}
	return out
}

// lengthTo returns how much of data stands before end.
func lengthTo(data []byte, end string) int {
	if i := bytes.Index(data, []byte(end)); i >= 0 {
		return i
	}
	return len(data)
}

// get returns the value of the first of the keys that is there.
func (s *settings) get(keys ...string) (key string, value any) {
	for _, k := range keys {
		s.used[k] = true
	}
	for _, k := range keys {
		if v := s.values[k]; v != nil && v != "" {
			return k, v
		}
	}
	return keys[0], nil
}

// misfit notes a value that its key cannot have.
func (s *settings) misfit(key, want string) {
	n := Note{Key: key, Text: "it is not " + want + " and was left out; look at the old config.json"}
	if !slices.Contains(s.wrong, n) {
		s.wrong = append(s.wrong, n)
	}
}

// text returns a text, "" if there is none. Numbers are texts as well.
func (s *settings) text(keys ...string) string {
	switch key, v := s.get(keys...); v := v.(type) {
	case nil:
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	default:
		s.misfit(key, "a text")
	}
	return ""
}

// secret returns a text that must not be shown, as it is.
func (s *settings) secret(key string) secret.String {
	switch key, v := s.get(key); v := v.(type) {
	case nil:
	case string:
		return secret.New(v)
	default:
		s.misfit(key, "a text")
	}
	return secret.String{}
}

// list returns a list of texts; a single text is a list of one.
func (s *settings) list(keys ...string) []string {
	key, v := s.get(keys...)
	switch v := v.(type) {
	case nil:
	case string:
		return []string{strings.TrimSpace(v)}
	case []any:
		var texts []string
		for _, item := range v {
			if text, ok := item.(string); ok && text != "" {
				texts = append(texts, strings.TrimSpace(text))
			} else {
				s.misfit(key, "a list of texts")
			}
		}
		return texts
	default:
		s.misfit(key, "a text or a list of texts")
	}
	return nil
}

// bool returns a yes or no, also one that is written as a text, which is how it
// comes from the environment.
func (s *settings) bool(otherwise bool, keys ...string) bool {
	switch key, v := s.get(keys...); v := v.(type) {
	case nil:
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(v))); err == nil {
			return b
		}
		s.misfit(key, "true or false")
	default:
		s.misfit(key, "true or false")
	}
	return otherwise
}

// seconds returns a number of seconds, otherwise if there is none.
func (s *settings) seconds(otherwise int, key string) int {
	text := s.text(key)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || n > 1e9 || n != math.Trunc(n) {
		s.misfit(key, "a number of seconds")
		return otherwise
	}
	return int(n)
}

// unused returns the keys that nobody has asked for.
func (s *settings) unused() []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if !s.used[k] {
			keys = append(keys, k)
		}
	}
	return keys
}
