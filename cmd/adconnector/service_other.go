//go:build !windows

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"adconnector/connector"

	"github.com/kardianos/service"
)

// unit is the systemd unit, in the template language of the service library.
//
//go:embed adconnector.service
var unit string

// serviceArguments are what the service definition starts the program with.
// systemd needs no special start: it runs the program in the foreground.
func serviceArguments(_, config string) []string { return []string{"run", "--config", config} }

// runService is what the hidden option does outside Windows: the same as
// without it, so that a definition written by hand cannot go wrong.
func runService(ctx context.Context, _, config string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := loadConfig(config)
	if err != nil {
		return err
	}
	return serve(ctx, c, connector.NewLog(c.Log, os.Stderr), func() { notify("READY=1") })
}

func serviceLog(*connector.Config) (io.Writer, error) { return os.Stderr, nil }

func exitFailed() { os.Exit(exitNo) }

// systemdUnit returns the unit for a configuration: the service may write to
// data_dir and to the folder of audit_file, and nowhere else.
func systemdUnit(config string) (string, error) {
	c, err := loadConfig(config)
	if err != nil {
		return "", err
	}
	writable := quoteUnit(string(c.DataDir))
	if c.AuditFile != "" {
		writable += " " + quoteUnit(filepath.Dir(string(c.AuditFile)))
	}
	return strings.ReplaceAll(unit, "@WRITABLE@", writable), nil
}

// handOver makes data_dir, because systemd refuses to start a unit whose
// writable folder is not there, and gives it to the account that the service
// will run as.
func handOver(config, account string) error {
	c, err := loadConfig(config)
	if err != nil {
		return err
	}
	dir := string(c.DataDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if account == "" {
		return nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return fmt.Errorf("--user: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	// What is in it already was made by an earlier run as somebody else.
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

// whereToLook says where the reason for a failed start stands.
func whereToLook(name string) string { return "Look at: journalctl -u " + name }

// isStarting reports whether the service is between two starts, as one is that
// fails again and again. The library takes that for running.
func isStarting(name string) bool {
	out, _ := exec.Command("systemctl", "is-active", name).Output() // the exit code says less than the word
	return strings.TrimSpace(string(out)) == "activating"
}

// quoteUnit quotes a path for a unit file: systemd reads double quotes with
// backslashes, and takes % for the start of a specifier.
func quoteUnit(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(path) + `"`
}

// needServiceManager refuses systems without systemd, for which the library
// would silently write something else.
func needServiceManager() error {
	if runtime.GOOS == "linux" && service.Platform() != "linux-systemd" {
		return errors.New("there is no running systemd on this machine; start the connector with 'adconnector run --config FILE' from whatever supervises it")
	}
	return nil
}

// notify tells systemd about the state of the service (sd_notify(3)); it does
// nothing when systemd has not asked for it.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = c.Write([]byte(state))
	_ = c.Close()
}
