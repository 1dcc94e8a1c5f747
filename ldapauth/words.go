package ldapauth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-ldap/ldap/v3"
)

// worded is an error of the LDAP library as people read it: on one line, by the
// name of the result and not its number, and with what the server said only if
// it said anything.
type worded struct{ cause *ldap.Error }

func (w worded) Error() string {
	text := ""
	if w.cause.Err != nil { // Active Directory ends its texts with a NUL and breaks lines in them
		text = strings.Join(strings.FieldsFunc(w.cause.Err.Error(), func(r rune) bool { return unicode.IsSpace(r) || isControl(r) }), " ")
	}
	name := ldap.LDAPResultCodeMap[w.cause.ResultCode]
	switch {
	case name == "":
		name = fmt.Sprintf("result %d", w.cause.ResultCode)
	case w.cause.ResultCode >= ldap.ErrorNetwork && text != "":
		return text // the name is the library's, not the server's
	}
	if text == "" {
		return name
	}
	return name + ": " + text
}

func (w worded) Unwrap() error { return w.cause }

// inWords returns the error of the LDAP library that is in err, to be read by
// people; err itself if there is none.
func inWords(err error) error {
	if e, ok := errors.AsType[*ldap.Error](err); ok {
		return worded{e}
	}
	return err
}
