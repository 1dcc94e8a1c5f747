package revocation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"adconnector/ldapauth/denial"
)

// skew is how far ahead of ours the clock of an authority may be.
const skew = 5 * time.Minute

// A Result is what [Store.Check] has to say about a path that is let in.
type Result struct {
	// Unknown is "" if everything was answered. Else on_unknown is allow and
	// this says, for the audit trail, what is not known and why.
	Unknown string
}

// status is what is known of one certificate.
type status int

const (
	unknown status = iota
	good
	revoked
)

// Check returns an error if a certificate of p has been revoked, or if that
// cannot be told and on_unknown does not allow it. It is to be called at every
// sign-in and looks into memory only, unless there is no usable answer yet: then
// it waits for one, no longer than Config.Timeout. Of the ways in p one that is
// good suffices.
//
// A current list that speaks of the certificate decides, and a responder is
// asked where there is none: the list is there already, and a responder would
// have to be asked about each person. A responder that is configured for the
// authority goes before the lists. Whoever says "revoked" is believed, be it a
// list or an answer that has ended meanwhile, until something newer says
// otherwise.
//
// The error is a [*denial.Error].
func (s *Store) Check(ctx context.Context, p *Path) (Result, error) {
	now := s.now()
	var open [][]link
	var first error
	for _, links := range p.ways {
		switch st, why := s.judgeAll(links, now); {
		case st == good:
			return Result{}, nil
		case st == unknown:
			open = append(open, links)
		case first == nil:
			first = why
		}
	}
	if len(open) == 0 {
		return Result{}, first
	}
	s.wait(ctx, open)
	return s.settle(open)
}

// judgeAll says what is known of a way now, as long as more may come.
func (s *Store) judgeAll(links []link, now time.Time) (status, *denial.Error) {
	all := good
	for i := range slices.Backward(links) { // the word of one that is revoked counts for nothing below it
		switch st, why := s.judge(&links[i], now, false); st {
		case revoked:
			return revoked, why
		case unknown:
			all = unknown
		}
	}
	return all, nil
}

// settle judges ways by what there is and obeys on_unknown: one that is good goes
// before one that is allowed.
func (s *Store) settle(ways [][]link) (Result, error) {
	var allowed Result
	var first error
	for _, links := range ways {
		result, err := s.settleOne(links)
		switch {
		case err == nil && result.Unknown == "":
			return result, nil
		case err == nil && allowed.Unknown == "":
			allowed = result
		case err != nil && first == nil:
			first = err
		}
	}
	if allowed.Unknown == "" {
		return Result{}, first
	}
	s.log.Warn("somebody is let in although nobody knows whether the certificate has been revoked (on_unknown: allow)",
		"why", allowed.Unknown, "times", s.allowed.Add(1))
	return allowed, nil
}

// settleOne is settle for one way. What is known to be revoked counts before what
// is not known.
func (s *Store) settleOne(links []link) (Result, error) {
	now := s.now()
	var open []*denial.Error
	for i := range slices.Backward(links) {
		st, why := s.judge(&links[i], now, true)
		if st == revoked {
			return Result{}, why
		}
		if st == unknown {
			open = append(open, why)
		}
	}
	var result Result
	for _, why := range open {
		if s.config.OnUnknown != Allow || !allowable(why.Reason) {
			return Result{}, why
		}
		if result.Unknown != "" {
			result.Unknown += "; "
		}
		result.Unknown += why.Error()
	}
	return result, nil
}

// allowable reports whether on_unknown: allow is about r: no answer could be had.
// One that came and that somebody has forged or sent again is another matter, and
// so is a certificate of which require_source says that it must name somebody to
// ask.
func allowable(r denial.Reason) bool {
	switch r {
	case denial.RevocationUnknown, denial.CRLExpired, denial.CRLUnreachable, denial.CRLUnusable,
		denial.OCSPUnreachable, denial.OCSPExpired, denial.OCSPUnknown:
		return true
	}
	return false
}

// judge says what is known of l now. It is final when nothing more is awaited:
// only then an answer that is overdue counts, and lists where a responder should
// have been asked; and only then the error explains what is not known.
func (s *Store) judge(l *link, now time.Time, final bool) (status, *denial.Error) {
	if l.authority == nil {
		return unknown, denial.New(denial.RevocationUnknown, "there are more than %d authorities; the lists of no further one are kept", maxAuthorities)
	}
	byList, e, from := l.byLists(now, final)
	if byList == revoked {
		s.inUse(l, now, answer{}, false)
		return revoked, denial.New(denial.Revoked, "%s %s: %s", l.describe(), e.text(), from.name())
	}
	a, asked := s.answers.find(l.question)
	counts := asked && now.Before(a.until)
	s.inUse(l, now, a, asked)
	if a.status == revoked && (counts || byList != good || !from.thisUpdate.After(a.thisUpdate)) {
		if counts || final {
			return revoked, denial.New(denial.Revoked, "%s %s: the responder %s", l.describe(), a.entry.text(), a.by)
		}
		return unknown, nil // a newer answer may take it back
	}
	switch {
	case counts && a.status == good && (final || now.Before(a.due)):
		return good, nil
	case byList == good && (final || !s.mustAsk(l, now)):
		return good, nil
	case byList == good:
		return unknown, nil
	case !l.hasSource():
		if s.config.RequireSource {
			return unknown, denial.New(denial.NoRevocationSource, "%s names neither a revocation list nor a responder, and none is configured for it", l.describe())
		}
		return good, nil
	case !final:
		return unknown, nil
	}
	return unknown, s.explain(l, now, a, asked)
}

// hasSource reports whether somebody could be asked about l. Lists that other
// certificates named are none: the answer would depend on who came before.
func (l *link) hasSource() bool {
	h := l.authority.held.Load()
	return len(l.lists) > 0 || len(l.responders) > 0 || l.problem != "" || l.authority.configured != nil || h.problem != nil || h.parts ||
		slices.ContainsFunc(h.files, func(f *list) bool { return candidate{f, allReasons}.speaksOf(l) })
}

// A candidate is a list that may speak of a certificate, for these reasons.
type candidate struct {
	*list
	reasons reasons
}

// candidates returns the full lists that speak of l: those in files, and those
// of the points that it names. One that names none is looked for in the lists
// that are for all of its authority's certificates.
func (l *link) candidates(into []candidate) []candidate {
	h := l.authority.held.Load()
	for _, f := range h.files {
		into = append(into, candidate{f, allReasons})
	}
	for _, r := range l.lists {
		if held := r.list.Load(); held != nil && !held.delta() {
			into = append(into, candidate{held, r.reasons})
		}
	}
	if len(l.lists) == 0 {
		for _, c := range h.complete {
			into = append(into, candidate{c, allReasons})
		}
	}
	return slices.DeleteFunc(into, func(c candidate) bool { return !c.speaksOf(l) })
}

// speaksOf reports whether l is in the scope of a list.
func (c candidate) speaksOf(l *link) bool {
	if c.scope.onlyUser && l.ca || c.scope.onlyCA && !l.ca {
		return false
	}
	if len(c.scope.names) == 0 {
		return true
	}
	return slices.ContainsFunc(l.lists, func(r ref) bool { return share(r.names, c.scope.names) })
}

// share reports whether two lists of names have one in common.
func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

// byLists says what the lists say of l. It is good if lists that are current and
// together cover every reason do not have it (RFC 5280, section 6.3.3). The list
// is the one that revokes, or the oldest of those that cover. Before it is final,
// nothing but its own lists speaks of l: until they are there nobody can tell
// which is newer.
func (l *link) byLists(now time.Time, final bool) (status, entry, *list) {
	var room [4]candidate
	all := l.candidates(room[:0])
	var covered reasons
	var oldest *list
	var latest time.Time // when the newest was made that has been looked at
	for _, c := range all {
		if !newest(c.list, all) {
			continue
		}
		d := c.deltaTo(l.authority.held.Load().deltas)
		e, from, ok := c.find(d, l, now)
		if ok {
			return revoked, e, from
		}
		for _, used := range []*list{c.list, d} {
			if used != nil && used.thisUpdate.After(latest) {
				latest = used.thisUpdate
			}
		}
		if !c.current(now) {
			continue
		}
		covered |= c.reasons & c.scope.reasons
		if oldest == nil || c.thisUpdate.Before(oldest.thisUpdate) {
			oldest = c.list
		}
	}
	if oldest != nil || final {
		if e, from, ok := l.findElsewhere(latest); ok {
			return revoked, e, from
		}
	}
	if covered == allReasons {
		return good, entry{}, oldest
	}
	return unknown, entry{}, nil
}

// findElsewhere looks l up in all that its authority has signed after a time: the
// lists of places that only others name, and delta lists to a full list that has
// not come yet. A serial number means one certificate, wherever it stands. Such
// lists revoke only. They need not be complete, so that they do not have a
// certificate says nothing.
func (l *link) findElsewhere(after time.Time) (entry, *list, bool) {
	h := l.authority.held.Load()
	for _, lists := range [...][]*list{h.complete, h.deltas} {
		for _, other := range lists {
			if !other.thisUpdate.After(after) {
				continue
			}
			if e, ok := other.entries.find(l.serial); ok && e.reason != removed {
				return e, other, true
			}
		}
	}
	return entry{}, nil, false
}

// current reports whether now is in the time of l.
func (l *list) current(now time.Time) bool {
	return now.Before(l.nextUpdate) && now.Add(skew).After(l.thisUpdate)
}

// find looks l up in the list and in d, the delta list to it, if there is one. One that has ended can
// still revoke, or keeping its successor away would undo that; it cannot take a
// certificate off the full list.
func (c candidate) find(d *list, l *link, now time.Time) (entry, *list, bool) {
	if d != nil {
		if e, ok := d.entries.find(l.serial); ok && (e.reason != removed || d.current(now)) {
			return e, d, e.reason != removed
		}
	}
	e, ok := c.entries.find(l.serial)
	return e, c.list, ok
}

// deltaTo returns the newest of the delta lists that continues l, nil if none
// does: it must have l's scope, begin at l's number or before and end after it
// (RFC 5280, section 5.2.4).
func (l *list) deltaTo(deltas []*list) *list {
	var best *list
	for _, d := range deltas {
		if l.continuedBy(d) && (best == nil || best.older(d)) {
			best = d
		}
	}
	return best
}

func (l *list) continuedBy(d *list) bool {
	return l.number != nil && d.number != nil && l.scope.raw == d.scope.raw &&
		compareNatural(d.base, l.number) <= 0 && compareNatural(l.number, d.number) < 0
}

// explain says why nothing is known of l.
func (s *Store) explain(l *link, now time.Time, a answer, asked bool) *denial.Error {
	var all []*denial.Error
	note := func(r denial.Reason, format string, args ...any) { all = append(all, denial.New(r, format, args...)) }
	held := l.authority.held.Load()
	if held.problem != nil {
		all = append(all, held.problem)
	}
	var room [4]candidate
	candidates := l.candidates(room[:0])
	for _, c := range candidates {
		if !c.current(now) && newest(c.list, candidates) {
			note(denial.CRLExpired, "the %s was good from %s to %s, and the clock here says %s", c.name(),
				c.thisUpdate.Format(time.RFC3339), c.nextUpdate.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	for _, r := range l.lists {
		if problem := r.problem.Load(); problem != nil {
			all = append(all, problem)
		} else if r.list.Load() == nil {
			note(s.missing(denial.CRLUnreachable), "no list has come yet from %s", strings.Join(r.urls, ", "))
		}
	}
	if asked && a.problem != nil {
		all = append(all, a.problem)
	} else {
		all = append(all, s.askProblems(l)...)
	}
	if l.problem != "" {
		note(denial.RevocationUnknown, "%s", l.problem)
	}
	if len(all) == 0 {
		note(denial.RevocationUnknown, "no list that is held speaks of it")
	}
	reason, texts := worst(all)
	return denial.New(reason, "whether %s has been revoked cannot be told: %s", l.describe(), strings.Join(texts, "; "))
}

// missing returns the reason for an answer that has not come: whoever does not
// fetch anything cannot say that somebody is unreachable.
func (s *Store) missing(r denial.Reason) denial.Reason {
	if s.fetch == nil {
		return denial.RevocationUnknown
	}
	return r
}

// severity orders reasons: what looks like an attack before what looks like an
// outage.
var severity = []denial.Reason{
	denial.CRLBadSignature, denial.CRLReplayed, denial.OCSPBadAnswer, denial.CRLUnusable, denial.OCSPUnknown,
	denial.CRLExpired, denial.OCSPExpired, denial.CRLUnreachable, denial.OCSPUnreachable, denial.RevocationUnknown,
}

// worst returns the reason that says most, and all the texts.
func worst(all []*denial.Error) (denial.Reason, []string) {
	reason := all[0].Reason
	var texts []string
	for _, e := range all {
		if slices.Index(severity, e.Reason) < slices.Index(severity, reason) {
			reason = e.Reason
		}
		if text := fmt.Sprint(e.Err); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return reason, texts
}

// wait starts what may answer the open questions about ways and returns when one
// of them is good or all are revoked, when there is nothing to wait for, or when
// the time is up.
func (s *Store) wait(ctx context.Context, ways [][]link) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout.Std())
	defer cancel()
	var lists, questions []*flight
	for _, links := range ways {
		for i := range links {
			l := &links[i]
			if st, _ := s.judge(l, s.now(), false); st != unknown || l.authority == nil {
				continue
			}
			lists = append(lists, s.startLists(l)...)
			if f := s.ask(l); f != nil {
				questions = append(questions, f)
			}
		}
	}
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		// Lists decide when all have come, so that no delta list is missed.
		enough := landed(lists) || len(questions) > 0 && landed(questions)
		if landed(lists) && landed(questions) || enough && s.someAre(ways, good) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		if !s.someAre(ways, good) && !s.someAre(ways, unknown) {
			return
		}
	}
}

// someAre reports whether that is what is known of one of the ways.
func (s *Store) someAre(ways [][]link, what status) bool {
	return slices.ContainsFunc(ways, func(links []link) bool {
		st, _ := s.judgeAll(links, s.now())
		return st == what
	})
}
