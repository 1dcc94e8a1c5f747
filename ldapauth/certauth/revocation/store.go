package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

// Bounds on what is remembered. Everything is named by verified certificates, so
// only an authority that is trusted and has gone astray gets near them.
const (
	maxAuthorities = 1000
	maxSources     = 1000
	maxAnswers     = 50_000
)

// How many fetches run at a time, so that a slow server does not pile them up,
// and how many of them for one authority, so that it keeps no other waiting.
const (
	maxListFetches = 16
	maxListsEach   = 4
	maxQuestions   = 64
	maxAsksEach    = 16
)

// Options are the parts of a [Store].
type Options struct {
	Fetch   Fetcher             // nil: nothing is fetched, as with [ModeOffline]
	Cache   Cache               // nil: nothing is kept over a restart
	Anchors []*x509.Certificate // authorities that are known from the start
	Log     *slog.Logger        // nil: nowhere
	Now     func() time.Time    // nil: time.Now
}

// A Store knows what has been revoked. It can be used by many goroutines at
// once.
type Store struct {
	config     Config
	fetch      Fetcher
	cache      Cache
	log        *slog.Logger
	now        func() time.Time
	configured map[digest]*configured // by authority
	answers    *answers
	allowed    atomic.Uint64

	ctx    context.Context //nolint:containedctx // fetches outlive the sign-in that began them
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  slots

	mu          sync.Mutex
	closed      bool
	files       []fileList
	authorities map[digest]*authority
	sources     map[digest]*source
	responders  map[string]*responder
	flights     map[question]*flight
	changed     chan struct{} // closed, and replaced, when a fetch has ended
}

// fileList is a list from a file of the configuration.
type fileList struct {
	*list
	file setting.File
}

// An authority is whoever signs certificates and lists: a name with a key.
type authority struct {
	key         digest // of name and key
	certificate *x509.Certificate
	name        string // for people
	configured  *configured
	slots       slots
	held        atomic.Pointer[held]
}

// slots limit what runs at a time: they hold one for each fetch.
type slots struct{ lists, questions chan struct{} }

func newSlots(lists, questions int) slots {
	return slots{make(chan struct{}, lists), make(chan struct{}, questions)}
}

// enter waits for a place in each of slots, in their order, and returns what gives
// them back, nil if ctx has ended.
func enter(ctx context.Context, slots ...chan struct{}) (leave func()) {
	taken := 0
	leave = func() {
		for _, slot := range slots[:taken] {
			<-slot
		}
	}
	for _, slot := range slots {
		select {
		case slot <- struct{}{}:
			taken++
		case <-ctx.Done():
			leave()
			return nil
		}
	}
	return leave
}

// held is what an authority's lists are at the moment, for checks to look at
// without a lock. The signatures have been checked.
type held struct {
	files    []*list // full lists from files
	complete []*list // full lists from distribution points that are for all its certificates
	deltas   []*list
	parts    bool          // some of these are from files
	problem  *denial.Error // a file that claims to be the authority's and is not
}

// Open returns a store that obeys c. Files that cannot be used are an error, as
// [setting.Problems]: what is configured and cannot work must not go unseen.
func Open(c Config, o Options) (*Store, error) {
	s := &Store{
		config: c, fetch: o.Fetch, cache: o.Cache, log: o.Log, now: o.Now,
		answers:     newAnswers(),
		slots:       newSlots(maxListFetches, maxQuestions),
		authorities: map[digest]*authority{},
		sources:     map[digest]*source{},
		responders:  map[string]*responder{},
		flights:     map[question]*flight{},
		changed:     make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if c.Mode != ModeOnline {
		s.fetch = nil
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var p setting.Problems
	s.configured = readResponders(c.OCSP, &p)
	s.files = readFiles(c, &p)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, anchor := range o.Anchors {
		s.authority(anchor)
	}
	for key, c := range s.configured {
		if c.url != "" {
			s.responder(c.url, &authority{key: key, name: nameOf(c.authority)})
		}
	}
	for i, file := range c.CRLFiles {
		for _, l := range s.files {
			if err := s.forged(l); l.file == file && err != nil {
				p.Addf(fmt.Sprintf("crl_files[%d]", i), "%s: %v: get the list from the authority again", file, err)
			}
		}
	}
	if err := p.Err(); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// Close ends all fetches.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true // nothing starts any more, so Wait sees all there is
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// Allowed returns how many times somebody was let in although there was no
// answer.
func (s *Store) Allowed() uint64 { return s.allowed.Load() }

// readFiles reads the lists of the configuration.
func readFiles(c Config, p *setting.Problems) []fileList {
	var all []fileList
	for i, file := range c.CRLFiles {
		lists, err := readFile(file, int64(c.MaxSize))
		if err != nil {
			p.Addf(fmt.Sprintf("crl_files[%d]", i), "%v", err)
		}
		for _, l := range lists {
			all = append(all, fileList{l, file})
		}
	}
	return all
}

func readFile(file setting.File, limit int64) ([]*list, error) {
	info, err := os.Stat(string(file))
	if err == nil && info.Size() > limit {
		return nil, fmt.Errorf("%s: has %d bytes, more than max_size: raise that, if the list is meant to be so long", file, info.Size())
	}
	data, err := os.ReadFile(string(file))
	if err != nil {
		return nil, fmt.Errorf("%w: correct the path, or let the service's account read the file", err)
	}
	lists, err := parseLists(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return lists, nil
}

// ReloadFiles reads the files of the configuration anew. If one of them cannot
// be used, nothing changes. A list that is older than the one before is left
// out, whatever the others are: somebody may want to undo a revocation.
func (s *Store) ReloadFiles() error {
	var p setting.Problems
	fresh := readFiles(s.config, &p)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range fresh {
		if err := s.forged(l); err != nil {
			p.Addf("crl_files", "%s: %v", l.file, err)
		}
	}
	if err := p.Err(); err != nil {
		return err
	}
	for i, l := range fresh {
		for _, old := range s.files {
			if old.follows(l.list) && l.older(old.list) {
				s.log.Error("a revocation list in a file is older than the one before and is not used: this may be an attempt to undo a revocation",
					"reason", denial.CRLReplayed, "file", string(l.file), "list", l.name(), "held", old.name())
				fresh[i].list = old.list
			}
		}
	}
	s.files = fresh
	for _, a := range s.authorities {
		s.rebuild(a)
	}
	return nil
}

// follows reports whether l and other are lists of one row.
func (l *list) follows(other *list) bool {
	return l.issuer == other.issuer && l.scope.raw == other.scope.raw && l.delta() == other.delta() && string(l.keyID) == string(other.keyID)
}

// forged says why a list from a file cannot be that of any authority that is
// known, although it bears the name of one. s.mu is held.
func (s *Store) forged(l fileList) error {
	var first error
	for _, a := range s.authorities {
		if l.issuer != string(a.certificate.RawSubject) {
			continue
		}
		err := a.vouches(l.list)
		if err == nil {
			return nil
		}
		first = err
	}
	return first
}

// claims reports whether l says that it is by a.
func (a *authority) claims(l *list) bool {
	if l.issuer != string(a.certificate.RawSubject) {
		return false
	}
	id := a.certificate.SubjectKeyId
	return len(l.keyID) == 0 || len(id) == 0 || string(l.keyID) == string(id)
}

// vouches returns nil if a signed l, and may.
func (a *authority) vouches(l *list) error {
	if c := a.certificate; c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return denial.New(denial.CRLUnusable, "the authority %q may not sign revocation lists: its key usage lacks cRLSign", a.name)
	}
	if !a.claims(l) {
		return denial.New(denial.CRLBadSignature, "the %s is not by the authority %q with this key", l.name(), a.name)
	}
	if err := l.signed.by(a.certificate.PublicKey); err != nil {
		return denial.New(denial.CRLBadSignature, "the %s is not by the authority %q: %w", l.name(), a.name, err)
	}
	return nil
}

// authority returns what is known of the owner of c, nil if there are too many.
// s.mu is held.
func (s *Store) authority(c *x509.Certificate) *authority {
	key := authorityKey(c)
	if a := s.authorities[key]; a != nil {
		return a
	}
	if len(s.authorities) >= maxAuthorities {
		return nil
	}
	a := &authority{key: key, certificate: c, name: nameOf(c), configured: s.configured[key], slots: newSlots(maxListsEach, maxAsksEach)}
	s.authorities[key] = a
	s.rebuild(a)
	return a
}

func authorityKey(c *x509.Certificate) digest {
	h := sha256.New()
	h.Write(c.RawSubject) // DER says how long it is, so nothing can move over
	h.Write(c.RawSubjectPublicKeyInfo)
	return digest(h.Sum(nil))
}

// nameOf returns the subject of a verified certificate, for messages.
func nameOf(c *x509.Certificate) string { return clip(c.Subject.String()) }

// clip cuts text to a length that fits a line of a log.
func clip(s string) string {
	const most = 512
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// rebuild gathers the lists of a anew. s.mu is held.
func (s *Store) rebuild(a *authority) {
	h := &held{}
	add := func(l *list, full *[]*list) {
		if l.delta() {
			h.deltas = append(h.deltas, l)
		} else {
			*full = append(*full, l)
		}
	}
	for _, f := range s.files {
		if f.issuer != string(a.certificate.RawSubject) {
			continue
		}
		if err := a.vouches(f.list); err != nil {
			h.problem = asDenial(err)
			continue
		}
		add(f.list, &h.files)
		h.parts = len(h.deltas) > 0
	}
	for _, src := range s.sources {
		if l := src.list.Load(); src.authority == a && l != nil && (l.delta() || l.scope.raw == "") {
			add(l, &h.complete)
		}
	}
	a.held.Store(h)
}

// A Path is a verified path, prepared for [Store.Check]. It can be kept for as
// long as the path is good.
type Path struct {
	links []link   // leaf first
	ways  [][]link // these, and those of other ways from the leaf to an anchor
}

// A link is a certificate of the path with what must be asked about it.
type link struct {
	authority  *authority // its issuer; nil if there are too many
	serial     []byte
	question   question
	ca         bool
	name       string
	lists      []ref
	deltas     []*source
	responders []string
	problem    string // why something that it names cannot be used
}

// ref is a source of lists as a certificate names it.
type ref struct {
	*source
	reasons reasons
}

// Path prepares a path for [Store.Check]: the leaf, its issuers, the anchor. It
// must have been verified up to that anchor, because what its certificates name
// is going to be fetched. The anchor itself is not asked about: nobody is above
// it.
//
// Others are more such paths of the same leaf, as when several roots have
// certified one authority. One that is good is enough: whoever sends the
// certificates could leave out the rest.
func (s *Store) Path(path []*x509.Certificate, others ...[]*x509.Certificate) *Path {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Path{links: s.linksOf(path)}
	p.ways = append(p.ways, p.links)
	for _, other := range others {
		p.ways = append(p.ways, s.linksOf(other))
	}
	return p
}

// linksOf prepares the certificates of a path. s.mu is held.
func (s *Store) linksOf(path []*x509.Certificate) []link {
	var links []link
	for i := range len(path) - 1 {
		links = append(links, s.link(path[i], path[i+1]))
	}
	return links
}

// link prepares one certificate. s.mu is held.
func (s *Store) link(c, issuer *x509.Certificate) link {
	l := link{authority: s.authority(issuer), ca: c.IsCA, name: nameOf(c), serial: c.SerialNumber.Bytes()}
	if len(l.serial) == 0 {
		l.serial = []byte{0}
	}
	if l.authority == nil {
		return l
	}
	l.question = question{l.authority.key, string(l.serial)}
	l.responders = webAddresses(c.OCSPServer)
	if len(l.responders) == 0 && len(c.OCSPServer) > 0 {
		l.problem = "it names responders only in places that cannot be asked: http or https"
	}
	points, problem := pointsOf(c, oidDistributionPoint)
	for _, p := range points {
		l.lists = append(l.lists, ref{s.source(l.authority, p, false), p.reasons})
	}
	deltas, _ := pointsOf(c, oidFreshestCRL)
	for _, p := range deltas {
		l.deltas = append(l.deltas, s.source(l.authority, p, true))
	}
	if problem != "" {
		l.problem = problem
	}
	return l
}

// webAddresses returns the first few of all that are addresses of web servers.
func webAddresses(all []string) []string {
	var some []string
	for _, u := range all {
		if scheme, _, _ := strings.Cut(u, ":"); len(some) < maxURLs && len(u) <= maxURL &&
			(strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
			some = append(some, u)
		}
	}
	return some
}

// pointsOf returns the distribution points in an extension of c, and why one
// cannot be used if none can.
func pointsOf(c *x509.Certificate, id string) (points []point, problem string) {
	in := extensionOf(c, id)
	if in == nil {
		return nil, ""
	}
	points, err := readPoints(in, string(c.RawIssuer))
	if err != nil {
		return nil, err.Error()
	}
	return points, ""
}

// Subjects and numbers of certificates are compared by what is in the DER; this
// is how they are written.
func (l *link) describe() string {
	return fmt.Sprintf("the certificate %q (serial number %x, issued by %q)", l.name, l.serial, l.authority.name)
}

// source returns the source of lists at p, a new one if need be; of those that
// were there the one longest unused may have to go. s.mu is held.
func (s *Store) source(a *authority, p point, delta bool) *source {
	h := sha256.New()
	h.Write(a.key[:])
	for _, name := range p.names {
		h.Write([]byte(name)) // DER, see authorityKey
	}
	if delta {
		h.Write([]byte("delta"))
	}
	id := digest(h.Sum(nil))
	if src := s.sources[id]; src != nil {
		return src
	}
	src := &source{id: id, authority: a, point: p, delta: delta}
	src.used.Store(s.now().Unix())
	s.keep(src)
	return src
}

// keep puts src into the table. s.mu is held.
func (s *Store) keep(src *source) {
	if s.sources[src.id] == src {
		return
	}
	if len(s.sources) >= maxSources {
		s.forget()
	}
	s.sources[src.id] = src
}

// forget makes room for a source. A path may still hold the one that goes; it
// comes back when it is needed. s.mu is held.
func (s *Store) forget() {
	var last *source
	for _, src := range s.sources {
		if last == nil || src.used.Load() < last.used.Load() {
			last = src
		}
	}
	delete(s.sources, last.id)
	last.list.Store(nil)
	s.rebuild(last.authority)
	s.log.Warn("too many distribution points: the one longest unused is forgotten", "urls", strings.Join(last.urls, " "))
	if s.cache != nil {
		_ = s.cache.Remove(last.file()) // it is but a copy
	}
}

// newest reports whether none of the others supersedes l: has its scope and came
// later. Of two that came before each other, because their numbers say so and
// their times do not, none does: what either revokes is revoked.
func newest(l *list, others []candidate) bool {
	return !slices.ContainsFunc(others, func(o candidate) bool {
		return o.list != l && o.scope.raw == l.scope.raw && l.older(o.list) && !o.older(l)
	})
}
