package memdir

import (
	"fmt"
	"maps"
	"strings"
)

// The passwords in the sample companies: of every person, and of the service
// account svc-adconnector.
const (
	SamplePassword  = "Fabrikam-2026!"
	ServicePassword = "Service-Fabrikam-2026!"
)

// attrs is shorthand for the attributes of a sample entry.
type attrs = map[string][]string

// A person of the sample company, as both flavors need one.
type person struct {
	account, given, surname, cn, title, department string
	ad, openldap                                   attrs // what is special about the account
}

// people are the staff. cn is written as in a DN.
var people = []person{
	{"jon", "Jon", "Smith", "Jon Smith", "Process Engineer", "Engineering", nil, nil},
	{"amy", "Amy", "Reed", "Amy Reed", "Sales Manager", "Sales", nil, nil},
	{"tomas", "Tomás", "Berg", "Tomás Berg", "Accountant", "Finance", nil, nil},
	{"zoe", "Zoë", "Müller", `Zoë (Ops)\, Müller`, "Head of Operations", "Operations", nil, nil},
	{"dora", "Dora", "Lang", "Dora Lang", "Designer", "Engineering", // disabled
		attrs{"userAccountControl": {"514"}}, attrs{"pwdAccountLockedTime": {"000001010000Z"}}},
	{"liam", "Liam", "Ortiz", "Liam Ortiz", "Electrician", "Operations", // locked out
		attrs{"lockoutTime": {"133500000000000000"}, "badPwdCount": {"5"}}, attrs{"pwdAccountLockedTime": {"20240118120000Z"}}},
	{"eve", "Eve", "Novak", "Eve Novak", "Contractor", "Operations", // left at the end of 2023
		attrs{"accountExpires": {"133485408000000000"}}, attrs{"pwdEndTime": {"20240101000000Z"}}},
	{"nina", "Nina", "Haas", "Nina Haas", "Trainee", "Sales", // must change the password
		attrs{"pwdLastSet": {"0"}, "userAccountControl": {"512"}}, attrs{"pwdReset": {"TRUE"}}},
	{"paul", "Paul", "Kern", "Paul Kern", "Driver", "Operations", // has an expired password
		attrs{"pwdLastSet": {"132500000000000000"}, "userAccountControl": {"512"}}, attrs{"pwdChangedTime": {"20201117000000Z"}}},
}

// sampleGroups are the groups with the accounts and the groups in them. Process
// Engineers are Engineers, who are in All Staff; the two projects contain each
// other.
var sampleGroups = []struct {
	cn             string // as in a DN
	people, groups []string
}{
	{"Process Engineers", []string{"jon"}, nil},
	{"Engineers", []string{"dora"}, []string{"Process Engineers"}},
	{"All Staff", []string{"amy", "tomas", "zoe"}, []string{"Engineers"}},
	{"Project Alpine", []string{"jon"}, []string{"Project Boreal"}},
	{"Project Boreal", []string{"amy"}, []string{"Project Alpine"}},
	{`Träger (alle)\, Nord \#1`, []string{"jon", "zoe"}, nil},
}

// Sample returns the sample company in Active Directory below base: nine
// people, a service account, a computer, and groups in every odd arrangement.
// All passwords but nina's and paul's never expire.
func Sample(base string) []Entry {
	entries := []Entry{
		{DN: base, Attributes: attrs{
			"objectClass": {"top", "domain", "domainDNS"}, "lockoutThreshold": {"10"}, "maxPwdAge": {"-36288000000000"},
			"minPwdLength": {"8"}, "pwdHistoryLength": {"24"}, "pwdProperties": {"1"},
		}},
		unit("Staff", base), unit("Services", base), unit("Groups", base),
		{DN: "CN=Users," + base, Attributes: attrs{"objectClass": {"top", "container"}}},
		{DN: "CN=Computers," + base, Attributes: attrs{"objectClass": {"top", "container"}}},
		{DN: "CN=Builtin," + base, Attributes: attrs{"objectClass": {"top", "builtinDomain"}}},
		group("Domain Users", "CN=Users,"+base, "-2147483646"),
		group("Domain Computers", "CN=Users,"+base, "-2147483646"),
	}
	builtin := group("Users", "CN=Builtin,"+base, "-2147483643", "CN=Domain Users,CN=Users,"+base)
	builtin.Attributes["objectSid"] = []string{"S-1-5-32-545"}
	entries = append(entries, builtin)

	where := map[string]string{}
	for _, p := range people {
		dn := "CN=" + p.cn + ",OU=Staff," + base
		where[p.account] = dn
		attributes := p.attributes(base)
		maps.Copy(attributes, attrs{
			"objectClass": {"top", "person", "organizationalPerson", "user"}, "sAMAccountName": {p.account},
			"userPrincipalName": {p.account + "@" + dnsName(base)}, "userAccountControl": {"66048"}, "pwdLastSet": {"133500000000000000"},
		})
		maps.Copy(attributes, p.ad)
		entries = append(entries, Entry{DN: dn, Attributes: attributes, Password: SamplePassword})
	}
	for _, g := range sampleGroups {
		var members []string
		for _, account := range g.people {
			members = append(members, where[account])
		}
		for _, cn := range g.groups {
			members = append(members, "CN="+cn+",OU=Groups,"+base)
		}
		entries = append(entries, group(g.cn, "OU=Groups,"+base, "-2147483646", members...))
	}
	return append(entries,
		group("Newsletter", "OU=Groups,"+base, "2", where["jon"]), // for mail only: no security group
		Entry{DN: "CN=svc-adconnector,OU=Services," + base, Password: ServicePassword, Attributes: attrs{
			"objectClass": {"top", "person", "organizationalPerson", "user"}, "sAMAccountName": {"svc-adconnector"},
			"userPrincipalName": {"svc-adconnector@" + dnsName(base)}, "userAccountControl": {"66048"}, "pwdLastSet": {"133500000000000000"},
		}},
		Entry{DN: "CN=PC-0042,CN=Computers," + base, Attributes: attrs{
			"objectClass": {"top", "person", "organizationalPerson", "user", "computer"}, "sAMAccountName": {"PC-0042$"},
			"dNSHostName": {"pc-0042." + dnsName(base)},
		}},
	)
}

// SampleOpenLDAP returns the same company as [Sample] in the shape that it
// would have in OpenLDAP.
func SampleOpenLDAP(base string) []Entry {
	entries := []Entry{
		{DN: base, Attributes: attrs{"objectClass": {"top", "dcObject", "organization"}, "o": {"Fabrikam"}, "pwdMaxFailure": {"10"}, "pwdMaxAge": {"3628800"}}},
		unit("people", base), unit("services", base), unit("groups", base),
	}
	for _, p := range people {
		attributes := p.attributes(base)
		maps.Copy(attributes, attrs{"objectClass": {"top", "person", "organizationalPerson", "inetOrgPerson"}, "cn": {p.given + " " + p.surname}})
		maps.Copy(attributes, p.openldap)
		entries = append(entries, Entry{DN: "uid=" + p.account + ",ou=people," + base, Attributes: attributes, Password: SamplePassword})
	}
	for _, g := range sampleGroups {
		attributes := attrs{"objectClass": {"top", "groupOfNames"}}
		for _, account := range g.people {
			attributes["member"] = append(attributes["member"], "uid="+account+",ou=people,"+base)
		}
		for _, cn := range g.groups {
			attributes["member"] = append(attributes["member"], "cn="+cn+",ou=groups,"+base)
		}
		entries = append(entries, Entry{DN: "cn=" + g.cn + ",ou=groups," + base, Attributes: attributes})
	}
	return append(entries, Entry{DN: "cn=svc-adconnector,ou=services," + base, Password: ServicePassword, Attributes: attrs{
		"objectClass": {"top", "applicationProcess"},
	}})
}

// attributes returns what every flavor has of a person.
func (p person) attributes(base string) attrs {
	return attrs{
		"givenName": {p.given}, "sn": {p.surname}, "displayName": {p.given + " " + p.surname}, "title": {p.title}, "department": {p.department},
		"mail": {p.account + "@" + dnsName(base)}, "company": {"Fabrikam"}, "telephoneNumber": {fmt.Sprintf("+47 555 %04d", 100+len(p.cn))},
	}
}

func unit(name, base string) Entry {
	return Entry{DN: "OU=" + name + "," + base, Attributes: attrs{"objectClass": {"top", "organizationalUnit"}}}
}

func group(cn, parent, groupType string, members ...string) Entry {
	account := strings.ReplaceAll(cn, `\`, "")
	return Entry{DN: "CN=" + cn + "," + parent, Attributes: attrs{
		"objectClass": {"top", "group"}, "sAMAccountName": {account}, "groupType": {groupType}, "member": members,
	}}
}

// dnsName returns the name of the domain at a base such as
// "DC=fabrikam,DC=example".
func dnsName(base string) string {
	name, err := parseDN(base)
	if err != nil {
		return ""
	}
	return name.domain()
}
