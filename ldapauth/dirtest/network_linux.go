package dirtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// newNetworkThread returns a thread in a network namespace of its own, with a
// loopback interface that works. The namespace has no name and is gone with the
// thread and the programs that it started.
func newNetworkThread() (*thread, error) {
	return newThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		return loopbackUp()
	})
}

// loopbackUp switches the loopback interface on, which gives it 127.0.0.1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("switching the loopback interface on: %w", err)
	}
	return nil
}

// dialFrom connects to a loopback port as th sees it: a socket stays in the
// namespace in which it was made.
func dialFrom(th *thread, port int) (net.Conn, error) {
	var fd int
	err := th.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = f.Close() }() // the connection has its own
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// A forwarder makes a port of a namespace reachable on a loopback port of ours.
type forwarder struct {
	thread *thread
	target int // the port there
	port   int // the port here; 0 before the first open

	mu       sync.Mutex
	listener *net.TCPListener // nil when closed
	conns    map[net.Conn]bool
	deaf     bool // packets are dropped
	busy     sync.WaitGroup
}

// open starts to listen, always on the same port.
func (f *forwarder) open() error {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // its sockets take no filter
	l, err := plain.Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", f.port))
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.listener, f.conns, f.deaf = l.(*net.TCPListener), map[net.Conn]bool{}, false
	f.mu.Unlock()
	f.port = l.Addr().(*net.TCPAddr).Port
	f.busy.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.busy.Go(func() { f.carry(c) })
		}
	})
	return nil
}

// carry connects c with the target until one side hangs up.
func (f *forwarder) carry(c net.Conn) {
	if !f.keep(c) {
		return
	}
	defer f.forget(c)
	server, err := dialFrom(f.thread, f.target)
	if err != nil || !f.keep(server) {
		return
	}
	defer f.forget(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, c)
		_ = server.Close()
	}()
	_, _ = io.Copy(c, server)
	_ = c.Close()
	<-done
}

// keep registers a connection to be closed with the forwarder. It closes the
// connection when the forwarder is closed already, and returns false.
func (f *forwarder) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		_ = c.Close()
		return false
	}
	f.conns[c] = true
	if f.deaf { // it was accepted just before
		_ = deafen(c.(syscall.Conn), true)
	}
	return true
}

// drop makes the kernel drop the packets of all connections, or ends that.
func (f *forwarder) drop(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil || f.deaf == on {
		return nil
	}
	f.deaf = on
	errs := []error{deafen(f.listener, on)}
	for c := range f.conns {
		errs = append(errs, deafen(c.(syscall.Conn), on))
	}
	return errors.Join(errs...)
}

// hangUp ends the connections.
func (f *forwarder) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}

func (f *forwarder) forget(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = c.Close()
	delete(f.conns, c)
}

// closeListener lets nobody in any more; connections go on.
func (f *forwarder) closeListener() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
	}
}

// close ends everything and returns when it has ended.
func (f *forwarder) close() {
	f.closeListener()
	f.mu.Lock()
	var errs []error
	for c := range f.conns {
		errs = append(errs, c.Close())
	}
	f.conns = nil
	f.mu.Unlock()
	_ = errors.Join(errs...)
	f.busy.Wait()
}
