package ldapauth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/ldapauth/secret"

	"github.com/go-ldap/ldap/v3"
)

// A serviceAccount is how the connector introduces itself on a service
// connection.
type serviceAccount interface {
	// secure returns the TLS configuration of service connections, made from
	// the one of all connections.
	secure(*tls.Config) *tls.Config
	// bind introduces the service account on c and returns as whom the server
	// knows it, "" if that cannot be told. It ends when c is closed.
	bind(ctx context.Context, s *server, c *conn) (as string, err error)
	// version tells what the account shows from what it showed before: it
	// changes with the password, the certificate or the keytab.
	version() string
	// lasts is how long a connection stays the account's before it is replaced;
	// 0 = as long as it stands.
	lasts() time.Duration
	// lockable reports whether an account can be locked by what it shows.
	lockable() bool
	// check says how the account introduces itself, now that the server has
	// accepted it as as, and what will keep it from doing so.
	check(r *report, as string, now time.Time)
}

// stampOf returns what changes when one of the files does: a look at the folder
// alone, so that it can be done often.
func stampOf(files ...string) string {
	var b strings.Builder
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintf(&b, "%d/%d,", info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}

// CheckFile judges the rights on a file that holds a secret: the error says that
// it must not be used.
type CheckFile func(path string) (warning string, err error)

// newServiceAccount returns the one way of introducing itself that c describes.
// Files that cannot be used are an error.
func newServiceAccount(c *Config, o Options) (serviceAccount, error) {
	rights := o.CheckFile
	if rights == nil {
		rights = func(string) (string, error) { return "", nil }
	}
	switch {
	case c.BindCertFile != "":
		a := &certificateAccount{certFile: string(c.BindCertFile), keyFile: string(c.BindKeyFile), rights: rights, log: o.Log}
		return a, a.load()
	case c.BindKeytabFile != "":
		a := &keytabAccount{principal: c.BindPrincipal, file: string(c.BindKeytabFile), conf: string(c.Krb5ConfFile), rights: rights, log: o.Log}
		_, err := a.load()
		return a, err
	case c.BindDN != "":
		if !sendable(c.BindPassword) {
			return nil, errors.New("bind_password: is missing or empty")
		}
		return &passwordAccount{dn: c.BindDN, file: string(c.BindPasswordFile), read: o.ReadSecret, log: o.Log, password: c.BindPassword}, nil
	}
	return anonymous{}, nil
}

// anonymous is no service account at all.
type anonymous struct{}

func (anonymous) secure(c *tls.Config) *tls.Config { return c }

func (anonymous) version() string { return "" }

func (anonymous) lasts() time.Duration { return 0 }

func (anonymous) lockable() bool { return false }

func (anonymous) bind(context.Context, *server, *conn) (string, error) { return "", nil }

func (anonymous) check(r *report, _ string, _ time.Time) {
	r.add(Warning, "searches are anonymous: set ldap.bind_dn and ldap.bind_password_file unless the directory shows account states to everybody")
}

// passwordAccount sends a name and a password (RFC 4513, section 5.1.3).
type passwordAccount struct {
	dn   string
	file string // that holds the password; "" = none
	read func(path string) (secret.String, error)
	log  *slog.Logger

	mu       sync.Mutex
	password secret.String
	stamp    string // of the file when it was read last
}

func (*passwordAccount) secure(c *tls.Config) *tls.Config { return c }

func (*passwordAccount) lasts() time.Duration { return 0 }

func (*passwordAccount) lockable() bool { return true }

// version returns a digest of the password.
func (a *passwordAccount) version() string {
	sum := sha256.Sum256([]byte(a.current().Reveal()))
	return string(sum[:])
}

// current returns the password as its file holds it now. What cannot be read or
// sent changes nothing: the file may be about to be replaced.
func (a *passwordAccount) current() secret.String {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == "" || a.read == nil {
		return a.password
	}
	stamp := stampOf(a.file)
	if stamp == a.stamp {
		return a.password
	}
	p, err := a.read(a.file)
	switch {
	case err != nil:
		a.log.Warn("the service account's password cannot be read again; the one from before is used", "error", err)
	case sendable(p):
		a.password = p
	}
	a.stamp = stamp
	return a.password
}

func (a *passwordAccount) bind(_ context.Context, _ *server, c *conn) (string, error) {
	if err := c.ldap.Bind(a.dn, a.current().Reveal()); err != nil {
		return "", explainServiceBind(a.dn, err)
	}
	return a.dn, nil
}

func (a *passwordAccount) check(r *report, _ string, _ time.Time) {
	r.add(OK, "accepts the service account %s, by password", a.dn)
}

// certificateAccount shows a client certificate in the TLS handshake and then
// asks to be taken for whom it names: SASL EXTERNAL (RFC 4422, appendix A).
//
// The certificate goes out on service connections alone. Some servers take
// whoever shows one for its owner from the handshake on, so that on a
// connection for users' passwords a bind that went wrong could leave the
// service account's rights behind.
type certificateAccount struct {
	certFile, keyFile string
	rights            CheckFile
	log               *slog.Logger
	last              atomic.Pointer[tls.Certificate] // what the files held when they were last good
}

// soon is how long before its end a certificate is warned about.
const soon = 30 * 24 * time.Hour

// load reads the files.
func (a *certificateAccount) load() error {
	for _, f := range []struct{ key, path string }{{"bind_cert_file", a.certFile}, {"bind_key_file", a.keyFile}} {
		if _, err := os.Stat(f.path); err != nil {
			return fmt.Errorf("%s: %w; check the path, and that the service may read the file", f.key, err)
		}
	}
	if _, err := a.rights(a.keyFile); err != nil {
		return fmt.Errorf("bind_key_file: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(a.certFile, a.keyFile)
	if err != nil {
		return fmt.Errorf("bind_cert_file and bind_key_file: %s and %s are no certificate with its key, both PEM and the key not encrypted: %w", a.certFile, a.keyFile, err)
	}
	a.last.Store(&pair)
	return nil
}

func (a *certificateAccount) secure(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return a.current(), nil }
	return c
}

// current returns the certificate as the files hold it now, so that a renewed
// one is used from the next connection on. Files that are just being replaced
// are no reason to lose the directory: then it is the one from before.
func (a *certificateAccount) current() *tls.Certificate {
	if err := a.load(); err != nil {
		a.log.Warn("the service account's certificate cannot be read again; the one from before is used", "error", err)
	}
	return a.last.Load()
}

func (a *certificateAccount) version() string { return stampOf(a.certFile, a.keyFile) }

func (*certificateAccount) lasts() time.Duration { return 0 }

func (*certificateAccount) lockable() bool { return false }

// bind asks to be taken for the owner of the certificate. A domain controller
// does so by itself if the connection was encrypted from the first byte, and
// there takes no EXTERNAL ([MS-ADTS], 5.1.1.1.2).
func (a *certificateAccount) bind(_ context.Context, s *server, c *conn) (string, error) {
	if !s.tls || !s.isActiveDirectory(c) {
		if err := c.ldap.ExternalBind(); err != nil {
			return "", a.refusal(c, err)
		}
	}
	who, err := c.ldap.WhoAmI(nil)
	switch {
	case err != nil && !answered(err):
		return "", a.refusal(c, err)
	case err != nil: // the server cannot say
		return "", a.mayRead(s, c)
	case who.AuthzID == "" || strings.EqualFold(who.AuthzID, "dn:"):
		return "", a.refusal(c, errAnonymous)
	}
	return who.AuthzID, nil
}

// mayRead returns an error if the server takes the connection for an anonymous
// one: domain controllers then show nothing but the root DSE, with this code.
func (a *certificateAccount) mayRead(s *server, c *conn) error {
	_, err := c.ldap.Search(request(s.d.config.BaseDN[0], ldap.ScopeBaseObject, 1, s.d.timeout, "(objectClass=*)", []string{"1.1"}))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultOperationsError) {
		return a.refusal(c, fmt.Errorf("%w (%w)", errAnonymous, inWords(err)))
	}
	return nil
}

// errAnonymous is the error of a bind that was accepted and made nobody of the
// connection.
var errAnonymous = errors.New("it takes the connection for an anonymous one")

// refusal says what to do about a certificate that did not make the service
// account of the connection.
func (a *certificateAccount) refusal(c *conn, err error) error {
	const mapping = "the server must ask for client certificates, trust the issuer of this one and know whose it is " +
		"(OpenLDAP: TLSVerifyClient, TLSCACertificateFile, olcAuthzRegexp; Active Directory: the account's userPrincipalName or altSecurityIdentities)"
	if cause := c.guard.cause(); isAlert(cause) {
		err = cause
	}
	if !answered(err) && !errors.Is(err, errAnonymous) && !isAlert(err) {
		return fmt.Errorf("no answer to the certificate of %q in ldap.bind_cert_file; if that stays so, %s (%w)", a.leaf().Subject, mapping, inWords(err))
	}
	return fmt.Errorf("%w by the certificate of %q in ldap.bind_cert_file: %s (%w)", errRefused, a.leaf().Subject, mapping, inWords(err))
}

func (a *certificateAccount) leaf() *x509.Certificate { return a.last.Load().Leaf }

func (a *certificateAccount) check(r *report, as string, now time.Time) {
	if as == "" {
		as = "whom, it does not say"
	}
	r.add(OK, "accepts the certificate of %q as %s", a.leaf().Subject, as)
	day := a.leaf().NotAfter.Format(time.DateOnly)
	switch left := a.leaf().NotAfter.Sub(now); {
	case left <= 0:
		r.add(Failure, "ldap.bind_cert_file expired on %s: replace it", day)
	case left < soon:
		r.add(Warning, "ldap.bind_cert_file expires on %s, in %d days: replace it soon", day, int(left.Hours()/24))
	default:
		r.add(OK, "ldap.bind_cert_file is valid until %s", day)
	}
}

// isActiveDirectory reports whether c leads to a domain controller, which says
// so before anybody has introduced himself.
func (s *server) isActiveDirectory(c *conn) bool {
	if s.d.dialect != nil {
		return s.d.dialect.tokenGroups
	}
	root, err := readRoot(c, s.d.timeout)
	if err != nil {
		return false
	}
	found, err := recognise(root)
	return err == nil && found.tokenGroups
}

// saslWords says what to do about a refusal of SASL that no account can help.
func saslWords(err error) error {
	switch {
	case strings.Contains(err.Error(), "80090346"):
		return fmt.Errorf("the domain controller demands channel binding (LdapEnforceChannelBinding 2), which Kerberos here does not offer: use ldap.bind_cert_file or ldap.bind_password_file, or set it to 1 on the domain controllers (%w)", inWords(err))
	case ldap.IsErrorWithCode(err, ldap.LDAPResultStrongAuthRequired):
		return fmt.Errorf("the server wants Kerberos to sign or seal, although the connection is encrypted: allow SASL over TLS there (Samba: ldap server require strong auth = allow_sasl_over_tls), or use ldap.bind_password_file (%w)", inWords(err))
	}
	return nil
}
