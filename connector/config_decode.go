package connector

import (
	"encoding"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"adconnector/connector/profile"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	"gopkg.in/yaml.v3"
)

// A decoder fills a struct from the nodes of a YAML file and gathers what does
// not fit. It is stricter than the library's: nothing that the operator wrote is
// passed over, and each mistake has its place and words that do not need Go.
type decoder struct {
	file     string              // as it stands in messages
	dir      string              // where relative paths start
	sections map[string][]string // by folded key
	mistakes []Mistake
	warnings []string
	literal  bool             // a secret stands in the file itself
	places   map[string]place // by full key
	meant    map[string]bool  // full keys of which a misspelt one was probably meant
}

type place struct{ line, column int }

var (
	secretType = reflect.TypeFor[secret.String]()
	fileType   = reflect.TypeFor[setting.File]()
	// oneOrMoreType is a list that may be written as its one value.
	oneOrMoreType = reflect.TypeFor[setting.OneOrMore]()
	// profileType is a section whose keys are the operator's own; each of its
	// definitions is one of them with its value.
	profileType    = reflect.TypeFor[profile.Config]()
	definitionType = profileType.Elem()
)

// add notes a mistake in the value of key at n.
func (d *decoder) add(n *yaml.Node, key, format string, args ...any) {
	d.mistakes = append(d.mistakes, Mistake{
		File: d.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Key: key, Text: fmt.Sprintf(format, args...),
	})
}

// decode puts the value of key, which is n, into v.
func (d *decoder) decode(n *yaml.Node, key string, v reflect.Value) {
	if _, ok := d.places[key]; !ok {
		d.places[key] = place{n.Line, n.Column}
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if !d.plain(n, key, v.Type()) {
		return
	}
	if v.Type() == secretType {
		d.secret(n, key, v)
		return
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if s, ok := d.scalar(n, key, "a single value"); ok {
			if err := t.UnmarshalText([]byte(s)); err != nil {
				d.add(n, key, "%v", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.section(n, key, v)
	case reflect.Slice:
		if v.Type() == profileType {
			d.claims(n, key, v)
			return
		}
		d.list(n, key, v)
	case reflect.String:
		d.text(n, key, v)
	case reflect.Bool:
		d.bool(n, key, v)
	case reflect.Int:
		d.int(n, key, v)
	default:
		panic(fmt.Sprintf("connector: no way to read %s from a configuration file", v.Type()))
	}
}

// plain refuses what YAML has beyond sections, lists and values.
func (d *decoder) plain(n *yaml.Node, key string, t reflect.Type) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.add(n, key, "references (*) are not supported: write the value out; text that begins with * must be in quotes")
	case n.Anchor != "":
		d.add(n, key, "anchors (&) are not supported: write the value out; text that begins with & must be in quotes")
	case n.Style&yaml.TaggedStyle != 0:
		d.add(n, key, "tags (!) are not supported; text that begins with ! must be in quotes")
	case isNull(n) && t.Kind() == reflect.Struct && !isLeaf(t):
		d.add(n, key, "nothing follows: write {} for a section that is all defaults, or remove the line")
	case isNull(n):
		d.add(n, key, "nothing follows: write a value or remove the line")
	default:
		return true
	}
	return false
}

// isLeaf reports whether a value of type t is written as one text.
func isLeaf(t reflect.Type) bool {
	return t == secretType || t == definitionType || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// section fills a struct from a mapping.
func (d *decoder) section(n *yaml.Node, key string, v reflect.Value) {
	if f := aloneField(v.Type()); f != nil && n.Kind == yaml.ScalarNode {
		d.decode(n, key, v.FieldByIndex(f.index))
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(n, key, "must be a section: keys below it, indented, such as %q", fields(v.Type())[0].key+": ...")
		return
	}
	known := fields(v.Type())
	seen := map[string]*yaml.Node{}
	last := func() {} // decodes what begins as a copy of the rest
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.Anchor != "" || name.Tag == "!!merge" {
			d.add(name, key, "a key must be a plain word; references, anchors and merging (<<) are not supported")
			continue
		}
		full := under(key, printable(name.Value))
		if first := seen[name.Value]; first != nil {
			d.add(name, full, "is given twice, first in line %d; remove one", first.Line)
			continue
		}
		seen[name.Value] = name
		f := slices.IndexFunc(known, func(f field) bool { return f.key == name.Value })
		switch {
		case f < 0 && n.Style&yaml.FlowStyle != 0 && isNull(value):
			// It may be what stands behind a comma in a value, maybe a secret one.
			d.add(name, key, "no value follows; "+useQuotes)
			continue
		case f < 0:
			d.unknown(name, key, known)
			continue
		}
		if value.Kind == yaml.MappingNode || value.Kind == yaml.SequenceNode {
			d.places[full] = place{name.Line, name.Column}
		}
		if isNull(value) {
			value.Line, value.Column = name.Line, name.Column // it has no place of its own
		}
		if known[f].inherits {
			last = func() { d.inheriting(value, full, v.FieldByIndex(known[f].index), v) }
			continue
		}
		d.decode(value, full, v.FieldByIndex(known[f].index))
	}
	d.secretFiles(n, key, v, seen)
	last()
	for _, f := range known {
		// An optional section came with its defaults; without its key it is off.
		if field := v.FieldByIndex(f.index); field.Kind() == reflect.Pointer && seen[f.key] == nil {
			field.SetZero()
		}
	}
}

// unknown notes a key that the section does not have, with the one that was
// probably meant.
func (d *decoder) unknown(name *yaml.Node, section string, known []field) {
	full := under(section, printable(name.Value))
	if before, _, ok := strings.Cut(name.Value, ":"); ok {
		// What stands behind the colon is a value, maybe a secret one.
		d.add(name, under(section, printable(before)), "a blank is missing after the colon")
		d.meant[under(section, before)] = true
		return
	}
	closest, least := "", 1+max(1, len(folded(name.Value))/3)
	for _, f := range known {
		if n := distance(name.Value, f.key); n < least {
			closest, least = f.key, n
		}
	}
	elsewhere := d.sections[folded(name.Value)]
	switch {
	case closest != "":
		d.meant[under(section, closest)] = true
		d.add(name, full, "unknown key; did you mean %s?", closest)
	case len(elsewhere) > 0:
		d.add(name, full, "unknown key here; it belongs in %s", strings.Join(elsewhere, " or "))
	default:
		keys := make([]string, len(known))
		for i, f := range known {
			keys[i] = f.key
		}
		d.add(name, full, "unknown key; there are %s", strings.Join(keys, ", "))
	}
}

// list fills a slice from a sequence.
func (d *decoder) list(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind == yaml.ScalarNode && v.Type() == oneOrMoreType {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.text(n, key, v.Index(0))
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.add(n, key, "must be a list: write [a, b], or one value on each line with a dash before it")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.decode(item, fmt.Sprintf("%s[%d]", key, i), v.Index(i))
	}
}

// claims fills the profile section. What is said of an expression stands at the
// expression.
func (d *decoder) claims(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(n, key, "must be a section: claims below it, indented, such as %q", "email: mail")
		return
	}
	var c profile.Config
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		full := under(key, printable(name.Value))
		switch {
		case name.Kind != yaml.ScalarNode || name.Anchor != "" || name.Tag == "!!merge":
			d.add(name, key, "a key must be a plain word; references, anchors and merging (<<) are not supported")
			continue
		case !profile.IsName(name.Value):
			d.add(name, full, profile.NameRule)
			continue
		case lines[name.Value] > 0:
			d.add(name, full, "is given twice, first in line %d; remove one", lines[name.Value])
			continue
		}
		lines[name.Value] = name.Line
		full = under(key, name.Value) // which is harmless, as its problems have it
		if isNull(value) {
			value.Line, value.Column = name.Line, name.Column // it has no place of its own
		}
		d.places[full] = place{value.Line, value.Column}
		definition := profile.Definition{Claim: name.Value}
		if !d.plain(value, full, definitionType) {
			continue
		}
		source, ok := d.scalar(value, full, "the name of an attribute or an expression")
		if !ok {
			continue
		}
		definition.Source = source
		c = append(c, definition)
	}
	v.Set(reflect.ValueOf(c))
}

// inheriting fills a list of sections that are of the kind of the one around
// them: each begins as a copy of that, so that a key it does not have has the
// value that stands there.
func (d *decoder) inheriting(n *yaml.Node, key string, v, around reflect.Value) {
	common := around.FieldByIndex(embedded(around.Type(), v.Type().Elem()))
	if !d.plain(n, key, v.Type()) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.add(n, key, "must be a list: one section for each, with a dash before its first key")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		v.Index(i).Set(common)
		clearTogether(item, v.Index(i))
		d.decode(item, fmt.Sprintf("%s[%d]", key, i), v.Index(i))
	}
}

// clearTogether takes from v, a copy of another section, the values of keys that
// belong together with one that n gives: what is half from here and half from
// there, such as the name of one account with the password of another, is not
// what anybody means.
func clearTogether(n *yaml.Node, v reflect.Value) {
	known, given := fields(v.Type()), map[string]bool{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		for _, f := range known {
			if f.key == n.Content[i].Value && f.together != "" {
				given[f.together] = true
			}
		}
	}
	for _, f := range known {
		if given[f.together] {
			v.FieldByIndex(f.index).SetZero()
		}
	}
}

// embedded returns the index of the field of t that is an embedded struct of
// type in.
func embedded(t, in reflect.Type) []int {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type == in {
			return f.Index
		}
	}
	panic(fmt.Sprintf("connector: %s has no %s to inherit from", t, in))
}

// scalar returns the text of a single value.
func (d *decoder) scalar(n *yaml.Node, key, want string) (string, bool) {
	switch {
	case n.Kind == yaml.ScalarNode:
		return n.Value, true
	case n.Style&yaml.FlowStyle != 0:
		d.add(n, key, "must be %s, not a list or a section; %s", want, useQuotes)
	default:
		d.add(n, key, "must be %s, not a list or a section", want)
	}
	return "", false
}

func (d *decoder) text(n *yaml.Node, key string, v reflect.Value) {
	s, ok := d.scalar(n, key, "a text")
	if !ok {
		return
	}
	if n.Tag == "!!bool" {
		d.add(n, key, "must be a text; if %s is meant as one, put it in quotes", printable(s))
		return
	}
	if v.Type() == fileType && s != "" && !filepath.IsAbs(s) {
		s = filepath.Join(d.dir, s)
	}
	v.SetString(s)
}

func (d *decoder) bool(n *yaml.Node, key string, v reflect.Value) {
	s, ok := d.scalar(n, key, "true or false")
	switch {
	case !ok:
	case n.Tag != "!!bool":
		d.add(n, key, "must be true or false, without quotes, not %q", s)
	default:
		v.SetBool(strings.EqualFold(s, "true"))
	}
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// int reads a number as people write it: YAML would take 0123 for 83.
func (d *decoder) int(n *yaml.Node, key string, v reflect.Value) {
	s, ok := d.scalar(n, key, "a number")
	if !ok {
		return
	}
	i, err := strconv.ParseInt(s, 10, 32)
	switch {
	case n.Tag == "!!str":
		d.add(n, key, "must be a number, without quotes, not %q", s)
	case n.Tag == "!!int" && !decimal.MatchString(s):
		d.add(n, key, "must be a number in decimal digits that does not begin with 0, not %s", s)
	case err != nil:
		d.add(n, key, "must be a whole number, and not so large, not %s", s)
	default:
		v.SetInt(i)
	}
}

// A field is one key of a section.
type field struct {
	key      string
	index    []int
	inherits bool   // a list of sections that begin as copies of the one around it
	together string // keys of the same are inherited together or not at all
	alone    bool   // its value may stand for a section that has nothing else
}

// aloneField returns the field of t whose value may stand for the whole section,
// nil if there is none.
func aloneField(t reflect.Type) *field {
	for _, f := range fields(t) {
		if f.alone {
			return &f
		}
	}
	return nil
}

// fields returns the keys of a struct in the order of its declaration, those of
// inlined structs where they stand.
func fields(t reflect.Type) []field {
	var fs []field
	for _, f := range reflect.VisibleFields(t) {
		key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.IsExported() && key != "" && key != "-" && option != "inline" {
			fs = append(fs, field{key, f.Index, option == "inherit", f.Tag.Get("together"), option == "alone"})
		}
	}
	return fs
}

// sectionsByKey returns where each key of the struct t and what is in it stands;
// the keys are folded.
// The sections that are lists have no place of their own to point to and are
// called by the name of the list.
func sectionsByKey(t reflect.Type, section string, into map[string][]string) map[string][]string {
	for _, f := range fields(t) {
		into[folded(f.key)] = append(into[folded(f.key)], sectionName(section))
		ft := t.FieldByIndex(f.index).Type
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && !isLeaf(ft) && !f.inherits {
			sectionsByKey(ft, under(section, f.key), into)
		}
	}
	return into
}

func sectionName(section string) string {
	if section == "" {
		return "the top level"
	}
	return section
}

func under(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

var notKey = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// printable returns as much of text as can be a key: the rest may be anything.
func printable(text string) string {
	const most = 40
	if i := notKey.FindStringIndex(text); i != nil {
		text = text[:i[0]] + "…"
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

var noDashes = strings.NewReplacer("-", "", "_", "")

// folded returns a key without what people write differently: bindDN, bind-dn
// and bind_dn are one.
func folded(key string) string { return noDashes.Replace(strings.ToLower(key)) }

// distance returns how many letters must be inserted, removed, replaced or
// swapped with their neighbour to make b of a, both folded. If a single swap of
// two letters does it, they need not be neighbours.
func distance(a, b string) int {
	a, b = folded(a), folded(b)
	if swapped(a, b) {
		return 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// swapped reports whether b is a with two letters in each other's place.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	var differ []int
	for i := range len(a) {
		if a[i] != b[i] {
			differ = append(differ, i)
		}
	}
	return len(differ) == 2 && a[differ[0]] == b[differ[1]] && a[differ[1]] == b[differ[0]]
}

// validation notes what the sections found wrong with their values, at the place
// of the value or, if it is missing, of the section. A value that could not be
// read is not reported a second time for being missing.
func (d *decoder) validation(err error) {
	unreadable := slices.Clone(d.mistakes)
	for _, e := range setting.Split(err) {
		p, ok := errors.AsType[*setting.Problem](e)
		if !ok {
			p = &setting.Problem{Text: e.Error()}
		}
		key, _, _ := strings.Cut(p.Key, " ")
		if d.meant[key] || slices.ContainsFunc(unreadable, func(m Mistake) bool { return within(m.Key, key) }) {
			continue
		}
		at := d.placeOf(key)
		d.mistakes = append(d.mistakes, Mistake{d.file, at.line, at.column, p.Key, p.Text})
	}
}

// placeOf returns the place of key or of the nearest section or list around it
// that is in the file.
func (d *decoder) placeOf(key string) place {
	for {
		if at, ok := d.places[key]; ok || key == "" {
			return at
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
}

// within reports whether key is section or something in it.
func within(section, key string) bool {
	rest, ok := strings.CutPrefix(key, section)
	return ok && (section == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}
