//go:build !windows

package private_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"adconnector/connector/private"
	"adconnector/ldapauth/dirtest"
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name          string
		mode          os.FileMode
		folder        bool
		warning, fail string // "" means: none
	}{
		{"owner alone", 0o600, false, "", ""},
		{"owner may read only", 0o400, false, "", ""},
		{"group reads", 0o640, false, "its group may read", ""},
		{"others read", 0o644, false, "", "run chmod 600 "},
		{"only others read", 0o604, false, "", "run chmod 600 "},
		{"group writes", 0o660, false, "", "run chmod 600 "},
		{"others write", 0o602, false, "", "run chmod 600 "},
		{"folder of the owner", 0o700, true, "", ""},
		{"group enters the folder", 0o750, true, "its group may enter", ""},
		{"others list the folder", 0o704, true, "", "run chmod 700 "},
		{"others reach into the folder", 0o701, true, "", "run chmod 700 "},
		{"group writes to the folder", 0o770, true, "", "run chmod 700 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "it")
			if tt.folder {
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			warning, err := private.Check(path)
			if (warning != "") != (tt.warning != "") || !strings.Contains(warning, tt.warning) {
				t.Errorf("warning = %q, want %q in it", warning, tt.warning)
			}
			if (err != nil) != (tt.fail != "") || err != nil && !strings.Contains(err.Error(), tt.fail+path) {
				t.Errorf("error = %v, want %q in it", err, tt.fail)
			}
		})
	}
	if _, err := private.Check(filepath.Join(t.TempDir(), "nothing")); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestCheckFollowsLinks(t *testing.T) {
	folder := t.TempDir()
	key, link := filepath.Join(folder, "key"), filepath.Join(folder, "link") // links themselves are 0777
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	if warning, err := private.Check(link); warning != "" || err != nil {
		t.Errorf("link to a private file: %q, %v", warning, err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := private.Check(link); err == nil {
		t.Error("link to a file that others read was accepted")
	}
}

func TestRightsOfWhatIsMade(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // the rights must not hang on it
	path := filepath.Join(t.TempDir(), "parent", "data")
	dir, err := private.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Write("state", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Secret("web.key", 32); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{
		filepath.Dir(path):  0o755,
		path:                0o700,
		dir.Path("state"):   0o600,
		dir.Path("web.key"): 0o600,
	} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", p, got, want)
		}
	}
}

func TestFolderThatOthersReadIsRefused(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := private.Open(path); err == nil || !strings.Contains(err.Error(), "chmod 700 "+path) {
		t.Errorf("error = %v", err)
	}
}

func TestFileThatOthersReadIsRefused(t *testing.T) {
	dir := open(t)
	secret, err := dir.Secret("web.key", 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir.Path("web.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Read("web.key"); err == nil {
		t.Error("Read took it")
	}
	if _, err := dir.Secret("web.key", 32); err == nil || strings.Contains(err.Error(), string(secret)) {
		t.Errorf("Secret took it, or showed it: %v", err)
	}
}

// Whoever owns a file may change it whatever its mode is.
func TestFilesOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		dirtest.Missing(t, "only root can give files away")
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if warning, err := private.Check(file); warning != "" || err != nil {
		t.Errorf("our own: %q, %v", warning, err)
	}
	if err := os.Chown(file, 12345, -1); err != nil {
		t.Fatal(err)
	}
	// Root may look at what belongs to the service's account.
	if warning, err := private.Check(file); !strings.Contains(warning, "12345") || err != nil {
		t.Errorf("another's, as root: %q, %v", warning, err)
	}
}

// TestFilesOfRootAreForTheServiceToo: what an administrator makes as root, in the
// folder of a service that runs as somebody else, is that one's.
func TestFilesOfRootAreForTheServiceToo(t *testing.T) {
	if os.Geteuid() != 0 {
		dirtest.Missing(t, "the rights of root")
	}
	const service = 12345
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir.Path("."), service, service); err != nil {
		t.Fatal(err)
	}
	if err := dir.Write("state", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Secret("key", 32); err != nil {
		t.Fatal(err)
	}
	sub, err := dir.Sub("more")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir.Path("state"), dir.Path("key"), sub.Path(".")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := info.Sys().(*syscall.Stat_t); s.Uid != service || s.Gid != service || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s belongs to %d:%d, mode %v", path, s.Uid, s.Gid, info.Mode())
		}
	}
}
