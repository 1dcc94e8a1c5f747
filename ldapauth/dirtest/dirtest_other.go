//go:build !linux

package dirtest

import (
	"testing"
)

func newOpenLDAP(t testing.TB, _ OpenLDAPOptions) *Server {
	t.Helper()
	Missing(t, "slapd is started on Linux only")
	return nil
}

func newSambaAD(t testing.TB) *Server {
	t.Helper()
	Missing(t, "samba is started on Linux only")
	return nil
}

func newDS389(t testing.TB) *Server {
	t.Helper()
	Missing(t, "ns-slapd is started on Linux only")
	return nil
}
