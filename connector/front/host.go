package front

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// HostMatches reports whether a request for host, which is the Host header with
// or without a port, belongs on a connection that was opened for serverName, the
// name in the TLS handshake (SNI). A request that does not is to be answered
// with 421 Misdirected Request.
//
// Browsers send requests for a second name down a connection that they have
// open for a first if the certificate covers both. What was agreed on in the
// handshake, such as a client certificate, was meant for the first name only.
// A client that sent no name has opened the connection by address: then host
// must be an IP address or one of names, for the few programs that know no SNI.
//
// Upper and lower case are the same, and so is a dot at the end.
func HostMatches(serverName, host string, names ...string) bool {
	host, ok := bareHost(host)
	if !ok {
		return false
	}
	if serverName != "" {
		return sameHost(serverName, host)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(names, func(n string) bool { return sameHost(n, host) })
}

// bareHost returns host without port, brackets and a dot at the end. It reports
// false if that leaves no host, if the port is none, or if there is more than
// plain ASCII: the names in certificates and handshakes are, and letters that
// only fold to ASCII must not pass for it.
func bareHost(host string) (string, bool) {
	if h, port, err := net.SplitHostPort(host); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return "", false
		}
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	host = strings.TrimSuffix(host, ".")
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return "", false
		}
	}
	return host, host != ""
}

func sameHost(name, host string) bool {
	return strings.EqualFold(strings.TrimSuffix(name, "."), host)
}
