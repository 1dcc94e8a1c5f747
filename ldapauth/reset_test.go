package ldapauth_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// mayReset lets the service account of a directory in memory set passwords.
func mayReset(o *memdir.Options) {
	o.MayReset = []string{"CN=svc-adconnector,OU=Services," + o.BaseDN}
}

// forEachResetSite runs test on directories of its own, with a service account
// that may set passwords.
func forEachResetSite(t *testing.T, test func(t *testing.T, s site)) {
	forEachOwnSite(t, func(t *testing.T, w site) {
		if w.server != nil {
			w.config.BindDN = w.server.ResetDN
		}
		test(t, w)
	})
}

// reset sets the password of the person called name.
func reset(t testing.TB, d *ldapauth.Directory, name, new string) error {
	t.Helper()
	return d.ResetPassword(t.Context(), find(t, d, name), secret.New(new), false)
}

func TestAResetSetsAnyText(t *testing.T) {
	forEachResetSite(t, func(t *testing.T, w site) {
		d := open(t, w.config)
		bind := func(name, password string) error { return d.Bind(t.Context(), find(t, d, name), secret.New(password)) }
		before := w.password
		for _, password := range []string{
			next,
			`"Ünder"-'Quotes'-7`,
			`""Lantern-7""`,
			`Back\slash-(*)&|<>-7`,
			"Familie-👨‍👩‍👧-🏴󠁧󠁢󠁥󠁮󠁧󠁿-7",
			"Ａｂｃ-𝔘𝔫𝔦-пароль-7",
			" Spaces-around-7 ",
			"Aa1-" + strings.Repeat("ä", 123), // 127 characters
		} {
			wantReason(t, password, reset(t, d, "jon", password), "")
			wantReason(t, "signing in with "+password, bind("jon", password), "")
			wantReason(t, "the one from before "+password, bind("jon", before), denial.BadCredentials)
			before = password
		}
		for _, name := range []string{w.must, "pwx"} {
			if w.memory != nil && name == "pwx" {
				name = "paul"
			}
			wantReason(t, name, reset(t, d, name, next), "")
			wantReason(t, name+" with the new password", bind(name, next), "")
			wantReason(t, name+"'s state", find(t, d, name).State(time.Now()), "")
		}
	})
}

func TestE1_WhatIsNoPasswordIsNotSet(t *testing.T) {
	_, c := memory(t, memdir.ActiveDirectory, mayReset)
	d := open(t, c)
	a := find(t, d, "jon")
	d.Close() // whatever would be sent is a fault from here on
	for name, password := range map[string]string{
		"empty": "", "blank": " \u00a0", "NUL": "Abc\x00defgh-1", "control": "Abc\ndefgh-1", "direction mark": "Abc\u202edefgh-1",
		"not UTF-8": "Abc\xffdefgh-1", "half a surrogate pair": "Abc\xed\xa0\xbdefgh-1", "what stands for one": "Abc\ufffddefgh-1",
		"257 characters": strings.Repeat("ä", 257),
	} {
		wantReason(t, name, d.ResetPassword(t.Context(), a, secret.New(password), true), denial.PasswordNotAccepted)
	}
	wantReason(t, "the user name", d.ResetPassword(t.Context(), a, secret.New("JON"), true), denial.PasswordTooSimple)
	if err := d.ResetPassword(t.Context(), a, secret.New(strings.Repeat("ä", 256)), true); err == nil || denial.ReasonOf(err) != "" {
		t.Errorf("nothing wrong: %v, want a fault", err)
	}
}

func TestAResetKeepsTheRulesOfTheDirectory(t *testing.T) {
	forEachResetSite(t, func(t *testing.T, w site) {
		d := open(t, w.config)
		short, simple := denial.PasswordTooShort, denial.PasswordTooSimple
		if w.server == nil { // like Windows, it does not say which
			short, simple = denial.PasswordNotAccepted, denial.PasswordNotAccepted
		}
		wantReason(t, "too short", reset(t, d, "jon", "Ab-456"), short)
		if w.server == nil || w.server.Kind == dirtest.KindSamba {
			wantReason(t, "too simple", reset(t, d, "jon", "aaaaaaaaaaaaaaaa"), simple)
			return
		}
		wantReason(t, "reset", reset(t, d, "jon", next), "")
		wantReason(t, "in the history", reset(t, d, "jon", w.password), denial.PasswordUsedBefore)
		w.policy(t, "pwdMinAge", "86400")
		wantReason(t, "too young", reset(t, d, "jon", "Third-Lantern-9"), denial.PasswordTooYoung)
		w.policy(t, "pwdMinAge", "0")
		w.policy(t, "pwdSafeModify", "TRUE")
		wantReason(t, "never without the old one", reset(t, d, "jon", "Third-Lantern-9"), denial.ResetNotAllowed)
	})
}

// TestWithoutTheRightNothingIsReset: by the account that may only read, by
// nobody, and of an administrator.
func TestWithoutTheRightNothingIsReset(t *testing.T) {
	forEachOwnSite(t, func(t *testing.T, w site) {
		if w.server == nil {
			_, w.config = memory(t, memdir.ActiveDirectory) // its service account may not
		}
		d := open(t, w.config)
		wantReason(t, "reset", reset(t, d, "jon", next), denial.ResetNotAllowed)
		wantReason(t, "the old password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(w.password)), "")
		if w.server == nil || w.server.Kind != dirtest.KindSamba {
			return
		}
		w.config.BindDN = w.server.ResetDN
		d = open(t, w.config)
		wantReason(t, "an administrator", reset(t, d, "Administrator", next), denial.ResetNotAllowed)
	})
}

// TestTheServiceAccountIsNotReset: whoever could do that through the connector
// would put it out of work, and knew its password.
func TestTheServiceAccountIsNotReset(t *testing.T) {
	s := dirtest.SharedSambaAD(t)
	inMemory, c := memory(t, memdir.ActiveDirectory, mayReset)
	for _, tt := range []struct{ dn, name string }{
		{s.AdminDN, "Administrator"},
		{"Administrator@corp.example.test", "administrator"},
		{`CORP\administrator`, "Administrator"},
		{c.BindDN, "svc-adconnector"},
	} {
		w := c
		if tt.dn != c.BindDN {
			w = real(s)
			w.BindDN, w.BindPassword = tt.dn, secret.New(s.AdminPassword)
		}
		d := open(t, w)
		err := reset(t, d, tt.name, next)
		wantReason(t, tt.dn, err, denial.ResetNotAllowed)
		if !strings.Contains(err.Error(), "nothing was sent") {
			t.Errorf("%s: %v", tt.dn, err)
		}
	}
	if inMemory.Stats().Binds == 0 {
		t.Error("the directory in memory was not asked who the service account is")
	}
}

// TestAResetIsForPeopleWithPasswords: an account that signs in by smart card alone
// would get a second way in, of which nobody knows; and machines and trusts are
// nobody who forgets a password.
func TestAResetIsForPeopleWithPasswords(t *testing.T) {
	server, c := memory(t, memdir.ActiveDirectory, mayReset)
	d := open(t, c)
	a := find(t, d, "jon")
	for name, control := range map[string]string{
		"smart card": "262656", "trust": "2080", "workstation": "4608", "domain controller": "532992",
	} {
		if err := server.Update(a.DN, map[string][]string{"userAccountControl": {control}}); err != nil {
			t.Fatal(err)
		}
		err := reset(t, d, "jon", next)
		wantReason(t, name, err, denial.ResetNotAllowed)
		if !strings.Contains(fmt.Sprint(err), "nothing was sent") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := server.Update(a.DN, map[string][]string{"userAccountControl": a.Values("userAccountControl")}); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "the old password", d.Bind(t.Context(), a, secret.New(memdir.SamplePassword)), "")
	wantReason(t, "of a person", reset(t, d, "jon", next), "")
}

// TestAServiceAccountWithoutAPasswordSetsPasswords: by keytab, and by
// certificate.
func TestAServiceAccountWithoutAPasswordSetsPasswords(t *testing.T) {
	samba := dirtest.SambaAD(t)
	keytab := byKeytab(t, samba)
	keytab.BindKeytabFile, keytab.BindPrincipal = setting.File(samba.Keytab(t, "svc-reset")), "svc-reset@"+dirtest.Realm
	_, certificate, ca := byCertificate(t)
	writeLeaf(t, certificate, ca, "svc-reset")
	for name, c := range map[string]ldapauth.Config{"keytab": keytab, "certificate": certificate} {
		d := open(t, c)
		wantReason(t, name, reset(t, d, "jon", next), "")
		wantReason(t, name+": the new password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(next)), "")
	}
	d := open(t, keytab)
	wantReason(t, "itself", reset(t, d, "svc-reset", next), denial.ResetNotAllowed)
}

// TestC11_NoPasswordIsSetWhereTheServiceAccountIsNotKnown: it could be its own.
func TestC11_NoPasswordIsSetWhereTheServiceAccountIsNotKnown(t *testing.T) {
	forEachResetSite(t, func(t *testing.T, w site) {
		d := open(t, w.config)
		d.SayNotWhoIsBound()
		wantReason(t, "a reset", reset(t, d, "jon", next), denial.ResetNotAllowed)
		wantReason(t, "the old password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(w.password)), "")
	})
}

// TestUnlocking holds what each directory makes of a locked account.
func TestUnlocking(t *testing.T) {
	forEachResetSite(t, func(t *testing.T, w site) {
		d := open(t, w.config)
		name := "lck"
		if w.memory != nil {
			name = "liam"
		}
		wantReason(t, "before", find(t, d, name).State(time.Now()), denial.AccountLocked)
		wantReason(t, "reset", reset(t, d, name, next), "")
		after := denial.AccountLocked
		if w.server != nil && w.server.Kind == dirtest.KindOpenLDAP {
			after = "" // the overlay does so by itself
		}
		wantReason(t, "after that", find(t, d, name).State(time.Now()), after)

		const other = "Other-Lantern-8"
		wantReason(t, "reset and unlock", d.ResetPassword(t.Context(), find(t, d, name), secret.New(other), true), "")
		wantReason(t, "after that", find(t, d, name).State(time.Now()), "")
		wantReason(t, "bind", d.Bind(t.Context(), find(t, d, name), secret.New(other)), "")
		// Nothing is to be unlocked.
		wantReason(t, "jon", d.ResetPassword(t.Context(), find(t, d, "jon"), secret.New(other), true), "")

		if w.server == nil || w.server.Kind != dirtest.KindSamba {
			return
		}
		// Here the account may set passwords, but not unlock: neither is done.
		a := find(t, d, "u00001")
		wantReason(t, "reset and unlock without the right", d.ResetPassword(t.Context(), a, secret.New(other), true), denial.ResetNotAllowed)
		wantReason(t, "the old password", d.Bind(t.Context(), a, secret.New(w.password)), "")
		wantReason(t, "reset alone", d.ResetPassword(t.Context(), a, secret.New(other), false), "")
	})
}

// TestOpenLDAPEnablesWhoeverGetsAPassword is why nobody must be let ask for one
// for a disabled account.
func TestOpenLDAPEnablesWhoeverGetsAPassword(t *testing.T) {
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	c := real(s)
	c.BindDN = s.ResetDN
	d := open(t, c)
	wantReason(t, "before", find(t, d, "dis").State(time.Now()), denial.AccountDisabled)
	wantReason(t, "reset", reset(t, d, "dis", next), "")
	wantReason(t, "after", find(t, d, "dis").State(time.Now()), "")
}

func TestPasswordsAreSetOverTLSOnly(t *testing.T) {
	openldap := dirtest.SharedOpenLDAP(t)
	inMemory, memoryConfig := plain(t)
	clear := real(openldap)
	clear.URLs, clear.BindDN = []string{openldap.PlainURL}, openldap.ResetDN
	for _, c := range []ldapauth.Config{memoryConfig, clear} {
		d := open(t, c)
		a := find(t, d, "jon")
		before, log := inMemory.Stats().Connections, strings.Count(openldap.Log(), " ACCEPT ")
		err := d.ResetPassword(t.Context(), a, secret.New("Canary-new-1A"), false)
		if err == nil || denial.ReasonOf(err) != "" || !strings.Contains(err.Error(), "ldaps://") || strings.Contains(err.Error(), "Canary") {
			t.Errorf("in clear, on loopback: %v", err)
		}
		if inMemory.Stats().Connections != before || strings.Count(openldap.Log(), " ACCEPT ") != log {
			t.Error("the server was asked all the same")
		}
	}
	s := dirtest.OpenLDAP(t, dirtest.OpenLDAPOptions{})
	c := real(s)
	c.URLs, c.StartTLS, c.BindDN = []string{s.PlainURL}, true, s.ResetDN
	wantReason(t, "with StartTLS", reset(t, open(t, c), "jon", next), "")
}

func TestE4_AResetWithoutAnAnswerIsNotSentAgain(t *testing.T) {
	_, c := plain(t)
	target := strings.TrimPrefix(c.URLs[0], "ldap://")
	c.URLs, c.CAFiles = nil, nil
	first, second := newSink(t, target, &c), newSink(t, target, &c)
	d := open(t, short(c))
	a := find(t, d, "jon")
	sent := func() int { return int(first.seen.Load() + second.seen.Load()) }
	for _, hangUp := range []bool{false, true} {
		first.hangUp.Store(hangUp)
		second.hangUp.Store(hangUp)
		before := sent()
		if err := d.ResetPassword(t.Context(), a, secret.New(next), true); !errors.Is(err, ldapauth.ErrUnanswered) || denial.ReasonOf(err) != "" {
			t.Errorf("hang up %v: %v, want a fault without an answer", hangUp, err)
		}
		if n := sent() - before; n != 1 {
			t.Errorf("hang up %v: sent %d times, want once", hangUp, n)
		}
	}
}

// TestE8_AResetLeavesNoTrace: neither a connection, nor anything on those that
// searches share.
func TestE8_AResetLeavesNoTrace(t *testing.T) {
	s, c := memory(t, memdir.ActiveDirectory, mayReset)
	d := open(t, c)
	a := find(t, d, "jon")
	before := s.Stats().Open
	for _, password := range []string{"short", next, "short", next} {
		_ = d.ResetPassword(t.Context(), a, secret.New(password), true)
		find(t, d, "amy")
	}
	for deadline := time.Now().Add(10 * time.Second); s.Stats().Open > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, %d before", s.Stats().Open, before)
		}
	}
}

// TestACopyIsPassedOver: a read-only domain controller, or a consumer of OpenLDAP,
// does nothing but name a server that can be written to, which may be anybody's.
func TestACopyIsPassedOver(t *testing.T) {
	server, c := memory(t, memdir.ActiveDirectory, mayReset)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	writable := c.URLs
	c.URLs = nil
	copied := newSink(t, ln.Addr().String(), &c)
	copied.answer.Store(func(id int64) *ber.Packet { return modifyAnswer(id, goldap.LDAPResultReferral, "") })

	err = reset(t, open(t, c), "jon", next)
	if err == nil || denial.ReasonOf(err) != "" || errors.Is(err, ldapauth.ErrUnanswered) || !strings.Contains(err.Error(), "ldap.urls") {
		t.Errorf("a copy alone: %v", err)
	}
	c.URLs = append(c.URLs, writable...)
	d := open(t, c)
	wantReason(t, "with another one", reset(t, d, "jon", next), "")
	wantReason(t, "the new password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(next)), "")
	if n := copied.seen.Load(); n != 2 {
		t.Errorf("the copy was asked %d times, want twice", n)
	}
}

// TestE4_AResetIsForTheOneWhoWasFound: a server that was asked for the account may
// lag behind the one that is written to, where the DN can be somebody else's by
// now, or nobody's.
func TestE4_AResetIsForTheOneWhoWasFound(t *testing.T) {
	forEachResetSite(t, func(t *testing.T, w site) {
		d := open(t, w.config)
		jon := find(t, d, "jon")
		nothing := func(when string) {
			t.Helper()
			err := d.ResetPassword(t.Context(), jon, secret.New(next), true)
			if err == nil || denial.ReasonOf(err) != "" || errors.Is(err, ldapauth.ErrUnanswered) || !strings.Contains(err.Error(), "nothing was sent") {
				t.Errorf("%s: %v, want a fault", when, err)
			}
		}
		if w.server == nil {
			if err := w.memory.Update(jon.DN, map[string][]string{"objectGUID": {"0123456789abcdef"}}); err != nil {
				t.Fatal(err)
			}
			nothing("somebody else")
			wantReason(t, "the other's password", d.Bind(t.Context(), find(t, d, "jon"), secret.New(w.password)), "")
			if err := w.memory.Remove(jon.DN); err != nil {
				t.Fatal(err)
			}
			nothing("nobody")
			return
		}
		admin, other := w.server.Admin(t), find(t, d, "zoe")
		rdn, _, _ := strings.Cut(jon.DN, ",")
		kind, _, _ := strings.Cut(rdn, "=")
		for _, r := range []struct{ dn, rdn, when string }{{jon.DN, kind + "=moved", "nobody"}, {other.DN, rdn, "somebody else"}} {
			if err := admin.ModifyDN(goldap.NewModifyDNRequest(r.dn, r.rdn, true, "")); err != nil {
				t.Fatal(err)
			}
			nothing(r.when)
		}
		now, err := d.FindByID(t.Context(), other.ID)
		if err != nil || now.DN != jon.DN {
			t.Fatalf("the other is %+v, %v", now, err)
		}
		wantReason(t, "the other's password", d.Bind(t.Context(), now, secret.New(w.password)), "")
	})
}

// Answers as Windows gives them, which Samba does not.
func TestWhatWindowsSaysOfAReset(t *testing.T) {
	_, c := plain(t)
	target := strings.TrimPrefix(c.URLs[0], "ldap://")
	c.URLs, c.CAFiles = nil, nil
	s := newSink(t, target, &c)
	d := open(t, c)
	for _, tt := range []struct {
		name string
		code uint16
		text string
		want denial.Reason
	}{
		{"policy", goldap.LDAPResultUnwillingToPerform, "0000052D: SvcErr: DSID-031A124C, problem 5003 (WILL_NOT_PERFORM), data 0\n\x00", denial.PasswordNotAccepted},
		{"policy, as of a change", goldap.LDAPResultConstraintViolation, "0000052D: AtrErr: DSID-03191083, #1:", denial.PasswordNotAccepted},
		{"unwilling", goldap.LDAPResultUnwillingToPerform, "00000035: SvcErr: DSID-031A1251, problem 5003 (WILL_NOT_PERFORM), data 0\n\x00", denial.PasswordNotAccepted},
		{"not encrypted enough", goldap.LDAPResultUnwillingToPerform, "0000001F: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0\n\x00", ""},
		{"no right", goldap.LDAPResultInsufficientAccessRights, "00000005: SecErr: DSID-031A11D5, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0\n\x00", denial.ResetNotAllowed},
		{"no right to unlock", goldap.LDAPResultInsufficientAccessRights, "00002098: SecErr: DSID-031514A0, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0\n\x00", denial.ResetNotAllowed},
		{"gone", goldap.LDAPResultNoSuchObject, "0000208D: NameErr: DSID-03100241, problem 2001 (NO_OBJECT), data 0", ""},
		{"busy", goldap.LDAPResultBusy, "", ""},
	} {
		s.answer.Store(func(id int64) *ber.Packet { return modifyAnswer(id, tt.code, tt.text) })
		err := d.ResetPassword(t.Context(), find(t, d, "jon"), secret.New(next), true)
		if err == nil || denial.ReasonOf(err) != tt.want || errors.Is(err, ldapauth.ErrUnanswered) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// modifyAnswer is the answer to a modify request (RFC 4511, section 4.6).
func modifyAnswer(id int64, code uint16, text string) *ber.Packet {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationModifyResponse, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, text, ""))
	p.AppendChild(op)
	return p
}
