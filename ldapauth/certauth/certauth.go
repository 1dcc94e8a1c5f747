// Package certauth answers two questions about a client certificate: is it
// genuine, and whom does it name. It needs no directory, and no network of its
// own: what authorities publish comes through package revocation.
//
// The questions are asked anew at every sign-in, of the certificates that the
// connection holds: a TLS session that is resumed or stays open for days knows
// nothing of what expired or was taken off the list meanwhile.
package certauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/setting"
)

// What the settings may say.
const (
	acceptChained    = "chained"
	acceptSelfSigned = "self_signed"
	acceptAll        = "all"
)

// Config says which certificates are accepted and whom they name.
type Config struct {
	// CAFiles are the trust anchors: PEM or DER, roots and intermediates.
	// There is no default: system roots never vouch for a user.
	CAFiles []setting.File `yaml:"ca_files"`
	// Accept is "chained", with a chain to one of CAFiles; "self_signed", which
	// is one of SelfSignedFiles; or "all", which is both.
	Accept string `yaml:"accept"`
	// SelfSignedFiles are certificates that are accepted as they are, byte for
	// byte.
	SelfSignedFiles []ListedFile `yaml:"self_signed_files"`
	// CheckUsage demands client authentication (or smart-card logon) in the
	// extended key usage and digitalSignature in the key usage, when present.
	// It also refuses a CA certificate as a user's.
	CheckUsage bool `yaml:"check_usage"`
	// CheckValidity demands that now lies between notBefore and notAfter, of
	// the leaf and of the chain.
	CheckValidity bool `yaml:"check_validity"`
	// UserName are the rules that find out whom a certificate names, in order.
	// The first that finds something decides.
	UserName []Rule `yaml:"user_name"`
	// AllowWeakMapping lets [RuleIdentities] count the forms of
	// altSecurityIdentities that name a subject or a mail address.
	AllowWeakMapping bool `yaml:"allow_weak_mapping"`
	// RequireStrong refuses a certificate that nothing ties to the account but a
	// name, which may have been somebody else's.
	RequireStrong bool `yaml:"require_strong"`
	// RefuseOlder refuses a certificate that was issued before the account was
	// made, unless it is tied to it by more than a name.
	RefuseOlder bool `yaml:"refuse_older_than_account"`
	// Policies are certificate policies of which one must hold.
	Policies []string `yaml:"policies"`
	// Authorities have rules of their own. They are trusted besides CAFiles.
	Authorities []Authority `yaml:"-"`
	// Revocation says how it is found out whether a certificate has been taken
	// back.
	Revocation revocation.Config `yaml:"revocation"`
}

// DefaultConfig returns the settings that hold where the file is silent. It
// lacks CAFiles, for which there can be no default.
func DefaultConfig() Config {
	return Config{
		Accept:        acceptChained,
		CheckUsage:    true,
		CheckValidity: true,
		UserName:      []Rule{{Name: RuleSubjectCN}},
		Revocation:    revocation.DefaultConfig(),
	}
}

// Validate reports everything wrong with c at once, as [setting.Problems]. It
// does not open files; [LoadAnchors] and [revocation.Open] do.
func (c *Config) Validate() error {
	var p setting.Problems
	if len(c.CAFiles) == 0 && len(c.Authorities) == 0 && c.Accept != acceptSelfSigned {
		p.Addf("ca_files", "required: list the files with the certificates of the authorities that issue your users' certificates")
	}
	for i, file := range c.CAFiles {
		if file == "" {
			p.Addf(fmt.Sprintf("ca_files[%d]", i), "is empty: write the path of a certificate file, or remove the entry")
		}
	}
	c.validateListed(&p)
	if len(c.UserName) == 0 {
		p.Addf("user_name", "must hold at least one rule: write [%s], or leave it out", RuleSubjectCN)
	}
	validateRules(&p, "user_name", c.UserName)
	validatePolicies(&p, "policies", c.Policies)
	c.validateAuthorities(&p)
	p.Under("revocation", c.Revocation.Validate())
	return p.Err()
}

func (c *Config) validateListed(p *setting.Problems) {
	switch {
	case c.Accept != acceptChained && c.Accept != acceptSelfSigned && c.Accept != acceptAll:
		p.Addf("accept", "%q is not known: write %s, %s or %s", c.Accept, acceptChained, acceptSelfSigned, acceptAll)
	case c.Accept == acceptChained && len(c.SelfSignedFiles) > 0:
		p.Addf("self_signed_files", "has no effect while accept is %s: write accept: %s, or accept: %s if nobody else shall get in", acceptChained, acceptAll, acceptSelfSigned)
	case c.Accept != acceptChained && len(c.SelfSignedFiles) == 0:
		p.Addf("self_signed_files", "required with accept: %s: list the files with the certificates that shall be accepted", c.Accept)
	}
	for i, entry := range c.SelfSignedFiles {
		key := fmt.Sprintf("self_signed_files[%d]", i)
		if entry.File == "" {
			p.Addf(key+".file", "required: write the path of a certificate file, or remove the entry")
		}
		if err := checkUser(entry.User); err != nil {
			p.Addf(key+".user", "%v", err)
		}
	}
}

// Certificate is what a verified certificate says, for the audit line, the
// pages and the upstreams. It holds no private key and can be kept in a session.
type Certificate struct {
	UserName string // whom it names, as Rule found it
	Rule     string // the user_name rule that found it
	Filter   string // how that rule finds the account; "": as the kind of directory has it
	SID      string // the security identifier of the account that it was issued to; "" if it says none
	Other    *Name  // what the account must be called besides having that SID; nil: nothing
	// Identities and WeakIdentities are what altSecurityIdentities may hold of it,
	// if that is the rule.
	Identities, WeakIdentities []string
	// MustBeStrong and MustBeYounger say what the account is asked for:
	// require_strong and refuse_older_than_account.
	MustBeStrong, MustBeYounger bool
	// Authority is the number of the entry of authorities that its chain leads
	// to, counted from 1; 0 if it is none of them.
	Authority int
	// Strong says that more than a name ties it to the account. It is known when
	// the account is.
	Strong bool

	Subject    string // distinguished name, RFC 4514
	Issuer     string // distinguished name, RFC 4514
	Serial     string // hexadecimal, lower case, as openssl and browsers show it
	Thumbprint string // SHA-256 of the DER, hexadecimal, lower case
	NotBefore  time.Time
	NotAfter   time.Time
	// Path is the way to the anchor over which it was accepted, without that,
	// DER: what [Verifier.VerifyAgain] needs. It must not be changed.
	Path [][]byte
	// Unknown says what is not known of its revocation where
	// [revocation.Config].OnUnknown lets it pass. Else it is "".
	Unknown string
}

// Strength returns "strong" or "weak": see Strong.
func (c *Certificate) Strength() string {
	if c.Strong {
		return "strong"
	}
	return "weak"
}

// maxSerial is how many bytes of a serial number are shown. RFC 5280 section
// 4.1.2.2 allows 20.
const maxSerial = 64

// Describe returns what a certificate says of itself. Nothing of it needs to be
// true: it serves to tell people which certificate was refused. The texts are
// safe to print and bounded, whatever the certificate holds.
func Describe(leaf *x509.Certificate) *Certificate {
	sum := sha256.Sum256(leaf.Raw)
	return &Certificate{
		Subject:    nameText(leaf.RawSubject),
		Issuer:     nameText(leaf.RawIssuer),
		Serial:     serialText(leaf),
		Thumbprint: hex.EncodeToString(sum[:]),
		NotBefore:  leaf.NotBefore,
		NotAfter:   leaf.NotAfter,
	}
}

func serialText(c *x509.Certificate) string {
	serial := c.SerialNumber.Bytes()
	switch {
	case len(serial) == 0:
		return "00"
	case len(serial) > maxSerial:
		return hex.EncodeToString(serial[:maxSerial]) + ellipsis
	}
	return hex.EncodeToString(serial)
}

// ellipsis ends a text that was cut.
const ellipsis = "..."

// clip cuts text from outside to a length that fits a line of a log.
func clip(s string) string {
	const most = 512
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + ellipsis
}
