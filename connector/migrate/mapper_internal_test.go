package migrate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"adconnector/connector/profile"

	"github.com/google/go-cmp/cmp"
)

// standard is a mapper that does what the default one does, in words of our own.
const standard = `
/* mapper */
module.exports = function (entry) {
  const p = {
    id: entry.objectGUID || entry.uid || entry.cn, // comment with ' in it
    displayName: entry.displayName,
    name: { familyName: entry.sn, givenName: entry["givenName"] },
    nickname: entry['sAMAccountName'] || entry['cn'] || entry['commonName'],
    groups: entry['groups'],
    emails: (entry.mail ? [{value: entry.mail }] : undefined)
  };
%s
  return p;
};
`

// rest are the assignments of the default mapper.
func rest() string {
	var b strings.Builder
	for _, d := range defaults[7:] {
		fmt.Fprintf(&b, "  p['%[1]s'] = entry['%[1]s'];\n", d.name)
	}
	return b.String()
}

func claims(m *mapping) map[string]string {
	got := map[string]string{}
	for _, c := range m.claims {
		got[c.name] = c.source
	}
	return got
}

func TestDefaultMapperIsRecognised(t *testing.T) {
	script := fmt.Sprintf(standard, rest())
	for name, script := range map[string]string{
		"as it is":          script,
		"without semicolon": strings.ReplaceAll(script, ";", ""),
		"with callback":     strings.NewReplacer("(entry)", "(entry, done)", "return p;", "done(null, p);").Replace(script),
		"callback returned": strings.NewReplacer("(entry)", "(entry, done)", "return p;", "return done(null, p);").Replace(script),
		"arrow":             strings.Replace(script, "function (entry)", "(entry) =>", 1),
		"named":             strings.Replace(script, "function (entry)", "function map(entry)", 1),
		"bare":              strings.Replace(script, "module.exports = ", "", 1),
		"several mails":     strings.Replace(script, "[{value: entry.mail }]", "(Array.isArray(entry.mail) ? entry.mail : [{value: entry.mail}])", 1),
		"or nothing":        strings.Replace(script, "entry['groups']", "entry['groups'] || []", 1),
		"short nickname":    strings.Replace(script, " || entry['commonName']", "", 1),
		"Windows line ends": strings.ReplaceAll(script, "\n", "\r\n"),
	} {
		if m := readMapper("m.js", script); len(m.claims)+len(m.lost) > 0 {
			t.Errorf("%s: claims %v, lost %v", name, claims(m), m.lost)
		}
	}
}

func TestChangesOfTheMapperAreTranslated(t *testing.T) {
	for _, tt := range []struct {
		code string
		want map[string]string
	}{
		{"p.title = entry.title;", map[string]string{"title": "title"}},
		{"p['phone'] = entry['telephone-number']", map[string]string{"phone": "telephone-number"}},
		{"p.email_verified = true;", map[string]string{"email_verified": "true"}},
		{"p.company = 'Fabrikam \\'Ltd\\'';", map[string]string{"company": `"Fabrikam 'Ltd'"`}},
		{"p.level = 3;", map[string]string{"level": "3"}},
		{"p.full = entry.givenName + ' ' + entry.sn;", map[string]string{"full": `givenName + " " + sn`}},
		{"p.login = entry.uid.toLowerCase();", map[string]string{"login": "lower(uid)"}},
		{"p.login = (entry.uid || entry.cn).toUpperCase().trim();", map[string]string{"login": `trim(upper(uid != "" ? uid : cn))`}},
		{"p.phone = entry.mobile || entry.telephoneNumber || 'none';", map[string]string{"phone": `mobile != "" ? mobile : telephoneNumber != "" ? telephoneNumber : "none"`}},
		{"p.kind = entry.co === 'DE' ? 'inner' : 'outer';", map[string]string{"kind": `co == "DE" ? "inner" : "outer"`}},
		{"if (entry.title) { p.title = entry.title; }", map[string]string{"title": "title"}},
		{"if (entry.title) p.rank = entry.title + '!';", map[string]string{"rank": `title != "" ? title + "!" : ""`}},
		{"p.emails = [{value: entry.userPrincipalName}];", map[string]string{"email": "userPrincipalName"}},
		{"p.name.givenName = entry.cn;", map[string]string{"givenName": "cn"}},
		{"p.sid = entry.objectSid; p.sid = entry.objectSid;", map[string]string{"sid": "sid"}},
		{"p.st = undefined;", map[string]string{"st": "nil"}},
		{"if (entry.title) { p.a = entry.b; } else { p.a = entry.c; }", map[string]string{"a": `title != "" ? b : c`}},
		{"p.title = entry.a; if (entry.b) p.title = entry.b;", map[string]string{"title": `b != "" ? b : a`}},
		{"if (entry.title) { p.displayName = entry.title; }", map[string]string{"displayName": `title != "" ? title : displayName`}},
		{"p.x = entry.a || entry.b === 'c';", map[string]string{"x": `a != "" ? a : b == "c"`}},
		{"p.x = entry.mail.split('@')[0];", map[string]string{"x": `before(mail, "@")`}},
		{"p.x = `${entry.a}/b`;", map[string]string{"x": `a + "/b"`}},
		{"p.x = entry.organizationUnits;", map[string]string{"x": "dn"}},
		{"p.x = entry.in + entry.id;", map[string]string{"x": `attr("in") + attr("id")`}},
		{"p.title = entry.a; p.title = entry.b;", map[string]string{"title": "b"}},
	} {
		m := readMapper("m.js", fmt.Sprintf(standard, rest()+tt.code))
		if diff := cmp.Diff(tt.want, claims(m)); diff != "" || len(m.lost) > 0 {
			t.Errorf("%s\nlost %v\n%s", tt.code, m.lost, diff)
		}
	}
}

func TestWhatIsNotUnderstoodIsReportedLineByLine(t *testing.T) {
	for _, code := range []string{
		"p.picture = entry.thumbnailPhoto.toString('base64');",
		"entry.groups.forEach(function (g) { p[g] = true; });",
		"if (entry.co === 'canary') { throw new Error('canary'); }",
		"p.x = require('fs').readFileSync('canary');",
		"for (var i = 0; i < 3; i++) { p.x = i; }",
		"eval('canary')",
		"p.x = entry.groups.map(g => g.replace('canary', ''));",
		"p.x = /canary/u.test(entry.dn);",
		"if (`canary` in entry) { p.x = 1; }",
		"p.x = entry.a === '' ? 'canary' : 'b';",
		"p.x = entry.memberOf.indexOf('canary') > -1;",
		"p.x = entry.n + 1 > 5;",
		"p.x = -entry.n;",
		"p.x = [entry.a, ...entry.b];",
		"p.x = { a: 'canary' };",
		"p.x = 010;",
		"switch (entry.a) { case 'canary': p.x = 1; }",
	} {
		m := readMapper("m.js", fmt.Sprintf(standard, rest()+code+"\n p.title = entry.title;"))
		if len(m.lost) == 0 || m.lost[0].Key != "m.js:27" || !strings.Contains(m.lost[0].Text, "not understood") {
			t.Errorf("%s: lost %v", code, m.lost)
		}
		for _, n := range m.lost {
			if strings.Contains(n.Text, "canary") {
				t.Errorf("%s: the note shows a text of the script: %s", code, n.Text)
			}
		}
		if diff := cmp.Diff(map[string]string{"title": "title"}, claims(m)); diff != "" {
			t.Errorf("%s: what follows is lost, or what was there is changed:\n%s", code, diff)
		}
	}
}

func TestAnotherIdentifierIsNotTakenOver(t *testing.T) {
	m := readMapper("m.js", fmt.Sprintf(standard, rest()+"p.id = entry.employeeID;"))
	if len(m.claims) > 0 || len(m.lost) != 1 || !strings.Contains(m.lost[0].Text, "employeeID") || !strings.Contains(m.lost[0].Text, "new people") {
		t.Errorf("claims %v, lost %v", claims(m), m.lost)
	}
}

func TestTheUIDAsIdentifier(t *testing.T) {
	for _, code := range []string{"p.id = entry.uid;", "p.id = entry.uid || entry.cn;", "p.id = entry.objectGUID || entry.uid;"} {
		m := readMapper("m.js", fmt.Sprintf(standard, rest()+code))
		if len(m.claims)+len(m.lost) > 0 || len(m.differs) != 1 || !strings.Contains(m.differs[0].Text, "objectGUID") {
			t.Errorf("%s: claims %v, lost %v, differs %v", code, claims(m), m.lost, m.differs)
		}
	}
}

func TestClaimsThatTheMapperLeavesOutAreTakenOut(t *testing.T) {
	m := readMapper("m.js", "function (raw, cb) { cb(null, {}); }")
	if len(m.claims) != len(defaults)-1 || len(m.lost) > 0 {
		t.Errorf("claims %v, lost %v", claims(m), m.lost)
	}
	m = readMapper("m.js", "function (raw) { return { id: raw.objectGUID || raw.uid || raw.cn, displayName: raw.cn }; }")
	got := claims(m)
	if got["displayName"] != "cn" || got["email"] != "nil" || got["st"] != "nil" || len(got) != len(defaults)-1 || len(m.lost) > 0 {
		t.Errorf("claims %v, lost %v", got, m.lost)
	}
}

func TestNestingAndSizeOfScriptsAreBounded(t *testing.T) {
	deep := "function (r) { var p = {}; p.x = " + strings.Repeat("(", 100_000) + "r.a; return p; }"
	wide := "function (r) { var p = {}; p.x = " + strings.Repeat("((", 15) + "r.a" + strings.Repeat("||r.b).trim()||r.c).trim()", 15) + "; return p; }"
	function := func(statements string, n int) string {
		return "function (r) { var p = {};" + strings.Repeat(statements, n) + "return p; }"
	}
	twice := "function f(a) { return f(f(a)); } module.exports = function (r) { var p = {}; p.x = f(r.a); return p; }"
	for _, script := range []string{
		function("p = {x: p, y: p};", 15_000), function("p.x = p.x + r.a;", 15_000), function("if (r.b) { p.x = r.c; }", 10_000), function("if (r.b)", 30_000),
		function("p.x;\n", 40_000), strings.Repeat("/*", maxScript/2), strings.Repeat("`\\`", maxScript/3), twice,
	} {
		if m := readMapper("m.js", script); len(m.lost) == 0 && !strings.Contains(script, "p.x = r.c") || len(m.lost) > maxLost+10 {
			t.Errorf("%.60s: %d notes", script, len(m.lost))
		}
	}
	many := "function (r) { var p = {};"
	for i := range maxVariables {
		many += fmt.Sprintf("var a%d = r.a;", i)
	}
	// What is in a text must not be taken for statements behind it.
	inText := "; p.y = r.b; return p; '" + strings.Repeat("x", maxToken)
	for script, want := range map[string]string{
		many + "p.x = r.b; return p; }":                                                   fmt.Sprintf("var a%d=r.a", maxVariables-1),
		`function (r) { var p = {}; p.x = "` + inText + `"; return p; }`:                  "the end of the function",
		"function (r) { var p = {}; p.x = r.a.replace(/" + inText + "/, ''); return p; }": "the end of the function",
		"function (r) { var p = {};" + strings.Repeat("=/[", maxScript/4):                 "the end of the function",
		"function (r) { var p = {};" + strings.Repeat(`'\\`, maxScript/4):                 "the end of the function",
	} {
		m := readMapper("m.js", script)
		if !slices.ContainsFunc(m.lost, func(n Note) bool { return strings.Contains(n.Text, want) }) {
			t.Errorf("%.60s: %v, want a note of %s", script, m.lost, want)
		}
		if slices.ContainsFunc(m.claims, func(c claim) bool { return c.name == "y" }) {
			t.Errorf("%.60s: what is in a text was translated: %v", script, m.claims)
		}
	}
	for _, script := range []string{deep, wide, strings.Repeat(" ", maxScript+1), strings.Repeat("p", maxScript)} {
		for _, c := range readMapper("m.js", script).claims {
			if len(c.source) > 10*len(script) {
				t.Errorf("a claim of %d characters", len(c.source))
			}
		}
	}
}

func FuzzMapper(f *testing.F) {
	f.Add(fmt.Sprintf(standard, rest()))
	f.Add("(a,b)=>{var c={};if(a.d){c.e=a.f}b(null,c)}")
	f.Add("function(a){return{'x':(a['b']||'c')+1===2?true:null}}")
	f.Add("function(a){const p={};p.x=a.y.trim()")
	f.Add("function(a){'\\u0041\\x41\\")
	f.Add("var c='x';function g(a){return a[0]}module.exports=(a)=>{var p={name:{}};switch(a.b){}p.name.givenName=`${g(a.c)}`;p.g=a.groups.filter(x=>/^a/i.test(x)).map(x=>x.slice(1));return p}")
	f.Fuzz(func(t *testing.T, script string) {
		m := readMapper("m.js", script)
		for i, c := range m.claims {
			if len(c.source) > maxCode {
				t.Errorf("claim %q has %d characters", c.name, len(c.source))
			}
			if i < 20 { // refused or not, it must come to an end
				_ = profile.Config{{Claim: c.name, Source: c.source}}.Validate()
			}
		}
		for _, n := range m.lost {
			if strings.Contains(n.Text, "canary-text") {
				t.Errorf("a note shows a text of the script: %s", n.Text)
			}
		}
	})
}
