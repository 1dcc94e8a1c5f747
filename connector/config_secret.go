package connector

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"adconnector/connector/private"
	"adconnector/ldapauth/secret"

	"gopkg.in/yaml.v3"
)

// maxSecret is far more than any password needs.
const maxSecret = 64 << 10

// secret reads a secret from the file itself. No message holds any of it.
func (d *decoder) secret(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.add(n, key, "must be a single text; put it in quotes, or in a file and name that in %s_file", lastKey(key))
		return
	}
	text := n.Value
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		text = cutNewline(text)
	}
	d.literal = d.literal || variable.ReplaceAllString(text, "") != ""
	text, err := expand(text)
	switch {
	case err != nil:
		d.add(n, key, "%v", err)
	case text == "":
		d.add(n, key, "is empty; remove the line if there is none")
	default:
		v.Set(reflect.ValueOf(secret.New(text)))
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} by the variable of that name in the environment.
func expand(text string) (string, error) {
	var unset []string
	rest := variable.ReplaceAllStringFunc(text, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			unset = append(unset, name)
		}
		return value
	})
	switch {
	case len(unset) > 0:
		return "", fmt.Errorf("the environment variable %s is not set, or empty", strings.Join(unset, ", "))
	case strings.Contains(variable.ReplaceAllString(text, ""), "${"):
		return "", errors.New("${ begins the name of an environment variable, such as ${LDAP_PASSWORD}; a secret that holds ${ itself must be in a file of its own")
	}
	return rest, nil
}

// secretFiles reads the secrets of a section that have files of their own: for
// the secret "x" that is what the setting "x_file" names.
func (d *decoder) secretFiles(n *yaml.Node, section string, v reflect.Value, seen map[string]*yaml.Node) {
	known := fields(v.Type())
	for _, f := range known {
		twin := f.key + "_file"
		i := slices.IndexFunc(known, func(f field) bool { return f.key == twin })
		if i < 0 || v.FieldByIndex(f.index).Type() != secretType {
			continue
		}
		file := v.FieldByIndex(known[i].index)
		switch name := seen[twin]; {
		case name == nil && seen[f.key] == nil:
			continue
		case name == nil:
			file.SetZero() // what it holds is from the section around this one
			continue
		case seen[f.key] != nil:
			d.add(name, under(section, twin), "both %s and %s are given; remove one", f.key, twin)
			continue
		}
		v.FieldByIndex(f.index).SetZero() // likewise
		path := file.String()
		if path == "" {
			continue // the section's own validation finds that something is missing
		}
		text, warning, err := readSecret(path)
		if err != nil {
			d.add(valueOf(n, twin), under(section, twin), "%v", err)
			continue
		}
		if warning != "" {
			d.warnings = append(d.warnings, under(section, twin)+": "+warning)
		}
		v.FieldByIndex(f.index).Set(reflect.ValueOf(text))
	}
}

// readSecret returns the secret that is all of a file but the end of its last
// line.
func readSecret(path string) (text secret.String, warning string, err error) {
	if warning, err = checkSecret(path); err != nil {
		return text, "", fileError(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return text, "", fileError(path, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch s := cutNewline(strings.TrimPrefix(string(data), "\ufeff")); {
	case err != nil:
		return text, "", fileError(path, err)
	case len(data) > maxSecret:
		return text, "", fmt.Errorf("the file %s is too large for a secret; name the file that holds the secret alone", path)
	case s == "":
		return text, "", fmt.Errorf("the file %s is empty; write the secret into it", path)
	default:
		return secret.New(s), warning, nil
	}
}

// readSecretAgain is [readSecret] for a file that was read before, when its
// warning was given.
func readSecretAgain(path string) (secret.String, error) {
	text, _, err := readSecret(path)
	return text, err
}

// checkSecret looks at the rights on a file with a secret of the operator's. That
// others may read it is a warning at every start and in every check, and not the
// end, which it is for the keys that the connector keeps: what such a file is
// called and who else needs it is not ours to say.
func checkSecret(path string) (warning string, err error) {
	warning, err = private.Check(path)
	if errors.Is(err, private.ErrReadable) {
		return err.Error(), nil
	}
	return warning, err
}

// checkFile looks at the rights on the configuration file. Whoever may change it
// chooses the authorities that are trusted; and with literal, a secret stands in
// it. A group that may change it is warned of alone, because that is how some
// administrators share their work.
func checkFile(path string, literal bool) (warning string, err error) {
	if literal && runtime.GOOS == "windows" {
		return private.Check(path)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return "", err // the modes of Windows say nothing
	}
	mode, fix := info.Mode().Perm(), "chmod go-w "+path
	if literal {
		fix = "chmod 600 " + path
	}
	switch {
	case mode&0o002 != 0:
		return "", fmt.Errorf("every user of this computer may change this file (mode %04o), and with it who can sign in: run %s", mode, fix)
	case mode&0o020 != 0 && (!literal || mode&0o004 == 0):
		return fmt.Sprintf("its group may change the file %s (mode %04o), and with it who can sign in: if that is not meant, run %s", path, mode, fix), nil
	case !literal:
		return "", nil
	}
	warning, err = checkSecret(path)
	if err != nil {
		err = fmt.Errorf("%w, or move the secret to a file of its own", err)
	}
	return warning, err
}

// fileError says what an error about a file means to an operator.
func fileError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no file %s", path)
	}
	return err
}

// cutNewline removes one line end.
func cutNewline(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }

// valueOf returns the value of a key of a mapping that has it.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return n
}

func lastKey(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
