package token

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"adconnector/connector/signin"
)

// Lifetime is how long after its issue a token is valid. It is a token for one
// sign-in; the relying party keeps a session of its own.
const Lifetime = 8 * time.Hour

// The two namespaces of attributes: the claims that every relying party knows,
// and the rest, under the name that relying parties of Auth0's connectors read.
const (
	claimsNS   = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
	passportNS = "http://schemas.passportjs.com"
)

// authenticationMethods says how the methods are called in an assertion (SAML
// 1.1 core, section 7.1).
var authenticationMethods = map[signin.Method]string{
	signin.ByPassword:    "urn:oasis:names:tc:SAML:1.0:am:password",
	signin.ByCertificate: "urn:ietf:rfc:2246", // TLS client authentication
}

// SAML11 says what a SAML 1.1 assertion is about.
type SAML11 struct {
	ID       string // of the assertion; "" makes a random one
	Issuer   string
	Audience string
	Context  string    // what the relying party wants back (wctx), "" for nothing
	Now      time.Time // when it is issued
	Identity *signin.Identity
	// Subject is by which the relying party knows the user; "" means the ID of the
	// identity.
	Subject string
}

// Sign returns the assertion, signed by k, in the WS-Trust response that a
// WS-Federation relying party expects (RequestSecurityTokenResponse, of
// February 2005).
//
// Texts of the directory are written as [appendText] does it, and attributes
// without a value are left out. The error says what of the statement cannot be
// put in a token; a token is never issued without the part in question.
func (s *SAML11) Sign(k *SigningKey) ([]byte, error) {
	method, err := s.check()
	if err != nil {
		return nil, err
	}
	id := s.ID
	if id == "" {
		id = newID()
	}

	b := make([]byte, 0, 8<<10)
	b = append(b, `<t:RequestSecurityTokenResponse xmlns:t="http://schemas.xmlsoap.org/ws/2005/02/trust"`...)
	if s.Context != "" {
		b = append(b, ` Context="`...)
		b = appendAttr(b, s.Context)
		b = append(b, '"')
	}
	b = append(b, `><t:RequestedSecurityToken>`...)

	start := len(b)
	b = s.appendAssertion(b, id, method)
	// The signature will stand inside the assertion, but what it covers is the
	// assertion without it.
	digest := sha256.Sum256(append(b[start:], assertionEnd...))
	if b, err = k.appendSignature(b, id, digest); err != nil {
		return nil, fmt.Errorf("signing a token: %w", err)
	}
	b = append(b, assertionEnd...)
	return append(b, `</t:RequestedSecurityToken></t:RequestSecurityTokenResponse>`...), nil
}

// check returns how the user's proof is called in the assertion, or an error if
// a text that must arrive unchanged could not, or a statement would be untrue.
func (s *SAML11) check() (method string, err error) {
	id := s.Identity
	method, ok := authenticationMethods[id.AuthenticatedBy]
	switch {
	case !ok:
		return "", fmt.Errorf("a token has no name for the method %q", id.AuthenticatedBy)
	case id.AuthenticatedBy == signin.ByCertificate && id.Certificate == nil:
		return "", errors.New("a sign-in by certificate must say which certificate it was")
	case id.AuthenticatedAt.IsZero():
		return "", errors.New("the identity does not say when it was proved")
	case !isName(s.Issuer):
		return "", fmt.Errorf("%q cannot be the issuer of a token", s.Issuer)
	case !isName(s.Audience):
		return "", fmt.Errorf("%q cannot be the audience of a token", s.Audience)
	case !isName(s.subject()):
		return "", fmt.Errorf("%q cannot be the name of a token's subject", s.subject())
	case !IsText(s.Context) || !IsText(s.ID):
		return "", errors.New("the context or the ID of a token holds characters that XML cannot carry")
	}
	for _, a := range id.Attributes {
		if !IsText(a.Name) {
			return "", fmt.Errorf("%q cannot be the name of an attribute", a.Name)
		}
	}
	return method, nil
}

// subject returns by which the relying party knows the user.
func (s *SAML11) subject() string { return cmp.Or(s.Subject, s.Identity.ID) }

// isName reports whether s can name somebody: it must not be changed on the
// way, lest it name somebody else.
func isName(s string) bool { return s != "" && IsText(s) && !strings.Contains(s, "\r") }

// newID returns a fresh AssertionID of 160 random bits: an xs:ID must not begin
// with a digit.
func newID() string { return "_" + (rand.Text() + rand.Text())[:32] }

const assertionEnd = `</saml:Assertion>`

// appendAssertion appends the assertion but for its signature and its end tag.
func (s *SAML11) appendAssertion(b []byte, id, method string) []byte {
	b = append(b, `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" AssertionID="`...)
	b = appendAttr(b, id)
	b = append(b, `" IssueInstant="`...)
	b = appendTime(b, s.Now)
	b = append(b, `" Issuer="`...)
	b = appendAttr(b, s.Issuer)
	b = append(b, `" MajorVersion="1" MinorVersion="1"><saml:Conditions NotBefore="`...)
	b = appendTime(b, s.Now)
	b = append(b, `" NotOnOrAfter="`...)
	b = appendTime(b, s.Now.Add(Lifetime))
	b = append(b, `"><saml:AudienceRestrictionCondition><saml:Audience>`...)
	b = appendText(b, s.Audience)
	b = append(b, `</saml:Audience></saml:AudienceRestrictionCondition></saml:Conditions><saml:AttributeStatement>`...)
	from := len(b)
	b = append(b, `<saml:Subject><saml:NameIdentifier Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">`...)
	b = appendText(b, s.subject())
	b = append(b, `</saml:NameIdentifier><saml:SubjectConfirmation><saml:ConfirmationMethod>urn:oasis:names:tc:SAML:1.0:cm:bearer</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>`...)
	to := len(b)
	b = s.appendAttributes(b)
	b = append(b, `</saml:AttributeStatement><saml:AuthenticationStatement AuthenticationInstant="`...)
	b = appendTime(b, s.Identity.AuthenticatedAt)
	b = append(b, `" AuthenticationMethod="`...)
	b = append(b, method...)
	b = append(b, `">`...)
	b = append(b, b[from:to]...) // the same subject
	return append(b, `</saml:AuthenticationStatement>`...)
}

// appendAttributes appends what is said of the user, in the order that relying
// parties have always got it in, and how the user was proved.
func (s *SAML11) appendAttributes(b []byte) []byte {
	id := s.Identity
	b = appendAttribute(b, claimsNS, "nameidentifier", s.subject())
	b = appendAttribute(b, claimsNS, "emailaddress", id.Email)
	b = appendAttribute(b, claimsNS, "name", id.DisplayName)
	b = appendAttribute(b, claimsNS, "givenname", id.GivenName)
	b = appendAttribute(b, claimsNS, "surname", id.FamilyName)
	b = appendAttribute(b, passportNS, "nickname", id.Nickname)
	b = appendAttribute(b, passportNS, "groups", id.Groups...)
	for _, a := range id.Attributes {
		b = appendAttribute(b, passportNS, a.Name, a.Values...)
	}
	if id.GroupsIncomplete {
		b = appendAttribute(b, passportNS, "groups_incomplete", "true")
	}
	b = appendAttribute(b, passportNS, "authenticated_by", string(id.AuthenticatedBy))
	if c := id.Certificate; c != nil && id.AuthenticatedBy == signin.ByCertificate {
		b = appendAttribute(b, passportNS, "certificate_subject", c.Subject)
		b = appendAttribute(b, passportNS, "certificate_issuer", c.Issuer)
		b = appendAttribute(b, passportNS, "certificate_serial_number", c.Serial)
		b = appendAttribute(b, passportNS, "certificate_thumbprint", c.Thumbprint)
		b = appendAttribute(b, passportNS, "certificate_rule", c.Rule)
		b = appendAttribute(b, passportNS, "certificate_strength", c.Strength())
	}
	return b
}

// appendAttribute appends one attribute, or nothing if nothing is left of its
// values.
func appendAttribute(b []byte, namespace, name string, values ...string) []byte {
	start := len(b)
	b = append(b, `<saml:Attribute AttributeName="`...)
	b = appendAttr(b, name)
	b = append(b, `" AttributeNamespace="`...)
	b = append(b, namespace...)
	b = append(b, `">`...)
	empty := true
	for _, v := range values {
		before := len(b)
		b = append(b, `<saml:AttributeValue>`...)
		text := len(b)
		if b = appendText(b, v); len(b) == text {
			b = b[:before]
			continue
		}
		b = append(b, `</saml:AttributeValue>`...)
		empty = false
	}
	if empty {
		return b[:start]
	}
	return append(b, `</saml:Attribute>`...)
}

// appendTime appends t as an xs:dateTime in UTC, to the millisecond.
func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// The parts of ds:SignedInfo, in canonical form. By itself it has to name its
// namespace; inside ds:Signature it has it from there.
const (
	dsNS            = ` xmlns="http://www.w3.org/2000/09/xmldsig#"`
	signedInfoOpen  = `<SignedInfo`
	signedInfoToID  = `><CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></CanonicalizationMethod><SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></SignatureMethod><Reference URI="#`
	idToDigest      = `"><Transforms><Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></Transform><Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></Transform></Transforms><DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></DigestMethod><DigestValue>`
	digestToEnd     = `</DigestValue></Reference></SignedInfo>`
	signatureOpen   = `<Signature` + dsNS + `>`
	signatureValue  = `<SignatureValue>`
	signatureValue2 = `</SignatureValue>`
)

// appendSignature appends the ds:Signature that covers the element with the
// given ID and digest.
func (k *SigningKey) appendSignature(b []byte, id string, digest [sha256.Size]byte) ([]byte, error) {
	info := make([]byte, 0, 1<<10) // ds:SignedInfo after its name and namespace
	info = append(info, signedInfoOpen+dsNS...)
	rest := len(info)
	info = append(info, signedInfoToID...)
	info = appendAttr(info, id)
	info = append(info, idToDigest...)
	info = base64.StdEncoding.AppendEncode(info, digest[:])
	info = append(info, digestToEnd...)

	signature, err := k.sign(sha256.Sum256(info))
	if err != nil {
		return nil, err
	}
	b = append(b, signatureOpen+signedInfoOpen...)
	b = append(b, info[rest:]...)
	b = append(b, signatureValue...)
	b = base64.StdEncoding.AppendEncode(b, signature)
	b = append(b, signatureValue2...)
	b = append(b, k.keyInfo...)
	return append(b, `</Signature>`...), nil
}
