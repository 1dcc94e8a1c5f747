// Package metrics counts what the connector does and tells it to Prometheus, on a
// listener of its own that strangers do not reach.
//
// What happens often, sign-ins, is counted here as it happens. Everything else is
// counted where it happens, and read when somebody asks: see [Snapshot]. No value
// of a label comes from a user: each is one of a fixed list, or stands in the
// configuration.
package metrics

import (
	"runtime"
	"slices"
	"strconv"
	"time"

	"adconnector/ldapauth/denial"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is everything that is counted. Its methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry
	signIns  *prometheus.CounterVec
	changes  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	methods  []string
	vias     []string
}

// Options say what there is to count.
type Options struct {
	Version string
	// Methods prove who somebody is, and Vias are who may ask for that. Sign-ins by
	// or for any other are counted as "other".
	Methods, Vias []string
	// Expected are the methods and vias of sign-ins that are offered: their series
	// are there before the first, which is an increase then.
	Expected []Attempt
	// Snapshot tells what is counted elsewhere. It is called for each scrape.
	Snapshot func() Snapshot
}

// An Attempt is a sign-in, or the change of a password, that has come to an end.
type Attempt struct {
	Method, Via string
	Result      string // "granted", "refused" or "fault"
	Reason      denial.Reason
	Took        time.Duration
}

// results are what an attempt can come to.
var results = []string{"granted", "refused", "fault"}

// buckets are the upper bounds of the histogram, in seconds: from what a session
// takes to what somebody waits for at most.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// New returns metrics of which nothing has been counted yet.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "adconnector_sign_ins_total",
			Help: "Attempts to sign in, by what proved who it was, who asked, the result, and the reason of a refusal.",
		}, []string{"method", "via", "result", "reason"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "adconnector_password_changes_total",
			Help: "Attempts to change a password, by who asked, the result, and the reason of a refusal.",
		}, []string{"via", "result", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "adconnector_sign_in_duration_seconds",
			Help:    "How long attempts to sign in took. Refusals are kept back for a while on purpose.",
			Buckets: buckets,
		}, []string{"method", "result"}),
		methods: o.Methods, vias: o.Vias,
	}
	for _, a := range o.Expected {
		for _, result := range results {
			m.duration.WithLabelValues(a.Method, result)
		}
		m.signIns.WithLabelValues(a.Method, a.Via, "granted", "")
		m.signIns.WithLabelValues(a.Method, a.Via, "fault", "")
	}
	m.registry.MustRegister(
		m.signIns, m.changes, m.duration, &snapshots{o.Snapshot}, buildInfo(o.Version),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// buildInfo returns the series that tells which program this is.
func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "adconnector_build_info",
		Help:        "Always 1; the labels tell the release, and what it was built with and for.",
		ConstLabels: prometheus.Labels{"version": valid(version), "goversion": runtime.Version(), "goos": runtime.GOOS, "goarch": runtime.GOARCH},
	})
	g.Set(1)
	return g
}

// The methods of attempts by which nobody is signed in.
const (
	passwordChange = "password_change"
	passwordReset  = "password_reset"
)

// Count counts an attempt. What is in none of the lists that it should be in is
// counted as "other", so that nobody can make new series.
func (m *Metrics) Count(a Attempt) {
	via, result, reason := known(m.vias, a.Via), known(results, a.Result), knownReason(a.Reason)
	if a.Method == passwordChange || a.Method == passwordReset {
		m.changes.WithLabelValues(via, result, reason).Inc()
		return
	}
	method := known(m.methods, a.Method)
	m.signIns.WithLabelValues(method, via, result, reason).Inc()
	m.duration.WithLabelValues(method, result).Observe(a.Took.Seconds())
}

const other = "other"

// known returns s if it is in the list.
func known(list []string, s string) string {
	if slices.Contains(list, s) {
		return s
	}
	return other
}

// reasons are the reasons of refusals, and none.
var reasons = func() map[denial.Reason]bool {
	m := map[denial.Reason]bool{"": true}
	for _, r := range denial.Reasons() {
		m[r] = true
	}
	return m
}()

func knownReason(r denial.Reason) string {
	if reasons[r] {
		return string(r)
	}
	return other
}

// boolValue returns 1 for true.
func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds returns a moment as Prometheus counts time.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func yesNo(b bool) string { return strconv.FormatBool(b) }
