package signin_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"

	"github.com/google/go-cmp/cmp"
)

// reportedTo is [relayed] by a service that wants to know whom it refuses.
func reportedTo(name, text string, about *[]*signin.Identity) signin.Attempt {
	a := relayed(name, text)
	a.About = func(id *signin.Identity) { *about = append(*about, id) }
	return a
}

// TestServicesAreToldTheGroupsOfWhomTheyRefuse: with the answer and within the
// time that there would be without them.
func TestServicesAreToldTheGroupsOfWhomTheyRefuse(t *testing.T) {
	people := staff(t)
	all := []string{"Engineers", "All Staff"}
	const floor = 400 * time.Millisecond
	for _, tt := range []struct {
		name, user, password string
		directory            *directory
		before               int // wrong passwords before that
		reason               denial.Reason
		groups               []string
		asked                int32
	}{
		{"wrong password", "jon", "wrong", &directory{}, 0, denial.BadCredentials, all, 1},
		{"disabled account", "dora", memdir.SamplePassword, &directory{}, 0, denial.AccountDisabled, all, 1},
		{"a group that bars", "jon", memdir.SamplePassword, &directory{groupsErr: denial.New(denial.DeniedGroup, "is in it")}, 0, denial.DeniedGroup, all, 1},
		{"groups that cannot be read", "jon", "wrong", &directory{namesErr: errors.New("down")}, 0, denial.BadCredentials, nil, 1},
		{"groups that take too long", "jon", "wrong", &directory{namesTake: time.Hour}, 0, denial.BadCredentials, nil, 1},
		{"a directory that is slow already", "jon", "wrong", &directory{takes: floor, remembered: all}, 0, denial.BadCredentials, all, 0},
		{"throttled", "jon@fabrikam.example", memdir.SamplePassword, &directory{remembered: all[:1]}, 5, denial.BadCredentials, all[:1], 0},
		{"throttled, and nothing is remembered", "jon@fabrikam.example", memdir.SamplePassword, &directory{rememberedErr: errors.New("not asked")}, 5, denial.BadCredentials, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := tt.directory
				d.accounts = people
				door := open(t, signin.Options{Directory: spellings{d}, PasswordEnabled: true, RefusalFloor: floor})
				var about []*signin.Identity
				for range tt.before {
					if _, err := door.SignIn(t.Context(), reportedTo("jon", "wrong", &about)); denial.ReasonOf(err) == "" {
						t.Fatal(err)
					}
				}
				about = nil
				d.names.Store(0)
				began := time.Now()
				_, err := door.SignIn(t.Context(), reportedTo(tt.user, tt.password, &about))
				took := time.Since(began)
				if denial.ReasonOf(err) != tt.reason || len(about) != 1 {
					t.Fatalf("%v; told %d times", err, len(about))
				}
				if diff := cmp.Diff(tt.groups, about[0].Groups); diff != "" || about[0].GroupsIncomplete {
					t.Errorf("groups (-want +got):\n%s", diff)
				}
				if n := d.names.Load(); n != tt.asked {
					t.Errorf("the directory was asked %d times for groups, want %d", n, tt.asked)
				}
				if most := max(floor, 2*d.takes) + 10; took > most { // the delay step of a test is 1 ns
					t.Errorf("it took %v, want %v at most", took, most)
				}
				if throttled := door.lastLine(t)["reason"] == "throttled"; throttled != (tt.before > 0) {
					t.Errorf("throttled: %t", throttled)
				}
			})
		})
	}
}
