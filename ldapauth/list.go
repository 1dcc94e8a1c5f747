package ldapauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// listAttributes are where authorities publish revocation lists (RFC 4523,
// section 2).
var listAttributes = []string{"certificateRevocationList", "authorityRevocationList", "deltaRevocationList"}

// RevocationList returns the revocation list that an LDAP URL in a certificate
// points to, of at most limit bytes. The entry is looked up in this directory and
// in no other, whatever host the URL names: one that names another host is
// refused. Nothing of the URL counts but the entry and which of the attributes
// for lists is meant, so that a certificate cannot be used to read anything else.
//
// Lists of more than 4 MiB do not fit into an answer of the directory.
func (d *Directory) RevocationList(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil || !strings.EqualFold(u.Scheme, "ldap") || u.User != nil {
		return nil, errors.New("is not an LDAP URL")
	}
	if h := u.Hostname(); h != "" && !slices.ContainsFunc(d.servers, func(s *server) bool { return strings.EqualFold(s.host, h) }) {
		return nil, fmt.Errorf("names the server %q, and only those in ldap.urls are asked", h)
	}
	dn, err := ldap.ParseDN(strings.TrimPrefix(u.Path, "/"))
	if err != nil || len(dn.RDNs) == 0 {
		return nil, errors.New("names no entry")
	}
	attribute, err := listAttribute(u.RawQuery)
	if err != nil {
		return nil, err
	}
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest {
		return request(dn.String(), ldap.ScopeBaseObject, 1, d.timeout, "(objectClass=*)", []string{attribute, attribute + ";binary"})
	})
	if err != nil {
		return nil, fmt.Errorf("asking the directory: %w", err)
	}
	var values [][]byte
	for _, e := range result.Entries {
		for _, a := range e.Attributes {
			if name, _, _ := strings.Cut(a.Name, ";"); strings.EqualFold(name, attribute) {
				values = append(values, a.ByteValues...)
			}
		}
	}
	switch {
	case len(values) == 0:
		return nil, fmt.Errorf("the entry %q has no %s that the service account may read", dn, attribute)
	case len(values) > 1:
		return nil, fmt.Errorf("the entry %q has %d values of %s, and nobody says which is meant", dn, len(values), attribute)
	case int64(len(values[0])) > limit:
		return nil, fmt.Errorf("the list has %d bytes, more than %d", len(values[0]), limit)
	}
	return values[0], nil
}

// listAttribute returns the attribute that the query of an LDAP URL names: the
// one for full lists if it names none (RFC 4516, section 2).
func listAttribute(query string) (string, error) {
	name, _, _ := strings.Cut(query, "?")
	name, _, _ = strings.Cut(name, ";")
	if name == "" {
		return listAttributes[0], nil
	}
	i := slices.IndexFunc(listAttributes, func(a string) bool { return strings.EqualFold(a, name) })
	if i < 0 {
		return "", fmt.Errorf("names the attribute %.40q, which is none for revocation lists", name)
	}
	return listAttributes[i], nil
}

// RevocationList returns the list of the first directory that has it: see
// [Directory.RevocationList].
func (s *Domains) RevocationList(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	var errs []error
	for _, d := range s.list {
		data, err := d.RevocationList(ctx, rawURL, limit)
		if err == nil {
			return data, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
