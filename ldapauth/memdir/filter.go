package memdir

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// The kinds of filter, by their context tags (RFC 4511 section 4.5.1).
const (
	filterAnd        = 0
	filterOr         = 1
	filterNot        = 2
	filterEqual      = 3
	filterSubstrings = 4
	filterAtLeast    = 5
	filterAtMost     = 6
	filterPresent    = 7
	filterApprox     = 8
	filterExtensible = 9
)

// The matching rules for extensible filters.
const (
	ruleBitAnd  = "1.2.840.113556.1.4.803"
	ruleBitOr   = "1.2.840.113556.1.4.804"
	ruleInChain = "1.2.840.113556.1.4.1941" // Active Directory only
)

// A filter is a condition on entries.
type filter struct {
	kind  ber.Tag
	sub   []*filter
	attr  string // in lower case
	value string // as it came, later as it is compared
	rule  string // of an extensible filter
	parts []substring

	chain map[*entry]bool // what an in-chain filter matches
}

// A substring is "initial" (0), "any" (1) or "final" (2).
type substring struct {
	where ber.Tag
	text  string
}

// decodeFilter reads a filter. How deep it can be nested is bounded by
// [maxDepth].
func decodeFilter(p *ber.Packet) (*filter, error) {
	flt := &filter{kind: p.Tag}
	if p.ClassType != ber.ClassContext {
		return nil, errMalformed
	}
	f := fields{rest: p.Children}
	switch p.Tag {
	case filterAnd, filterOr, filterNot:
		for _, child := range p.Children {
			sub, err := decodeFilter(child)
			if err != nil {
				return nil, err
			}
			flt.sub = append(flt.sub, sub)
		}
		if p.Tag == filterNot && len(flt.sub) != 1 {
			return nil, errMalformed
		}
		return flt, nil
	case filterEqual, filterAtLeast, filterAtMost, filterApprox:
		flt.attr, flt.value = strings.ToLower(f.text()), f.text()
	case filterSubstrings:
		flt.attr = strings.ToLower(f.text())
		for _, part := range f.next().Children {
			flt.parts = append(flt.parts, substring{part.Tag, strings.ToLower(content(part))})
		}
		if len(flt.parts) == 0 {
			return nil, errMalformed
		}
	case filterPresent:
		flt.attr = strings.ToLower(content(p))
	case filterExtensible:
		for len(f.rest) > 0 {
			switch part := f.next(); part.Tag {
			case 1:
				flt.rule = content(part)
			case 2:
				flt.attr = strings.ToLower(content(part))
			case 3:
				flt.value = content(part)
			}
		}
	default:
		return nil, errMalformed
	}
	return flt, f.err()
}

// prepare makes the filter ready to be matched against the entries of d: what
// costs something is done once here and not once for each entry.
func (d *directory) prepare(f *filter) {
	for _, sub := range f.sub {
		d.prepare(sub)
	}
	if f.kind == filterExtensible && f.rule != "" {
		d.prepareChain(f)
		return
	}
	f.value = d.normal(f.attr, f.value)
}

// prepareChain finds what an in-chain filter matches, by walking from the one
// entry that it names. (memberOf:...:=G) is everything in G, and (member:...:=U)
// is every group that U is in.
func (d *directory) prepareChain(f *filter) {
	if f.rule != ruleInChain || d.flavor != ActiveDirectory {
		return
	}
	f.chain = map[*entry]bool{}
	var found []*entry
	if start := d.byDN[d.normal("member", f.value)]; start != nil && f.attr == "member" {
		found = d.groupsAbove(start)
	} else if start != nil && f.attr == "memberof" {
		found = d.membersBelow(start)
	}
	for _, e := range found {
		f.chain[e] = true
	}
}

// A truth is the outcome of a filter. Undefined is what a rule that the server
// does not know gives: neither the filter nor its opposite matches.
type truth int8

const (
	no        truth = -1
	undefined truth = 0
	yes       truth = 1
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// match says whether the filter, once prepared, is true of e. There is no
// schema, so an attribute that no server knows is like one that e lacks.
func (d *directory) match(f *filter, e *entry) truth {
	switch f.kind {
	case filterAnd:
		t := yes
		for _, sub := range f.sub {
			t = min(t, d.match(sub, e))
		}
		return t
	case filterOr:
		t := no
		for _, sub := range f.sub {
			t = max(t, d.match(sub, e))
		}
		return t
	case filterNot:
		return -d.match(f.sub[0], e)
	case filterPresent:
		return truthOf(f.attr == "objectclass" || len(d.normalValues(e, f.attr)) > 0)
	case filterExtensible:
		return d.matchExtensible(f, e)
	}
	return truthOf(slices.ContainsFunc(d.normalValues(e, f.attr), f.matchValue))
}

// matchValue says whether one value, in normal form, satisfies the filter.
func (f *filter) matchValue(v string) bool {
	switch f.kind {
	case filterSubstrings:
		return f.matchSubstrings(v)
	case filterAtLeast:
		return compare(v, f.value) >= 0
	case filterAtMost:
		return compare(v, f.value) <= 0
	}
	return v == f.value
}

func (f *filter) matchSubstrings(v string) bool {
	for _, p := range f.parts {
		ok := false
		switch p.where {
		case 0:
			v, ok = strings.CutPrefix(v, p.text)
		case 1:
			_, v, ok = strings.Cut(v, p.text)
		default:
			v, ok = strings.CutSuffix(v, p.text)
		}
		if !ok {
			return false
		}
	}
	return true
}

// compare orders numbers as numbers and everything else as text; that includes
// times, which LDAP writes so that this works.
func compare(a, b string) int {
	m, errM := strconv.ParseInt(a, 10, 64)
	n, errN := strconv.ParseInt(b, 10, 64)
	if errM == nil && errN == nil {
		return cmp.Compare(m, n)
	}
	return cmp.Compare(a, b)
}

func (d *directory) matchExtensible(f *filter, e *entry) truth {
	values := d.normalValues(e, f.attr)
	switch {
	case f.rule == "" && f.attr != "":
		return truthOf(slices.Contains(values, f.value))
	case f.chain != nil:
		return truthOf(f.chain[e])
	case f.rule != ruleBitAnd && f.rule != ruleBitOr:
		return undefined
	}
	mask, err := strconv.ParseInt(f.value, 10, 64)
	if err != nil {
		return undefined
	}
	return truthOf(slices.ContainsFunc(values, func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		if f.rule == ruleBitOr {
			return err == nil && n&mask != 0
		}
		return err == nil && n&mask == mask
	}))
}

// normalValues returns the values of an attribute in the form in which they are
// compared. Of what is computed, only memberOf can be searched for.
func (d *directory) normalValues(e *entry, name string) []string {
	if name != "memberof" {
		return e.attributes[name].normal
	}
	var keys []string
	for _, g := range d.groupsOf(e) {
		keys = append(keys, g.key)
	}
	return keys
}

// candidates returns entries among which all that match are, if the indexes
// say so; false means that every entry must be looked at.
func (d *directory) candidates(f *filter) (found []*entry, ok bool) {
	switch f.kind {
	case filterEqual:
		if f.attr == "memberof" {
			if g := d.byDN[f.value]; g != nil {
				found = d.membersOf(g)
			}
			return found, true
		}
		values, ok := d.index[f.attr]
		return values[f.value], ok
	case filterExtensible:
		for e := range f.chain {
			found = append(found, e)
		}
		return found, f.chain != nil
	case filterAnd:
		for _, sub := range f.sub {
			if some, usable := d.candidates(sub); usable && (!ok || len(some) < len(found)) {
				found, ok = some, true
			}
		}
		return found, ok
	case filterOr:
		for _, sub := range f.sub {
			some, usable := d.candidates(sub)
			if !usable {
				return nil, false
			}
			found = append(found, some...)
		}
		return found, true
	}
	return nil, false
}
