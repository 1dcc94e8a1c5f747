package certauth

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"time"

	"adconnector/ldapauth/denial"
)

var oidAnyPolicy = asn1.ObjectIdentifier{2, 5, 29, 32, 0}

// checkPolicies demands that one of the policies holds for the leaf, and that
// everybody between it and the anchor may issue under it (RFC 5280, section 6.1).
// No policies demand nothing.
func (v *Verifier) checkPolicies(path []*x509.Certificate, policies []x509.OID, now time.Time) error {
	if len(policies) == 0 {
		return nil
	}
	leaf, last := path[0], len(path)-1
	ok := false
	if last == 0 { // the leaf is an anchor itself: nobody vouches for its policies
		ok = slices.ContainsFunc(leaf.Policies, func(id x509.OID) bool { return slices.ContainsFunc(policies, id.Equal) })
	} else {
		// crypto/x509 takes a leaf without any policy, unless the chain itself says
		// that it needs one. So this copy does.
		explicit := *v.view().of(leaf)
		explicit.RequireExplicitPolicyZero, explicit.RequireExplicitPolicy = true, 0
		explicit.UnhandledCriticalExtensions = nil // which checkExtensions has judged
		_, err := explicit.Verify(x509.VerifyOptions{
			Roots:               poolOf(path[last:], v.view()),
			Intermediates:       poolOf(path[1:last], v.view()),
			CurrentTime:         now,
			KeyUsages:           userUsages,
			CertificatePolicies: policies,
		})
		ok = err == nil
	}
	if ok {
		return nil
	}
	return denial.New(denial.WrongPolicy, "the certificate %q was not issued under a policy that is asked for: it has %s, and its issuers may allow fewer",
		nameText(leaf.RawSubject), policyText(leaf.Policies))
}

// policyText lists policies, the first of many.
func policyText(ids []x509.OID) string {
	if len(ids) == 0 {
		return "none"
	}
	var list []string
	for _, id := range ids[:min(len(ids), 8)] {
		list = append(list, clip(id.String()))
	}
	if len(ids) > 8 {
		list = append(list, ellipsis)
	}
	return strings.Join(list, ", ")
}
