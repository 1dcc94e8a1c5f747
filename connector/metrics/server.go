package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"adconnector/connector/front"
	"adconnector/connector/iprange"
)

// Bounds of the listener. Whoever asks is a program that asks for little.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute // longer than between two scrapes
	maxHeaderBytes    = 8 << 10
	maxConnections    = 64
	maxScrapes        = 4 // at the same time
)

// Readiness says whether people can sign in.
type Readiness struct {
	// Reasons are why nobody can; none: somebody can.
	Reasons []string
	// Notes are what does not work meanwhile.
	Notes []string
}

// A Server answers /metrics, /livez and /readyz, to this machine and the
// addresses that the configuration lists.
type Server struct {
	http *http.Server
	from *iprange.Set
	room chan struct{}
	log  *slog.Logger
}

// NewServer returns a server of what m counts and of ready, which is called for
// each question.
func NewServer(c Config, m *Metrics, ready func(context.Context) Readiness, log *slog.Logger) *Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler(log))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, []string{"live"}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		s := ready(r.Context())
		status, lines := http.StatusOK, []string{"ready"}
		if len(s.Reasons) > 0 {
			status, lines = http.StatusServiceUnavailable, prefixed("not ready: ", s.Reasons)
		}
		answer(w, status, append(lines, prefixed("note: ", s.Notes)...))
	})
	return &Server{
		http: &http.Server{
			Handler:           guarded(mux),
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),

			DisableGeneralOptionsHandler: true,
		},
		from: iprange.New(c.AllowFrom),
		room: make(chan struct{}, maxConnections),
		log:  log,
	}
}

// guarded answers only requests for an address, or for localhost: a page from
// elsewhere whose name has been made to lead here must not read what is told.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !front.HostMatches("", r.Host, localhost) {
			answer(w, http.StatusMisdirectedRequest, []string{"Ask for an IP address or localhost, not for a name."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer writes lines of text.
func answer(w http.ResponseWriter, status int, lines []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(strings.Join(lines, "\n") + "\n"))
}

func prefixed(prefix string, lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = prefix + l
	}
	return out
}

// Serve answers what arrives at ln until Stop is called.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(&guard{Listener: ln, s: s}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Stop ends Serve, and before that what is being answered, which gets until the
// end of ctx.
func (s *Server) Stop(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

// A guard is a listener that hangs up on strangers, and when there are too many.
type guard struct {
	net.Listener
	s *Server
}

// Accept waits for somebody who may ask.
func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !g.s.mayAsk(c.RemoteAddr()) {
			g.s.log.Debug("metrics: a connection from an address that is not in metrics.allow_from was closed", "remote", c.RemoteAddr().String())
			_ = c.Close()
			continue
		}
		select {
		case g.s.room <- struct{}{}:
			return &counted{Conn: c, leave: sync.OnceFunc(func() { <-g.s.room })}, nil
		default:
			_ = c.Close()
		}
	}
}

// mayAsk reports whether a is this machine or listed.
func (s *Server) mayAsk(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	from := tcp.AddrPort().Addr().Unmap().WithZone("")
	return from.IsLoopback() || s.from.Contains(from)
}

// counted is a connection that has its place until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close may be called more than once, as servers do.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
