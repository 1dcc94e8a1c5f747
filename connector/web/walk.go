package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"

	"adconnector/connector/signin"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// serveProtocol serves a relying party's request.
func (s *Server) serveProtocol(w http.ResponseWriter, r *http.Request, name string, p Protocol) error {
	pending, err := p.Receive(r)
	if err != nil {
		return err
	}
	pending.Protocol = name
	// A form that another site sends comes without our cookies, because they
	// are SameSite=Lax. The GET that follows a redirect has them.
	if _, ok := s.sessions.current(r); r.Method == http.MethodPost && !ok {
		http.Redirect(w, r, s.prefix+"/resume?p="+s.sealer.seal(forResume, "", pending), http.StatusSeeOther)
		return nil
	}
	return s.walk(w, r, pending)
}

// serveResume goes on with a request that came by POST.
func (s *Server) serveResume(w http.ResponseWriter, r *http.Request) error {
	p, _, err := s.sealer.open(forResume, r.URL.Query().Get("p"))
	if err == nil {
		_, err = s.protocol(p)
	}
	if err != nil {
		return &Error{http.StatusBadRequest, "This sign-in has expired. Go back to your application and start again.", err}
	}
	return s.walk(w, r, p)
}

// protocol returns the protocol that p is a request of.
func (s *Server) protocol(p Pending) (Protocol, error) {
	if protocol, ok := s.protocols[p.Protocol]; ok {
		return protocol, nil
	}
	return nil, fmt.Errorf("protocol %q is not offered", p.Protocol)
}

// walk answers p with what needs no question, in order: the session, then the
// certificate of the connection. Else it asks.
//
// Only "there is none" leads on. A certificate that is refused ends the walk,
// and so does everything that is broken: nobody gets to try a weaker method
// because a stronger one failed unseen.
func (s *Server) walk(w http.ResponseWriter, r *http.Request, p Pending) error {
	if p.SignOut {
		return s.signOutFor(w, r, p)
	}
	note := ""
	current, ok := s.sessions.current(r)
	if ok && s.showsAnother(r, current.identity) {
		if err := s.sessions.end(w, r); err != nil {
			return err
		}
		ok, note = false, sentence(signin.BySession, denial.SessionEnded)
	}
	if ok && s.freshEnough(p, current.identity) {
		id, err := s.signIn(r, p, signin.Session{Identity: current.identity})
		if err == nil {
			s.sessions.renew(r, id)
			return s.reply(w, r, p, id)
		}
		if denial.ReasonOf(err) == "" {
			return err
		}
		if err := s.sessions.end(w, r); err != nil {
			return err
		}
		note = sentence(signin.BySession, denial.SessionEnded)
	}
	if chain := s.chain(r); chain != nil && !signedOut(r) {
		return s.tryCertificate(w, r, p, chain)
	}
	return s.ask(w, r, p, http.StatusOK, formPage{Note: note})
}

// showsAnother reports whether the connection carries another certificate than
// the one that proved id: somebody else put a card into the reader, and must not
// be taken for the person before. No card at all says nothing; browsers do not
// send one on every connection.
func (s *Server) showsAnother(r *http.Request, id *signin.Identity) bool {
	chain := s.chain(r)
	if chain == nil || id.Certificate == nil {
		return false
	}
	sum := sha256.Sum256(chain[0].Raw)
	return hex.EncodeToString(sum[:]) != id.Certificate.Thumbprint
}

// freshEnough reports whether p is content with a proof as old as id's. Of one
// that lies ahead nobody knows how old it is: the clock has been put back since.
func (s *Server) freshEnough(p Pending, id *signin.Identity) bool {
	age := s.now().Sub(id.AuthenticatedAt)
	return p.MaxAge < 0 || age >= 0 && age <= p.MaxAge && p.MaxAge > 0
}

// attempt is the request of a browser for the one door.
func attempt(r *http.Request, p Pending, c signin.Credential) signin.Attempt {
	v := visitOf(r)
	return signin.Attempt{
		Credential:   c,
		Via:          p.Protocol,
		RelyingParty: p.RelyingParty,
		Remote:       v.remote,
		RequestID:    v.reference,
	}
}

// signIn asks the one door. The error is a denial or a fault with a page.
func (s *Server) signIn(r *http.Request, p Pending, c signin.Credential) (*signin.Identity, error) {
	id, err := s.service.SignIn(r.Context(), attempt(r, p, c))
	if err != nil && denial.ReasonOf(err) == "" {
		return nil, &Error{http.StatusServiceUnavailable, "You cannot be signed in at the moment, because something on our side is not working. Try again in a few minutes; if it stays like this, tell your help desk.", err}
	}
	if err == nil && id == nil {
		return nil, errors.New("the sign-in service gave neither an identity nor an error")
	}
	return id, err
}

// chain returns the certificates of the connection, leaf first, or nil if there
// are none or the other end was not to be asked.
func (s *Server) chain(r *http.Request) []*x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || !s.asked(r) {
		return nil
	}
	return r.TLS.PeerCertificates
}

// asked reports whether the connection is one that was asked for a certificate.
func (s *Server) asked(r *http.Request) bool {
	return s.certificates != nil && s.certificates.Contains(visitOf(r).remote)
}

// offersPassword reports whether the form is for this address.
func (s *Server) offersPassword(r *http.Request) bool {
	return s.password && (s.passwordFrom == nil || s.passwordFrom.Contains(visitOf(r).remote))
}

// signedOut reports whether somebody signed out in this browser, after which
// the certificate is not used before they say so.
func signedOut(r *http.Request) bool {
	_, err := r.Cookie(signedOutCookie)
	return err == nil
}

// tryCertificate signs in by the connection's certificate or shows why not.
func (s *Server) tryCertificate(w http.ResponseWriter, r *http.Request, p Pending, chain []*x509.Certificate) error {
	id, err := s.signIn(r, p, signin.Certificate{Chain: chain})
	if err == nil {
		return s.admit(w, r, p, id)
	}
	reason := denial.ReasonOf(err)
	if reason == "" {
		return err
	}
	form := s.newForm(w, r, p)
	form.FocusUsername, form.FocusPassword = false, false // the reason is what to read first
	form.Alert = sentence(signin.ByCertificate, reason)
	s.render(w, r, deniedStatus(signin.ByCertificate, reason), "refused", refusedPage{
		formPage: form,
		Seen:     certauth.Describe(chain[0]),
	})
	return nil
}

// servePassword serves the forms of the sign-in page coming back: a user name
// with a password, or the button that says to use the certificate.
func (s *Server) servePassword(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	p, ok, err := s.opened(w, r, f, signin.ByPassword, forForm)
	if !ok {
		return err
	}
	switch f["method"] {
	case "certificate":
		chain := s.chain(r)
		if chain == nil {
			_, _ = s.signIn(r, p, signin.Certificate{}) // none: to be recorded
			return &Error{http.StatusForbidden, "Your browser sent no certificate. Close all its windows, open it again and choose the certificate when you are asked.", nil}
		}
		return s.tryCertificate(w, r, p, chain)
	case "":
	default:
		s.refuse(r, signin.ByPassword, p, f["username"], denial.BadForm, "the form asks for a method that there is not")
		return &Error{http.StatusBadRequest, "This form is not one of ours. Go back to your application and start again.", nil}
	}
	if !s.offersPassword(r) {
		s.refuse(r, signin.ByPassword, p, f["username"], denial.NotAllowedHere, "sign-in by password is not offered to this address")
		return notOffered()
	}
	id, err := s.signIn(r, p, signin.Password{Username: f["username"], Password: secret.New(f["password"])})
	if err == nil {
		return s.admit(w, r, p, id)
	}
	reason := denial.ReasonOf(err)
	if reason == "" {
		return err
	}
	if _, ok := errors.AsType[*signin.Changeable](err); ok {
		return s.offerChange(w, r, p, f["username"], reason)
	}
	return s.ask(w, r, p, deniedStatus(signin.ByPassword, reason), formPage{
		Alert:    sentence(signin.ByPassword, reason),
		Username: f["username"],
	})
}

// opened returns the request that a form was sealed for, if the form is one of
// this browser's. If not, the attempt has been recorded, and the error, if there
// is one, is the page; else the page has been written.
func (s *Server) opened(w http.ResponseWriter, r *http.Request, f map[string]string, by signin.Method, purpose string) (Pending, bool, error) {
	p, browser, err := s.sealer.open(purpose, f["pending"])
	if err == nil {
		_, err = s.protocol(p)
	}
	if err != nil {
		s.refuse(r, by, p, f["username"], denial.BadForm, "the sealed request of the form cannot be opened: %w", err)
		return p, false, &Error{http.StatusBadRequest, "This sign-in has expired. Go back to your application and start again.", err}
	}
	if browser == "" || browser != browserOf(r) {
		s.refuse(r, by, p, f["username"], denial.BadForm, "the form was made for another browser, or this one keeps no cookies")
		// Either somebody else's form, made to sign this person in as somebody
		// else, or one of several pages that this browser opened at the same
		// time, of which the last set the cookie. Asking again is right for both.
		return p, false, s.ask(w, r, p, http.StatusBadRequest, formPage{
			Alert: "Sign in once more, please. If you see this again, your browser does not keep cookies for this site.",
		})
	}
	return p, true, nil
}

// refuse records a form with a password that was not looked at. Whatever it
// holds besides the name, it is nobody's password yet.
func (s *Server) refuse(r *http.Request, by signin.Method, p Pending, username string, reason denial.Reason, format string, args ...any) {
	_, _ = s.signIn(r, p, signin.Refused{By: by, Username: username, Why: denial.New(reason, format, args...)})
}

// admit lets id in: from here on there is a session, and p is answered.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, p Pending, id *signin.Identity) error {
	if err := s.sessions.begin(w, r, id); err != nil {
		return err
	}
	// Somebody who signed out and then typed a password does not want the
	// certificate back when that session ends; somebody who chose it does.
	if id.AuthenticatedBy == signin.ByCertificate && signedOut(r) {
		setMark(w, signedOutCookie, "")
	}
	return s.reply(w, r, p, id)
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request, p Pending, id *signin.Identity) error {
	protocol, err := s.protocol(p)
	if err != nil {
		return err
	}
	return protocol.Reply(w, r, p, id)
}

// ask shows the sign-in page with what is offered to this address.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, p Pending, status int, with formPage) error {
	form := s.newForm(w, r, p)
	form.Alert, form.Note, form.Username = with.Alert, with.Note, with.Username
	form.FocusUsername, form.FocusPassword = form.Username == "", form.Username != ""
	if chain := s.chain(r); chain != nil {
		form.Certificate = label(chain[0])
	} else {
		form.Missed = s.asked(r)
	}
	if !form.Password && form.Certificate == "" {
		return s.nothingOffered(r)
	}
	s.render(w, r, status, "form", form)
	return nil
}

// newForm returns the form for p, sealed for this browser. A browser that has
// no number yet gets one.
func (s *Server) newForm(w http.ResponseWriter, r *http.Request, p Pending) formPage {
	browser := browserOf(r)
	if browser == "" {
		browser = rand.Text()
		setMark(w, browserCookie, browser)
	}
	return formPage{
		Action:       s.prefix + "/signin",
		Pending:      s.sealer.seal(forForm, browser, p),
		RelyingParty: p.RelyingParty,
		Password:     s.offersPassword(r),
	}
}

// nothingOffered says what to do where there is no form to show.
func (s *Server) nothingOffered(r *http.Request) error {
	if s.asked(r) {
		return &Error{http.StatusForbidden, "You need a certificate to sign in here, and your browser sent none. Close all its windows, insert your card if you have one, open the browser again and choose the certificate when you are asked.", nil}
	}
	return notOffered()
}

func notOffered() error {
	return &Error{http.StatusForbidden, "Sign-in is not offered on the network that you are using. Connect to your organisation's network and try again.", nil}
}

// browserOf returns the random number of this browser, "" if it has none or
// something that is not one.
func browserOf(r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil || len(c.Value) != len(rand.Text()) {
		return ""
	}
	return c.Value
}

// label is how a button names a certificate: by the common name if it is fit to
// be read, else by the whole subject. It proves nothing and decides nothing.
func label(leaf *x509.Certificate) string {
	cn := leaf.Subject.CommonName
	if cn != "" && len(cn) <= 64 && strings.IndexFunc(cn, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return cn
	}
	return certauth.Describe(leaf).Subject
}

// readForm reads the fields of a form from the body, each at most once. The
// query is never looked at: addresses are kept in histories and logs.
func readForm(r *http.Request) (map[string]string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, &Error{http.StatusUnsupportedMediaType, "This form is not one of ours. Go back to your application and start again.", nil}
	}
	if err := r.ParseForm(); err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge
		}
		// The error quotes what it does not understand, which may be a piece of
		// a password.
		return nil, &Error{http.StatusBadRequest, "The form did not arrive whole. Go back and send it again.", errors.New("the form cannot be decoded")}
	}
	f := map[string]string{}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, &Error{http.StatusBadRequest, "This form is not one of ours. Go back to your application and start again.", errors.New("a field comes twice")}
		}
		f[name] = values[0]
	}
	return f, nil
}

// when writes a moment for people, the same one for all of them.
func when(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }
