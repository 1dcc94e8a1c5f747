package demo

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// A reported identity is what the relying party learned from a token.
type reported struct {
	Name       string   `json:"name"`
	Method     string   `json:"method"`
	Claims     []claim  `json:"claims"`
	Issuer     string   `json:"issuer"`
	AssertedAt string   `json:"asserted_at"`
	Groups     []string `json:"groups"`
}

type claim struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

func (r *reported) first(name string) string {
	for _, c := range r.Claims {
		if c.Name == name {
			return c.Values[0]
		}
	}
	return ""
}

// relyingParty is the sample application: it sends people to the connector and
// shows what was reported. It trusts the certificates that the connector's
// metadata listed when it was made, and nothing that a token brings along.
type relyingParty struct {
	realm   string
	reply   string // where the connector posts tokens to
	signIn  []link // ways to the connector, for the start page
	trusted []*x509.Certificate
}

type link struct{ Text, URL string }

func (rp *relyingParty) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", rp.start)
	mux.HandleFunc("POST /signed-in", rp.signedIn)
	return http.MaxBytesHandler(mux, 1<<20)
}

func (rp *relyingParty) start(w http.ResponseWriter, _ *http.Request) {
	render(w, http.StatusOK, "start", rp.signIn)
}

func (rp *relyingParty) signedIn(w http.ResponseWriter, r *http.Request) {
	id, err := rp.verify(r.PostFormValue("wresult"), time.Now())
	if err != nil {
		render(w, http.StatusForbidden, "refused", err.Error())
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(id)
		return
	}
	render(w, http.StatusOK, "identity", id)
}

// saml1 is the namespace of SAML 1.1 assertions.
const saml1 = "urn:oasis:names:tc:SAML:1.0:assertion"

// verify checks a token as a relying party must: exactly one assertion, signed
// by a certificate known beforehand, for this realm and for now. It reads
// claims only from the element that the signature covers.
func (rp *relyingParty) verify(wresult string, now time.Time) (*reported, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromString(wresult); err != nil {
		return nil, fmt.Errorf("the token is not XML: %w", err)
	}
	assertions := doc.FindElements("//Assertion")
	if len(assertions) != 1 || assertions[0].NamespaceURI() != saml1 {
		return nil, errors.New("the answer does not hold exactly one SAML 1.1 assertion")
	}
	v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: rp.trusted})
	v.IdAttribute = "AssertionID"
	// The assertion inherits namespace declarations from the elements around
	// it; detached from them it must keep them.
	signed, err := v.Validate(detach(assertions[0]))
	if err != nil {
		return nil, fmt.Errorf("the signature of the token is not valid: %w", err)
	}
	if err := rp.checkConditions(signed, now); err != nil {
		return nil, err
	}
	return read(signed), nil
}

func detach(e *etree.Element) *etree.Element {
	c := e.Copy()
	for p := e.Parent(); p != nil; p = p.Parent() {
		for _, a := range p.Attr {
			declares := a.Space == "xmlns" || (a.Space == "" && a.Key == "xmlns")
			if declares && c.SelectAttr(a.FullKey()) == nil {
				c.CreateAttr(a.FullKey(), a.Value)
			}
		}
	}
	return c
}

func (rp *relyingParty) checkConditions(assertion *etree.Element, now time.Time) error {
	c := assertion.SelectElement("Conditions")
	if c == nil {
		return errors.New("the token has no conditions")
	}
	from, err1 := time.Parse(time.RFC3339, c.SelectAttrValue("NotBefore", ""))
	until, err2 := time.Parse(time.RFC3339, c.SelectAttrValue("NotOnOrAfter", ""))
	if err1 != nil || err2 != nil || now.Before(from.Add(-time.Minute)) || !now.Before(until) {
		return errors.New("the token is not valid at this time")
	}
	for _, a := range c.FindElements("AudienceRestrictionCondition/Audience") {
		if a.Text() == rp.realm {
			return nil
		}
	}
	return fmt.Errorf("the token is not for %s", rp.realm)
}

func read(assertion *etree.Element) *reported {
	id := &reported{Issuer: assertion.SelectAttrValue("Issuer", "")}
	if s := assertion.SelectElement("AuthenticationStatement"); s != nil {
		id.Method = s.SelectAttrValue("AuthenticationMethod", "")
		id.AssertedAt = s.SelectAttrValue("AuthenticationInstant", "")
	}
	for _, a := range assertion.FindElements("AttributeStatement/Attribute") {
		c := claim{Name: a.SelectAttrValue("AttributeName", "")}
		for _, v := range a.SelectElements("AttributeValue") {
			c.Values = append(c.Values, v.Text())
		}
		if len(c.Values) > 0 {
			id.Claims = append(id.Claims, c)
		}
		if c.Name == "groups" {
			id.Groups = slices.Clone(c.Values)
		}
	}
	id.Name = id.first("name")
	return id
}

// certificatesIn returns the signing certificates that federation metadata
// lists.
func certificatesIn(metadata []byte) ([]*x509.Certificate, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(metadata); err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, e := range doc.FindElements("//X509Certificate") {
		der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(e.Text()))
		if err != nil {
			return nil, err
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("the metadata lists no signing certificate")
	}
	return certs, nil
}

// requestURL is where this relying party sends a browser to sign in at the
// connector that answers at base.
func (rp *relyingParty) requestURL(base string) string {
	return base + "/wsfed?" + url.Values{
		"wa": {"wsignin1.0"}, "wtrealm": {rp.realm}, "wreply": {rp.reply}, "wctx": {"demo"},
	}.Encode()
}

func render(w http.ResponseWriter, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, data)
}

var pages = template.Must(template.New("").Parse(`
{{define "head"}}<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sample application</title><style>
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #8884;overflow-wrap:anywhere}
a.button{display:inline-block;padding:.6rem 1rem;margin:.25rem .5rem .25rem 0;border-radius:.4rem;background:#1f5fbf;color:#fff;text-decoration:none}
</style><h1>Sample application</h1>{{end}}
{{define "start"}}{{template "head"}}<p>This application knows nobody. It asks the connector who you are.</p>
<p>{{range .}}<a class="button" href="{{.URL}}">{{.Text}}</a>{{end}}</p>{{end}}
{{define "refused"}}{{template "head"}}<p>The answer was not accepted: {{.}}.</p><p><a href="/">Start again</a></p>{{end}}
{{define "identity"}}{{template "head"}}<p>You are <strong>{{.Name}}</strong>, says {{.Issuer}}.</p>
<table><tr><th>claim</th><th>value</th></tr>{{range .Claims}}<tr><td>{{.Name}}</td><td>{{range $i, $v := .Values}}{{if $i}}<br>{{end}}{{$v}}{{end}}</td></tr>{{end}}</table>
<p>Proof: {{.Method}} at {{.AssertedAt}}</p><p><a href="/">Start again</a></p>{{end}}
`))
