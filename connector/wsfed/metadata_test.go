package wsfed_test

import (
	"encoding/base64"
	"encoding/xml"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"adconnector/connector/token"
	"adconnector/connector/wsfed"
)

// document is what relying parties read of the metadata.
type document struct {
	XMLName xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	Entity  string   `xml:"entityID,attr"`
	Role    struct {
		Type     string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
		Protocol string `xml:"protocolSupportEnumeration,attr"`
		Keys     []struct {
			Use         string `xml:"use,attr"`
			Certificate string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
		} `xml:"KeyDescriptor"`
		TokenTypes []struct {
			URI string `xml:"Uri,attr"`
		} `xml:"http://docs.oasis-open.org/wsfed/federation/200706 TokenTypesOffered>TokenType"`
		ClaimTypes []struct {
			XMLName xml.Name
			URI     string `xml:"Uri,attr"`
		} `xml:"ClaimTypesOffered>ClaimType"`
		Address string `xml:"PassiveRequestorEndpoint>EndpointReference>Address"`
	} `xml:"RoleDescriptor"`
}

func readMetadata(t *testing.T, keys *token.Keys, c wsfed.Config, base, host string) document {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p, err := wsfed.New(c, keys, u)
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://"+host+wsfed.MetadataPath, nil)
	r.Header.Set("X-Forwarded-Host", host)
	p.Metadata().ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/xml" {
		t.Errorf("content type is %q", got)
	}
	if strings.Contains(w.Body.String(), host) {
		t.Errorf("the Host header got into the metadata:\n%s", w.Body)
	}
	var d document
	if err := xml.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatalf("%v in\n%s", err, w.Body)
	}
	return d
}

func TestMetadata(t *testing.T) {
	c := config()
	c.Issuer = `https://login.fabrikam.example/?a=1&b="<x>"`
	d := readMetadata(t, signingKeys(), c, "https://login.fabrikam.example/sso?a&b", "evil.example")

	if d.Entity != c.Issuer {
		t.Errorf("entityID = %q, want %q", d.Entity, c.Issuer)
	}
	if d.Role.Type != "fed:SecurityTokenServiceType" || d.Role.Protocol != "http://docs.oasis-open.org/wsfed/federation/200706" {
		t.Errorf("role is %q of %q", d.Role.Type, d.Role.Protocol)
	}
	if want := "https://login.fabrikam.example/sso/wsfed?a&b"; d.Role.Address != want {
		t.Errorf("address = %q, want %q", d.Role.Address, want)
	}
	var tokens, claims []string
	for _, x := range d.Role.TokenTypes {
		tokens = append(tokens, x.URI)
	}
	for _, x := range d.Role.ClaimTypes {
		if x.XMLName.Space != "http://docs.oasis-open.org/wsfed/authorization/200706" {
			t.Errorf("claim type of %q", x.XMLName.Space)
		}
		claims = append(claims, strings.TrimPrefix(x.URI, "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"))
	}
	if want := []string{"urn:oasis:names:tc:SAML:2.0:assertion", "urn:oasis:names:tc:SAML:1.0:assertion"}; !slices.Equal(tokens, want) {
		t.Errorf("token types are %q, want %q", tokens, want)
	}
	if want := []string{"emailaddress", "givenname", "name", "surname", "nameidentifier"}; !slices.Equal(claims, want) {
		t.Errorf("claim types are %q, want %q", claims, want)
	}
}

func TestMetadata_HoldsTheNextKeyBeforeItIsUsed(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		age  time.Duration
		want int
	}{
		{"new", 0, 1},
		{"in its last two months", 1040 * day, 2},
	} {
		keys := keysAt(tt.age)
		d := readMetadata(t, keys, config(), "https://login.fabrikam.example", "evil.example")
		if len(d.Role.Keys) != tt.want {
			t.Errorf("%s: %d keys, want %d", tt.name, len(d.Role.Keys), tt.want)
		}
		for i, k := range d.Role.Keys {
			if want := base64.StdEncoding.EncodeToString(keys.Certificates()[i].Raw); k.Certificate != want || k.Use != "signing" {
				t.Errorf("%s: key %d is for %q and not number %d of the certificates", tt.name, i, k.Use, i)
			}
		}
		if current := base64.StdEncoding.EncodeToString(keys.Current().Certificate.Raw); d.Role.Keys[0].Certificate != current {
			t.Errorf("%s: the current key is not the first", tt.name)
		}
	}
}
