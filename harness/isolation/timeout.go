package isolation

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// soon is what a timeout of the session must be longer than, for isolationtester's patience to be a small part of it.
const soon = 100 * time.Millisecond

// timeouts finds where a setting is mentioned that ends a wait, or has the backend look for a deadlock, and what it is given there.
var timeouts = regexp.MustCompile(`(?i)_timeout\b(?:\s*(?:=|\bto\b)\s*'?\s*(\d+)\s*(us|ms|s|min|h|d)?\b)?`)

var units = map[string]time.Duration{
	"us": time.Microsecond, "": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// setsTimeout says whether a block may set a timeout that is soon over.
func setsTimeout(blocks ...string) bool {
	return slices.ContainsFunc(blocks, func(sql string) bool {
		return slices.ContainsFunc(timeouts.FindAllStringSubmatch(sql, -1), func(m []string) bool {
			n, err := strconv.Atoi(m[1])
			return err != nil || n > 0 && time.Duration(n)*units[strings.ToLower(m[2])] < soon
		})
	})
}
