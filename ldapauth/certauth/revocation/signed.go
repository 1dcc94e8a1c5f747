package revocation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // nothing here is signed with it: RFC 6960 names authorities by it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// minRSA is the shortest RSA key whose word counts, in bits.
const minRSA = 2048

// method is how something is signed. MD5 and SHA-1 are not among them: lists and
// answers could be forged.
type method struct {
	kind string // of key
	hash crypto.Hash
	pss  bool
}

const (
	kindRSA     = "RSA"
	kindECDSA   = "ECDSA"
	kindEd25519 = "Ed25519"
)

// methods are by the content octets of their object identifier.
var methods = map[string]method{
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b": {kind: kindRSA, hash: crypto.SHA256},
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c": {kind: kindRSA, hash: crypto.SHA384},
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d": {kind: kindRSA, hash: crypto.SHA512},
	"\x2a\x86\x48\xce\x3d\x04\x03\x02":     {kind: kindECDSA, hash: crypto.SHA256},
	"\x2a\x86\x48\xce\x3d\x04\x03\x03":     {kind: kindECDSA, hash: crypto.SHA384},
	"\x2a\x86\x48\xce\x3d\x04\x03\x04":     {kind: kindECDSA, hash: crypto.SHA512},
	"\x2b\x65\x70":                         {kind: kindEd25519},
}

const (
	oidPSS  = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
	oidMGF1 = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
)

var errMethod = errors.New("it is signed by a method that is too weak or not supported: use RSA or ECDSA with SHA-256 or better, or Ed25519")

// newHash returns the hash function; those that are not in use give nil.
func newHash(h crypto.Hash) hash.Hash {
	switch h {
	case crypto.SHA1:
		return sha1.New() //nolint:gosec // see the import
	case crypto.SHA256:
		return sha256.New()
	case crypto.SHA384:
		return sha512.New384()
	case crypto.SHA512:
		return sha512.New()
	}
	return nil
}

// signed is what is left of a signed message once it has been read: enough to
// check the signature later, with a key that is not known yet, without keeping
// the message.
type signed struct {
	method    method
	digest    []byte // of the message; for Ed25519, which hashes for itself, all of it
	signature []byte
}

// readSigned reads the algorithm and the signature that follow message, whose
// whole DER it is given.
func readSigned(message []byte, in *cryptobyte.String) (signed, error) {
	var algorithm cryptobyte.String
	var signature []byte
	if !in.ReadASN1(&algorithm, der.SEQUENCE) || !in.ReadASN1BitStringAsBytes(&signature) {
		return signed{}, errMalformed
	}
	m, err := readMethod(algorithm)
	if err != nil {
		return signed{}, err
	}
	s := signed{method: m, signature: append([]byte(nil), signature...)}
	if h := newHash(m.hash); h != nil {
		h.Write(message)
		s.digest = h.Sum(nil)
	} else {
		s.digest = append([]byte(nil), message...)
	}
	return s, nil
}

// readMethod reads the content of an AlgorithmIdentifier.
func readMethod(in cryptobyte.String) (method, error) {
	var id cryptobyte.String
	if !in.ReadASN1(&id, der.OBJECT_IDENTIFIER) {
		return method{}, errMalformed
	}
	if string(id) == oidPSS {
		return readPSS(in)
	}
	m, ok := methods[string(id)]
	if !ok {
		return method{}, errMethod
	}
	if in.Empty() {
		return m, nil
	}
	var null cryptobyte.String
	if m.kind != kindRSA || !in.ReadASN1(&null, der.NULL) || !null.Empty() || !in.Empty() {
		return method{}, errMalformed
	}
	return m, nil
}

// readPSS reads RSASSA-PSS-params (RFC 4055, section 3.1). Only what everybody
// uses is accepted: one hash for both purposes, a salt of its length.
func readPSS(in cryptobyte.String) (method, error) {
	var params, field, algorithm, mask, id, inner cryptobyte.String
	if !in.ReadASN1(&params, der.SEQUENCE) || !in.Empty() ||
		!params.ReadASN1(&field, taggedCons(0)) || !field.ReadASN1(&algorithm, der.SEQUENCE) || !field.Empty() ||
		!params.ReadASN1(&field, taggedCons(1)) || !field.ReadASN1(&mask, der.SEQUENCE) || !field.Empty() {
		return method{}, errMethod
	}
	hashName := string(algorithm)
	if !algorithm.ReadASN1(&id, der.OBJECT_IDENTIFIER) {
		return method{}, errMethod
	}
	m := method{kind: kindRSA, hash: hashes[string(id)], pss: true}
	if newHash(m.hash) == nil || m.hash == crypto.SHA1 {
		return method{}, errMethod
	}
	if !mask.ReadASN1(&id, der.OBJECT_IDENTIFIER) || string(id) != oidMGF1 || !mask.ReadASN1(&inner, der.SEQUENCE) || string(inner) != hashName {
		return method{}, errMethod
	}
	salt := 0
	if !params.ReadASN1(&field, taggedCons(2)) || !field.ReadASN1Integer(&salt) || salt != m.hash.Size() {
		return method{}, errMethod
	}
	if !params.Empty() { // the trailer, which can be nothing but 1
		trailer := 0
		if !params.ReadASN1(&field, taggedCons(3)) || !field.ReadASN1Integer(&trailer) || trailer != 1 || !params.Empty() {
			return method{}, errMethod
		}
	}
	return m, nil
}

// by returns nil if the owner of public signed it.
func (s *signed) by(public crypto.PublicKey) error {
	ok := false
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("the key that signed it has %d bits, fewer than %d", k.N.BitLen(), minRSA)
		}
		switch {
		case s.method.kind != kindRSA:
		case s.method.pss:
			ok = rsa.VerifyPSS(k, s.method.hash, s.digest, s.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		default:
			ok = rsa.VerifyPKCS1v15(k, s.method.hash, s.digest, s.signature) == nil
		}
	case *ecdsa.PublicKey:
		ok = s.method.kind == kindECDSA && ecdsa.VerifyASN1(k, s.digest, s.signature)
	case ed25519.PublicKey:
		ok = s.method.kind == kindEd25519 && ed25519.Verify(k, s.digest, s.signature)
	}
	if !ok {
		return errors.New("the signature on it is not its authority's")
	}
	return nil
}

// keyBits returns the public key of a certificate as OCSP hashes it: what is in
// the BIT STRING of its SubjectPublicKeyInfo.
func keyBits(info []byte) ([]byte, error) {
	var k struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(info, &k); err != nil {
		return nil, err
	}
	return k.Key.RightAlign(), nil
}
