package main

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"adconnector/ldapauth/dirtest"
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
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        exits,
			"certificates": certificates,
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
	ca, err := testca.New("Script CA")
	if err != nil {
		return err
	}
	leaf, err := ca.Server("localhost")
	if err != nil {
		return err
	}
	if _, err := tls.X509KeyPair(leaf.CertPEM(), leaf.KeyPEM()); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"ca.crt": ca.PEM(), "server.crt": leaf.CertPEM(), "server.key": leaf.KeyPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
