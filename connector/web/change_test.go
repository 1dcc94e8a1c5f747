package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/connector/web"
	"adconnector/ldapauth/denial"
)

const newIn = `name="new"`

// expired makes a door at which passwords have had their time until they are
// changed. A change ends as change says.
func (s *site) expired(change error) {
	changed := false
	s.answer = func(a signin.Attempt) (*signin.Identity, error) {
		switch c := a.Credential.(type) {
		case signin.PasswordChange:
			changed = change == nil
			return nil, change
		case signin.Session:
			return c.Identity, nil
		}
		if !changed {
			return nil, &signin.Changeable{Refusal: denied(denial.PasswordExpired)}
		}
		return s.jon(a.Credential.Method()), nil
	}
}

// offered signs in with the old password and returns the form for a new one,
// filled in.
func (v *visitor) offered(request string) (page, url.Values) {
	v.site.t.Helper()
	p := v.post("/signin", v.get(request).typed("jon"))
	if !strings.Contains(p.body, newIn) || !strings.Contains(p.body, "Your password has expired. Choose") {
		v.site.t.Fatalf("no form for a new password: status %d\n%s", p.status, p.body)
	}
	return p, url.Values{"pending": {p.field("pending")}, "username": {"jon"}, "old": {canary}, "new": {canary + "1"}, "again": {canary + "1"}}
}

// What comes of the form for a new password. That no password is in a page or in
// the log is seen by the visitor and the site.
func TestChange(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change error
		form   func(url.Values)
		status int
		want   string
		stays  bool // the form for a new password is shown again
		asked  int  // changes that were asked for
	}{
		{"changed", nil, nil, 200, "kept", false, 1},
		{"unequal", nil, func(f url.Values) { f.Set("again", canary) }, 400, "not the same", true, 0},
		{"no second one", nil, func(f url.Values) { f.Del("again") }, 400, "not the same", true, 0},
		{"field given twice", nil, func(f url.Values) { f.Add("new", canary) }, 400, "not one of ours", false, 0},
		{"wrong old password", denied(denial.BadCredentials), nil, 401, "old password is not right", true, 1},
		{"locked reads the same", denied(denial.AccountLocked), nil, 401, "old password is not right", true, 1},
		{"barred reads the same", denied(denial.DeniedGroup), nil, 401, "old password is not right", true, 1},
		{"too short", denied(denial.PasswordTooShort), nil, 401, "too short. Choose a longer", true, 1},
		{"too simple", denied(denial.PasswordTooSimple), nil, 401, "too simple", true, 1},
		{"used before", denied(denial.PasswordUsedBefore), nil, 401, "used that password before", true, 1},
		{"not accepted", denied(denial.PasswordNotAccepted), nil, 401, "against the rules", true, 1},
		{"too many tries", denied(denial.Throttled), nil, 429, "too many failed", true, 1},
		{"too young: no other one would do", denied(denial.PasswordTooYoung), nil, 401, "cannot be changed again yet", false, 1},
		{"not allowed", denied(denial.ChangeNotAllowed), nil, 401, "may not change your password yourself", false, 1},
		{"no answer", errDown, nil, 503, "we cannot tell whether your password was changed", false, 1},
		{"E3: another name", nil, func(f url.Values) { f.Set("username", "amy") }, 400, "has expired", false, 0},
		{"another spelling of the name", nil, func(f url.Values) { f.Set("username", "JON") }, 400, "has expired", false, 0},
		{"a forged seal", nil, func(f url.Values) { f.Set("pending", flip(f.Get("pending"))) }, 400, "has expired", false, 0},
		{"no seal", nil, func(f url.Values) { f.Del("pending") }, 400, "has expired", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			s.expired(tt.change)
			v := s.visitor(outside)
			_, form := v.offered("/echo?state=kept")
			if tt.form != nil {
				tt.form(form)
			}
			s.attempts, s.refused = nil, nil
			p := v.post("/password", form)
			if p.status != tt.status || !strings.Contains(p.body, tt.want) || strings.Contains(p.body, newIn) != tt.stays {
				t.Errorf("status %d, form again %v, want %d with %q:\n%s", p.status, strings.Contains(p.body, newIn), tt.status, tt.want, p.body)
			}
			if n := strings.Count(s.methods(), string(signin.ByPasswordChange)); n != tt.asked {
				t.Errorf("attempts %q, want %d changes", s.methods(), tt.asked)
			}
			if tt.stays && (!strings.Contains(p.body, `value="jon"`) || p.field("pending") != form.Get("pending")) {
				t.Error("the form lost the user name, or was sealed anew")
			}
			if tt.name == "changed" && (p.signedIn() != "jon by password" || s.methods() != "password_change password" || len(p.cookie("__Host-adconnector")) != 1) {
				t.Errorf("signed in %q after %q", p.signedIn(), s.methods())
			}
		})
	}
}

// The form is for the browser that proved the old password, and for half an
// hour; another site cannot send it, and the form for signing in is none.
func TestF4_AFormForANewPasswordIsBoundToItsBrowserAndItsTime(t *testing.T) {
	s := newSite(t, nil)
	s.expired(nil)
	v, other := s.visitor(outside), s.visitor(outside)
	offered, form := v.offered("/echo?state=kept")
	other.get("/echo")
	s.attempts = nil

	if p := other.post("/password", form); p.status != 400 || p.signedIn() != "" {
		t.Errorf("another browser: status %d", p.status)
	}
	v.header.Set("Sec-Fetch-Site", "cross-site")
	if p := v.post("/password", form); p.status != 403 {
		t.Errorf("another site: status %d", p.status)
	}
	v.header.Del("Sec-Fetch-Site")
	if p := v.post("/signin", form); p.status != 400 {
		t.Errorf("as a form for signing in: status %d", p.status)
	}
	plain := v.get("/echo").typed("jon")
	form.Set("pending", plain.Get("pending"))
	if p := v.post("/password", form); p.status != 400 {
		t.Errorf("the seal of a form for signing in: status %d", p.status)
	}
	form.Set("pending", offered.field("pending"))
	s.clock = s.clock.Add(31 * time.Minute)
	if p := v.post("/password", form); p.status != 400 {
		t.Errorf("half an hour later: status %d", p.status)
	}
	r := httptest.NewRequest(http.MethodGet, "https://login.test/password?"+form.Encode(), nil)
	if p := v.send(r); p.status != http.StatusSeeOther || strings.Contains(p.header.Get("Location"), "?") {
		t.Errorf("in an address: status %d, on to %s", p.status, p.header.Get("Location"))
	}
	if s.methods() != "" {
		t.Errorf("attempts %q, want none", s.methods())
	}
}

// F4: whoever planted the number of a session knows nothing after the change.
func TestF4_AChangeBeginsANewSession(t *testing.T) {
	s := newSite(t, nil)
	v := s.visitor(outside)
	before := v.post("/signin", v.get("/echo").typed("amy")).cookie("__Host-adconnector")
	s.expired(nil)
	_, form := v.offered("/echo?age=0") // with the session of somebody else
	after := v.post("/password", form).cookie("__Host-adconnector")
	if len(before) != 1 || len(after) != 1 || before[0] == after[0] {
		t.Fatalf("session before %v, after %v", before, after)
	}
	thief := s.visitor(outside)
	thief.header.Set("Cookie", strings.SplitN(before[0], ";", 2)[0])
	if p := thief.get("/echo"); p.signedIn() != "" {
		t.Errorf("the old number still is a session of %s", p.signedIn())
	}
}

func TestSomethingBrokenAfterTheChangeDoesNotHideIt(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
	}{{errDown, 503}, {denied(denial.Throttled), 429}, {denied(denial.OutsideHours), 401}} {
		s := newSite(t, nil)
		s.expired(nil)
		v := s.visitor(outside)
		_, form := v.offered("/echo?state=kept")
		s.answer = func(a signin.Attempt) (*signin.Identity, error) {
			if _, ok := a.Credential.(signin.PasswordChange); ok {
				return nil, nil
			}
			return nil, tt.err
		}
		if p := v.post("/password", form); p.status != tt.status || !strings.Contains(p.body, "Your password was changed.") || p.signedIn() != "" {
			t.Errorf("%v: status %d:\n%s", tt.err, p.status, p.body)
		}
	}
}

// The door judges the address once more: the form may come from elsewhere.
func TestAChangeCarriesTheAddressOfTheOneWhoSentIt(t *testing.T) {
	s := newSite(t, func(o *web.Options) { o.PasswordFrom = iprange.New(iprange.MustParse("203.0.113.0/24")) })
	s.expired(denied(denial.NotAllowedHere))
	v := s.visitor(outside)
	_, form := v.offered("/echo?state=kept")
	v.remote = "192.0.2.1:4567"
	p := v.post("/password", form)
	last := s.attempts[len(s.attempts)-1]
	if last.Credential.Method() != signin.ByPasswordChange || last.Remote.String() != "192.0.2.1" || p.status != http.StatusForbidden || strings.Contains(p.body, passwordIn) {
		t.Errorf("the door saw %v from %v; status %d", last.Credential.Method(), last.Remote, p.status)
	}
}
