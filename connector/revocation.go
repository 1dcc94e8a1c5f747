package connector

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"adconnector/connector/fetch"
	"adconnector/connector/private"
	"adconnector/ldapauth"
	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/certauth/revocation"
	"adconnector/ldapauth/setting"
)

const (
	revocationKey = "certificate.revocation"
	listsDir      = "crl" // the folder in data_dir with the lists that were fetched
)

// openRevocation returns what knows which certificates have been revoked, nil if
// nobody shall ask. Fetched lists are kept in dir, which is nil, as the directory
// may be, when the start fails anyhow: then this is about the settings alone.
func (c *Connector) openRevocation(anchors *certauth.Anchors, dir *private.Dir) (*revocation.Store, error) {
	if c.config.Certificate == nil || c.config.Certificate.Revocation.Mode == revocation.ModeOff {
		return nil, nil
	}
	o := revocation.Options{Fetch: fetcher(c.directory), Log: c.log}
	if dir != nil {
		lists, err := dir.Sub(listsDir)
		if err != nil {
			return nil, fmt.Errorf("data_dir: %w", err)
		}
		o.Cache = lists
	}
	return openStore(c.config.Certificate.Revocation, anchors, o)
}

// openStore opens a store and gives mistakes their full keys.
func openStore(c revocation.Config, anchors *certauth.Anchors, o revocation.Options) (*revocation.Store, error) {
	o.Anchors = anchors.Certificates()
	store, err := revocation.Open(c, o)
	if err != nil {
		var p setting.Problems
		p.Under(revocationKey, err)
		return nil, p.Err()
	}
	return store, nil
}

// fetcher returns what gets lists and answers: from web servers, and by LDAP from
// the directory of the configuration.
func fetcher(d *ldapauth.Domains) revocation.Fetcher {
	web := fetch.HTTP(nil)
	return func(ctx context.Context, r revocation.Request) ([]byte, error) {
		if scheme, _, _ := strings.Cut(r.URL, ":"); strings.EqualFold(scheme, "ldap") {
			return d.RevocationList(ctx, r.URL, r.Limit)
		}
		return web(ctx, r)
	}
}

// revocation looks at what the settings say, at the lists in files, and at those
// that a running connector has fetched. It fetches nothing.
func (k *check) revocation() {
	if k.config.Certificate == nil {
		return
	}
	c := k.config.Certificate.Revocation
	if c.Mode == revocation.ModeOff {
		k.say(Warning, "%s.mode: off: a certificate that its authority has taken back opens the door until it expires", revocationKey)
		return
	}
	if c.OnUnknown == revocation.Allow {
		k.say(Warning, "%s.on_unknown: allow: while no revocation list or answer can be had, revoked certificates open the door; the audit line of each such sign-in has revocation_unknown", revocationKey)
	}
	anchors, err := (&Connector{config: k.config}).loadAnchors()
	if err != nil {
		return // has been told
	}
	store, err := openStore(c, anchors, revocation.Options{Cache: k.lists()})
	if err != nil {
		k.say(Failure, "%v", err)
		return
	}
	defer store.Close()
	k.say(OK, "%s: mode is %s", revocationKey, c.Mode)
	for _, s := range store.Sources() {
		k.source(&s)
	}
}

// lists returns the folder with fetched lists, nil if it is not there: nothing
// is made here.
func (k *check) lists() revocation.Cache {
	path := filepath.Join(string(k.config.DataDir), listsDir)
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	dir, err := private.Open(path)
	if err != nil {
		k.say(Failure, "data_dir: %v", err)
		return nil
	}
	return dir
}

// source tells about one place where lists or answers come from.
func (k *check) source(s *revocation.Source) {
	if s.Kind == revocation.FromResponder {
		k.say(OK, "%s: %s answers for %s (it is not asked now)", revocationKey, s.Where, s.Issuer)
		return
	}
	what := fmt.Sprintf("%s: the list of %s from %s", revocationKey, s.Issuer, s.Where)
	switch {
	case s.Error != "":
		k.say(Failure, "%s cannot be used: %s", what, s.Error)
	case !k.now.Before(s.NextUpdate):
		k.say(expiredLevel(s.Kind), "%s ended on %s: get a new one", what, s.NextUpdate.Format(time.RFC3339))
	case !s.Verified:
		k.say(Warning, "%s is by none of ca_files: it counts only for an intermediate authority that signed it", what)
	default:
		k.say(OK, "%s has %d entries and counts until %s", what, s.Entries, s.NextUpdate.Format(time.RFC3339))
	}
}

// expiredLevel says how bad it is that a list has ended: one that was fetched is
// fetched again when it is needed.
func expiredLevel(kind revocation.SourceKind) Level {
	if kind == revocation.FromFile {
		return Failure
	}
	return Warning
}
