package isolation

import (
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

// shortcuts says what may be done to run a spec faster, of which nothing shows in its transcript. It is found out from the spec's text, by lists of
// what is known to be harmless: anything else rules it out.
type shortcuts struct {
	// separable: each permutation finds what the first one found, whichever ran before it, so several databases may share them. The teardown
	// drops what the setup has created, transactions end with the permutation, and nothing in the sessions outlasts them.
	separable bool

	// serializable: it uses that level, for which the databases of one server are not separate: see the package's doc.
	serializable bool

	// restore does what the teardown and the next setup do, without creating anything, at half the cost; empty: there is no such thing. TRUNCATE
	// leaves tables and indexes as CREATE makes them, in their files, and for the planner but where an index is partial.
	restore string
}

// The patterns read SQL without comments and without quoted names. What they find in a string only rules out what would have been harmless.
var (
	unreadable = regexp.MustCompile(`--|/\*|["$]`)
	outlasting = regexp.MustCompile(`(?i)\b(pg_|txid_|lo_|(chain|session|temp|temporary|prepared|tablespace)\b)`)
	clock      = regexp.MustCompile(`(?i)\b(current_(date|time)|localtime|now\b|today\b)`) // tells when a transaction began
	into       = regexp.MustCompile(`(?i)(\w*)\s+into\b`)
	called     = regexp.MustCompile(`(\w+)\s*\(`)
	tables     = regexp.MustCompile(`(?i)^(?:create|drop)\s+table\s+(\w+(?:\s*,\s*\w+)*)\s*(?:\(|;|$)`)
	unrestored = regexp.MustCompile(`(?i)\b(references|foreign)\b`) // the plans of foreign keys are kept with the constraint
	returning  = regexp.MustCompile(`(?i)\breturning\b`)
	ssi        = regexp.MustCompile(`(?i)\bserializable\b`)
)

// brackets are the words that may stand before one, beside the names of the spec's tables: of SQL, types, and functions without effects.
var brackets = strings.Fields(`all and any array_agg as avg bit by char character check coalesce conflict count decimal default distinct except exists filter
	float from generate_series greatest having in intersect int join key least length lower max min mod not nullif numeric on or over primary
	row select set some string_agg sum table time timestamp union unique upper using values varchar varying when where with`)

// shortcuts finds out what may be done.
func (s *Spec) shortcuts() shortcuts {
	var found shortcuts
	names, restore, ok := s.creates()
	if !ok || !slices.Equal(names, s.drops()) {
		return found
	}
	for _, session := range s.Sessions {
		for _, sql := range session.blocks() {
			found.serializable = found.serializable || ssi.MatchString(sql)
			ok = ok && harmless(sql, names)
			for _, statement := range sqltext.Message(sql) {
				ok = ok && (statement.Begins("set transaction") || statement.Begins(
					"begin|start|commit|end|rollback|abort|savepoint|release|lock|select|insert|update|delete|with|values|table"))
			}
		}
	}
	if ok && s.closes() {
		found.separable, found.restore = true, restore
	}
	return found
}

// creates returns the names of the tables that the setup blocks create, sorted, and the script that restores them, if one can. It is not ok if they do
// anything else than create tables and their indexes, and fill them.
func (s *Spec) creates() (names []string, restore string, ok bool) {
	restores, filled := true, false
	var fill strings.Builder
	for _, setup := range s.Setups {
		for _, statement := range sqltext.Message(setup) {
			switch {
			case statement.Begins("create table"):
				created := tableNames(statement.Text)
				if len(created) != 1 {
					return nil, "", false
				}
				names = append(names, created...)
			case statement.Begins("create ?unique index"):
				restores = restores && !filled && !slices.Contains(statement.Words, "where") // of rows, it is built in another way
			case statement.Begins("insert into"):
				filled = true
				fill.WriteString(strings.TrimSuffix(statement.Text, ";") + ";\n")
			default:
				return nil, "", false
			}
		}
	}
	slices.Sort(names)
	for _, setup := range s.Setups {
		if !harmless(setup, names) || returning.MatchString(setup) {
			return nil, "", false
		}
		restores = restores && !unrestored.MatchString(setup)
	}
	if !restores || len(names) == 0 {
		return names, "", true
	}
	return names, "TRUNCATE " + strings.Join(names, ", ") + " RESTART IDENTITY;\n" + fill.String(), true
}

// drops returns the names of the tables that the teardown drops, sorted; none if it does anything else.
func (s *Spec) drops() (names []string) {
	for _, statement := range sqltext.Message(s.Teardown) {
		dropped := tableNames(statement.Text)
		if !statement.Begins("drop table") || len(dropped) == 0 {
			return nil
		}
		names = append(names, dropped...)
	}
	slices.Sort(names)
	return names
}

// tableNames returns the names in a statement that creates or drops tables, none if it does anything beside.
func tableNames(statement string) []string {
	m := tables.FindStringSubmatch(statement)
	if m == nil {
		return nil
	}
	return strings.FieldsFunc(strings.ToLower(m[1]), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// harmless says whether what the block calls has no effects but on rows, and can be seen.
func harmless(sql string, names []string) bool {
	if unreadable.MatchString(sql) || outlasting.MatchString(sql) || clock.MatchString(sql) {
		return false
	}
	for _, m := range into.FindAllStringSubmatch(sql, -1) {
		if !strings.EqualFold(m[1], "insert") { // SELECT INTO creates a table
			return false
		}
	}
	for _, m := range called.FindAllStringSubmatch(strings.ToLower(sql), -1) {
		if !slices.Contains(names, m[1]) && !slices.Contains(brackets, m[1]) {
			return false
		}
	}
	return true
}

// closes says whether no permutation leaves a transaction open. An error ends a message, so one that begins a transaction leaves it open, whatever
// comes behind, and one ends it if that is what it begins with.
func (s *Spec) closes() bool {
	type effect struct{ ends, begins bool }
	read := func(sql string) (e effect) {
		for i, statement := range sqltext.Message(sql) {
			e.begins = e.begins || statement.Begins("begin|start")
			e.ends = e.ends || i == 0 && statement.Begins("commit|end|rollback|abort") && !slices.Contains(statement.Words, "to")
		}
		return e
	}
	steps, owner := map[string]effect{}, map[string]int{}
	var before, after []effect
	for i, session := range s.Sessions {
		before, after = append(before, read(session.Setup)), append(after, read(session.Teardown))
		for _, step := range session.Steps {
			steps[step.Name], owner[step.Name] = read(step.SQL), i
		}
	}
	for p := range s.orders() {
		open := make([]bool, len(s.Sessions))
		message := func(session int, e effect) { open[session] = e.begins || open[session] && !e.ends }
		for i, e := range before {
			message(i, e)
		}
		for _, step := range p.Steps {
			message(owner[step.Step], steps[step.Step])
		}
		for i, e := range after {
			message(i, e)
		}
		if slices.Contains(open, true) {
			return false
		}
		if len(s.Permutations) == 0 {
			break // of each session, they all have the same steps in the same order
		}
	}
	return true
}

// begins returns the messages of the session that begin a transaction and do nothing else.
func (s Session) begins() map[string]bool {
	found := map[string]bool{}
	for _, sql := range s.blocks() {
		if statements := sqltext.Message(sql); len(statements) == 1 && statements[0].Begins("begin|start") {
			found[sql] = true
		}
	}
	return found
}
