// Package browser is a browser of the simplest kind: it signs in at a connector
// as a person would, so that the demo and the load generator go the same road
// as people do.
package browser

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// maxPage bounds what is read of a page.
const maxPage = 1 << 20

// Options say how a browser reaches the connector.
type Options struct {
	Roots       *x509.CertPool   // who may vouch for servers
	Certificate *tls.Certificate // offered when a server asks; nil: none
	Connect     netip.AddrPort   // where connections go, whatever the URL's host; zero: to that host
	From        netip.Addr       // source address of connections; zero: the system's choice
	Timeout     time.Duration    // of one request; 0 means 30 s
	Seen        func(*Page)      // is called with each page; nil: nobody wants to know
}

// A Browser keeps cookies and connections as one person's browser does.
type Browser struct {
	http *http.Client
	seen func(*Page)
}

// New returns a browser without cookies.
func New(o Options) *Browser {
	config := &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
	if o.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate, nil }
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if o.From.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.From, 0))
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	jar, _ := cookiejar.New(nil) // without options there is nothing that can fail
	client := &http.Client{
		Jar:     jar,
		Timeout: o.Timeout,
		Transport: &http.Transport{
			TLSClientConfig: config,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if o.Connect.IsValid() {
					address = o.Connect.String()
				}
				return dialer.DialContext(ctx, network, address)
			},
		},
	}
	if o.Seen == nil {
		o.Seen = func(*Page) {}
	}
	return &Browser{client, o.Seen}
}

// Close closes the browser's connections.
func (b *Browser) Close() { b.http.CloseIdleConnections() }

// A Page is an answer that was read whole.
type Page struct {
	Status int
	URL    *url.URL // after redirects
	Body   string
}

// Get opens an address.
func (b *Browser) Get(ctx context.Context, address string) (*Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return b.do(req)
}

// Submit sends a form. accept is the media type that is wanted, "" for a page.
func (b *Browser) Submit(ctx context.Context, f *Form, accept string) (*Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Action, strings.NewReader(f.Fields.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	return b.do(req)
}

func (b *Browser) do(req *http.Request) (*Page, error) {
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, err
	}
	page := &Page{Status: resp.StatusCode, URL: resp.Request.URL, Body: string(body)}
	b.seen(page)
	return page, nil
}

// SignIn opens a relying party's request at the connector and returns the form
// that carries the token back. The password form is filled in if it appears; a
// password form that appears although username is "" is an error, and so is a
// second one, because then the first was refused.
func (b *Browser) SignIn(ctx context.Context, request, username, password string) (*Form, error) {
	page, err := b.Get(ctx, request)
	for asked := false; ; asked = true {
		if err != nil {
			return nil, err
		}
		form, err2 := page.Form()
		if err2 != nil {
			return nil, fmt.Errorf("status %d from %s: %w", page.Status, page.URL.Redacted(), err2)
		}
		if form.Fields.Has("wresult") {
			return form, nil
		}
		if _, wants := form.Fields["password"]; !wants || username == "" || asked {
			return nil, fmt.Errorf("status %d from %s: not signed in: %s", page.Status, page.URL.Redacted(), page.Message())
		}
		form.Fields.Set("username", username)
		form.Fields.Set("password", password)
		page, err = b.Submit(ctx, form, "")
	}
}

// A Form is what a page's first form would send.
type Form struct {
	Action string // absolute
	Fields url.Values
}

// Form returns the page's first form that is sent by POST.
func (p *Page) Form() (*Form, error) {
	d := p.decoder()
	var form *Form
	for {
		t, err := d.Token()
		if err != nil && form == nil {
			return nil, errors.New("the page has no form: " + p.Message())
		}
		if err != nil {
			return form, nil
		}
		switch t := t.(type) {
		case xml.StartElement:
			a := attributes(t)
			switch {
			case t.Name.Local == "form" && form == nil && strings.EqualFold(a["method"], http.MethodPost):
				action, err := p.URL.Parse(a["action"])
				if err != nil {
					return nil, err
				}
				form = &Form{Action: action.String(), Fields: url.Values{}}
			case t.Name.Local == "input" && form != nil && a["name"] != "":
				form.Fields.Set(a["name"], a["value"])
			}
		case xml.EndElement:
			if t.Name.Local == "form" && form != nil {
				return form, nil
			}
		}
	}
}

// Message returns the text of the page's alert, else of its first heading.
func (p *Page) Message() string {
	d := p.decoder()
	var heading, text strings.Builder
	var into *strings.Builder
	depth := 0
	for {
		t, err := d.Token()
		if err != nil {
			break
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch {
			case into != nil:
				depth++
			case attributes(t)["role"] == "alert" && text.Len() == 0:
				into, depth = &text, 1
			case t.Name.Local == "h1" && heading.Len() == 0:
				into, depth = &heading, 1
			}
		case xml.CharData:
			if into != nil {
				into.WriteByte(' ')
				into.Write(t)
			}
		case xml.EndElement:
			if into != nil {
				if depth--; depth == 0 {
					into = nil
				}
			}
		}
	}
	if text.Len() == 0 {
		return strings.Join(strings.Fields(heading.String()), " ")
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// decoder reads HTML as far as XML rules allow; the connector's pages keep to
// them.
func (p *Page) decoder() *xml.Decoder {
	d := xml.NewDecoder(strings.NewReader(p.Body))
	d.Strict = false
	d.AutoClose = xml.HTMLAutoClose
	d.Entity = xml.HTMLEntity
	return d
}

func attributes(e xml.StartElement) map[string]string {
	m := make(map[string]string, len(e.Attr))
	for _, a := range e.Attr {
		m[a.Name.Local] = a.Value
	}
	return m
}
