package connector_test

import (
	"fmt"
	"strings"
	"testing"

	"adconnector/connector"
)

// TestCheckSaysWhatTheTenantExpectsAndDoesNotGet: the tenant sends browsers here
// for what its switches say.
func TestCheckSaysWhatTheTenantExpectsAndDoesNotGet(t *testing.T) {
	const certificate, kerberos = "! hub: the tenant has sign-in by certificate on", "! hub: the tenant has sign-in by Kerberos on"
	d := inMemory(t)
	for _, tt := range []struct{ certAuth, kerberos, section bool }{{true, true, true}, {true, false, false}, {false, false, false}} {
		r, tenant := hubRig(t, d)
		if !tt.section {
			r.configure(fmt.Sprintf("certificate: {ip_ranges: [%s], ca_files: [ca.crt]}\n", inside), "")
		}
		tenant.Lock()
		tenant.Info["certAuth"], tenant.Info["kerberos"] = tt.certAuth, tt.kerberos
		tenant.Unlock()
		config, err := connector.LoadConfig(r.path("adconnector.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connector.Provision(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		var found strings.Builder
		connector.Check(t.Context(), config, func(f connector.Finding) { fmt.Fprintln(&found, f.Level.Mark(), f.Text) })
		if got := strings.Contains(found.String(), certificate); got != (tt.certAuth && !tt.section) {
			t.Errorf("%+v: certificates are warned of: %v\n%s", tt, got, found.String())
		}
		if got := strings.Contains(found.String(), kerberos); got != tt.kerberos {
			t.Errorf("%+v: Kerberos is warned of: %v\n%s", tt, got, found.String())
		}
	}
}
