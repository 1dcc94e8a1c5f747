package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/setting"

	"github.com/go-ldap/ldap/v3"
)

const (
	// The ports of a global catalogue ([MS-ADTS], 3.1.1.3.1.11).
	catalogPort    = "3268"
	catalogPortTLS = "3269"
	// maxCatalog is how many entries of one name are looked at. Most names are
	// one person's.
	maxCatalog = 100
	// catalogRetry is how long the catalogue is left alone that did not answer.
	catalogRetry = 10 * time.Second
	// catalogLabel is what it is called in messages.
	catalogLabel = "global catalogue"
)

// A catalog is the global catalogue of a forest: a server that knows a few
// attributes of every entry of all domains. It lacks most of those that decide
// whether somebody may sign in, so all it does is say whom to ask: the domains
// of which it knows nobody of a name are left out. What the others answer
// counts.
//
// A domain is left out only on the catalogue's word. While there is none, and
// for whom it cannot vouch, the domain itself is asked.
type catalog struct {
	d     *Directory // its base is the whole forest
	log   *slog.Logger
	bases map[*Directory][]*ldap.DN
	rest  atomic.Int64 // until when it is left alone, in nanoseconds of Unix time
	ailed atomic.Bool  // the last question had no answer
}

// newCatalog returns the catalogue that c describes for the directories in list.
func newCatalog(c *DomainsConfig, list []*Directory, o Options) (*catalog, error) {
	d, err := newDirectory(c.catalog(), o)
	if err != nil {
		return nil, err
	}
	d.label, d.isCatalog = catalogLabel, true
	k := &catalog{d: d, log: d.log, bases: map[*Directory][]*ldap.DN{}}
	for _, x := range list {
		// A filter may compare attributes that the catalogue does not have.
		if x.filter != nil || x.dialect != nil && x.dialect != activeDirectory {
			continue
		}
		for _, b := range x.config.BaseDN {
			base, err := ldap.ParseDN(b)
			if err != nil {
				d.Close()
				return nil, err
			}
			k.bases[x] = append(k.bases[x], base)
		}
	}
	return k, nil
}

// catalog returns the configuration of the catalogue as a directory. It has half
// of the time, so that the domains can still be asked if it does not answer.
func (c *DomainsConfig) catalog() Config {
	d := c.Config
	d.Discover, d.Site = "", ""
	d.URLs = make([]string, len(c.GlobalCatalog))
	for i, raw := range c.GlobalCatalog {
		d.URLs[i] = catalogURL(raw)
	}
	d.BaseDN, d.Schema, d.UserFilter, d.Timeout = setting.OneOrMore{""}, activeDirectory.name, "", c.Timeout/2
	return d
}

// catalogURL returns the URL with the catalogue's port, if it has none.
func catalogURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Port() != "" {
		return raw
	}
	port := catalogPortTLS
	if u.Scheme == "ldap" {
		port = catalogPort
	}
	u.Host = net.JoinHostPort(u.Hostname(), port)
	return u.String()
}

// validateCatalog looks at the catalogue. What is wrong with the service account
// is said once, if a domain has it too.
func (c *DomainsConfig) validateCatalog(p *setting.Problems) {
	if len(c.GlobalCatalog) == 0 {
		return
	}
	if len(c.Domains) < 2 {
		p.Addf("global_catalog", "says in which of several ldap.domains somebody is; remove it")
		return
	}
	c.validateServers(p, "global_catalog", c.GlobalCatalog)
	for i, raw := range c.GlobalCatalog {
		key := fmt.Sprintf("global_catalog[%d]", i)
		a, err := parseURL(catalogURL(raw))
		switch {
		case err != nil:
		case a.port == "389" || a.port == "636":
			p.Addf(key, "on port %s a server knows its own domain only; a global catalogue has port %s, with TLS %s", a.port, catalogPort, catalogPortTLS)
		case !a.tls && !c.StartTLS && (c.BindCertFile != "" || c.BindKeytabFile != ""):
			p.Addf(key, "the service account's certificate or keytab needs TLS: write ldaps:// or set start_tls: true")
		}
	}
	var account setting.Problems
	d := c.catalog()
	d.URLs = nil // they have been looked at
	d.validateBind(&account)
	for _, e := range account {
		if !slices.ContainsFunc(*p, func(x error) bool { return x.Error() == e.Error() }) {
			*p = append(*p, e)
		}
	}
	if !d.hasAccount() {
		p.Addf("bind_dn", "is missing; the global catalogue is searched with the service account that stands in ldap itself")
	}
}

// hasAccount reports whether there is a service account at all.
func (c *Config) hasAccount() bool {
	return c.BindDN != "" || c.BindPassword.IsSet() || c.BindPasswordFile != "" || c.BindCertFile != "" || c.BindKeyFile != "" || c.BindKeytabFile != ""
}

// narrow returns those of list, with their readings, that have to be asked for
// whom these mean: all but the ones in which the catalogue knows nobody of that
// name.
func (k *catalog) narrow(ctx context.Context, list []*Directory, readings []reading) ([]*Directory, []reading) {
	if k.d.now().UnixNano() < k.rest.Load() {
		return list, readings
	}
	keep, err := k.holders(ctx, list, readings)
	k.report(ctx, err)
	if err != nil {
		return list, readings
	}
	var chosen []*Directory
	var means []reading
	for i, d := range list {
		if keep[i] {
			chosen, means = append(chosen, d), append(means, readings[i])
		}
	}
	note(ctx, func() string {
		return fmt.Sprintf("by the %s, %d of %d domains have to be asked", catalogLabel, len(chosen), len(list))
	})
	return chosen, means
}

// report says in the log when the catalogue begins to fail, and when it is of
// use again.
func (k *catalog) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return // the caller went away
	}
	if err != nil {
		k.rest.Store(k.d.now().Add(catalogRetry).UnixNano())
	}
	switch was := k.ailed.Swap(err != nil); {
	case err != nil && !was:
		k.log.Warn("the global catalogue is of no use; every domain is asked for names without a domain", "error", err)
	case err == nil && was:
		k.log.Info("the global catalogue is of use again")
	}
}

// holders reports for each directory whether it has to be asked. The error says
// why the catalogue is no help.
func (k *catalog) holders(ctx context.Context, list []*Directory, readings []reading) ([]bool, error) {
	forest, err := k.forest(ctx)
	if err != nil {
		return nil, err
	}
	keep := make([]bool, len(list))
	ask(list, func(i int, d *Directory) (*Account, error) {
		keep[i] = !k.covers(ctx, forest, d)
		return nil, nil
	})
	var compare []string
	for i := range list {
		if keep[i] {
			continue
		}
		for _, c := range readings[i].comparisons(activeDirectory) {
			if f := "(" + c.attribute + "=" + EscapeFilter(c.value) + ")"; !slices.Contains(compare, f) {
				compare = append(compare, f)
			}
		}
	}
	if len(compare) == 0 {
		return keep, nil
	}
	found, err := k.search(ctx, "(&"+activeDirectory.person+"(|"+strings.Join(compare, "")+"))")
	if err != nil {
		return nil, err
	}
	for i, d := range list {
		keep[i] = keep[i] || slices.ContainsFunc(found, func(dn *ldap.DN) bool { return k.holds(forest, d, dn) })
	}
	return keep, nil
}

// forest returns the domains that the catalogue knows.
func (k *catalog) forest(ctx context.Context) (forest, error) {
	id, err := k.d.identity(ctx)
	if err != nil {
		return nil, err
	}
	if id.missing != nil {
		return nil, id.missing
	}
	return id.forest, nil
}

// covers reports whether the catalogue knows everybody who is in d. A directory
// of another kind may have been given the names of a domain, so that d itself
// must have said what it is, if nobody else has.
func (k *catalog) covers(ctx context.Context, f forest, d *Directory) bool {
	bases := k.bases[d]
	if len(bases) == 0 || slices.ContainsFunc(bases, func(b *ldap.DN) bool { return f.domainOf(b) == nil }) {
		return false
	}
	if d.dialect == activeDirectory {
		return true
	}
	who, err := d.identity(ctx)
	return err == nil && who.activeDirectory
}

// holds reports whether dn is an entry of d.
func (k *catalog) holds(f forest, d *Directory, dn *ldap.DN) bool {
	domain := f.domainOf(dn)
	return domain != nil && slices.ContainsFunc(k.bases[d], func(b *ldap.DN) bool { return holdsDN(b, dn) && f.domainOf(b) == domain })
}

// search returns the names of the entries that the filter finds in the forest.
func (k *catalog) search(ctx context.Context, filter string) ([]*ldap.DN, error) {
	result, _, err := k.d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request("", ldap.ScopeWholeSubtree, maxCatalog, k.d.timeout, filter, []string{"1.1"})
	})
	switch {
	case sizeLimit(err):
		return nil, fmt.Errorf("it knows more than %d entries of one name", maxCatalog)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return nil, errNoCatalog
	case err != nil:
		return nil, inWords(err)
	}
	found := make([]*ldap.DN, len(result.Entries))
	for i, e := range result.Entries {
		if found[i], err = ldap.ParseDN(e.DN); err != nil {
			return nil, fmt.Errorf("it sent %q, which is not a DN: %w", e.DN, err)
		}
	}
	return found, nil
}

// isCatalogReady reports whether a server with this root DSE is a global
// catalogue that has everything that it should ([MS-ADTS], 3.1.1.3.2.22).
func isCatalogReady(root *ldap.Entry) bool {
	return strings.EqualFold(root.GetEqualFoldAttributeValue("isGlobalCatalogReady"), "TRUE")
}

// check looks at the catalogue's servers, and for which directories of list it
// is of use.
func (k *catalog) check(ctx context.Context, list []*Directory) []Finding {
	findings := k.d.Check(ctx)
	for i := range findings {
		findings[i].Subject = catalogLabel + ", " + findings[i].Subject
	}
	r := report{subject: catalogLabel, findings: findings}
	forest, err := k.forest(ctx)
	if err != nil {
		return findings // and it has been said why
	}
	for _, d := range list {
		if k.covers(ctx, forest, d) {
			r.add(OK, "says who is in %s", d.label)
		} else {
			r.add(Warning, "cannot say who is in %s, which is asked itself for every name without a domain: it is in another forest, or has a user_filter, or is not known to be an Active Directory", d.label)
		}
	}
	return r.findings
}

// checkCatalog looks at what a server says of itself and shows.
func (s *server) checkCatalog(c *conn, root *ldap.Entry, r *report) {
	if !isCatalogReady(root) {
		r.add(Failure, "%v", errNoCatalog)
		return
	}
	result, err := c.ldap.Search(request("", ldap.ScopeWholeSubtree, 1, s.d.timeout, "(&"+c.dialect.person+")", []string{"1.1"}))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		r.add(Failure, "%v", errNoCatalog)
	case err != nil && !sizeLimit(err):
		r.add(Failure, "searching the whole forest: %v", inWords(err))
	case len(result.Entries) == 0:
		r.add(Failure, "no person is found in the whole forest: check the rights of the service account")
	default:
		r.add(OK, "knows the people of the forest")
	}
}

// errNoCatalog is about a domain controller that was asked on its usual port, or
// is no global catalogue.
var errNoCatalog = errors.New("the server is no global catalogue, or not ready to be one: write one in ldap.global_catalog, with port " + catalogPortTLS)
