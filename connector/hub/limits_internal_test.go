package hub

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

func sight(n uint64) (s [32]byte) {
	binary.BigEndian.PutUint64(s[:], n)
	return s
}

// TestF7_MemoryIsBounded: what does not fit is refused, not forgotten.
func TestF7_MemoryIsBounded(t *testing.T) {
	m, now := newMemory(100, time.Minute), time.Now()
	for i := range uint64(100) {
		if isNew, full := m.add(sight(i), now); !isNew || full {
			t.Fatalf("%d: new %t, full %t", i, isNew, full)
		}
	}
	if isNew, full := m.add(sight(100), now); isNew || !full {
		t.Error("there was room for one more")
	}
	if isNew, _ := m.add(sight(0), now.Add(time.Minute-1)); isNew {
		t.Error("the oldest was forgotten too early")
	}
	for i := range uint64(100_000) { // a thousand lives later
		if isNew, _ := m.add(sight(1000+i), now.Add(time.Duration(i/100+1)*time.Minute)); !isNew {
			t.Fatalf("%d is not new", i)
		}
	}
	if len(m.seen) > 100 || cap(m.queue) > 1000 {
		t.Errorf("%d are remembered, in room for %d", len(m.seen), cap(m.queue))
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
