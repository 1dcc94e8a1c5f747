package revocation

import (
	"bytes"
	"slices"
	"sort"
	"time"
)

// maxSerial is the longest serial number that a list may hold, in bytes. RFC
// 5280, section 4.1.2.2, allows 20; some authorities are more generous.
const maxSerial = 64

// An entry says that a certificate was revoked.
type entry struct {
	at     int64 // seconds since 1970
	reason byte
}

// removed is the reason of an entry in a delta list that takes a certificate off
// the full list (RFC 5280, section 5.3.1).
const removed = 8

// reasonNames are the reasons of RFC 5280, section 5.3.1.
var reasonNames = [...]string{
	"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
	"certificateHold", "", "removeFromCRL", "privilegeWithdrawn", "aACompromise",
}

// tail is what follows the serial number in a record: four bytes of time, one of
// reason.
const tail = 5

// entries are the entries of a list, packed: for each length of serial number
// there is one slab of records of one size, sorted. A million entries are two or
// three allocations, which the garbage collector never looks into.
type entries struct {
	slabs []slab
	count int
}

// slab holds records of serial numbers that are size bytes long.
type slab struct {
	size    int
	records []byte
}

// newEntries makes room for as many serial numbers of each length as counts
// says, so that nothing is copied while it fills.
func newEntries(counts *[maxSerial + 1]int) *entries {
	e := &entries{}
	for size, n := range counts {
		if n > 0 {
			e.slabs = append(e.slabs, slab{size, make([]byte, 0, n*(size+tail))})
			e.count += n
		}
	}
	return e
}

func (e *entries) slab(size int) *slab {
	i := slices.IndexFunc(e.slabs, func(s slab) bool { return s.size == size })
	if i < 0 {
		return nil
	}
	return &e.slabs[i]
}

// add appends an entry. The times of lists end in 2106.
func (e *entries) add(serial []byte, v entry) {
	s := e.slab(len(serial))
	at := uint32(min(max(v.at, 0), 1<<32-1))
	s.records = append(s.records, serial...)
	s.records = append(s.records, byte(at>>24), byte(at>>16), byte(at>>8), byte(at), v.reason)
}

// sort makes find work.
func (e *entries) sort() {
	for i := range e.slabs {
		s := &e.slabs[i]
		if !sort.IsSorted(s) {
			sort.Sort(s)
		}
	}
}

// find returns the entry of a serial number. If there are several, one that
// revokes wins over one that removes.
func (e *entries) find(serial []byte) (entry, bool) {
	s := e.slab(len(serial))
	if s == nil {
		return entry{}, false
	}
	n := s.Len()
	low, high := 0, n
	for low < high {
		middle := int(uint(low+high) >> 1)
		if bytes.Compare(s.record(middle)[:s.size], serial) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	var found entry
	ok := false
	for ; low < n && bytes.Equal(s.record(low)[:s.size], serial); low++ {
		r := s.record(low)[s.size:]
		found = entry{int64(r[0])<<24 | int64(r[1])<<16 | int64(r[2])<<8 | int64(r[3]), r[4]}
		if ok = true; found.reason != removed {
			break
		}
	}
	return found, ok
}

func (s *slab) record(i int) []byte {
	w := s.size + tail
	return s.records[i*w : (i+1)*w : (i+1)*w]
}

// Len, Less and Swap make a slab a [sort.Interface].
func (s *slab) Len() int { return len(s.records) / (s.size + tail) }

// Less compares by serial number, then by the rest.
func (s *slab) Less(i, j int) bool { return bytes.Compare(s.record(i), s.record(j)) < 0 }

// Swap exchanges two records.
func (s *slab) Swap(i, j int) {
	var t [maxSerial + tail]byte
	a, b := s.record(i), s.record(j)
	n := copy(t[:], a)
	copy(a, b)
	copy(b, t[:n])
}

// text says when and why, for people.
func (e entry) text() string {
	why := reasonNames[0]
	if int(e.reason) < len(reasonNames) && reasonNames[e.reason] != "" {
		why = reasonNames[e.reason]
	}
	return "was revoked on " + time.Unix(e.at, 0).UTC().Format(time.RFC3339) + " (" + why + ")"
}
