package revocation

import (
	"cmp"
	"time"
)

// A Report is what is known of one certificate of a path, and from whom.
type Report struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Answer  string    `json:"answer"` // "good", "revoked", "unknown" or "nobody to ask"
	Err     error     `json:"-"`      // a [*denial.Error], unless the answer is good or there is nobody to ask
	Sources []Opinion `json:"sources"`
}

// What the answer of a [Report] may be.
const (
	AnswerGood    = "good"
	AnswerRevoked = "revoked"
	AnswerUnknown = "unknown"
	AnswerNobody  = "nobody to ask" // the certificate names no source, and the configuration has none
)

// An Opinion is what one source says of a certificate.
type Opinion struct {
	Source
	Answer string `json:"answer"` // in words; "" if it has none
}

// Explain says what is known of each certificate of p, leaf first, and who said
// so. Of several ways it is the one that [Store.Check] goes by: one that is good,
// else one that is allowed, else the first. It fetches nothing: call Check before.
func (s *Store) Explain(p *Path) []Report {
	now := s.now()
	links := s.deciding(p)
	reports := make([]Report, len(links))
	for i := range links {
		reports[i] = s.explainLink(&links[i], now)
	}
	return reports
}

// deciding returns the way in p that Check goes by.
func (s *Store) deciding(p *Path) []link {
	var allowed []link
	for _, links := range p.ways {
		result, err := s.settleOne(links)
		if err == nil && result.Unknown == "" {
			return links
		}
		if err == nil && allowed == nil {
			allowed = links
		}
	}
	if allowed != nil {
		return allowed
	}
	return p.links
}

func (s *Store) explainLink(l *link, now time.Time) Report {
	r := Report{Subject: l.name, Answer: AnswerGood, Sources: []Opinion{}}
	st, why := s.judge(l, now, true)
	switch {
	case st == revoked:
		r.Answer = AnswerRevoked
	case st == unknown:
		r.Answer = AnswerUnknown
	case !l.hasSource():
		r.Answer = AnswerNobody
	}
	if why != nil {
		r.Err = why
	}
	if l.authority == nil {
		return r
	}
	r.Issuer = l.authority.name
	r.Sources = append(s.fileOpinions(l), s.pointOpinions(l)...)
	r.Sources = append(r.Sources, s.responderOpinions(l)...)
	return r
}

// fileOpinions returns what the lists in files that are of l's issuer say.
func (s *Store) fileOpinions(l *link) []Opinion {
	all := []Opinion{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		if f.issuer != string(l.authority.certificate.RawSubject) {
			continue
		}
		o := Opinion{Source: Source{Kind: FromFile, Where: string(f.file)}}
		o.describe(f.list)
		if err := l.authority.vouches(f.list); err != nil {
			o.Error = err.Error()
		} else {
			o.Verified, o.Answer = true, l.opinion(f.list)
		}
		all = append(all, o)
	}
	return all
}

// pointOpinions returns what the lists say that l names; if it names none, those
// that are for all certificates of its issuer.
func (s *Store) pointOpinions(l *link) []Opinion {
	sources := s.sourcesOf(l)
	s.mu.Lock()
	for _, src := range s.sources {
		held := src.list.Load()
		if src.authority == l.authority && held != nil && (held.delta() || len(l.lists) == 0 && held.scope.raw == "") {
			sources = append(sources, src)
		}
	}
	s.mu.Unlock()
	var all []Opinion
	seen := map[*source]bool{}
	for _, src := range sources {
		if seen[src] {
			continue
		}
		seen[src] = true
		o := Opinion{Source: src.report()}
		if held := src.list.Load(); held != nil {
			o.Answer = l.opinion(held)
		}
		all = append(all, o)
	}
	return all
}

// opinion says in words what a list says of l.
func (l *link) opinion(of *list) string {
	if !of.delta() && !(candidate{of, allReasons}).speaksOf(l) {
		return "does not speak of such certificates"
	}
	e, ok := of.entries.find(l.serial)
	switch {
	case !ok:
		return "does not have it"
	case e.reason == removed:
		return "has taken it off the list again"
	}
	return e.text()
}

// responderOpinions returns what responders have said, or why they have not.
func (s *Store) responderOpinions(l *link) []Opinion {
	s.mu.Lock()
	responders := s.respondersOf(l)
	s.mu.Unlock()
	a, asked := s.answers.find(l.question)
	var all []Opinion
	for _, r := range responders {
		o := Opinion{Source: r.report()}
		if asked && a.status != unknown && cmp.Or(a.by, r.url) == r.url {
			o.ThisUpdate, o.NextUpdate, o.Verified, o.Answer = a.thisUpdate, a.until, true, "good"
			if a.status == revoked {
				o.Answer = a.entry.text()
			}
		}
		all = append(all, o)
	}
	return all
}
