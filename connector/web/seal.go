package web

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// pendingLifetime is how long a request waits for its user.
const pendingLifetime = 30 * time.Minute

// What a sealed request is good for. The purpose is authenticated with the
// content, so that a link cannot be sent back as a form, nor a form as a link.
const (
	forResume = "resume" // goes on after a redirect; as good as the request itself, so bound to nobody
	forForm   = "form"   // comes back with the form from the browser that got it
	forChange = "change" // ... and is for one user; see changeOf
)

// A sealer turns a Pending into text that the browser carries and that nobody
// can read or change, by AES-256-GCM.
type sealer struct {
	aead cipher.AEAD
	now  func() time.Time
}

// sealText is strict, so that one sealed request is one text.
var sealText = base64.RawURLEncoding.Strict()

func newSealer(key []byte, now func() time.Time) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead, now}, nil
}

// seal returns p for one purpose and one browser, with the time of now.
func (s *sealer) seal(purpose, browser string, p Pending) string {
	sealed := s.aead.Seal(nil, nil, encodeTicket(ticket{p, browser, s.now()}), []byte(purpose))
	return sealText.EncodeToString(sealed)
}

// open undoes seal and returns the browser as well. Every error means that the
// text is not ours, not for this purpose, or too old.
func (s *sealer) open(purpose, text string) (p Pending, browser string, err error) {
	sealed, err := sealText.DecodeString(text)
	if err != nil {
		return p, "", fmt.Errorf("sealed request: %w", err)
	}
	plain, err := s.aead.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return p, "", fmt.Errorf("sealed request: %w", err)
	}
	t, err := decodeTicket(plain)
	if err != nil {
		return p, "", err
	}
	if age := s.now().Sub(t.issued); age < -time.Minute || age > pendingLifetime {
		return p, "", fmt.Errorf("sealed request is %v old", age)
	}
	return t.pending, t.browser, nil
}

// A ticket is what is under the seal.
type ticket struct {
	pending Pending
	browser string
	issued  time.Time // to the second
}

// ticketVersion is the first byte of an encoded ticket. It changes with the
// encoding, so that a form from before an update is outdated and not misread.
const ticketVersion = 1

func encodeTicket(t ticket) []byte {
	p := t.pending
	b := make([]byte, 0, 128+len(p.State)+len(p.ReturnTo))
	b = append(b, ticketVersion)
	b = binary.AppendVarint(b, t.issued.Unix())
	b = binary.AppendVarint(b, int64(p.MaxAge))
	signOut := byte(0)
	if p.SignOut {
		signOut = 1
	}
	b = append(b, signOut)
	for _, field := range []string{t.browser, p.Protocol, p.RelyingParty, p.ReturnTo, string(p.State)} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	return b
}

var errEncoding = errors.New("sealed request: not in the encoding of this version")

func decodeTicket(b []byte) (t ticket, err error) {
	if len(b) == 0 || b[0] != ticketVersion {
		return ticket{}, errEncoding
	}
	b = b[1:]
	number := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			err, n = errEncoding, 0
		}
		b = b[n:]
		return v
	}
	text := func() string {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			err = errEncoding
			return ""
		}
		s := string(b[n : n+int(size)])
		b = b[n+int(size):]
		return s
	}
	p := &t.pending
	t.issued = time.Unix(number(), 0)
	p.MaxAge = time.Duration(number())
	if err != nil || len(b) == 0 || b[0] > 1 {
		return ticket{}, errEncoding
	}
	p.SignOut = b[0] == 1
	b = b[1:]
	t.browser, p.Protocol, p.RelyingParty, p.ReturnTo = text(), text(), text(), text()
	if state := text(); state != "" {
		p.State = []byte(state)
	}
	if err != nil || len(b) != 0 {
		return ticket{}, errEncoding
	}
	return t, nil
}
