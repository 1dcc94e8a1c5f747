package certauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxKnown is how many accepted chains are remembered, at about 1 KB each.
const maxKnown = 20_000

// known remembers chains that were accepted. Signatures, usages, keys and names
// are facts about the bytes of the certificates and about the anchors, which a
// second look cannot find otherwise; so it belongs to one set of anchors and
// goes with it. What does change, the time, is looked at in every call: an
// answer counts only within the validity of every certificate of its path.
//
// Refusals are not remembered. Strangers can make any number of them.
type known struct {
	mu     sync.Mutex
	chains *simplelru.LRU[[sha256.Size]byte, accepted]
}

// accepted is a chain that passed.
type accepted struct {
	certificate Certificate
	from, until time.Time // zero if times are not looked at
}

func newKnown() *known {
	chains, err := simplelru.NewLRU[[sha256.Size]byte, accepted](maxKnown, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &known{chains: chains}
}

// find returns what is known of the chain with that digest at that time.
func (k *known) find(digest [sha256.Size]byte, now time.Time) (*Certificate, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.chains.Get(digest)
	if !ok || !a.until.IsZero() && (now.Before(a.from) || now.After(a.until)) {
		return nil, false
	}
	return &a.certificate, true
}

// add remembers that the chain with that digest leads over path to c.
func (k *known) add(digest [sha256.Size]byte, c *Certificate, path []*x509.Certificate, times bool) {
	a := accepted{certificate: *c}
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
	k.chains.Add(digest, a)
}

// digestOf identifies a chain by all of its bytes. The lengths are in it, so no
// two chains look the same put end to end.
func digestOf(chain []*x509.Certificate) (sum [sha256.Size]byte) {
	h := sha256.New()
	var length [8]byte
	for _, c := range chain {
		binary.BigEndian.PutUint64(length[:], uint64(len(c.Raw)))
		h.Write(length[:])
		h.Write(c.Raw)
	}
	h.Sum(sum[:0])
	return sum
}
