package setting_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"adconnector/ldapauth/setting"
)

func TestDurationReadsWhatAPersonWrites(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		text string
		want time.Duration
	}{
		{"30s", 30 * time.Second},
		{"5m", 5 * time.Minute},
		{"12h", 12 * time.Hour},
		{"30d", 30 * day},
		{"0d", 0},
		{"0", 0},
		{"1d12h", 36 * time.Hour},
		{"1d1h1m1s", day + time.Hour + time.Minute + time.Second},
		{"1h30m", 90 * time.Minute},
		{"250ms", 250 * time.Millisecond},
		{"-5m", -5 * time.Minute}, // for the section to refuse, which knows what is meant
	} {
		var d setting.Duration
		if err := d.UnmarshalText([]byte(tt.text)); err != nil || d.Std() != tt.want {
			t.Errorf("%q: got %v (%v), want %v", tt.text, d.Std(), err, tt.want)
		}
	}
}

func TestDurationRefusesWhatItCannotRead(t *testing.T) {
	for _, text := range []string{
		"", "30", "d", "h", "-1d", "+1d", "1.5d", "1d-1h", "1d2d", "12h1d", "1 d", "1d ", " 5m", "5 m", "5min", "one", "1D", "99999d", "1d5", "\x00", "1d\n",
	} {
		d := setting.Duration(time.Hour)
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: read as %v, want an error", text, d)
		}
		if d.Std() != time.Hour {
			t.Errorf("%q: an error changed the value to %v", text, d)
		}
	}
}

func TestDurationIsWrittenAsItWouldBeInTheFile(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0:                         "0s",
		30 * time.Second:          "30s",
		5 * time.Minute:           "5m",
		90 * time.Minute:          "1h30m",
		12 * time.Hour:            "12h",
		10 * time.Minute:          "10m",
		20 * time.Hour:            "20h",
		100 * time.Second:         "1m40s",
		day:                       "1d",
		30 * day:                  "30d",
		36 * time.Hour:            "36h",
		1500 * time.Millisecond:   "1.5s",
		-5 * time.Minute:          "-5m",
		time.Hour + time.Second:   "1h0m1s",
		math.MaxInt64:             "2562047h47m16.854775807s",
		math.MaxInt64 / day * day: "106751d",
	} {
		text, err := setting.Duration(d).MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("%v: got %s (%v), want %s", d, text, err, want)
			continue
		}
		if d == math.MaxInt64/day*day {
			continue // more days than anybody may write
		}
		var back setting.Duration
		if err := back.UnmarshalText(text); err != nil || back.Std() != d {
			t.Errorf("%s: read back as %v (%v), want %v", text, back.Std(), err, d)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"30s", "1d12h", "-1d", "65535d2562047h", "9d9h9m9s9ms", "1.5d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d setting.Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if text[0] != '-' && d < 0 {
			t.Errorf("%q is read as %v: it ran over", text, d.Std())
		}
	})
}

func TestProblemsAreReportedTogetherUnderTheirKeys(t *testing.T) {
	var none setting.Problems
	if err := none.Err(); err != nil {
		t.Errorf("no problems give %v", err)
	}
	var inner, outer, top setting.Problems
	inner.Addf("urls[1]", "%q is no URL", "x")
	inner.Addf("", "is empty")
	inner.Addf("[0]", "is twice there")
	outer.Under("ldap", inner.Err())
	outer.Under("hub", io.EOF)
	outer.Under("fine", nil)
	outer.Under("both", errors.Join(io.EOF, io.ErrUnexpectedEOF))
	top.Under("main", outer.Err())
	want := []string{
		`main.ldap.urls[1]: "x" is no URL`,
		"main.ldap: is empty",
		"main.ldap[0]: is twice there",
		"main.hub: EOF",
		"main.both: EOF",
		"main.both: unexpected EOF",
	}
	got := setting.Split(top.Err())
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		if got[i].Error() != want[i] {
			t.Errorf("got  %v\nwant %s", got[i], want[i])
		}
		if _, ok := errors.AsType[*setting.Problem](got[i]); !ok {
			t.Errorf("%v is a %T, want a problem", got[i], got[i])
		}
	}
}

func TestSplit(t *testing.T) {
	if got := setting.Split(nil); got != nil {
		t.Errorf("nothing splits into %v", got)
	}
	single := fmt.Errorf("reading: %w", io.EOF)
	if got := setting.Split(single); len(got) != 1 || got[0] != single { //nolint:errorlint // the very error is wanted
		t.Errorf("one error splits into %v", got)
	}
}

func TestSizesHaveAUnit(t *testing.T) {
	for text, want := range map[string]setting.Size{"64KiB": 64 << 10, "512 KiB": 512 << 10, "64MiB": 64 << 20, "1GiB": 1 << 30, "0KiB": 0} {
		var s setting.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q: got %d (%v), want %d", text, s, err, want)
		}
		var back setting.Size
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Errorf("%s: read back as %d (%v)", s, back, err)
		}
	}
	for _, text := range []string{"", "64", "64MB", "MiB", "-1MiB", "1.5MiB", "64mib", "99999999999GiB", " "} {
		s := setting.Size(7)
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 7 {
			t.Errorf("%q: read as %d, want an error", text, s)
		}
	}
	for s, want := range map[setting.Size]string{0: "0KiB", 1 << 20: "1MiB", 3 << 29: "1536MiB", 1000: "0KiB", 1 << 10: "1KiB"} {
		if got := s.String(); got != want {
			t.Errorf("%d: %s, want %s", int64(s), got, want)
		}
	}
}
