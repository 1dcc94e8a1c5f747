package connector

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"adconnector/connector/front"
	"adconnector/connector/hub"
	"adconnector/connector/iprange"
	"adconnector/connector/metrics"
	"adconnector/connector/profile"
	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/connector/web"
	"adconnector/connector/wsfed"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/setting"
)

// Config is the whole configuration file. Each section is declared, checked and
// obeyed by the package that it belongs to; a section that is a pointer is off
// when it is absent.
type Config struct {
	// URL is what browsers open. Its path is a prefix for every route.
	URL string `yaml:"url"`
	// Listen is the address and port to listen on; by default all addresses
	// and the port of URL.
	Listen string `yaml:"listen"`
	// DataDir is where the connector keeps its keys.
	DataDir setting.File `yaml:"data_dir"`
	// SiteName is the title of the pages; by default the host of URL.
	SiteName string `yaml:"site_name"`

	TLS         front.TLSConfig        `yaml:"tls"`
	Certificate *CertificateConfig     `yaml:"certificate"`
	Password    *PasswordConfig        `yaml:"password"`
	LDAP        ldapauth.DomainsConfig `yaml:"ldap"`
	// Profile are claims that are added to the built-in ones or replace them.
	Profile profile.Config `yaml:"profile"`

	Session web.SessionConfig `yaml:"session"`
	Signing token.Config      `yaml:"signing"`
	WSFed   *wsfed.Config     `yaml:"wsfed"`
	Hub     *hub.Config       `yaml:"hub"`

	Log LogConfig `yaml:"log"`
	// AuditFile gets one JSON line for each sign-in attempt; by default they go
	// where the log goes.
	AuditFile setting.File    `yaml:"audit_file"`
	Metrics   *metrics.Config `yaml:"metrics"`

	warnings []string
}

// CertificateConfig offers sign-in with a client certificate.
type CertificateConfig struct {
	// IPRanges are the addresses that are asked for a certificate; nobody else
	// ever is.
	IPRanges        []iprange.Prefix `yaml:"ip_ranges"`
	certauth.Config `yaml:",inline"`
	// Authorities have rules of their own. They are trusted besides CAFiles.
	Authorities []AuthorityConfig `yaml:"authorities"`
}

// AuthorityConfig is what holds for the certificates of one authority.
type AuthorityConfig struct {
	certauth.Authority `yaml:",inline"`
	// IPRanges are the addresses that its certificates are accepted from; none
	// means all that are asked for one.
	IPRanges []iprange.Prefix `yaml:"ip_ranges"`
}

// verifier returns what the verifier is to obey.
func (c *CertificateConfig) verifier() certauth.Config {
	v := c.Config
	v.Authorities = nil
	for _, a := range c.Authorities {
		v.Authorities = append(v.Authorities, a.Authority)
	}
	return v
}

// authoritiesFrom returns the addresses that each authority's certificates are
// accepted from, nil for all.
func (c *CertificateConfig) authoritiesFrom() []*iprange.Set {
	sets := make([]*iprange.Set, len(c.Authorities))
	for i, a := range c.Authorities {
		if len(a.IPRanges) > 0 {
			sets[i] = iprange.New(a.IPRanges)
		}
	}
	return sets
}

// caFiles returns the files with the authorities that are trusted.
func (c *CertificateConfig) caFiles() []setting.File {
	files := slices.Clone(c.CAFiles)
	for _, a := range c.Authorities {
		files = append(files, a.CAFile)
	}
	return files
}

// Validate reports everything that is wrong with c.
func (c *CertificateConfig) Validate() error {
	var p setting.Problems
	if len(c.IPRanges) == 0 {
		p.Addf("ip_ranges", `is missing; write the networks whose computers have certificates, such as [10.0.0.0/8], or [0.0.0.0/0, "::/0"] for everyone`)
	}
	v := c.verifier()
	p = append(p, setting.Split(v.Validate())...)
	validateFilters(&p, "user_name", c.UserName)
	for i, a := range c.Authorities {
		validateFilters(&p, fmt.Sprintf("authorities[%d].user_name", i), a.UserName)
	}
	return p.Err()
}

// validateFilters looks at the filters of rules, the value of key.
func validateFilters(p *setting.Problems, key string, rules []certauth.Rule) {
	for i, r := range rules {
		if r.Filter == "" {
			continue
		}
		if err := ldapauth.CheckHolderFilter(r.Filter); err != nil {
			p.Addf(fmt.Sprintf("%s[%d].filter", key, i), "%v", err)
		}
	}
}

// PasswordConfig offers sign-in with a password.
type PasswordConfig struct {
	// IPRanges are the addresses that are offered the form; none means all.
	IPRanges []iprange.Prefix      `yaml:"ip_ranges"`
	Throttle signin.ThrottleConfig `yaml:"throttle"`
	// AllowChange lets people change a password that has expired or must be
	// changed. It takes TLS to the directory: without, asking for it is a
	// mistake, and the default is off.
	AllowChange bool `yaml:"allow_change"`
}

// Validate reports everything that is wrong with c.
func (c *PasswordConfig) Validate() error {
	var p setting.Problems
	p.Under("throttle", c.Throttle.Validate())
	return p.Err()
}

// LogConfig says how much is logged, and how.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // auto, text or json
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"auto", "text", "json"}
)

// Validate reports everything that is wrong with c.
func (c *LogConfig) Validate() error {
	var p setting.Problems
	if !slices.Contains(logLevels, c.Level) {
		p.Addf("level", "must be one of %s, not %q", strings.Join(logLevels, ", "), c.Level)
	}
	if !slices.Contains(logFormats, c.Format) {
		p.Addf("format", "must be one of %s, not %q", strings.Join(logFormats, ", "), c.Format)
	}
	return p.Err()
}

// defaultConfig returns what holds where a file in the folder dir says nothing.
// The optional sections are all there, with their defaults; the decoder turns
// those off that the file does not have.
func defaultConfig(dir string) *Config {
	return &Config{
		DataDir:     setting.File(filepath.Join(dir, "data")),
		TLS:         front.TLSConfig{MinVersion: "1.2"},
		Certificate: &CertificateConfig{Config: certauth.DefaultConfig()},
		Password:    &PasswordConfig{Throttle: signin.DefaultThrottle(), AllowChange: true},
		LDAP:        ldapauth.DefaultDomains(),
		Session:     web.DefaultSessionConfig(),
		Signing:     token.DefaultConfig(),
		WSFed:       &wsfed.Config{},
		Hub:         &hub.Config{},
		Log:         LogConfig{Level: "info", Format: "auto"},
		Metrics:     new(metrics.DefaultConfig()),
	}
}

// LoadConfig reads the configuration file called name. The error is a
// [*ConfigError] that holds every mistake in it, unless the file cannot be
// read. Rights on the file that are too wide are such a mistake.
func LoadConfig(name string) (*Config, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return parseConfig(data, name, dir, func(literal bool) (string, error) { return checkFile(name, literal) })
}

// ParseConfig reads a configuration file that is called name in messages and
// whose relative paths start at the folder dir. The secrets that stand in files
// of their own are read; no other file is. The error is a [*ConfigError].
func ParseConfig(data []byte, name, dir string) (*Config, error) {
	return parseConfig(data, name, dir, func(bool) (string, error) { return "", nil })
}

// parseConfig is ParseConfig with a check of the file that the data is from,
// which is told whether a secret stands in it.
func parseConfig(data []byte, name, dir string, check func(literal bool) (warning string, err error)) (*Config, error) {
	root, mistake := parseDocument(data)
	if mistake != nil {
		mistake.File = name
		return nil, &ConfigError{[]Mistake{*mistake}}
	}
	c := defaultConfig(dir)
	d := &decoder{
		file:     name,
		dir:      dir,
		sections: sectionsByKey(reflect.TypeFor[Config](), "", map[string][]string{}),
		places:   map[string]place{},
		meant:    map[string]bool{},
	}
	d.decode(root, "", reflect.ValueOf(c).Elem())
	d.validation(c.Validate())
	d.allowChange(c)
	d.tenantChange(c)
	switch warning, err := check(d.literal); {
	case err != nil:
		d.mistakes = append(d.mistakes, Mistake{File: name, Line: 1, Column: 1, Text: err.Error()})
	case warning != "":
		d.warnings = append(d.warnings, warning)
	}
	if err := sorted(d.mistakes); err != nil {
		return nil, err
	}
	c.complete()
	c.warnings = d.warnings
	return c, nil
}

// allowChange takes back that passwords can be changed where they cannot be. To
// have asked for it is a mistake: what is on must work.
func (d *decoder) allowChange(c *Config) {
	if c.Password == nil || !c.Password.AllowChange || c.LDAP.Encrypted() {
		return
	}
	const key = "password.allow_change"
	if at, given := d.places[key]; given {
		d.mistakes = append(d.mistakes, Mistake{
			File: d.file, Line: at.line, Column: at.column, Key: key,
			Text: "directories change passwords over TLS only: write ldaps:// in ldap.urls or set ldap.start_tls: true, or write false here",
		})
	}
	c.Password.AllowChange = false
}

// Warnings returns what the operator should know about files that the
// configuration consists of and that can be used all the same.
func (c *Config) Warnings() []string { return slices.Clone(c.warnings) }

// complete sets what follows from the URL, which is valid, where the file says
// nothing.
func (c *Config) complete() {
	u, _ := url.Parse(c.URL)
	c.Listen = cmp.Or(c.Listen, ":"+cmp.Or(u.Port(), "443"))
	c.SiteName = cmp.Or(c.SiteName, u.Hostname())
}

// Validate reports everything that is wrong with c. It touches neither files
// nor the network.
func (c *Config) Validate() error {
	var p setting.Problems
	validateURL(&p, c.URL)
	validateListen(&p, c.Listen)
	if c.DataDir == "" {
		p.Addf("data_dir", "is empty; write the folder in which the connector may keep its keys, or remove the line")
	}
	p.Under("tls", c.TLS.Validate())
	if c.Certificate == nil && c.Password == nil {
		p.Addf("certificate", "is missing, and so is password: nobody could sign in; add at least one of the two sections")
	}
	if c.Certificate != nil {
		p.Under("certificate", c.Certificate.Validate())
	}
	if c.Password != nil {
		p.Under("password", c.Password.Validate())
	}
	p.Under("ldap", c.LDAP.Validate())
	p.Under("profile", c.Profile.Validate())
	p.Under("session", c.Session.Validate())
	p.Under("signing", c.Signing.Validate())
	if c.WSFed != nil {
		p.Under("wsfed", c.WSFed.Validate())
	}
	if c.Hub != nil {
		p.Under("hub", c.Hub.Validate())
	}
	p.Under("log", c.Log.Validate())
	c.validateMetrics(&p)
	return p.Err()
}

func validateURL(p *setting.Problems, raw string) {
	const example = "write the address that browsers open, such as https://login.example.com"
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		p.Addf("url", "is missing; %s", example)
	case err != nil || u.Opaque != "":
		p.Addf("url", "is not a URL; %s", example)
	case u.Scheme != "https":
		p.Addf("url", "must begin with https://; %s", example)
	case u.Hostname() == "":
		p.Addf("url", "names no host; %s", example)
	case u.User != nil:
		p.Addf("url", "must not hold a user name or a password; %s", example)
	case !isPort(cmp.Or(u.Port(), "443"), 1) || strings.HasSuffix(u.Host, ":"):
		p.Addf("url", "has no valid port; write a number from 1 to 65535 or leave it out")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		p.Addf("url", "must end after the host, the port or a path: remove what begins with ? or #")
	case u.Path != "" && (u.Path != "/" && path.Clean(u.Path) != u.Path || u.RawPath != "" || strings.ContainsAny(u.Path, `\;{}`)):
		p.Addf("url", "has a path that browsers and proxies may read differently; write one such as /login, without a slash at its end")
	}
}

func validateListen(p *setting.Problems, listen string) {
	if listen == "" {
		return // complete takes the port of the URL
	}
	if _, port, err := net.SplitHostPort(listen); err != nil || !isPort(port, 0) {
		p.Addf("listen", `must be an address and a port, such as ":443" or "10.0.0.5:443" ("[fd00::5]:443" for IPv6), not %q`, listen)
	}
}

// validateMetrics makes sure that nothing of the section is told where browsers
// are served.
func (c *Config) validateMetrics(p *setting.Problems) {
	if c.Metrics == nil {
		return
	}
	p.Under("metrics", c.Metrics.Validate())
	_, port, _ := net.SplitHostPort(c.Listen)
	if u, err := url.Parse(c.URL); err == nil && port == "" {
		port = cmp.Or(u.Port(), "443")
	}
	if port == c.Metrics.Port() && port != "" && port != "0" {
		p.Addf("metrics.listen", "has the port of listen, where browsers are served; write another one, such as \"127.0.0.1:9464\"")
	}
}

func isPort(text string, least uint64) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n >= least
}

// serviceKeys returns the files with the keys of the directory's service account,
// by their settings.
func (c *Config) serviceKeys() map[string]string {
	keys := map[string]string{}
	for i, l := range c.LDAP.Directories() {
		section := "ldap"
		if len(c.LDAP.Domains) > 0 {
			section = fmt.Sprintf("ldap.domains[%d]", i)
		}
		for key, file := range map[string]setting.File{"bind_key_file": l.BindKeyFile, "bind_keytab_file": l.BindKeytabFile} {
			if file != "" {
				keys[under(section, key)] = string(file)
			}
		}
	}
	return keys
}

// Show writes the settings in effect to w, as a configuration file with every
// default, and as comments what the tenant of the hub section said. Secrets are
// masked.
func (c *Config) Show(w io.Writer) error {
	if err := show(w, reflect.ValueOf(c).Elem()); err != nil {
		return err
	}
	s, err := c.TenantSettings()
	if err != nil || s == nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\n# What the tenant of the hub section said:"); err != nil {
		return err
	}
	return WriteTenantSettings(w, "#   ", s)
}
