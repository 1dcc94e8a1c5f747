// Package fetch gets revocation lists and OCSP answers by HTTP.
//
// The addresses come from the certificates of authorities that are trusted, or
// from the configuration. All the same nothing that a server says leads anywhere
// else: a redirect stays at the scheme, the host and the port that were asked.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"adconnector/ldapauth/certauth/revocation"
)

const (
	maxRedirects  = 3
	headerTimeout = 10 * time.Second
	maxHeader     = 64 << 10
	piece         = 256 << 10
)

// HTTP returns a fetcher for http and https. Servers of https are trusted by
// roots, nil being those of the system. A proxy is used if the environment names
// one (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
func HTTP(roots *x509.CertPool) revocation.Fetcher {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: headerTimeout}).DialContext,
		TLSHandshakeTimeout:    headerTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxConnsPerHost:        16,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // what is unpacked has no limit of its own
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	c := &http.Client{Transport: transport, CheckRedirect: stay}
	return func(ctx context.Context, r revocation.Request) ([]byte, error) {
		data, err := get(ctx, c, r)
		if err != nil {
			return nil, Short(err)
		}
		return data, nil
	}
}

// Short returns err with a text that is cut: a server can put tens of kilobytes
// into it, and it goes to the log again and again.
func Short(err error) error { return short{err} }

type short struct{ error }

func (s short) Error() string {
	const most = 400
	text := s.error.Error()
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

func (s short) Unwrap() error { return s.error }

// stay lets a redirect pass that leads to another path on the same server.
func stay(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	switch {
	case len(before) > maxRedirects:
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	case next.URL.Scheme != first.Scheme || next.URL.Host != first.Host || next.URL.User != nil:
		return fmt.Errorf("it redirects to %s, which is not followed: only redirects within the same server are", next.URL.Redacted())
	}
	return nil
}

func get(ctx context.Context, c *http.Client, r revocation.Request) ([]byte, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("is not an address of http or https")
	}
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if r.Body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "adconnector")
	if r.Body != nil {
		request.Header.Set("Content-Type", "application/ocsp-request")
		request.Header.Set("Accept", "application/ocsp-response")
	}
	response, err := c.Do(request)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address is known to the caller
		}
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", response.Status)
	}
	return read(response.Body, response.ContentLength, r.Limit)
}

// read returns all of in, of which size is announced, -1 if nothing is. Memory
// grows with what comes, not with what is announced, and stays below twice that.
func read(in io.Reader, size, limit int64) ([]byte, error) {
	tooLarge := fmt.Errorf("the answer is larger than %d bytes", limit)
	if size > limit {
		return nil, tooLarge
	}
	var pieces [][]byte
	var total int64
	for {
		data := make([]byte, 0, piece)
		for len(data) < piece {
			n, err := in.Read(data[len(data):piece])
			data = data[:len(data)+n]
			if total += int64(n); total > limit {
				return nil, tooLarge
			}
			if errors.Is(err, io.EOF) { // cut off is another error
				return bytes.Join(append(pieces, data), nil), nil
			}
			if err != nil {
				return nil, fmt.Errorf("the answer breaks off after %d bytes: %w", total, err)
			}
		}
		pieces = append(pieces, data)
	}
}
