package dirtest_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"adconnector/ldapauth/dirtest"
)

// The test starts itself with this variable set: the other process starts
// servers and is killed.
const doomed = "ADCONNECTOR_DIRTEST_DOOMED"

func TestServersDieWithTheProcess(t *testing.T) {
	if os.Getenv(doomed) != "" {
		for _, s := range []*dirtest.Server{dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}), dirtest.SambaAD(t)} {
			pid, dir := dirtest.Process(s)
			fmt.Println("server", pid, dir)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	dirtest.SharedSambaAD(t) // ends the test early where there can be no samba

	cmd := exec.Command(os.Args[0], "-test.run=^TestServersDieWithTheProcess$")
	cmd.Env = append(os.Environ(), doomed+"=yes")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the process was not killed:\n%s", out)
	}
	servers := 0
	var dirs []string
	for line := range bytes.Lines(out) {
		var pid int
		var dir string
		if n, _ := fmt.Sscanf(string(line), "server %d %s", &pid, &dir); n < 2 {
			continue
		}
		servers++
		dirs = append(dirs, dir)
		for deadline := time.Now().Add(10 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d of %s outlives the test", pid, dir)
			}
		}
	}
	if servers != 2 {
		t.Fatalf("%d servers were started, want 2:\n%s", servers, out)
	}

	dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}) // cleans up what was left
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s of a dead process is still there: %v", dir, err)
		}
	}
}

// running reports whether a process exists and is more than an entry that its
// parent has not read yet.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

func TestServerLeavesNothingBehind(t *testing.T) {
	var pid int
	var dir string
	t.Run("use", func(t *testing.T) {
		pid, dir = dirtest.Process(dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{}))
	})
	if dir == "" {
		t.SkipNow() // as the subtest did
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) || running(pid) {
		t.Errorf("after the test: process %d runs: %v, %s: %v", pid, running(pid), dir, err)
	}
}
