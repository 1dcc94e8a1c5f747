package ldapauth

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

func TestErrorsOfLDAPAreReadByPeople(t *testing.T) {
	for _, tt := range []struct {
		code uint16
		text string
		want string
	}{
		{ldap.LDAPResultInvalidCredentials, "", "Invalid Credentials"},
		{ldap.LDAPResultInvalidCredentials, "\x00", "Invalid Credentials"},
		{ldap.LDAPResultNoSuchObject, "best match of:\n\t''\n\x00", "No Such Object: best match of: ''"},
		{ldap.LDAPResultNoSuchObject, "jo\u202en", "No Such Object: jo n"},
		{117, "", "result 117"},
		{117, "odd", "result 117: odd"},
		{ldap.ErrorNetwork, "EOF", "EOF"},
		{ldap.ErrorNetwork, "", "Network Error"},
	} {
		err := ldap.NewError(tt.code, errors.New(tt.text))
		got := inWords(fmt.Errorf("binding: %w", err))
		if got.Error() != tt.want {
			t.Errorf("%d %q: %q, want %q", tt.code, tt.text, got, tt.want)
		}
		if !ldap.IsErrorWithCode(got, tt.code) {
			t.Errorf("%d %q: the code is lost", tt.code, tt.text)
		}
	}
	if got := inWords(&ldap.Error{ResultCode: ldap.LDAPResultBusy}).Error(); got != "Busy" {
		t.Errorf("an error without a cause: %q", got)
	}
	if other := errors.New("other"); inWords(other) != other { //nolint:errorlint // this very error
		t.Error("an error that is not LDAP's was changed")
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "less than 1 ms", 999 * time.Microsecond: "less than 1 ms", time.Millisecond: "1 ms", 1999 * time.Microsecond: "1 ms", 2 * time.Second: "2000 ms",
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
