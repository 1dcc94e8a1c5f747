package wsfed_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"adconnector/connector/wsfed"
	"adconnector/ldapauth/setting"
)

func TestConfig(t *testing.T) {
	withURL := func(u string) wsfed.Config {
		c := config()
		c.RelyingParties[0].ReplyURLs[1] = u
		return c
	}
	with := func(change func(*wsfed.Config)) wsfed.Config {
		c := config()
		change(&c)
		return c
	}
	const secondURL = "relying_parties[0].reply_urls[1]"
	for _, tt := range []struct {
		name string
		c    wsfed.Config
		want []string // keys of the problems, in order
	}{
		{"as it should be", config(), nil},
		{"nothing", wsfed.Config{}, []string{"issuer", "relying_parties"}},
		{"issuer is a URL", with(func(c *wsfed.Config) { c.Issuer = "https://login.fabrikam.example" }), nil},
		{"issuer is no URI", with(func(c *wsfed.Config) { c.Issuer = "fabrikam" }), []string{"issuer"}},
		{"issuer with a blank", with(func(c *wsfed.Config) { c.Issuer += " " }), []string{"issuer"}},
		{
			"relying party without anything", with(func(c *wsfed.Config) { c.RelyingParties[1] = wsfed.RelyingParty{} }),
			[]string{"relying_parties[1].realm", "relying_parties[1].reply_urls"},
		},
		{"realm with a blank", with(func(c *wsfed.Config) { c.RelyingParties[0].Realm = " x" }), []string{"relying_parties[0].realm"}},
		{"realm with a line end", with(func(c *wsfed.Config) { c.RelyingParties[0].Realm = "x\ny" }), []string{"relying_parties[0].realm"}},
		{"realm twice", with(func(c *wsfed.Config) { c.RelyingParties[0].Realm = "grafana" }), []string{"relying_parties[1].realm"}},
		{"two realms, one audience", with(func(c *wsfed.Config) { c.RelyingParties[0].Realm = "urn:grafana" }), []string{"relying_parties[1].realm"}},
		{
			"two without a realm",
			wsfed.Config{Issuer: "urn:x", RelyingParties: make([]wsfed.RelyingParty, 2)},
			[]string{"relying_parties[0].realm", "relying_parties[0].reply_urls", "relying_parties[1].realm", "relying_parties[1].reply_urls"},
		},
		{"every mistake at once", with(func(c *wsfed.Config) {
			c.Issuer = ""
			c.RelyingParties[0].ReplyURLs = []string{"x", callback, "http://app.example/"}
			c.RelyingParties[1].ReplyURLs = nil
		}), []string{"issuer", "relying_parties[0].reply_urls[0]", "relying_parties[0].reply_urls[2]", "relying_parties[1].reply_urls"}},

		{"clear text on this machine", withURL("http://127.0.0.1:3000/x"), nil},
		{"clear text on this machine, by name", withURL("http://localhost/x"), nil},
		{"clear text on this machine, IPv6", withURL("http://[::1]:3000/x"), nil},
		{"port, query, escapes", withURL("https://app.example:8443/a%20b?x=1&y=%2F;z"), nil},
		{"no path", withURL("https://app.example"), nil},
		{"international name", withURL("https://xn--mller-kva.example/"), nil},
		{"address", withURL("https://10.0.0.1/x"), nil},
		{"URL twice", withURL(callback), []string{secondURL}},
		{"clear text", withURL("http://app.example/x"), []string{secondURL}},
		{"clear text to a name that looks local", withURL("http://localhost.example/x"), []string{secondURL}},
		{"clear text to a number that looks local", withURL("http://127.0.0.1.example/x"), []string{secondURL}},
		{"empty", withURL(""), []string{secondURL}},
		{"relative", withURL("/callback"), []string{secondURL}},
		{"no scheme", withURL("//app.example/x"), []string{secondURL}},
		{"other scheme", withURL("ftp://app.example/x"), []string{secondURL}},
		{"script", withURL("javascript:alert(1)"), []string{secondURL}},
		{"upper case scheme", withURL("HTTPS://app.example/x"), []string{secondURL}},
		{"opaque", withURL("https:app.example/x"), []string{secondURL}},
		{"no host", withURL("https:///x"), []string{secondURL}},
		{"user name", withURL("https://jon@app.example/x"), []string{secondURL}},
		{"empty user name", withURL("https://@app.example/x"), []string{secondURL}},
		{"fragment", withURL("https://app.example/x#y"), []string{secondURL}},
		{"empty fragment", withURL("https://app.example/x#"), []string{secondURL}},
		{"backslash", withURL(`https://app.example\x`), []string{secondURL}},
		{"blank", withURL("https://app.example/a b"), []string{secondURL}},
		{"blank behind", withURL("https://app.example/x "), []string{secondURL}},
		{"line end", withURL("https://app.example/x\n"), []string{secondURL}},
		{"letters as they are", withURL("https://müller.example/"), []string{secondURL}},
		{"broken escape", withURL("https://app.example/%zz"), []string{secondURL}},
		{"wildcard", withURL("https://*.example/x"), []string{secondURL}},
		{"host that ends a policy", withURL("https://app.example;script-src/x"), []string{secondURL}},
		{"host with a quote", withURL("https://app'example/x"), []string{secondURL}},
		{"port without a number", withURL("https://app.example:/x"), []string{secondURL}},
		{"port too high", withURL("https://app.example:65536/x"), []string{secondURL}},
		{"port zero", withURL("https://app.example:0/x"), []string{secondURL}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.Validate()
			var got []string
			for _, e := range setting.Split(err) {
				key, text, _ := strings.Cut(e.Error(), ": ")
				got = append(got, key)
				if len(text) < 20 {
					t.Errorf("%q does not say what to write instead", e)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("problems in %q, want %q:\n%v", got, tt.want, err)
			}
			if _, newErr := wsfed.New(tt.c, signingKeys(), &url.URL{}); err != nil && newErr == nil {
				t.Error("New takes what Validate refuses")
			}
		})
	}
}
