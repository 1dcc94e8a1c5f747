// Package templates holds the HTML pages that people see.
package templates

import "embed"

// FS holds layout.html, which every page but autopost.html is set in, parts.html
// with what several pages share, and one file for each page.
//
//go:embed *.html
var FS embed.FS
