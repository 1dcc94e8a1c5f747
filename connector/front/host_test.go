package front_test

import (
	"testing"

	"adconnector/connector/front"
)

func TestA5_HostMatches(t *testing.T) {
	for _, tt := range []struct {
		name       string
		serverName string
		host       string
		want       bool
	}{
		{"same name", login, login, true},
		{"with a port", login, login + ":8443", true},
		{"case does not matter", login, "LOGIN.Fabrikam.example", true},
		{"nor a dot at the end", login, login + ".", true},
		{"nor a dot before the port", login, login + ".:8443", true},
		{"another name of the same certificate", other, login, false},
		{"a name below it", login, "x." + login, false},
		{"the name without its first part", login, "fabrikam.example", false},
		{"address on a connection by name", login, "127.0.0.1", false},
		{"no host", login, "", false},
		{"only a port", login, ":8443", false},
		{"only a dot", login, ".", false},
		{"two ports", login, login + ":1:2", false},
		{"a port that is none", login, login + ":80 @" + other, false},
		{"blank", login, login + " ", false},
		{"a letter that folds to k", "kai.fabrikam.example", "\u212aai.fabrikam.example", false},
		{"a letter that folds to s", "sso.fabrikam.example", "\u017fso.fabrikam.example", false},

		{"no SNI, IPv4", "", "127.0.0.1:8443", true},
		{"no SNI, IPv6", "", "[::1]:8443", true},
		{"no SNI, IPv6 without port", "", "[::1]", true},
		{"no SNI, the configured name", "", login + ":8443", true},
		{"no SNI, the configured name in capitals", "", "LOGIN.FABRIKAM.EXAMPLE", true},
		{"no SNI, another name", "", other, false},
		{"no SNI, no host", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := front.HostMatches(tt.serverName, tt.host, login); got != tt.want {
				t.Errorf("HostMatches(%q, %q) = %v, want %v", tt.serverName, tt.host, got, tt.want)
			}
		})
	}
	if front.HostMatches("", login) || front.HostMatches("", "", "") {
		t.Error("no name is configured and yet one matches")
	}
}

func FuzzHostMatches(f *testing.F) {
	f.Add(login, login+":443")
	f.Add("", "[::1]:8443")
	f.Add(login, "\u212a")
	f.Fuzz(func(t *testing.T, serverName, host string) {
		if !front.HostMatches(serverName, host) {
			return
		}
		for i := range len(host) {
			if host[i] <= ' ' || host[i] >= 0x7f {
				t.Errorf("host %q matches %q", host, serverName)
			}
		}
		if len(host) < len(serverName) && host != serverName[:len(serverName)-1] {
			t.Errorf("host %q is shorter than %q", host, serverName)
		}
	})
}
