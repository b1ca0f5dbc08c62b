// Package strict reads YAML files that people write, into Go types: every key must be known and every value fit, and each mistake is told with its line, a
// caret below it, and what to try.
package strict
