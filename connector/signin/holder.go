package signin

import (
	"context"

	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
)

// foundBy says by what the account of a certificate is found that names it by a
// rule. Every other name is a user name.
var foundBy = map[string]ldapauth.HolderRule{
	certauth.RuleEmail:      ldapauth.ByMail,
	certauth.RuleSubjectDN:  ldapauth.BySubject,
	certauth.RuleSID:        ldapauth.BySID,
	certauth.RuleIdentities: ldapauth.ByIdentities,
}

// holderOf returns what the directory is asked about a certificate.
func holderOf(c *certauth.Certificate) *ldapauth.Holder {
	h := &ldapauth.Holder{
		By: foundBy[c.Rule], Text: c.UserName, Filter: c.Filter, SID: c.SID,
		Identities: c.Identities, WeakIdentities: c.WeakIdentities,
		Pinned: c.Rule == certauth.RuleListed, IssuedAt: c.NotBefore, MustBeStrong: c.MustBeStrong, MustBeYounger: c.MustBeYounger,
	}
	if o := c.Other; o != nil {
		h.Also = &ldapauth.Holder{By: foundBy[o.Rule], Text: o.Text, Filter: o.Filter}
	}
	return h
}

// FindHolder returns the account of a certificate's holder, within the time that
// a sign-in has for that.
func (s *Service) FindHolder(ctx context.Context, h *ldapauth.Holder) (*ldapauth.Account, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.directory.FindHolder(ctx, h)
}
