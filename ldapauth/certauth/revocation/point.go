package revocation

import (
	"errors"
	"math/big"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on what one certificate or list can make us remember.
const (
	maxPoints = 8
	maxURLs   = 8
	maxURL    = 2048
)

// A point is a distribution point as a certificate or a list names it: places
// with the same list.
type point struct {
	names   []string // general names, DER
	urls    []string // those of them that are addresses: http and https first, then ldap
	reasons reasons
}

var errIndirect = errors.New("it names a list that another authority signs: indirect lists are not supported")

// readPoints reads CRLDistributionPoints (RFC 5280, section 4.2.1.13). issuer is
// the name of whoever must have signed the lists, DER. Points that cannot be
// used are left out; if none is left, the error says why.
func readPoints(in cryptobyte.String, issuer string) ([]point, error) {
	var all cryptobyte.String
	if !in.ReadASN1(&all, asn1.SEQUENCE) || !in.Empty() {
		return nil, errMalformed
	}
	var points []point
	var last error
	for !all.Empty() {
		var one, name, some, signer cryptobyte.String
		var hasName, hasSome, hasSigner bool
		if !all.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadOptionalASN1(&name, &hasName, taggedCons(0)) ||
			!one.ReadOptionalASN1(&some, &hasSome, tagged(1)) ||
			!one.ReadOptionalASN1(&signer, &hasSigner, taggedCons(2)) || !one.Empty() {
			return nil, errMalformed
		}
		p := point{reasons: allReasons}
		if hasSome {
			p.reasons = readReasons(some)
		}
		switch {
		case hasSigner && !namesOnly(signer, issuer):
			last = errIndirect
			continue
		case !hasName:
			last = errors.New("it names no place where a list is")
			continue
		}
		var err error
		if p.names, err = readPointName(name); err != nil {
			last = err
			continue
		}
		if p.urls = addresses(p.names); len(p.urls) == 0 {
			last = errors.New("it names a list in no place that can be asked: http, https or ldap")
			continue
		}
		if len(points) == maxPoints {
			return nil, errors.New("it names too many distribution points")
		}
		points = append(points, p)
	}
	if len(points) == 0 && last == nil {
		last = errMalformed
	}
	if len(points) > 0 {
		last = nil
	}
	return points, last
}

// namesOnly reports whether the names are that of the issuer and no other.
func namesOnly(names cryptobyte.String, issuer string) bool {
	var name cryptobyte.String
	return names.ReadASN1(&name, taggedCons(4)) && names.Empty() && string(name) == issuer
}

// readPointName reads the content of DistributionPointName as general names.
func readPointName(in cryptobyte.String) ([]string, error) {
	var names cryptobyte.String
	if in.PeekASN1Tag(taggedCons(1)) {
		return nil, errors.New("it names a place relative to its issuer, which is not supported")
	}
	if !in.ReadASN1(&names, taggedCons(0)) || !in.Empty() || names.Empty() {
		return nil, errMalformed
	}
	var list []string
	for !names.Empty() {
		var name cryptobyte.String
		var tag asn1.Tag
		if !names.ReadAnyASN1Element(&name, &tag) {
			return nil, errMalformed
		}
		if len(list) == maxURLs || len(name) > maxURL {
			return nil, errors.New("it names too many places, or one that is too long")
		}
		list = append(list, string(name))
	}
	return list, nil
}

// addresses returns the addresses among general names. The directory comes last:
// it has other things to do.
func addresses(names []string) []string {
	var web, directory []string
	for _, name := range names {
		in := cryptobyte.String(name)
		var uri cryptobyte.String
		if !in.ReadASN1(&uri, tagged(6)) {
			continue
		}
		scheme, _, _ := strings.Cut(string(uri), ":")
		switch strings.ToLower(scheme) {
		case "http", "https":
			web = append(web, string(uri))
		case "ldap":
			directory = append(directory, string(uri))
		}
	}
	return append(web, directory...)
}

// decimal writes a number as people know it from their authority.
func decimal(octets []byte) string { return new(big.Int).SetBytes(octets).String() }
