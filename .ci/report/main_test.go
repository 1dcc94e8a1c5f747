package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name, events, shown, last string
		good                      bool
	}{
		{
			"all is well",
			`{"Action":"start","Package":"a"}
			{"Action":"run","Package":"a","Test":"TestX"}
			{"Action":"output","Package":"a","Test":"TestX","Output":"    x.go:1: taking part: slapd 2.5\n"}
			{"Action":"pass","Package":"a","Test":"TestX"}
			{"Action":"output","Package":"a","Output":"PASS\n"}
			{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
			{"Action":"pass","Package":"a"}
			{"Action":"output","Package":"b","Output":"?   \tb\t[no test files]\n"}
			{"Action":"skip","Package":"b"}`,
			"ok  \ta\t0.1s\n?   \tb\t[no test files]\n",
			"taking part slapd 2.5\ntests       of 1 packages, with the race detector\n1 passed, 0 failed, 0 skipped\n",
			true,
		},
		{
			"a failed test shows its output",
			`{"Action":"output","Package":"a","Test":"TestX","Output":"x.go:1: wrong\n"}
			{"Action":"fail","Package":"a","Test":"TestX"}
			{"Action":"output","Package":"a","Output":"FAIL\ta\t0.1s\n"}
			{"Action":"fail","Package":"a"}`,
			"x.go:1: wrong\nFAIL\ta\t0.1s\n",
			"0 passed, 1 failed, 0 skipped\n",
			false,
		},
		{
			"a crash shows what ran and is a failure",
			`{"Action":"pass","Package":"a","Test":"TestW"}
			{"Action":"output","Package":"a","Test":"TestX","Output":"panic: oh\n"}
			{"Action":"fail","Package":"a"}`,
			"panic: oh\n",
			"1 passed, 1 failed, 0 skipped\n",
			false,
		},
		{
			"what does not compile is a failure",
			`{"ImportPath":"a","Action":"build-output","Output":"x.go:1: no such thing\n"}
			{"ImportPath":"a","Action":"build-fail"}
			{"Action":"pass","Package":"b","Test":"TestW"}
			{"Action":"output","Package":"a","Output":"FAIL\ta [build failed]\n"}
			{"Action":"fail","Package":"a","FailedBuild":"a"}`,
			"x.go:1: no such thing\nFAIL\ta [build failed]\n",
			"1 passed, 1 failed, 0 skipped\n",
			false,
		},
		{
			"skipped for a good reason",
			`{"Action":"pass","Package":"a","Test":"TestW"}
			{"Action":"output","Package":"a","Test":"TestX","Output":"=== RUN   TestX\n"}
			{"Action":"output","Package":"a","Test":"TestX","Output":"    x.go:1: no IPv6 here\n"}
			{"Action":"skip","Package":"a","Test":"TestX"}`,
			"",
			"skipped     a TestX: x.go:1: no IPv6 here\ntests       of 0 packages, with the race detector\n1 passed, 0 failed, 1 skipped\n",
			true,
		},
		{
			"skipped because something is missing",
			`{"Action":"pass","Package":"a","Test":"TestW"}
			{"Action":"output","Package":"a","Test":"TestX","Output":"    x.go:1: missing: slapd\n"}
			{"Action":"skip","Package":"a","Test":"TestX"}`,
			"",
			"1 passed, 0 failed, 1 skipped\n",
			false,
		},
		{"nothing ran", "", "", "0 passed, 0 failed, 0 skipped\n", false},
		{"the go command's own words", "go: no such module", "go: no such module\n", "0 passed, 0 failed, 0 skipped\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			events := strings.ReplaceAll(tt.events, "\t\t\t{", "{")
			if events != "" {
				events += "\n"
			}
			if err := r.read(strings.NewReader(events)); err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.shown {
				t.Errorf("shown:\n%s\nwant:\n%s", out.String(), tt.shown)
			}
			if !strings.HasSuffix(r.summary(), tt.last) {
				t.Errorf("summary:\n%s\nwant at its end:\n%s", r.summary(), tt.last)
			}
			if r.good() != tt.good {
				t.Errorf("good: %v, want %v", r.good(), tt.good)
			}
		})
	}
}
