package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"adconnector/connector/fetch"
	"adconnector/ldapauth/pemfile"
)

// Limits on what goes out. Nothing that the tenant, or what stands between,
// sends or holds back may cost more.
const (
	connectTimeout = 10 * time.Second
	answerTimeout  = 20 * time.Second
	maxAnswer      = 256 << 10
	maxHeader      = 64 << 10
)

// newClient returns what reaches the tenant. It follows no redirect: a tenant
// sends none, and a proxy that wants somebody to sign in does.
func newClient(c Config) (*http.Client, error) {
	roots, err := pemfile.Roots(c.CAFiles)
	if err != nil {
		return nil, err
	}
	proxy := fromEnvironment
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil {
			return nil, errors.New("proxy: is not a URL")
		}
		if c.ProxyUser != "" {
			u.User = url.UserPassword(c.ProxyUser, c.ProxyPassword.Reveal())
		}
		proxy = http.ProxyURL(u)
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  forEncrypted(proxy),
			OnProxyConnectResponse: letThrough,
			DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout:    connectTimeout,
			ResponseHeaderTimeout:  answerTimeout,
			MaxResponseHeaderBytes: maxHeader,
			IdleConnTimeout:        time.Minute,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// fromEnvironment returns the proxy that the environment names. Where that has
// HTTP_PROXY alone, it is taken, as Auth0's connector does and as its
// administrators have set it, although to others it means traffic in clear.
func fromEnvironment(r *http.Request) (*url.URL, error) {
	if os.Getenv("HTTPS_PROXY") == "" && os.Getenv("https_proxy") == "" {
		r = r.Clone(r.Context())
		r.URL.Host = net.JoinHostPort(r.URL.Hostname(), cmp.Or(r.URL.Port(), "443")) // NO_PROXY may name the port
		r.URL.Scheme = "http"
	}
	return http.ProxyFromEnvironment(r)
}

// forEncrypted lets proxies have what is encrypted only. What is not was accepted because
// it stays on this machine.
func forEncrypted(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme != "https" {
			return nil, nil
		}
		return proxy(r)
	}
}

// A proxyRefusal is what a proxy answers that does not connect somewhere.
type proxyRefusal struct{ status string }

func (e *proxyRefusal) Error() string { return fmt.Sprintf("the proxy answers %.100q", e.status) }

// letThrough says that it was the proxy that would not connect. That it wants to
// know who one is has words of its own.
func letThrough(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK || response.StatusCode == http.StatusProxyAuthRequired {
		return nil
	}
	return &proxyRefusal{response.Status}
}

// An answer is what the tenant said to a request.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

// ask sends one request and reads the answer, up to a limit. Errors hold the
// host that was asked but nothing of the path, which may be a ticket.
func ask(ctx context.Context, client *http.Client, method string, u *url.URL, body io.Reader) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	request.Header.Set("User-Agent", "adconnector")
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, explain(u.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer of %s breaks off: %w", u.Host, fetch.Short(bare(err)))
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the answer of %s is larger than %d bytes: something else than a tenant answers there", u.Host, maxAnswer)
	}
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return &answer{response.StatusCode, strings.ToLower(strings.TrimSpace(kind)), data}, nil
}

// bare takes from an error the address that net/http puts before it.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// explain says in words why host was not reached. Where a certificate stood in
// the way, it is named: between a company and the outside it is mostly that of a
// proxy that opens the traffic.
func explain(host string, err error) error {
	err = fetch.Short(bare(err))
	certificate := func(c *x509.Certificate) string {
		if c == nil {
			return "its certificate"
		}
		return fmt.Sprintf("the certificate %.100q by %.100q", c.Subject, c.Issuer)
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%s showed %s, which no authority vouches for that is trusted here; if a proxy opens the traffic, put the certificate of its authority into hub.ca_files: %w", host, certificate(e.Cert), err)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%s showed %s, which is for another host: %w", host, certificate(e.Certificate), err)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return fmt.Errorf("%s showed %s, which cannot be accepted (is the clock of this machine right?): %w", host, certificate(e.Cert), err)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("the name %s is not found; look at the DNS of this machine, or set hub.proxy: %w", e.Name, err)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "proxyconnect" {
		return fmt.Errorf("the proxy cannot be used: %w", err)
	}
	if strings.Contains(err.Error(), "Proxy Authentication Required") {
		return fmt.Errorf("the proxy asks for a user and a password: set hub.proxy, hub.proxy_user and hub.proxy_password_file: %w", err)
	}
	if e, ok := errors.AsType[*proxyRefusal](err); ok {
		return fmt.Errorf("the proxy does not let this service through to %s (it answers %.100q): let its administrator allow that host and the one of the hub", host, e.status)
	}
	return fmt.Errorf("%s cannot be reached; if the way out is through a proxy, set hub.proxy: %w", host, err)
}
