//go:build !windows

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// readable is an error that says so in words of its own.
type readable string

func (r readable) Error() string { return string(r) }

func (readable) Is(target error) bool { return target == ErrReadable }

func check(path string, info fs.FileInfo) (warning string, err error) {
	kind, right, fix := "file", "read", "chmod 600 "+path
	if info.IsDir() {
		kind, right, fix = "folder", "enter", "chmod 700 "+path
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o022 != 0:
		return "", fmt.Errorf("others than its owner may change the %s %s (mode %04o): run %s", kind, path, mode, fix)
	case mode&0o005 != 0:
		return "", readable(fmt.Sprintf("every user of this computer may %s the %s %s (mode %04o): run %s", right, kind, path, mode, fix))
	}
	if warning, err := checkOwner(kind, path, info); warning != "" || err != nil {
		return warning, err
	}
	if mode&0o050 != 0 {
		return fmt.Sprintf("its group may %s the %s %s (mode %04o): if that is not meant, run %s", right, kind, path, mode, fix), nil
	}
	return "", nil
}

// checkOwner looks at whose the file is: its owner may change it whatever the
// mode says. Root may look at what belongs to the account of the service.
func checkOwner(kind, path string, info fs.FileInfo) (warning string, err error) {
	s, ok := info.Sys().(*syscall.Stat_t)
	me := os.Geteuid()
	if !ok || s.Uid == 0 || int(s.Uid) == me {
		return "", nil
	}
	if me == 0 {
		return fmt.Sprintf("the %s %s belongs to the user with the number %d, who may change it: unless the service runs as that user, run chown root %s", kind, path, s.Uid, path), nil
	}
	return "", fmt.Errorf("the %s %s belongs to another user (number %d), who may change it: run chown %d %s as root", kind, path, s.Uid, me, path)
}

func mkdir(path string) error { return os.Mkdir(path, 0o700) }

// adopt gives what root has made in a folder of the service to whom the folder
// belongs: a command that an administrator runs must leave nothing behind that the
// service cannot read. It works on the open file, which nobody can exchange.
func adopt(f *os.File, folder *os.Root) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := folder.Stat(".")
	if err != nil {
		return err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.Uid == 0 {
		return nil
	}
	return f.Chown(int(s.Uid), int(s.Gid))
}

// syncDir brings the names in the folder to the disk. Some file systems cannot
// do that; there, nothing is lost but the certainty.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}
