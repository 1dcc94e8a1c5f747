package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"adconnector/connector/fetch"
	"adconnector/ldapauth/certauth/revocation"
)

// get asks for an address, for at most two seconds.
func get(t *testing.T, url string, limit int64) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return fetch.HTTP(nil)(ctx, revocation.Request{URL: url, Limit: limit})
}

// serve starts a web server.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// raw starts a server that speaks on each connection as f does.
func raw(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = c.Read(make([]byte, 4096))
				f(c)
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

func wantError(t *testing.T, err error, word string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), word) {
		t.Errorf("error %v, want one with %q", err, word)
	}
}

func TestListsAndAnswersCome(t *testing.T) {
	list := bytes.Repeat([]byte("0123456789"), 100_000) // several pieces
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/announced":
			w.Header().Set("Content-Length", fmt.Sprint(len(list)))
			_, _ = w.Write(list)
		case "/chunked":
			_, _ = w.Write(list[:10])
			w.(http.Flusher).Flush()
			_, _ = w.Write(list[10:])
		case "/moved":
			http.Redirect(w, r, "/announced", http.StatusFound)
		case "/ocsp":
			body, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ocsp-request" {
				t.Errorf("%s of %s", r.Method, r.Header.Get("Content-Type"))
			}
			_, _ = w.Write(append(body, '!'))
		}
	})
	for _, path := range []string{"/announced", "/chunked", "/moved"} {
		if got, err := get(t, url+path, int64(len(list))); err != nil || !bytes.Equal(got, list) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	got, err := fetch.HTTP(nil)(t.Context(), revocation.Request{URL: url + "/ocsp", Body: []byte("question"), Limit: 100})
	if err != nil || string(got) != "question!" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestB12_ServersThatMisbehave(t *testing.T) {
	const limit = 1 << 20
	release := make(chan struct{})
	defer close(release)
	for _, tt := range []struct{ name, url, word string }{
		{"hangs before it answers", raw(t, func(net.Conn) { <-release }), "deadline exceeded"},
		{"hangs in the middle", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
			<-release
		}), "breaks off after 3 bytes"},
		{"drips", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}), "deadline exceeded"},
		{"cuts off what it announced", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
		}), "breaks off after 3 bytes"},
		{"cuts off in chunks", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde")
		}), "breaks off after 5 bytes"},
		{"announces too much", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\nabc")
		}), "larger than"},
		{"sends headers without end", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X-More: "+strings.Repeat("x", 4000)+"\r\n"); err != nil {
					return
				}
			}
		}), "header"},
		{"speaks something else", raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail\r\n") }), "HTTP"},
		{"has nothing there", serve(t, http.NotFound), "404"},
		{"has a fault", serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), "502"},
		{"says that nothing has changed", serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }), "304"},
		{"redirects in a circle", serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }), "more than 3 times"},
		{"is not there", "http://127.0.0.1:1", "refused"},
		{"no web server", "ldap:///CN=CA", "not an address"},
		{"a file", "file:///etc/passwd", "not an address"},
		{"with a password", "http://user:secret@127.0.0.1/", "not an address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			_, err := get(t, tt.url, limit)
			wantError(t, err, tt.word)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestB12_200MBAreNotRead: a list without an end costs what is allowed and no
// more, whether its size is announced or not.
func TestB12_200MBAreNotRead(t *testing.T) {
	const limit = 2 << 20
	var sent atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 64<<10)
		for range 200 << 20 / len(block) {
			n, err := w.Write(block)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := get(t, url, limit)
	runtime.ReadMemStats(&after)
	wantError(t, err, "larger than 2097152 bytes")
	if used := after.TotalAlloc - before.TotalAlloc; used > 8*limit {
		t.Errorf("%d bytes of memory were used", used)
	}
}

// TestB14_RedirectsStayOnTheServer: what is asked for by a certificate's address
// must not become a question to somebody else.
func TestB14_RedirectsStayOnTheServer(t *testing.T) {
	var asked atomic.Int32
	inner := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for _, to := range []string{
		inner + "/latest/meta-data", "https://" + strings.TrimPrefix(inner, "http://"), "file:///etc/passwd",
		"ldap://127.0.0.1/", "gopher://127.0.0.1/", "//" + strings.TrimPrefix(inner, "http://") + "/",
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
		_, err := get(t, url, 1000)
		if err == nil {
			t.Errorf("%s was followed", to)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

// TestWhatAServerSaysIsShortInErrors, which go to the log at each sign-in that
// they refuse.
func TestWhatAServerSaysIsShortInErrors(t *testing.T) {
	long := strings.Repeat("x", 30_000)
	for _, answer := range []string{
		"HTTP/1.1 500 " + long + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://other.example/" + long + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://%zz" + long + "\r\nContent-Length: 0\r\n\r\n",
		long + "\r\n\r\n",
	} {
		_, err := get(t, raw(t, func(c net.Conn) { _, _ = io.WriteString(c, answer) }), 1000)
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("the error has %d characters: %.200v", len(fmt.Sprint(err)), err)
		}
	}
}

func TestWhatIsPackedIsNotUnpacked(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "gzip" {
			t.Error("packed answers are asked for")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 1<<20))
		_ = z.Close()
	})
	if got, err := get(t, url, 1<<20); err != nil || len(got) > 20_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestServersOfHTTPSMustBeTrusted(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("list")) }))
	defer s.Close()
	_, err := get(t, s.URL, 100)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("error %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	got, err := fetch.HTTP(roots)(t.Context(), revocation.Request{URL: s.URL, Limit: 100})
	if err != nil || string(got) != "list" {
		t.Errorf("%q, %v", got, err)
	}
}
