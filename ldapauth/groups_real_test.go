package ldapauth_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/setting"
)

// counting returns the configuration for a real server behind a wire that counts
// the searches that cross it.
func counting(t *testing.T, s *dirtest.Server) (ldapauth.Config, *atomic.Int64) {
	t.Helper()
	ln, caFile := listen(t)
	var searches atomic.Int64
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go carry(client, strings.TrimPrefix(s.URL, "ldaps://"), s.TLS(t), &searches)
		}
	}()
	c := real(s)
	c.URLs, c.CAFiles = []string{"ldaps://" + ln.Addr().String()}, []setting.File{caFile}
	return c, &searches
}

// carry carries one connection to a server and counts the searches on it.
func carry(client net.Conn, server string, conf *tls.Config, searches *atomic.Int64) {
	defer func() { _ = client.Close() }()
	up, err := tls.Dial("tcp", server, conf)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	go func() {
		_, _ = io.Copy(client, up)
		_ = client.Close()
	}()
	for {
		m, err := ber.ReadPacket(client)
		if err != nil {
			return
		}
		if len(m.Children) > 1 && m.Children[1].Tag == goldap.ApplicationSearchRequest {
			searches.Add(1)
		}
		if _, err := up.Write(m.Bytes()); err != nil {
			return
		}
	}
}

// The search that finds the account is all that a sign-in costs, deny_groups by
// identifier included.
func TestAWarmSignInIsOneSearchOnTheWireOfRealServers(t *testing.T) {
	for kind, s := range map[string]*dirtest.Server{"Samba": dirtest.SharedSambaAD(t), "OpenLDAP": dirtest.SharedOpenLDAP(t)} {
		for what, change := range map[string]func(*ldapauth.Config){
			"by default":           func(*ldapauth.Config) {},
			"direct ones":          func(c *ldapauth.Config) { c.Groups.Nested = false },
			"groups not reported":  func(c *ldapauth.Config) { c.Groups.Include = false },
			"distribution lists":   func(c *ldapauth.Config) { c.Groups.DistributionLists = true },
			"nobody can be barred": func(c *ldapauth.Config) { c.DenyGroups = []string{} },
		} {
			c, searches := counting(t, s)
			change(&c)
			d := open(t, c)
			for _, name := range []string{"jon", "zoe", "photo"} {
				if s.Kind == dirtest.KindOpenLDAP && name == "photo" {
					continue // in no group: nothing tells that memberOf is kept
				}
				groupsOf(t, d, name)
				before := searches.Load()
				for range 10 {
					groupsOf(t, d, name)
				}
				if n := searches.Load() - before; n != 10 {
					t.Errorf("%s, %s, %s: 10 sign-ins cost %d searches", kind, what, name, n)
				}
			}
		}
	}
}

func TestDistributionListsAreReportedOnRequest(t *testing.T) {
	c := real(dirtest.SharedSambaAD(t))
	without := groupsOf(t, open(t, c), "jon")
	c.Groups.DistributionLists = true
	wantGroups(t, "with them", groupsOf(t, open(t, c), "jon"), append(without, "dist-list")...)
}

// A frozen server is the slowest there is. What follows is policy, as long as
// nobody can be barred; else it is a fault, whatever the policy.
func TestE10_GroupsThatTakeTooLongAreNeverTakenForNone(t *testing.T) {
	for kind, s := range map[string]*dirtest.Server{"Samba": dirtest.SambaAD(t), "OpenLDAP": dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})} {
		for _, tt := range []struct {
			deny    []string
			include bool
			omitted bool // groups.on_failure has a say
		}{
			{[]string{}, true, true},
			{[]string{"group-C"}, true, false},
			{[]string{"group-C"}, false, false},
			{[]string{ldapauth.DenyProtected}, true, kind == "OpenLDAP"},
			{[]string{ldapauth.DenyProtected}, false, false},
		} {
			if kind == "OpenLDAP" && !tt.include && tt.deny[0] == ldapauth.DenyProtected {
				continue // there is nothing to ask
			}
			c := real(s)
			c.DenyGroups, c.Groups.Include, c.Groups.OnFailure = tt.deny, tt.include, ldapauth.OnFailureOmit
			c.Groups.Timeout = setting.Duration(200 * time.Millisecond)
			d := open(t, c)
			a := find(t, d, "jon")
			thaw := s.Freeze(t)
			start := time.Now()
			got, err := d.Groups(t.Context(), a)
			took := time.Since(start)
			thaw()
			what := fmt.Sprintf("%s, %q, reported %v", kind, tt.deny, tt.include)
			if err == nil || got != nil || denial.ReasonOf(err) != "" || errors.Is(err, ldapauth.ErrGroups) != tt.omitted || !strings.Contains(err.Error(), "ldap.groups.timeout") {
				t.Errorf("%s: %q, %v", what, got, err)
			}
			if took > 5*time.Second {
				t.Errorf("%s: %v, although groups.timeout is %v", what, took, c.Groups.Timeout)
			}
		}
	}
}

func TestE9_FiftyThousandGroupsAreRefusedInTime(t *testing.T) {
	const n = 50_000
	check := func(what string, c ldapauth.Config) {
		d := open(t, c)
		a := find(t, d, "jon")
		got, err := d.Groups(t.Context(), a)
		if err == nil || got != nil || denial.ReasonOf(err) != "" || errors.Is(err, ldapauth.ErrGroups) == (what == "Active Directory in memory") || !strings.Contains(err.Error(), "more than 10000: take the account out of some") {
			t.Errorf("%s: %d groups, %v", what, len(got), err)
		}
		find(t, d, "zoe") // and nobody else notices
	}
	check("OpenLDAP with memberOf", real(dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Groups: n, Quiet: true})))
	check("OpenLDAP without", real(dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Groups: n, SizeLimit: 2 * n, NoMemberOf: true, Quiet: true})))
	_, c := memory(t, memdir.ActiveDirectory, crowd(n, memdir.ActiveDirectory, "CN=Jon Smith,OU=Staff,"+memBase))
	check("Active Directory in memory", c)
}

// A domain controller lets groups be members of each other.
func TestE9_CyclesEndOnADomainController(t *testing.T) {
	s := dirtest.SambaAD(t)
	alter(t, s, s.DN(t, "group-A"), "member", s.DN(t, "group-C"), true)
	c := real(s)
	c.Groups.DistributionLists = true
	c.DenyGroups = []string{"nothing"} // so that memberOf is followed too
	got := groupsOf(t, open(t, c), "zoe")
	wantGroups(t, "zoe", got, "Domain Users", "group-A", "group-B", "group-C")
}

// chain makes a chain of n groups with one member.
func chain(n int, base, member string) func(*memdir.Options) {
	return func(o *memdir.Options) {
		for i := range n {
			dn := fmt.Sprintf("cn=level%02d,ou=groups,%s", i, base)
			o.Entries = append(o.Entries, memdir.Entry{DN: dn, Attributes: map[string][]string{"objectClass": {"top", "groupOfNames"}, "member": {member}}})
			member = dn
		}
	}
}

func TestGroupsTwentyLevelsUpCostOneSearchForEachLevel(t *testing.T) {
	s, c := memory(t, memdir.OpenLDAP, chain(20, memBase, "uid=jon,ou=people,"+memBase))
	c.BindDN = "cn=svc-adconnector,ou=services," + memBase
	c.DenyGroups = []string{}
	d := open(t, c)
	a := find(t, d, "jon")
	before := s.Stats().Searches
	got, err := d.Groups(t.Context(), a)
	if err != nil || !strings.Contains(strings.Join(got, " "), "level19") {
		t.Errorf("%q, %v", got, err)
	}
	if n := s.Stats().Searches - before; n > 21 {
		t.Errorf("%d searches for 20 levels", n)
	}
}

// Cold means that nothing is remembered, not that nobody is connected.
func BenchmarkGroups(b *testing.B) {
	numbers := map[string]int{"zoe": 10, "photo": 100, "jon": 1000}
	samba := dirtest.SambaAD(b)
	admin := samba.Admin(b)
	for name, n := range numbers {
		dn := samba.DN(b, name)
		for i := range n {
			r := goldap.NewAddRequest(fmt.Sprintf("CN=many-%s-%d,OU=Groups,%s", name, i, samba.BaseDN), nil)
			r.Attribute("objectClass", []string{"group"})
			r.Attribute("member", []string{dn})
			if err := admin.Add(r); err != nil {
				b.Fatal(err)
			}
		}
	}
	for name, n := range numbers {
		slapd := dirtest.OpenLDAP(b, dirtest.OpenLDAPOptions{Groups: n, Quiet: true})
		for _, on := range []struct {
			server *dirtest.Server
			name   string
		}{{slapd, "jon"}, {samba, name}} {
			for _, cold := range []bool{true, false} {
				c := real(on.server)
				state := "warm"
				if cold {
					c.Groups.Cache, state = 0, "cold"
				}
				d := open(b, c)
				if got := groupsOf(b, d, on.name); len(got) < n {
					b.Fatalf("%d groups", len(got))
				}
				b.Run(fmt.Sprintf("%s/%d/%s", on.server.Kind, n, state), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						a, err := d.FindByName(b.Context(), on.name)
						if err != nil {
							b.Fatal(err)
						}
						if _, err := d.Groups(b.Context(), a); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
