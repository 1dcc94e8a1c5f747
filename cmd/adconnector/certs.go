package main

import (
	"context"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

func certsCommand() *cli.Command {
	return &cli.Command{
		Name: "certs", Usage: "list who vouches for certificates, and the revocation lists",
		Description: `Lists the authorities in certificate.ca_files, the certificates in certificate.self_signed_files, and
the revocation lists and responders: subject, end, entries, number, times, the last fetch, the last
error. While a connector is running with the file it is asked, over a socket in its data_dir: run this
on the same machine, as the service's account or as an administrator. Otherwise the files are read, and
the lists that were kept in data_dir. Nothing is fetched.

   adconnector certs --config adconnector.yaml

   ✓ fine    ! look at it    ✗ does not work

Exit code 0 if everything can be used, 1 if something has expired or cannot be used, 2 if the files
cannot be read, the connector does not answer or the usage is wrong.`,
		Flags:        []cli.Flag{configFlag(), jsonFlag()},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			c, err := loadConfig(cmd.String("config"))
			if err != nil {
				return err
			}
			list, err := connector.ListCertificates(ctx, c)
			if err != nil {
				return &exitError{exitFault, err}
			}
			if err := show(cmd, list); err != nil {
				return err
			}
			if !list.Usable() {
				return &exitError{code: exitNo}
			}
			return nil
		}),
	}
}
