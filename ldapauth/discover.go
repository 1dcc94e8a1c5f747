package ldapauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// refreshEvery is how often the DNS is asked again; a controller that was
	// added or retired can wait that long.
	refreshEvery = 5 * time.Minute
	// refreshAfterFailure is the pause when that failed and the servers from
	// before are used, firstRefresh the one as long as none are known.
	refreshAfterFailure = 30 * time.Second
	firstRefresh        = time.Second
	// maxDiscovered is how many servers are taken from the DNS, those first that
	// it prefers. Nobody fails over to more.
	maxDiscovered = 32
)

// A discovery finds the servers of a directory in the DNS (RFC 2782).
//
// Whoever can forge the DNS chooses from among the hosts in the domain and no
// others: a target outside is passed over, every connection is encrypted, and
// the certificate must be for the target.
type discovery struct {
	domain   string // in lower case, without a dot at the end
	site     string // of Active Directory; "" = none
	startTLS bool
	resolver *net.Resolver

	asked  chan struct{} // closed when the DNS has been asked once
	failed error         // why no servers are known; guarded by [Directory.mu]
	last   []*net.SRV    // in the order in which they are used
}

// newDiscovery returns the discovery that c asks for, nil if it names its
// servers.
func newDiscovery(c *Config, r *net.Resolver) *discovery {
	if c.Discover == "" {
		return nil
	}
	if r == nil {
		r = net.DefaultResolver
	}
	return &discovery{
		domain:   strings.ToLower(strings.TrimSuffix(c.Discover, ".")),
		site:     c.Site,
		startTLS: c.StartTLS,
		resolver: r,
		asked:    make(chan struct{}),
	}
}

// records asks the DNS for servers, those of the site first. In each part they
// are in the order of RFC 2782: by priority, and by chance according to their
// weights. strange are targets that are outside the domain.
func (f *discovery) records(ctx context.Context) (records []*net.SRV, strange []string, err error) {
	names := []string{"_ldap._tcp." + f.domain + "."}
	if f.site != "" {
		names = []string{"_ldap._tcp." + f.site + "._sites.dc._msdcs." + f.domain + ".", "_ldap._tcp.dc._msdcs." + f.domain + "."}
	}
	var errs []error
	for _, name := range names {
		_, found, err := f.resolver.LookupSRV(ctx, "", "", name)
		if err != nil { // records that came along are good all the same
			errs = append(errs, err)
		}
		for _, r := range found {
			r.Target = strings.ToLower(strings.TrimSuffix(r.Target, "."))
			switch {
			case r.Target == "" || r.Port == 0: // "decidedly not available at this domain"
			case r.Target != f.domain && !strings.HasSuffix(r.Target, "."+f.domain):
				strange = append(strange, r.Target)
			case len(records) < maxDiscovered && !slices.ContainsFunc(records, func(x *net.SRV) bool { return x.Target == r.Target && x.Port == r.Port }):
				records = append(records, r)
			}
		}
	}
	if len(records) > 0 {
		return records, strange, nil
	}
	if len(strange) > 0 {
		errs = append(errs, fmt.Errorf("%s leads outside of the domain only, to %s", names[0], strings.Join(strange, ", ")))
	}
	if len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s leads to no server", names[0]))
	}
	return nil, strange, fmt.Errorf("the DNS names no directory server of %s: check ldap.discover%s and the DNS of this machine, or write ldap.urls instead (%w)",
		f.domain, map[bool]string{true: ", ldap.site"}[f.site != ""], errors.Join(errs...))
}

// address returns the server that a record stands for. Domain controllers have
// records for the port of plain LDAP alone; the one of LDAPS is beside it.
func (f *discovery) address(r *net.SRV) address {
	a := address{host: r.Target, port: strconv.Itoa(int(r.Port)), tls: !f.startTLS}
	scheme := "ldap"
	if a.tls {
		scheme = "ldaps"
		if r.Port == 389 {
			a.port = "636"
		}
	}
	a.url = scheme + "://" + net.JoinHostPort(a.host, a.port)
	return a
}

// settle returns the records in the order in which they were used before if
// they are the same ones. Chance has spoken once; to draw lots again would move
// every connector to another server, again and again.
func (f *discovery) settle(records []*net.SRV) []*net.SRV {
	order := func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	}
	same := func(a, b *net.SRV) bool { return *a == *b }
	if !slices.EqualFunc(slices.SortedFunc(slices.Values(records), order), slices.SortedFunc(slices.Values(f.last), order), same) {
		f.last = records
	}
	return f.last
}

// discover keeps the list of servers as the DNS has it. A list that cannot be
// had again stays.
func (d *Directory) discover() {
	for said := false; ; {
		next := refreshEvery
		err := d.rediscover()
		up, _ := d.candidates()
		switch {
		case err == nil && len(up) == 0: // the servers may have moved
			next, said = refreshAfterFailure, false
		case err == nil:
			said = false
		case len(d.all()) == 0:
			next = firstRefresh
		default:
			next = refreshAfterFailure
		}
		if err != nil && !said && d.ctx.Err() == nil {
			said = true
			d.log.Warn("directory servers cannot be looked up; those known from before stay in use", "domain", d.finder.domain, "known", len(d.all()), "error", err)
		}
		if !pause(d.ctx, jitter(next)) {
			return
		}
	}
}

// rediscover asks the DNS once.
func (d *Directory) rediscover() error {
	ctx, cancel := context.WithTimeoutCause(d.ctx, d.timeout, errNoAnswer)
	defer cancel()
	records, strange, err := d.finder.records(ctx)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		if len(strange) > 0 {
			d.log.Warn("the DNS names servers outside of ldap.discover; they are not used", "domain", d.finder.domain, "servers", strange)
		}
		d.use(d.finder.settle(records))
	}
	d.finder.failed = err
	select {
	case <-d.finder.asked:
	default:
		close(d.finder.asked)
	}
	return err
}

// use makes the servers of these records the ones that are asked. Those that
// are in use already keep their connections; requests to those that are gone
// come to their end. The caller holds the lock.
func (d *Directory) use(records []*net.SRV) {
	old := d.servers
	d.servers = make([]*server, 0, len(records))
	for _, r := range records {
		a := d.finder.address(r)
		if i := slices.IndexFunc(old, func(s *server) bool { return s.url == a.url }); i >= 0 {
			d.servers = append(d.servers, old[i])
			old = slices.Delete(slices.Clone(old), i, i+1)
			continue
		}
		d.servers = append(d.servers, newServer(d, a))
		d.log.Info("directory server found", "server", a.url, "domain", d.finder.domain)
	}
	for _, s := range old {
		d.log.Info("directory server is in the DNS no more", "server", s.url, "domain", d.finder.domain)
		s.retire()
	}
}

// known waits until it is known which servers there are. The error is why none
// are.
func (d *Directory) known(ctx context.Context) error {
	if d.finder == nil {
		return nil
	}
	select {
	case <-d.finder.asked:
	case <-d.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: looking up the directory servers of %s: %w", errConnection, d.finder.domain, context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.servers) == 0 {
		return fmt.Errorf("%w: %w", errConnection, d.finder.failed)
	}
	return nil
}

// check says what the DNS says now.
func (f *discovery) check(ctx context.Context, timeout time.Duration, r *report) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	r.subject = "ldap.discover"
	records, strange, err := f.records(ctx)
	if err != nil {
		r.add(Failure, "%v", err)
		return
	}
	var hosts []string
	for _, x := range records {
		hosts = append(hosts, x.Target)
	}
	r.add(OK, "the DNS names %s", strings.Join(hosts, ", "))
	if len(strange) > 0 {
		r.add(Warning, "the DNS also names servers outside of %s, which are not used: %s; correct the DNS, or write ldap.urls instead", f.domain, strings.Join(strange, ", "))
	}
}
