// Package hubtest is a tenant for tests: provisioning endpoints and a hub, with
// TLS and WebSocket, and a signature of its own making.
package hubtest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"adconnector/ldapauth/testca"

	"github.com/coder/websocket"
)

// A Tenant is one running tenant. Its fields may be changed under Lock.
type Tenant struct {
	sync.Mutex

	URL    string // of its servers, without a path
	CA     *testca.CA
	Key    *rsa.PrivateKey  // signs commands
	Info   map[string]any   // the answer to GET {ticket}/info
	Fail   http.HandlerFunc // if set, answers the provisioning requests instead
	Refuse bool             // the hub lets nobody in
	Silent bool             // the hub says nothing at all
	Hub    http.HandlerFunc // if set, answers instead of the hub
	Keeps  bool             // every certificate that was posted counts, not only the last

	Posts  []Post        // the bodies of POST {ticket}
	Tokens []string      // the JWTs of authenticate
	Lag    time.Duration // how far the clock of /test is off

	conns  chan *Conn
	server *http.Server
	ended  chan struct{}
}

// A Post is what a connector tells a tenant.
type Post struct {
	Certificates   []string `json:"certs"`
	SignInEndpoint string   `json:"signInEndpoint"`
	AgentMode      bool     `json:"agentMode"`
	AgentVersion   string   `json:"agentVersion"`
}

// A Conn is one connection of a connector.
type Conn struct {
	*websocket.Conn
	Frames chan Frame // what came after authenticate; closed at the end
	Closed chan struct{}
	Err    error // why it ended, when Closed is
}

// A Frame is a message of either direction.
type Frame struct {
	Event   string          `json:"n"`
	Payload json.RawMessage `json:"p"`
}

// Names of the connection.
const (
	Realm      = "urn:auth0:rig"
	Connection = "rig-ad"
	Domain     = "auth0"
	ReplyURL   = "https://rig.auth0.test/login/callback"
)

// Start starts a tenant on the loopback interface.
func Start() (*Tenant, error) {
	ca, err := testca.New("Tenant CA")
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return Serve(ln, ca, fmt.Sprintf("https://localhost:%d", ln.Addr().(*net.TCPAddr).Port))
}

// Serve starts a tenant that is reached by address on ln.
func Serve(ln net.Listener, ca *testca.CA, address string) (*Tenant, error) {
	leaf, err := ca.Server("localhost")
	if err != nil {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	t := &Tenant{URL: address, CA: ca, Key: key, conns: make(chan *Conn, 1000), ended: make(chan struct{})}
	t.Info = map[string]any{
		"adHub": address + "/hub", "connectionDomain": Domain, "connectionName": Connection,
		"certAuth": true, "kerberos": false, "realm": map[string]any{"name": Realm, "postTokenUrl": ReplyURL},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /p/ad/secret-ticket/info", t.provisioning(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, t.Info) }))
	mux.HandleFunc("POST /p/ad/secret-ticket", t.provisioning(t.post))
	mux.HandleFunc("GET /test", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"clock": time.Now().Add(t.Lag).UnixMilli()})
	})
	mux.HandleFunc("GET /hub", t.hub)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12}}
	go func() {
		defer close(t.ended)
		_ = t.server.Serve(tls.NewListener(ln, t.server.TLSConfig))
	}()
	return t, nil
}

// Ticket returns the provisioning address.
func (t *Tenant) Ticket() string { return t.URL + "/p/ad/secret-ticket" }

// Close ends everything.
func (t *Tenant) Close() {
	_ = t.server.Close()
	<-t.ended
}

func (t *Tenant) provisioning(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t.Lock()
		defer t.Unlock()
		if t.Fail != nil {
			t.Fail(w, r)
			return
		}
		next(w, r)
	}
}

func (t *Tenant) post(w http.ResponseWriter, r *http.Request) {
	var p Post
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t.Posts = append(t.Posts, p)
	writeJSON(w, map[string]string{"signingKey": t.SigningKey()})
}

// SigningKey returns the public key as the tenant hands it out.
func (t *Tenant) SigningKey() string {
	der, _ := x509.MarshalPKIXPublicKey(&t.Key.PublicKey)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

// hub takes one connection and lets it in if what it shows is signed by the
// certificate that was posted last, or by any if the tenant keeps them.
func (t *Tenant) hub(w http.ResponseWriter, r *http.Request) {
	t.Lock()
	other := t.Hub
	t.Unlock()
	if other != nil {
		other(w, r)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(1 << 20)
	ctx := context.WithoutCancel(r.Context())
	c := &Conn{Conn: ws, Frames: make(chan Frame, 5000), Closed: make(chan struct{})}
	defer close(c.Closed)
	defer close(c.Frames)
	var first Frame
	if first, c.Err = c.read(ctx); c.Err != nil {
		return
	}
	var p struct {
		JWT string `json:"jwt"`
	}
	_ = json.Unmarshal(first.Payload, &p)
	t.Lock()
	t.Tokens = append(t.Tokens, p.JWT)
	refuse, silent := t.Refuse || first.Event != "authenticate" || !t.signed(p.JWT), t.Silent
	t.Unlock()
	switch {
	case silent:
	case refuse:
		c.Send(ctx, "authentication_failure", map[string]any{})
	default:
		c.Send(ctx, "authenticated", map[string]any{})
	}
	t.conns <- c
	for {
		var f Frame
		if f, c.Err = c.read(ctx); c.Err != nil {
			return
		}
		c.Frames <- f
	}
}

func (t *Tenant) signed(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(t.Posts) == 0 {
		return false
	}
	known := t.Posts[len(t.Posts)-1:]
	if t.Keeps {
		known = t.Posts
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	return slices.ContainsFunc(known, func(p Post) bool {
		der, _ := base64.StdEncoding.DecodeString(p.Certificates[0])
		cert, err := x509.ParseCertificate(der)
		return err == nil && cert.CheckSignature(x509.SHA256WithRSA, []byte(parts[0]+"."+parts[1]), signature) == nil
	})
}

func (c *Conn) read(ctx context.Context) (Frame, error) {
	var f Frame
	_, data, err := c.Read(ctx)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	return f, err
}

// Next returns the next connection that was let in or refused.
func (t *Tenant) Next(ctx context.Context) (*Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Send sends a frame.
func (c *Conn) Send(ctx context.Context, event string, payload any) {
	data, _ := json.Marshal(map[string]any{"n": event, "p": payload})
	_ = c.Write(ctx, websocket.MessageText, data)
}

// Command sends a command that t has signed.
func (t *Tenant) Command(ctx context.Context, c *Conn, event string, claims map[string]any) {
	c.Send(ctx, event, map[string]string{"jwt": t.Sign(claims)})
}

// Sign returns claims as a JWT of the tenant, made now if they do not say when.
func (t *Tenant) Sign(claims map[string]any) string {
	now := time.Now()
	all := map[string]any{"iat": now.Unix(), "exp": now.Unix() + 60}
	for k, v := range claims {
		all[k] = v
	}
	return JWT(map[string]any{"alg": "RS256", "typ": "JWT"}, all, func(data []byte) []byte {
		digest := sha256.Sum256(data)
		signature, _ := rsa.SignPKCS1v15(nil, t.Key, crypto.SHA256, digest[:])
		return signature
	})
}

// JWT returns a JWT of any kind. Claims that are nil are left out.
func JWT(header, claims map[string]any, sign func([]byte) []byte) string {
	for k, v := range claims {
		if v == nil {
			delete(claims, k)
		}
	}
	h, _ := json.Marshal(header)
	p, _ := json.Marshal(claims)
	data := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	return data + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(data)))
}

// Roots returns a certificate pool with the tenant's authority.
func (t *Tenant) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(t.CA.PEM())
	return pool
}
