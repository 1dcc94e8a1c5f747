package connector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"adconnector/connector/hub/hubtest"

	"github.com/google/go-cmp/cmp"
)

// answerText returns the payload of the next answer as it was written.
func answerText(t *testing.T, tenant *hubtest.Tenant, c *hubtest.Conn, username, password string) string {
	t.Helper()
	tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "text", "username": username, "password": password})
	select {
	case f, ok := <-c.Frames:
		if !ok {
			t.Fatal(c.Err)
		}
		return string(f.Payload)
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
	}
	return ""
}

// membersOf returns the names of the members of an object, in their order.
func membersOf(t *testing.T, object string) []string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(name))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestRefusalsThroughTheHubAreWrittenAsTenantsKnowThem: member for member, with
// the profile that a sign-in has, its groups included, twice.
func TestRefusalsThroughTheHubAreWrittenAsTenantsKnowThem(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r, tenant := hubRig(t, d)
			r.start()
			c := next(t, tenant)
			granted, ok := strings.CutPrefix(answerText(t, tenant, c, "jon", d.password), `{"profile":`)
			if !ok {
				t.Fatal(granted)
			}
			profile := strings.TrimSuffix(granted, "}")
			want := `{"err":{"message":"Wrong password","profile":` + profile + `,"name":"WrongPassword"},"profile":` + profile + `}`
			for _, password := range []string{"wrong", ""} {
				if diff := cmp.Diff(want, answerText(t, tenant, c, "jon", password)); diff != "" {
					t.Errorf("password %q (-want +got):\n%s", password, diff)
				}
			}
			const nobody = `{"err":{"message":"Wrong username","username":"no<body>&","name":"WrongUsername"},"profile":{"username":"no<body>&"}}`
			if diff := cmp.Diff(nobody, answerText(t, tenant, c, "no<body>&", "x")); diff != "" {
				t.Errorf("unknown name (-want +got):\n%s", diff)
			}

			// The members come in the order of Auth0's mapper; what the directory
			// does not have is left out.
			order := strings.Fields(`id displayName name nickname groups emails dn st description postalCode telephoneNumber distinguishedName
				co department company mailNickname sAMAccountName sAMAccountType userPrincipalName manager organizationUnits`)
			names := membersOf(t, profile)
			i := 0
			for _, name := range names {
				for i < len(order) && order[i] != name {
					i++
				}
			}
			if i >= len(order) {
				t.Errorf("members %q are not in the order %q", names, order)
			}

			// Barred by a group: the tenant hears of a disabled account, with groups.
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r.configure("  base_dn:", fmt.Sprintf("  deny_groups: [%q]\n  base_dn:", d.groups[1]))
			r.start()
			c = next(t, tenant)
			barred := strings.NewReplacer("Wrong password", "Account disabled", "WrongPassword", "AccountDisabled").Replace(want)
			if diff := cmp.Diff(barred, answerText(t, tenant, c, "jon", d.password)); diff != "" {
				t.Errorf("barred by a group (-want +got):\n%s", diff)
			}
			if !strings.Contains(r.audit.String(), `"reason":"denied_group"`) {
				t.Error("nobody was barred")
			}
		})
	}
}

// TestUnexpectedErrorsThroughTheHubTellAReference: and nothing of the directory.
func TestUnexpectedErrorsThroughTheHubTellAReference(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	c := next(t, tenant)
	if err := d.memory.Close(); err != nil {
		t.Fatal(err)
	}
	got := answerText(t, tenant, c, "jon", d.password)
	m := regexp.MustCompile(`^\{"err":\{"message":"Unexpected Error","inner":\{"reference":"([A-Z2-7]{12})"\}\}\}$`).FindStringSubmatch(got)
	if m == nil || !bytes.Contains([]byte(r.log.String()), []byte(m[1])) {
		t.Errorf("%s", got)
	}
}
