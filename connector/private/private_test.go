package private_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"adconnector/connector/private"
)

// TestMain is also the program that TestSecretOfSeveralProcesses starts: with
// these variables set, it prints a secret in place of running tests.
func TestMain(m *testing.M) {
	if path := os.Getenv("PRIVATE_TEST_FOLDER"); path != "" {
		dir, err := private.Open(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		secret, err := dir.Secret("web.key", 32)
		fmt.Printf("%x %v", secret, err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWriteReplacesWhole(t *testing.T) {
	dir := open(t)
	for _, want := range []string{"one", "another that is longer", ""} {
		if err := dir.Write("state", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := dir.Read("state"); string(got) != want || err != nil {
			t.Errorf("Read = %q, %v, want %q", got, err, want)
		}
	}
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestReadOfNothing(t *testing.T) {
	if _, err := open(t).Read("state"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error = %v, want fs.ErrNotExist", err)
	}
}

func TestWriteThatFailsLeavesNothingBehind(t *testing.T) {
	dir := open(t)
	if err := os.Mkdir(dir.Path("state"), 0o700); err != nil { // no file can take this name
		t.Fatal(err)
	}
	if err := dir.Write("state", []byte("x")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestSecretIsMadeOnceAndKept(t *testing.T) {
	dir := open(t)
	first, err := dir.Secret("web.key", 32)
	if err != nil || len(first) != 32 {
		t.Fatalf("Secret = %d bytes, %v", len(first), err)
	}
	if again, err := dir.Secret("web.key", 32); !bytes.Equal(again, first) || err != nil {
		t.Errorf("a second start gets another secret (%v)", err)
	}
	if other, _ := dir.Secret("other.key", 32); bytes.Equal(other, first) {
		t.Error("two secrets are alike")
	}
	if names := list(t, dir); len(names) != 2 {
		t.Errorf("left behind: %v", names)
	}
}

func TestH7_SecretThatIsNoneIsRefusedAndKept(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"short", []byte("changeme")},
		{"one byte short", make([]byte, 31)},
		{"too long", bytes.Repeat([]byte("ab"), 40)},
		{"zeros", make([]byte, 32)},
		{"one letter over and over", bytes.Repeat([]byte("a"), 32)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := open(t)
			if err := dir.Write("web.key", tt.data); err != nil {
				t.Fatal(err)
			}
			secret, err := dir.Secret("web.key", 32)
			if err == nil || secret != nil {
				t.Fatalf("accepted %q", tt.data)
			}
			if !strings.Contains(err.Error(), "web.key") || !strings.Contains(err.Error(), "delete it") {
				t.Errorf("error does not say what to do: %v", err)
			}
			if len(tt.data) > 0 && strings.Contains(err.Error(), string(tt.data)) {
				t.Errorf("error shows the secret: %v", err)
			}
			if got, _ := dir.Read("web.key"); !bytes.Equal(got, tt.data) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestSecretOfSeveralGoroutines(t *testing.T) {
	dir := open(t)
	secrets := make([][]byte, 20)
	var all sync.WaitGroup
	for i := range secrets {
		all.Go(func() {
			var err error
			if secrets[i], err = dir.Secret("web.key", 32); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, s := range secrets {
		if !bytes.Equal(s, secrets[0]) {
			t.Fatal("two of them got different secrets")
		}
	}
}

func TestSecretOfSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parent", "data")
	answers := make([]string, 6)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "PRIVATE_TEST_FOLDER="+path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			answers[i] = string(out)
		})
	}
	all.Wait()
	for _, a := range answers {
		if a != answers[0] || !strings.HasSuffix(a, " <nil>") {
			t.Fatalf("answers differ: %q", answers)
		}
	}
}

func TestMakeTakesNothingThatIsThere(t *testing.T) {
	parent := t.TempDir()
	made, err := private.Make(filepath.Join(parent, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Write("secret", []byte("x")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(made.Path(""), link); err != nil && runtime.GOOS != "windows" { // not everybody may there
		t.Fatal(err)
	} else if err != nil {
		link = made.Path("")
	}
	for _, path := range []string{made.Path(""), made.Path("secret"), link} {
		if _, err := private.Make(path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v, want that it is there", path, err)
		}
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := private.Open(path); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("error = %v", err)
	}
}

func open(t *testing.T) *private.Dir {
	t.Helper()
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func list(t *testing.T, dir *private.Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(dir.Path(""))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

func TestFilesOfAFolderWithinTheFolder(t *testing.T) {
	dir, err := open(t).Sub("lists")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := dir.Names(); len(names) != 0 || err != nil {
		t.Errorf("a new folder holds %v, %v", names, err)
	}
	if err := dir.Write("a", []byte("in "), nil, []byte("pieces")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir.Path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.Read("a"); string(got) != "in pieces" || err != nil {
		t.Errorf("Read = %q, %v", got, err)
	}
	if names, err := dir.Names(); len(names) != 1 || names[0] != "a" || err != nil {
		t.Errorf("Names = %v, %v", names, err)
	}
	if err := dir.Remove("a"); err != nil {
		t.Error(err)
	}
	if _, err := dir.Read("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
	if _, err := private.Check(dir.Path("")); err != nil {
		t.Errorf("others can read it: %v", err)
	}
}
