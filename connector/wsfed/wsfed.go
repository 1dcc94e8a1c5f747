// Package wsfed lets relying parties ask for sign-ins by the passive requestor
// profile of WS-Federation 1.2 (section 13): a redirect or a form brings the
// browser here, and a form that posts itself takes the token back.
package wsfed

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/connector/web"
)

// The actions that a request can ask for (wa).
const (
	actionSignIn         = "wsignin1.0"
	actionSignOut        = "wsignout1.0"
	actionSignOutCleanup = "wsignoutcleanup1.0"
)

// maxContext is the longest wctx that is taken, in bytes. It travels sealed
// through a URL and twice in the answer.
const maxContext = 8 << 10

// A Protocol answers the relying parties that are configured.
type Protocol struct {
	Now func() time.Time // time.Now, but for tests

	keys     *token.Keys
	endpoint *url.URL
	current  atomic.Pointer[registry]
}

// A registry is what the configuration says, ready to be used.
type registry struct {
	issuer   string
	parties  map[string]*party // by realm
	metadata metadata
}

// A party is a relying party, ready to be answered.
type party struct {
	audience   string
	replyURLs  []string
	byTenantID bool
}

// New returns the protocol for the relying parties in c. Tokens are signed with
// the current one of keys; base is the URL under which browsers find this
// service.
func New(c Config, keys *token.Keys, base *url.URL) (*Protocol, error) {
	p := Waiting(keys, base)
	return p, p.Configure(c)
}

// Waiting is [New] for relying parties that are not known yet: until
// [Protocol.Configure] names them, nobody is answered.
func Waiting(keys *token.Keys, base *url.URL) *Protocol {
	p := &Protocol{Now: time.Now, keys: keys, endpoint: base.JoinPath("wsfed")}
	p.Forget()
	return p
}

// Forget makes p wait for relying parties as [Waiting] does.
func (p *Protocol) Forget() { p.current.Store(&registry{}) }

// Configure puts c in the place of what held before. When that is an error,
// nothing changes. It may be called at any time.
func (p *Protocol) Configure(c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	r := &registry{
		issuer:   c.Issuer,
		parties:  map[string]*party{},
		metadata: newMetadata(c.Issuer, p.endpoint),
	}
	for _, rp := range c.RelyingParties {
		r.parties[rp.Realm] = &party{audience(rp.Realm), slices.Clone(rp.ReplyURLs), rp.ByTenantID}
	}
	p.current.Store(r)
	return nil
}

// Receive checks a relying party's request and decides where its answer goes.
// The parameters whr, wct, wauth, wreq and all that are unknown are ignored.
func (p *Protocol) Receive(r *http.Request) (web.Pending, error) {
	q, err := readRequest(r)
	if err != nil {
		return web.Pending{}, err
	}
	switch q.action {
	case "", actionSignIn:
		return p.receiveSignIn(q)
	case actionSignOut, actionSignOutCleanup:
		return p.receiveSignOut(q), nil
	}
	return web.Pending{}, refuse("The application asked for something that this sign-in service does not do.", "wa is %s", quote(q.action))
}

func (p *Protocol) receiveSignIn(q request) (web.Pending, error) {
	party, ok := p.current.Load().parties[q.realm]
	if !ok {
		if q.realm == "" {
			return web.Pending{}, refuse("The application did not say who it is.", "no wtrealm")
		}
		return web.Pending{}, refuse("The application that sent you here is not registered with this sign-in service.",
			"wtrealm %s is not in wsfed.relying_parties", quote(q.realm))
	}
	reply := q.reply
	if reply == "" {
		reply = party.replyURLs[0]
	}
	// Byte for byte, against URLs that were parsed when the service started:
	// whatever a browser might make of another spelling does not matter then.
	if !slices.Contains(party.replyURLs, reply) {
		return web.Pending{}, refuse("The application wants the answer at an address that is not registered with this sign-in service.",
			"wreply %s is not in the reply_urls of %q", quote(q.reply), q.realm)
	}
	if len(q.context) > maxContext || !token.IsText(q.context) {
		return web.Pending{}, refuse("The application's request has a part that cannot be given back to it.",
			"wctx is longer than %d bytes or has characters that XML cannot carry: %s", maxContext, quote(q.context))
	}
	age, err := maxAge(q.fresh)
	if err != nil {
		return web.Pending{}, refuse("The application's request cannot be understood.", "%w", err)
	}
	return web.Pending{RelyingParty: q.realm, MaxAge: age, State: state{q.realm, reply, q.context}.encode()}, nil
}

// receiveSignOut does not fail for an unknown realm or address: who wants to
// sign out is signed out, and only the way back depends on the request.
func (p *Protocol) receiveSignOut(q request) web.Pending {
	pending := web.Pending{SignOut: true, MaxAge: -1}
	if party, ok := p.current.Load().parties[q.realm]; ok {
		pending.RelyingParty = q.realm
		if slices.Contains(party.replyURLs, q.reply) {
			pending.ReturnTo = q.reply
		}
	} else if q.realm == "" && p.isReplyURL(q.reply) {
		pending.ReturnTo = q.reply
	}
	return pending
}

// isReplyURL reports whether some relying party has that reply URL.
func (p *Protocol) isReplyURL(reply string) bool {
	for _, party := range p.current.Load().parties {
		if slices.Contains(party.replyURLs, reply) {
			return true
		}
	}
	return false
}

// Reply answers a request that [Protocol.Receive] accepted with a token.
func (p *Protocol) Reply(w http.ResponseWriter, _ *http.Request, pending web.Pending, id *signin.Identity) error {
	to, fields, err := p.answer(pending, id)
	if err != nil {
		return err
	}
	return web.WriteAutoPost(w, to, fields)
}

// answer returns what is posted for a token about id, and where to.
func (p *Protocol) answer(pending web.Pending, id *signin.Identity) (to string, fields []web.Field, err error) {
	s, err := decodeState(pending.State)
	if err != nil {
		return "", nil, err
	}
	// The configuration may have changed while the user typed.
	now := p.current.Load()
	party, ok := now.parties[s.realm]
	if !ok || !slices.Contains(party.replyURLs, s.reply) {
		return "", nil, refuse("The application that sent you here is no longer registered with this sign-in service.",
			"wtrealm %q with wreply %q was accepted and is not configured any more", s.realm, s.reply)
	}
	statement := token.SAML11{
		Issuer:   now.issuer,
		Audience: party.audience,
		Context:  s.context,
		Now:      p.Now(),
		Identity: id,
	}
	if party.byTenantID {
		statement.Subject = id.TenantID
	}
	signed, err := statement.Sign(p.keys.Current())
	if err != nil {
		return "", nil, err
	}
	return s.reply, []web.Field{
		{Name: "wa", Value: actionSignIn},
		{Name: "wresult", Value: string(signed)},
		{Name: "wctx", Value: s.context},
	}, nil
}

// A request holds the parameters that mean something here; "" is a parameter
// that is absent or empty.
type request struct{ action, realm, reply, context, fresh string }

// readRequest reads the query of a GET or the body of a POST, never both, so
// that nobody can complete somebody else's form by the address it goes to.
func readRequest(r *http.Request) (request, error) {
	values, err := readValues(r)
	if err != nil {
		return request{}, err
	}
	return requestOf(values)
}

// requestOf returns the request that has these parameters, each at most once.
func requestOf(values url.Values) (q request, err error) {
	for _, f := range []struct {
		name string
		to   *string
	}{{"wa", &q.action}, {"wtrealm", &q.realm}, {"wreply", &q.reply}, {"wctx", &q.context}, {"wfresh", &q.fresh}} {
		switch v := values[f.name]; len(v) {
		case 0:
		case 1:
			*f.to = v[0]
		default: // which one counts is a matter of opinion, and opinions differ
			return request{}, refuse("The application's request cannot be understood.", "%s comes %d times", f.name, len(v))
		}
	}
	return q, nil
}

func readValues(r *http.Request) (url.Values, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return readQuery(r)
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, refuse("The application's request cannot be understood.", "body of type %s, not a form", quote(r.Header.Get("Content-Type")))
		}
		if err := r.ParseForm(); err != nil {
			if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, tooLarge
			}
			// The error quotes what it does not understand, which may be a piece of
			// a secret that was sent to the wrong place.
			return nil, refuse("The application's request cannot be understood.", "the form cannot be decoded")
		}
		return r.PostForm, nil
	}
	return nil, refuse("The application's request cannot be understood.", "method %s", quote(r.Method))
}

func readQuery(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse("The application's request cannot be understood.", "the query cannot be decoded")
	}
	return values, nil
}

// maxAge returns how old the proof may be that answers a request with this
// wfresh, which is in minutes.
func maxAge(fresh string) (time.Duration, error) {
	if fresh == "" {
		return -1, nil
	}
	minutes, err := strconv.ParseUint(fresh, 10, 27) // 255 years, which is no overflow
	if err != nil {
		return 0, fmt.Errorf("wfresh is %s, not a number of minutes", quote(fresh))
	}
	return time.Duration(minutes) * time.Minute, nil
}

// A state is what has to be known of a request when it is answered.
type state struct{ realm, reply, context string }

// encode joins the parts with NUL, which is in none of them: a realm and a URL
// are configured without, and a wctx was refused with one.
func (s state) encode() []byte {
	return []byte(s.realm + "\x00" + s.reply + "\x00" + s.context)
}

func decodeState(b []byte) (state, error) {
	parts := strings.Split(string(b), "\x00")
	if len(parts) != 3 {
		return state{}, fmt.Errorf("wsfed: state in %d parts", len(parts))
	}
	return state{parts[0], parts[1], parts[2]}, nil
}

// refuse returns a page that tells the user what happened and to whom to turn.
// The detail, for the log, is made as by [fmt.Errorf].
func refuse(message, format string, args ...any) error {
	return &web.Error{
		Status:  http.StatusBadRequest,
		Message: message + " Go back to the application and start again; if that does not help, tell the people who look after the application.",
		Err:     fmt.Errorf(format, args...),
	}
}

// quote quotes for the log what a stranger sent, but not all of it.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
