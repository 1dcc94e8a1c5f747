// Package denial is the vocabulary for turning a user away.
//
// A denial is an answer, not a failure: everything worked and the answer was
// no. Every layer that can say no returns an [*Error], and every layer that
// talks to people or machines chooses its words by [Reason] alone, so that the
// detail that helps an operator cannot leak to whoever is guessing passwords.
// Any other error means that something is broken.
package denial

import (
	"errors"
	"fmt"
	"slices"
)

// A Reason says why a user was turned away. Its text is a promise: it is what
// the audit log records, what the documentation lists and what upstreams get.
type Reason string

// Reasons that concern who somebody is, whatever proves it. BadCredentials
// stands for an unknown user as much as for a wrong password, so that nobody
// can use the connector to learn who exists.
const (
	BadCredentials  Reason = "bad_credentials"  // unknown user or wrong password
	NoAccount       Reason = "no_account"       // a certificate names nobody in the directory
	SeveralAccounts Reason = "several_accounts" // a name fits more than one account
	Throttled       Reason = "throttled"        // too many failures from this address or for this account
	NotAllowedHere  Reason = "not_allowed_here" // this method is not offered to this address
	BadForm         Reason = "bad_form"         // a form that is not one of ours for this browser, or too old
	SessionEnded    Reason = "session_ended"    // the session is over, or its account no longer is what it was
)

// Reasons that concern the state of an account that was found.
const (
	AccountDisabled    Reason = "account_disabled"
	AccountExpired     Reason = "account_expired"
	AccountLocked      Reason = "account_locked"
	PasswordExpired    Reason = "password_expired"
	MustChangePassword Reason = "must_change_password"
	OutsideHours       Reason = "outside_hours"
	NotAtThisComputer  Reason = "not_at_this_computer"
	DeniedGroup        Reason = "denied_group" // in a group whose members may not sign in
)

// Reasons that concern a new password. The directory judges one only after the
// old password, so whoever hears these has proved that they know it.
const (
	PasswordTooShort    Reason = "password_too_short"
	PasswordTooSimple   Reason = "password_too_simple"
	PasswordUsedBefore  Reason = "password_used_before"
	PasswordTooYoung    Reason = "password_too_young"    // changed too recently to be changed again
	PasswordNotAccepted Reason = "password_not_accepted" // against a rule, but the directory does not say which
	ChangeNotAllowed    Reason = "change_not_allowed"    // this user may not change the password
	ResetNotAllowed     Reason = "reset_not_allowed"     // the service account may not set this password
)

// Reasons that concern a client certificate.
const (
	Untrusted      Reason = "untrusted"       // no chain to a configured trust anchor
	Expired        Reason = "expired"         // the certificate or one of its issuers is past notAfter
	NotYetValid    Reason = "not_yet_valid"   // ... or before notBefore
	WrongUsage     Reason = "wrong_usage"     // not for client authentication, or a CA certificate
	WeakKey        Reason = "weak_key"        // RSA below 2048 bits, or a key of an unknown kind
	WeakSignature  Reason = "weak_signature"  // MD5 or SHA-1 in the chain
	AmbiguousName  Reason = "ambiguous_name"  // several names where one is wanted
	BadName        Reason = "bad_name"        // a name that no account may have
	WrongPolicy    Reason = "wrong_policy"    // not issued under a certificate policy that is asked for
	BadCertificate Reason = "bad_certificate" // too large, too deep or otherwise not to be worked with
)

// Reasons that concern whether a certificate belongs to the account whose name it
// bears.
const (
	SIDMismatch      Reason = "sid_mismatch"       // its security identifier is another account's
	WeakMapping      Reason = "weak_mapping"       // require_strong, and nothing but a name ties it to the account
	OlderThanAccount Reason = "older_than_account" // it was issued before the account was made
)

// Reasons that concern whether a certificate, or one of its issuers, has been
// taken back by its authority.
const (
	Revoked            Reason = "revoked"
	RevocationUnknown  Reason = "revocation_unknown"   // nobody could be asked
	NoRevocationSource Reason = "no_revocation_source" // require_source, and the certificate names nobody to ask
	CRLExpired         Reason = "crl_expired"          // the list has ended, or has not begun
	CRLUnreachable     Reason = "crl_unreachable"      // no list could be had
	CRLUnusable        Reason = "crl_unusable"         // damaged, too large, indirect or otherwise not supported
	CRLBadSignature    Reason = "crl_bad_signature"    // not signed by the authority
	CRLReplayed        Reason = "crl_replayed"         // older than the list before it
	OCSPUnreachable    Reason = "ocsp_unreachable"     // no answer could be had
	OCSPExpired        Reason = "ocsp_expired"         // the answer has ended, or has not begun
	OCSPUnknown        Reason = "ocsp_unknown"         // the responder does not know the certificate
	OCSPBadAnswer      Reason = "ocsp_bad_answer"      // by the wrong signer, to another question, for another certificate
)

// Reasons lists every reason, for tables and for the tests that hold pages and
// documentation complete.
func Reasons() []Reason { return slices.Clone(reasons) }

var reasons = []Reason{
	BadCredentials, NoAccount, SeveralAccounts, Throttled, NotAllowedHere, BadForm, SessionEnded,
	AccountDisabled, AccountExpired, AccountLocked, PasswordExpired, MustChangePassword, OutsideHours, NotAtThisComputer, DeniedGroup,
	PasswordTooShort, PasswordTooSimple, PasswordUsedBefore, PasswordTooYoung, PasswordNotAccepted, ChangeNotAllowed, ResetNotAllowed,
	Untrusted, Expired, NotYetValid, WrongUsage, WeakKey, WeakSignature, AmbiguousName, BadName, WrongPolicy, BadCertificate,
	SIDMismatch, WeakMapping, OlderThanAccount,
	Revoked, RevocationUnknown, NoRevocationSource, CRLExpired, CRLUnreachable, CRLUnusable, CRLBadSignature, CRLReplayed,
	OCSPUnreachable, OCSPExpired, OCSPUnknown, OCSPBadAnswer,
}

// Error reports that a user was turned away.
type Error struct {
	Reason Reason
	Err    error // what the operator should know; never shown to the user
}

// New returns a denial whose detail, for operators only, is made as by
// [fmt.Errorf].
func New(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Err: fmt.Errorf(format, args...)}
}

// Error returns the reason and the operator's detail.
func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns the operator's detail.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of the denial in err's chain, or "" when err is
// no denial: then something is broken, and nobody may be let in by it.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}
