package hub

import (
	"context"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// How often the tenant is asked while it does not answer, and how often it is
// looked whether it must be told something.
const (
	firstRetry = 2 * time.Second
	lastRetry  = 5 * time.Minute
	lookEvery  = time.Minute
)

// A Tenant keeps what the tenant and this service know of each other up to date.
type Tenant struct {
	Provisioner *Provisioner
	// Certificate returns the certificate that signs now.
	Certificate func() *x509.Certificate
	// Changed is called with what the tenant says whenever that is new.
	Changed func(*Settings)
	Log     *slog.Logger

	again    chan struct{}
	failures atomic.Uint64 // of provisioning
	clock    atomic.Pointer[Clock]
}

// NewTenant returns a tenant without settings.
func NewTenant(p *Provisioner, certificate func() *x509.Certificate, changed func(*Settings), log *slog.Logger) *Tenant {
	return &Tenant{Provisioner: p, Certificate: certificate, Changed: changed, Log: log, again: make(chan struct{}, 1)}
}

// Again makes Run ask the tenant as soon as it can, for whoever finds that what
// the tenant said does not hold any more.
func (t *Tenant) Again() {
	select {
	case t.again <- struct{}{}:
	default: // it will
	}
}

// Run asks the tenant once, whenever another certificate signs, and when Again
// is called, until ctx ends, and compares its clock with ours. While the tenant
// does not answer, everything else goes on with known, which is what it said last;
// nil if it never said anything.
func (t *Tenant) Run(ctx context.Context, known *Settings) {
	var clock sync.WaitGroup
	defer clock.Wait()
	clock.Go(func() { t.compareClocks(ctx) })
	asked := false
	retry := firstRetry
	for {
		wait := lookEvery
		if !asked || !t.Provisioner.IsPosted(known, t.Certificate()) {
			s, err := t.Provisioner.Provision(ctx, t.Certificate())
			switch {
			case err == nil:
				t.Log.Info("hub: the tenant knows this service", "connection", s.ConnectionName, "realm", s.Realm)
				t.compareKeys(known, s)
				known, asked, retry = s, true, firstRetry
				t.Changed(s)
			case ctx.Err() != nil:
				return
			default:
				t.failures.Add(1)
				wait = retry/2 + rand.N(retry/2+1)
				retry = min(2*retry, lastRetry)
				t.Log.Error("hub: the tenant could not be asked; everything else goes on with what it said last", "err", err, "next_try", wait.Round(time.Second).String())
			}
		} else if s, err := t.Provisioner.Last(); err == nil && s != nil && s.AsOf.After(known.AsOf) {
			t.compareKeys(known, s)
			known = s // somebody has asked by hand
			t.Changed(s)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.again:
			asked = false
		case <-time.After(wait):
		}
	}
}

// compareKeys warns when the tenant has another key than it had. It is taken, because
// tenants change it.
func (t *Tenant) compareKeys(before, now *Settings) {
	if before != nil && before.Fingerprint() != now.Fingerprint() {
		t.Log.Warn("hub: the tenant signs its commands with another key from now on; if nobody knows of that, ask the tenant's administrator",
			"fingerprint", now.Fingerprint(), "before", before.Fingerprint())
	}
}
