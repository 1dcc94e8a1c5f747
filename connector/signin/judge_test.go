package signin_test

import (
	"fmt"
	"testing"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

// Whatever a sign-in comes to after the proof, Judge comes to as well.
func TestJudgeAgreesWithSignIn(t *testing.T) {
	accounts := staff(t)
	for _, o := range []signin.Options{
		{},
		{AllowExpiredPassword: true},
		{AllowMustChangePassword: true, ChangePassword: true},
		{GroupsOnFailure: signin.OmitGroups},
	} {
		for _, groupsErr := range []error{nil, errGroups, errDown, errBarred} {
			o.Directory, o.PasswordEnabled = &directory{accounts: accounts, groupsErr: groupsErr}, true
			d := open(t, o)
			for name, account := range accounts {
				what := fmt.Sprintf("%s (%+v, groups: %v)", name, o, groupsErr)
				id, err := d.SignIn(t.Context(), session(&signin.Identity{ID: account.ID})) // a session has the shortest proof
				v := d.Judge(t.Context(), account)
				if (v.Identity == nil) != (id == nil) || denial.ReasonOf(v.Err) != denial.ReasonOf(err) {
					t.Errorf("%s: signed in %v, error %v; judged %+v", what, id != nil, err, v)
				}
				if id != nil && (fmt.Sprint(v.Identity.Groups) != fmt.Sprint(id.Groups) || v.Identity.GroupsIncomplete != id.GroupsIncomplete || v.Err != nil) {
					t.Errorf("%s: signed in as %+v; judged %+v", what, id, v)
				}
				if reason := denial.ReasonOf(v.Err); v.AtState != (reason != "" && reason != denial.DeniedGroup) {
					t.Errorf("%s: judged by its state: %v, error %v", what, v.AtState, v.Err)
				}
			}
		}
	}
}

func TestJudgeSaysWhoMayChooseANewPassword(t *testing.T) {
	accounts := staff(t)
	for _, on := range []bool{false, true} {
		d := open(t, signin.Options{Directory: &directory{accounts: accounts}, PasswordEnabled: true, ChangePassword: on})
		for name, fault := range map[string]bool{"jon": false, "dora": false, "paul": true, "nina": true} {
			if got := d.Judge(t.Context(), accounts[name]).Changeable; got != (on && fault) {
				t.Errorf("%s, changes offered %v: %v", name, on, got)
			}
		}
	}
}

func TestJudgeLeavesNoTrace(t *testing.T) {
	dir := &directory{accounts: staff(t)}
	d := open(t, signin.Options{Directory: dir, PasswordEnabled: true})
	d.Judge(t.Context(), dir.accounts["dora"])
	if d.audit.String() != "" || dir.binds.Load() > 0 {
		t.Errorf("audit %q, %d binds", d.audit, dir.binds.Load())
	}
}
