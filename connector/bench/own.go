package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"adconnector/connector"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/testca"
)

// Names of the hidden parts of the bench command: processes of their own, so
// that what they use is not counted as the connector's.
const (
	DirectoryPart = "directory"
	HandshakePart = "handshake"
)

const (
	ownBase  = "DC=fabrikam,DC=example"
	ownRealm = "urn:fabrikam:bench"
	// startWait bounds how long a process of the bench may take to answer.
	startWait = 10 * time.Second
)

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // bytes
}

// own is a connector and a directory that belong to the bench.
type own struct {
	dir       string
	file      string // the connector's configuration
	processes []*exec.Cmd
	target    Target
	startup   time.Duration // of the connector, until it listens
}

// startOwn makes certificates and a configuration in a temporary folder and
// starts a directory and a connector as processes of their own.
func startOwn(ctx context.Context, program string) (_ *own, err error) {
	o := &own{}
	defer func() {
		if err != nil {
			o.stop()
		}
	}()
	if o.dir, err = os.MkdirTemp("", "adconnector-bench-"); err != nil {
		return nil, err
	}
	if err := o.makeCertificates(); err != nil {
		return nil, err
	}
	ldapAddress, err := o.start(ctx, program, "bench", "--part", DirectoryPart, "--dir", o.dir)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	o.target.URL = fmt.Sprintf("https://localhost:%d", port)
	o.file = filepath.Join(o.dir, "adconnector.yaml")
	if err := os.WriteFile(o.file, []byte(o.configuration(port, ldapAddress)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "run", "--config", o.file)
	if cmd.Stderr, err = os.Create(filepath.Join(o.dir, "log")); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	o.processes = append(o.processes, cmd)
	o.target.PID = cmd.Process.Pid
	if err := waitFor(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		log, _ := os.ReadFile(filepath.Join(o.dir, "log"))
		return nil, fmt.Errorf("the connector did not start: %w\n%s", err, log)
	}
	o.startup = time.Since(began)
	return o, nil
}

func (o *own) configuration(port int, ldapAddress string) string {
	return fmt.Sprintf(`url: https://localhost:%d
listen: 127.0.0.1:%d
data_dir: data
tls: {cert_file: server.crt, key_file: server.key}
certificate: {ip_ranges: [127.0.0.1/32], ca_files: [ca.crt]}
password: {}
ldap:
  urls: ["ldaps://localhost:%s"]
  ca_files: [ca.crt]
  bind_dn: %q
  bind_password_file: ldap-password
  base_dn: %s
wsfed:
  issuer: urn:fabrikam:adconnector
  relying_parties: [{realm: %s, reply_urls: [https://localhost/reply]}]
log: {level: warn}
audit_file: audit.log
`, port, port, ldapAddress[strings.LastIndexByte(ldapAddress, ':')+1:], "CN=svc-adconnector,OU=Services,"+ownBase, ownBase, ownRealm)
}

func (o *own) makeCertificates() error {
	ca, err := testca.New("adconnector bench CA")
	if err != nil {
		return err
	}
	server, err := ca.Server("localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	client, err := ca.Client("jon")
	if err != nil {
		return err
	}
	pair := client.TLS()
	o.target = Target{Realm: ownRealm, Roots: x509.NewCertPool(), Client: &pair, Username: "jon", Password: memdir.SamplePassword}
	o.target.Roots.AddCert(ca.Certificate)
	for name, data := range map[string][]byte{
		"ca.crt": ca.PEM(), "server.crt": server.CertPEM(), "server.key": server.KeyPEM(),
		"ldap-password": []byte(memdir.ServicePassword),
	} {
		if err := os.WriteFile(filepath.Join(o.dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// start starts a part of the bench and returns the address that it prints.
func (o *own) start(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	// The part ends when its standard input does, so it cannot outlive us.
	if _, err := cmd.StdinPipe(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	o.processes = append(o.processes, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("starting %s: %w", strings.Join(args[:3], " "), err)
	}
	return strings.TrimSpace(line), nil
}

func (o *own) stop() {
	for _, cmd := range o.processes {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if o.dir != "" {
		_ = os.RemoveAll(o.dir)
	}
}

// ServePart runs one of the processes that the bench starts; it prints the
// address that it serves at and ends with its standard input.
func ServePart(part, dir string, in io.Reader, out io.Writer) error {
	config, err := serverConfig(dir)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, ln.Addr()); err != nil {
		return err
	}
	switch part {
	case DirectoryPart:
		s, err := memdir.New(memdir.Options{
			BaseDN: ownBase, Entries: ownEntries(), TLS: config, RequireTLS: true,
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		go func() { _ = s.Serve(tls.NewListener(ln, config)) }()
	case HandshakePart:
		go serveHandshakes(ln, config)
	default:
		return fmt.Errorf("there is no part %q", part)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// crowd is how many people the bench's directory has besides the sample company.
const crowd = 32

func crowdName(i int) string { return fmt.Sprintf("u%02d", i) }

// ownEntries is the sample company and a crowd of people like jon.
func ownEntries() []memdir.Entry {
	entries := memdir.Sample(ownBase)
	i := slices.IndexFunc(entries, func(e memdir.Entry) bool { return slices.Contains(e.Attributes["sAMAccountName"], "jon") })
	for n := range crowd {
		e := memdir.Entry{DN: fmt.Sprintf("CN=%s,OU=Staff,%s", crowdName(n), ownBase), Attributes: maps.Clone(entries[i].Attributes), Password: entries[i].Password}
		e.Attributes["sAMAccountName"] = []string{crowdName(n)}
		entries = append(entries, e)
	}
	return entries
}

// measureDirectory measures the directory as the connector's own code uses it.
func (o *own) measureDirectory(ctx context.Context, run *Options) error {
	config, err := connector.LoadConfig(o.file)
	if err != nil {
		return err
	}
	d := DirectoryOptions{Out: run.Out, Count: run.Count, Concurrency: DirectoryConcurrency, Config: config, Password: o.target.Password}
	for i := range crowd {
		d.Usernames = append(d.Usernames, crowdName(i))
	}
	return Directory(ctx, d)
}

func serverConfig(dir string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		return nil, err
	}
	roots, err := LoadRoots(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: roots,
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
	}, nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// waitFor waits until something listens at address.
func waitFor(address string) error {
	for end := time.Now().Add(startWait); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
	}
	return errors.New("nothing listens at " + address)
}
