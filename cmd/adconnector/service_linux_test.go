package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"adconnector/ldapauth/dirtest"
)

// writeConfig writes a configuration that is right, with these settings more.
func writeConfig(t *testing.T, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "adconnector.yaml")
	text := "url: https://localhost\ntls: {cert_file: a, key_file: b}\npassword: {}\nldap: {urls: [ldaps://localhost], base_dn: DC=x}\n" + more
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUnitMayWriteWhereTheConnectorDoes(t *testing.T) {
	got, err := systemdUnit(writeConfig(t, `data_dir: "/var/lib/a \"b\" 100%"`+"\naudit_file: /var/log/adc/audit.log\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nReadWritePaths=\"/var/lib/a \\\"b\\\" 100%%\" \"/var/log/adc\"\n"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}

// A path in the configuration must not become a setting of the unit.
func TestUnitRefusesPathsThatAreMoreThanPaths(t *testing.T) {
	for _, dir := range []string{`/var/lib/x\nUser=root\nExecStartPre=/bin/evil`, `/var/lib/{{Path}}`} {
		if got, err := systemdUnit(writeConfig(t, `data_dir: "`+dir+`"`)); err == nil {
			t.Errorf("%s:\n%s", dir, got)
		}
	}
}

func owner(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func TestDataDirIsHandedOver(t *testing.T) {
	if os.Getuid() != 0 {
		dirtest.Missing(t, "only root can give files away")
	}
	const somebody = 65534
	for name, prepare := range map[string]func(dir, victim string) error{
		"keys of an earlier run": func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "web.key"), nil, 0o600) },
		"nothing":                func(string, string) error { return nil },
		"socket of a crashed run": func(dir, _ string) error {
			ln, err := net.Listen("unix", filepath.Join(dir, "control.sock"))
			if err != nil {
				return err
			}
			ln.(*net.UnixListener).SetUnlinkOnClose(false)
			return ln.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir, ""); err != nil {
				t.Fatal(err)
			}
			if err := giveAway(dir, somebody, somebody); err != nil {
				t.Fatal(err)
			}
			if owner(t, dir) != somebody {
				t.Error("the folder was not given")
			}
			files, _ := filepath.Glob(filepath.Join(dir, "*"))
			for _, f := range files {
				if filepath.Base(f) != "control.sock" && owner(t, f) != somebody {
					t.Errorf("%s was not given", f)
				}
			}
		})
	}
}

// Whoever owns data_dir already must not get somebody else's file by it.
func TestHandingOverGivesNothingElseAway(t *testing.T) {
	if os.Getuid() != 0 {
		dirtest.Missing(t, "only root can give files away")
	}
	for name, plant := range map[string]func(dir, victim string) error{
		"symbolic link":           func(dir, victim string) error { return os.Symlink(victim, filepath.Join(dir, "web.key")) },
		"second name":             func(dir, victim string) error { return os.Link(victim, filepath.Join(dir, "web.key")) },
		"folder":                  func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "sub"), 0o700) },
		"pipe that nobody writes": func(dir, _ string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir, victim := filepath.Join(base, "data"), filepath.Join(base, "shadow")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(victim, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := plant(dir, victim); err != nil {
				t.Fatal(err)
			}
			if err := giveAway(dir, 65534, 65534); err == nil {
				t.Error("handed over")
			}
			if owner(t, victim) != 0 || owner(t, dir) != 0 {
				t.Error("given away")
			}
		})
	}
}
