package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"adconnector/connector/signin"
	"adconnector/ldapauth/certauth"
	"adconnector/static"
	"adconnector/templates"
)

// What the pages are made from; every page gets [layout] as well.
type (
	layout struct {
		Site, Style, Icon string
		Reference         string // "" where there is nothing to ask about
	}
	formPage struct {
		Action, Pending              string
		RelyingParty                 string // who asked, "" if nobody did
		Alert, Note                  string // why the form is back, or why it is there at all
		Username                     string // as typed before
		Password                     bool   // the password form is offered
		FocusUsername, FocusPassword bool
		Certificate                  string // names the certificate that may be used, "" if there is none
		Missed                       bool   // the browser was asked for a certificate and sent none
	}
	changePage struct {
		Action, Pending string
		RelyingParty    string // who asked, "" if nobody did
		Alert, Note     string // why the form is back, or why it is there at all
		Username        string // whose password it is
	}
	refusedPage struct {
		formPage
		Seen *certauth.Certificate
	}
	homePage struct {
		Identity *signin.Identity
		By       string
		SignOut  string
		Token    string // "" if the sign-in was not kept
	}
	signedOutPage struct {
		Home string
	}
	errorPage struct {
		Heading, Message string
		Alarm            bool
	}
	autoPostPage struct {
		Action string
		Fields template.HTML
		Script template.JS
		Style  template.CSS
	}
)

// pages are the parsed templates with what is the same for all requests.
type pages struct {
	layout layout
	byName map[string]*template.Template
}

// newPages parses every page. A mistake in any is found here.
func newPages(site, prefix string, files []staticFile) (*pages, error) {
	p := &pages{
		layout: layout{Site: site},
		byName: map[string]*template.Template{},
	}
	for _, f := range files {
		switch f.path {
		case "/static/style.css":
			p.layout.Style = prefix + f.path + "?v=" + f.version
		case "/static/icon.svg":
			p.layout.Icon = prefix + f.path + "?v=" + f.version
		}
	}
	for _, name := range []string{"form", "change", "refused", "home", "signedout", "error"} {
		t, err := template.New("layout.html").
			Funcs(template.FuncMap{"when": when}).
			ParseFS(templates.FS, "layout.html", "parts.html", name+".html")
		if err != nil {
			return nil, fmt.Errorf("page %q: %w", name, err)
		}
		p.byName[name] = t
	}
	_, err := autoPost()
	return p, err
}

// render answers with a page, whole or not at all.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	l := s.pages.layout
	if status >= 400 {
		l.Reference = visitOf(r).reference
	}
	var b bytes.Buffer
	if err := s.pages.byName[name].Execute(&b, struct {
		layout
		Page any
	}{l, data}); err != nil {
		s.logFailure(r, http.StatusInternalServerError, fmt.Errorf("page %q: %w", name, err))
		http.Error(w, "Something went wrong on our side. Reference: "+l.Reference, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// heading is the first line of an error page.
func heading(status int) string {
	switch status {
	case http.StatusNotFound:
		return "Page not found"
	case http.StatusServiceUnavailable:
		return "Sign-in is not working at the moment"
	case http.StatusInternalServerError:
		return "Something went wrong"
	}
	return "This did not work"
}

// A Field is one hidden field of a form.
type Field struct{ Name, Value string }

// The auto-posting page stands alone: it is shown for a moment, or, without
// scripts, until its button is pressed.
const (
	autoPostScript = `document.forms[0].submit()`
	autoPostStyle  = `:root{color-scheme:light dark}body{margin:15vh auto;padding:0 1rem;max-width:27rem;font:1rem/1.5 system-ui,sans-serif;text-align:center}button{font:inherit;font-weight:600;padding:.6rem 2rem}`
)

// buffers are for pages with a token in them, which are all of about the same
// size.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var autoPost = sync.OnceValues(func() (*template.Template, error) {
	return template.ParseFS(templates.FS, "autopost.html")
})

// WriteAutoPost answers with a page that posts fields to action, an absolute
// http or https URL, by script or else by a button. Nothing is written if it
// returns an error. Fields that HTML cannot carry, such as NUL, are an error.
func WriteAutoPost(w http.ResponseWriter, action string, fields []Field) error {
	if err := checkPost(action, fields); err != nil {
		return err
	}
	t, err := autoPost()
	if err != nil {
		return err
	}
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := t.Execute(b, autoPostPage{action, hidden(fields), autoPostScript, autoPostStyle}); err != nil {
		return fmt.Errorf("posting to %q: %w", action, err)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", autoPostPolicy)
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.Write(b.Bytes())
	return nil
}

// WriteForm answers with the form of [WriteAutoPost] alone, for a program that
// puts it into a page of its own and submits it there.
func WriteForm(w http.ResponseWriter, action string, fields []Field) error {
	if err := checkPost(action, fields); err != nil {
		return err
	}
	page := `<form method="post" name="hiddenform" action="` + attributeValue.Replace(action) + "\">\n" +
		string(hidden(fields)) + "<noscript><button type=\"submit\">Continue</button></noscript>\n</form>"
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	_, _ = io.WriteString(w, page)
	return nil
}

// checkPost refuses what a form cannot be made of.
func checkPost(action string, fields []Field) error {
	u, err := url.Parse(action)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("posting to %q: not an absolute http or https URL", action)
	}
	for _, f := range fields {
		if !utf8.ValidString(f.Value) || strings.ContainsRune(f.Value, 0) {
			return fmt.Errorf("posting to %q: field %q has characters that a form cannot carry", action, f.Name)
		}
	}
	return nil
}

// hidden writes fields as hidden inputs. A token is large and on the way of every
// sign-in, and the template's own escaping of it by reflection shows there.
func hidden(fields []Field) template.HTML {
	size := 0
	for _, f := range fields {
		size += 64 + len(f.Name) + len(f.Value) + len(f.Value)/4
	}
	var b strings.Builder
	b.Grow(size)
	for _, f := range fields {
		b.WriteString(`<input type="hidden" name="`)
		_, _ = attributeValue.WriteString(&b, f.Name) // to memory
		b.WriteString(`" value="`)
		_, _ = attributeValue.WriteString(&b, f.Value)
		b.WriteString("\">\n")
	}
	return template.HTML(b.String()) // made of constants and escaped text
}

// attributeValue escapes what ends a quoted attribute value or begins a
// character reference in one (HTML, 13.1.2.3), the other characters of markup,
// and a carriage return, which browsers would read as a line feed.
var attributeValue = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `"`, "&#34;", `'`, "&#39;", "\r", "&#13;")

// autoPostPolicy has no form-action: browsers apply that to the redirects after
// a form as well, and where an application sends people on is its own affair.
// The one form of the page goes where Receive has allowed.
var autoPostPolicy = "default-src 'none'; script-src '" + hashSource(autoPostScript) + "'; style-src '" + hashSource(autoPostStyle) +
	"'; frame-ancestors 'none'; base-uri 'none'"

// hashSource allows one inline text by its hash (CSP level 3, 2.3.1).
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A staticFile is served from memory.
type staticFile struct {
	path, version, kind string
	content             []byte
}

// readStatic reads all files. There is no listing and no other way to name one.
func readStatic() ([]staticFile, error) {
	var files []staticFile
	err := fs.WalkDir(static.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := static.FS.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		f := staticFile{
			path:    "/static/" + name,
			version: hex.EncodeToString(sum[:8]),
			kind:    staticKinds[path.Ext(name)],
			content: content,
		}
		if f.kind == "" {
			return fmt.Errorf("static file %q: of no known kind", name)
		}
		files = append(files, f)
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errors.New("no static files")
	}
	return files, err
}

// staticKinds are spelt out because [mime.TypeByExtension] asks the machine,
// where somebody may have changed them.
var staticKinds = map[string]string{
	".css": mime.FormatMediaType("text/css", map[string]string{"charset": "utf-8"}),
	".svg": "image/svg+xml",
}

// serve serves the file. The address in our pages carries the version, so the
// browser may keep what it got there.
func (f staticFile) serve(w http.ResponseWriter, r *http.Request) error {
	keep := "no-cache"
	if r.URL.Query().Get("v") == f.version {
		keep = "public, max-age=31536000, immutable"
	}
	h := w.Header()
	h.Set("Cache-Control", keep)
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(f.content)))
	w.Write(f.content)
	return nil
}
