package ldapauth

import (
	"context"

	"github.com/go-ldap/ldap/v3"
)

// Rediscover asks the DNS for servers now.
func (d *Directory) Rediscover() error { return d.rediscover() }

// Connected returns the number of service connections that are taken for good.
func (d *Directory) Connected() (n int) {
	for _, s := range d.all() {
		s.mu.Lock()
		for _, c := range s.service {
			if !c.dead() {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// SearchOne runs one search as every call of the Directory does.
func (d *Directory) SearchOne(ctx context.Context, r *ldap.SearchRequest) (int, error) {
	result, _, err := d.search(ctx, func(*dialect) *ldap.SearchRequest { return r })
	if err != nil {
		return 0, err
	}
	return len(result.Entries), nil
}

// SIDText writes a binary security identifier.
func SIDText(sid string) string { return sidText(sid) }

// SayNotWhoIsBound makes new service connections like those to a server that does
// not tell as whom the service account is bound.
func (d *Directory) SayNotWhoIsBound() { d.service.serviceAccount = nameless{d.service.serviceAccount} }

type nameless struct{ serviceAccount }

func (n nameless) bind(ctx context.Context, s *server, c *conn) (string, error) {
	_, err := n.serviceAccount.bind(ctx, s, c)
	return "", err
}
