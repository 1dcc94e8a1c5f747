package web

import (
	"net/http"
	"time"

	"adconnector/connector/signin"
)

// A Protocol is one way for a relying party to ask who a user is.
type Protocol interface {
	// Receive checks the relying party's request. It decides everything that
	// depends on the request, in particular where the answer may be sent. An
	// error that is an [*Error] becomes that page; any other is a fault.
	Receive(r *http.Request) (Pending, error)

	// Reply answers a request that Receive accepted. It writes to w only if
	// it returns nil.
	Reply(w http.ResponseWriter, r *http.Request, p Pending, id *signin.Identity) error
}

// Pending is a request that waits for its user to prove who they are. It
// travels sealed (encrypted and authenticated) through the browser, so no
// server state is needed and nothing in it can be changed on the way.
type Pending struct {
	Protocol     string // the name under which the protocol was mounted; set by this package
	RelyingParty string // for the audit line and the page, such as a realm
	// MaxAge is how old the proof may be that answers this request; 0 demands
	// a fresh one and a negative value accepts any session.
	MaxAge time.Duration
	// SignOut asks to end the session instead. ReturnTo is then where to send
	// the browser afterwards, "" for the signed-out page; Receive has checked
	// that it is allowed.
	SignOut  bool
	ReturnTo string
	// State is the protocol's own, opaque here.
	State []byte
}

// Error is a failure for which a page has words. Every other error is shown as
// "something went wrong on our side".
type Error struct {
	Status  int    // of the HTTP response
	Message string // for the person in front of the browser: what happened and what to do
	Err     error  // for the log only
}

// Error returns the message and the detail, for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + " (" + e.Err.Error() + ")"
}

// Unwrap returns the detail.
func (e *Error) Unwrap() error { return e.Err }
