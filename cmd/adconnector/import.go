package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"adconnector/connector/migrate"
	"adconnector/ldapauth/secret"

	"github.com/urfave/cli/v3"
)

// maxPassword is far more than any password needs.
const maxPassword = 64 << 10

func importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "make a configuration from Auth0's AD/LDAP Connector",
		Description: `Reads an installation of Auth0's AD/LDAP Connector (its folder, its config.json, or the archive that
its administration page exports) and writes a configuration that does the same: directory, queries,
groups, certificates, the ticket, and the key that signs tokens, so that the tenant goes on trusting
it. Secrets go into files of their own. Prints what could not be taken over and why, what is left to
decide, and the way back. The old installation is only read, and can go on running.

   adconnector import --from "C:\Program Files (x86)\Auth0\AD LDAP Connector" --out C:\adconnector

   ✓ taken over    ≈ taken over, but not the same for everybody    ✗ not taken over
   · no longer needed    ! to decide

Exit code 0 if everything was taken over that had an effect (✓, ≈), 1 if the configuration was written but
something was not taken over (✗), 2 if nothing was written: wrong usage, or an installation that cannot be
read.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Required: true, TakesFile: true, Usage: "the old connector: its folder, config.json or export (`PATH`)"},
			&cli.StringFlag{Name: "out", Required: true, TakesFile: true, Usage: "the `FOLDER` for the new configuration, which must be new or empty"},
			&cli.StringFlag{Name: "bind-password-file", TakesFile: true, Usage: "a `FILE` with the password of the account that looks people up, if the installation does not hold it"},
			jsonFlag(),
		},
		OnUsageError: usageError,
		Action: noArguments(func(_ context.Context, cmd *cli.Command) error {
			o := migrate.Options{From: cmd.String("from"), Out: cmd.String("out")}
			if file := cmd.String("bind-password-file"); file != "" {
				password, err := readPassword(file)
				if err != nil {
					return &exitError{exitUsage, err}
				}
				o.BindPassword = password
			}
			report, err := migrate.Run(o)
			if err != nil {
				return &exitError{exitFault, err}
			}
			if err := show(cmd, report); err != nil {
				return err
			}
			if len(report.Left) > 0 {
				return &exitError{code: exitNo}
			}
			return nil
		}),
	}
}

// readPassword reads a file that holds a password and nothing else.
func readPassword(name string) (secret.String, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return secret.String{}, fmt.Errorf("--bind-password-file: %w", err)
	}
	text := strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), "\r\n")
	if text == "" || len(data) > maxPassword {
		return secret.String{}, fmt.Errorf("--bind-password-file: %s is empty or too large; write the password into it, and nothing else", name)
	}
	return secret.New(text), nil
}
