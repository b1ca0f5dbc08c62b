package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// Describe returns one line on an operation: who asked for what, what it was told, and when, as in
// "A#0 create session {"serial":"AED-17"} → conflict (23505), 2 attempts, 0.012 to 1.402 ms".
func Describe(op history.Operation) string {
	when := fmt.Sprintf("%s to %s ms", milliseconds(op.Invoked), milliseconds(op.Returned))
	if unanswered(op) {
		when = "from " + milliseconds(op.Invoked) + " ms on"
	}
	return say("%s#%d ", op.Client, op.Number) + asked(op) + " " + told(op) + ", " + when
}

// asked returns what the operation asked for.
func asked(op history.Operation) string {
	s := say("%s", op.Kind)
	if in := input(op.Input); in != "" {
		s += " " + in
	} else if op.Subject != "" {
		s += say(" %s", op.Subject)
	}
	return s
}

// told returns what the client was told.
func told(op history.Operation) string {
	s := "→ " + say("%s", op.Outcome)
	if op.Outcome == "" {
		s = "→ no answer"
	}
	if op.Row != "" {
		s += say(", row %s", op.Row)
	}
	var why []string
	if op.SQLState != "" {
		why = append(why, say("%s", op.SQLState))
	}
	if op.Message != "" && op.Outcome != "conflict" { // a conflict is an answer in itself; what else went wrong needs its words
		why = append(why, say("%s", op.Message))
	}
	if why != nil {
		s += " (" + strings.Join(why, ": ") + ")"
	}
	if op.Attempts > 1 {
		s += fmt.Sprintf(", %d attempts", op.Attempts)
	}
	return s
}

// unanswered reports whether the client never had an answer: the operation has no end.
func unanswered(op history.Operation) bool { return op.Returned < op.Invoked }

// milliseconds returns d to the microsecond, without its unit.
func milliseconds(d history.Duration) string { return fmt.Sprintf("%.3f", float64(d)/1e6) }

// unescapes undoes what json.Marshal does for the sake of HTML; an escaped backslash is left alone.
var unescapes = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

// input returns an input on one line; nothing for null and the empty object.
func input(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return say("%s", string(raw))
	}
	if r := request(raw); r != "" {
		return r
	}
	s := b.String()
	if s == "null" || s == "{}" {
		return ""
	}
	return say("%s", unescapes.Replace(s))
}

// request returns an HTTP request on one line, without its headers; nothing for any other input.
func request(raw json.RawMessage) string {
	var r struct {
		Method string          `json:"method"`
		Path   string          `json:"path"`
		Body   json.RawMessage `json:"body"`
	}
	if json.Unmarshal(raw, &r) != nil || r.Method == "" || !strings.HasPrefix(r.Path, "/") {
		return ""
	}
	return strings.TrimSpace(say("%s %s ", r.Method, r.Path) + input(r.Body))
}
