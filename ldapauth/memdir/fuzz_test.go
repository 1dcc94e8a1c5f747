package memdir

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

const fuzzBase = "DC=fabrikam,DC=example"

func fuzzServer(f *testing.F, flavor Flavor) *Server {
	entries := Sample(fuzzBase)
	if flavor == OpenLDAP {
		entries = SampleOpenLDAP(fuzzBase)
	}
	s, err := New(Options{BaseDN: fuzzBase, Entries: entries, Flavor: flavor, AnonymousRead: true})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// script is a connection on which the client's part is known beforehand.
type script struct {
	io.Reader
	io.Writer
}

func (script) Close() error                     { return nil }
func (script) LocalAddr() net.Addr              { return nil }
func (script) RemoteAddr() net.Addr             { return nil }
func (script) SetDeadline(time.Time) error      { return nil }
func (script) SetReadDeadline(time.Time) error  { return nil }
func (script) SetWriteDeadline(time.Time) error { return nil }

func messageOf(id int64, op []byte) []byte { return envelope(id, op, nil) }

func searchFor(filter string) []byte {
	p, err := ldap.CompileFilter(filter)
	if err != nil {
		panic(err)
	}
	return messageOf(2, application(opSearchRequest, octets(fuzzBase), number(tagEnumerated, 2), number(tagEnumerated, 0),
		number(tagInteger, 0), number(tagInteger, 0), []byte{1, 1, 0}, p.Bytes(), sequence(octets("*"))))
}

func bindAs(name, password string) []byte {
	return messageOf(1, application(opBindRequest, number(tagInteger, 3), octets(name), contextString(0, password)))
}

// FuzzRequests sends whatever comes to mind. The server must neither panic nor
// answer with anything but whole messages.
func FuzzRequests(f *testing.F) {
	f.Add(bindAs("jon@fabrikam.example", SamplePassword))
	f.Add(bindAs(`FABRIKAM\jon`, "wrong"))
	f.Add(bindAs("uid=nina,ou=people,"+fuzzBase, SamplePassword))
	f.Add(append(bindAs("", ""), searchFor("(&(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))")...))
	f.Add(searchFor("(member:1.2.840.113556.1.4.1941:=CN=Jon Smith,OU=Staff," + fuzzBase + ")"))
	f.Add(messageOf(3, application(opExtendedRequest, contextString(0, oidWhoAmI))))
	f.Add(messageOf(3, application(opExtendedRequest, contextString(0, oidStartTLS))))
	f.Add(envelope(4, application(opSearchRequest), [][]byte{answerControl(oidPaging, sequence(number(tagInteger, 5), octets("")))}))
	f.Add([]byte{0x30, 5, 2, 1, 1, 0x42, 0})
	f.Add([]byte{0x30, 0x80, 2, 1, 1, 0x42, 0, 0, 0})
	servers := []*Server{fuzzServer(f, ActiveDirectory), fuzzServer(f, OpenLDAP)}
	f.Fuzz(func(t *testing.T, request []byte) {
		for _, s := range servers {
			var answer bytes.Buffer
			s.admit(script{bytes.NewReader(request), &answer}).serve()
			for answer.Len() > 0 {
				p, err := ber.ReadPacket(&answer)
				if err != nil || len(p.Children) < 2 || p.Children[1].ClassType != ber.ClassApplication {
					t.Fatalf("answer %v, %v", p, err)
				}
			}
		}
	})
}

// FuzzFilter holds every filter to two rules: an index finds what looking at
// all entries finds, and no entry matches a filter and its opposite.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"(sAMAccountName=jon)", "(|(cn=jon smith)(sn=*b*)(mail>=j))", "(&(objectClass=group)(member=CN=Amy Reed,OU=Staff," + fuzzBase + "))",
		"(!(badPwdCount<=3))", "(memberOf=CN=Project Alpine,OU=Groups," + fuzzBase + ")", "(objectSid=S-1-5-32-545)", "(sn:1.2.3:=x)",
		"(memberOf:1.2.840.113556.1.4.1941:=CN=All Staff,OU=Groups," + fuzzBase + ")", "(userAccountControl:1.2.840.113556.1.4.803:=2)", "(|)",
	} {
		f.Add(seed)
	}
	d := fuzzServer(f, ActiveDirectory).dir
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ldap.CompileFilter(text)
		if err != nil {
			return
		}
		request := func() *searchRequest {
			flt, err := decodeFilter(ber.DecodePacket(p.Bytes()))
			if err != nil {
				t.Skip(err)
			}
			return &searchRequest{scope: scopeSubtree, filter: flt}
		}
		plain, not := request(), request()
		found := d.evaluate(d.byDN[d.base], plain)
		var all []*entry
		for _, e := range d.all {
			if d.match(plain.filter, e) == yes {
				all = append(all, e)
			}
		}
		if !slices.Equal(found, all) {
			t.Errorf("%q: by index %d entries, without %d", text, len(found), len(all))
		}
		not.filter = &filter{kind: filterNot, sub: []*filter{not.filter}}
		for _, e := range d.evaluate(d.byDN[d.base], not) {
			if slices.Contains(found, e) {
				t.Errorf("%q: %q matches the filter and its opposite", text, e.dn)
			}
		}
	})
}

// FuzzDN holds names to what the rest relies on: commas in a key separate steps
// and nothing else, and the client reads the same parts in a name.
func FuzzDN(f *testing.F) {
	f.Add(`CN=Zoë (Ops)\, Müller,OU=Staff,DC=fabrikam`)
	f.Add(`cn=a\20 + uid=\2bb,dc=c`)
	f.Add(`CN=Tr\c3\a4ger \#1\ ,O=x`)
	f.Add(`1.2.3=x`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDN(text)
		if err != nil {
			return
		}
		key := d.key()
		if n := strings.Count(key, ","); len(d) > 0 && n != len(d)-1 {
			t.Errorf("%q: %d commas in the key %q of %d steps", text, n, key, len(d))
		}
		if parent := parentKey(key); len(d) > 1 && (parent != d[1:].key() || !isWithin(key, parent)) {
			t.Errorf("%q: parent %q, want %q", text, parent, d[1:].key())
		}
		theirs, err := ldap.ParseDN(text)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		for i, step := range theirs.RDNs {
			for j, a := range step.Attributes {
				if len(theirs.RDNs) != len(d) || len(step.Attributes) != len(d[i]) || d[i][j] != (part{a.Type, a.Value}) {
					t.Fatalf("%q: %q, the client says %q", text, d, theirs)
				}
			}
		}
	})
}
