package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Snapshot is what was counted elsewhere by the time of a scrape. Parts that are
// not configured are nil, moments that have not come are zero; neither makes a
// series.
type Snapshot struct {
	Directories  []Directory
	Connections  Connections
	Certificates []Certificate
	Revocation   []RevocationSources
	Files        []Files
	Hub          *Hub
}

// A Directory is one directory with its servers.
type Directory struct {
	Name      string
	Reachable *bool // nil: it is not one that people are in
	Failovers uint64
	Servers   []DirectoryServer
}

// A DirectoryServer is one server of a directory.
type DirectoryServer struct {
	URL                string
	Up                 bool
	Searches, Binds    uint64
	Searching, Binding int
	Failures           []Failures
}

// Failures counts what went wrong in one way.
type Failures struct {
	Kind  string
	Times uint64
}

// Connections are those of browsers.
type Connections struct {
	Open, Shaking int
	Closed        uint64
	Handshakes    []Handshakes
}

// Handshakes counts TLS handshakes of one kind.
type Handshakes struct {
	Asked        bool // for a certificate
	Done, Failed uint64
}

// A Certificate is one of this service's, or one that it relies on.
type Certificate struct {
	Use      string // a fixed word
	NotAfter time.Time
}

// RevocationSources are those of one kind.
type RevocationSources struct {
	Kind             string // a fixed word
	Sources, Failing int
	Oldest, FirstEnd time.Time
}

// Files are files that are loaded again when they change.
type Files struct {
	What     string // a fixed word
	OK       bool   // what is in use is what the files hold
	Loaded   time.Time
	Failed   time.Time
	Failures uint64
}

// A Hub is the connection to a tenant.
type Hub struct {
	Connected         bool
	Connects, Refused uint64
	Commands          []Commands
	Ignored           []Failures
	Provisioned       time.Time
	ProvisionFailures uint64
	Clock             *Clock // nil: not compared yet
}

// Commands counts commands of one kind.
type Commands struct {
	Event   string
	Outcome string // "answered" or "failed"
	Times   uint64
}

// A Clock is a tenant's.
type Clock struct {
	Ahead, Within time.Duration
	At            time.Time
}

// desc describes a series.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("adconnector_"+name, help, labels, nil)
}

// The series that snapshots make.
var (
	directoryReachable = desc("directory_reachable", "Whether somebody could be looked up in the directory just now, on whichever server.", "directory")
	directoryUp        = desc("directory_server_up", "Whether a directory server is asked before others; 0 from the first sign of trouble until it has answered again.", "directory", "server")
	directorySearches  = desc("directory_searches_total", "Searches sent to a directory server.", "directory", "server")
	directoryBinds     = desc("directory_binds_total", "Passwords sent to a directory server.", "directory", "server")
	directoryInFlight  = desc("directory_requests_in_flight", "Searches and binds that a directory server has not answered yet.", "directory", "server", "kind")
	directoryFailures  = desc("directory_failures_total", "What went wrong with a directory server: connect, no connection could be made or the service account was refused; lost, a connection broke before the answer came; timeout, no answer in time; busy, the server would not answer.", "directory", "server", "kind")
	directoryFailovers = desc("directory_failovers_total", "Searches that were given to another server of the directory because one had failed or was silent.", "directory")

	connectionsOpen   = desc("connections", "Connections of browsers that are open.")
	connectionsClosed = desc("connections_closed_total", "Connections that were closed because there were too many of them, or too many TLS handshakes.")
	handshaking       = desc("tls_handshakes_in_progress", "TLS handshakes in progress.")
	handshakes        = desc("tls_handshakes_total", "TLS handshakes, by whether a client certificate was asked for and by result.", "certificate_asked", "result")

	certificateEnd = desc("certificate_not_after_timestamp_seconds", "When a certificate ends; of several, the first to end.", "use")

	revocationSources = desc("revocation_sources", "Files, distribution points and responders that say which certificates have been revoked.", "kind")
	revocationFailing = desc("revocation_sources_failing", "Those of them whose last fetch or question was in vain.", "kind")
	revocationOldest  = desc("revocation_list_oldest_this_update_timestamp_seconds", "When the oldest of the revocation lists in use was issued.", "kind")
	revocationEnd     = desc("revocation_list_next_update_timestamp_seconds", "When the first of the revocation lists in use ends.", "kind")

	filesOK       = desc("files_last_load_successful", "Whether what is in use is what the files hold; 0 after a change that does not work.", "files")
	filesLoaded   = desc("files_last_load_success_timestamp_seconds", "When files were last put to use.", "files")
	filesFailed   = desc("files_last_load_failure_timestamp_seconds", "When changed files were last found not to work.", "files")
	filesFailures = desc("files_load_failures_total", "How often changed files were found not to work.", "files")

	hubConnected         = desc("hub_connected", "Whether the tenant's hub has let this service in, and the connection stands.")
	hubConnects          = desc("hub_connects_total", "Connections to the hub that it has let in.")
	hubRefused           = desc("hub_refusals_total", "Connections to the hub that it has refused.")
	hubCommands          = desc("hub_commands_total", "Commands of the tenant that were answered; failed, those whose answer was an unexpected error.", "event", "outcome")
	hubIgnored           = desc("hub_ignored_messages_total", "Messages of the hub that were not answered, and requests for /users that were turned away.", "kind")
	hubProvisioned       = desc("hub_provisioned_timestamp_seconds", "When the tenant last said what the connection is.")
	hubProvisionFailures = desc("hub_provisioning_failures_total", "How often the tenant was asked that in vain.")
	hubSkew              = desc("hub_clock_skew_seconds", "How far the tenant's clock is ahead of this machine's; negative: behind.")
	hubSkewWithin        = desc("hub_clock_skew_uncertainty_seconds", "By how much that may be wrong either way.")
	hubSkewAt            = desc("hub_clock_compared_timestamp_seconds", "When the clocks were last compared.")
)

var all = []*prometheus.Desc{
	directoryReachable, directoryUp, directorySearches, directoryBinds, directoryInFlight, directoryFailures, directoryFailovers,
	connectionsOpen, connectionsClosed, handshaking, handshakes,
	certificateEnd,
	revocationSources, revocationFailing, revocationOldest, revocationEnd,
	filesOK, filesLoaded, filesFailed, filesFailures,
	hubConnected, hubConnects, hubRefused, hubCommands, hubIgnored, hubProvisioned, hubProvisionFailures, hubSkew, hubSkewWithin, hubSkewAt,
}

// snapshots makes series of a snapshot for each scrape.
type snapshots struct{ take func() Snapshot }

// Describe implements [prometheus.Collector].
func (*snapshots) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range all {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *snapshots) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	now := s.take()
	e.directories(now.Directories)
	e.connections(&now.Connections)
	for _, c := range now.Certificates {
		e.moment(certificateEnd, c.NotAfter, c.Use)
	}
	for _, r := range now.Revocation {
		e.gauge(revocationSources, float64(r.Sources), r.Kind)
		e.gauge(revocationFailing, float64(r.Failing), r.Kind)
		e.moment(revocationOldest, r.Oldest, r.Kind)
		e.moment(revocationEnd, r.FirstEnd, r.Kind)
	}
	for _, f := range now.Files {
		e.gauge(filesOK, boolValue(f.OK), f.What)
		e.moment(filesLoaded, f.Loaded, f.What)
		e.moment(filesFailed, f.Failed, f.What)
		e.counter(filesFailures, f.Failures, f.What)
	}
	if now.Hub != nil {
		e.hub(now.Hub)
	}
}

type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, n uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// moment tells when something was or will be, if that is known.
func (e emitter) moment(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		e.gauge(d, seconds(t), labels...)
	}
}

func (e emitter) directories(all []Directory) {
	// Two series with the same labels would make the whole answer an error, and the
	// configuration may name a server twice.
	type key struct{ directory, server string }
	seen := map[key]bool{}
	for _, d := range all {
		name := valid(d.Name)
		if !seen[key{name, ""}] {
			e.counter(directoryFailovers, d.Failovers, name)
			if d.Reachable != nil {
				e.gauge(directoryReachable, boolValue(*d.Reachable), name)
			}
		}
		seen[key{name, ""}] = true
		for _, s := range d.Servers {
			url := valid(s.URL)
			if k := (key{name, url}); seen[k] {
				continue
			} else {
				seen[k] = true
			}
			e.gauge(directoryUp, boolValue(s.Up), name, url)
			e.counter(directorySearches, s.Searches, name, url)
			e.counter(directoryBinds, s.Binds, name, url)
			e.gauge(directoryInFlight, float64(s.Searching), name, url, "search")
			e.gauge(directoryInFlight, float64(s.Binding), name, url, "bind")
			for _, f := range s.Failures {
				e.counter(directoryFailures, f.Times, name, url, f.Kind)
			}
		}
	}
}

func (e emitter) connections(c *Connections) {
	e.gauge(connectionsOpen, float64(c.Open))
	e.counter(connectionsClosed, c.Closed)
	e.gauge(handshaking, float64(c.Shaking))
	for _, h := range c.Handshakes {
		e.counter(handshakes, h.Done, yesNo(h.Asked), "done")
		e.counter(handshakes, h.Failed, yesNo(h.Asked), "failed")
	}
}

func (e emitter) hub(h *Hub) {
	e.gauge(hubConnected, boolValue(h.Connected))
	e.counter(hubConnects, h.Connects)
	e.counter(hubRefused, h.Refused)
	for _, c := range h.Commands {
		e.counter(hubCommands, c.Times, c.Event, c.Outcome)
	}
	for _, f := range h.Ignored {
		e.counter(hubIgnored, f.Times, f.Kind)
	}
	e.moment(hubProvisioned, h.Provisioned)
	e.counter(hubProvisionFailures, h.ProvisionFailures)
	if c := h.Clock; c != nil {
		e.gauge(hubSkew, c.Ahead.Seconds())
		e.gauge(hubSkewWithin, c.Within.Seconds())
		e.moment(hubSkewAt, c.At)
	}
}

// valid returns s as a value of a label.
func valid(s string) string { return strings.ToValidUTF8(s, "?") }
