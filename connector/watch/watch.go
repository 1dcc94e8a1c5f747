// Package watch notices that files have changed, by looking at them now and
// then.
//
// Looking works where notices from the operating system do not: on network
// drives, in containers, and with the symbolic links that Kubernetes flips when
// it replaces a secret.
package watch

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"slices"
	"time"
)

// DefaultInterval is the time between two looks unless another is wanted.
const DefaultInterval = 2 * time.Second

// A Watcher looks at groups of files.
type Watcher struct {
	interval time.Duration
	groups   []*group
}

// group is files that belong together, such as a certificate and its key.
type group struct {
	files   []*file
	changed func()
	known   []content // what was there at the last call of changed
	seen    []content // what was there at the last look
}

// New returns a watcher that looks every interval; 0 means [DefaultInterval].
func New(interval time.Duration) *Watcher {
	if interval <= 0 {
		interval = DefaultInterval
	}
	return &Watcher{interval: interval}
}

// Add makes the watcher call changed when the content of one of the files has
// changed since now. To miss nothing, add files before reading them. Add must
// not be called after Run.
//
// There is one call for a change, however many of the files it concerns: it is
// made when two looks in a row have seen the same. So a certificate and a key
// that are copied one after the other are not read in between. A file that goes
// away, comes back or can no longer be read has changed too; one that is
// written anew with the content that it had has not.
func (w *Watcher) Add(paths []string, changed func()) {
	g := &group{changed: changed}
	for _, p := range paths {
		g.files = append(g.files, &file{path: p})
	}
	g.known = g.look()
	g.seen = g.known
	w.groups = append(w.groups, g)
}

// Run looks until ctx ends. The functions are called from here, one at a time.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, g := range w.groups {
			now := g.look()
			settled := slices.Equal(now, g.seen)
			g.seen = now
			if settled && !slices.Equal(now, g.known) {
				g.known = now
				g.changed()
			}
		}
	}
}

func (g *group) look() []content {
	now := make([]content, len(g.files))
	for i, f := range g.files {
		now[i] = f.look()
	}
	return now
}

// content stands for what a file holds: its SHA-256, or one of the values below,
// which no file has.
type content [sha256.Size]byte

var (
	missing    = content{'m'} // also: not a file
	unreadable = content{'u'}
)

// file is what is known of one file, so that it is read only if it may have
// changed.
type file struct {
	path    string
	info    os.FileInfo // nil: read it next time, whatever its times say
	content content
}

// coarse is more than the steps in which any file system counts time. A file
// that was written less than that before it was read may be written again
// without a trace in its times.
const coarse = 3 * time.Second

func (f *file) look() content {
	info, err := os.Stat(f.path) // follows links, so a flipped link is another file
	if err != nil || !info.Mode().IsRegular() {
		return missing
	}
	if f.info != nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime()) {
		return f.content
	}
	f.info = nil
	read := time.Now()
	if f.content, err = hash(f.path); err != nil {
		return unreadable
	}
	if read.Sub(info.ModTime()) > coarse {
		f.info = info
	}
	return f.content
}

func hash(path string) (content, error) {
	f, err := os.Open(path)
	if err != nil {
		return content{}, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return content{}, err
	}
	return content(h.Sum(nil)), nil
}
