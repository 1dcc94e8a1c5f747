// Package dirtest starts real directory servers for tests: OpenLDAP's slapd and
// a Samba domain controller, which is an Active Directory to whoever asks it.
//
// A test asks for [OpenLDAP] or [SambaAD] and gets a server of its own, which is
// gone when the test ends, or for [SharedOpenLDAP] or [SharedSambaAD], which
// last as long as the test process and must not be changed or stopped. A
// package that shares a server needs
//
//	func TestMain(m *testing.M) { os.Exit(dirtest.Main(m)) }
//
// Servers listen on free loopback ports, know nobody but their own invented
// people, and die with the test process, however it ends. What cannot be
// started here is reported by [Missing]: the test is skipped on a developer's
// machine and fails where everything has to be there.
//
// # People
//
// All have the password [Server.Password]. jon is in good standing and in
// groups: group-A, which is in group-B, which is in group-C; group-D, which
// contains group-E, which contains group-D; and "Träger (all)\, x". The others
// have one peculiarity each:
//
//	dis      disabled (OpenLDAP: locked by the administrator for good)
//	exp      the account has expired
//	lck      locked out, by failed sign-ins that really happened
//	mcp      must change the password
//	pwx      the password is too old
//	zoe      CN "Zoë (Ops)\, Müller", in group-A
//	photo    has a picture (jpegPhoto, thumbnailPhoto)
//
// OpenLDAP alone has chg (may change the password), two persons whose uid is
// jonas, in different units, one whose uid is `o'neil (ops)\*`, and a device
// whose uid is printer and which has a password too.
//
// Samba alone has hrs (may never sign in at this hour), wks (only at another
// computer), nopw (a password that never expires), ambi and ambi2 (who share
// the mail address ambi@corp.example.test), one whose sAMAccountName is
// "o'neil (ops)", fifty further persons, u00000 to u00049, and the computer
// DC1$. There jon is also in the distribution group dist-list, and the primary
// group of photo is group-PrimaryX.
package dirtest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Missing ends a test that needs something which is not on this machine, for
// the given reason. Where everything must be there, because the environment
// variable CI or ADCONNECTOR_TEST_ALL is set, that is a failure; elsewhere the
// test is skipped.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Demanded() {
		t.Fatalf("missing: "+format, args...)
	}
	t.Skipf("missing: "+format, args...)
}

// Demanded reports whether everything that a test may need must be there.
func Demanded() bool {
	return os.Getenv("CI") != "" || os.Getenv("ADCONNECTOR_TEST_ALL") != ""
}

// Using says in the log of a test that a program of somebody else takes part in
// it, by name and version. The summary of "make test" lists these.
func Using(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf("taking part: "+format, args...)
}

// The kinds of server.
const (
	KindOpenLDAP = "openldap"
	KindSamba    = "samba"
	KindDS389    = "389ds"
)

// Realm is what Kerberos calls Samba's domain.
const Realm = "CORP.EXAMPLE.TEST"

// A Server is a running directory and what a client must know of it.
type Server struct {
	Kind     string // KindOpenLDAP, KindSamba or KindDS389
	URL      string // ldaps://127.0.0.1:port
	PlainURL string // ldap://127.0.0.1:port, where StartTLS is offered
	// CatalogURL is Samba's global catalogue, ldaps://127.0.0.1:port.
	CatalogURL string
	KDC        string // of Samba: where its Kerberos answers, 127.0.0.1:port by TCP
	CAFile     string // PEM; vouches for 127.0.0.1, localhost and a name in corp.example.test

	BaseDN       string
	BindDN       string // of a service account that may read and nothing else
	BindPassword string // of both service accounts
	// ResetDN is a service account that may read and set passwords. On Samba it
	// may unlock the people who are named above, but not the fifty further ones.
	ResetDN       string
	AdminDN       string // of an account that may do everything
	AdminPassword string
	Password      string // of every person

	backend  backend
	stranger bool // it shows a wrong certificate
}

// A backend is the program behind a server.
type backend interface {
	start() error
	stop()
	kill()
	freeze(on bool) error
	keytab(file, principal string) error
	drop(on bool) error
	hangUp() error
	wrongCertificate(on bool) error // from the next start on
	idleTimeout(seconds int) error
	log() string
	remove()
}

// OpenLDAPOptions changes what [OpenLDAP] starts. The zero value is a small
// directory.
type OpenLDAPOptions struct {
	// Users is the number of further persons: u00000, u00001 and so on below
	// ou=bulk, ten to a group bg0000, and ten of those groups to a group sg000.
	Users int
	// Groups is the number of further groups that have jon as a member:
	// many00000, many00001 and so on.
	Groups int
	// SizeLimit is the number of entries in one search result after which the
	// server gives up; 0 means the server's own limit, which is 500.
	SizeLimit int
	// IdleSeconds is the time after which the server hangs up on a client that
	// asks nothing; 0 means never.
	IdleSeconds int
	// NoMemberOf leaves the memberOf attribute out: groups are to be found by
	// their members.
	NoMemberOf bool
	// DynamicGroups lets groupOfURLs have whom their memberURL finds as members,
	// and names them in memberOf.
	DynamicGroups bool
	// TLSRequired refuses passwords on connections without encryption.
	TLSRequired bool
	// Wire puts a wire before the server that [Server.DropPackets] and
	// [Server.HangUp] can cut. It costs a little speed.
	Wire bool
	// ClientCA makes the server ask clients for a certificate and trust those of
	// this authority (PEM). Whoever shows one with the common name svc-connector
	// or svc-reset and binds with SASL EXTERNAL is that service account.
	ClientCA []byte
	// Argon2 keeps the passwords of people with a hash that is slow on purpose,
	// instead of the salted SHA-1 that is the server's default.
	Argon2 bool
	// Quiet keeps operations out of the log, for benchmarks.
	Quiet bool
}

// OpenLDAP starts a slapd that is stopped when the test ends. It uses the
// overlays memberof and ppolicy, the latter with three failures to a lockout,
// and tells a client which asks for the reason of a refusal. It answers a bind
// with a name and an empty password with success, as a careless administrator
// can make it do: whoever tests a client wants the server that forgives it most.
//
// Servers with the same options have the same content, down to the entryUUID.
func OpenLDAP(t testing.TB, o OpenLDAPOptions) *Server {
	t.Helper()
	s := newOpenLDAP(t, o)
	t.Cleanup(s.backend.remove)
	return s
}

// SambaAD starts a domain controller of corp.example.test (CORP) that is
// stopped when the test ends. The first call on a machine takes about ten
// seconds, because a domain is made; its image is kept in the user's cache
// folder, and later starts take about one second. All have the same content,
// down to the objectGUID. It needs root.
func SambaAD(t testing.TB) *Server {
	t.Helper()
	s := newSambaAD(t)
	t.Cleanup(s.backend.remove)
	return s
}

// DS389 starts a 389 Directory Server with a few people and groups, memberOf
// included, for one test. It speaks in clear, on loopback.
func DS389(t testing.TB) *Server {
	t.Helper()
	s := newDS389(t)
	t.Cleanup(s.backend.remove)
	return s
}

// SharedOpenLDAP returns the OpenLDAP that the tests of this process share.
func SharedOpenLDAP(t testing.TB) *Server {
	t.Helper()
	return shared.get(t, KindOpenLDAP, func() *Server { return newOpenLDAP(t, OpenLDAPOptions{}) })
}

// SharedSambaAD returns the domain controller that the tests of this process
// share.
func SharedSambaAD(t testing.TB) *Server {
	t.Helper()
	return shared.get(t, KindSamba, func() *Server { return newSambaAD(t) })
}

// Main runs the tests of a package and then stops the servers that they
// shared. It returns the exit code for [os.Exit].
func Main(m *testing.M) int {
	shared.use()
	defer shared.remove()
	return m.Run()
}

var shared pool

// A pool holds the servers that are shared, one of each kind.
type pool struct {
	mu      sync.Mutex
	servers map[string]*Server // nil unless Main will stop them
}

func (p *pool) use() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers = map[string]*Server{}
}

func (p *pool) get(t testing.TB, kind string, start func() *Server) *Server {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.servers == nil {
		t.Fatal("a shared server needs: func TestMain(m *testing.M) { os.Exit(dirtest.Main(m)) }")
	}
	if p.servers[kind] == nil {
		p.servers[kind] = start()
	}
	return p.servers[kind]
}

func (p *pool) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.servers {
		s.backend.remove()
	}
	p.servers = nil
}

// Stop ends the server as an administrator would; its ports then refuse
// connections. It returns when the program is gone.
func (s *Server) Stop() { s.backend.stop() }

// Start starts the server again after [Server.Stop], on the same ports and with
// the same content, and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.backend.start(); err != nil {
		t.Fatalf("starting %s again: %v", s.Kind, err)
	}
}

// Freeze makes the server stop working without closing a connection, until the
// returned function or the end of the test lets it go on.
func (s *Server) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	if err := s.backend.freeze(true); err != nil {
		t.Fatalf("freezing %s: %v", s.Kind, err)
	}
	thaw = sync.OnceFunc(func() {
		if err := s.backend.freeze(false); err != nil {
			t.Errorf("letting %s go on: %v", s.Kind, err)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// Log returns what the server has written to its log so far. Both kinds write
// a line for every bind that reaches them.
func (s *Server) Log() string { return s.backend.log() }

// TLS returns a client configuration that trusts the server's authority and
// nothing else, and asks for the name 127.0.0.1.
func (s *Server) TLS(t testing.TB) *tls.Config {
	t.Helper()
	c, err := s.tlsConfig()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Admin returns a connection that is bound as the administrator, for tests that
// look behind the scenes or change the directory. It is closed when the test
// ends.
func (s *Server) Admin(t testing.TB) *ldap.Conn {
	t.Helper()
	c, err := s.dialAdmin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialAdmin connects and binds as the administrator.
func (s *Server) dialAdmin() (*ldap.Conn, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	if err := c.Bind(s.AdminDN, s.AdminPassword); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("binding as the administrator: %w", err)
	}
	return c, nil
}

// DN returns the name of the one entry that has this uid or sAMAccountName.
func (s *Server) DN(t testing.TB, account string) string {
	t.Helper()
	name := ldap.EscapeFilter(account)
	found, err := s.Admin(t).Search(&ldap.SearchRequest{
		BaseDN: s.BaseDN, Scope: ldap.ScopeWholeSubtree, Attributes: []string{"1.1"},
		Filter: fmt.Sprintf("(|(uid=%s)(sAMAccountName=%s))", name, name),
	})
	if err != nil {
		t.Fatalf("looking for %s: %v", account, err)
	}
	if len(found.Entries) != 1 {
		t.Fatalf("%d entries are called %s, want one", len(found.Entries), account)
	}
	return found.Entries[0].DN
}

// Keytab returns a file with the keys of a principal of Samba's domain, such as
// "svc-connector", whose AES keys it holds.
func (s *Server) Keytab(t testing.TB, principal string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keytab")
	if err := s.backend.keytab(file, principal); err != nil {
		t.Fatalf("exporting the keytab of %s: %v", principal, err)
	}
	return file
}

// Krb5Conf returns a configuration file of Kerberos for Samba's domain, with its
// KDC at the given address.
func (s *Server) Krb5Conf(t testing.TB, kdc string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "krb5.conf")
	text := fmt.Sprintf("[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n[realms]\n %s = {\n  kdc = %s\n }\n", Realm, Realm, kdc)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *Server) tlsConfig() (*tls.Config, error) {
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", s.CAFile)
	}
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, nil
}

// patience is how long a server that runs may take for one answer.
const patience = 20 * time.Second

// dial connects with TLS.
func (s *Server) dial() (*ldap.Conn, error) {
	conf, err := s.clientTLS()
	if err != nil {
		return nil, err
	}
	c, err := ldap.DialURL(s.URL, ldap.DialWithTLSConfig(conf), ldap.DialWithDialer(&net.Dialer{Timeout: patience}))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(patience)
	return c, nil
}
