package signin

import (
	"cmp"
	"context"

	"adconnector/connector/profile"
	"adconnector/ldapauth"
	"adconnector/ldapauth/denial"
)

// Claims returns what becomes of each claim of the profile for an account with
// these groups. Incomplete says that they could not be read.
func (s *Service) Claims(a *ldapauth.Account, groups []string, incomplete bool) []profile.Result {
	return s.profile.Results(subject(a, groups, incomplete))
}

// subject returns the account as the profile sees it.
func subject(a *ldapauth.Account, groups []string, incomplete bool) *profile.Subject {
	return &profile.Subject{
		Entry: a, ID: a.ID, DN: a.DN, Username: username(a), SID: a.SID(), Groups: groups, Incomplete: incomplete,
	}
}

// username returns what the account is called.
func username(a *ldapauth.Account) string { return cmp.Or(a.Username, a.First("cn")) }

// describe returns what upstreams learn of an account with these groups. What the
// directory does not have is left out. Who it is, its ID and its user name, is not
// for the profile to say.
func (s *Service) describe(a *ldapauth.Account, groups []string, incomplete bool) (*Identity, error) {
	id := &Identity{ID: a.ID, Username: username(a), GroupsIncomplete: incomplete}
	if s.tenantIDs && a.First("objectGUID") == "" {
		id.TenantID = a.UID() // not the cn, by which Auth0's connector goes on: many have the same
	}
	err := s.profile.Each(subject(a, groups, incomplete), func(name string, values []string, form profile.Form) {
		switch name {
		case profile.DisplayName:
			id.DisplayName = values[0]
		case profile.GivenName:
			id.GivenName = values[0]
		case profile.FamilyName:
			id.FamilyName = values[0]
		case profile.Nickname:
			id.Nickname = values[0]
		case profile.Email:
			id.Email = values[0]
		case profile.Groups:
			id.Groups = values
		default:
			id.Attributes = append(id.Attributes, Attribute{name, values, form})
		}
	})
	if err != nil {
		return nil, err
	}
	return id, nil
}

// checkTenantID takes back the TenantID of somebody who signs in, or gets a
// password, if it is somebody else's too: a tenant would take one for the other. Without it there is the ID.
func (s *Service) checkTenantID(ctx context.Context, a *ldapauth.Account, id *Identity) error {
	if id.TenantID == "" {
		return nil
	}
	err := s.directory.CheckUID(ctx, a)
	if denial.ReasonOf(err) == "" {
		return err
	}
	s.log.WarnContext(ctx, "a tenant is told the entryUUID of somebody whose uid is not theirs alone: put that right in the directory", "account_dn", a.DN, "err", err)
	id.TenantID = ""
	return nil
}

// Describe returns the profile of an account that was found by a search, without
// groups and the claims that are made of them. It lets nobody in.
func (s *Service) Describe(a *ldapauth.Account) (*Identity, error) {
	id, err := s.describe(a, nil, true)
	if err != nil {
		return nil, err
	}
	id.GroupsIncomplete = false // nobody asked for them
	return id, nil
}
