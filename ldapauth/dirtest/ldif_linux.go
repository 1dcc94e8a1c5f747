package dirtest

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The tree of the OpenLDAP server.
const (
	ldapBase     = "dc=corp,dc=example,dc=test"
	ldapPeople   = "ou=people," + ldapBase
	ldapPartners = "ou=partners," + ldapBase
	ldapGroups   = "ou=groups," + ldapBase
	ldapBulk     = "ou=bulk," + ldapBase
	ldapPolicies = "ou=policies," + ldapBase
	ldapService  = "cn=svc-connector,ou=service," + ldapBase
	ldapReset    = "cn=svc-reset,ou=service," + ldapBase
	ldapAdmin    = "cn=admin," + ldapBase
)

// An attribute is a name with its values.
type attribute struct {
	name   string
	values []string
}

func attr(name string, values ...string) attribute { return attribute{name, values} }

// A group is a groupOfNames below ou=groups.
type group struct {
	rdn     string // written as in a DN
	members []string
}

func (g group) dn() string { return "cn=" + g.rdn + "," + ldapGroups }

// A tree is the content of the OpenLDAP server while it is written as LDIF
// (RFC 2849).
type tree struct {
	out      strings.Builder
	password string              // of everybody, hashed
	memberOf map[string][]string // groups by member; nil: do not write the attribute
}

// ldif returns the content of a server. The server's memberof overlay sees only
// what changes while it runs, so that the memberOf of the start is written here.
func ldif(o OpenLDAPOptions) string {
	t := &tree{password: hash(password)}
	if o.Argon2 {
		t.password = slowHash(password)
	}
	groups := ldapGroupList(o)
	if !o.NoMemberOf {
		t.memberOf = map[string][]string{}
		for _, g := range groups {
			for _, m := range g.members {
				t.memberOf[m] = append(t.memberOf[m], g.dn())
			}
		}
	}
	t.frame()
	t.people()
	t.bulk(o.Users)
	for _, g := range groups {
		t.add(g.dn(), attr("objectClass", "groupOfNames"), attr("member", g.members...))
	}
	return t.out.String()
}

// ldapGroupList returns every group that there will be.
func ldapGroupList(o OpenLDAPOptions) []group {
	jon, zoe := "uid=jon,"+ldapPeople, "uid=zoe,"+ldapPeople
	named := func(name string) string { return group{rdn: name}.dn() }
	groups := []group{
		{"group-A", []string{jon, zoe}},
		{"group-B", []string{named("group-A")}},
		{"group-C", []string{named("group-B")}},
		{"group-D", []string{jon, named("group-E")}},
		{"group-E", []string{named("group-D")}},
		{`Träger (all)\, x`, []string{jon}},
	}
	for i := range o.Groups {
		groups = append(groups, group{fmt.Sprintf("many%05d", i), []string{jon}})
	}
	var tens []string
	for i := range o.Users {
		tens = append(tens, fmt.Sprintf("uid=u%05d,%s", i, ldapBulk))
	}
	for _, level := range []string{"bg%04d", "sg%03d"} {
		var above []string
		i := 0
		for members := range slices.Chunk(tens, 10) {
			g := group{fmt.Sprintf(level, i), members}
			groups = append(groups, g)
			above = append(above, g.dn())
			i++
		}
		tens = above
	}
	return groups
}

// frame writes what is there before any person: units, password policies, the
// service account and a device that could be taken for a person.
func (t *tree) frame() {
	t.add(ldapBase, attr("objectClass", "dcObject", "organization"), attr("o", "Corp"))
	for _, ou := range []string{"people", "partners", "groups", "service", "policies", "bulk"} {
		t.add("ou="+ou+","+ldapBase, attr("objectClass", "organizationalUnit"))
	}
	t.add("cn=default,"+ldapPolicies, attr("objectClass", "device", "pwdPolicy"), attr("pwdAttribute", "userPassword"),
		attr("pwdLockout", "TRUE"), attr("pwdMaxFailure", "3"), attr("pwdLockoutDuration", "1800"), attr("pwdFailureCountInterval", "1800"),
		attr("pwdMustChange", "TRUE"), attr("pwdMaxAge", "31536000"), attr("pwdAllowUserChange", "TRUE"),
		attr("pwdMinLength", "8"), attr("pwdCheckQuality", "1"), attr("pwdInHistory", "3"))
	t.add("cn=service,"+ldapPolicies, attr("objectClass", "device", "pwdPolicy"), attr("pwdAttribute", "userPassword"), attr("pwdLockout", "FALSE"))
	for _, account := range []string{ldapService, ldapReset} {
		t.add(account, attr("objectClass", "organizationalRole", "simpleSecurityObject"),
			attr("userPassword", hash(servicePassword)), attr("pwdPolicySubentry", "cn=service,"+ldapPolicies))
	}
	t.add("cn=printer,"+ldapPeople, attr("objectClass", "device", "extensibleObject"), attr("uid", "printer"), attr("userPassword", t.password))
}

func (t *tree) people() {
	t.person("uid=jon,"+ldapPeople, "jon", "Jon", "Smith")
	t.person("uid=chg,"+ldapPeople, "chg", "Change", "Able")
	t.person("uid=lck,"+ldapPeople, "lck", "Lock", "Ed")
	t.person("uid=dis,"+ldapPeople, "dis", "Dis", "Abled", attr("pwdAccountLockedTime", "000001010000Z"))
	t.person("uid=exp,"+ldapPeople, "exp", "Exp", "Ired", attr("pwdEndTime", "20200101000000Z"))
	t.person("uid=mcp,"+ldapPeople, "mcp", "Must", "Change", attr("pwdReset", "TRUE"))
	t.person("uid=pwx,"+ldapPeople, "pwx", "Password", "Expired", attr("pwdChangedTime", "20150101000000Z"))
	picture := make([]byte, 9000)
	_, _ = rand.Read(picture) // never fails
	t.person("uid=photo,"+ldapPeople, "photo", "Photo", "Graph", attr("jpegPhoto", string(picture)))
	t.person("uid=zoe,"+ldapPeople, "zoe", "Zoë", "Müller", attr("cn", "Zoë (Ops), Müller"), attr("telephoneNumber", "+1 555 0100", "+1 555 0101"))
	t.person("cn=Ambi One,"+ldapPeople, "jonas", "Ambi", "One")
	t.person("cn=Ambi Two,"+ldapPartners, "jonas", "Ambi", "Two")
	t.person("cn=Paddy O'Neil,"+ldapPeople, `o'neil (ops)\*`, "Paddy", "O'Neil")
}

// bulk writes n more persons.
func (t *tree) bulk(n int) {
	for i := range n {
		uid := fmt.Sprintf("u%05d", i)
		t.person("uid="+uid+","+ldapBulk, uid, "Bulk", fmt.Sprint("User", i))
	}
}

// person writes somebody, called by given name and surname unless cn is among
// the further attributes.
func (t *tree) person(dn, uid, given, sn string, more ...attribute) {
	cn := given + " " + sn
	if i := slices.IndexFunc(more, func(a attribute) bool { return a.name == "cn" }); i >= 0 {
		cn = more[i].values[0]
		more = slices.Delete(more, i, i+1)
	}
	mail := strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return -1
		}
		return r
	}, uid) + "@corp.example.test"
	t.add(dn, append([]attribute{
		attr("objectClass", "inetOrgPerson"), attr("uid", uid), attr("cn", cn), attr("givenName", given), attr("sn", sn),
		attr("displayName", cn), attr("mail", mail), attr("userPassword", t.password),
	}, more...)...)
}

// add writes an entry. Values are in base64, so that none needs quoting.
func (t *tree) add(dn string, attrs ...attribute) {
	if of := t.memberOf[dn]; of != nil {
		attrs = append(attrs, attr("memberOf", of...))
	}
	for _, a := range append([]attribute{attr("dn", dn), attr("entryUUID", uuid(dn))}, attrs...) {
		for _, v := range a.values {
			t.out.WriteString(a.name + ":: " + base64.StdEncoding.EncodeToString([]byte(v)) + "\n")
		}
	}
	t.out.WriteByte('\n')
}

// uuid returns the entryUUID of an entry, made from its name (RFC 9562, section
// 5.8), so that servers with the same content agree on it.
func uuid(dn string) string {
	sum := sha256.Sum256([]byte(dn))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// hash returns a password as slapd stores it: salted SHA-1, its own default.
func hash(password string) string {
	salt := []byte(rand.Text()[:8])
	sum := sha1.Sum(append([]byte(password), salt...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}

// slowHash returns a password as slapd's argon2 module stores it when nobody
// tells it anything.
func slowHash(password string) string {
	const passes, kibibytes, threads, length = 3, 4096, 1, 32
	salt := []byte(rand.Text()[:16])
	sum := argon2.IDKey([]byte(password), salt, passes, kibibytes, threads, length)
	text := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("{ARGON2}$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, kibibytes, passes, threads, text(salt), text(sum))
}
