package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// How often the clocks are compared, and how far they may be apart. Commands hold
// for a minute or so, and tokens from the moment they are made.
const (
	compareEvery = 10 * time.Minute
	maxSkew      = 5 * time.Second
	samples      = 3
	// tick is what the tenant's clock counts in. It may cut or round.
	tick = time.Millisecond
)

// Skew returns how far the tenant's clock is ahead of this machine's, and by how
// much that may be wrong, which is half of what the shortest of some questions
// took, and the last digit of the answer.
func (p *Provisioner) Skew(ctx context.Context) (ahead, within time.Duration, err error) {
	u := &url.URL{Scheme: p.ticket.Scheme, Host: p.ticket.Host, Path: "/test"}
	for i := range samples {
		sent := time.Now()
		a, err := ask(ctx, p.client, http.MethodGet, u, nil)
		took := time.Since(sent)
		if err != nil {
			return 0, 0, err
		}
		var says struct {
			Clock int64 `json:"clock"` // milliseconds since 1970
		}
		if a.status != http.StatusOK || json.Unmarshal(a.body, &says) != nil || says.Clock <= 0 {
			return 0, 0, fmt.Errorf("%s does not say what time it is", u.Host)
		}
		if half := took / 2; i == 0 || half+tick < within {
			ahead, within = time.UnixMilli(says.Clock).Sub(sent.Add(half)), half+tick
		}
	}
	return ahead, within, nil
}

// SkewError returns what is wrong with clocks that are so far apart, nil if
// nothing is.
func SkewError(ahead, within time.Duration) error {
	if ahead.Abs()-within <= maxSkew {
		return nil
	}
	how := "behind"
	if ahead < 0 {
		how = "ahead of"
	}
	return errors.New("the clock of this machine is " + ahead.Abs().Round(time.Second).String() + " " + how +
		" the tenant's: set it right, or commands and tokens are taken for too old")
}

// compareClocks warns when the clocks drift apart, until ctx ends. It goes on
// with them as they are.
func (t *Tenant) compareClocks(ctx context.Context) {
	wrong := false
	for {
		if ahead, within, err := t.Provisioner.Skew(ctx); err == nil {
			t.clock.Store(&Clock{Ahead: ahead, Within: within, At: time.Now()})
			switch err := SkewError(ahead, within); {
			case err != nil && !wrong:
				t.Log.Warn("hub: "+err.Error(), "tenant_ahead", ahead.Round(time.Millisecond).String())
			case err == nil && wrong:
				t.Log.Info("hub: the clock of this machine is right again")
			}
			wrong = SkewError(ahead, within) != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(compareEvery):
		}
	}
}
