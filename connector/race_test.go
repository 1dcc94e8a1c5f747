//go:build race

package connector_test

import "time"

// The chaos test with the race detector; see norace_test.go.
const (
	raced        = true
	chaosTimeout = 2 * time.Second
	chaosFreeze  = 5 * time.Second
	pause        = time.Second
)
