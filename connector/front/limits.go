package front

import (
	"container/heap"
	"container/list"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// limits bound how many connections there are, or how many handshakes: for each
// source of connections, for each large IPv6 network and in all.
//
// Being full must not mean being closed, or whoever fills them keeps everybody
// else out. So room is made for a newcomer: whoever holds most loses the oldest
// place. Only who holds most already is turned away, and so nobody can take
// from others more than leaves them as much as they have themselves.
//
// Places are counted in a tree, everybody at its root, networks below it and the
// sources at its leaves. Every node keeps its children in a heap with the one on
// top that has most places, so that entering and leaving cost O(log n), also
// while the limits are full and somebody knocks all the time.
type limits struct {
	perSource int
	message   string // what to log when a connection was closed
	log       *slog.Logger

	mu    sync.Mutex
	all   node
	nodes map[netip.Prefix]*node // all but the root, none of them empty
	made  uint64                 // nodes since the start
	// ending are the places that were taken from somebody who has not left yet.
	// They count no more, but there must not be any number of them.
	ending   int
	closed   int // since the last time that it was told
	toldLast time.Time
	// closedEver is the same since the start.
	closedEver uint64
}

// A node counts the places of one source, or of several.
type node struct {
	prefix   netip.Prefix
	parent   *node // nil for the root
	limit    int
	count    int
	age      uint64    // how many nodes were made before it
	at       int       // its index in the heap of its parent
	children heaviest  // not in a source
	places   list.List // of *place, the oldest in front; only in a source
}

// A place is held by one connection from [limits.enter] to [limits.leave].
type place struct {
	conn    net.Conn
	source  *node // nil when it has left or had to
	element *list.Element
	ending  bool // it had to leave and has not yet done so
}

func newLimits(perSource, total int, message string, log *slog.Logger) *limits {
	return &limits{
		perSource: perSource, message: message, log: log,
		all:   node{limit: total},
		nodes: map[netip.Prefix]*node{},
	}
}

// enter returns the place of a connection that comes from the address, or nil
// if there is none for it. It may close another connection, which then has to
// leave by itself.
//
// What it closes and whom it turns away is logged once a minute at the most:
// whoever opens connections by the thousand must not fill the log.
func (l *limits) enter(from netip.Addr, conn net.Conn) *place {
	p, loser, tell := l.admit(from, conn)
	if loser != nil && loser != conn {
		_ = loser.Close()
	}
	if tell > 0 {
		l.log.Warn(l.message, "remote", loser.RemoteAddr().String(), "closed", tell)
	}
	return p
}

// admit is enter without closing and logging. The loser is who is to be closed,
// the newcomer itself if it gets no place. What is to be told is how many lost
// since that was last told, or 0 if that was less than a minute ago.
func (l *limits) admit(from netip.Addr, conn net.Conn) (p *place, loser net.Conn, tell int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending >= l.all.limit {
		return nil, conn, l.tell()
	}
	source := l.sourceFor(from)
	full := source.full()
	if full == source {
		return nil, conn, l.tell()
	}
	var victim *place
	if full != nil {
		if victim = full.victim(source); victim == nil {
			return nil, conn, l.tell()
		}
	}
	p = &place{conn: conn, source: source}
	p.element = source.places.PushBack(p)
	source.add(1)
	if victim == nil {
		return p, nil, 0
	}
	l.drop(victim)
	victim.ending = true
	l.ending++
	return p, victim.conn, l.tell()
}

// leave gives the place free. Only the first call does anything.
func (l *limits) leave(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.source != nil:
		l.drop(p)
	case p.ending:
		p.ending = false
		l.ending--
	}
}

// drop stops counting the place, and forgets the nodes that it leaves empty.
func (l *limits) drop(p *place) {
	source := p.source
	p.source = nil
	source.places.Remove(p.element)
	source.add(-1)
	for n := source; n.count == 0 && n.parent != nil; n = n.parent {
		heap.Remove(&n.parent.children, n.at)
		delete(l.nodes, n.prefix)
	}
}

func (l *limits) tell() (n int) {
	l.closed++
	l.closedEver++
	if now := time.Now(); now.Sub(l.toldLast) > time.Minute {
		n, l.closed, l.toldLast = l.closed, 0, now
	}
	return n
}

// sourceFor returns the node that connections from the address are counted in.
// It may be empty: then it must be filled, and it will be, because whoever has
// nothing is not turned away by [node.victim].
//
// An IPv6 source is a part of its /48 network, which may hold half of all: that
// is what a customer or a tunnel gets, and with the sources in one of them
// anybody could be 65536.
func (l *limits) sourceFor(a netip.Addr) *node {
	parent := &l.all
	if a.Is6() {
		network, _ := a.Prefix(48)
		parent = l.node(network, (l.all.limit+1)/2, parent)
	}
	return l.node(sourceOf(a), l.perSource, parent)
}

func (l *limits) node(prefix netip.Prefix, limit int, parent *node) *node {
	n := l.nodes[prefix]
	if n == nil {
		n = &node{prefix: prefix, limit: limit, parent: parent, age: l.made}
		l.made++
		l.nodes[prefix] = n
		heap.Push(&parent.children, n)
	}
	return n
}

// sourceOf returns what is counted as one source: the address, or the /64
// network that an IPv6 address is in, because whoever has one of its addresses
// has them all.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	prefix, _ := a.Prefix(bits) // an address that is none has the prefix that is none
	return prefix
}

// add counts d more places in the source and in all that it is a part of.
func (n *node) add(d int) {
	for ; n != nil; n = n.parent {
		n.count += d
		if n.parent != nil {
			heap.Fix(&n.parent.children, n.at)
		}
	}
}

// full returns the smallest part with the source in it that is full, or nil.
func (n *node) full() *node {
	for n != nil && n.count < n.limit {
		n = n.parent
	}
	return n
}

// victim returns the place that makes room in n, which is full, for one more of
// the source, or nil if it is the source that has most.
//
// From n down it looks at those beside one another. As long as the part with
// the source in it has no less than any other, room can only be made there;
// else the oldest place of the one with most is it.
func (n *node) victim(source *node) *place {
	for n != source {
		own := source
		for own.parent != n {
			own = own.parent
		}
		if most := n.children[0]; own.count < most.count {
			return most.oldest()
		}
		n = own
	}
	return nil
}

// oldest returns the oldest place of the source that has most.
func (n *node) oldest() *place {
	for len(n.children) > 0 {
		n = n.children[0]
	}
	return n.places.Front().Value.(*place)
}

// heaviest is a heap of nodes with the one that has most places on top, and
// among equals the one that has had some for longest: a slow handshake is more
// likely to be one that never ends.
type heaviest []*node

func (h heaviest) Len() int { return len(h) }

func (h heaviest) Less(i, j int) bool {
	if h[i].count != h[j].count {
		return h[i].count > h[j].count
	}
	return h[i].age < h[j].age
}

func (h heaviest) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements [heap.Interface].
func (h *heaviest) Push(x any) {
	n := x.(*node)
	n.at = len(*h)
	*h = append(*h, n)
}

// Pop implements [heap.Interface].
func (h *heaviest) Pop() any {
	last := len(*h) - 1
	n := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return n
}
