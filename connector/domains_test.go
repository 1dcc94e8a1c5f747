package connector_test

import (
	"fmt"
	"strings"
	"testing"

	"adconnector/connector"
	"adconnector/ldapauth/dirtest"
)

// An OpenLDAP and a domain controller behind one connector, which both have a
// jon, from the configuration file to the token.
func TestTwoDomainsBehindOneConnector(t *testing.T) {
	corp, lab := dirtest.SharedSambaAD(t), dirtest.SharedOpenLDAP(t)
	d := real(corp)
	r := prepareRig(t, d, "")
	r.write("lab-password", []byte(lab.BindPassword))
	r.configure(fmt.Sprintf("  base_dn: %q\n", d.baseDN), fmt.Sprintf(`  domains:
    - {suffixes: [corp.example.test], base_dn: %q}
    - {netbios: LAB, base_dn: %q, urls: [%q], ca_files: [%q], bind_dn: %q, bind_password_file: lab-password}
`, corp.BaseDN, lab.BaseDN, lab.URL, lab.CAFile, lab.BindDN))

	text, worst := r.findings()
	for _, want := range []string{"corp.example.test, " + corp.URL, "LAB, " + lab.URL, `corp.example.test, user names: jon, jon@corp.example.test, CORP\jon`, `LAB, user names: jon, LAB\jon`} {
		if worst == connector.Failure || !strings.Contains(text, want) {
			t.Errorf("no %q, or a failure, in\n%s", want, text)
		}
	}

	r.start()
	for name, dn := range map[string]string{`CORP\jon`: corp.DN(t, "jon"), `lab\Jon`: lab.DN(t, "jon"), "jon@corp.example.test": corp.DN(t, "jon"), "nopw": corp.DN(t, "nopw")} {
		r.audit.take()
		r.mustSignIn(r.browser(outside, nil), name, corp.Password)
		if line := r.audit.String(); !strings.Contains(line, strings.ReplaceAll(dn, `\`, `\\`)) {
			t.Errorf("%s: the audit trail does not say that it is %s: %s", name, dn, line)
		}
	}
	r.audit.take()
	for name, reason := range map[string]string{"jon": "several_accounts", "jon@elsewhere.test": "no_account"} {
		if p := r.get(r.browser(inside, r.client(name)), r.request()); p.Status != 403 {
			t.Errorf("the certificate of %s: status %d", name, p.Status)
		}
		if _, err := r.signIn(r.browser(outside, nil), name, corp.Password); err == nil {
			t.Errorf("%s was let in by password", name)
		}
		if line := r.audit.take(); !strings.Contains(line, reason) {
			t.Errorf("%s: no %s in %s", name, reason, line)
		}
	}
	r.mustSignIn(r.browser(inside, r.client(`LAB\jon`)), "", "")
}
