package certauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
)

// Bounds on what a client may send. They are far above what real certificates
// need and keep the cost of a refusal small.
const (
	maxCertificates = 8         // different ones
	maxNamesakes    = 2         // different ones of one subject: an authority and its successor
	maxCertificate  = 64 << 10  // bytes of one certificate
	maxChain        = 128 << 10 // bytes of all certificates
	maxOthers       = 3         // paths besides the first of which one may do
	maxNames        = 256       // subject alternative names of one certificate
	minRSA          = 2048      // bits
	maxRSA          = 8192      // bits; crypto/tls stops there as well
	minCurve        = 256       // bits
)

// smartCardLogon stands for the extended key usage of the same name, which
// crypto/x509 does not know, in the copies that it is given: see [view]. It only
// compares these numbers; this one is far from those that it has or may get.
const smartCardLogon x509.ExtKeyUsage = 1 << 20

var (
	oidSmartCardLogon  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
)

// userUsages are what a user's certificate may be for; one of them is enough.
// ExtKeyUsageAny must never be here: it stands for "do not check".
var userUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, smartCardLogon}

// A Verifier decides which certificates are genuine and whom they name. It can
// be used by many goroutines at once.
type Verifier struct {
	// Now tells the time. It may be changed before the first use.
	Now func() time.Time
	// Revocation knows what has been taken back. It may be set before the first
	// use; nil means that nobody is asked.
	Revocation *revocation.Store

	config  Config
	namings []naming // for everybody, then for each of the authorities
	trust   atomic.Pointer[trust]
	listed  atomic.Pointer[Listed]
	slots   chan struct{} // holds one for each chain that is being looked at
}

// trust is what can be prepared once for each set of anchors.
type trust struct {
	anchors  *Anchors
	subjects map[string]bool // raw subjects of the anchors
	strict   *x509.CertPool  // the anchors as the configuration sees them
	lenient  *x509.CertPool  // the anchors without times and usages
	known    *known
}

// New returns a verifier that obeys c and trusts a. What c.CAFiles says is not
// looked at: a is what was loaded from there. What c.SelfSignedFiles says comes
// by [Verifier.SetListed].
func New(c Config, a *Anchors) *Verifier {
	// One processor stays free for those who are known or sign in otherwise.
	slots := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
	v := &Verifier{Now: time.Now, config: c, namings: c.namings(), slots: slots}
	v.SetAnchors(a)
	return v
}

// SetAnchors makes a the anchors of every [Verifier.Verify] that starts later.
func (v *Verifier) SetAnchors(a *Anchors) {
	t := &trust{
		anchors:  a,
		subjects: map[string]bool{},
		strict:   poolOf(a.Certificates(), v.view()),
		lenient:  poolOf(a.Certificates(), lenient),
		known:    newKnown(),
	}
	for _, c := range a.Certificates() {
		t.subjects[string(c.RawSubject)] = true
	}
	v.trust.Store(t)
}

// Anchors returns the anchors in force.
func (v *Verifier) Anchors() *Anchors { return v.trust.Load().anchors }

// Verify checks the certificates that a client sent, leaf first, and returns
// what the leaf says and whom it names. It must be called at every sign-in: an
// earlier answer says nothing about the time and the anchors of now.
//
// The order of the checks is a promise, because the first that fails gives the
// reason. Size comes first, so that nothing costs much; then trust, because an
// untrusted certificate may claim anything and deserves no further look; then
// time, usage, keys and, of the leaf alone, critical extensions, policies and the
// name. Revocation comes last: only what a trusted authority has signed may say
// where to ask. That can take a while, at most revocation's timeout.
//
// A refusal is a [*denial.Error]; there are no other errors.
func (v *Verifier) Verify(ctx context.Context, sent []*x509.Certificate) (*Certificate, error) {
	chain, err := checkSize(sent)
	if err != nil {
		return nil, err
	}
	a, remembered, err := v.accept(chain)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	c, err := v.checkRevocation(ctx, a)
	if err != nil && remembered && len(chain) > len(a.certificate.Path) {
		// More was sent than at the time that is remembered: there may be another
		// way to an anchor.
		if a, err = v.acceptNew(chain); err != nil {
			return nil, err
		}
		rest, cancel := context.WithDeadline(ctx, start.Add(v.config.Revocation.Timeout.Std()))
		defer cancel()
		c, err = v.checkRevocation(rest, a)
	}
	return c, err
}

// checkRevocation returns what was accepted, unless it has been revoked.
func (v *Verifier) checkRevocation(ctx context.Context, a *accepted) (*Certificate, error) {
	c := a.certificate // a copy: the caller's own
	if a.path == nil {
		return &c, nil
	}
	result, err := v.Revocation.Check(ctx, a.path)
	if err != nil {
		return nil, err
	}
	c.Unknown = result.Unknown
	return &c, nil
}

// VerifyAgain is [Verifier.Verify] for a certificate that was accepted before,
// when its holder is not there to send it again.
func (v *Verifier) VerifyAgain(ctx context.Context, c *Certificate) (*Certificate, error) {
	path := make([]*x509.Certificate, len(c.Path))
	for i, der := range c.Path {
		var err error
		if path[i], err = x509.ParseCertificate(der); err != nil {
			return nil, denial.New(denial.BadCertificate, "certificate %d of the path that was kept: %w", i+1, err)
		}
	}
	return v.Verify(ctx, path)
}

// accept does all the checks that need to be done once for a chain, or remembers
// that they have been done.
func (v *Verifier) accept(chain []*x509.Certificate) (a *accepted, remembered bool, err error) {
	now := v.Now()
	if e := v.listed.Load().find(chain[0]); e != nil {
		a, err = v.acceptListed(e, now)
		return a, false, err
	}
	if v.config.Accept == acceptSelfSigned {
		return nil, false, notListed(chain[0])
	}
	if a, ok := v.trust.Load().known.find(digestsOf(chain), now); ok {
		return a, true, nil
	}
	a, err = v.acceptNew(chain)
	return a, false, err
}

// acceptNew does the checks, whatever is remembered, and remembers what passes.
func (v *Verifier) acceptNew(chain []*x509.Certificate) (*accepted, error) {
	t, now := v.trust.Load(), v.Now()
	v.slots <- struct{}{}
	defer func() { <-v.slots }()
	c, paths, err := v.verify(t, chain, now)
	if err != nil {
		return nil, err
	}
	a := newAccepted(c, paths, v.config.CheckValidity)
	if v.Revocation != nil {
		a.path = v.Revocation.Path(paths[0], paths[1:]...)
	}
	t.known.add(a)
	return a, nil
}

// verify does all the checks but that of size, and returns the paths that passed
// as well.
func (v *Verifier) verify(t *trust, chain []*x509.Certificate, now time.Time) (*Certificate, [][]*x509.Certificate, error) {
	leaf := chain[0]
	paths, err := v.findPaths(t, chain, now)
	if err != nil {
		return nil, nil, err
	}
	if v.config.CheckUsage {
		if err := checkUsage(leaf); err != nil {
			return nil, nil, err
		}
	}
	if paths, err = checkKeys(paths); err != nil {
		return nil, nil, err
	}
	path := paths[0]
	if err := checkExtensions(leaf); err != nil {
		return nil, nil, err
	}
	c := Describe(leaf)
	c.Authority = t.anchors.authorityOf(path)
	n := &v.namings[min(c.Authority, len(v.namings)-1)]
	if err := v.checkPolicies(path, n.policies, now); err != nil {
		return nil, nil, err
	}
	if err := n.apply(leaf, c); err != nil {
		return nil, nil, err
	}
	others := slices.DeleteFunc(paths[1:], func(p []*x509.Certificate) bool {
		return t.anchors.authorityOf(p) != c.Authority || v.checkPolicies(p, n.policies, now) != nil
	})
	return c, paths[:1+min(len(others), maxOthers)], nil
}

// checkSize refuses what would be costly to look at, and returns the rest, each
// certificate once: some clients repeat themselves.
func checkSize(sent []*x509.Certificate) ([]*x509.Certificate, error) {
	if len(sent) == 0 {
		return nil, denial.New(denial.BadCertificate, "no certificate was sent")
	}
	chain := make([]*x509.Certificate, 0, min(len(sent), maxCertificates))
	total := 0
	for i, c := range sent {
		if c == nil || len(c.Raw) == 0 {
			return nil, denial.New(denial.BadCertificate, "certificate %d was not read from DER", i+1)
		}
		if total += len(c.Raw); len(c.Raw) > maxCertificate || total > maxChain {
			return nil, denial.New(denial.BadCertificate, "certificate %d makes the chain too large (%d bytes, %d in all)", i+1, len(c.Raw), total)
		}
		if slices.ContainsFunc(chain, c.Equal) {
			continue
		}
		if len(chain) == maxCertificates {
			return nil, denial.New(denial.BadCertificate, "more than %d certificates were sent", maxCertificates)
		}
		if namesakes(c, chain) == maxNamesakes {
			return nil, denial.New(denial.BadCertificate, "more than %d certificates of %q were sent", maxNamesakes, nameText(c.RawSubject))
		}
		if n := len(c.DNSNames) + len(c.EmailAddresses) + len(c.IPAddresses) + len(c.URIs); n > maxNames {
			return nil, denial.New(denial.BadCertificate, "certificate %d has %d alternative names, more than %d", i+1, n, maxNames)
		}
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSA {
			return nil, denial.New(denial.BadCertificate, "certificate %d has an RSA key of %d bits, more than %d", i+1, k.N.BitLen(), maxRSA)
		}
		chain = append(chain, c)
	}
	return chain, nil
}

func namesakes(c *x509.Certificate, others []*x509.Certificate) int {
	n := 0
	for _, other := range others {
		if string(other.RawSubject) == string(c.RawSubject) {
			n++
		}
	}
	return n
}

// findPaths returns the ways from the leaf to an anchor, at least one, or says
// why there is none.
func (v *Verifier) findPaths(t *trust, chain []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	genuine := t.genuine(chain)
	if len(genuine) == 0 || genuine[0] != chain[0] {
		if weak := t.weakSignature(chain); weak != nil {
			return nil, denial.New(denial.WeakSignature, "the certificate %q is signed with %v, which can be forged: have it issued again",
				nameText(weak.RawSubject), weak.SignatureAlgorithm)
		}
		return nil, untrusted(chain[0], "no key of theirs signed it, nor one that they vouch for")
	}
	chain = genuine
	paths, err := build(chain, t.strict, v.view(), now)
	if err == nil {
		return paths, nil
	}
	// A second try that knows neither time nor usage tells a certificate that
	// nobody vouches for from one that is merely old or for something else.
	lenientPaths, lenientErr := build(chain, t.lenient, lenient, now)
	if lenientErr != nil {
		return nil, untrusted(chain[0], lenientErr.Error())
	}
	if v.config.CheckValidity {
		if err := checkTime(lenientPaths, slices.Concat(chain, t.anchors.Certificates()), now); err != nil {
			return nil, err
		}
	}
	// Usage is all that is left.
	if err := checkUsage(chain[0]); err != nil {
		return nil, err
	}
	return nil, denial.New(denial.WrongUsage, "an issuer of the certificate %q may not issue for client authentication: %s",
		nameText(chain[0].RawSubject), clip(err.Error()))
}

func untrusted(leaf *x509.Certificate, why string) error {
	return denial.New(denial.Untrusted, "the certificate %q, issued by %q, leads to no certificate of ca_files: %s",
		nameText(leaf.RawSubject), nameText(leaf.RawIssuer), clip(why))
}

// genuine returns those of the chain whose signatures lead to an anchor, in the
// same order, whatever else may be wrong with them.
//
// It goes down from the anchors, so that every key that it uses is vouched for.
// crypto/x509 goes up from the leaf with any key that it is sent, checks up to
// 100 signatures, and a stranger can make keys for which that takes long. It
// never sees what is left out here. That changes no answer: there, too, a parent
// is one whose subject is the issuer's name (the key identifiers only say which
// to try first) and from which CheckSignatureFrom accepts the signature.
func (t *trust) genuine(chain []*x509.Certificate) []*x509.Certificate {
	anchors := t.anchors.Certificates()
	if slices.ContainsFunc(anchors, chain[0].Equal) {
		return chain[:1]
	}
	// An anchor that was sent along adds nothing to the one that is here.
	rest := slices.DeleteFunc(slices.Clone(chain), func(c *x509.Certificate) bool {
		return slices.ContainsFunc(anchors, c.Equal)
	})
	ok := make([]bool, len(rest))
	for parents := slices.Clone(anchors); len(parents) > 0; parents = parents[1:] {
		parent := parents[0]
		for i, c := range rest {
			if !ok[i] && string(c.RawIssuer) == string(parent.RawSubject) && c.CheckSignatureFrom(parent) == nil {
				ok[i] = true
				parents = append(parents, c)
			}
		}
	}
	var genuine []*x509.Certificate
	for i, c := range rest {
		if ok[i] {
			genuine = append(genuine, c)
		}
	}
	return genuine
}

// build asks crypto/x509 for the ways from the leaf to one of roots.
func build(chain []*x509.Certificate, roots *x509.CertPool, w view, now time.Time) ([][]*x509.Certificate, error) {
	leaf := w.of(chain[0])
	if len(leaf.UnhandledCriticalExtensions) > 0 {
		// These are judged by checkExtensions, and not before there is trust.
		bare := *leaf
		bare.UnhandledCriticalExtensions = nil
		leaf = &bare
	}
	return leaf.Verify(x509.VerifyOptions{
		Roots:         roots, // never nil, which would mean the system's
		Intermediates: poolOf(chain[1:], w),
		CurrentTime:   now,
		KeyUsages:     userUsages,
	})
}

// weakSignature returns the certificate because of whose signature no path
// could be built: by names alone, the chain leads from the leaf over it to an
// anchor. Names prove nothing, but here they only explain a refusal.
func (t *trust) weakSignature(chain []*x509.Certificate) *x509.Certificate {
	var weak *x509.Certificate
	c := chain[0]
	for range chain {
		if isWeak(c.SignatureAlgorithm) {
			weak = c
		}
		if t.subjects[string(c.RawIssuer)] {
			return weak
		}
		i := slices.IndexFunc(chain, func(p *x509.Certificate) bool {
			return p != c && string(p.RawSubject) == string(c.RawIssuer)
		})
		if i < 0 {
			return nil
		}
		c = chain[i]
	}
	return nil
}

func isWeak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// checkTime says which certificate is out of date, unless there is a path on
// which none is. The paths are of copies that lost their times, so these are
// looked up among the originals.
func checkTime(paths [][]*x509.Certificate, originals []*x509.Certificate, now time.Time) error {
	var first error
	for _, path := range paths {
		i := slices.IndexFunc(path, func(c *x509.Certificate) bool { return outdated(original(c, originals), now) != nil })
		if i < 0 {
			return nil
		}
		if first == nil {
			first = outdated(original(path[i], originals), now)
		}
	}
	return first
}

func original(c *x509.Certificate, originals []*x509.Certificate) *x509.Certificate {
	return originals[slices.IndexFunc(originals, c.Equal)]
}

// outdated says in what way c does not cover now. The clock is in the text: it
// may be the clock that is wrong.
func outdated(c *x509.Certificate, now time.Time) error {
	const layout = time.RFC3339
	switch {
	case now.After(c.NotAfter):
		return denial.New(denial.Expired, "the certificate %q ended at %s, and the clock here says %s",
			nameText(c.RawSubject), c.NotAfter.UTC().Format(layout), now.UTC().Format(layout))
	case now.Before(c.NotBefore):
		return denial.New(denial.NotYetValid, "the certificate %q begins at %s, and the clock here says %s",
			nameText(c.RawSubject), c.NotBefore.UTC().Format(layout), now.UTC().Format(layout))
	}
	return nil
}

// checkUsage refuses a leaf that was not made for a user to sign in with. What
// a certificate does not say is not granted: without an extended key usage, or
// with one of "any", a certificate for a mail gateway would do.
func checkUsage(leaf *x509.Certificate) error {
	if fault := usageFault(leaf); fault != "" {
		return denial.New(denial.WrongUsage, "the certificate %q %s", nameText(leaf.RawSubject), fault)
	}
	return nil
}

// usageFault says why a leaf is not for a user to sign in with, "" if it is.
func usageFault(leaf *x509.Certificate) string {
	switch {
	case leaf.IsCA:
		return "is that of an authority, not of a user"
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 && extension(leaf, oidKeyUsage) != nil:
		return "lacks digitalSignature in its key usage"
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !hasSmartCardLogon(leaf):
		return "has neither clientAuth nor smart-card logon in its extended key usage"
	}
	return ""
}

// checkKeys refuses keys that are too weak or of a kind that nobody here knows,
// unless there are paths without one, which it returns.
func checkKeys(paths [][]*x509.Certificate) ([][]*x509.Certificate, error) {
	var strong [][]*x509.Certificate
	var first error
	for _, path := range paths {
		if err := checkPathKeys(path); err == nil {
			strong = append(strong, path)
		} else if first == nil {
			first = err
		}
	}
	if len(strong) == 0 {
		return nil, first
	}
	return strong, nil
}

func checkPathKeys(path []*x509.Certificate) error {
	for _, c := range path {
		if err := checkKey(c); err != nil {
			return denial.New(denial.WeakKey, "the certificate %q has %w", nameText(c.RawSubject), err)
		}
	}
	return nil
}

func checkKey(c *x509.Certificate) error {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA {
			return fmt.Errorf("an RSA key of %d bits, fewer than %d", n, minRSA)
		}
	case *ecdsa.PublicKey:
		if p := k.Params(); p.BitSize < minCurve {
			return fmt.Errorf("a key on the curve %s, smaller than %d bits", p.Name, minCurve)
		}
	case ed25519.PublicKey:
	default:
		return errors.New("a key of a kind that is not supported: use RSA, ECDSA or Ed25519")
	}
	return nil
}

// checkExtensions refuses a leaf with a critical extension that nobody here
// understands. Alternative names may be critical (they must be when the subject
// is empty, RFC 5280 section 4.2.1.6) and hold nothing but a principal name,
// which crypto/x509 does not read: they add names and restrict nothing.
func checkExtensions(leaf *x509.Certificate) error {
	for _, id := range leaf.UnhandledCriticalExtensions {
		if !id.Equal(oidSubjectAltName) {
			return denial.New(denial.BadCertificate, "the certificate %q has the critical extension %v, which is not supported", nameText(leaf.RawSubject), id)
		}
	}
	return nil
}

// extension returns the content of an extension, nil if there is none.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(id) {
			return c.Extensions[i].Value
		}
	}
	return nil
}

func hasSmartCardLogon(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.UnknownExtKeyUsage, oidSmartCardLogon.Equal)
}
