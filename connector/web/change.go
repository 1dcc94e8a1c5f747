package web

import (
	"net/http"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// The form for a new password is reached in one way: by signing in with the old
// one, when the directory says that it is right and has had its time. So it is
// sealed for the user as well as for the browser, and nobody can send one back
// with another name in it. It is not sealed anew when it comes back with a
// mistake: half an hour after the old password was proved, it has to be proved
// again.

// changeOf is the purpose of a request that is sealed into the form for a new
// password of one user, by the name that was typed.
func changeOf(username string) string { return forChange + "\x00" + username }

// Why the form for a new password is there.
var changeNotes = map[denial.Reason]string{
	denial.PasswordExpired:    "Your password has expired. Choose a new one, and you will be signed in.",
	denial.MustChangePassword: "You must choose a new password before you can go on. You will then be signed in.",
}

// offerChange shows the form for a new password to somebody who has proved to
// know the old one.
func (s *Server) offerChange(w http.ResponseWriter, r *http.Request, p Pending, username string, why denial.Reason) error {
	s.render(w, r, deniedStatus(signin.ByPassword, why), "change", changePage{
		Action:       s.prefix + "/password",
		Pending:      s.sealer.seal(changeOf(username), browserOf(r), p),
		RelyingParty: p.RelyingParty,
		Note:         changeNotes[why],
		Username:     username,
	})
	return nil
}

// serveChange serves the form for a new password coming back. After the change
// the person signs in with the new password, through the same door as everybody.
func (s *Server) serveChange(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	username := f["username"]
	p, ok, err := s.opened(w, r, f, signin.ByPasswordChange, changeOf(username))
	if !ok {
		return err
	}
	again := changePage{
		Action: s.prefix + "/password", Pending: f["pending"], RelyingParty: p.RelyingParty, Username: username,
	}
	if f["new"] != f["again"] {
		again.Alert = "The two new passwords are not the same. Type all three passwords once more."
		s.render(w, r, http.StatusBadRequest, "change", again)
		return nil
	}
	c := signin.PasswordChange{Username: username, Old: secret.New(f["old"]), New: secret.New(f["new"])}
	err = s.service.ChangePassword(r.Context(), attempt(r, p, c))
	reason := denial.ReasonOf(err)
	switch {
	case err == nil:
		return s.signInChanged(w, r, p, c)
	case reason == "":
		return &Error{http.StatusServiceUnavailable, "Something on our side is not working, and we cannot tell whether your password was changed. Try to sign in in a few minutes: with the new password, and if it is not accepted, with the old one. If it stays like this, tell your help desk.", err}
	case reason == denial.ChangeNotAllowed, reason == denial.PasswordExpired, reason == denial.PasswordTooYoung, reason == denial.NotAllowedHere:
		// No other new password would help.
		return s.ask(w, r, p, deniedStatus(signin.ByPasswordChange, reason), formPage{
			Alert: sentence(signin.ByPasswordChange, reason), Username: username,
		})
	}
	again.Alert = sentence(signin.ByPasswordChange, reason)
	s.render(w, r, deniedStatus(signin.ByPasswordChange, reason), "change", again)
	return nil
}

// signInChanged signs in with the password that c has set.
func (s *Server) signInChanged(w http.ResponseWriter, r *http.Request, p Pending, c signin.PasswordChange) error {
	id, err := s.signIn(r, p, signin.Password{Username: c.Username, Password: c.New})
	if err == nil {
		return s.admit(w, r, p, id)
	}
	reason := denial.ReasonOf(err)
	if reason == "" {
		return &Error{http.StatusServiceUnavailable, "Your password was changed. Something on our side is not working, so you cannot be signed in at the moment. Go back to your application in a few minutes and sign in with the new password; if it stays like this, tell your help desk.", err}
	}
	return s.ask(w, r, p, deniedStatus(signin.ByPassword, reason), formPage{
		Note:     "Your password was changed.",
		Alert:    sentence(signin.ByPassword, reason),
		Username: c.Username,
	})
}
