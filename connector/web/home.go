package web

import (
	"errors"
	"net/http"

	"adconnector/connector/signin"
)

// homeProtocol is the name of the protocol behind the front page.
const homeProtocol = "home"

// home is the protocol of somebody who opens the front page: nobody else asks,
// and the reply is the page that says who is signed in.
type home struct{ s *Server }

// Receive accepts any session.
func (h home) Receive(*http.Request) (Pending, error) {
	return Pending{Protocol: homeProtocol, MaxAge: -1}, nil
}

// Reply shows the page. After a form it first goes to the page's own address,
// where it can be reloaded, unless there is no session to be found there.
func (h home) Reply(w http.ResponseWriter, r *http.Request, _ Pending, id *signin.Identity) error {
	current, kept := h.s.sessions.current(r)
	if kept && r.Method == http.MethodPost {
		return h.s.goHome(w, r)
	}
	by := "password"
	if id.AuthenticatedBy == signin.ByCertificate {
		by = "certificate"
	}
	h.s.render(w, r, http.StatusOK, "home", homePage{
		Identity: id,
		By:       by,
		SignOut:  h.s.prefix + "/signout",
		Token:    current.token,
	})
	return nil
}

// serveHome serves the front page.
func (s *Server) serveHome(w http.ResponseWriter, r *http.Request) error {
	p, err := s.protocols[homeProtocol].Receive(r)
	if err != nil {
		return err
	}
	return s.walk(w, r, p)
}

// goHome sends the browser to the front page.
func (s *Server) goHome(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, s.prefix+"/", http.StatusSeeOther)
	return nil
}

// serveSignOut ends the session for somebody who pressed the button.
func (s *Server) serveSignOut(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	if current, ok := s.sessions.current(r); ok && !current.owns(f["token"]) {
		return &Error{http.StatusForbidden, "This page is out of date, so you are still signed in. Open the front page again and sign out there.", errors.New("sign-out token does not fit the session")}
	}
	if err := s.signOut(w, r); err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "signedout", signedOutPage{Home: s.prefix + "/"})
	return nil
}

// signOutFor ends the session because a relying party asks for it. Where the
// browser goes afterwards was checked by the protocol.
func (s *Server) signOutFor(w http.ResponseWriter, r *http.Request, p Pending) error {
	if err := s.signOut(w, r); err != nil {
		return err
	}
	if p.ReturnTo != "" {
		status := http.StatusSeeOther
		if r.Method == http.MethodGet {
			status = http.StatusFound // as Auth0's connector
		}
		http.Redirect(w, r, p.ReturnTo, status)
		return nil
	}
	s.render(w, r, http.StatusOK, "signedout", signedOutPage{Home: s.prefix + "/"})
	return nil
}

// signOut ends the session, if there is one, and has the browser remember that
// its certificate is not to be used unasked: it would be the way right back in.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	setMark(w, signedOutCookie, "1")
	return s.sessions.end(w, r)
}
