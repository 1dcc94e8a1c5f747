package memdir_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth/memdir"

	"github.com/go-ldap/ldap/v3"
)

func request(filter string, attributes ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, nil)
}

func find(t testing.TB, c *ldap.Conn, filter string, attributes ...string) []*ldap.Entry {
	t.Helper()
	res, err := c.Search(request(filter, attributes...))
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return res.Entries
}

// read returns one entry.
func read(t testing.TB, c *ldap.Conn, dn string, attributes ...string) *ldap.Entry {
	t.Helper()
	res, err := c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", attributes, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatalf("reading %q: %v", dn, err)
	}
	return res.Entries[0]
}

// names returns the first values of the RDNs, sorted.
func names(entries []*ldap.Entry) string {
	var found []string
	for _, e := range entries {
		dn, err := ldap.ParseDN(e.DN)
		if err != nil {
			panic(err)
		}
		found = append(found, dn.RDNs[0].Attributes[0].Value)
	}
	slices.Sort(found)
	return strings.Join(found, "; ")
}

func TestFilters(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	jon := read(t, c, "CN=Jon Smith,OU=Staff,"+base, "objectGUID", "objectSid")
	guid, sid := jon.GetRawAttributeValue("objectGUID"), jon.GetRawAttributeValue("objectSid")
	escaped := func(b []byte) (s string) {
		for _, octet := range b {
			s += fmt.Sprintf(`\%02x`, octet)
		}
		return s
	}
	const inChain = ":1.2.840.113556.1.4.1941:="
	for _, tt := range []struct{ rule, filter, want string }{
		{"equality", "(sAMAccountName=jon)", "Jon Smith"},
		{"case does not matter", "(SAMACCOUNTNAME=JON)", "Jon Smith"},
		{"nor do blanks around, nor no-break spaces", "(sAMAccountName=  jon\u00a0)", "Jon Smith"},
		{"a NUL ends the value", `(sAMAccountName=jon\00x)`, "Jon Smith"},
		{"a part is not the whole", "(sAMAccountName=jo)", ""},
		{"case of other letters", "(displayName=ZOË MÜLLER)", "Zoë (Ops), Müller"},
		{"accents matter", "(displayName=zoe muller)", ""},
		{"and", "(&(objectClass=user)(sn=Smith)(givenName=Jon))", "Jon Smith"},
		{"and with one that fails", "(&(sAMAccountName=jon)(sAMAccountName=amy))", ""},
		{"or", "(|(sAMAccountName=jon)(sAMAccountName=amy)(sAMAccountName=jon))", "Amy Reed; Jon Smith"},
		{"or with an attribute that has no index", "(|(sAMAccountName=jon)(title=Driver))", "Jon Smith; Paul Kern"},
		{"not", "(&(department=Engineering)(!(sAMAccountName=jon)))", "Dora Lang"},
		{"what is absent is not equal", "(&(department=Sales)(!(lockoutTime=1)))", "Amy Reed; Nina Haas"},
		{"presence", "(lockoutTime=*)", "Liam Ortiz"},
		{"unknown attribute", "(noSuchAttribute=x)", ""},
		{"initial", "(sn=Sm*)", "Jon Smith"},
		{"final", "(sn=*ITH)", "Jon Smith"},
		{"any", "(displayName=o*n*s*t*)", ""},
		{"all three", "(displayName=j*n s*th)", "Jon Smith"},
		{"parts do not overlap", "(sn=Smi*mith)", ""},
		{"at least, as numbers", "(badPwdCount>=2)", "Liam Ortiz"},
		{"at most", "(&(primaryGroupID<=514)(title=Driver))", "Paul Kern"},
		{"approximately is equality", "(sn~=smith)", "Jon Smith"},
		{"all of the bits", "(userAccountControl:1.2.840.113556.1.4.803:=2)", "Dora Lang"},
		{"not all of the bits", "(userAccountControl:1.2.840.113556.1.4.803:=514)", "Dora Lang"},
		{"any of the bits", "(userAccountControl:1.2.840.113556.1.4.804:=4098)", "Dora Lang; PC-0042"},
		{"no rule is equality", "(sn:=smith)", "Jon Smith"},
		{"an unknown rule is neither true", "(sn:1.2.3:=smith)", ""},
		{"nor false", "(!(sn:1.2.3:=smith))", ""},
		{"class by inheritance", "(&(objectClass=person)(objectClass=computer))", "PC-0042"},
		{"category by its short name", "(&(objectCategory=computer)(objectClass=user))", "PC-0042"},
		{"category of a person", "(&(objectCategory=person)(sn=Smith))", "Jon Smith"},
		{"GUID", "(objectGUID=" + escaped(guid) + ")", "Jon Smith"},
		{"SID", "(objectSid=" + escaped(sid) + ")", "Jon Smith"},
		{"SID as text", "(objectSid=S-1-5-32-545)", "Users"},
		{"members", "(member=cn=jon smith,ou=staff," + base + ")", "Newsletter; Process Engineers; Project Alpine; Träger (alle), Nord #1"},
		{"member of", "(memberOf=CN=Process Engineers,OU=Groups," + base + ")", "Jon Smith"},
		{"member of a group with an odd name", `(memberOf=CN=Träger \28alle\29\5c, Nord \5c#1,OU=Groups,` + base + ")", "Jon Smith; Zoë (Ops), Müller"},
		{"not member of", "(&(department=Engineering)(!(memberOf=CN=Process Engineers,OU=Groups," + base + ")))", "Dora Lang"},
		{"groups in chain", "(member" + inChain + "CN=Jon Smith,OU=Staff," + base + ")", "All Staff; Engineers; Newsletter; Process Engineers; Project Alpine; Project Boreal; Träger (alle), Nord #1"},
		{"members in chain", "(memberOf" + inChain + "CN=Engineers,OU=Groups," + base + ")", "Dora Lang; Jon Smith; Process Engineers"},
		{"a cycle ends", "(&(objectClass=user)(memberOf" + inChain + "CN=Project Boreal,OU=Groups," + base + "))", "Amy Reed; Jon Smith"},
		{"in chain never means the primary group", "(&(sn=Smith)(memberOf" + inChain + "CN=Domain Users,CN=Users," + base + "))", ""},
		{"the parentheses in a name", `(cn=Zoë \28Ops\29, Müller)`, "Zoë (Ops), Müller"},
		{"and of nothing is true", "(&(sn=Smith)(&))", "Jon Smith"},
		{"or of nothing is false", "(|)", ""},
		{"passwords cannot be guessed", "(|(userPassword=*)(unicodePwd=*)(password=*))", ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := names(find(t, c, tt.filter, "1.1")); got != tt.want {
				t.Errorf("%s\n got %q\nwant %q", tt.filter, got, tt.want)
			}
		})
	}
}

func TestOpenLDAPHasNoChainRule(t *testing.T) {
	_, addr := start(t, memdir.Options{Flavor: memdir.OpenLDAP})
	c := signedIn(t, memdir.OpenLDAP, addr)
	if got := names(find(t, c, "(member:1.2.840.113556.1.4.1941:=uid=jon,ou=people,"+base+")")); got != "" {
		t.Errorf("found %q", got)
	}
}

func TestScopes(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	jon := read(t, c, "CN=Jon Smith,OU=Staff,"+base, "objectGUID", "objectSid")
	for _, tt := range []struct {
		rule, base string
		scope      int
		want       string
		code       int
	}{
		{"base", "OU=Services," + base, ldap.ScopeBaseObject, "Services", 0},
		{"one level leaves the base out", "OU=Services," + base, ldap.ScopeSingleLevel, "svc-adconnector", 0},
		{"subtree", "OU=Services," + base, ldap.ScopeWholeSubtree, "Services; svc-adconnector", 0},
		{"base in another spelling", "ou = services , " + strings.ToLower(base), ldap.ScopeBaseObject, "Services", 0},
		{"by GUID", "<GUID=" + hex.EncodeToString(jon.GetRawAttributeValue("objectGUID")) + ">", ldap.ScopeBaseObject, "Jon Smith", 0},
		{"by SID", "<SID=" + hex.EncodeToString(jon.GetRawAttributeValue("objectSid")) + ">", ldap.ScopeBaseObject, "Jon Smith", 0},
		{"by SID as text", "<SID=S-1-5-32-545>", ldap.ScopeBaseObject, "Users", 0},
		{"missing", "OU=Nowhere," + base, ldap.ScopeWholeSubtree, "", 32},
		{"not a suffix at a step", "OU=xServices," + base, ldap.ScopeBaseObject, "", 32},
		{"by unknown GUID", "<GUID=00>", ldap.ScopeBaseObject, "", 32},
		{"nothing above the domain", "", ldap.ScopeWholeSubtree, "", 32},
		{"no DN", "services", ldap.ScopeBaseObject, "", 34},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			res, err := c.Search(ldap.NewSearchRequest(tt.base, tt.scope, 0, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
			if code(err) != tt.code {
				t.Fatalf("error %v, want code %d", err, tt.code)
			}
			if got := names(res.Entries); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

func attributeNames(e *ldap.Entry) string {
	var found []string
	for _, a := range e.Attributes {
		found = append(found, a.Name)
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

func TestAttributesThatWereAskedFor(t *testing.T) {
	dn := map[memdir.Flavor]string{memdir.ActiveDirectory: "CN=Jon Smith,OU=Staff," + base, memdir.OpenLDAP: "uid=jon,ou=people," + base}
	for _, tt := range []struct {
		rule   string
		flavor memdir.Flavor
		asked  []string
		want   string
	}{
		{"by name, in the directory's spelling", memdir.ActiveDirectory, []string{"SN", "MAIL"}, "mail sn"},
		{"none", memdir.ActiveDirectory, []string{"1.1"}, ""},
		{"unknown", memdir.ActiveDirectory, []string{"noSuchAttribute", "sn"}, "sn"},
		{"passwords never", memdir.ActiveDirectory, []string{"userPassword", "unicodePwd", "password", "sn"}, "sn"},
		{"computed by name", memdir.ActiveDirectory, []string{"tokenGroups", "msds-user-account-control-computed", "memberof"}, "memberOf msDS-User-Account-Control-Computed tokenGroups"},
		{"computed beside all", memdir.ActiveDirectory, []string{"*", "msDS-UserPasswordExpiryTimeComputed"}, "accountExpires badPwdCount cn company department displayName distinguishedName givenName mail memberOf msDS-UserPasswordExpiryTimeComputed name objectCategory objectClass objectGUID objectSid primaryGroupID pwdLastSet sAMAccountName sAMAccountType sn telephoneNumber title userAccountControl userPrincipalName whenCreated"},
		{"all is not computed", memdir.ActiveDirectory, nil, "accountExpires badPwdCount cn company department displayName distinguishedName givenName mail memberOf name objectCategory objectClass objectGUID objectSid primaryGroupID pwdLastSet sAMAccountName sAMAccountType sn telephoneNumber title userAccountControl userPrincipalName whenCreated"},
		{"all is not operational", memdir.OpenLDAP, []string{"*"}, "cn company department displayName givenName mail objectClass sn telephoneNumber title uid"},
		{"operational", memdir.OpenLDAP, []string{"+"}, "createTimestamp entryDN entryUUID memberOf"},
		{"operational by name", memdir.OpenLDAP, []string{"uid", "memberof"}, "memberOf uid"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, addr := start(t, memdir.Options{Flavor: tt.flavor})
			if got := attributeNames(read(t, signedIn(t, tt.flavor, addr), dn[tt.flavor], tt.asked...)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTypesOnly(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	r := request("(sAMAccountName=jon)", "sn", "memberOf")
	r.TypesOnly = true
	res, err := c.Search(r)
	if err != nil || attributeNames(res.Entries[0]) != "memberOf sn" || len(res.Entries[0].GetAttributeValues("sn")) != 0 {
		t.Errorf("%v, %v", res, err)
	}
}

func TestComputedAccountState(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	for account, want := range map[string][2]string{
		"jon":  {"0", "9223372036854775807"},
		"liam": {"16", "9223372036854775807"},
		"nina": {"8388608", "0"},
		"paul": {"8388608", "132536288000000000"},
	} {
		e := find(t, c, "(sAMAccountName="+account+")", "msDS-User-Account-Control-Computed", "msDS-UserPasswordExpiryTimeComputed")[0]
		got := [2]string{e.GetAttributeValue("msDS-User-Account-Control-Computed"), e.GetAttributeValue("msDS-UserPasswordExpiryTimeComputed")}
		if got != want {
			t.Errorf("%s: %v, want %v", account, got, want)
		}
	}
}

func TestTokenGroups(t *testing.T) {
	s, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	groups := func(attribute string) string {
		filter := "(|"
		for _, sid := range read(t, c, "CN=Jon Smith,OU=Staff,"+base, attribute).GetRawAttributeValues(attribute) {
			filter += "(objectSid="
			for _, octet := range sid {
				filter += fmt.Sprintf(`\%02x`, octet)
			}
			filter += ")"
		}
		return names(find(t, c, filter+")"))
	}
	want := "All Staff; Domain Users; Engineers; Process Engineers; Project Alpine; Project Boreal; Träger (alle), Nord #1"
	if got := groups("tokenGroups"); got != want+"; Users" {
		t.Errorf("tokenGroups: %s", got)
	}
	if got := groups("tokenGroupsGlobalAndUniversal"); got != want {
		t.Errorf("tokenGroupsGlobalAndUniversal: %s", got)
	}
	if _, err := c.Search(request("(sAMAccountName=jon)", "tokenGroups")); code(err) != ldap.LDAPResultOperationsError {
		t.Errorf("subtree search: %v, want code 1", err)
	}

	// A group for mail only passes nothing on.
	if err := s.Update("CN=Process Engineers,OU=Groups,"+base, map[string][]string{"groupType": {"2"}}); err != nil {
		t.Fatal(err)
	}
	if got := groups("tokenGroups"); got != "Domain Users; Project Alpine; Project Boreal; Träger (alle), Nord #1; Users" {
		t.Errorf("tokenGroups: %s", got)
	}
}

func TestRootDSEIsOpenToAll(t *testing.T) {
	server, _ := certificates(t)
	for flavor, tests := range map[memdir.Flavor][]struct{ asked, has, hasNot string }{
		memdir.ActiveDirectory: {{"", "defaultNamingContext", ""}, {"*", "supportedCapabilities", ""}, {"+", "currentTime", ""}, {"dnsHostName", "dnsHostName", "currentTime"}},
		memdir.OpenLDAP:        {{"", "objectClass", "namingContexts"}, {"*", "objectClass", "namingContexts"}, {"+", "namingContexts", "objectClass"}, {"supportedExtension", "supportedExtension", "objectClass"}},
	} {
		_, addr := start(t, memdir.Options{Flavor: flavor, TLS: server})
		for _, tt := range tests {
			var asked []string
			if tt.asked != "" {
				asked = []string{tt.asked}
			}
			root := read(t, dial(t, addr), "", asked...)
			if len(root.GetAttributeValues(tt.has)) == 0 || tt.hasNot != "" && len(root.GetAttributeValues(tt.hasNot)) > 0 {
				t.Errorf("flavor %d, asked for %q: %s", flavor, tt.asked, attributeNames(root))
			}
		}
	}
}

func TestAnonymousSearch(t *testing.T) {
	for flavor, want := range map[memdir.Flavor]int{memdir.ActiveDirectory: 1, memdir.OpenLDAP: 32} {
		_, addr := start(t, memdir.Options{Flavor: flavor})
		if _, err := dial(t, addr).Search(request("(objectClass=*)")); code(err) != want {
			t.Errorf("flavor %d: %v, want code %d", flavor, err, want)
		}
		_, addr = start(t, memdir.Options{Flavor: flavor, AnonymousRead: true})
		if got := names(find(t, dial(t, addr), "(sn=smith)")); got == "" {
			t.Errorf("flavor %d: nothing found where anybody may read", flavor)
		}
	}
}

func TestReferralsFromTheTop(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := signedIn(t, memdir.ActiveDirectory, addr)
	referrals := func(r *ldap.SearchRequest) int {
		res, err := c.Search(r)
		if err != nil {
			t.Fatal(err)
		}
		return len(res.Referrals)
	}
	r := request("(sn=Smith)")
	if n := referrals(r); n != 3 {
		t.Errorf("%d referrals from the top, want 3", n)
	}
	r.Controls = []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.1339", true, "")}
	if n := referrals(r); n != 0 {
		t.Errorf("%d referrals in domain scope, want none", n)
	}
	r = request("(sn=Smith)")
	r.BaseDN = "OU=Staff," + base
	if n := referrals(r); n != 0 {
		t.Errorf("%d referrals from below, want none", n)
	}
}

// crowd returns n people, u0000 and so on.
func crowd(n int) []memdir.Entry {
	var entries []memdir.Entry
	for i := range n {
		name := fmt.Sprintf("u%04d", i)
		entries = append(entries, memdir.Entry{DN: "CN=" + name + "," + base, Password: name, Attributes: map[string][]string{
			"objectClass": {"top", "person", "user"}, "sAMAccountName": {name}, "uid": {name}, "sn": {"Crowd"}, "mail": {name + "@fabrikam.example"},
		}})
	}
	return entries
}

func TestSizeLimits(t *testing.T) {
	for _, tt := range []struct {
		rule              string
		flavor            memdir.Flavor
		limit, page       int
		wantN, wantCode   int
		wantPagesAtLeast2 bool
	}{
		{rule: "what fits", limit: 30, wantN: 25},
		{rule: "the client's limit", limit: 4, wantN: 4, wantCode: 4},
		{rule: "pages", page: 4, wantN: 25},
		{rule: "pages that end evenly", page: 5, wantN: 25},
		{rule: "pages up to the client's limit", limit: 10, page: 4, wantN: 10, wantCode: 4},
		{rule: "OpenLDAP pages", flavor: memdir.OpenLDAP, page: 4, wantN: 25},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, addr := start(t, memdir.Options{Flavor: tt.flavor, Entries: crowd(25), AnonymousRead: true})
			r := request("(sn=crowd)", "uid")
			r.SizeLimit = tt.limit
			search := func() (*ldap.SearchResult, error) { return dial(t, addr).Search(r) }
			if tt.page > 0 {
				search = func() (*ldap.SearchResult, error) { return dial(t, addr).SearchWithPaging(r, uint32(tt.page)) }
			}
			res, err := search()
			if code(err) != tt.wantCode || len(res.Entries) != tt.wantN {
				t.Errorf("%d entries, error %v; want %d and code %d", len(res.Entries), err, tt.wantN, tt.wantCode)
			}
		})
	}
}

func TestMaxPageSize(t *testing.T) {
	for _, tt := range []struct {
		flavor     memdir.Flavor
		plain, all int // how many entries without and with paging
	}{{memdir.ActiveDirectory, 10, 25}, {memdir.OpenLDAP, 10, 10}} {
		_, addr := start(t, memdir.Options{Flavor: tt.flavor, Entries: crowd(25), AnonymousRead: true, MaxPageSize: 10})
		c := dial(t, addr)
		res, err := c.Search(request("(sn=crowd)"))
		if code(err) != 4 || len(res.Entries) != tt.plain {
			t.Errorf("flavor %d: %d entries, %v", tt.flavor, len(res.Entries), err)
		}
		res, _ = c.SearchWithPaging(request("(sn=crowd)"), 100)
		if len(res.Entries) != tt.all {
			t.Errorf("flavor %d: %d entries in pages, want %d", tt.flavor, len(res.Entries), tt.all)
		}
	}
}

func TestPagesBelongToAConnection(t *testing.T) {
	for flavor, want := range map[memdir.Flavor]int{memdir.ActiveDirectory: 53, memdir.OpenLDAP: 2} {
		_, addr := start(t, memdir.Options{Flavor: flavor, Entries: crowd(25), AnonymousRead: true})
		first, other := dial(t, addr), dial(t, addr)
		paging := ldap.NewControlPaging(10)
		r := request("(sn=crowd)")
		r.Controls = []ldap.Control{paging}
		res, err := first.Search(r)
		if err != nil {
			t.Fatal(err)
		}
		paging.SetCookie(ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging).Cookie)
		if _, err := other.Search(r); code(err) != want {
			t.Errorf("flavor %d: cookie on another connection: %v, want code %d", flavor, err, want)
		}
		paging.PagingSize = 0 // gives up
		if res, err := first.Search(r); err != nil || len(res.Entries) != 0 {
			t.Errorf("flavor %d: giving up: %v", flavor, err)
		}
		paging.PagingSize = 10
		if _, err := first.Search(r); code(err) != want {
			t.Errorf("flavor %d: a page after giving up: %v, want code %d", flavor, err, want)
		}
	}
}

func TestUnfinishedPagesAreBounded(t *testing.T) {
	_, addr := start(t, memdir.Options{Entries: crowd(25), AnonymousRead: true})
	c := dial(t, addr)
	next := func(cookie []byte) ([]byte, error) {
		paging := ldap.NewControlPaging(10)
		paging.SetCookie(cookie)
		r := request("(sn=crowd)", "1.1")
		r.Controls = []ldap.Control{paging}
		res, err := c.Search(r)
		if err != nil {
			return nil, err
		}
		return ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging).Cookie, nil
	}
	var cookies [][]byte
	for range 11 {
		cookie, err := next(nil)
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, cookie)
	}
	if _, err := next(cookies[0]); code(err) != 53 {
		t.Errorf("the oldest of eleven: %v, want code 53", err)
	}
	if _, err := next(cookies[1]); err != nil {
		t.Errorf("the second of eleven: %v", err)
	}
}
