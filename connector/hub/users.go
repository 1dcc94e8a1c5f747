package hub

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"adconnector/connector/signin"

	"github.com/go-jose/go-jose/v4/jwt"
)

// Users serves GET /users?criteria=...&limit=...: the profiles of people, for the
// tenant, which shows a JWT of its own as a bearer. One that was made for a
// command opens nothing here.
func (a *Agent) Users() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") { // RFC 9110, 11.1
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		if err := a.mayAsk(token); err != nil {
			a.ignore(a.oddUsers, oddityOf(err), "GET /users: %w", err)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		most, _ := strconv.Atoi(r.URL.Query().Get("limit")) // what is no number is no limit
		c := &command{Search: r.URL.Query().Get("criteria"), Limit: limit(most)}
		found, err := lookup(r.Context(), a, c, a.o.Lookup.FindPeople)
		if err != nil {
			a.o.Log.Error("hub: people could not be looked up", "err", err)
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		body, err := json.Marshal(profilesOf(found))
		if err != nil {
			a.o.Log.Error("hub: people could not be listed", "err", err)
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		a.o.Log.Info("hub: people were listed for the tenant", "found", len(found), "remote", remoteOf(r))
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = bytes.NewReader(body).WriteTo(w)
	})
}

// remoteOf returns the address that asks.
func remoteOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// mayAsk reports why a bearer is not the tenant.
func (a *Agent) mayAsk(token string) error {
	s := a.settings.Load()
	if s == nil {
		return errNoTenant
	}
	key, err := s.key()
	if err != nil {
		return err
	}
	signed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return errNotSigned
	}
	c := &command{}
	if err := signed.Claims(key, c); err != nil {
		return errNotTenant
	}
	if c.PID != "" {
		return errForCommand
	}
	return c.holds(s, time.Now())
}

func profilesOf(found []*signin.Identity) []profile {
	users := make([]profile, len(found))
	for i, id := range found {
		users[i] = profileOf(id, false)
	}
	return users
}
