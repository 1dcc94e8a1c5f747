package connector_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"adconnector/connector/hub/hubtest"

	"github.com/google/go-cmp/cmp"
)

var attributeTag = regexp.MustCompile(`<saml:Attribute AttributeName="([^"]*)" AttributeNamespace="([^"]*)">`)

// TestTokensHaveTheProfileThatTheHubHas: in the order that tenants are used to,
// as they understand it, with a profile section and without.
func TestTokensHaveTheProfileThatTheHubHas(t *testing.T) {
	order := strings.Fields(`nameidentifier emailaddress name givenname surname
		nickname groups dn st description postalCode telephoneNumber distinguishedName co department company mailNickname
		sAMAccountName sAMAccountType userPrincipalName manager organizationUnits full_name`)
	for name, start := range directories() {
		for what, section := range map[string]string{
			"plain": "", "own profile": "profile: {nickname: 'upper(username)', st: '\"somewhere\"', full_name: 'sn + \", \" + givenName', department: 'nil'}\n",
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				d := start(t)
				r, tenant := hubRig(t, d)
				r.configure(hubSection, hubSection+section)
				r.start()
				c := next(t, tenant)
				request := r.url + "/wsfed?" + url.Values{"wa": {"wsignin1.0"}, "wtrealm": {hubtest.Realm}, "wctx": {"x"}}.Encode()
				form, err := r.browser(outside, nil).SignIn(t.Context(), request, "jon", d.password)
				if err != nil {
					t.Fatal(err)
				}
				result := form.Fields.Get("wresult")

				var names []string
				for i, m := range attributeTag.FindAllStringSubmatch(result, -1) {
					if at := slices.Index(order, m[1]); at >= 0 {
						names = append(names, m[1])
						if want := []string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims", "http://schemas.passportjs.com"}[min(at/5, 1)]; m[2] != want {
							t.Errorf("attribute %d, %s, is in %s", i, m[1], m[2])
						}
					}
				}
				if !slices.IsSortedFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) }) {
					t.Errorf("attributes %q are not in the order %q", names, order)
				}

				tenant.Lock()
				certificate := tenant.Posts[0].Certificates[0]
				tenant.Unlock()
				seen := judgedByTenant(t, result, certificate, hubtest.Realm)
				if seen.Error != "" {
					t.Fatal(seen.Error)
				}
				const passport, claims = "http://schemas.passportjs.com/", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
				fromToken := map[string]any{}
				for name, value := range seen.Profile {
					if rest, ok := strings.CutPrefix(name, passport); ok && rest != "authenticated_by" {
						fromToken[rest] = value
					}
				}
				fromHub, _ := login(t, tenant, c, "jon", d.password)["profile"].(map[string]any)
				if fromHub == nil {
					t.Fatal("no profile by the hub")
				}
				person, _ := fromHub["name"].(map[string]any)
				var mail any
				if emails, ok := fromHub["emails"].([]any); ok {
					mail = emails[0].(map[string]any)["value"]
				}
				for claim, want := range map[string]any{
					"nameidentifier": fromHub["id"], "emailaddress": mail, "name": fromHub["displayName"], "givenname": person["givenName"], "surname": person["familyName"],
				} {
					if got := seen.Profile[claims+claim]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s is %v, the hub says %v", claim, got, want)
					}
				}
				for _, own := range []string{"id", "emails", "displayName", "name"} {
					delete(fromHub, own)
				}
				if diff := cmp.Diff(fromHub, fromToken); diff != "" {
					t.Errorf("the hub's profile (-) and the token's (+) differ:\n%s", diff)
				}
				if section != "" && (fromHub["nickname"] != "JON" || fromHub["st"] != "somewhere" || fromHub["department"] != nil || fromHub["full_name"] == nil) {
					t.Errorf("the profile section has no effect: %v", fromHub)
				}
			})
		}
	}
}
