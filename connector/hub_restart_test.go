package connector_test

import (
	"os"
	"strings"
	"testing"
)

// TestF7_CommandsAreNotAnsweredAgainAfterARestart: whether the service ended in
// order or not, and fresh ones are answered.
func TestF7_CommandsAreNotAnsweredAgainAfterARestart(t *testing.T) {
	const file = "data/hub-commands"
	d := inMemory(t)
	r, tenant := hubRig(t, d)
	r.start()
	c := next(t, tenant)
	captured := tenant.Sign(map[string]any{"pid": "captured", "username": "jon", "password": d.password})
	replay := func() { c.Send(t.Context(), "authenticate_user", map[string]string{"jwt": captured}) }
	replay()
	if p := answer(t, c, "captured_result"); p["err"] != nil {
		t.Fatalf("the first time: %v", p)
	}
	running, err := os.ReadFile(r.path(file)) // what a crash would leave
	if err != nil {
		t.Fatal(err)
	}
	restart := func() {
		t.Helper()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	ignored := func(why string) {
		t.Helper()
		before := len(r.log.String())
		replay()
		eventually(t, "it is not ignored", func() bool { return strings.Contains(r.log.String()[before:], why) })
	}

	restart()
	r.start()
	c = next(t, tenant)
	ignored("it came before")
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
		t.Errorf("a fresh one after an orderly restart: %v", p)
	}

	restart()
	r.write(file, running)
	r.start()
	c = next(t, tenant)
	ignored("it came before")
	if p := login(t, tenant, c, "jon", d.password); p["err"] != nil {
		t.Errorf("a fresh one after a crash: %v", p)
	}

	restart()
	r.write(file, running[:len(running)-1])
	r.start()
	c = next(t, tenant)
	ignored("it may have been carried out")
}
