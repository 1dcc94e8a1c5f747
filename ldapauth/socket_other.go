//go:build !linux && !windows

package ldapauth

import (
	"errors"
	"syscall"
)

// limitSilence does nothing where there is no option for it: a connection that
// is lost while a request is under way ends with ldap.timeout.
func limitSilence(uintptr) error { return nil }

func isConnectionRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isConnectionReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
