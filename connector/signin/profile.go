package signin

import (
	"cmp"

	"adconnector/ldapauth"
)

// claims are the attributes of the default profile that carry the name of the
// directory attribute they are taken from, in the order of the report. Around
// them stand "dn" and "organizationUnits", which are made from the entry's name.
var claims = [...]string{
	"st", "description", "postalCode", "telephoneNumber", "distinguishedName", "co", "department", "company",
	"mailNickname", "sAMAccountName", "sAMAccountType", "userPrincipalName", "manager",
}

// profile returns what upstreams learn of the account. What the directory does
// not have is left out.
func profile(a *ldapauth.Account) *Identity {
	id := &Identity{
		ID:          a.ID,
		Username:    cmp.Or(a.Username, a.First("cn")),
		DisplayName: a.First("displayName"),
		Email:       a.First("mail"),
		GivenName:   a.First("givenName"),
		FamilyName:  a.First("sn"),
		Attributes:  make([]Attribute, 0, len(claims)+2),
	}
	add := func(name string, values []string) {
		if len(values) > 0 {
			id.Attributes = append(id.Attributes, Attribute{name, values})
		}
	}
	if a.DN != "" {
		add("dn", []string{a.DN})
	}
	for _, name := range claims {
		add(name, a.Values(name))
	}
	add("organizationUnits", organizationalUnits(a.DN))
	return id
}
