package certauth_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/denial"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/setting"
)

// TestCertificatesByOpenSSL has certificates made by somebody else's code,
// among them kinds that crypto/x509 does not make.
func TestCertificatesByOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		dirtest.Missing(t, "openssl is not installed")
	}
	o := openssl{t, t.TempDir()}
	o.write("ext.cnf", `
[user]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = otherName:1.3.6.1.4.1.311.20.2.3;UTF8:jon@fabrikam.example
[card]
keyUsage = digitalSignature
extendedKeyUsage = 1.3.6.1.4.1.311.20.2.2
subjectAltName = critical, otherName:1.3.6.1.4.1.311.20.2.3;UTF8:jon@fabrikam.example
[bare]
basicConstraints = CA:FALSE
[issuer]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign
[branch]
basicConstraints = critical, CA:TRUE
nameConstraints = permitted;dirName:branch_name
[outside]
basicConstraints = critical, CA:TRUE
nameConstraints = critical, permitted;email:.branch.example
[branch_name]
O = Branch
[mail]
extendedKeyUsage = clientAuth
subjectAltName = email:jon@fabrikam.example
`)
	o.key("root", "rsa:2048")
	o.run("req", "-x509", "-new", "-key", "root.key", "-subj", "/O=Fabrikam/CN=Root", "-days", "30", "-out", "root.crt")
	v := certauth.New(certauth.DefaultConfig(), must(certauth.LoadAnchors([]setting.File{setting.File(o.path("root.crt"))}))(t))
	o.key("p256", "ec:P-256")

	t.Run("a plain one", func(t *testing.T) {
		c := o.issue("root", "p256", "/O=Fabrikam/CN=jon", "user")
		wantName(t, v, []*x509.Certificate{c}, "jon")
		got := must(v.Verify(t.Context(), []*x509.Certificate{c}))(t)
		o.write("got.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		out := o.run("x509", "-in", "got.crt", "-noout", "-serial", "-subject", "-issuer", "-fingerprint", "-sha256", "-nameopt", "RFC2253")
		for _, want := range []string{
			"serial=" + strings.ToUpper(got.Serial) + "\n",
			"subject=" + got.Subject + "\n",
			"issuer=" + got.Issuer + "\n",
			strings.ToUpper(got.Thumbprint),
		} {
			if !strings.Contains(strings.ReplaceAll(out, ":", ""), want) {
				t.Errorf("openssl does not say %q:\n%s", want, out)
			}
		}
	})
	t.Run("smart card with a critical principal name", func(t *testing.T) {
		wantName(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=jon", "card")}, "jon")
	})
	t.Run("no usages", func(t *testing.T) {
		wantReason(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=jon", "bare")}, denial.WrongUsage)
	})
	t.Run("UTF-8 name", func(t *testing.T) {
		wantName(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=Jürgen Müller", "user")}, "Jürgen Müller")
	})
	t.Run("BMPString name", func(t *testing.T) {
		wantName(t, v, []*x509.Certificate{o.issueMask("MASK:0x800", "/CN=Jürgen", "user")}, "Jürgen")
	})
	t.Run("TeletexString name", func(t *testing.T) {
		wantReason(t, v, []*x509.Certificate{o.issueMask("MASK:0x4", "/CN=Jürgen", "user")}, denial.BadName, `J\xfcrgen`)
		wantName(t, v, []*x509.Certificate{o.issueMask("MASK:0x4", "/CN=jon_smith", "user")}, "jon_smith")
	})
	t.Run("C1 common name joined to another attribute", func(t *testing.T) {
		wantReason(t, v, []*x509.Certificate{o.issue("root", "p256", "/O=Fabrikam/CN=jon+UID=admin", "user")}, denial.AmbiguousName)
		wantReason(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=jon/CN=admin", "user")}, denial.AmbiguousName)
	})
	t.Run("B10 MD5 and SHA-1", func(t *testing.T) {
		wantReason(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=jon", "user", "-md5")}, denial.WeakSignature, "MD5")
		wantReason(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=jon", "user", "-sha1")}, denial.WeakSignature, "SHA1")
	})
	t.Run("RSA-PSS signature", func(t *testing.T) {
		wantName(t, v, []*x509.Certificate{o.issue("root", "p256", "/CN=jon", "user", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")}, "jon")
	})
	t.Run("B10 RSA 1024", func(t *testing.T) {
		o.key("weak", "rsa:1024")
		wantReason(t, v, []*x509.Certificate{o.issue("root", "weak", "/CN=jon", "user")}, denial.WeakKey, "1024")
	})
	t.Run("A9 kinds of key that are not known here", func(t *testing.T) {
		for _, kind := range []string{"ed448", "rsa-pss:2048", "dsa"} {
			o.key("odd", kind)
			wantReason(t, v, []*x509.Certificate{o.issue("root", "odd", "/CN=jon", "user")}, denial.WeakKey, "not supported")
		}
	})
	t.Run("B11 name constraints", func(t *testing.T) {
		branch := o.issue("root", "p256", "/CN=Branch", "branch")
		o.save("branch.crt", branch)
		o.write("branch.key", o.read("p256.key"))
		wantReason(t, v, []*x509.Certificate{o.issue("branch", "p256", "/CN=jon", "user"), branch}, denial.Untrusted)
		outside := o.issue("root", "p256", "/CN=Outside", "outside")
		o.save("branch.crt", outside)
		wantReason(t, v, []*x509.Certificate{o.issue("branch", "p256", "/CN=jon", "mail"), outside}, denial.Untrusted, "jon@fabrikam.example")
	})
	t.Run("a chain", func(t *testing.T) {
		issuer := o.issue("root", "p256", "/CN=Issuing", "issuer")
		o.save("issuing.crt", issuer)
		o.write("issuing.key", o.read("p256.key"))
		leaf := o.issue("issuing", "p256", "/CN=jon", "user")
		wantName(t, v, []*x509.Certificate{leaf, issuer}, "jon")
		wantReason(t, v, []*x509.Certificate{leaf}, denial.Untrusted)
	})
}

// TestRulesOnCertificatesByOpenSSL has what people put into smart cards and what
// authorities of Active Directory write, made by somebody else's code.
func TestRulesOnCertificatesByOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		dirtest.Missing(t, "openssl is not installed")
	}
	o := openssl{t, t.TempDir()}
	o.write("ext.cnf", `
[user]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
certificatePolicies = 1.3.6.1.4.1.99999.1.2
subjectAltName = @names
1.3.6.1.4.1.311.25.2 = ASN1:SEQUENCE:ntds
[names]
otherName.0 = 1.3.6.1.4.1.311.20.2.3;UTF8:jon@fabrikam.example
email.0 = jon@fabrikam.example
URI.0 = `+sidURI+jonSID+`
[ntds]
name = IMPLICIT:0,SEQUENCE:sid
[sid]
type = OID:1.3.6.1.4.1.311.25.2.1
value = EXPLICIT:0,FORMAT:ASCII,OCTETSTRING:`+jonSID+`
[bmp]
extendedKeyUsage = clientAuth
subjectAltName = otherName:1.3.6.1.4.1.311.20.2.3;BMP:jon@fabrikam.example
[two]
extendedKeyUsage = clientAuth
subjectAltName = otherName:1.3.6.1.4.1.311.20.2.3;UTF8:jon@fabrikam.example, otherName:1.3.6.1.4.1.311.20.2.3;UTF8:amy@fabrikam.example
`)
	for _, kind := range []string{"rsa:4096", "ec:P-384", "ed25519"} {
		o.key("root", kind)
		o.key("p256", kind) // which issueMask uses
		o.run("req", "-x509", "-new", "-key", "root.key", "-subj", "/DC=example/DC=fabrikam/CN=Fabrikam CA", "-days", "30", "-out", "root.crt")
		list := must(certauth.LoadAnchors([]setting.File{setting.File(o.path("root.crt"))}))(t)
		find := func(c *x509.Certificate, names ...string) *certauth.Certificate {
			t.Helper()
			config := rules(names...)
			config.AllowWeakMapping = true
			return must(certauth.New(config, list).Verify(t.Context(), []*x509.Certificate{c}))(t)
		}
		c := o.issue("root", "p256", "/DC=example/OU=People/CN=Jon Smith+UID=jon", "user", "-set_serial", "0x2B0000000011AC0000000012")
		for rule, want := range map[string]string{
			"san_upn": "jon@fabrikam.example", "san_email": "jon@fabrikam.example", "sid": jonSID,
			"alt_security_identities": "X509:<I>DC=example,DC=fabrikam,CN=Fabrikam CA<SR>1200000000ac11000000002b",
		} {
			if got := find(c, rule); got.UserName != want || got.SID != jonSID {
				t.Errorf("%s, %s: %q, want %q", kind, rule, got.UserName, want)
			}
		}
		subject := find(c, "subject_dn").UserName
		if !slices.Contains([]string{"CN=Jon Smith+UID=jon,OU=People,DC=example", "UID=jon+CN=Jon Smith,OU=People,DC=example"}, subject) {
			t.Errorf("%s: subject %q", kind, subject)
		}
		o.save("got.crt", c)
		key := strings.ToLower(strings.ReplaceAll(o.run("x509", "-in", "got.crt", "-noout", "-ext", "subjectKeyIdentifier"), ":", ""))
		for _, id := range find(c, "alt_security_identities").Identities[1:] { // openssl's identifier is that hash of the key
			if _, hash, _ := strings.Cut(id, ">"); !strings.Contains(key, hash) {
				t.Errorf("%s: %s is not in %s", kind, id, key)
			}
		}
		if got := find(o.issue("root", "p256", "/CN=jon", "bmp"), "san_upn").UserName; got != "jon@fabrikam.example" {
			t.Errorf("%s: BMPString: %q", kind, got)
		}
		wantReason(t, certauth.New(rules("san_upn"), list), []*x509.Certificate{o.issue("root", "p256", "/CN=jon", "two")}, denial.AmbiguousName)
		if got := find(o.issueMask("MASK:0x800", "/O=Größe/CN=Jürgen", "user"), "subject_dn").UserName; got != "CN=Jürgen,O=Größe" {
			t.Errorf("%s: BMPString subject: %q", kind, got)
		}
		if got := find(o.issueMask("MASK:0x800", "/O=Größe/CN=Jürgen", "user"), "alt_security_identities").WeakIdentities[1]; got != "X509:<S>O=Größe,CN=Jürgen" {
			t.Errorf("%s: BMPString subject: %q", kind, got)
		}
		wantReason(t, certauth.New(rules("subject_dn"), list), []*x509.Certificate{o.issueMask("MASK:0x4", "/O=Größe/CN=jon", "bmp")}, denial.BadName)
		config := rules("sid")
		config.Policies = []string{"1.3.6.1.4.1.99999.1.2"}
		must(certauth.New(config, list).Verify(t.Context(), []*x509.Certificate{c}))(t)
	}
}

// openssl runs the program of that name in a folder of its own.
type openssl struct {
	t   *testing.T
	dir string
}

func (o openssl) path(name string) string { return filepath.Join(o.dir, name) }

func (o openssl) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(o.path(name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o openssl) read(name string) string {
	o.t.Helper()
	return string(must(os.ReadFile(o.path(name)))(o.t))
}

func (o openssl) save(name string, c *x509.Certificate) {
	o.t.Helper()
	o.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
}

func (o openssl) run(args ...string) string {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), "openssl", args...)
	cmd.Dir = o.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// key makes name.key, of a kind such as "rsa:2048", "ec:P-256" or "ed448".
func (o openssl) key(name, kind string) {
	o.t.Helper()
	algorithm, size, _ := strings.Cut(kind, ":")
	args := []string{"genpkey", "-out", name + ".key"}
	switch algorithm {
	case "ec":
		args = append(args, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+size)
	case "rsa", "rsa-pss":
		args = append(args, "-algorithm", algorithm, "-pkeyopt", "rsa_keygen_bits:"+size)
	case "dsa":
		o.run("genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", "dsa.params")
		args = append(args, "-paramfile", "dsa.params")
	default:
		args = append(args, "-algorithm", algorithm)
	}
	o.run(args...)
}

// issue makes a certificate with a section of ext.cnf as its extensions.
func (o openssl) issue(issuer, key, subject, section string, more ...string) *x509.Certificate {
	o.t.Helper()
	o.run("req", "-new", "-utf8", "-key", key+".key", "-subj", subject, "-out", "user.csr")
	return o.sign(issuer, section, more...)
}

// issueMask makes a certificate whose name is of a type of string that openssl
// chooses by the mask.
func (o openssl) issueMask(mask, subject, section string) *x509.Certificate {
	o.t.Helper()
	o.write("mask.cnf", "[req]\nstring_mask = "+mask+"\ndistinguished_name = dn\n[dn]\n")
	o.run("req", "-new", "-utf8", "-config", "mask.cnf", "-key", "p256.key", "-subj", subject, "-out", "user.csr")
	return o.sign("root", section)
}

func (o openssl) sign(issuer, section string, more ...string) *x509.Certificate {
	o.t.Helper()
	o.run(append([]string{
		"x509", "-req", "-in", "user.csr", "-CA", issuer + ".crt", "-CAkey", issuer + ".key", "-CAcreateserial",
		"-days", "10", "-extfile", "ext.cnf", "-extensions", section, "-out", "user.crt",
	}, more...)...)
	block, _ := pem.Decode([]byte(o.read("user.crt")))
	return must(x509.ParseCertificate(block.Bytes))(o.t)
}
