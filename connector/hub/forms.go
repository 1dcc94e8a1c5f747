package hub

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strconv"
)

// A processID is how the tenant knows which command an answer belongs to. It is
// text, or a whole number that becomes text.
type processID string

// wholeNumber is what JavaScript would write the same way.
var wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})$`)

// UnmarshalJSON reads text, a whole number or null, which is none.
func (p *processID) UnmarshalJSON(b []byte) error {
	if wholeNumber.Match(b) {
		*p = processID(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(p))
}

// A limit is how many the tenant wants. It is a number, or one as text as it
// stands in addresses.
type limit int

// UnmarshalJSON reads a whole number, text that is one or is empty, or null.
func (l *limit) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		if text == "" {
			return nil
		}
		b = []byte(text)
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f != math.Trunc(f) { // NaN is not itself
		return errors.New("a limit is a whole number")
	}
	*l = limit(max(-1, min(f, math.MaxInt32))) // below 1 is no limit
	return nil
}
