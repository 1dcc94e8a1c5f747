package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"adconnector/connector"

	"github.com/kardianos/service"
	"github.com/urfave/cli/v3"
)

// serviceFlag is the hidden option by which a service definition says that the
// service manager starts the program. Asking the system instead is not reliable
// on Windows: the usual test fails in containers.
const serviceFlag = "as-service"

const defaultServiceName = "adconnector"

// serviceName is what systemd and Windows both take for the name of a service.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// stopWait bounds how long a stop may take before the program is left to the
// service manager. It is below the 20 s after which Windows complains.
const stopWait = 15 * time.Second

// program is the connector as the service manager sees it.
type program struct {
	config string
	cancel context.CancelFunc
	done   chan error
}

// Start loads everything and returns; the connector serves in the background.
func (p *program) Start(service.Service) error {
	c, err := loadConfig(p.config)
	if err != nil {
		return err
	}
	w, err := serviceLog(c)
	if err != nil {
		return err
	}
	log := connector.NewLog(c.Log, w)
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := connector.New(ctx, c, connector.Options{Log: log, Audit: w, Version: versionText()})
	if err != nil {
		cancel()
		log.Error("the start failed", "err", err)
		return err
	}
	log.Info("started", "version", versionText(), "url", c.URL)
	p.cancel, p.done = cancel, make(chan error, 1)
	go p.serve(ctx, conn, log)
	return nil
}

func (p *program) serve(ctx context.Context, conn *connector.Connector, log *slog.Logger) {
	err := conn.Run(ctx)
	p.done <- err
	if err != nil {
		log.Error("the connector failed", "err", err)
		exitFailed() // the service manager starts it again
	}
}

// Stop ends the connector and waits for requests in flight.
func (p *program) Stop(service.Service) error {
	p.cancel()
	select {
	case err := <-p.done:
		return err
	case <-time.After(stopWait):
		return errors.New("requests in flight did not end in time")
	}
}

// newService describes the service to the service manager. config is the
// absolute path that the service is started with; "" where only the name
// matters.
func newService(name, config, user string) (service.Service, error) {
	o := service.KeyValue{
		"OnFailure":              "restart",
		"OnFailureDelayDuration": "5s",
		"OnFailureResetPeriod":   86400,
	}
	if config != "" {
		unit, err := systemdUnit(config)
		if err != nil {
			return nil, err
		}
		o["SystemdScript"] = unit
	}
	return service.New(&program{config: config}, &service.Config{
		Name:        name,
		DisplayName: "adconnector (" + name + ")",
		Description: "Signs people in by client certificate or password against the directory",
		Arguments:   serviceArguments(name, config),
		UserName:    user,
		Option:      o,
	})
}

func nameFlag() *cli.StringFlag {
	return &cli.StringFlag{Name: "name", Value: defaultServiceName, Usage: "the service's `NAME`, if several run on one machine"}
}

// serviceCommands are install, uninstall, start, stop, restart and status.
func serviceCommands() []*cli.Command {
	commands := []*cli.Command{{
		Name: "install", Usage: "make the system run the connector as a service (systemd or Windows)",
		Description: `Checks the configuration, then writes the service definition with the absolute path of the
configuration file and enables it. It does not start the service: 'adconnector start' does.
Needs administrator rights.`,
		Category: "Service",
		Flags: []cli.Flag{
			configFlag(), nameFlag(),
			&cli.StringFlag{Name: "user", Usage: "the `ACCOUNT` the service runs as (Linux; default: root, with all its privileges taken away but binding low ports). It must be able to read the files that the configuration names; data_dir is given to it"},
		},
		OnUsageError: usageError,
		Action:       noArguments(install),
	}}
	for _, c := range []struct{ name, usage, done string }{
		{"uninstall", "remove the service definition; configuration and data stay", "removed"},
		{"start", "start the installed service", "started"},
		{"stop", "stop the running service", "stopped"},
		{"restart", "stop and start the service", "restarted"},
	} {
		commands = append(commands, &cli.Command{
			Name: c.name, Usage: c.usage, Category: "Service",
			Flags: []cli.Flag{nameFlag()}, OnUsageError: usageError,
			Action: noArguments(func(_ context.Context, cmd *cli.Command) error { return control(cmd, c.name, c.done) }),
		})
	}
	return append(commands, &cli.Command{
		Name: "status", Usage: "say whether the service runs (exit code 0) or not (1)", Category: "Service",
		Flags: []cli.Flag{nameFlag()}, OnUsageError: usageError,
		Action: noArguments(status),
	})
}

func install(_ context.Context, cmd *cli.Command) error {
	path, err := filepath.Abs(cmd.String("config"))
	if err != nil {
		return err
	}
	if _, err := loadConfig(path); err != nil {
		return err
	}
	if err := needServiceManager(); err != nil {
		return err
	}
	name := cmd.String("name")
	if !serviceName.MatchString(name) {
		return &exitError{exitUsage, fmt.Errorf("--name: %q cannot be the name of a service: use letters, digits, - and _", name)}
	}
	s, err := newService(name, path, cmd.String("user"))
	if err != nil {
		return err
	}
	if err := s.Install(); err != nil {
		return explainService(err, name)
	}
	if err := handOver(path, cmd.String("user")); err != nil {
		return errors.Join(err, s.Uninstall())
	}
	_, err = fmt.Fprintf(cmd.Root().Writer, "Service %s is installed; it runs\n  adconnector %s\nStart it with 'adconnector start%s'.\n",
		name, strings.Join(serviceArguments(name, path), " "), nameArgument(name))
	return err
}

// control does one of the simple actions. The library waits for ever for a
// service that does not stop, so the wait has an end here.
func control(cmd *cli.Command, action, done string) error {
	if err := needServiceManager(); err != nil {
		return err
	}
	name := cmd.String("name")
	s, err := newService(name, "", "")
	if err != nil {
		return err
	}
	if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) {
		return fmt.Errorf("service %s is not installed; 'adconnector install --config FILE%s' does that", name, nameArgument(name))
	}
	result := make(chan error, 1)
	go func() {
		if action == "uninstall" {
			_ = s.Stop() // a service that is not running cannot be stopped, and need not
		}
		result <- service.Control(s, action)
	}()
	select {
	case err = <-result:
	case <-time.After(2 * time.Minute):
		err = errors.New("the service manager did not finish within two minutes")
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", explainService(err, name), whereToLook(name))
	}
	_, err = fmt.Fprintf(cmd.Root().Writer, "Service %s is %s.\n", name, done)
	return err
}

func status(_ context.Context, cmd *cli.Command) error {
	if err := needServiceManager(); err != nil {
		return err
	}
	name := cmd.String("name")
	s, err := newService(name, "", "")
	if err != nil {
		return err
	}
	state, err := s.Status()
	text := "is stopped"
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		text = "is not installed"
	case err != nil:
		return explainService(err, name)
	case state == service.StatusRunning && isStarting(name):
		state, text = service.StatusUnknown, "does not get started; "+strings.ToLower(whereToLook(name)[:1])+whereToLook(name)[1:]
	case state == service.StatusRunning:
		text = "is running"
	}
	if _, err := fmt.Fprintf(cmd.Root().Writer, "Service %s %s.\n", name, text); err != nil {
		return err
	}
	if state != service.StatusRunning {
		return &exitError{code: exitNo}
	}
	return nil
}

// explainService adds what usually helps.
func explainService(err error, name string) error {
	text := err.Error()
	switch {
	case strings.Contains(strings.ToLower(text), "already exists"):
		return fmt.Errorf("service %s is installed already; remove it first with 'adconnector uninstall%s'", name, nameArgument(name))
	case strings.Contains(text, "denied") || strings.Contains(text, "permission"):
		return fmt.Errorf("%w: this needs administrator rights", err)
	}
	return fmt.Errorf("service %s: %w", name, err)
}

func nameArgument(name string) string {
	if name == defaultServiceName {
		return ""
	}
	return " --name " + name
}
