package profile_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector/profile"
)

// An entry is attributes by their names in lower case.
type entry map[string][]string

func (e entry) Values(attribute string) []string { return e[strings.ToLower(attribute)] }

// amy is somebody with a bit of everything.
func amy() *profile.Subject {
	return &profile.Subject{
		Entry: entry{
			"cn": {"Amy Ärmel"}, "displayname": {"Amy Ärmel"}, "givenname": {"Amy"}, "sn": {"Ärmel"}, "mail": {"Amy@Fabrikam.example", "a@b.example"},
			"telephonenumber": {"+1 555 0100", "+1 555 0101"}, "employeetype": {"7"}, "description": {" "}, "samaccountname": {"amy"},
			"odd": {"\xff", "fine", "a\x00b"}, "msds-cloudextensionattribute1": {"cloud"},
		},
		ID: "00000000-0000-0000-0000-000000000001", DN: "CN=Amy Ärmel,OU=Staff,OU=Berlin,DC=fabrikam,DC=example", Username: "amy",
		SID: "S-1-5-21-1-2-3-1104", Groups: []string{"app-Admins", "All Staff", "app-Readers"},
	}
}

// values returns what one claim of source is for the subject.
func values(t testing.TB, source string, s *profile.Subject) ([]string, error) {
	t.Helper()
	p, err := profile.Compile(profile.Config{{"x", source}})
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	results := p.Results(s)
	r := results[len(results)-1]
	return r.Values, r.Err
}

func TestWhatExpressionsAreWorth(t *testing.T) {
	for source, want := range map[string][]string{
		// Names.
		"mail":                          {"Amy@Fabrikam.example", "a@b.example"},
		"MAIL":                          {"Amy@Fabrikam.example", "a@b.example"},
		"msDS-cloudExtensionAttribute1": {"cloud"},
		"nothing":                       nil,
		"groups":                        {"app-Admins", "All Staff", "app-Readers"},
		"units":                         {"Staff", "Berlin"},
		"sid":                           {"S-1-5-21-1-2-3-1104"},
		"id":                            {"00000000-0000-0000-0000-000000000001"},
		"nil":                           nil,
		"true":                          {"true"},

		// Texts.
		`givenName + " " + sn`:              {"Amy Ärmel"},
		`givenName + " " + nothing`:         {"Amy"},
		`nothing + " " + nothing`:           nil,
		`upper(sn)`:                         {"ÄRMEL"},
		`lower(mail)`:                       {"amy@fabrikam.example"},
		`sn[0:1] + "."`:                     {"Ä."},
		`sn[-2:]`:                           {"el"},
		`sn[3:1]`:                           nil,
		`before(mail, "@")`:                 {"Amy"},
		`after(mail, "@")`:                  {"Fabrikam.example"},
		`before(sn, "@")`:                   {"Ärmel"},
		`replace(telephoneNumber, " ", "")`: {"+15550100"},
		`replace(mail, "", "x")`:            {"Amy@Fabrikam.example"},
		`trimSuffix(trimPrefix(mail, "Amy"), ".example")`: {"@Fabrikam"},
		`"Number " + 5`:      {"Number 5"},
		`2 + 3`:              {"5"},
		`"x" + string(true)`: {"xtrue"},

		// All values.
		`values("telephoneNumber")`:             {"+1 555 0100", "+1 555 0101"},
		`attr("TELEPHONEnumber")`:               {"+1 555 0100"},
		`join(values("telephoneNumber"), "; ")`: {"+1 555 0100; +1 555 0101"},
		`map(values("mail"), lower(#))`:         {"amy@fabrikam.example", "a@b.example"},
		`values("mail")[1]`:                     {"a@b.example"},
		`first(values("nothing")) ?? "none"`:    {"none"},
		`split("a,b,,c", ",")`:                  {"a", "b", "c"},
		`sort(["b", "a"])`:                      {"a", "b"},
		`uniq(map(values("mail"), "x"))`:        {"x"},
		`len(values("mail"))`:                   {"2"},
		`values("odd")`:                         {"fine"},

		// Conditions.
		`"app-Admins" in groups ? "admin" : "user"`:            {"admin"},
		`if employeeType == "7" { "staff" } else { "guest" }`:  {"staff"},
		`int(employeeType) > 5`:                                {"true"},
		`mail endsWith ".example" && mail matches "(?i)^amy@"`: {"true"},
		`mail != "" ? mail : username + "@fabrikam.example"`:   {"Amy@Fabrikam.example"},
		`description`: {" "},
		`trim(description) == "" ? nil : description`:                        nil,
		`let name = lower(givenName); name + "." + lower(sn)`:                {"amy.ärmel"},
		`{"app-Admins": "admin", "All Staff": "staff"}[groups[0]] ?? "none"`: {"admin"},

		// Groups.
		`filter(groups, # startsWith "app-")`:                                              {"app-Admins", "app-Readers"},
		`map(filter(groups, # startsWith "app-"), lower(trimPrefix(#, "app-")))`:           {"admins", "readers"},
		`filter(map(groups, ({"All Staff": "staff", "app-Admins": "root"})[#]), # != nil)`: {"root", "staff"},
		`groups | filter(# matches "^app-") | map(upper(#)) | join(",")`:                   {"APP-ADMINS,APP-READERS"},
		`any(groups, # contains "Staff")`:                                                  {"true"},
		`count(groups, # startsWith "app-")`:                                               {"2"},
		`any(units, # == "Berlin")`:                                                        {"true"},
	} {
		if got, err := values(t, source, amy()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s = %q, %v; want %q", source, got, err, want)
		}
	}
}

func TestMistakesAreFoundBeforeAnybodySignsIn(t *testing.T) {
	for source, want := range map[string]string{
		"":                         "is empty",
		" ":                        "is empty",
		`givenName * sn`:           "character",
		`givenName +`:              "it ends too early",
		`lower(sn`:                 "character 9,",
		`sn == "a" ? "b"`:          "it ends too early",
		`lower(sn))`:               ") is not expected here",
		`givenName " " sn`:         "is not expected here",
		"`hello ${sn}`":            "a template of JavaScript",
		`msDS-name + "x"`:          `attr("a-b") for an attribute with a hyphen`,
		`sn || givenName`:          `write a != "" ? a : b`,
		`!sn`:                      `write a == ""`,
		`sn ? "a" : "b"`:           `write a != ""`,
		`"a" in sn`:                "in takes a list",
		`filter(groups, lower(#))`: "a question about each element",
		`mail matches "(["`:        "the pattern is wrong",
		`lowr(mail)`:               "there is no function lowr; there are after, all, any, attr",
		`lower(mail, sn)`:          "too many arguments",
		`lower()`:                  "not enough arguments",
		`lower(5)`:                 "character 7",
		`lower(values("mail"))`:    "cannot use",
		`attr(sn)`:                 "must be written out, in quotes",
		`join(mail, ",")`:          "join takes a list", `sort("a")`: "sort takes a list",
		`groups + 1`: "nothing can be added to a list", `mail > 5`: "> cannot stand between text and number",
		`attr("a b")`:                            "is not the name of an attribute",
		`attr("2.5.4.35")`:                       "is not the name of an attribute",
		`attr("userPassword;x-a")`:               "is not the name of an attribute",
		`mail matches sn`:                        "the pattern of matches must be written out",
		`mail matches "("`:                       "character",
		`mail matches "((a?){30}){30}"`:          "the pattern is too large",
		`1..1000000`:                             "ranges (..) are not supported",
		`{"a": "b"}`:                             "neither a text nor a list",
		`$env`:                                   "must not begin with $",
		`$plus("a", "b")`:                        "there is no function $plus",
		`lower($env)`:                            "must not begin with $",
		`now()`:                                  "there is no function now",
		`toJSON(groups)`:                         "there is no function toJSON",
		`reduce(groups, #acc + #, "")`:           "there is no function reduce",
		`repeat("a", 1000000)`:                   "there is no function repeat",
		`mail[0]`:                                "a text has no parts",
		`mail.length`:                            "a text has no parts",
		`mail.Lower()`:                           "only functions can be called",
		`b"x"`:                                   "bytes are not supported",
		`"a" ? 1 : 2`:                            "character",
		strings.Repeat("a", 2001):                "2001 bytes",
		"[" + strings.Repeat(`"",`, 400) + `""]`: "exceeds maximum allowed nodes",
		strings.Repeat("(", 1000):                "character",
		`objectGUID`:                             "write id",
		`attr("objectSid")`:                      "write sid",
		`values("thumbnailPhoto")`:               "is not text",
	} {
		_, err := profile.Compile(profile.Config{{"x", source}})
		if err == nil || !strings.HasPrefix(err.Error(), "x: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: %v; want one line that says %q", source, err, want)
		}
	}
	// However deeply it is nested, it is soon known whether it is right.
	for _, deep := range []string{
		strings.Repeat("sort(", 90) + "groups" + strings.Repeat(")", 90), strings.Repeat("(a+", 90) + "b" + strings.Repeat(")", 90),
		strings.Repeat("(a?b:", 60) + "c" + strings.Repeat(")", 60), strings.Repeat("(a??", 90) + "c" + strings.Repeat(")", 90),
		strings.Repeat("map(groups,", 40) + "#" + strings.Repeat(")", 40), strings.Repeat("lower(", 90) + "a" + strings.Repeat(")", 90),
		strings.Repeat("a[1:][", 40) + "1" + strings.Repeat(":]", 40), strings.Repeat("(groups[", 40) + "1" + strings.Repeat("])", 40),
		strings.Repeat("let a = ", 40) + "1" + strings.Repeat("; a", 40), strings.Repeat("!", 200) + "true", strings.Repeat("a?.", 90) + "b",
		strings.Repeat("filter(groups,", 40) + "#" + strings.Repeat(")", 40), strings.Repeat("if a {", 40) + "1" + strings.Repeat("} else {1}", 40),
		strings.Repeat("[", 90) + "1" + strings.Repeat("]", 90), strings.Repeat("{a:", 90) + "1" + strings.Repeat("}", 90),
		strings.Repeat("join(", 90) + "groups" + strings.Repeat(`,",")`, 90), strings.Repeat("len(", 90) + "groups" + strings.Repeat(`)`, 90),
		strings.Repeat("groups|map(#)|", 40) + "first()", strings.Repeat("first(", 90) + "groups" + strings.Repeat(")", 90),
	} {
		start := time.Now()
		_, err := profile.Compile(profile.Config{{"x", deep}})
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%.40s took %v (%v)", deep, took, err)
		}
	}
	_, err := profile.Compile(profile.Config{{"x", `givenName + lowr(sn)`}})
	if want := "x: character 13, where the mark is in givenName + ▸lowr(sn): there is no function lowr"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("place: %v, want %s", err, want)
	}
}

func TestSecretsAreNeverReported(t *testing.T) {
	for _, name := range []string{
		"userPassword", "unicodePwd", "dBCSPwd", "ms-Mcs-AdmPwd", "msLAPS-Password", "msLAPS-EncryptedPassword", "unixUserPassword",
		"supplementalCredentials", "sambaNTPassword", "ntPwdHistory", "krbPrincipalKey", "msDS-ManagedPassword", "msFVE-RecoveryPassword",
		"USERPASSWORD", "authPassword", "pwdHistory", "ipaNTHash", "olcRootPW", "ntHash", "msExchRecoveryKey", "ipatokenHOTPkey", "totpSeed",
	} {
		for _, source := range []string{name, `attr("` + name + `")`, `values("` + name + `")`, `mail + attr("` + name + `")`} {
			if _, err := profile.Compile(profile.Config{{"x", source}}); err == nil || !strings.Contains(err.Error(), "holds secrets") {
				t.Errorf("%s: %v", source, err)
			}
		}
	}
	for _, name := range []string{"pwdLastSet", "badPwdCount", "badPasswordTime"} {
		if _, err := profile.Compile(profile.Config{{"x", name}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesOfClaims(t *testing.T) {
	for name, want := range map[string]string{
		"id": "is reserved", "ID": "is reserved", "sub": "is reserved", "nameidentifier": "is reserved", "groups_incomplete": "is reserved",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/NameIdentifier": "says who the person is",
		"certificate_subject": "is reserved", "authenticated_by": "is reserved", "emails": "write email", "exp": "is reserved",
		"Email": "built-in claim email in another case", "": "is not the name", "__proto__": "is not the name", "a b": "is not the name", "ä": "is not the name",
	} {
		if _, err := profile.Compile(profile.Config{{name, "mail"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("claim %q: %v, want %q", name, err, want)
		}
	}
	_, err := profile.Compile(profile.Config{{"one", "mail"}, {"One", "sn"}, {"two", "("}})
	if err == nil || !strings.Contains(err.Error(), "One: differs from one in its case") || !strings.Contains(err.Error(), "\ntwo: ") {
		t.Errorf("two mistakes: %v", err)
	}
	for _, name := range []string{"email", "groups", "nickname", "dn", "http://schemas.example.com/claims/role", "full_name"} {
		if _, err := profile.Compile(profile.Config{{name, "mail"}}); err != nil {
			t.Errorf("claim %q: %v", name, err)
		}
	}
}

func TestClaimsReplaceAndFollowTheBuiltInOnes(t *testing.T) {
	p, err := profile.Compile(profile.Config{{"role", `"user"`}, {"email", "lower(mail)"}, {"st", "nil"}, {"age", "shoeSize"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := p.Each(amy(), func(name string, values []string, _ profile.Form) {
		got = append(got, fmt.Sprintf("%s=%q", name, values))
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`displayName=["Amy Ärmel"]`, `familyName=["Ärmel"]`, `givenName=["Amy"]`, `nickname=["amy"]`, `groups=["app-Admins" "All Staff" "app-Readers"]`,
		`email=["amy@fabrikam.example"]`, `dn=["CN=Amy Ärmel,OU=Staff,OU=Berlin,DC=fabrikam,DC=example"]`, `description=[" "]`,
		`telephoneNumber=["+1 555 0100" "+1 555 0101"]`, `sAMAccountName=["amy"]`,
		`organizationUnits=["CN=Amy Ärmel,OU=Staff,OU=Berlin,DC=fabrikam,DC=example"]`, `role=["user"]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	attributes := p.Attributes()
	for name, want := range map[string]bool{"mail": true, "shoeSize": true, "st": false, "title": false, "displayName": true, "username": false} {
		if slices.Contains(attributes, name) != want {
			t.Errorf("%s is asked for: %v", name, !want)
		}
	}
}

func TestWithoutGroupsNothingIsSaidThatNeedsThem(t *testing.T) {
	p, err := profile.Compile(profile.Config{{"role", `"Contractors" in groups ? "guest" : "staff"`}, {"copy", "groups"}, {"other", "mail"}})
	if err != nil {
		t.Fatal(err)
	}
	s := amy()
	s.Groups, s.Incomplete = nil, true
	for _, r := range p.Results(s) {
		needs := r.Claim == "role" || r.Claim == "copy" || r.Claim == "groups"
		if r.Withheld != needs || needs && len(r.Values) > 0 {
			t.Errorf("%s: %+v", r.Claim, r)
		}
	}
}

func TestAClaimThatCannotBeWorkedOutIsAFault(t *testing.T) {
	for source, want := range map[string]string{
		`values("nothing")[0]`:            "index out of range",
		`int(sn)`:                         "not a whole number",
		`lower(first(values("nothing")))`: "character",
		`{"a": {"b": "c"}}["a"]`:          "a text, a number or true or false was expected",
		`"a" + nil`:                       "nil was given where a text was expected",
		`[[["a"]]]`:                       "a text, a number or true or false was expected",
		`"\x01"`:                          "the result is not text",
	} {
		_, err := values(t, source, amy())
		if err == nil || !strings.HasPrefix(err.Error(), "profile.x cannot be worked out for this account: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", source, err, want)
		} else if strings.Contains(err.Error(), "Ärmel") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error tells a value, or is not one line: %q", source, err)
		}
	}
}

// Time and memory of an expression are bounded, whatever it is and whoever wrote
// what it works on.
func TestH2_ExpressionsCannotRunAway(t *testing.T) {
	big := amy()
	for i := range 5000 {
		big.Groups = append(big.Groups, fmt.Sprintf("Group %d with a name that has some length", i))
	}
	long := big.Entry.(entry)
	long["description"] = []string{strings.Repeat("a,", 100_000)}
	long["info"] = []string{strings.Repeat("a", 300_000)}
	for source, want := range map[string]string{
		`count(groups, count(groups, count(groups, # != "") > 0) > 0)`:                                         "too many steps",
		`all(groups, all(groups, all(groups, true)))`:                                                          "too many steps",
		`map(groups, map(groups, groups)) == nil`:                                                              "",
		`len(map(groups, split(description, ",")))`:                                                            "too much text",
		`len(map(groups, description + #))`:                                                                    "too much text",
		`len(map(groups, upper(description)))`:                                                                 "too much text",
		`replace(description, "a", description)`:                                                               "too much text",
		`join(split(description, ","), description)`:                                                           "too much text",
		`let a = description + description; let b = a + a; let c = b + b; let d = c + c; let e = d + d; e + e`: "too much text",
		`len(map(groups, sort(groups)))`:                                                                       "too much text",
		`description + description`:                                                                            "the result is too long",
		`info`:                                                                                                 "more than 262144",
		`upper(info)`:                                                                                          "more than 262144",
	} {
		start := time.Now()
		_, err := values(t, source, big)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", source, err, want)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s took %v", source, took)
		}
	}
}

// TestH2_ClaimsHaveTheirTimeTogether: a hundred claims must not take a hundred times
// as long as one may.
func TestH2_ClaimsHaveTheirTimeTogether(t *testing.T) {
	somebody := amy()
	long := somebody.Entry.(entry)
	long["info"] = []string{strings.Repeat("a", 250_000)}
	var c profile.Config
	for i := range 100 {
		c = append(c, profile.Definition{Claim: fmt.Sprint("c", i), Source: `info matches "((a?){12}){30}b" ? "x" : "y"`})
	}
	p, err := profile.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Each(somebody, func(string, []string, profile.Form) {}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("Each: %v", err)
	}
}

func TestOneProfileServesManyAtOnce(t *testing.T) {
	p, err := profile.Compile(profile.Config{{"x", `join(map(groups, lower(#) + username), ",")`}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			s := amy()
			s.Username, s.Groups = fmt.Sprint(i), []string{"A", "B"}
			want := []string{fmt.Sprintf("a%d,b%d", i, i)}
			for range 200 {
				results := p.Results(s)
				if r := results[len(results)-1]; r.Err != nil || !slices.Equal(r.Values, want) {
					t.Errorf("%q, %v; want %q", r.Values, r.Err, want)
					return
				}
			}
		})
	}
	all.Wait()
}

func FuzzValues(f *testing.F) {
	p, err := profile.Compile(profile.Config{
		{"a", `map(filter(groups, # startsWith mail), trimPrefix(#, "x"))`},
		{"b", `let n = lower(mail); n[0:2] + before(n, "@") + replace(n, "a", "bb") + join(split(n, ","), ";")`},
		{"c", `mail matches "(?i)^a+b" ? upper(mail) : values("mail")`},
		{"d", `uniq(sort(values("mail")))`},
		{"email", "trim(mail)"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("amy@fabrikam.example", "x")
	f.Add("\xff\x00\ufffe", "İ\u2028")
	f.Fuzz(func(t *testing.T, mail, group string) {
		s := amy()
		s.Entry.(entry)["mail"] = []string{mail, group}
		s.Groups = []string{group, mail}
		for _, r := range p.Results(s) {
			if r.BuiltIn {
				continue
			}
			if r.Err != nil && !strings.Contains(r.Err.Error(), "the result is not text") {
				t.Errorf("%s: %v", r.Claim, r.Err)
			}
			for _, v := range r.Values {
				if strings.ToValidUTF8(v, "") != v || strings.ContainsAny(v, "\x00\x01\x1b\ufffe\uffff") {
					t.Errorf("%s reports %q", r.Claim, v)
				}
			}
		}
	})
}

func FuzzCompile(f *testing.F) {
	for _, source := range []string{`givenName + " " + sn`, `map(groups, {"a": #}[#])`, `let a = values("x"); a[0]?.b`, `$env`, `mail[1:][:2]`, `1 | attr()`, `if a {b} else {c}`} {
		f.Add(source)
	}
	f.Fuzz(func(_ *testing.T, source string) {
		if p, err := profile.Compile(profile.Config{{"x", source}}); err == nil {
			p.Results(amy()) // whatever comes of it, it ends
		}
	})
}

func BenchmarkProfile(b *testing.B) {
	for _, bb := range []struct {
		name   string
		config profile.Config
	}{
		{"default", nil},
		{"two names", profile.Config{{"phone", "telephoneNumber"}, {"title", "title"}}},
		{"one expression", profile.Config{{"full_name", `givenName + " " + sn`}}},
		{"groups filtered and renamed", profile.Config{{"groups", `map(filter(groups, # startsWith "app-"), lower(trimPrefix(#, "app-")))`}}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p, err := profile.Compile(bb.config)
			if err != nil {
				b.Fatal(err)
			}
			s := amy()
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Each(s, func(string, []string, profile.Form) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
