package main

import (
	"context"
	"fmt"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "look at configuration, certificates and directory, and say what to do",
		Description: `Looks at everything that the configuration names: the server certificate, the CA files, each
directory server (reachable, its certificate, the service account, the base, one search for a user
and one for a group, its clock), when it locks accounts and how many guesses are let through, and the
relying parties. Nothing is changed and nobody is signed in.

   ✓ fine    ! works, but look at it    ✗ does not work

Exit code 0 if there is no ✗, 1 if there is one, 2 if the file itself is wrong.`,
		Flags:        []cli.Flag{configFlag()},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			c, err := loadConfig(cmd.String("config"))
			if err != nil {
				return err
			}
			w := cmd.Root().Writer
			_, _ = fmt.Fprintf(w, "✓ %s: no mistake in the file\n", cmd.String("config"))
			failures := 0
			connector.Check(ctx, c, func(f connector.Finding) {
				_, _ = fmt.Fprintf(w, "%s %s\n", f.Level.Mark(), f.Text)
				if f.Level == connector.Failure {
					failures++
				}
			})
			if failures > 0 {
				return &exitError{code: exitNo}
			}
			return nil
		}),
	}
}
