package dirtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

const (
	ds389Program = "/usr/sbin/ns-slapd"
	ds389Config  = "/usr/share/dirsrv/data/template-dse.ldif"
	ds389Admin   = "cn=Directory Manager"
)

// ds389 is the backend of a 389 Directory Server. Of faults it knows only those
// that any program can have.
type ds389 struct {
	server    *Server
	dir       string
	port      int
	removeDir func()
	thread    *thread
	process   *process
}

func newDS389(t testing.TB) *Server {
	t.Helper()
	for _, needed := range []string{ds389Program, ds389Config, "/etc/dirsrv/schema/99user.ldif", "/etc/dirsrv/config/slapd-collations.conf"} {
		if _, err := os.Stat(needed); err != nil {
			Missing(t, "%s: install 389-ds-base (Debian package 389-ds-base)", needed)
		}
	}
	s, err := startDS389()
	if err != nil {
		t.Fatalf("starting 389 Directory Server: %v", err)
	}
	Using(t, "389 Directory Server %s", ds389Version())
	return s
}

// ds389Version returns the version of the server, such as "2.3.1".
var ds389Version = sync.OnceValue(func() string {
	said, _ := exec.Command(ds389Program, "-v").CombinedOutput()
	return string(regexp.MustCompile(`[0-9]+\.[0-9.]+`).Find(said))
})

func startDS389() (_ *Server, err error) {
	dir, removeDir, err := newDir()
	if err != nil {
		return nil, err
	}
	th, err := newThread(func() error { return nil })
	if err != nil {
		removeDir()
		return nil, err
	}
	b := &ds389{dir: dir, removeDir: removeDir, thread: th}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	s := &Server{
		Kind: KindDS389, CAFile: filepath.Join(dir, "ca.pem"), BaseDN: ldapBase,
		BindDN: ldapService, BindPassword: servicePassword,
		AdminDN: ds389Admin, AdminPassword: adminPassword, Password: password, backend: b,
	}
	b.server = s
	if err := writeCertificates(dir); err != nil { // nobody shows it: the server speaks in clear
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		ports, err := freePorts()
		if err != nil {
			return nil, err
		}
		b.port = ports[0]
		s.URL, _ = urls(ports)
		s.PlainURL = s.URL
		if err := b.prepare(); err != nil {
			return nil, err
		}
		if err := b.start(); err == nil {
			break
		} else if !errors.Is(err, errEnded) || attempt == 5 {
			return nil, err
		}
	}
	return s, s.administer(fillDS389)
}

// prepare writes the server's configuration from the template of its package.
func (b *ds389) prepare() error {
	template, err := os.ReadFile(ds389Config)
	if err != nil {
		return err
	}
	who, err := user.Current()
	if err != nil {
		return err
	}
	values := map[string]string{
		"schema_dir": b.file("config/schema"), "config_dir": b.file("config"), "cert_dir": b.file("config"),
		"fqdn": "localhost", "ds_port": fmt.Sprint(b.port), "ds_user": who.Username,
		"rootdn": ds389Admin, "ds_passwd": hash(adminPassword), "ds_suffix": ldapBase,
		"ldapi_enabled": "off", "ldapi_autobind": "off", "db_lib": "bdb",
	}
	missing := ""
	text := regexp.MustCompile(`%([a-z_]+)%`).ReplaceAllStringFunc(string(template), func(mark string) string {
		name := strings.Trim(mark, "%")
		value, ok := values[name]
		switch {
		case ok:
		case strings.HasSuffix(name, "_dir"), name == "ldapi":
			value = b.file(name)
		default:
			missing = name
		}
		return value
	})
	if missing != "" {
		return fmt.Errorf("%s asks for %s", ds389Config, missing)
	}
	text, err = ds389Settings(text)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(b.file("config")); err != nil {
		return err
	}
	for _, dir := range []string{"config/schema", "db_dir", "lock_dir", "tmp_dir", "ldif_dir", "bak_dir", "run_dir", "inst_dir", "log_dir", "db_home_dir"} {
		if err := os.MkdirAll(b.file(dir), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(b.file("config/dse.ldif"), []byte(text), 0o600),
		copyFile("/etc/dirsrv/schema/99user.ldif", b.file("config/schema/99user.ldif")),
		copyFile("/etc/dirsrv/config/slapd-collations.conf", b.file("config/slapd-collations.conf")),
	)
}

// ds389Settings adds to the server's own settings: loopback only, and memberOf
// for both kinds of groups.
func ds389Settings(text string) (string, error) {
	const plugin = "cn: MemberOf Plugin\n"
	i := strings.Index(text, plugin)
	if i < 0 {
		return "", fmt.Errorf("%s does not know the plugin for memberOf", ds389Config)
	}
	before, after := text[:i], text[i:]
	after = strings.Replace(after, "nsslapd-pluginenabled: off", "nsslapd-pluginenabled: on", 1)
	after = strings.Replace(after, "memberOfGroupAttr: member\n", "memberOfGroupAttr: member\nmemberOfGroupAttr: uniqueMember\n", 1)
	before = strings.Replace(before, "cn: config\n", "cn: config\nnsslapd-listenhost: 127.0.0.1\nnsslapd-allow-hashed-passwords: on\n", 1)
	return before + after, nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// fillDS389 adds the people and groups by LDAP, so that the server works out
// memberOf itself.
func fillDS389(c *ldap.Conn) error {
	add := func(dn string, attributes ...attribute) error {
		r := ldap.NewAddRequest(dn, nil)
		for _, a := range attributes {
			r.Attribute(a.name, a.values)
		}
		if err := c.Add(r); err != nil {
			return fmt.Errorf("adding %s: %w", dn, err)
		}
		return nil
	}
	errs := []error{
		add("cn=userRoot,cn=ldbm database,cn=plugins,cn=config", attr("objectClass", "extensibleObject", "nsBackendInstance"),
			attr("cn", "userRoot"), attr("nsslapd-suffix", ldapBase)),
		add(`cn="`+ldapBase+`",cn=mapping tree,cn=config`, attr("objectClass", "extensibleObject", "nsMappingTree"),
			attr("cn", ldapBase), attr("nsslapd-state", "backend"), attr("nsslapd-backend", "userRoot")),
	}
	errs = append(errs, add(ldapBase, attr("objectClass", "domain"), attr("dc", "corp"),
		// Operational attributes are only shown by name.
		attr("aci", `(targetattr = "* || nsUniqueId || entryDN || nsAccountLock || accountUnlockTime || passwordExpirationTime")(version 3.0; acl "the service account reads"; allow (read, search, compare) userdn = "ldap:///`+ldapService+`";)`,
			`(targetattr = "userPassword")(version 3.0; acl "but no passwords"; deny (all) userdn = "ldap:///`+ldapService+`";)`)))
	for _, ou := range []string{"people", "groups", "service"} {
		errs = append(errs, add("ou="+ou+","+ldapBase, attr("objectClass", "organizationalUnit")))
	}
	errs = append(errs, add(ldapService, attr("objectClass", "organizationalRole", "simpleSecurityObject"), attr("userPassword", servicePassword)))
	for uid, cn := range map[string]string{"jon": "Jon Smith", "zoe": "Zoë Müller", "chg": "Chris Groves"} {
		errs = append(errs, add("uid="+uid+","+ldapPeople, attr("objectClass", "inetOrgPerson"), attr("cn", cn), attr("sn", cn), attr("userPassword", password)))
	}
	groups := ldapGroupList(OpenLDAPOptions{})
	slices.Reverse(groups) // members may come later
	for _, g := range groups {
		errs = append(errs, add(g.dn(), attr("objectClass", "groupOfNames"), attr("member", g.members...)))
	}
	errs = append(errs, add(group{rdn: "unique"}.dn(), attr("objectClass", "groupOfUniqueNames"), attr("uniqueMember", group{rdn: "group-C"}.dn())))
	return errors.Join(errs...)
}

func (b *ds389) file(name string) string { return filepath.Join(b.dir, name) }

func (b *ds389) start() error {
	out, err := os.OpenFile(b.file("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()                                                            // the child has its own
	cmd := exec.Command(ds389Program, "-D", b.file("config"), "-i", b.file("pid"), "-d", "16384") // -d: stay in the foreground
	cmd.Stdout, cmd.Stderr = out, out
	if b.process, err = startProcess(b.thread, cmd); err != nil {
		return err
	}
	if err := b.process.await(func() error { return b.server.administer(func(*ldap.Conn) error { return nil }) }); err != nil {
		b.stop()
		return fmt.Errorf("%w\n%s", err, tail(b.log()))
	}
	return nil
}

func (b *ds389) log() string {
	text, err := os.ReadFile(b.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (b *ds389) stop() { b.end((*process).stop) }

func (b *ds389) kill() { b.end((*process).kill) }

func (b *ds389) end(how func(*process)) {
	if b.process != nil {
		how(b.process)
		b.process = nil
	}
}

func (b *ds389) freeze(on bool) error {
	if b.process == nil {
		return errors.New("the server is stopped")
	}
	return b.process.freeze(on)
}

// errNot389 is about what nobody has needed of this kind of server yet.
var errNot389 = errors.New("not with 389 Directory Server")

func (b *ds389) keytab(string, string) error { return errNot389 }
func (b *ds389) drop(bool) error             { return errNot389 }
func (b *ds389) hangUp() error               { return errNot389 }
func (b *ds389) wrongCertificate(bool) error { return errNot389 }
func (b *ds389) idleTimeout(int) error       { return errNot389 }

func (b *ds389) remove() {
	b.stop()
	b.thread.end()
	b.removeDir()
}
