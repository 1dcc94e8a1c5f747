package ldapauth

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// The texts are what Windows Server answers.
func TestARefusedServiceAccountIsExplained(t *testing.T) {
	const said = "80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data "
	for _, tt := range []struct {
		code    uint16
		text    string
		refused bool // by the account's own fault: trying again may lock it
		want    string
	}{
		{ldap.LDAPResultInvalidCredentials, said + "525, v4563\x00", true, "no such account: check ldap.bind_dn"},
		{ldap.LDAPResultInvalidCredentials, said + "52e, v4563\x00", true, "check ldap.bind_password_file"},
		{ldap.LDAPResultInvalidCredentials, said + "530, v4563\x00", true, "allow it all hours"},
		{ldap.LDAPResultInvalidCredentials, said + "531, v4563\x00", true, "may not sign in from this computer"},
		{ldap.LDAPResultInvalidCredentials, said + "532, v4563\x00", true, "password has expired: set a new one"},
		{ldap.LDAPResultInvalidCredentials, said + "533, v4563\x00", true, "disabled: enable it"},
		{ldap.LDAPResultInvalidCredentials, said + "701, v4563\x00", true, "account has expired"},
		{ldap.LDAPResultInvalidCredentials, said + "773, v4563\x00", true, "must be changed first"},
		{ldap.LDAPResultInvalidCredentials, said + "775, v4563\x00", true, "locked after wrong passwords"},
		{ldap.LDAPResultInvalidCredentials, "80090346: LdapErr: DSID-0C0906B0, comment: AcceptSecurityContext error, data 80090346, v4563", false, "channel binding token requirements"},
		{ldap.LDAPResultStrongAuthRequired, "00002028: LdapErr: DSID-0C090259, comment: The server requires binds to turn on integrity checking if SSL\\TLS are not already active on the connection, data 0, v4563", false, "write ldaps:// or set ldap.start_tls: true"},
		{ldap.LDAPResultConfidentialityRequired, "confidentiality required", false, "write ldaps:// or set ldap.start_tls: true"},
		{ldap.LDAPResultInvalidDNSyntax, "invalid DN", true, "write the account's DN to ldap.bind_dn"},
		{ldap.LDAPResultInvalidCredentials, "", true, "the account does not exist, or it is locked or disabled"},
		{ldap.LDAPResultBusy, "", false, "binding as the service account"},
	} {
		err := explainServiceBind("CN=svc,DC=corp", &ldap.Error{ResultCode: tt.code, Err: errors.New(tt.text)})
		if !strings.Contains(err.Error(), tt.want) || errors.Is(err, errRefused) != tt.refused || !answered(err) {
			t.Errorf("%q: %v, want %q (refused: %v)", tt.text, err, tt.want, tt.refused)
		}
		if strings.ContainsAny(err.Error(), "\x00\n") {
			t.Errorf("%q is not one line", err)
		}
	}
}

func TestTheOnlyServerIsLookedAtEverySecondAndOthersEverMoreSeldom(t *testing.T) {
	if d := pauseBefore(0, false); d != 0 {
		t.Errorf("the first look comes after %v", d)
	}
	for looks := 1; looks < 20; looks++ {
		for range 100 {
			if d := pauseBefore(looks, true); d < firstPause*4/5 || d > 1e9 {
				t.Fatalf("look %d at the only server comes after %v", looks, d)
			}
			if d := pauseBefore(looks, false); d < firstPause*4/5 || d > maxPause*6/5 || looks > 8 && d < maxPause*4/5 {
				t.Fatalf("look %d comes after %v", looks, d)
			}
		}
	}
}
