// Package static holds the style sheet and other files that the pages use.
package static

import "embed"

// FS holds the files under the names that they have below /static/.
//
//go:embed style.css icon.svg
var FS embed.FS
