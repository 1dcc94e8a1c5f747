package ldapauth_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
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
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"

	"github.com/jcmturner/gokrb5/v8/keytab"
)

const principal = "svc-connector@" + dirtest.Realm

// byHost writes localhost for 127.0.0.1: tickets are for names.
func byHost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

// byKeytab returns the configuration for Samba with Kerberos in the place of a
// password.
func byKeytab(t *testing.T, s *dirtest.Server) ldapauth.Config {
	t.Helper()
	c := real(s)
	c.URLs = []string{byHost(s.URL)}
	c.BindDN, c.BindPassword = "", secret.String{}
	c.BindKeytabFile = setting.File(s.Keytab(t, "svc-connector"))
	c.BindPrincipal = principal
	c.Krb5ConfFile = setting.File(s.Krb5Conf(t, s.KDC))
	return c
}

// byCertificate starts an OpenLDAP that takes client certificates, and returns
// the configuration for it with one in the place of a password, and the CA.
func byCertificate(t *testing.T) (*dirtest.Server, ldapauth.Config, *testca.CA) {
	t.Helper()
	ca, err := testca.New("Service Accounts CA")
	if err != nil {
		t.Fatal(err)
	}
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{ClientCA: ca.PEM()})
	c := real(s)
	c.BindDN, c.BindPassword = "", secret.String{}
	c.PasswordPolicyDN = "cn=default,ou=policies," + s.BaseDN
	dir := t.TempDir()
	c.BindCertFile, c.BindKeyFile = setting.File(filepath.Join(dir, "svc.crt")), setting.File(filepath.Join(dir, "svc.key"))
	writeLeaf(t, c, ca, "svc-connector")
	return s, c, ca
}

// writeLeaf writes a client certificate to the files that c names.
func writeLeaf(t *testing.T, c ldapauth.Config, ca *testca.CA, name string, mods ...func(*x509.Certificate)) {
	t.Helper()
	leaf, err := ca.Client(name, mods...)
	if err != nil {
		t.Fatal(err)
	}
	for file, data := range map[setting.File][]byte{c.BindCertFile: leaf.CertPEM(), c.BindKeyFile: leaf.KeyPEM()} {
		if err := os.WriteFile(string(file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// signsIn checks that the service account finds jon and that jon's password is
// judged.
func signsIn(t *testing.T, d *ldapauth.Directory, s *dirtest.Server) {
	t.Helper()
	a := find(t, d, "jon")
	if groups, err := d.Groups(t.Context(), a); err != nil || len(groups) < 5 {
		t.Errorf("groups %q, error %v", groups, err)
	}
	if err := d.Bind(t.Context(), a, secret.New(s.Password)); err != nil {
		t.Errorf("the right password: %v", err)
	}
	wantReason(t, "a wrong password", d.Bind(t.Context(), a, secret.New("wrong")), denial.BadCredentials)
}

func TestServiceAccountByCertificate(t *testing.T) {
	s, c, _ := byCertificate(t)
	t.Run("ldaps", func(t *testing.T) { signsIn(t, open(t, c), s) })
	t.Run("start_tls", func(t *testing.T) {
		c := c
		c.URLs, c.StartTLS = []string{s.PlainURL}, true
		signsIn(t, open(t, c), s)
	})
	t.Run("check says who it is and until when", func(t *testing.T) {
		level, text := worst(open(t, c).Check(t.Context()))
		if level != ldapauth.OK || !strings.Contains(text, `accepts the certificate of "CN=svc-connector" as dn:cn=svc-connector,ou=service,`) ||
			!strings.Contains(text, "ldap.bind_cert_file is valid until") {
			t.Errorf("findings:\n%s", text)
		}
	})
}

func TestServiceCertificateIsNeverShownWhereUsersSignIn(t *testing.T) {
	s, c, _ := byCertificate(t)
	d := open(t, c)
	a := find(t, d, "jon")
	before := len(s.Log())
	if err := d.Bind(t.Context(), a, secret.New(s.Password)); err != nil {
		t.Fatal(err)
	}
	if log := s.Log()[before:]; strings.Contains(log, "client DN") || strings.Contains(log, "svc-connector") || !strings.Contains(log, "uid=jon") {
		t.Errorf("the service account's certificate was shown on a connection for a password:\n%s", log)
	}
}

func TestServiceCertificateIsReadAgainWhenItWasRenewed(t *testing.T) {
	s, c, ca := byCertificate(t)
	var log bytes.Buffer
	d := openWith(t, c, ldapauth.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	find(t, d, "jon")
	key, err := os.ReadFile(string(c.BindKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(c.BindKeyFile), key[:len(key)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start(t)
	find(t, d, "jon") // with what the files held before
	writeLeaf(t, c, ca, "somebody-else")
	s.Stop()
	s.Start(t)
	if _, err := d.FindByName(t.Context(), "jon"); err == nil {
		t.Error("the new certificate is somebody else's, and jon was found")
	}
	d.Close()
	if !strings.Contains(log.String(), "the one from before is used") {
		t.Errorf("nothing was logged of files that cannot be read:\n%s", log.String())
	}
}

func TestServiceCertificateThatIsNotAcceptedIsSaidSo(t *testing.T) {
	_, c, ca := byCertificate(t)
	stranger, err := testca.New("Unknown CA")
	if err != nil {
		t.Fatal(err)
	}
	plain := real(dirtest.SharedOpenLDAP(t)) // asks nobody for a certificate
	samba := real(dirtest.SharedSambaAD(t))  // maps certificates to nobody
	startTLS := samba
	startTLS.URLs, startTLS.StartTLS = []string{dirtest.SharedSambaAD(t).PlainURL}, true
	strict := good() // says why it hangs up
	ln, caFile := listenWith(t, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()})
	strict.URLs, strict.CAFiles = []string{"ldaps://" + ln.Addr().String()}, []setting.File{caFile}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = nc.Read(make([]byte, 1)); _ = nc.Close() }()
		}
	}()
	for _, tt := range []struct {
		name   string
		ca     *testca.CA
		config ldapauth.Config
		stays  bool
	}{
		{"unknown issuer, and no word about it", stranger, c, false},
		{"unknown issuer, said so in TLS", stranger, strict, true},
		{"the server asks for none", ca, plain, true},
		{"a domain controller, from the first byte", ca, samba, true},
		{"a domain controller, with StartTLS", ca, startTLS, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := tt.config
			config.BindDN, config.BindPassword = "", secret.String{}
			config.BindCertFile, config.BindKeyFile = c.BindCertFile, c.BindKeyFile
			writeLeaf(t, c, tt.ca, "svc-connector")
			d := open(t, config)
			_, err := d.FindByName(t.Context(), "jon")
			if ldapauth.Misconfigured(err) != tt.stays || !strings.Contains(err.Error(), "bind_cert_file") || !strings.Contains(err.Error(), "TLSVerifyClient") {
				t.Errorf("misconfigured %v, want %v: error %v", ldapauth.Misconfigured(err), tt.stays, err)
			}
			if level, text := worst(d.Check(t.Context())); level != ldapauth.Failure || !strings.Contains(text, "TLSVerifyClient") {
				t.Errorf("findings:\n%s", text)
			}
		})
	}
}

func TestCheckWarnsOfAServiceCertificateThatEnds(t *testing.T) {
	_, c, ca := byCertificate(t)
	writeLeaf(t, c, ca, "svc-connector", func(x *x509.Certificate) { x.NotAfter = time.Now().Add(5*24*time.Hour + time.Hour) })
	level, text := worst(open(t, c).Check(t.Context()))
	if level != ldapauth.Warning || !strings.Contains(text, "in 5 days: replace it soon") {
		t.Errorf("findings:\n%s", text)
	}
}

func TestServiceAccountByKerberos(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	c := byKeytab(t, s)
	t.Run("ldaps", func(t *testing.T) { signsIn(t, open(t, c), s) })
	t.Run("start_tls", func(t *testing.T) {
		c := c
		c.URLs, c.StartTLS = []string{byHost(s.PlainURL)}, true
		signsIn(t, open(t, c), s)
	})
	t.Run("check says who it is", func(t *testing.T) {
		level, text := worst(open(t, c).Check(t.Context()))
		if level != ldapauth.OK || !strings.Contains(text, "accepts the service account "+principal+", by Kerberos") {
			t.Errorf("findings:\n%s", text)
		}
	})
}

func TestKerberosThatFailsIsSaidInWords(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	good := byKeytab(t, s)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	for _, tt := range []struct {
		name   string
		change func(*ldapauth.Config)
		stays  bool // until somebody changes something
		want   string
	}{
		{"a host that no service is called by", func(c *ldapauth.Config) { c.URLs = []string{s.URL} }, true, "the full name of the domain controller"},
		{"no KDC there", func(c *ldapauth.Config) { c.Krb5ConfFile = setting.File(s.Krb5Conf(t, nobody.Addr().String())) }, false, "the Kerberos server " + nobody.Addr().String()},
		{"another realm's KDC", func(c *ldapauth.Config) {
			c.Krb5ConfFile = ""
		}, false, "write one into ldap.krb5_conf_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			_, err := open(t, c).FindByName(t.Context(), "jon")
			if err == nil || !strings.Contains(err.Error(), tt.want) || ldapauth.Misconfigured(err) != tt.stays {
				t.Errorf("error %v, want %q (misconfigured: %v)", err, tt.want, tt.stays)
			}
		})
	}
}

// A KDC that takes connections and says nothing, or the wrong thing, must
// neither hold up a sign-in for longer than ldap.timeout nor fill the memory.
func TestKDCThatMisbehavesCostsNoMoreThanTheTimeout(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	good := byKeytab(t, s)
	for name, answer := range map[string][]byte{
		"says nothing":             nil,
		"announces four gigabytes": {0xff, 0xff, 0xff, 0xff, 0},
		"speaks nonsense":          {0, 0, 0, 4, 0x6b, 0x84, 0xff, 0xff},
		"sends an empty answer":    {0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			kdc, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = kdc.Close() }()
			go func() {
				for {
					c, err := kdc.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write(answer)
					defer func() { _ = c.Close() }()
				}
			}()
			c := good
			c.Timeout = setting.Duration(time.Second)
			c.Krb5ConfFile = setting.File(s.Krb5Conf(t, kdc.Addr().String()))
			d := open(t, c)
			start := time.Now()
			_, err = d.FindByName(t.Context(), "jon")
			if took := time.Since(start); err == nil || took > 5*time.Second {
				t.Errorf("error %v after %v", err, took)
			}
			d.Close() // waits for everything that runs; TestMain looks for goroutines
		})
	}
}

func TestKerberosEndsWithItsCaller(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	kdc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kdc.Close() }()
	c := byKeytab(t, s)
	c.Timeout = setting.Duration(time.Minute)
	c.Krb5ConfFile = setting.File(s.Krb5Conf(t, kdc.Addr().String()))
	d := open(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.FindByName(ctx, "jon"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	done := make(chan struct{})
	go func() { d.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("closing waits for a KDC that says nothing")
	}
}

func TestFilesOfTheServiceAccountThatCannotBeUsedStopTheStart(t *testing.T) {
	dir := t.TempDir()
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	one, err := ca.Client("one")
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.Client("other")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) setting.File {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return setting.File(file)
	}
	cert, key := write("one.crt", one.CertPEM()), write("one.key", one.KeyPEM())
	refuse := func(string) (string, error) { return "", errors.New("everybody may read it") }
	for _, tt := range []struct {
		name   string
		change func(*ldapauth.Config)
		rights ldapauth.CheckFile
		want   string
	}{
		{"no certificate", func(c *ldapauth.Config) { c.BindCertFile, c.BindKeyFile = "nowhere.crt", key }, nil, "bind_cert_file: "},
		{"no key", func(c *ldapauth.Config) { c.BindCertFile, c.BindKeyFile = cert, "nowhere.key" }, nil, "bind_key_file: "},
		{"another key", func(c *ldapauth.Config) { c.BindCertFile, c.BindKeyFile = cert, write("other.key", other.KeyPEM()) }, nil, "no certificate with its key"},
		{"a key that others can read", func(c *ldapauth.Config) { c.BindCertFile, c.BindKeyFile = cert, key }, refuse, "bind_key_file: everybody"},
		{"no keytab", func(c *ldapauth.Config) { c.BindKeytabFile, c.BindPrincipal = "nowhere.keytab", principal }, nil, "bind_keytab_file: "},
		{"not a keytab", func(c *ldapauth.Config) { c.BindKeytabFile, c.BindPrincipal = key, principal }, nil, "is no keytab"},
		{"an empty keytab", func(c *ldapauth.Config) { c.BindKeytabFile, c.BindPrincipal = write("empty", nil), principal }, nil, "is no keytab"},
		{"a keytab that others can read", func(c *ldapauth.Config) { c.BindKeytabFile, c.BindPrincipal = key, principal }, refuse, "bind_keytab_file: everybody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			c.BindDN, c.BindPassword = "", secret.String{}
			tt.change(&c)
			d, err := ldapauth.New(c, ldapauth.Options{CheckFile: tt.rights})
			if err == nil {
				d.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestKeytabMustHoldTheAccountsKeys(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	c := byKeytab(t, s)
	c.BindPrincipal = "svc-connector@corp.example.test" // not in capitals
	_, err := ldapauth.New(c, ldapauth.Options{})
	if err == nil || !strings.Contains(err.Error(), "but of: "+principal) {
		t.Errorf("error %v", err)
	}
	const rc4 = 23
	weak := keytab.New()
	if err := weak.AddEntry("svc-connector", dirtest.Realm, "password", time.Now(), 1, rc4); err != nil {
		t.Fatal(err)
	}
	data, err := weak.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "weak.keytab")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c.BindPrincipal, c.BindKeytabFile = principal, setting.File(file)
	if _, err := ldapauth.New(c, ldapauth.Options{}); err == nil || !strings.Contains(err.Error(), "no AES key") {
		t.Errorf("a keytab with RC4 alone: error %v", err)
	}
}

// Whoever changes the account's password exports a new keytab, and restarts
// nothing.
func TestAKeytabThatWasExportedAgainIsUsedAtOnce(t *testing.T) {
	s := dirtest.SambaAD(t)
	c := byKeytab(t, s)
	now := time.Now()
	d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return now }}) // so that no pause ends
	s.ServicePassword(t)                                                        // and with it another key
	for range 3 {
		_, err := d.FindByName(t.Context(), "jon")
		if !ldapauth.Misconfigured(err) || !strings.Contains(err.Error(), "export the keytab again") {
			t.Errorf("the keytab from before: error %v", err)
		}
	}
	fresh, err := os.ReadFile(s.Keytab(t, "svc-connector"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(c.BindKeytabFile), fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	find(t, d, "jon")
}

func TestAKeytabThatIsJustBeingReplacedDoesNoHarm(t *testing.T) {
	c := byKeytab(t, dirtest.SharedSambaAD(t))
	var log bytes.Buffer
	d := openWith(t, c, ldapauth.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	data, err := os.ReadFile(string(c.BindKeytabFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, len(data) / 2} {
		if err := os.WriteFile(string(c.BindKeytabFile), data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if level, text := worst(d.Check(t.Context())); level == ldapauth.Failure {
			t.Errorf("with %d of %d bytes:\n%s", n, len(data), text)
		}
	}
	d.Close()
	if !strings.Contains(log.String(), "the one from before is used") {
		t.Errorf("nothing was logged of a file that cannot be read:\n%s", log.String())
	}
}

func TestAConnectionIsReplacedLongBeforeItsTicketEnds(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	c := byKeytab(t, s)
	kdc, asked := counted(t, s.KDC)
	c.Krb5ConfFile = setting.File(s.Krb5Conf(t, kdc))
	var later atomic.Int64
	d := openWith(t, c, ldapauth.Options{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	find(t, d, "jon")
	first := asked.Load()
	later.Store(int64(50 * time.Minute))
	find(t, d, "jon")
	if n := asked.Load(); n != first {
		t.Errorf("%d questions to the KDC after 50 minutes, %d before", n, first)
	}
	later.Store(int64(61 * time.Minute))
	for end := time.Now().Add(10 * time.Second); asked.Load() == first; time.Sleep(50 * time.Millisecond) {
		find(t, d, "jon") // with the old connection, or the new one
		if time.Now().After(end) {
			t.Fatal("no other connection after 61 minutes")
		}
	}
	// A KDC that is down meanwhile is no reason to lose the one that there is.
	kdc, _ = counted(t, "127.0.0.1:1")
	if err := os.WriteFile(string(c.Krb5ConfFile), must(os.ReadFile(s.Krb5Conf(t, kdc))), 0o600); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(3 * time.Hour))
	for range 20 {
		find(t, d, "jon")
		time.Sleep(10 * time.Millisecond)
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// counted returns an address at which connections are passed on, and how many
// there were.
func counted(t *testing.T, to string) (address string, connections *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int64)
	var running sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			running.Go(func() {
				defer func() { _ = c.Close() }()
				far, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = far.Close() }()
				running.Go(func() { _, _ = io.Copy(far, c); _ = far.Close() })
				_, _ = io.Copy(c, far)
			})
		}
	})
	return ln.Addr().String(), connections
}
