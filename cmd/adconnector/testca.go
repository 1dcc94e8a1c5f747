package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"adconnector/connector/private"
	"adconnector/ldapauth/testca"

	"github.com/urfave/cli/v3"
)

// Defaults of testca.
var (
	testHosts = []string{"localhost", "127.0.0.1", "::1"}
	testUsers = []string{"jon"}
)

const testPassword = "changeit"

func testcaCommand() *cli.Command {
	return &cli.Command{
		Name: "testca", Usage: "make an authority, certificates and a revocation list for trying things out",
		Description: `Makes, in a folder of its own: an authority (ca.crt, ca.key), its revocation list (ca.crl), a
certificate for the server (server.crt, .key, .pfx) and one for each user (NAME.crt, .key, .pfx), and
says what to put where. Nothing is overwritten. The keys lie there open, for the owner of the folder to
read: do not use them for anything that matters.

   adconnector testca --dir try --user jon --user amy --revoked dora
   openssl verify -crl_check -CAfile try/ca.crt -CRLfile try/ca.crl try/jon.crt

Exit code 0 if all is made, 1 if something is in the way, 2 if the usage is wrong.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Required: true, Usage: "the `FOLDER` for the files; it is made"},
			&cli.StringSliceFlag{Name: "user", Aliases: []string{"u"}, Usage: "a `NAME` that gets a certificate; may be given again (without any name: jon)"},
			&cli.StringSliceFlag{Name: "revoked", Usage: "a `NAME` whose certificate is on the revocation list"},
			&cli.StringSliceFlag{Name: "self-signed", Usage: "a `NAME` whose certificate nobody has issued"},
			&cli.StringSliceFlag{Name: "host", Usage: "a DNS `NAME` or address of the server (without any: localhost, 127.0.0.1 and ::1)"},
			&cli.StringFlag{Name: "pfx-password", Value: testPassword, Usage: "the `PASSWORD` of the PFX files"},
		},
		OnUsageError: usageError,
		Action: noArguments(func(_ context.Context, cmd *cli.Command) error {
			o := testca.Order{
				CommonName: "adconnector test CA", Hosts: cmd.StringSlice("host"), Users: cmd.StringSlice("user"),
				Revoked: cmd.StringSlice("revoked"), SelfSigned: cmd.StringSlice("self-signed"), Password: cmd.String("pfx-password"),
			}
			if len(o.Hosts) == 0 {
				o.Hosts = testHosts
			}
			if len(o.Users)+len(o.Revoked)+len(o.SelfSigned) == 0 {
				o.Users = testUsers
			}
			return makeTestCA(cmd, o)
		}),
	}
}

func makeTestCA(cmd *cli.Command, o testca.Order) error {
	kit, err := testca.NewKit(o)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	path, err := filepath.Abs(cmd.String("dir"))
	if err != nil {
		return err
	}
	dir, err := private.Open(path)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	if err := kit.Write(dir.Path("")); err != nil {
		return err
	}
	var problems []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(cmd.Root().Writer, format+"\n", args...)
		problems = append(problems, err)
	}
	say("Made in %s, for trying things out only: whoever can read the keys can be anybody.\n", dir.Path(""))
	say("For adconnector.yaml:\n")
	say("tls: {cert_file: %q, key_file: %q}", dir.Path("server.crt"), dir.Path("server.key"))
	say("certificate:")
	say("  ip_ranges: [127.0.0.1, \"::1\"]")
	say("  ca_files: [%q]", dir.Path("ca.crt"))
	say("  revocation: {mode: offline, crl_files: [%q]}", dir.Path("ca.crl"))
	if len(o.SelfSigned) > 0 {
		say("  accept: all")
		say("  self_signed_files:")
	}
	for _, name := range o.SelfSigned {
		say("    - %q", dir.Path(name+".crt"))
	}
	say("\nFor the browser: import %s as an authority that identifies websites, and one of", dir.Path("ca.crt"))
	for _, name := range slices.Concat(o.Users, o.Revoked, o.SelfSigned) {
		note := ""
		if slices.Contains(o.Revoked, name) {
			note = " (revoked)"
		}
		say("  %s%s", dir.Path(name+".pfx"), note)
	}
	say("with the password %q.", o.Password)
	return errors.Join(problems...)
}
