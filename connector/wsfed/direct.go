package wsfed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"adconnector/connector/signin"
	"adconnector/connector/web"
)

// A Direct answers one relying party that has asked for the user name and the
// password on a page of its own: a tenant of Auth0, at /wsfed/direct. What it
// gets is the form of a token without a page around it.
type Direct struct {
	protocol *Protocol
	realm    func() string
}

// Direct returns what answers the relying party whose realm is realm(), which is
// "" as long as nobody knows it.
func (p *Protocol) Direct(realm func() string) *Direct { return &Direct{p, realm} }

// Receive checks a request. The token is for the one realm, whatever the query
// says, and goes to one of its addresses.
func (d *Direct) Receive(r *http.Request, beside []web.Member) (web.Pending, error) {
	realm := d.realm()
	if realm == "" {
		return web.Pending{}, &web.Error{
			Status:  http.StatusServiceUnavailable,
			Message: "The tenant that this service belongs to is not known yet. Try again in a few minutes.",
			Err:     errors.New("the tenant has not said what its realm is"),
		}
	}
	values, err := readQuery(r)
	if err != nil {
		return web.Pending{}, err
	}
	q, err := requestOf(values)
	if err != nil {
		return web.Pending{}, err
	}
	if q.realm != "" && q.realm != realm {
		return web.Pending{}, refuse("The application is not the one that may sign people in here directly.", "wtrealm %s is not the tenant's realm", quote(q.realm))
	}
	context, err := directContext(beside, web.Reference(r))
	if err != nil {
		return web.Pending{}, err
	}
	return d.protocol.receiveSignIn(request{realm: realm, reply: q.reply, context: context})
}

// directContext returns the context that a tenant gets back: what it sent beside
// the user name and the password, with a session.
//
// In Auth0's connector that is what its session cookie holds, so that whoever
// reads the form could sign in by it for a day. Here there is no session to be
// had by such a request, and the reference of the sign-in stands in its place,
// which finds it in the audit trail and opens nothing.
func directContext(beside []web.Member, session string) (string, error) {
	members := []web.Member{{Name: "strategy", Value: json.RawMessage(`"ad"`)}}
	for _, m := range beside {
		switch m.Name {
		case "strategy":
			members[0].Value = m.Value
		case "session":
		default:
			members = append(members, m)
		}
	}
	value, err := web.Text(session)
	if err != nil {
		return "", err
	}
	members = append(members, web.Member{Name: "session", Value: value})

	var b bytes.Buffer
	for i, m := range members {
		name, err := web.Text(m.Name)
		if err != nil {
			return "", err
		}
		b.WriteByte("{,"[min(i, 1)])
		b.Write(name)
		b.WriteByte(':')
		if err := json.Compact(&b, m.Value); err != nil {
			return "", err
		}
	}
	b.WriteByte('}')
	return b.String(), nil
}

// Reply answers with the form alone.
func (d *Direct) Reply(w http.ResponseWriter, _ *http.Request, pending web.Pending, id *signin.Identity) error {
	to, fields, err := d.protocol.answer(pending, id)
	if err != nil {
		return err
	}
	return web.WriteForm(w, to, fields)
}

// Refuse answers in the words that tenants know, the same for every reason.
func (d *Direct) Refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"invalid_user_password":"Wrong email or password."}`)
}
