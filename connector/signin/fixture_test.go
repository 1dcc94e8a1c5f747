package signin_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

const base = "DC=fabrikam,DC=example"

// company starts the sample company's directory and a client for it. More people
// than the sample has are found by their mail address.
func company(t testing.TB, flavor memdir.Flavor, more ...memdir.Entry) (*memdir.Server, *ldapauth.Domains) {
	t.Helper()
	o := memdir.Options{BaseDN: base, Flavor: flavor, Entries: memdir.Sample(base)}
	c := ldapauth.DefaultDomains()
	c.BindDN = "CN=svc-adconnector,OU=Services," + base
	if flavor == memdir.OpenLDAP {
		o.Entries = memdir.SampleOpenLDAP(base)
		c.BindDN = "cn=svc-adconnector,ou=services," + base
	}
	if len(more) > 0 {
		o.Entries = append(o.Entries, more...)
		c.UserFilter = "(mail={0})"
	}
	server, err := memdir.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	c.URLs, c.BaseDN, c.BindPassword = []string{"ldap://" + ln.Addr().String()}, setting.OneOrMore{base}, secret.New(memdir.ServicePassword)
	client, err := ldapauth.NewDomains(c, ldapauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		err := errors.Join(server.Close(), <-served)
		if err != nil && !errors.Is(err, net.ErrClosed) { // closed before it had begun to serve
			t.Error(err)
		}
	})
	return server, client
}

// staff returns the accounts of the sample company by name, as a real search
// found them.
func staff(t testing.TB) map[string]*ldapauth.Account {
	t.Helper()
	_, client := company(t, memdir.ActiveDirectory)
	accounts := map[string]*ldapauth.Account{}
	for _, name := range []string{"jon", "amy", "zoe", "dora", "liam", "eve", "nina", "paul"} {
		a, err := client.FindByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		accounts[name] = a
	}
	return accounts
}

// A directory is a fake that holds the accounts it is given, under any case of
// their names. The errors replace its answers.
type directory struct {
	accounts                    map[string]*ldapauth.Account
	findErr, bindErr, groupsErr error
	changeErr, judgeErr         error
	resetErr                    error
	resets, unlocks             atomic.Int32
	strong                      bool
	lockout                     ldapauth.Lockout
	lockoutErr                  error
	takes                       time.Duration // for each question
	finds, binds, changes       atomic.Int32

	names                   atomic.Int32 // how often GroupNames asked
	namesErr, rememberedErr error
	namesTake               time.Duration
	remembered              []string
}

func (d *directory) NormaliseName(name string) string { return name }

func (d *directory) FindByName(_ context.Context, name string) (*ldapauth.Account, error) {
	d.finds.Add(1)
	time.Sleep(d.takes)
	a, ok := d.accounts[strings.ToLower(name)]
	switch {
	case d.findErr != nil:
		return nil, d.findErr
	case !ok:
		return nil, denial.New(denial.NoAccount, "no entry for %q", name)
	}
	return a, nil
}

func (d *directory) FindByID(ctx context.Context, id string) (*ldapauth.Account, error) {
	for name, a := range d.accounts {
		if a.ID == id {
			return d.FindByName(ctx, name)
		}
	}
	return d.FindByName(ctx, "")
}

func (d *directory) FindHolder(ctx context.Context, h *ldapauth.Holder) (*ldapauth.Account, error) {
	return d.FindByName(ctx, h.Text)
}

func (d *directory) JudgeHolder(context.Context, *ldapauth.Account, *ldapauth.Holder) (bool, error) {
	return d.strong, d.judgeErr
}

func (d *directory) Bind(_ context.Context, _ *ldapauth.Account, password secret.String) error {
	d.binds.Add(1)
	time.Sleep(d.takes)
	if d.bindErr == nil && password.Reveal() != memdir.SamplePassword {
		return denial.New(denial.BadCredentials, "invalid credentials")
	}
	return d.bindErr
}

func (d *directory) ChangePassword(_ context.Context, _ *ldapauth.Account, old, _ secret.String) error {
	d.changes.Add(1)
	time.Sleep(d.takes)
	if d.changeErr == nil && old.Reveal() != memdir.SamplePassword {
		return denial.New(denial.BadCredentials, "wrong old password")
	}
	return d.changeErr
}

func (d *directory) ResetPassword(ctx context.Context, _ *ldapauth.Account, _ secret.String, unlock bool) error {
	d.resets.Add(1)
	if unlock {
		d.unlocks.Add(1)
	}
	time.Sleep(d.takes)
	return cmp.Or(d.resetErr, ctx.Err())
}

func (d *directory) Lockout(context.Context, *ldapauth.Account) (ldapauth.Lockout, error) {
	return d.lockout, d.lockoutErr
}

func (d *directory) Groups(context.Context, *ldapauth.Account) ([]string, error) {
	return []string{"Engineers", "All Staff"}, d.groupsErr
}

func (d *directory) CheckUID(context.Context, *ldapauth.Account) error { return nil }

func (d *directory) GroupNames(ctx context.Context, _ *ldapauth.Account, ask bool) ([]string, error) {
	if !ask {
		return d.remembered, d.rememberedErr
	}
	d.names.Add(1)
	if d.namesTake > 0 {
		select {
		case <-time.After(d.namesTake):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return []string{"Engineers", "All Staff"}, d.namesErr
}

// A verifier is a fake that takes any chain for jon's certificate.
type verifier struct {
	name    string
	err     error
	unknown string
}

func (v verifier) VerifyAgain(_ context.Context, c *certauth.Certificate) (*certauth.Certificate, error) {
	if v.err != nil {
		return nil, v.err
	}
	return c, nil
}

func (v verifier) Verify(context.Context, []*x509.Certificate) (*certauth.Certificate, error) {
	if v.err != nil {
		return nil, v.err
	}
	return &certauth.Certificate{
		UserName: v.name, Rule: "subject_cn", Subject: "CN=" + v.name, Issuer: "CN=Fabrikam CA", Serial: "0a1b",
		Thumbprint: "00ff", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Unknown: v.unknown,
	}, nil
}

var (
	inside  = netip.MustParseAddr("10.1.2.3")
	outside = netip.MustParseAddr("192.0.2.7")
)

// A door is a service with what it wrote.
type door struct {
	*signin.Service
	audit, log *buffer
}

// open returns a service with o and, where o says nothing, everything on and no
// floor under the time of a refusal and no delay.
func open(t testing.TB, o signin.Options) door {
	t.Helper()
	d := door{audit: &buffer{}, log: &buffer{}}
	o.Audit = signin.NewAudit(d.audit)
	o.Log = slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Verifier == nil {
		o.Verifier = verifier{name: "jon"}
	}
	if o.CertificatesFrom == nil {
		o.CertificatesFrom = iprange.New(iprange.MustParse("10.0.0.0/8"))
	}
	if o.RefusalFloor == 0 {
		o.RefusalFloor = 1
	}
	if o.DelayStep == 0 {
		o.DelayStep = 1
	}
	var err error
	if d.Service, err = signin.New(o); err != nil {
		t.Fatal(err)
	}
	return d
}

// lines returns the audit trail.
func (d door) lines(t testing.TB) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(d.audit.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("audit line %q: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

// lastLine returns the end of the audit trail.
func (d door) lastLine(t testing.TB) map[string]any {
	t.Helper()
	lines := d.lines(t)
	if len(lines) == 0 {
		t.Fatal("there is no audit line")
	}
	return lines[len(lines)-1]
}

// A buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// password is an attempt of somebody outside the certificate range.
func password(name, text string) signin.Attempt {
	return signin.Attempt{
		Credential: signin.Password{Username: name, Password: secret.New(text)},
		Via:        "wsfed", RelyingParty: "urn:app", Remote: outside, RequestID: "r-1",
	}
}

// certificate is an attempt of somebody inside the range.
func certificate(chain ...*x509.Certificate) signin.Attempt {
	return signin.Attempt{Credential: signin.Certificate{Chain: chain}, Via: "wsfed", RelyingParty: "urn:app", Remote: inside, RequestID: "r-2"}
}

func session(id *signin.Identity) signin.Attempt {
	return signin.Attempt{Credential: signin.Session{Identity: id}, Via: "wsfed", RelyingParty: "urn:app", Remote: outside, RequestID: "r-3"}
}
