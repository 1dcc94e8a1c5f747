package memdir

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A directory is the entries with their indexes. Entries in it are never
// changed, only replaced, so that they may be used after the lock is released.
type directory struct {
	flavor  Flavor
	base    string // key of the base entry
	baseDN  string // as the caller spells it
	domain  string // DNS name, "fabrikam.example"
	netbios string // "FABRIKAM"
	sid     string // of the domain, binary

	all   []*entry // all[i].position == i; nil where one was removed
	byDN  map[string]*entry
	index map[string]map[string][]*entry // attribute, normal value
}

// indexed are the attributes by which equality is found without a look at every
// entry.
var indexed = []string{
	"samaccountname", "userprincipalname", "uid", "mail", "cn", "member",
	"objectguid", "objectsid", "entryuuid", "distinguishedname", "entrydn",
}

// An entry is what a directory holds.
type entry struct {
	position   int
	dn         string // as the caller spells it
	key        string
	attributes map[string]attribute // by lower-case name
	order      []string             // the keys of attributes, sorted
	password   string
	earlier    []string // passwords that were changed, the latest last
}

type attribute struct {
	name        string
	values      []string
	normal      []string // values, as they are compared
	encoded     []byte   // as it stands in a search result
	operational bool     // returned only when asked for
}

// operational are the attributes that OpenLDAP returns only when asked for.
var operational = []string{
	"entryuuid", "entrydn", "createtimestamp", "memberof", "pwdaccountlockedtime", "pwdchangedtime", "pwdendtime", "pwdfailuretime", "pwdreset",
}

// forbidden are the attributes that no entry may have: passwords could be read,
// and what is computed would contradict itself.
var forbidden = []string{
	"userpassword", "unicodepwd", "memberof", "tokengroups", "tokengroupsglobalanduniversal",
	"msds-user-account-control-computed", "msds-userpasswordexpirytimecomputed",
}

var (
	binaryValued = []string{"objectguid", "objectsid", "thumbnailphoto", "jpegphoto", "usercertificate", "logonhours"}
	dnValued     = []string{"member", "memberof", "manager", "managedby", "distinguishedname", "entrydn", "objectcategory", "owner", "seealso"}
)

// newDirectory returns a directory of the given entries and of what the flavor
// derives from them.
func newDirectory(flavor Flavor, baseDN string, entries []Entry) (*directory, error) {
	base, err := parseDN(baseDN)
	if err != nil || len(base) == 0 {
		return nil, fmt.Errorf("memdir: BaseDN: want a DN such as \"DC=fabrikam,DC=example\", not %q", baseDN)
	}
	d := &directory{flavor: flavor, base: base.key(), baseDN: baseDN, byDN: map[string]*entry{}, index: map[string]map[string][]*entry{}}
	for _, name := range indexed {
		d.index[name] = map[string][]*entry{}
	}
	d.domain, d.netbios = base.domain(), strings.ToUpper(base[0][0].value)
	d.sid = domainSID(d.base)

	var errs []error
	if i := slices.IndexFunc(entries, func(e Entry) bool { key, _ := normalDN(e.DN); return key == d.base }); i < 0 {
		entries = append([]Entry{{DN: baseDN}}, entries...)
	} else if sid := entries[i].Attributes["objectSid"]; len(sid) > 0 {
		d.sid = d.normal("objectsid", sid[0])
	}
	for i, given := range entries {
		e, err := d.newEntry(given, i)
		if err == nil && d.byDN[e.key] != nil {
			err = errors.New("there is another entry of this name")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("memdir: entry %q: %w", given.DN, err))
			continue
		}
		d.all = append(d.all, e)
		e.position = len(d.all) - 1
		d.link(e)
	}
	for _, e := range d.all {
		if e.key != d.base && d.byDN[parentKey(e.key)] == nil {
			errs = append(errs, fmt.Errorf("memdir: entry %q: the entry above it is missing", e.dn))
		}
	}
	return d, errors.Join(errs...)
}

// newEntry returns the entry that the caller describes, with what is derived.
func (d *directory) newEntry(given Entry, number int) (*entry, error) {
	name, err := parseDN(given.DN)
	if err != nil {
		return nil, err
	}
	key := name.key()
	if !isWithin(key, d.base) {
		return nil, fmt.Errorf("it is not below %q", d.baseDN)
	}
	e := &entry{dn: given.DN, key: key, attributes: map[string]attribute{}, password: given.Password}
	for attr, values := range given.Attributes {
		if err := d.set(e, attr, values); err != nil {
			return nil, err
		}
	}
	for _, p := range name[0] {
		d.setDefault(e, strings.ToLower(p.attribute), p.value)
	}
	d.derive(e, name, number)
	e.sort()
	return e, nil
}

// set gives e an attribute, or takes it away when there are no values.
func (d *directory) set(e *entry, name string, values []string) error {
	lower := strings.ToLower(name)
	switch {
	case !isDescriptor(name):
		return fmt.Errorf("%q is not the name of an attribute", name)
	case slices.Contains(forbidden, lower):
		return fmt.Errorf("%s cannot be given", name)
	case len(values) == 0:
		delete(e.attributes, lower)
		return nil
	}
	a := attribute{name: name, values: slices.Clone(values), operational: d.flavor == OpenLDAP && slices.Contains(operational, lower)}
	for i, v := range a.values {
		normal := d.normal(lower, v)
		if lower == "objectsid" || lower == "objectguid" {
			a.values[i] = normal
		}
		a.normal = append(a.normal, normal)
	}
	if lower == "objectclass" {
		a.normal = withSuperiors(a.normal)
	}
	if lower == "member" {
		if err := checkMembers(a); err != nil {
			return err
		}
	}
	a.encoded = encodeAttribute(name, a.values)
	e.attributes[lower] = a
	return nil
}

// superiors says which class each class extends.
var superiors = map[string]string{
	"inetorgperson": "organizationalperson", "computer": "user", "user": "organizationalperson",
	"organizationalperson": "person", "person": "top", "groupofnames": "top", "group": "top",
}

// withSuperiors adds the classes that the given ones extend, because a search
// for persons finds whoever is called an inetOrgPerson only.
func withSuperiors(classes []string) []string {
	for i := 0; i < len(classes); i++ {
		if s := superiors[classes[i]]; s != "" && !slices.Contains(classes, s) {
			classes = append(classes, s)
		}
	}
	return classes
}

// checkMembers reports a member that is no DN or is there twice.
func checkMembers(a attribute) error {
	seen := map[string]bool{}
	for i, key := range a.normal {
		if _, err := parseDN(a.values[i]); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if seen[key] {
			return fmt.Errorf("%s: %q is there twice", a.name, a.values[i])
		}
		seen[key] = true
	}
	return nil
}

// setDefault gives e an attribute with one value unless it has it.
func (d *directory) setDefault(e *entry, name, value string) {
	if _, given := e.attributes[strings.ToLower(name)]; !given {
		_ = d.set(e, name, []string{value}) // fails on forbidden names only
	}
}

// wellKnown are the relative identifiers that are the same in every domain.
var wellKnown = map[string]uint32{
	"administrator": 500, "guest": 501, "krbtgt": 502, "domain admins": 512, "domain users": 513, "domain computers": 515,
}

// kinds says what Active Directory derives from the class of an entry. The
// first that fits counts.
var kinds = []struct{ class, category, accountType, control, primaryGroup, groupType string }{
	{"computer", "Computer", "805306369", "4096", "515", ""},
	{"user", "Person", "805306368", "512", "513", ""},
	{"group", "Group", "268435456", "", "", "-2147483646"},
	{"organizationalunit", "Organizational-Unit", "", "", "", ""},
	{"domaindns", "Domain-DNS", "", "", "", ""},
	{"container", "Container", "", "", "", ""},
}

// created is when all entries were made that do not say otherwise.
const created = "20240115080000"

// derive adds what the real server knows by itself.
func (d *directory) derive(e *entry, name dn, number int) {
	hash := sha256.Sum256([]byte(e.key))
	hash[8] = hash[8]&0x3f | 0x80 // this and the next make it look like a random UUID
	if d.flavor == OpenLDAP {
		hash[6] = hash[6]&0x0f | 0x40
		x := hex.EncodeToString(hash[:16])
		d.setDefault(e, "entryUUID", x[:8]+"-"+x[8:12]+"-"+x[12:16]+"-"+x[16:20]+"-"+x[20:])
		d.setDefault(e, "entryDN", e.dn)
		d.setDefault(e, "createTimestamp", created+"Z")
		if e.key == d.base {
			d.setDefault(e, "objectClass", "domain")
		}
		return
	}
	hash[7] = hash[7]&0x0f | 0x40 // the third field is little-endian
	d.setDefault(e, "objectGUID", string(hash[:16]))
	d.setDefault(e, "distinguishedName", e.dn)
	d.setDefault(e, "whenCreated", created+".0Z")
	d.setDefault(e, "name", name[0][0].value)
	if e.key == d.base {
		d.setDefault(e, "objectClass", "domainDNS")
		d.setDefault(e, "objectSid", d.sid)
	}
	for _, k := range kinds {
		if !slices.Contains(e.attributes["objectclass"].normal, k.class) {
			continue
		}
		d.setDefault(e, "objectCategory", "CN="+k.category+",CN=Schema,CN=Configuration,"+d.baseDN)
		if k.accountType != "" {
			d.setDefault(e, "sAMAccountType", k.accountType)
			rid := cmp.Or(wellKnown[fold(e.first("sAMAccountName"))], uint32(1100+number))
			d.setDefault(e, "objectSid", appendRID(d.sid, rid))
		}
		if k.groupType != "" {
			d.setDefault(e, "groupType", k.groupType)
		}
		if k.control != "" {
			d.setDefault(e, "userAccountControl", k.control)
			d.setDefault(e, "primaryGroupID", k.primaryGroup)
			d.setDefault(e, "accountExpires", "9223372036854775807") // never
			d.setDefault(e, "badPwdCount", "0")
		}
		break
	}
}

// first returns the first value of an attribute, or "".
func (e *entry) first(name string) string {
	if a := e.attributes[strings.ToLower(name)]; len(a.values) > 0 {
		return a.values[0]
	}
	return ""
}

// number returns an attribute as a number; 0 if it is absent or none.
func (e *entry) number(name string) int64 {
	n, _ := strconv.ParseInt(e.first(name), 10, 64)
	return n
}

func (e *entry) sort() { e.order = slices.Sorted(maps.Keys(e.attributes)) }

func (e *entry) clone() *entry {
	next := *e
	next.attributes = maps.Clone(e.attributes)
	return &next
}

// update replaces e by an entry with other values.
func (d *directory) update(e *entry, attributes map[string][]string) error {
	next := e.clone()
	for name, values := range attributes {
		if err := d.set(next, name, values); err != nil {
			return err
		}
	}
	next.sort()
	d.replace(e, next)
	return nil
}

// replace puts next where e was.
func (d *directory) replace(e, next *entry) {
	d.unlink(e)
	d.all[e.position] = next
	d.link(next)
}

// remove takes e out of the directory.
func (d *directory) remove(e *entry) {
	d.unlink(e)
	d.all[e.position] = nil
}

// link makes e findable.
func (d *directory) link(e *entry) {
	d.byDN[e.key] = e
	for _, name := range indexed {
		for _, v := range e.attributes[name].normal {
			d.index[name][v] = append(d.index[name][v], e)
		}
	}
}

// unlink undoes link.
func (d *directory) unlink(e *entry) {
	delete(d.byDN, e.key)
	for _, name := range indexed {
		for _, v := range e.attributes[name].normal {
			d.index[name][v] = slices.DeleteFunc(slices.Clone(d.index[name][v]), func(x *entry) bool { return x == e })
		}
	}
}

// normal returns a value of an attribute as it is compared. name is in lower
// case.
func (d *directory) normal(name, value string) string {
	switch {
	case name == "objectsid":
		if sid, ok := parseSID(value); ok {
			return sid
		}
		return value
	case name == "objectguid":
		if guid, ok := parseGUID(value); ok {
			return guid
		}
		return value
	case slices.Contains(binaryValued, name):
		return value
	case name == "objectcategory" && !strings.Contains(value, "="):
		value = "CN=" + value + ",CN=Schema,CN=Configuration," + d.baseDN
	}
	if slices.Contains(dnValued, name) {
		if key, err := normalDN(value); err == nil {
			return key
		}
	}
	return fold(value)
}

// groupsOf returns the groups that name e as a member.
func (d *directory) groupsOf(e *entry) []*entry { return d.index["member"][e.key] }

// groupsAbove returns all groups that contain e, directly or through others,
// each once.
func (d *directory) groupsAbove(e *entry) []*entry {
	return closure(d.groupsOf(e), d.groupsOf, nil)
}

// membersBelow returns everything that group contains, directly or through
// other groups, each once.
func (d *directory) membersBelow(group *entry) []*entry {
	return closure(d.membersOf(group), d.membersOf, nil)
}

// membersOf returns the direct members of a group.
func (d *directory) membersOf(group *entry) (members []*entry) {
	for _, key := range group.attributes["member"].normal {
		if m := d.byDN[key]; m != nil {
			members = append(members, m)
		}
	}
	return members
}

// closure returns start and all that next leads to, leaving out what follow,
// if there is one, refuses. Cycles end at what was seen before.
func closure(start []*entry, next func(*entry) []*entry, follow func(*entry) bool) (found []*entry) {
	seen := map[*entry]bool{}
	for todo := start; len(todo) > 0; {
		var later []*entry
		for _, e := range todo {
			if seen[e] || follow != nil && !follow(e) {
				continue
			}
			seen[e] = true
			found = append(found, e)
			later = append(later, next(e)...)
		}
		todo = later
	}
	return found
}

// tokenGroups returns the SIDs that a logon of e would carry: all security
// groups it is in, its primary group and what that is in.
func (d *directory) tokenGroups(e *entry, withLocal bool) (sids []string) {
	start := slices.Clone(d.groupsOf(e))
	if rid := e.number("primaryGroupID"); rid != 0 {
		start = append(start, d.index["objectsid"][appendRID(d.sid, uint32(rid))]...)
	}
	const domainLocal, security = 4, 0x80000000
	for _, g := range closure(start, d.groupsOf, func(g *entry) bool { return g.number("groupType")&security != 0 }) {
		if withLocal || g.number("groupType")&domainLocal == 0 {
			sids = append(sids, g.first("objectSid"))
		}
	}
	return sids
}

// domainSID makes up a domain's security identifier, S-1-5-21-a-b-c.
func domainSID(base string) string {
	hash := sha256.Sum256([]byte("domain " + base))
	return "\x01\x04\x00\x00\x00\x00\x00\x05" + "\x15\x00\x00\x00" + string(hash[:12])
}

// appendRID returns the identifier of an account in a domain.
func appendRID(sid string, rid uint32) string {
	b := []byte(sid)
	b[1]++
	return string(binary.LittleEndian.AppendUint32(b, rid))
}

// parseSID returns the binary form of an identifier such as "S-1-5-32-545".
func parseSID(text string) (string, bool) {
	fields := strings.Split(text, "-")
	if len(fields) < 3 || len(fields) > 18 || !strings.EqualFold(fields[0], "S") || fields[1] != "1" {
		return "", false
	}
	authority, err := strconv.ParseUint(fields[2], 10, 48)
	if err != nil {
		return "", false
	}
	b := binary.BigEndian.AppendUint64(nil, authority)
	b[0], b[1] = 1, byte(len(fields)-3)
	for _, f := range fields[3:] {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return "", false
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b), true
}

// parseGUID returns the binary form of a GUID, the first three fields of which
// are little-endian.
func parseGUID(text string) (string, bool) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return "", false
	}
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != 16 {
		return "", false
	}
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return string(b), true
}
