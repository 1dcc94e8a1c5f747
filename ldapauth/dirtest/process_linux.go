package dirtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A thread runs functions one after the other on an operating system thread
// that does nothing else. Linux can kill a child when the thread that started
// it ends, and a network namespace belongs to a thread: both need one that
// lives exactly as long as the server.
type thread struct{ work chan func() }

// newThread starts a thread and runs setup on it. A thread whose setup failed
// is gone.
func newThread(setup func() error) (*thread, error) {
	th := &thread{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := setup()
		ready <- err
		if err != nil {
			return
		}
		for f := range th.work {
			f()
		}
	}()
	return th, <-ready
}

// do runs f on the thread and waits for it.
func (th *thread) do(f func() error) error {
	done := make(chan error)
	th.work <- func() { done <- f() }
	return <-done
}

// end ends the thread and with it the programs that it started.
func (th *thread) end() { close(th.work) }

// A process is a server program that was started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and err is set
	err  error
}

// startProcess starts cmd in a process group of its own, from th.
func startProcess(th *thread, cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := th.do(cmd.Start); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) error { return syscall.Kill(-p.cmd.Process.Pid, s) }

// stop asks the program to end, insists after a while and returns when it has
// ended.
func (p *process) stop() {
	_ = p.signal(syscall.SIGCONT) // a frozen program ends for nobody
	_ = p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// kill ends the program at once.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.done
}

// freeze stops the program or lets it go on. It returns when no thread of the
// program runs any more: the signal alone leaves them time for one more answer.
func (p *process) freeze(on bool) error {
	if !on {
		return p.signal(syscall.SIGCONT)
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		switch still, err := p.stopped(); {
		case still || err != nil:
			return err
		case time.Now().After(deadline):
			return errors.New("some threads do not stop")
		}
	}
}

// stopped reports whether every thread of the program is stopped.
func (p *process) stopped() (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil {
		return false, err
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return false, err
		}
		// The state follows the name, which stands in parentheses; see proc(5).
		if i := strings.LastIndex(string(stat), ") "); i < 0 || stat[i+2] != 'T' {
			return false, nil
		}
	}
	return true, nil
}

// errEnded reports a program that ended before it answered.
var errEnded = errors.New("the program ended")

// await calls answers until it returns nil, p ends or the time is up.
func (p *process) await(answers func() error) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := answers()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer after a minute: %w", err)
		}
		select {
		case <-p.done:
			return fmt.Errorf("%w: %w", errEnded, p.err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// run runs a program to its end; the error has its output.
func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return nil
}

// dirPrefix begins the name of every folder that newDir makes.
const dirPrefix = "adconnector-dirtest-"

// newDir makes a folder for a server and returns a function that removes it.
// The folder is locked as long as this process lives, so that the next one can
// tell a folder in use from one that a crash left behind, and removes the
// latter. It gets its name when it is locked: nobody sees it before.
func newDir() (dir string, remove func(), err error) {
	removeLeftDirs()
	unlocked, err := os.MkdirTemp("", "new-"+dirPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := lockFile(filepath.Join(unlocked, "in-use"), os.O_CREATE, unix.LOCK_EX)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(unlocked))
	}
	dir = filepath.Join(filepath.Dir(unlocked), strings.TrimPrefix(filepath.Base(unlocked), "new-"))
	if err := os.Rename(unlocked, dir); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(unlocked), lock.Close())
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}, nil
}

func removeLeftDirs() {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*", "in-use"))
	if err != nil {
		return
	}
	for _, name := range left {
		if lock, err := lockFile(name, 0, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			_ = os.RemoveAll(filepath.Dir(name))
			_ = lock.Close()
		}
	}
}

// lockFile opens a file and locks it until it is closed.
func lockFile(name string, create, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|create, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	return f, nil
}

// tail returns the last lines of a log, for an error message.
func tail(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
