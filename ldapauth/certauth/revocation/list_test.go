package revocation_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

func TestARevokedCertificateIsRefusedWithDateAndReason(t *testing.T) {
	w := newWorld(t)
	jon, amy := w.leaf(), w.leaf()
	w.serve(listURL, w.list(1, jon.SerialNumber))
	s := w.store()
	wantReason(t, s, w.path(jon), denial.Revoked, "keyCompromise", w.now().Add(-2*time.Hour).Format(time.RFC3339), "list number 1", "CN=jon")
	wantGood(t, s, w.path(amy))
	if n := w.fetched(listURL); n != 1 {
		t.Errorf("the list was fetched %d times", n)
	}
}

func TestAListMayBePEM(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	w.serve(listURL, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: w.list(1, jon.SerialNumber)}))
	wantReason(t, w.store(), w.path(jon), denial.Revoked)
}

// TestB12_ListsThatDoNotCount has, for each way in which a list can be wrong, the
// reason, and whether on_unknown: allow is about it.
func TestB12_ListsThatDoNotCount(t *testing.T) {
	for _, tt := range []struct {
		name    string
		list    func(w *world) []byte
		want    denial.Reason
		words   string
		allowed bool
	}{
		{"yesterday's", func(w *world) []byte { return w.listOf(w.ca, 1, mods(w.during(-48*time.Hour, -time.Hour))) }, denial.CRLExpired, "the clock here says", true},
		{"tomorrow's", func(w *world) []byte { return w.listOf(w.ca, 1, mods(w.during(time.Hour, 24*time.Hour))) }, denial.CRLExpired, "begins on", true},
		{"by another authority", func(w *world) []byte { return w.listOf(must(testca.New("Other"))(w.t), 1, nil) }, denial.CRLBadSignature, "not by the authority", false},
		{"by another key under the same name", func(w *world) []byte { return w.listOf(must(testca.New("Issuing"))(w.t), 1, nil) }, denial.CRLBadSignature, "not by the authority", false},
		{"by another key that claims to be the right one", func(w *world) []byte {
			forger := *w.ca.Certificate
			key := newKey(w.t)
			forger.PublicKey = key.Public()
			return w.listOf(&testca.CA{Certificate: &forger, Key: key}, 1, nil)
		}, denial.CRLBadSignature, "signature", false},
		{"with an entry changed", func(w *world) []byte {
			secret := big.NewInt(0x1234567890abcdef)
			return bytes.Replace(w.list(1, secret), secret.Bytes(), []byte{0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xee}, 1)
		}, denial.CRLBadSignature, "signature", false},
		{"cut off", func(w *world) []byte { l := w.list(1, big.NewInt(5)); return l[:len(l)-10] }, denial.CRLUnusable, "damaged", true},
		{"a page of a proxy", func(*world) []byte { return []byte("<html>Sign in to the network</html>") }, denial.CRLUnusable, "damaged", true},
		{"nothing", func(*world) []byte { return nil }, denial.CRLUnusable, "empty", true},
		{"a delta without its base", func(w *world) []byte { return w.listOf(w.ca, 2, mods(delta(w.t, 1))) }, denial.CRLUnusable, "delta list", true},
		{"indirect", func(w *world) []byte { return w.listOf(w.ca, 1, mods(scope("", 4))) }, denial.CRLUnusable, "indirect", true},
		{"of attribute certificates", func(w *world) []byte { return w.listOf(w.ca, 1, mods(scope("", 5))) }, denial.CRLUnusable, "attribute", true},
		{"for authorities only", func(w *world) []byte { return w.listOf(w.ca, 1, mods(scope("", 2))) }, denial.RevocationUnknown, "no list that is held speaks of it", true},
		{"for another place", func(w *world) []byte { return w.listOf(w.ca, 1, mods(scope("http://pki.example/other.crl"))) }, denial.CRLUnusable, "another distribution point", true},
		{"for some reasons only", func(w *world) []byte { return w.listOf(w.ca, 1, mods(scope("", 3))) }, denial.RevocationUnknown, "", true},
		{"with a critical extension that nobody knows", func(w *world) []byte {
			return w.listOf(w.ca, 1, mods(withExtension(true, []byte{5, 0}, 1, 2, 3)))
		}, denial.CRLUnusable, "critical extension", true},
		{"with an entry of another authority", func(w *world) []byte {
			return w.listOf(w.ca, 1, mods(func(l *x509.RevocationList) {
				l.RevokedCertificateEntries = []x509.RevocationListEntry{{
					SerialNumber: big.NewInt(5), RevocationTime: w.now(),
					ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}},
				}}
			}))
		}, denial.CRLUnusable, "an entry of it has a critical extension", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			jon := w.leaf()
			w.serve(listURL, tt.list(w))
			s := w.store()
			wantReason(t, s, w.path(jon), tt.want, tt.words)
			s = w.store(allow)
			r, err := check(t, s, w.path(jon))
			if got := err == nil; got != tt.allowed {
				t.Errorf("on_unknown: allow lets it in: %v, want %v (%v)", got, tt.allowed, err)
			}
			if err == nil && (!strings.Contains(r.Unknown, string(tt.want)) || s.Allowed() != 1) {
				t.Errorf("let in with %q, counted %d", r.Unknown, s.Allowed())
			}
			if err == nil && !strings.Contains(w.log.String(), "on_unknown: allow") {
				t.Errorf("nothing in the log: %s", w.log)
			}
		})
	}
}

func TestListsInScopeCount(t *testing.T) {
	for name, mod := range map[string]listMod{
		"for users":      scope("", 1),
		"for this place": scope(listURL),
		"with an extension that nobody needs to know": withExtension(false, []byte{5, 0}, 1, 2, 3),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			jon, amy := w.leaf(), w.leaf()
			w.serve(listURL, w.listOf(w.ca, 1, mods(mod), jon.SerialNumber))
			s := w.store()
			wantReason(t, s, w.path(jon), denial.Revoked)
			wantGood(t, s, w.path(amy))
		})
	}
}

func TestB12_AListByAnAuthorityThatMayNotSignLists(t *testing.T) {
	w := newWorld(t)
	signer := *w.ca // CreateRevocationList would refuse
	w.ca = must(w.root.Intermediate("Issuing", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }))(t)
	may := *w.ca.Certificate
	may.KeyUsage |= x509.KeyUsageCRLSign
	signer.Certificate, signer.Key = &may, w.ca.Key
	w.serve(listURL, w.listOf(&signer, 1, nil))
	wantReason(t, w.store(), w.path(w.leaf()), denial.CRLUnusable, "cRLSign")
}

// TestB12_TheNumberMustRise: an older list, however genuine, changes nothing, and
// the newer one counts until it ends.
func TestB12_TheNumberMustRise(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	old := w.listOf(w.ca, 4, mods(w.during(-2*time.Hour, 30*24*time.Hour)))
	w.serve(listURL, w.list(5, jon.SerialNumber))
	s := w.store()
	wantReason(t, s, w.path(jon), denial.Revoked)
	amy := w.leaf()
	wantGood(t, s, w.path(amy))

	w.serve(listURL, old)
	w.later(25 * time.Hour) // the list has ended, so it is fetched again
	wantReason(t, s, w.path(jon), denial.Revoked, "number 5")
	wantReason(t, s, w.path(amy), denial.CRLReplayed, "number 4", "number 5")
	if _, err := check(t, w.store(allow), w.path(jon)); err != nil {
		t.Errorf("a store that has not seen the newer one: %v", err)
	}
}

func TestB12_AGoodListIsKeptWhenABadOneComes(t *testing.T) {
	for name, bad := range map[string]func(w *world) []byte{
		"forged":  func(w *world) []byte { return w.listOf(must(testca.New("Issuing"))(w.t), 9, nil) },
		"cut off": func(w *world) []byte { return w.list(9)[:40] },
		"older":   func(w *world) []byte { return w.listOf(w.ca, 1, mods(w.during(-3*time.Hour, time.Hour))) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			jon, amy := w.leaf(), w.leaf()
			w.serve(listURL, w.list(5, jon.SerialNumber))
			s := w.store()
			wantGood(t, s, w.path(amy))
			w.serve(listURL, bad(w))
			w.later(2 * time.Hour)
			refresh(t, s, w, listURL, 2)
			wantGood(t, s, w.path(amy))
			wantReason(t, s, w.path(jon), denial.Revoked)
		})
	}
}

// refresh runs the background until an address has been asked that often.
func refresh(t *testing.T, s *revocation.Store, w *world, url string, times int) {
	t.Helper()
	s.Refresh()
	for deadline := time.Now().Add(20 * time.Second); w.fetched(url) < times; {
		if time.Now().After(deadline) {
			t.Fatalf("%s was fetched %d times, want %d", url, w.fetched(url), times)
		}
		time.Sleep(time.Millisecond)
	}
	s.Settle()
}

func TestListsAreFetchedAheadOfTheirEnd(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	w.serve(listURL, w.list(1))
	s := w.store()
	wantGood(t, s, w.path(jon))
	s.Refresh()
	s.Settle()
	if n := w.fetched(listURL); n != 1 {
		t.Errorf("fetched %d times although it is fresh", n)
	}
	w.serve(listURL, w.list(2, jon.SerialNumber))
	w.later(time.Hour)
	refresh(t, s, w, listURL, 2)
	before := w.fetched(listURL)
	wantReason(t, s, w.path(jon), denial.Revoked, "number 2")
	if w.fetched(listURL) != before {
		t.Error("the sign-in fetched something")
	}
}

func TestB12_AnUnreachableListRefusesInTime(t *testing.T) {
	w := newWorld(t)
	hang := make(chan struct{})
	defer close(hang)
	w.answer(listURL, func([]byte) ([]byte, error) { <-hang; return nil, nil })
	s := w.store(func(c *revocation.Config, _ *revocation.Options) { c.Timeout = setting.Duration(50 * time.Millisecond) })
	t.Cleanup(func() { s.Settle() })
	start := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		jon := w.leaf()
		wg.Go(func() { wantReason(t, s, w.path(jon), denial.CRLUnreachable, listURL) })
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := w.fetched(listURL); n != 1 {
		t.Errorf("%d fetches for sign-ins that came together, want 1", n)
	}
}

func TestAPlaceThatFailsIsLeftInPeaceForAWhile(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	s := w.store()
	for range 10 {
		wantReason(t, s, w.path(jon), denial.CRLUnreachable, "connection refused")
	}
	if n := w.fetched(listURL); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	w.serve(listURL, w.list(1))
	w.later(time.Minute)
	wantGood(t, s, w.path(jon))
}

func TestTheNextPlaceIsTriedWhenOneFails(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf(withOnePoint(t, "ldap:///CN=CA?certificateRevocationList", "http://dead.example/ca.crl", listURL))
	w.serve(listURL, w.list(1, jon.SerialNumber))
	wantReason(t, w.store(), w.path(jon), denial.Revoked)
	if w.fetched("http://dead.example/ca.crl") != 1 || w.fetched("ldap:///CN=CA?certificateRevocationList") != 0 {
		t.Errorf("asked %v: the web goes before the directory", w.asked)
	}
}

func TestDeltaListsContinueTheirBase(t *testing.T) {
	w := newWorld(t)
	jon, amy, zoe := w.leaf(withDelta(t)), w.leaf(withDelta(t)), w.leaf(withDelta(t))
	w.serve(listURL, w.list(10, amy.SerialNumber))
	take := func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: amy.SerialNumber, RevocationTime: w.now(), ReasonCode: 8})
	}
	w.serve(deltaURL, w.listOf(w.ca, 12, mods(delta(t, 10), take, w.during(-time.Minute, 2*time.Hour)), jon.SerialNumber))
	s := w.store()
	wantReason(t, s, w.path(jon), denial.Revoked, "delta list number 12")
	wantGood(t, s, w.path(amy)) // taken off the list
	wantGood(t, s, w.path(zoe))

	// The delta list has ended and no other comes: what it revoked stays so, what
	// it took off the full list does not.
	w.answer(deltaURL, func([]byte) ([]byte, error) { return nil, os.ErrDeadlineExceeded })
	w.later(3 * time.Hour)
	wantReason(t, s, w.path(jon), denial.Revoked)
	wantReason(t, s, w.path(amy), denial.Revoked)
	wantGood(t, s, w.path(zoe))
}

// TestADeltaListThatTheListNames is found and fetched with it: so Windows does it.
// One that does not come keeps nobody waiting but the first.
func TestADeltaListThatTheListNames(t *testing.T) {
	w := newWorld(t)
	jon, amy := w.leaf(), w.leaf()
	names := withExtension(false, points(nil, deltaURL), 2, 5, 29, 46)
	w.serve(listURL, w.listOf(w.ca, 10, mods(names)))
	w.serve(deltaURL, w.listOf(w.ca, 12, mods(delta(t, 10)), jon.SerialNumber))
	s := w.store()
	wantReason(t, s, w.path(jon), denial.Revoked, "delta list number 12")
	wantGood(t, s, w.path(amy))

	hang := make(chan struct{})
	w.answer(deltaURL, func([]byte) ([]byte, error) { <-hang; return nil, os.ErrDeadlineExceeded })
	s = w.store(func(c *revocation.Config, _ *revocation.Options) { c.Timeout = setting.Duration(20 * time.Millisecond) })
	defer func() { close(hang); s.Settle() }()
	wantGood(t, s, w.path(jon)) // what the full list says, which counts
	start := time.Now()
	for range 1000 {
		wantGood(t, s, w.path(amy))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a thousand sign-ins took %v", took)
	}
}

func TestADeltaListOfAnotherBaseChangesNothing(t *testing.T) {
	for name, list := range map[string]func(*world, ...*big.Int) []byte{
		"of a later one, and before the list": func(w *world, n ...*big.Int) []byte {
			return w.listOf(w.ca, 12, mods(delta(t, 11), w.during(-2*time.Hour, time.Hour)), n...)
		},
		"that is older": func(w *world, n ...*big.Int) []byte { return w.listOf(w.ca, 9, mods(delta(t, 8)), n...) },
		"of other scope, and before the list": func(w *world, n ...*big.Int) []byte {
			return w.listOf(w.ca, 12, mods(delta(t, 10), scope("", 1), w.during(-2*time.Hour, time.Hour)), n...)
		},
		"that is forged": func(w *world, n ...*big.Int) []byte {
			return w.listOf(must(testca.New("Issuing"))(t), 12, mods(delta(t, 10)), n...)
		},
		"that is no such": func(w *world, n ...*big.Int) []byte { return w.list(12, n...) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			jon := w.leaf(withDelta(t))
			w.serve(listURL, w.list(10))
			w.serve(deltaURL, list(w, jon.SerialNumber))
			wantGood(t, w.store(), w.path(jon))
		})
	}
}

// TestB15_NoSource: whoever names nobody to ask passes, unless a source is
// demanded.
func TestB15_NoSource(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf(withList())
	demand := func(c *revocation.Config, _ *revocation.Options) { c.RequireSource = true }
	wantGood(t, w.store(), w.path(jon))
	wantReason(t, w.store(demand), w.path(jon), denial.NoRevocationSource, "names neither")
	wantReason(t, w.store(demand, allow), w.path(jon), denial.NoRevocationSource)
	// With everything answered by files, nothing needs to be named.
	files := w.files(w.list(1), w.listOf(w.root, 1, nil))
	wantGood(t, w.store(demand, files), w.path(jon))
}

// files configures lists in files.
func (w *world) files(lists ...[]byte) func(*revocation.Config, *revocation.Options) {
	w.t.Helper()
	dir := w.t.TempDir()
	return func(c *revocation.Config, _ *revocation.Options) {
		for i, l := range lists {
			name := filepath.Join(dir, string(rune('a'+i))+".crl")
			if err := os.WriteFile(name, l, 0o600); err != nil {
				w.t.Fatal(err)
			}
			c.CRLFiles = append(c.CRLFiles, setting.File(name))
		}
	}
}

func TestB16_ARevokedIntermediateRefusesEverybodyBelow(t *testing.T) {
	w := newWorld(t, withList(rootURL))
	jon := w.leaf()
	w.serve(listURL, w.list(1))
	w.serve(rootURL, w.listOf(w.root, 1, nil, w.ca.Certificate.SerialNumber))
	wantReason(t, w.store(), w.path(jon), denial.Revoked, "CN=Issuing")
	// Nor is it enough that the leaf is known to be good.
	w.answer(rootURL, func([]byte) ([]byte, error) { return nil, os.ErrNotExist })
	wantReason(t, w.store(), w.path(jon), denial.CRLUnreachable, rootURL)
	// It is looked at each time, also when all of the path was good before.
	w.serve(rootURL, w.listOf(w.root, 1, nil))
	s := w.store()
	wantGood(t, s, w.path(jon))
	w.serve(rootURL, w.listOf(w.root, 2, nil, w.ca.Certificate.SerialNumber))
	w.later(2 * time.Hour)
	refresh(t, s, w, rootURL, w.fetched(rootURL)+1)
	wantReason(t, s, w.path(jon), denial.Revoked, "CN=Issuing")
}

func TestOfflineUsesFilesAndWhatWasFetched(t *testing.T) {
	w := newWorld(t)
	jon, amy := w.leaf(), w.leaf()
	offline := func(c *revocation.Config, _ *revocation.Options) { c.Mode = revocation.ModeOffline }
	wantReason(t, w.store(offline), w.path(jon), denial.RevocationUnknown, "offline")

	s := w.store(offline, w.files(w.list(3, jon.SerialNumber)))
	wantReason(t, s, w.path(jon), denial.Revoked)
	wantGood(t, s, w.path(amy))

	kept := &folder{}
	cache := func(_ *revocation.Config, o *revocation.Options) { o.Cache = kept }
	w.serve(listURL, w.list(4, jon.SerialNumber))
	wantGood(t, w.store(cache), w.path(amy))
	before := w.fetched(listURL)
	s = w.store(offline, cache)
	wantReason(t, s, w.path(jon), denial.Revoked, "number 4")
	wantGood(t, s, w.path(amy))
	if w.fetched(listURL) != before {
		t.Error("something was fetched")
	}
}

func TestKeptListsAreCheckedAgain(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	kept := &folder{}
	cache := func(_ *revocation.Config, o *revocation.Options) { o.Cache = kept }
	w.serve(listURL, w.list(4, jon.SerialNumber))
	wantReason(t, w.store(cache), w.path(jon), denial.Revoked)
	if len(kept.files) != 1 {
		t.Fatalf("%d files were kept", len(kept.files))
	}
	// Whoever can write there can put nothing there that counts.
	for name, data := range kept.files {
		head, _, _ := bytes.Cut(data, []byte("\n"))
		kept.files[name] = slicesJoin(head, w.listOf(must(testca.New("Issuing"))(t), 9, nil))
	}
	w.answer(listURL, func([]byte) ([]byte, error) { return nil, os.ErrNotExist })
	wantReason(t, w.store(cache), w.path(jon), denial.CRLUnreachable)
	// A restart does not open the door to older lists.
	w.serve(listURL, w.list(4, jon.SerialNumber))
	wantReason(t, w.store(cache), w.path(jon), denial.Revoked)
	w.serve(listURL, w.listOf(w.ca, 3, mods(w.during(-2*time.Hour, 90*24*time.Hour))))
	w.later(25 * time.Hour)
	s := w.store(cache)
	wantReason(t, s, w.path(jon), denial.Revoked, "number 4")
	wantReason(t, s, w.path(w.leaf()), denial.CRLReplayed)
}

func slicesJoin(head, list []byte) []byte { return bytes.Join([][]byte{head, list}, []byte("\n")) }

func TestFilesThatCannotBeUsedStopTheStart(t *testing.T) {
	w := newWorld(t)
	for name, list := range map[string][]byte{
		"empty":               nil,
		"a certificate":       w.root.PEM(),
		"cut off":             w.list(1)[:50],
		"forged":              w.listOf(must(testca.New("Root"))(t), 1, nil),
		"indirect":            w.listOf(w.ca, 1, mods(scope("", 4))),
		"a damaged PEM":       append(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: w.list(1)}), "-----BEGIN X509 CRL-----\nAAAA\n"...),
		"larger than allowed": append(w.list(1), make([]byte, 1<<20)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := revocation.DefaultConfig()
			c.MaxSize = 64 << 10
			w.files(list)(&c, nil)
			_, err := revocation.Open(c, revocation.Options{Anchors: []*x509.Certificate{w.root.Certificate}})
			if err == nil || !strings.Contains(err.Error(), "crl_files[0]: ") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestFilesAreReloadedAndNotBackwards(t *testing.T) {
	w := newWorld(t)
	jon, amy := w.leaf(withList()), w.leaf(withList())
	var c revocation.Config
	s := w.store(w.files(w.list(5, jon.SerialNumber)), func(given *revocation.Config, _ *revocation.Options) { c = *given })
	wantReason(t, s, w.path(jon), denial.Revoked)
	wantGood(t, s, w.path(amy))
	put := func(list []byte) error {
		t.Helper()
		if err := os.WriteFile(string(c.CRLFiles[0]), list, 0o600); err != nil {
			t.Fatal(err)
		}
		return s.ReloadFiles()
	}
	if err := put(w.list(6, jon.SerialNumber, amy.SerialNumber)); err != nil {
		t.Fatal(err)
	}
	wantReason(t, s, w.path(amy), denial.Revoked)
	if err := put(w.listOf(w.ca, 4, mods(w.during(-2*time.Hour, time.Hour)))); err != nil {
		t.Fatal(err)
	}
	wantReason(t, s, w.path(amy), denial.Revoked, "number 6")
	if !strings.Contains(w.log.String(), "crl_replayed") {
		t.Errorf("nothing in the log about an older list:\n%s", w.log)
	}
	if err := put(nil); err == nil {
		t.Error("an empty file was taken")
	}
	wantReason(t, s, w.path(amy), denial.Revoked, "number 6")
}

// TestB12_AFileUnderTheAuthoritysNameByAnotherKey must not turn into "nobody can
// be asked".
func TestB12_AFileUnderTheAuthoritysNameByAnotherKey(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf(withList())
	s := w.store(w.files(w.listOf(must(testca.New("Issuing"))(t), 1, nil)))
	wantReason(t, s, w.path(jon), denial.CRLBadSignature)
}

func TestSourcesTellWhatThereIs(t *testing.T) {
	w := newWorld(t)
	jon := w.leaf()
	kept := &folder{}
	cache := func(_ *revocation.Config, o *revocation.Options) { o.Cache = kept }
	w.serve(listURL, w.list(7, jon.SerialNumber))
	s := w.store(cache, w.files(w.listOf(w.root, 3, nil)))
	wantReason(t, s, w.path(jon), denial.Revoked)
	got := s.Sources()
	if len(got) != 2 {
		t.Fatalf("%d sources: %+v", len(got), got)
	}
	if f := got[0]; f.Kind != revocation.FromFile || !f.Verified || f.Issuer != "CN=Root" || f.Number != "3" || f.Entries != 0 {
		t.Errorf("the file: %+v", f)
	}
	p := got[1]
	if p.Kind != revocation.FromPoint || p.Where != listURL || !p.Verified || p.Issuer != "CN=Issuing" || p.Number != "7" || p.Entries != 1 ||
		!p.Fetched.Equal(w.now()) || !p.Next.After(w.now()) || p.Error != "" || !p.NextUpdate.Equal(w.now().Add(24*time.Hour)) {
		t.Errorf("the place: %+v", p)
	}
	// Another process, which fetches nothing, finds it in the cache.
	other := w.store(cache, func(_ *revocation.Config, o *revocation.Options) { o.Fetch = nil }).Sources()
	if len(other) != 1 || other[0].Where != listURL || other[0].Number != "7" || other[0].Error != "" || other[0].Issuer != "CN=Issuing" {
		t.Errorf("kept: %+v", other)
	}
	// What went wrong last is told.
	w.answer(listURL, func([]byte) ([]byte, error) { return nil, os.ErrPermission })
	w.later(2 * time.Hour)
	refresh(t, s, w, listURL, 2)
	if got := s.Sources()[1]; !strings.Contains(got.Error, "permission denied") {
		t.Errorf("after a failure: %+v", got)
	}
}

// TestChecksWhileListsChange has many sign in while lists come, end and go. It is
// for the race detector, and holds one rule: jon, once revoked, stays so.
func TestChecksWhileListsChange(t *testing.T) {
	w := newWorld(t, withList(rootURL))
	jon, amy := w.leaf(withDelta(t)), w.leaf(withDelta(t))
	w.serve(rootURL, w.listOf(w.root, 1, mods(w.during(-time.Hour, 100*24*time.Hour))))
	w.serve(listURL, w.list(1, jon.SerialNumber))
	w.serve(deltaURL, w.listOf(w.ca, 2, mods(delta(t, 1)), jon.SerialNumber))
	kept := &folder{}
	s := w.store(func(_ *revocation.Config, o *revocation.Options) { o.Cache = kept })
	wantReason(t, s, w.path(jon), denial.Revoked)
	wantGood(t, s, w.path(amy))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			bad, good := s.Path(w.path(jon)), s.Path(w.path(amy))
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := s.Check(t.Context(), bad); denial.ReasonOf(err) != denial.Revoked {
					t.Errorf("jon: %v", err)
					return
				}
				_, _ = s.Check(t.Context(), good)
				s.Sources()
			}
		})
	}
	for n := int64(2); n < 30; n++ {
		w.later(2 * time.Hour)
		w.serve(listURL, w.list(10*n, jon.SerialNumber))
		w.serve(deltaURL, w.listOf(w.ca, 10*n+1, mods(delta(t, 10*n)), jon.SerialNumber))
		s.Refresh()
		time.Sleep(time.Millisecond)
	}
	close(done)
	wg.Wait()
}
