package ldapauth_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// traced returns what a trace holds as text, one line for each step.
func traced(tr *ldapauth.Trace) string {
	var b strings.Builder
	steps, _ := tr.Steps()
	for _, s := range steps {
		if q := s.Search; q != nil {
			b.WriteString(strings.Join(append([]string{"search", q.Server, q.Base, q.Scope, q.Filter}, q.Found...), " ") + "\n")
			continue
		}
		b.WriteString(s.Text + "\n")
	}
	return b.String()
}

func TestTraceShowsWhatASignInAsks(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		var tr ldapauth.Trace
		ctx := ldapauth.WithTrace(t.Context(), &tr)
		a, err := d.FindByName(ctx, "jon")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Groups(ctx, a); err != nil {
			t.Fatal(err)
		}
		text := traced(&tr)
		for _, want := range []string{"=jon)", a.DN, s.config.URLs[0], s.config.BaseDN[0], "is a person", "is indeed called"} {
			if !strings.Contains(text, want) {
				t.Errorf("nothing about %q in\n%s", want, text)
			}
		}
		before, _ := tr.Steps()
		find(t, d, "jon")
		if after, _ := tr.Steps(); len(after) != len(before) {
			t.Error("what is done under another context is in the trace")
		}
	})
}

func TestTraceNeverHoldsAPassword(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		var tr ldapauth.Trace
		ctx := ldapauth.WithTrace(t.Context(), &tr)
		a, err := d.FindByName(ctx, "jon")
		if err != nil {
			t.Fatal(err)
		}
		_ = d.Bind(ctx, a, secret.New("canary-password"))
		if text := traced(&tr); strings.Contains(text, "canary") || strings.Contains(text, s.config.BindPassword.Reveal()) {
			t.Errorf("a password is in\n%s", text)
		}
	})
}

// State and Facts must not disagree: explain shows the one, a sign-in asks the
// other.
func TestStateIsTheFirstFactThatBars(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		for _, name := range []string{"jon", "dis", "exp", "lck", "mcp", "pwx"} {
			a, err := d.FindByName(t.Context(), name)
			if denial.ReasonOf(err) == denial.NoAccount {
				continue // not everybody is everywhere
			}
			if err != nil {
				t.Fatal(err)
			}
			var first error
			for _, f := range a.Facts(time.Now()) {
				if f.Attribute == "" || f.Text == "" {
					t.Errorf("%s: a fact without attribute or words: %+v", name, f)
				}
				if first == nil {
					first = f.Err
				}
			}
			if got, want := denial.ReasonOf(first), denial.ReasonOf(a.State(time.Now())); got != want {
				t.Errorf("%s: the first fact bars by %q, the state by %q", name, got, want)
			}
		}
	})
}

func TestTraceShowsFiltersThatCanBeUsedElsewhere(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		var tr ldapauth.Trace
		ctx := ldapauth.WithTrace(t.Context(), &tr)
		if _, err := d.FindByName(ctx, "zoë*\\"); denial.ReasonOf(err) != denial.NoAccount {
			t.Errorf("error %v", err)
		}
		if _, err := d.Groups(ctx, find(t, d, "jon")); err != nil {
			t.Fatal(err)
		}
		steps, _ := tr.Steps()
		for _, step := range steps {
			if q := step.Search; q != nil && strings.ContainsFunc(q.Filter, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("filter %q", q.Filter)
			}
		}
		if text := traced(&tr); !strings.Contains(text, `=zo\c3\ab\2a\5c)`) {
			t.Errorf("the name is not there as it was asked for:\n%s", text)
		}
	})
}
