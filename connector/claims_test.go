package connector_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// mapped is a profile section that does what people do with it.
const mapped = `
profile:
  email: 'lower(mail)'
  full_name: 'upper(sn) + ", " + givenName'
  groups: 'map(filter(groups, # in ["group-A", "Engineers"]), "app:" + lower(#))'
  everything: 'join(groups, "|")'
  kind: '"no-such-group" in groups ? "guest" : "staff"'
  where: units
  phones: TELEPHONENUMBER
  nickname: cn
  st: 'nil'
  nothing: noSuchAttribute
`

func TestTheProfileReachesTheRelyingParty(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			before := newRig(t, d, "")
			plain := before.mustSignIn(before.browser(outside, nil), "jon", d.password)
			r := newRig(t, d, mapped)
			got := r.mustSignIn(r.browser(outside, nil), "jon", d.password)
			one := func(claim string) string {
				v := plain.claim(claim)
				if len(v) != 1 {
					t.Fatalf("%s by default: %q", claim, v)
				}
				return v[0]
			}
			all := plain.claim("groups")
			var kept []string
			for _, g := range all {
				if g == "group-A" || g == "Engineers" {
					kept = append(kept, "app:"+strings.ToLower(g))
				}
			}
			if len(kept) == 0 {
				t.Fatalf("jon is in none of the groups: %q", all)
			}
			for claim, want := range map[string][]string{
				"nameidentifier": {one("nameidentifier")},
				"emailaddress":   {strings.ToLower(one("emailaddress"))},
				"full_name":      {strings.ToUpper(one("surname")) + ", " + one("givenname")},
				"groups":         kept,
				"kind":           {"staff"},
				"phones":         plain.claim("telephoneNumber"),
				"name":           {one("name")},
				"st":             nil,
				"nothing":        nil,
			} {
				if v := got.claim(claim); !slices.Equal(v, want) {
					t.Errorf("%s = %q, want %q", claim, v, want)
				}
			}
			if v := got.claim("everything"); len(v) != 1 || !slices.Equal(sorted(strings.Split(v[0], "|")), sorted(all)) {
				t.Errorf("everything = %q, want all of %q", v, all)
			}
			if dn := one("organizationUnits"); dn != one("dn") || len(got.claim("where")) == 0 && strings.Contains(strings.ToLower(dn), "ou=") {
				t.Errorf("organizationUnits = %q, units = %q", dn, got.claim("where"))
			}
			if line := r.audit.String(); !strings.Contains(line, `"user":"jon"`) {
				t.Errorf("the audit line does not have the user's own name: %s", line)
			}

			x, text := r.explain("jon")
			for _, c := range x.Profile.Claims {
				wire := map[string]string{"displayName": "name", "email": "emailaddress", "givenName": "givenname", "familyName": "surname"}[c.Name]
				if wire == "" {
					wire = c.Name
				}
				if !slices.Equal(sorted(c.Values), sorted(got.claim(wire))) {
					t.Errorf("explain says of %s: %q, the token %q", c.Name, c.Values, got.claim(wire))
				}
			}
			for _, want := range []string{
				"✓ full_name by profile.full_name: upper(sn) + \", \" + givenName\n      " + got.claim("full_name")[0] + "\n",
				"! nothing is left out, because there is nothing to say, by profile.nothing: noSuchAttribute\n", "\nProfile: the entry\n",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			b, err := json.Marshal(x)
			if err != nil || !strings.Contains(string(b), `"name":"full_name","from":"upper(sn)`) {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// A claim that fails keeps the person out, whatever proves who they are: they may
// have written themselves what it is made of.
func TestWhoseClaimFailsIsNotLetIn(t *testing.T) {
	d := inMemory(t)
	r := newRig(t, d, "\nprofile: {level: 'int(displayName)'}\n")
	if _, err := r.signIn(r.browser(outside, nil), "jon", d.password); err == nil {
		t.Error("let in by password without the claim")
	}
	if _, err := r.signIn(r.browser(inside, r.client("jon")), "", ""); err == nil {
		t.Error("let in by certificate without the claim")
	}
	const why = "profile.level cannot be worked out for this account: "
	if !strings.Contains(r.log.String(), why) || strings.Contains(r.pages.String(), "profile.level") {
		t.Errorf("log: %s\npages: %s", r.log, r.pages)
	}
	x, text := r.explain("jon")
	if x.Result != "fault" || !strings.Contains(x.Detail, why) || !strings.Contains(text, "✗ level cannot be worked out, by profile.level: int(displayName)") {
		t.Errorf("explain: %s", text)
	}
	if len(x.Groups.Names) == 0 || x.Groups.Error != "" {
		t.Errorf("groups: %+v", x.Groups)
	}
}
