package connector

import (
	"context"
	"encoding/json"

	"adconnector/connector/control"
	"adconnector/connector/signin"
)

// What an administrator may ask of a running connector.
const (
	doThrottleReport = "throttle report"
	doThrottleClear  = "throttle clear"
)

// throttleClear are the arguments of doThrottleClear.
type throttleClear struct {
	What []string `json:"what"`
	All  bool     `json:"all"`
}

// controls are the answers to what an administrator asks.
func (c *Connector) controls() map[string]control.Handler {
	return map[string]control.Handler{
		doCertificates:   c.certificatesAnswer,
		doThrottleReport: func(context.Context, json.RawMessage) (any, error) { return c.service.ThrottleReport(), nil },
		doThrottleClear: func(_ context.Context, args json.RawMessage) (any, error) {
			var q throttleClear
			if err := json.Unmarshal(args, &q); err != nil {
				return nil, err
			}
			return c.clearThrottle(&q), nil
		},
	}
}

// clearThrottle returns how many counts are gone, for each name that was given
// or, for all, as the only one.
func (c *Connector) clearThrottle(q *throttleClear) (cleared []int) {
	if q.All {
		cleared = append(cleared, c.service.ClearAllThrottles())
		c.log.Info("an administrator has cleared the throttle", "counts", cleared[0])
		return cleared
	}
	for _, what := range q.What {
		n := c.service.ClearThrottle(what)
		c.log.Info("an administrator has cleared the throttle", "of", what, "counts", n)
		cleared = append(cleared, n)
	}
	return cleared
}

// Throttled is what the throttle of a running connector counts.
type Throttled = signin.ThrottleReport

// ThrottledCount is one line of it.
type ThrottledCount = signin.ThrottleCount

// ThrottleReport asks the connector that runs with c what its throttle counts.
// If none does the error is [control.ErrNotRunning].
func ThrottleReport(ctx context.Context, c *Config) (*Throttled, error) {
	r := &Throttled{}
	if err := control.Call(ctx, string(c.DataDir), doThrottleReport, nil, r); err != nil {
		return nil, err
	}
	return r, nil
}

// ClearThrottle makes the connector that runs with c forget the failures of
// each thing that is named, as [signin.Service.ClearThrottle] describes, or of
// everything if nothing is. It returns how many counts are gone, in the order of
// the names. If no connector runs the error is [control.ErrNotRunning].
func ClearThrottle(ctx context.Context, c *Config, what ...string) (cleared []int, err error) {
	err = control.Call(ctx, string(c.DataDir), doThrottleClear, throttleClear{what, len(what) == 0}, &cleared)
	return cleared, err
}
