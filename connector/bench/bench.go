// Package bench drives sign-ins against a running connector from outside and
// says what one costs, beside what the unavoidable parts of it cost on the same
// machine in the same run.
package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"adconnector/connector/browser"
)

// Options say what to drive and how hard.
type Options struct {
	Out         io.Writer
	Program     string // this program, for the processes that are measured against
	Count       int    // sign-ins of each kind
	Concurrency int
	Memory      bool // one long series of certificate sign-ins, with the memory after each tenth

	Target // empty: a connector of the bench's own
}

// A Target is a running connector.
type Target struct {
	URL      string // its url setting
	Realm    string // a relying party that it knows
	Roots    *x509.CertPool
	Client   *tls.Certificate // nil: no certificate sign-ins
	Username string           // "": no password sign-ins
	Password string
	PID      int // of its process on this machine; 0: unknown
}

// request is the relying party's question.
func (t *Target) request() string {
	return strings.TrimSuffix(t.URL, "/") + "/wsfed?" + url.Values{"wa": {"wsignin1.0"}, "wtrealm": {t.Realm}}.Encode()
}

// Run measures and reports. It returns an error if any sign-in failed: a rate
// of refusals is no figure.
func Run(ctx context.Context, o Options) error {
	var own *own
	if o.URL == "" {
		var err error
		if own, err = startOwn(ctx, o.Program); err != nil {
			return err
		}
		defer own.stop()
		o.Target = own.target
		o.printf("A connector of this run's own, with a directory in memory as a separate process.\n")
		o.printf("%-24s %s (first start: it makes its keys)\n", "start to listening", own.startup.Round(time.Millisecond))
		if u, ok := usageOf(o.PID); ok {
			o.printf("%-24s %.1f MiB\n", "idle memory (RSS)", mib(u.rss))
		}
	}
	o.printf("%d at a time against %s\n\n", o.Concurrency, o.URL)
	if o.Memory {
		return o.memory(ctx)
	}
	var certificate *series
	for _, kind := range []struct {
		name   string
		skip   bool
		signIn func(context.Context) error
	}{
		{"certificate sign-in", o.Client == nil, o.byCertificate()},
		{"password sign-in", o.Username == "", o.byPassword},
	} {
		if kind.skip {
			continue
		}
		s, err := o.measure(ctx, kind.signIn)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		o.report(kind.name, s)
		if certificate == nil && o.Client != nil {
			certificate = s
		}
	}
	if u, ok := usageOf(o.PID); ok {
		o.printf("%-24s %.1f MiB\n", "server memory (RSS)", mib(u.rss))
	}
	if err := o.baseline(ctx, certificate); err != nil || own == nil {
		return err
	}
	o.printf("\n%d at a time between the connector's own code and the directory\n\n", DirectoryConcurrency)
	return own.measureDirectory(ctx, &o)
}

// baseline measures the parts that no certificate sign-in can do without.
func (o *Options) baseline(ctx context.Context, certificate *series) error {
	handshake, err := measureHandshake(ctx, o)
	if err != nil {
		return fmt.Errorf("measuring bare handshakes: %w", err)
	}
	o.report("bare TLS 1.3 handshake", handshake)
	signature, err := measureSignature(ctx, o.Concurrency)
	if err != nil {
		return fmt.Errorf("measuring signatures: %w", err)
	}
	o.printf("%-24s %44s %s each\n", "one RSA-2048 signature", "CPU", signature.Round(time.Microsecond))
	if certificate == nil || certificate.cpu == 0 || handshake.cpu == 0 {
		return nil
	}
	sum := handshake.cpu + signature
	o.printf("\ncertificate sign-in ÷ (handshake + signature), server CPU: %s ÷ %s = %.2f\n",
		certificate.cpu.Round(time.Microsecond), sum.Round(time.Microsecond), float64(certificate.cpu)/float64(sum))
	return nil
}

// memory drives one long series and reports the server's memory after each
// tenth of it.
func (o *Options) memory(ctx context.Context) error {
	signIn, kind := o.byCertificate(), "certificate"
	if o.Client == nil {
		signIn, kind = o.byPassword, "password"
	}
	o.printf("%12s sign-ins    server memory (RSS)\n", kind)
	part := *o
	part.Count = max(o.Count/10, 1)
	for i := range 11 {
		if u, ok := usageOf(o.PID); ok {
			o.printf("%21d    %.1f MiB\n", i*part.Count, mib(u.rss))
		}
		if i == 10 {
			break
		}
		if _, err := part.measure(ctx, signIn); err != nil {
			return err
		}
	}
	return nil
}

// byCertificate returns a sign-in on a connection of its own: a full
// handshake, one request, one token.
func (o *Options) byCertificate() func(context.Context) error {
	client := &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true, // and no session cache: nothing is resumed
			TLSClientConfig: &tls.Config{
				RootCAs: o.Roots, MinVersion: tls.VersionTLS13,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Client, nil },
			},
		},
	}
	request := o.request()
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, request, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `name="wresult"`) {
			page := browser.Page{Status: resp.StatusCode, URL: req.URL, Body: string(body)}
			return fmt.Errorf("status %d and no token: %s", resp.StatusCode, page.Message())
		}
		return nil
	}
}

// byPassword is a sign-in by a browser without cookies: form, password, token.
func (o *Options) byPassword(ctx context.Context) error {
	b := browser.New(browser.Options{Roots: o.Roots})
	defer b.Close()
	_, err := b.SignIn(ctx, o.request(), o.Username, o.Password)
	return err
}

// A series is what many repetitions of one thing took.
type series struct {
	count   int
	elapsed time.Duration
	times   []time.Duration // sorted
	cpu     time.Duration   // of the server, for one; 0 if unknown
}

// measure does o.Count times what signIn does, o.Concurrency at a time, after
// a few that do not count.
func (o *Options) measure(ctx context.Context, signIn func(context.Context) error) (*series, error) {
	if err := repeat(ctx, o.warmUp(), o.Concurrency, func(ctx context.Context, _ int) error { return signIn(ctx) }); err != nil {
		return nil, err
	}
	s := &series{count: o.Count, times: make([]time.Duration, o.Count)}
	before, known := usageOf(o.PID)
	start := time.Now()
	err := repeat(ctx, o.Count, o.Concurrency, func(ctx context.Context, i int) error {
		t := time.Now()
		err := signIn(ctx)
		s.times[i] = time.Since(t)
		return err
	})
	s.elapsed = time.Since(start)
	if after, ok := usageOf(o.PID); known && ok {
		s.cpu = (after.cpu - before.cpu) / time.Duration(o.Count)
	}
	slices.Sort(s.times)
	return s, err
}

// warmUp is how many repetitions do not count.
func (o *Options) warmUp() int { return min(o.Count, 4*o.Concurrency) }

// repeat calls f for 0 … count-1, so many at a time, and stops at the first
// error.
func repeat(ctx context.Context, count, concurrency int, f func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}

func (o *Options) report(name string, s *series) {
	o.printf("%-24s %6.0f/s   p50 %-8s p99 %-8s", name, float64(s.count)/s.elapsed.Seconds(),
		s.times[s.count/2].Round(10*time.Microsecond), s.times[s.count*99/100].Round(10*time.Microsecond))
	if s.cpu > 0 {
		o.printf(" server CPU %s each", s.cpu.Round(time.Microsecond))
	}
	o.printf("\n")
}

func (o *Options) printf(format string, args ...any) { _, _ = fmt.Fprintf(o.Out, format, args...) }

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// LoadRoots reads the CAs that vouch for a server's certificate; without a file
// they are the system's.
func LoadRoots(files ...string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return x509.SystemCertPool()
	}
	pool := x509.NewCertPool()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no PEM certificate", file)
		}
	}
	return pool, nil
}
