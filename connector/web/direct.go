package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"unicode/utf8"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// A Direct protocol is for programs that have asked for the user name and the
// password themselves and send both with their request. There is no page and no
// session: the answer is for this one request.
type Direct interface {
	// Receive checks the request, of which it is given what came beside the user
	// name and the password. Like [Protocol.Receive] it decides where the answer
	// may be sent.
	Receive(r *http.Request, beside []Member) (Pending, error)

	// Reply answers a request that Receive accepted. It writes to w only if it
	// returns nil.
	Reply(w http.ResponseWriter, r *http.Request, p Pending, id *signin.Identity) error

	// Refuse answers a password that is refused, for whatever reason.
	Refuse(w http.ResponseWriter)
}

// A Member is a part of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage // valid JSON
}

// Text returns s as JSON, without the escapes that it needs in scripts only.
func Text(s string) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// MountDirect serves the requests of p at path, by POST only. The name is p's in
// audit lines.
//
// Browsers are kept from sending one for another site, like every other form
// with a password: the programs that it is for are none, and nobody is to have
// the visitors of a page try passwords for them, from addresses of their own.
func (s *Server) MountDirect(path, name string, p Direct) {
	s.methods[path] = signin.ByPassword
	s.route(path, nil, func(w http.ResponseWriter, r *http.Request) error { return s.serveDirect(w, r, name, p) })
}

func (s *Server) serveDirect(w http.ResponseWriter, r *http.Request, name string, p Direct) error {
	username, password, beside, err := readDirect(r)
	if err != nil {
		return err
	}
	pending, err := p.Receive(r, beside)
	pending.Protocol = name
	if err != nil {
		s.refuse(r, signin.ByPassword, pending, username, denial.BadForm, "it does not say rightly where its answer goes: %w", err)
		return err
	}
	id, err := s.signIn(r, pending, signin.Password{Username: username, Password: password})
	switch reason := denial.ReasonOf(err); {
	case err == nil:
		return p.Reply(w, r, pending, id)
	case reason == "":
		return err
	case reason == denial.NotAllowedHere: // which is said of the address, before anybody looks at the rest
		return notOffered()
	}
	p.Refuse(w)
	return nil
}

// Reference returns what connects the answer to r with the log and the audit
// trail. It opens nothing.
func Reference(r *http.Request) string { return visitOf(r).reference }

// readDirect reads a user name, a password and what comes beside them from the
// body: a form, or a JSON object. The query is never looked at.
func readDirect(r *http.Request) (username string, password secret.String, beside []Member, err error) {
	members, err := readMembers(r)
	if err != nil {
		return "", secret.String{}, nil, err
	}
	for _, m := range members {
		var text string
		switch m.Name {
		case "username", "password":
			if m.Value[0] != '"' || json.Unmarshal(m.Value, &text) != nil {
				return "", secret.String{}, nil, badDirect("username or password is no text")
			}
		}
		switch m.Name {
		case "username":
			username = text
		case "password":
			password = secret.New(text)
		default:
			beside = append(beside, m)
		}
	}
	return username, password, beside, nil
}

// badDirect is the answer to a body that is not understood. What it holds may be
// a piece of a password, so none of it is quoted.
func badDirect(why string) error {
	return &Error{http.StatusBadRequest, "The request cannot be understood. Send username and password, each once, as a form or as a JSON object.", errors.New(why)}
}

func readMembers(r *http.Request) ([]Member, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/json" {
		return readObject(r.Body)
	}
	form, err := readForm(r)
	if err != nil {
		return nil, err
	}
	members := make([]Member, 0, len(form))
	for _, name := range slices.Sorted(maps.Keys(form)) {
		value, err := Text(form[name])
		if err != nil {
			return nil, err
		}
		members = append(members, Member{name, value})
	}
	return members, nil
}

// readObject reads the members of a JSON object, in their order and each once:
// of two with the same name, programs differ on which one counts.
func readObject(body io.Reader) ([]Member, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	const broken = "the body is not one JSON object"
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') || !utf8.Valid(data) {
		return nil, badDirect(broken)
	}
	var members []Member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		m := Member{Name: name}
		if err != nil || !ok || d.Decode(&m.Value) != nil {
			return nil, badDirect(broken)
		}
		if seen[name] {
			return nil, badDirect("a member comes twice")
		}
		seen[name] = true
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, badDirect(broken)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badDirect(broken)
	}
	return members, nil
}
