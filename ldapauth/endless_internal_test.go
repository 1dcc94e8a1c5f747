package ldapauth

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// promise answers every search at c with an empty page and the word that there
// is another one.
func promise(c net.Conn) {
	for {
		q, err := ber.ReadPacket(c)
		if err != nil || len(q.Children) < 2 {
			return
		}
		p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, q.Children[0].Value, ""))
		done := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultDone, nil, "")
		done.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(0), ""))
		for range 2 {
			done.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
		}
		p.AppendChild(done)
		page := ldap.NewControlPaging(0)
		page.SetCookie([]byte("more"))
		controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		controls.AppendChild(page.Encode())
		p.AppendChild(controls)
		if _, err := c.Write(p.Bytes()); err != nil {
			return
		}
	}
}

func TestE9_PagesWithoutAnEndEndWithTheCall(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go promise(theirs)
	c := &conn{ldap: ldap.NewConn(ours, false), raw: ours, paging: make(chan struct{}, 1)}
	c.ldap.Start()
	defer c.close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errNoAnswer)
	defer cancel()
	r := request("", ldap.ScopeWholeSubtree, 10, time.Second, "(cn=*)", []string{"1.1"})
	r.Controls = []ldap.Control{ldap.NewControlPaging(pageSize)}
	ended := make(chan error, 1)
	go func() {
		_, err := c.ask(ctx, r)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, errNoAnswer) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on and on")
	}
}

// Active Directory shows 1,500 values at a time. What a group in more groups than
// that is a member of would else be taken for nothing, and bar nobody.
func TestC11_AGroupWhoseOwnMembershipsComeInPartsIsAFault(t *testing.T) {
	d := &Directory{config: DefaultConfig()}
	d.config.BaseDN = []string{"dc=corp"}
	e := ldap.NewEntry("cn=hub,dc=corp", map[string][]string{"cn": {"hub"}, "memberOf;range=0-1499": {"cn=a,dc=corp"}})
	if g, err := d.groupOf(e); !errors.Is(err, errInParts) {
		t.Errorf("%+v, %v", g, err)
	}
}
