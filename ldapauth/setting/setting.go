// Package setting holds the kinds of value that the configuration file is made
// of and the way in which packages report what is wrong with theirs.
package setting

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// File is the path of a file or folder. The loader makes it absolute: a
// relative path starts at the folder of the configuration file.
type File string

// OneOrMore is a list that may also be written as its one value. Where it holds
// one, it is shown as that.
type OneOrMore []string

// Duration is a [time.Duration] that is written as Go writes it, with the
// addition of "d" for a day of 24 hours: "30s", "12h", "30d", "1d12h".
type Duration time.Duration

// UnmarshalText reads a duration; an error says how one is written.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	var sum time.Duration
	days, rest, ok := strings.Cut(s, "d")
	if ok {
		n, err := strconv.ParseUint(days, 10, 16) // 16 bits of days do not run over
		if err != nil {
			return notDuration(s)
		}
		sum = time.Duration(n) * 24 * time.Hour
	} else {
		rest = s
	}
	if rest != "" || !ok {
		r, err := time.ParseDuration(rest)
		if err != nil || ok && sum+r < sum { // negative, or it runs over
			return notDuration(s)
		}
		sum += r
	}
	*d = Duration(sum)
	return nil
}

func notDuration(s string) error {
	return fmt.Errorf("%q is not a duration: write a number and a unit, such as 30s, 5m, 12h or 30d", s)
}

// MarshalText writes the duration as it would be written in the file.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Std returns d as a [time.Duration].
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes whole days as days and leaves out units that are zero.
func (d Duration) String() string {
	const day = 24 * time.Hour
	t := time.Duration(d)
	if t != 0 && t%day == 0 {
		return strconv.Itoa(int(t/day)) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes, written with a unit: "512KiB", "64MiB", "1GiB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText reads a size; an error says how one is written.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32); err == nil {
			*s = Size(int64(n) * u.bytes)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size: write a whole number and a unit, such as 512KiB or 64MiB", text)
}

// MarshalText writes the size as it would be written in the file.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the size in the largest unit that fits; odd sizes are rounded
// down to KiB.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if int64(s) >= u.bytes && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s)>>10, 10) + "KiB"
}

// Problem is one mistake in the configuration.
type Problem struct {
	Key  string // relative to the section, such as "urls[1]"; the loader puts the section before it
	Text string // what is wrong and what to write instead
}

// Error returns the key and the text.
func (p *Problem) Error() string { return p.Key + ": " + p.Text }

// Problems gathers mistakes so that all are reported at once.
type Problems []error

// Addf adds a mistake in the setting key.
func (p *Problems) Addf(key, format string, args ...any) {
	*p = append(*p, &Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

// Under adds the problems in err, which a section's Validate returned, with
// their keys put under key.
func (p *Problems) Under(key string, err error) {
	for _, q := range Split(err) {
		if pr, ok := errors.AsType[*Problem](q); ok {
			sep := "."
			if strings.HasPrefix(pr.Key, "[") || pr.Key == "" {
				sep = ""
			}
			*p = append(*p, &Problem{Key: key + sep + pr.Key, Text: pr.Text})
		} else {
			*p = append(*p, &Problem{Key: key, Text: q.Error()})
		}
	}
}

// Err returns the problems as one error, nil if there are none.
func (p Problems) Err() error { return errors.Join(p...) }

// Split returns the errors that [Problems.Err] joined.
func Split(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok { // the join itself is wanted, not something inside it
		return j.Unwrap()
	}
	return []error{err}
}
