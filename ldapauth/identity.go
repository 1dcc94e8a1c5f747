package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// identityCache is how long it is remembered what a domain is called.
	identityCache = time.Hour
	// identityRetry is when that is read again after it could not be.
	identityRetry = time.Minute
	// maxPartitions is how many domains and other partitions of a forest are
	// looked at.
	maxPartitions = 1000
)

// An identity is what a directory is called in the names of its people.
type identity struct {
	activeDirectory bool
	dns             string   // the domain's DNS name, in Active Directory
	netbios         string   // the domain's short name; "" if it is not known
	suffixes        []string // of userPrincipalNames, which the whole forest shares
	forest          forest
	missing         error // why the last three are not known, where they should be
	until           time.Time
}

// identity returns what the directory is called. It asks the directory for what
// the configuration does not say, and remembers it. What was true before is
// used while it cannot be read again.
func (d *Directory) identity(ctx context.Context) (*identity, error) {
	now, old := d.now(), d.called.Load()
	if old != nil && now.Before(old.until) {
		return old, nil
	}
	if old != nil { // meanwhile it does for everybody else
		again := *old
		again.until = now.Add(identityRetry)
		d.called.CompareAndSwap(old, &again)
	}
	fresh, err := d.readIdentity(ctx)
	switch {
	case err != nil && old != nil:
		return old, nil
	case err != nil:
		return nil, err
	}
	fresh.until = now.Add(identityCache)
	if fresh.missing != nil {
		fresh.until = now.Add(identityRetry)
	}
	d.called.Store(fresh)
	return fresh, nil
}

// readIdentity asks the directory what it is called. Only Active Directory
// knows.
func (d *Directory) readIdentity(ctx context.Context) (*identity, error) {
	id := &identity{netbios: d.config.NetBIOS}
	if d.dialect != nil && !d.dialect.tokenGroups {
		return id, nil
	}
	root, di, err := d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request("", ldap.ScopeBaseObject, 1, d.timeout, "(objectClass=*)", rootAttributes)
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the root DSE: %w", inWords(err))
	case len(root.Entries) != 1:
		return nil, errors.New("reading the root DSE: the server shows none")
	case !di.tokenGroups:
		return id, nil
	}
	id.activeDirectory, id.dns = true, dnsName(d.config.BaseDN)
	if d.isCatalog && !isCatalogReady(root.Entries[0]) {
		id.missing = errNoCatalog
		return id, nil
	}
	configuration := root.Entries[0].GetEqualFoldAttributeValue("configurationNamingContext")
	if configuration == "" {
		id.missing = errors.New("the server does not say where its configuration is")
		return id, nil
	}
	return id, d.readPartitions(ctx, "CN=Partitions,"+configuration, id)
}

// readPartitions reads the list of the forest's domains, which every domain
// controller holds ([MS-ADTS], 6.1.1.2.1.1), into id. That it may not be read
// is no error: names without a domain part work all the same.
func (d *Directory) readPartitions(ctx context.Context, base string, id *identity) error {
	const domains = "(&(objectClass=crossRef)(nETBIOSName=*))"
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return subtree(base, maxPartitions, d.timeout, "(|(objectClass=crossRefContainer)"+domains+")", []string{"uPNSuffixes", "nETBIOSName", "nCName"})
	})
	switch {
	case err != nil && !answered(err):
		return err
	case err != nil:
		id.missing = fmt.Errorf("%s cannot be read: %w", base, inWords(err))
		return nil
	}
	id.readForest(result.Entries)
	if d.isCatalog {
		return nil
	}
	domain, err := id.forest.domainOfAll(d.config.BaseDN)
	switch {
	case err != nil:
		id.missing = fmt.Errorf("%s: %w", base, err)
	case id.netbios == "":
		id.netbios = domain.netbios
	}
	return nil
}

// A forest is the list of its domains.
type forest []partition

// A partition is one domain of a forest.
type partition struct {
	dn      *ldap.DN
	netbios string
}

// readForest takes the domains of the forest, and the suffixes that they share,
// from the entries below CN=Partitions.
func (id *identity) readForest(entries []*ldap.Entry) {
	for _, e := range entries {
		id.suffixes = append(id.suffixes, e.GetEqualFoldAttributeValues("uPNSuffixes")...)
		name := e.GetEqualFoldAttributeValue("nETBIOSName")
		if dn, err := ldap.ParseDN(e.GetEqualFoldAttributeValue("nCName")); name != "" && err == nil {
			id.forest = append(id.forest, partition{dn, name})
		}
	}
}

// domainOfAll returns the one domain that holds the bases.
func (f forest) domainOfAll(bases []string) (*partition, error) {
	var all *partition
	for _, b := range bases {
		dn, err := ldap.ParseDN(b)
		if err != nil {
			return nil, err
		}
		domain := f.domainOf(dn)
		switch {
		case domain == nil:
			return nil, fmt.Errorf("there is no domain that holds %s", b)
		case all != nil && domain != all:
			return nil, fmt.Errorf("%s and %s are in different domains", bases[0], b)
		}
		all = domain
	}
	return all, nil
}

// domainOf returns the domain that holds dn, nil if none does. By its name alone
// an entry of a child is below the parent too: the closest domain is its own.
func (f forest) domainOf(dn *ldap.DN) *partition {
	var closest *partition
	for i := range f {
		if p := &f[i]; holdsDN(p.dn, dn) && (closest == nil || len(p.dn.RDNs) > len(closest.dn.RDNs)) {
			closest = p
		}
	}
	return closest
}

// dnsName returns the DNS name of the domain that the bases are in, "" if they
// are in none or in several.
func dnsName(bases []string) string {
	name := ""
	for i, b := range bases {
		dn, err := ldap.ParseDN(b)
		if err != nil {
			return ""
		}
		var labels []string
		for _, rdn := range dn.RDNs {
			if a := rdn.Attributes[0]; strings.EqualFold(a.Type, "dc") {
				labels = append(labels, a.Value)
			}
		}
		this := strings.Join(labels, ".")
		if i > 0 && !sameName(name, this) {
			return ""
		}
		name = this
	}
	return name
}

// first returns the first of a list, "" if it is empty.
func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
