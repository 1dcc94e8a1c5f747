package dirtest

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"
)

// The methods here do to a server what happens to servers. What they do lasts
// until the function that they return, or the end of the test.

// Kill ends the server as a crash does: at once, and without a word to anybody.
// [Server.Start] starts it again.
func (s *Server) Kill() { s.backend.kill() }

// DropPackets makes the network between the server and its clients lose every
// packet, in both directions: connections stay as they are, and new ones get no
// answer. An OpenLDAP server needs [OpenLDAPOptions.Wire].
func (s *Server) DropPackets(t testing.TB) (restore func()) {
	t.Helper()
	drop := func(on bool) {
		if err := s.backend.drop(on); err != nil {
			t.Errorf("dropping the packets of %s (%v): %v", s.Kind, on, err)
		}
	}
	drop(true)
	return restoring(t, func() { drop(false) })
}

// HangUp ends all connections to the server and leaves it running. An OpenLDAP
// server needs [OpenLDAPOptions.Wire].
func (s *Server) HangUp(t testing.TB) {
	t.Helper()
	if err := s.backend.hangUp(); err != nil {
		t.Fatalf("hanging up the connections of %s: %v", s.Kind, err)
	}
}

// WrongCertificate restarts the server with a certificate for another name by
// another authority.
func (s *Server) WrongCertificate(t testing.TB) (restore func()) {
	t.Helper()
	show := func(wrong bool) {
		s.Stop()
		if err := s.backend.wrongCertificate(wrong); err != nil {
			t.Errorf("replacing the certificate of %s: %v", s.Kind, err)
		}
		s.stranger = wrong
		s.Start(t)
	}
	show(true)
	return restoring(t, func() { show(false) })
}

// ServicePassword changes the password of the service account to a wrong one.
// Connections that are bound already stay so.
func (s *Server) ServicePassword(t testing.TB) (restore func()) {
	t.Helper()
	set := func(password string) {
		change := ldap.NewModifyRequest(s.BindDN, nil)
		if s.Kind == KindSamba {
			change.Replace("unicodePwd", []string{quoted(password)})
		} else {
			change.Replace("userPassword", []string{password})
		}
		if err := s.administer(func(c *ldap.Conn) error { return c.Modify(change) }); err != nil {
			t.Errorf("changing the password of %s: %v", s.BindDN, err)
		}
	}
	set("Other-" + s.BindPassword)
	return restoring(t, func() { set(s.BindPassword) })
}

// quoted returns a password as Active Directory takes it ([MS-ADTS],
// 3.1.1.3.1.5): UTF-16 in quotes.
func quoted(password string) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(`"` + password + `"`)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return string(out)
}

// LockAfter makes Samba lock accounts after so many wrong passwords instead of
// three.
func (s *Server) LockAfter(t testing.TB, failures int) {
	t.Helper()
	change := ldap.NewModifyRequest(s.BaseDN, nil)
	change.Replace("lockoutThreshold", []string{strconv.Itoa(failures)})
	if err := s.administer(func(c *ldap.Conn) error { return c.Modify(change) }); err != nil {
		t.Fatalf("changing the lockout threshold: %v", err)
	}
}

// IdleTimeout makes the server hang up on clients that ask nothing for so many
// seconds. OpenLDAP is restarted; Samba applies it to new connections.
func (s *Server) IdleTimeout(t testing.TB, seconds int) {
	t.Helper()
	if err := s.backend.idleTimeout(seconds); err != nil {
		t.Fatalf("changing the idle timeout of %s: %v", s.Kind, err)
	}
}

// Refer makes OpenLDAP answer searches below unit, an organizational unit
// directly below the base, with a pointer to the server at url.
func (s *Server) Refer(t testing.TB, unit, url string) (restore func()) {
	t.Helper()
	here, away := "ou="+unit+","+s.BaseDN, "ou="+unit+"-away"
	manage := []ldap.Control{ldap.NewControlManageDsaIT(true)}
	referral := ldap.NewAddRequest(here, manage)
	referral.Attribute("objectClass", []string{"referral", "extensibleObject"})
	referral.Attribute("ou", []string{unit})
	referral.Attribute("ref", []string{url + "/" + here})
	err := s.administer(func(c *ldap.Conn) error {
		return errors.Join(c.ModifyDN(ldap.NewModifyDNRequest(here, away, true, "")), c.Add(referral))
	})
	if err != nil {
		t.Fatalf("replacing %s by a referral: %v", here, err)
	}
	return restoring(t, func() {
		err := s.administer(func(c *ldap.Conn) error {
			return errors.Join(c.Del(ldap.NewDelRequest(here, manage)), c.ModifyDN(ldap.NewModifyDNRequest(away+","+s.BaseDN, "ou="+unit, true, "")))
		})
		if err != nil {
			t.Errorf("replacing the referral by %s: %v", here, err)
		}
	})
}

// administer lets f act as the administrator.
func (s *Server) administer(f func(*ldap.Conn) error) error {
	c, err := s.dialAdmin()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(c)
}

// restoring returns restore as a function that acts once, at the latest when
// the test ends.
func restoring(t testing.TB, restore func()) func() {
	once := sync.OnceFunc(restore)
	t.Cleanup(once)
	return once
}

// clientTLS returns what a client needs to talk to the server, or to whoever
// shows a wrong certificate in its place.
func (s *Server) clientTLS() (*tls.Config, error) {
	c, err := s.tlsConfig()
	if err == nil && s.stranger {
		c.InsecureSkipVerify = true // on purpose: the certificate is wrong on purpose
	}
	return c, err
}
