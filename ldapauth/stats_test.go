package ldapauth_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// statsOf returns what is counted of the directory's servers.
func statsOf(d *ldapauth.Directory) []ldapauth.ServerStats { return d.Stats().Servers }

func TestSearchesAndPasswordsAreCountedForTheirServer(t *testing.T) {
	first, _, c := two(t)
	d := open(t, c)
	a := find(t, d, "jon")
	before := first.Stats().Binds
	for _, password := range []string{memdir.SamplePassword, "wrong", ""} { // the last is not sent
		_ = d.Bind(t.Context(), a, secret.New(password))
	}
	stats := statsOf(d)
	if len(stats) != 2 || stats[0].URL != c.URLs[0] || stats[1].URL != c.URLs[1] {
		t.Fatalf("%+v", stats)
	}
	if sent := first.Stats().Binds - before; stats[0].Binds != sent || sent != 2 {
		t.Errorf("%d passwords are counted and %d were sent, want 2", stats[0].Binds, sent)
	}
	if stats[0].Searches == 0 || stats[0].Failures != (ldapauth.ServerFailures{}) || !stats[0].Up || stats[0].Searching != 0 || stats[0].Binding != 0 {
		t.Errorf("the first server: %+v", stats[0])
	}
	if s := stats[1]; s.Searches != 0 || s.Binds != 0 || !s.Up {
		t.Errorf("the second server, which nobody asked: %+v", s)
	}
	if n := d.Stats().Failovers; n != 0 {
		t.Errorf("%d failovers", n)
	}
}

func TestAServerThatRefusesConnectionsIsCountedAsThat(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	_, c := memory(t, memdir.ActiveDirectory)
	c.URLs = append([]string{"ldaps://" + ln.Addr().String()}, c.URLs...)
	d := open(t, c)
	a := find(t, d, "jon")
	wantReason(t, "password", d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)), "")
	stats := d.Stats()
	if f := stats.Servers[0].Failures; f.Connect == 0 || f.Lost+f.Timeout+f.Busy != 0 || stats.Servers[0].Up || stats.Servers[0].Binds != 0 {
		t.Errorf("the server that is away: %+v", stats.Servers[0])
	}
	if stats.Failovers == 0 {
		t.Error("no failover is counted")
	}
	if f := stats.Servers[1].Failures; f != (ldapauth.ServerFailures{}) || !stats.Servers[1].Up {
		t.Errorf("the server that answers: %+v", stats.Servers[1])
	}
}

func TestAServerThatFallsSilentIsCountedAsThat(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	c.Timeout = setting.Duration(time.Second)
	d := open(t, c)
	a := find(t, d, "jon")
	s.SetDelay(time.Hour)
	under := make(chan ldapauth.ServerStats, 1)
	time.AfterFunc(300*time.Millisecond, func() { under <- statsOf(d)[0] })
	if err := d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)); !errors.Is(err, ldapauth.ErrUnanswered) {
		t.Fatal(err)
	}
	if n := (<-under).Binding; n != 1 {
		t.Errorf("%d passwords were under way, want 1", n)
	}
	f := statsOf(d)[0].Failures
	if f.Timeout == 0 || f.Lost+f.Busy != 0 {
		t.Errorf("%+v", f)
	}
}

// TestWhoGivesUpIsNoFailureOfTheServer: a browser that goes away says nothing of
// a directory.
func TestWhoGivesUpIsNoFailureOfTheServer(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	d := open(t, c)
	a := find(t, d, "jon")
	s.SetDelay(500 * time.Millisecond)
	gone, leave := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, leave)
	if err := d.Bind(gone, a, secret.New(memdir.SamplePassword)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if f := statsOf(d)[0].Failures; f != (ldapauth.ServerFailures{}) {
		t.Errorf("%+v", f)
	}
}

func TestProbesTellWhichDirectoryDoesNotAnswer(t *testing.T) {
	_, north := memoryAt(t, "DC=north,DC=example", memdir.ActiveDirectory)
	gone, south := memoryAt(t, "DC=south,DC=example", memdir.ActiveDirectory)
	north.Suffixes, south.Suffixes = []string{"north.example"}, []string{"south.example"}
	c := ldapauth.DefaultDomains()
	c.Domains = []ldapauth.Config{north, south}
	s, err := ldapauth.NewDomains(c, ldapauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, p := range s.Probes(t.Context()) {
		if p.Err != nil {
			t.Errorf("%s: %v", p.Domain, p.Err)
		}
	}
	_ = gone.Close()
	probes := s.Probes(t.Context())
	if len(probes) != 2 || probes[0].Domain != "north.example" || probes[0].Err != nil || probes[1].Domain != "south.example" || probes[1].Err == nil {
		t.Errorf("%+v", probes)
	}
	names := s.Stats()
	if len(names) != 2 || names[0].Name != "north.example" || names[1].Name != "south.example" {
		t.Errorf("%+v", names)
	}
}

func BenchmarkStats(b *testing.B) {
	_, c := memory(b, memdir.ActiveDirectory)
	d := open(b, c)
	find(b, d, "jon")
	b.ReportAllocs()
	for b.Loop() {
		d.Stats()
	}
}
