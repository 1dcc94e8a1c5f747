package ldapauth_test

import (
	"fmt"
	"slices"
	"testing"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
)

// TestGroupsOfSomebodyWhoIsRefused: they are the same that would be reported,
// whatever bars the account, and without leave to ask nobody is asked.
func TestGroupsOfSomebodyWhoIsRefused(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *dirtest.Server{
		"Samba": dirtest.SharedSambaAD, "OpenLDAP": dirtest.SharedOpenLDAP,
	} {
		t.Run(name, func(t *testing.T) {
			c := real(start(t))
			free := open(t, c)
			want := groupsOf(t, free, "jon")
			c.DenyGroups = []string{"group-C"}
			d := open(t, c)
			jon := find(t, d, "jon")

			var trace ldapauth.Trace
			ctx := ldapauth.WithTrace(t.Context(), &trace)
			if names, err := d.GroupNames(ctx, jon, false); err == nil {
				t.Errorf("nothing is remembered, and yet there are %q", names)
			}
			if steps, _ := trace.Steps(); len(steps) > 0 {
				t.Errorf("asked without leave: %s", traced(&trace))
			}
			_, err := d.Groups(t.Context(), jon)
			wantReason(t, "barred", err, denial.DeniedGroup)
			for _, ask := range []bool{true, false} { // what was asked is remembered
				names, err := d.GroupNames(t.Context(), jon, ask)
				if err != nil {
					t.Fatalf("ask %t: %v", ask, err)
				}
				slices.Sort(names)
				wantGroups(t, fmt.Sprintf("ask %t", ask), names, want...)
			}

			c.Groups.Include = false
			if names, err := open(t, c).GroupNames(t.Context(), jon, true); err != nil || names != nil {
				t.Errorf("groups are not reported, but %q, %v", names, err)
			}
		})
	}
}
