package metrics

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"adconnector/connector/iprange"
	"adconnector/ldapauth/denial"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// full is a snapshot with something of everything.
func full() Snapshot {
	now := time.Now()
	server := DirectoryServer{URL: "ldaps://dc1", Up: true, Searches: 7, Failures: []Failures{{"connect", 1}, {"lost", 2}}}
	return Snapshot{
		Directories: []Directory{
			{Name: "fabrikam.example", Reachable: new(true), Servers: []DirectoryServer{server, server}}, // named twice
			{Name: "bad\xffname", Servers: []DirectoryServer{{URL: "ldaps://\xff"}}},
		},
		Connections:  Connections{Open: 1, Handshakes: []Handshakes{{Asked: true, Done: 1}, {Asked: false}}},
		Certificates: []Certificate{{"server", now}},
		Revocation:   []RevocationSources{{Kind: "file", Oldest: now, FirstEnd: now}, {Kind: "responder"}},
		Files:        []Files{{What: "server_certificate", Loaded: now, Failed: now}},
		Hub: &Hub{
			Commands: []Commands{{"authenticate_user", "answered", 3}}, Ignored: []Failures{{"replayed", 1}},
			Provisioned: now, Clock: &Clock{Ahead: -20 * time.Second, Within: 3 * time.Millisecond, At: now},
		},
	}
}

func newMetrics() *Metrics {
	return New(Options{Version: "1.2.3", Methods: []string{"password", "session"}, Vias: []string{"wsfed", "hub"}, Expected: []Attempt{{Method: "password", Via: "wsfed"}}, Snapshot: full})
}

// serve starts a server and returns its address.
func serve(t *testing.T, c Config, ready Readiness) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(c, newMetrics(), func(context.Context) Readiness { return ready }, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop(context.Background())
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// get asks for a path, with a Host and an Accept header if they are not empty.
func get(t *testing.T, method, address, path, host, accept string) (status int, header http.Header, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// TestSeriesFollowTheConventions: names, units and help texts, as the library's
// own linter has them; and a scrape is one that its parser reads.
func TestSeriesFollowTheConventions(t *testing.T) {
	m := newMetrics()
	m.Count(Attempt{Method: "password_change", Via: "wsfed", Result: "refused", Reason: denial.PasswordTooShort})
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	_, _, body := get(t, "GET", serve(t, DefaultConfig(), Readiness{}), "/metrics", "", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if f := families["adconnector_hub_clock_skew_seconds"]; f == nil || f.GetMetric()[0].GetGauge().GetValue() != -20 {
		t.Errorf("the clock skew: %v", f)
	}
}

// TestAResetIsAChangeOfAPassword, and no sign-in.
func TestAResetIsAChangeOfAPassword(t *testing.T) {
	m := newMetrics()
	m.Count(Attempt{Method: "password_reset", Via: "hub", Result: "granted"})
	if n := testutil.ToFloat64(m.changes.WithLabelValues("hub", "granted", "")); n != 1 {
		t.Errorf("%v changes, want 1", n)
	}
	if n := testutil.ToFloat64(m.signIns.WithLabelValues("other", "hub", "granted", "")); n != 0 {
		t.Errorf("%v sign-ins, want none", n)
	}
}

// TestEverySeriesIsDocumented in docs/metrics.md, and nothing else is.
func TestEverySeriesIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	m.Count(Attempt{Method: "password_change"})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range families {
		known[f.GetName()] = true
		if strings.HasPrefix(f.GetName(), "adconnector_") && !strings.Contains(string(text), "`"+f.GetName()+"`") {
			t.Errorf("%s is not in docs/metrics.md", f.GetName())
		}
	}
	for _, word := range strings.FieldsFunc(string(text), func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z')
	}) {
		name := strings.TrimSuffix(strings.TrimSuffix(word, "_bucket"), "_count")
		if strings.HasPrefix(word, "adconnector_") && !known[name] {
			t.Errorf("docs/metrics.md has %s, and there is no such series", word)
		}
	}
}

// TestSeriesStayBounded: what a stranger sends makes no series.
func TestSeriesStayBounded(t *testing.T) {
	m := newMetrics()
	m.Count(Attempt{Method: "x", Via: "x", Result: "x", Reason: "x"})
	m.Count(Attempt{Method: "password_change", Via: "x", Result: "x", Reason: "x"})
	before, err := testutil.GatherAndCount(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		s := fmt.Sprint("name", i)
		m.Count(Attempt{Method: s, Via: s, Result: s, Reason: denial.Reason(s)})
		m.Count(Attempt{Method: "password_change", Via: s, Result: s, Reason: denial.Reason(s)})
	}
	if after, err := testutil.GatherAndCount(m.registry); err != nil || after != before {
		t.Errorf("%d series became %d, %v", before, after, err)
	}
}

func TestOpenMetricsIsServedToWhoAsks(t *testing.T) {
	address := serve(t, DefaultConfig(), Readiness{})
	for accept, want := range map[string]string{
		"": "text/plain; version=0.0.4",
		"application/openmetrics-text; version=1.0.0": "application/openmetrics-text; version=1.0.0",
	} {
		status, header, body := get(t, "GET", address, "/metrics", "", accept)
		if !strings.HasPrefix(header.Get("Content-Type"), want) || status != http.StatusOK {
			t.Errorf("for %q: %d, %s", accept, status, header.Get("Content-Type"))
		}
		if open := strings.HasSuffix(body, "# EOF\n"); open != (accept != "") {
			t.Errorf("for %q the text ends with %q", accept, body[len(body)-20:])
		}
	}
}

// TestH4_OnlyThreePathsAreServedAndOnlyByAddress: to who asks for anything else,
// or by a name that may have been made to lead here, nothing is told.
func TestH4_OnlyThreePathsAreServedAndOnlyByAddress(t *testing.T) {
	address := serve(t, DefaultConfig(), Readiness{})
	for _, tt := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/metrics", "", 200},
		{"GET", "/metrics", "localhost", 200},
		{"GET", "/metrics", "LOCALHOST:9464", 200},
		{"GET", "/livez", "[::1]:9464", 200},
		{"HEAD", "/readyz", "10.0.0.5", 200},
		{"GET", "/metrics", "evil.example", 421},
		{"GET", "/livez", "evil.example:9464", 421},
		{"GET", "/readyz", "127.0.0.1.evil.example", 421},
		{"GET", "/metrics", "localhost.evil.example", 421},
		{"POST", "/metrics", "", 405},
		{"OPTIONS", "/metrics", "", 405},
		{"TRACE", "/metrics", "", 405},
		{"GET", "/", "", 404},
		{"GET", "/debug/pprof/", "", 404},
		{"GET", "/debug/vars", "", 404},
		{"GET", "/metrics/", "", 404},
		{"GET", "/signin", "", 404},
	} {
		status, header, body := get(t, tt.method, address, tt.path, tt.host, "")
		if status != tt.want || tt.want != 200 && strings.Contains(body, "adconnector_") {
			t.Errorf("%s %s for %q: %d, want %d", tt.method, tt.path, tt.host, status, tt.want)
		}
		if header.Get("Access-Control-Allow-Origin") != "" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", tt.path, header)
		}
	}
}

func TestReadinessIsToldInWords(t *testing.T) {
	for _, tt := range []struct {
		ready  Readiness
		status int
		body   string
	}{
		{Readiness{}, 200, "ready\n"},
		{Readiness{Notes: []string{"a"}}, 200, "ready\nnote: a\n"},
		{Readiness{Reasons: []string{"a", "b"}, Notes: []string{"c"}}, 503, "not ready: a\nnot ready: b\nnote: c\n"},
	} {
		address := serve(t, DefaultConfig(), tt.ready)
		status, _, body := get(t, "GET", address, "/readyz", "", "")
		if status != tt.status || body != tt.body {
			t.Errorf("%+v: %d %q", tt.ready, status, body)
		}
		if status, _, body = get(t, "GET", address, "/livez", "", ""); status != 200 || body != "live\n" {
			t.Errorf("live: %d %q", status, body)
		}
	}
}

// TestH4_StrangersAreHungUpOn: this machine and the listed addresses are all who
// may ask.
func TestH4_StrangersAreHungUpOn(t *testing.T) {
	s := NewServer(Config{AllowFrom: iprange.MustParse("10.0.0.9", "fd00::/64")}, newMetrics(), nil, slog.New(slog.DiscardHandler))
	for address, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "10.0.0.9": true, "::ffff:10.0.0.9": true, "fd00::7": true,
		"10.0.0.8": false, "192.0.2.1": false, "fd00:0:0:1::7": false, "::ffff:10.0.0.8": false, "0.0.0.0": false,
	} {
		if got := s.mayAsk(&net.TCPAddr{IP: net.ParseIP(address), Port: 1}); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	if s.mayAsk(&net.UnixAddr{}) {
		t.Error("an address of an unknown kind may ask")
	}
}

// TestConnectionsAreBounded: who opens more than there is room for is hung up on,
// and there is room again when they are closed.
func TestConnectionsAreBounded(t *testing.T) {
	address := serve(t, DefaultConfig(), Readiness{})
	var open []net.Conn
	for range maxConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	extra, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = extra.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := extra.Read(make([]byte, 1)); n > 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("one too many: %v", err)
	}
	for _, c := range open {
		_ = c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get("http://" + address + "/livez")
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal("no room again:", err)
		}
	}
}

func TestConfig(t *testing.T) {
	ranges := iprange.MustParse("10.0.0.9")
	for _, tt := range []struct {
		listen string
		from   []iprange.Prefix
		want   string // a part of the mistake
	}{
		{"127.0.0.1:9464", nil, ""},
		{"127.3.2.1:0", nil, ""},
		{"[::1]:9464", nil, ""},
		{"localhost:9464", nil, ""},
		{"127.0.0.1:9464", ranges, ""},
		{"10.0.0.5:9464", ranges, ""},
		{":9464", ranges, ""},
		{"10.0.0.5:9464", nil, "metrics.allow_from"},
		{":9464", nil, "metrics.allow_from"},
		{"0.0.0.0:9464", nil, "metrics.allow_from"},
		{"[::]:9464", nil, "metrics.allow_from"},
		{"[::ffff:10.0.0.5]:9464", nil, "metrics.allow_from"},
		{"metrics.example:9464", ranges, "must be an IP address"},
		{"127.0.0.1", nil, "must be an IP address"},
		{"127.0.0.1:http", nil, "must be an IP address"},
		{"127.0.0.1:65536", nil, "must be an IP address"},
		{"", nil, "must be an IP address"},
	} {
		err := (&Config{Listen: tt.listen, AllowFrom: tt.from}).Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q, %v: %v", tt.listen, tt.from, err)
		}
	}
}

// TestCountingAllocatesNothing: counting is part of every sign-in.
func TestCountingAllocatesNothing(t *testing.T) {
	m := newMetrics()
	all := denial.Reasons()
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		m.Count(Attempt{Method: "password", Via: "wsfed", Result: "refused", Reason: all[i%len(all)], Took: time.Millisecond})
		i++
	}); n != 0 {
		t.Errorf("%v allocations for each sign-in", n)
	}
}

func BenchmarkCount(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Count(Attempt{Method: "password", Via: "wsfed", Result: "granted", Took: time.Millisecond})
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
