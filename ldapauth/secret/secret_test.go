package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"adconnector/ldapauth/secret"
)

const canary = "hunter2-canary"

// holders are the places in which a secret may stand when somebody prints what
// is around it.
func holders() map[string]any {
	s := secret.New(canary)
	type hidden struct {
		Name string
		s    secret.String
		p    *secret.String
		list []secret.String
		m    map[string]secret.String
		any  any
	}
	type shown struct {
		S    secret.String
		P    *secret.String
		List []secret.String
		M    map[string]secret.String
		Any  any
	}
	h := hidden{"h", s, &s, []secret.String{s}, map[string]secret.String{"k": s}, s}
	v := shown{s, &s, []secret.String{s}, map[string]secret.String{"k": s}, s}
	return map[string]any{
		"itself": s, "a pointer": &s, "a list": []secret.String{s}, "a map": map[string]secret.String{"k": s},
		"fields": v, "a pointer to fields": &v, "unexported fields": h, "a pointer to unexported fields": &h,
		"unexported fields within": struct{ H hidden }{h}, "an interface": []any{s, &s, h}, "an array": [1]hidden{h},
	}
}

func TestNoFormatShowsASecret(t *testing.T) {
	verbs := "vTtbcdoOqxXUeEfFgGsp"
	flags := []string{"", "+", "#", "-", " ", "0", "+#", "# ", "20", ".3", "-20.5", "+#010.4"}
	for name, v := range holders() {
		for _, flag := range flags {
			for _, verb := range verbs + "w" {
				format := "%" + flag + string(verb)
				mustHide(t, name+" by "+format, fmt.Sprintf(format, v))
			}
		}
		mustHide(t, name+" by Sprint", fmt.Sprint(v), fmt.Sprintln(v))
		mustHide(t, name+" in an error", fmt.Errorf("checking %v: %w", v, errors.New("no")).Error())
	}
}

func TestNoEncodingShowsASecret(t *testing.T) {
	for name, v := range holders() {
		if b, err := json.Marshal(v); err != nil {
			t.Errorf("%s: JSON: %v", name, err)
		} else {
			mustHide(t, name+" in JSON", string(b))
		}
		if b, err := yaml.Marshal(v); err != nil {
			t.Errorf("%s: YAML: %v", name, err)
		} else {
			mustHide(t, name+" in YAML", string(b))
		}
		b, _ := xml.Marshal(v) // not everything can be XML
		mustHide(t, name+" in XML", string(b))
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var out bytes.Buffer
			log := slog.New(handler(&out))
			log.With("with", v).WithGroup("g").Info("message", "key", v, "group", slog.GroupValue(slog.Any("key", v)))
			mustHide(t, name+" in a log", out.String())
		}
	}
}

// mustHide fails if a text holds the canary, also in the ways in which fmt
// spells bytes out.
func mustHide(t *testing.T, where string, texts ...string) {
	t.Helper()
	decimal := strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]")
	for _, text := range texts {
		for _, form := range []string{canary, canary[:7], fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary), decimal} {
			if strings.Contains(text, form) {
				t.Errorf("%s: shows the secret: %s", where, text)
			}
		}
	}
}

func TestOnlyRevealGivesTheText(t *testing.T) {
	for _, tt := range []struct {
		name    string
		s       secret.String
		reveal  string
		isSet   bool
		printed string
	}{
		{"set", secret.New(canary), canary, true, "********"},
		{"set, but empty", secret.New(""), "", true, "********"},
		{"not set", secret.String{}, "", false, ""},
	} {
		if got := tt.s.Reveal(); got != tt.reveal {
			t.Errorf("%s: Reveal gives %q, want %q", tt.name, got, tt.reveal)
		}
		if got := tt.s.IsSet(); got != tt.isSet {
			t.Errorf("%s: IsSet gives %v, want %v", tt.name, got, tt.isSet)
		}
		if got := fmt.Sprintf("%v%s%q%d", tt.s, tt.s, tt.s, tt.s); got != strings.Repeat(tt.printed, 4) {
			t.Errorf("%s: prints %q, want the mask %q alone", tt.name, got, tt.printed)
		}
		if got, err := json.Marshal(tt.s); err != nil || string(got) != `"`+tt.printed+`"` {
			t.Errorf("%s: JSON gives %s (%v), want the mask alone", tt.name, got, err)
		}
	}
}

func TestTheMaskDoesNotTellTheLength(t *testing.T) {
	if a, b := secret.New("a").String(), secret.New(strings.Repeat("a", 100)).String(); a != b {
		t.Errorf("%q and %q differ", a, b)
	}
}
