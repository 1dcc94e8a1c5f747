package signin

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
)

// NewAudit returns a logger that writes the audit trail to w: one JSON object
// on one line for each attempt.
func NewAudit(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

// maxAuditText bounds what a stranger can make one audit line hold, in bytes of
// each field.
const maxAuditText = 1024

// A trail is what an attempt has come to so far, for its audit line.
type trail struct {
	start       time.Time
	user        string // the name as it was sent, or as the certificate or the session has it
	account     *ldapauth.Account
	certificate *certauth.Certificate
	session     *Identity
	cause       error         // why not, where the caller is told less
	allowed     denial.Reason // the fault of the password that was let pass
	relayed     bool          // passed on without an address
	reported    bool          // whoever asked wants to know whom it refuses
	about       *Identity     // who that is
	asked       bool          // the directory was asked
	failed      int           // how many failures this attempt comes after
	groups      []string      // as the directory has them
	// groupsIncomplete says that they could not be read and are left out.
	groupsIncomplete bool
	returned         bool // SignIn came to its end, with an answer or without
}

// writeAudit writes the line of one attempt. It does not obey ctx: an attempt
// that was given up is one that happened.
func (s *Service) writeAudit(ctx context.Context, a *Attempt, t *trail, id *Identity, err error) {
	event := "sign_in"
	if _, ok := a.Credential.(PasswordReset); ok { // nobody stands at a door
		event = "password_reset"
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, event, 0)
	add := func(key, value string) {
		if value != "" {
			r.AddAttrs(slog.String(key, shorten(value)))
		}
	}
	if t.cause != nil {
		err = t.cause
	}
	result := resultOf(t, err)
	add("result", result)
	switch {
	case !t.returned:
		add("detail", "the program failed during this attempt; the log has the details")
	case result == Denied:
		add("reason", string(denial.ReasonOf(err)))
		add("detail", detailOf(err))
	case result == Fault:
		add("detail", err.Error())
	}
	if a.Credential != nil {
		add("method", string(a.Credential.Method()))
	}
	add("via", a.Via)
	add("relying_party", a.RelyingParty)
	if a.Remote.IsValid() {
		add("remote", a.Remote.String())
	}
	add("request_id", a.RequestID)
	add("user", t.user)
	if t.account != nil {
		add("account_id", t.account.ID)
		add("account_dn", t.account.DN)
		add("found_by", t.account.FoundBy())
	}
	if t.session != nil {
		if t.account == nil {
			add("account_id", t.session.ID)
		}
		add("authenticated_by", string(t.session.AuthenticatedBy))
	}
	if t.certificate != nil {
		r.AddAttrs(certificateAttr(t.certificate, err == nil))
	}
	if err == nil {
		add("allowed", string(t.allowed))
	}
	if id != nil && err == nil {
		r.AddAttrs(slog.Int("groups", len(id.Groups)))
		if id.GroupsIncomplete {
			r.AddAttrs(slog.Bool("groups_incomplete", true))
		}
	}
	took := time.Since(t.start)
	r.AddAttrs(slog.Float64("duration_ms", float64(took.Microseconds())/1000))
	if s.observe != nil {
		s.observe(outcomeOf(a, t, err, took))
	}

	ctx = context.WithoutCancel(ctx)
	if err := s.audit.Handler().Handle(ctx, r); err != nil {
		s.log.ErrorContext(ctx, "the audit line of a sign-in could not be written", "err", err, "request_id", a.RequestID)
	}
}

// certificateAttr returns what an audit line tells of a certificate, which may be
// one that was refused.
func certificateAttr(c *certauth.Certificate, granted bool) slog.Attr {
	seen := []slog.Attr{
		slog.String("subject", shorten(c.Subject)),
		slog.String("issuer", shorten(c.Issuer)),
		slog.String("serial", c.Serial),
		slog.String("thumbprint", c.Thumbprint),
	}
	if c.Rule != "" { // none: the certificate was refused
		seen = append(seen, slog.String("rule", c.Rule))
	}
	if granted {
		seen = append(seen, slog.String("strength", c.Strength()))
	}
	if c.Unknown != "" {
		seen = append(seen, slog.String("revocation_unknown", shorten(c.Unknown)))
	}
	return slog.GroupAttrs("certificate", seen...)
}

// detailOf returns what a denial says beyond its reason.
func detailOf(err error) string {
	return strings.TrimPrefix(err.Error(), string(denial.ReasonOf(err))+": ")
}

// shorten cuts text that is longer than anything that belongs there.
func shorten(text string) string {
	if len(text) <= maxAuditText {
		return text
	}
	n := maxAuditText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
