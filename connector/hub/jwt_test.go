package hub_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"testing"
	"time"

	"adconnector/connector/hub/hubtest"
	"adconnector/ldapauth/dirtest"
)

// TestTokensAreUnderstoodByJSONWebToken: the library that tenants use takes the
// token of an agent, and the agent takes what the library makes.
func TestTokensAreUnderstoodByJSONWebToken(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		dirtest.Missing(t, "node is not installed")
	}
	const folder = "testdata/tenant"
	if _, err := os.Stat(folder + "/node_modules/jsonwebtoken"); err != nil {
		dirtest.Missing(t, "jsonwebtoken is not installed: run npm ci in connector/hub/%s", folder)
	}
	p := start(t, door(open))
	defer p.stop()
	c := p.next(t, 20*time.Second)
	p.tenant.Lock()
	token := p.tenant.Tokens[0]
	p.tenant.Unlock()
	der, err := base64.StdEncoding.DecodeString(p.tenant.Posts[0].Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(p.tenant.Key)
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(map[string]any{
		"token": token, "audience": hubtest.Realm, "issuer": hubtest.Connection,
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"command":     map[string]any{"pid": "by-node", "username": "jön", "password": "pässword"},
		"key":         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "jwt.js")
	cmd.Dir, cmd.Stdin = folder, bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var verdict struct {
		Header  map[string]string `json:"header"`
		Claims  map[string]any    `json:"claims"`
		Command string            `json:"command"`
	}
	if err := json.Unmarshal(output, &verdict); err != nil {
		t.Fatal(err)
	}
	issued, _ := verdict.Claims["iat"].(float64)
	expires, _ := verdict.Claims["exp"].(float64)
	if len(verdict.Header) != 2 || verdict.Header["alg"] != "RS256" || verdict.Header["typ"] != "JWT" || len(verdict.Claims) != 4 || expires != issued+60 {
		t.Errorf("header %v, claims %v", verdict.Header, verdict.Claims)
	}
	c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": verdict.Command})
	select {
	case f := <-c.Frames:
		if f.Event != "by-node_result" || !contains(f.Payload, "jön") {
			t.Errorf("%s: %s", f.Event, f.Payload)
		}
	case <-time.After(20 * time.Second):
		t.Error("the command is not answered")
	}
}
