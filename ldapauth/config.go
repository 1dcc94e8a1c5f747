package ldapauth

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	"github.com/go-ldap/ldap/v3"
)

// Config says which directory to ask and how to find people in it.
type Config struct {
	// URLs of the servers of one directory in order of preference, such as
	// "ldaps://dc1.example.com". All hold the same entries.
	URLs []string `yaml:"urls" together:"servers"`
	// Discover is a DNS domain, such as "example.com", whose SRV records name
	// the servers in the place of URLs (RFC 2782). They are spoken to over TLS
	// only.
	Discover string `yaml:"discover" together:"servers"`
	// Site is the site of Active Directory whose domain controllers are
	// preferred to the others that Discover finds.
	Site string `yaml:"site" together:"servers"`
	// StartTLS turns ldap:// URLs into encrypted ones. It is a demand: a
	// server that cannot do it is not used.
	StartTLS bool `yaml:"start_tls"`
	// AllowCleartext lets passwords cross the network in clear, for ldap://
	// URLs without StartTLS that lead to another machine.
	AllowCleartext bool `yaml:"allow_cleartext"`
	// CAFiles hold the certificates (PEM or DER) that vouch for the servers.
	// None means the system's roots.
	CAFiles []setting.File `yaml:"ca_files"`
	// BindDN is the service account, as a DN or as user@domain. Without one
	// searches are anonymous.
	//
	// A domain that has one of these keys takes none of the others from the
	// section around it.
	BindDN           string        `yaml:"bind_dn" together:"account"`
	BindPassword     secret.String `yaml:"bind_password" together:"account"`
	BindPasswordFile setting.File  `yaml:"bind_password_file" together:"account"`
	// BindCertFile and BindKeyFile are a client certificate with its chain and
	// its key, both PEM, with which the service account introduces itself (SASL
	// EXTERNAL). They are read again for each new connection.
	BindCertFile setting.File `yaml:"bind_cert_file" together:"account"`
	BindKeyFile  setting.File `yaml:"bind_key_file" together:"account"`
	// BindKeytabFile holds the keys of BindPrincipal (user@REALM), with which
	// the service account introduces itself by Kerberos (SASL GSSAPI). It is read
	// again for each new connection.
	BindKeytabFile setting.File `yaml:"bind_keytab_file" together:"account"`
	BindPrincipal  string       `yaml:"bind_principal" together:"account"`
	// Krb5ConfFile says where the Kerberos servers are. None means the system's
	// file, and if there is none, the DNS.
	Krb5ConfFile setting.File `yaml:"krb5_conf_file"`
	// BaseDN is where people are looked for, in the whole subtree of each. None
	// is within another.
	BaseDN setting.OneOrMore `yaml:"base_dn"`
	// Suffixes are what stands behind the @ of the names of this directory's
	// people, NetBIOS what stands before the backslash. On Active Directory
	// those that are not given are read from the directory.
	Suffixes []string `yaml:"suffixes"`
	NetBIOS  string   `yaml:"netbios"`
	// MailAsName also takes a name for the mail address of an account.
	MailAsName bool `yaml:"mail_as_name"`
	// Schema is one of [Schemas]; "auto" asks the server.
	Schema string `yaml:"schema"`
	// UserFilter finds an account by name; {0} is the escaped name.
	UserFilter string `yaml:"user_filter"`
	// UserSearch finds accounts by a part of a name, for upstreams that look
	// people up.
	UserSearch string `yaml:"user_search"`
	// PasswordPolicyDN is the policy (pwdPolicy) that holds for accounts whose
	// entry names none. OpenLDAP does not tell clients which one is its default.
	PasswordPolicyDN string `yaml:"password_policy_dn"`
	// AllowExpiredPassword and AllowMustChangePassword let people in whose
	// accounts have no other fault than that. This package always reports the
	// fault; whoever asked acts on it.
	AllowExpiredPassword    bool `yaml:"allow_expired_password"`
	AllowMustChangePassword bool `yaml:"allow_must_change_password"`
	// Timeout bounds every single operation, connecting included.
	Timeout setting.Duration `yaml:"timeout"`
	Groups  GroupsConfig     `yaml:"groups"`
	// DenyGroups are groups whose members, direct or nested, may not sign in:
	// DNs, names, security identifiers, and [DenyProtected].
	DenyGroups []string   `yaml:"deny_groups"`
	Pool       PoolConfig `yaml:"pool"`
}

// GroupsConfig says which groups of a user are reported.
type GroupsConfig struct {
	Include bool `yaml:"include"`
	// Nested also reports the groups that the user's groups are members of.
	Nested bool `yaml:"nested"`
	// Attribute of the group's entry that is its reported name.
	Attribute string `yaml:"attribute"`
	// BaseDN is where groups are; by default the base of the people. Groups
	// elsewhere are neither reported nor followed.
	BaseDN string `yaml:"base_dn"`
	// Filter finds the groups that {0}, an escaped DN, is a direct member of.
	Filter string `yaml:"filter"`
	// DistributionLists also reports the groups of Active Directory that are for
	// mail only.
	DistributionLists bool `yaml:"distribution_lists"`
	// Cache is how long the name of a group and its own memberships may be
	// remembered. A user's direct memberships are read at every sign-in.
	Cache setting.Duration `yaml:"cache"`
	// Timeout bounds the search for all groups of a user.
	Timeout setting.Duration `yaml:"timeout"`
	// OnFailure is "deny" or "omit". This package always reports the failure
	// as [ErrGroups]; whoever asked acts on it.
	OnFailure string `yaml:"on_failure"`
}

// PoolConfig bounds the connections to each server.
type PoolConfig struct {
	// Search connections carry the service account's searches, many at once.
	Search int `yaml:"search"`
	// Bind connections check users' passwords, one at a time each.
	Bind int `yaml:"bind"`
}

// What groups.on_failure may be.
const (
	OnFailureDeny = "deny"
	OnFailureOmit = "omit"
)

// DefaultConfig returns the settings that hold where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Schema:  schemaAuto,
		Timeout: setting.Duration(5 * time.Second),
		Groups: GroupsConfig{
			Include:   true,
			Nested:    true,
			Attribute: "cn",
			Cache:     setting.Duration(10 * time.Minute),
			Timeout:   setting.Duration(20 * time.Second),
			OnFailure: OnFailureDeny,
		},
		DenyGroups: []string{DenyProtected},
		Pool:       PoolConfig{Search: 8, Bind: 16},
	}
}

// Validate reports everything wrong with c at once. Keys are relative to the
// section. It touches neither files nor the network.
func (c *Config) Validate() error {
	var p setting.Problems
	c.validateURLs(&p)
	c.validateBind(&p)
	c.validateBases(&p)
	c.validateNames(&p)
	if c.Schema != schemaAuto && dialects[c.Schema] == nil {
		p.Addf("schema", "%q is not known; write one of %s", c.Schema, strings.Join(Schemas(), ", "))
	}
	if c.UserFilter != "" {
		if _, err := parseUserFilter(c.UserFilter); err != nil {
			p.Addf("user_filter", "%v", err)
		}
	}
	if c.UserSearch != "" {
		if err := checkTemplate(c.UserSearch); err != nil {
			p.Addf("user_search", "%v", err)
		}
	}
	validateDN(&p, "password_policy_dn", c.PasswordPolicyDN)
	validateTimeout(&p, "timeout", c.Timeout)
	c.Groups.validate(&p)
	validateDeny(&p, c.DenyGroups, dialects[c.Schema])
	for _, n := range []struct {
		key   string
		value int
	}{{"pool.search", c.Pool.Search}, {"pool.bind", c.Pool.Bind}} {
		if n.value < 1 || n.value > maxPool {
			p.Addf(n.key, "%d connections make no sense; write a number from 1 to %d", n.value, maxPool)
		}
	}
	return p.Err()
}

// Encrypted reports whether TLS is used with every server, which it takes to
// change passwords.
func (c *Config) Encrypted() bool {
	return c.StartTLS || !slices.ContainsFunc(c.URLs, func(raw string) bool {
		a, err := parseURL(raw)
		return err != nil || !a.tls
	})
}

// maxPool keeps a slip of the finger from opening thousands of connections.
const maxPool = 256

// serversKey returns the key that says which servers there are.
func (c *Config) serversKey() string {
	if c.Discover != "" {
		return "discover"
	}
	return "urls"
}

// dnsDomain is a domain of several labels; siteName what can stand in a DNS name
// for a site.
var (
	dnsDomain = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)
	siteName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
)

func (c *Config) validateURLs(p *setting.Problems) {
	switch {
	case len(c.URLs) == 0 && c.Discover == "":
		p.Addf("urls", `at least one server is needed, such as "ldaps://dc1.example.com"`)
	case len(c.URLs) > 0 && c.Discover != "":
		p.Addf("discover", "takes the place of urls; remove one of them")
	case c.Discover != "" && (!dnsDomain.MatchString(c.Discover) || len(c.Discover) > 200):
		p.Addf("discover", "%q is not a DNS domain; write the one of the directory, such as corp.example.com", c.Discover)
	}
	switch {
	case c.Site != "" && c.Discover == "":
		p.Addf("site", "has no effect without discover; write both, or remove it")
	case c.Site != "" && !siteName.MatchString(c.Site):
		p.Addf("site", "%q is not the name of a site; write it as Active Directory Sites and Services shows it", c.Site)
	}
	c.validateServers(p, "urls", c.URLs)
	for i, f := range c.CAFiles {
		if f == "" {
			p.Addf(fmt.Sprintf("ca_files[%d]", i), "is empty; write the path of a certificate file or remove the line")
		}
	}
}

// validateServers looks at a list of servers, the value of key.
func (c *Config) validateServers(p *setting.Problems, key string, urls []string) {
	for i, raw := range urls {
		key := fmt.Sprintf("%s[%d]", key, i)
		s, err := parseURL(raw)
		switch {
		case err != nil:
			p.Addf(key, "%v", err)
		case slices.Contains(urls[:i], raw):
			p.Addf(key, "%q is listed twice; remove one", raw)
		case !s.tls && !c.StartTLS && !c.AllowCleartext && !isLoopback(s.host):
			p.Addf(key, "passwords would cross the network in clear: write ldaps:// or set start_tls: true")
		}
	}
}

func (c *Config) validateBind(p *setting.Problems) {
	given := c.BindPassword.IsSet() || c.BindPasswordFile != ""
	switch {
	case c.BindDN == "" && given:
		p.Addf("bind_dn", "is missing although there is a password for it; write the service account's DN or remove the password")
	case c.BindDN != "" && !given:
		p.Addf("bind_password", "is missing; write bind_password_file with the path of a file that holds the service account's password")
	case c.BindPassword.IsSet() && !sendable(c.BindPassword):
		p.Addf("bind_password", "is empty, blank or holds a NUL; directories take that for an anonymous sign-in")
	}
	if strings.ContainsFunc(c.BindDN, isControl) {
		p.Addf("bind_dn", "holds a control character")
	}
	c.validateCertificate(p)
	c.validateKeytab(p)
	withPassword, withCertificate := c.BindDN != "" || given, c.BindCertFile != "" || c.BindKeyFile != ""
	switch {
	case c.BindKeytabFile != "" && (withPassword || withCertificate):
		p.Addf("bind_keytab_file", "is a second way to introduce the service account; write a password with bind_dn, or a certificate, or a keytab")
	case withPassword && withCertificate:
		p.Addf("bind_cert_file", "is a second way to introduce the service account; remove it, or bind_dn and the password: the certificate says who it is")
	}
}

// validateCertificate looks at the client certificate of the service account.
func (c *Config) validateCertificate(p *setting.Problems) {
	switch {
	case c.BindCertFile == "" && c.BindKeyFile == "":
	case c.BindCertFile == "":
		p.Addf("bind_cert_file", "required with bind_key_file: the certificate that belongs to the key, then its chain")
	case c.BindKeyFile == "":
		p.Addf("bind_key_file", "required with bind_cert_file: the private key that belongs to the certificate")
	default:
		c.validateTLS(p, "bind_cert_file", "a certificate is shown in TLS alone")
	}
}

// validateKeytab looks at the keytab of the service account.
func (c *Config) validateKeytab(p *setting.Problems) {
	user, realm, both := strings.Cut(c.BindPrincipal, "@")
	switch {
	case c.BindKeytabFile == "" && c.BindPrincipal == "":
		if c.Krb5ConfFile != "" {
			p.Addf("krb5_conf_file", "has no effect without bind_keytab_file; write both or neither")
		}
		return
	case c.BindKeytabFile == "":
		p.Addf("bind_keytab_file", "required with bind_principal: the keytab that holds the account's keys")
	case !both || user == "" || realm == "" || strings.ContainsFunc(c.BindPrincipal, func(r rune) bool { return r == ' ' || isControl(r) }) || strings.Contains(realm, "@"):
		p.Addf("bind_principal", "must be the account's name and the domain in capitals, such as svc-connector@CORP.EXAMPLE.COM, not %q", c.BindPrincipal)
	case c.BindKeytabFile != "":
		c.validateTLS(p, "bind_keytab_file", "Kerberos is used for the sign-in alone, and what follows must be encrypted")
	}
}

// validateTLS complains of servers that are spoken to in clear.
func (c *Config) validateTLS(p *setting.Problems, key, why string) {
	for i, raw := range c.URLs {
		if s, err := parseURL(raw); err == nil && !s.tls && !c.StartTLS {
			p.Addf(key, "%s, but urls[%d] is in clear: write ldaps:// or set start_tls: true", why, i)
		}
	}
}

func (g *GroupsConfig) validate(p *setting.Problems) {
	if !attributeName.MatchString(g.Attribute) {
		p.Addf("groups.attribute", "%q is not the name of an attribute; write one such as cn", g.Attribute)
	}
	validateDN(p, "groups.base_dn", g.BaseDN)
	if g.Filter != "" {
		if err := checkTemplate(g.Filter); err != nil {
			p.Addf("groups.filter", "%v", err)
		}
	}
	if g.Cache < 0 {
		p.Addf("groups.cache", "%v is negative; write 0s to remember nothing", g.Cache)
	}
	validateTimeout(p, "groups.timeout", g.Timeout)
	if g.OnFailure != OnFailureDeny && g.OnFailure != OnFailureOmit {
		p.Addf("groups.on_failure", "%q is not known; write %s or %s", g.OnFailure, OnFailureDeny, OnFailureOmit)
	}
}

// validateDeny checks deny_groups for a directory of the given kind, nil if that
// is not known.
func validateDeny(p *setting.Problems, groups []string, di *dialect) {
	for i, g := range groups {
		key := fmt.Sprintf("deny_groups[%d]", i)
		_, isSID := sidBytes(g)
		switch {
		case loose(g) == "":
			p.Addf(key, "is empty; write the DN, the name or the security identifier of a group, or remove it")
		case loose(g) == DenyProtected && g != DenyProtected:
			p.Addf(key, "must be %s in small letters, or the DN of a group that happens to have that name, not %q", DenyProtected, g)
		case strings.ContainsFunc(g, isControl):
			p.Addf(key, "holds a control character")
		case isSID && di != nil && !di.tokenGroups:
			p.Addf(key, "%q is a security identifier, which no group of %s has; write a DN or a name", g, di.name)
		case !isSID && strings.HasPrefix(strings.ToUpper(g), "S-1-"):
			p.Addf(key, "%q is not a security identifier; write one such as S-1-5-32-544", g)
		}
	}
}

var attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// validateBases looks at the bases. One within another would find people twice.
func (c *Config) validateBases(p *setting.Problems) {
	if len(c.BaseDN) == 0 || len(c.BaseDN) == 1 && c.BaseDN[0] == "" {
		p.Addf("base_dn", `is missing; write a DN such as "dc=example,dc=com"`)
		return
	}
	if takenApart(c.BaseDN) {
		p.Addf("base_dn", `looks like one DN that was taken apart at its commas; put each DN of a list in quotes`)
		return
	}
	parsed := make([]*ldap.DN, len(c.BaseDN))
	for i, base := range c.BaseDN {
		key := "base_dn"
		if len(c.BaseDN) > 1 {
			key = fmt.Sprintf("base_dn[%d]", i)
		}
		if parsed[i] = validateDN(p, key, base); parsed[i] == nil {
			if base == "" {
				p.Addf(key, `is empty; write a DN such as "dc=example,dc=com" or remove it`)
			}
			continue
		}
		for j, other := range parsed[:i] {
			switch {
			case other == nil:
			case holdsDN(other, parsed[i]):
				p.Addf(key, "%q is searched with %q already; remove it", base, c.BaseDN[j])
			case holdsDN(parsed[i], other):
				p.Addf(key, "%q holds %q, which is searched already; remove one", base, c.BaseDN[j])
			}
		}
	}
}

// takenApart reports whether a list of bases is what YAML makes of one DN
// without quotes in brackets: its parts, of which one names a domain's label.
func takenApart(bases []string) bool {
	domain := false
	for _, b := range bases {
		dn, err := ldap.ParseDN(b)
		if err != nil || len(dn.RDNs) != 1 {
			return false
		}
		domain = domain || strings.EqualFold(dn.RDNs[0].Attributes[0].Type, "dc")
	}
	return domain && len(bases) > 1
}

// holdsDN reports whether dn is base or below it.
func holdsDN(base, dn *ldap.DN) bool { return base.EqualFold(dn) || base.AncestorOfFold(dn) }

// validateDN returns dn, parsed; nil if it is none or empty.
func validateDN(p *setting.Problems, key, dn string) *ldap.DN {
	if dn == "" {
		return nil
	}
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		p.Addf(key, `%q is not a DN; write one such as "ou=people,dc=example,dc=com"`, dn)
		return nil
	}
	return parsed
}

// validateNames looks at what may stand around a user name.
func (c *Config) validateNames(p *setting.Problems) {
	for i, s := range c.Suffixes {
		key := fmt.Sprintf("suffixes[%d]", i)
		switch {
		case !isNamePart(s) || strings.HasPrefix(s, "."):
			p.Addf(key, `%q cannot stand behind the @ of a user name; write one such as corp.example.com, without the @`, s)
		case slices.ContainsFunc(c.Suffixes[:i], func(t string) bool { return sameName(s, t) }):
			p.Addf(key, "%q is listed twice; remove one", s)
		}
	}
	if c.MailAsName && c.UserFilter != "" {
		p.Addf("mail_as_name", "has no effect with user_filter; write (mail={0}) into that, as in (|(uid={0})(mail={0}))")
	}
	if c.NetBIOS != "" && !isNamePart(c.NetBIOS) {
		p.Addf("netbios", `%q cannot stand before the backslash of a user name; write the short name of the domain, such as CORP`, c.NetBIOS)
	}
}

// isNamePart reports whether s can be the domain part of a user name.
func isNamePart(s string) bool { return checkName(s) == nil && !strings.ContainsAny(s, `@\ `) }

func validateTimeout(p *setting.Problems, key string, d setting.Duration) {
	const least, most = setting.Duration(10 * time.Millisecond), setting.Duration(10 * time.Minute)
	if d < least || d > most {
		p.Addf(key, "%v is out of bounds; write a duration from %v to %v", d, least, most)
	}
}

// address is a server as a URL names it.
type address struct {
	url  string // as configured, for messages
	host string // the name that the certificate must bear
	port string
	tls  bool // from the first byte
}

// parseURL reads the URL of a server. It accepts nothing that would be
// ignored, such as a base DN in the path.
func parseURL(raw string) (address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return address{}, fmt.Errorf(`%q is not a URL; write one such as "ldaps://dc1.example.com"`, raw)
	}
	a := address{url: raw, host: u.Hostname(), port: u.Port(), tls: u.Scheme == "ldaps"}
	switch {
	case u.Scheme != "ldap" && u.Scheme != "ldaps":
		return address{}, fmt.Errorf(`%q must begin with ldaps:// or ldap://`, raw)
	case a.host == "":
		return address{}, fmt.Errorf(`%q names no host; write a URL such as "ldaps://dc1.example.com"`, raw)
	case u.User != nil:
		return address{}, fmt.Errorf("a URL must not hold a user name or password; use bind_dn and bind_password_file")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return address{}, fmt.Errorf(`%q must end after the host and port; the base belongs in base_dn`, raw)
	}
	switch {
	case a.port == "" && a.tls:
		a.port = "636"
	case a.port == "":
		a.port = "389"
	default:
		if n, err := strconv.ParseUint(a.port, 10, 16); err != nil || n == 0 {
			return address{}, fmt.Errorf("%q has no valid port", raw)
		}
	}
	return a, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
