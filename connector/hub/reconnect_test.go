package hub_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestHubThatIsRestartedTwiceIsFoundAgainAtOnce: that a connection lasted only
// moments says nothing of the next, once the hub had let this service in.
func TestHubThatIsRestartedTwiceIsFoundAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		c := p.next(t, time.Second)
		for range 8 {
			p.works(t, c)
			old := c
			_ = old.CloseNow()
			c = p.next(t, time.Second)
		}
		p.works(t, c)
	})
}

// TestHubThatThrowsOutWhomItLetsInIsNotFlooded: such a hub is tried as one that
// is away.
func TestHubThatThrowsOutWhomItLetsInIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, door(open))
		defer p.stop()
		n := 0
		for end := time.Now().Add(time.Hour); time.Now().Before(end); n++ {
			c := p.next(t, 31*time.Second)
			p.works(t, c)
			_ = c.CloseNow()
		}
		if n > 500 {
			t.Errorf("%d connections in an hour", n)
		}
	})
}
