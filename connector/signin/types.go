package signin

import (
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"time"

	"adconnector/connector/profile"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// Method names a way of proving who one is. Its text is a promise: it stands
// in audit lines and in tokens.
type Method string

// The methods.
const (
	ByPassword    Method = "password"
	ByCertificate Method = "certificate"
	BySession     Method = "session"
	// ByPasswordChange is no way in: it marks what concerns the change of a
	// password.
	ByPasswordChange Method = "password_change"
	// ByPasswordReset marks what concerns a password that a service sets.
	ByPasswordReset Method = "password_reset"
)

// A Credential is what somebody brings to prove who they are: [Password],
// [Certificate], [Session], or what is left of one, [Refused]. [PasswordChange]
// is for [Service.ChangePassword] only, and [PasswordReset] for
// [Service.ResetPassword]. The set is closed.
type Credential interface{ Method() Method }

// Password is a user name and a password as they were typed.
type Password struct {
	Username string
	Password secret.String
}

// PasswordChange is a user name with the old password and the new one.
type PasswordChange struct {
	Username string
	Old, New secret.String
}

// Method returns [ByPasswordChange].
func (PasswordChange) Method() Method { return ByPasswordChange }

// PasswordReset is a user name with the password that a service sets, without the
// old one.
type PasswordReset struct {
	Username string
	New      secret.String
}

// Method returns [ByPasswordReset].
func (PasswordReset) Method() Method { return ByPasswordReset }

// Certificate is the chain that the client sent in the TLS handshake, leaf
// first. That the client holds the leaf's key was proved by the handshake;
// nothing else about the chain has been checked.
type Certificate struct{ Chain []*x509.Certificate }

// Session is an identity that was proved earlier and kept.
type Session struct{ Identity *Identity }

// Refused is a credential that was not looked at, because the way it came in is
// one of an attack, or of a page that is too old. It proves nothing: it goes
// through the door to be recorded.
type Refused struct {
	By       Method // what it would have been
	Username string // as it was sent, if that is known
	Why      *denial.Error
}

// Method returns what the credential would have been.
func (r Refused) Method() Method { return r.By }

// Method returns [ByPassword].
func (Password) Method() Method { return ByPassword }

// Method returns [ByCertificate].
func (Certificate) Method() Method { return ByCertificate }

// Method returns [BySession].
func (Session) Method() Method { return BySession }

// An Attempt is one request to be let in.
type Attempt struct {
	Credential   Credential
	Via          string     // the protocol that asked, such as "wsfed"
	RelyingParty string     // who asked, such as a realm; for the audit line
	Remote       netip.Addr // where the request came from, unmapped
	RequestID    string     // the reference that the user sees on an error page
	// Relayed says that a service which keeps its own door has passed the
	// attempt on without the address it came from, so that Remote is none. What
	// the configuration says of addresses does not apply then.
	Relayed bool
	// About, if set, is called with the profile of the account that was found
	// before the refusal of a password is returned: for services that keep account
	// of whom they refuse. Nobody else may learn who exists. Groups that cannot be
	// told in the time that a refusal takes anyway are left out.
	About func(*Identity)
}

// origin returns the network that an attempt counts as from.
func (a *Attempt) origin() netip.Prefix {
	if a.Relayed {
		return relay
	}
	return network(a.Remote)
}

// An Identity is what the outside learns of a user who was let in. It is
// immutable: a fresh look at the directory makes a new one.
type Identity struct {
	ID string // stable: objectGUID as text, else entryUUID
	// TenantID is by which a tenant knows the user from Auth0's connector, if that
	// is not the ID: the uid. It is "" where no tenant asks. Nothing else may be
	// decided by it, because a uid can be somebody else's later.
	TenantID string
	Username string // sAMAccountName, else uid
	// Nickname is what upstreams call the user: the user name, unless the profile
	// says otherwise. Nothing but claims is made of it.
	Nickname    string
	DisplayName string
	Email       string
	GivenName   string
	FamilyName  string
	// Attributes are the further claims of the profile, in the order in which
	// they are reported.
	Attributes []Attribute
	// Groups are the names of the groups, nested ones included, in the order
	// in which the directory gave them. GroupsIncomplete says that the
	// directory could not be asked for all of them (groups.on_failure: omit).
	Groups           []string
	GroupsIncomplete bool

	AuthenticatedBy Method                // what proved it first, also in a session
	AuthenticatedAt time.Time             // when
	CheckedAt       time.Time             // when the directory last confirmed the account
	Certificate     *certauth.Certificate // if AuthenticatedBy is ByCertificate
}

// An Attribute is one claim of the profile.
type Attribute struct {
	Name   string
	Values []string
	Form   profile.Form // for upstreams that do not only know texts
}

// Value returns the values, of which there is one at least, as JSON tells them: a
// text, a list of texts, a number, true or false.
func (a Attribute) Value() any {
	switch {
	case a.Form == profile.Literal:
		return json.RawMessage(a.Values[0])
	case a.Form == profile.List || len(a.Values) > 1:
		return a.Values
	}
	return a.Values[0]
}
