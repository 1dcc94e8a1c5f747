package revocation

import (
	"maps"
	"slices"
	"time"
)

// KindStats is how the sources of one kind are, those left out that no sign-in
// has needed for a week: they are fetched anew for nobody.
type KindStats struct {
	Kind    SourceKind
	Sources int
	Failing int // whose last fetch or question was in vain; never files
	// Oldest is when the oldest of the lists was issued, FirstEnd when the first of
	// them ends. They are zero for responders, and as long as there are no lists.
	Oldest, FirstEnd time.Time
}

// Stats tells about each kind of source. Unlike [Store.Sources] it checks and
// reads nothing.
func (s *Store) Stats() []KindStats {
	files, points, responders := KindStats{Kind: FromFile}, KindStats{Kind: FromPoint}, KindStats{Kind: FromResponder}
	s.mu.Lock()
	for _, f := range s.files {
		files.add(f.list)
	}
	asked := slices.Collect(maps.Values(s.responders))
	s.mu.Unlock() // before looking at any of them: see start
	for _, src := range s.due() {
		points.add(src.list.Load())
		if src.problem.Load() != nil {
			points.Failing++
		}
	}
	for _, r := range asked {
		responders.Sources++
		if r.isFailing() {
			responders.Failing++
		}
	}
	return []KindStats{files, points, responders}
}

func (r *responder) isFailing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem != nil
}

// add counts a source that gave l, nil if nothing yet.
func (k *KindStats) add(l *list) {
	k.Sources++
	if l == nil {
		return
	}
	if k.Oldest.IsZero() || l.thisUpdate.Before(k.Oldest) {
		k.Oldest = l.thisUpdate
	}
	if k.FirstEnd.IsZero() || l.nextUpdate.Before(k.FirstEnd) {
		k.FirstEnd = l.nextUpdate
	}
}
