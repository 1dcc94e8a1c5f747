package ldapauth

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitSilence makes the system give up a connection on which what was sent has
// not been acknowledged for [deadAfter]. Keep-alive alone notices only idle ones:
// while data is under way the system sends that again instead, for 15 minutes.
func limitSilence(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
}

func isConnectionRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isConnectionReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
