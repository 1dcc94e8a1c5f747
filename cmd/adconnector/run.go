package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"adconnector/connector"

	"github.com/urfave/cli/v3"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "serve in the foreground until interrupted",
		Description: `Starts the connector with the given configuration and runs until it gets an interrupt or a
termination signal; requests in flight are answered first. Whatever is configured and cannot work
stops the start with exit code 2 and a message that says what to change.`,
		Flags: []cli.Flag{
			configFlag(),
			// Given by the service definition alone: see service_windows.go.
			&cli.StringFlag{Name: serviceFlag, Hidden: true},
		},
		OnUsageError: usageError,
		Action: noArguments(func(ctx context.Context, cmd *cli.Command) error {
			if name := cmd.String(serviceFlag); name != "" {
				return runService(ctx, name, cmd.String("config"))
			}
			return runForeground(ctx, cmd.String("config"))
		}),
	}
}

// runForeground runs the connector until it is interrupted or terminated.
func runForeground(ctx context.Context, config string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := loadConfig(config)
	if err != nil {
		return err
	}
	return serve(ctx, c, connector.NewLog(c.Log, os.Stderr), func() { notify("READY=1") })
}

// gcPercent lets the heap grow to five times what is in use before it is
// collected. Next to nothing is in use, so this costs a few megabytes, and
// collecting at the usual twice takes a tenth of the CPU time of a sign-in.
const gcPercent = 400

// serve runs a connector until ctx ends; ready is called when it listens.
func serve(ctx context.Context, c *connector.Config, log *slog.Logger, ready func()) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	conn, err := connector.New(ctx, c, connector.Options{Log: log, Version: versionText()})
	if err != nil {
		return &exitError{exitUsage, err}
	}
	log.Info("started", "version", versionText(), "url", c.URL)
	ready()
	defer notify("STOPPING=1")
	return conn.Run(ctx)
}
