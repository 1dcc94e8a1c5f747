// Package templates holds the HTML pages that people see.
package templates
