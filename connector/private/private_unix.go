//go:build !windows

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

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
		return "", fmt.Errorf("every user of this computer may %s the %s %s (mode %04o): run %s", right, kind, path, mode, fix)
	case mode&0o050 != 0:
		return fmt.Sprintf("its group may %s the %s %s (mode %04o): if that is not meant, run %s", right, kind, path, mode, fix), nil
	}
	return "", nil
}

func mkdir(path string) error { return os.Mkdir(path, 0o700) }

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
