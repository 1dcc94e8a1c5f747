package testca

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// What a [Kit] needs a name of its own for.
const (
	caName     = "ca"
	serverName = "server"
)

// Order says what a [Kit] shall hold.
type Order struct {
	CommonName string   // of the authority
	Hosts      []string // DNS names and IP addresses of the server, at least one
	Users      []string // who gets a certificate of the authority
	Revoked    []string // who gets one that is on the authority's list
	SelfSigned []string // who gets one that nobody has issued
	Password   string   // of the PFX files
}

// A Kit is everything that it takes to try out sign-in by certificate: an
// authority with its revocation list, a server, people.
type Kit struct {
	CA     *CA
	Server *Leaf
	People map[string]*Leaf // by name
	List   []byte           // the authority's revocation list, PEM

	order Order
}

// NewKit makes what was ordered. Names that cannot be those of files, or that
// are given twice, are an error.
func NewKit(o Order) (*Kit, error) {
	if err := checkNames(slices.Concat(o.Users, o.Revoked, o.SelfSigned)); err != nil {
		return nil, err
	}
	ca, err := New(o.CommonName)
	if err != nil {
		return nil, err
	}
	k := &Kit{CA: ca, People: map[string]*Leaf{}, order: o}
	if k.Server, err = ca.Server(o.Hosts...); err != nil {
		return nil, err
	}
	for _, name := range slices.Concat(o.Users, o.Revoked) {
		if k.People[name], err = ca.Client(name); err != nil {
			return nil, err
		}
	}
	for _, name := range o.SelfSigned {
		if k.People[name], err = SelfSigned(name); err != nil {
			return nil, err
		}
	}
	var revoked []*x509.Certificate
	for _, name := range o.Revoked {
		revoked = append(revoked, k.People[name].Certificate)
	}
	k.List, err = ca.List(1, revoked...)
	return k, err
}

// checkNames refuses names that would be files elsewhere, or the same file: on
// Windows letter case makes no difference.
func checkNames(names []string) error {
	taken := []string{caName, serverName}
	for _, name := range names {
		odd := func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-@", r)
		}
		switch {
		case name == "" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, odd) || len(name) > 64:
			return fmt.Errorf("%q cannot be the name of a file everywhere: use letters, digits and . _ - @, at most 64", name)
		case slices.ContainsFunc(taken, func(t string) bool { return strings.EqualFold(t, name) }):
			return fmt.Errorf("the name %q is taken: %s and %s are files of the authority and the server, and everybody else needs a name of their own", name, caName, serverName)
		}
		taken = append(taken, name)
	}
	return nil
}

// SelfSigned returns a certificate with which a person signs in that nobody has
// issued: it is signed with its own key. The mods change the template.
func SelfSigned(commonName string, mods ...func(*x509.Certificate)) (*Leaf, error) {
	template := leafTemplate(commonName, x509.ExtKeyUsageClientAuth)
	for _, mod := range mods {
		mod(template)
	}
	fillTimes(template, leafLifetime)
	key, err := orFresh(nil)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %q: %w", commonName, err)
	}
	return &Leaf{Certificate: cert, Key: key}, nil
}

// List returns a revocation list (PEM) with that number, good from an hour ago
// for a year: whoever tries things out would not bring a new one every day.
func (ca *CA) List(number int64, revoked ...*x509.Certificate) ([]byte, error) {
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(leafLifetime)}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: c.SerialNumber, RevocationTime: now.Add(-backdate), ReasonCode: keyCompromise,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca.Certificate, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("making the revocation list: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

// keyCompromise is the reason in the list (RFC 5280, section 5.3.1).
const keyCompromise = 1

// KeyPEM returns the authority's private key, not encrypted (PKCS #8).
func (ca *CA) KeyPEM() []byte { return (&Leaf{Certificate: ca.Certificate, Key: ca.Key}).KeyPEM() }

// Files returns what the kit holds as files: PEM for certificates (.crt), keys
// (.key) and the list (.crl), and PKCS #12 (.pfx).
func (k *Kit) Files() (map[string][]byte, error) {
	files := map[string][]byte{caName + ".crt": k.CA.PEM(), caName + ".key": k.CA.KeyPEM(), caName + ".crl": k.List}
	leaves := map[string]*Leaf{serverName: k.Server}
	for name, leaf := range k.People {
		leaves[name] = leaf
	}
	for name, leaf := range leaves {
		files[name+".crt"], files[name+".key"] = leaf.CertPEM(), leaf.KeyPEM()
		var err error
		if files[name+".pfx"], err = leaf.PFX(k.order.Password); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Write puts the files into the folder dir, for nobody but its owner to read. It
// overwrites nothing: if one of them is there already it writes none, and what
// it wrote is gone again if it cannot write all.
func (k *Kit) Write(dir string) (err error) {
	files, err := k.Files()
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already and nothing is overwritten: name an empty folder", filepath.Join(dir, name))
		}
	}
	var written []string
	defer func() {
		if err != nil {
			for _, path := range written {
				_ = os.Remove(path)
			}
		}
	}()
	for _, name := range names {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		written = append(written, path)
		_, err = f.Write(files[name])
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}
