package revocation

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// digest identifies things by all of their bytes.
type digest [sha256.Size]byte

// A list is a revocation list that has been read, full or delta. It says
// nothing until its signature has been checked with the key of an authority.
type list struct {
	issuer     string    // the name, DER
	keyID      []byte    // of the key that signed it, nil if it does not say
	number     []byte    // nil if it has none
	base       []byte    // of a delta list: the number of the list that it continues; else nil
	thisUpdate time.Time // when it was made
	nextUpdate time.Time // when the next one comes at the latest
	scope      scope
	freshest   []point // where the delta lists to it are
	entries    *entries
	signed     signed
	digest     digest // of the whole DER
	size       int    // of the whole DER
}

// scope says of which certificates a list speaks (RFC 5280, section 5.2.5).
type scope struct {
	raw      string // the extension as it stands, "" for all certificates of the authority
	names    []string
	onlyUser bool
	onlyCA   bool
	reasons  reasons
}

// reasons are those for which a list would show a certificate, as bits in the
// order of ReasonFlags (RFC 5280, section 4.2.1.13).
type reasons uint16

const allReasons reasons = 0x1fe // all but bit 0, which is unused

func (l *list) delta() bool { return l.base != nil }

// older reports whether l came before other, which is of the same authority and
// scope. A list that does not rise in both number and time is somebody's replay.
func (l *list) older(other *list) bool {
	if l.number != nil && other.number != nil && compareNatural(l.number, other.number) < 0 {
		return true
	}
	return l.thisUpdate.Before(other.thisUpdate)
}

// name is what a list is called in messages.
func (l *list) name() string {
	kind := "list"
	if l.delta() {
		kind = "delta list"
	}
	if l.number == nil {
		return kind + " of " + l.thisUpdate.Format(time.RFC3339)
	}
	return kind + " number " + decimal(l.number)
}

// parseLists reads a file: DER, or PEM with any number of lists.
func parseLists(data []byte) ([]*list, error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, errors.New("is empty: put the revocation list there, or remove the file from the settings")
		}
		l, err := parseList(data)
		if err != nil {
			return nil, fmt.Errorf("cannot be used: %w", err)
		}
		return []*list{l}, nil
	}
	var lists []*list
	for blocks := bytes.Count(data, []byte("-----BEGIN ")); blocks > 0; blocks-- {
		var block *pem.Block
		// Decode jumps over a block that is damaged, so fewer come out than begin.
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("holds a PEM block that is damaged or cut off: get the file again")
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("holds a PEM block %.40q: leave nothing but X509 CRL blocks in it", block.Type)
		}
		l, err := parseList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("list %d in it cannot be used: %w", len(lists)+1, err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

// parseList reads one list (RFC 5280, section 5.1). It keeps nothing of der, and
// takes nothing that it does not understand whole: what is left out might be
// the entry that counts.
func parseList(der []byte) (*list, error) {
	in := cryptobyte.String(der)
	var outer, tbs, tbsElement cryptobyte.String
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1Element(&tbsElement, asn1.SEQUENCE) {
		return nil, errMalformed
	}
	content := tbsElement
	if !content.ReadASN1(&tbs, asn1.SEQUENCE) {
		return nil, errMalformed
	}
	l := &list{scope: scope{reasons: allReasons}, digest: sha256.Sum256(der), size: len(der)}
	var err error
	rest := outer
	if l.signed, err = readSigned(tbsElement, &outer); err != nil {
		return nil, err
	}
	if !outer.Empty() {
		return nil, errMalformed
	}
	if err := l.readContent(tbs, rest); err != nil {
		return nil, err
	}
	return l, nil
}

// readContent reads TBSCertList. outer begins with the algorithm that the
// signature claims, which must be the one that was signed.
func (l *list) readContent(in, outer cryptobyte.String) error {
	version := 0 // what a list of version 1 leaves out: it has no numbers
	var algorithm, signedAlgorithm, issuer, revoked, extensions cryptobyte.String
	if in.PeekASN1Tag(asn1.INTEGER) && (!in.ReadASN1Integer(&version) || version != 1) {
		return errors.New("it is of a version that is not known")
	}
	if !in.ReadASN1Element(&signedAlgorithm, asn1.SEQUENCE) || !outer.ReadASN1Element(&algorithm, asn1.SEQUENCE) ||
		!bytes.Equal(algorithm, signedAlgorithm) || !in.ReadASN1Element(&issuer, asn1.SEQUENCE) {
		return errMalformed
	}
	l.issuer = string(issuer)
	var ok bool
	if l.thisUpdate, ok = readTime(&in); !ok {
		return errMalformed
	}
	if !in.PeekASN1Tag(asn1.UTCTime) && !in.PeekASN1Tag(asn1.GeneralizedTime) {
		return errors.New("it does not say when the next one comes, so it would never end")
	}
	if l.nextUpdate, ok = readTime(&in); !ok {
		return errMalformed
	}
	hasEntries, hasExtensions := false, false
	if !in.ReadOptionalASN1(&revoked, &hasEntries, asn1.SEQUENCE) ||
		!in.ReadOptionalASN1(&extensions, &hasExtensions, taggedCons(0)) || !in.Empty() {
		return errMalformed
	}
	if hasExtensions {
		if err := eachExtensionIn(extensions, l.readExtension); err != nil {
			return err
		}
	}
	return l.readEntries(revoked)
}

// readExtension reads one extension of the list.
func (l *list) readExtension(e extension) error {
	var ok bool
	var err error
	switch e.id {
	case oidCRLNumber:
		l.number, ok = readNumber(e.value)
	case oidDeltaIndicator:
		l.base, ok = readNumber(e.value)
	case oidAuthorityKeyID:
		l.keyID, ok = readKeyID(e.value)
	case oidIssuingPoint:
		ok, err = true, l.scope.read(e.value)
	case oidFreshestCRL:
		ok = true
		l.freshest, err = readPoints(e.value, l.issuer)
	default:
		if ok = true; e.critical {
			err = fmt.Errorf("it has a critical extension that is not supported (object identifier %x)", e.id)
		}
	}
	if !ok {
		return errMalformed
	}
	return err
}

// readNumber reads CRLNumber, which has 20 octets at most. The result is a copy:
// a slice of the DER would keep all of that in memory.
func readNumber(in cryptobyte.String) ([]byte, bool) {
	n, ok := readNatural(&in)
	return bytes.Clone(n), ok && in.Empty() && len(n) <= 20
}

// readKeyID reads AuthorityKeyIdentifier (RFC 5280, section 4.2.1.1).
func readKeyID(in cryptobyte.String) ([]byte, bool) {
	var all, id cryptobyte.String
	present := false
	if !in.ReadASN1(&all, asn1.SEQUENCE) || !in.Empty() || !all.ReadOptionalASN1(&id, &present, tagged(0)) {
		return nil, false
	}
	return append([]byte(nil), id...), true
}

// read reads IssuingDistributionPoint.
func (s *scope) read(in cryptobyte.String) error {
	s.raw = string(in)
	var all, name, some cryptobyte.String
	var indirect, onlyAttribute, hasName, hasSome bool
	if !in.ReadASN1(&all, asn1.SEQUENCE) || !in.Empty() ||
		!all.ReadOptionalASN1(&name, &hasName, taggedCons(0)) ||
		!readFlag(&all, &s.onlyUser, 1) || !readFlag(&all, &s.onlyCA, 2) ||
		!all.ReadOptionalASN1(&some, &hasSome, tagged(3)) ||
		!readFlag(&all, &indirect, 4) || !readFlag(&all, &onlyAttribute, 5) || !all.Empty() {
		return errMalformed
	}
	if hasName {
		names, err := readPointName(name)
		if err != nil {
			return err
		}
		s.names = names
	}
	if hasSome {
		s.reasons = readReasons(some)
	}
	switch {
	case indirect:
		return errors.New("it is an indirect list, which speaks for other authorities as well: that is not supported")
	case onlyAttribute:
		return errors.New("it is a list of attribute certificates")
	case s.onlyUser && s.onlyCA:
		return errors.New("it is for no certificate at all")
	}
	return nil
}

// readFlag reads an optional BOOLEAN with a tag of its own, which is false if it
// is not there.
func readFlag(in *cryptobyte.String, flag *bool, n uint8) bool {
	var value cryptobyte.String
	present := false
	if !in.ReadOptionalASN1(&value, &present, tagged(n)) || present && len(value) != 1 {
		return false
	}
	*flag = present && value[0] != 0
	return true
}

// readReasons reads ReasonFlags from the content of a BIT STRING.
func readReasons(in cryptobyte.String) reasons {
	var r reasons
	for i := 0; i < 9 && len(in) > 0 && i/8+1 < len(in); i++ {
		if in[1+i/8]&(0x80>>(i%8)) != 0 {
			r |= 1 << i
		}
	}
	return r & allReasons
}

// readEntries reads the entries twice: to count them, and to keep them in what
// is then exactly the room that they need.
func (l *list) readEntries(in cryptobyte.String) error {
	var counts [maxSerial + 1]int
	count := func(serial []byte, _ entry) { counts[len(serial)]++ }
	if err := eachEntry(in, count); err != nil {
		return err
	}
	l.entries = newEntries(&counts)
	if err := eachEntry(in, l.entries.add); err != nil {
		return err
	}
	l.entries.sort()
	return nil
}

// eachEntry calls visit for every entry of revokedCertificates. Entries with a
// negative serial number are left out: no certificate that gets here has one.
func eachEntry(in cryptobyte.String, visit func(serial []byte, e entry)) error {
	for !in.Empty() {
		var one cryptobyte.String
		if !in.ReadASN1(&one, asn1.SEQUENCE) {
			return errMalformed
		}
		serial, negative, ok := readInteger(&one)
		at, inTime := readTime(&one)
		if !ok || !inTime {
			return errMalformed
		}
		e := entry{at: at.Unix()}
		if !one.Empty() {
			var all cryptobyte.String
			if !one.ReadASN1(&all, asn1.SEQUENCE) || !one.Empty() {
				return errMalformed
			}
			if err := e.readExtensions(all); err != nil {
				return err
			}
		}
		if len(serial) > maxSerial {
			return errors.New("it has a serial number that is too long")
		}
		if !negative {
			visit(serial, e)
		}
	}
	return nil
}

// readExtensions reads the extensions of an entry. There are few, and mostly the
// reason is the only one, so it is done without a function for each.
func (e *entry) readExtensions(in cryptobyte.String) error {
	seen := false
	for !in.Empty() {
		var one, id, value cryptobyte.String
		critical := false
		if !in.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) ||
			!readCritical(&one, &critical) ||
			!one.ReadASN1(&value, asn1.OCTET_STRING) || !one.Empty() {
			return errMalformed
		}
		switch {
		case string(id) == oidReasonCode:
			code := 0
			if seen || !value.ReadASN1Enum(&code) || !value.Empty() || code < 0 || code > math.MaxUint8 {
				return errMalformed
			}
			seen, e.reason = true, byte(code)
		case critical:
			return fmt.Errorf("an entry of it has a critical extension that is not supported (object identifier %x)", []byte(id))
		}
	}
	return nil
}
