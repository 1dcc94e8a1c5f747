package certauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
)

// An Explanation is what [Verifier.Verify] says of a chain, and everything that
// it looked at. Its texts are safe to print.
type Explanation struct {
	// Certificate is the answer, nil if it is a refusal: then Err says why.
	Certificate *Certificate
	Err         error
	// Path are the certificates that were looked at: the leaf, and those up to
	// the anchor if it leads to one.
	Path []*Certificate
	// Checks are in the order of Verify, and go on behind the one that decides.
	Checks []Check
	// Rules are those of user_name that hold for the certificate, in their order.
	Rules []RuleResult
	// Revocation is nil if nobody was asked.
	Revocation []revocation.Report
}

// A Check is one thing that was looked at.
type Check struct {
	Name string // "size", "trust", "time", "usage", "key", "extensions" or "policies"
	Text string // what there is
	Err  error  // a [*denial.Error], if that keeps the certificate out
	Off  bool   // the configuration does not want it checked
}

// A RuleResult is what one rule found.
type RuleResult struct {
	Rule string
	Text string // what it found, "" if nothing
	Err  error  // a [*denial.Error], if it found something wrong
	// Decides says that the name is this rule's; later ones do not count.
	Decides bool
}

// Explain does what [Verifier.Verify] does with the certificates that a client
// sent, and tells all of it. Whatever is fetched for Verify is fetched for
// Explain: nothing for a certificate that is refused before revocation has its
// turn.
func (v *Verifier) Explain(ctx context.Context, sent []*x509.Certificate) *Explanation {
	x := &Explanation{}
	x.Certificate, x.Err = v.Verify(ctx, sent)
	chain, err := checkSize(sent)
	bytes := 0
	for _, c := range chain {
		bytes += len(c.Raw)
	}
	x.check("size", err, "%s of %d bytes in all", counted(len(chain), "certificate"), bytes)
	if err != nil {
		return x
	}
	now := v.Now()
	path, usage := x.trust(v, chain, now)
	for _, c := range path {
		x.Path = append(x.Path, Describe(c))
		err := outdated(c, now)
		x.add(Check{"time", fmt.Sprintf("%q from %s to %s", nameText(c.RawSubject), c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339)), onlyIf(v.config.CheckValidity, err), !v.config.CheckValidity})
	}
	leaf := path[0]
	if err := checkUsage(leaf); err != nil {
		usage = err
	}
	x.add(Check{"usage", usageText(leaf), onlyIf(v.config.CheckUsage, usage), !v.config.CheckUsage})
	for _, c := range path {
		x.check("key", checkPathKeys([]*x509.Certificate{c}), "%q has %s", nameText(c.RawSubject), keyText(c))
	}
	x.check("extensions", checkExtensions(leaf), "%s, of which %d not supported and critical", counted(len(leaf.Extensions), "extension"), len(leaf.UnhandledCriticalExtensions))
	x.rules(v, path, now)
	if a, _, err := v.accept(chain); err == nil && a.path != nil {
		x.Revocation = v.Revocation.Explain(a.path)
	}
	return x
}

func (x *Explanation) add(c Check) { x.Checks = append(x.Checks, c) }

func (x *Explanation) check(name string, err error, format string, args ...any) {
	x.add(Check{Name: name, Text: fmt.Sprintf(format, args...), Err: err})
}

// trust explains how the leaf leads to somebody who is trusted, and returns the
// way, which is the leaf alone if it leads to nobody, and what is wrong with the
// usage of an issuer.
func (x *Explanation) trust(v *Verifier, chain []*x509.Certificate, now time.Time) (path []*x509.Certificate, usage error) {
	t, leaf := v.trust.Load(), chain[0]
	if e := v.Listed().find(leaf); e != nil {
		x.check("trust", nil, "it is listed in %s, so no authority is asked", e.file)
		return chain[:1], nil
	}
	if v.config.Accept == acceptSelfSigned {
		x.check("trust", notListed(leaf), "issued by %q", nameText(leaf.RawIssuer))
		return chain[:1], nil
	}
	paths, err := v.findPaths(t, chain, now)
	switch reason := denial.ReasonOf(err); reason {
	case "":
		path = paths[0]
		if strong, err := checkKeys(paths); err == nil {
			path = strong[0]
		}
	case denial.Expired, denial.NotYetValid, denial.WrongUsage:
		// It leads to an anchor, and what is wrong on the way is another check's.
		paths, _ = build(t.genuine(chain), t.lenient, lenient, now)
		path = paths[0]
		if reason == denial.WrongUsage {
			usage = err
		}
	default:
		x.check("trust", err, "issued by %q", nameText(leaf.RawIssuer))
		return chain[:1], nil
	}
	originals := slices.Concat(chain, t.anchors.Certificates())
	for i, c := range path {
		path[i] = original(c, originals)
	}
	var names []string
	for _, c := range path[1:] {
		names = append(names, fmt.Sprintf("%q", nameText(c.RawSubject)))
	}
	if len(names) == 0 {
		x.check("trust", nil, "it is in ca_files itself")
	} else {
		x.check("trust", nil, "issued by %s", strings.Join(names, ", which is issued by "))
	}
	return path, usage
}

// rules explains policies and names.
func (x *Explanation) rules(v *Verifier, path []*x509.Certificate, now time.Time) {
	leaf := path[0]
	n := &v.namings[min(v.trust.Load().anchors.authorityOf(path), len(v.namings)-1)]
	if len(n.policies) > 0 {
		x.check("policies", v.checkPolicies(path, n.policies, now), "it has %s", policyText(leaf.Policies))
	}
	if e := v.Listed().find(leaf); e != nil && e.user != "" {
		x.Rules = []RuleResult{{Rule: RuleListed, Text: e.user, Decides: true}}
		return
	}
	x.Rules = n.explain(leaf)
}

// onlyIf returns err if that is looked at.
func onlyIf(on bool, err error) error {
	if on {
		return err
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// keyText names the kind of a key and its size.
func keyText(c *x509.Certificate) string {
	signed := fmt.Sprintf(", and is signed with %v", c.SignatureAlgorithm)
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("an RSA key of %d bits%s", k.N.BitLen(), signed)
	case *ecdsa.PublicKey:
		return fmt.Sprintf("a key on the curve %s%s", k.Params().Name, signed)
	case ed25519.PublicKey:
		return "an Ed25519 key" + signed
	}
	return "a key of another kind" + signed
}

// usageNames are the usages that matter here, by the bits of their key usage.
var usageNames = []struct {
	usage x509.KeyUsage
	name  string
}{
	{x509.KeyUsageDigitalSignature, "digitalSignature"},
	{x509.KeyUsageContentCommitment, "nonRepudiation"},
	{x509.KeyUsageKeyEncipherment, "keyEncipherment"},
	{x509.KeyUsageDataEncipherment, "dataEncipherment"},
	{x509.KeyUsageKeyAgreement, "keyAgreement"},
	{x509.KeyUsageCertSign, "keyCertSign"},
	{x509.KeyUsageCRLSign, "cRLSign"},
}

var extUsageNames = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth",
	x509.ExtKeyUsageCodeSigning: "codeSigning", x509.ExtKeyUsageEmailProtection: "emailProtection",
	x509.ExtKeyUsageTimeStamping: "timeStamping", x509.ExtKeyUsageOCSPSigning: "OCSPSigning",
}

// maxUsages is how many extended usages are shown.
const maxUsages = 16

// usageText lists what a certificate is for.
func usageText(c *x509.Certificate) string {
	var basic, extended []string
	for _, u := range usageNames {
		if c.KeyUsage&u.usage != 0 {
			basic = append(basic, u.name)
		}
	}
	for _, u := range c.ExtKeyUsage {
		name := extUsageNames[u]
		if name == "" {
			name = "other"
		}
		extended = append(extended, name)
	}
	for _, id := range c.UnknownExtKeyUsage {
		if id.Equal(oidSmartCardLogon) {
			extended = append(extended, "smart-card logon")
		} else {
			extended = append(extended, clip(id.String()))
		}
	}
	if len(extended) > maxUsages {
		extended = append(extended[:maxUsages], ellipsis)
	}
	text := fmt.Sprintf("key usage %s; extended key usage %s", orNone(basic), orNone(extended))
	if c.IsCA {
		text = "that of an authority; " + text
	}
	return text
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// explain applies all rules, also behind the one that decides.
func (n *naming) explain(leaf *x509.Certificate) []RuleResult {
	c := &Certificate{}
	names, err := readAltNames(leaf)
	if err == nil {
		c.SID, err = securityID(leaf, names)
	} else {
		err = denial.New(denial.BadName, "the alternative names %w", err)
	}
	if err != nil {
		return []RuleResult{{Rule: n.rules[0].Name, Err: err, Decides: true}}
	}
	var all []RuleResult
	decided := false
	for _, r := range n.rules {
		text, _, err := n.find(r, leaf, names, c)
		if r.Name == RuleIdentities {
			text = strings.Join(slices.Concat(c.Identities, c.WeakIdentities), ", ")
		}
		found := err != nil || text != ""
		all = append(all, RuleResult{Rule: r.Name, Text: text, Err: err, Decides: found && !decided})
		decided = decided || found
	}
	return all
}
