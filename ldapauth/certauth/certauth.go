// Package certauth answers two questions about a client certificate: is it
// genuine, and whom does it name. It needs no directory and no network.
package certauth

import (
	"time"

	"adconnector/ldapauth/setting"
)

// Config says which certificates are accepted and whom they name.
type Config struct {
	// CAFiles are the trust anchors: PEM or DER, roots and intermediates.
	// There is no default: system roots never vouch for a user.
	CAFiles []setting.File `yaml:"ca_files"`
	// Accept is "chained": a chain to one of CAFiles.
	Accept string `yaml:"accept"`
	// CheckUsage demands client authentication (or smart-card logon) in the
	// extended key usage and digitalSignature in the key usage, when present.
	CheckUsage bool `yaml:"check_usage"`
	// CheckValidity demands that now lies between notBefore and notAfter, of
	// the leaf and of the chain.
	CheckValidity bool `yaml:"check_validity"`
	// UserName are the rules that find the account's name, in order. The only
	// rule so far is "subject_cn".
	UserName []string `yaml:"user_name"`
}

// Certificate is what a verified certificate says, for the audit line, the
// pages and the upstreams. It holds no key and can be kept in a session.
type Certificate struct {
	UserName   string // the account that it names
	Rule       string // the user_name rule that found it
	Subject    string // distinguished name, RFC 4514
	Issuer     string // distinguished name, RFC 4514
	Serial     string // hexadecimal, lower case, as openssl and browsers show it
	Thumbprint string // SHA-256 of the DER, hexadecimal, lower case
	NotBefore  time.Time
	NotAfter   time.Time
}
