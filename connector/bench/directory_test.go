package bench_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/connector/bench"
	"adconnector/connector/signin"
	"adconnector/ldapauth"
	"adconnector/ldapauth/dirtest"
	"adconnector/ldapauth/secret"
	"adconnector/ldapauth/setting"
)

// options are for a directory with a hundred people.
func options(t testing.TB, count int, o dirtest.OpenLDAPOptions) (bench.DirectoryOptions, *bytes.Buffer) {
	t.Helper()
	o.Users, o.Quiet = 100, true
	s := dirtest.OpenLDAP(t, o)
	c := &connector.Config{LDAP: ldapauth.DefaultDomains(), Password: &connector.PasswordConfig{Throttle: signin.DefaultThrottle()}}
	c.LDAP.URLs = []string{s.URL}
	c.LDAP.CAFiles = []setting.File{setting.File(s.CAFile)}
	c.LDAP.BindDN, c.LDAP.BindPassword = s.BindDN, secret.New(s.BindPassword)
	c.LDAP.BaseDN = []string{s.BaseDN}
	out := &bytes.Buffer{}
	d := bench.DirectoryOptions{Out: out, Count: count, Concurrency: bench.DirectoryConcurrency, Config: c, Password: s.Password}
	for i := range 100 {
		d.Usernames = append(d.Usernames, fmt.Sprintf("u%05d", i))
	}
	return d, out
}

func TestADirectoryIsMeasuredAgainstTheLibraryAlone(t *testing.T) {
	d, out := options(t, 200, dirtest.OpenLDAPOptions{})
	if err := bench.Directory(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"password sign-in ÷ bare bind: 0.", "password sign-in ÷ bare search and bind: ", "search ÷ bare search: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	for what, change := range map[string]func(*bench.DirectoryOptions){
		"a wrong password": func(d *bench.DirectoryOptions) { d.Password = "Wrong-Password-1" },
		"an unknown user":  func(d *bench.DirectoryOptions) { d.Usernames = []string{"nobody"} },
		"no user":          func(d *bench.DirectoryOptions) { d.Usernames = nil },
	} {
		wrong := d
		change(&wrong)
		if err := bench.Directory(t.Context(), wrong); err == nil {
			t.Errorf("%s: figures without sign-ins", what)
		}
	}
}

// BenchmarkOpenLDAP logs what adconnector bench says of OpenLDAP, with its own
// hash of passwords, which costs next to nothing, and with one that does not.
func BenchmarkOpenLDAP(b *testing.B) {
	for name, o := range map[string]dirtest.OpenLDAPOptions{"SSHA": {}, "Argon2": {Argon2: true}} {
		b.Run(name, func(b *testing.B) {
			count := 10_000
			if o.Argon2 {
				count = 800
			}
			d, out := options(b, count, o)
			for b.Loop() {
				if err := bench.Directory(b.Context(), d); err != nil {
					b.Fatal(err)
				}
			}
			b.Logf("%d at a time\n%s", d.Concurrency, out)
		})
	}
}
