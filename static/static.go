// Package static holds the style sheet and other files that the pages use.
package static
