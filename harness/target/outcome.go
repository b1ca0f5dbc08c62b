package target

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/harness/race"
)

// Status is a status code, as 201, or a hundred of them, as 5xx.
type Status string

var statusForm = regexp.MustCompile(`^[1-5]([0-9][0-9]|xx)$`)

// UnmarshalText reads a status.
func (s *Status) UnmarshalText(text []byte) error {
	*s = Status(text)
	if !statusForm.MatchString(string(*s)) {
		return strict.Problem{What: fmt.Sprintf("%q is no status", text), Try: "a code such as 409, or 4xx for a hundred of them"}
	}
	return nil
}

// hundred returns the status that stands for all of the code's hundred.
func hundred(code int) Status { return Status(strconv.Itoa(code/100) + "xx") }

// lost is the [Trouble] of an answer that never came.
const lost Trouble = "lost"

// Trouble is what a client tries again on: a [Status], or "lost", which is an answer that never came.
type Trouble string

// UnmarshalText reads a trouble.
func (t *Trouble) UnmarshalText(text []byte) error {
	*t = Trouble(text)
	if *t != lost && !statusForm.MatchString(string(*t)) {
		return strict.Problem{What: fmt.Sprintf("%q is nothing to try again on", text), Try: "lost, a code such as 503, or 5xx"}
	}
	return nil
}

// Outcomes says which status means what. A code counts before its hundred, and a request's outcomes before the file's, and those before the usual.
type Outcomes struct {
	Created  []Status `yaml:"created"`
	Resumed  []Status `yaml:"resumed"`
	Done     []Status `yaml:"done"`
	Conflict []Status `yaml:"conflict"`
	NotFound []Status `yaml:"not_found"`
	Failed   []Status `yaml:"failed"`
	Unknown  []Status `yaml:"unknown"`
}

// usual is what a status means where a file does not say.
var usual = Outcomes{
	Created: []Status{"201"}, Done: []Status{"2xx"}, NotFound: []Status{"404"}, Conflict: []Status{"409"}, Failed: []Status{"1xx", "3xx", "4xx", "5xx"},
}

// outcomeKeys are the keys of Outcomes.
var outcomeKeys = []string{"created", "resumed", "done", "conflict", "not_found", "failed", "unknown"}

// statuses returns the statuses of a key.
func (o Outcomes) statuses(key string) []Status {
	return map[string][]Status{
		"created": o.Created, "resumed": o.Resumed, "done": o.Done, "conflict": o.Conflict,
		"not_found": o.NotFound, "failed": o.Failed, "unknown": o.Unknown,
	}[key]
}

// find returns the outcome of a status.
func (o Outcomes) find(s Status) (race.Outcome, bool) {
	outcomes := map[string]race.Outcome{
		"created": race.Created, "resumed": race.Resumed, "done": race.Done, "conflict": race.Conflict,
		"not_found": race.NotFound, "failed": race.Failed, "unknown": race.Unknown,
	}
	for _, key := range outcomeKeys {
		if slices.Contains(o.statuses(key), s) {
			return outcomes[key], true
		}
	}
	return "", false
}

// outcome returns what a status code means, by the first of some outcomes that says.
func outcome(code int, by ...Outcomes) race.Outcome {
	for _, o := range append(by, usual) {
		for _, s := range []Status{Status(strconv.Itoa(code)), hundred(code)} {
			if found, ok := o.find(s); ok {
				return found
			}
		}
	}
	return race.Failed
}

// went reports whether a client got what it asked for.
func went(o race.Outcome) bool { return o == race.Created || o == race.Resumed || o == race.Done }

// status returns a code in words, as "502 Bad Gateway".
func status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return strconv.Itoa(code)
}
