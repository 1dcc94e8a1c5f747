package ldapauth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
)

// holder returns what a certificate says that was issued now.
func holder(by ldapauth.HolderRule, text string) *ldapauth.Holder {
	return &ldapauth.Holder{By: by, Text: text, IssuedAt: time.Now()}
}

// sidOf returns the security identifier of an account as text.
func sidOf(t testing.TB, a *ldapauth.Account) string {
	t.Helper()
	return ldapauth.SIDText(a.First("objectSid"))
}

func isAD(s site) bool { return s.names["sAMAccountName"] != "" }

// TestHoldersAreFoundByEachRule on every directory, with one search each.
func TestHoldersAreFoundByEachRule(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		jon, zoe := find(t, d, "jon"), find(t, d, "zoe")
		mail := jon.First("mail")
		type row struct {
			name string
			h    *ldapauth.Holder
			want *ldapauth.Account // nil: nobody
		}
		upper := strings.ReplaceAll(strings.ToUpper(jon.DN), "OU=", "ou=")
		rows := []row{
			{"the user name", holder(ldapauth.ByUserName, "jon"), jon},
			{"the mail address", holder(ldapauth.ByMail, strings.ToUpper(mail)), jon},
			{"C3: a mail address with a wildcard", holder(ldapauth.ByMail, "*@"+strings.SplitN(mail, "@", 2)[1]), nil},
			{"nobody's mail address", holder(ldapauth.ByMail, "nobody@nowhere.example"), nil},
			{"the name of the entry", holder(ldapauth.BySubject, jon.DN), jon},
			{"the name of an entry with commas in it", holder(ldapauth.BySubject, zoe.DN), zoe},
			{"the name of the entry, written otherwise", holder(ldapauth.BySubject, upper), jon},
			{"C9: the name of the entry with a blank too many", holder(ldapauth.BySubject, strings.Replace(jon.DN, ",", `\ ,`, 1)), nil},
			{"an entry below it", holder(ldapauth.BySubject, "CN=x,"+jon.DN), nil},
			{"the entry above it", holder(ldapauth.BySubject, strings.SplitN(jon.DN, ",", 2)[1]), nil},
			{"no name of an entry", holder(ldapauth.BySubject, "*"), nil},
			{"another attribute", &ldapauth.Holder{By: ldapauth.ByMail, Text: jon.First("cn"), Filter: "(cn={0})"}, jon},
			{"C2: another attribute, loosely", &ldapauth.Holder{By: ldapauth.ByMail, Text: jon.First("cn") + " ", Filter: "(cn={0})"}, nil},
			{"C3: another attribute, everything", &ldapauth.Holder{By: ldapauth.ByUserName, Text: "*", Filter: "(cn={0})"}, nil},
			{"a name in another attribute", &ldapauth.Holder{By: ldapauth.BySubject, Text: upper, Filter: "(seeAlso={0})"}, nil},
			{"nobody's security identifier", holder(ldapauth.BySID, "S-1-5-21-1-2-3-1104"), nil},
			{"no security identifier", holder(ldapauth.BySID, "*"), nil},
		}
		if isAD(s) {
			rows = append(rows,
				row{"the principal name", holder(ldapauth.ByUserName, s.names["userPrincipalName"]), jon},
				row{"the security identifier", holder(ldapauth.BySID, sidOf(t, jon)), jon},
				row{"another's security identifier", holder(ldapauth.BySID, sidOf(t, zoe)), zoe},
				row{"a group's security identifier", holder(ldapauth.BySID, "S-1-5-32-545"), nil},
			)
		}
		for _, tt := range rows {
			var trace ldapauth.Trace
			a, err := d.FindHolder(ldapauth.WithTrace(t.Context(), &trace), tt.h)
			if tt.want == nil {
				if denial.ReasonOf(err) != denial.NoAccount && denial.ReasonOf(err) != denial.BadName {
					t.Errorf("%s (%s): %v, %v; want nobody", tt.name, tt.h.Text, a, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s (%s): %v", tt.name, tt.h.Text, err)
				continue
			}
			if a.ID != tt.want.ID || a.FoundBy() == "" {
				t.Errorf("%s: %s by %q, want %s", tt.name, a.DN, a.FoundBy(), tt.want.DN)
			}
			if n := peopleSearches(&trace); n != 1 && tt.name != "the principal name" { // whose domain is looked up once
				t.Errorf("%s: %d searches, want one", tt.name, n)
			}
		}
	})
}

// peopleSearches returns how many searches for people there are in a trace.
func peopleSearches(trace *ldapauth.Trace) int {
	n := 0
	steps, _ := trace.Steps()
	for _, s := range steps {
		if s.Search != nil && strings.Contains(s.Search.Filter, "objectClass=") {
			n++
		}
	}
	return n
}

// TestC4_AHolderWhoIsTwoIsNobody: with a mail address that two persons have.
func TestC4_AHolderWhoIsTwoIsNobody(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory, oddPeople("sAMAccountName"))
	_, err := open(t, c).FindHolder(t.Context(), holder(ldapauth.ByMail, "oneil@fabrikam.example"))
	wantReason(t, "two of one address", err, denial.SeveralAccounts)
}

// TestC4_AHolderWhomTheUserFilterLeavesOutIsNobody, by whatever rule.
func TestC4_AHolderWhomTheUserFilterLeavesOutIsNobody(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory)
	jon := find(t, open(t, c), "jon")
	c.UserFilter = "(&(sAMAccountName={0})(department=Sales))"
	d := open(t, c)
	for _, h := range []*ldapauth.Holder{
		holder(ldapauth.ByUserName, "jon"), holder(ldapauth.ByMail, jon.First("mail")), holder(ldapauth.BySubject, jon.DN), holder(ldapauth.BySID, sidOf(t, jon)),
		{By: ldapauth.ByMail, Text: jon.First("mail"), Filter: "(mail={0})"},
	} {
		_, err := d.FindHolder(t.Context(), h)
		wantReason(t, h.Text, err, denial.NoAccount)
	}
	computer := holder(ldapauth.BySubject, "CN=PC-0042,CN=Computers,"+memBase)
	_, err := d.FindHolder(t.Context(), computer)
	wantReason(t, "a computer", err, denial.NoAccount)
}

// TestC6_ASecurityIdentifierMustBeTheAccounts in Active Directory, whatever rule
// found the account; elsewhere there are none.
func TestC6_ASecurityIdentifierMustBeTheAccounts(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		jon, zoe := find(t, d, "jon"), find(t, d, "zoe")
		judge := func(h *ldapauth.Holder) (bool, error) { return d.JudgeHolder(t.Context(), jon, h) }
		mine, others := "S-1-5-21-1-2-3-4", "S-1-5-21-1-2-3-5"
		if isAD(s) {
			mine, others = sidOf(t, jon), sidOf(t, zoe)
		}
		h := holder(ldapauth.ByUserName, "jon")
		h.SID = mine
		strong, err := judge(h)
		if err != nil || strong != isAD(s) {
			t.Errorf("the account's own: strong %v, %v", strong, err)
		}
		h.SID = others
		if strong, err = judge(h); !isAD(s) {
			if err != nil || strong {
				t.Errorf("where there are none: strong %v, %v", strong, err)
			}
			return
		}
		wantReason(t, "another's", err, denial.SIDMismatch)
		for _, also := range []*ldapauth.Holder{
			holder(ldapauth.ByUserName, "jon"), holder(ldapauth.ByUserName, s.names["userPrincipalName"]),
			holder(ldapauth.ByMail, jon.First("mail")), holder(ldapauth.BySubject, jon.DN),
		} {
			h := holder(ldapauth.BySID, mine)
			h.SID, h.Also = mine, also
			if strong, err := judge(h); err != nil || !strong {
				t.Errorf("with the name %s: strong %v, %v", also.Text, strong, err)
			}
		}
		for _, also := range []*ldapauth.Holder{
			holder(ldapauth.ByUserName, "zoe"), holder(ldapauth.ByMail, zoe.First("mail")), holder(ldapauth.BySubject, zoe.DN),
		} {
			h := holder(ldapauth.BySID, mine)
			h.SID, h.Also = mine, also
			_, err := judge(h)
			wantReason(t, "with the name "+also.Text, err, denial.SIDMismatch)
		}
	})
}

// TestC5_ACertificateFromBeforeTheAccount is somebody else's, maybe, unless more
// than a name ties it to the account.
func TestC5_ACertificateFromBeforeTheAccount(t *testing.T) {
	forEachSite(t, func(t *testing.T, s site) {
		d := open(t, s.config)
		jon := find(t, d, "jon")
		text := jon.First("createTimestamp") + jon.First("whenCreated")
		created, err := time.Parse("20060102150405Z", text)
		if err != nil {
			t.Fatal(err)
		}
		h := holder(ldapauth.ByUserName, "jon")
		for _, tt := range []struct {
			issued time.Time
			strict bool
			want   denial.Reason
		}{
			{created.Add(time.Hour), true, ""},
			{created.Add(-10 * time.Minute), true, ""},
			{created.Add(-10*time.Minute - time.Second), true, denial.OlderThanAccount},
			{created.AddDate(-1, 0, 0), true, denial.OlderThanAccount},
			{created.AddDate(-1, 0, 0), false, ""},
		} {
			h.IssuedAt, h.MustBeYounger = tt.issued, tt.strict
			_, err := d.JudgeHolder(t.Context(), jon, h)
			wantReason(t, tt.issued.String(), err, tt.want)
		}
		h.IssuedAt, h.Pinned = created.AddDate(-1, 0, 0), true
		if strong, err := d.JudgeHolder(t.Context(), jon, h); err != nil || !strong {
			t.Errorf("pinned: strong %v, %v", strong, err)
		}
		h.Pinned, h.MustBeStrong = false, true
		_, err = d.JudgeHolder(t.Context(), jon, h)
		wantReason(t, "must be strong", err, denial.WeakMapping)
	})
}

// TestC7_AltSecurityIdentitiesCountExactlyAsWindowsWritesThem, and nothing that a
// directory would take for the same.
func TestC7_AltSecurityIdentitiesCountExactlyAsWindowsWritesThem(t *testing.T) {
	const (
		serial   = "X509:<I>DC=com,DC=contoso,CN=CONTOSO-DC-CA<SR>1200000000ac11000000002b"
		reversed = "X509:<I>DC=com,DC=contoso,CN=CONTOSO-DC-CA<SR>2b0000000011ac0000000012"
		ski      = "X509:<SKI>12ab"
		key      = "X509:<SHA1-PUKEY>50bf88e67522ab8ce093ce51830ab0bcf8ba7824"
		subject  = "X509:<S>DC=com,CN=Jon Smith"
		mail     = "X509:<RFC822>jon@contoso.com"
	)
	for name, start := range map[string]func(t *testing.T) (*ldapauth.Directory, func(values ...string)){
		"memory": func(t *testing.T) (*ldapauth.Directory, func(...string)) {
			server, c := memory(t, memdir.ActiveDirectory)
			d := open(t, c)
			jon := find(t, d, "jon")
			return d, func(values ...string) {
				if err := server.Update(jon.DN, map[string][]string{"altSecurityIdentities": values}); err != nil {
					t.Fatal(err)
				}
			}
		},
		"Samba": func(t *testing.T) (*ldapauth.Directory, func(...string)) {
			s := dirtest.SharedSambaAD(t)
			set := func(values ...string) {
				m := goldap.NewModifyRequest(s.DN(t, "jon"), nil)
				m.Replace("altSecurityIdentities", values)
				if err := s.Admin(t).Modify(m); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { set() })
			return open(t, real(s)), set
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, set := start(t)
			jon := find(t, d, "jon")
			h := holder(ldapauth.ByIdentities, serial)
			h.Identities = []string{serial, ski, key}
			h.WeakIdentities = []string{subject, mail}
			for _, tt := range []struct {
				values []string
				found  bool
				strong bool
			}{
				{nil, false, false},
				{[]string{serial}, true, true},
				{[]string{strings.Replace(serial, "1200000000ac11000000002b", "1200000000AC11000000002B", 1)}, true, true},
				{[]string{ski}, true, true},
				{[]string{key}, true, true},
				{[]string{"X509:<SKI>ffff", "Kerberos:jon@CONTOSO.COM", key}, true, true},
				{[]string{subject}, true, false},
				{[]string{mail}, true, false},
				{[]string{mail, ski}, true, true},
				{[]string{reversed}, false, false},
				{[]string{strings.Replace(serial, "CONTOSO-DC-CA", "contoso-dc-ca", 1)}, false, false},
				{[]string{strings.ReplaceAll(serial, ",", ", ")}, false, false},
				{[]string{strings.Replace(serial, "X509:", "x509:", 1)}, false, false},
				{[]string{strings.Replace(serial, "<SR>", "<sr>", 1)}, false, false},
				{[]string{"X509:<I>CN=CONTOSO-DC-CA,DC=contoso,DC=com<SR>1200000000ac11000000002b"}, false, false},
				{[]string{serial + " "}, false, false},
				{[]string{" " + ski}, false, false},
				{[]string{strings.ToLower(subject)}, false, false},
				{[]string{"X509:<RFC822>JON@contoso.com"}, false, false},
				{[]string{"X509:<SHA1-PUKEY>"}, false, false},
			} {
				set(tt.values...)
				a, err := d.FindHolder(t.Context(), h)
				if !tt.found {
					wantReason(t, strings.Join(tt.values, " | "), err, denial.NoAccount)
					continue
				}
				if err != nil {
					t.Errorf("%q: %v", tt.values, err)
					continue
				}
				strong, err := d.JudgeHolder(t.Context(), a, h)
				if err != nil || a.ID != jon.ID || strong != tt.strong {
					t.Errorf("%q: %s, strong %v, %v", tt.values, a.DN, strong, err)
				}
				if v, ok := strings.CutPrefix(a.FoundBy(), "altSecurityIdentities="); !ok || !slices.Contains(tt.values, v) {
					t.Errorf("%q: found by %q", tt.values, a.FoundBy())
				}
				if tt.strong {
					continue
				}
				h := *h
				h.WeakIdentities = nil
				_, err = d.FindHolder(t.Context(), &h)
				wantReason(t, "weak forms that do not count", err, denial.NoAccount)
				_, err = d.JudgeHolder(t.Context(), a, &h)
				wantReason(t, "a session by a form that no longer counts", err, denial.NoAccount)
			}
		})
	}
}

// TestC9_SubjectsAreComparedPartByPart in attributes that hold names.
func TestC9_SubjectsAreComparedPartByPart(t *testing.T) {
	const subject = "CN=Jon Smith+UID=jon,OU=People,O=Fabrikam\\, Inc.,ST=Oslo"
	server, c := memory(t, memdir.OpenLDAP)
	d := open(t, c)
	jon := find(t, d, "jon")
	h := &ldapauth.Holder{By: ldapauth.BySubject, Text: subject, Filter: "(|(info={0})(mail={0}))"}
	for value, want := range map[string]bool{
		subject: true,
		"cn=JON SMITH+uid=Jon,ou=people,o=Fabrikam\\2c Inc.,st=oslo": true,
		"UID=jon+CN=Jon Smith,OU=People,O=Fabrikam\\, Inc.,ST=Oslo":  false, // the server does not know that it is a name
		"CN=Jon Smith,UID=jon,OU=People,O=Fabrikam\\, Inc.,ST=Oslo":  false,
		"CN=Jon  Smith+UID=jon,OU=People,O=Fabrikam\\, Inc.,ST=Oslo": false,
		"not a name": false,
	} {
		if err := server.Update(jon.DN, map[string][]string{"info": {value}}); err != nil {
			t.Fatal(err)
		}
		a, err := d.FindHolder(t.Context(), h)
		if got := err == nil; got != want && value == subject || err == nil && !want {
			t.Errorf("%s: %v, %v; want %v", value, a, err, want)
		}
	}
}

// TestC12_AHolderIsLookedForInEveryDomain, but for a name with a domain, and is
// nobody if two know one.
func TestC12_AHolderIsLookedForInEveryDomain(t *testing.T) {
	servers, c := twoDomains(t)
	d := openDomains(t, c)
	account := func(name string) *ldapauth.Account {
		a, err := d.FindByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	south, north := account(`FABRIKAM\jon`), account(`NORTH\jon`)
	for _, a := range []*ldapauth.Account{south, north} {
		for _, h := range []*ldapauth.Holder{
			holder(ldapauth.BySID, sidOf(t, a)), holder(ldapauth.BySubject, a.DN), holder(ldapauth.ByMail, a.First("mail")),
			holder(ldapauth.ByUserName, a.First("userPrincipalName")),
		} {
			h.SID = sidOf(t, a)
			got, err := d.FindHolder(t.Context(), h)
			if err != nil || got.ID != a.ID {
				t.Errorf("%s: %v, %v; want %s", h.Text, got, err, a.DN)
				continue
			}
			if strong, err := d.JudgeHolder(t.Context(), got, h); err != nil || !strong {
				t.Errorf("%s: strong %v, %v", h.Text, strong, err)
			}
		}
	}
	h := holder(ldapauth.ByUserName, south.First("userPrincipalName"))
	h.SID = sidOf(t, north)
	a, err := d.FindHolder(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.JudgeHolder(t.Context(), a, h)
	wantReason(t, "C6: the identifier of the other domain's jon", err, denial.SIDMismatch)

	for i, dn := range []string{south.DN, north.DN} {
		if err := servers[i].Update(dn, map[string][]string{"altSecurityIdentities": {"X509:<SKI>12"}}); err != nil {
			t.Fatal(err)
		}
	}
	h = holder(ldapauth.ByIdentities, "X509:<SKI>12")
	h.Identities = []string{"X509:<SKI>12"}
	_, err = d.FindHolder(t.Context(), h)
	wantReason(t, "C4: one identity in two domains", err, denial.SeveralAccounts)
	_, err = d.FindHolder(t.Context(), holder(ldapauth.ByUserName, "jon@elsewhere.example"))
	wantReason(t, "another forest's principal name", err, denial.NoAccount)
}

// TestAHolderWhoseEntryHidesWhatCountsIsAFault and is not let in.
func TestAHolderWhoseEntryHidesWhatCountsIsAFault(t *testing.T) {
	server, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	jon := find(t, d, "jon")
	sid := holder(ldapauth.ByUserName, "jon")
	sid.SID = sidOf(t, jon)
	age := holder(ldapauth.ByUserName, "jon")
	age.MustBeYounger = true
	for attribute, h := range map[string]*ldapauth.Holder{"objectSid": sid, "whenCreated": age} {
		if err := server.Update(jon.DN, map[string][]string{attribute: nil}); err != nil {
			t.Fatal(err)
		}
		_, err := d.JudgeHolder(t.Context(), find(t, d, "jon"), h)
		if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), attribute) {
			t.Errorf("without %s: %v, want a fault that names it", attribute, err)
		}
	}
}
