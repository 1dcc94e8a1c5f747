// Package web is what people see of the connector: pages, sessions and the road
// of one sign-in by browser, from a protocol's request to its reply.
//
// A protocol ([Protocol]) reads the request and writes the answer; the one door
// ([SignInService]) says who somebody is. This package finds the proof in
// between: the session, the client certificate of the connection, the password
// form. It holds no policy of its own about who may come in.
package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"adconnector/connector/front"
	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/ldapauth/denial"
)

// maxBody bounds what a request may send. The largest that is meant to come is
// a sign-in request of some protocol in a form.
const maxBody = 64 << 10

// SignInService is the one door; signin.Service is the real one. An error that
// is a denial is an answer, any other means that something is broken.
type SignInService interface {
	SignIn(ctx context.Context, a signin.Attempt) (*signin.Identity, error)
	// ChangePassword changes a password and signs nobody in.
	ChangePassword(ctx context.Context, a signin.Attempt) error
}

// Keys protect what browsers carry. They are made once and kept, so that a
// restart does not make open forms worthless.
type Keys struct {
	CookieHash  []byte // authenticates the session cookie: 32 bytes or more
	CookieBlock []byte // encrypts it: 32 bytes
	Seal        []byte // seals waiting requests: 32 bytes
}

// check refuses keys that are too short or were never filled.
func (k Keys) check() error {
	var errs []error
	for _, key := range []struct {
		name  string
		bytes []byte
		fits  bool
	}{
		{"cookie hash key", k.CookieHash, len(k.CookieHash) >= 32},
		{"cookie block key", k.CookieBlock, len(k.CookieBlock) == 32},
		{"seal key", k.Seal, len(k.Seal) == 32},
	} {
		switch {
		case !key.fits:
			errs = append(errs, fmt.Errorf("%s: %d bytes are not the right length", key.name, len(key.bytes)))
		case bytes.Count(key.bytes, key.bytes[:1]) == len(key.bytes):
			errs = append(errs, fmt.Errorf("%s: is not random", key.name))
		}
	}
	return errors.Join(errs...)
}

// Options are what a [Server] needs.
type Options struct {
	// URL is what browsers open; a path is a prefix for every route.
	URL      *url.URL
	SiteName string           // on every page; default: URL's host
	Service  SignInService    // the one door
	Log      *slog.Logger     // default: no log
	Now      func() time.Time // default: time.Now
	Session  SessionConfig
	Keys     Keys
	// Certificates are the addresses whose connections were asked for a client
	// certificate; nil: none, and certificates are never looked at.
	Certificates *iprange.Set
	// PasswordEnabled offers the form: to addresses in PasswordFrom, or to
	// everybody if that is nil.
	PasswordEnabled bool
	PasswordFrom    *iprange.Set
}

// Server serves the front-facing URL.
type Server struct {
	url          *url.URL
	prefix       string // of every path, without the slash at the end
	service      SignInService
	log          *slog.Logger
	now          func() time.Time
	certificates *iprange.Set
	password     bool
	passwordFrom *iprange.Set
	headers      map[string]string

	sessions    *store
	sealer      *sealer
	pages       *pages
	protocols   map[string]Protocol
	methods     map[string]signin.Method // for what a form with a password in it is sent to a path
	mux         *http.ServeMux
	crossOrigin *http.CrossOriginProtection
}

// New returns a server with the pages of its own. It fails on anything that
// could go wrong later: keys, templates, an odd URL.
func New(o Options) (*Server, error) {
	if o.Service == nil {
		return nil, errors.New("web: no sign-in service")
	}
	prefix, err := prefixOf(o.URL)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if err := o.Session.Validate(); err != nil {
		return nil, fmt.Errorf("web: session.%w", err)
	}
	if err := o.Keys.check(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s := &Server{
		url:          o.URL,
		prefix:       prefix,
		service:      o.Service,
		log:          o.Log,
		now:          o.Now,
		certificates: o.Certificates,
		password:     o.PasswordEnabled,
		passwordFrom: o.PasswordFrom,
		headers:      headersFor(o.URL),
		protocols:    map[string]Protocol{},
		methods:      map[string]signin.Method{"/signin": signin.ByPassword, "/password": signin.ByPasswordChange},
		mux:          http.NewServeMux(),
		crossOrigin:  http.NewCrossOriginProtection(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.sessions, err = newStore(o.Session, o.Keys, s.now, s.log); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if s.sealer, err = newSealer(o.Keys.Seal, s.now); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	files, err := readStatic()
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if s.pages, err = newPages(cmp.Or(o.SiteName, o.URL.Hostname()), prefix, files); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s.protocols[homeProtocol] = home{s}
	s.routes(files)
	return s, nil
}

// plainPath is what a path prefix may be made of: what means the same to a URL,
// a route and an attribute in a page.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

func prefixOf(u *url.URL) (string, error) {
	if u == nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("url: %v is not an https URL with a host", u)
	}
	prefix := strings.TrimSuffix(u.Path, "/")
	if !plainPath.MatchString(prefix) || strings.Contains(prefix+"/", "/./") || strings.Contains(prefix+"/", "/../") {
		return "", fmt.Errorf("url: the path %q is not made of plain names: use letters, digits, dot, dash and underscore", u.Path)
	}
	return prefix, nil
}

// headersFor returns the headers of every answer.
func headersFor(u *url.URL) map[string]string {
	h := map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"X-Content-Type-Options":  "nosniff",
		// Not no-referrer: under that, browsers send "Origin: null" with our
		// own forms, which then look like another site's.
		"Referrer-Policy": "same-origin",
		"Cache-Control":   "no-store",
	}
	// A browser applies HSTS to a host with all its ports. For a machine's own
	// names that would break every other program that somebody tries there.
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
		h["Strict-Transport-Security"] = "max-age=31536000"
	}
	return h
}

// handlerFunc is a handler that has answered or returns an error, never both.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// routes registers this package's own paths.
func (s *Server) routes(files []staticFile) {
	s.route("/{$}", s.serveHome, nil)
	s.route("/signin", s.goHome, s.servePassword)
	s.route("/password", s.goHome, s.serveChange)
	s.route("/signout", s.goHome, s.serveSignOut)
	s.route("/resume", s.serveResume, nil)
	for _, f := range files {
		s.route(f.path, f.serve, nil)
	}
	if s.prefix != "" {
		s.mux.HandleFunc(s.prefix, func(w http.ResponseWriter, r *http.Request) { _ = s.goHome(w, r) })
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &Error{http.StatusNotFound, "There is nothing at this address. Go back to your application and start from there.", nil})
	})
}

// route serves a path below the prefix: GET and HEAD by get, POST by post.
// Either may be nil.
func (s *Server) route(path string, get, post handlerFunc) {
	s.mux.HandleFunc(s.prefix+path, func(w http.ResponseWriter, r *http.Request) {
		h := get
		switch r.Method {
		case http.MethodPost:
			h = post
		case http.MethodGet, http.MethodHead:
		default:
			h = nil
		}
		if h == nil {
			w.Header().Set("Allow", allowed(get, post))
			s.fail(w, r, &Error{http.StatusMethodNotAllowed, "This address does not work like that. Go back to your application and start again.", nil})
			return
		}
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func allowed(get, post handlerFunc) string {
	switch {
	case post == nil:
		return "GET, HEAD"
	case get == nil:
		return "POST"
	}
	return "GET, HEAD, POST"
}

// Mount serves the requests of protocol p, by GET and POST, at path, such as
// "/wsfed". The name is p's in audit lines and sealed requests and must not be
// taken.
func (s *Server) Mount(path, name string, p Protocol) {
	if _, taken := s.protocols[name]; taken || name == "" {
		panic(fmt.Sprintf("web: protocol name %q is taken or empty", name))
	}
	s.protocols[name] = p
	serve := func(w http.ResponseWriter, r *http.Request) error { return s.serveProtocol(w, r, name, p) }
	s.route(path, serve, serve)
	// Other sites send people here by design, with forms too.
	s.crossOrigin.AddInsecureBypassPattern("POST " + s.prefix + path)
}

// Handle serves pattern, a path or "METHOD /path", by h behind the same checks
// and headers as everything else, which h may replace.
func (s *Server) Handle(pattern string, h http.Handler) {
	if method, path, ok := strings.Cut(pattern, " "); ok {
		s.mux.Handle(method+" "+s.prefix+path, h)
		return
	}
	s.mux.Handle(s.prefix+pattern, h)
}

// Handler returns the whole site.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// serve is what every request goes through.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	for name, value := range s.headers {
		w.Header().Set(name, value)
	}
	r = r.WithContext(context.WithValue(r.Context(), visitKey{}, visit{
		reference: newReference(),
		remote:    remote(r),
	}))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	started := &starting{ResponseWriter: w}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			panic(v)
		}
		err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		if started.yes {
			s.logFailure(r, http.StatusInternalServerError, err)
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		s.fail(started, r, err)
	}()
	var serverName string
	if r.TLS != nil {
		serverName = r.TLS.ServerName
	}
	if !front.HostMatches(serverName, r.Host, s.url.Hostname()) {
		s.fail(started, r, &Error{
			http.StatusMisdirectedRequest, "Your browser sent this request to the wrong place. Open the address again.",
			fmt.Errorf("host %q on a connection for %q", r.Host, serverName),
		})
		return
	}
	if err := s.crossOrigin.Check(r); err != nil {
		if by := s.methods[strings.TrimPrefix(r.URL.Path, s.prefix)]; by != "" {
			s.refuse(r, by, Pending{}, "", denial.BadForm, "the form was sent by another site: %w", err)
		}
		s.fail(started, r, &Error{http.StatusForbidden, "This request came from another site. Go back to your application and start again.", err})
		return
	}
	s.mux.ServeHTTP(started, r)
}

// starting notes whether an answer has begun.
type starting struct {
	http.ResponseWriter
	yes bool
}

func (s *starting) WriteHeader(status int) {
	s.yes = true
	s.ResponseWriter.WriteHeader(status)
}

func (s *starting) Write(b []byte) (int, error) {
	s.yes = true
	return s.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (s *starting) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// A visit is what every handler knows of its request.
type visit struct {
	reference string     // connects a page with the log
	remote    netip.Addr // the other end of the connection; the zero Addr if that is no address
}

type visitKey struct{}

func visitOf(r *http.Request) visit {
	v, _ := r.Context().Value(visitKey{}).(visit)
	return v
}

// newReference returns 60 random bits in a form that can be told over the
// telephone.
func newReference() string {
	t := rand.Text()
	return t[:4] + "-" + t[4:8] + "-" + t[8:12]
}

// remote returns the address at the other end of the connection. No header has
// a say in it.
func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// fail answers with a page for err. It is the only place where an error becomes
// a page, so it is the only place that decides what a person gets to read of it.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := &Error{http.StatusInternalServerError, "Something went wrong on our side. Try again in a few minutes; if it stays like this, tell your help desk.", err}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		e = &Error{http.StatusRequestEntityTooLarge, "The request is too large.", tooLarge}
	} else if page, ok := errors.AsType[*Error](err); ok {
		e = page
	}
	s.logFailure(r, e.Status, err)
	s.render(w, r, e.Status, "error", errorPage{
		Heading: heading(e.Status),
		Message: e.Message,
		Alarm:   e.Status >= 500,
	})
}

// logFailure writes the line for the operator. What anybody can cause by
// walking up and typing an address is not worth a line by default.
func (s *Server) logFailure(r *http.Request, status int, err error) {
	level := slog.LevelInfo
	switch {
	case r.Context().Err() != nil: // the browser went away, whatever came of that
	case status >= 500:
		level = slog.LevelError
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusMisdirectedRequest:
		level = slog.LevelDebug
	}
	v := visitOf(r)
	s.log.LogAttrs(r.Context(), level, "request failed",
		slog.String("reference", v.reference), slog.String("remote", v.remote.String()),
		slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.Any("err", err))
}
