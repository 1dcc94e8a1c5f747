package migrate

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"adconnector/connector/profile"
	"adconnector/connector/signin"
)

// An oldEntry is an entry as the old connector gave it to mappers.
type oldEntry map[string]any

// Values implements [profile.Entry].
func (e oldEntry) Values(attribute string) []string {
	for name, v := range e {
		if strings.EqualFold(name, attribute) {
			return textsOf(v)
		}
	}
	return nil
}

func textsOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i], _ = v[i].(string)
		}
		return texts
	}
	return nil
}

func (e oldEntry) text(name string) string {
	s, _ := e[name].(string)
	return s
}

// outcome is what the old connector told of somebody, as far as it differs from
// what its default mapper makes.
type outcome struct {
	Set   map[string]json.RawMessage `json:"set"`
	Gone  []string                   `json:"gone"`
	Fails bool                       `json:"fails"`
}

// ourProfile returns what this connector tells a tenant of an entry.
func ourProfile(t *testing.T, claims []claim, e oldEntry) map[string]string {
	t.Helper()
	var config profile.Config
	for _, c := range claims {
		d := profile.Definition{Claim: c.name, Source: c.source}
		if (profile.Config{d}).Validate() == nil { // else the import puts it behind a # and lists it
			config = append(config, d)
		}
	}
	p, err := profile.Compile(config)
	if err != nil {
		t.Fatal(err)
	}
	subject := &profile.Subject{Entry: e, ID: e.text("objectGUID"), DN: e.text("dn"), SID: e.text("objectSid"), Groups: textsOf(e["groups"])}
	if subject.Username = e.text("sAMAccountName"); subject.Username == "" {
		subject.Username = textsOf(e["cn"])[0]
	}
	got := map[string]string{"id": quoted(subject.ID), "groups": "[]"}
	names := map[string]string{}
	err = p.Each(subject, func(name string, values []string, form profile.Form) {
		a := signin.Attribute{Name: name, Values: values, Form: form}
		switch name {
		case "displayName", "nickname":
			got[name] = quoted(values[0])
		case "familyName", "givenName":
			names[name] = values[0]
		case "email":
			got["emails"] = `[{"value":` + quoted(values[0]) + `}]`
		default:
			if values[0] != "" || len(values) > 1 {
				got[name] = quoted(a.Value())
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	got["name"] = quoted(names)
	return got
}

func quoted(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return strings.TrimSpace(b.String())
}

// canonical returns JSON with its keys in order.
func canonical(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return quoted(v)
}

// TestMappersMakeTheSameOrSayTheDifference holds for the mappers in testdata, each
// on each of the entries there, what Node.js made of them (testdata/node.js wrote
// it down): this connector tells the tenant the same, or the report has a line
// about that claim.
func TestMappersMakeTheSameOrSayTheDifference(t *testing.T) {
	var entries map[string]oldEntry
	var expected map[string]map[string]outcome
	var defaults struct {
		Defaults map[string]map[string]json.RawMessage `json:"defaults"`
	}
	read(t, "entries.json", &entries)
	read(t, "expected.json", &defaults)
	var raw map[string]json.RawMessage
	read(t, "expected.json", &raw)
	delete(raw, "defaults")
	expected = map[string]map[string]outcome{}
	for name, data := range raw {
		var o map[string]outcome
		if err := json.Unmarshal(data, &o); err != nil {
			t.Fatal(err)
		}
		expected[name] = o
	}
	standard := map[string]map[string]string{}
	for who, e := range entries {
		standard[who] = ourProfile(t, nil, e)
	}
	same, said := 0, 0
	for name, outcomes := range expected {
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(filepath.Join("testdata", "mappers", name))
			if err != nil {
				t.Fatal(err)
			}
			m := readMapper("m.js", string(script))
			for who, e := range entries {
				got := ourProfile(t, m.claims, e)
				for key, want := range wanted(t, outcomes[who], defaults.Defaults[who]) {
					switch {
					case got[key] == want || key == "" && want == "":
						same++
					case toldAlike(key, got[key], standard[who][key], want, defaults.Defaults[who][key]):
					case mentioned(m, string(script), key):
						said++
					default:
						t.Errorf("%s: %s is %s, was %s; nothing is said of it in %v, %v", who, key, got[key], want, m.lost, m.differs)
					}
				}
			}
			if testing.Verbose() {
				t.Logf("claims %v\nlost %v\ndiffers %v", m.claims, m.lost, m.differs)
			}
		})
	}
	t.Logf("%d claims are the same, %d differ and are said to", same, said)
}

func read(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// wanted returns what the old connector told, by key; "" for what it left out. The
// key "" stands for a sign-in that failed.
func wanted(t *testing.T, o outcome, defaults map[string]json.RawMessage) map[string]string {
	t.Helper()
	if o.Fails {
		return map[string]string{"": "nobody"}
	}
	want := map[string]string{}
	for key, v := range defaults {
		want[key] = canonical(t, v)
	}
	for _, key := range o.Gone {
		want[key] = ""
	}
	for key, v := range o.Set {
		want[key] = canonical(t, v)
	}
	return want
}

// toldAlike reports whether a claim differs as the default profile does: several
// values where one is meant, and empty ones (docs/auth0.md).
func toldAlike(key, got, standard, want string, old json.RawMessage) bool {
	if key == "name" {
		var parts map[string]any
		_ = json.Unmarshal([]byte(want), &parts)
		for name, v := range parts {
			if list, ok := v.([]any); ok && len(list) > 0 {
				parts[name] = list[0]
			}
		}
		if want != "" && got == quoted(parts) {
			return true
		}
	}
	return got == standard && old != nil && want == quotedRaw(old) && slices.Contains([]string{"name", "emails", "displayName", "nickname", "department"}, key)
}

func quotedRaw(data json.RawMessage) string {
	var v any
	_ = json.Unmarshal(data, &v)
	return quoted(v)
}

var upTo = regexp.MustCompile(`\(up to line (\d+)\)`)

// mentioned reports whether a note is about the claim: it names it, or a line of
// the script that does.
func mentioned(m *mapping, script, key string) bool {
	lines := strings.Split(script, "\n")
	for _, n := range slices.Concat(m.lost, m.differs) {
		_, place, _ := strings.Cut(n.Key, ":")
		first, err := strconv.Atoi(place)
		if err != nil {
			if strings.Contains(n.Text, "every claim") || key != "" && strings.HasPrefix(n.Text, key+" ") {
				return true
			}
			continue
		}
		if strings.HasPrefix(n.Text, "no function") || key == "emails" && strings.Contains(n.Text, "the first of emails") || key != "" && (strings.HasPrefix(n.Text, key+" ") || strings.HasPrefix(n.Text, key+":")) {
			return true
		}
		last := first
		if found := upTo.FindStringSubmatch(n.Text); found != nil {
			last, _ = strconv.Atoi(found[1])
		}
		if key == "" && (strings.Contains(n.Text, "did not get in") || strings.Contains(n.Text, "keeps somebody out") || strings.Contains(n.Text, "not understood")) {
			return true
		}
		if key != "" && strings.Contains(strings.Join(lines[first-1:min(last, len(lines))], "\n"), key) {
			return true
		}
	}
	// What our own loader refuses is listed when the configuration is written.
	for _, c := range m.claims {
		if c.name == key && (profile.Config{{Claim: c.name, Source: c.source}}).Validate() != nil {
			return true
		}
	}
	return false
}

// TestNodeStillMakesWhatIsWrittenDown runs the mappers anew, where there is a
// Node.js.
func TestNodeStillMakesWhatIsWrittenDown(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no Node.js")
	}
	out, err := exec.CommandContext(t.Context(), node, filepath.Join("testdata", "node.js")).Output()
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(filepath.Join("testdata", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out, written) {
		t.Error("testdata/expected.json is not what testdata/node.js writes")
	}
}
