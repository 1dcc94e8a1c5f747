package connector_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"adconnector/connector"
	"adconnector/connector/bench"
	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/dirtest"
)

// hubConcurrency is how many sign-ins a tenant asks for at a time.
const hubConcurrency = 32

// BenchmarkHubSignIn measures how fast sign-ins through the hub are, beside bare
// binds on as many connections, and what else there is to compare them with, on
// the same OpenLDAP in the same run: with its own hash of passwords, which costs
// next to nothing, and with one that does not.
//
// A sign-in is a search and a bind. With the cheap hash a search takes the server
// longer than a bind, so that the LDAP library alone does not reach half the rate
// of bare binds with both.
func BenchmarkHubSignIn(b *testing.B) {
	for name, o := range map[string]dirtest.OpenLDAPOptions{"SSHA": {}, "Argon2": {Argon2: true}} {
		b.Run(name, func(b *testing.B) {
			count := 3000
			if o.Argon2 {
				count = 320
			}
			o.Users, o.Quiet = 100, true
			d := real(dirtest.OpenLDAP(b, o))
			c, config := startCaller(b, d, o.Users)
			run := bench.DirectoryOptions{
				Out: io.Discard, Rates: map[string]float64{}, Count: count, Concurrency: hubConcurrency, Config: config, Usernames: c.usernames, Password: d.password,
				More: []bench.Part{{Name: "hub sign-in", Prepare: c.prepare, SignIn: c.signIn}},
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.Directory(b.Context(), run); err != nil {
					b.Fatal(err)
				}
			}
			hub, door, bind, both := run.Rates["hub sign-in"], run.Rates["password sign-in"], run.Rates["bare bind"], run.Rates["bare search and bind"]
			b.ReportMetric(hub, "sign-ins/s")
			b.ReportMetric(bind, "binds/s")
			b.ReportMetric(hub/bind, "÷bind")
			b.ReportMetric(hub/both, "÷search-and-bind")
			b.ReportMetric(hub/door, "÷no-hub")
		})
	}
}

// A caller is a tenant that asks for many sign-ins at a time.
type caller struct {
	tenant    *hubtest.Tenant
	conn      *hubtest.Conn
	usernames []string
	password  string

	commands chan command
	made     atomic.Int64

	mu      sync.Mutex
	waiting map[string]chan hubtest.Frame // by the event of the answer
}

// A command is ready to be sent, and the event of its answer is known.
type command struct{ token, answer string }

// startCaller starts a tenant and a connector in front of d, whose further people
// are so many.
func startCaller(t testing.TB, d *directory, people int) (*caller, *connector.Config) {
	t.Helper()
	r := prepareRig(t, d, hubSection+"audit_file: audit.log")
	r.configure("level: debug", "level: warn")
	r.configure("  base_dn:", fmt.Sprintf("  pool: {bind: %d}\n  base_dn:", hubConcurrency)) // as many as for bare binds
	tenant := startTenant(t, r)
	r.start()
	c := &caller{tenant: tenant, conn: next(t, tenant), password: d.password, waiting: map[string]chan hubtest.Frame{}}
	for i := range people {
		c.usernames = append(c.usernames, fmt.Sprintf("u%05d", i))
	}
	go c.listen()
	config, err := connector.LoadConfig(r.path("adconnector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c, config
}

// prepare makes n commands: their signatures are the tenant's work and not the
// connector's.
func (c *caller) prepare(n int) error {
	c.commands = make(chan command, n)
	var signers sync.WaitGroup
	for i := range 2 {
		signers.Go(func() {
			for range (n + i) / 2 {
				k := c.made.Add(1)
				pid := fmt.Sprint("bench-", k)
				c.commands <- command{answer: pid + "_result", token: c.tenant.Sign(map[string]any{
					"pid": pid, "username": c.usernames[int(k)%len(c.usernames)], "password": c.password,
				})}
			}
		})
	}
	signers.Wait()
	return nil
}

// signIn sends one command and waits for the answer.
func (c *caller) signIn(ctx context.Context) error {
	command := <-c.commands
	answer := make(chan hubtest.Frame, 1)
	c.mu.Lock()
	c.waiting[command.answer] = answer
	c.mu.Unlock()
	c.conn.Send(ctx, "authenticate_user", map[string]string{"jwt": command.token})
	select {
	case f := <-answer:
		if bytes.Contains(f.Payload, []byte(`"err"`)) {
			return fmt.Errorf("%s: %s", f.Event, f.Payload)
		}
		return nil
	case <-c.conn.Closed:
		return fmt.Errorf("the connection ended: %w", c.conn.Err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen hands out the answers.
func (c *caller) listen() {
	for f := range c.conn.Frames {
		c.mu.Lock()
		to := c.waiting[f.Event]
		delete(c.waiting, f.Event)
		c.mu.Unlock()
		if to != nil {
			to <- f
		}
	}
}
