package ldapauth

import (
	"errors"

	"golang.org/x/sys/windows"
)

// limitSilence makes the system give up a connection on which what was sent has
// not been acknowledged for [deadAfter]. Keep-alive alone notices only idle ones.
func limitSilence(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, windows.TCP_MAXRT, int(deadAfter.Seconds()))
}

func isConnectionRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

func isConnectionReset(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAECONNABORTED)
}
