package ldapauth

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cache remembers what the directory said for a while. It is bounded by the
// weight of what it holds: what was not asked for longest goes first.
type cache[V any] struct {
	ttl   time.Duration
	most  int                              // weight of everything
	weigh func(V) int                      // of one value; nil: each weighs 1
	mu    sync.Mutex                       // guards what follows
	lru   *simplelru.LRU[string, timed[V]] // nil: remembers nothing
	total int
}

type timed[V any] struct {
	value V
	until time.Time
}

// newCache returns a cache of no more than size values.
func newCache[V any](ttl time.Duration, size int) *cache[V] {
	return newWeighedCache[V](ttl, size, nil)
}

// newWeighedCache returns a cache whose values weigh no more than most together.
func newWeighedCache[V any](ttl time.Duration, most int, weigh func(V) int) *cache[V] {
	c := &cache[V]{ttl: ttl, most: most, weigh: weigh}
	if ttl <= 0 {
		return c
	}
	var err error
	c.lru, err = simplelru.NewLRU(most, func(_ string, e timed[V]) { c.total -= c.weight(e.value) })
	if err != nil {
		panic(err) // only for a size below one
	}
	return c
}

func (c *cache[V]) weight(v V) int {
	if c.weigh == nil {
		return 1
	}
	return c.weigh(v)
}

func (c *cache[V]) get(key string, now time.Time) (v V, ok bool) {
	if c.lru == nil {
		return v, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.lru.Get(key)
	if !ok || !now.Before(e.until) {
		return v, false
	}
	return e.value, true
}

// stale returns a value even if its time is over.
func (c *cache[V]) stale(key string) (v V, ok bool) {
	if c.lru == nil {
		return v, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.lru.Get(key)
	return e.value, ok
}

// put remembers v, unless it alone is too much.
func (c *cache[V]) put(key string, v V, now time.Time) {
	w := c.weight(v)
	if c.lru == nil || w > c.most {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(key)
	for c.total+w > c.most {
		c.lru.RemoveOldest()
	}
	c.lru.Add(key, timed[V]{v, now.Add(c.ttl)})
	c.total += w
}
