package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/private"
	"adconnector/connector/token"
)

const day = 24 * time.Hour

func newDir(t testing.TB) *private.Dir {
	t.Helper()
	dir, err := private.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens the keys in dir as if it were that time.
func open(t testing.TB, dir *private.Dir, c token.Config, at time.Time) *token.Keys {
	t.Helper()
	keys, err := token.OpenKeys(t.Context(), dir, c, token.KeysOptions{Log: quiet, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestConfig(t *testing.T) {
	for bits, ok := range map[int]bool{0: false, 1024: false, 2047: false, 2048: true, 3072: true, 4096: true, 8192: false} {
		c := token.Config{RSABits: bits}
		err := c.Validate()
		if (err == nil) != ok {
			t.Errorf("%d bits: error %v, want ok = %v", bits, err, ok)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "rsa_bits: ") {
			t.Errorf("%q does not lead with the key", err)
		}
	}
	c := token.DefaultConfig()
	if err := c.Validate(); err != nil || c.RSABits != 2048 {
		t.Errorf("default is %+v, error %v; want 2048 bits", c, err)
	}
}

func TestOpenKeys_FirstStart(t *testing.T) {
	dir := newDir(t)
	keys := open(t, dir, token.Config{RSABits: 3072}, noon)
	cert := keys.Current().Certificate
	if n := cert.PublicKey.(*rsa.PublicKey).N.BitLen(); n != 3072 {
		t.Errorf("key has %d bits, want the configured 3072", n)
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("certificate is good for more than signatures: CA %v, usage %b", cert.IsCA, cert.KeyUsage)
	}
	if noon.Before(cert.NotBefore) || cert.NotAfter.Before(noon.Add(2*365*day)) {
		t.Errorf("valid from %v to %v, want from now on for years", cert.NotBefore, cert.NotAfter)
	}
	if got := keys.Certificates(); !slices.Equal(got, []*x509.Certificate{cert}) {
		t.Errorf("published %d certificates, want the current one alone", len(got))
	}
	if again := open(t, dir, token.Config{RSABits: 3072}, noon.Add(day)); !again.Current().Certificate.Equal(cert) {
		t.Error("the next start uses another key")
	}
}

// TestKeys_NoRelyingPartyMeetsAnUnknownKey lives through seven years and looks
// every six hours.
func TestKeys_NoRelyingPartyMeetsAnUnknownKey(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		keys, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { keys.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()

		first := keys.Current()
		published := map[*x509.Certificate]time.Time{} // since when
		last := map[*x509.Certificate]time.Time{}      // when it last signed
		for start := time.Now(); time.Since(start) < 7*365*day; time.Sleep(6 * time.Hour) {
			synctest.Wait()
			now, certs := time.Now(), keys.Certificates()
			for _, c := range certs {
				if _, ok := published[c]; !ok {
					published[c] = now
				}
			}
			current := keys.Current()
			if certs[0] != current.Certificate {
				t.Fatalf("%v: the current certificate is not published first", now)
			}
			if len(certs) > 2 {
				t.Fatalf("%v: %d certificates are published, want at most 2", now, len(certs))
			}
			if now.After(current.Certificate.NotAfter) {
				t.Fatalf("%v: tokens are signed with a certificate that expired at %v", now, current.Certificate.NotAfter)
			}
			if known := now.Sub(published[current.Certificate]); current != first && known < 29*day {
				t.Fatalf("%v: tokens are signed with a key that was published %v ago", now, known)
			}
			last[current.Certificate] = now
			for c, signed := range last {
				if now.Sub(signed) < 29*day && !slices.Contains(certs, c) {
					t.Fatalf("%v: a key that signed %v ago is not published any more", now, now.Sub(signed))
				}
			}
		}
		if len(last) < 3 {
			t.Errorf("%d keys in seven years, want at least 3", len(last))
		}
		// What is on disk is what is in use.
		again, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		same := slices.EqualFunc(again.Certificates(), keys.Certificates(), (*x509.Certificate).Equal)
		if !same {
			t.Error("a restart publishes other certificates")
		}
	})
}

// TestKeys_AcrossRestarts are services that were stopped for a while.
func TestKeys_AcrossRestarts(t *testing.T) {
	type step struct {
		days    int
		bits    int
		current int // index of the key in use, in the order in which they were made
		known   []int
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"in time", []step{
			{0, 2048, 0, []int{0}},
			{1034, 2048, 0, []int{0}},
			{1036, 2048, 0, []int{0, 1}},
			{1065, 2048, 0, []int{0, 1}},
			{1067, 2048, 1, []int{1, 0}},
			{1094, 2048, 1, []int{1, 0}},
			{1096, 2048, 1, []int{1}},
		}},
		{"off when the successor was due: it is published for as long as there is", []step{
			{0, 2048, 0, []int{0}},
			{1085, 2048, 0, []int{0, 1}},
			{1094, 2048, 0, []int{0, 1}},
			{1096, 2048, 1, []int{1}},
		}},
		{"off until the certificate had expired: nothing is signed with it", []step{
			{0, 2048, 0, []int{0}},
			{2000, 2048, 1, []int{1}},
		}},
		{"off while the successor waited", []step{
			{0, 2048, 0, []int{0}},
			{1040, 2048, 0, []int{0, 1}},
			{1100, 2048, 1, []int{1}},
		}},
		{"another length is a change of keys like any other", []step{
			{0, 2048, 0, []int{0}},
			{100, 3072, 0, []int{0, 1}},
			{129, 3072, 0, []int{0, 1}},
			{131, 3072, 1, []int{1, 0}},
			{159, 3072, 1, []int{1, 0}},
			{161, 3072, 1, []int{1}},
		}},
		{"and back again: the successor is published before the predecessor", []step{
			{0, 2048, 0, []int{0}},
			{100, 3072, 0, []int{0, 1}},
			{131, 2048, 1, []int{1, 2, 0}},
			{162, 2048, 2, []int{2, 1}},
			{193, 2048, 2, []int{2}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			var made []*x509.Certificate
			index := func(c *x509.Certificate) int {
				i := slices.IndexFunc(made, c.Equal)
				if i < 0 {
					i, made = len(made), append(made, c)
				}
				return i
			}
			for _, s := range tt.steps {
				keys := open(t, dir, token.Config{RSABits: s.bits}, noon.Add(time.Duration(s.days)*day))
				var known []int
				for _, c := range keys.Certificates() {
					known = append(known, index(c))
				}
				if current := index(keys.Current().Certificate); current != s.current || !slices.Equal(known, s.known) {
					t.Errorf("day %d: key %d signs and %v are published, want %d and %v", s.days, current, known, s.current, s.known)
				}
			}
		})
	}
}

// output can be read while it is written.
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

func TestKeys_AFailingDiskChangesNothing(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		logged := &output{}
		keys, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: slog.New(slog.NewTextHandler(logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(dir.Path("signing-keys.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir.Path("")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { keys.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()

		time.Sleep(1040 * day)
		synctest.Wait()
		if n := len(keys.Certificates()); n != 1 {
			t.Errorf("%d certificates are published, want 1: the next one could not be kept", n)
		}
		if !strings.Contains(logged.String(), "could not be renewed") {
			t.Errorf("nothing about it in the log:\n%s", logged)
		}

		if _, err := private.Open(dir.Path("")); err != nil {
			t.Fatal(err)
		}
		if err := dir.Write("signing-keys.pem", before); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := len(keys.Certificates()); n != 2 {
			t.Errorf("%d certificates are published after the disk came back, want 2", n)
		}
	})
}

func TestKeys_TheLogHoldsNoKey(t *testing.T) {
	dir := newDir(t)
	var logged bytes.Buffer
	if _, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: slog.New(slog.NewTextHandler(&logged, nil))}); err != nil {
		t.Fatal(err)
	}
	data, err := dir.Read("signing-keys.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{key.(*rsa.PrivateKey).D.String(), key.(*rsa.PrivateKey).D.Text(16), "PRIVATE KEY"} {
		if strings.Contains(logged.String(), canary) {
			t.Errorf("the log holds the key:\n%s", &logged)
		}
	}
	if !strings.Contains(logged.String(), "thumbprint=") {
		t.Errorf("the log does not name the key:\n%s", &logged)
	}
}

// pair returns a key and a certificate for public as the key file holds them.
func pair(t *testing.T, key crypto.Signer, public any) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"},
		NotBefore: noon.Add(-day), NotAfter: noon.Add(365 * day),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
}

func TestH7_AWeakOrDamagedSigningKeyStopsTheStart(t *testing.T) {
	rsaKey := func(bits int) *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, weak := rsaKey(2048), rsaKey(1024)
	whole := pair(t, good, good.Public())
	half := bytes.Index(whole, []byte("-----BEGIN CERTIFICATE"))
	bent := bytes.Clone(whole)
	bent[100]++

	for _, tt := range []struct {
		name string
		data []byte
		want string // "" for no error
	}{
		{"as it should be", whole, ""},
		{"two keys", slices.Concat(whole, whole), ""},
		{"empty", nil, "empty"},
		{"garbage", []byte("\x00\x00\x00"), "PRIVATE KEY"},
		{"cut off in the key", whole[:half/2], "PRIVATE KEY"},
		{"cut off after the key", whole[:half], "CERTIFICATE"},
		{"cut off in the certificate", whole[:len(whole)-40], "CERTIFICATE"},
		{"wrong order", slices.Concat(whole[half:], whole[:half]), "PRIVATE KEY"},
		{"second pair damaged", slices.Concat(whole, whole[:half]), "number 4"},
		{"something behind", append(bytes.Clone(whole), "x"...), "PRIVATE KEY"},
		{"changed in one place", bent, "backup"},
		{"too weak", pair(t, weak, weak.Public()), "1024 bits is too weak"},
		{"no RSA key", pair(t, ecKey, ecKey.Public()), "RSA keys only"},
		{"certificate of another key", pair(t, good, weak.Public()), "another key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := newDir(t)
			if err := dir.Write("signing-keys.pem", tt.data); err != nil {
				t.Fatal(err)
			}
			_, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: quiet, Now: func() time.Time { return noon }})
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("the start goes on")
			}
			for _, words := range []string{tt.want, dir.Path("signing-keys.pem"), "backup"} {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("error %q does not say %q", err, words)
				}
			}
			if data, err := dir.Read("signing-keys.pem"); err != nil || !bytes.Equal(data, tt.data) {
				t.Errorf("the file was changed (error %v)", err)
			}
		})
	}
}

func TestOpenKeys_ACertificateFromTheFutureIsAWrongClock(t *testing.T) {
	dir := newDir(t)
	open(t, dir, token.DefaultConfig(), noon)
	_, err := token.OpenKeys(t.Context(), dir, token.DefaultConfig(), token.KeysOptions{Log: quiet, Now: func() time.Time { return noon.Add(-day) }})
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("error %v, want one that names the clock", err)
	}
}

func BenchmarkKeys_Current(b *testing.B) {
	keys := open(b, newDir(b), token.DefaultConfig(), noon)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if keys.Current() == nil {
				b.Error("no key")
			}
		}
	})
}
