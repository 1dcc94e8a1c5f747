package dirtest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sys/unix"
)

// Programs of Samba, and the Python that has its modules: another one may come
// first in PATH.
const (
	sambaProgram = "/usr/sbin/samba"
	sambaTool    = "/usr/bin/samba-tool"
	sambaPython  = "/usr/bin/python3"
)

//go:embed populate.py
var populateScript string

// samba is the backend of a domain controller. Its ports are fixed, so that it
// runs in a network namespace of its own.
type samba struct {
	server    *Server
	dir       string
	removeDir func()
	thread    *thread
	wire
	process *process // nil when stopped
}

func newSambaAD(t testing.TB) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "samba: a domain controller needs root, for its network namespace and the owners of its files")
	}
	for _, needed := range []string{sambaProgram, sambaTool, sambaPython} {
		if _, err := os.Stat(needed); err != nil {
			Missing(t, "%s: install samba (Debian packages samba, samba-dsdb-modules, samba-ad-provision, python3-samba)", needed)
		}
	}
	if err := run(sambaPython, "-c", "import samba.samdb, samba.provision"); err != nil {
		Missing(t, "samba: install its Python modules (Debian packages python3-samba, samba-dsdb-modules, samba-ad-provision): %v", err)
	}
	th, err := newNetworkThread()
	if errors.Is(err, unix.EPERM) {
		Missing(t, "samba: %v; in a container, allow it network namespaces (docker run --privileged)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := startSamba(th)
	if err != nil {
		t.Fatalf("starting samba: %v", err)
	}
	version, _ := sambaVersion() // known: the domain was made with it
	Using(t, "Samba %s", version)
	return s
}

func startSamba(th *thread) (_ *Server, err error) {
	dir, removeDir, err := newDir()
	if err != nil {
		th.end()
		return nil, err
	}
	const base = "DC=corp,DC=example,DC=test"
	s := &Server{
		Kind: KindSamba, CAFile: filepath.Join(dir, "ca.pem"), BaseDN: base,
		BindDN: "CN=Service Connector,OU=Service," + base, BindPassword: servicePassword,
		ResetDN: "CN=Service Reset,OU=Service," + base,
		AdminDN: "CN=Administrator,CN=Users," + base, AdminPassword: adminPassword, Password: password,
	}
	b := &samba{server: s, dir: dir, removeDir: removeDir, thread: th, wire: newWire(th, 389, 636, 88, 3268, 3269)}
	s.backend = b
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	if err := b.prepare(); err != nil {
		return nil, err
	}
	if err := b.start(); err != nil {
		return nil, err
	}
	return s, s.lockOut("CN=Lock Ed,OU=Staff," + base)
}

func (b *samba) file(name string) string { return filepath.Join(b.dir, name) }

// prepare writes configuration, certificate and domain.
func (b *samba) prepare() error {
	for _, folder := range []string{"private", "state", "cache", "lock", "run", "ncalrpc", "log"} {
		if err := os.Mkdir(b.file(folder), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(b.file("smb.conf"), []byte(sambaConfig(b.dir)), 0o600),
		writeCertificates(b.dir, "dc1.corp.example.test", "corp.example.test"),
		b.domain(),
	)
}

// sambaConfig returns smb.conf for a domain controller that serves LDAP and
// Kerberos, and nothing else, from dir.
func sambaConfig(dir string) string {
	return strings.ReplaceAll(`[global]
netbios name = DC1
workgroup = CORP
realm = CORP.EXAMPLE.TEST
server role = active directory domain controller
server services = ldap kdc
interfaces = 127.0.0.1/8
bind interfaces only = yes
disable netbios = yes
kccsrv:samba_kcc = false
ldb:nosync = yes
old password allowed period = 0
ldap server require strong auth = allow_sasl_over_tls
tls enabled = yes
tls certfile = DIR/cert.pem
tls keyfile = DIR/key.pem
tls cafile = DIR/ca.pem
private dir = DIR/private
state directory = DIR/state
cache directory = DIR/cache
lock directory = DIR/lock
pid directory = DIR/run
ncalrpc dir = DIR/ncalrpc
binddns dir = DIR/binddns
logging = file
log file = DIR/log/samba
log level = 1 auth_audit:3
max log size = 0
[sysvol]
path = DIR/state/sysvol
[netlogon]
path = DIR/state/sysvol/corp.example.test/scripts
`, "DIR", dir)
}

// provisionArguments make the domain; the configuration file is added.
var provisionArguments = []string{
	"domain", "provision", "--realm=CORP.EXAMPLE.TEST", "--domain=CORP", "--server-role=dc", "--host-name=dc1",
	"--host-ip=127.0.0.1", "--dns-backend=NONE", "--use-rfc2307", "--adminpass=" + adminPassword,
}

// domain unpacks the image of the domain. The first one to need the image makes
// it, while the others wait.
func (b *samba) domain() error {
	image, err := sambaImage()
	if err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(filepath.Dir(image), "lock"), os.O_CREATE, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(image); err == nil {
		return run("tar", "-C", b.dir, "--no-same-owner", "-xzf", image)
	}
	if err := b.provision(); err != nil {
		return err
	}
	unfinished := image + ".new"
	if err := run("tar", "-C", b.dir, "-czf", unfinished, "private", "state"); err != nil {
		return err
	}
	return os.Rename(unfinished, image)
}

// sambaVersion returns the version of Samba, such as "4.17.12-Debian".
var sambaVersion = sync.OnceValues(func() (string, error) {
	said, err := exec.Command(sambaProgram, "--version").Output()
	return strings.TrimSpace(strings.TrimPrefix(string(said), "Version ")), err
})

// sambaImage names the image of a domain as this program and this Samba make
// it, in a folder that exists.
func sambaImage() (string, error) {
	version, err := sambaVersion()
	if err != nil {
		return "", err
	}
	key := sha256.New()
	for _, input := range append([]string{version, sambaConfig(""), populateScript, password, servicePassword}, provisionArguments...) {
		fmt.Fprintf(key, "%d %s", len(input), input)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "adconnector-test")
	name := "samba-" + hex.EncodeToString(key.Sum(nil)[:8]) + ".tar.gz"
	return filepath.Join(dir, name), os.MkdirAll(dir, 0o700)
}

// provision makes the domain and its people.
func (b *samba) provision() error {
	arguments := append(provisionArguments[:len(provisionArguments):len(provisionArguments)], "--configfile="+b.file("smb.conf"))
	return b.thread.do(func() error {
		if err := run(sambaTool, arguments...); err != nil {
			return err
		}
		// samba-tool has written its own idea of the configuration.
		if err := os.WriteFile(b.file("smb.conf"), []byte(sambaConfig(b.dir)), 0o600); err != nil {
			return err
		}
		return run(sambaPython, "-c", populateScript, b.file("smb.conf"), password, servicePassword)
	})
}

func (b *samba) start() error {
	if err := b.open(); err != nil {
		return err
	}
	b.server.PlainURL, b.server.URL = urls([2]int{b.wire[0].port, b.wire[1].port})
	b.server.KDC = fmt.Sprintf("127.0.0.1:%d", b.wire[2].port)
	_, b.server.CatalogURL = urls([2]int{b.wire[3].port, b.wire[4].port})

	cmd := exec.Command(sambaProgram, "--configfile="+b.file("smb.conf"), "--foreground", "--no-process-group", "--model=single")
	var err error
	if b.process, err = startProcess(b.thread, cmd); err != nil {
		return err
	}
	if err := b.process.await(b.server.answers); err != nil {
		b.stop()
		return fmt.Errorf("%w\n%s", err, tail(b.log()))
	}
	return nil
}

func (b *samba) keytab(file, principal string) error {
	return b.thread.do(func() error {
		return run(sambaTool, "domain", "exportkeytab", file, "--principal="+principal, "--configfile="+b.file("smb.conf"))
	})
}

func (b *samba) stop() { b.end((*process).stop) }

func (b *samba) kill() { b.end((*process).kill) }

func (b *samba) end(how func(*process)) {
	b.closeListeners()
	if b.process != nil {
		how(b.process)
		b.process = nil
	}
	b.close()
}

func (b *samba) idleTimeout(seconds int) error { return b.server.setIdleLimit(seconds) }

func (b *samba) wrongCertificate(on bool) error { return swapCertificate(b.dir, on) }

func (b *samba) freeze(on bool) error {
	if b.process == nil {
		return errors.New("the server is stopped")
	}
	return b.process.freeze(on)
}

func (b *samba) log() string {
	text, err := os.ReadFile(b.file("log/samba"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (b *samba) remove() {
	b.stop()
	b.thread.end()
	b.removeDir()
}

// idleLimit is the policy of Active Directory that says how long a client may
// be idle ([MS-ADTS], 3.1.1.3.4.6).
const idleLimit = "MaxConnIdleTime="

// setIdleLimit changes that policy.
func (s *Server) setIdleLimit(seconds int) error {
	dn := "CN=Default Query Policy,CN=Query-Policies,CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration," + s.BaseDN
	return s.administer(func(c *ldap.Conn) error {
		found, err := c.Search(&ldap.SearchRequest{BaseDN: dn, Filter: "(objectClass=*)", Attributes: []string{"lDAPAdminLimits"}})
		if err != nil {
			return err
		}
		limits := []string{fmt.Sprint(idleLimit, seconds)}
		for _, l := range found.Entries[0].GetAttributeValues("lDAPAdminLimits") {
			if !strings.HasPrefix(l, idleLimit) {
				limits = append(limits, l)
			}
		}
		change := ldap.NewModifyRequest(dn, nil)
		change.Replace("lDAPAdminLimits", limits)
		return c.Modify(change)
	})
}
