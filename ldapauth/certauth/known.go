package certauth

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	"adconnector/ldapauth/certauth/revocation"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxKnown is how many accepted leaves are remembered, at about 2 KB each.
const maxKnown = 20_000

// known remembers leaves that were accepted, each with its paths to an anchor.
// Signatures, usages, keys and names are facts about the bytes of the
// certificates and about the anchors, which a second look cannot find otherwise;
// so it belongs to one set of anchors and goes with it. What does change is
// looked at in every call: the time must be within the validity of every
// certificate of the paths, all of them must have been sent again, less the
// anchors, and one must be without revoked certificates. What else was sent does
// not matter, and cannot fill the memory; only if all that is remembered is
// revoked, it is looked at anew for another path.
//
// Refusals are not remembered. Strangers can make any number of them.
type known struct {
	mu     sync.Mutex
	leaves *simplelru.LRU[digest, *accepted]
}

// digest identifies a certificate by all of its bytes.
type digest [sha256.Size]byte

// accepted is what a leaf said and the paths over which it passed. It does not
// change.
type accepted struct {
	certificate Certificate
	digest      digest
	between     []digest         // the certificates between leaf and anchors
	from, until time.Time        // zero if times are not looked at
	path        *revocation.Path // what is to be asked each time; nil: nothing
}

func newKnown() *known {
	leaves, err := simplelru.NewLRU[digest, *accepted](maxKnown, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &known{leaves: leaves}
}

// find returns what is known of a chain, leaf first, at that time.
func (k *known) find(chain []digest, now time.Time) (*accepted, bool) {
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
	return a, true
}

// newAccepted says that paths, from the leaf to an anchor, lead to c. All of them
// must be sent again and be in their time, or they are looked for anew.
func newAccepted(c *Certificate, paths [][]*x509.Certificate, times bool) *accepted {
	leaf := paths[0][0]
	a := &accepted{certificate: *c, digest: sha256.Sum256(leaf.Raw)}
	a.certificate.Path = [][]byte{leaf.Raw}
	if times {
		a.from, a.until = leaf.NotBefore, leaf.NotAfter
	}
	for _, path := range paths {
		for i, p := range path[1:] {
			if i < len(path)-2 { // not the anchor
				a.passes(p)
			}
			if times && p.NotBefore.After(a.from) {
				a.from = p.NotBefore
			}
			if times && p.NotAfter.Before(a.until) {
				a.until = p.NotAfter
			}
		}
	}
	return a
}

// passes notes that a path leads over an intermediate authority.
func (a *accepted) passes(c *x509.Certificate) {
	if d := digest(sha256.Sum256(c.Raw)); !slices.Contains(a.between, d) {
		a.between = append(a.between, d)
		a.certificate.Path = append(a.certificate.Path, c.Raw)
	}
}

// add remembers a.
func (k *known) add(a *accepted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leaves.Add(a.digest, a)
}

func digestsOf(chain []*x509.Certificate) []digest {
	digests := make([]digest, len(chain))
	for i, c := range chain {
		digests[i] = sha256.Sum256(c.Raw)
	}
	return digests
}
