package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"adconnector/connector/demo"

	"github.com/urfave/cli/v3"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "show the connector at work, with a directory and certificates of its own",
		Description: `Needs no arguments, no network and no set-up. It starts a directory in memory with a handful of
people, makes certificates in a temporary folder, starts the connector and a sample application on
the loopback addresses, signs jon in by certificate and by password, and prints what the
application was told. Then it keeps running, so that you can try it with a browser.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "end after the sign-ins; exit code 0 if both worked, 1 if not"},
		},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			return demo.Run(ctx, demo.Options{
				Out: cmd.Root().Writer, Log: cmd.Root().ErrWriter, Once: cmd.Bool("once"),
			})
		}),
	}
}
