// Package migrate makes a configuration of ours from an installation of Auth0's
// AD/LDAP Connector, the one in Node.js, which it only reads.
package migrate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"adconnector/connector"
	"adconnector/connector/private"
	"adconnector/ldapauth/secret"
)

// Options say what to make of what.
type Options struct {
	// From is the folder of the old installation, its config.json, or the ZIP
	// archive that its administration page exports.
	From string
	// Out is the folder for the new configuration: new or empty.
	Out string
	// BindPassword is the password of the service account for installations
	// that do not hold it, or hold it in a way that cannot be read.
	BindPassword secret.String
}

// configFile is the name of the new configuration file.
const configFile = "config.yaml"

// Run makes the new configuration and reports what became of the old one. Out
// is complete, and accepted by [connector.LoadConfig], or not there. No error
// holds a secret.
func Run(o Options) (*Report, error) {
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return nil, err
	}
	out = realPath(out) // what a link leads to, not the link
	if err := checkOut(o.From, out); err != nil {
		return nil, err
	}
	src, err := openSource(o.From)
	if err != nil {
		return nil, err
	}
	defer func() { _ = src.done() }()
	m, err := translate(src, o.BindPassword)
	if err != nil {
		return nil, err
	}
	m.report.From = o.From
	if err := m.write(out); err != nil {
		return nil, err
	}
	m.finish(out)
	return m.report, nil
}

// checkOut refuses a folder that holds something already, or that is a part of
// the old installation.
func checkOut(from, out string) error {
	entries, err := os.ReadDir(out)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("--out: %w; name a folder that is new or empty", err)
	case len(entries) > 0:
		return fmt.Errorf("--out: the folder %s is not empty; name one that is new or empty", out)
	}
	old, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	if info, err := os.Stat(old); err == nil && !info.IsDir() {
		if strings.EqualFold(filepath.Ext(old), ".zip") {
			return nil // it lies beside other things
		}
		old = filepath.Dir(old)
	}
	if inside(realPath(out), realPath(old)) {
		return fmt.Errorf("--out: %s is in the folder of the old connector, which is left as it is; name a folder elsewhere", out)
	}
	return nil
}

// inside reports whether path is dir or below it.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// realPath follows the links of the part of path that is there.
func realPath(path string) string {
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// write puts the files in place, all of them or none: they are written to a
// folder beside out, which gets its name when our own loader has accepted what
// is in it.
func (m *migration) write(out string) (err error) {
	parent := filepath.Dir(out)
	made, err := makeParents(parent)
	defer func() {
		if err != nil { // what is not empty stays
			for _, dir := range made {
				_ = os.Remove(dir)
			}
		}
	}()
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	staging := filepath.Join(parent, "."+filepath.Base(out)+".importing")
	dir, err := private.Make(staging)
	switch {
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("--out: %s is left over from an import that was cut off, or another import is under way; remove it and try again", staging)
	case err != nil:
		return fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(staging)
		}
	}()
	for _, f := range m.files {
		at := dir
		if folder := filepath.Dir(f.name); folder != "." {
			if at, err = dir.Sub(folder); err != nil {
				return err
			}
		}
		if err := at.Write(filepath.Base(f.name), f.data); err != nil {
			return err
		}
	}
	if err := m.writeConfig(dir); err != nil {
		return err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("--out: %w", err)
	}
	return os.Rename(staging, out)
}

// makeParents makes dir with what is missing above it, and returns what it made,
// the deepest first.
func makeParents(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); err == nil || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	return made, os.MkdirAll(dir, 0o755)
}

// writeConfig writes the configuration file. What our loader does not accept is
// put behind a # and reported, if the file can do without.
func (m *migration) writeConfig(dir *private.Dir) error {
	for {
		if err := dir.Write(configFile, m.doc.render()); err != nil {
			return err
		}
		_, err := connector.LoadConfig(dir.Path(configFile))
		bad, ok := errors.AsType[*connector.ConfigError](err)
		if !ok {
			return err
		}
		// One at a time: what comes next may be a consequence.
		mistake := bad.Mistakes[0]
		l := m.doc.turnOff(mistake.Key)
		if l == nil {
			return m.refused(mistake)
		}
		text := mistake.Text
		if strings.HasPrefix(text, "unknown key") {
			text = "this release of adconnector has no such setting"
		}
		m.left(oldName(l), "%s; %s stands behind a # in %s", text, l.key, configFile)
	}
}

// oldName returns what a line is called in the report.
func oldName(l *line) string {
	if l.from != "" {
		return l.from
	}
	return l.key
}

// refused says which old setting the new configuration cannot do without.
func (m *migration) refused(mistake connector.Mistake) error {
	i := slices.IndexFunc(m.doc.lines, func(l line) bool {
		return l.from != "" && (l.key == mistake.Key || within(mistake.Key, l.key))
	})
	if i < 0 {
		return fmt.Errorf("no configuration can be made of these settings: %s: %s", mistake.Key, mistake.Text)
	}
	return fmt.Errorf("the old setting %s cannot be taken over: %s", m.doc.lines[i].from, mistake.Text)
}

// finish fills in what is known when the files are in place.
func (m *migration) finish(out string) {
	r := m.report
	r.Config = filepath.Join(out, configFile)
	r.Files = []string{r.Config}
	for _, f := range m.files {
		r.Files = append(r.Files, filepath.Join(out, f.name))
	}
	for _, l := range m.doc.lines {
		lost := slices.ContainsFunc(r.Left, func(n Note) bool { return n.Key == l.from })
		if l.from != "" && !l.off && !lost {
			r.Taken = append(r.Taken, Note{l.from, "now " + l.key})
		}
	}
	m.unmentioned()
	r.RollBack = []string{
		"Stop adconnector (adconnector stop).",
		"Start the old connector again. Nothing of it has been changed, and the tenant trusts the same signing key from both.",
		"If the tenant was given another sign-in address meanwhile, the old connector reports its own when it starts.",
	}
}

// unmentioned reports the old settings of which nothing else is said, so that
// none gets lost in silence.
func (m *migration) unmentioned() {
	r := m.report
	notes := slices.Concat(r.Taken, r.Left, r.Unneeded, r.Decide)
	for _, key := range slices.Sorted(maps.Keys(m.old.values)) {
		// A mapper has a note for each of its lines.
		said := func(n Note) bool { return n.Key == key || strings.HasPrefix(n.Key, key+":") }
		if slices.ContainsFunc(notes, said) {
			continue
		}
		why := cmp.Or(unneeded[key], "with this value it changes nothing here")
		if i := slices.IndexFunc(m.doc.lines, func(l line) bool { return l.from == key }); i >= 0 {
			why = m.doc.lines[i].key + " stands behind a # in " + configFile
		}
		r.Unneeded = append(r.Unneeded, Note{key, why})
	}
	slices.SortStableFunc(r.Unneeded, func(a, b Note) int { return strings.Compare(a.Key, b.Key) })
}

// trimmed returns a PEM text with the line ends that a text on one line lost.
func trimmed(text string) []byte {
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, `\n`, "\n")
	}
	return append(bytes.TrimSpace([]byte(text)), '\n')
}
