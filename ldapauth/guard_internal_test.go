package ldapauth

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// feed is a connection from which comes what it holds, in pieces.
type feed struct {
	net.Conn
	data  []byte
	piece int
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.data[:min(len(f.data), f.piece)])
	f.data = f.data[n:]
	return n, nil
}

func message(n int) []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, strings.Repeat("x", n), ""))
	return p.Bytes()
}

func TestE9_TheGuardLetsMessagesThroughButNoGiants(t *testing.T) {
	var good []byte
	for _, n := range []int{0, 1, 100, 127, 128, 300, 70_000, maxMessage - 100} {
		good = append(good, message(n)...)
	}
	good = append(good, "\x30\x84\x00\x00\x00\x02\x04\x00"...) // as Active Directory writes lengths
	for _, tt := range []struct {
		name string
		data []byte
		want error
	}{
		{"messages", good, nil},
		{"a giant", append(message(5), message(maxMessage)...), errTooLarge},
		{"a giant that is only announced", []byte("\x30\x84\x7f\xff\xff\xff"), errTooLarge},
		{"a length of five bytes", []byte("\x30\x85\x01\x00\x00\x00\x00"), errNotLDAP},
		{"no definite length", []byte("\x30\x80\x00\x00"), errNotLDAP},
		{"text", []byte("220 mail ESMTP"), errNotLDAP},
		{"text after a message", append(message(5), "HTTP/1.1"...), errNotLDAP},
	} {
		for _, piece := range []int{1, 3, 4096} {
			g := &guard{Conn: &feed{data: tt.data, piece: piece}}
			got, err := io.ReadAll(g)
			if !errors.Is(err, tt.want) || err == nil && !bytes.Equal(got, tt.data) {
				t.Errorf("%s, %d bytes at a time: %d bytes, %v", tt.name, piece, len(got), err)
			}
			if tt.want != nil && !errors.Is(g.cause(), tt.want) {
				t.Errorf("%s: the cause is %v", tt.name, g.cause())
			}
		}
	}
}

func FuzzGuard(f *testing.F) {
	f.Add(message(5), 1)
	f.Add([]byte("\x30\x84\x00\x00\x00\x02\x04\x00"), 3)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		if piece < 1 {
			return
		}
		var ends [2]error
		for i, n := range []int{piece, len(data) + 1} {
			_, ends[i] = io.ReadAll(&guard{Conn: &feed{data: data, piece: n}})
		}
		if !errors.Is(ends[0], ends[1]) {
			t.Errorf("in pieces of %d: %v, at once: %v", piece, ends[0], ends[1])
		}
	})
}
