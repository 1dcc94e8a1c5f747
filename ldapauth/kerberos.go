package ldapauth

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-ldap/ldap/v3/gssapi"
	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
)

// defaultKrb5Conf is read if no other file is configured and it is there.
const defaultKrb5Conf = "/etc/krb5.conf"

// aes are the encryption types that are offered. RC4, which is what domains
// used before, makes a keytab as good as the password's hash.
var aes = []int32{
	etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96,
	etypeID.AES256_CTS_HMAC_SHA384_192, etypeID.AES128_CTS_HMAC_SHA256_128,
}

// keytabAccount asks the domain for a ticket and shows that: SASL GSSAPI (RFC
// 4752), under TLS, because the LDAP library neither signs nor seals.
//
// Each bind gets tickets of its own, which are gone when it is done. A service
// connection lives for an hour, so that is seldom, and a password of the account
// that changed, with a new keytab, counts from the next connection on.
type keytabAccount struct {
	principal string // user@REALM
	file      string
	conf      string // "" = the system's, or none
	rights    CheckFile
	log       *slog.Logger
	last      atomic.Pointer[keytab.Keytab] // what the file held when it was last good
}

func (*keytabAccount) secure(c *tls.Config) *tls.Config { return c }

func (a *keytabAccount) version() string { return stampOf(a.file) }

// lasts is well below the ten hours for which tickets are good: a domain
// controller may end a connection with the ticket that it was bound by, or take
// it for nobody's.
func (*keytabAccount) lasts() time.Duration { return time.Hour }

func (*keytabAccount) lockable() bool { return true }

// names returns the parts of the principal.
func (a *keytabAccount) names() (user, realm string) {
	at := strings.LastIndexByte(a.principal, '@')
	return a.principal[:at], a.principal[at+1:]
}

// load reads the keytab and makes sure that it has a key that will do.
func (a *keytabAccount) load() (kt *keytab.Keytab, err error) {
	data, err := os.ReadFile(a.file)
	if err != nil {
		return nil, fmt.Errorf("bind_keytab_file: %w; check the path, and that the service may read the file", err)
	}
	if _, err := a.rights(a.file); err != nil {
		return nil, fmt.Errorf("bind_keytab_file: %w", err)
	}
	kt = keytab.New()
	if err := guarded(func() error { return kt.Unmarshal(data) }); err != nil {
		return nil, fmt.Errorf("bind_keytab_file: %s is no keytab: %w", a.file, err)
	}
	var others []string
	for _, e := range kt.Entries {
		switch name := e.Principal.String(); {
		case name == a.principal && slices.Contains(aes, e.Key.KeyType):
			a.last.Store(kt)
			return kt, nil
		case !slices.Contains(others, name):
			others = append(others, name)
		}
	}
	if slices.Contains(others, a.principal) {
		return nil, fmt.Errorf("bind_keytab_file: %s holds no AES key of %s: allow the account AES (msDS-SupportedEncryptionTypes 24) and export the keytab again", a.file, a.principal)
	}
	return nil, fmt.Errorf("bind_keytab_file: %s holds no key of %s, but of: %s; correct bind_principal, capitals included, or export the right keytab",
		a.file, a.principal, strings.Join(others, ", "))
}

func (a *keytabAccount) bind(ctx context.Context, s *server, c *conn) (string, error) {
	service := "ldap/" + s.host
	tickets, err := a.tickets(ctx, service)
	if err != nil {
		return "", err
	}
	defer func() { _ = tickets.Close() }()
	err = guarded(func() error { return c.ldap.GSSAPIBind(tickets, service, "") })
	if err == nil {
		return a.principal, nil
	}
	if worded := saslWords(err); worded != nil {
		return "", worded
	}
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultAuthMethodNotSupported, ldap.LDAPResultInappropriateAuthentication) {
		return "", fmt.Errorf("%w %s by Kerberos: the server must know GSSAPI, and its own key must be the one that the domain has for %s (%w)", errRefused, a.principal, service, inWords(err))
	}
	return "", fmt.Errorf("binding as %s by Kerberos: %w", a.principal, inWords(err))
}

func (a *keytabAccount) check(r *report, as string, _ time.Time) {
	r.add(OK, "accepts the service account %s, by Kerberos with the keytab %s", as, a.file)
}

// tickets returns a client of Kerberos that has a ticket for service, so that
// no KDC is asked later. The caller closes it.
func (a *keytabAccount) tickets(ctx context.Context, service string) (*gssapi.Client, error) {
	kt, err := a.load()
	if err != nil { // it may just be being replaced
		a.log.Warn("the service account's keytab cannot be read again; the one from before is used", "error", err)
		kt = a.last.Load()
	}
	conf, err := a.config()
	if err != nil {
		return nil, err
	}
	user, realm := a.names()
	relays, err := relayAll(ctx, conf, realm)
	if err != nil {
		return nil, err
	}
	defer relays.close()
	k := client.NewWithKeytab(user, realm, kt, conf, client.DisablePAFXFAST(true))
	err = guarded(func() error {
		if err := k.Login(); err != nil {
			return err
		}
		_, _, err := k.GetServiceTicket(service)
		return err
	})
	if err == nil {
		return &gssapi.Client{Client: k}, nil
	}
	k.Destroy()
	if cause := relays.failure(); cause != nil {
		err = cause
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, a.refusal(err, service)
}

// config returns what the system says of Kerberos, or, if it says nothing, what
// is enough for one domain.
func (a *keytabAccount) config() (*config.Config, error) {
	_, realm := a.names()
	conf := config.New()
	name := a.conf
	if name == "" {
		name = defaultKrb5Conf
	}
	text, err := os.ReadFile(name)
	if err != nil && (a.conf != "" || !errors.Is(err, os.ErrNotExist)) {
		return nil, fmt.Errorf("krb5_conf_file: %w; check the path, and that the service may read the file", err)
	}
	if err == nil {
		err = guarded(func() (err error) {
			conf, err = config.NewFromString(string(text))
			return err
		})
		if _, passed := errors.AsType[config.UnsupportedDirective](err); err != nil && !passed {
			return nil, fmt.Errorf("krb5_conf_file: %s: %w", name, err)
		}
	}
	l := &conf.LibDefaults
	l.DefaultRealm = realm
	l.UDPPreferenceLimit = 1 // TCP alone
	l.DefaultTktEnctypeIDs, l.DefaultTGSEnctypeIDs, l.PermittedEnctypeIDs = aes, aes, aes
	return conf, nil
}

// guarded calls f. What the Kerberos library makes of an answer that nobody
// meant for it may be a panic; it must not end the service.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Kerberos library gave up: %v", p)
		}
	}()
	return f()
}

// krbWords say what to do about the errors of a KDC (RFC 4120, section 7.5.9).
// The first two are the account's, so that asking again makes things worse.
var krbWords = []struct{ code, words string }{
	{"KDC_ERR_PREAUTH_FAILED", "the key in the keytab is not the account's: its password was changed since, so export the keytab again"},
	{"KDC_ERR_C_PRINCIPAL_UNKNOWN", "the domain does not know this account: check ldap.bind_principal"},
	{"KDC_ERR_CLIENT_REVOKED", "the account is disabled, expired or locked in the domain"},
	{"KDC_ERR_KEY_EXPIRED", "the account's password has expired: let it never expire, or change it and export the keytab again"},
	{"KDC_ERR_S_PRINCIPAL_UNKNOWN", "the domain knows no such service: write in ldap.urls the full name of the domain controller, as its servicePrincipalName has it"},
	{"KRB_AP_ERR_SKEW", "the clocks of the domain controller and of this machine are too far apart: set both by the same time server"},
	{"KDC_ERR_ETYPE_NOSUPP", "the domain has no AES key of the account or of the service: set msDS-SupportedEncryptionTypes 24, change the account's password and export the keytab again"},
	{"KDC_ERR_WRONG_REALM", "the domain is another one: check what follows the @ in ldap.bind_principal"},
}

// refusal says what to do about a ticket that could not be had.
func (a *keytabAccount) refusal(err error, service string) error {
	for _, w := range krbWords {
		if strings.Contains(err.Error(), w.code) {
			return fmt.Errorf("%w %s (Kerberos, for %s): %s (%s)", errRefused, a.principal, service, w.words, w.code)
		}
	}
	return fmt.Errorf("asking for a Kerberos ticket as %s for %s: %w", a.principal, service, err)
}

const (
	// maxTicket is the largest answer of a KDC that is read. Windows makes
	// tickets of up to 64 kB.
	maxTicket = 256 << 10
	maxKDCs   = 16
)

// A relay stands between the Kerberos library and the KDCs of a realm. The
// library dials without a context and makes room for whatever length an answer
// announces; the relay obeys the context and bounds the answer.
type relay struct {
	ctx      context.Context //nolint:containedctx // a relay lives for one login
	cancel   context.CancelFunc
	listener net.Listener
	kdcs     []string
	wg       sync.WaitGroup

	mu  sync.Mutex
	err error // why the last question had no answer
}

type relays []*relay

// relayAll puts relays in the place of the KDCs in conf. Those of the realm,
// if conf names none, are looked for in the DNS.
func relayAll(ctx context.Context, conf *config.Config, realm string) (list relays, err error) {
	if !slices.ContainsFunc(conf.Realms, func(r config.Realm) bool { return r.Realm == realm && len(r.KDC) > 0 }) {
		kdcs, err := lookupKDCs(ctx, realm)
		if err != nil {
			return nil, err
		}
		conf.Realms = append(slices.DeleteFunc(conf.Realms, func(r config.Realm) bool { return r.Realm == realm }),
			config.Realm{Realm: realm, KDC: kdcs})
	}
	conf.LibDefaults.DNSLookupKDC = false
	for i := range conf.Realms {
		r := &conf.Realms[i]
		if len(r.KDC) == 0 {
			continue
		}
		to, err := newRelay(ctx, r.KDC)
		if err != nil {
			list.close()
			return nil, fmt.Errorf("listening on the loopback address for the Kerberos library: %w", err)
		}
		list = append(list, to)
		r.KDC = []string{to.listener.Addr().String()}
	}
	return list, nil
}

// lookupKDCs returns the KDCs that the DNS names for a realm (RFC 4120, section
// 7.2.3.2), the preferred one first.
func lookupKDCs(ctx context.Context, realm string) ([]string, error) {
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", "tcp", realm)
	if err != nil {
		return nil, fmt.Errorf("no Kerberos server of %s is known: write one into ldap.krb5_conf_file, or let this machine use the DNS of the domain (%w)", realm, err)
	}
	var kdcs []string
	for _, r := range records {
		kdcs = append(kdcs, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
	}
	return kdcs, nil
}

func newRelay(ctx context.Context, kdcs []string) (*relay, error) {
	r := &relay{kdcs: kdcs[:min(len(kdcs), maxKDCs)]}
	r.ctx, r.cancel = context.WithCancel(ctx)
	var err error
	if r.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		r.cancel()
		return nil, err
	}
	context.AfterFunc(r.ctx, func() { _ = r.listener.Close() })
	r.wg.Go(func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.carry(c) })
		}
	})
	return r, nil
}

// carry takes one question and brings back the first answer.
func (r *relay) carry(c net.Conn) {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(r.ctx, func() { _ = c.Close() })
	defer stop()
	question, err := readFrame(c)
	if err != nil {
		return
	}
	for i, kdc := range r.kdcs {
		var answer []byte
		if answer, err = r.ask(kdc, len(r.kdcs)-i, question); err == nil {
			_ = writeFrame(c, answer)
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// ask sends a question to one KDC, which has its share of the time that is left
// for all that follow.
func (r *relay) ask(kdc string, left int, question []byte) ([]byte, error) {
	ctx := r.ctx
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", kdc)
	if err != nil {
		return nil, fmt.Errorf("the Kerberos server %s: %w", kdc, err)
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	err = writeFrame(c, question)
	if err == nil {
		question, err = readFrame(c)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errNoAnswer
		}
		return nil, fmt.Errorf("the Kerberos server %s: %w", kdc, err)
	}
	return question, nil
}

func (l relays) failure() error {
	for _, r := range l {
		r.mu.Lock()
		err := r.err
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l relays) close() {
	for _, r := range l {
		r.cancel()
		_ = r.listener.Close()
		r.wg.Wait()
	}
}

// readFrame reads a message of Kerberos over TCP, which begins with its length
// (RFC 4120, section 7.2.2).
func readFrame(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxTicket {
		return nil, fmt.Errorf("announces a message of %d bytes; is this a Kerberos server?", n)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(c, message)
	return message, err
}

func writeFrame(c net.Conn, message []byte) error {
	_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	return err
}
