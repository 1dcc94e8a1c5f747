package hub

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"testing"
	"time"
)

// FuzzFrame: whatever the hub sends, and whatever the tenant signs, is a command or
// ignored. A panic here would end the service.
func FuzzFrame(f *testing.F) {
	for _, seed := range []struct{ frame, header, payload string }{
		{`{"n":"authenticate_user","p":{"jwt":"a.b.c"}}`, `{"alg":"RS256","typ":"JWT"}`, `{"pid":"1","username":"jon","password":"x","iat":1,"exp":2}`},
		{`{"n":"","p":null}`, `{"alg":"RS256","crit":["b64"],"b64":false}`, `{"pid":"1"}`},
		{`{"n":"list_groups","p":{"jwt":{}}}`, `{"alg":"RS256","kid":7,"jwk":{"kty":"RSA"},"x5c":[""]}`, `{"pid":"1","iat":1e300,"exp":"2","aud":[null]}`},
		{`[{"n":1}]`, `{"alg":"none"}`, `[]`},
		{`{"n":"search_users","p":{"jwt":""}}`, `{"alg":"RS256","zip":"DEF"}`, `{"pid":"1","PID":"2","pid":"3","iat":-1,"limit":1e9}`},
	} {
		f.Add(seed.frame, seed.header, seed.payload)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	s := &Settings{
		Hub: "https://hub.test/", ConnectionDomain: "d", ConnectionName: "c", Realm: "urn:r",
		SigningKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}
	f.Fuzz(func(t *testing.T, frame, header, payload string) {
		a := NewAgent(AgentOptions{Log: slog.New(slog.DiscardHandler)})
		// Nothing is started: what is to be answered is turned away.
		l := &link{a: a, settings: s, key: &key.PublicKey, ctx: context.Background(), let: make(chan struct{}), closing: true}
		_ = l.take([]byte(frame))
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		digest := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		token := text + "." + base64.RawURLEncoding.EncodeToString(signature)
		_, _ = a.verify(token, s, &key.PublicKey, time.Now())
		if data, err := json.Marshal(map[string]any{"n": "authenticate_user", "p": map[string]string{"jwt": token}}); err == nil {
			if err := l.take(data); err != nil {
				t.Errorf("a command ends the connection: %v", err)
			}
		}
	})
}
