package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of one evaluation. They are far above what any claim needs; a person's
// entry is no bigger than what the directory lets it be, and groups come in
// thousands.
const (
	maxSteps    = 200_000         // calls of functions, and of what is done for each element of a list
	maxText     = 4 << 20         // bytes of all texts that are made
	maxElements = 200_000         // of all lists that are built
	maxValues   = 256 << 10       // bytes of the values of an attribute
	maxTime     = 2 * time.Second // that all claims of somebody may take together
	maxResult   = 256 << 10       // bytes of a claim
)

var (
	errSteps = errors.New("it takes too many steps")
	errTime  = errors.New("it takes too long")
	errText  = errors.New("it makes too much text")
)

// A state is what one evaluation sees and has used up. It has nothing that an
// expression could name.
type state struct {
	subject  *Subject
	steps    int
	text     int
	deadline time.Time
}

func (s *state) begin(subject *Subject, deadline time.Time) {
	*s = state{subject: subject, deadline: deadline}
}

// step counts one step. Of short ones many are taken before the clock is looked at.
func (s *state) step() error {
	s.steps++
	switch {
	case s.steps > maxSteps:
		return errSteps
	case s.steps%16 == 0:
		return s.inTime()
	}
	return nil
}

func (s *state) inTime() error {
	if time.Now().After(s.deadline) {
		return errTime
	}
	return nil
}

// spend counts n bytes of text, and 16 for each of so many texts.
func (s *state) spend(n, texts int) error {
	if s.text += n + 16*texts; s.text > maxText {
		return errText
	}
	return nil
}

// A function of expressions. Its first argument is always the state, which the
// compiler puts there.
type function struct {
	call      func(s *state, args []any) (any, error)
	signature any // a pointer to a func, with the state
}

// functions are what expressions can call, besides those of the language that
// [compile] names. All that make text are ours, since the language does not count
// it.
var functions = map[string]function{
	"attr": {func(s *state, args []any) (any, error) {
		v, err := attribute(s.subject, args[0].(string))
		return first(texts(v)), err
	}, new(func(*state, string) string)},
	"values": {func(s *state, args []any) (any, error) {
		v, err := attribute(s.subject, args[0].(string))
		return texts(v), err
	}, new(func(*state, string) []string)},
	"lower":      onText(strings.ToLower),
	"upper":      onText(strings.ToUpper),
	"trim":       onText(strings.TrimSpace),
	"trimPrefix": onTwo(strings.TrimPrefix),
	"trimSuffix": onTwo(strings.TrimSuffix),
	"before": onTwo(func(s, sep string) string {
		before, _, _ := strings.Cut(s, sep)
		return before
	}),
	"after": onTwo(func(s, sep string) string {
		_, after, _ := strings.Cut(s, sep)
		return after
	}),
	"replace": {func(s *state, args []any) (any, error) {
		text, old, with := args[0].(string), args[1].(string), args[2].(string)
		if old == "" {
			return text, nil
		}
		// Before it is made: a letter that is replaced by a page is the biggest
		// thing that can be asked for at once.
		n := strings.Count(text, old)
		if err := s.spend(len(text)+n*(len(with)-min(len(with), len(old))), 1); err != nil {
			return nil, err
		}
		return strings.ReplaceAll(text, old, with), nil
	}, new(func(*state, string, string, string) string)},
	"split": {func(s *state, args []any) (any, error) {
		text, sep := args[0].(string), args[1].(string)
		if text == "" || sep == "" {
			return one(text), nil
		}
		if err := s.spend(0, strings.Count(text, sep)+1); err != nil {
			return nil, err
		}
		return strings.Split(text, sep), nil
	}, new(func(*state, string, string) []string)},
	"join": {func(s *state, args []any) (any, error) {
		list, err := listOf(args[0])
		if err != nil {
			return nil, err
		}
		sep := args[1].(string)
		if err := s.spend(size(list)+len(list)*len(sep), 1); err != nil {
			return nil, err
		}
		return strings.Join(list, sep), nil
	}, new(func(*state, any, string) string)},
	"sort": onList(func(list []string) []string {
		slices.Sort(list)
		return list
	}),
	"uniq": onList(func(list []string) []string {
		seen := make(map[string]bool, len(list))
		return slices.DeleteFunc(list, func(v string) bool {
			was := seen[v]
			seen[v] = true
			return was
		})
	}),
	"int": {func(_ *state, args []any) (any, error) {
		n, err := strconv.Atoi(strings.TrimSpace(args[0].(string)))
		if err != nil { // without the value, which belongs to the person
			return nil, errors.New("int() was given a text that is not a whole number")
		}
		return n, nil
	}, new(func(*state, string) int)},
	"string": {func(s *state, args []any) (any, error) {
		text, err := scalar(args[0])
		if err != nil {
			return nil, err
		}
		return text, s.spend(len(text), 1)
	}, new(func(*state, any) string)},

	// What the compiler puts in the place of variables, + and [a:b].
	callVariable: {func(s *state, args []any) (any, error) {
		return first(texts(variables[args[0].(string)](s.subject))), nil
	}, new(func(*state, string) string)},
	callList: {func(s *state, args []any) (any, error) {
		return texts(variables[args[0].(string)](s.subject)), nil
	}, new(func(*state, string) []string)},
	callPlus: {func(s *state, args []any) (any, error) {
		a, err := scalar(args[0])
		if err != nil {
			return nil, err
		}
		b, err := scalar(args[1])
		if err != nil {
			return nil, err
		}
		if err := s.spend(len(a)+len(b), 1); err != nil {
			return nil, err
		}
		return a + b, nil
	}, new(func(*state, any, any) string)},
	callCut: {func(s *state, args []any) (any, error) {
		runes := []rune(args[0].(string))
		from, to := bound(args[1].(int), len(runes)), bound(args[2].(int), len(runes))
		return string(runes[min(from, to):to]), s.spend(5*len(runes), 1)
	}, new(func(*state, string, int, int) string)},
	callStep: {func(s *state, _ []any) (any, error) { return true, s.inTime() }, new(func(*state) bool)},
}

// The functions that only the compiler can call: their names are none that can be
// written, since it refuses the dollar sign.
const (
	callVariable = "$variable"
	callList     = "$list"
	callPlus     = "$plus"
	callCut      = "$cut"
	callStep     = "$step"
)

func onText(f func(string) string) function {
	return function{func(s *state, args []any) (any, error) {
		out := f(args[0].(string))
		return out, s.spend(len(out), 1)
	}, new(func(*state, string) string)}
}

func onTwo(f func(a, b string) string) function {
	return function{func(s *state, args []any) (any, error) {
		out := f(args[0].(string), args[1].(string))
		return out, s.spend(len(out), 1)
	}, new(func(*state, string, string) string)}
}

// onList is a function that may change the list that it is given.
func onList(f func([]string) []string) function {
	return function{func(s *state, args []any) (any, error) {
		list, err := listOf(args[0])
		if err != nil {
			return nil, err
		}
		if err := s.spend(0, len(list)); err != nil {
			return nil, err
		}
		return f(slices.Clone(list)), nil
	}, new(func(*state, any) []string)}
}

// run calls a function that has its state as first argument.
func (f function) run(args ...any) (any, error) {
	s, _ := args[0].(*state)
	if err := s.step(); err != nil {
		return nil, err
	}
	return f.call(s, args[1:])
}

// bound returns an index of a text with n characters; a negative one counts from
// its end.
func bound(i, n int) int {
	if i < 0 {
		i += n
	}
	return max(0, min(i, n))
}

// attribute returns the values of an attribute.
func attribute(s *Subject, name string) ([]string, error) {
	v := s.Entry.Values(name)
	if n := size(v); n > maxValues {
		return nil, fmt.Errorf("the values of %s have %d bytes together, more than %d", name, n, maxValues)
	}
	return v, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func size(list []string) int {
	n := 0
	for _, v := range list {
		n += len(v)
	}
	return n
}

var (
	errKind = errors.New("a text, a number or true or false was expected, and a list of them at most")
	errNil  = errors.New("nil was given where a text was expected; ?? says what to take instead")
)

// scalar returns a single value as text.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case nil:
		return "", errNil
	}
	return "", errKind
}

// listOf returns a list as texts.
func listOf(v any) ([]string, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case []any:
		out := make([]string, 0, len(v))
		for _, x := range v {
			if x == nil {
				continue
			}
			text, err := scalar(x)
			if err != nil {
				return nil, err
			}
			out = append(out, text)
		}
		return out, nil
	case nil:
		return nil, nil
	}
	return nil, errKind
}

// valuesOf returns the result of an expression as the values of a claim: without
// blanks around them, and without those of which nothing is left.
func valuesOf(v any) ([]string, Form, error) {
	var list []string
	var err error
	form := Plain
	switch x := v.(type) {
	case []string, []any, nil:
		form = List
		list, err = listOf(v)
	default:
		if f, ok := x.(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
			return nil, Plain, errors.New("the result is no number")
		}
		if _, ok := x.(string); !ok {
			form = Literal
		}
		var text string
		text, err = scalar(v)
		list = []string{text}
	}
	if err != nil {
		return nil, Plain, err
	}
	values := make([]string, 0, len(list))
	n := 0
	for _, v := range list {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		if !IsText(v) {
			return nil, Plain, errors.New("the result is not text")
		}
		if n += len(v); n > maxResult {
			return nil, Plain, errors.New("the result is too long")
		}
		values = append(values, v)
	}
	return values, form, nil
}
