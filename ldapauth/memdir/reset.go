package memdir

import (
	"slices"
	"strconv"
	"strings"
)

// reset is what a modify request is to do that sets the password of an account
// without the old one.
type reset struct {
	password string
	unlock   bool
}

// resetIn returns what a request asks for that replaces a password, and perhaps
// sets lockoutTime to 0.
func resetIn(changes []modification) (r reset, ok bool) {
	for i, c := range changes {
		value := ""
		if len(c.values) == 1 {
			value = c.values[0]
		}
		switch {
		case c.operation != modifyReplace:
			return reset{}, false
		case i == 0 && strings.EqualFold(c.attribute, "unicodePwd"):
			if r.password, ok = decodePassword(value); !ok {
				return reset{}, false
			}
		case i == 1 && strings.EqualFold(c.attribute, "lockoutTime") && value == "0":
			r.unlock = true
		default:
			return reset{}, false
		}
	}
	return r, ok
}

// resetPassword sets the password of an account if whoever asks is one of those
// that may. Earlier passwords may be used again, and the age of the last one does
// not matter.
func (c *conn) resetPassword(dn string, r reset) result {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	key, err := normalDN(dn)
	e := s.dir.byDN[key]
	may := slices.ContainsFunc(s.options.MayReset, func(dn string) bool { key, err := normalDN(dn); return err == nil && key == c.user })
	switch {
	case c.user == "":
		return refusedChange(operationsError, needsABind)
	case !c.secure:
		return refusedChange(unwillingToPerform, needsEncryption)
	case err != nil || e == nil || e.first("userAccountControl") == "":
		return refusedChange(noSuchObject, noSuchDestination)
	case !may:
		return refusedChange(insufficientAccess, accessDenied)
	case !s.dir.isStrong(e, r.password):
		return refusedChange(unwillingToPerform, againstThePolicy)
	}
	next := e.clone()
	next.password, next.earlier = r.password, s.dir.remembered(append(slices.Clone(e.earlier), e.password))
	s.dir.replace(e, next)
	changed := map[string][]string{"pwdLastSet": {strconv.FormatInt(filetime(now), 10)}}
	if r.unlock {
		changed["lockoutTime"], changed["badPwdCount"] = []string{"0"}, []string{"0"}
	}
	_ = s.dir.update(next, changed) // cannot fail
	return result{}
}
