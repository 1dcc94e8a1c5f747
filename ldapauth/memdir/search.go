package memdir

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const (
	oidPaging      = "1.2.840.113556.1.4.319"
	oidDomainScope = "1.2.840.113556.1.4.1339"
	oidManageDsaIT = "2.16.840.1.113730.3.4.2"
)

const (
	scopeBase = iota
	scopeOne
	scopeSubtree
)

// A searchRequest is what a client looks for (RFC 4511 section 4.5.1).
type searchRequest struct {
	base      string
	scope     int64
	limit     int64
	typesOnly bool
	filter    *filter
	want      selection
	paged     bool
	page      paging
}

// paging is the value of the paging control (RFC 2696).
type paging struct {
	size   int64
	cookie string
}

// A cursor is what is left of a paged search.
type cursor struct {
	cookie    string
	rest      []*entry
	truncated bool // more would have matched than may be returned
}

// maxCursors is how many paged searches a connection may leave unfinished. The
// oldest is given up for a new one.
const maxCursors = 10

// A selection is which attributes a client wants.
type selection struct {
	user, operational bool
	names             []string // in lower case
}

func (s selection) has(name string, operational bool) bool {
	return operational && s.operational || !operational && s.user || slices.Contains(s.names, name)
}

func decodeSearch(m message) (r searchRequest, err error) {
	f := fields{rest: m.op.Children}
	r.base = f.text()
	r.scope = f.integer(ber.TagEnumerated)
	f.integer(ber.TagEnumerated) // aliases: there are none
	r.limit = f.integer(ber.TagInteger)
	f.integer(ber.TagInteger) // time: no search takes a second
	r.typesOnly = f.boolean()
	if r.filter, err = decodeFilter(f.next()); err != nil {
		return r, err
	}
	names := fields{rest: f.expect(ber.ClassUniversal, ber.TagSequence).Children}
	r.want.user = len(names.rest) == 0
	for len(names.rest) > 0 && !names.failed {
		switch name := strings.ToLower(names.text()); name {
		case "*":
			r.want.user = true
		case "+":
			r.want.operational = true
		default: // "1.1", which stands for none, is the name of none
			r.want.names = append(r.want.names, name)
		}
	}
	if value, ok := m.control(oidPaging); ok {
		r.paged = true
		if r.page, ok = decodePaging(value); !ok {
			return r, errMalformed
		}
	}
	if names.failed || r.scope < scopeBase || r.scope > scopeSubtree || r.limit < 0 {
		return r, errMalformed
	}
	return r, f.err()
}

func decodePaging(value []byte) (p paging, ok bool) {
	if !wellFormed(value, maxDepth) {
		return p, false
	}
	packet, err := ber.DecodePacketErr(value)
	if err != nil {
		return p, false
	}
	f := fields{rest: packet.Children}
	p.size, p.cookie = f.integer(ber.TagInteger), f.text()
	return p, f.err() == nil && p.size >= 0
}

// search answers a search request.
func (c *conn) search(m message) error {
	s := c.server
	s.searches.Add(1)
	r, err := decodeSearch(m)
	if err != nil {
		return err
	}
	entries, res := c.find(m, &r)
	s.debug("search", "base", r.base, "scope", r.scope, "code", res.code, "entries", len(entries))
	for _, e := range entries {
		c.send(m.id, e)
	}
	c.send(m.id, res.packet(opSearchDone), res.controls...)
	return nil
}

// find returns the entries and references that answer a request, encoded.
func (c *conn) find(m message, r *searchRequest) (answers [][]byte, res result) {
	s := c.server
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, now := s.dir, s.options.Now()
	if r.base == "" && r.scope == scopeBase {
		root := d.rootDSE(now, s.options.TLS != nil)
		if r.want.operational && d.flavor == ActiveDirectory {
			r.want.user = true
		}
		return [][]byte{d.encode(root, r, now)}, result{}
	}
	if c.user == "" && !s.options.AnonymousRead {
		return nil, d.anonymousRefused()
	}

	entries, truncated, res := c.matches(d, r)
	if res.code != success {
		return nil, res
	}
	if r.paged {
		entries, truncated = c.cutPage(r, entries, truncated, &res)
	}
	for _, e := range entries {
		answers = append(answers, d.encode(e, r, now))
	}
	if truncated {
		res.code = sizeLimitExceeded
	}
	if _, local := m.control(oidDomainScope); !local && d.flavor == ActiveDirectory && r.scope != scopeBase && r.page.cookie == "" {
		answers = append(answers, d.references(r, c.secure)...)
	}
	return answers, res
}

func (d *directory) anonymousRefused() result {
	if d.flavor == OpenLDAP {
		return result{code: noSuchObject} // as if there were nothing
	}
	return result{code: operationsError, text: "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be completed on the connection., data 0, v4563\x00"}
}

// matches returns the entries that match a request, as many as one search may
// return, and whether there are more.
func (c *conn) matches(d *directory, r *searchRequest) (entries []*entry, truncated bool, res result) {
	if r.page.cookie != "" {
		i := slices.IndexFunc(c.cursors, func(x cursor) bool { return x.cookie == r.page.cookie })
		if i < 0 && d.flavor == OpenLDAP {
			return nil, false, result{code: protocolError, text: "paged results cookie is invalid"}
		}
		if i < 0 {
			return nil, false, result{code: unwillingToPerform, text: "00000057: LdapErr: DSID-0C0907AB, comment: Error processing control, data 0, v4563\x00"}
		}
		found := c.cursors[i]
		c.cursors = slices.Delete(c.cursors, i, i+1)
		return found.rest, found.truncated, result{}
	}

	base, res := d.resolve(r.base)
	if res.code != success {
		return nil, false, res
	}
	if d.flavor == ActiveDirectory && r.scope != scopeBase && slices.ContainsFunc(r.want.names, func(n string) bool { return strings.HasPrefix(n, "tokengroups") }) {
		return nil, false, result{code: operationsError, text: "tokenGroups can be read by a base search only"}
	}
	entries = d.evaluate(base, r)
	limit := math.MaxInt
	if r.limit > 0 {
		limit = int(r.limit)
	}
	if !r.paged || d.flavor == OpenLDAP {
		limit = min(limit, c.server.options.MaxPageSize)
	}
	if len(entries) > limit {
		return entries[:limit], true, result{}
	}
	return entries, false, result{}
}

// cutPage returns the first page of entries and keeps the rest for the next
// request. That there is more than may be returned is told with the last page.
func (c *conn) cutPage(r *searchRequest, entries []*entry, truncated bool, res *result) ([]*entry, bool) {
	size := int(min(r.page.size, int64(c.server.options.MaxPageSize)))
	if size == 0 && r.page.cookie != "" {
		entries, truncated = nil, false // the client gives up
	} else if size == 0 {
		size = c.server.options.MaxPageSize
	}
	cookie := ""
	if len(entries) > size {
		if len(c.cursors) == maxCursors {
			c.cursors = slices.Delete(c.cursors, 0, 1)
		}
		cookie = string(binary.BigEndian.AppendUint64(nil, c.server.cookies.Add(1)))
		c.cursors = append(c.cursors, cursor{cookie, entries[size:], truncated})
		entries, truncated = entries[:size], false
	}
	res.controls = append(res.controls, answerControl(oidPaging, sequence(number(tagInteger, 0), octets(cookie))))
	return entries, truncated
}

// resolve finds the base of a search. Active Directory also takes
// "<GUID=...>" and "<SID=...>".
func (d *directory) resolve(base string) (*entry, result) {
	if inner, ok := strings.CutPrefix(base, "<"); ok && d.flavor == ActiveDirectory {
		kind, value, _ := strings.Cut(strings.TrimSuffix(inner, ">"), "=")
		if raw, err := hex.DecodeString(value); err == nil {
			value = string(raw)
		}
		attribute := map[string]string{"GUID": "objectguid", "SID": "objectsid"}[strings.ToUpper(kind)]
		if found := d.index[attribute][d.normal(attribute, value)]; len(found) == 1 {
			return found[0], result{}
		}
		return nil, result{code: noSuchObject, text: "0000208D: NameErr: DSID-03100241, problem 2001 (NO_OBJECT), data 0, best match of:\n\t''\n\x00"}
	}
	key, err := normalDN(base)
	switch {
	case err != nil && d.flavor == OpenLDAP:
		return nil, result{code: invalidDNSyntax, text: "invalid DN"}
	case err != nil:
		return nil, result{code: invalidDNSyntax, text: "0000208F: NameErr: DSID-03100225, problem 2006 (BAD_NAME), data 8350, best match of:\n\t'" + base + "'\n\x00"}
	case d.byDN[key] != nil:
		return d.byDN[key], result{}
	}
	res := result{code: noSuchObject}
	for above := parentKey(key); above != "" && res.matched == ""; above = parentKey(above) {
		if e := d.byDN[above]; e != nil {
			res.matched = e.dn
		}
	}
	if d.flavor == ActiveDirectory {
		res.text = "0000208D: NameErr: DSID-03100241, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'" + res.matched + "'\n\x00"
	}
	return nil, res
}

// evaluate returns all entries in the scope that match, in the order in which
// they were given.
func (d *directory) evaluate(base *entry, r *searchRequest) (matched []*entry) {
	d.prepare(r.filter)
	list := d.all
	if r.scope == scopeBase {
		list = []*entry{base}
	} else if some, ok := d.candidates(r.filter); ok {
		list = slices.Clone(some)
		slices.SortFunc(list, func(a, b *entry) int { return a.position - b.position })
		list = slices.Compact(list)
	}
	for _, e := range list {
		if e != nil && inScope(e, base, r.scope) && d.match(r.filter, e) == yes {
			matched = append(matched, e)
		}
	}
	return matched
}

func inScope(e, base *entry, scope int64) bool {
	switch scope {
	case scopeBase:
		return e == base
	case scopeOne:
		return e != base && parentKey(e.key) == base.key
	}
	return isWithin(e.key, base.key)
}

// encode returns an entry with the attributes that were asked for.
func (d *directory) encode(e *entry, r *searchRequest, now time.Time) []byte {
	var list [][]byte
	for _, name := range e.order {
		a := e.attributes[name]
		if !r.want.has(name, a.operational) {
			continue
		}
		if r.typesOnly {
			list = append(list, encodeAttribute(a.name, nil))
			continue
		}
		list = append(list, a.encoded)
	}
	for _, c := range computed[d.flavor] {
		if !r.want.has(strings.ToLower(c.name), c.operational) {
			continue
		}
		values := c.values(d, e, now)
		if len(values) == 0 {
			continue
		}
		if r.typesOnly {
			values = nil
		}
		list = append(list, encodeAttribute(c.name, values))
	}
	return application(opSearchEntry, octets(e.dn), sequence(list...))
}

// computed are the attributes that no entry holds.
var computed = map[Flavor][]struct {
	name        string
	operational bool
	values      func(*directory, *entry, time.Time) []string
}{
	ActiveDirectory: {
		{"memberOf", false, memberOf},
		{"tokenGroups", true, func(d *directory, e *entry, _ time.Time) []string { return d.tokenGroups(e, true) }},
		{"tokenGroupsGlobalAndUniversal", true, func(d *directory, e *entry, _ time.Time) []string { return d.tokenGroups(e, false) }},
		{"msDS-User-Account-Control-Computed", true, computedControl},
		{"msDS-UserPasswordExpiryTimeComputed", true, passwordExpiry},
	},
	OpenLDAP: {
		{"memberOf", true, memberOf},
	},
}

func memberOf(d *directory, e *entry, _ time.Time) (names []string) {
	for _, g := range d.groupsOf(e) {
		names = append(names, g.dn)
	}
	return names
}

// references point a search of the whole domain to the other naming contexts
// of the forest, where this server has nothing.
func (d *directory) references(r *searchRequest, secure bool) (refs [][]byte) {
	if key, _ := normalDN(r.base); key != d.base {
		return nil
	}
	scheme := "ldap://"
	if secure {
		scheme = "ldaps://"
	}
	for _, context := range []string{"ForestDnsZones." + d.domain + "/DC=ForestDnsZones,", "DomainDnsZones." + d.domain + "/DC=DomainDnsZones,", d.domain + "/CN=Configuration,"} {
		refs = append(refs, application(opSearchReference, octets(scheme+context+d.baseDN)))
	}
	return refs
}

// rootDSE returns what the server says of itself (RFC 4512 section 5.1).
func (d *directory) rootDSE(now time.Time, startTLS bool) *entry {
	extensions := []string{oidWhoAmI}
	if startTLS {
		extensions = append(extensions, oidStartTLS)
	}
	controls := []string{oidPaging, oidDomainScope, oidManageDsaIT}
	root := &entry{attributes: map[string]attribute{}}
	attributes := map[string][]string{
		"namingContexts":       {d.baseDN},
		"supportedLDAPVersion": {"3"},
		"supportedControl":     controls,
		"supportedExtension":   extensions,
	}
	if d.flavor == OpenLDAP {
		attributes["objectClass"] = []string{"top", "OpenLDAProotDSE"}
		attributes["supportedControl"] = append(controls, oidPasswordPolicy)
		attributes["supportedFeatures"] = []string{"1.3.6.1.4.1.4203.1.5.1"} // "+" for all operational attributes
	} else {
		const server = "DC1"
		attributes["namingContexts"] = []string{d.baseDN, "CN=Configuration," + d.baseDN, "CN=Schema,CN=Configuration," + d.baseDN}
		attributes["defaultNamingContext"] = []string{d.baseDN}
		attributes["rootDomainNamingContext"] = []string{d.baseDN}
		attributes["configurationNamingContext"] = []string{"CN=Configuration," + d.baseDN}
		attributes["schemaNamingContext"] = []string{"CN=Schema,CN=Configuration," + d.baseDN}
		attributes["dnsHostName"] = []string{strings.ToLower(server) + "." + d.domain}
		attributes["serverName"] = []string{"CN=" + server + ",CN=Servers,CN=Default-First-Site-Name,CN=Sites,CN=Configuration," + d.baseDN}
		attributes["supportedCapabilities"] = []string{"1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670", "1.2.840.113556.1.4.1791", "1.2.840.113556.1.4.1935", "1.2.840.113556.1.4.2080", "1.2.840.113556.1.4.2237"}
		attributes["domainFunctionality"] = []string{"7"}
		attributes["forestFunctionality"] = []string{"7"}
		attributes["domainControllerFunctionality"] = []string{"7"}
		attributes["isSynchronized"] = []string{"TRUE"}
		attributes["currentTime"] = []string{now.UTC().Format("20060102150405.0Z")}
	}
	for name, values := range attributes {
		_ = d.set(root, name, values) // none is forbidden
		if a := root.attributes[strings.ToLower(name)]; d.flavor == OpenLDAP && name != "objectClass" {
			a.operational = true
			root.attributes[strings.ToLower(name)] = a
		}
	}
	root.sort()
	return root
}
