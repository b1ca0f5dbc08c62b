package reports_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/reports"
)

func TestDescribe(t *testing.T) {
	us := ms / 1000
	for want, op := range map[string]history.Operation{
		`A#0 create session {"serial":"AED-17"} → created, row 8c1d, 0.012 to 1.402 ms`: {
			Client: "A", Kind: "create session", Subject: "AED-17", Input: raw(map[string]string{"serial": "AED-17"}), Outcome: "created", Row: "8c1d",
			Attempts: 1, Invoked: 12 * us, Returned: 1402 * us,
		},
		`B#1 create session AED-17 → conflict (23505), 2 attempts, 0.000 to 2.000 ms`: {
			Client: "B", Number: 1, Kind: "create session", Subject: "AED-17", Outcome: "conflict", SQLState: "23505", Message: "duplicate key",
			Attempts: 2, Returned: 2 * ms,
		},
		`A#0 pause → failed (40P01: deadlock detected), 0.000 to 2.000 ms`: {
			Client: "A", Kind: "pause", Outcome: "failed", SQLState: "40P01", Message: "deadlock detected", Returned: 2 * ms,
		},
		`A#0 pause → failed (unexpected EOF), 0.000 to 2.000 ms`: {
			Client: "A", Kind: "pause", Outcome: "failed", Message: "unexpected EOF", Returned: 2 * ms,
		},
		`A#0 pause → unknown, from 3.000 ms on`: {Client: "A", Kind: "pause", Outcome: "unknown", Invoked: 3 * ms},
		`A#0 note {"text":"a<b & \\u003c 한\u001b"} → done, 0.000 to 0.000 ms`: {
			Client: "A", Kind: "note", Input: json.RawMessage(`{ "text": "a\u003cb \u0026 \\u003c 한\u001b" }`), Outcome: "done",
		},
		`A#0 x POST /s {"a":1} → created, 0.000 to 0.000 ms`: {
			Client: "A", Kind: "x", Outcome: "created", Input: json.RawMessage(`{"method":"POST","path":"/s","headers":{"k":"v"},"body":{"a":1}}`),
		},
		`line\nbreak#0 x {not json → no answer, 0.000 to 0.000 ms`: {Client: "line\nbreak", Kind: "x", Input: json.RawMessage(`{not json`)},
	} {
		require.Equal(t, want, reports.Describe(op))
	}
}
