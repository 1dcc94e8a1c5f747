package connector_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth/testca"
)

// dialFrom returns a dialler that connects to one address from another.
func dialFrom(from netip.Addr, to netip.AddrPort) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, to.String())
	}
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestSignIn is the main job on every directory.
func TestSignIn(t *testing.T) {
	for name, start := range directories() {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			r := newRig(t, d, "")
			own := r.client("jon")

			t.Run("inside, by certificate, without a page", func(t *testing.T) {
				tok := r.mustSignIn(r.browser(inside, own), "", "")
				if got := tok.claim("authenticated_by"); len(got) != 1 || got[0] != "certificate" {
					t.Errorf("authenticated_by = %q", got)
				}
				if got := tok.claim("nickname"); len(got) != 1 || got[0] != d.nickname {
					t.Errorf("nickname = %q", got)
				}
				if got := tok.claim("groups"); !holds(got, d.groups) {
					t.Errorf("groups = %q, want at least %q", got, d.groups)
				}
				if !strings.Contains(string(tok), "urn:ietf:rfc:2246") {
					t.Error("the token does not say that a certificate was the proof")
				}
			})
			t.Run("outside, the same certificate gets the form", func(t *testing.T) {
				b := r.browser(outside, own)
				if tok, err := r.signIn(b, "", ""); err == nil {
					t.Errorf("signed in: %s", tok)
				}
				tok := r.mustSignIn(b, "jon", d.password)
				if got := tok.claim("authenticated_by"); len(got) != 1 || got[0] != "password" {
					t.Errorf("authenticated_by = %q", got)
				}
				if got := tok.claim("groups"); !holds(got, d.groups) {
					t.Errorf("groups = %q, want at least %q", got, d.groups)
				}
			})
			t.Run("inside, without a certificate", func(t *testing.T) {
				r.mustSignIn(r.browser(inside, nil), "jon", d.password)
			})
			t.Run("the session answers the next application", func(t *testing.T) {
				b := r.browser(outside, nil)
				r.mustSignIn(b, "jon", d.password)
				r.mustSignIn(b, "", "")
			})
			t.Run("a wrong password", func(t *testing.T) {
				if _, err := r.signIn(r.browser(outside, nil), "jon", "canary-wrong"); err == nil {
					t.Error("signed in")
				}
			})
			t.Run("an account that may not sign in, with a good certificate", func(t *testing.T) {
				p := r.get(r.browser(inside, r.client(d.disabled)), r.request())
				if p.Status != http.StatusForbidden || !strings.Contains(p.Body, "CN="+d.disabled) {
					t.Errorf("status %d: %s", p.Status, p.Message())
				}
			})
			t.Run("a certificate that names nobody", func(t *testing.T) {
				p := r.get(r.browser(inside, r.client("nobody-here")), r.request())
				if p.Status != http.StatusForbidden || !strings.Contains(p.Body, "CN=nobody-here") {
					t.Errorf("status %d: %s", p.Status, p.Message())
				}
			})
			r.noSecrets(d.password, d.bindPassword, "canary")
			r.auditIsComplete()
		})
	}
}

// auditIsComplete checks that every line is JSON with what an operator needs.
func (r *rig) auditIsComplete() {
	r.t.Helper()
	lines := strings.Split(strings.TrimSpace(r.audit.String()), "\n")
	if len(lines) < 5 {
		r.t.Errorf("%d audit lines", len(lines))
	}
	for _, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			r.t.Errorf("%v: %s", err, line)
			continue
		}
		for _, key := range []string{"time", "result", "method", "remote", "request_id", "duration_ms"} {
			if _, ok := got[key]; !ok {
				r.t.Errorf("no %s in %s", key, line)
			}
		}
		if got["result"] != "granted" && got["reason"] == nil {
			r.t.Errorf("no reason in %s", line)
		}
	}
}

// TestServerCertificateIsReplacedWhileRunning: open connections stay, new ones
// get the new certificate, and a broken file changes nothing.
func TestServerCertificateIsReplacedWhileRunning(t *testing.T) {
	r := newRig(t, inMemory(t), "")
	open := r.browser(outside, nil)
	r.get(open, r.url+"/")
	serial := func() string {
		c, err := tls.Dial("tcp", r.listen.String(), &tls.Config{RootCAs: r.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()

	r.write("server.crt", []byte("-----BEGIN CERTIFICATE-----\nbroken\n"))
	eventually(t, "the broken certificate is reported", func() bool { return strings.Contains(r.log.String(), "stays in use") })
	if serial() != before {
		t.Error("a broken file replaced the certificate")
	}
	leaf := r.serverCertificate("localhost")
	eventually(t, "the new certificate is used", func() bool { return serial() == leaf.Certificate.SerialNumber.String() })
	if p := r.get(open, r.url+"/"); p.Status != http.StatusOK {
		t.Errorf("the open connection: status %d", p.Status)
	}
}

// TestPFXIsReplacedTogetherWithItsPassword: a renewal may change both.
func TestPFXIsReplacedTogetherWithItsPassword(t *testing.T) {
	r := prepareRig(t, inMemory(t), "")
	pfx := func(password string) {
		leaf, err := r.ca.Server("localhost")
		if err != nil {
			t.Fatal(err)
		}
		data, err := leaf.PFX(password)
		if err != nil {
			t.Fatal(err)
		}
		r.write("pfx-password", []byte(password+"\n"))
		r.write("server.pfx", data)
	}
	pfx("canary-first")
	r.configure("tls: {cert_file: server.crt, key_file: server.key}", "tls: {pfx_file: server.pfx, pfx_password_file: pfx-password}")
	r.start()
	r.get(r.browser(outside, nil), r.url+"/")
	pfx("canary-second")
	eventually(t, "the new certificate is used", func() bool { return strings.Contains(r.log.String(), "server certificate replaced") })
	r.get(r.browser(outside, nil), r.url+"/")
	r.noSecrets("canary")
}

// TestA3_CARemovedWhileRunning: whoever holds a certificate of a CA that is
// trusted no more is refused, also on a connection that is open already.
func TestA3_CARemovedWhileRunning(t *testing.T) {
	r := newRig(t, inMemory(t), "session: {lifetime: 0s}")
	b := r.browser(inside, r.client("jon"))
	r.mustSignIn(b, "", "")

	r.write("ca.crt", nil)
	eventually(t, "the empty CA file is reported", func() bool { return strings.Contains(r.log.String(), "ones before stay in use") })
	r.mustSignIn(b, "", "")

	other, err := testca.New("Another CA")
	if err != nil {
		t.Fatal(err)
	}
	r.write("ca.crt", other.PEM())
	eventually(t, "the new CA is loaded", func() bool { return strings.Contains(r.log.String(), "trust anchors replaced") })
	if p := r.get(r.browser(inside, r.client("jon")), r.request()); p.Status != http.StatusForbidden {
		t.Errorf("a new connection: status %d: %s", p.Status, p.Message())
	}
	if p := r.get(b, r.request()); p.Status != http.StatusForbidden {
		t.Errorf("the open connection: status %d: %s", p.Status, p.Message())
	}
}

// TestA8_NoAnchorsNoStart: a CA file that is missing, empty or something else
// never means "whom the system trusts".
func TestA8_NoAnchorsNoStart(t *testing.T) {
	d := inMemory(t)
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "missing": nil,
		"a key": nil, "a server certificate": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := prepareRig(t, d, "")
			switch name {
			case "missing":
				_ = os.Remove(r.path("ca.crt"))
			case "a key":
				data, _ = os.ReadFile(r.path("server.key"))
				r.write("ca.crt", data)
			case "a server certificate":
				data, _ = os.ReadFile(r.path("server.crt"))
				r.write("ca.crt", data)
			default:
				r.write("ca.crt", data)
			}
			err := r.try()
			if err == nil || !strings.Contains(err.Error(), "ca.crt") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestConfiguredAndBrokenStopsTheStart(t *testing.T) {
	d := inMemory(t)
	for _, tt := range []struct {
		name  string
		spoil func(*rig)
		want  string
	}{
		{"server certificate for another host", func(r *rig) { r.serverCertificate("other.example") }, "not for localhost"},
		{"key of another certificate", func(r *rig) {
			crt, _ := os.ReadFile(r.path("server.crt"))
			r.serverCertificate("localhost")
			r.write("server.crt", crt)
		}, "server.key"},
		{"key that others can read", func(r *rig) { _ = os.Chmod(r.path("server.key"), 0o644) }, "chmod 600"},
		{"data_dir that others can read", func(r *rig) { _ = os.Mkdir(r.path("data"), 0o755); _ = os.Chmod(r.path("data"), 0o755) }, "chmod 700"},
		{"damaged session key", func(r *rig) { _ = os.Mkdir(r.path("data"), 0o700); r.write("data/web.key", []byte("short")) }, "web.key"},
		{"damaged signing key", func(r *rig) { _ = os.Mkdir(r.path("data"), 0o700); r.write("data/signing-keys.pem", []byte("x")) }, "signing"},
		{"wrong password of the service account", func(r *rig) { r.write("ldap-password", []byte("canary-wrong")) }, "ldap.bind_password_file"},
		{"base that is not there", func(r *rig) { r.configure("DC=fabrikam,DC=example\"\nwsfed", "DC=nowhere,DC=example\"\nwsfed") }, "DC=nowhere"},
		{"directory with a certificate of another CA", func(r *rig) { r.configure(d.caFile, r.path("ca.crt")) }, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := prepareRig(t, d, "")
			tt.spoil(r)
			err := r.try()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one that says %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// TestSessionEndsWithItsAccount: an account that may no longer sign in loses
// its sessions within session.recheck.
func TestSessionEndsWithItsAccount(t *testing.T) {
	d := inMemory(t)
	r := newRig(t, d, "session: {lifetime: 8h, recheck: 0s}")
	b := r.browser(outside, nil)
	r.mustSignIn(b, "jon", d.password)
	r.mustSignIn(b, "", "")
	if err := d.memory.Update("CN=Jon Smith,OU=Staff,"+d.baseDN, map[string][]string{"userAccountControl": {"514"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.signIn(b, "", ""); err == nil {
		t.Error("a disabled account still has its session")
	}
}

// TestDirectoryAnswersLater: the connector starts, refuses nobody for good, and
// signs people in as soon as the directory is there.
func TestDirectoryAnswersLater(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := inMemory(t)
	there := d.url
	d.url = "ldaps://localhost:" + ln.Addr().String()[len("127.0.0.1:"):]
	_ = ln.Close()
	r := newRig(t, d, "")
	b := r.browser(inside, r.client("jon"))
	p := r.get(b, r.request())
	if p.Status != http.StatusServiceUnavailable || strings.Contains(p.Body, `type="password"`) {
		t.Errorf("status %d: %s", p.Status, p.Body)
	}
	relay(t, d.url, there)
	eventually(t, "a sign-in", func() bool { _, err := r.signIn(b, "", ""); return err == nil })
}

// relay forwards connections from the address of one ldaps URL to another's.
func relay(t *testing.T, from, to string) {
	t.Helper()
	local := strings.Replace(strings.TrimPrefix(from, "ldaps://"), "localhost", "127.0.0.1", 1)
	ln, err := net.Listen("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				u, err := net.Dial("tcp", strings.TrimPrefix(to, "ldaps://"))
				if err != nil {
					return
				}
				defer u.Close()
				go func() { _, _ = io.Copy(u, c) }()
				_, _ = io.Copy(c, u)
			}()
		}
	}()
}

func TestADomainThatMayTakeItsTimeIsGivenIt(t *testing.T) {
	d := inMemory(t)
	r := prepareRig(t, d, "")
	base := fmt.Sprintf("base_dn: %q", d.baseDN)
	r.configure(base, fmt.Sprintf("timeout: 1s\n  domains: [{suffixes: [fabrikam.example], timeout: 8s, %s}]", base))
	r.start()
	d.memory.SetDelay(600 * time.Millisecond) // for each of several questions
	r.mustSignIn(r.browser(outside, nil), "jon", d.password)
}
