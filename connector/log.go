package connector

import (
	"io"
	"log/slog"
	"os"
)

// NewLog returns the logger that the log section asks for, writing to w. The
// format "auto" is text where a person reads along and JSON elsewhere.
func NewLog(c LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // Validate has seen it
	o := &slog.HandlerOptions{Level: level}
	format := c.Format
	if format == "auto" {
		format = "json"
		if isTerminal(w) {
			format = "text"
		}
	}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(printableJSON{w}, o))
}

// isTerminal reports whether w is a character device, which is as good as a
// terminal for choosing a log format.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// discard is a logger for parts whose findings are printed instead.
var discard = slog.New(slog.DiscardHandler)
