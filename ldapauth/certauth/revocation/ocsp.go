package revocation

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // names authorities, as RFC 6960 wants it; protects nothing
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on what a responder may send.
const (
	maxReply        = 256 << 10
	maxReplyCerts   = 8
	maxReplySingles = 64
)

// nonceSize is how many random bytes tie an answer to a question (RFC 9654).
const nonceSize = 32

// errNoReply is in the chain of errors about what is no answer at all, such as
// the page of a proxy.
var errNoReply = errors.New("what came is no OCSP answer")

// ocspRequest writes an OCSPRequest (RFC 6960, section 4.1.1) about one
// certificate. The authority is named by SHA-1, which is all that many
// responders know; nothing is protected by it.
func ocspRequest(authority *x509.Certificate, serial, nonce []byte) ([]byte, error) {
	name, key, err := hashesOf(authority, crypto.SHA1)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // OCSPRequest
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // TBSRequest
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // requestList
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // Request
					addCertID(b, name, key, serial)
				})
			})
			b.AddASN1(taggedCons(2), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						addOID(b, oidOCSPNonce)
						b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
					})
				})
			})
		})
	})
	return b.Bytes()
}

func addCertID(b *cryptobyte.Builder, name, key, serial []byte) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addOID(b, oidSHA1)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(name)
		b.AddASN1OctetString(key)
		b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
			if serial[0] >= 0x80 {
				b.AddUint8(0)
			}
			b.AddBytes(serial)
		})
	})
}

func addOID(b *cryptobyte.Builder, content string) {
	b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte(content)) })
}

// hashesOf returns the hashes of name and key by which OCSP names an authority.
func hashesOf(c *x509.Certificate, by crypto.Hash) (name, key []byte, err error) {
	bits, err := keyBits(c.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, nil, err
	}
	of := func(data []byte) []byte {
		h := newHash(by)
		h.Write(data)
		return h.Sum(nil)
	}
	return of(c.RawSubject), of(bits), nil
}

// A reply is an answer that has been read. It says nothing until it has been
// checked who signed it.
type reply struct {
	byName       []byte // the name of the signer, DER; or
	byKey        []byte // ... the SHA-1 of the signer's key
	producedAt   time.Time
	singles      []single
	nonce        []byte // nil: none
	signed       signed
	certificates []cryptobyte.String
}

// A single is what a reply says of one certificate.
type single struct {
	hash                   crypto.Hash // 0: one that is not known here
	nameHash, keyHash      []byte
	serial                 []byte
	status                 status
	entry                  entry
	thisUpdate, nextUpdate time.Time // nextUpdate may be zero
}

// replyStatus are the answers that are none (RFC 6960, section 4.2.1).
var replyStatus = map[int]string{
	1: "it does not understand the question", 2: "it has a fault", 3: "it asks to try again later",
	5: "it wants signed questions, which are not supported", 6: "it does not answer for this authority or for us",
}

// A refusedReply is an answer that is none. It is not signed, so anybody can
// have sent it.
type refusedReply int

func (r refusedReply) Error() string {
	if text, ok := replyStatus[int(r)]; ok {
		return "the responder gives no answer: " + text
	}
	return fmt.Sprintf("the responder gives no answer (status %d)", int(r))
}

// parseReply reads an OCSPResponse (RFC 6960, section 4.2.1). It refers to data.
func parseReply(data []byte) (*reply, error) {
	in := cryptobyte.String(data)
	var outer, wrapped, inner, content, basic cryptobyte.String
	code, present := 0, false
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1Enum(&code) ||
		!outer.ReadOptionalASN1(&wrapped, &present, taggedCons(0)) || !outer.Empty() {
		return nil, errNoReply
	}
	if code != 0 {
		return nil, refusedReply(code)
	}
	var kind cryptobyte.String
	if !present || !wrapped.ReadASN1(&inner, asn1.SEQUENCE) || !wrapped.Empty() ||
		!inner.ReadASN1(&kind, asn1.OBJECT_IDENTIFIER) || string(kind) != oidOCSPBasic ||
		!inner.ReadASN1(&content, asn1.OCTET_STRING) || !inner.Empty() ||
		!content.ReadASN1(&basic, asn1.SEQUENCE) || !content.Empty() {
		return nil, errNoReply
	}
	return parseBasic(basic)
}

// parseBasic reads the content of a BasicOCSPResponse.
func parseBasic(in cryptobyte.String) (*reply, error) {
	var element, tbs, certificates cryptobyte.String
	if !in.ReadASN1Element(&element, asn1.SEQUENCE) {
		return nil, errNoReply
	}
	r := &reply{}
	var err error
	if r.signed, err = readSigned(element, &in); err != nil {
		return nil, fmt.Errorf("the answer cannot be used: %w", err)
	}
	present := false
	if !in.ReadOptionalASN1(&certificates, &present, taggedCons(0)) || !in.Empty() ||
		!element.ReadASN1(&tbs, asn1.SEQUENCE) {
		return nil, errNoReply
	}
	if present {
		if r.certificates, err = readCertificates(certificates); err != nil {
			return nil, err
		}
	}
	return r, r.readContent(tbs)
}

func readCertificates(in cryptobyte.String) ([]cryptobyte.String, error) {
	var list cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) || !in.Empty() {
		return nil, errNoReply
	}
	var all []cryptobyte.String
	for !list.Empty() {
		var one cryptobyte.String
		if !list.ReadASN1Element(&one, asn1.SEQUENCE) {
			return nil, errNoReply
		}
		if len(all) == maxReplyCerts {
			return nil, fmt.Errorf("the answer holds more than %d certificates", maxReplyCerts)
		}
		all = append(all, one)
	}
	return all, nil
}

// readContent reads ResponseData.
func (r *reply) readContent(in cryptobyte.String) error {
	var version, name, key, singles, extensions cryptobyte.String
	var hasVersion, hasExtensions bool
	if !in.ReadOptionalASN1(&version, &hasVersion, taggedCons(0)) {
		return errNoReply
	}
	number := 0
	if hasVersion && (!version.ReadASN1Integer(&number) || number != 0 || !version.Empty()) {
		return errNoReply
	}
	switch {
	case in.PeekASN1Tag(taggedCons(1)):
		if !in.ReadASN1(&name, taggedCons(1)) {
			return errNoReply
		}
		r.byName = name
	case !in.ReadASN1(&key, taggedCons(2)) || !key.ReadASN1Bytes(&r.byKey, asn1.OCTET_STRING) || !key.Empty():
		return errNoReply
	}
	var ok bool
	if r.producedAt, ok = readTime(&in); !ok || !in.ReadASN1(&singles, asn1.SEQUENCE) ||
		!in.ReadOptionalASN1(&extensions, &hasExtensions, taggedCons(1)) || !in.Empty() {
		return errNoReply
	}
	for !singles.Empty() {
		var one cryptobyte.String
		if !singles.ReadASN1(&one, asn1.SEQUENCE) {
			return errNoReply
		}
		if len(r.singles) == maxReplySingles {
			return fmt.Errorf("the answer is about more than %d certificates", maxReplySingles)
		}
		s, err := readSingle(one)
		if err != nil {
			return err
		}
		r.singles = append(r.singles, s)
	}
	if !hasExtensions {
		return nil
	}
	return eachExtensionIn(extensions, r.readExtension)
}

func (r *reply) readExtension(e extension) error {
	if e.id == oidOCSPNonce {
		if !e.value.ReadASN1Bytes(&r.nonce, asn1.OCTET_STRING) || !e.value.Empty() || len(r.nonce) == 0 {
			return errNoReply
		}
		return nil
	}
	return unknownExtension(e)
}

func unknownExtension(e extension) error {
	if e.critical {
		return fmt.Errorf("the answer has a critical extension that is not supported (object identifier %x)", e.id)
	}
	return nil
}

// readSingle reads the content of a SingleResponse.
func readSingle(in cryptobyte.String) (single, error) {
	var id, algorithm, hash, state, next, extensions cryptobyte.String
	var tag asn1.Tag
	var s single
	var ok, hasNext, hasExtensions bool
	if !in.ReadASN1(&id, asn1.SEQUENCE) || !id.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!algorithm.ReadASN1(&hash, asn1.OBJECT_IDENTIFIER) ||
		!id.ReadASN1Bytes(&s.nameHash, asn1.OCTET_STRING) || !id.ReadASN1Bytes(&s.keyHash, asn1.OCTET_STRING) {
		return s, errNoReply
	}
	s.hash = hashes[string(hash)]
	if s.serial, ok = readNatural(&id); !ok || !id.Empty() || !in.ReadAnyASN1(&state, &tag) {
		return s, errNoReply
	}
	switch tag {
	case tagged(0):
		s.status = good
	case taggedCons(1):
		s.status = revoked
		if s.entry, ok = readRevoked(state); !ok {
			return s, errNoReply
		}
	case tagged(2):
	default:
		return s, errNoReply
	}
	if s.thisUpdate, ok = readTime(&in); !ok || !in.ReadOptionalASN1(&next, &hasNext, taggedCons(0)) {
		return s, errNoReply
	}
	if hasNext {
		if s.nextUpdate, ok = readTime(&next); !ok || !next.Empty() {
			return s, errNoReply
		}
	}
	if !in.ReadOptionalASN1(&extensions, &hasExtensions, taggedCons(1)) || !in.Empty() {
		return s, errNoReply
	}
	if hasExtensions {
		return s, eachExtensionIn(extensions, unknownExtension)
	}
	return s, nil
}

// readRevoked reads the content of RevokedInfo.
func readRevoked(in cryptobyte.String) (entry, bool) {
	at, ok := readTime(&in)
	var reason cryptobyte.String
	present := false
	if !ok || !in.ReadOptionalASN1(&reason, &present, taggedCons(0)) || !in.Empty() {
		return entry{}, false
	}
	e := entry{at: at.Unix()}
	if present {
		code := 0
		if !reason.ReadASN1Enum(&code) || !reason.Empty() || code < 0 || code > math.MaxUint8 {
			return entry{}, false
		}
		e.reason = byte(code)
	}
	return e, true
}

// isFrom reports whether r says that it was signed with the key of c.
func (r *reply) isFrom(c *x509.Certificate) bool {
	if r.byName != nil {
		return bytes.Equal(r.byName, c.RawSubject)
	}
	key, err := keyBits(c.RawSubjectPublicKeyInfo)
	if err != nil {
		return false
	}
	sum := sha1.Sum(key) //nolint:gosec // see the import
	return bytes.Equal(r.byKey, sum[:])
}

// about returns what r says of a certificate of the authority. If it says several
// things, "revoked" counts before "unknown", and that before "good".
func (r *reply) about(authority *x509.Certificate, serial []byte) (single, bool) {
	var found single
	ok := false
	for _, s := range r.singles {
		if s.hash == 0 || !bytes.Equal(s.serial, serial) {
			continue
		}
		name, key, err := hashesOf(authority, s.hash)
		if err != nil || !bytes.Equal(s.nameHash, name) || !bytes.Equal(s.keyHash, key) {
			continue
		}
		if !ok || s.status == revoked || s.status == unknown && found.status == good {
			found, ok = s, true
		}
	}
	return found, ok
}
