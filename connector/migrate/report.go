package migrate

import (
	"fmt"
	"io"
	"strings"

	"adconnector/connector"
)

// A Note is one line of a [Report].
type Note struct {
	// Key is a setting, of the old connector or of the new one, or a place in a
	// file.
	Key  string `json:"key"`
	Text string `json:"text"`
}

// A Report says what became of an old installation. It holds no secret.
type Report struct {
	From   string   `json:"from"`   // what was read
	Config string   `json:"config"` // the new configuration file
	Files  []string `json:"files"`  // everything that was written
	// Taken are the old settings that live on, with where they are now.
	Taken []Note `json:"taken_over"`
	// Left are the old settings that had an effect and could not be taken over,
	// with the reason.
	Left []Note `json:"not_taken_over"`
	// Differs are old settings that live on and work otherwise in some cases.
	Differs []Note `json:"not_the_same"`
	// Unneeded are old settings that have no counterpart and need none.
	Unneeded []Note `json:"not_needed"`
	// Decide is what an administrator has to look at before the first start.
	Decide []Note `json:"to_decide"`
	// RollBack are the steps back to the old connector.
	RollBack []string `json:"roll_back"`
}

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Read %s, and wrote:\n", r.From)
	for _, f := range r.Files {
		fmt.Fprintf(&b, "   %s\n", f)
	}
	for _, part := range []struct {
		title string
		mark  string
		notes []Note
	}{
		{"Taken over", "✓", r.Taken},
		{"Not taken over", "✗", r.Left},
		{"Taken over, but not the same for everybody", "≈", r.Differs},
		{"No longer needed", "·", r.Unneeded},
		{"To decide, before the first start", "!", r.Decide},
	} {
		if len(part.notes) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", part.title)
		for _, n := range part.notes {
			fmt.Fprintf(&b, "%s %s: %s\n", part.mark, n.Key, n.Text)
		}
	}
	fmt.Fprintf(&b, "\nThe way back\n")
	for i, step := range r.RollBack {
		fmt.Fprintf(&b, "%d. %s\n", i+1, step)
	}
	fmt.Fprintf(&b, "\nNext: adconnector check --config %s\n", r.Config)
	_, err := io.WriteString(w, connector.Printable(b.String()))
	return err
}
