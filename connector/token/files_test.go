package token_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"adconnector/connector/token"
	"adconnector/ldapauth/setting"
	"adconnector/ldapauth/testca"
)

// kept is a key that the operator keeps.
type kept struct{ cert, key string }

// keepKey writes an RSA key with a certificate of the given time.
func keepKey(t *testing.T, from, to time.Time) kept {
	t.Helper()
	key, err := rsa.GenerateKey(nil, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := testca.NewWithKey("kept", key, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to })
	if err != nil {
		t.Fatal(err)
	}
	k := kept{filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "cert.key")}
	write(t, k.cert, string(ca.PEM()))
	write(t, k.key, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	return k
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k kept) config() token.Config {
	c := token.DefaultConfig()
	c.CertFile, c.KeyFile = setting.File(k.cert), setting.File(k.key)
	return c
}

// TestKeptKeyIsNeverReplaced: whoever trusts one certificate trusts no other, so
// neither a short time left nor its end makes a new key.
func TestKeptKeyIsNeverReplaced(t *testing.T) {
	for name, end := range map[string]time.Time{"fresh": noon.Add(365 * day), "soon over": noon.Add(day), "over": noon.Add(-day)} {
		t.Run(name, func(t *testing.T) {
			k := keepKey(t, noon.Add(-400*day), end)
			var log bytes.Buffer
			dir := newDir(t)
			keys, err := token.OpenKeys(t.Context(), dir, k.config(), token.KeysOptions{
				Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return noon },
			})
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := token.ReadKey(k.cert, k.key)
			if err != nil {
				t.Fatal(err)
			}
			if all := keys.Certificates(); len(all) != 1 || !keys.Current().Certificate.Equal(want.Certificate) {
				t.Errorf("%d certificates are published, or another one signs", len(all))
			}
			if names, _ := dir.Names(); len(names) > 0 {
				t.Errorf("%v was written", names)
			}
			if warned := strings.Contains(log.String(), "has expired"); warned != (name == "over") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

func TestKeptKeyOutlivesYearsOfRunning(t *testing.T) {
	k := keepKey(t, time.Now().Add(-day), time.Now().Add(30*365*day))
	synctest.Test(t, func(t *testing.T) {
		c := k.config()
		c.RSABits = 4096 // of keys that are made
		time.Sleep(time.Until(time.Now().Add(27 * 365 * day)))
		keys, err := token.OpenKeys(t.Context(), newDir(t), c, token.KeysOptions{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		before := keys.Current()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); keys.Run(ctx) }()
		time.Sleep(3 * 365 * day)
		if keys.Current() != before || len(keys.Certificates()) != 1 {
			t.Error("another key has taken over, or is published")
		}
		cancel()
		<-done
	})
}

func TestKeptKeyThatMustNotSign(t *testing.T) {
	good, other := keepKey(t, noon.Add(-day), noon.Add(day)), keepKey(t, noon.Add(-day), noon.Add(day))
	future := keepKey(t, noon.Add(day), noon.Add(2*day))
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "file")
		write(t, name, text)
		return name
	}
	for name, tt := range map[string]struct {
		k    kept
		want string
	}{
		"another's certificate": {kept{other.cert, good.key}, "belongs to another key"},
		"not yet valid":         {future, "set the clock"},
		"no certificate":        {kept{good.key, good.key}, "PEM block CERTIFICATE"},
		"no key":                {kept{good.cert, good.cert}, "PEM block PRIVATE KEY"},
		"no file":               {kept{good.cert, good.key + "x"}, "key_file: there is no file"},
		"damaged key":           {kept{good.cert, file("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")}, "damaged private key"},
		"encrypted key":         {kept{good.cert, file("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")}, "openssl pkey"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := token.OpenKeys(t.Context(), newDir(t), tt.k.config(), token.KeysOptions{Log: quiet, Now: func() time.Time { return noon }})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestH7_KeptKeyThatOthersReadIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a warning there") // see private.Check
	}
	k := keepKey(t, noon.Add(-day), noon.Add(day))
	if err := os.Chmod(k.key, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := token.OpenKeys(t.Context(), newDir(t), k.config(), token.KeysOptions{Log: quiet, Now: func() time.Time { return noon }})
	if err == nil || !strings.Contains(err.Error(), "chmod 600 "+k.key) {
		t.Errorf("error = %v", err)
	}
}

func TestKeptKeyTakesBothFiles(t *testing.T) {
	for missing, c := range map[string]token.Config{
		"cert_file": {RSABits: 2048, KeyFile: "k"},
		"key_file":  {RSABits: 2048, CertFile: "c"},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), missing+": required with") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
