package ldapauth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// Bounds of a [Trace]: whoever reads one has seen enough by then.
const (
	maxSteps  = 1000
	maxTraced = 20 // names of entries for each search
)

// A Trace gathers what the directory was asked under a context, and what was
// made of the answers, for somebody who wants to know why. The work itself is
// that of a sign-in: a trace only watches.
type Trace struct {
	mu    sync.Mutex
	steps []Step
	more  int
}

// A Step is one thing that was done: a search, or a decision in words.
type Step struct {
	Text   string      // the decision; "" for a search
	Search *SearchStep // nil for a decision
}

// A SearchStep is one search and what came of it. It holds no attribute's
// value but those that the filter compares.
type SearchStep struct {
	Server     string
	Base       string
	Scope      string
	Filter     string
	Attributes []string // that were asked for
	Entries    int
	Found      []string // the first of the entries
	Took       time.Duration
	Err        error // nil: it was answered
}

// WithTrace returns a context under which t gathers what is done.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

type traceKey struct{}

// Steps returns what was gathered so far, in the order in which it was done,
// and how many further steps there was no room for.
func (t *Trace) Steps() (steps []Step, more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Step(nil), t.steps...), t.more
}

func (t *Trace) add(s Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.steps) == maxSteps {
		t.more++
		return
	}
	t.steps = append(t.steps, s)
}

// tracing returns the trace of ctx, nil if nobody watches.
func tracing(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// note adds a decision to the trace of ctx, if there is one. What it says is
// put together only then.
func note(ctx context.Context, say func() string) {
	if t := tracing(ctx); t != nil {
		t.add(Step{Text: say()})
	}
}

// scopes are the names of the scopes of a search.
var scopes = map[int]string{ldap.ScopeBaseObject: "base", ldap.ScopeSingleLevel: "one", ldap.ScopeWholeSubtree: "sub"}

// legible returns filter with everything escaped that cannot be read, as filters
// escape (RFC 4515, section 3): it finds the same.
func legible(filter string) string {
	var b strings.Builder
	for len(filter) > 0 {
		r, n := utf8.DecodeRuneInString(filter)
		if (r != utf8.RuneError || n > 1) && unicode.IsPrint(r) {
			b.WriteString(filter[:n])
		} else {
			for _, c := range []byte(filter[:n]) {
				fmt.Fprintf(&b, `\%02x`, c)
			}
		}
		filter = filter[n:]
	}
	return b.String()
}

// noteSearch adds a search to the trace of ctx, if there is one.
func noteSearch(ctx context.Context, server string, r *ldap.SearchRequest, result *ldap.SearchResult, err error, took time.Duration) {
	t := tracing(ctx)
	if t == nil {
		return
	}
	s := &SearchStep{Server: server, Base: r.BaseDN, Scope: scopes[r.Scope], Filter: legible(r.Filter), Attributes: r.Attributes, Took: took}
	if s.Scope == "" {
		s.Scope = fmt.Sprint(r.Scope)
	}
	if err != nil {
		s.Err = inWords(err)
	}
	if result != nil {
		s.Entries = len(result.Entries)
		for _, e := range result.Entries[:min(s.Entries, maxTraced)] {
			s.Found = append(s.Found, e.DN)
		}
	}
	t.add(Step{Search: s})
}
