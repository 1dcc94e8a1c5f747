package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"adconnector/connector"
)

func TestThrottleListIsReadable(t *testing.T) {
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.Local)
	var b bytes.Buffer
	err := printReport(&b, &connector.Throttled{
		Counts: []connector.ThrottledCount{
			{AccountID: "id", Username: "jon\x1b[31m", Failures: 5, FailuresKnown: 1, Last: at, Closed: true, Until: at.Add(time.Hour)},
			{AccountID: "id", Username: "amy", Failures: 9, Last: at, Closed: true, ClosedKnown: true},
			{AccountID: "id", Username: "zoe", Failures: 1, Last: at},
		},
		Omitted: 3, OtherNames: 2,
	})
	text := b.String()
	if err != nil || strings.Contains(text, "\x1b") {
		t.Errorf("%v:\n%q", err, text)
	}
	for _, want := range []string{
		"closed to unknown addresses until 2026-03-04 13:00:00", "closed until it is cleared here and in the directory", "open", "3 more", "no account: 2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestThrottleClearExitCodes(t *testing.T) {
	for _, tt := range []struct {
		cleared []int
		code    int
	}{{[]int{2, 0}, 0}, {[]int{0, 0}, exitNo}} {
		for _, asJSON := range []bool{false, true} {
			var b bytes.Buffer
			err := printCleared(&b, []string{"jon", "amy"}, tt.cleared, asJSON)
			code := 0
			if e, ok := errors.AsType[*exitError](err); ok {
				code = e.code
			}
			if code != tt.code {
				t.Errorf("%v: exit code %d, want %d", tt.cleared, code, tt.code)
			}
			if asJSON != json.Valid(b.Bytes()) {
				t.Errorf("JSON %t: %s", asJSON, &b)
			}
		}
	}
}
