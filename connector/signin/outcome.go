package signin

import (
	"time"

	"adconnector/ldapauth/denial"
)

// What an attempt may come to, as the audit trail has it.
const (
	Granted = "granted"
	Denied  = "refused" // the answer was no
	Fault   = "fault"   // there was no answer, because something is broken
)

// An Outcome is what one attempt came to. It does not tell whose attempt that
// was. An attempt to change a password is one by [ByPasswordChange], or
// [ByPasswordReset].
type Outcome struct {
	Method Method
	Via    string        // as in [Attempt]
	Result string        // [Granted], [Denied] or [Fault]
	Reason denial.Reason // of a refusal, also where the caller is told less
	Took   time.Duration // with the time that a refusal was kept back for
}

// outcomeOf returns what an attempt came to that ended with err.
func outcomeOf(a *Attempt, t *trail, err error, took time.Duration) Outcome {
	o := Outcome{Via: a.Via, Result: resultOf(t, err), Took: took}
	if o.Result == Denied {
		o.Reason = denial.ReasonOf(err)
	}
	if a.Credential != nil {
		o.Method = a.Credential.Method()
	}
	return o
}

// resultOf returns the result of an attempt that ended with err.
func resultOf(t *trail, err error) string {
	switch {
	case !t.returned:
		return Fault // a panic is under way
	case err == nil:
		return Granted
	case denial.ReasonOf(err) != "":
		return Denied
	}
	return Fault
}
