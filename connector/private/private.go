// Package private keeps the files that only the service may read: keys, secrets
// and whatever the service writes for itself.
package private

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrReadable is in the chain of the error of [Check] when others may read the
// file and no more than that.
var ErrReadable = errors.New("others may read it")

// Check looks at who may read the file or folder at path besides its owner.
//
// The error says that it cannot be used: it is not there, or the rights on it
// are so wide that what is in it must be taken for known (or, if others may
// write, for chosen by somebody else); it names the command that puts this
// right. The warning is for rights that may be meant, such as a group that reads
// a key; it is "" if there is nothing to say. Symbolic links are followed: what
// counts is the file itself.
func Check(path string) (warning string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return check(path, info)
}

// A Dir is a folder that belongs to the service alone.
type Dir struct{ path, warning string }

// Warning returns what [Check] warns of, "" if there is nothing to say.
func (d *Dir) Warning() string { return d.warning }

// Open returns the folder at path and makes it if it is not there. A folder that
// others can read, or that is none, is refused.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file, not a folder: name another place or move the file away", path)
	}
	warning, err := check(path, info)
	if err != nil {
		return nil, err
	}
	return &Dir{path, warning}, nil
}

// Make makes the folder at path, where nothing may be yet: somebody else who puts
// one there first, or a link, would be given what is written.
func Make(path string) (*Dir, error) {
	if err := mkdir(path); err != nil {
		return nil, err
	}
	return Open(path)
}

// Sub returns the folder of that name in the folder, as [Open] does.
func (d *Dir) Sub(name string) (*Dir, error) {
	switch err := mkdir(d.Path(name)); {
	case err == nil:
		if err := d.adoptSub(name); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return Open(d.Path(name))
}

// adoptSub is adopt for a folder in the folder.
func (d *Dir) adoptSub(name string) error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	f, err := sub.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return adopt(f, root)
}

// Path returns the path of the file of that name in the folder. Names are the
// program's own: plain file names, never something from outside.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Read returns what the file holds, or an error that is [fs.ErrNotExist]. A file
// that others can read is refused.
func (d *Dir) Read(name string) ([]byte, error) {
	if _, err := Check(d.Path(name)); err != nil {
		return nil, err
	}
	return os.ReadFile(d.Path(name))
}

// Names returns the names of the files in the folder.
func (d *Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Remove removes the file.
func (d *Dir) Remove(name string) error { return os.Remove(d.Path(name)) }

// Append opens a file that is there, to write at its end.
func (d *Dir) Append(name string) (*os.File, error) {
	return os.OpenFile(d.Path(name), os.O_WRONLY|os.O_APPEND, 0)
}

// Write replaces the file as a whole or not at all: whoever reads it, and
// whatever is left of it after a power failure, is the old or the new content.
// The content is all of data, one after the other.
func (d *Dir) Write(name string, data ...[]byte) error {
	temp, err := d.temp(name, data...)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, d.Path(name)); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncDir(d.path)
}

// Secret returns the n random bytes that the file holds; at first use it makes
// them. When several processes start at once, all of them get the same.
//
// A file that cannot be such a secret, because it has another length or holds
// one byte over and over (which is what a disk failure leaves behind), is
// refused and left alone: a new secret would hide that somebody or something
// has changed it.
func (d *Dir) Secret(name string, n int) ([]byte, error) {
	data, err := d.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.create(name, n); err != nil {
			return nil, err
		}
		data, err = d.Read(name)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(data) != n:
		err = fmt.Errorf("it holds %d bytes and not %d", len(data), n)
	case bytes.Count(data, data[:1]) == n:
		err = errors.New("it holds one byte over and over")
	default:
		return data, nil
	}
	return nil, fmt.Errorf("%s is not a secret that was made here: %w; restore it, or delete it and a new one is made at the next start", d.Path(name), err)
}

// create makes the file with n random bytes unless it is there by now. The file
// gets its name by a link, which unlike a rename fails if the name is taken, so
// that of several processes one wins; and it is whole when it gets it.
func (d *Dir) create(name string, n int) error {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails
	temp, err := d.temp(name, data)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := os.Link(temp, d.Path(name)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return syncDir(d.path)
}

// temp writes data to a new file beside the one of that name, down to the disk.
func (d *Dir) temp(name string, data ...[]byte) (path string, err error) {
	// The folder is opened once: its path may be another's in the next moment.
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	temp := "." + name + "." + rand.Text()
	f, err := root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temp)
		}
	}()
	err = adopt(f, root)
	for _, piece := range data {
		if err == nil {
			_, err = f.Write(piece)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return d.Path(temp), errors.Join(err, f.Close())
}
