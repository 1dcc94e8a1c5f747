package ldapauth_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

func TestMain(m *testing.M) { os.Exit(dirtest.Main(m)) }

const memBase = "DC=fabrikam,DC=example"

// open returns the directory that c describes, closed when the test ends.
func open(t testing.TB, c ldapauth.Config) *ldapauth.Directory {
	t.Helper()
	return openWith(t, c, ldapauth.Options{})
}

func openWith(t testing.TB, c ldapauth.Config, o ldapauth.Options) *ldapauth.Directory {
	t.Helper()
	d, err := ldapauth.New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// real returns the configuration for a real server.
func real(s *dirtest.Server) ldapauth.Config {
	c := ldapauth.DefaultConfig()
	c.URLs = []string{s.URL}
	c.CAFiles = []setting.File{setting.File(s.CAFile)}
	c.BindDN, c.BindPassword = s.BindDN, secret.New(s.BindPassword)
	c.BaseDN = setting.OneOrMore{s.BaseDN}
	return c
}

// memory starts a server in memory with the sample company, changed by mods,
// and returns it with the configuration for it.
func memory(t testing.TB, flavor memdir.Flavor, mods ...func(*memdir.Options)) (*memdir.Server, ldapauth.Config) {
	t.Helper()
	return memoryAt(t, memBase, flavor, mods...)
}

// memoryAt is [memory] for a company with another base.
func memoryAt(t testing.TB, base string, flavor memdir.Flavor, mods ...func(*memdir.Options)) (*memdir.Server, ldapauth.Config) {
	t.Helper()
	entries, service := memdir.Sample(base), "CN=svc-adconnector,OU=Services,"+base
	if flavor == memdir.OpenLDAP {
		entries = memdir.SampleOpenLDAP(base)
	}
	o := memdir.Options{BaseDN: base, Entries: entries, Flavor: flavor}
	for _, mod := range mods {
		mod(&o)
	}
	s, err := memdir.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ln, caFile := listen(t)
	go func() { _ = s.Serve(ln) }()

	c := ldapauth.DefaultConfig()
	c.URLs = []string{"ldaps://" + ln.Addr().String()}
	c.CAFiles = []setting.File{caFile}
	c.BindDN, c.BindPassword = service, secret.New(memdir.ServicePassword)
	c.BaseDN = setting.OneOrMore{base}
	return s, c
}

// listen returns a listener for LDAPS on 127.0.0.1 and the file with the
// certificate that vouches for it.
func listen(t testing.TB) (net.Listener, setting.File) {
	t.Helper()
	return listenWith(t, &tls.Config{})
}

// listenWith is [listen] with a TLS configuration that lacks the certificate.
func listenWith(t testing.TB, conf *tls.Config) (net.Listener, setting.File) {
	t.Helper()
	ca, err := testca.New("Directory CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	conf.Certificates = []tls.Certificate{leaf.TLS()}
	return tls.NewListener(ln, conf), setting.File(file)
}

// find returns the account called name, which must be there.
func find(t testing.TB, d *ldapauth.Directory, name string) *ldapauth.Account {
	t.Helper()
	a, err := d.FindByName(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A journal keeps what is written to it, by several at once.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// wantReason fails the test unless err is a denial for want; "" means no error
// at all.
func wantReason(t testing.TB, what string, err error, want denial.Reason) {
	t.Helper()
	if want == "" && err != nil || denial.ReasonOf(err) != want {
		t.Errorf("%s: reason %q, want %q (error: %v)", what, denial.ReasonOf(err), want, err)
	}
}

// within returns a context for what must not take long.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func logTo(j *journal) *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }
