package connector_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "adconnector/"

// rules is the architecture: every package, from the ground up, with the
// packages of ours, the packages of others and, because it is policy too,
// net/http that it may import. A package may name only packages above it in the
// list, so there can be no cycle.
//
// Do not change a rule to make a build pass. A new line here is a design
// decision; say why in the commit.
var rules = []struct{ pkg, ours, theirs string }{
	// Floor 0: words, values and files.
	{"templates", "", ""},
	{"static", "", ""},
	{"ldapauth/secret", "", ""},
	{"ldapauth/denial", "", ""},
	{"ldapauth/setting", "", ""},
	{"connector/iprange", "", ""},
	{"connector/private", "", "golang.org/x/sys/windows"},
	{"connector/watch", "", ""},
	{"connector/control", "connector/private", ""},
	// Floor 1: proof. No HTTP here.
	{"ldapauth/pemfile", "ldapauth/setting", ""},
	{"ldapauth/certauth/revocation", "ldapauth/denial ldapauth/setting", "github.com/hashicorp/golang-lru/v2/simplelru golang.org/x/crypto/cryptobyte golang.org/x/crypto/cryptobyte/asn1"},
	{"ldapauth/certauth", "ldapauth/certauth/revocation ldapauth/denial ldapauth/pemfile ldapauth/setting", "github.com/hashicorp/golang-lru/v2/simplelru golang.org/x/crypto/cryptobyte golang.org/x/crypto/cryptobyte/asn1 golang.org/x/text/unicode/norm"},
	{"ldapauth/testca", "", "software.sslmate.com/src/go-pkcs12"},
	{"ldapauth/memdir", "", "github.com/go-asn1-ber/asn1-ber"},
	{"ldapauth/bare", "", "github.com/go-ldap/ldap/v3"}, // what ldapauth is measured against
	{"ldapauth", "ldapauth/denial ldapauth/pemfile ldapauth/secret ldapauth/setting", "github.com/go-ldap/ldap/v3 github.com/go-ldap/ldap/v3/gssapi github.com/jcmturner/gokrb5/v8/client github.com/jcmturner/gokrb5/v8/config github.com/jcmturner/gokrb5/v8/iana/etypeID github.com/jcmturner/gokrb5/v8/keytab github.com/go-asn1-ber/asn1-ber github.com/hashicorp/golang-lru/v2 github.com/hashicorp/golang-lru/v2/simplelru golang.org/x/sync/errgroup golang.org/x/sys/unix golang.org/x/sys/windows golang.org/x/text/unicode/norm"},
	// What is said of an account, without knowing what an account is.
	{"connector/profile", "ldapauth/setting", "github.com/expr-lang/expr github.com/expr-lang/expr/ast github.com/expr-lang/expr/file github.com/expr-lang/expr/vm"},
	// Floor 2: the one door. No HTTP and no LDAP here.
	{"connector/signin", "ldapauth ldapauth/certauth ldapauth/denial ldapauth/secret ldapauth/setting connector/iprange connector/private connector/profile", "github.com/hashicorp/golang-lru/v2/simplelru golang.org/x/text/unicode/norm"},
	// Floor 3: what protocols share. Nobody from here up sees the directory.
	{"connector/front", "ldapauth/secret ldapauth/setting connector/iprange connector/private", "software.sslmate.com/src/go-pkcs12"},
	{"connector/fetch", "ldapauth/certauth/revocation", "net/http"},
	{"connector/token", "connector/signin connector/private ldapauth/setting", "github.com/go-jose/go-jose/v4 github.com/go-jose/go-jose/v4/jwt"},
	{"connector/web", "connector/front connector/signin connector/iprange ldapauth/certauth ldapauth/denial ldapauth/secret ldapauth/setting static templates", "net/http github.com/gorilla/sessions github.com/gorilla/securecookie github.com/hashicorp/golang-lru/v2/simplelru"},
	// Floor 4: one package for each upstream; they do not know each other.
	{"connector/hub", "connector/fetch connector/private connector/signin connector/web ldapauth/denial ldapauth/pemfile ldapauth/secret ldapauth/setting", "net/http github.com/coder/websocket github.com/go-jose/go-jose/v4 github.com/go-jose/go-jose/v4/jwt"},
	{"connector/wsfed", "connector/signin connector/token connector/web ldapauth/setting", "net/http"},
	// What is counted. It alone knows Prometheus, and nothing of what it counts but
	// the vocabulary of "no".
	{"connector/metrics", "connector/front connector/iprange ldapauth/denial ldapauth/setting", "net/http github.com/prometheus/client_golang/prometheus github.com/prometheus/client_golang/prometheus/collectors github.com/prometheus/client_golang/prometheus/promhttp"},
	// Floor 5: assembly.
	{"connector", "connector/control connector/fetch connector/front connector/hub connector/iprange connector/metrics connector/private connector/profile connector/signin connector/token connector/watch connector/web connector/wsfed ldapauth ldapauth/certauth ldapauth/certauth/revocation ldapauth/denial ldapauth/secret ldapauth/setting", "gopkg.in/yaml.v3 net/http"},
	// Floor 6: the program.
	{"connector/browser", "", "net/http"},
	{"connector/demo", "connector connector/browser connector/private ldapauth/memdir ldapauth/testca", "net/http github.com/beevik/etree github.com/russellhaering/goxmldsig"},
	{"connector/bench", "connector connector/browser connector/private connector/signin ldapauth ldapauth/bare ldapauth/memdir ldapauth/pemfile ldapauth/secret ldapauth/testca", "net/http"},
	{"connector/migrate", "connector connector/private connector/token ldapauth/secret", "golang.org/x/crypto/scrypt software.sslmate.com/src/go-pkcs12"},
	{"cmd/adconnector", "connector connector/bench connector/demo connector/migrate connector/private ldapauth/secret ldapauth/testca", "github.com/kardianos/service github.com/urfave/cli/v3 golang.org/x/sys/windows/svc"},
	// Tests only: nothing above imports it.
	{"connector/hub/hubtest", "ldapauth/testca", "net/http github.com/coder/websocket"},
	{"ldapauth/dirtest", "ldapauth/testca", "golang.org/x/crypto/argon2 golang.org/x/sys/unix github.com/go-ldap/ldap/v3"},
}

func TestImports(t *testing.T) {
	got := imports(t)
	seen := map[string]bool{}
	for _, r := range rules {
		allowed := strings.Fields(r.ours + " " + r.theirs)
		for _, a := range strings.Fields(r.ours) {
			if !seen[a] {
				t.Errorf("rule for %s names %s, which is not on a lower floor", r.pkg, a)
			}
		}
		for _, imp := range got[r.pkg] {
			if !slices.Contains(allowed, imp) {
				t.Errorf("%s must not import %s", r.pkg, imp)
			}
		}
		for _, a := range allowed {
			if !slices.Contains(got[r.pkg], a) {
				t.Errorf("%s no longer imports %s: tighten its rule", r.pkg, a)
			}
		}
		seen[r.pkg] = true
		delete(got, r.pkg)
	}
	for pkg := range got {
		t.Errorf("%s has no rule: decide which floor it is on", pkg)
	}
}

// imports returns what each package of the module imports on any of the
// systems that are built for, less what the standard library has except
// net/http.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for _, goos := range []string{"linux", "windows"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
		cmd.Env = append(cmd.Environ(), "GOOS="+goos)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p struct {
				ImportPath string
				Imports    []string
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			pkg := strings.TrimPrefix(p.ImportPath, module)
			got[pkg] = append(got[pkg], foreign(p.Imports)...)
			slices.Sort(got[pkg])
			got[pkg] = slices.Compact(got[pkg])
		}
	}
	return got
}

// foreign leaves out the standard library, except net/http.
func foreign(imports []string) []string {
	var out []string
	for _, imp := range imports {
		first, _, _ := strings.Cut(imp, "/")
		if strings.Contains(first, ".") || imp == "net/http" || strings.HasPrefix(imp, module) || imp+"/" == module {
			out = append(out, strings.TrimPrefix(imp, module))
		}
	}
	return out
}
