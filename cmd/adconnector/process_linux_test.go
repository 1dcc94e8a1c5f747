package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// process returns the program as a process that has not been started.
func process(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// listenAnywhere listens on a port of every address.
func listenAnywhere(port string) (net.Listener, error) { return net.Listen("tcp", ":"+port) }

func serverTLS(pair *tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*pair}, MinVersion: tls.VersionTLS12}
}

// awaitListener waits until a process listens; log is where it writes.
func awaitListener(t *testing.T, address string, cmd *exec.Cmd, log string) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
	}
	data, _ := os.ReadFile(log)
	t.Fatalf("%s does not listen at %s; its log:\n%s", cmd.Args[1:], address, data)
}
