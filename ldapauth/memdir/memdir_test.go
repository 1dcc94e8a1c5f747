package memdir_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/testca"

	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"
)

const base = "DC=fabrikam,DC=example"

const service = "svc-adconnector@fabrikam.example"

// today is when the tests take place.
var today = time.Date(2026, 3, 4, 10, 30, 0, 0, time.UTC)

// TestMain sees to it that no test leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := dirtest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		println(err.Error())
		code = 1
	}
	os.Exit(code)
}

// start runs a server on a port of its own until the test ends. Where o says
// nothing, it is the sample company.
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
	if o.Now == nil {
		o.Now = func() time.Time { return today }
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
		if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return ln.Addr()
}

func dial(t testing.TB, addr net.Addr) *ldap.Conn {
	t.Helper()
	return dialURL(t, "ldap://"+addr.String())
}

func dialURL(t testing.TB, url string, options ...ldap.DialOpt) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	c.SetTimeout(10 * time.Second)
	t.Cleanup(func() { c.Close() })
	return c
}

// signedIn returns a connection that may search.
func signedIn(t testing.TB, flavor memdir.Flavor, addr net.Addr) *ldap.Conn {
	t.Helper()
	c := dial(t, addr)
	name := service
	if flavor == memdir.OpenLDAP {
		name = "cn=svc-adconnector,ou=services," + base
	}
	if err := c.Bind(name, memdir.ServicePassword); err != nil {
		t.Fatal(err)
	}
	return c
}

// code returns the LDAP result code of an error; -1 if it is of another kind.
func code(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*ldap.Error](err); ok {
		return int(e.ResultCode)
	}
	return -1
}

// certificates returns both ends' view of a certificate for 127.0.0.1.
func certificates(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	ca, err := testca.New("Test Root")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}
