package hub

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"adconnector/ldapauth/secret"
)

// TestFormsOfNumbersInCommands: tenants write pids as text or as numbers, and
// limits as numbers or, where they come from an address, as text.
func TestFormsOfNumbersInCommands(t *testing.T) {
	for in, want := range map[string]string{
		`"a1"`: "a1", `"7"`: "7", `7`: "7", `0`: "0", `9007199254740991`: "9007199254740991", `null`: "",
		`1.5`: "error", `-1`: "error", `1e3`: "error", `true`: "error", `[1]`: "error", `{}`: "error", `90071992547409910`: "error",
	} {
		var c command
		got := "error"
		if err := json.Unmarshal([]byte(`{"pid":`+in+`}`), &c); err == nil {
			got = string(c.PID)
		}
		if got != want {
			t.Errorf("pid %s is read as %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]int{
		`5`: 5, `5.0`: 5, `"5"`: 5, `0`: 0, `-1`: -1, `null`: 0, `""`: 0, `1e3`: 1000, `1000000000000`: math.MaxInt32, `1e300`: math.MaxInt32, `-7`: -1, `"NaN"`: -2, `1.5`: -2, `"x"`: -2, `"1.5"`: -2, `[5]`: -2, `{}`: -2, `true`: -2,
	} {
		var c command
		got := -2 // an error
		if err := json.Unmarshal([]byte(`{"limit":`+in+`}`), &c); err == nil {
			got = int(c.Limit)
		}
		if got != want {
			t.Errorf("limit %s is read as %d, want %d", in, got, want)
		}
	}
}

// TestFormsOfSigningKeys: what travels as JSON may have lost its line ends on the
// way, or got others.
func TestFormsOfSigningKeys(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	for name, text := range map[string]string{
		"as it is":             key,
		"no last line end":     strings.TrimSpace(key),
		"CR LF":                strings.ReplaceAll(key, "\n", "\r\n"),
		"CR":                   strings.ReplaceAll(key, "\n", "\r"),
		"escaped":              strings.ReplaceAll(key, "\n", `\n`),
		"escaped CR LF":        strings.ReplaceAll(key, "\n", `\r\n`),
		"blanks before, after": " \n\t" + key + "\n \n",
	} {
		s := &Settings{SigningKey: text}
		if got, err := s.key(); err != nil || !got.Equal(&private.PublicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{"two": key + key, "none": "", "text behind": key + "x"} {
		if _, err := (&Settings{SigningKey: text}).key(); err == nil {
			t.Errorf("%s: a key was read", name)
		}
	}
}

// TestTicketIsAskedAsItIs: nothing in its path is tidied up.
func TestTicketIsAskedAsItIs(t *testing.T) {
	base, err := url.Parse("https://login.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/p/ad/abc", "/p//ad/abc", "/p/./abc", "/p/a/../abc", "/p/a%2Fb%20c", "/p/a;b=c,d", "/p/ü"} {
		p, err := NewProvisioner(Config{Ticket: secret.New("https://tenant.test" + path)}, nil, base)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		p.client = &http.Client{Transport: direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.URL.EscapedPath()
			http.NotFound(w, r)
		})}}
		if _, err := p.info(t.Context()); err == nil {
			t.Error("no error")
		}
		want, err := url.Parse(path + "/info")
		if err != nil || got != want.EscapedPath() {
			t.Errorf("asked for %q, want %q: %v", got, want.EscapedPath(), err)
		}
	}
}

// TestFormsOfTickets: a ticket is often copied with a little too much.
func TestFormsOfTickets(t *testing.T) {
	const want = "https://tenant.example.com/p/ad/abc"
	for _, text := range []string{want, want + "/", want + "/info", want + "/info/", "  " + want + "\n"} {
		if u, problem := parseTicket(secret.New(text)); problem != "" || u.String() != want {
			t.Errorf("%q is read as %v: %s", text, u, problem)
		}
	}
	for _, text := range []string{"https://tenant.example.com", "https://tenant.example.com/", "https://tenant.example.com/info", want + "?a=b", want + "#c", "ftp://x/p", "two words"} {
		if u, problem := parseTicket(secret.New(text)); problem == "" {
			t.Errorf("%q is read as %v", text, u)
		}
	}
}
