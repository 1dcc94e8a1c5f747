package connector_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestChaosForLong does one thing after the other to one of two directories
// until as many people have signed in as ADCONNECTOR_TEST_CHAOS says, half of
// them on each kind of server, and looks at the memory after each.
func TestChaosForLong(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("ADCONNECTOR_TEST_CHAOS"))
	if err != nil {
		t.Skip("ADCONNECTOR_TEST_CHAOS is not set to a number of sign-ins, such as 20000")
	}
	before := goleak.IgnoreCurrent()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) { testForLong(t, kind, count/2) })
	}
	goleak.VerifyNone(t, before)
}

func testForLong(t *testing.T, kind string, count int) {
	var happenings []fault
	for _, f := range faults {
		if f.name != "referral" && f.servers < 2 {
			happenings = append(happenings, f)
		}
	}
	f := fault{servers: 2}
	servers := f.start(t, kind)
	for _, d := range servers {
		lockAfterTen(t, d)
	}
	s := newStorm(t, servers, "")
	s.pause = 50 * time.Millisecond
	var samples []sample
	for done, round := 0, 0; done < count || round < len(happenings); round++ {
		f := happenings[round%len(happenings)]
		s.blow()
		restore := f.happen(t, servers[round/len(happenings)%2])
		time.Sleep(3 * time.Second)
		restore()
		over := time.Now()
		time.Sleep(chaosGrace + s.lag())
		s.settle()

		attempts := s.take()
		if wrong := s.judge(attempts, over, true); s.lag() < tooBusy {
			wrong.report(t, attempts[0].began)
		} else {
			t.Logf("%s: %d things were wrong on a machine that took %v for a page", f.name, len(wrong), s.lag())
		}
		s.busy = 0
		s.rig.log.take()
		done += len(attempts)
		samples = append(samples, takeSample(f.name, done, attempts))
	}
	var table strings.Builder
	for _, x := range samples {
		fmt.Fprintf(&table, "%6d sign-ins, %3d passwords lost, %3d goroutines, %5.1f MiB of heap, %5.1f MiB resident after: %s\n",
			x.done, x.lost, x.goroutines, mib(x.heap), mib(x.resident), x.after)
	}
	t.Logf("%s\n%s", kind, table.String())
	s.end(servers)
	flat(t, samples)
}

// A sample is what the process uses when nobody is signing in.
type sample struct {
	after          string // what happened
	done           int    // sign-ins until now
	lost           int    // of the last ones
	goroutines     int
	heap, resident uint64 // bytes
}

func takeSample(after string, done int, attempts []attempt) sample {
	x := sample{after: after, done: done}
	for _, a := range attempts {
		if !a.granted() {
			x.lost++
		}
	}
	clear(attempts) // they hold pages
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	x.goroutines, x.heap = runtime.NumGoroutine(), m.HeapAlloc
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages uint64
		_, _ = fmt.Sscan(string(data), &size, &pages)
		x.resident = pages * uint64(os.Getpagesize())
	}
	return x
}

// flat fails the test if there is more in use at the end than after a quarter of
// it, when all is filled that gets filled.
func flat(t *testing.T, samples []sample) {
	t.Helper()
	quarter, last := samples[len(samples)/4], samples[len(samples)-1]
	if last.heap > quarter.heap+4<<20 {
		t.Errorf("the heap has grown from %.1f MiB to %.1f", mib(quarter.heap), mib(last.heap))
	}
	if last.goroutines > quarter.goroutines+10 {
		t.Errorf("the goroutines have grown from %d to %d", quarter.goroutines, last.goroutines)
	}
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }
