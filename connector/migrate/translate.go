package migrate

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"adconnector/connector/token"
	"adconnector/ldapauth/secret"
)

// Names of the files beside the configuration. All of them are for the service
// alone.
const (
	bindPasswordFile = "ldap-password"
	signingCertFile  = "signing/cert.pem"
	signingKeyFile   = "signing/cert.key"
	serverCertFile   = "tls/server.crt"
	serverKeyFile    = "tls/server.key"
	pfxFile          = "tls/server.pfx"
	pfxPasswordFile  = "tls/pfx-password"
	clientCAFile     = "tls/client-ca.pem"
	ticketFile       = "ticket"
	proxyFile        = "proxy-password"
)

// A file is one of those that are written beside the configuration.
type file struct {
	name string // with slashes
	data []byte
}

// A migration is one way from an old installation to a new configuration.
type migration struct {
	src    *source
	layout layout
	old    *settings
	key    []byte // the file with the private key, byte by byte
	cert   []byte
	files  []file
	doc    document
	report *Report
	host   string // that browsers open
}

// translate reads the old installation and makes everything that is written.
func translate(src *source, given secret.String) (*migration, error) {
	m := &migration{src: src, report: &Report{
		Files: []string{}, Taken: []Note{}, Left: []Note{}, Differs: []Note{}, Unneeded: []Note{}, Decide: []Note{},
	}}
	name, data, err := src.first(configNames)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%s holds no config.json: name the folder of the old connector, its config.json or its export", src.name)
	}
	m.layout = layoutOf(name, src)
	if m.old, err = parseSettings(data); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", name, src.name, err)
	}
	if err := m.readPair(); err != nil {
		return nil, err
	}
	m.doc.heading = "Configuration of adconnector, made by \"adconnector import\" from an installation of Auth0's AD/LDAP Connector.\n" +
		"docs/configuration.md explains the keys at length, config.example.yaml shows those that are not here. " +
		"A line behind a # is off. A relative path starts at the folder of this file."
	for _, part := range []func() error{
		m.service, m.server, m.certificate, m.password,
		func() error { return m.directory(given) },
		m.session, m.signing, m.federation, m.hub, m.profile,
	} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	m.rest()
	return m, nil
}

// readPair reads the key that signs tokens and its certificate.
func (m *migration) readPair() error {
	for _, part := range []struct {
		key   string
		names []string
		data  *[]byte
	}{{"AUTH_CERT_KEY", keyNames, &m.key}, {"AUTH_CERT", certNames, &m.cert}} {
		if text := m.old.secret(part.key).Reveal(); text != "" {
			*part.data = []byte(text)
			continue
		}
		_, data, err := m.src.first(part.names)
		if err != nil {
			return err
		}
		*part.data = data
	}
	return nil
}

func (m *migration) keep(name string, data []byte) { m.files = append(m.files, file{name, data}) }

// keepSecret keeps a text in a file of its own, on one line.
func (m *migration) keepSecret(name string, text secret.String) {
	m.keep(name, []byte(text.Reveal()+"\n"))
}

func (m *migration) left(key, format string, args ...any) {
	m.report.Left = append(m.report.Left, Note{key, fmt.Sprintf(format, args...)})
}

func (m *migration) decide(key, format string, args ...any) {
	m.report.Decide = append(m.report.Decide, Note{key, fmt.Sprintf(format, args...)})
}

// listens reports whether the old connector had a listener: without
// certificates and Kerberos it only spoke to the hub.
func (m *migration) listens() bool {
	return m.old.bool(false, "CLIENT_CERT_AUTH") || m.old.bool(false, "KERBEROS_AUTH")
}

// service writes what concerns the service as a whole.
func (m *migration) service() error {
	port := m.old.text("PORT")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		if port != "" {
			m.left("PORT", "it is no port and was left out; 4000, the default one, is taken")
		}
		port = "4000"
	}
	raw := m.old.text("SERVER_URL")
	from := "SERVER_URL"
	if raw == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("there is no SERVER_URL, and the name of this computer is not known: %w", err)
		}
		raw, from = "http://"+strings.ToLower(net.JoinHostPort(host, port)), ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return errors.New("the old setting SERVER_URL cannot be taken over: it is no address such as https://login.example.com")
	}
	if u.Scheme == "http" && m.listens() {
		m.decide("url", "was reached in clear (%s); here it is https only. Write the address that browsers shall open, with a name in the server certificate", "http://"+u.Host)
	}
	if u.Scheme == "http" && u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	u.Scheme, m.host = "https", u.Hostname()
	m.doc.add(line{
		key: "url", value: quote(strings.TrimSuffix(u.String(), "/")), from: from, needed: true,
		comment: "What browsers open. The server certificate must be for this host.",
	})
	switch {
	case !m.listens():
		m.doc.add(line{key: "listen", value: quote("127.0.0.1:" + port), from: "PORT", comment: "Address and port to listen on: this machine alone, since no browser came to the old connector. Without the line: every address, and the port of url."})
	case u.Port() != port:
		m.doc.add(line{key: "listen", value: quote(":" + port), from: "PORT", comment: "Address and port to listen on."})
	}
	m.doc.add(line{key: "data_dir", value: "data", comment: "Folder for what the service keeps for itself. It is made at the first start."})
	if name := m.old.text("SITE_NAME"); name != "" {
		m.doc.add(line{key: "site_name", value: quote(name), from: "SITE_NAME", comment: "Title of the pages."})
	}
	return nil
}

// server writes the server certificate.
func (m *migration) server() error {
	m.doc.section("tls", "The server certificate. It is loaded anew when the files change.")
	if text := m.old.secret("SSL_PFX").Reveal(); text != "" {
		password := m.old.secret("SSL_KEY_PASSWORD")
		problem := m.pfx(text, password)
		if problem == "" {
			m.doc.add(line{key: "tls.pfx_file", value: pfxFile, from: "SSL_PFX", comment: "The certificate with its key, as the old connector had it (PKCS #12)."})
			if password.Reveal() != "" {
				m.keepSecret(pfxPasswordFile, password)
				m.doc.add(line{key: "tls.pfx_password_file", value: pfxPasswordFile, from: "SSL_KEY_PASSWORD", comment: "The file that holds its password."})
			}
			return nil
		}
		m.left("SSL_PFX", "%s", problem)
	}
	m.doc.add(line{key: "tls.cert_file", value: serverCertFile, needed: true, comment: "PEM: the server's certificate first, then those of its issuers."})
	m.doc.add(line{key: "tls.key_file", value: serverKeyFile, needed: true, comment: "PEM, not encrypted, and readable for the service alone."})
	if !m.listens() {
		return m.ownServer()
	}
	m.decide("tls.cert_file", "the old connector had no server certificate that can be used: put one for %s and its key into tls/server.crt and tls/server.key (folder tls beside the file), or write pfx_file in their place", m.host)
	return nil
}

// ownServer makes a server certificate for a service to which no browser comes.
// The old connector had no listener then; here there is always one, on this
// machine alone, and whoever opens it does not need to trust it.
func (m *migration) ownServer() error {
	cert, key, err := selfSigned(m.host, time.Now())
	if err != nil {
		return err
	}
	m.keep(serverCertFile, cert)
	m.keep(serverKeyFile, key)
	m.decide("tls.cert_file", "no browser came to the old connector (CLIENT_CERT_AUTH and KERBEROS_AUTH are off), so tls/server.crt is self-signed and listen is this machine alone. For sign-ins by browser, put a certificate for %s there and remove listen", m.host)
	return nil
}

// pfx keeps the server certificate and looks into it. It returns why it cannot
// be used, "" if it can.
func (m *migration) pfx(text string, password secret.String) (problem string) {
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return "it is not base64"
	}
	_, leaf, _, err := pkcs12.DecodeChain(data, password.Reveal())
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return "SSL_KEY_PASSWORD does not open it; releases since 2026 keep that password elsewhere. Export the certificate with its key again"
	case err != nil:
		return "it is not PKCS #12 with a certificate and its key; export the certificate with its key again"
	}
	m.keep(pfxFile, data)
	if leaf.VerifyHostname(m.host) != nil {
		m.decide("url", "the server certificate is not for %s; change url to a name that is in it, or get another certificate", m.host)
	}
	return ""
}

// certificates reads a text with certificates and returns them as PEM.
func certificates(texts []string) []byte {
	var b bytes.Buffer
	for _, text := range texts {
		for data := trimmed(text); ; {
			var block *pem.Block
			if block, data = pem.Decode(data); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				continue
			}
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				fmt.Fprintf(&b, "# %s\n", strconv.Quote(c.Subject.String()))
				_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer does not fail
			}
		}
	}
	return b.Bytes()
}

// certificate writes the sign-in with a client certificate.
func (m *migration) certificate() error {
	wanted := m.old.bool(false, "CLIENT_CERT_AUTH")
	texts := m.old.list("CA_CERT")
	pool := certificates(texts)
	if len(texts) > 0 && len(pool) == 0 {
		m.left("CA_CERT", "it holds no certificate in PEM")
	}
	on := wanted && len(pool) > 0
	if len(pool) > 0 {
		m.keep(clientCAFile, pool)
	}
	add := func(l line) {
		l.off = !on
		m.doc.add(l)
	}
	add(line{key: "certificate", from: m.given("CLIENT_CERT_AUTH"), comment: "Sign-in with a client certificate."})
	add(line{
		key: "certificate.ip_ranges", value: `["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]`,
		comment: "Networks and single addresses whose browsers are asked for a certificate. All others never see that question. The old connector had no such setting: its listener asked everybody, and the ranges of the tenant's connection decided who was sent to it. Write those ranges here.",
	})
	from := ""
	if len(pool) > 0 {
		from = "CA_CERT"
	}
	add(line{
		key: "certificate.ca_files", value: "[" + clientCAFile + "]", from: from,
		comment: "The authorities that issue your users' certificates. No other authority is trusted; in particular not those in the server's PFX, nor the public ones.",
	})
	add(line{key: "certificate.user_name", value: "[subject_cn]", comment: "Where the user name stands: the one common name of the subject, as before."})
	add(line{key: "certificate.revocation", comment: "Whether a certificate has been taken back by its authority. The old connector did not ask."})
	add(line{key: "certificate.revocation.mode", value: quote("online"), comment: "online asks what the certificates name, lists and responders; offline uses files alone (crl_files); \"off\" does not ask."})
	switch {
	case on:
		m.decide("certificate.ip_ranges", "the private networks stand there for now; write the IP ranges of the tenant's connection")
		m.decide("certificate.revocation", "certificates are now asked for revocation, and refused if no answer can be had; see that this computer reaches what they name, or choose another mode")
		m.decide("certificate", "accounts that are disabled, expired or locked no longer get in with a certificate")
	case wanted:
		m.left("CLIENT_CERT_AUTH", "without CA_CERT the old connector trusted every public authority for client certificates. Put the authority of your users' certificates into %s and take the # from the section certificate", clientCAFile)
	}
	return nil
}

// password writes the sign-in with a password.
func (m *migration) password() error {
	m.doc.add(line{key: "password", value: "{}", comment: "Sign-in with a password, from everywhere. {} stands for the defaults: after five wrong passwords in 15 minutes an account has to wait, and who must change a password gets a form for it."})
	m.decide("password", "the old connector let everybody guess as often as they liked; see in docs/throttling.md what holds now, and whether the form shall be offered to some networks only (password.ip_ranges)")
	return nil
}

// directory writes the section ldap.
func (m *migration) directory(given secret.String) error {
	urls := m.old.list("LDAP_URL")
	base := m.old.text("LDAP_BASE")
	if len(urls) == 0 || base == "" {
		return errors.New("config.json lacks LDAP_URL or LDAP_BASE. If the old service had them from its environment, copy config.json and certs, write them into the copy, and import that")
	}
	m.doc.section("ldap", "The directory.")
	m.doc.add(line{key: "ldap.urls", value: quoteList(urls), from: "LDAP_URL", needed: true, comment: "Servers of the directory, in order of preference. Add the others, so that one may fail."})
	m.encryption(urls)
	if err := m.account(given); err != nil {
		return err
	}
	m.doc.add(line{key: "ldap.base_dn", value: quote(base), from: "LDAP_BASE", needed: true, comment: "Where people are, with everything below."})
	m.queries()
	m.groups()
	for _, a := range []struct {
		key, comment string
		old          []string
	}{
		{"ldap.allow_expired_password", "Let people in although their password has expired.", []string{"ALLOW_PASSWORD_EXPIRED", "AUTH_WHEN_PASSWORD_EXPIRED"}},
		{"ldap.allow_must_change_password", "Let people in although they must change their password.", []string{"ALLOW_PASSWORD_CHANGE_REQUIRED", "AUTH_WHEN_PASSWORD_CHANGE_REQUIRED"}},
	} {
		if m.old.bool(false, a.old...) {
			from, _ := m.old.get(a.old...)
			m.doc.add(line{key: a.key, value: "true", from: from, comment: a.comment})
		}
	}
	m.doc.add(line{key: "ldap.deny_groups", value: "[protected]", comment: "Members of these groups may not sign in. \"protected\" are the administrators of an Active Directory. The old connector let them in."})
	m.decide("ldap.deny_groups", "members of the protected groups of Active Directory can no longer sign in; write [] if they must, or add groups")
	return nil
}

// encryption sees to it that passwords do not cross the network in clear.
func (m *migration) encryption(urls []string) {
	inClear := slices.ContainsFunc(urls, func(raw string) bool {
		u, err := url.Parse(raw)
		if err != nil || !strings.EqualFold(u.Scheme, "ldap") {
			return false
		}
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
	})
	if inClear {
		m.doc.add(line{key: "ldap.start_tls", value: "true", comment: "Turn on encryption on the port without TLS before anything is sent. The old connector sent passwords in clear."})
		m.decide("ldap.start_tls", "the old connector sent passwords in clear to the directory; now they are encrypted, which takes a certificate on the domain controllers. Write ldaps:// addresses if they do not know StartTLS")
	}
	m.doc.add(line{key: "ldap.ca_files", value: "[]", off: !inClear, comment: "Who vouches for the servers' certificates. An empty list means the authorities that this system trusts."})
	if _, folder := m.old.get("SSL_CA_PATH"); folder != nil && folder != false && folder != "false" {
		m.left("SSL_CA_PATH", "list the files from %s that are your own authorities in ldap.ca_files, and in hub.ca_files if they stand between this computer and the tenant", m.old.text("SSL_CA_PATH"))
	}
}

// account writes who looks people up.
func (m *migration) account(given secret.String) error {
	user := m.old.text("LDAP_BIND_USER")
	password, from := given, "LDAP_BIND_PASSWORD"
	if !password.IsSet() {
		password = m.old.secret("LDAP_BIND_PASSWORD")
	}
	credentials := m.old.secret("LDAP_BIND_CREDENTIALS")
	if user == "" {
		m.decide("ldap.bind_dn", "the old connector searched without an account; write one here if the directory does not answer everybody")
		return nil
	}
	if password.Reveal() == "" && credentials.Reveal() != "" {
		var err error
		from = "LDAP_BIND_CREDENTIALS"
		if len(m.key) == 0 {
			return fmt.Errorf("LDAP_BIND_CREDENTIALS cannot be decrypted, because certs/cert.key is not there. Give it with the config.json, or write the password of %s into a file and name that with --bind-password-file", user)
		}
		if password, err = decryptCredentials(credentials, m.key); err != nil {
			return fmt.Errorf("LDAP_BIND_CREDENTIALS: %w. Give certs/cert.key with it, or write the password of %s into a file and name that with --bind-password-file", err, user)
		}
	}
	if password.Reveal() == "" {
		return fmt.Errorf("config.json holds no password for LDAP_BIND_USER (releases since 2026 keep it in the system's key store): write the password of %s into a file and name that with --bind-password-file", user)
	}
	m.keepSecret(bindPasswordFile, password)
	m.doc.add(line{key: "ldap.bind_dn", value: quote(user), from: "LDAP_BIND_USER", needed: true, comment: "The account that looks people up. Reading is all that it needs to be allowed."})
	m.doc.add(line{key: "ldap.bind_password_file", value: bindPasswordFile, from: from, needed: true, comment: "The file that holds its password and nothing else."})
	return nil
}

// The queries of the old connector that are ours too, or do the same.
const (
	defaultUserQuery   = "(sAMAccountName={0})"
	defaultSearchQuery = "(&(objectCategory=person)(anr={0}))"
	defaultAllQuery    = "(objectCategory=person)"
	defaultListQuery   = "(objectCategory=group)"
	defaultGroupsQuery = "(member:1.2.840.113556.1.4.1941:={0})"
	inChain            = ":1.2.840.113556.1.4.1941:="
)

// queries writes how people are found.
func (m *migration) queries() {
	for _, q := range []struct {
		old               []string
		key, same, remark string
	}{
		{[]string{"LDAP_USER_BY_NAME", "LDAP_USER_BY_NAME_QUERY"}, "ldap.user_filter", defaultUserQuery, "How an account is found by its name, {0}. It must be exactly one: the old connector took the first of several."},
		{[]string{"LDAP_SEARCH_QUERY"}, "ldap.user_search", defaultSearchQuery, "How people are looked up by a part of their name, {0}."},
	} {
		text := m.old.text(q.old...)
		if text == "" || text == q.same {
			continue
		}
		from, _ := m.old.get(q.old...)
		m.doc.add(line{key: q.key, value: quote(text), from: from, comment: q.remark})
	}
	for _, q := range []struct{ key, same string }{{"LDAP_SEARCH_ALL_QUERY", defaultAllQuery}, {"LDAP_SEARCH_LIST_GROUPS_QUERY", defaultListQuery}} {
		if text := m.old.text(q.key); text != "" && text != q.same {
			m.left(q.key, "lists are made by the kind of directory and ldap.user_search; it was %s", text)
		}
	}
}

// groups writes which groups are reported.
func (m *migration) groups() {
	m.doc.section("ldap.groups", "The groups of a user.")
	add := func(key, value, from, comment string) {
		m.doc.add(line{key: "ldap.groups." + key, value: value, from: from, comment: comment})
	}
	include := m.old.bool(true, "GROUPS")
	add("include", strconv.FormatBool(include), m.given("GROUPS"), "Report them.")
	if text := m.old.text("LDAP_SEARCH_GROUPS"); text != "" && text != defaultGroupsQuery {
		add("filter", quote(text), "LDAP_SEARCH_GROUPS", "How the groups of a member are found; {0} is the member's DN.")
		add("nested", "false", "", "Groups in groups: the filter above decides, as before.")
		if !strings.Contains(text, inChain) {
			m.decide("ldap.groups.nested", "the old connector reported direct groups only; write true to report the groups of groups too")
		}
	} else {
		add("nested", "true", m.given("LDAP_SEARCH_GROUPS"), "... and the groups that those are in.")
	}
	if base := m.old.text("LDAP_BASE_GROUPS"); base != "" {
		add("base_dn", quote(base), "LDAP_BASE_GROUPS", "Where groups are.")
	}
	if name := m.old.text("GROUP_PROPERTY"); name != "" {
		add("attribute", quote(name), "GROUP_PROPERTY", "The attribute that is a group's reported name.")
	}
	if key := "GROUPS_TIMEOUT_SECONDS"; m.given(key) != "" {
		add("timeout", duration(m.old.seconds(20, key)), key, "The longest that collecting all groups of a user may take.")
	}
	if key := "GROUPS_CACHE_SECONDS"; m.given(key) != "" {
		add("cache", duration(m.old.seconds(600, key)), key, "How long it is remembered what groups are called and what they are in.")
	}
	if len(m.old.list("GROUP_PROPERTIES")) > 0 {
		m.left("GROUP_PROPERTIES", "groups are reported by one attribute (ldap.groups.attribute), not as objects of several")
	}
	if text := m.old.text("GROUPS_DEREF_ALIASES"); text != "" && text != "0" {
		m.left("GROUPS_DEREF_ALIASES", "aliases are not followed")
	}
	if !m.old.bool(true, "LDAP_SEARCH_RESULTS_OMIT_GROUPS") {
		m.left("LDAP_SEARCH_RESULTS_OMIT_GROUPS", "looking people up does not collect their groups")
	}
}

// given returns the key if it has a value, else "".
func (m *migration) given(key string) string {
	if _, v := m.old.get(key); v == nil {
		return ""
	}
	return key
}

// origin returns the key if it has a value, else the file that does its work.
func (m *migration) origin(key, file string) string { return cmp.Or(m.given(key), file) }

func duration(seconds int) string { return strconv.Itoa(seconds) + "s" }

// session writes how long a sign-in serves.
func (m *migration) session() error {
	m.doc.section("session", "Signing in once for several applications.")
	m.doc.add(line{key: "session.lifetime", value: "8h", comment: "How long a sign-in serves further applications; 0 keeps no session."})
	m.decide("session.lifetime", "the old connector kept no session with its default secret, and one of 24 hours with a secret of 32 characters; here it is 8 hours, and accounts are looked at again every 5 minutes")
	return nil
}

// signing writes the key that signs tokens. The tenant knows its certificate.
func (m *migration) signing() error {
	if len(m.key) == 0 || len(m.cert) == 0 {
		m.left("certs/cert.key", "the key or the certificate that signs tokens is not there: a new one will be made, and the tenant does not know it until it has been told")
		return nil
	}
	pair, err := token.ParsePair(trimmed(string(m.cert)), trimmed(string(m.key)))
	if err != nil {
		m.left("certs/cert.key", "the key that signs tokens cannot be used: %v. A new one will be made, and the tenant does not know it until it has been told", err)
		return nil
	}
	m.keep(signingCertFile, trimmed(string(m.cert)))
	m.keep(signingKeyFile, trimmed(string(m.key)))
	m.doc.section("signing", "The key that signs tokens. Without the section the service makes one of its own and renews it.")
	m.doc.add(line{key: "signing.cert_file", value: signingCertFile, from: m.origin("AUTH_CERT", "certs/cert.pem"), comment: "The certificate of the old connector, by which the tenant knows the key."})
	m.doc.add(line{key: "signing.key_file", value: signingKeyFile, from: m.origin("AUTH_CERT_KEY", "certs/cert.key"), comment: "Its key, readable for the service alone."})
	sum := sha1.Sum(pair.Certificate.Raw) //nolint:gosec // it is what the old connector keeps to recognise the certificate
	thumbprint := hex.EncodeToString(sum[:])
	if last := m.old.text("LAST_SENT_THUMBPRINT"); last != "" && !strings.EqualFold(strings.ReplaceAll(last, ":", ""), thumbprint) {
		m.decide("signing.cert_file", "the tenant was last told of another certificate (SHA-1 %s) than the one that is there (%s); see which one its connection shows", last, thumbprint)
	}
	if end := pair.Certificate.NotAfter; end.Before(time.Now().AddDate(0, 1, 0)) {
		m.decide("signing.cert_file", "the certificate ends on %s. The tenant may not mind; to have a new one made and renewed, remove the section signing and tell the tenant", end.Format(time.DateOnly))
	}
	return nil
}

// federation writes the upstream that tokens are for.
func (m *migration) federation() error {
	issuer := m.old.text("WSFED_ISSUER")
	if issuer == "" {
		issuer = "urn:auth0"
	}
	if !strings.HasPrefix(issuer, "urn:") && !strings.HasPrefix(issuer, "http:") && !strings.HasPrefix(issuer, "https:") {
		issuer = "urn:" + issuer
	}
	realm := m.old.text("REALM")
	var replies []string
	if realm != "" {
		for _, list := range m.old.list(realm) {
			for reply := range strings.SplitSeq(list, ",") {
				if reply = strings.TrimSpace(reply); reply != "" && !slices.Contains(replies, reply) {
					replies = append(replies, reply)
				}
			}
		}
	}
	provisioned := m.hasTicket()
	if realm == "" || len(replies) == 0 {
		if !provisioned {
			m.decide("wsfed", "config.json does not say which realm of the tenant tokens are for, and where they go; write the section wsfed if browsers sign in here")
		}
		return nil
	}
	about := "WS-Federation, at /wsfed: how the tenant sends browsers here."
	if provisioned {
		// What stands in the file wins over what the tenant says, also when that
		// changes; the old connector asked anew at each start.
		about += " It is off because the tenant says all this by itself, each time that it is asked; what stands here would win over that."
		m.replaced("REALM", "the tenant says it when it is asked with the ticket")
		m.replaced("WSFED_ISSUER", "the tenant says it when it is asked with the ticket")
	}
	m.replaced(realm, "these are the reply addresses of REALM")
	m.doc.add(line{key: "wsfed", comment: about, off: provisioned})
	m.doc.add(line{key: "wsfed.issuer", value: quote(issuer), from: m.given("WSFED_ISSUER"), off: provisioned, comment: "The name of this service in its tokens, as the tenant expects it."})
	m.doc.add(line{
		key: "wsfed.relying_parties", value: "[{realm: " + quote(realm) + ", reply_urls: " + quoteList(replies) + "}]", from: "REALM", off: provisioned,
		comment: "Who may ask for sign-ins, and where the answers may go: to exactly these addresses.",
	})
	return nil
}

// hasTicket reports whether the old connector had a ticket, with which the tenant
// says what the connection is.
func (m *migration) hasTicket() bool {
	return strings.TrimSpace(m.old.secret("PROVISIONING_TICKET").Reveal()) != ""
}

// replaced notes an old setting, if it is there, for which nothing is to be done.
func (m *migration) replaced(key, why string) {
	if m.old.values[key] != nil {
		m.report.Unneeded = append(m.report.Unneeded, Note{key, why})
	}
}

// hub writes the connection to the tenant.
func (m *migration) hub() error {
	off := !m.hasTicket()
	if off {
		m.decide("hub.ticket_file", "config.json holds no ticket; take it from the tenant's connection, write it into the file ticket beside config.yaml, and take the # from the section hub")
	} else {
		m.keepSecret(ticketFile, secret.New(strings.TrimSpace(m.old.secret("PROVISIONING_TICKET").Reveal())))
	}
	first := len(m.doc.lines)
	defer func() {
		for i := first; i < len(m.doc.lines); i++ {
			m.doc.lines[i].off = off
		}
	}()
	m.doc.section("hub", "The connection to the tenant.")
	m.doc.add(line{key: "hub.ticket_file", value: ticketFile, from: m.given("PROVISIONING_TICKET"), comment: "The file that holds the address of the ticket. It is a secret."})
	if m.old.bool(false, "ENABLE_WRITE_BACK") {
		m.doc.add(line{key: "hub.allow_password_change", value: "true", from: "ENABLE_WRITE_BACK", comment: "Let the tenant change passwords in the directory."})
		if m.old.bool(false, "AUTO_UNLOCK_ON_PASSWORD_CHANGE") {
			m.doc.add(line{key: "hub.unlock_on_password_change", value: "true", from: "AUTO_UNLOCK_ON_PASSWORD_CHANGE", comment: "Unlock the account with that."})
		}
		m.decide("hub.allow_password_change", "the tenant sets passwords by the rights of the service account, as before, but no longer those of administrators and of others in ldap.deny_groups, nor of disabled accounts")
	}
	m.proxy()
	return nil
}

// proxy writes the way out to the tenant.
func (m *migration) proxy() {
	raw := m.old.secret("HTTP_PROXY")
	if raw.Reveal() == "" {
		return
	}
	u, err := url.Parse(strings.TrimSpace(raw.Reveal()))
	if err != nil || u.Host == "" {
		m.left("HTTP_PROXY", "it is no address such as http://proxy.example.com:8080")
		return
	}
	user := u.User
	u = &url.URL{Scheme: u.Scheme, Host: u.Host} // what stands behind has no meaning for a proxy
	m.doc.add(line{key: "hub.proxy", value: quote(u.String()), from: "HTTP_PROXY", comment: "The proxy on the way to the tenant."})
	if user == nil {
		return
	}
	m.doc.add(line{key: "hub.proxy_user", value: quote(user.Username()), comment: "Its user name."})
	if password, ok := user.Password(); ok {
		m.keepSecret(proxyFile, secret.New(password))
		m.doc.add(line{key: "hub.proxy_password_file", value: proxyFile, comment: "The file that holds its password."})
	}
}

// profile writes the claims that differ from the default ones.
func (m *migration) profile() error {
	name, script := "PROFILE_MAPPER", m.old.text("PROFILE_MAPPER")
	setting := ""           // that named the file
	if m.layout == inData { // there the file wins
		own, data, err := m.src.first(mapperNames[inData])
		if err != nil {
			return err
		}
		if data != nil {
			name, script = own, string(data)
			m.replaced("PROFILE_MAPPER", "the old connector took "+own+" instead")
			m.replaced("PROFILE_MAPPER_FILE", "the old connector took "+own+" instead")
		}
	}
	if script == "" {
		names := mapperNames[m.layout]
		if own := m.old.text("PROFILE_MAPPER_FILE"); own != "" {
			own = filepath.ToSlash(own)
			if !filepath.IsLocal(own) {
				m.left("PROFILE_MAPPER_FILE", "%s is outside of the installation and was not looked at; write what it does into profile", own)
				return nil
			}
			names, setting = []string{path.Clean(own)}, "PROFILE_MAPPER_FILE"
		}
		var data []byte
		var err error
		if name, data, err = m.src.first(names); err != nil {
			return err
		}
		if data == nil && m.given("PROFILE_MAPPER_FILE") != "" {
			m.left("PROFILE_MAPPER_FILE", "%s is not in the installation; write what it does into profile", names[0])
		}
		if script = string(data); script == "" {
			return nil // the default one
		}
	}
	found := readMapper(name, script)
	for _, n := range found.lost {
		m.left(n.Key, "%s", n.Text)
	}
	if len(found.claims) == 0 {
		return nil
	}
	m.doc.add(line{key: "profile", from: m.given(cmp.Or(setting, name)), comment: "What is reported of a person besides the built-in claims, or in their place, translated from the old profile mapper. Each is an attribute, or an expression over attributes."})
	m.report.Differs = append(m.report.Differs, found.differs...)
	for _, c := range found.claims {
		comment, from := "The old mapper did not report it.", ""
		switch {
		case c.lost:
			comment = fmt.Sprintf("Line %d of the old mapper is not understood, so nothing is reported until you write here what it does.", c.line)
		case c.line > 0:
			comment, from = fmt.Sprintf("From line %d of the old mapper.", c.line), fmt.Sprintf("%s:%d", name, c.line)
		}
		m.doc.add(line{key: "profile." + c.name, name: c.name, value: quote(c.source), from: from, comment: comment})
	}
	m.decide("profile", "compare what is reported with what the old mapper reported (adconnector explain --user NAME)")
	return nil
}

// unneeded are old settings without a counterpart, and why that is well.
var unneeded = map[string]string{
	"AD_HUB": "comes with the ticket", "CONNECTION": "comes with the ticket", "TENANT_SIGNING_KEY": "comes with the ticket",
	"FIREWALL_RULE_CREATED": "no rule is made", "ANONYMOUS_SEARCH_ENABLED": "is not tried",
	"LDAP_BIND_CREDENTIALS":         "LDAP_BIND_PASSWORD or --bind-password-file was taken instead",
	"LDAP_NUMBER_OF_PARALLEL_BINDS": "passwords are checked side by side (ldap.pool)",
	"LDAP_HEARTBEAT_SECONDS":        "servers are watched by themselves", "LDAP_HEARTBEAT_SEARCH_QUERY": "servers are watched by themselves",
	"SESSION_SECRET": "keys for cookies are made at the first start", "WS_RECONNECT_INTERVAL_MS": "a lost connection is made anew within a second",
	"MAX_HEADER_SIZE": "is fixed", "AGENT_MODE": "there is no other", "SSL_CA_FILE": "see SSL_CA_PATH", "SSL_OPENSSLDIR_PATTERN": "see SSL_CA_PATH",
	"LAST_SENT_THUMBPRINT": "was compared with the certificate", "PORT": "is a part of url or listen", "AUTHENTICATION": "the sections certificate and password say it",
	"WITH_KERBEROS_PROXY_FRONTEND": "a header that anybody can send is not believed", "KERBEROS_DEBUG_USER": "a header that anybody can send is not believed",
	"ENABLE_ACTIVE_DIRECTORY_UNICODE_PASSWORD": "the kind of directory decides it", "AUTO_UNLOCK_ON_PASSWORD_CHANGE": "goes with ENABLE_WRITE_BACK",
	"OVERRIDE_CONFIG": "is not needed",
	"CACHE_FILE":      "nothing is cached in files", "SSL_ENABLE_EMPTY_SUBJECT": "a certificate without a subject is taken, if it names the server",
	"PROFILE_MAPPING_MEMORY_LIMIT_MB": "expressions are bounded by themselves", "PROFILE_MAPPING_TIMEOUT_MS": "expressions are bounded by themselves",
	"SSL_KEY_PASSWORD": "goes with SSL_PFX",
}

// rest reports what nobody has asked for.
func (m *migration) rest() {
	if m.old.bool(false, "KERBEROS_AUTH") {
		m.left("KERBEROS_AUTH", "sign-in with Kerberos takes a keytab for the HTTP service, which the old connector did not have; certificate and password work without")
	}
	m.report.Left = append(m.report.Left, m.old.wrong...)
	for _, key := range m.old.unused() {
		if why := unneeded[key]; why != "" {
			m.report.Unneeded = append(m.report.Unneeded, Note{key, why})
		} else {
			m.left(key, "is not a setting that is known here")
		}
	}
	m.decide("environment", "what the old service had from environment variables is not in its files; compare")
}
