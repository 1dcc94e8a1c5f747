package connector

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"adconnector/connector/front"
	"adconnector/connector/private"
	"adconnector/connector/token"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/setting"
)

// soon is how long before its end a certificate is warned about.
const soon = 30 * 24 * time.Hour

// A Level says how bad a finding is.
type Level int

// The levels.
const (
	OK Level = iota
	Warning
	Failure
)

// Mark returns the sign that a level is printed as.
func (l Level) Mark() string { return [...]string{"✓", "!", "✗"}[l] }

// A Finding is one line of what Check found.
type Finding struct {
	Level Level
	Text  string // what was looked at, what was found, and what to do about it
}

// Check looks at everything that the configuration names, as the connector
// would when it starts, and at what would only be noticed later. It changes
// nothing and signs nobody in. found is called with each finding as it is made,
// because a directory that does not answer takes its time.
func Check(ctx context.Context, c *Config, found func(Finding)) {
	k := &check{c, found, time.Now()}
	for _, w := range c.Warnings() {
		k.say(Warning, "%s", w)
	}
	k.serverCertificate()
	k.dataDir()
	k.signingKey()
	k.auditFile()
	k.anchors()
	k.listed()
	k.revocation()
	k.directory(ctx)
	k.relyingParties()
	k.hub(ctx)
	k.metrics(ctx)
}

type check struct {
	config *Config
	found  func(Finding)
	now    time.Time
}

func (k *check) say(l Level, format string, args ...any) {
	k.found(Finding{l, Printable(fmt.Sprintf(format, args...))})
}

func (k *check) serverCertificate() {
	base, err := url.Parse(k.config.URL)
	if err != nil {
		k.say(Failure, "url: %v", err)
		return
	}
	certificate, warnings, err := front.LoadCertificate(k.config.TLS)
	if err != nil {
		k.say(Failure, "tls: %v", err)
		return
	}
	for _, w := range warnings {
		k.say(Warning, "tls: %s", w)
	}
	leaf := certificate.Leaf
	if leaf.VerifyHostname(base.Hostname()) == nil {
		k.say(OK, "tls: the server certificate is for %s", base.Hostname())
	} else {
		k.say(Failure, "tls: the server certificate is not for %s, the host of url; it names %s. Get one with that name, or change url",
			base.Hostname(), namesOf(leaf))
	}
	k.validity("tls: the server certificate", leaf)
}

// validity tells about the end of a certificate's time.
func (k *check) validity(what string, c *x509.Certificate) {
	day := c.NotAfter.Format(time.DateOnly)
	switch left := c.NotAfter.Sub(k.now); {
	case k.now.Before(c.NotBefore):
		k.say(Failure, "%s is valid only from %s on: look at this machine's clock", what, c.NotBefore.Format(time.RFC3339))
	case left <= 0:
		k.say(Failure, "%s expired on %s: replace it", what, day)
	case left < soon:
		k.say(Warning, "%s expires on %s, in %d days: replace it soon", what, day, int(left.Hours()/24))
	default:
		k.say(OK, "%s is valid until %s", what, day)
	}
}

func (k *check) dataDir() {
	path := string(k.config.DataDir)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := canMake(path); err != nil {
			k.say(Failure, "data_dir: %s is not there and cannot be made: %v", path, err)
			return
		}
		k.say(OK, "data_dir: %s will be made at the first start", path)
	case err != nil:
		k.say(Failure, "data_dir: %v", err)
	case !info.IsDir():
		k.say(Failure, "data_dir: %s is a file, not a folder: name another place or move the file away", path)
	default:
		k.rights("data_dir", path)
	}
}

// signingKey looks at the key that the operator keeps. The end of its certificate
// is for the operator to judge: many relying parties do not look at it.
func (k *check) signingKey() {
	s := k.config.Signing
	if s.KeyFile == "" {
		return
	}
	key, warning, err := token.ReadKey(string(s.CertFile), string(s.KeyFile))
	if err != nil {
		k.say(Failure, "signing: %v", err)
		return
	}
	if warning != "" {
		k.say(Warning, "signing.key_file: %s", warning)
	}
	const what = "signing: the certificate of the key that signs tokens"
	if end := key.Certificate.NotAfter; end.Before(k.now) {
		k.say(Warning, "%s expired on %s: relying parties that look at its dates refuse tokens", what, end.Format(time.DateOnly))
		return
	}
	k.validity(what, key.Certificate)
}

// auditFile looks whether lines can be appended, without making the file.
func (k *check) auditFile() {
	path := string(k.config.AuditFile)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = os.Stat(filepath.Dir(path)); err == nil {
			err = canMake(path)
		}
	} else if err == nil {
		err = f.Close()
	}
	if err != nil {
		k.say(Failure, "audit_file: cannot be written: %v; make its folder, and let the service's account write there", err)
		return
	}
	k.say(OK, "audit_file: %s can be written", path)
}

// canMake reports why a file or folder could not be made at path. It tries with
// a file of another name, which is gone afterwards.
func canMake(path string) error {
	dir := filepath.Dir(path)
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".adconnector-check-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (k *check) rights(key, path string) {
	switch warning, err := private.Check(path); {
	case err != nil:
		k.say(Failure, "%s: %v", key, err)
	case warning != "":
		k.say(Warning, "%s: %s", key, warning)
	default:
		k.say(OK, "%s: only the service's account can read %s", key, path)
	}
}

func (k *check) anchors() {
	if k.config.Certificate == nil {
		return
	}
	for i, f := range k.config.Certificate.caFiles() {
		key := "certificate.ca_files"
		if i -= len(k.config.Certificate.CAFiles); i >= 0 {
			key = fmt.Sprintf("certificate.authorities[%d].ca_file", i)
		}
		anchors, err := certauth.LoadAnchors([]setting.File{f})
		if err != nil {
			k.say(Failure, "%s: %v", key, err)
			continue
		}
		for _, c := range anchors.Certificates() {
			k.validity(fmt.Sprintf("%s: %s in %s", key, c.Subject, f), c)
		}
	}
}

// listed looks at the certificates that are accepted as they are. It comes after
// anchors.
func (k *check) listed() {
	c := k.config.Certificate
	if c == nil {
		return
	}
	if c.Accept == "self_signed" && len(c.CAFiles) > 0 {
		k.say(Warning, "certificate.ca_files: has no effect while accept is self_signed: write accept: all if these authorities' certificates shall be accepted too")
	}
	listed, err := certauth.LoadListed(&c.Config)
	if err != nil {
		for _, e := range setting.Split(err) {
			k.say(Failure, "certificate.%v", e)
		}
		return
	}
	for _, l := range listed.Certificates() {
		whose := ""
		if l.User != "" {
			whose = ", the certificate of " + l.User + ","
		}
		k.validity(fmt.Sprintf("certificate.self_signed_files: %s in %s%s", l.Subject, l.File, whose), l.Certificate)
	}
}

func (k *check) directory(ctx context.Context) {
	for key, path := range k.config.serviceKeys() {
		k.rights(key, path)
	}
	d, err := openDirectory(k.config, nil)
	if err != nil {
		k.say(Failure, "%v", err)
		return
	}
	defer d.Close()
	for _, f := range d.Check(ctx) {
		k.say(levels[f.Level], "%s: %s", f.Subject, f.Text)
	}
	if k.config.Password == nil {
		return
	}
	for _, l := range d.UsualLockouts(ctx) {
		k.lockout(&l)
	}
}

// roomy is a number of failures for the directory to lock after that leaves
// people room to mistype while somebody attacks.
const roomy = 5

// lockout compares when the directory locks accounts with what is let through
// to it.
func (k *check) lockout(l *ldapauth.DomainLockout) {
	t := k.config.Password.Throttle
	known, unknown, all := t.Lets(l.Threshold)
	here := fmt.Sprintf("here at most %d are let through", all)
	if t.KnownAddresses > 0 {
		here = fmt.Sprintf("here at most %d are let through, at most %d of them from known addresses and %d from others", all, known, unknown)
	}
	say := func(level Level, format string, args ...any) {
		k.say(level, "password.throttle: %s: %s; %s", l.Domain, fmt.Sprintf(format, args...), here)
	}
	within := "until a right one"
	if l.Window < ldapauth.Forever {
		within = "within " + setting.Duration(l.Window).String()
	}
	locks := fmt.Sprintf("the directory locks an account after %d wrong passwords %s (%s)", l.Threshold, within, l.Policy)
	switch {
	case errors.Is(l.Err, ldapauth.ErrNoLockoutPolicy):
		say(Warning, "nobody knows when the directory locks an account: if it does, set ldap.password_policy_dn")
	case l.Err != nil:
		say(Warning, "it cannot be read when the directory locks an account: %v", l.Err)
	case l.Threshold == 0:
		say(OK, "the directory locks no account for wrong passwords (%s)", l.Policy)
	case l.Threshold == 1:
		say(Failure, "%s, so that no password can be tried and nobody can sign in by one: let it lock after 10 or so", locks)
	case l.Threshold < roomy:
		say(Warning, "%s, which leaves little room to mistype: let it lock after 10 or so", locks)
	case l.Window == ldapauth.Forever:
		say(Warning, "%s and forgets none by itself: give the policy an interval", locks)
	default:
		say(OK, "%s", locks)
	}
}

// levels are the directory's levels in the order of ours.
var levels = map[ldapauth.Level]Level{ldapauth.OK: OK, ldapauth.Warning: Warning, ldapauth.Failure: Failure}

func (k *check) relyingParties() {
	if k.config.WSFed == nil {
		if k.config.Hub != nil {
			return // the tenant names itself
		}
		k.say(Warning, "wsfed: no upstream is configured: people can sign in at %s, and nobody is told", k.config.URL)
		return
	}
	for _, rp := range k.config.WSFed.RelyingParties {
		k.say(OK, "wsfed: %s gets its answers at %s", rp.Realm, strings.Join(rp.ReplyURLs, ", "))
	}
}
