//go:build !race

package connector_test

import "time"

// The chaos test at its full length and with all that it demands.
const (
	raced        = false
	chaosTimeout = 2 * time.Second // ldap.timeout
	chaosFreeze  = 20 * time.Second
	// pause is what everybody makes after each sign-in.
	pause = 400 * time.Millisecond
)
