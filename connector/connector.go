package connector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/connector/control"
	"adconnector/connector/front"
	"adconnector/connector/hub"
	"adconnector/connector/iprange"
	"adconnector/connector/private"
	"adconnector/connector/profile"
	"adconnector/connector/signin"
	"adconnector/connector/token"
	"adconnector/connector/watch"
	"adconnector/connector/web"
	"adconnector/connector/wsfed"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/setting"
)

// Timeouts of the front-facing server. A sign-in may wait for the directory, so
// an answer has more time than a question.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 32 << 10
	shutdownTimeout   = 10 * time.Second
	probeTimeout      = 3 * time.Second
	// proofMargin is what the proof of a sign-in may take beyond the time of a
	// single question to the directory. With it the question runs out of time
	// before the proof does, so that the server that did not answer is known.
	proofMargin = 500 * time.Millisecond
)

// webKeyLength is what data_dir keeps for cookies and sealed requests: 64 bytes
// to authenticate and 32 to encrypt cookies, 32 to seal.
const webKeyLength = 64 + 32 + 32

// Options are what a configuration file does not say.
type Options struct {
	Log *slog.Logger
	// Audit gets one JSON line for each sign-in attempt when audit_file is not
	// set. Nil means standard error.
	Audit io.Writer
	// Listeners replace the one that the listen setting asks for.
	Listeners []net.Listener
	// Version is the release, for metrics.
	Version string
	// WatchEvery is how often certificate files are looked at; 0 means 2 s.
	WatchEvery time.Duration
}

// A Connector is a configured connector that is ready to run.
type Connector struct {
	config    *Config
	log       *slog.Logger
	audit     io.Closer
	listeners []net.Listener
	watcher   *watch.Watcher

	profile    *profile.Profile
	directory  *ldapauth.Domains
	verifier   *certauth.Verifier // nil: no sign-in by certificate
	revocation *revocation.Store  // nil: none, or nobody asks whether one has been revoked
	service    *signin.Service
	front      *front.Front
	keys       *token.Keys // nil: no upstream that signs
	wsfed      *wsfed.Protocol
	tenant     *hub.Tenant // nil: this service is no connection of a tenant
	agent      *hub.Agent
	settings   *hub.Settings // what the tenant had said before the start; nil: nothing
	server     *http.Server
	control    net.Listener // nil: an administrator cannot ask anything
	monitor    *monitor     // nil: no metrics
	loads      loads
	phase      atomic.Int32
}

// The phases of a connector.
const (
	starting int32 = iota
	running
	stopping
)

// New prepares everything that can fail before the first connection: files,
// keys, the definite answers of the directory, the listening socket. Whatever
// is configured and cannot work is an error here; every mistake that can be
// found independently of the others is reported at once.
func New(ctx context.Context, c *Config, o Options) (_ *Connector, err error) {
	conn := &Connector{config: c, log: o.Log, listeners: o.Listeners}
	defer func() {
		if err != nil {
			conn.close()
		}
	}()
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}

	for _, w := range c.Warnings() {
		conn.log.Warn(w)
	}
	for key, path := range c.serviceKeys() {
		if w, err := private.Check(path); err == nil && w != "" { // an error stops the start below
			conn.log.Warn(key + ": " + w)
		}
	}
	conn.watchFiles(o.WatchEvery) // before they are loaded: no change goes unseen
	dir, dirErr := private.Open(string(c.DataDir))
	switch {
	case dirErr != nil:
		dirErr = fmt.Errorf("data_dir: %w", dirErr)
	case dir.Warning() != "":
		conn.log.Warn("data_dir: " + dir.Warning())
	}
	certificate, certErr := conn.loadServerCertificate(base)
	anchors, anchorErr := conn.loadAnchors()
	listed, listedErr := conn.loadListed()
	claims, profileErr := profile.Compile(c.Profile)
	if profileErr != nil {
		return nil, fmt.Errorf("profile: %w", profileErr)
	}
	conn.profile = claims
	directory, ldapErr := ldapauth.NewDomains(c.LDAP, ldapauth.Options{
		Log: o.Log, CheckFile: private.Check, ReadSecret: readSecretAgain, Attributes: claims.Attributes(),
	})
	if ldapErr != nil {
		ldapErr = fmt.Errorf("ldap: %w", ldapErr)
	}
	conn.directory = directory
	store, revocationErr := conn.openRevocation(anchors, dir)
	conn.revocation = store
	if err := errors.Join(dirErr, certErr, anchorErr, listedErr, ldapErr, revocationErr); err != nil {
		return nil, err
	}

	if c.Certificate != nil {
		conn.verifier = certauth.New(c.Certificate.verifier(), anchors)
		conn.verifier.Revocation = conn.revocation
		conn.verifier.SetListed(listed)
	}
	if err := conn.makeFront(certificate); err != nil {
		return nil, err
	}
	if err := conn.openMonitor(ctx, o.Version); err != nil {
		return nil, err
	}
	service, err := conn.makeService(o.Audit, dir)
	if err != nil {
		return nil, err
	}
	if err := conn.makeServer(ctx, base, dir, service); err != nil {
		return nil, err
	}
	if err := conn.askDirectory(ctx); err != nil {
		return nil, err
	}
	if conn.listeners == nil {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		conn.listeners = []net.Listener{ln}
	}
	if conn.control, err = control.Listen(ctx, dir); err != nil {
		// People can sign in without it.
		conn.log.Warn("the commands throttle and certs cannot ask this connector", "err", err)
	}
	return conn, nil
}

// Addrs returns the addresses that are listened on.
func (c *Connector) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(c.listeners))
	for i, ln := range c.listeners {
		addrs[i] = ln.Addr()
	}
	return addrs
}

// Run serves until ctx ends and then lets requests in flight finish. It
// returns nil after an orderly end.
func (c *Connector) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer c.close()
	defer c.monitor.run()() // it tells until everything else has ended
	defer cancel()

	var background sync.WaitGroup
	defer background.Wait()
	defer cancel() // before the wait above: deferred calls run last in, first out
	background.Go(func() { c.watcher.Run(ctx) })
	background.Go(func() { c.service.Run(ctx) })
	if c.control != nil {
		background.Go(func() { control.Serve(ctx, c.control, c.controls(), c.log) })
	}
	if c.keys != nil {
		background.Go(func() { c.keys.Run(ctx) })
	}
	if c.revocation != nil {
		background.Go(func() { c.revocation.Run(ctx) })
	}
	if c.tenant != nil {
		background.Go(func() { c.tenant.Run(ctx, c.settings) })
		background.Go(func() { c.agent.Run(ctx) })
	}

	failed := make(chan error, len(c.listeners))
	for _, ln := range c.listeners {
		c.log.Info("listening", "address", ln.Addr().String(), "url", c.config.URL)
		background.Go(func() {
			if err := c.server.Serve(c.front.Listen(ln)); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}

	c.phase.Store(running)
	var err error
	select {
	case <-ctx.Done():
		c.log.Info("stopping")
	case err = <-failed:
		err = fmt.Errorf("serving: %w", err)
	}
	c.phase.Store(stopping)
	stop, stopped := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer stopped()
	if c.server.Shutdown(stop) != nil {
		_ = c.server.Close() // somebody would not finish in time
	}
	return err
}

func (c *Connector) close() {
	if c.revocation != nil {
		c.revocation.Close() // it may be asking the directory
	}
	if c.directory != nil {
		c.directory.Close()
	}
	for _, ln := range c.listeners {
		_ = ln.Close()
	}
	if c.control != nil {
		_ = c.control.Close()
	}
	if c.monitor != nil {
		_ = c.monitor.ln.Close()
	}
	if c.audit != nil {
		_ = c.audit.Close()
	}
}

// askDirectory asks the directory one thing, so that a mistake in the ldap
// section stops the start. A directory that cannot be reached does not: it may
// be starting too, and sign-ins work as soon as it does.
func (c *Connector) askDirectory(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := c.directory.Probe(ctx)
	switch {
	case ldapauth.Misconfigured(err):
		return fmt.Errorf("ldap: %w", err)
	case err != nil:
		c.log.Error("the directory does not answer; nobody can sign in until it does", "err", err)
	}
	return nil
}

// loadServerCertificate loads the certificate and makes sure that browsers will
// find in it the name that they were sent to.
func (c *Connector) loadServerCertificate(base *url.URL) (*tls.Certificate, error) {
	t := c.config.TLS
	if t.PFXPasswordFile != "" { // it may have changed with the certificate
		var err error
		if t.PFXPassword, _, err = readSecret(string(t.PFXPasswordFile)); err != nil {
			return nil, fmt.Errorf("tls.pfx_password_file: %w", err)
		}
	}
	certificate, warnings, err := front.LoadCertificate(t)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	for _, w := range warnings {
		c.log.Warn("tls: " + w)
	}
	if err := certificate.Leaf.VerifyHostname(base.Hostname()); err != nil {
		return nil, fmt.Errorf("tls: the server certificate is not for %s, the host of url: it names %s",
			base.Hostname(), namesOf(certificate.Leaf))
	}
	if now := time.Now(); now.After(certificate.Leaf.NotAfter) {
		c.log.Error("tls: the server certificate has expired: browsers will refuse it", "not_after", certificate.Leaf.NotAfter)
	}
	return certificate, nil
}

// namesOf lists what a server certificate stands for.
func namesOf(leaf *x509.Certificate) string {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host at all (it needs a subject alternative name)"
	}
	return strings.Join(names, ", ")
}

func (c *Connector) loadAnchors() (*certauth.Anchors, error) {
	if c.config.Certificate == nil || len(c.config.Certificate.caFiles()) == 0 { // which accept: self_signed allows
		return nil, nil
	}
	v := c.config.Certificate.verifier()
	anchors, err := v.LoadAnchors()
	if err != nil {
		var p setting.Problems
		p.Under("certificate", err)
		return nil, p.Err()
	}
	return anchors, nil
}

// loadListed returns the certificates that are accepted as they are.
func (c *Connector) loadListed() (*certauth.Listed, error) {
	if c.config.Certificate == nil {
		return nil, nil
	}
	listed, err := certauth.LoadListed(&c.config.Certificate.Config)
	if err != nil {
		var p setting.Problems
		p.Under("certificate", err)
		return nil, p.Err()
	}
	return listed, nil
}

func (c *Connector) makeFront(certificate *tls.Certificate) error {
	o := front.Options{
		Certificate: certificate,
		MinVersion:  c.config.TLS.MinVersion,
		Log:         c.log,
	}
	if c.verifier != nil {
		o.Ranges = iprange.New(c.config.Certificate.IPRanges)
		o.ClientCAs = c.verifier.Names()
	}
	var err error
	c.front, err = front.New(o)
	return err
}

func (c *Connector) makeService(audit io.Writer, dir *private.Dir) (*signin.Service, error) {
	if audit == nil {
		audit = os.Stderr
	}
	if c.config.AuditFile != "" {
		f, err := os.OpenFile(string(c.config.AuditFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("audit_file: %w; make its folder, and let the service's account write there", err)
		}
		c.audit, audit = f, f
	}
	o := c.policy()
	o.DataDir, o.Audit = dir, signin.NewAudit(printableJSON{audit})
	service, err := signin.New(o)
	c.service = service
	return service, err
}

// policy is what the configuration says of sign-ins.
func (c *Connector) policy() signin.Options {
	o := signin.Options{
		Directory:    c.directory,
		ProofTimeout: c.config.LDAP.LongestTimeout() + proofMargin,
		Recheck:      c.config.Session.Recheck.Std(),
		Profile:      c.profile,
		// Auth0's connector knows one directory. In several, a uid may be two people's.
		TenantIDs:       c.config.Hub != nil && len(c.config.LDAP.Directories()) == 1,
		GroupsOnFailure: c.config.LDAP.Groups.OnFailure,

		AllowExpiredPassword:    c.config.LDAP.AllowExpiredPassword,
		AllowMustChangePassword: c.config.LDAP.AllowMustChangePassword,

		Observe: c.monitor.observe(),
		Log:     c.log,
	}
	if c.verifier != nil {
		o.Verifier = c.verifier
		o.CertificatesFrom = iprange.New(c.config.Certificate.IPRanges)
		o.AuthoritiesFrom = c.config.Certificate.authoritiesFrom()
	}
	if p := c.config.Password; p != nil {
		o.PasswordEnabled = true
		o.ChangePassword = p.AllowChange
		o.Throttle = p.Throttle
		o.PasswordFrom = rangesOrNil(p.IPRanges)
	}
	if h := c.config.Hub; h != nil {
		o.ResetPassword, o.UnlockOnReset = h.AllowPasswordChange, h.UnlockOnPasswordChange
	}
	return o
}

// rangesOrNil returns nil, which means everywhere, when no range is configured.
func rangesOrNil(p []iprange.Prefix) *iprange.Set {
	if len(p) == 0 {
		return nil
	}
	return iprange.New(p)
}

// makeServer puts the pages and the upstreams together.
func (c *Connector) makeServer(ctx context.Context, base *url.URL, dir *private.Dir, service *signin.Service) error {
	key, err := dir.Secret("web.key", webKeyLength)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	o := web.Options{
		URL:      base,
		SiteName: c.config.SiteName,
		Service:  service,
		Log:      c.log,
		Session:  c.config.Session,
		Keys:     web.Keys{CookieHash: key[:64], CookieBlock: key[64:96], Seal: key[96:]},
	}
	if c.config.Certificate != nil {
		o.Certificates = iprange.New(c.config.Certificate.IPRanges)
	}
	if p := c.config.Password; p != nil {
		o.PasswordEnabled = true
		o.PasswordFrom = rangesOrNil(p.IPRanges)
	}
	pages, err := web.New(o)
	if err != nil {
		return err
	}
	if c.config.WSFed != nil || c.config.Hub != nil {
		if c.keys, err = token.OpenKeys(ctx, dir, c.config.Signing, token.KeysOptions{Log: c.log}); err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		if c.config.Hub != nil {
			if err := c.openHub(base, dir); err != nil {
				return err
			}
		}
		if c.wsfed, err = c.makeWSFed(base); err != nil {
			return fmt.Errorf("wsfed: %w", err)
		}
		pages.Mount("/wsfed", "wsfed", c.wsfed)
		pages.Handle("GET "+wsfed.MetadataPath, c.wsfed.Metadata())
		if c.agent != nil {
			pages.MountDirect("/wsfed/direct", "wsfed-direct", c.wsfed.Direct(c.agent.Realm))
			pages.Handle("GET /users", c.agent.Users())
			pages.Mount("/logout", "logout", hub.Logout{URLs: c.config.Hub.LogoutURLs})
		}
	}
	c.server = &http.Server{
		Handler:           pages.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	return nil
}
