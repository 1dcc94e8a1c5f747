// Report reads the events of go test -json, prints what go test itself would
// print without -v, and at the end what ran: how many tests of how many packages,
// which were skipped and why, and which programs of others took part.
//
// Usage: go test -json ./... | report FILE
//
// FILE gets the end once more. The exit code is 1 if a test failed, if none
// passed, or if one was skipped because something is missing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | report FILE")
		os.Exit(2)
	}
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	summary := r.summary()
	fmt.Print("\n" + summary)
	if err := os.WriteFile(os.Args[1], []byte(summary), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	if !r.good() {
		os.Exit(1)
	}
}

// The marks that package dirtest leaves in the output of a test.
const (
	programMark = "taking part: "
	missingMark = "missing: "
)

// An event is one of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string // empty for what concerns the package
	Output  string
}

// A key names a test, or a package if test is empty.
type key struct{ pkg, test string }

type report struct {
	out      io.Writer
	running  map[key]string  // output of what has not ended
	programs map[string]bool // of others, that took part
	failedIn map[string]bool // packages with a test that failed
	skips    []string        // what was skipped and why

	packages, passed, failed, missing int
}

func newReport(out io.Writer) *report {
	return &report{out: out, running: map[key]string{}, programs: map[string]bool{}, failedIn: map[string]bool{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			fmt.Fprint(r.out, line) // a word of the go command's own
			continue
		}
		r.take(e)
	}
}

func (r *report) take(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.running[k] += e.Output
		if _, program, ok := strings.Cut(e.Output, programMark); ok {
			r.programs[strings.TrimSpace(program)] = true
		}
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(e)
		}
		delete(r.running, k)
	}
}

func (r *report) endTest(e event) {
	output := r.running[key{e.Package, e.Test}]
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		r.failedIn[e.Package] = true
		fmt.Fprint(r.out, output)
	case "skip":
		if strings.Contains(output, missingMark) {
			r.missing++
		}
		r.skips = append(r.skips, e.Package+" "+e.Test+": "+reason(output))
	}
}

// reason returns what a skipped test said, less the lines of go test.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// endPackage prints the line of a package, after the output of tests that a
// crash ended.
func (r *report) endPackage(e event) {
	if e.Action == "fail" {
		for _, k := range slices.SortedFunc(maps.Keys(r.running), func(a, b key) int { return strings.Compare(a.test, b.test) }) {
			if k.pkg == e.Package && k.test != "" {
				fmt.Fprint(r.out, r.running[k])
				delete(r.running, k)
			}
		}
		if !r.failedIn[e.Package] { // it crashed, or could not be built
			r.failed++
		}
	}
	if e.Action != "skip" { // no test files
		r.packages++
	}
	for line := range strings.Lines(r.running[key{e.Package, ""}]) {
		if line != "PASS\n" {
			fmt.Fprint(r.out, line)
		}
	}
}

func (r *report) good() bool { return r.failed == 0 && r.missing == 0 && r.passed > 0 }

func (r *report) summary() string {
	var s strings.Builder
	for _, skip := range r.skips {
		fmt.Fprintf(&s, "skipped     %s\n", skip)
	}
	if r.missing > 0 {
		fmt.Fprintf(&s, "missing     %d tests were skipped for want of something: that counts as failure\n", r.missing)
	}
	if len(r.programs) > 0 {
		fmt.Fprintf(&s, "taking part %s\n", strings.Join(slices.Sorted(maps.Keys(r.programs)), ", "))
	}
	fmt.Fprintf(&s, "tests       of %d packages, with the race detector\n", r.packages)
	fmt.Fprintf(&s, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.skips))
	return s.String()
}
