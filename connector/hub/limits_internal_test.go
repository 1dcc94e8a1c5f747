package hub

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

func sight(n uint64) (s sighting) {
	binary.BigEndian.PutUint64(s[:], n)
	return s
}

// TestF7_MemoryIsBounded: what does not fit is refused, not forgotten.
func TestF7_MemoryIsBounded(t *testing.T) {
	m, now := newMemory(100), time.Now()
	end := now.Add(time.Minute)
	for i := range uint64(100) {
		if isNew, full := m.add(sight(i), end, now); !isNew || full {
			t.Fatalf("%d: new %t, full %t", i, isNew, full)
		}
	}
	if isNew, full := m.add(sight(100), end, now); isNew || !full {
		t.Error("there was room for one more")
	}
	if isNew, _ := m.add(sight(0), end, end); isNew {
		t.Error("the oldest was forgotten too early")
	}
	for i := range uint64(10_000) { // a hundred lives later
		now := now.Add(time.Duration(i/100+1) * (time.Minute + endUnit))
		if isNew, _ := m.add(sight(1000+i), now.Add(time.Minute), now); !isNew {
			t.Fatalf("%d is not new", i)
		}
	}
	if m.count > 100 || len(m.ends) > 2 {
		t.Errorf("%d are remembered, in %d heaps", m.count, len(m.ends))
	}
}

func TestF7_OddMessagesDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1, 20)
		for range 1000 {
			b.take()
		}
		time.Sleep(2 * time.Second)
		if ok, dropped := b.take(); !ok || dropped != 980 {
			t.Errorf("taken %t after %d", ok, dropped)
		}
	})
}

func TestCommandsOfOneNameTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{names: map[string]*turn{}}
		for range maxAtOnce {
			go func() {
				done, err := turns.take(t.Context(), "Jon ")
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Second)
				done()
			}()
		}
		synctest.Wait()
		begin := time.Now()
		other, err := turns.take(t.Context(), "amy")
		if err != nil || time.Since(begin) > 0 {
			t.Errorf("another name waited %v: %v", time.Since(begin), err)
		}
		other()
		same, err := turns.take(t.Context(), "jon")
		if err != nil || time.Since(begin) != time.Second {
			t.Errorf("the same name waited %v: %v", time.Since(begin), err)
		}
		same()
		synctest.Wait()
		if len(turns.names) > 0 {
			t.Errorf("%d names are left", len(turns.names))
		}
	})
}

func TestUnescape(t *testing.T) {
	for escaped, want := range map[string]string{
		"jon": "jon", `\6aon`: "jon", `j\c3\b6n`: "jön", `a\2ab\28c\29\5c\00`: "a*b(c)\\\x00", `CORP\jon`: `CORP\jon`, `\`: `\`, `\4`: `\4`,
	} {
		if got := unescape(escaped); got != want {
			t.Errorf("%s: %q, want %q", escaped, got, want)
		}
	}
}
