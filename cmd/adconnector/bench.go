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

	"adconnector/connector"
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

Without --url it starts a connector and a directory of its own on the loopback address. Then it
also measures the directory by itself: password sign-ins without a browser beside bare binds, and
the search for an account beside the same search by the LDAP library alone. With --config it
measures that of the directory in the file, which need not belong to a connector that runs. Name
several people for it: of one account's attempts only a few may be under way at a time.

   adconnector bench
   adconnector bench --config adconnector.yaml --user amy --user ben --user cleo --password-file FILE
   adconnector bench --memory --count 100000
   adconnector bench --url https://login.fabrikam.example --realm urn:auth0:fabrikam \
       --cert jon.crt --key jon.key --ca ca.crt --pid 4711`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 2000, Usage: "sign-ins of each kind"},
			&cli.IntFlag{Name: "concurrency", Value: 4, Usage: "how many at a time (with --config: 16)"},
			&cli.BoolFlag{Name: "memory", Usage: "one series of sign-ins, with the connector's memory after each tenth"},
			&cli.StringFlag{Name: "url", Usage: "the connector's `URL`, as in its configuration"},
			&cli.StringFlag{Name: "realm", Usage: "the `REALM` of a relying party that the connector knows"},
			&cli.StringFlag{Name: "ca", TakesFile: true, Usage: "`FILE` with the CA of the connector's certificate (default: the system's)"},
			&cli.StringFlag{Name: "cert", TakesFile: true, Usage: "`FILE` with a client certificate (PEM), for sign-ins by certificate"},
			&cli.StringFlag{Name: "key", TakesFile: true, Usage: "`FILE` with its key (PEM)"},
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, TakesFile: true, Usage: "measure the directory that configuration `FILE` names"},
			&cli.StringSliceFlag{Name: "user", Usage: "user `NAME`, for sign-ins by password; several with --config"},
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
	if file := cmd.String("config"); file != "" {
		return benchDirectory(ctx, cmd, file)
	}
	return bench.Run(ctx, o)
}

// benchDirectory measures the directory that a configuration file names.
func benchDirectory(ctx context.Context, cmd *cli.Command, file string) error {
	config, err := connector.LoadConfig(file)
	if err != nil {
		return err
	}
	o := bench.DirectoryOptions{Out: cmd.Root().Writer, Count: cmd.Int("count"), Concurrency: bench.DirectoryConcurrency, Config: config, Usernames: cmd.StringSlice("user")}
	if cmd.IsSet("concurrency") {
		o.Concurrency = cmd.Int("concurrency")
	}
	if len(o.Usernames) == 0 {
		return &exitError{exitUsage, errors.New("--config needs --user, once for each of the people who sign in, and --password-file")}
	}
	if o.Password, err = benchPassword(cmd); err != nil {
		return &exitError{exitUsage, err}
	}
	return bench.Directory(ctx, o)
}

// benchPassword reads the password of the people who sign in.
func benchPassword(cmd *cli.Command) (string, error) {
	password, err := os.ReadFile(cmd.String("password-file"))
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	return strings.TrimRight(string(password), "\r\n"), nil
}

// benchTarget reads what the options say about a connector that runs already.
func benchTarget(cmd *cli.Command) (bench.Target, error) {
	t := bench.Target{URL: cmd.String("url"), Realm: cmd.String("realm"), PID: cmd.Int("pid")}
	if users := cmd.StringSlice("user"); len(users) > 1 {
		return t, errors.New("give --user once with --url")
	} else if len(users) == 1 {
		t.Username = users[0]
	}
	if t.Realm == "" {
		return t, errors.New("--realm is needed with --url: the realm of a relying party in the connector's configuration")
	}
	var err error
	var files []string
	if cmd.String("ca") != "" {
		files = append(files, cmd.String("ca"))
	}
	if t.Roots, err = bench.LoadRoots(files...); err != nil {
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
		if t.Password, err = benchPassword(cmd); err != nil {
			return t, err
		}
	}
	if t.Client == nil && t.Username == "" {
		return t, errors.New("give --cert and --key, or --user and --password-file, or all of them")
	}
	return t, nil
}
