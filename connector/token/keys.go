// Package token builds and signs what relying parties are told about a user,
// and keeps the keys for it.
package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"adconnector/connector/private"
	"adconnector/ldapauth/setting"
)

// Config says how tokens are signed.
type Config struct {
	// RSABits is the length of the signing key: 2048, 3072 or 4096. A change
	// takes effect like any change of keys: the new key is published first and
	// used 30 days later.
	RSABits int `yaml:"rsa_bits"`
	// CertFile and KeyFile are a certificate and its RSA key, both PEM, that the
	// operator keeps: tokens are signed with these, and nothing is made, renewed
	// or published ahead. They are read at the start.
	CertFile setting.File `yaml:"cert_file"`
	KeyFile  setting.File `yaml:"key_file"`
}

// DefaultConfig returns the settings that hold where the file says nothing.
func DefaultConfig() Config { return Config{RSABits: minBits} }

const minBits = 2048

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var p setting.Problems
	switch c.RSABits {
	case minBits, 3072, 4096:
	default:
		p.Addf("rsa_bits", "must be 2048, 3072 or 4096, not %d", c.RSABits)
	}
	switch {
	case c.CertFile == "" && c.KeyFile != "":
		p.Addf("cert_file", "required with key_file: the certificate by which relying parties know the key")
	case c.CertFile != "" && c.KeyFile == "":
		p.Addf("key_file", "required with cert_file: the private key that belongs to the certificate")
	}
	return p.Err()
}

// The life of a key, in the order in which it happens. Relying parties that
// read the metadata at least every 30 days never meet a key they do not know.
const (
	day      = 24 * time.Hour
	validity = 3 * 365 * day // how long a certificate is valid
	renewal  = 60 * day      // so long before it ends, its successor is made and published ...
	notice   = 30 * day      // ... which takes over when it has been published so long; the old one is published so long after that
	backdate = time.Hour     // for relying parties whose clock is behind
)

// check is how often [Keys.Run] looks at the calendar.
const check = time.Hour

// keyFile is the name of the file with the keys in the data directory: pairs of
// a PKCS#8 key and its certificate, oldest first. One file, so that a change of
// keys is written whole or not at all.
const keyFile = "signing-keys.pem"

// A SigningKey is an RSA key with the certificate by which relying parties know
// it. It is safe for concurrent use.
type SigningKey struct {
	Certificate *x509.Certificate
	key         *rsa.PrivateKey
	keyInfo     []byte // ds:KeyInfo
}

// sign returns the RSASSA-PKCS1-v1_5 signature of a SHA-256 digest.
func (k *SigningKey) sign(digest [sha256.Size]byte) ([]byte, error) {
	return rsa.SignPKCS1v15(nil, k.key, crypto.SHA256, digest[:])
}

// takeOver returns when next, the successor of k, is used: when it has been
// published long enough, but no token is signed with a certificate that has
// expired.
func (k *SigningKey) takeOver(next *SigningKey) time.Time {
	t := next.Certificate.NotBefore.Add(backdate + notice)
	if end := k.Certificate.NotAfter; end.Before(t) {
		return end
	}
	return t
}

// retired returns when k, replaced by next, need not be known any more.
func (k *SigningKey) retired(next *SigningKey) time.Time {
	t := k.takeOver(next).Add(notice)
	if end := k.Certificate.NotAfter; end.Before(t) {
		return end
	}
	return t
}

// Keys are the keys that sign tokens: the current one and, around a change, its
// successor or its predecessor.
type Keys struct {
	dir  *private.Dir
	bits int
	now  func() time.Time
	log  *slog.Logger

	kept      bool          // by the operator, in files of their own
	all       []*SigningKey // oldest first; only OpenKeys and Run use it
	published atomic.Pointer[published]
}

// published is what the rest of the program sees of the keys.
type published struct {
	current      *SigningKey
	certificates []*x509.Certificate
}

// KeysOptions are the surroundings of [Keys].
type KeysOptions struct {
	Log *slog.Logger
	Now func() time.Time // nil for time.Now
}

// OpenKeys returns the key in the files that c names. Without such files it
// returns the keys that are kept in dir, and makes the first one if there is
// none. A key file that is damaged, or whose keys are too weak, is an
// error: to replace it by new keys unasked would lock every relying party out.
func OpenKeys(ctx context.Context, dir *private.Dir, c Config, o KeysOptions) (*Keys, error) {
	k := &Keys{dir: dir, bits: c.RSABits, now: o.Now, log: o.Log}
	if k.now == nil {
		k.now = time.Now
	}
	if c.KeyFile != "" {
		if err := k.open(ctx, c); err != nil {
			return nil, err
		}
		return k, nil
	}
	data, err := dir.Read(keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	default:
		if k.all, err = parseKeys(data); err != nil {
			return nil, fmt.Errorf("%s: %w; put it back from a backup, or delete it to start with a new key, which every relying party must then be told", dir.Path(keyFile), err)
		}
		if from := k.all[0].Certificate.NotBefore; k.now().Before(from) {
			return nil, fmt.Errorf("%s: its certificate is valid from %s and now is %s: set the clock of this machine, or delete the file to start with a new key, which every relying party must then be told",
				dir.Path(keyFile), from.Format(time.RFC3339), k.now().UTC().Format(time.RFC3339))
		}
	}
	if err := k.maintain(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Current returns the key to sign with. It takes no lock.
func (k *Keys) Current() *SigningKey { return k.published.Load().current }

// Certificates returns the certificates for relying parties: that of the
// current key, followed by that of its successor, if it is known already, and
// that of its predecessor until it expires. The caller must not change it.
func (k *Keys) Certificates() []*x509.Certificate { return k.published.Load().certificates }

// Run renews the keys when their time has come, until ctx ends. When that fails
// the keys stay as they are, and it tries again after an hour.
func (k *Keys) Run(ctx context.Context) {
	if k.kept {
		<-ctx.Done()
		return
	}
	t := time.NewTicker(check)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := k.maintain(ctx); err != nil {
				k.log.ErrorContext(ctx, "the signing keys could not be renewed", "err", err)
			}
		}
	}
}

// maintain makes, promotes and drops keys as the calendar wants it. What it
// makes is on disk before anybody sees it: a successor that were forgotten
// after relying parties learned of it would help nobody.
func (k *Keys) maintain(ctx context.Context) error {
	now := k.now()
	all := slices.Clone(k.all)
	if k.needsNext(all, now) {
		key, err := makeKey(k.bits, now)
		if err != nil {
			return err
		}
		all = append(all, key)
	}
	current := pick(all, now)
	for current > 0 && !now.Before(all[0].retired(all[1])) {
		all, current = all[1:], current-1
	}
	if !slices.Equal(all, k.all) {
		if err := k.write(all); err != nil {
			return fmt.Errorf("keeping the signing keys: %w", err)
		}
	}
	k.publish(ctx, all, now)
	return nil
}

// needsNext reports whether the newest key is without a successor that it
// should have by now.
func (k *Keys) needsNext(all []*SigningKey, now time.Time) bool {
	if len(all) == 0 {
		return true
	}
	if pick(all, now) < len(all)-1 {
		return false // it waits already
	}
	last := all[len(all)-1]
	return !now.Before(last.Certificate.NotAfter.Add(-renewal)) || last.key.N.BitLen() != k.bits
}

// pick returns the index of the key to sign with.
func pick(all []*SigningKey, now time.Time) int {
	current := 0
	for i, next := range all[1:] {
		if !now.Before(all[i].takeOver(next)) {
			current = i + 1
		}
	}
	return current
}

// publish makes all the keys in use and says in the log what is new.
func (k *Keys) publish(ctx context.Context, all []*SigningKey, now time.Time) {
	current := pick(all, now)
	p := &published{current: all[current], certificates: []*x509.Certificate{all[current].Certificate}}
	for i, key := range slices.Backward(all) {
		if i != current {
			p.certificates = append(p.certificates, key.Certificate)
		}
	}
	old := k.published.Swap(p)
	for i, key := range all {
		switch {
		case i == current && (old == nil || old.current != key):
			k.log.InfoContext(ctx, "tokens are signed with", about(key)...)
		case i > current && !slices.Contains(k.all, key):
			k.log.WarnContext(ctx, "a new signing key is published: relying parties that do not read the metadata need its certificate before it takes over",
				append(about(key), "takes_over", all[i-1].takeOver(key).UTC().Format(time.RFC3339))...)
		}
	}
	k.all = all
}

// about describes a key for the log.
func about(k *SigningKey) []any {
	sum := sha256.Sum256(k.Certificate.Raw)
	return []any{
		"thumbprint", hex.EncodeToString(sum[:]),
		"rsa_bits", k.key.N.BitLen(),
		"not_after", k.Certificate.NotAfter.UTC().Format(time.RFC3339),
	}
}

// makeKey makes a key and its self-signed certificate.
func makeKey(bits int, now time.Time) (*SigningKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "adconnector token signing"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		SignatureAlgorithm:    x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for the signing key: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for the signing key: %w", err)
	}
	return newSigningKey(key, certificate), nil
}

func newSigningKey(key *rsa.PrivateKey, certificate *x509.Certificate) *SigningKey {
	info := []byte(`<KeyInfo><X509Data><X509Certificate>`)
	info = base64.StdEncoding.AppendEncode(info, certificate.Raw)
	info = append(info, `</X509Certificate></X509Data></KeyInfo>`...)
	return &SigningKey{Certificate: certificate, key: key, keyInfo: info}
}

// write replaces the key file.
func (k *Keys) write(all []*SigningKey) error {
	var b bytes.Buffer
	for _, key := range all {
		der, err := x509.MarshalPKCS8PrivateKey(key.key)
		if err != nil {
			return err
		}
		for _, block := range []*pem.Block{
			{Type: "PRIVATE KEY", Bytes: der},
			{Type: "CERTIFICATE", Bytes: key.Certificate.Raw},
		} {
			if err := pem.Encode(&b, block); err != nil {
				return err
			}
		}
	}
	return k.dir.Write(keyFile, b.Bytes())
}

// parseKeys reads what write wrote, and nothing else.
func parseKeys(data []byte) ([]*SigningKey, error) {
	var all []*SigningKey
	for len(bytes.TrimSpace(data)) > 0 {
		var der [2][]byte
		for i, kind := range []string{"PRIVATE KEY", "CERTIFICATE"} {
			block, rest := pem.Decode(data)
			if block == nil || block.Type != kind {
				return nil, fmt.Errorf("damaged: want a PEM block %q as number %d", kind, 2*len(all)+i+1)
			}
			der[i], data = block.Bytes, rest
		}
		key, err := parseKey(der[0], der[1])
		if err != nil {
			return nil, fmt.Errorf("key number %d: %w", len(all)+1, err)
		}
		all = append(all, key)
	}
	if len(all) == 0 {
		return nil, errors.New("damaged: it is empty")
	}
	return all, nil
}

// parseKey reads one key and its certificate and refuses what must not sign.
func parseKey(key, certificate []byte) (*SigningKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("damaged private key: %w", err)
	}
	// Relying parties of WS-Federation and SAML cannot be relied on to know
	// anything else than RSA.
	rsaKey, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("tokens are signed with RSA keys only, and this is a %T", parsed)
	}
	return parseRSA(rsaKey, certificate)
}
