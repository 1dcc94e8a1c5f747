package connector_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/connector"
	"adconnector/ldapauth/dirtest"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// freeAddress returns an address of the loopback interface with a port that is
// free.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// metered is a rig with metrics, not yet started, and where they are.
func metered(t testing.TB, d *directory, more string) (*rig, string) {
	t.Helper()
	address := freeAddress(t)
	return prepareRig(t, d, fmt.Sprintf("metrics: {listen: %q}\n%s", address, more)), address
}

// status asks for a path by plain HTTP and returns the status, 0 if there was no
// answer, and the body.
func status(t testing.TB, address, path string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// scrape returns the series as the parser of Prometheus reads them.
func scrape(t testing.TB, address string) (text string, families map[string]*dto.MetricFamily) {
	t.Helper()
	code, text := status(t, address, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return text, families
}

// value returns the sum of the series with the name whose labels are these, each
// as "name=value", and how many they are.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64, n int) {
	for _, m := range families[name].GetMetric() {
		fits := 0
		for _, l := range m.GetLabel() {
			for _, want := range labels {
				if l.GetName()+"="+l.GetValue() == want {
					fits++
				}
			}
		}
		if fits == len(labels) {
			n++
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum, n
}

// wantValue fails the test unless the series is there with the value.
func wantValue(t testing.TB, families map[string]*dto.MetricFamily, want float64, name string, labels ...string) {
	t.Helper()
	if got, n := value(families, name, labels...); got != want || n == 0 {
		t.Errorf("%s%v = %v (%d series), want %v", name, labels, got, n, want)
	}
}

// TestH4_MetricsAreNeverOnThePublicListenerAndTellNobody: after sign-ins of every
// kind the public port has nothing to tell of it, and what the other one tells
// holds nobody's name, address, certificate or secret.
func TestH4_MetricsAreNeverOnThePublicListenerAndTellNobody(t *testing.T) {
	d := inMemory(t)
	r, address := metered(t, d, hubSection)
	tenant := startTenant(t, r)
	r.start()
	c := next(t, tenant)

	r.mustSignIn(r.browser(inside, r.client("jon")), "", "")
	b := r.browser(outside, nil)
	r.mustSignIn(b, "jon", d.password)
	r.mustSignIn(b, "", "") // by the session
	for _, name := range []string{"jon", "canary-nobody", "dora", `FABRIKAM\jon`, "jon@canary.example"} {
		_, _ = r.signIn(r.browser(outside, nil), name, "canary-password")
	}
	_, _ = r.signIn(r.browser(inside, r.client("canary-cn")), "", "")
	login(t, tenant, c, "jon", d.password)
	login(t, tenant, c, "canary-hub", "canary-hub-password")
	if a := r.program(t, outside).direct("jon", d.password); a.status != http.StatusOK {
		t.Fatalf("direct: %d %s", a.status, a.body)
	}
	c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": "canary.jwt.x"})
	c.Send(t.Context(), "canary-event", map[string]string{})

	for _, from := range []netip.Addr{inside, outside} {
		for _, path := range []string{"/metrics", "/livez", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
			if p := r.get(r.browser(from, nil), r.url+path); p.Status != http.StatusNotFound || strings.Contains(p.Body, "adconnector_") {
				t.Errorf("the public port answers %s with %d", path, p.Status)
			}
		}
	}
	eventually(t, "the odd messages are counted", func() bool {
		_, f := scrape(t, address)
		n, _ := value(f, "adconnector_hub_ignored_messages_total")
		return n == 2
	})
	text, f := scrape(t, address)
	lower := strings.ToLower(text)
	for _, s := range []string{
		"jon", "dora", "canary", d.password, d.bindPassword, "svc-adconnector", "secret-ticket",
		inside.String(), outside.String(), "cn=", "ou=", realm, replyURL,
	} {
		if strings.Contains(lower, strings.ToLower(s)) {
			t.Errorf("/metrics holds %q:\n%s", s, text)
		}
	}
	wantValue(t, f, 1, "adconnector_sign_ins_total", "method=certificate", "via=wsfed", "result=granted")
	wantValue(t, f, 1, "adconnector_sign_ins_total", "method=password", "via=wsfed", "result=granted")
	wantValue(t, f, 1, "adconnector_sign_ins_total", "method=session", "via=wsfed", "result=granted")
	wantValue(t, f, 1, "adconnector_sign_ins_total", "method=password", "via=hub", "result=granted")
	wantValue(t, f, 1, "adconnector_sign_ins_total", "method=password", "via=wsfed-direct", "result=granted")
	wantValue(t, f, 1, "adconnector_sign_ins_total", "via=hub", "result=refused", "reason=bad_credentials")
	wantValue(t, f, 1, "adconnector_sign_ins_total", "method=certificate", "result=refused", "reason=no_account")
	wantValue(t, f, 0, "adconnector_sign_ins_total", "result=fault")
	if n, _ := value(f, "adconnector_sign_ins_total", "method=other"); n != 0 {
		t.Errorf("%v sign-ins by a method that is not named", n)
	}
	if n, _ := value(f, "adconnector_sign_ins_total", "via=other"); n != 0 {
		t.Errorf("%v sign-ins for somebody who is not named", n)
	}
	wantValue(t, f, 2, "adconnector_hub_commands_total", "event=authenticate_user", "outcome=answered")
	wantValue(t, f, 1, "adconnector_hub_ignored_messages_total", "kind=not_signed")
	wantValue(t, f, 1, "adconnector_hub_ignored_messages_total", "kind=unknown_event")
	wantValue(t, f, 1, "adconnector_hub_connected")
	wantValue(t, f, 1, "adconnector_hub_connects_total")
	wantValue(t, f, 1, "adconnector_directory_reachable")
	wantValue(t, f, 1, "adconnector_directory_server_up")
	wantValue(t, f, 1, "adconnector_files_last_load_successful", "files=server_certificate")
	for _, tt := range []struct {
		name   string
		labels []string
	}{
		{"adconnector_directory_searches_total", nil},
		{"adconnector_directory_binds_total", nil},
		{"adconnector_tls_handshakes_total", []string{"certificate_asked=true", "result=done"}},
		{"adconnector_tls_handshakes_total", []string{"certificate_asked=false", "result=done"}},
	} {
		if n, _ := value(f, tt.name, tt.labels...); n == 0 {
			t.Errorf("%s%v is 0", tt.name, tt.labels)
		}
	}
	for _, use := range []string{"server", "signing", "client_authority"} {
		if at, _ := value(f, "adconnector_certificate_not_after_timestamp_seconds", "use="+use); at < float64(time.Now().Unix()) {
			t.Errorf("the certificate %s ends at %v", use, at)
		}
	}
	wantSum, _ := value(f, "adconnector_sign_ins_total")
	wantValue(t, f, wantSum, "adconnector_sign_in_duration_seconds")
}

// TestH4_WithoutTheSectionNothingListens: metrics are off unless asked for.
func TestH4_WithoutTheSectionNothingListens(t *testing.T) {
	c, err := connector.ParseConfig([]byte("url: https://login.example\ntls: {cert_file: c, key_file: k}\npassword: {}\nldap: {urls: [\"ldaps://dc1\"], base_dn: \"dc=x\"}\n"), "f.yaml", t.TempDir())
	if err != nil || c.Metrics != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestSeriesDoNotGrowWithNames: a thousand people, as the hub names them, make no
// more series than a few.
func TestSeriesDoNotGrowWithNames(t *testing.T) {
	d := inMemory(t)
	r, address := metered(t, d, hubSection)
	tenant := startTenant(t, r)
	r.start()
	c := next(t, tenant)
	series := func() int {
		text, _ := scrape(t, address)
		return strings.Count(text, "\nadconnector_")
	}
	for i := range 3 { // one of each kind, for series that begin with the first
		login(t, tenant, c, fmt.Sprint("nobody", i), "x")
	}
	before := series()
	const people = 1000
	for i := range people {
		tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": fmt.Sprint("pid", i), "username": fmt.Sprint("somebody", i), "password": "x"})
	}
	for range people {
		select {
		case <-c.Frames:
		case <-time.After(time.Minute):
			t.Fatal("commands are not answered")
		}
	}
	if after := series(); after > before {
		t.Errorf("%d series became %d", before, after)
	}
}

// TestTheClockSkewIsExported with what it may be wrong by, also while nothing else
// comes of it.
func TestTheClockSkewIsExported(t *testing.T) {
	for _, lag := range []time.Duration{-20 * time.Second, 90 * time.Second} {
		r, address := metered(t, inMemory(t), hubSection)
		tenant := startTenant(t, r)
		tenant.Lag = lag
		before := time.Now()
		r.start()
		next(t, tenant)
		var f map[string]*dto.MetricFamily
		eventually(t, "no comparison", func() bool {
			_, f = scrape(t, address)
			_, n := value(f, "adconnector_hub_clock_skew_seconds")
			return n == 1
		})
		skew, _ := value(f, "adconnector_hub_clock_skew_seconds")
		within, _ := value(f, "adconnector_hub_clock_skew_uncertainty_seconds")
		if off := skew - lag.Seconds(); within <= 0 || within > 5 || off > within || off < -within {
			t.Errorf("skew %v within %v, and it is %v", skew, within, lag)
		}
		if at, _ := value(f, "adconnector_hub_clock_compared_timestamp_seconds"); at < float64(before.Unix()) {
			t.Errorf("compared at %v", at)
		}
		if at, _ := value(f, "adconnector_hub_provisioned_timestamp_seconds"); at < float64(before.Unix()) {
			t.Errorf("provisioned at %v", at)
		}
		if code, body := status(t, address, "/readyz"); code != http.StatusOK {
			t.Errorf("clocks that are apart: %d %s", code, body)
		}
	}
}

// TestReadinessFollowsTheDirectory: with a directory that has gone nobody can sign
// in, and when it is back they can.
func TestReadinessFollowsTheDirectory(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	r, address := metered(t, real(s), "")
	r.start()
	if code, body := status(t, address, "/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Fatalf("%d %s", code, body)
	}
	s.Kill()
	eventually(t, "ready without a directory", func() bool {
		code, body := status(t, address, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "nobody can be looked up in the directory")
	})
	if code, _ := status(t, address, "/livez"); code != http.StatusOK {
		t.Errorf("not alive without a directory: %d", code)
	}
	_, f := scrape(t, address)
	wantValue(t, f, 0, "adconnector_directory_reachable")
	wantValue(t, f, 0, "adconnector_directory_server_up")
	if n, _ := value(f, "adconnector_directory_failures_total"); n == 0 {
		t.Error("no failures are counted")
	}
	s.Start(t)
	eventually(t, "not ready with a directory", func() bool {
		code, _ := status(t, address, "/readyz")
		return code == http.StatusOK
	})
	_, f = scrape(t, address)
	wantValue(t, f, 1, "adconnector_directory_reachable")
	wantValue(t, f, 1, "adconnector_directory_server_up")
}

// TestReadinessTakesOneOfSeveralDirectories: while one of them answers somebody
// can sign in, and which does not is a note.
func TestReadinessTakesOneOfSeveralDirectories(t *testing.T) {
	north, south := inMemory(t), inMemory(t)
	r, address := metered(t, north, "")
	r.configure(fmt.Sprintf("  base_dn: %q\n", north.baseDN), fmt.Sprintf(`  base_dn: %q
  domains:
    - {suffixes: [north.example]}
    - {suffixes: [south.example], urls: [%q], ca_files: [%q]}
`, north.baseDN, south.url, south.caFile))
	r.start()
	if code, body := status(t, address, "/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Fatalf("%d %s", code, body)
	}
	_ = south.memory.Close()
	eventually(t, "no note", func() bool {
		code, body := status(t, address, "/readyz")
		return code == http.StatusOK && strings.Contains(body, "note: nobody can be looked up in the directory south.example")
	})
	_, f := scrape(t, address)
	wantValue(t, f, 1, "adconnector_directory_reachable", "directory=north.example")
	wantValue(t, f, 0, "adconnector_directory_reachable", "directory=south.example")
	_ = north.memory.Close()
	eventually(t, "ready without any directory", func() bool {
		code, body := status(t, address, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Count(body, "not ready: ") == 2
	})
}

// TestReadinessDoesNotAskTheHub: people with browsers need none, so its absence is
// a note.
func TestReadinessDoesNotAskTheHub(t *testing.T) {
	r, address := metered(t, inMemory(t), hubSection)
	tenant := startTenant(t, r)
	r.start()
	c := next(t, tenant)
	eventually(t, "a note with the hub", func() bool { _, body := status(t, address, "/readyz"); return body == "ready\n" })
	tenant.Close()
	_ = c.CloseNow()
	eventually(t, "no note without the hub", func() bool {
		code, body := status(t, address, "/readyz")
		return code == http.StatusOK && strings.Contains(body, "note: the tenant's hub is not connected")
	})
	_, f := scrape(t, address)
	wantValue(t, f, 0, "adconnector_hub_connected")
	wantValue(t, f, 1, "adconnector_hub_connects_total")
}

// TestWhileSignInsComeToTheirEndTheServiceIsAliveAndNotReady, and when they have
// nobody listens any more.
func TestWhileSignInsComeToTheirEndTheServiceIsAliveAndNotReady(t *testing.T) {
	d := inMemory(t)
	r, address := metered(t, d, "")
	r.start()
	b := r.browser(outside, nil)
	r.get(b, r.request()) // the form
	d.memory.SetDelay(300 * time.Millisecond)
	var signed sync.WaitGroup
	signed.Go(func() {
		if _, err := r.signIn(b, "jon", d.password); err != nil {
			t.Errorf("the sign-in that was under way: %v", err)
		}
	})
	eventually(t, "the directory is not asked", func() bool {
		_, f := scrape(t, address)
		n, _ := value(f, "adconnector_directory_requests_in_flight")
		return n > 0
	})
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	eventually(t, "ready although it stops", func() bool {
		code, body := status(t, address, "/readyz")
		return code == http.StatusServiceUnavailable && body == "not ready: the service is stopping\n"
	})
	if code, _ := status(t, address, "/livez"); code != http.StatusOK {
		t.Errorf("not alive while it stops: %d", code)
	}
	signed.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if code, _ := status(t, address, "/livez"); code != 0 {
		t.Errorf("somebody listens after the end: %d", code)
	}
}

// TestMetricsThatCannotBeServedStopTheStart: what is on must work.
func TestMetricsThatCannotBeServedStopTheStart(t *testing.T) {
	r, address := metered(t, inMemory(t), "")
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	check := func() string {
		var found strings.Builder
		connector.Check(t.Context(), config, func(f connector.Finding) { found.WriteString(f.Level.Mark() + " " + f.Text + "\n") })
		return found.String()
	}
	if text := check(); !strings.Contains(text, "✓ metrics.listen: "+address) {
		t.Errorf("check:\n%s", text)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if text := check(); !strings.Contains(text, "! metrics.listen: somebody listens on "+address) {
		t.Errorf("check while somebody listens:\n%s", text)
	}
	if err := r.try(); err == nil || !strings.Contains(err.Error(), "metrics.listen: ") {
		t.Errorf("the start: %v", err)
	}
}

// TestAChangedFileThatDoesNotWorkIsCounted until one that works takes its place.
func TestAChangedFileThatDoesNotWorkIsCounted(t *testing.T) {
	r, address := metered(t, inMemory(t), "")
	r.start()
	const name, files = "adconnector_files_last_load_successful", "files=server_certificate"
	loaded := func(want float64) func() bool {
		return func() bool { _, f := scrape(t, address); got, _ := value(f, name, files); return got == want }
	}
	r.write("server.crt", []byte("broken"))
	eventually(t, "a broken file is not told", loaded(0))
	_, f := scrape(t, address)
	if n, _ := value(f, "adconnector_files_load_failures_total", files); n == 0 {
		t.Error("it is not counted")
	}
	r.serverCertificate("localhost")
	eventually(t, "the new certificate is not told", loaded(1))
}
