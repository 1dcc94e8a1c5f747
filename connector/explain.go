package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"adconnector/connector/profile"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
)

// An Explanation says what would become of somebody who proves to be a user, and
// what was asked to find that out, as it was asked for a sign-in.
type Explanation struct {
	User    string `json:"user"`
	Verdict `json:"verdict"`
	// Certificate is what was looked at before the account, if there is one.
	Certificate *CertificateWalk `json:"certificate,omitempty"`

	Finding Phase    `json:"finding"`
	Account *Account `json:"account,omitempty"`
	State   []Fact   `json:"state,omitempty"`
	Lockout *Lockout `json:"lockout,omitempty"`
	Groups  *Groups  `json:"groups,omitempty"`
	Profile *Profile `json:"profile,omitempty"`
}

// The results of an [Explanation].
const (
	LetIn   = "let_in"
	Refused = "refused"
	Fault   = "fault" // the question could not be answered
)

// A Verdict is what would become of a sign-in.
type Verdict struct {
	Result string `json:"result"`
	Reason string `json:"reason,omitempty"` // of a refusal
	Detail string `json:"detail,omitempty"` // of a refusal or a fault
	// Passed is the fault of the password that the configuration lets pass.
	Passed string `json:"passed,omitempty"`
	// CanChangePassword says that the person may choose a new password in the
	// form, which would put an end to the refusal.
	CanChangePassword bool `json:"can_change_password,omitempty"`
}

// A Phase is a part of a sign-in: what was done in it, in its order.
type Phase struct {
	Took  Milliseconds `json:"took_ms"`
	Steps []Step       `json:"steps"`
	More  int          `json:"more_steps,omitempty"` // for which there was no room
}

// A Step is a search, or a decision in words.
type Step struct {
	Text   string  `json:"text,omitempty"`
	Search *Search `json:"search,omitempty"`
}

// A Search is one question to a directory server and its answer.
type Search struct {
	Server  string       `json:"server"`
	Base    string       `json:"base"`
	Scope   string       `json:"scope"`
	Filter  string       `json:"filter"`
	Entries int          `json:"entries"`
	Found   []string     `json:"found,omitempty"` // the first of them
	Took    Milliseconds `json:"took_ms"`
	Error   string       `json:"error,omitempty"`
}

// Milliseconds is a duration that is written as a number of them.
type Milliseconds float64

func milliseconds(d time.Duration) Milliseconds {
	return Milliseconds(d.Round(time.Microsecond).Seconds() * 1000)
}

// An Account is the entry that was found.
type Account struct {
	DN       string `json:"dn"`
	ID       string `json:"id"`
	Username string `json:"username"`
	FoundBy  string `json:"found_by,omitempty"`
	Domain   string `json:"domain,omitempty"` // which of several
}

// A Fact is one thing that decides whether an account may sign in.
type Fact struct {
	Attribute string `json:"attribute"`
	Text      string `json:"text"`
	Bars      string `json:"bars,omitempty"` // the reason, or why it cannot be understood
}

// A Lockout is what the directory does about wrong passwords for an account.
type Lockout struct {
	Phase
	Error     string     `json:"error,omitempty"` // why nothing is known
	Policy    string     `json:"policy,omitempty"`
	Hidden    string     `json:"hidden_policy,omitempty"` // the one that holds in truth, if it cannot be read
	Threshold int        `json:"threshold"`               // 0: no number of failures locks
	Window    string     `json:"window,omitempty"`
	Duration  string     `json:"duration,omitempty"`
	Failures  int        `json:"failures"`
	Until     *time.Time `json:"failures_until,omitempty"` // when there will be fewer
	// Here is how many wrong passwords the connector lets through to it; nil: it
	// offers no sign-in by password.
	Here *LetThrough `json:"let_through,omitempty"`
}

// LetThrough is how many wrong passwords for an account are sent to the
// directory at most: from addresses that are known for it, from others, and from
// all together.
type LetThrough struct {
	Known   int `json:"known"`
	Unknown int `json:"unknown"`
	All     int `json:"all"`
}

// Groups are what the directory says of an account's groups.
type Groups struct {
	Phase
	// Aside says that a sign-in would not have come this far.
	Aside  bool     `json:"aside,omitempty"`
	Names  []string `json:"names"`
	Denied string   `json:"denied,omitempty"` // why ldap.deny_groups bars the account
	Error  string   `json:"error,omitempty"`
}

// Explain finds out what would become of somebody who proves to be username, by
// the code that signs people in. It tries no password, signs nobody in, and
// changes and records nothing. An error means that there was nothing to ask with;
// a directory that cannot be asked is an answer, [Fault].
func Explain(ctx context.Context, c *Config, username string) (*Explanation, error) {
	conn, err := openToExplain(c)
	if err != nil {
		return nil, err
	}
	defer conn.directory.Close()
	o := conn.policy()
	o.Audit = discard
	service, err := signin.New(o)
	if err != nil {
		return nil, err
	}

	x := &Explanation{User: username}
	var account *ldapauth.Account
	x.Finding = watched(ctx, func(ctx context.Context) { account, err = service.Find(ctx, username) })
	if err != nil {
		x.Verdict = refusal(err)
		return x, nil
	}
	x.explainAccount(ctx, conn, service, account)
	return x, nil
}

// openToExplain returns as much of a connector as it takes to ask the directory
// what a sign-in asks.
func openToExplain(c *Config) (*Connector, error) {
	claims, err := profile.Compile(c.Profile)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	d, err := openDirectory(c, claims.Attributes())
	if err != nil {
		return nil, err
	}
	return &Connector{config: c, log: discard, directory: d, profile: claims}, nil
}

// explainAccount goes on where the account is known.
func (x *Explanation) explainAccount(ctx context.Context, conn *Connector, service *signin.Service, account *ldapauth.Account) {
	c, d := conn.config, conn.directory
	x.Account = &Account{
		DN: account.DN, ID: account.ID, Username: account.Username, FoundBy: account.FoundBy(), Domain: c.domain(account.Domain()),
	}
	for _, f := range account.Facts(time.Now()) {
		x.State = append(x.State, Fact{f.Attribute, f.Text, reasonOrError(f.Err)})
	}
	x.explainLockout(ctx, c, d, account)
	groups, incomplete := x.explainVerdict(ctx, d, service, account)
	x.explainProfile(conn.profile, service.Claims(account, groups, incomplete), account)
}

// watched does something and returns what the directory was asked meanwhile.
func watched(ctx context.Context, do func(context.Context)) Phase {
	var t ldapauth.Trace
	start := time.Now()
	do(ldapauth.WithTrace(ctx, &t))
	p := Phase{Took: milliseconds(time.Since(start)), Steps: []Step{}}
	steps, more := t.Steps()
	p.More = more
	for _, s := range steps {
		step := Step{Text: s.Text}
		if q := s.Search; q != nil {
			step.Search = &Search{
				Server: q.Server, Base: q.Base, Scope: q.Scope, Filter: q.Filter, Entries: q.Entries, Found: q.Found,
				Took: milliseconds(q.Took), Error: text(q.Err),
			}
		}
		p.Steps = append(p.Steps, step)
	}
	return p
}

// refusal returns the verdict of an error.
func refusal(err error) Verdict {
	v := Verdict{Result: Fault, Detail: text(err)}
	if reason := denial.ReasonOf(err); reason != "" {
		v.Result, v.Reason = Refused, string(reason)
	}
	return v
}

// text returns the text of an error, "" if there is none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// reasonOrError returns the reason of a denial, else the text of an error.
func reasonOrError(err error) string {
	if reason := denial.ReasonOf(err); reason != "" {
		return string(reason)
	}
	return text(err)
}

func (x *Explanation) explainLockout(ctx context.Context, c *Config, d *ldapauth.Domains, account *ldapauth.Account) {
	var l ldapauth.Lockout
	var err error
	p := watched(ctx, func(ctx context.Context) { l, err = d.Lockout(ctx, account) })
	x.Lockout = &Lockout{Phase: p, Error: text(err)}
	if err != nil {
		return
	}
	x.Lockout = &Lockout{
		Phase: p, Policy: l.Policy, Hidden: l.Hidden,
		Threshold: l.Threshold, Window: span(l.Window), Duration: span(l.Duration), Failures: l.Failures,
	}
	if !l.Until.IsZero() {
		x.Lockout.Until = &l.Until
	}
	if p := c.Password; p != nil {
		x.Lockout.Here = &LetThrough{}
		x.Lockout.Here.Known, x.Lockout.Here.Unknown, x.Lockout.Here.All = p.Throttle.Lets(l.Threshold)
	}
}

// forever stands for a time span without an end.
const forever = "forever"

func span(d time.Duration) string {
	if d == ldapauth.Forever {
		return forever
	}
	return setting.Duration(d).String()
}

// explainVerdict judges the account and reads its groups. It returns what the
// claims are made of.
func (x *Explanation) explainVerdict(ctx context.Context, d *ldapauth.Domains, service *signin.Service, account *ldapauth.Account) (groups []string, incomplete bool) {
	var v signin.Verdict
	p := watched(ctx, func(ctx context.Context) { v = service.Judge(ctx, account) })
	x.Groups = &Groups{Phase: p}
	x.Verdict = Verdict{Result: LetIn}
	if v.Err != nil {
		x.Verdict = refusal(v.Err)
	}
	x.Passed, x.CanChangePassword = string(v.Passed), v.Changeable
	err := v.Err
	_, atProfile := errors.AsType[*profile.Error](err)
	switch {
	case v.AtState: // whoever puts that right wants to know what comes next
		x.Groups.Aside = true
		x.Groups.Phase = watched(ctx, func(ctx context.Context) { groups, err = d.Groups(ctx, account) })
	case v.Identity != nil, atProfile:
		groups, err = v.Groups, nil
		if v.GroupsIncomplete {
			err = errors.New("they could not be read; the user is let in without them, as ldap.groups.on_failure says")
		}
	}
	if x.Groups.Names = groups; groups == nil {
		x.Groups.Names = []string{}
	}
	if denial.ReasonOf(err) != "" {
		x.Groups.Denied = text(err)
	} else {
		x.Groups.Error = text(err)
	}
	return groups, err != nil
}
