package migrate

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of what is read. An installation is a few small files; what is larger
// is something else.
const (
	maxFile    = 4 << 20
	maxZip     = 64 << 20
	maxEntries = 10_000
)

// Where an installation keeps its files, relative to its folder; the first that
// is there counts. Releases of 2026 have a folder data for all of them.
var (
	configNames = []string{"config.json", "data/config.json"}
	keyNames    = []string{"certs/cert.key", "data/certs/cert.key"}
	certNames   = []string{"certs/cert.pem", "data/certs/cert.pem"}
	mapperNames = map[layout][]string{
		beside: {"lib/profileMapper.js", "profileMapper.js"},
		inData: {"data/profileMapper/custom.js", "profileMapper/custom.js"},
	}
)

// A layout is how an installation keeps its files.
type layout int

const (
	beside layout = iota // the configuration beside the program
	// inData is all in a folder data, since 2026. There lib/profileMapper.js is a
	// part of the program, not a mapper.
	inData
)

// layoutOf returns the layout of the installation whose configuration was found
// under that name.
func layoutOf(config string, src *source) layout {
	if _, err := src.read("profileMapper/custom.js"); err == nil || strings.HasPrefix(config, "data/") {
		return inData
	}
	return beside
}

// A source is an old installation. Nothing in this package writes to it.
type source struct {
	name string // for messages
	read func(name string) ([]byte, error)
	done func() error
}

// openSource opens the folder, the config.json or the exported archive at name.
func openSource(name string) (*source, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s: name the folder of the old connector, its config.json or its export", name)
	case err != nil:
		return nil, err
	case info.IsDir():
		return openFolder(name, "")
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no ordinary file", name)
	case strings.EqualFold(filepath.Ext(name), ".zip"):
		return openZip(name, info.Size())
	}
	return openFolder(filepath.Dir(name), filepath.Base(name))
}

// openFolder opens an installation in a folder; config is the name of its
// config.json if it was given.
func openFolder(dir, config string) (*source, error) {
	// A root, because what runs the old connector may write there, and whoever
	// imports it may read everything: links that lead out of it are not followed.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &source{
		name: dir,
		done: root.Close,
		read: func(name string) ([]byte, error) {
			if config != "" && slices.Contains(configNames, name) {
				name = config
			}
			info, err := root.Stat(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil, err
			case err != nil:
				return nil, unreadable(filepath.Join(dir, name), err)
			}
			if !info.Mode().IsRegular() {
				return nil, fmt.Errorf("%s is no ordinary file", filepath.Join(dir, name))
			}
			f, err := root.Open(name)
			if err != nil {
				return nil, unreadable(filepath.Join(dir, name), err)
			}
			defer func() { _ = f.Close() }()
			return readBounded(f, filepath.Join(dir, name))
		},
	}, nil
}

// unreadable says which file of an installation cannot be read, and what to do.
func unreadable(name string, err error) error {
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s cannot be read: %w; run this as an administrator", name, err)
	}
	return fmt.Errorf("%s cannot be read: %w; a link that leads out of the folder is not followed, put a copy in its place", name, err)
}

// openZip opens what the old connector's "export" gave. An archive that names a
// file outside of itself, holds a link or says a name twice is refused as a
// whole: nothing that the old connector writes does that.
func openZip(name string, size int64) (*source, error) {
	if size > maxZip {
		return nil, fmt.Errorf("%s is larger than %d MiB, which no export is", name, maxZip>>20)
	}
	r, err := zip.OpenReader(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not a ZIP archive that can be read: %w", name, err)
	}
	files, err := zipFiles(r.File)
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("%s: %w; export the configuration again", name, err)
	}
	return &source{name: name, done: r.Close, read: func(inside string) ([]byte, error) {
		f := files[inside]
		if f == nil {
			return nil, fs.ErrNotExist
		}
		if f.Flags&1 != 0 {
			return nil, fmt.Errorf("%s in %s is encrypted: unpack the archive and name the folder", inside, name)
		}
		content, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", inside, name, err)
		}
		defer func() { _ = content.Close() }()
		return readBounded(content, inside+" in "+name)
	}}, nil
}

// zipFiles returns the files of an archive by their names.
func zipFiles(entries []*zip.File) (map[string]*zip.File, error) {
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("it has more than %d entries", maxEntries)
	}
	files := map[string]*zip.File{}
	for _, f := range entries {
		mode := f.Mode()
		switch name := strings.TrimSuffix(f.Name, "/"); {
		case !fs.ValidPath(name) || strings.ContainsAny(name, `\:`):
			return nil, fmt.Errorf("it has an entry that leads out of it, or whose name no export has: %q", f.Name)
		case mode.IsDir():
		case !mode.IsRegular():
			return nil, fmt.Errorf("%q is a link or a device", f.Name)
		case files[name] != nil:
			return nil, fmt.Errorf("%q is in it twice", f.Name)
		default:
			files[name] = f
		}
	}
	return files, nil
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return data, nil
}

// first returns the first of the files that is there, with its name; none is
// not an error.
func (s *source) first(names []string) (name string, data []byte, err error) {
	for _, name := range names {
		data, err := s.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		return name, data, nil
	}
	return "", nil, nil
}
