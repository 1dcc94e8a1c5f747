package hub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

// A profile is what a tenant is told of a user.
type profile struct{ members []member }

type member struct {
	name  string
	value any
}

// profileOf returns the profile of id as tenants know it from Auth0's connector.
// What the directory does not have is left out.
func profileOf(id *signin.Identity, groups bool) profile {
	var p profile
	text := func(name, value string) {
		if value != "" {
			p.members = append(p.members, member{name, value})
		}
	}
	text("id", cmp.Or(id.TenantID, id.ID))
	text("displayName", id.DisplayName)
	p.members = append(p.members, member{"name", struct {
		Family string `json:"familyName,omitempty"`
		Given  string `json:"givenName,omitempty"`
	}{id.FamilyName, id.GivenName}})
	text("nickname", id.Nickname)
	if groups {
		names := id.Groups
		if names == nil {
			names = []string{}
		}
		p.members = append(p.members, member{"groups", names})
	}
	if id.Email != "" {
		p.members = append(p.members, member{"emails", []map[string]string{{"value": id.Email}}})
	}
	for _, a := range id.Attributes {
		if len(a.Values) > 0 && (len(a.Values) > 1 || a.Values[0] != "") {
			p.members = append(p.members, member{a.Name, a.Value()})
		}
	}
	return p
}

// MarshalJSON writes the members in their order. Whether text is escaped for
// web pages is for the encoder around it to say.
func (p profile) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	write := func(v any) error {
		if err := e.Encode(v); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the end of the line
		return nil
	}
	b.WriteByte('{')
	for i, m := range p.members {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := write(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := write(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// words are how tenants are told why somebody was refused. Reasons that are not
// here are a wrong password to them: among them is that there were too many
// wrong ones, which is nothing for whoever guesses to know.
var words = map[denial.Reason]struct{ message, name string }{
	denial.PasswordExpired:    {"Password expired", "PasswordExpired"},
	denial.MustChangePassword: {"Password change required", "PasswordChangeRequired"},
	denial.AccountDisabled:    {"Account disabled", "AccountDisabled"},
	denial.DeniedGroup:        {"Account disabled", "AccountDisabled"},
	denial.AccountExpired:     {"Account expired", "AccountExpired"},
	denial.AccountLocked:      {"Account locked", "AccountLocked"},
}

// A failure is how tenants are told why not.
type failure struct {
	Message  string   `json:"message"`
	Username *string  `json:"username,omitempty"`
	Profile  *profile `json:"profile,omitempty"`
	Name     string   `json:"name"`
}

// wrongUsername returns what is said of a name that is nobody's, or not one
// person's alone.
func wrongUsername(username string) failure {
	return failure{Message: "Wrong username", Username: &username, Name: "WrongUsername"}
}

// refusal returns the answer to a sign-in that was not granted. about is the
// account that it was for, nil if there is none that anybody may know of.
func refusal(err error, username string, about *signin.Identity, reference string) any {
	reason := denial.ReasonOf(err)
	switch {
	case reason == "" || reason == denial.NotAllowedHere:
		return unexpected(reference)
	case reason == denial.BadCredentials && about == nil && namesNobody(err):
		return map[string]any{
			"err":     wrongUsername(username),
			"profile": map[string]string{"username": username},
		}
	}
	f := failure{Message: "Wrong password", Name: "WrongPassword"}
	if w, ok := words[reason]; ok {
		f.Message, f.Name = w.message, w.name
	}
	return f.about(about)
}

// about returns f as the answer to a command that was about id, nil if that is
// nobody of whom anything may be told.
func (f failure) about(id *signin.Identity) map[string]any {
	answer := map[string]any{}
	if id != nil {
		p := profileOf(id, true)
		f.Profile = &p
		answer["profile"] = p
	}
	answer["err"] = f
	return answer
}

// namesNobody reports whether the door refused because nobody, or not one person
// alone, has the name. It says so to nobody but services that keep account of
// whom they refuse.
func namesNobody(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		d, ok := err.(*denial.Error) //nolint:errorlint // each step of the chain is looked at
		if ok && (d.Reason == denial.NoAccount || d.Reason == denial.SeveralAccounts || d.Reason == denial.BadName) {
			return true
		}
	}
	return false
}

// unexpectedAnswer is what [unexpected] returns.
type unexpectedAnswer map[string]any

// unexpected returns the answer when something is broken. What it is stands in
// the log, under the reference.
func unexpected(reference string) any {
	type inner struct {
		Reference string `json:"reference"`
	}
	type fault struct {
		Message string `json:"message"`
		Inner   inner  `json:"inner"`
	}
	return unexpectedAnswer{"err": fault{"Unexpected Error", inner{reference}}}
}
