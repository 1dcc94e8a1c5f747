package signin_test

import (
	"encoding/json"
	"slices"
	"testing"

	"adconnector/connector/profile"
	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
)

// compiled returns the built-in claims with these: names and what they are made of
// in turn.
func compiled(t testing.TB, claims ...string) *profile.Profile {
	t.Helper()
	var c profile.Config
	for i := 0; i < len(claims); i += 2 {
		c = append(c, profile.Definition{Claim: claims[i], Source: claims[i+1]})
	}
	p, err := profile.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheProfileDoesNotSayWhoSomebodyIs(t *testing.T) {
	_, client := company(t, memdir.ActiveDirectory)
	plain, err := open(t, signin.Options{Directory: client, PasswordEnabled: true}).SignIn(t.Context(), password("jon", memdir.SamplePassword))
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true, Profile: compiled(t, "nickname", `"somebody else"`, "email", `"other@fabrikam.example"`, "sAMAccountName", `"x"`, "dn", "nil", "groups", `["Admins"]`)})
	id, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != plain.ID || id.Username != "jon" || id.Nickname != "somebody else" || id.Email != "other@fabrikam.example" || !slices.Equal(id.Groups, []string{"Admins"}) {
		t.Errorf("identity: %+v", id)
	}
	if line := d.lastLine(t); line["user"] != "jon" || line["account_id"] != plain.ID {
		t.Errorf("audit line: %v", line)
	}
	// The next use of the session looks the same account up again.
	again, err := d.SignIn(t.Context(), session(id))
	if err != nil || again.ID != plain.ID || d.lastLine(t)["user"] != "jon" {
		t.Errorf("session: %+v, %v", again, err)
	}
}

func TestGroupsThatBarAreLookedAtBeforeTheProfile(t *testing.T) {
	d := open(t, signin.Options{
		Directory:       &directory{accounts: staff(t), groupsErr: denial.New(denial.DeniedGroup, "a group bars the account")},
		PasswordEnabled: true, Profile: compiled(t, "groups", "nil"),
	})
	if _, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword)); denial.ReasonOf(err) != denial.DeniedGroup {
		t.Errorf("SignIn: %v, although a group bars the account", err)
	}
}

func TestClaimsThatNeedGroupsAreLeftOutWithThem(t *testing.T) {
	d := open(t, signin.Options{
		Directory:       &directory{accounts: staff(t), groupsErr: errGroups},
		PasswordEnabled: true, GroupsOnFailure: signin.OmitGroups,
		Profile: compiled(t, "kind", `"Contractors" in groups ? "guest" : "staff"`, "team", "department"),
	})
	id, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	if err != nil || !id.GroupsIncomplete {
		t.Fatalf("SignIn: %+v, %v", id, err)
	}
	names := []string{}
	for _, a := range id.Attributes {
		names = append(names, a.Name)
	}
	if slices.Contains(names, "kind") || !slices.Contains(names, "team") {
		t.Errorf("claims: %q; want none that needs the groups", names)
	}
}

// TestJSONTellsClaimsAsWhatTheyAre: a tenant's rules read true as true, and a list
// as a list although it has one element.
func TestJSONTellsClaimsAsWhatTheyAre(t *testing.T) {
	_, client := company(t, memdir.ActiveDirectory)
	d := open(t, signin.Options{Directory: client, PasswordEnabled: true, Profile: compiled(t,
		"verified", "true", "level", "3", "half", "1.5", "big", "1e21", "text", `"true"`, "five", "string(5)", "one", `["x"]`, "two", `["x", "y"]`,
		"all", `values("displayName")`, "plain", "displayName", "isJon", `username == "jon"`,
	)})
	id, err := d.SignIn(t.Context(), password("jon", memdir.SamplePassword))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range id.Attributes {
		data, err := json.Marshal(a.Value())
		if err != nil {
			t.Fatalf("%s: %v", a.Name, err)
		}
		got[a.Name] = string(data)
	}
	for name, want := range map[string]string{
		"verified": `true`, "level": `3`, "half": `1.5`, "big": `1000000000000000000000`, "text": `"true"`, "five": `"5"`, "one": `["x"]`, "two": `["x","y"]`,
		"all": `["` + id.DisplayName + `"]`, "plain": `"` + id.DisplayName + `"`, "isJon": `true`,
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}
