package certauth

import (
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/testca"
)

// Whoever floods us with new certificates must not keep those out whom we know,
// nor take every processor.
func TestA9_KnownChainsDoNotWaitForNewOnes(t *testing.T) {
	root, err := testca.New("Root")
	if err != nil {
		t.Fatal(err)
	}
	chains := map[string][]*x509.Certificate{}
	for _, name := range []string{"known", "new"} {
		leaf, err := root.Client(name)
		if err != nil {
			t.Fatal(err)
		}
		chains[name] = []*x509.Certificate{leaf.Certificate}
	}
	synctest.Test(t, func(t *testing.T) {
		v := New(DefaultConfig(), &Anchors{certs: []*x509.Certificate{root.Certificate}})
		clock := root.Certificate.NotBefore.AddDate(0, 1, 0)
		v.Now = func() time.Time { return clock }
		verify := func(name string) {
			if c, err := v.Verify(t.Context(), chains[name]); err != nil || c.UserName != name {
				t.Errorf("%s: got %v and error %v", name, c, err)
			}
		}
		verify("known")
		for range cap(v.slots) { // as many as may be looked at together
			v.slots <- struct{}{}
		}

		verify("known")
		if _, err := v.Verify(t.Context(), nil); denial.ReasonOf(err) != denial.BadCertificate {
			t.Errorf("got %v, want a refusal at once", err)
		}
		done := false
		go func() {
			verify("new")
			done = true
		}()
		synctest.Wait()
		if done {
			t.Error("one more than there are slots was looked at")
		}

		<-v.slots
		synctest.Wait()
		if !done {
			t.Error("a slot came free and nobody took it")
		}
		if len(v.slots) != cap(v.slots)-1 {
			t.Error("the slot was not given back")
		}
	})
}
