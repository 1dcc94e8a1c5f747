package revocation

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// million is how many entries the largest lists have.
const million = 1_000_000

// serialAt returns the serial number of entry i of [largeList]: 20 bytes, as
// authorities choose them at random, and in no order.
func serialAt(i int) []byte {
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(i))
	sum := sha256.Sum256(number[:])
	sum[0] = sum[0]&0x3f | 0x40
	return sum[:20]
}

// largeList is a list of a million entries, each with a reason, as openssl and
// Windows make them.
var largeList = sync.OnceValues(func() (list []byte, key *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	reason := []byte{0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01, 0x01}
	entries := make([]byte, 0, million*54)
	for i := range million {
		entries = append(entries, 0x30, 22+15+14, 0x02, 20)
		entries = append(entries, serialAt(i)...)
		entries = append(entries, "\x17\x0d261121070000Z"...)
		entries = append(entries, reason...)
	}
	algorithm := []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}
	tbs := func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1)
			b.AddBytes(algorithm)
			b.AddASN1(tags.SEQUENCE, func(*cryptobyte.Builder) {})
			b.AddASN1UTCTime(time.Now().Add(-time.Hour))
			b.AddASN1UTCTime(time.Now().Add(time.Hour))
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(entries) })
		})
	}
	inner := cryptobyte.NewBuilder(make([]byte, 0, len(entries)+1000))
	tbs(inner)
	message := inner.BytesOrPanic()
	sum := sha256.Sum256(message)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	outer := cryptobyte.NewBuilder(make([]byte, 0, len(entries)+2000))
	outer.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(message)
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
	})
	return outer.BytesOrPanic(), key
})

// TestAMillionEntriesFit holds reading a list to its bounds: what is kept, and
// what is needed meanwhile. Whatever is allocated counts, so the garbage
// collector has no say.
func TestAMillionEntriesFit(t *testing.T) {
	data, key := largeList()
	var before, after, kept runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l, err := parseList(data)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&kept)
	if err := l.signed.by(key.Public()); err != nil {
		t.Error(err)
	}
	if n := l.entries.count; n != million {
		t.Fatalf("%d entries", n)
	}
	stays, needs := int64(kept.HeapAlloc)-int64(before.HeapAlloc), after.TotalAlloc-before.TotalAlloc+uint64(len(data))
	t.Logf("file %.1f MB, kept %.1f MB, needed with the file %.1f MB", float64(len(data))/1e6, float64(stays)/1e6, float64(needs)/1e6)
	if stays > 40e6 {
		t.Errorf("%d bytes are kept", stays)
	}
	if needs > 3*uint64(len(data)) {
		t.Errorf("%d bytes were needed for a file of %d", needs, len(data))
	}
	for _, i := range []int{0, 1, million / 2, million - 1} {
		if e, ok := l.entries.find(serialAt(i)); !ok || e.reason != 1 || e.at != time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC).Unix() {
			t.Errorf("entry %d: %v, %+v", i, ok, e)
		}
	}
	if _, ok := l.entries.find(serialAt(million)); ok {
		t.Error("one that is not there was found")
	}
	runtime.KeepAlive(l)
}

func BenchmarkLookup(b *testing.B) {
	data, _ := largeList()
	l, err := parseList(data)
	if err != nil {
		b.Fatal(err)
	}
	serials := make([][]byte, 1<<12)
	for i := range serials {
		serials[i] = serialAt(i * 487)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.entries.find(serials[i%len(serials)])
	}
}

func BenchmarkParseList(b *testing.B) {
	data, _ := largeList()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseList(data); err != nil {
			b.Fatal(err)
		}
	}
}

func TestEntriesOfAllLengthsAreFound(t *testing.T) {
	var counts [maxSerial + 1]int
	serials := [][]byte{{0}, {1}, {0x7f}, {0x80}, {1, 0}, {0xff, 0xff}, bytes.Repeat([]byte{0x11}, 20), bytes.Repeat([]byte{0x22}, maxSerial)}
	for _, s := range serials {
		counts[len(s)]++
	}
	counts[2]++
	e := newEntries(&counts)
	for i, s := range serials {
		e.add(s, entry{at: int64(1000 + i), reason: byte(i)})
	}
	e.add([]byte{1, 0}, entry{at: 7, reason: removed}) // twice: the one that revokes wins
	e.sort()
	for i, s := range serials {
		if got, ok := e.find(s); !ok || got.at != int64(1000+i) || got.reason != byte(i) {
			t.Errorf("%x: %+v, %v", s, got, ok)
		}
	}
	for _, s := range [][]byte{{2}, {1, 1}, {0, 1}, bytes.Repeat([]byte{0x11}, 19), bytes.Repeat([]byte{0x12}, 20), nil} {
		if _, ok := e.find(s); ok {
			t.Errorf("%x was found", s)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		der  string
		want string // "" means refused
	}{
		{"\x17\x0d261121070102Z", "2026-11-21T07:01:02Z"},
		{"\x17\x0d500101000000Z", "1950-01-01T00:00:00Z"},
		{"\x17\x0d491231235959Z", "2049-12-31T23:59:59Z"},
		{"\x18\x0f20501231235959Z", "2050-12-31T23:59:59Z"},
		{"\x18\x0f99991231235959Z", "9999-12-31T23:59:59Z"},
		{"\x17\x0d260631000000Z", ""},
		{"\x17\x0d260630240000Z", ""},
		{"\x17\x0d26063024000+Z", ""},
		{"\x17\x0b2606300000Z", ""},
		{"\x18\x1120501231235959.5Z", ""},
		{"\x17\x00", ""},
		{"\x02\x01\x05", ""},
	} {
		in := cryptobyte.String(tt.der)
		got, ok := readTime(&in)
		if ok != (tt.want != "") || ok && got.Format(time.RFC3339) != tt.want {
			t.Errorf("%q: %v, %v; want %q", tt.der, got, ok, tt.want)
		}
	}
}

// TestSignatures holds every method that is taken to what crypto/x509 makes, and
// those that can be forged to a refusal.
func TestSignatures(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // it must be refused
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte{0x30, 0x03, 0x02, 0x01, 0x05}
	sign := func(key crypto.Signer, opts crypto.SignerOpts, sum []byte, algorithm ...byte) cryptobyte.String {
		signature, err := key.Sign(rand.Reader, sum, opts)
		if err != nil {
			t.Fatal(err)
		}
		var b cryptobyte.Builder
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
		return b.BytesOrPanic()
	}
	sum := sha256.Sum256(message)
	sha256RSA := []byte{0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00}
	in := sign(large, crypto.SHA256, sum[:], sha256RSA...)
	s, err := readSigned(message, &in)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.by(large.Public()); err != nil {
		t.Error(err)
	}
	if s.by(small.Public()) == nil {
		t.Error("another key will do")
	}
	in = sign(small, crypto.SHA256, sum[:], sha256RSA...)
	if s, err = readSigned(message, &in); err != nil {
		t.Fatal(err)
	}
	if s.by(small.Public()) == nil {
		t.Error("a key of 1024 bits will do")
	}
	sha1RSA := bytes.Replace(sha256RSA, []byte{1, 1, 0x0b}, []byte{1, 1, 0x05}, 1)
	in = sign(large, crypto.SHA1, sum[:20], sha1RSA...)
	if _, err := readSigned(message, &in); err == nil {
		t.Error("SHA-1 will do")
	}
}

// FuzzList has lists read by us and by the standard library. Whatever we take, it
// must have read alike; nobody may make us panic.
func FuzzList(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	issuer := &x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, PublicKey: key.Public(), RawSubject: []byte{0x30, 0x00}}
	for _, l := range []*x509.RevocationList{
		{},
		{RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(5), RevocationTime: time.Now(), ReasonCode: 8}, {SerialNumber: big.NewInt(1 << 40), RevocationTime: time.Now()}}},
	} {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(7), time.Now(), time.Now().Add(time.Hour)
		der, err := x509.CreateRevocationList(rand.Reader, l, issuer, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := parseLists(data)
		if err != nil || len(lists) != 1 || lists[0].size != len(data) {
			return
		}
		l := lists[0]
		theirs, err := x509.ParseRevocationList(data)
		if err != nil {
			return // it is stricter about what we do not use
		}
		for _, e := range theirs.RevokedCertificateEntries {
			if e.SerialNumber.Sign() < 0 || len(e.SerialNumber.Bytes()) > maxSerial {
				continue
			}
			serial := e.SerialNumber.Bytes()
			if len(serial) == 0 {
				serial = []byte{0}
			}
			if _, ok := l.entries.find(serial); !ok {
				t.Errorf("serial number %x is not found", serial)
			}
		}
		if !theirs.ThisUpdate.Equal(l.thisUpdate) || !theirs.NextUpdate.Equal(l.nextUpdate) || string(theirs.RawIssuer) != l.issuer {
			t.Errorf("read as from %v until %v, want %v until %v", l.thisUpdate, l.nextUpdate, theirs.ThisUpdate, theirs.NextUpdate)
		}
		if l.number != nil && theirs.Number != nil && new(big.Int).SetBytes(l.number).Cmp(theirs.Number) != 0 {
			t.Errorf("number %x, want %v", l.number, theirs.Number)
		}
	})
}

// FuzzPoints has extensions of certificates read.
func FuzzPoints(f *testing.F) {
	f.Add([]byte("\x30\x10\x30\x0e\xa0\x0c\xa0\x0a\x86\x08http://x"))
	f.Add([]byte("\x30\x04\x30\x02\xa2\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		points, err := readPoints(data, "\x30\x00")
		if (err == nil) == (len(points) == 0) {
			t.Errorf("%d points and %v", len(points), err)
		}
		for _, p := range points {
			if len(p.urls) == 0 || len(p.names) > maxURLs {
				t.Errorf("a point with %d names and %d addresses", len(p.names), len(p.urls))
			}
		}
	})
}

// FuzzParseReply has answers of responders read.
func FuzzParseReply(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 6})
	f.Add([]byte("\x30\x1a\x0a\x01\x00\xa0\x15\x30\x13\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01\x04\x06\x30\x04\x30\x00\x30\x00"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []int{ocsp.Good, ocsp.Revoked, ocsp.Unknown} {
		answer, err := ocsp.CreateResponse(authority, authority, ocsp.Response{Status: s, SerialNumber: big.NewInt(5), NextUpdate: time.Now(), Certificate: authority}, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReply(data)
		if err != nil {
			return
		}
		r.isFrom(authority)
		if said, ok := r.about(authority, []byte{5}); ok && string(said.serial) != "\x05" {
			t.Errorf("%x for 5", said.serial)
		}
	})
}
