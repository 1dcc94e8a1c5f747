package certauth

import (
	"crypto/x509"
	"slices"
	"time"
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
	if !w.anyTime && !w.anyUsage && !smartCard {
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
	return &seen
}

// poolOf returns a pool, never nil, of the certificates as seen.
func poolOf(certs []*x509.Certificate, w view) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(w.of(c))
	}
	return pool
}
