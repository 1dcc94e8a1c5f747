package ldapauth_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"

	"go.uber.org/goleak"
)

// two starts two servers with the same content and returns the configuration
// for both.
func two(t testing.TB) (first, second *memdir.Server, c ldapauth.Config) {
	t.Helper()
	first, c = memory(t, memdir.ActiveDirectory)
	second, c2 := memory(t, memdir.ActiveDirectory)
	c.URLs, c.CAFiles = append(c.URLs, c2.URLs...), append(c.CAFiles, c2.CAFiles...)
	return first, second, c
}

func TestADeadServerCostsOneSearchASecondAndLaterOnesNothing(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory)
	c.URLs = append([]string{"ldaps://" + frozen(t)}, c.URLs...)
	d := open(t, c) // with a timeout of 5 s
	start := time.Now()
	a := find(t, d, "jon")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the first search took %v", took)
	}
	start = time.Now()
	for range 20 {
		find(t, d, "jon")
		wantReason(t, "password", d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)), "")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("20 sign-ins after it took %v", took)
	}
}

func TestADeadServerCostsOnePasswordASecondAndLaterOnesNothing(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory)
	a := find(t, open(t, c), "jon")
	c.URLs = append([]string{"ldaps://" + frozen(t)}, c.URLs...)
	d := open(t, c)
	before := s.Stats().Binds
	for i, most := range []time.Duration{3 * time.Second, time.Second, time.Second} {
		start := time.Now()
		wantReason(t, "password", d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)), "")
		if took := time.Since(start); took > most {
			t.Errorf("password %d took %v", i, took)
		}
	}
	if n := s.Stats().Binds - before; n != 3 {
		t.Errorf("%d binds for three passwords", n)
	}
}

func TestASearchOnAServerThatFreezesIsAskedElsewhereAfterASecond(t *testing.T) {
	first, _, c := two(t)
	d := open(t, c)
	find(t, d, "jon")
	first.SetDelay(time.Hour)
	start := time.Now()
	find(t, d, "jon")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the search took %v", took)
	}
}

func TestThePreferredServerIsTakenBackWithoutABurst(t *testing.T) {
	first, second, c := two(t)
	d := open(t, c)
	find(t, d, "jon")
	first.SetDelay(time.Hour)
	find(t, d, "jon")
	before := first.Stats().Connections
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := d.FindByName(t.Context(), "jon"); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	first.SetDelay(0)
	for deadline, seen := time.Now().Add(30*time.Second), second.Stats().Searches; ; {
		time.Sleep(200 * time.Millisecond)
		n := second.Stats().Searches
		if n == seen { // everybody is back with the first one
			break
		}
		if seen = n; time.Now().After(deadline) {
			t.Fatal("the preferred server is not used again")
		}
	}
	close(stop)
	crowd.Wait()
	// A look or two, and what more than 16 searches at a time on one connection ask for.
	if n := first.Stats().Connections - before; n > uint64(c.Pool.Search)+2 {
		t.Errorf("%d connections were made to the server that came back", n)
	}
}

// A connection over which nothing comes any more: the other machine is gone, or
// a firewall forgot it.
func TestASilentlyDeadConnectionIsFoundWithinSixSeconds(t *testing.T) {
	for name, use := range map[string]bool{"idle": false, "with a request under way": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{Wire: true})
			c := real(s)
			c.Timeout = setting.Duration(time.Minute)
			d := open(t, c)
			find(t, d, "jon")
			time.Sleep(200 * time.Millisecond) // until all has been acknowledged: what the server sends again is not lost here
			restore := s.DropPackets(t)
			start := time.Now()
			found := make(chan error, 1)
			if use {
				go func() {
					_, err := d.FindByName(t.Context(), "jon")
					found <- err
				}()
			} else {
				found <- nil
			}
			for d.Connected() > 0 {
				if time.Since(start) > 20*time.Second {
					t.Fatal("the connection is still taken for good")
				}
				time.Sleep(20 * time.Millisecond)
			}
			if took := time.Since(start); took > 7*time.Second { // and a second for the machine
				t.Errorf("it took %v", took)
			}
			restore()
			if err := <-found; err != nil {
				t.Errorf("the search that was under way: %v", err)
			}
			find(t, d, "jon")
		})
	}
}

func TestNothingIsLeftOfServersInTrouble(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory)
	before := goleak.IgnoreCurrent()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	c.URLs = append([]string{"ldaps://" + frozen(t), "ldaps://" + gone.Addr().String()}, c.URLs...)
	z := newZone(t)
	z.setSilent(true)
	lost := c
	lost.URLs, lost.Discover = nil, domain
	inner := goleak.IgnoreCurrent()
	for _, c := range []ldapauth.Config{c, lost} {
		d, err := ldapauth.New(short(c), ldapauth.Options{Resolver: z.resolver()})
		if err != nil {
			t.Fatal(err)
		}
		var crowd sync.WaitGroup
		for range 20 {
			crowd.Go(func() { _, _ = d.FindByName(t.Context(), "jon") })
		}
		crowd.Wait()
		start := time.Now()
		d.Close()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("closing took %v", took)
		}
	}
	goleak.VerifyNone(t, before, inner, goleak.IgnoreAnyFunction("adconnector/ldapauth/memdir.(*Server).serve"),
		goleak.IgnoreAnyFunction("adconnector/ldapauth/memdir.(*conn).serve"), goleak.IgnoreAnyFunction("io.Copy"))
}

func TestAnExpiredCertificateIsSaidToBe(t *testing.T) {
	ca, err := testca.New("Directory CA")
	if err != nil {
		t.Fatal(err)
	}
	_, c := memory(t, memdir.ActiveDirectory)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	c.CAFiles = []setting.File{setting.File(file)}
	for name, tt := range map[string]struct {
		from, to time.Duration
		want     string
	}{
		"over":        {-48 * time.Hour, -24 * time.Hour, "expired on " + time.Now().Add(-24*time.Hour).UTC().Format(time.DateOnly) + ": renew it on the server"},
		"not yet":     {24 * time.Hour, 48 * time.Hour, "check the clocks of both machines"},
		"for clients": {-time.Hour, time.Hour, "have a server certificate issued for 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			usage := x509.ExtKeyUsageServerAuth
			if name == "for clients" {
				usage = x509.ExtKeyUsageClientAuth
			}
			leaf, err := ca.Issue(&x509.Certificate{
				IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
				NotBefore: time.Now().Add(tt.from), NotAfter: time.Now().Add(tt.to),
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					nc, err := ln.Accept()
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(io.Discard, nc); _ = nc.Close() }()
				}
			}()
			c := c
			c.URLs = []string{"ldaps://" + ln.Addr().String()}
			if _, err := open(t, c).FindByName(t.Context(), "jon"); err == nil || !strings.Contains(err.Error(), tt.want) || !ldapauth.Misconfigured(err) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSambaSaysWhatIsWrongWithTheServiceAccount(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	for account, want := range map[string]string{
		"dis": "disabled: enable it", "exp": "account has expired", "mcp": "must be changed first",
		"pwx": "password has expired", "hrs": "at this hour",
	} {
		c := real(s)
		c.BindDN, c.BindPassword = s.DN(t, account), secret.New(s.Password)
		_, err := open(t, c).FindByName(t.Context(), "jon")
		if err == nil || !strings.Contains(err.Error(), want) || !ldapauth.Misconfigured(err) {
			t.Errorf("%s: %v, want %q", account, err, want)
		}
	}
}

func TestE7_ADomainControllerThatDemandsEncryptionIsSaidTo(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	c := real(s)
	c.URLs = []string{s.PlainURL}
	_, err := open(t, c).FindByName(t.Context(), "jon")
	if err == nil || !strings.Contains(err.Error(), "write ldaps:// or set ldap.start_tls: true") || !ldapauth.Misconfigured(err) {
		t.Errorf("error %v", err)
	}
}

// Domains elsewhere are where the base is not: nobody is asked about them.
func TestE7_SambaIsAskedForWhatItHoldsAlone(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	c := real(s)
	c.BaseDN = setting.OneOrMore{"DC=elsewhere,DC=test"}
	_, err := open(t, c).FindByName(t.Context(), "jon")
	if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ldap.base_dn") && !strings.Contains(err.Error(), "list that server in ldap.urls") {
		t.Errorf("error %v", err)
	}
}

// Several directories that share the service account wear its lockout down
// together.
func TestE4_ARefusedServiceAccountOfSeveralDomainsIsTriedNoMoreOften(t *testing.T) {
	first, c := memory(t, memdir.ActiveDirectory)
	second, c2 := memory(t, memdir.ActiveDirectory)
	c.BindPassword, c2.BindPassword = secret.New("Wrong-Service-1"), secret.New("Wrong-Service-1")
	c.Suffixes, c2.Suffixes = []string{"one.test"}, []string{"two.test"}
	var now atomic.Int64
	s, err := ldapauth.NewDomains(ldapauth.DomainsConfig{Config: ldapauth.DefaultConfig(), Domains: []ldapauth.Config{c, c2}},
		ldapauth.Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for at := range int64(20) {
		now.Store(at)
		_, _ = s.FindByName(t.Context(), "jon")
	}
	if n := first.Stats().Binds + second.Stats().Binds; n > 2 {
		t.Errorf("%d binds, want at most 2", n)
	}
}
