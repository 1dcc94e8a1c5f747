package connector_test

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"adconnector/connector/hub/hubtest"
)

// TestNewKeyOfTheTenantIsFound: a command by another key is ignored, but makes
// the service ask the tenant, who may have another one by now. That is not done
// for each.
func TestNewKeyOfTheTenantIsFound(t *testing.T) {
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	c := next(t, tenant)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tenant.Lock()
	tenant.Key = key
	tenant.Unlock()
	tenant.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "1", "username": "jon", "password": d.password})
	c = next(t, tenant)
	if p := login(t, tenant, c, "jon", d.password); p["profile"] == nil || p["err"] != nil {
		t.Errorf("by the new key: %v", p)
	}

	if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	forger := &hubtest.Tenant{Key: key}
	for range 20 {
		forger.Command(t.Context(), c, "authenticate_user", map[string]any{"pid": "1", "username": "jon", "password": d.password})
	}
	login(t, tenant, c, "jon", d.password)
	tenant.Lock()
	defer tenant.Unlock()
	if n := len(tenant.Posts); n != 2 {
		t.Errorf("the tenant was asked %d times", n)
	}
}
