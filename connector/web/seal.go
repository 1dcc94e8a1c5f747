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

// What a sealed request is good for. The purpose and the browser are
// authenticated with the content, so that a link that goes on with a request
// cannot be sent back as the form of somebody else's browser.
const (
	forResume = "resume" // goes on after a redirect; as good as the request itself, so bound to nobody
	forForm   = "form"   // comes back with the form from the browser that got it
)

// A sealer turns a Pending into text that the browser carries and that nobody
// can read or change, by AES-256-GCM.
type sealer struct {
	aead cipher.AEAD
	now  func() time.Time
}

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
	sealed := s.aead.Seal(nil, nil, encodePending(p, s.now()), bound(purpose, browser))
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open undoes seal. Every error means that the text is not ours, not for this
// purpose and browser, or too old.
func (s *sealer) open(purpose, browser, text string) (Pending, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return Pending{}, fmt.Errorf("sealed request: %w", err)
	}
	plain, err := s.aead.Open(nil, nil, sealed, bound(purpose, browser))
	if err != nil {
		return Pending{}, fmt.Errorf("sealed request: %w", err)
	}
	p, issued, err := decodePending(plain)
	if err != nil {
		return Pending{}, err
	}
	if age := s.now().Sub(issued); age < -time.Minute || age > pendingLifetime {
		return Pending{}, fmt.Errorf("sealed request is %v old", age)
	}
	return p, nil
}

func bound(purpose, browser string) []byte { return []byte(purpose + "\x00" + browser) }

// pendingVersion is the first byte of an encoded Pending. It changes with the
// encoding, so that a form from before an update is outdated and not misread.
const pendingVersion = 1

func encodePending(p Pending, issued time.Time) []byte {
	b := make([]byte, 0, 64+len(p.State)+len(p.ReturnTo))
	b = append(b, pendingVersion)
	b = binary.AppendVarint(b, issued.Unix())
	b = binary.AppendVarint(b, int64(p.MaxAge))
	signOut := byte(0)
	if p.SignOut {
		signOut = 1
	}
	b = append(b, signOut)
	for _, field := range []string{p.Protocol, p.RelyingParty, p.ReturnTo, string(p.State)} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	return b
}

var errEncoding = errors.New("sealed request: not in the encoding of this version")

func decodePending(b []byte) (p Pending, issued time.Time, err error) {
	if len(b) == 0 || b[0] != pendingVersion {
		return p, issued, errEncoding
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
	issued = time.Unix(number(), 0)
	p.MaxAge = time.Duration(number())
	if err != nil || len(b) == 0 || b[0] > 1 {
		return Pending{}, issued, errEncoding
	}
	p.SignOut = b[0] == 1
	b = b[1:]
	p.Protocol, p.RelyingParty, p.ReturnTo = text(), text(), text()
	if state := text(); state != "" {
		p.State = []byte(state)
	}
	if err != nil || len(b) != 0 {
		return Pending{}, issued, errEncoding
	}
	return p, issued, nil
}
