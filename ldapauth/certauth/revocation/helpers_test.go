package revocation_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/testca"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Addresses that certificates of the tests name.
const (
	listURL  = "http://pki.example/ca.crl"
	deltaURL = "http://pki.example/delta.crl"
	rootURL  = "http://pki.example/root.crl"
	ocspURL  = "http://ocsp.example"
)

// A world is a root, an authority below it, and the network on which they publish.
// Its clock stands still.
type world struct {
	t        testing.TB
	root, ca *testca.CA
	log      *output

	mu    sync.Mutex
	time  time.Time
	web   map[string]func(body []byte) ([]byte, error)
	asked map[string]int
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func newWorld(t testing.TB, mods ...func(*x509.Certificate)) *world {
	t.Helper()
	w := &world{
		t: t, time: time.Now().UTC().Truncate(time.Second), log: &output{},
		web: map[string]func([]byte) ([]byte, error){}, asked: map[string]int{},
	}
	w.root = must(testca.New("Root"))(t)
	w.ca = must(w.root.Intermediate("Issuing", mods...))(t)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

// serve puts data at an address.
func (w *world) serve(url string, data []byte) {
	w.answer(url, func([]byte) ([]byte, error) { return data, nil })
}

// answer has f answer at an address.
func (w *world) answer(url string, f func(body []byte) ([]byte, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.web[url] = f
}

// fetch is the network: where nothing is, nobody answers.
func (w *world) fetch(_ context.Context, r revocation.Request) ([]byte, error) {
	w.mu.Lock()
	w.asked[r.URL]++
	f := w.web[r.URL]
	w.mu.Unlock()
	if f == nil {
		return nil, errors.New("connection refused")
	}
	return f(r.Body)
}

func (w *world) fetched(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[url]
}

// store opens a store with the default settings but for what change does.
func (w *world) store(change ...func(*revocation.Config, *revocation.Options)) *revocation.Store {
	w.t.Helper()
	c := revocation.DefaultConfig()
	o := revocation.Options{Fetch: w.fetch, Anchors: []*x509.Certificate{w.root.Certificate}, Now: w.now, Log: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, f := range change {
		f(&c, &o)
	}
	if err := c.Validate(); err != nil {
		w.t.Fatal(err)
	}
	s := must(revocation.Open(c, o))(w.t)
	w.t.Cleanup(s.Close)
	return s
}

func allow(c *revocation.Config, _ *revocation.Options) { c.OnUnknown = revocation.Allow }

// leaf issues a certificate with the list at listURL.
func (w *world) leaf(mods ...func(*x509.Certificate)) *x509.Certificate {
	w.t.Helper()
	mods = append([]func(*x509.Certificate){withList(listURL)}, mods...)
	return must(w.ca.Client("jon", mods...))(w.t).Certificate
}

func withList(urls ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.CRLDistributionPoints = urls }
}

// path is the way from a leaf of w.ca to the root.
func (w *world) path(leaf *x509.Certificate) []*x509.Certificate {
	return []*x509.Certificate{leaf, w.ca.Certificate, w.root.Certificate}
}

// check signs in, as it were.
func check(t testing.TB, s *revocation.Store, path []*x509.Certificate) (revocation.Result, error) {
	t.Helper()
	return s.Check(t.Context(), s.Path(path))
}

// wantGood fails unless the path passes with everything answered.
func wantGood(t testing.TB, s *revocation.Store, path []*x509.Certificate) {
	t.Helper()
	if r, err := check(t, s, path); err != nil || r.Unknown != "" {
		t.Errorf("got %+v, %v; want it to pass", r, err)
	}
}

// wantReason fails unless the path is refused for the reason, with a detail that
// has the words.
func wantReason(t testing.TB, s *revocation.Store, path []*x509.Certificate, want denial.Reason, words ...string) {
	t.Helper()
	_, err := check(t, s, path)
	if got := denial.ReasonOf(err); got != want {
		t.Errorf("reason %q, want %q: %v", got, want, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the detail lacks %q: %v", word, err)
		}
	}
}

// listOf makes a list of ca with these serial numbers.
func (w *world) listOf(ca *testca.CA, number int64, mods []func(*x509.RevocationList), revoked ...*big.Int) []byte {
	w.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: w.now().Add(-time.Hour), NextUpdate: w.now().Add(24 * time.Hour)}
	for _, s := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: s, RevocationTime: w.now().Add(-2 * time.Hour), ReasonCode: 1,
		})
	}
	for _, mod := range mods {
		mod(l)
	}
	return must(x509.CreateRevocationList(rand.Reader, l, ca.Certificate, ca.Key))(w.t)
}

// list makes a list of w.ca.
func (w *world) list(number int64, revoked ...*big.Int) []byte {
	w.t.Helper()
	return w.listOf(w.ca, number, nil, revoked...)
}

type listMod = func(*x509.RevocationList)

func mods(all ...listMod) []listMod { return all }

// during sets the time of a list, from now.
func (w *world) during(from, to time.Duration) listMod {
	return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = w.now().Add(from), w.now().Add(to) }
}

func withExtension(critical bool, value []byte, id ...int) listMod {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}
}

// delta makes a list continue the one of that number.
func delta(t testing.TB, base int64) listMod {
	return withExtension(true, must(asn1.Marshal(base))(t), 2, 5, 29, 27)
}

// scope is an issuing distribution point: an address, or "", and the flags with
// their tags.
func scope(url string, flags ...uint8) listMod {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		if url != "" {
			b.AddASN1(tags.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(tags.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
					b.AddASN1(tags.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
				})
			})
		}
		for _, f := range flags {
			b.AddASN1(tags.Tag(f).ContextSpecific(), func(b *cryptobyte.Builder) {
				if f == 3 { // only some reasons: key compromise
					b.AddBytes([]byte{6, 0x40})
				} else {
					b.AddUint8(0xff)
				}
			})
		}
	})
	return withExtension(true, b.BytesOrPanic(), 2, 5, 29, 28)
}

// A reply is an OCSP answer in the making.
type reply struct {
	by           *x509.Certificate
	byKey        bool // names itself by its key
	key          crypto.Signer
	issuer       *x509.Certificate
	serial       *big.Int
	status       int // 0 good, 1 revoked, 2 unknown
	this, next   time.Time
	produced     time.Time
	nonce        []byte
	certificates []*x509.Certificate
}

// ocsp answers about leaf with what change makes of a good answer by w.ca.
func (w *world) ocsp(leaf *x509.Certificate, change ...func(*reply)) func([]byte) ([]byte, error) {
	return func(body []byte) ([]byte, error) {
		r := &reply{
			by: w.ca.Certificate, key: w.ca.Key, issuer: w.ca.Certificate, serial: leaf.SerialNumber,
			this: w.now().Add(-time.Minute), next: w.now().Add(time.Hour), produced: w.now().Add(-time.Minute), nonce: nonceOf(body),
		}
		for _, f := range change {
			f(r)
		}
		return r.bytes(w.t), nil
	}
}

// nonceOf returns the last 32 bytes of a request, which are its nonce.
func nonceOf(body []byte) []byte {
	if len(body) < 32 {
		return nil
	}
	return body[len(body)-32:]
}

func generalized(b *cryptobyte.Builder, t time.Time) {
	b.AddASN1(tags.GeneralizedTime, func(b *cryptobyte.Builder) { b.AddBytes([]byte(t.UTC().Format("20060102150405Z"))) })
}

func context0(n uint8) tags.Tag { return tags.Tag(n).ContextSpecific().Constructed() }

// keyHash is the SHA-1 of the key of c, as OCSP has it.
func keyHash(t testing.TB, c *x509.Certificate) []byte {
	t.Helper()
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &key); err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(key.Key.RightAlign())
	return sum[:]
}

// bytes writes the answer (RFC 6960, section 4.2.1).
func (r *reply) bytes(t testing.TB) []byte {
	t.Helper()
	name, hash, signer := sha1.Sum(r.issuer.RawSubject), keyHash(t, r.issuer), keyHash(t, r.by)
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		if r.byKey {
			b.AddASN1(context0(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(signer) })
		} else {
			b.AddASN1(context0(1), func(b *cryptobyte.Builder) { b.AddBytes(r.by.RawSubject) })
		}
		generalized(b, r.produced)
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26})
						b.AddASN1NULL()
					})
					b.AddASN1OctetString(name[:])
					b.AddASN1OctetString(hash)
					b.AddASN1BigInt(r.serial)
				})
				switch r.status {
				case 1:
					b.AddASN1(context0(1), func(b *cryptobyte.Builder) {
						generalized(b, r.this)
						b.AddASN1(context0(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(1) })
					})
				default:
					b.AddASN1(tags.Tag(r.status).ContextSpecific(), func(*cryptobyte.Builder) {})
				}
				generalized(b, r.this)
				if !r.next.IsZero() {
					b.AddASN1(context0(0), func(b *cryptobyte.Builder) { generalized(b, r.next) })
				}
			})
		})
		if r.nonce != nil {
			b.AddASN1(context0(1), func(b *cryptobyte.Builder) {
				b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2})
						b.AddASN1(tags.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.nonce) })
					})
				})
			})
		}
	})
	tbs := b.BytesOrPanic()
	sum := sha256.Sum256(tbs)
	signature := must(r.key.Sign(rand.Reader, sum[:], crypto.SHA256))(t)
	var basic cryptobyte.Builder
	basic.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
		})
		b.AddASN1BitString(signature)
		if len(r.certificates) > 0 {
			b.AddASN1(context0(0), func(b *cryptobyte.Builder) {
				b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, c := range r.certificates {
						b.AddBytes(c.Raw)
					}
				})
			})
		}
	})
	var outer cryptobyte.Builder
	outer.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0)
		b.AddASN1(context0(0), func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1})
				b.AddASN1OctetString(basic.BytesOrPanic())
			})
		})
	})
	return outer.BytesOrPanic()
}

// signedBy has somebody else sign an answer, who sends the certificate along.
func signedBy(l *testca.Leaf) func(*reply) {
	return func(r *reply) { r.by, r.key, r.certificates = l.Certificate, l.Key, []*x509.Certificate{l.Certificate} }
}

// noCheck marks the certificate of a responder as one about which nobody is asked.
func noCheck(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}})
}

func forOCSP(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }

func newKey(t testing.TB) crypto.Signer {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

// folder is a cache in memory.
type folder struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (f *folder) Names() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.files {
		names = append(names, name)
	}
	return names, nil
}

func (f *folder) Read(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if data, ok := f.files[name]; ok {
		return slices.Clone(data), nil
	}
	return nil, errors.New("no such file")
}

func (f *folder) Write(name string, data ...[]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files == nil {
		f.files = map[string][]byte{}
	}
	f.files[name] = bytes.Join(data, nil)
	return nil
}

func (f *folder) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, name)
	return nil
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
