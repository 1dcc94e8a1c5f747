package connector

import (
	"fmt"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/setting"
)

// certificate writes what was looked at in a certificate.
func (t *sheet) certificate(w *CertificateWalk) {
	for i, c := range w.Path {
		if i == 0 {
			t.say("", "Certificate %s (%v)", quote(c.Subject), w.Took)
		} else {
			t.say("", "issued by %s", quote(c.Subject))
		}
		t.say("", "    %-10s %s", "issuer", quote(c.Issuer))
		t.say("", "    %-10s %s", "serial", quote(c.Serial))
		t.say("", "    %-10s %s (SHA-256)", "thumbprint", quote(c.Thumbprint))
	}
	t.say("", "\nChecks")
	for _, c := range w.Checks {
		says := fmt.Sprintf("%s: %s", c.Name, quote(c.Text))
		switch {
		case c.Reason != "":
			t.say(wrong, "%s", says)
			t.say("", "      %s", quote(firstOf(c.Detail, c.Reason)))
		case c.Off:
			t.say(look, "%s (not checked: certificate.%s is off)", says, checkKeys[c.Name])
		default:
			t.say(fine, "%s", says)
		}
	}
	t.revocation(w)
	t.names(w)
}

// names writes whom the certificate names.
func (t *sheet) names(w *CertificateWalk) {
	if len(w.Rules) > 0 {
		t.say("", "\nWhom it names")
	}
	for _, r := range w.Rules {
		switch {
		case r.Reason != "":
			t.say(wrong, "%s: %s", r.Rule, quote(r.Detail))
		case r.Found == "":
			t.say(step, "%s: nothing", r.Rule)
		case r.Decides:
			t.say(fine, "%s: %s", r.Rule, quote(r.Found))
		default:
			t.say(step, "%s: %s (an earlier rule decides)", r.Rule, quote(r.Found))
		}
	}
	if w.SID != "" {
		t.say(step, "security identifier: %s", quote(w.SID))
	}
	if w.Strength != "" {
		t.say(step, "the link to the account is %s", w.Strength)
	}
}

// checkKeys are the settings that turn checks off.
var checkKeys = map[string]string{"time": "check_validity", "usage": "check_usage"}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// revocation writes who was asked whether certificates have been revoked.
func (t *sheet) revocation(w *CertificateWalk) {
	if len(w.Revocation) > 0 {
		t.say("", "\nRevocation")
	}
	for _, r := range w.Revocation {
		who := fmt.Sprintf("%s, issued by %s", quote(r.Subject), quote(r.Issuer))
		switch {
		case r.Answer == revocation.AnswerGood:
			t.say(fine, "%s: not revoked", who)
		case r.Answer == revocation.AnswerNobody:
			t.say(look, "%s: it names neither a list nor a responder, and there is no file for its issuer", who)
		case r.Answer == revocation.AnswerUnknown && w.Unknown != "":
			t.say(look, "%s: nobody can tell, which on_unknown: allow lets pass", who)
			t.say("", "      %s", quote(r.Detail))
		default:
			t.say(wrong, "%s: %s", who, r.Answer)
			t.say("", "      %s", quote(r.Detail))
		}
		for _, o := range r.Sources {
			t.opinion(&o)
		}
	}
}

// opinion writes what one source says.
func (t *sheet) opinion(o *revocation.Opinion) {
	t.say("", "      %s %s: %s", sourceKind(&o.Source), quote(o.Where), quote(firstOf(o.Answer, "no answer")))
	if !o.ThisUpdate.IsZero() {
		t.say("", "        from %s (%s old), counts until %s", moment(o.ThisUpdate), age(time.Since(o.ThisUpdate)), moment(o.NextUpdate))
	}
	if o.Error != "" {
		t.say("", "        error  %s", quote(o.Error))
	}
}

// sourceKind says in words what a source is.
func sourceKind(s *revocation.Source) string {
	switch {
	case s.Kind == revocation.FromResponder:
		return "responder"
	case s.Delta:
		return "delta list"
	case s.Kind == revocation.FromFile:
		return "list in"
	}
	return "list from"
}

// moment writes a time to the second, in UTC; "-" if it is none.
func moment(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

// age writes how long ago something was, roughly.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return setting.Duration(d.Truncate(day)).String()
	case d >= time.Minute:
		return setting.Duration(d.Truncate(time.Minute)).String()
	}
	return setting.Duration(max(d, 0).Truncate(time.Second)).String()
}
