package connector

import (
	"slices"

	"adconnector/connector/hub"
	"adconnector/ldapauth"
)

// resets returns what sets passwords for the tenant, nil if nothing does.
func (c *Connector) resets() hub.ResetService {
	if !c.config.Hub.AllowPasswordChange {
		return nil
	}
	return c.service
}

// tenantChange refuses to let the tenant set passwords where the directory would
// not: what is on must work.
func (d *decoder) tenantChange(c *Config) {
	if c.Hub == nil || !c.Hub.AllowPasswordChange {
		return
	}
	text := ""
	switch {
	case !c.LDAP.Encrypted():
		text = "passwords are set over TLS only: write ldaps:// in ldap.urls or set ldap.start_tls: true, or write false here"
	case slices.ContainsFunc(c.LDAP.Directories(), isAnonymous):
		text = "the directory sets passwords for nobody without a name: give ldap a service account that may set them (ldap.bind_dn), or write false here"
	default:
		return
	}
	const key = "hub.allow_password_change"
	at := d.places[key]
	d.mistakes = append(d.mistakes, Mistake{File: d.file, Line: at.line, Column: at.column, Key: key, Text: text})
}

// isAnonymous reports whether a directory is asked without a service account.
func isAnonymous(c ldapauth.Config) bool {
	return c.BindDN == "" && c.BindCertFile == "" && c.BindKeytabFile == ""
}

// tenantChange tells what it means that the tenant may set passwords.
func (k *check) tenantChange() {
	if !k.config.Hub.AllowPasswordChange {
		return
	}
	barred := ""
	for _, c := range k.config.LDAP.Directories() {
		switch {
		case len(c.DenyGroups) == 0:
			k.say(Warning, "hub.allow_password_change: the tenant can set everybody's password that the service account can, administrators' too: name their groups in ldap.deny_groups")
			return
		case !slices.ContainsFunc(c.DenyGroups, func(g string) bool { return g != ldapauth.DenyProtected }):
			barred = "; outside Active Directory these are none: name the groups of administrators there"
		}
	}
	k.say(OK, "hub.allow_password_change: the tenant can set the passwords that the service account can, but for those whom ldap.deny_groups bars%s", barred)
}
