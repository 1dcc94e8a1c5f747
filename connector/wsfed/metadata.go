package wsfed

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
)

// MetadataPath is where relying parties look for the metadata, below the URL of
// the service.
const MetadataPath = "/wsfed/FederationMetadata/2007-06/FederationMetadata.xml"

// claimTypes are the claims that the metadata offers: name and description. The
// attributes of http://schemas.passportjs.com are not among them, because which
// there are depends on the directory.
var claimTypes = []struct{ uri, name, description string }{
	{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "E-mail address", "The e-mail address of the user"},
	{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", "Given name", "The given name of the user"},
	{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "Name", "The display name of the user"},
	{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname", "Surname", "The family name of the user"},
	{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "Name ID", "The identifier of the user that never changes"},
}

// metadata is the federation metadata document but for the certificates, which
// stand between its halves.
type metadata struct{ head, tail string }

// newMetadata takes the address from the configuration: a document that repeated
// the Host header would send sign-ins wherever somebody wants them.
func newMetadata(issuer string, endpoint *url.URL) metadata {
	var tail strings.Builder
	// Tokens are SAML 1.1. That SAML 2.0 is on the list as well is what relying
	// parties know from Auth0's connector; some look for it and take either.
	tail.WriteString(`<fed:TokenTypesOffered>` +
		`<fed:TokenType Uri="urn:oasis:names:tc:SAML:2.0:assertion"/>` +
		`<fed:TokenType Uri="urn:oasis:names:tc:SAML:1.0:assertion"/>` +
		`</fed:TokenTypesOffered><fed:ClaimTypesOffered>`)
	for _, c := range claimTypes {
		tail.WriteString(`<auth:ClaimType xmlns:auth="http://docs.oasis-open.org/wsfed/authorization/200706" Uri="` + c.uri + `" Optional="true">` +
			`<auth:DisplayName>` + c.name + `</auth:DisplayName><auth:Description>` + c.description + `</auth:Description></auth:ClaimType>`)
	}
	tail.WriteString(`</fed:ClaimTypesOffered><fed:PassiveRequestorEndpoint>` +
		`<EndpointReference xmlns="http://www.w3.org/2005/08/addressing"><Address>` + escape(endpoint.String()) + `</Address></EndpointReference>` +
		`</fed:PassiveRequestorEndpoint></RoleDescriptor></EntityDescriptor>`)
	return metadata{
		head: xml.Header + `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + escape(issuer) + `">` +
			`<RoleDescriptor xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706"` +
			` xsi:type="fed:SecurityTokenServiceType" protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706">`,
		tail: tail.String(),
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder never fails
	return b.String()
}

// Metadata serves the federation metadata: who signs tokens, with the
// certificates of the current key and of the one that is before or after it,
// and where to ask.
func (p *Protocol) Metadata() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m := p.current.Load().metadata
		if m.head == "" { // who this service is comes with the relying parties
			w.Header().Set("Retry-After", "60")
			http.Error(w, "This service does not know its relying parties yet.", http.StatusServiceUnavailable)
			return
		}
		var b strings.Builder
		b.WriteString(m.head)
		for _, c := range p.keys.Certificates() {
			b.WriteString(`<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` +
				base64.StdEncoding.EncodeToString(c.Raw) + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>`)
		}
		b.WriteString(m.tail)
		w.Header().Set("Content-Type", "application/xml")
		w.Write([]byte(b.String()))
	})
}
