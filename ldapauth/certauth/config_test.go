package certauth_test

import (
	"strings"
	"testing"

	"adconnector/ldapauth/certauth"
	"adconnector/ldapauth/setting"
)

func TestDefaultConfigLacksOnlyTheAuthorities(t *testing.T) {
	c := certauth.DefaultConfig()
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "ca_files: required") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want ca_files to be missing and nothing else", err)
	}
	c.CAFiles = []setting.File{"ca.crt"}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if !c.CheckUsage || !c.CheckValidity {
		t.Error("a check is off by default")
	}
}

func TestValidateReportsEveryMistakeUnderItsKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*certauth.Config)
		want   []string // the keys, each with a word of the text
	}{
		{"an empty path", func(c *certauth.Config) { c.CAFiles = append(c.CAFiles, "") }, []string{"ca_files[1]: is empty"}},
		{"accept of nobody", func(c *certauth.Config) { c.Accept = "any" }, []string{`accept: "any" is not known: write chained, self_signed or all`}},
		{"self-signed and none listed", func(c *certauth.Config) { c.Accept = "self_signed" }, []string{"self_signed_files: required with accept: self_signed"}},
		{"all and none listed", func(c *certauth.Config) { c.Accept = "all" }, []string{"self_signed_files: required with accept: all"}},
		{"listed and not accepted", func(c *certauth.Config) { c.SelfSignedFiles = []certauth.ListedFile{{File: "a.crt"}} }, []string{"self_signed_files: has no effect while accept is chained: write accept: all"}},
		{"all without an authority", func(c *certauth.Config) {
			c.Accept, c.CAFiles, c.SelfSignedFiles = "all", nil, []certauth.ListedFile{{File: "a.crt"}}
		}, []string{"ca_files: required"}},
		{"self-signed without an authority", func(c *certauth.Config) {
			c.Accept, c.CAFiles, c.SelfSignedFiles = "self_signed", nil, []certauth.ListedFile{{File: "a.crt", User: `CORP\jon`}}
		}, nil},
		{"an entry without a file", func(c *certauth.Config) { c.Accept, c.SelfSignedFiles = "all", []certauth.ListedFile{{User: "jon"}} }, []string{"self_signed_files[0].file: required"}},
		{"an entry for nobody", func(c *certauth.Config) {
			c.Accept, c.SelfSignedFiles = "all", []certauth.ListedFile{{File: "a.crt", User: "jon "}}
		}, []string{`self_signed_files[0].user: "jon " begins or ends with a blank`}},
		{"accept emptied", func(c *certauth.Config) { c.Accept = "" }, []string{`accept: "" is not known`}},
		{"no rule", func(c *certauth.Config) { c.UserName = nil }, []string{"user_name: must hold at least one rule"}},
		{"an unknown rule", func(c *certauth.Config) { c.UserName = []certauth.Rule{{Name: "subject_cn"}, {Name: "san_dns"}} }, []string{`user_name[1]: "san_dns" is not a rule: write one of subject_cn, san_upn,`}},
		{"a rule twice", func(c *certauth.Config) { c.UserName = []certauth.Rule{{Name: "subject_cn"}, {Name: "subject_cn"}} }, []string{"user_name[1]: \"subject_cn\" is listed twice"}},
		{
			"a rule behind the one that always has something",
			func(c *certauth.Config) {
				c.UserName = []certauth.Rule{{Name: "alt_security_identities"}, {Name: "san_upn"}}
			},
			[]string{"user_name[1]: never has its turn"},
		},
		{
			"filters where there is one way only",
			func(c *certauth.Config) {
				c.UserName = []certauth.Rule{{Name: "sid", Filter: "(uid={0})"}, {Name: "alt_security_identities", Filter: "(uid={0})"}}
			},
			[]string{"user_name[0].filter: has no effect on sid", "user_name[1].filter: has no effect"},
		},
		{"no policy", func(c *certauth.Config) { c.Policies = []string{"1.2.3", "high", "2.5.29.32.0"} }, []string{`policies[1]: "high" is not`, `policies[2]: "2.5.29.32.0" is not`}},
		{
			"authorities",
			func(c *certauth.Config) {
				c.Authorities = []certauth.Authority{
					{CAFile: "a.crt", UserName: []certauth.Rule{{Name: "cn"}}, Policies: []string{"x"}}, {}, {CAFile: "a.crt"},
				}
			},
			[]string{`authorities[0].user_name[0]: "cn" is not`, `authorities[0].policies[0]: "x" is not`, "authorities[1].ca_file: required", `authorities[2].ca_file: "a.crt" is listed twice`},
		},
		{
			"authorities alone",
			func(c *certauth.Config) {
				c.CAFiles, c.Authorities = nil, []certauth.Authority{{CAFile: "a.crt"}}
			}, nil,
		},
		{"everything", func(c *certauth.Config) {
			*c = certauth.Config{UserName: []certauth.Rule{{Name: "cn"}}, Revocation: c.Revocation}
		}, []string{"ca_files: required", "accept: ", "user_name[0]: "}},
		{"revocation", func(c *certauth.Config) { c.Revocation.Mode = "on" }, []string{"revocation.mode: must be one of"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := certauth.DefaultConfig()
			c.CAFiles = []setting.File{"ca.crt"}
			tt.change(&c)
			got := setting.Split(c.Validate())
			if len(got) != len(tt.want) {
				t.Fatalf("got %d problems, want %d: %v", len(got), len(tt.want), got)
			}
			for i, err := range got {
				if !strings.HasPrefix(err.Error(), tt.want[i]) {
					t.Errorf("got  %v\nwant %s...", err, tt.want[i])
				}
			}
		})
	}
}
