package certauth

import (
	"crypto/x509"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A view is a way of looking at certificates: crypto/x509 cannot be told to
// leave a check out, or to know smart-card logon as a usage, but it can be
// given copies that pass the check.
type view struct {
	anyTime  bool // no certificate is ever out of date
	anyUsage bool // every certificate is for everything
}

// lenient sees signatures, authority, path lengths and name constraints only.
var lenient = view{anyTime: true, anyUsage: true}

// always is later than any date that a certificate can have.
var always = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// view returns how the configuration wants certificates looked at.
func (v *Verifier) view() view {
	return view{anyTime: !v.config.CheckValidity, anyUsage: !v.config.CheckUsage}
}

// of returns c as seen: c itself where that makes no difference, else a copy,
// for c may belong to a connection.
func (w view) of(c *x509.Certificate) *x509.Certificate {
	smartCard := !w.anyUsage && hasSmartCardLogon(c)
	unchecked := c.IsCA && hasUncheckedConstraints(c)
	if !w.anyTime && !w.anyUsage && !smartCard && !unchecked {
		return c
	}
	seen := *c
	if w.anyTime {
		seen.NotBefore, seen.NotAfter = time.Time{}, always
	}
	if w.anyUsage {
		seen.ExtKeyUsage, seen.UnknownExtKeyUsage = nil, nil
	}
	if smartCard {
		seen.ExtKeyUsage = append(slices.Clip(seen.ExtKeyUsage), smartCardLogon)
	}
	if unchecked {
		seen.UnhandledCriticalExtensions = append(slices.Clip(seen.UnhandledCriticalExtensions), oidNameConstraints)
	}
	return &seen
}

// hasUncheckedConstraints reports whether an authority is limited to names of a
// kind that crypto/x509 does not compare, such as distinguished names. That
// package refuses such a limit only where it is marked critical. It always is by
// RFC 5280 section 4.2.1.10, so we take it as marked: the name of a user is in
// the very part that would go unchecked.
func hasUncheckedConstraints(c *x509.Certificate) bool {
	in := cryptobyte.String(extension(c, oidNameConstraints))
	if in == nil {
		return false
	}
	var subtrees, list, subtree, base cryptobyte.String
	var tag asn1.Tag
	if !in.ReadASN1(&subtrees, asn1.SEQUENCE) {
		return true
	}
	for !subtrees.Empty() { // those permitted, those excluded
		if !subtrees.ReadAnyASN1(&list, &tag) {
			return true
		}
		for !list.Empty() {
			if !list.ReadASN1(&subtree, asn1.SEQUENCE) || !subtree.ReadAnyASN1(&base, &tag) || !checkedNames[tag] {
				return true
			}
		}
	}
	return false
}

// checkedNames are the kinds of name whose constraints crypto/x509 obeys.
var checkedNames = map[asn1.Tag]bool{
	asn1.Tag(1).ContextSpecific(): true, // e-mail address
	asn1.Tag(2).ContextSpecific(): true, // DNS name
	asn1.Tag(6).ContextSpecific(): true, // URI
	asn1.Tag(7).ContextSpecific(): true, // IP address
}

// poolOf returns a pool, never nil, of the certificates as seen.
func poolOf(certs []*x509.Certificate, w view) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(w.of(c))
	}
	return pool
}
