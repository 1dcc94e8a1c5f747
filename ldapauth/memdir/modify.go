package memdir

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// readOnly is the answer to everything that would change the directory.
var readOnly = result{code: insufficientAccess, text: "this directory cannot be changed over the network"}

// A modification is one change of a modify request (RFC 4511 section 4.6).
type modification struct {
	operation int64
	attribute string
	values    []string
}

// The operations of modifications.
const (
	modifyAdd     = 0
	modifyDelete  = 1
	modifyReplace = 2
)

// modify answers a modify request. The only ones that are granted are of
// passwords in an Active Directory: a change, which deletes the old unicodePwd and
// adds the new one, and a reset, which replaces it.
func (c *conn) modify(m message) error {
	f := fields{rest: m.op.Children}
	dn, list := f.text(), f.expect(ber.ClassUniversal, ber.TagSequence)
	if f.err() != nil {
		return errMalformed
	}
	var changes []modification
	for _, p := range list.Children {
		change, err := decodeModification(p)
		if err != nil {
			return err
		}
		changes = append(changes, change)
	}
	res := readOnly
	if old, new, ok := passwordsIn(changes); ok && c.server.options.Flavor == ActiveDirectory {
		res = c.changePassword(dn, old, new)
	} else if r, ok := resetIn(changes); ok && c.server.options.Flavor == ActiveDirectory {
		res = c.resetPassword(dn, r)
	}
	c.server.debug("modify", "dn", dn, "code", res.code, "text", strings.TrimRight(res.text, "\x00"))
	c.send(m.id, res.packet(opModifyResponse))
	return nil
}

func decodeModification(p *ber.Packet) (change modification, err error) {
	f := fields{rest: p.Children}
	change.operation = f.integer(ber.TagEnumerated)
	partial := fields{rest: f.expect(ber.ClassUniversal, ber.TagSequence).Children}
	change.attribute = partial.text()
	values := fields{rest: partial.expect(ber.ClassUniversal, ber.TagSet).Children}
	for !values.failed && len(values.rest) > 0 {
		change.values = append(change.values, values.text())
	}
	if f.err() != nil || partial.err() != nil || values.err() != nil {
		return change, errMalformed
	}
	return change, nil
}

// passwordsIn returns the old and the new password of a request that changes
// one.
func passwordsIn(changes []modification) (old, new string, ok bool) {
	if len(changes) != 2 || changes[0].operation != modifyDelete || changes[1].operation != modifyAdd {
		return "", "", false
	}
	for i, password := range []*string{&old, &new} {
		if !strings.EqualFold(changes[i].attribute, "unicodePwd") || len(changes[i].values) != 1 {
			return "", "", false
		}
		if *password, ok = decodePassword(changes[i].values[0]); !ok {
			return "", "", false
		}
	}
	return old, new, true
}

// decodePassword reads a password in quotes and in UTF-16, the lower byte first.
func decodePassword(value string) (string, bool) {
	if len(value)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(value)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16([]byte(value[2*i:]))
	}
	text := string(utf16.Decode(units))
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return "", false
	}
	return text[1 : len(text)-1], true
}

// Windows error codes ([MS-ERREF], 2.2) with which changes of passwords are
// refused.
const (
	accessDenied      = 0x5
	wrongOldPassword  = 0x56
	againstThePolicy  = 0x52d
	lockedOut         = 0x775
	needsEncryption   = 0x1f
	needsABind        = 0x2020
	noSuchDestination = 0x2030
)

// refusedChange returns an answer in the words of Active Directory, which has
// the same ones for every rule of its policy.
func refusedChange(code int64, windows int) result {
	text := fmt.Sprintf("%08X: AtrErr: DSID-03190F80, #1:\n\t0: %08X: DSID-03190F80, problem 1005 (CONSTRAINT_ATT_TYPE), data 0, Att 9005a (unicodePwd)\n\x00", windows, windows)
	return result{code: code, text: text}
}

// changePassword replaces the password of an account, whoever asks, if old is
// right and new keeps to the domain's policy.
func (c *conn) changePassword(dn, old, new string) result {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	key, err := normalDN(dn)
	e := s.dir.byDN[key]
	switch {
	case c.user == "":
		return refusedChange(operationsError, needsABind)
	case !c.secure:
		return refusedChange(unwillingToPerform, needsEncryption)
	case err != nil || e == nil || e.first("userAccountControl") == "":
		return refusedChange(noSuchObject, noSuchDestination)
	case isLocked(e):
		return refusedChange(constraintViolation, lockedOut)
	case !e.hasPassword(old):
		s.dir.countFailure(e, now)
		return refusedChange(constraintViolation, wrongOldPassword)
	case !s.dir.accepts(e, new, now):
		return refusedChange(constraintViolation, againstThePolicy)
	}
	next := e.clone()
	next.password, next.earlier = new, s.dir.remembered(append(slices.Clone(e.earlier), e.password))
	s.dir.replace(e, next)
	_ = s.dir.update(next, map[string][]string{ // cannot fail
		"pwdLastSet": {strconv.FormatInt(filetime(now), 10)}, "badPwdCount": {"0"},
	})
	return result{}
}

// remembered returns those of the earlier passwords, the latest last, that the
// domain's policy keeps.
func (d *directory) remembered(earlier []string) []string {
	n := max(0, d.byDN[d.base].number("pwdHistoryLength"))
	return earlier[max(0, len(earlier)-int(n)):]
}

// accepts reports whether the domain's policy lets e have a new password.
func (d *directory) accepts(e *entry, password string, now time.Time) bool {
	policy := d.byDN[d.base]
	switch set := e.number("pwdLastSet"); {
	case !d.isStrong(e, password):
		return false
	case policy.number("pwdHistoryLength") > 0 && (e.hasPassword(password) || slices.Contains(e.earlier, password)):
		return false
	case set != 0 && set-policy.number("minPwdAge") > filetime(now): // a negative number
		return false
	}
	return true
}

// isStrong reports whether a password is long and complex enough for the domain's
// policy.
func (d *directory) isStrong(e *entry, password string) bool {
	const complex = 1
	policy := d.byDN[d.base]
	return int64(len(utf16.Encode([]rune(password)))) >= policy.number("minPwdLength") &&
		(policy.number("pwdProperties")&complex == 0 || isComplex(password, e.first("sAMAccountName")))
}

// isComplex reports whether a password is made of three kinds of characters and
// does not hold the name of its account.
func isComplex(password, account string) bool {
	kinds := map[string]bool{}
	for _, r := range password {
		switch {
		case unicode.IsUpper(r):
			kinds["upper"] = true
		case unicode.IsLower(r):
			kinds["lower"] = true
		case unicode.IsDigit(r):
			kinds["digit"] = true
		case unicode.IsLetter(r):
			kinds["other letter"] = true
		default:
			kinds["other"] = true
		}
	}
	return len(kinds) >= 3 && (len(account) < 3 || !strings.Contains(strings.ToLower(password), strings.ToLower(account)))
}
