package memdir_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"

	"github.com/go-ldap/ldap/v3"
)

// A twin is a real server and a server in memory with the same content.
type twin struct {
	real    *dirtest.Server
	flavor  memdir.Flavor
	memory  string        // URL
	naming  string        // the attribute with the account name
	people  []account     // who have the password of all people
	service [2]*ldap.Conn // real, memory
}

type account struct{ name, dn string }

// copyOf starts a server in memory with what is in a real one.
func copyOf(t *testing.T, real *dirtest.Server) *twin {
	w := &twin{real: real, flavor: memdir.OpenLDAP, naming: "uid"}
	if real.Kind == dirtest.KindSamba {
		w.flavor, w.naming = memdir.ActiveDirectory, "sAMAccountName"
	}
	r := ldap.NewSearchRequest(real.BaseDN, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"*", "+"}, nil)
	res, err := real.Admin(t).Search(r)
	if err != nil {
		t.Fatal(err)
	}
	var entries []memdir.Entry
	policy := map[string][]string{} // has an entry of its own in OpenLDAP
	for _, e := range res.Entries {
		entry := memdir.Entry{DN: e.DN, Attributes: map[string][]string{}}
		for _, a := range e.Attributes {
			if _, secret := map[string]bool{"memberof": true, "userpassword": true, "unicodepwd": true, "tokengroups": true}[strings.ToLower(a.Name)]; !secret {
				entry.Attributes[a.Name] = a.Values
			}
		}
		staff := w.flavor == memdir.OpenLDAP || strings.Contains(e.DN, "OU=Staff,")
		if name := e.GetAttributeValue(w.naming); name != "" && staff {
			entry.Password = real.Password
			w.people = append(w.people, account{name, e.DN})
		}
		if strings.EqualFold(e.DN, real.BindDN) {
			entry.Password = real.BindPassword
		}
		for _, name := range []string{"pwdMaxAge", "pwdMaxFailure"} {
			if values := e.GetAttributeValues(name); len(values) > 0 {
				policy[name] = values
			}
		}
		entries = append(entries, entry)
	}
	for _, e := range entries {
		if strings.EqualFold(e.DN, real.BaseDN) {
			for name, values := range policy {
				e.Attributes[name] = values
			}
		}
	}
	_, addr := start(t, memdir.Options{BaseDN: real.BaseDN, Entries: entries, Flavor: w.flavor, Now: time.Now})
	w.memory = "ldap://" + addr.String()
	t.Logf("%d entries, %d accounts", len(entries), len(w.people))
	for i, c := range w.dial(t) {
		if err := c.Bind(real.BindDN, real.BindPassword); err != nil {
			t.Fatal(err)
		}
		w.service[i] = c
	}
	return w
}

func (w *twin) dial(t *testing.T) [2]*ldap.Conn {
	return [2]*ldap.Conn{
		dialURL(t, w.real.URL, ldap.DialWithTLSConfig(w.real.TLS(t))),
		dialURL(t, w.memory),
	}
}

// same reports an error if f answers differently for the two servers.
func (w *twin) same(t *testing.T, what string, f func(i int) string) {
	t.Helper()
	if real, memory := f(0), f(1); real != memory {
		t.Errorf("%s\n  real:   %s\n  memory: %s", what, real, memory)
	}
}

// bind says how a bind ended, in the words that clients rely on.
func (w *twin) bind(c *ldap.Conn, name, password string) string {
	request := ldap.NewSimpleBindRequest(name, password, nil)
	if w.flavor == memdir.OpenLDAP {
		request.Controls = []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}
	}
	res, err := c.SimpleBind(request)
	answer := fmt.Sprint("code ", code(err))
	if w.flavor == memdir.ActiveDirectory {
		return answer + " data " + subCode(err)
	}
	if res != nil {
		if p, ok := ldap.FindControl(res.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy); ok {
			answer += fmt.Sprint(" policy ", p.Error)
		}
	}
	return answer
}

func (w *twin) search(r *ldap.SearchRequest, attribute string) func(int) string {
	return func(i int) string {
		res, err := w.service[i].Search(r)
		if err != nil {
			return fmt.Sprint("code ", code(err))
		}
		var found []string
		for _, e := range res.Entries {
			dn, err := ldap.ParseDN(strings.ToLower(e.DN))
			if err != nil {
				return err.Error()
			}
			values := e.GetAttributeValues(attribute)
			for j, v := range values {
				if dn, err := ldap.ParseDN(v); err == nil {
					values[j] = dn.String() // OpenLDAP spells a comma in two ways
				}
			}
			slices.Sort(values)
			found = append(found, fmt.Sprintf("%s%q", dn, values))
		}
		slices.Sort(found)
		return strings.Join(found, " | ")
	}
}

func TestLikeOpenLDAP(t *testing.T) {
	w := copyOf(t, dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}))
	w.compareSearches(t, []string{
		"(uid=jon)", "(uid= JON )", "(uid=jo*)", "(&(objectClass=person)(!(uid=jon)))", "(|(uid=jon)(uid=zoe))", "(member=*)",
		"(memberOf=*)", "(uid:=jon)", "(&)", "(|)", "(nosuch=x)", "(objectClass=inetOrgPerson)", "(userPassword=*)", "(cn=ZOË \\28ops\\29, müller)",
		"(member:1.2.840.113556.1.4.1941:=" + w.real.DN(t, "jon") + ")",
	})
	w.compareAttributes(t, "memberOf", "entryUUID", "cn")
	w.compareBinds(t, func(a account) string { return a.dn })
}

func TestLikeActiveDirectory(t *testing.T) {
	w := copyOf(t, dirtest.SambaAD(t))
	jon := w.real.DN(t, "jon")
	w.compareSearches(t, []string{
		"(sAMAccountName=jon)", "(sAMAccountName= JON )", "(sAMAccountName=jo*)", "(sAMAccountName=jon\\00x)",
		"(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))", "(objectCategory=computer)",
		"(userAccountControl:1.2.840.113556.1.4.804:=514)", "(badPwdCount>=3)", "(lockoutTime>=1)", "(objectSid=S-1-5-32-545)", "(nosuch=x)",
		"(&(objectClass=group)(cn=group-*))", "(primaryGroupID<=513)", "(unicodePwd=*)", "(|(sAMAccountName=jon)(sAMAccountName=zoe))",
		"(cn=ZOË \\28ops\\29, müller)", "(member=" + jon + ")", "(member:1.2.840.113556.1.4.1941:=" + jon + ")", "(sAMAccountType=805306368)",
		"(objectCategory=group)", "(memberOf:1.2.840.113556.1.4.1941:=CN=group-C,OU=Groups," + w.real.BaseDN + ")",
	})
	w.compareAttributes(t, "memberOf", "tokenGroups", "msDS-User-Account-Control-Computed", "objectGUID", "objectSid", "sAMAccountType", "objectCategory")
	for _, nameOf := range []func(account) string{
		func(a account) string { return strings.ToUpper(a.name) + "@corp.example.test" },
		func(a account) string { return `corp\` + a.name },
		func(a account) string { return a.name + "@CORP" },
		func(a account) string { return a.dn },
		func(a account) string { return a.name },
		func(a account) string { return `corp.example.test\` + a.name },
	} {
		w.compareBinds(t, nameOf)
	}
}

// compareSearches asks both servers the same, as the service account.
func (w *twin) compareSearches(t *testing.T, filters []string) {
	t.Helper()
	for _, filter := range filters {
		r := request(filter, w.naming)
		r.BaseDN = w.real.BaseDN
		w.same(t, filter, w.search(r, w.naming))
	}
	for _, dn := range []string{"OU=Nowhere," + w.real.BaseDN, "nothing", strings.ToUpper(w.real.BaseDN)} {
		r := ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{w.naming}, nil)
		w.same(t, "base "+dn, w.search(r, w.naming))
	}
}

// compareAttributes reads everybody, one attribute at a time.
func (w *twin) compareAttributes(t *testing.T, attributes ...string) {
	t.Helper()
	for _, a := range w.people {
		for _, attribute := range attributes {
			r := ldap.NewSearchRequest(a.dn, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{attribute}, nil)
			w.same(t, a.name+": "+attribute, w.search(r, attribute))
		}
	}
}

// compareBinds binds as everybody and somebody unknown, with the wrong and then
// with the right password. Whom the right one does not help is locked out in the
// end, by both servers at the same time.
func (w *twin) compareBinds(t *testing.T, nameOf func(account) string) {
	t.Helper()
	for _, a := range append(w.people, account{"nobody", "UID=nobody," + w.real.BaseDN}) {
		for _, password := range []string{"wrong", w.real.Password} {
			c := w.dial(t)
			w.same(t, nameOf(a)+" with "+password, func(i int) string { return w.bind(c[i], nameOf(a), password) })
			c[0].Close()
			c[1].Close()
		}
	}
}
