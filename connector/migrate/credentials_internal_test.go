package migrate

import (
	"bytes"
	"testing"
)

func TestPaddingIsJudged(t *testing.T) {
	block := func(tail ...byte) []byte { return append(bytes.Repeat([]byte("a"), 16-len(tail)), tail...) }
	for _, tt := range []struct {
		data []byte
		want string
		ok   bool
	}{
		{block(1), "aaaaaaaaaaaaaaa", true},
		{block(3, 3, 3), "aaaaaaaaaaaaa", true},
		{bytes.Repeat([]byte{16}, 16), "", true},
		{block(2, 3, 3), "", false},
		{block(0), "", false},
		{block(17), "", false},
		{block(), "", false},
	} {
		text, ok := unpad(tt.data)
		if ok != tt.ok || ok && string(text) != tt.want {
			t.Errorf("%v: %q, %v", tt.data, text, ok)
		}
	}
}
