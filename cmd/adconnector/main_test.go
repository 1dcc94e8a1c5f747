package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/testca"

	"github.com/rogpeppe/go-internal/testscript"
)

// asProgram makes the test binary behave as the program, so that tests can
// start it as a process.
const asProgram = "ADCONNECTOR_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
	}
	testscript.Main(testMain{m}, map[string]func(){
		"adconnector": func() { os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr)) },
	})
}

// testMain stops the directories that tests share before the process ends.
type testMain struct{ m *testing.M }

func (t testMain) Run() int { return dirtest.Main(t.m) }

// TestScripts runs the program as the scripts in testdata/script say. A script
// has these commands besides the usual ones:
//
//	exits CODE PROGRAM ARG…    the program ends with exactly this exit code
//	certificates FOLDER        writes ca.crt, server.crt, server.key for localhost
//	mallory FILE               writes an expired self-signed certificate full of what terminals obey
//	directory FILE             starts a directory with the sample company and writes a configuration for it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        exits,
			"certificates": certificates,
			"directory":    directory,
			"mallory":      mallory,
		},
		// Where nothing may be missing, a script goes on without and fails.
		Condition: func(name string) (bool, error) {
			if name != "optional" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return !dirtest.Demanded(), nil
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func certificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificates FOLDER")
	}
	ts.Check(writeCertificates(ts.MkAbs(args[0])))
}

// writeCertificates makes a CA and a server certificate for localhost.
func writeCertificates(dir string) error {
	kit, err := testca.NewKit(testca.Order{CommonName: "Script CA", Hosts: []string{"localhost"}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return kit.Write(dir)
}

// bad is what terminals obey.
const bad = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202egnp.exe\U000e0041\r\n\tmallory"

func mallory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mallory FILE")
	}
	leaf, err := testca.SelfSigned(bad, func(c *x509.Certificate) {
		c.EmailAddresses = []string{"mallory\x1b[2J@example.com"}
		c.Issuer.Organization = []string{bad}
		c.Subject.Organization = []string{bad}
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), leaf.CertPEM(), 0o600))
}

// directory starts a directory in memory that ends with the script. Besides the
// sample company there is mallory, whose names are full of what terminals obey.
func directory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: directory FILE")
	}
	const base = "DC=fabrikam,DC=example"
	entries := append(memdir.Sample(base), memdir.Entry{DN: "CN=Mallory,OU=Staff," + base, Attributes: map[string][]string{
		"objectClass": {"top", "person", "organizationalPerson", "user"}, "sAMAccountName": {"mallory"}, "userAccountControl": {"512"},
		"pwdLastSet": {"133500000000000000"}, "displayName": {bad}, "mail": {bad}, "userWorkstations": {bad},
	}})
	s, err := memdir.New(memdir.Options{BaseDN: base, Entries: entries, Log: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(ln) }()
	ts.Defer(func() { _ = s.Close(); <-ended })
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), fmt.Appendf(nil, `
url: https://login.fabrikam.example
data_dir: data
tls: {cert_file: login.crt, key_file: login.key}
password: {}
ldap:
  urls: [ldap://%s]
  bind_dn: CN=svc-adconnector,OU=Services,%s
  bind_password: %s
  base_dn: %[2]s
`, ln.Addr(), base, memdir.ServicePassword), 0o600))
}
