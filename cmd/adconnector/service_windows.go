package main

import (
	"context"
	"errors"
	"io"
	"os"

	"adconnector/connector"
	"adconnector/connector/private"

	"github.com/kardianos/service"
	"golang.org/x/sys/windows/svc"
)

// serviceArguments are what the service definition starts the program with.
func serviceArguments(name, config string) []string {
	return []string{"run", "--config", config, "--" + serviceFlag, name}
}

// runService runs under the Windows service manager. It talks to the manager
// directly because the library's own test, whether the manager started the
// program, answers no in some environments where it did.
func runService(_ context.Context, name, config string) error {
	s, err := service.New(&program{config: config}, &service.Config{Name: name})
	if err != nil {
		return err
	}
	h, ok := s.(svc.Handler)
	if !ok {
		return errors.New("this build cannot run as a Windows service")
	}
	return svc.Run(name, h)
}

// serviceLog is where a service without a console writes: a file in data_dir.
func serviceLog(c *connector.Config) (io.Writer, error) {
	dir, err := private.Open(string(c.DataDir)) // the first to make it decides who may read it
	if err != nil {
		return nil, err
	}
	return os.OpenFile(dir.Path("adconnector.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

func systemdUnit(string) (string, error) { return "", nil }

func needServiceManager() error { return nil }

// handOver makes data_dir; the service runs as the system, so there is nobody to
// give it to.
func handOver(config, _ string) error {
	c, err := loadConfig(config)
	if err != nil {
		return err
	}
	_, err = private.Open(string(c.DataDir))
	return err
}

// whereToLook says where the reason for a failed start stands.
func whereToLook(string) string {
	return "Look at adconnector.log in data_dir, or try 'adconnector run'."
}

func notify(string) {}

func exitFailed() { os.Exit(exitNo) }

// isStarting reports whether the service is between two starts; the service
// manager says so itself here.
func isStarting(string) bool { return false }
