package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"adconnector/connector/control"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/certauth/revocation"
)

// doCertificates is what an administrator may ask of a running connector: its
// [CertificateList].
const doCertificates = "certificates"

// A CertificateList is who vouches for certificates, and where revocation is
// looked up.
type CertificateList struct {
	// Running says that a connector that runs has answered; else this is what
	// the files hold.
	Running     bool                `json:"running"`
	Authorities []ListedCertificate `json:"authorities"`
	SelfSigned  []ListedCertificate `json:"self_signed"`
	Revocation  string              `json:"revocation"` // off, offline or online
	Sources     []revocation.Source `json:"sources"`
}

// A ListedCertificate is one of a [CertificateList].
type ListedCertificate struct {
	CertificateFacts
	File string `json:"file,omitempty"`
	User string `json:"user,omitempty"` // whose it is, if the configuration says so
}

// ListCertificates asks the connector that runs with c, or looks at the files if
// none does. It fetches and changes nothing.
func ListCertificates(ctx context.Context, c *Config) (*CertificateList, error) {
	if c.Certificate == nil {
		return nil, errors.New("the configuration has no section certificate, so there are none to list")
	}
	l := &CertificateList{}
	err := control.Call(ctx, string(c.DataDir), doCertificates, nil, l)
	if err == nil || !errors.Is(err, control.ErrNotRunning) {
		return l, err
	}
	conn := &Connector{config: c, log: discard}
	closeVerifier, err := conn.openVerifier()
	if err != nil {
		return nil, err
	}
	defer closeVerifier()
	return conn.listCertificates(), nil
}

func (c *Connector) listCertificates() *CertificateList {
	l := &CertificateList{Authorities: []ListedCertificate{}, SelfSigned: []ListedCertificate{}, Sources: []revocation.Source{}}
	if c.verifier == nil {
		return l
	}
	l.Revocation = c.config.Certificate.Revocation.Mode
	for _, a := range c.verifier.Anchors().Certificates() {
		l.Authorities = append(l.Authorities, ListedCertificate{CertificateFacts: factsOf(certauth.Describe(a))})
	}
	for _, s := range c.verifier.Listed().Certificates() {
		l.SelfSigned = append(l.SelfSigned, ListedCertificate{factsOf(certauth.Describe(s.Certificate)), string(s.File), s.User})
	}
	if c.revocation != nil {
		l.Sources = append(l.Sources, c.revocation.Sources()...)
	}
	return l
}

func (c *Connector) certificatesAnswer(context.Context, json.RawMessage) (any, error) {
	l := c.listCertificates()
	l.Running = true
	return l, nil
}

// Usable reports whether nothing in l has expired or does not work.
func (l *CertificateList) Usable() bool {
	now := time.Now()
	for _, all := range [][]ListedCertificate{l.Authorities, l.SelfSigned} {
		for _, c := range all {
			if mark, _ := validity(&c.CertificateFacts, now); mark == wrong {
				return false
			}
		}
	}
	for _, s := range l.Sources {
		if mark, _ := usability(&s, now); mark == wrong {
			return false
		}
	}
	return true
}

// validity returns the mark of a certificate and its time in words.
func validity(c *CertificateFacts, now time.Time) (mark, says string) {
	days := int(c.NotAfter.Sub(now).Hours() / 24)
	switch {
	case now.Before(c.NotBefore):
		return wrong, "not valid before " + moment(c.NotBefore)
	case now.After(c.NotAfter):
		return wrong, "expired on " + moment(c.NotAfter)
	case c.NotAfter.Sub(now) < soon:
		return look, fmt.Sprintf("expires on %s, in %d days", moment(c.NotAfter), days)
	}
	return fine, "valid until " + moment(c.NotAfter)
}

// usability returns the mark of a source and what its list is in words.
func usability(s *revocation.Source, now time.Time) (mark, says string) {
	switch {
	case s.Kind == revocation.FromResponder && s.Error != "":
		return wrong, "the last question had no answer"
	case s.Kind == revocation.FromResponder:
		return fine, "asked when needed"
	case s.ThisUpdate.IsZero() && s.Error == "":
		return look, "nothing fetched yet"
	case s.ThisUpdate.IsZero():
		return wrong, "no list"
	}
	says = fmt.Sprintf("%s, %d bytes, number %s, from %s, counts until %s", counted(s.Entries, "entry", "entries"), s.Size, firstOf(s.Number, "-"), moment(s.ThisUpdate), moment(s.NextUpdate))
	switch {
	case !now.Before(s.NextUpdate):
		return wrong, "has ended: " + says
	case s.Error != "":
		return wrong, says
	case !s.Verified:
		return look, says + "; by none of the authorities above"
	}
	return fine, says
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// WriteText writes l for people to read.
func (l *CertificateList) WriteText(w io.Writer) error {
	t := &sheet{}
	now := time.Now()
	if l.Running {
		t.say("", "What the connector that is running uses\n")
	} else {
		t.say("", "No connector is running with the file; this is what the files hold\n")
	}
	t.certificates("Authorities", l.Authorities, now)
	if len(l.SelfSigned) > 0 {
		t.say("", "")
		t.certificates("Self-signed certificates", l.SelfSigned, now)
	}
	t.say("", "\nRevocation (mode %s)", quote(firstOf(l.Revocation, revocation.ModeOff)))
	if len(l.Sources) == 0 {
		t.say(step, "no lists and no responders so far: they become known with the first certificate that names them")
	}
	for _, s := range l.Sources {
		t.source(&s, now)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func (t *sheet) certificates(title string, all []ListedCertificate, now time.Time) {
	t.say("", "%s", title)
	if len(all) == 0 {
		t.say(step, "none")
	}
	for _, c := range all {
		mark, says := validity(&c.CertificateFacts, now)
		t.say(mark, "%s: %s", quote(c.Subject), says)
		if c.Issuer != c.Subject {
			t.say("", "      issuer      %s", quote(c.Issuer))
		}
		t.say("", "      serial      %s", quote(c.Serial))
		t.say("", "      thumbprint  %s", quote(c.Thumbprint))
		if c.File != "" {
			t.say("", "      file        %s", quote(c.File))
		}
		if c.User != "" {
			t.say("", "      user        %s", quote(c.User))
		}
	}
}

func (t *sheet) source(s *revocation.Source, now time.Time) {
	mark, says := usability(s, now)
	t.say(mark, "%s %s: %s", sourceKind(s), quote(s.Where), says)
	t.say("", "      issuer      %s", quote(s.Issuer))
	if !s.Fetched.IsZero() {
		t.say("", "      fetched     %s (%s ago)", moment(s.Fetched), age(now.Sub(s.Fetched)))
	}
	if !s.Next.IsZero() {
		t.say("", "      next        %s", moment(s.Next))
	}
	if s.Error != "" {
		t.say("", "      error       %s", quote(s.Error))
	}
}
