// Package signin is the one door: every sign-in, whatever proves it and whoever
// asked for it, is one call of [Service.SignIn], and the order of its steps is
// the policy.
package signin

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"adconnector/connector/iprange"
	"adconnector/connector/private"
	"adconnector/connector/profile"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/secret"
)

// A Directory knows the accounts. Its denials are answers; its other errors are
// faults.
type Directory interface {
	// NormaliseName makes spellings of a name equal that differ in the domain
	// part alone. It asks nobody, so the name may still be anybody's or nobody's.
	NormaliseName(name string) string
	FindByName(ctx context.Context, name string) (*ldapauth.Account, error)
	FindByID(ctx context.Context, id string) (*ldapauth.Account, error)
	// FindHolder finds whom a certificate names, and JudgeHolder tells whether
	// what else it says goes with that account, and whether more than a name ties
	// them together. The latter asks nobody.
	FindHolder(ctx context.Context, h *ldapauth.Holder) (*ldapauth.Account, error)
	JudgeHolder(ctx context.Context, a *ldapauth.Account, h *ldapauth.Holder) (strong bool, err error)
	// Bind sends the password to the directory, at most once.
	Bind(ctx context.Context, a *ldapauth.Account, password secret.String) error
	// ChangePassword sends both passwords to the directory, at most once.
	ChangePassword(ctx context.Context, a *ldapauth.Account, old, new secret.String) error
	// ResetPassword sends the new password to the directory, at most once.
	ResetPassword(ctx context.Context, a *ldapauth.Account, new secret.String, unlock bool) error
	// Lockout tells how many wrong passwords lock the account. Its errors are
	// no reason to keep anybody out.
	Lockout(ctx context.Context, a *ldapauth.Account) (ldapauth.Lockout, error)
	// Groups returns the groups to report, or a denial if one of them may not
	// sign in.
	Groups(ctx context.Context, a *ldapauth.Account) ([]string, error)
	// CheckUID returns a denial if the uid of the account is somebody else's too.
	CheckUID(ctx context.Context, a *ldapauth.Account) error
	// GroupNames returns them for somebody who is refused anyway, whatever bars
	// the account. Unless ask is true, only what is remembered counts.
	GroupNames(ctx context.Context, a *ldapauth.Account, ask bool) ([]string, error)
}

// A Verifier judges a chain of certificates as a handshake delivers it, and what
// it has accepted before once more. Whether a certificate has been revoked is part
// of that.
type Verifier interface {
	Verify(ctx context.Context, chain []*x509.Certificate) (*certauth.Certificate, error)
	VerifyAgain(ctx context.Context, c *certauth.Certificate) (*certauth.Certificate, error)
}

// What to do with a user whose groups cannot be read.
const (
	DenyWithoutGroups = "deny" // report a fault; nobody is let in
	OmitGroups        = "omit" // let in without groups and say that they are incomplete
)

// Options are the parts and the policy of a [Service].
type Options struct {
	Directory Directory

	// PasswordEnabled offers sign-in by password, to the addresses in
	// PasswordFrom: nil means to all.
	PasswordEnabled bool
	PasswordFrom    *iprange.Set
	// ChangePassword lets people change a password that has expired or must be
	// changed.
	ChangePassword bool
	// ResetPassword lets services set passwords, and UnlockOnReset unlocks the
	// accounts as well.
	ResetPassword, UnlockOnReset bool
	// AllowExpiredPassword and AllowMustChangePassword let people in whose
	// accounts have no other fault than that, whatever proves who they are.
	AllowExpiredPassword, AllowMustChangePassword bool
	// Throttle limits guessing; the zero value means [DefaultThrottle].
	Throttle ThrottleConfig
	// RefusalFloor is how long a refused password takes at least, so that its
	// duration does not tell whether the account exists; 0 means 400 ms.
	RefusalFloor time.Duration
	// DelayStep is how much longer a refusal takes after two failures for the
	// same name; after each further one it is twice that, up to eight times. 0
	// means 500 ms.
	DelayStep time.Duration
	// DataDir keeps the known addresses over a restart; nil: they are forgotten.
	DataDir *private.Dir

	// Verifier offers sign-in by certificate, to the addresses in
	// CertificatesFrom. Nil means not at all.
	Verifier         Verifier
	CertificatesFrom *iprange.Set
	// AuthoritiesFrom are the addresses from which certificates of an authority
	// are accepted, by [certauth.Certificate].Authority less one. Nil means from
	// all of CertificatesFrom, as for certificates of other authorities.
	AuthoritiesFrom []*iprange.Set

	// ProofTimeout bounds what it takes to know who somebody is: waiting for
	// other attempts, finding the account and checking the password together.
	// Reading the groups has a time of its own. 0 means no bound but those of
	// the single steps.
	ProofTimeout time.Duration

	// Recheck is how long a session may rely on what the directory said; 0
	// means that each use asks again.
	Recheck time.Duration

	GroupsOnFailure string // [DenyWithoutGroups] (also if empty) or [OmitGroups]

	// Profile says what upstreams learn of a user; nil: the built-in claims.
	Profile *profile.Profile
	// TenantIDs fills [Identity].TenantID.
	TenantIDs bool

	Audit *slog.Logger // gets one record for each attempt; see [NewAudit]
	// Observe is called with what came of each attempt, for whoever counts them.
	// It is called before the attempt's answer is given and so must be quick. Nil:
	// nobody counts.
	Observe func(Outcome)
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// A Service lets users in or says why not. It can be used by many goroutines at
// the same time.
type Service struct {
	directory Directory

	passwords    bool
	passwordFrom *iprange.Set
	changes      bool
	resets       bool
	unlocks      bool
	allowed      []denial.Reason // faults of passwords that are let pass
	throttle     *throttle
	refusalFloor time.Duration
	delayStep    time.Duration
	delayed      atomic.Int32 // refusals that wait longer than the floor
	relayed      gate
	dataDir      *private.Dir

	verifier         Verifier
	certificatesFrom *iprange.Set
	authoritiesFrom  []*iprange.Set

	proofTimeout time.Duration
	recheck      time.Duration
	omitGroups   bool

	profile   *profile.Profile
	tenantIDs bool

	audit, log *slog.Logger
	observe    func(Outcome)
	now        func() time.Time
}

// New returns the service that o describes, or says what is missing.
func New(o Options) (*Service, error) {
	if o.Throttle == (ThrottleConfig{}) {
		o.Throttle = DefaultThrottle()
	}
	if o.RefusalFloor == 0 {
		o.RefusalFloor = 400 * time.Millisecond
	}
	if o.DelayStep == 0 {
		o.DelayStep = 500 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Profile == nil {
		o.Profile, _ = profile.Compile(nil) // a test holds that the built-in claims compile
	}
	switch {
	case o.Directory == nil:
		return nil, errors.New("signin: no directory")
	case o.Audit == nil || o.Log == nil:
		return nil, errors.New("signin: no audit trail or no log")
	case o.Verifier != nil && o.CertificatesFrom == nil:
		return nil, errors.New("signin: certificates are accepted, but from no address")
	case o.GroupsOnFailure != "" && o.GroupsOnFailure != DenyWithoutGroups && o.GroupsOnFailure != OmitGroups:
		return nil, fmt.Errorf("signin: what to do without groups is %q or %q, not %q", DenyWithoutGroups, OmitGroups, o.GroupsOnFailure)
	case o.Recheck < 0 || o.RefusalFloor < 0 || o.DelayStep < 0 || o.ProofTimeout < 0:
		return nil, errors.New("signin: a negative duration")
	}
	if err := o.Throttle.Validate(); err != nil {
		return nil, fmt.Errorf("signin: throttle: %w", err)
	}
	var allowed []denial.Reason
	if o.AllowExpiredPassword {
		allowed = append(allowed, denial.PasswordExpired)
	}
	if o.AllowMustChangePassword {
		allowed = append(allowed, denial.MustChangePassword)
	}
	throttle := newThrottle(o.Throttle, o.Directory, o.Log, o.Now)
	if throttle.known != nil && o.DataDir != nil {
		if err := throttle.known.open(o.DataDir, o.Log); err != nil {
			return nil, fmt.Errorf("data_dir: %w", err)
		}
	}
	return &Service{
		directory:        o.Directory,
		passwords:        o.PasswordEnabled,
		passwordFrom:     o.PasswordFrom,
		changes:          o.PasswordEnabled && o.ChangePassword,
		resets:           o.ResetPassword,
		unlocks:          o.UnlockOnReset,
		allowed:          allowed,
		throttle:         throttle,
		refusalFloor:     o.RefusalFloor,
		delayStep:        o.DelayStep,
		dataDir:          o.DataDir,
		verifier:         o.Verifier,
		certificatesFrom: o.CertificatesFrom,
		authoritiesFrom:  o.AuthoritiesFrom,
		proofTimeout:     o.ProofTimeout,
		recheck:          o.Recheck,
		omitGroups:       o.GroupsOnFailure == OmitGroups,
		profile:          o.Profile,
		tenantIDs:        o.TenantIDs,
		relayed:          make(gate, maxRelayed),
		audit:            o.Audit,
		log:              o.Log,
		observe:          o.Observe,
		now:              o.Now,
	}, nil
}

// SignIn lets one user in or says why not.
//
// The order of its steps is the security policy. Whether the method is offered
// to the address comes first, then throttling, so that a guesser costs the
// directory nothing; the proof comes before any fact about the account, so that
// a stranger learns no more than the directory lets slip; the account's state
// is asked whatever the proof was, because only a password is judged by the
// directory itself; and the audit line is written last, on every way out.
//
// The error is a [*denial.Error] when the answer is no. Any other error means
// that the question could not be answered, and callers must not let the user
// try a weaker method instead. A denial has a [*Changeable] in its chain if a
// new password would put an end to it.
func (s *Service) SignIn(ctx context.Context, a Attempt) (id *Identity, err error) {
	t := trail{start: time.Now()}
	defer func() { s.writeAudit(ctx, &a, &t, id, err) }()

	switch c := a.Credential.(type) {
	case Password:
		t.relayed, t.reported = a.Relayed, a.About != nil
		id, err = s.byPassword(ctx, c, a.Remote, &t)
	case Certificate:
		id, err = s.byCertificate(ctx, c, a.Remote, &t)
	case Session:
		id, err = s.bySession(ctx, c, &t)
	case Refused:
		t.user, err = c.Username, error(c.Why)
	default:
		err = fmt.Errorf("signing in by a credential of an unknown kind, %T", c)
	}
	if err == nil {
		s.throttle.known.learn(id.ID, a.origin())
	} else if t.about != nil {
		a.About(t.about)
	}
	t.returned = true
	return id, err
}

// Run keeps on disk what has to outlast a restart, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	if s.throttle.known != nil && s.dataDir != nil {
		s.throttle.known.run(ctx, s.dataDir, s.log)
	}
}

// byPassword lets in whoever knows the password of an account. Once the
// directory has been asked, a refusal takes its time.
func (s *Service) byPassword(ctx context.Context, c Password, remote netip.Addr, t *trail) (*Identity, error) {
	t.user = c.Username
	if t.relayed && !s.passwords || !t.relayed && !s.offersPasswords(remote) {
		return nil, denial.New(denial.NotAllowedHere, "sign-in by password is not offered to this address")
	}
	leave := func() {}
	if t.relayed {
		var err error
		if leave, err = s.relayed.enter(ctx); err != nil {
			return nil, err
		}
		defer leave()
	}
	account, err := s.provePassword(ctx, c, remote, t)
	var id *Identity
	if err == nil {
		id, err = s.admit(ctx, account, ByPassword, t)
	}
	err = s.offerChange(ctx, t.account, err)
	if t.reported {
		s.describeRefused(ctx, err, t)
	}
	leave() // that a refusal takes its time keeps nobody else waiting
	s.takeTime(ctx, err, t)
	return id, err
}

// offersPasswords reports whether passwords are for this address.
func (s *Service) offersPasswords(remote netip.Addr) bool {
	return s.passwords && (s.passwordFrom == nil || s.passwordFrom.Contains(remote))
}

// takeTime makes a refusal last as long as every other one for which the
// directory was asked.
func (s *Service) takeTime(ctx context.Context, err error, t *trail) {
	if t.asked && denial.ReasonOf(err) != "" {
		s.hold(ctx, t)
	}
}

// maxDelayed is how many refusals wait longer than they must at the same time.
// Further ones are told at once: the counts still stop who guesses, and nobody
// can fill the memory with attempts that wait.
const maxDelayed = 1024

// hold keeps a refusal back for as long as any takes that comes after so many
// failures, whatever its reason.
func (s *Service) hold(ctx context.Context, t *trail) {
	wait := s.refusalFloor
	if d := delay(t.failed, s.delayStep); d > 0 {
		if s.delayed.Add(1) <= maxDelayed {
			wait += d
		}
		defer s.delayed.Add(-1)
	}
	waitFor(ctx, wait-time.Since(t.start))
}

// delay returns how much longer a refusal takes that comes after that many
// failures.
func delay(failed int, step time.Duration) time.Duration {
	if failed < 2 {
		return 0
	}
	return step << min(failed-2, 3)
}

// provePassword returns the account whose name and password c holds.
func (s *Service) provePassword(ctx context.Context, c Password, remote netip.Addr, t *trail) (*ldapauth.Account, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	g, account, err := s.aim(ctx, c.Username, remote, t)
	if err != nil {
		return nil, err
	}
	defer g.wrong() // unless something else comes of it

	err = s.directory.Bind(ctx, account, c.Password)
	reason := denial.ReasonOf(err)
	switch {
	case err == nil:
		g.right()
		return account, nil
	case slices.Contains(s.allowed, reason):
		g.right()
		t.allowed = reason
		return account, nil
	case toRightPassword(reason):
		g.right()
		return nil, err
	case reason != "":
		return nil, err
	case errors.Is(err, ldapauth.ErrUnanswered):
		g.unknown(ctx)
		return nil, fmt.Errorf("checking the password: %w", err)
	default:
		g.void(ctx)
		return nil, fmt.Errorf("checking the password: %w", err)
	}
}

// aim returns the account that is called username, and the place in the
// throttle of an attempt with its password. Without an account the attempt is
// over, and has been counted.
func (s *Service) aim(ctx context.Context, username string, remote netip.Addr, t *trail) (*guess, *ldapauth.Account, error) {
	g, err := s.begin(ctx, username, remote, t)
	if err != nil {
		return nil, nil, err
	}
	found := false
	defer func() {
		if !found {
			g.wrong() // unless something else came of it
		}
	}()

	t.asked, t.failed = true, g.failed()
	account, err := s.directory.FindByName(ctx, username)
	if denial.ReasonOf(err) != "" {
		// Whether there is nobody of that name, or several, is nothing that a
		// guesser may learn. The audit trail says "several", because somebody has
		// to put that right.
		if denial.ReasonOf(err) == denial.SeveralAccounts {
			t.cause = err
		}
		return nil, nil, &denial.Error{Reason: denial.BadCredentials, Err: err}
	}
	if err != nil {
		g.void(ctx)
		return nil, nil, fmt.Errorf("looking for the account: %w", err)
	}
	t.account = account
	if err := g.aim(ctx, account); denial.ReasonOf(err) == denial.AccountLocked {
		return nil, nil, err
	} else if denial.ReasonOf(err) != "" {
		// Only an account that exists gets here with a name that has not been
		// tried too often. Whoever asks must not learn it from a second spelling.
		t.cause = err
		return nil, nil, &denial.Error{Reason: denial.BadCredentials, Err: err}
	} else if err != nil {
		return nil, nil, err
	}
	found = true
	return g, account, nil
}

// begin takes the attempt's places in the throttle.
func (s *Service) begin(ctx context.Context, username string, remote netip.Addr, t *trail) (*guess, error) {
	if t.relayed {
		return s.throttle.beginRelayed(ctx, username)
	}
	return s.throttle.begin(ctx, remote, username)
}

// toRightPassword reports whether a directory refuses by r only who knows the
// password, so that the attempt was no guess. A locked account is none of these:
// that is said to any password.
func toRightPassword(r denial.Reason) bool {
	switch r {
	case denial.AccountDisabled, denial.AccountExpired, denial.PasswordExpired, denial.MustChangePassword,
		denial.OutsideHours, denial.NotAtThisComputer:
		return true
	}
	return false
}

// byCertificate lets in whom a genuine certificate names. There is nothing to
// guess, so failures are not counted: a stranger must not be able to lock
// somebody out with certificates of his own making.
func (s *Service) byCertificate(ctx context.Context, c Certificate, remote netip.Addr, t *trail) (*Identity, error) {
	// The listener does not ask other addresses for a certificate; this holds
	// even if it should.
	if s.verifier == nil || !s.certificatesFrom.Contains(remote) {
		return nil, denial.New(denial.NotAllowedHere, "sign-in by certificate is not offered to this address")
	}
	certificate, err := s.verifier.Verify(ctx, c.Chain)
	if err != nil {
		if len(c.Chain) > 0 {
			t.certificate = certauth.Describe(c.Chain[0])
		}
		return nil, err
	}
	t.certificate, t.user = certificate, certificate.UserName
	account, err := s.FindByCertificate(ctx, certificate, remote)
	t.account = account
	if err != nil {
		return nil, err
	}
	id, err := s.admit(ctx, account, ByCertificate, t)
	if err != nil {
		return nil, err
	}
	id.Certificate = certificate
	return id, nil
}

// FindByCertificate returns the account that an accepted certificate names, if
// the certificate's authority is one for the address (the zero address is all of
// them) and the account is one for the certificate. Whether that is strong goes
// into c. With an error the account, if there is one, is that which was refused.
func (s *Service) FindByCertificate(ctx context.Context, c *certauth.Certificate, remote netip.Addr) (*ldapauth.Account, error) {
	if remote.IsValid() && !s.offersAuthority(c.Authority, remote) {
		return nil, denial.New(denial.NotAllowedHere, "certificates of this authority are not accepted from this address")
	}
	holder := holderOf(c)
	account, err := s.FindHolder(ctx, holder)
	if err != nil {
		return nil, fmt.Errorf("looking for the account that the certificate names: %w", err)
	}
	if c.Strong, err = s.directory.JudgeHolder(ctx, account, holder); err != nil {
		return account, fmt.Errorf("comparing the certificate with the account: %w", err)
	}
	return account, nil
}

// offersAuthority reports whether certificates of an authority are for this
// address.
func (s *Service) offersAuthority(n int, remote netip.Addr) bool {
	if n == 0 || n > len(s.authoritiesFrom) || s.authoritiesFrom[n-1] == nil {
		return true
	}
	return s.authoritiesFrom[n-1].Contains(remote)
}

// bySession lets in whoever was let in before, if the account is still one that
// may be. The identity is the same one while the directory's word is fresh and
// a new one after that.
func (s *Service) bySession(ctx context.Context, c Session, t *trail) (*Identity, error) {
	old := c.Identity
	if old == nil {
		return nil, denial.New(denial.SessionEnded, "there is no session")
	}
	t.session, t.user, t.certificate = old, old.Username, old.Certificate
	now := s.now()
	if expired(old, now) {
		return nil, denial.New(denial.Expired, "the certificate of this session was valid until %v", old.Certificate.NotAfter)
	}
	// A check that lies ahead was made by a clock that has been put back since:
	// nobody knows how old it is.
	if age := now.Sub(old.CheckedAt); age >= 0 && age < s.recheck {
		return old, nil
	}
	certificate, err := s.checkAgain(ctx, old.Certificate)
	if err != nil {
		return nil, err
	}
	t.certificate = certificate
	limited, cancel := s.limit(ctx)
	defer cancel()
	account, err := s.directory.FindByID(limited, old.ID)
	if denial.ReasonOf(err) != "" {
		return nil, &denial.Error{Reason: denial.SessionEnded, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the account of a session: %w", err)
	}
	t.account = account
	if certificate != nil {
		if certificate.Strong, err = s.directory.JudgeHolder(ctx, account, holderOf(certificate)); err != nil {
			return nil, fmt.Errorf("comparing the certificate of a session with the account: %w", err)
		}
	}
	id, err := s.admit(ctx, account, old.AuthenticatedBy, t)
	if err != nil {
		return nil, err
	}
	id.AuthenticatedAt, id.Certificate = old.AuthenticatedAt, certificate
	return id, nil
}

// checkAgain judges the certificate of a session, which may be nil, as if it had
// been sent again: it may have been revoked, or its authority may not be trusted
// any more.
func (s *Service) checkAgain(ctx context.Context, c *certauth.Certificate) (*certauth.Certificate, error) {
	if c == nil {
		return nil, nil
	}
	if s.verifier == nil {
		return nil, denial.New(denial.SessionEnded, "sign-in by certificate is not offered any more")
	}
	return s.verifier.VerifyAgain(ctx, c)
}

// expired reports whether the certificate that proved id has expired since
// then. One that had expired before was accepted on purpose.
func expired(id *Identity, now time.Time) bool {
	c := id.Certificate
	return c != nil && now.After(c.NotAfter) && !id.AuthenticatedAt.After(c.NotAfter)
}

// admit returns the identity of an account that somebody has proved to be
// theirs, unless the account may not sign in.
func (s *Service) admit(ctx context.Context, account *ldapauth.Account, by Method, t *trail) (*Identity, error) {
	now := s.now()
	err := account.State(now)
	if reason := denial.ReasonOf(err); slices.Contains(s.allowed, reason) {
		t.allowed = reason
		err = account.State(now, s.allowed...)
	}
	if err != nil {
		return nil, err
	}
	groups, err := s.directory.Groups(ctx, account)
	incomplete := s.omitGroups && errors.Is(err, ldapauth.ErrGroups) && ctx.Err() == nil
	switch {
	case err == nil:
	case denial.ReasonOf(err) != "":
		return nil, err
	case incomplete:
		// None at all is easier to notice upstream than some.
		groups = nil
		s.log.WarnContext(ctx, "groups could not be read and are left out", "account_id", account.ID, "err", err)
	default:
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	t.groups, t.groupsIncomplete = groups, incomplete
	id, err := s.describe(account, groups, incomplete)
	if err != nil {
		return nil, err
	}
	if err := s.checkTenantID(ctx, account, id); err != nil {
		return nil, err
	}
	id.AuthenticatedBy, id.AuthenticatedAt, id.CheckedAt = by, now, now
	return id, nil
}

// errProofLate is why a proof was given up.
var errProofLate = errors.New("it took longer than ldap.timeout allows to find the account and to check the password")

// limit returns ctx with the time that a proof may take. Each of its steps has a
// time-out of its own, but one after the other, on servers that stopped in
// between, they add up to more than anybody waits for.
func (s *Service) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.proofTimeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, s.proofTimeout, errProofLate)
}

// waitFor waits, but not longer than there is somebody who waits for the answer.
func waitFor(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
