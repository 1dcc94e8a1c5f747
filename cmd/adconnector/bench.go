package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"adconnector/connector/bench"

	"github.com/urfave/cli/v3"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure sign-ins against a running connector",
		Description: `Signs in over and over from outside, each time on a new TLS connection, and prints rate, p50 and p99.
Where the connector runs on this machine (Linux) it prints its CPU time for one sign-in and its
memory as well. In the same run it measures what no certificate sign-in can do without: a TLS 1.3
handshake with a verified client certificate, and one RSA signature.

Without --url it starts a connector and a directory of its own on the loopback address.

   adconnector bench
   adconnector bench --memory --count 100000
   adconnector bench --url https://login.fabrikam.example --realm urn:auth0:fabrikam \
       --cert jon.crt --key jon.key --ca ca.crt --pid 4711`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 2000, Usage: "sign-ins of each kind"},
			&cli.IntFlag{Name: "concurrency", Value: 4, Usage: "how many at a time"},
			&cli.BoolFlag{Name: "memory", Usage: "one series of sign-ins, with the connector's memory after each tenth"},
			&cli.StringFlag{Name: "url", Usage: "the connector's `URL`, as in its configuration"},
			&cli.StringFlag{Name: "realm", Usage: "the `REALM` of a relying party that the connector knows"},
			&cli.StringFlag{Name: "ca", TakesFile: true, Usage: "`FILE` with the CA of the connector's certificate (default: the system's)"},
			&cli.StringFlag{Name: "cert", TakesFile: true, Usage: "`FILE` with a client certificate (PEM), for sign-ins by certificate"},
			&cli.StringFlag{Name: "key", TakesFile: true, Usage: "`FILE` with its key (PEM)"},
			&cli.StringFlag{Name: "user", Usage: "user `NAME`, for sign-ins by password"},
			&cli.StringFlag{Name: "password-file", TakesFile: true, Usage: "`FILE` with the password"},
			&cli.IntFlag{Name: "pid", Usage: "the connector's process `ID` on this machine, to measure its CPU time and memory"},
			&cli.StringFlag{Name: "part", Hidden: true},
			&cli.StringFlag{Name: "dir", Hidden: true},
		},
		OnUsageError: usageError,
		Action:       noArguments(runBench),
	}
}

func runBench(ctx context.Context, cmd *cli.Command) error {
	if part := cmd.String("part"); part != "" {
		return bench.ServePart(part, cmd.String("dir"), os.Stdin, cmd.Root().Writer)
	}
	o := bench.Options{
		Out: cmd.Root().Writer, Count: cmd.Int("count"), Concurrency: cmd.Int("concurrency"), Memory: cmd.Bool("memory"),
	}
	if o.Count < 1 || o.Concurrency < 1 {
		return &exitError{exitUsage, errors.New("--count and --concurrency must be at least 1")}
	}
	var err error
	if o.Program, err = os.Executable(); err != nil {
		return err
	}
	if cmd.String("url") != "" {
		if o.Target, err = benchTarget(cmd); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return bench.Run(ctx, o)
}

// benchTarget reads what the options say about a connector that runs already.
func benchTarget(cmd *cli.Command) (bench.Target, error) {
	t := bench.Target{URL: cmd.String("url"), Realm: cmd.String("realm"), Username: cmd.String("user"), PID: cmd.Int("pid")}
	if t.Realm == "" {
		return t, errors.New("--realm is needed with --url: the realm of a relying party in the connector's configuration")
	}
	var err error
	if t.Roots, err = bench.LoadRoots(cmd.String("ca")); err != nil {
		return t, fmt.Errorf("--ca: %w", err)
	}
	if cmd.String("cert") != "" {
		pair, err := tls.LoadX509KeyPair(cmd.String("cert"), cmd.String("key"))
		if err != nil {
			return t, fmt.Errorf("--cert and --key: %w", err)
		}
		t.Client = &pair
	}
	if t.Username != "" {
		password, err := os.ReadFile(cmd.String("password-file"))
		if err != nil {
			return t, fmt.Errorf("--password-file: %w", err)
		}
		t.Password = strings.TrimRight(string(password), "\r\n")
	}
	if t.Client == nil && t.Username == "" {
		return t, errors.New("give --cert and --key, or --user and --password-file, or all of them")
	}
	return t, nil
}
