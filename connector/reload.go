package connector

import (
	"net/url"
	"time"

	"adconnector/connector/watch"
	"adconnector/ldapauth/setting"
)

// watchFiles makes the watcher that puts changed certificate files to use. A set
// of files that does not work is reported and changes nothing: what was loaded
// before stays, so a botched renewal is a line in the log and not an outage.
func (c *Connector) watchFiles(every time.Duration) {
	c.watcher = watch.New(every)
	t := c.config.TLS
	c.watcher.Add(paths(t.CertFile, t.KeyFile, t.PFXFile, t.PFXPasswordFile), c.reloadServerCertificate)
	if c.config.Certificate != nil {
		c.watcher.Add(paths(c.config.Certificate.caFiles()...), c.reloadAnchors)
		c.watcher.Add(paths(c.config.Certificate.ListedFiles()...), c.reloadListed)
		c.watcher.Add(paths(c.config.Certificate.Revocation.CRLFiles...), c.reloadLists)
	}
}

func (c *Connector) reloadServerCertificate() {
	base, err := url.Parse(c.config.URL)
	if err != nil {
		return // New has parsed it
	}
	certificate, err := c.loadServerCertificate(base)
	c.loads.note(serverCertificateFiles, err)
	if err != nil {
		c.log.Error("the changed server certificate does not work; the one before stays in use", "err", err)
		return
	}
	c.front.SetCertificate(certificate)
	c.log.Info("server certificate replaced", "subject", certificate.Leaf.Subject.String(), "not_after", certificate.Leaf.NotAfter)
}

func (c *Connector) reloadAnchors() {
	anchors, err := c.loadAnchors()
	c.loads.note(authorityFiles, err)
	if err != nil {
		c.log.Error("the changed CA files do not work; the ones before stay in use", "err", err)
		return
	}
	c.verifier.SetAnchors(anchors)
	c.front.SetClientCAs(c.verifier.Names())
	c.log.Info("trust anchors replaced", "count", len(anchors.Certificates()))
}

func (c *Connector) reloadListed() {
	listed, err := c.loadListed()
	c.loads.note(selfSignedFiles, err)
	if err != nil {
		c.log.Error("the changed files with self-signed certificates do not work; the certificates before stay in use", "err", err)
		return
	}
	c.verifier.SetListed(listed)
	c.front.SetClientCAs(c.verifier.Names())
	c.log.Info("self-signed certificates replaced", "count", len(listed.Certificates()))
}

func (c *Connector) reloadLists() {
	if c.revocation == nil {
		return // mode: off
	}
	err := c.revocation.ReloadFiles()
	c.loads.note(listFiles, err)
	if err != nil {
		c.log.Error("the changed revocation lists do not work; the ones before stay in use", "err", err)
		return
	}
	c.log.Info("revocation lists in files replaced")
}

// paths returns the names of the files that are set.
func paths(files ...setting.File) []string {
	var names []string
	for _, f := range files {
		if f != "" {
			names = append(names, string(f))
		}
	}
	return names
}
