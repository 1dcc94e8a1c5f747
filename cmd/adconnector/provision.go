package main

import (
	"context"
	"fmt"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

func provisionCommand() *cli.Command {
	return &cli.Command{
		Name: "provision", Usage: "make this service known to the tenant of the hub section, and show what it says",
		Description: `Asks the tenant by the ticket what the connection is, tells it the signing certificate and the
address of this service, keeps the answer in data_dir and prints it. The running service does the same
by itself; this is to see at once whether the ticket, the proxy and the certificates on the way are right.

Exit code 0 if the tenant answered, 1 if it did not, 2 if the file itself is wrong.`,
		Flags:        []cli.Flag{configFlag()},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			c, err := loadConfig(cmd.String("config"))
			if err != nil {
				return err
			}
			s, err := connector.Provision(ctx, c)
			if err != nil {
				return fmt.Errorf("provisioning: %w", err)
			}
			return connector.WriteTenantSettings(cmd.Root().Writer, "", s)
		}),
	}
}
