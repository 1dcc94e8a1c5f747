package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"

	"adconnector/connector"
	"adconnector/connector/private"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/bare"
	"adconnector/ldapauth/pemfile"
	"adconnector/ldapauth/secret"
)

// DirectoryConcurrency is how many things at a time a directory is asked unless
// somebody says otherwise.
const DirectoryConcurrency = 16

// rounds is how often one thing is measured after the other, so that what else
// the machine does befalls all of them.
const rounds = 5

// DirectoryOptions say which directory to measure, and how hard.
type DirectoryOptions struct {
	Out         io.Writer
	Count       int // of each thing
	Concurrency int

	Config *connector.Config // its ldap and password sections
	// Usernames and Password are of people who may sign in. It takes several:
	// of the attempts for one account only a few may be under way at a time.
	Usernames []string
	Password  string

	More []Part // is measured in the same run
	// Rates, if it is not nil, gets how many of each thing there were in a second.
	Rates map[string]float64
}

// A Part is one more way in, which somebody else knows to go.
type Part struct {
	Name string
	// Prepare, if set, is called before each round with how many sign-ins will
	// come. Its time does not count.
	Prepare func(n int) error
	SignIn  func(context.Context) error
}

// Directory measures password sign-ins, from the throttle to the groups but
// without a browser, beside as many bare binds at a time, and the search for an
// account beside the same search by the LDAP library alone.
//
// A sign-in is a search and a bind at least. Where checking a password costs the
// server next to nothing, as with a salted SHA-1, the search alone keeps it at
// half the rate of bare binds; so the bare search and bind are measured too.
func Directory(ctx context.Context, o DirectoryOptions) error {
	b, err := openDirectory(ctx, &o)
	if err != nil {
		return err
	}
	defer b.close()
	run := Options{Out: o.Out, Count: max(o.Count/rounds, 1), Concurrency: o.Concurrency}
	type part struct {
		name    string
		prepare func(int) error
		do      func(context.Context) error
	}
	parts := []part{
		{"bare bind", nil, b.bareBind},
		{"bare search", nil, b.bareSearch},
		{"bare search and bind", nil, b.bareSignIn},
		{"search", nil, b.search},
		{"password sign-in", nil, b.signIn},
	}
	ratios := [][2]string{
		{"password sign-in", "bare bind"}, {"password sign-in", "bare search and bind"}, {"search", "bare search"},
	}
	for _, more := range o.More {
		parts = append(parts, part{more.Name, more.Prepare, more.SignIn})
		ratios = append(ratios, [2]string{more.Name, "bare bind"}, [2]string{more.Name, "bare search and bind"}, [2]string{more.Name, "password sign-in"})
	}
	sum := map[string]*series{}
	for range rounds {
		for _, part := range parts {
			if part.prepare != nil {
				if err := part.prepare(run.Count + run.warmUp()); err != nil {
					return fmt.Errorf("%s: %w", part.name, err)
				}
			}
			s, err := run.measure(ctx, part.do)
			if err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			sum[part.name] = s.after(sum[part.name])
		}
	}
	rate := o.Rates
	if rate == nil {
		rate = map[string]float64{}
	}
	for _, part := range parts {
		s := sum[part.name]
		run.report(part.name, s)
		rate[part.name] = float64(s.count) / s.elapsed.Seconds()
	}
	run.printf("\n")
	for _, ratio := range ratios {
		run.printf("%s ÷ %s: %.2f\n", ratio[0], ratio[1], rate[ratio[0]]/rate[ratio[1]])
	}
	return nil
}

// after returns what s and what was measured before it come to.
func (s *series) after(before *series) *series {
	if before != nil {
		s.count += before.count
		s.elapsed += before.elapsed
		s.times = append(s.times, before.times...)
		slices.Sort(s.times)
	}
	return s
}

// A directoryBench is a directory, asked by the connector's own code and by the
// LDAP library alone.
type directoryBench struct {
	directory *ldapauth.Domains
	service   *signin.Service
	password  string

	searches *bare.Conn // bound as the service account; all searches share it
	binds    chan *bare.Conn
	people   chan *person // one for each that is under way at a time
}

// A person is somebody who signs in, and the search that finds them.
type person struct {
	name, dn string
	search   *ldapauth.SearchStep
}

func openDirectory(ctx context.Context, o *DirectoryOptions) (_ *directoryBench, err error) {
	if o.Config.Password == nil {
		return nil, errors.New("the configuration has no password section, so there is no sign-in by password to measure")
	}
	b := &directoryBench{password: o.Password}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	quiet := slog.New(slog.DiscardHandler)
	if b.directory, err = ldapauth.NewDomains(o.Config.LDAP, ldapauth.Options{Log: quiet, CheckFile: private.Check}); err != nil {
		return nil, fmt.Errorf("ldap: %w", err)
	}
	b.service, err = signin.New(signin.Options{
		Directory: b.directory, PasswordEnabled: true, Throttle: o.Config.Password.Throttle,
		GroupsOnFailure: o.Config.LDAP.Groups.OnFailure,
		Audit:           signin.NewAudit(io.Discard), Log: quiet,
	})
	if err != nil {
		return nil, err
	}
	if err := b.findPeople(ctx, o); err != nil {
		return nil, err
	}
	return b, b.connect(o)
}

// findPeople finds everybody once, and with that out what is asked to do so.
func (b *directoryBench) findPeople(ctx context.Context, o *DirectoryOptions) error {
	b.people = make(chan *person, max(len(o.Usernames), o.Concurrency))
	var found []*person
	for _, name := range o.Usernames {
		trace := &ldapauth.Trace{}
		a, err := b.directory.FindByName(ldapauth.WithTrace(ctx, trace), name)
		if err != nil {
			return fmt.Errorf("looking for %q: %w", name, err)
		}
		steps, _ := trace.Steps()
		i := slices.IndexFunc(steps, func(s ldapauth.Step) bool { return s.Search != nil && slices.Contains(s.Search.Found, a.DN) })
		if i < 0 {
			return fmt.Errorf("looking for %q: no search found %s", name, a.DN)
		}
		found = append(found, &person{name, a.DN, steps[i].Search})
	}
	if len(found) == 0 {
		return errors.New("there is nobody to sign in")
	}
	for i := range cap(b.people) {
		b.people <- found[i%len(found)]
	}
	return nil
}

// connect makes the connections of the LDAP library, to the server that the
// connector's own code has found everybody on.
func (b *directoryBench) connect(o *DirectoryOptions) error {
	p := <-b.people
	b.people <- p
	i := slices.IndexFunc(o.Config.LDAP.Directories(), func(c ldapauth.Config) bool { return slices.Contains(c.URLs, p.search.Server) })
	if i < 0 {
		return fmt.Errorf("%s is not in ldap.urls", p.search.Server)
	}
	c := o.Config.LDAP.Directories()[i]
	if c.BindDN == "" {
		return errors.New("ldap.bind_dn is not set: only a service account with a password can be measured")
	}
	roots, err := pemfile.Roots(c.CAFiles)
	if err != nil {
		return err
	}
	if b.searches, err = bare.Dial(p.search.Server, c.StartTLS, roots); err != nil {
		return err
	}
	if err := b.searches.Bind(c.BindDN, c.BindPassword.Reveal()); err != nil {
		return fmt.Errorf("binding as the service account: %w", err)
	}
	b.binds = make(chan *bare.Conn, o.Concurrency)
	for range o.Concurrency {
		conn, err := bare.Dial(p.search.Server, c.StartTLS, roots)
		if err != nil {
			return err
		}
		b.binds <- conn
	}
	return nil
}

// loadRoots reads the CAs that vouch for a directory.
func (b *directoryBench) bareBind(context.Context) error {
	return b.somebody(b.bindBare)
}

func (b *directoryBench) bindBare(p *person) error {
	c := <-b.binds
	defer func() { b.binds <- c }()
	return c.Bind(p.dn, b.password)
}

func (b *directoryBench) bareSearch(context.Context) error {
	return b.somebody(b.searchBare)
}

func (b *directoryBench) searchBare(p *person) error {
	return b.searches.Search(p.search.Base, p.search.Filter, p.search.Attributes)
}

func (b *directoryBench) bareSignIn(context.Context) error {
	return b.somebody(func(p *person) error { return errors.Join(b.searchBare(p), b.bindBare(p)) })
}

func (b *directoryBench) search(ctx context.Context) error {
	return b.somebody(func(p *person) error {
		_, err := b.directory.FindByName(ctx, p.name)
		return err
	})
}

func (b *directoryBench) signIn(ctx context.Context) error {
	return b.somebody(func(p *person) error {
		_, err := b.service.SignIn(ctx, signin.Attempt{
			Credential: signin.Password{Username: p.name, Password: secret.New(b.password)},
			Via:        "bench", Remote: netip.IPv6Loopback(),
		})
		return err
	})
}

// somebody lets f have one of the people.
func (b *directoryBench) somebody(f func(*person) error) error {
	p := <-b.people
	defer func() { b.people <- p }()
	return f(p)
}

func (b *directoryBench) close() {
	if b.directory != nil {
		b.directory.Close()
	}
	if b.searches != nil {
		b.searches.Close()
	}
	for range len(b.binds) {
		(<-b.binds).Close()
	}
}
