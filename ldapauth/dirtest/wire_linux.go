package dirtest

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// A wire is what carries the connections to the ports of a server.
type wire []*forwarder

// newWire returns a closed wire to ports as th sees them.
func newWire(th *thread, ports ...int) wire {
	w := wire{}
	for _, p := range ports {
		w = append(w, &forwarder{thread: th, target: p})
	}
	return w
}

// urls returns the URLs of a server on loopback ports, in clear and with TLS.
func urls(ports [2]int) (plain, tls string) {
	return fmt.Sprintf("ldap://127.0.0.1:%d", ports[0]), fmt.Sprintf("ldaps://127.0.0.1:%d", ports[1])
}

func (w wire) open() error {
	for _, f := range w {
		if err := f.open(); err != nil {
			return err
		}
	}
	return nil
}

func (w wire) closeListeners() {
	for _, f := range w {
		f.closeListener()
	}
}

func (w wire) close() {
	for _, f := range w {
		f.close()
	}
}

var errNoWire = errors.New("there is no wire: set OpenLDAPOptions.Wire")

func (w wire) drop(on bool) error {
	if len(w) == 0 {
		return errNoWire
	}
	var errs []error
	for _, f := range w {
		errs = append(errs, f.drop(on))
	}
	return errors.Join(errs...)
}

func (w wire) hangUp() error {
	if len(w) == 0 {
		return errNoWire
	}
	for _, f := range w {
		f.hangUp()
	}
	return nil
}

// deafen makes the kernel throw away, before TCP sees it, every packet that
// comes in for a socket, or ends that. A socket that hears nothing acknowledges
// nothing, takes no connection and passes nothing on: to both ends of a wire it
// is a network that loses everything.
func deafen(socket syscall.Conn, on bool) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if !on {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			return
		}
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // the length to keep: 0
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
	return errors.Join(err, failed)
}
