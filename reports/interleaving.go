package reports

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce/literal"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// chartOf returns an interleaving as people read it, from the release with number from on. What the clients asked for is in round.
func chartOf(in history.Interleaving, round history.Round, from int) *chart {
	c := &chart{}
	names := slices.Clone(in.Clients)
	operations := map[string]int{}
	for _, s := range in.Steps {
		if !slices.Contains(names, s.Client) {
			names = append(names, s.Client)
		}
		operations[s.Client] += len(s.Told)
	}
	for _, name := range names {
		var asks []string
		for _, op := range round.Operations {
			if op.Client == name {
				asks = append(asks, asked(op))
			}
		}
		c.clients = append(c.clients, client{say("%s", name), cmp.Or(strings.Join(asks, ", then "), strand(name, names))})
	}
	waiting := make([]bool, len(names))
	for _, s := range in.Steps {
		at := slices.Index(names, s.Client)
		waiting[at] = false
		if s.Number >= from {
			c.steps = append(c.steps, step{
				number: s.Number, client: at, code: code(s), came: came(s, operations[s.Client] > 1), waiting: slices.Clone(waiting),
			})
		}
		waiting[at] = s.Outcome == history.Waiting
	}
	return c
}

// strand says what a lane without operations is that is another one of a client; nothing of others. See [history.Interleaving].
func strand(name string, names []string) string {
	of, _, ok := strings.Cut(name, "/")
	if !ok || !slices.Contains(names, of) {
		return ""
	}
	return say("%s on another connection", of)
}

// code returns the SQL of a step, with its parameters in their places; nothing where the client has sent it before.
func code(s history.Step) string {
	if s.Resumed || s.Kind == "commit" && s.Autocommit {
		return ""
	}
	parts := make([]string, 0, len(s.Passed)+2)
	begun := false
	for _, sql := range s.Passed {
		parts = append(parts, strings.TrimRight(clean(literal.Squeeze(sql)), "; "))
		begun = begun || begins.MatchString(sql)
	}
	if s.Begins && !s.Autocommit && !begun {
		parts = append(parts, begin(s.Isolation))
	}
	sql := ""
	for kind, piece := range literal.Pieces(clean(literal.Squeeze(literal.Bind(s.SQL, func(n int) string { return parameter(s, n-1) })))) {
		if kind == literal.String && width(piece) <= leastLane {
			piece = strings.ReplaceAll(piece, " ", nbsp) // it is not broken
		}
		sql += piece
	}
	if sql == "" || strings.EqualFold(strings.TrimSuffix(sql, ";"), s.Kind) {
		sql = strings.ToUpper(say("%s", s.Kind))
	}
	return strings.Join(append(parts, sql), "; ")
}

var begins = regexp.MustCompile(`(?i)^\s*(begin|start)\b`)

func begin(isolation string) string {
	if isolation == "" || isolation == "read committed" {
		return "BEGIN"
	}
	return "BEGIN ISOLATION LEVEL " + strings.ToUpper(say("%s", isolation))
}

var (
	numbers  = regexp.MustCompile(`^(small|big)?int|^integer$|^numeric|^real$|^double precision$|^oid$`)
	integers = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)
)

// parameter returns the value of a parameter as one would write it.
func parameter(s history.Step, i int) string {
	if i < 0 || i >= len(s.Parameters) {
		return fmt.Sprintf("$%d", i+1)
	}
	v := s.Parameters[i]
	if v == nil {
		return "NULL"
	}
	kind := ""
	if i < len(s.Types) {
		kind = s.Types[i]
	}
	switch {
	case numbers.MatchString(kind), kind == "" && integers.MatchString(*v):
		return say("%s", *v)
	case kind == "boolean" && *v == "t":
		return "true"
	case kind == "boolean" && *v == "f":
		return "false"
	}
	return literal.Quote(say("%s", *v))
}

// came returns what came of a step. Several: its client does more than one operation, so they are named.
func came(s history.Step, several bool) (all []text) {
	words := ""
	switch {
	case s.Fault == history.Disconnect:
		words = "✂ the connection is cut before this is sent"
	case s.Fault == history.Terminate:
		words = "✂ the server ends the session instead"
	case s.Fault == history.Restart:
		words = "✂ the server crashes and comes back: all sessions end"
	case s.Fault == history.Delay:
		words = "✂ is on its way for long"
	case s.Fault == history.LostAck:
		words = "✂ is on its way when the connection is cut"
	case s.Outcome == history.Waiting:
		words = "→ waits"
		if len(s.WaitsFor) > 0 {
			words += " for " + list(s.WaitsFor)
		}
		if s.Lock != "" {
			words += say(" (%s)", s.Lock)
		}
	case s.Outcome == history.Refused:
		words = say("→ error %s", s.SQLState)
		if s.Message != "" {
			words += say(": %s", s.Message)
		}
	case s.Kind == "statement" && s.Autocommit:
		words = "→ " + returned(s) + ", not committed yet"
	case s.Kind == "statement":
		words = "→ " + returned(s)
	case s.Kind == "commit" && s.Tag == "ROLLBACK":
		words = "→ rolled back"
	}
	switch {
	case s.Kind == "commit" && s.Autocommit:
		words = strings.TrimSpace("commits " + words)
	case s.Resumed:
		words = strings.TrimSpace("goes on " + words)
	}
	if words != "" {
		all = append(all, text{words: words})
	}
	for _, told := range s.Told {
		words := "→ told " + say("%s", told.Outcome)
		if several {
			words = say("→ %s: told %s", told.Kind, told.Outcome)
		}
		all = append(all, text{words: words})
	}
	if len(s.Broken) > 0 {
		all = append(all, text{"✗ " + list(s.Broken) + " broken here", bad})
	}
	return all
}

// What is shown of the rows that a statement returned.
const (
	mostReturned = 3  // rows
	widestOnes   = 60 // columns that their values take
)

// returned says what a statement returned: its few rows, or how many they are.
func returned(s history.Step) string {
	if s.Tag != "" && !strings.ContainsAny(s.Tag, "0123456789") {
		return "done"
	}
	many := count(s.Rows, "row", "rows")
	if s.Returned == nil || len(s.Returned.Rows) == 0 || len(s.Returned.Rows) > mostReturned || int64(len(s.Returned.Rows)) != s.Rows {
		return many
	}
	rows := make([]string, len(s.Returned.Rows))
	for i, row := range s.Returned.Rows {
		values := make([]string, len(row))
		for j, v := range row {
			values[j] = value(v)
			if j < len(s.Returned.Columns) && s.Returned.Columns[j] != "?column?" && len(rows) == 1 {
				values[j] = say("%s", s.Returned.Columns[j]) + " = " + values[j]
			}
		}
		rows[i] = strings.Join(values, ", ")
		if len(rows) > 1 {
			rows[i] = "(" + rows[i] + ")"
		}
	}
	if values := strings.Join(rows, ", "); width(values) <= widestOnes {
		return many + ": " + values
	}
	return many
}

// list returns names as one says them.
func list[S ~string](names []S) string {
	all := ""
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			all += " and "
		default:
			all += ", "
		}
		all += say("%s", name)
	}
	return all
}

// instead shows another interleaving than that of a counterexample, from the release on at which they part.
func instead(words string, cx history.Counterexample, other *history.Interleaving, parts int) []table {
	if other == nil {
		return nil
	}
	if parts > 0 {
		words += fmt.Sprintf(" parts at step %d", parts)
	}
	if here, there := released(*cx.Interleaving, parts), released(*other, parts); there != "" && here != there {
		words += say(": there %s goes first", there)
	}
	if told := ends(*other); told != "" {
		words += "; " + told
	}
	c := chartOf(*other, history.Round{}, parts)
	c.brief = true
	return []table{{caption: words + ".", chart: c}}
}

// parting returns the first release that did not do the same in both; 0: all did. Values within a text may be others in each run, as ids are.
func parting(a, b history.Interleaving) int {
	for i, s := range b.Steps {
		if i >= len(a.Steps) {
			return s.Number
		}
		was := a.Steps[i]
		same := was.Client == s.Client && was.Kind == s.Kind && sqltext.Normal(was.SQL) == sqltext.Normal(s.SQL) && was.Outcome == s.Outcome && was.SQLState == s.SQLState && was.Rows == s.Rows
		if !same || !slices.Equal(was.Told, s.Told) {
			return s.Number
		}
	}
	return 0
}

// released returns the client that a release set going.
func released(in history.Interleaving, number int) string {
	for _, s := range in.Steps {
		if s.Number == number {
			return s.Client
		}
	}
	return ""
}

// ends says what the clients are told in an interleaving, as "A is told created, B conflict".
func ends(in history.Interleaving) string {
	told := map[string][]string{}
	for _, s := range in.Steps {
		for _, end := range s.Told {
			told[s.Client] = append(told[s.Client], end.Outcome)
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(told)) {
		is := " is told "
		if len(all) > 0 {
			is = " "
		}
		all = append(all, say("%s", name)+is+list(told[name]))
	}
	return strings.Join(all, ", ")
}

// circumstances says how an interleaving was found, and how often it broke its invariant again.
func circumstances(c history.Cell, cx history.Counterexample) string {
	var all []string
	levels := map[string]bool{}
	for _, s := range cx.Interleaving.Steps {
		if s.Isolation != "" {
			levels[s.Isolation] = true
		}
	}
	if len(levels) == 1 {
		for level := range levels {
			all = append(all, strings.ToUpper(say("%s", level)))
		}
	}
	if cx.Order > 0 {
		found := "found in order " + thousands(cx.Order)
		for _, e := range c.Explorations {
			if e.Clients == len(cx.Interleaving.Clients) && e.Executed >= cx.Order {
				found += " of " + thousands(e.Executed)
				break
			}
		}
		all = append(all, found)
	}
	all = append(all, strings.Replace(count(cx.Preemptions, "preemption", "preemptions"), "0 preemptions", "no preemption", 1))
	switch {
	case cx.Repeated <= 0:
		all = append(all, "not repeated")
	case cx.Reproduced >= cx.Repeated:
		all = append(all, fmt.Sprintf("repeats %d of %d", cx.Reproduced, cx.Repeated))
	default:
		all = append(all, fmt.Sprintf("repeats only %d of %d: something else than the order of the steps decides as well", cx.Reproduced, cx.Repeated))
	}
	return strings.Join(all, " · ")
}
