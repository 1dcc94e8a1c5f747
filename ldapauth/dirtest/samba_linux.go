package dirtest

import "testing"

func newSambaAD(t testing.TB) *Server {
	t.Helper()
	Missing(t, "samba")
	return nil
}
