package hub

import (
	"errors"
	"net/http"
	"slices"

	"adconnector/connector/signin"
	"adconnector/connector/web"
)

// Logout is what GET /logout?returnTo=... does: it ends the session of a browser
// and sends it on, to the addresses that are listed and no others.
type Logout struct{ URLs []string }

// Receive decides where the browser goes afterwards. An address that is not
// listed keeps nobody from signing out.
func (l Logout) Receive(r *http.Request) (web.Pending, error) {
	pending := web.Pending{SignOut: true, MaxAge: -1}
	if to := r.URL.Query().Get("returnTo"); slices.Contains(l.URLs, to) {
		pending.ReturnTo = to
	}
	return pending, nil
}

// Reply is never due: nobody signs in here.
func (l Logout) Reply(http.ResponseWriter, *http.Request, web.Pending, *signin.Identity) error {
	return errors.New("a sign-in was answered that nobody asked for")
}
