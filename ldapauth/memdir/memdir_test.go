package memdir_test

import (
	"net"
	"testing"

	"adconnector/ldapauth/memdir"

	"github.com/go-ldap/ldap/v3"
)

const base = "DC=fabrikam,DC=example"

// start runs a server on a port of its own until the test ends.
func start(t testing.TB, o memdir.Options) (*memdir.Server, net.Addr) {
	t.Helper()
	if o.BaseDN == "" {
		o.BaseDN = base
	}
	if o.Entries == nil && o.Flavor == memdir.OpenLDAP {
		o.Entries = memdir.SampleOpenLDAP(base)
	} else if o.Entries == nil {
		o.Entries = memdir.Sample(base)
	}
	s, err := memdir.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s, listen(t))
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func serve(t testing.TB, s *memdir.Server, ln net.Listener) net.Addr {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr()
}

func dial(t testing.TB, addr net.Addr) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL("ldap://" + addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSmoke(t *testing.T) {
	_, addr := start(t, memdir.Options{})
	c := dial(t, addr)
	if err := c.Bind("svc-adconnector@fabrikam.example", memdir.ServicePassword); err != nil {
		t.Fatal(err)
	}
	res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(&(objectCategory=person)(sAMAccountName=jon))", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	res.PrettyPrint(2)
	t.Log(res.Referrals)
	res, err = c.Search(ldap.NewSearchRequest(res.Entries[0].DN, 0, 0, 0, 0, false, "(objectClass=*)", []string{"tokenGroups", "memberOf", "msDS-User-Account-Control-Computed"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	res.PrettyPrint(2)
	res, err = c.Search(ldap.NewSearchRequest("", 0, 0, 0, 0, false, "(objectClass=*)", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	res.PrettyPrint(2)
}
