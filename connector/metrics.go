package connector

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"adconnector/connector/hub"
	"adconnector/connector/metrics"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
)

// probeEvery is how old the word of the directories may be that is told to
// whoever asks whether people can sign in.
const probeEvery = 2 * time.Second

// A monitor is what the section metrics asks for. A nil one counts nothing.
type monitor struct {
	c       *Connector
	metrics *metrics.Metrics
	server  *metrics.Server
	ln      net.Listener

	mu     sync.Mutex // held while the directories are asked
	probed time.Time
	probes []ldapauth.DomainProbe
}

// What sign-ins are by, and who asks for them, as audit lines have it.
var (
	methods = []string{string(signin.BySession), string(signin.ByPassword), string(signin.ByCertificate)}
	vias    = []string{"home", "wsfed", "wsfed-direct", "hub"}
)

// openMonitor starts to listen, if the configuration has a section metrics.
func (c *Connector) openMonitor(ctx context.Context, version string) error {
	if c.config.Metrics == nil {
		return nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.config.Metrics.Listen)
	if err != nil {
		return fmt.Errorf("metrics.listen: %w", err)
	}
	m := &monitor{c: c, ln: ln}
	m.metrics = metrics.New(metrics.Options{Version: version, Methods: methods, Vias: vias, Expected: c.expected(), Snapshot: m.snapshot})
	m.server = metrics.NewServer(*c.config.Metrics, m.metrics, m.ready, c.log)
	c.monitor = m
	c.noteStart()
	return nil
}

// noteStart records that the files that are watched have been put to use. It is
// called when that has been done.
func (c *Connector) noteStart() {
	c.loads.note(serverCertificateFiles, nil)
	if c.config.Certificate != nil {
		c.loads.note(authorityFiles, nil)
		c.loads.note(selfSignedFiles, nil)
	}
	if c.revocation != nil {
		c.loads.note(listFiles, nil)
	}
}

// expected returns by what people can sign in, and for whom.
func (c *Connector) expected() []metrics.Attempt {
	var all []metrics.Attempt
	by := func(m signin.Method, vias ...string) {
		for _, via := range vias {
			all = append(all, metrics.Attempt{Method: string(m), Via: via})
		}
	}
	browsers := []string{"home"}
	if c.config.WSFed != nil || c.config.Hub != nil {
		browsers = append(browsers, "wsfed")
	}
	by(signin.BySession, browsers...)
	if c.config.Certificate != nil {
		by(signin.ByCertificate, browsers...)
	}
	if c.config.Password != nil {
		by(signin.ByPassword, browsers...)
		if c.config.Hub != nil {
			by(signin.ByPassword, "hub", "wsfed-direct")
		}
	}
	return all
}

// observe returns what counts attempts, nil if nobody does.
func (m *monitor) observe() func(signin.Outcome) {
	if m == nil {
		return nil
	}
	return func(o signin.Outcome) {
		m.metrics.Count(metrics.Attempt{Method: string(o.Method), Via: o.Via, Result: o.Result, Reason: o.Reason, Took: o.Took})
	}
}

// run answers questions until the stop that it returns is called.
func (m *monitor) run() (stop func()) {
	if m == nil {
		return func() {}
	}
	m.c.log.Info("metrics: listening", "address", m.ln.Addr().String())
	var served sync.WaitGroup
	served.Go(func() {
		if err := m.server.Serve(m.ln); err != nil {
			m.c.log.Error("metrics: nobody is answered any more", "err", err) // people can sign in all the same
		}
	})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		m.server.Stop(ctx)
		served.Wait()
	}
}

// ready tells whether people can sign in. The tenant's hub is no reason why they
// could not: whoever comes by browser needs none.
func (m *monitor) ready(ctx context.Context) metrics.Readiness {
	switch m.c.phase.Load() {
	case starting:
		return metrics.Readiness{Reasons: []string{"the service is starting"}}
	case stopping:
		return metrics.Readiness{Reasons: []string{"the service is stopping"}}
	}
	var r metrics.Readiness
	failed := 0
	probes := m.probe(ctx)
	for _, p := range probes {
		if p.Err != nil {
			failed++
			r.Notes = append(r.Notes, fmt.Sprintf("nobody can be looked up in the directory %s; the log says why", p.Domain))
		}
	}
	if failed == len(probes) {
		r.Reasons, r.Notes = r.Notes, nil
	}
	if m.c.agent != nil && !m.c.agent.Stats().Connected {
		r.Notes = append(r.Notes, "the tenant's hub is not connected; sign-ins that it passes on do not arrive")
	}
	return r
}

// probe asks the directories, unless that was done a moment ago.
func (m *monitor) probe(ctx context.Context) []ldapauth.DomainProbe {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.probes != nil && time.Since(m.probed) < probeEvery {
		return m.probes
	}
	// Others get the answer too: whoever asked first may hang up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	m.probes = m.c.directory.Probes(ctx)
	m.probed = time.Now()
	return m.probes
}

// snapshot tells what is counted elsewhere.
func (m *monitor) snapshot() metrics.Snapshot {
	s := metrics.Snapshot{
		Directories:  m.directories(),
		Certificates: m.certificates(),
		Files:        m.c.loads.list(),
		Hub:          m.hub(),
	}
	f := m.c.front.Stats()
	s.Connections = metrics.Connections{
		Open: f.Open, Shaking: f.Shaking, Closed: f.Closed,
		Handshakes: []metrics.Handshakes{
			{Asked: true, Done: f.Asking.Done, Failed: f.Asking.Failed},
			{Asked: false, Done: f.Plain.Done, Failed: f.Plain.Failed},
		},
	}
	if m.c.revocation != nil {
		for _, k := range m.c.revocation.Stats() {
			s.Revocation = append(s.Revocation, metrics.RevocationSources{
				Kind: string(k.Kind), Sources: k.Sources, Failing: k.Failing, Oldest: k.Oldest, FirstEnd: k.FirstEnd,
			})
		}
	}
	return s
}

func (m *monitor) directories() []metrics.Directory {
	reachable := map[string]*bool{}
	if m.c.phase.Load() == running {
		for _, p := range m.probe(context.Background()) {
			reachable[p.Domain] = new(p.Err == nil)
		}
	}
	var all []metrics.Directory
	for _, d := range m.c.directory.Stats() {
		x := metrics.Directory{Name: d.Name, Reachable: reachable[d.Name], Failovers: d.Failovers}
		for _, s := range d.Servers {
			x.Servers = append(x.Servers, metrics.DirectoryServer{
				URL: s.URL, Up: s.Up, Searches: s.Searches, Binds: s.Binds, Searching: s.Searching, Binding: s.Binding,
				Failures: []metrics.Failures{
					{Kind: "connect", Times: s.Failures.Connect},
					{Kind: "lost", Times: s.Failures.Lost},
					{Kind: "timeout", Times: s.Failures.Timeout},
					{Kind: "busy", Times: s.Failures.Busy},
				},
			})
		}
		all = append(all, x)
	}
	return all
}

// certificates tells when those end that somebody has to renew, or that the
// service renews itself.
func (m *monitor) certificates() []metrics.Certificate {
	all := []metrics.Certificate{{Use: "server", NotAfter: m.c.front.Certificate().Leaf.NotAfter}}
	if m.c.keys != nil {
		all = append(all, metrics.Certificate{Use: "signing", NotAfter: m.c.keys.Current().Certificate.NotAfter})
	}
	if m.c.verifier != nil {
		if list := m.c.verifier.Anchors().Certificates(); len(list) > 0 {
			first := slices.MinFunc(list, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
			all = append(all, metrics.Certificate{Use: "client_authority", NotAfter: first.NotAfter})
		}
	}
	return all
}

// hub tells about the connection to a tenant, nil if this service is none of one.
func (m *monitor) hub() *metrics.Hub {
	if m.c.agent == nil {
		return nil
	}
	s := m.c.agent.Stats()
	h := &metrics.Hub{
		Connected: s.Connected, Connects: s.Connects, Refused: s.Refused,
		Provisioned: s.Provisioned, ProvisionFailures: m.c.tenant.Failures(),
	}
	for k, n := range s.Commands {
		outcome := "answered"
		if k.Failed {
			outcome = "failed"
		}
		h.Commands = append(h.Commands, metrics.Commands{Event: k.Event, Outcome: outcome, Times: n})
	}
	for _, kind := range hub.Oddities() {
		h.Ignored = append(h.Ignored, metrics.Failures{Kind: kind, Times: s.Ignored[kind]})
	}
	if c, ok := m.c.tenant.Clock(); ok {
		h.Clock = &metrics.Clock{Ahead: c.Ahead, Within: c.Within, At: c.At}
	}
	return h
}

// Files that can change while the service runs.
const (
	serverCertificateFiles = "server_certificate"
	authorityFiles         = "authorities"
	selfSignedFiles        = "self_signed"
	listFiles              = "revocation_lists"
)

// loads keeps account of what became of files that can change while the service
// runs.
type loads struct {
	mu    sync.Mutex
	files map[string]*metrics.Files
}

// note records that files have been put to use, or why not.
func (l *loads) note(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[string]*metrics.Files{}
	}
	f := l.files[what]
	if f == nil {
		f = &metrics.Files{What: what}
		l.files[what] = f
	}
	if f.OK = err == nil; f.OK {
		f.Loaded = time.Now()
		return
	}
	f.Failed = time.Now()
	f.Failures++
}

func (l *loads) list() []metrics.Files {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []metrics.Files
	for _, f := range l.files {
		all = append(all, *f)
	}
	return all
}

// wsaeAddrInUse is how Windows says EADDRINUSE, which there is something else.
const wsaeAddrInUse = syscall.Errno(10048)

// metrics looks whether the listener could be opened.
func (k *check) metrics(ctx context.Context) {
	if k.config.Metrics == nil {
		return
	}
	address := k.config.Metrics.Listen
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = ln.Close()
		k.say(OK, "metrics.listen: %s can be listened on", address)
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, wsaeAddrInUse):
		k.say(Warning, "metrics.listen: somebody listens on %s already: the service, if it runs; else choose another port", address)
	default:
		k.say(Failure, "metrics.listen: %v; write an address of this machine", err)
	}
}
