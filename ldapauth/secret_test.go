package ldapauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"adconnector/ldapauth"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/memdir"
	"adconnector/ldapauth/secret"
)

func TestE12_NoPasswordIsInAnyErrorOrLog(t *testing.T) {
	const canary, serviceCanary = "canary-of-a-user", "canary-of-the-service"
	var out journal // connections are made, and failures logged, in the background
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	note := func(err error) {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
		}
	}
	try := func(c ldapauth.Config) {
		c = short(c)
		d := openWith(t, c, ldapauth.Options{Log: log})
		fmt.Fprintf(&out, "%+v %#v\n", c, d)
		a, err := d.FindByName(t.Context(), "jon")
		note(err)
		for _, f := range d.Check(t.Context()) {
			fmt.Fprintln(&out, f)
		}
		if a == nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, password := range []string{canary, "\x00" + canary} {
			note(d.Bind(ctx, a, secret.New(password)))
		}
	}
	for _, server := range []*dirtest.Server{dirtest.SharedOpenLDAP(t), dirtest.SharedSambaAD(t)} {
		c := real(server)
		try(c)
		c.BindPassword = secret.New(serviceCanary)
		try(c)
	}
	s, c := memory(t, memdir.ActiveDirectory)
	try(c)
	a := find(t, open(t, c), "jon")
	d := open(t, short(c))
	find(t, d, "jon")
	s.SetDelay(time.Hour)
	note(d.Bind(t.Context(), a, secret.New(canary)))
	c.URLs = []string{"ldaps://" + frozen(t)}
	c.BindPassword = secret.New(serviceCanary)
	try(c)
	said := out.String()
	if len(said) < 1000 {
		t.Fatalf("hardly anything was said: %s", said)
	}
	for _, word := range []string{canary, serviceCanary, memdir.ServicePassword} {
		if i := strings.Index(said, word); i >= 0 {
			t.Errorf("%q shows up: ...%s", word, said[max(0, i-200):i+len(word)])
		}
	}
}
