// Package ldapauth asks one directory who somebody is: it finds the account,
// checks the password, reads the account's state and collects its groups. It
// knows Active Directory, OpenLDAP and 389 Directory Server.
//
// A refusal is a [denial.Error]. Any other error means that the directory could
// not be asked, and nobody may be let in by it.
//
// Two rules shape the connections. Searches run as the service account, on
// connections that never carry a user's password: a server may leave a
// connection on which a bind failed, or ran out of time, with any identity at
// all. And a password goes out once: what is retried after that is a second
// failure towards the lockout of the account.
package ldapauth

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"adconnector/ldapauth/pemfile"
	"adconnector/ldapauth/secret"

	"github.com/go-ldap/ldap/v3"
)

// A Directory is one directory on any number of servers. It may be used by
// many goroutines at once.
type Directory struct {
	config Config
	label  string // what it is called in messages
	// isCatalog says that it is a forest's global catalogue and no directory of
	// its own.
	isCatalog bool
	timeout   time.Duration // of every call
	// patience is how long a server may say nothing before another is asked.
	patience time.Duration
	log      *slog.Logger
	now      func() time.Time
	tls      *tls.Config
	dialer   *net.Dialer
	service  *restraint
	dialect  *dialect    // as configured; nil: each server is asked
	filter   *userFilter // as configured; nil: the dialect's
	// attributes are asked for besides what this package needs itself.
	attributes []string
	finder     *discovery // nil: the servers are configured
	// templates are the filters of certificates' rules, taken apart, by text.
	templates sync.Map

	mu      sync.Mutex
	servers []*server // in order of preference

	failovers atomic.Uint64 // see [DirectoryStats]

	called   atomic.Pointer[identity] // nil: not asked yet
	deny     denyRules
	groups   *cache[*group]                  // by SID or by normalised DN
	tokens   *cache[[]unique.Handle[string]] // SIDs by membershipKey
	above    *cache[[]*group]                // see groupsAbove
	policies *cache[*policy]                 // by DN
	lockouts *cache[*Lockout]                // by DN; nil: not to be seen

	ctx     context.Context // ends with Close //nolint:containedctx // what connects in the background has no caller's
	cancel  context.CancelFunc
	closing sync.RWMutex   // guards wg against beginning to wait
	wg      sync.WaitGroup // everything that runs in the background
}

// Options are what a Directory needs besides its configuration.
type Options struct {
	Log *slog.Logger     // default: nowhere
	Now func() time.Time // default: time.Now
	// CheckFile judges the rights on the service account's key or keytab each
	// time before it is read. Nil: they are as they are.
	CheckFile CheckFile
	// ReadSecret reads the file of the service account's password again, so that
	// a new one is put to use. Nil: the password stays as it is.
	ReadSecret func(path string) (secret.String, error)
	// Attributes are those of people that [Account.Values] is asked for. Nil: what
	// describes a person to the outside.
	Attributes []string
	// Resolver finds servers and their addresses. Nil means the system's.
	Resolver *net.Resolver

	beside []Config // the directories that are used together with this one
}

// sharers returns how many directories there are with the service account of c.
func (o *Options) sharers(c *Config) int {
	n := 0
	for _, other := range o.beside {
		if other.BindDN == c.BindDN && other.BindPrincipal == c.BindPrincipal {
			n++
		}
	}
	return max(1, n)
}

// New returns the directory that c describes. It reads the CA files but does
// not connect: a directory that is down must not stop the service from coming
// up. CA files that cannot be used are an error, since the system's roots in
// their place would trust servers that nobody named.
func New(c Config, o Options) (*Directory, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return newDirectory(c, o)
}

// newDirectory is [New] for what has been validated.
func newDirectory(c Config, o Options) (*Directory, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	service, err := newServiceAccount(&c, o)
	if err != nil {
		return nil, err
	}
	roots, err := pemfile.Roots(c.CAFiles)
	if err != nil {
		return nil, err
	}
	d := &Directory{
		config:  c,
		label:   cmp.Or(first(c.Suffixes), c.NetBIOS, first(c.BaseDN)),
		timeout: c.Timeout.Std(),
		log:     o.Log,
		now:     o.Now,
		tls:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		dialect: dialects[c.Schema],
		deny:    newDenyRules(c.DenyGroups),

		attributes: besides(o.Attributes),
		groups:     newCache[*group](c.Groups.Cache.Std(), maxCached),
		tokens:     newWeighedCache(c.Groups.Cache.Std(), maxMemberships, func(sids []unique.Handle[string]) int { return perEntry + len(sids) }),
		above:      newWeighedCache(c.Groups.Cache.Std(), maxMemberships, func(groups []*group) int { return perEntry + len(groups) }),
		policies:   newCache[*policy](policyCache, maxPolicies),
		lockouts:   newCache[*Lockout](policyCache, maxPolicies),
	}
	if d.now == nil {
		d.now = time.Now
	}
	d.patience = patience(d.timeout)
	d.dialer = newDialer(o.Resolver)
	d.service = &restraint{serviceAccount: service, now: d.now, sharers: o.sharers(&c)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if c.UserFilter != "" {
		d.filter, _ = parseUserFilter(c.UserFilter) // Validate has tried it
	}
	for _, u := range c.URLs {
		a, _ := parseURL(u) // Validate has tried it
		d.servers = append(d.servers, newServer(d, a))
	}
	if d.finder = newDiscovery(&c, o.Resolver); d.finder != nil {
		d.spawn(d.discover)
	}
	d.spawn(d.keepAlive)
	return d, nil
}

// Close ends all connections and waits until nothing runs any more.
func (d *Directory) Close() {
	d.closing.Lock()
	d.cancel()
	d.closing.Unlock()
	for _, s := range d.all() {
		s.close()
	}
	d.wg.Wait()
}

// spawn runs f in the background, unless the directory is closed.
func (d *Directory) spawn(f func()) bool {
	d.closing.RLock()
	defer d.closing.RUnlock()
	if d.ctx.Err() != nil {
		return false
	}
	d.wg.Go(f)
	return true
}

// keepAlive asks for next to nothing now and then, so that to each server that
// was in use one connection stays open. It is bound already: it goes on working
// while the service account's password is being changed.
func (d *Directory) keepAlive() {
	for pause(d.ctx, keepAliveEvery) {
		for _, s := range d.all() {
			s.keepAlive()
		}
	}
}

// errClosed is returned by a closed Directory.
var errClosed = errors.New("the directory is closed")

// all returns the servers in order of preference.
func (d *Directory) all() []*server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.servers // which is replaced, never changed
}

// candidates returns the servers in the order in which to try them: those in
// order of preference that are well, and the others, for when none of those
// answers.
func (d *Directory) candidates() (up, down []*server) {
	all := d.all()
	up = make([]*server, 0, len(all))
	for _, s := range all {
		if s.health.isWell() {
			up = append(up, s)
		} else {
			down = append(down, s)
		}
	}
	return up, down
}

// request returns a search that dereferences nothing, follows nothing and ends
// on both sides after limit entries.
func request(base string, scope, limit int, timeout time.Duration, filter string, attributes []string) *ldap.SearchRequest {
	return &ldap.SearchRequest{
		BaseDN:           base,
		Scope:            scope,
		DerefAliases:     ldap.NeverDerefAliases,
		SizeLimit:        limit,
		TimeLimit:        max(1, int(timeout/time.Second)),
		Filter:           filter,
		Attributes:       attributes,
		EnforceSizeLimit: true,
	}
}

// subtree returns a request like [request] for a whole subtree, without the
// pointers to other servers that Active Directory adds at the root of a domain.
func subtree(base string, limit int, timeout time.Duration, filter string, attributes []string) *ldap.SearchRequest {
	r := request(base, ldap.ScopeWholeSubtree, limit, timeout, filter, attributes)
	r.Controls = domainScope
	return r
}

// domainScope is the control LDAP_SERVER_DOMAIN_SCOPE_OID ([MS-ADTS],
// 3.1.1.3.4.1.4); servers that do not know it pass over it.
var domainScope = []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.1339", false, "")}

// sizeLimit reports whether err says that there are more entries than asked for.
func sizeLimit(err error) bool {
	return ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || errors.Is(err, ldap.ErrSizeLimitExceeded)
}

// attributesOf returns what a sign-in needs to know of an entry, in one search.
func (d *Directory) attributesOf(di *dialect) []string {
	list := slices.Concat(needed, d.attributes, di.attributes, []string{di.id})
	if d.config.Groups.Include || d.deny.concerns(di) {
		list = append(list, "memberOf")
	}
	return append(list, d.userFilter(di).attributes()...)
}

// userFilter returns the filter that finds people by name.
func (d *Directory) userFilter(di *dialect) *userFilter {
	if d.filter != nil {
		return d.filter
	}
	return defaultFilters[di.name]
}

var defaultFilters = func() map[string]*userFilter {
	m := map[string]*userFilter{}
	for name, di := range dialects {
		f, err := parseUserFilter(di.userFilter)
		if err != nil {
			panic(err)
		}
		m[name] = f
	}
	return m
}()
