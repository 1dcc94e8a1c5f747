package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	lru "github.com/hashicorp/golang-lru/v2"
)

// DomainsConfig says which directories to ask: one, or each of Domains.
type DomainsConfig struct {
	// Config is the one directory. If there are Domains, it is none itself and
	// holds what they have in common.
	Config `yaml:",inline"`
	// Domains are the directories in the order in which they are named. A key
	// that one of them does not have takes the value of the section around it.
	Domains []Config `yaml:"domains,inherit"`
	// GlobalCatalog are servers of the forest that the Domains are in, in order
	// of preference, that say in which of them somebody is.
	GlobalCatalog []string `yaml:"global_catalog"`
}

// DefaultDomains returns the settings that hold where the file says nothing.
func DefaultDomains() DomainsConfig { return DomainsConfig{Config: DefaultConfig()} }

// Directories returns the configuration of each directory.
func (c *DomainsConfig) Directories() []Config {
	if len(c.Domains) == 0 {
		return []Config{c.Config}
	}
	return c.Domains
}

// Encrypted reports whether TLS is used with every server of every directory.
func (c *DomainsConfig) Encrypted() bool {
	return !slices.ContainsFunc(c.Directories(), func(d Config) bool { return !d.Encrypted() })
}

// LongestTimeout returns how long one operation may take in the directory that is
// given most time.
func (c *DomainsConfig) LongestTimeout() time.Duration {
	longest := time.Duration(0)
	for _, d := range c.Directories() {
		longest = max(longest, d.Timeout.Std())
	}
	return longest
}

// Validate reports everything wrong with c at once. Keys are relative to the
// section. It touches neither files nor the network.
func (c *DomainsConfig) Validate() error {
	var p setting.Problems
	if len(c.Domains) == 0 {
		p = setting.Split(c.Config.Validate())
		c.validateCatalog(&p)
		return p.Err()
	}
	if len(c.Suffixes) > 0 {
		p.Addf("suffixes", "must stand in one of ldap.domains, since it tells them apart")
	}
	if c.NetBIOS != "" {
		p.Addf("netbios", "must stand in one of ldap.domains, since it tells them apart")
	}
	c.validateDomains(&p)
	c.validateUnique(&p)
	c.validateCatalog(&p)
	return p.Err()
}

// validateDomains looks at each domain. What is wrong with a value that several
// took from the section around them is said once, of that section.
func (c *DomainsConfig) validateDomains(p *setting.Problems) {
	common := setting.Split(c.Config.Validate())
	said := map[string]bool{}
	for i := range c.Domains {
		for _, e := range setting.Split(c.Domains[i].Validate()) {
			inherited := slices.ContainsFunc(common, func(x error) bool { return x.Error() == e.Error() })
			switch {
			case !inherited || isMissing(e, c):
				p.Under(fmt.Sprintf("domains[%d]", i), e)
			case !said[e.Error()]:
				said[e.Error()] = true
				*p = append(*p, e)
			}
		}
	}
}

// isMissing reports whether e says that a domain lacks what the section around
// it does not have either and need not.
func isMissing(e error, c *DomainsConfig) bool {
	problem, ok := errors.AsType[*setting.Problem](e)
	return ok && (problem.Key == "urls" && len(c.URLs) == 0 || problem.Key == "base_dn" && len(c.BaseDN) == 0)
}

// validateUnique looks for names that would lead to two domains.
func (c *DomainsConfig) validateUnique(p *setting.Problems) {
	for i := range c.Domains {
		d := &c.Domains[i]
		key := fmt.Sprintf("domains[%d]", i)
		c.validatePolicy(p, key, d)
		if len(d.Suffixes) == 0 && d.NetBIOS == "" {
			p.Addf(key+".suffixes", "is missing; write what stands behind the @ in the names of this domain's people, such as [corp.example.com]")
		}
		for j := range c.Domains[:i] {
			other := &c.Domains[j]
			if d.NetBIOS != "" && sameName(d.NetBIOS, other.NetBIOS) {
				p.Addf(key+".netbios", "%q is the name of domains[%d] too; a name can lead to one domain only", d.NetBIOS, j)
			}
			for k, s := range d.Suffixes {
				if holdsName(other.Suffixes, s) {
					p.Addf(fmt.Sprintf("%s.suffixes[%d]", key, k), "%q is a suffix of domains[%d] too; a name can lead to one domain only", s, j)
				}
			}
		}
	}
}

// validatePolicy looks for what whoever uses the directories decides once for
// all of them.
func (c *DomainsConfig) validatePolicy(p *setting.Problems, key string, d *Config) {
	for _, x := range []struct {
		key     string
		differs bool
	}{
		{"allow_expired_password", d.AllowExpiredPassword != c.AllowExpiredPassword},
		{"allow_must_change_password", d.AllowMustChangePassword != c.AllowMustChangePassword},
		{"groups.on_failure", d.Groups.OnFailure != c.Groups.OnFailure},
	} {
		if x.differs {
			p.Addf(key+"."+x.key, "is the same for all domains; write it in ldap itself")
		}
	}
}

// maxOrigins is how many accounts are remembered with the domain that they are
// in, at some 100 bytes each.
const maxOrigins = 100_000

// Domains are the directories that accounts may be in: one or several. It may
// be used by many goroutines at once.
type Domains struct {
	list    []*Directory
	catalog *catalog                       // nil: none
	origins *lru.Cache[string, *Directory] // by account ID; nil: there is one directory
}

// NewDomains returns the directories that c describes. Like [New] it does not
// connect.
func NewDomains(c DomainsConfig, o Options) (*Domains, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Domains{}
	o.beside = c.Directories()
	if len(c.GlobalCatalog) > 0 {
		o.beside = append(slices.Clone(o.beside), c.catalog())
	}
	var errs []error
	for i, config := range c.Directories() {
		d, err := New(config, o)
		switch {
		case err == nil:
			s.list = append(s.list, d)
		case len(c.Domains) > 0:
			errs = append(errs, fmt.Errorf("domains[%d].%w", i, err))
		default:
			errs = append(errs, err)
		}
	}
	if len(c.GlobalCatalog) > 0 && len(errs) == 0 {
		var err error
		if s.catalog, err = newCatalog(&c, s.list, o); err != nil {
			errs = append(errs, fmt.Errorf("global_catalog: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.Close()
		return nil, err
	}
	if len(s.list) > 1 {
		s.origins, _ = lru.New[string, *Directory](maxOrigins) // fails for a size below one
	}
	return s, nil
}

// Close ends all connections and waits until nothing runs any more.
func (s *Domains) Close() {
	for _, d := range s.list {
		d.Close()
	}
	if s.catalog != nil {
		s.catalog.d.Close()
	}
}

// An answer is what one directory says.
type answer struct {
	account *Account
	err     error
}

// ask asks several directories at the same time and returns their answers in
// the same order.
func ask(list []*Directory, question func(i int, d *Directory) (*Account, error)) []answer {
	answers := make([]answer, len(list))
	var wait sync.WaitGroup
	for i, d := range list {
		wait.Go(func() { answers[i].account, answers[i].err = question(i, d) })
	}
	wait.Wait()
	return answers
}

// FindByName returns the one person called name. A domain in the name, before a
// backslash or behind an @, is the only one that is asked; without one all are,
// and whoever two of them know is nobody's to choose. A domain that gives no
// answer makes it a fault, since it may be the one that knows another of that
// name.
func (s *Domains) FindByName(ctx context.Context, name string) (*Account, error) {
	if len(s.list) == 1 {
		return s.list[0].FindByName(ctx, name)
	}
	n, err := parseName(name)
	if err != nil {
		return nil, err
	}
	list, readings, err := s.route(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("looking for user %q: %w", name, err)
	}
	note(ctx, func() string {
		labels := make([]string, len(list))
		for i, d := range list {
			labels[i] = d.label
		}
		return fmt.Sprintf("of the %d in ldap.domains, %q can be somebody in: %s", len(s.list), name, strings.Join(labels, ", "))
	})
	if s.catalog != nil && len(list) > 1 {
		list, readings = s.catalog.narrow(ctx, list, readings)
	}
	if len(list) == 0 {
		return nil, denial.New(denial.NoAccount, "the global catalogue knows nobody called %q in ldap.domains", name)
	}
	a, err := only(ask(list, func(i int, d *Directory) (*Account, error) { return d.findRead(ctx, &readings[i]) }))
	if err != nil {
		return nil, err
	}
	s.origins.Add(a.ID, a.directory)
	return a, nil
}

// route returns the directories to ask for n, and what it means in each: the
// ones that its domain part belongs to, else all where it can mean somebody.
func (s *Domains) route(ctx context.Context, n typedName) ([]*Directory, []reading, error) {
	list := s.list
	if i := slices.IndexFunc(list, func(d *Directory) bool { return d.claims(n) }); i >= 0 {
		list = list[i : i+1]
	}
	readings := make([]reading, len(list))
	for _, a := range ask(list, func(i int, d *Directory) (_ *Account, err error) {
		readings[i], err = d.read(ctx, n)
		return nil, err
	}) {
		if a.err != nil {
			return nil, nil, a.err
		}
	}
	possible := func(r *reading) bool { return !r.meansNobody() }
	if slices.ContainsFunc(readings, func(r reading) bool { return r.mine }) {
		possible = func(r *reading) bool { return r.mine }
	}
	var chosen []*Directory
	var means []reading
	for i := range readings {
		if possible(&readings[i]) {
			chosen, means = append(chosen, list[i]), append(means, readings[i])
		}
	}
	if len(chosen) == 0 {
		return nil, nil, denial.New(denial.NoAccount, "%q is the name of no domain in ldap.domains", n.domain)
	}
	return chosen, means, nil
}

// claims reports whether the configuration says that the domain part of n is
// this directory's.
func (d *Directory) claims(n typedName) bool {
	switch n.form {
	case downLevelName:
		return d.config.NetBIOS != "" && sameName(n.domain, d.config.NetBIOS)
	case principalName:
		return holdsName(d.config.Suffixes, n.domain)
	}
	return false
}

// only returns the one account among the answers. A fault is the worst of them,
// since nobody knows what the answer would have been.
func only(answers []answer) (*Account, error) {
	var found *Account
	var faults, several, none []error
	for _, a := range answers {
		switch reason := denial.ReasonOf(a.err); {
		case a.err == nil && found != nil:
			several = append(several, denial.New(denial.SeveralAccounts, "both %q in %s and %q in %s are called so", found.DN, found.Domain(), a.account.DN, a.account.Domain()))
		case a.err == nil:
			found = a.account
		case reason == denial.SeveralAccounts:
			several = append(several, a.err)
		case reason != "":
			none = append(none, a.err)
		default:
			faults = append(faults, a.err)
		}
	}
	switch {
	case len(faults) > 0:
		return nil, errors.Join(faults...)
	case len(several) > 0:
		return nil, several[0]
	case found != nil:
		return found, nil
	}
	return nil, none[0]
}

// FindByID returns the person whose [Account.ID] is id. The domain that it came
// from is remembered; an ID that it no longer has is looked for in the others,
// where the person may have been moved. Since an ID is nobody else's, one answer
// is enough.
func (s *Domains) FindByID(ctx context.Context, id string) (*Account, error) {
	if len(s.list) == 1 {
		return s.list[0].FindByID(ctx, id)
	}
	if d, ok := s.origins.Get(id); ok {
		if a, err := d.FindByID(ctx, id); denial.ReasonOf(err) != denial.NoAccount {
			return a, err
		}
	}
	answers := ask(s.list, func(_ int, d *Directory) (*Account, error) { return d.FindByID(ctx, id) })
	known := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.err != nil })
	if len(known) > 0 {
		answers = known
	}
	a, err := only(answers)
	if err != nil {
		return nil, err
	}
	s.origins.Add(id, a.directory)
	return a, nil
}

// errStranger is about an account that no directory gave out.
var errStranger = errors.New("the account is of no directory")

// Bind checks the password of a in the directory that it came from; see
// [Directory.Bind].
func (s *Domains) Bind(ctx context.Context, a *Account, password secret.String) error {
	if a.directory == nil {
		return fmt.Errorf("binding: %w", errStranger)
	}
	return a.directory.Bind(ctx, a, password)
}

// ChangePassword changes the password of a in the directory that it came from;
// see [Directory.ChangePassword].
func (s *Domains) ChangePassword(ctx context.Context, a *Account, old, new secret.String) error {
	if a.directory == nil {
		return fmt.Errorf("changing a password: %w", errStranger)
	}
	return a.directory.ChangePassword(ctx, a, old, new)
}

// ResetPassword sets the password of a in the directory that it came from; see
// [Directory.ResetPassword].
func (s *Domains) ResetPassword(ctx context.Context, a *Account, new secret.String, unlock bool) error {
	if a.directory == nil {
		return fmt.Errorf("setting a password: %w", errStranger)
	}
	return a.directory.ResetPassword(ctx, a, new, unlock)
}

// Lockout returns what the directory that a came from does about wrong
// passwords; see [Directory.Lockout].
func (s *Domains) Lockout(ctx context.Context, a *Account) (Lockout, error) {
	if a.directory == nil {
		return Lockout{}, fmt.Errorf("reading about wrong passwords: %w", errStranger)
	}
	return a.directory.Lockout(ctx, a)
}

// A DomainLockout is what one directory does about wrong passwords, or why that
// is not known.
type DomainLockout struct {
	Domain string // what the directory is called
	Lockout
	Err error
}

// UsualLockouts returns for each directory what [Directory.UsualLockout] does.
func (s *Domains) UsualLockouts(ctx context.Context) []DomainLockout {
	found := make([]DomainLockout, len(s.list))
	ask(s.list, func(i int, d *Directory) (*Account, error) {
		found[i].Domain = d.label
		found[i].Lockout, found[i].Err = d.UsualLockout(ctx)
		return nil, nil
	})
	return found
}

// Groups returns the names of the groups of a in the directory that it came
// from; see [Directory.Groups].
func (s *Domains) Groups(ctx context.Context, a *Account) ([]string, error) {
	if a.directory == nil {
		return nil, fmt.Errorf("reading groups: %w", errStranger)
	}
	return a.directory.Groups(ctx, a)
}

// GroupNames returns the names of the groups of a, who is refused; see
// [Directory.GroupNames].
func (s *Domains) GroupNames(ctx context.Context, a *Account, ask bool) ([]string, error) {
	if a.directory == nil {
		return nil, fmt.Errorf("reading groups: %w", errStranger)
	}
	return a.directory.GroupNames(ctx, a, ask)
}

// Probe asks every directory one thing; see [Directory.Probe]. If errors of
// several kinds come of it, the ones that stay are returned.
func (s *Domains) Probe(ctx context.Context) error {
	var errs, lasting []error
	for _, p := range s.Probes(ctx) {
		err := p.Err
		if err != nil && len(s.list) > 1 {
			err = fmt.Errorf("%s: %w", p.Domain, err)
		}
		if errs = append(errs, err); Misconfigured(err) {
			lasting = append(lasting, err)
		}
	}
	if len(lasting) > 0 {
		return errors.Join(lasting...)
	}
	return errors.Join(errs...)
}

// Check looks at every directory as [Directory.Check] does. With several, what
// was looked at begins with what the directory is called.
func (s *Domains) Check(ctx context.Context) []Finding {
	if len(s.list) == 1 {
		return s.list[0].Check(ctx)
	}
	reports := make([][]Finding, len(s.list))
	ask(s.list, func(i int, d *Directory) (*Account, error) {
		reports[i] = d.Check(ctx)
		for j := range reports[i] {
			reports[i][j].Subject = d.label + ", " + reports[i][j].Subject
		}
		return nil, nil
	})
	if s.catalog != nil {
		reports = append(reports, s.catalog.check(ctx, s.list))
	}
	return slices.Concat(reports...)
}

// NormaliseName returns what counts as name when attempts are counted: a name
// whose domain part is known to be a directory's is the same in all its
// spellings, and with one directory also the same as without a domain part. It
// asks nobody, so it is cheap, and no more than a guess at who is meant. Letter
// case is the caller's affair.
func (s *Domains) NormaliseName(name string) string {
	n, err := parseName(name)
	if err != nil || n.form == plainName {
		return name
	}
	for _, d := range s.list {
		switch {
		case !d.claims(n) && !d.isCalled(n):
		case len(s.list) == 1:
			return n.local
		default:
			return n.local + "@" + d.label
		}
	}
	return name
}

// isCalled reports whether the domain part of n is what the directory said that
// it is called.
func (d *Directory) isCalled(n typedName) bool {
	who := d.called.Load()
	switch {
	case who == nil || !who.activeDirectory:
		return false
	case n.form == downLevelName:
		return sameName(n.domain, who.netbios)
	}
	return sameName(n.domain, who.dns)
}
