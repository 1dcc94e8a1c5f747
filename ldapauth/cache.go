package ldapauth

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cache remembers what the directory said for a while. It is bounded: what was
// not asked for longest goes first.
type cache[V any] struct {
	ttl     time.Duration
	entries *lru.Cache[string, timed[V]] // nil: remembers nothing
}

type timed[V any] struct {
	value V
	until time.Time
}

func newCache[V any](ttl time.Duration, size int) *cache[V] {
	if ttl <= 0 {
		return &cache[V]{}
	}
	entries, err := lru.New[string, timed[V]](size)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &cache[V]{ttl, entries}
}

func (c *cache[V]) get(key string, now time.Time) (v V, ok bool) {
	if c.entries == nil {
		return v, false
	}
	e, ok := c.entries.Get(key)
	if !ok || !now.Before(e.until) {
		return v, false
	}
	return e.value, true
}

// stale returns a value even if its time is over.
func (c *cache[V]) stale(key string) (v V, ok bool) {
	if c.entries == nil {
		return v, false
	}
	e, ok := c.entries.Get(key)
	return e.value, ok
}

func (c *cache[V]) put(key string, v V, now time.Time) {
	if c.entries != nil {
		c.entries.Add(key, timed[V]{v, now.Add(c.ttl)})
	}
}
