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
		{"accept of a later version", func(c *certauth.Config) { c.Accept = "self_signed" }, []string{`accept: "self_signed" is not known: write "chained"`}},
		{"accept emptied", func(c *certauth.Config) { c.Accept = "" }, []string{`accept: "" is not known`}},
		{"no rule", func(c *certauth.Config) { c.UserName = nil }, []string{"user_name: must hold at least one rule"}},
		{"an unknown rule", func(c *certauth.Config) { c.UserName = []string{"subject_cn", "san_upn"} }, []string{`user_name[1]: "san_upn" is not a rule: the only one is "subject_cn"`}},
		{"a rule twice", func(c *certauth.Config) { c.UserName = []string{"subject_cn", "subject_cn"} }, []string{"user_name[1]: \"subject_cn\" is listed twice"}},
		{"everything", func(c *certauth.Config) { *c = certauth.Config{UserName: []string{"cn"}, Revocation: c.Revocation} }, []string{"ca_files: required", "accept: ", "user_name[0]: "}},
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
