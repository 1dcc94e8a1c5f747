package hub

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A command counts for a few minutes from when it was made, whatever it says of
// its end, and is remembered for longer than that.
const (
	maxAge = 5 * time.Minute
	skew   = time.Minute // by which the tenant's clock may be ahead, or ours put back
	maxPID = 256
)

// A command is what the tenant asks for. Which fields mean something depends on
// its event.
type command struct {
	PID      processID        `json:"pid"`
	Username string           `json:"username"`
	Password string           `json:"password"`
	Search   string           `json:"search"`
	Limit    limit            `json:"limit"`
	Escaped  bool             `json:"escaped"`
	IssuedAt *jwt.NumericDate `json:"iat"`
	Expires  *jwt.NumericDate `json:"exp"`
	NotYet   *jwt.NumericDate `json:"nbf"`
	Audience jwt.Audience     `json:"aud"`
}

// algorithms are what commands may be signed by. There is one key, and it is for
// one algorithm: what a header says of keys is not looked at.
var algorithms = []jose.SignatureAlgorithm{jose.RS256}

// verify returns the command in a token that the tenant signed, that holds now
// and that was not seen before.
func (a *Agent) verify(token string, s *Settings, key *rsa.PublicKey, now time.Time) (*command, error) {
	signed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, errNotSigned
	}
	// One verification for both: it is most of what a command costs here.
	c, payload := &command{}, json.RawMessage{}
	if err := signed.Claims(key, &payload, c); errors.Is(err, jose.ErrCryptoFailure) {
		return nil, errNotTenant
	} else if err != nil {
		return nil, errors.New("what is signed is no command")
	}
	if err := c.check(s, now); err != nil {
		return nil, err
	}
	if err := a.recall.admit(c.IssuedAt.Time()); err != nil {
		return nil, err
	}
	// What was signed counts, not how it is written. The event is not signed: a
	// sign-in must not become a new password by being sent once more as another.
	hash := sha256.Sum256(payload)
	what, end := sighting(hash[:len(sighting{})]), c.end().Add(skew)
	isNew, full := a.seen.add(what, end, now)
	switch {
	case full:
		return nil, errFull
	case !isNew:
		return nil, errReplayed
	}
	a.recall.record(what, end, now)
	return c, nil
}

var (
	errNoTenant   = errors.New("the tenant is not known yet")
	errNotSigned  = errors.New("it is not a JWT that is signed by RS256")
	errNotTenant  = errors.New("it is not signed by the tenant")
	errForCommand = errors.New("it was made for a command")
	errReplayed   = errors.New("it came before")
	errFull       = fmt.Errorf("%d commands came that hold still", maxRemembered)
)

// check refuses a command that cannot be answered, or does not hold.
func (c *command) check(s *Settings, now time.Time) error {
	if c.PID == "" || len(c.PID) > maxPID {
		return errors.New("it has no usable pid")
	}
	return c.holds(s, now)
}

// holds refuses what does not hold now, or not here.
func (c *command) holds(s *Settings, now time.Time) error {
	switch {
	case c.IssuedAt == nil || c.Expires == nil:
		return errors.New("it does not say from when to when it holds (iat, exp)")
	case c.IssuedAt.Time().After(now.Add(skew)):
		return fmt.Errorf("it was made %v from now: compare the clock of this machine", c.IssuedAt.Time().Sub(now).Round(time.Second))
	case !now.Before(c.end()):
		return fmt.Errorf("it is too old, from %v ago: compare the clock of this machine", now.Sub(c.IssuedAt.Time()).Round(time.Second))
	case c.NotYet != nil && c.NotYet.Time().After(now.Add(skew)):
		return errors.New("it does not hold yet (nbf)")
	case len(c.Audience) > 0 && !slices.ContainsFunc(c.Audience, s.isCalled):
		return errors.New("it is for another connection (aud)")
	}
	return nil
}

// end returns from when on a command is too old.
func (c *command) end() time.Time {
	end, latest := c.Expires.Time(), c.IssuedAt.Time().Add(maxAge)
	if latest.Before(end) {
		return latest
	}
	return end
}

// isCalled reports whether name is one of the connection's.
func (s *Settings) isCalled(name string) bool {
	return name == s.Realm || name == s.ConnectionName || name == s.ConnectionDomain
}
