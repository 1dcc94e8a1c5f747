package web

import (
	"net/http"

	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

// sentences say to a person why they were turned away and what to do. They
// never say more than what has been proved; see sentence.
var sentences = map[denial.Reason]string{
	denial.BadCredentials:  "The user name or the password is not right. If you are sure of both, the account may be locked: wait a while or ask your help desk.",
	denial.NoAccount:       "There is no account in the directory for this certificate. Ask your help desk which certificate to use.",
	denial.SeveralAccounts: "This certificate fits more than one account in the directory, so it cannot say who you are. Ask your help desk to put that right.",
	denial.Throttled:       "There were too many failed sign-ins. Wait a while, then try again.",
	denial.NotAllowedHere:  "This way to sign in is not offered on the network that you are using.",
	denial.BadForm:         "This sign-in has expired, or it did not begin in this browser. Go back to your application and start again.",
	denial.SessionEnded:    "Your session has ended. Sign in again to go on.",

	denial.AccountDisabled:    "Your account is disabled. Ask your help desk to enable it.",
	denial.AccountExpired:     "Your account has expired. Ask your help desk to extend it.",
	denial.AccountLocked:      "Your account is locked after too many failed sign-ins. Wait a while or ask your help desk to unlock it.",
	denial.PasswordExpired:    "Your password has expired. Change it at your computer or ask your help desk, then sign in here again.",
	denial.MustChangePassword: "You must change your password before you can sign in. Change it at your computer or ask your help desk.",
	denial.OutsideHours:       "Your account may not sign in at this time. Try again during your working hours.",
	denial.NotAtThisComputer:  "Your account may not sign in from here. Ask your help desk where it may.",
	denial.DeniedGroup:        "Your account may not be used to sign in here. Use another one, or ask your help desk.",

	denial.PasswordTooShort:    "The new password is too short. Choose a longer one.",
	denial.PasswordTooSimple:   "The new password is too simple. Use capital and small letters, digits and other characters, and not your own name.",
	denial.PasswordUsedBefore:  "You have used that password before. Choose one that you have not had yet.",
	denial.PasswordTooYoung:    "Your password was changed only a short time ago and cannot be changed again yet. Try again tomorrow, or ask your help desk.",
	denial.PasswordNotAccepted: "The new password is against the rules of your organisation. It may be too short or too simple, or one that you have had before: choose a longer one, with capital and small letters, digits and other characters.",
	denial.ChangeNotAllowed:    "You may not change your password yourself. Ask your help desk for a new one.",
	denial.ResetNotAllowed:     "Your password cannot be set from here. Ask your help desk for a new one.",

	denial.Untrusted:      "It was not issued by an authority that is trusted here. Choose the certificate of your organisation.",
	denial.Expired:        "It has expired, or the certificate of its issuer has. Ask your help desk for a new one.",
	denial.NotYetValid:    "It is not valid yet. If it should be, ask your help desk to check the clocks.",
	denial.WrongUsage:     "It was not issued for signing in. Choose another certificate.",
	denial.WeakKey:        "Its key is too weak to be trusted. Ask your help desk for a new certificate.",
	denial.WeakSignature:  "It is signed by a method that can no longer be trusted. Ask your help desk for a new certificate.",
	denial.AmbiguousName:  "It does not name exactly one person. Ask your help desk for a new certificate.",
	denial.BadName:        "The name in it cannot be the name of an account. Ask your help desk for a new certificate.",
	denial.WrongPolicy:    "It was not issued under the rules that are asked for here. Choose another certificate, or ask your help desk for one.",
	denial.BadCertificate: "It is too large or too unusual to be checked. Ask your help desk for a new certificate.",

	denial.SIDMismatch:      "It was issued for another account than the one whose name it bears. Ask your help desk for a new certificate.",
	denial.WeakMapping:      "It is not tied to your account firmly enough. Ask your help desk to add it to your account, or for a new certificate.",
	denial.OlderThanAccount: "It is older than the account that it names. Ask your help desk for a new certificate.",

	denial.Revoked:            "It has been revoked and can no longer be used. Ask your help desk for a new one.",
	denial.RevocationUnknown:  "Whether it has been revoked could not be found out. Try again in a few minutes; if it stays like this, tell your help desk.",
	denial.NoRevocationSource: "It does not say where to ask whether it has been revoked. Ask your help desk for a new certificate.",
	denial.CRLExpired:         "The list of revoked certificates is out of date, so it cannot be checked. Tell your help desk.",
	denial.CRLUnreachable:     "The list of revoked certificates could not be fetched. Try again in a few minutes; if it stays like this, tell your help desk.",
	denial.CRLUnusable:        "The list of revoked certificates could not be read, so it cannot be checked. Tell your help desk.",
	denial.CRLBadSignature:    "The list of revoked certificates did not come from the right place, so it cannot be checked. Tell your help desk at once.",
	denial.CRLReplayed:        "The list of revoked certificates is older than the one before it, so it cannot be checked. Tell your help desk at once.",
	denial.OCSPUnreachable:    "The service that knows revoked certificates gave no answer. Try again in a few minutes; if it stays like this, tell your help desk.",
	denial.OCSPExpired:        "The service that knows revoked certificates gave an answer that is out of date. Tell your help desk.",
	denial.OCSPUnknown:        "The service that knows revoked certificates does not know it. Ask your help desk for a new certificate.",
	denial.OCSPBadAnswer:      "The answer about revoked certificates did not come from the right place, so it cannot be checked. Tell your help desk at once.",
}

// plainToPasswords are the reasons that may be told to somebody who typed a
// password. Only a right password makes the directory give the account's own
// reasons; the others concern the connection and no account.
//
// AccountLocked is not among them: directories say it to wrong passwords too,
// so it would tell a stranger that the account exists.
var plainToPasswords = map[denial.Reason]bool{
	denial.AccountDisabled:    true,
	denial.AccountExpired:     true,
	denial.PasswordExpired:    true,
	denial.MustChangePassword: true,
	denial.OutsideHours:       true,
	denial.NotAtThisComputer:  true,
	denial.DeniedGroup:        true,
	denial.Throttled:          true,
	denial.NotAllowedHere:     true,
	denial.BadForm:            true,
}

// plainToChanges are the reasons that may be told to somebody who wants to
// change a password. The directory judges a new password only after the old one.
var plainToChanges = map[denial.Reason]bool{
	denial.PasswordExpired:     true, // and so much so that it cannot be changed any more
	denial.PasswordTooShort:    true,
	denial.PasswordTooSimple:   true,
	denial.PasswordUsedBefore:  true,
	denial.PasswordTooYoung:    true,
	denial.PasswordNotAccepted: true,
	denial.ChangeNotAllowed:    true,
	denial.Throttled:           true,
	denial.NotAllowedHere:      true,
	denial.BadForm:             true,
}

// wrongOld is what a wrong old password reads like, and everything else that is
// not to be told.
const wrongOld = "The old password is not right. If you are sure of it, the account may be locked: wait a while or ask your help desk."

// sentence returns what to say to somebody who was turned away when they tried
// to sign in by m. Whoever types passwords gets the same words for an unknown
// user, a wrong password and everything else that would tell who exists.
func sentence(m signin.Method, reason denial.Reason) string {
	switch {
	case m == signin.ByPassword && !plainToPasswords[reason]:
		reason = denial.BadCredentials
	case m == signin.ByPasswordChange && !plainToChanges[reason]:
		return wrongOld
	}
	if s, ok := sentences[reason]; ok {
		return s
	}
	return sentences[denial.BadCredentials]
}

// deniedStatus returns the status of the page that says no. It tells no more
// than the sentence does: all passwords that are refused get the same one.
//
// 401 goes without the challenge that belongs to it: browsers would answer that
// by their own dialogue in place of our page.
func deniedStatus(m signin.Method, reason denial.Reason) int {
	switch {
	case reason == denial.Throttled:
		return http.StatusTooManyRequests
	case m != signin.ByCertificate && reason != denial.NotAllowedHere:
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}
