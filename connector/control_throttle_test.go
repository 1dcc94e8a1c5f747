package connector_test

import (
	"errors"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/connector/control"
)

// TestThrottleOfARunningConnector: an administrator sees who has failed and lets
// them try again, and is told when nobody runs.
func TestThrottleOfARunningConnector(t *testing.T) {
	r := newRig(t, inMemory(t), "")
	c, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.signIn(r.browser(outside, nil), "jon", "canary-wrong"); err == nil {
			t.Fatal("signed in")
		}
	}
	report, err := connector.ThrottleReport(t.Context(), c)
	if err != nil || len(report.Counts) != 2 || report.Counts[0].Failures != 2 || report.Counts[1].Failures != 2 {
		t.Fatalf("ThrottleReport: %+v, %v", report, err)
	}
	if n, err := connector.ClearThrottle(t.Context(), c, "amy", "jon"); err != nil || len(n) != 2 || n[0] != 0 || n[1] == 0 {
		t.Errorf("ClearThrottle: %v, %v", n, err)
	}
	if n, err := connector.ClearThrottle(t.Context(), c); err != nil || len(n) != 1 || n[0] != 1 {
		t.Errorf("ClearThrottle of all that is left, an address: %v, %v", n, err)
	}
	if text := r.log.String(); strings.Count(text, "an administrator has cleared the throttle") != 3 {
		t.Errorf("log:\n%s", text)
	}
	r.noSecrets("canary")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := connector.ThrottleReport(t.Context(), c); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("after the end: %v, want ErrNotRunning", err)
	}
}

// People can sign in where the socket cannot be made.
func TestAConnectorRunsWithoutItsSocket(t *testing.T) {
	d := inMemory(t)
	r := prepareRig(t, d, "")
	long := strings.Repeat("x", 100)
	r.configure("data_dir: data", "data_dir: "+long)
	r.start()
	if text := r.log.String(); !strings.Contains(text, "the commands throttle and certs cannot ask") || !strings.Contains(text, "shorter data_dir") {
		t.Errorf("log:\n%s", text)
	}
	r.mustSignIn(r.browser(outside, nil), "jon", d.password)
}
