package memdir

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const (
	// maxMessage is the size of the largest request that is read.
	maxMessage = 1 << 20
	// maxDepth is how deep the parts of a request may be nested. It bounds the
	// recursion of everything that walks a request, filters above all.
	maxDepth = 100
)

// errMalformed ends a connection: what came is no LDAP, and where the next
// request would start is unknown.
var errMalformed = errors.New("malformed request")

// A message is one request (RFC 4511 section 4.1.1).
type message struct {
	id       int64
	op       *ber.Packet
	controls []control
}

type control struct {
	oid      string
	critical bool
	value    []byte
}

// The operations, by their application tags.
const (
	opBindRequest      = 0
	opBindResponse     = 1
	opUnbindRequest    = 2
	opSearchRequest    = 3
	opSearchEntry      = 4
	opSearchDone       = 5
	opModifyRequest    = 6
	opModifyResponse   = 7
	opAddRequest       = 8
	opDeleteRequest    = 10
	opModifyDNRequest  = 12
	opCompareRequest   = 14
	opAbandonRequest   = 16
	opSearchReference  = 19
	opExtendedRequest  = 23
	opExtendedResponse = 24
)

// readMessage returns the bytes of the next message.
func readMessage(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	if more := int(head[1]) - 0x80; head[0] == 0x30 && more > 0 && more <= 4 {
		if head, err = r.Peek(2 + more); err != nil {
			return nil, err
		}
	}
	length, size := berLength(head[1:])
	if head[0] != 0x30 || size == 0 {
		return nil, errMalformed
	}
	b := make([]byte, 1+size+length)
	_, err = io.ReadFull(r, b)
	return b, err
}

// berLength returns the length at the start of b and how many bytes it takes:
// none if it is more than [maxMessage] or indefinite, which LDAP forbids.
func berLength(b []byte) (length, size int) {
	if len(b) == 0 {
		return 0, 0
	}
	more := int(b[0]) - 0x80
	if more < 0 {
		return int(b[0]), 1
	}
	if more == 0 || more > 4 || more >= len(b) {
		return 0, 0
	}
	for _, octet := range b[1 : 1+more] {
		length = length<<8 | int(octet)
	}
	if length < 0 || length > maxMessage {
		return 0, 0
	}
	return length, 1 + more
}

// wellFormed reports whether b is a run of elements as LDAP may use them, at
// most depth levels deep. It keeps everything from the decoder that LDAP never
// needs: indefinite lengths, long tags, reals and strings with rules of their
// own.
func wellFormed(b []byte, depth int) bool {
	for len(b) > 0 {
		switch tag := b[0]; {
		case depth == 0 || tag&0x1f == 0x1f:
			return false
		case tag&0xc0 == 0 && tag != 0x01 && tag != 0x02 && tag != 0x04 && tag != 0x0a && tag != 0x30 && tag != 0x31:
			return false
		}
		length, size := berLength(b[1:])
		if size == 0 || length > len(b)-1-size {
			return false
		}
		content := b[1+size : 1+size+length]
		if b[0]&0x20 != 0 && !wellFormed(content, depth-1) {
			return false
		}
		b = b[1+size+length:]
	}
	return true
}

// decode reads a message.
func decode(b []byte) (m message, err error) {
	if !wellFormed(b, maxDepth) {
		return m, errMalformed
	}
	p, err := ber.DecodePacketErr(b)
	if err != nil {
		return m, errMalformed
	}
	f := fields{rest: p.Children}
	m.id = f.integer(ber.TagInteger)
	m.op = f.next()
	if f.failed || m.id < 1 || m.id > 1<<31-1 || m.op.ClassType != ber.ClassApplication {
		return m, errMalformed
	}
	if len(f.rest) > 0 {
		for _, p := range f.tagged(0).Children {
			m.controls = append(m.controls, decodeControl(p, &f))
		}
	}
	return m, f.err()
}

func decodeControl(p *ber.Packet, outer *fields) (c control) {
	f := fields{rest: p.Children}
	c.oid = f.text()
	if f.has(ber.ClassUniversal, ber.TagBoolean) {
		c.critical = f.boolean()
	}
	if len(f.rest) > 0 {
		c.value = []byte(f.text())
	}
	outer.failed = outer.failed || f.err() != nil
	return c
}

// fields takes the parts of a request one after the other. After the first one
// that does not fit it has failed, and hands out zero values.
type fields struct {
	rest   []*ber.Packet
	failed bool
}

// err reports whether a part did not fit or is left over.
func (f *fields) err() error {
	if f.failed || len(f.rest) > 0 {
		return errMalformed
	}
	return nil
}

func (f *fields) next() *ber.Packet {
	if f.failed || len(f.rest) == 0 {
		f.failed = true
		return &ber.Packet{Data: &bytes.Buffer{}}
	}
	p := f.rest[0]
	f.rest = f.rest[1:]
	return p
}

// has reports whether the next part has this tag.
func (f *fields) has(class ber.Class, tag ber.Tag) bool {
	return len(f.rest) > 0 && f.rest[0].ClassType == class && f.rest[0].Tag == tag
}

func (f *fields) expect(class ber.Class, tag ber.Tag) *ber.Packet {
	if !f.has(class, tag) {
		f.failed = true
	}
	return f.next()
}

// tagged takes a part with a context tag.
func (f *fields) tagged(tag ber.Tag) *ber.Packet { return f.expect(ber.ClassContext, tag) }

func (f *fields) text() string { return content(f.expect(ber.ClassUniversal, ber.TagOctetString)) }

func (f *fields) boolean() bool {
	v, _ := f.expect(ber.ClassUniversal, ber.TagBoolean).Value.(bool)
	return v
}

// integer takes an integer or an enumerated.
func (f *fields) integer(tag ber.Tag) int64 {
	p := f.expect(ber.ClassUniversal, tag)
	if len(p.ByteValue) > 8 {
		f.failed = true
	}
	v, _ := p.Value.(int64)
	return v
}

// content returns the bytes of a part as text.
func content(p *ber.Packet) string { return p.Data.String() }

// A result is how an operation ended (RFC 4511 section 4.1.9).
type result struct {
	code     int64
	matched  string
	text     string
	controls [][]byte
}

// The result codes in use.
const (
	success               = 0
	operationsError       = 1
	protocolError         = 2
	sizeLimitExceeded     = 4
	authMethodUnsupported = 7
	strongerAuthRequired  = 8
	criticalUnavailable   = 12
	confidentialityNeeded = 13
	constraintViolation   = 19
	noSuchObject          = 32
	invalidDNSyntax       = 34
	invalidCredentials    = 49
	insufficientAccess    = 50
	unwillingToPerform    = 53
)

// packet returns the result as the answer to an operation; more follows the
// three parts that every result has.
func (r result) packet(op byte, more ...[]byte) []byte {
	return application(op, append([][]byte{number(tagEnumerated, r.code), octets(r.matched), octets(r.text)}, more...)...)
}

// envelope returns a whole message.
func envelope(id int64, op []byte, controls [][]byte) []byte {
	if len(controls) == 0 {
		return sequence(number(tagInteger, id), op)
	}
	return sequence(number(tagInteger, id), op, element(0xa0, controls...))
}

// answerControl returns a control for an answer.
func answerControl(oid string, value []byte) []byte {
	return sequence(octets(oid), element(tagOctets, value))
}

// The identifiers of what answers are made of.
const (
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31
)

// element returns a BER element. Answers are written without the help of the
// library that reads requests: that is as short and takes a tenth of the time.
func element(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := append(make([]byte, 0, n+6), tag)
	if n < 0x80 {
		b = append(b, byte(n))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, 0x84), uint32(n))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// number returns an integer or an enumerated.
func number(tag byte, n int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	for len(b) > 1 && b[0] == 0 && b[1] < 0x80 {
		b = b[1:]
	}
	return element(tag, b)
}

func octets(s string) []byte                      { return element(tagOctets, []byte(s)) }
func sequence(parts ...[]byte) []byte             { return element(tagSequence, parts...) }
func application(op byte, parts ...[]byte) []byte { return element(0x60|op, parts...) }
func contextString(tag byte, s string) []byte     { return element(0x80|tag, []byte(s)) }

// encodeAttribute returns a PartialAttribute (RFC 4511 section 4.1.7).
func encodeAttribute(name string, values []string) []byte {
	set := make([][]byte, len(values))
	for i, v := range values {
		set[i] = octets(v)
	}
	return sequence(octets(name), element(tagSet, set...))
}
