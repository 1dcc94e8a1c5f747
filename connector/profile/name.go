package profile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// claimName leaves room for names that are URLs. A name begins with a letter, so
// that it is none that JavaScript gives a meaning of its own.
var claimName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:/-]{0,127}$`)

// IsName reports whether a claim can have the name, if it is not reserved.
func IsName(name string) bool { return claimName.MatchString(name) }

// NameRule says what [IsName] demands.
const NameRule = "is not the name of a claim: write a letter, then letters, digits and _ . : / - (128 at most)"

// reserved are names that claims must not have, in lower case, with what to do
// instead. Upstreams know a person, or trust a token, by them.
var reserved = func() map[string]string {
	m := map[string]string{
		"name":               "write displayName, or givenName and familyName",
		"emails":             "write email",
		"emailaddress":       "write email",
		"surname":            "write familyName",
		"given_name":         "write givenName",
		"family_name":        "write familyName",
		"preferred_username": "write nickname",
		"authenticated_by":   "it says how the person was proved; choose another name",
		"groups_incomplete":  "it says that groups are missing; choose another name",
	}
	for _, name := range []string{"id", "user_id", "nameidentifier", "name_id", "nameid", "sub", "username", "identities"} {
		m[name] = "it says who the person is, which no claim may change; choose another name"
	}
	for _, name := range []string{
		"iss", "aud", "exp", "nbf", "iat", "jti", "nonce", "azp", "auth_time", "acr", "amr", "at_hash", "c_hash", "s_hash",
		"cnf", "sid", "scope", "client_id", "act", "may_act", "events",
	} {
		m[name] = "tokens have a meaning of their own for it; choose another name"
	}
	return m
}()

// claimsNamespace is how the common claims are called where names are URLs, in lower
// case.
const claimsNamespace = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"

// checkName says what is wrong with the name of a claim that follows others.
func checkName(name string, before []Definition) error {
	lower := strings.ToLower(name)
	reserved := reserved[strings.TrimPrefix(lower, claimsNamespace)]
	same := func(d Definition) bool { return strings.ToLower(d.Claim) == lower }
	switch {
	case !IsName(name):
		return errors.New(NameRule)
	case reserved != "":
		return fmt.Errorf("is reserved: %s", reserved)
	case strings.HasPrefix(lower, "certificate_"):
		return errors.New("is reserved: it says which certificate proved the person; choose another name")
	}
	if i := slices.IndexFunc(defaults, same); i >= 0 && defaults[i].Claim != name {
		return fmt.Errorf("is the built-in claim %s in another case; write it like that, or choose another name", defaults[i].Claim)
	}
	if i := slices.IndexFunc(before, same); i >= 0 {
		return fmt.Errorf("differs from %s in its case alone; remove one", before[i].Claim)
	}
	return nil
}

// attributeName is a name of an attribute (RFC 4512, 2.5, "descr"). Numeric
// identifiers and options are not accepted: by them an attribute could be asked
// for that its name would not be.
var attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,127}$`)

// harmless are attributes that are called like secrets and are none.
var harmless = []string{
	"badpasswordtime", "badpwdcount", "msds-userpasswordexpirytimecomputed", "passwordexpirationtime", "pwdaccountlockedtime",
	"pwdchangedtime", "pwdfailuretime", "pwdgraceusetime", "pwdlastset", "pwdlastsuccess", "pwdpolicysubentry", "pwdreset",
	"shadowlastchange", "sambapwdlastset", "sambapwdcanchange", "sambapwdmustchange", "krblastpwdchange", "krbpasswordexpiration",
}

// secrets are attributes that hold a password or a key, or what can be made one,
// besides those whose name has one of the secretParts in it.
var secrets = []string{
	"currentvalue", "priorvalue", "krbprincipalkey", "krb5key", "krbmkey", "ipanthash", "userpkcs12", "sshprivatekey",
	"msfve-keypackage", "mstpm-ownerinformation", "msds-managedpassword", "trustauthincoming", "trustauthoutgoing",
	"initialauthincoming", "initialauthoutgoing", "ipatokenotpkey", "oathsecret", "totpsecret",
}

var secretParts = []string{"password", "passwd", "pwd", "secret", "credential", "admpwd", "privatekey", "rootpw", "nthash", "lmhash", "recoverykey", "hotp", "totp"}

// binary are attributes whose values are no text, with what to write instead.
var binary = map[string]string{
	"objectguid": "write id, which is its text", "objectsid": "write sid, which is its text",
	"entryuuid": "write id, which is its text", "sidhistory": "", "thumbnailphoto": "", "jpegphoto": "", "photo": "", "audio": "",
	"usercertificate": "", "usersmimecertificate": "", "logonhours": "", "msexchmailboxguid": "",
	"msexchmailboxsecuritydescriptor": "", "ntsecuritydescriptor": "", "msds-generationid": "", "msds-keycredentiallink": "",
}

// checkAttribute says why the values of an attribute cannot be reported.
func checkAttribute(name string) error {
	lower := strings.ToLower(name)
	instead, isBinary := binary[lower]
	switch {
	case !attributeName.MatchString(name):
		return fmt.Errorf("%q is not the name of an attribute; write one such as mail, without options and not as a number", name)
	case isSecret(lower):
		return fmt.Errorf("the attribute %s holds secrets (or is called so) and is never reported; remove it", name)
	case isBinary && instead != "":
		return fmt.Errorf("the attribute %s is not text; %s", name, instead)
	case isBinary:
		return fmt.Errorf("the attribute %s is not text and cannot be reported; remove it", name)
	}
	return nil
}

// isSecret reports whether the attribute with this name in lower case must not be
// asked for. Names that nobody thought of are judged by what is in them: one too
// many is refused rather than one too few.
func isSecret(lower string) bool {
	if slices.Contains(harmless, lower) {
		return false
	}
	return slices.Contains(secrets, lower) || slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(lower, part) })
}
