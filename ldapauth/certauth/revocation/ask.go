package revocation

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// askTimeout is how long a responder has to answer. A sign-in does not wait
	// that long; the answer serves the next one.
	askTimeout = 10 * time.Second
	// shortLived is how long an answer counts that says nothing of its end: the
	// responder has newer news at any time (RFC 6960, section 2.4).
	shortLived = time.Minute
)

// question is what a responder is asked: which certificate, by whom.
type question struct {
	authority digest
	serial    string
}

// An answer is what responders have said to a question, or why they have not.
type answer struct {
	status     status // good or revoked; unknown: nothing that counts
	entry      entry  // if it is revoked
	by         string // who said so
	thisUpdate time.Time
	until      time.Time // the answer does not count any more
	due        time.Time // another one should have come by then
	again      time.Time // nobody is asked before
	problem    *denial.Error
	failures   int
}

// answers are the latest answers; those longest unused go first.
type answers struct {
	mu  sync.Mutex
	all *simplelru.LRU[question, answer]
}

func newAnswers() *answers {
	all, err := simplelru.NewLRU[question, answer](maxAnswers, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &answers{all: all}
}

func (a *answers) find(q question) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.Get(q)
}

func (a *answers) put(q question, v answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.Add(q, v)
}

// configured is a responder of the configuration.
type configured struct {
	authority    *x509.Certificate
	url          string
	certificate  *x509.Certificate // trusted by decree; nil: none
	requireNonce bool
}

// readResponders reads the responders of the configuration, by authority.
func readResponders(all []ResponderConfig, p *setting.Problems) map[digest]*configured {
	responders := map[digest]*configured{}
	for i, c := range all {
		key := func(name string) string { return fmt.Sprintf("ocsp[%d].%s", i, name) }
		authority, err := readCertificate(c.CAFile)
		if err != nil {
			p.Addf(key("ca_file"), "%v", err)
			continue
		}
		r := &configured{authority: authority, url: c.URL, requireNonce: c.RequireNonce}
		if c.ResponderFile != "" {
			if r.certificate, err = readCertificate(c.ResponderFile); err != nil {
				p.Addf(key("responder_file"), "%v", err)
			}
		}
		id := authorityKey(authority)
		if responders[id] != nil {
			p.Addf(key("ca_file"), "%s: the authority has a responder already: leave one entry for each authority", c.CAFile)
		}
		responders[id] = r
	}
	return responders
}

// A responder is a place where an authority's certificates are asked about.
type responder struct {
	url    string
	issuer string

	mu       sync.Mutex
	asked    time.Time // the last time that it answered
	next     time.Time // nobody asks before
	failures int
	problem  *denial.Error // why the last question had no answer
}

// responder returns what is known of a place, nil if too many are. s.mu is held.
func (s *Store) responder(url string, a *authority) *responder {
	key := url + " " + string(a.key[:])
	r := s.responders[key]
	if r == nil && len(s.responders) < maxSources {
		r = &responder{url: url, issuer: a.name}
		s.responders[key] = r
	}
	return r
}

// ready reports whether r may be asked now. One that does not answer is left in
// peace for a while, whomever the question is about.
func (r *responder) ready(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.next)
}

// said notes the outcome of a question.
func (r *responder) said(now time.Time, problem *denial.Error, most time.Duration) (failures int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem = problem; problem == nil {
		r.asked, r.failures, r.next = now, 0, time.Time{}
		return 0
	}
	if problem.Reason == denial.OCSPUnreachable {
		r.failures++
		r.next = now.Add(backoff(r.failures, most))
	}
	return r.failures
}

func (r *responder) report() Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	src := Source{Kind: FromResponder, Where: r.url, Issuer: r.issuer, Fetched: r.asked, Next: r.next}
	if r.problem != nil {
		src.Error = r.problem.Error()
	}
	return src
}

// respondersOf returns those that can be asked about l. s.mu is held.
func (s *Store) respondersOf(l *link) []*responder {
	if s.fetch == nil {
		return nil
	}
	urls := l.responders
	if c := l.authority.configured; c != nil && c.url != "" {
		urls = []string{c.url}
	}
	var all []*responder
	for _, u := range urls {
		if r := s.responder(u, l.authority); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// toAsk returns the responders to be asked about l now: none if it is too early.
// s.mu is held.
func (s *Store) toAsk(l *link, now time.Time) []*responder {
	if a, ok := s.answers.find(l.question); ok && now.Before(a.again) && (a.problem != nil || now.Before(a.until)) {
		return nil
	}
	return slices.DeleteFunc(s.respondersOf(l), func(r *responder) bool { return !r.ready(now) })
}

// mustAsk reports whether a list is not enough: there is a responder that goes
// before the lists, and it may answer if it is asked.
func (s *Store) mustAsk(l *link, now time.Time) bool {
	if l.authority.configured == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flights[l.question] != nil || len(s.toAsk(l, now)) > 0
}

// ask starts to ask about l, if it is time, and returns what is under way, nil if
// nothing is.
func (s *Store) ask(l *link) *flight {
	s.mu.Lock()
	if f := s.flights[l.question]; f != nil {
		s.mu.Unlock()
		return f
	}
	responders := s.toAsk(l, s.now())
	if len(responders) == 0 {
		s.mu.Unlock()
		return nil
	}
	f := &flight{make(chan struct{})}
	s.flights[l.question] = f
	s.mu.Unlock()
	s.launch(f, func() {
		s.interrogate(l, responders)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.flights, l.question)
	})
	return f
}

// interrogate asks one responder after the other until one answers, and keeps
// the answer. Without one, the answer before counts for as long as it does.
func (s *Store) interrogate(l *link, responders []*responder) {
	leave := enter(s.ctx, l.authority.slots.questions, s.slots.questions)
	if leave == nil {
		return
	}
	defer leave()
	old, _ := s.answers.find(l.question)
	var all []*denial.Error
	for _, r := range responders {
		a, err := s.askOne(l, r)
		now := s.now()
		failures := r.said(now, err, s.config.Refresh.Std())
		if err == nil {
			s.answers.put(l.question, s.timed(a, old, now))
			return
		}
		log := s.log.Warn
		if failures > 1 {
			log = s.log.Debug
		}
		log("an OCSP responder has no answer that counts", "reason", err.Reason, "err", err.Err, "url", r.url, "issuer", l.authority.name)
		all = append(all, err)
	}
	reason, texts := worst(all)
	old.problem = denial.New(reason, "%s", strings.Join(texts, "; "))
	old.failures++
	old.again = s.now().Add(backoff(old.failures, s.config.Refresh.Std()))
	old.due = old.again // no sign-in waits before
	s.answers.put(l.question, old)
}

// timed says until when a counts, after now. An answer that is older than the one
// before, as some responders keep them in several places, changes nothing; and
// whoever sends one from before a revocation does not undo that, though the newer
// one has ended.
func (s *Store) timed(a, old answer, now time.Time) answer {
	if (old.status == revoked || old.status == good && now.Before(old.until)) && a.thisUpdate.Before(old.thisUpdate) {
		a = old
	}
	a.problem, a.failures = nil, 0
	a.due = now.Add(s.config.Refresh.Std())
	if a.until.Before(a.due) {
		a.due = a.until
	}
	a.again = now.Add(jitter(max(a.due.Sub(now)/2, time.Second)))
	return a
}

// askOne asks one responder.
func (s *Store) askOne(l *link, r *responder) (answer, *denial.Error) {
	fail := func(reason denial.Reason, err error) (answer, *denial.Error) {
		return answer{}, denial.New(reason, "%s: %w", r.url, err)
	}
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	body, err := ocspRequest(l.authority.certificate, l.serial, nonce)
	if err != nil {
		return fail(denial.RevocationUnknown, err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
	defer cancel()
	data, err := s.fetch(ctx, Request{URL: r.url, Body: body, Limit: maxReply})
	if err != nil {
		return fail(denial.OCSPUnreachable, err)
	}
	a, err := s.judgeReply(l, data, nonce)
	if d, ok := errors.AsType[*denial.Error](err); ok {
		return fail(d.Reason, d.Err)
	} else if err != nil {
		return fail(denial.OCSPBadAnswer, err)
	}
	a.by = r.url
	return a, nil
}

// judgeReply makes an answer of what a responder sent. Who signed it comes first:
// before that is settled, nothing in it means anything.
//
// Every check here is one that libraries leave to their caller. A reply that is
// signed by any certificate of the authority would pass without that of the
// usage, and the holder of a revoked certificate has one of these.
func (s *Store) judgeReply(l *link, data, nonce []byte) (answer, error) {
	now := s.now()
	r, err := parseReply(data)
	if code, ok := errors.AsType[refusedReply](err); ok {
		if code == 5 || code == 6 {
			return answer{}, denial.New(denial.OCSPUnknown, "%w", err)
		}
		return answer{}, denial.New(denial.OCSPUnreachable, "%w", err)
	}
	if errors.Is(err, errNoReply) {
		return answer{}, denial.New(denial.OCSPUnreachable, "%w", err)
	}
	if err != nil {
		return answer{}, err
	}
	if err := s.vouched(l, r, now); err != nil {
		return answer{}, err
	}
	c := l.authority.configured
	switch {
	case r.nonce == nil && c != nil && c.requireNonce:
		return answer{}, errors.New("the answer does not repeat our number (require_nonce), so it may be an old one")
	case r.nonce != nil && string(r.nonce) != string(nonce):
		return answer{}, errors.New("the answer is to another question: this may be an old one, sent again")
	}
	said, ok := r.about(l.authority.certificate, l.serial)
	if !ok {
		return answer{}, errors.New("the answer is about another certificate")
	}
	return said.judge(now, r)
}

// judge makes an answer of what the right responder says.
func (s single) judge(now time.Time, r *reply) (answer, error) {
	a := answer{status: s.status, entry: s.entry, thisUpdate: s.thisUpdate, until: s.nextUpdate}
	if s.nextUpdate.IsZero() {
		// Without an end, only that it was made for us, or just now, shows that
		// it is of today.
		if a.until = now.Add(shortLived); r.nonce == nil && now.Sub(r.producedAt) > skew {
			a.until = r.producedAt.Add(skew)
		}
	}
	switch {
	case s.status == unknown:
		return answer{}, denial.New(denial.OCSPUnknown, "the responder does not know the certificate: its authority has never issued it, or the responder is not told of what is issued")
	case s.status == revoked:
		// Whatever its age, it is known by now; whether it still holds is asked
		// again soon.
		if a.until.Before(now.Add(shortLived)) {
			a.until = now.Add(shortLived)
		}
	case s.thisUpdate.After(now.Add(skew)) || r.producedAt.After(now.Add(skew)):
		return answer{}, denial.New(denial.OCSPExpired, "the answer is from the future (%s), and the clock here says %s",
			latest(s.thisUpdate, r.producedAt).Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case !now.Before(a.until):
		return answer{}, denial.New(denial.OCSPExpired, "the answer was good until %s, and the clock here says %s",
			a.until.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return a, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// vouched returns nil if r was signed by somebody who may speak for the issuer of
// l: the issuer itself, the responder that the configuration trusts, or one whom
// the issuer has appointed (RFC 6960, section 4.2.2.2).
func (s *Store) vouched(l *link, r *reply, now time.Time) error {
	issuer := l.authority.certificate
	if r.isFrom(issuer) {
		return r.signed.by(issuer.PublicKey)
	}
	if c := l.authority.configured; c != nil && c.certificate != nil && r.isFrom(c.certificate) {
		if now.Before(c.certificate.NotBefore) || now.After(c.certificate.NotAfter) {
			return fmt.Errorf("the certificate in responder_file is valid from %s to %s: renew it",
				c.certificate.NotBefore.Format(time.RFC3339), c.certificate.NotAfter.Format(time.RFC3339))
		}
		return r.signed.by(c.certificate.PublicKey)
	}
	err := errors.New("the answer is signed neither by the authority nor by a responder that it has appointed")
	for _, der := range r.certificates {
		c, unreadable := x509.ParseCertificate(der)
		if unreadable != nil || !r.isFrom(c) {
			continue
		}
		// The appointment comes first: strangers can send keys with which to check
		// a signature takes long.
		if err = s.appointed(l.authority, c, now); err != nil {
			err = fmt.Errorf("the answer is signed by %q, %w", nameOf(c), err)
		} else if err = r.signed.by(c.PublicKey); err == nil {
			return nil
		}
	}
	return err
}

// appointed returns nil if an authority has appointed the owner of c to answer
// for it, and has not taken that back.
func (s *Store) appointed(a *authority, c *x509.Certificate, now time.Time) error {
	const signing = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	switch {
	case string(c.RawIssuer) != string(a.certificate.RawSubject) || c.CheckSignatureFrom(a.certificate) != nil:
		return errors.New("whose certificate is not issued by the authority")
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("whose certificate is not for signing OCSP answers: the holder of any certificate could have made it")
	case c.KeyUsage != 0 && c.KeyUsage&signing == 0:
		return errors.New("whose certificate is not for signing (key usage)")
	case now.Before(c.NotBefore) || now.After(c.NotAfter):
		return fmt.Errorf("whose certificate is valid from %s to %s", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("whose certificate has critical extensions that are not supported (%v)", c.UnhandledCriticalExtensions)
	case extensionOf(c, oidOCSPNoCheck) != nil:
		return nil
	}
	return s.stillAppointed(a, c)
}

// stillAppointed returns nil if a current list says that the certificate of a
// responder has not been revoked. Responders are not asked about responders.
func (s *Store) stillAppointed(a *authority, c *x509.Certificate) error {
	s.mu.Lock()
	l := s.link(c, a.certificate)
	s.mu.Unlock()
	for _, f := range s.startLists(&l) {
		<-f.done
	}
	switch st, e, from := l.byLists(s.now(), true); st {
	case good:
		return nil
	case revoked:
		return fmt.Errorf("whose certificate %s: %s", e.text(), from.name())
	}
	return errors.New("whose certificate may have been revoked: it has no \"no check\" mark, and no current list speaks of it")
}

// askProblems says why responders have not answered about l.
func (s *Store) askProblems(l *link) []*denial.Error {
	s.mu.Lock()
	responders := s.respondersOf(l)
	s.mu.Unlock()
	if len(responders) == 0 && len(l.responders) > 0 {
		return []*denial.Error{denial.New(denial.RevocationUnknown, "%s: %w", strings.Join(l.responders, ", "), errOffline)}
	}
	var all []*denial.Error
	for _, r := range responders {
		r.mu.Lock()
		problem := r.problem
		r.mu.Unlock()
		if problem == nil || problem.Reason != denial.OCSPUnreachable { // of another certificate
			problem = denial.New(denial.OCSPUnreachable, "%s: no answer has come yet", r.url)
		}
		all = append(all, problem)
	}
	return all
}
