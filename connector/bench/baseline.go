package bench

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// signatures is how often a signature is made to measure one.
const signatures = 1000

// serveHandshakes does nothing with a connection but the handshake, with the
// client certificate verified, and one byte that tells the client so.
func serveHandshakes(ln net.Listener, config *tls.Config) {
	config.ClientAuth = tls.RequireAndVerifyClientCert
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			t := tls.Server(c, config)
			if t.Handshake() == nil {
				_, _ = t.Write([]byte{'.'})
				_ = t.Close()
			}
		}()
	}
}

// measureHandshake measures full TLS 1.3 handshakes with a verified client
// certificate, and nothing else, against a process of their own. The server's
// key and the client's are P-256.
func measureHandshake(ctx context.Context, o *Options) (*series, error) {
	b := &own{}
	defer b.stop()
	var err error
	if b.dir, err = os.MkdirTemp("", "adconnector-bench-"); err != nil {
		return nil, err
	}
	if err := b.makeCertificates(); err != nil {
		return nil, err
	}
	address, err := b.start(ctx, o.Program, "bench", "--part", HandshakePart, "--dir", b.dir)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		RootCAs: b.target.Roots, ServerName: "localhost", MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{*b.target.Client},
	}
	bare := *o
	bare.PID = b.processes[0].Process.Pid
	return bare.measure(ctx, func(ctx context.Context) error {
		c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	})
}

// measureSignature returns what one RSA-2048 PKCS #1 v1.5 signature costs. As
// many are made at a time as there are sign-ins, so that the processor is as
// busy, and the CPU time is counted; where that is not known it is the time of
// the clock, one at a time.
func measureSignature(ctx context.Context, concurrency int) (time.Duration, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return 0, err
	}
	before, known := usageOf(os.Getpid())
	if !known {
		concurrency = 1
	}
	start := time.Now()
	err = repeat(ctx, signatures, concurrency, func(_ context.Context, i int) error {
		digest := sha256.Sum256([]byte(strconv.Itoa(i)))
		_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		return err
	})
	if after, ok := usageOf(os.Getpid()); known && ok {
		return (after.cpu - before.cpu) / signatures, err
	}
	return time.Since(start) / signatures, err
}
