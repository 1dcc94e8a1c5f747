package certauth

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxKnown is how many accepted leaves are remembered, at about 1 KB each.
const maxKnown = 20_000

// known remembers leaves that were accepted, each with one path to an anchor.
// Signatures, usages, keys and names are facts about the bytes of the
// certificates and about the anchors, which a second look cannot find otherwise;
// so it belongs to one set of anchors and goes with it. What does change is
// looked at in every call: the time must be within the validity of every
// certificate of the path, and all of the path must have been sent again, less
// the anchor. What else was sent does not matter, and cannot fill the memory.
//
// Refusals are not remembered. Strangers can make any number of them.
type known struct {
	mu     sync.Mutex
	leaves *simplelru.LRU[digest, accepted]
}

// digest identifies a certificate by all of its bytes.
type digest [sha256.Size]byte

// accepted is what a leaf said and the path over which it passed.
type accepted struct {
	certificate Certificate
	between     []digest  // the certificates between leaf and anchor
	from, until time.Time // zero if times are not looked at
}

func newKnown() *known {
	leaves, err := simplelru.NewLRU[digest, accepted](maxKnown, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &known{leaves: leaves}
}

// find returns what is known of a chain, leaf first, at that time.
func (k *known) find(chain []digest, now time.Time) (*Certificate, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.leaves.Get(chain[0])
	if !ok || !a.until.IsZero() && (now.Before(a.from) || now.After(a.until)) {
		return nil, false
	}
	for _, d := range a.between {
		if !slices.Contains(chain, d) {
			return nil, false
		}
	}
	return &a.certificate, true
}

// add remembers that path, from the leaf to an anchor, leads to c.
func (k *known) add(c *Certificate, path []*x509.Certificate, times bool) {
	digests := digestsOf(path)
	a := accepted{certificate: *c}
	if last := len(digests) - 1; last > 0 { // the leaf may be an anchor itself
		a.between = digests[1:last]
	}
	if times {
		a.from, a.until = path[0].NotBefore, path[0].NotAfter
		for _, p := range path[1:] {
			if p.NotBefore.After(a.from) {
				a.from = p.NotBefore
			}
			if p.NotAfter.Before(a.until) {
				a.until = p.NotAfter
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leaves.Add(digests[0], a)
}

func digestsOf(chain []*x509.Certificate) []digest {
	digests := make([]digest, len(chain))
	for i, c := range chain {
		digests[i] = sha256.Sum256(c.Raw)
	}
	return digests
}
