//go:build !linux

package dirtest

import "testing"

// AsNobody calls f as a user for whom file modes mean something; here that is
// the one who runs the tests.
func AsNobody(_ testing.TB, f func()) { f() }
