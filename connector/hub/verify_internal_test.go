package hub

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// BenchmarkVerify is what a command costs before anything is done about it.
func BenchmarkVerify(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, nil)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"pid": "3f2a", "username": "jon", "password": "Correct-Horse-9", "iat": now.Unix(), "exp": now.Unix() + 60,
	}).Serialize()
	if err != nil {
		b.Fatal(err)
	}
	a, s := NewAgent(AgentOptions{}), &Settings{}
	b.ReportAllocs()
	for b.Loop() {
		a.seen = newMemory(maxRemembered) // the same command is to be new each time
		if _, err := a.verify(token, s, &key.PublicKey, now); err != nil {
			b.Fatal(err)
		}
	}
}
