package browser

import (
	"net/url"
	"testing"
)

func page(body string) *Page {
	return &Page{Status: 200, URL: &url.URL{Scheme: "https", Host: "login.example", Path: "/wsfed"}, Body: body}
}

func TestForm(t *testing.T) {
	f, err := page(`<!doctype html><html><body><form method="get" action="/search"><input name="q"></form>
<form method="post" action="signin"><input type="hidden" name="pending" value="a&amp;b&#34;"><br><input name="password" required><button>Go</button></form>
<form method="post" action="/other"><input name="late" value="1"></form>`).Form()
	if err != nil {
		t.Fatal(err)
	}
	if f.Action != "https://login.example/signin" {
		t.Errorf("action = %q", f.Action)
	}
	if got, want := f.Fields.Encode(), `password=&pending=a%26b%22`; got != want {
		t.Errorf("fields = %q, want %q", got, want)
	}
}

func TestFormOfAPageWithoutOne(t *testing.T) {
	_, err := page(`<html><h1>Sorry</h1><div role="alert">Not <b>here</b>.</div></html>`).Form()
	if err == nil || err.Error() != "the page has no form: Not here ." {
		t.Errorf("error = %v", err)
	}
}
