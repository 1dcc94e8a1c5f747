package profile

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Bounds of the expressions themselves.
const (
	maxSource = 2000 // bytes
	maxNodes  = 300
	// maxPattern is how many instructions a pattern of matches may have: a text is
	// compared with all of them at each of its characters.
	maxPattern = 2000
)

// builtins are what of the language's own functions can be called. They make no
// text, and what is done for each element is counted.
var builtins = []string{"all", "any", "count", "filter", "find", "first", "last", "len", "map", "none", "one"}

// words are no names of attributes in an expression.
var words = []string{"true", "false", "nil"}

// An expression is a compiled one with what it needs.
type expression struct {
	program    *vm.Program
	attributes []string
	groups     bool
}

// compile returns the expression that source is. Its mistakes have the place in
// their text.
func compile(source string) (*expression, error) {
	switch {
	case strings.TrimSpace(source) == "":
		return nil, errors.New("is empty; write the name of an attribute or an expression, or nil to leave the claim out")
	case strings.Contains(source, "`") && strings.Contains(source, "${"):
		return nil, errors.New(`has a template of JavaScript, which would be reported as it stands; write texts with + between them, such as "hello " + sn`)
	case len(source) > maxSource:
		return nil, fmt.Errorf("has %d bytes; %d are the most for one expression", len(source), maxSource)
	}
	r := &reader{callees: map[ast.Node]bool{}, declared: map[string]bool{}, attributes: map[string]string{}}
	options := append(language(), expr.Patch(surveyor{r}), expr.Patch(naming{r}), expr.Patch(counting{r}), expr.Patch(forgetting{}))
	program, err := expr.Compile(source, options...)
	if r.err != nil { // in words that know what is meant
		err = r.err
	}
	if err == nil {
		err = checkResult(program.Node())
	}
	if err != nil {
		return nil, explain(err, source, r.err != nil)
	}
	return &expression{program, slices.Collect(maps.Values(r.attributes)), r.groups}, nil
}

// language returns what every expression is compiled with.
func language() []expr.Option {
	options := []expr.Option{
		expr.Env(&state{}),
		expr.MaxNodes(maxNodes),
		// It would fold what has been counted, and the expressions are short.
		expr.Optimize(false),
		expr.DisableAllBuiltins(),
	}
	for _, name := range builtins {
		options = append(options, expr.EnableBuiltin(name))
	}
	for name, f := range functions {
		options = append(options, expr.Function(name, f.run, f.signature))
	}
	return options
}

// checkResult refuses what can be seen to be no claim.
func checkResult(n ast.Node) error {
	t := n.Type()
	if t == nil {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Map || t.Kind() == reflect.Struct || t.Kind() == reflect.Func {
		return &file.Error{Message: "the result is neither a text nor a list of texts"}
	}
	return nil
}

// A reader walks through an expression before it is compiled: it learns what the
// expression needs, refuses what it must not do and puts calls of ours in the
// place of what the language would not count. Its three walks are types of their
// own, because each needs to know the types of what the one before has made.
type reader struct {
	callees    map[ast.Node]bool // identifiers that are names of functions
	declared   map[string]bool   // by let
	attributes map[string]string // see need
	groups     bool
	err        error // the first
}

// refuse notes a mistake at n.
func (r *reader) refuse(n ast.Node, format string, args ...any) {
	if r.err == nil {
		r.err = &file.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	}
}

// surveyor looks at what was written, before anything is changed.
type surveyor struct{ *reader }

// Visit implements [ast.Visitor].
func (r surveyor) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		name, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			r.refuse(n, "only functions can be called: %s", strings.Join(callable(), ", "))
			return
		}
		r.callees[name] = true
		if _, known := functions[name.Value]; !known || strings.HasPrefix(name.Value, "$") {
			r.unknown(n, name.Value)
		}
	case *ast.BuiltinNode:
		if !slices.Contains(builtins, n.Name) {
			r.unknown(n, n.Name)
		}
	case *ast.VariableDeclaratorNode:
		r.declared[n.Name] = true
		if strings.HasPrefix(n.Name, "$") {
			r.refuse(n, "a name must not begin with $")
		}
	case *ast.BinaryNode:
		switch pattern, constant := n.Right.(*ast.StringNode); {
		case n.Operator == "matches" && !constant:
			r.refuse(n.Right, "the pattern of matches must be written out, in quotes")
		case n.Operator == "matches" && isLarge(pattern.Value):
			r.refuse(n.Right, "the pattern is too large: ask for fewer repetitions, or split it")
		case n.Operator == "..":
			r.refuse(n, "ranges (..) are not supported")
		}
	case *ast.BytesNode:
		r.refuse(n, "bytes are not supported; write a text")
	}
}

// isLarge reports whether a pattern has more than maxPattern instructions. One that
// is none is for the language to complain of.
func isLarge(pattern string) bool {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false
	}
	program, err := syntax.Compile(tree.Simplify())
	return err == nil && len(program.Inst) > maxPattern
}

func (r *reader) unknown(n ast.Node, function string) {
	r.refuse(n, "there is no function %s; there are %s", function, strings.Join(callable(), ", "))
}

// callable returns the names of all functions.
func callable() []string {
	names := slices.Clone(builtins)
	for name := range functions {
		if !strings.HasPrefix(name, "$") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// naming turns names into calls that look them up.
type naming struct{ *reader }

// Visit implements [ast.Visitor].
func (r naming) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if !r.callees[n] && !r.declared[n.Value] {
			r.name(node, n)
		}
	case *ast.CallNode:
		name, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			return // which the surveyor has refused
		}
		if name.Value == "attr" || name.Value == "values" {
			r.lookUp(n)
		}
		n.Arguments = append([]ast.Node{environment()}, n.Arguments...)
		forget(n)
	}
}

// environment is the state in an expression.
func environment() ast.Node { return &ast.IdentifierNode{Value: "$env"} }

// call puts a call of one of our functions in the place of a node.
func call(node *ast.Node, name string, args ...ast.Node) {
	n := &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: name},
		Arguments: append([]ast.Node{environment()}, args...),
	}
	ast.Patch(node, n)
	forget(n)
}

// forget takes back what is known of a call's type. The language does not look at
// the arguments of a call again whose type it knows.
func forget(call *ast.CallNode) { call.SetType(reflect.TypeFor[any]()) }

// forgetting forgets all calls, so that all is checked once more as it will run.
type forgetting struct{}

// Visit implements [ast.Visitor].
func (forgetting) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.CallNode); ok {
		forget(n)
	}
}

// name turns the name of a variable or an attribute into its value.
func (r naming) name(node *ast.Node, n *ast.IdentifierNode) {
	switch {
	case strings.HasPrefix(n.Value, "$"):
		r.refuse(n, "a name must not begin with $")
	case n.Value == Groups || n.Value == "units":
		r.groups = r.groups || n.Value == Groups
		call(node, callList, &ast.StringNode{Value: n.Value})
	case variables[n.Value] != nil:
		call(node, callVariable, &ast.StringNode{Value: n.Value})
	default:
		if err := checkAttribute(n.Value); err != nil {
			r.refuse(n, "%v", err)
			return
		}
		need(r.attributes, n.Value)
		call(node, "attr", &ast.StringNode{Value: n.Value})
	}
}

// lookUp checks a call of attr or values.
func (r naming) lookUp(n *ast.CallNode) {
	if len(n.Arguments) != 1 {
		return // which the language complains of
	}
	name, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		r.refuse(n, `the name of the attribute must be written out, in quotes, such as attr("mail")`)
		return
	}
	if err := checkAttribute(name.Value); err != nil {
		r.refuse(name, "%v", err)
		return
	}
	need(r.attributes, name.Value)
}

// counting makes what the language does by itself count.
type counting struct{ *reader }

// Visit implements [ast.Visitor].
func (r counting) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		r.list(n)
	case *ast.BinaryNode:
		switch {
		case n.Operator == "matches":
			n.Left = afterStep(n.Left)
		case n.Operator != "+" || isNumber(n.Left) && isNumber(n.Right):
		case kind(n.Left) == reflect.Slice || kind(n.Right) == reflect.Slice:
			r.refuse(n, "nothing can be added to a list; write join(list, %q) for its text", ", ")
		default:
			call(node, callPlus, n.Left, n.Right)
		}
		if arithmetic[n.Operator] && (kind(n.Left) == reflect.String || kind(n.Right) == reflect.String) {
			r.refuse(n, "%s is for numbers: write int(a) for the number in a text, and attr(%q) for an attribute with a hyphen", n.Operator, "a-b")
		}
	case *ast.SliceNode:
		if kind(n.Node) != reflect.Slice {
			call(node, callCut, n.Node, orElse(n.From, 0), orElse(n.To, maxValues))
		}
	case *ast.MemberNode:
		if kind(n.Node) == reflect.String {
			r.refuse(n, "a text has no parts; write [0:1] for its first character, or before(text, %q)", "-")
		}
	case *ast.PredicateNode:
		n.Node = afterStep(n.Node)
	}
}

// afterStep returns n behind a step that looks at the clock.
func afterStep(n ast.Node) ast.Node {
	step := ast.Node(&ast.NilNode{})
	call(&step, callStep)
	return &ast.SequenceNode{Nodes: []ast.Node{step, n}}
}

// arithmetic are the operators that are for numbers alone. The language finds out
// when they run, and then nobody could sign in.
var arithmetic = map[string]bool{"-": true, "*": true, "/": true, "%": true, "**": true, "^": true}

// list refuses calls of what works on lists with something else. Two signatures of
// one function would say it too, but the language tries each with each of those in
// its argument, and so on: that takes forever when calls are nested.
func (r counting) list(n *ast.CallNode) {
	name, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || len(n.Arguments) < 2 || !slices.Contains([]string{"join", "sort", "uniq"}, name.Value) {
		return
	}
	list := n.Arguments[1] // after the state
	if k := kind(list); k != reflect.Slice && k != reflect.Interface {
		r.refuse(list, "%s takes a list, such as groups or values(%q)", name.Value, "mail")
	}
}

func orElse(n ast.Node, otherwise int) ast.Node {
	if n == nil {
		return &ast.IntegerNode{Value: otherwise}
	}
	return n
}

// kind returns the kind of values that n has, [reflect.Interface] if that is not
// known before it runs.
func kind(n ast.Node) reflect.Kind {
	if n.Type() == nil {
		return reflect.Interface
	}
	return n.Type().Kind()
}

func isNumber(n ast.Node) bool {
	k := kind(n)
	return k == reflect.Int || k == reflect.Float64
}

// explain returns an error of the language, or one of ours in its form, as one line
// that shows the place.
func explain(err error, source string, ours bool) error {
	for _, e := range []error{errSteps, errTime, errText, errKind, errNil} {
		if errors.Is(err, e) {
			return e
		}
	}
	f, ok := errors.AsType[*file.Error](err)
	if !ok {
		return errors.New(oneLine(err.Error()))
	}
	runes := []rune(source)
	at := min(f.From, len(runes))
	if strings.HasPrefix(strings.TrimSpace(f.Message), "unexpected token EOF") {
		at = len(runes) // not before the last part that is there
	}
	const around = 30
	before, after := "", ""
	if at > around {
		before = "…"
	}
	if len(runes)-at > around {
		after = "…"
	}
	message := f.Message
	if !ours {
		message = plain(message)
	}
	return fmt.Errorf("character %d, where the mark is in %s%s▸%s%s: %s", at+1,
		before, oneLine(string(runes[max(0, at-around):at])), oneLine(string(runes[at:min(len(runes), at+around)])), after, oneLine(message))
}

// goTypes are the types of Go where the language names them in its messages, and
// typeWords what people call them.
var (
	goTypes   = regexp.MustCompile(`\([^()]*\)|cannot use [^ ]+`)
	typeWords = strings.NewReplacer(
		"map[string]interface {}", "table", "[]interface {}", "list", "[]string", "list", "interface {}", "anything",
		"string", "text", "float64", "number", "int", "number", "boolean", "true or false", "bool", "true or false", "array", "list",
	)
)

// plain returns a message of the language in words that do not need Go.
func plain(message string) string {
	message = strings.TrimPrefix(strings.TrimSpace(message), "builtin ")
	return reword(oneLine(goTypes.ReplaceAllStringFunc(message, typeWords.Replace)))
}

// oneLine replaces what would begin another line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
