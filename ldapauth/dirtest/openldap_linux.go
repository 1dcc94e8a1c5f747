package dirtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"adconnector/ldapauth/testca"
)

// Passwords of the invented people and of the service account. They keep Active
// Directory's rules.
const (
	password        = "Harbour-Lantern-42"
	servicePassword = "Svc-Harbour-Lantern-43"
	adminPassword   = "Adm-Harbour-Lantern-44"
)

const slapdProgram = "/usr/sbin/slapd" // seldom in a developer's PATH

// slapd is the backend of an OpenLDAP server.
type slapd struct {
	server    *Server
	options   OpenLDAPOptions
	program   string
	dir       string
	removeDir func()
	thread    *thread
	ports     [2]int   // in clear and with TLS
	wire               // empty unless there is to be one
	process   *process // nil when stopped
}

func newOpenLDAP(t testing.TB, o OpenLDAPOptions) *Server {
	t.Helper()
	for _, needed := range []string{slapdProgram, "/usr/lib/ldap/ppolicy.so", "/etc/ldap/schema/inetorgperson.schema"} {
		if _, err := os.Stat(needed); err != nil {
			Missing(t, "%s: install slapd (Debian package slapd)", needed)
		}
	}
	s, err := startOpenLDAP(o)
	if err != nil {
		t.Fatalf("starting OpenLDAP: %v", err)
	}
	Using(t, "OpenLDAP %s", slapdVersion())
	return s
}

// slapdVersion returns the version of slapd, such as "2.5.13".
var slapdVersion = sync.OnceValue(func() string {
	said, _ := exec.Command(slapdProgram, "-VV").CombinedOutput() // tells its version and fails
	return string(regexp.MustCompile(`[0-9][0-9.]+`).Find(said))
})

func startOpenLDAP(o OpenLDAPOptions) (_ *Server, err error) {
	dir, removeDir, err := newDir()
	if err != nil {
		return nil, err
	}
	th, err := newThread(func() error { return nil })
	if err != nil {
		removeDir()
		return nil, err
	}
	s := &Server{
		Kind: KindOpenLDAP, CAFile: filepath.Join(dir, "ca.pem"), BaseDN: ldapBase,
		BindDN: ldapService, BindPassword: servicePassword,
		ResetDN: ldapReset,
		AdminDN: ldapAdmin, AdminPassword: adminPassword, Password: password,
	}
	b := &slapd{server: s, options: o, program: filepath.Join(dir, "slapd"), dir: dir, removeDir: removeDir, thread: th}
	s.backend = b
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	if err := b.prepare(); err != nil {
		return nil, err
	}
	if err := b.startSomewhere(); err != nil {
		return nil, err
	}
	return s, s.lockOut("uid=lck," + ldapPeople)
}

// prepare writes the server's certificate, configuration and content. It runs a
// copy of slapd: where AppArmor confines the program, it does so by its path,
// and would keep it out of our folder.
func (b *slapd) prepare() error {
	if err := writeCertificates(b.dir, "ldap.corp.example.test"); err != nil {
		return err
	}
	code, err := os.ReadFile(slapdProgram)
	if err != nil {
		return err
	}
	content := ldif(b.options)
	return errors.Join(
		os.WriteFile(b.program, code, 0o700),
		os.Mkdir(filepath.Join(b.dir, "db"), 0o700),
		os.WriteFile(b.file("slapd.conf"), []byte(b.config()), 0o600),
		os.WriteFile(b.file("content.ldif"), []byte(content), 0o600),
		os.WriteFile(b.file("client-ca.pem"), b.options.ClientCA, 0o600),
		run(b.program, "-T", "add", "-q", "-w", "-f", b.file("slapd.conf"), "-l", b.file("content.ldif")),
	)
}

func (b *slapd) file(name string) string { return filepath.Join(b.dir, name) }

// config returns slapd.conf. The service accounts may read everything but
// passwords, one of them may set those, everybody else only what a bind needs.
func (b *slapd) config() string {
	o := b.options
	var conf strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&conf, format+"\n", args...) }
	for _, schema := range []string{"core", "cosine", "nis", "inetorgperson"} {
		line("include /etc/ldap/schema/%s.schema", schema)
	}
	if o.DynamicGroups {
		line("include /etc/ldap/schema/dyngroup.schema")
	}
	line("modulepath /usr/lib/ldap")
	line("moduleload back_mdb")
	line("moduleload memberof")
	line("moduleload ppolicy")
	if o.Argon2 {
		line("moduleload argon2")
	}
	if o.DynamicGroups {
		line("moduleload dynlist")
	}
	if len(o.ClientCA) > 0 {
		line("TLSCACertificateFile %s", b.file("client-ca.pem"))
		line("TLSVerifyClient try")
		line("authz-regexp ^cn=(svc-connector|svc-reset)$ cn=$1,ou=service,%s", ldapBase)
	} else {
		line("TLSCACertificateFile %s", b.file("ca.pem"))
		line("TLSVerifyClient never")
	}
	line("TLSCertificateFile %s", b.file("cert.pem"))
	line("TLSCertificateKeyFile %s", b.file("key.pem"))
	line("allow bind_anon_cred bind_anon_dn")
	line("threads 4")
	line("idletimeout %d", o.IdleSeconds)
	if o.SizeLimit > 0 {
		line("sizelimit %d", o.SizeLimit)
	}
	if o.TLSRequired {
		line("security simple_bind=128")
	}
	line("database mdb")
	line("suffix %q", ldapBase)
	line("directory %s", b.file("db"))
	line("maxsize %d", 1<<30)
	line("dbnosync")
	line("rootdn %q", ldapAdmin)
	line("rootpw %s", adminPassword)
	line("index objectClass,member,memberOf,entryUUID eq")
	line("index uid,cn,mail eq")
	if !o.NoMemberOf {
		line("overlay memberof")
		line("memberof-refint TRUE")
	}
	if o.DynamicGroups {
		line("overlay dynlist")
		line("dynlist-attrset groupOfURLs memberURL member+memberOf@groupOfNames*")
	}
	line("overlay ppolicy")
	line("ppolicy_default %q", "cn=default,"+ldapPolicies)
	line("ppolicy_use_lockout")
	line("access to attrs=userPassword by self =xw by dn.exact=%q =w by anonymous auth by * none", ldapReset)
	line("access to * by dn.exact=%q read by dn.exact=%q read by * none", ldapService, ldapReset)
	return conf.String()
}

// startSomewhere starts the server on ports that are free. Somebody else may
// take them in between; then others are tried.
func (b *slapd) startSomewhere() error {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts()
		if err != nil {
			return err
		}
		b.ports = ports
		if b.options.Wire {
			b.wire = newWire(b.thread, ports[0], ports[1])
		}
		if err := b.start(); !errors.Is(err, errEnded) || attempt == 5 {
			return err
		}
	}
}

// freePorts returns two loopback ports on which nobody listens.
func freePorts() (ports [2]int, err error) {
	for i := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return ports, err
		}
		defer func() { _ = l.Close() }()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func (b *slapd) start() error {
	reached := b.ports
	if len(b.wire) > 0 {
		if err := b.open(); err != nil {
			return err
		}
		reached = [2]int{b.wire[0].port, b.wire[1].port}
	}
	b.server.PlainURL, b.server.URL = urls(reached)
	log, err := os.OpenFile(b.file("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	level := "stats"
	if b.options.Quiet {
		level = "none"
	}
	plain, tls := urls(b.ports)
	cmd := exec.Command(b.program, "-d", level, "-f", b.file("slapd.conf"), "-h", plain+" "+tls)
	cmd.Stderr = log
	if b.process, err = startProcess(b.thread, cmd); err != nil {
		return err
	}
	if err := b.process.await(b.server.answers); err != nil {
		b.stop()
		return fmt.Errorf("%w\n%s", err, tail(b.log()))
	}
	return nil
}

func (b *slapd) keytab(string, string) error { return errors.New("OpenLDAP has no Kerberos") }

func (b *slapd) stop() { b.end((*process).stop) }

func (b *slapd) kill() { b.end((*process).kill) }

func (b *slapd) end(how func(*process)) {
	b.closeListeners()
	if b.process != nil {
		how(b.process)
		b.process = nil
	}
	b.close()
}

func (b *slapd) idleTimeout(seconds int) error {
	b.stop()
	b.options.IdleSeconds = seconds
	return errors.Join(os.WriteFile(b.file("slapd.conf"), []byte(b.config()), 0o600), b.start())
}

func (b *slapd) wrongCertificate(on bool) error { return swapCertificate(b.dir, on) }

func (b *slapd) freeze(on bool) error {
	if b.process == nil {
		return errors.New("the server is stopped")
	}
	return b.process.freeze(on)
}

func (b *slapd) log() string {
	text, err := os.ReadFile(b.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (b *slapd) remove() {
	b.stop()
	b.thread.end()
	b.removeDir()
}

// writeCertificates writes ca.pem, cert.pem and key.pem for a server that is
// called 127.0.0.1, localhost and by the given names.
func writeCertificates(dir string, names ...string) error {
	ca, err := testca.New("Directory Test CA")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), ca.PEM(), 0o600),
		writeLeaf(ca, dir, append(names, "localhost", "127.0.0.1")...),
	)
}

// writeLeaf writes cert.pem and key.pem for a server with the given names.
func writeLeaf(ca *testca.CA, dir string, names ...string) error {
	leaf, err := ca.Server(names...)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), leaf.CertPEM(), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), leaf.KeyPEM(), 0o600),
	)
}

// swapCertificate puts a certificate of another authority for another server
// in the place of the right one, or the right one back.
func swapCertificate(dir string, wrong bool) error {
	for _, name := range []string{"cert.pem", "key.pem"} {
		shown, kept := filepath.Join(dir, name), filepath.Join(dir, "right-"+name)
		if !wrong {
			shown, kept = kept, shown
		}
		if err := os.Rename(shown, kept); err != nil {
			return err
		}
	}
	if !wrong {
		return nil
	}
	ca, err := testca.New("Another CA")
	if err != nil {
		return err
	}
	return writeLeaf(ca, dir, "elsewhere.example.test")
}
