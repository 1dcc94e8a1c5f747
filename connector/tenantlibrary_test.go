package connector_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"adconnector/ldapauth/dirtest"
)

// A judgment is what passport-wsfed-saml2, the library that tenants are made of,
// makes of a token.
type judgment struct {
	Profile map[string]any `json:"profile"`
	Error   string         `json:"error"`
}

// judgedByTenant has a token judged by who trusts one certificate (base64 of the
// DER) and is one audience.
func judgedByTenant(t *testing.T, wresult, certificate, audience string) judgment {
	t.Helper()
	const folder = "wsfed/testdata/rp"
	node, err := exec.LookPath("node")
	if err != nil {
		dirtest.Missing(t, "node is not installed")
	}
	if _, err := os.Stat(folder + "/node_modules/passport-wsfed-saml2"); err != nil {
		dirtest.Missing(t, "passport-wsfed-saml2 is not installed: run npm ci in connector/%s", folder)
	}
	input, err := json.Marshal([]map[string]string{{"wresult": wresult, "certificate": certificate, "audience": audience}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--no-deprecation", "verify.js")
	cmd.Dir = folder
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v in\n%s", err, output)
	}
	var verdicts []judgment
	if err := json.Unmarshal(output, &verdicts); err != nil || len(verdicts) != 1 {
		t.Fatalf("%v in\n%s", err, output)
	}
	return verdicts[0]
}
