package connector_test

import (
	"net/url"
	"testing"

	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/dirtest"
)

// TestTenantKnowsPeopleAsBefore: by what Auth0's connector reports, lest everybody
// be new to it; the same by the hub and by browser, whoever configures its realm.
// Other applications go by the ID that stays.
func TestTenantKnowsPeopleAsBefore(t *testing.T) {
	for name, start := range directories() {
		for more, parties := range map[string]string{
			"": "[", " realm in wsfed": "[{realm: \"" + hubtest.Realm + "\", reply_urls: [\"" + hubtest.ReplyURL + "\"]}, ",
		} {
			t.Run(name+more, func(t *testing.T) {
				d := start(t)
				r := prepareRig(t, d, hubSection)
				r.configure("  relying_parties: [", "  relying_parties: "+parties)
				tenant := startTenant(t, r)
				r.start()
				c := next(t, tenant)
				stays := known(t, r.mustSignIn(r.browser(outside, nil), "jon", d.password))
				want := d.tenantID
				if want == "" {
					want = stays
				}
				profile, _ := login(t, tenant, c, "jon", d.password)["profile"].(map[string]any)
				request := r.url + "/wsfed?" + url.Values{"wa": {"wsignin1.0"}, "wtrealm": {hubtest.Realm}}.Encode()
				form, err := r.browser(outside, nil).SignIn(t.Context(), request, "jon", d.password)
				if err != nil {
					t.Fatal(err)
				}
				if got := known(t, token(form.Fields.Get("wresult"))); profile["id"] != want || got != want {
					t.Errorf("by the hub %v, by browser %q, want %q", profile["id"], got, want)
				}
				if len(stays) != 36 {
					t.Errorf("an application knows jon as %q", stays)
				}
				found, _ := ask(t, tenant, c, "search_users", "_search_users_result", map[string]any{"search": "Jon Smith"})["users"].([]any)
				if len(found) != 1 || found[0].(map[string]any)["id"] != want {
					t.Errorf("found %v", found)
				}
			})
		}
	}
}

// TestInSeveralDirectoriesPeopleAreKnownByWhatStays: a uid may be two people's
// there, who must not become one.
func TestInSeveralDirectoriesPeopleAreKnownByWhatStays(t *testing.T) {
	d := real(dirtest.SharedOpenLDAP(t))
	r := prepareRig(t, d, hubSection)
	r.configure(`  base_dn: "`+d.baseDN+`"`, `  domains: [{suffixes: [a.test], base_dn: "ou=people,`+d.baseDN+`"}, {suffixes: [b.test], base_dn: "ou=groups,`+d.baseDN+`"}]`)
	tenant := startTenant(t, r)
	r.start()
	profile, _ := login(t, tenant, next(t, tenant), "jon", d.password)["profile"].(map[string]any)
	if id, _ := profile["id"].(string); len(id) != 36 {
		t.Errorf("profile %v", profile)
	}
}

// known returns by what a token knows the person.
func known(t *testing.T, tok token) string {
	t.Helper()
	got := tok.claim("nameidentifier")
	if len(got) != 1 || got[0] == "" {
		t.Fatalf("nameidentifier %q", got)
	}
	return got[0]
}
