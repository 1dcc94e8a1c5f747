package revocation

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"adconnector/ldapauth/denial"
)

// Kept lists are files of one line of JSON, the head, and the list as it came.
const (
	keptPrefix = "crl-"
	keptSuffix = ".crl"
	// keptLong is how long after its end a list is kept, in case its authority
	// comes back: it is what a replay is noticed by.
	keptLong = 90 * 24 * time.Hour
)

// head says what a kept list is.
type head struct {
	URL       string    `json:"url"`
	Fetched   time.Time `json:"fetched"`
	Authority []byte    `json:"authority"` // certificate, DER
	Delta     bool      `json:"delta,omitempty"`
}

// file is the name under which the list of src is kept.
func (src *source) file() string { return keptPrefix + hex.EncodeToString(src.id[:16]) + keptSuffix }

// save keeps the list of src over a restart. A cache that does not work costs a
// fetch after the restart and nothing else.
func (s *Store) save(src *source, u string, now time.Time, data []byte) {
	if s.cache == nil {
		return
	}
	line, err := json.Marshal(head{u, now, src.authority.certificate.Raw, src.delta})
	if err == nil {
		err = s.cache.Write(src.file(), line, []byte("\n"), data)
	}
	if err != nil {
		s.log.Error("a revocation list cannot be kept in data_dir", "err", err)
	}
}

// load takes the kept list of src, judging it as if it had come just now. It
// reports whether that is current.
func (s *Store) load(src *source) bool {
	if s.cache == nil {
		return false
	}
	h, data, err := s.kept(src.file())
	if err != nil {
		return false // most likely there is none
	}
	l, refused := s.accept(src, data)
	if refused != nil {
		s.log.Warn("a revocation list in data_dir cannot be used", "reason", refused.Reason, "err", refused.Err, "file", src.file())
		return false
	}
	s.put(src, l)
	now := s.now()
	src.mu.Lock()
	defer src.mu.Unlock()
	src.fetched = now
	if h.Fetched.Before(now) {
		src.fetched = h.Fetched
	}
	return l.current(now)
}

// kept reads a file of the cache.
func (s *Store) kept(name string) (head, []byte, error) {
	data, err := s.cache.Read(name)
	if err != nil {
		return head{}, nil, err
	}
	line, rest, ok := bytes.Cut(data, []byte("\n"))
	var h head
	if !ok {
		return head{}, nil, errors.New("is cut off")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return head{}, nil, fmt.Errorf("is damaged: %w", err)
	}
	return h, rest, nil
}

// keptNames returns the files of the cache that hold a list, and those that were
// not written to the end.
func (s *Store) keptNames() (kept, halves []string) {
	if s.cache == nil {
		return nil, nil
	}
	names, err := s.cache.Names()
	if err != nil {
		s.log.Warn("the revocation lists in data_dir cannot be listed", "err", err)
		return nil, nil
	}
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, keptPrefix) && strings.HasSuffix(name, keptSuffix):
			kept = append(kept, name)
		case strings.HasPrefix(name, "."+keptPrefix):
			halves = append(halves, name)
		}
	}
	return kept, halves
}

// tidy removes kept lists that are of no use any more, and what a power failure
// has left of others.
func (s *Store) tidy() {
	kept, useless := s.keptNames()
	for _, name := range kept {
		if src := s.keptSource(name); src.Error != "" || s.now().Sub(src.NextUpdate) > keptLong {
			useless = append(useless, name)
		}
	}
	for _, name := range useless {
		_ = s.cache.Remove(name) // it is tried again at the next start
	}
}

// A SourceKind says what a [Source] is.
type SourceKind string

// The kinds.
const (
	FromFile      SourceKind = "file"      // a list in a file of the configuration
	FromPoint     SourceKind = "point"     // a list of a distribution point
	FromResponder SourceKind = "responder" // an OCSP responder
)

// A Source is one place that answers come from, for people to look at. What does
// not apply is zero.
type Source struct {
	Kind       SourceKind `json:"kind"`
	Where      string     `json:"where"` // a path or an address
	Issuer     string     `json:"issuer"`
	Delta      bool       `json:"delta,omitempty"`
	Number     string     `json:"number,omitempty"`
	Entries    int        `json:"entries,omitempty"`
	Size       int        `json:"size,omitempty"` // bytes
	ThisUpdate time.Time  `json:"this_update,omitzero"`
	NextUpdate time.Time  `json:"next_update,omitzero"`
	Verified   bool       `json:"verified"` // by an authority that is known so far
	Fetched    time.Time  `json:"fetched,omitzero"`
	Next       time.Time  `json:"next,omitzero"`  // when it is fetched or asked again
	Error      string     `json:"error,omitzero"` // of the last try
}

// Sources lists what there is: files, distribution points with the lists that
// they gave, responders. A store that was opened only for this reports the lists
// that a running one has left in the cache. It changes nothing.
func (s *Store) Sources() []Source {
	s.mu.Lock()
	var all []Source
	for _, f := range s.files {
		src := Source{Kind: FromFile, Where: string(f.file)}
		src.describe(f.list)
		for _, a := range s.authorities {
			if a.vouches(f.list) == nil {
				src.Verified, src.Issuer = true, a.name
			}
		}
		all = append(all, src)
	}
	sources, responders := slices.Collect(maps.Values(s.sources)), slices.Collect(maps.Values(s.responders))
	s.mu.Unlock() // before looking at any of them: see start
	live := map[string]bool{}
	for _, src := range sources {
		live[src.file()] = true
		all = append(all, src.report())
	}
	for _, r := range responders {
		all = append(all, r.report())
	}
	kept, _ := s.keptNames()
	for _, name := range kept {
		if !live[name] {
			all = append(all, s.keptSource(name))
		}
	}
	slices.SortFunc(all, func(a, b Source) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Where, b.Where))
	})
	return all
}

// issuerText writes the name in a list for people.
func issuerText(der string) string {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal([]byte(der), &name); err != nil || len(rest) > 0 {
		return "?"
	}
	return clip(name.String())
}

func (src *Source) describe(l *list) {
	src.Issuer, src.Delta, src.Entries, src.Size = issuerText(l.issuer), l.delta(), l.entries.count, l.size
	src.ThisUpdate, src.NextUpdate = l.thisUpdate, l.nextUpdate
	if l.number != nil {
		src.Number = decimal(l.number)
	}
}

// report describes a source that is in use.
func (src *source) report() Source {
	r := Source{Kind: FromPoint, Where: strings.Join(src.urls, " ")}
	if l := src.list.Load(); l != nil {
		r.describe(l)
		r.Verified = true
	}
	r.Issuer, r.Delta = src.authority.name, src.delta
	if p := src.problem.Load(); p != nil {
		r.Error = p.Error()
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	r.Fetched, r.Next = src.fetched, src.next
	return r
}

// keptSource describes a list in the cache.
func (s *Store) keptSource(name string) Source {
	r := Source{Kind: FromPoint, Where: name}
	h, data, err := s.kept(name)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Where, r.Delta, r.Fetched = h.URL, h.Delta, h.Fetched
	lists, err := parseLists(data)
	if err != nil || len(lists) != 1 {
		r.Error = fmt.Sprintf("what is kept %v", err)
		return r
	}
	r.describe(lists[0])
	c, err := x509.ParseCertificate(h.Authority)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	a := &authority{certificate: c, name: nameOf(c)}
	r.Issuer = a.name
	if err := a.vouches(lists[0]); err != nil {
		r.Error = err.Error()
		return r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Verified = s.authorities[authorityKey(c)] != nil
	return r
}

// asDenial returns err, which is a denial.
func asDenial(err error) *denial.Error {
	d, _ := errors.AsType[*denial.Error](err)
	return d
}
