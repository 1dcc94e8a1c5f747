package denial_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"adconnector/ldapauth/denial"
)

func TestReasonsListsEveryConstant(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "denial.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []denial.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		for _, v := range spec.Values {
			text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, denial.Reason(text))
		}
		return true
	})
	if listed := denial.Reasons(); len(declared) == 0 || !slices.Equal(listed, declared) {
		t.Errorf("Reasons gives   %v\ndeclared are    %v", listed, declared)
	}
}

func TestReasonsAreStableWordsAndUnique(t *testing.T) {
	seen := map[denial.Reason]bool{}
	for _, r := range denial.Reasons() {
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(string(r)) {
			t.Errorf("%q is not made of lower-case words and underscores", r)
		}
		if seen[r] {
			t.Errorf("%q stands for two reasons", r)
		}
		seen[r] = true
	}
	list := denial.Reasons()
	list[0] = "changed"
	if denial.Reasons()[0] == "changed" {
		t.Error("a caller can change the list for others")
	}
}

func TestTheDocumentationHasEveryReasonOnceAndInOrder(t *testing.T) {
	text, err := os.ReadFile("../../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []denial.Reason
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]{10,} \\| [^|]{10,} \\|$").FindAllSubmatch(text, -1) {
		rows = append(rows, denial.Reason(m[1]))
	}
	if want := denial.Reasons(); !slices.Equal(rows, want) {
		t.Errorf("docs/reasons.md has rows for\n%v\nwant\n%v", rows, want)
	}
}

func TestReasonOf(t *testing.T) {
	d := denial.New(denial.Expired, "ended at %v: %w", "noon", io.EOF)
	for _, tt := range []struct {
		name string
		err  error
		want denial.Reason
	}{
		{"a denial", d, denial.Expired},
		{"wrapped", fmt.Errorf("signing in: %w", d), denial.Expired},
		{"joined with a fault", errors.Join(io.EOF, d), denial.Expired},
		{"a fault", io.EOF, ""},
		{"a fault that talks like a denial", errors.New(d.Error()), ""},
		{"nothing", nil, ""},
	} {
		if got := denial.ReasonOf(tt.err); got != tt.want {
			t.Errorf("%s: reason = %q, want %q", tt.name, got, tt.want)
		}
	}
	if !errors.Is(d, io.EOF) {
		t.Error("the cause is lost")
	}
	if got, want := d.Error(), "expired: ended at noon: EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (&denial.Error{Reason: denial.Expired}).Error(), "expired"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
