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
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unicode"

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
func runService(ctx context.Context, _, config string) error { return runForeground(ctx, config) }

func serviceLog(*connector.Config) (io.Writer, error) { return os.Stderr, nil }

func exitFailed() { os.Exit(exitNo) }

// systemdUnit returns the unit for a configuration: the service may write to
// data_dir and to the folder of audit_file, and nowhere else.
func systemdUnit(config string) (string, error) {
	c, err := loadConfig(config)
	if err != nil {
		return "", err
	}
	paths := []string{config, string(c.DataDir)}
	if c.AuditFile != "" {
		paths = append(paths, filepath.Dir(string(c.AuditFile)))
	}
	for _, path := range paths {
		// A line break would begin a setting of its own, and braces a command of
		// the template language that the library reads the unit with.
		if strings.ContainsFunc(path, unicode.IsControl) || strings.Contains(path, "{{") {
			return "", fmt.Errorf("the path %q cannot stand in a systemd unit: rename the folder", path)
		}
	}
	var writable []string
	for _, path := range paths[1:] {
		writable = append(writable, quoteUnit(path))
	}
	return strings.ReplaceAll(unit, "@WRITABLE@", strings.Join(writable, " ")), nil
}

// handOver makes the folders that the service writes to, because systemd refuses
// to start a unit whose writable folder is not there, and gives data_dir to the
// account that the service will run as.
func handOver(config, account string) error {
	c, err := loadConfig(config)
	if err != nil {
		return err
	}
	uid, gid := -1, -1 // nobody to give it to
	if account != "" {
		if uid, gid, err = lookUp(account); err != nil {
			return fmt.Errorf("--user: %w", err)
		}
	}
	if c.AuditFile != "" {
		folder := filepath.Dir(string(c.AuditFile))
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return err
			}
			if err := os.Lchown(folder, uid, gid); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(string(c.DataDir), 0o700); err != nil {
		return err
	}
	if account == "" {
		return nil
	}
	return giveAway(string(c.DataDir), uid, gid)
}

func lookUp(account string) (uid, gid int, err error) {
	u, err := user.Lookup(account)
	if err != nil {
		return 0, 0, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(err1, err2)
}

// giveAway makes a folder and the files in it somebody's. The folder may be that
// account's already, which would then like nothing better than to have root give
// it a file of others: so files are opened without following links and given
// away by the open file, never by a name that can come to mean another; and what
// the connector does not make (folders, links, files that have a second name)
// ends it.
func giveAway(dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type() == fs.ModeSocket {
			continue // left by a crash; whoever has the folder replaces it
		}
		if err := giveFile(root, e.Name(), uid, gid); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chown(uid, gid)
}

func giveFile(root *os.Root, name string, uid, gid int) error {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || s.Nlink != 1 {
		return errors.New("the connector has not made this; look at data_dir: it must be a folder of the connector's own")
	}
	return f.Chown(uid, gid)
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
