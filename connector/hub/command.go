package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// commandTimeout bounds what one command may take, with all waiting.
const commandTimeout = time.Minute

// An answerer carries out a command and returns what follows the pid in the
// event of the answer, and the answer.
type answerer struct {
	suffix string
	do     func(ctx context.Context, c *command, reference string) any
}

// answers returns how to answer an event, nil if that is none of a command.
func (l *link) answers(event string) *answerer {
	switch event {
	case "authenticate_user":
		return &answerer{"_result", l.a.signIn}
	case "search_users":
		return &answerer{"_search_users_result", l.a.searchUsers}
	case "list_groups":
		return &answerer{"_list_groups_result", l.a.listGroups}
	case "change_password":
		if l.a.o.Passwords != nil {
			return &answerer{"_change_password_result", l.a.changePassword}
		}
	}
	return nil
}

// run carries out a command. Whatever goes wrong in it is an answer.
func (l *link) run(c *command, answer *answerer) (event string, payload any) {
	reference := rand.Text()[:12]
	event = string(c.PID) + answer.suffix
	defer func() {
		if v := recover(); v != nil {
			l.a.o.Log.Error("hub: a command failed", "reference", reference, "err", fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
			payload = unexpected(reference)
		}
	}()
	ctx, cancel := context.WithTimeout(l.ctx, commandTimeout)
	defer cancel()
	return event, answer.do(ctx, c, reference)
}

// signIn passes a user name and a password through the one door.
func (a *Agent) signIn(ctx context.Context, c *command, reference string) any {
	username := c.plain(c.Username)
	done, err := a.turns.take(ctx, username)
	if err != nil {
		a.o.Log.Warn("hub: a sign-in had to wait for others of the same user name until it was given up", "reference", reference, "err", err)
		return unexpected(reference)
	}
	defer done()
	var about *signin.Identity
	id, err := a.o.Service.SignIn(ctx, a.attempt(signin.Password{Username: username, Password: secret.New(c.Password)}, reference, &about))
	if err == nil {
		return map[string]any{"profile": profileOf(id, true)}
	}
	if denial.ReasonOf(err) == "" {
		a.o.Log.Error("hub: a sign-in could not be decided", "reference", reference, "err", err)
	}
	return refusal(err, c.Username, about, reference)
}

// attempt is what the tenant tries for one of its users. about is set to the
// account that a refusal concerns.
func (a *Agent) attempt(c signin.Credential, reference string, about **signin.Identity) signin.Attempt {
	return signin.Attempt{
		Credential:   c,
		Via:          "hub",
		RelyingParty: a.settings.Load().Realm,
		RequestID:    reference,
		Relayed:      true,
		About:        func(id *signin.Identity) { *about = id },
	}
}

func (a *Agent) searchUsers(ctx context.Context, c *command, reference string) any {
	found, err := lookup(ctx, a, c, a.o.Lookup.FindPeople)
	if err != nil {
		a.o.Log.Error("hub: people could not be looked up", "reference", reference, "err", err)
		return unexpected(reference)
	}
	a.o.Log.Info("hub: people were listed for the tenant", "found", len(found), "reference", reference)
	return map[string]any{"users": profilesOf(found)}
}

func (a *Agent) listGroups(ctx context.Context, c *command, reference string) any {
	groups, err := lookup(ctx, a, c, a.o.Lookup.FindGroups)
	if err != nil {
		a.o.Log.Error("hub: groups could not be listed", "reference", reference, "err", err)
		return unexpected(reference)
	}
	if groups == nil {
		groups = []string{}
	}
	a.o.Log.Info("hub: groups were listed for the tenant", "found", len(groups), "reference", reference)
	return map[string]any{"groups": groups}
}

// lookup asks for a list, with few others at the same time: they are long, and
// nobody stands before a door meanwhile. Nor must those that wait take the place
// of sign-ins.
func lookup[T any](ctx context.Context, a *Agent, c *command, find func(context.Context, string, int) ([]T, error)) ([]T, error) {
	leave, err := a.asked.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	select {
	case a.lookups <- struct{}{}:
		defer func() { <-a.lookups }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return find(ctx, c.plain(c.Search), int(c.Limit))
}

// plain returns text of the command as somebody has typed it.
func (c *command) plain(text string) string {
	if c.Escaped {
		return unescape(text)
	}
	return text
}

// unescape undoes what a tenant does to text that is to stand in a filter (RFC
// 4515, section 3). What is no escape stays as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// encode returns a frame. Tenants know the characters that Go would escape for
// web pages as they are.
func encode(event string, payload any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(struct {
		Event   string `json:"n"`
		Payload any    `json:"p"`
	}{event, payload}); err != nil {
		return nil, errors.New("an answer cannot be written as JSON")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
