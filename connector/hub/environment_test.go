package hub_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"adconnector/connector/hub"
	"adconnector/ldapauth/secret"
)

// TestProxiesOfTheEnvironment: HTTP_PROXY counts where it stands alone. The
// environment is looked at once in a process, so each case is one.
func TestProxiesOfTheEnvironment(t *testing.T) {
	const inner = "ADCONNECTOR_TEST_ENVIRONMENT"
	if os.Getenv(inner) != "" {
		_, err := provision(t, hub.Config{Ticket: secret.New("https://tenant.test/p/ad/secret-ticket")})
		t.Logf("error: %v", err)
		return
	}
	proxy := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	one, other := proxy(http.StatusForbidden), proxy(http.StatusNotImplemented)
	for name, tt := range map[string]struct {
		environment []string
		want        string
	}{
		"HTTPS_PROXY":         {[]string{"HTTPS_PROXY=" + one}, "403"},
		"HTTP_PROXY":          {[]string{"HTTP_PROXY=" + one}, "403"},
		"lower case":          {[]string{"http_proxy=" + one}, "403"},
		"both":                {[]string{"HTTP_PROXY=" + one, "HTTPS_PROXY=" + other}, "501"},
		"NO_PROXY":            {[]string{"HTTP_PROXY=" + one, "NO_PROXY=.test"}, "not found"},
		"NO_PROXY and port":   {[]string{"HTTP_PROXY=" + one, "NO_PROXY=tenant.test:443"}, "not found"},
		"NO_PROXY, other one": {[]string{"HTTP_PROXY=" + one, "NO_PROXY=tenant.test:444,example.com"}, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()[:strings.IndexByte(t.Name(), '/')]+"$", "-test.v")
			own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.Contains(strings.ToLower(v), "_proxy=") })
			command.Env = append(append(own, inner+"=1"), tt.environment...)
			out, err := command.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v, no %q in\n%s", err, tt.want, out)
			}
		})
	}
}
