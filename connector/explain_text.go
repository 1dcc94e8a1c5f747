package connector

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteText writes x for people to read.
func (x *Explanation) WriteText(w io.Writer) error {
	t := &sheet{}
	if x.Certificate != nil {
		t.certificate(x.Certificate)
	} else {
		t.say("", "Looking for %s (%v)", quote(x.User), x.Finding.Took)
	}
	if x.Certificate != nil && len(x.Finding.Steps) > 0 {
		t.say("", "\nLooking for the account (%v)", x.Finding.Took)
	}
	t.steps(&x.Finding)
	if x.Account != nil {
		t.account(x.Account)
		t.say("", "\nState")
		for _, f := range x.State {
			t.fact(f, x.Passed)
		}
		t.lockout(x.Lockout)
		t.groups(x.Groups)
		t.profile(x.Profile)
	}
	t.verdict(x)
	_, err := io.WriteString(w, t.String())
	return err
}

// A sheet is text that is being put together. What goes into it is escaped.
type sheet struct{ strings.Builder }

// say adds a line. A mark, as in the findings of a check, stands in front of it.
func (t *sheet) say(mark, format string, args ...any) {
	if mark != "" {
		mark = "  " + mark + " "
	}
	_, _ = fmt.Fprintf(t, "%s%s\n", mark, Printable(fmt.Sprintf(format, args...)))
}

// quote returns a value as a part of a line.
func quote(text string) string { return oneLine(text) }

// String returns the duration as it is compared.
func (m Milliseconds) String() string { return fmt.Sprintf("%.1f ms", float64(m)) }

const (
	fine  = "✓"
	look  = "!"
	wrong = "✗"
	step  = "·"
)

// maxFilter is how much of a filter is shown: one with the identifiers of a
// hundred groups would hide everything else.
const maxFilter = 300

func (t *sheet) steps(p *Phase) {
	for _, s := range p.Steps {
		if s.Search == nil {
			t.say(step, "%s", quote(s.Text))
			continue
		}
		q := s.Search
		base := quote(q.Base)
		if base == "" {
			base = "the root DSE"
		}
		t.say(step, "%s searched in %v: %s, scope %s", quote(q.Server), q.Took, base, q.Scope)
		t.say("", "      filter %s", shortened(quote(q.Filter)))
		switch {
		case q.Error != "":
			t.say("", "      error  %s", quote(q.Error))
		case q.Entries == 0:
			t.say("", "      found  nothing")
		}
		for _, dn := range q.Found {
			t.say("", "      found  %s", quote(dn))
		}
		if more := q.Entries - len(q.Found); more > 0 {
			t.say("", "      found  %d more", more)
		}
	}
	if p.More > 0 {
		t.say(step, "%d more steps, which are not shown", p.More)
	}
}

// shortened returns the beginning of a long filter.
func shortened(filter string) string {
	if n := utf8.RuneCountInString(filter); n > maxFilter {
		return fmt.Sprintf("%s… (%d characters; --json shows all)", string([]rune(filter)[:maxFilter]), n)
	}
	return filter
}

func (t *sheet) account(a *Account) {
	t.say("", "\nAccount")
	for _, x := range []struct{ name, value string }{
		{"DN", a.DN}, {"ID", a.ID}, {"user name", a.Username}, {"found by", a.FoundBy}, {"domain", a.Domain},
	} {
		if x.value != "" {
			t.say("", "    %-10s %s", x.name, quote(x.value))
		}
	}
}

func (t *sheet) fact(f Fact, passed string) {
	says := fmt.Sprintf("%s: %s", f.Attribute, quote(f.Text))
	switch f.Bars {
	case "":
		t.say(fine, "%s", says)
	case passed:
		t.say(look, "%s (%s, which the configuration lets pass)", says, f.Bars)
	default:
		t.say(wrong, "%s (%s)", says, quote(f.Bars))
	}
}

func (t *sheet) lockout(l *Lockout) {
	t.say("", "\nWrong passwords (%v)", l.Took)
	t.steps(&l.Phase)
	if l.Error != "" {
		t.say(look, "%s", quote(l.Error))
		return
	}
	if l.Hidden != "" {
		t.say(look, "the policy %s holds for the account, but is hidden from the service account; these are the domain's numbers", quote(l.Hidden))
	}
	if l.Threshold == 0 {
		t.say(fine, "no number of them locks the account, says %s", quote(l.Policy))
		return
	}
	within, lasts := "", "until an administrator ends it"
	if l.Window != forever {
		within = " within " + l.Window
	}
	if l.Duration != forever {
		lasts = "for " + l.Duration
	}
	t.say(fine, "%d%s lock the account %s, says %s", l.Threshold, within, lasts, quote(l.Policy))
	switch h := l.Here; {
	case h == nil:
	case h.Known == h.All && h.Unknown == h.All:
		t.say(fine, "here at most %d are let through", h.All)
	default:
		t.say(fine, "here at most %d are let through, at most %d of them from addresses that are known for the account and %d from others", h.All, h.Known, h.Unknown)
	}
	until := "until a right one is used or an administrator ends it"
	if l.Until != nil {
		until = "the first is forgotten at " + l.Until.UTC().Format(time.DateTime) + " UTC"
	}
	switch {
	case l.Failures == 0:
		t.say(fine, "none counts now, says the server that was asked")
	case l.Failures >= l.Threshold-1:
		t.say(look, "%d count now, %s; one more could lock the account, so passwords are refused as throttled", l.Failures, until)
	default:
		t.say(fine, "%d count now, %s", l.Failures, until)
	}
}

func (t *sheet) groups(g *Groups) {
	aside := ""
	if g.Aside {
		aside = "; a sign-in would not have come this far"
	}
	t.say("", "\nGroups (%v%s)", g.Took, aside)
	t.steps(&g.Phase)
	switch {
	case g.Denied != "":
		t.say(wrong, "%s", quote(g.Denied))
		return
	case g.Error != "":
		t.say(wrong, "%s", quote(g.Error))
		return
	case len(g.Names) == 0:
		t.say(fine, "none is reported")
	default:
		t.say(fine, "%d reported:", len(g.Names))
	}
	for _, name := range g.Names {
		t.say("", "      %s", quote(name))
	}
}

func (t *sheet) verdict(x *Explanation) {
	t.say("", "")
	switch {
	case x.Result == LetIn && x.Passed != "":
		t.say("", "%s would be let in, although: %s", fine, x.Passed)
	case x.Result == LetIn:
		t.say("", "%s would be let in", fine)
	case x.Result == OtherAccount:
		t.say("", "%s would be let in, but as somebody else", wrong)
		t.say("", "  %s", quote(x.Detail))
	case x.Result == Refused:
		t.say("", "%s would be refused: %s", wrong, x.Reason)
		t.say("", "  %s", quote(x.Detail))
	default:
		t.say("", "%s nobody can tell, so nobody is let in: something is broken", wrong)
		t.say("", "  %s", quote(x.Detail))
	}
	if x.CanChangePassword {
		t.say("", "  Whoever types the right password is asked for a new one and can then sign in.")
	}
	if x.Certificate != nil {
		t.say("", "  Whether the person holds the key of the certificate was not looked at: see docs/certificates.md.")
		return
	}
	t.say("", "  No password and no certificate was looked at, nor the counts of the running service: see docs/troubleshooting.md.")
}
