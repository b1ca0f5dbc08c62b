package reproduce

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/reproduce/literal"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Spec writes the race as a spec for PostgreSQL's isolationtester, with one permutation. Its last step asks for the rows that break the
// invariant, unless that is about what the clients are told; then a comment says what to look at.
func Spec(w io.Writer, r Race) error {
	r, err := r.writable()
	if err != nil {
		return err
	}
	if err := r.plain(); err != nil {
		return err
	}
	block := func(statements ...string) string {
		var b strings.Builder
		for _, s := range statements {
			b.WriteString(semicolon(s))
		}
		sql, e := braceless(strings.TrimSpace(b.String()))
		if err == nil {
			err = e
		}
		return sql
	}

	spec := isolation.Spec{}
	for _, script := range r.Schema {
		if alone(script) {
			for _, s := range sqltext.Split(script) {
				spec.Setups = append(spec.Setups, block(s.Text))
			}
		} else if bare(script) != "" {
			spec.Setups = append(spec.Setups, block(script))
		}
	}
	if len(r.Example.Start) > 0 {
		spec.Setups = append(spec.Setups, block(r.Example.Start...))
	}
	spec.Teardown = block(drops(r.Schema)...)

	in := *r.Example.Interleaving
	for i, name := range in.Clients {
		spec.Sessions = append(spec.Sessions, isolation.Session{Name: line(name), Setup: block(settings(in, i)...)})
	}
	var order isolation.Permutation
	add := func(session int, name, sql string) {
		spec.Sessions[session].Steps = append(spec.Sessions[session].Steps, isolation.Step{Name: name, SQL: sql})
		order.Steps = append(order.Steps, isolation.PermutationStep{Step: name})
	}
	for _, a := range acts(in) {
		if slices.ContainsFunc(a.sources, func(s source) bool { return s.from != nil }) {
			return fmt.Errorf("%s: step %d %w", r.Name, a.Number, errReturned)
		}
		add(a.at, fmt.Sprintf("%s%d", line(a.Client), a.Number), block(a.sql(a.constant)...))
	}
	place, createdb := r.place()
	notes := append([]string{r.title(), "", "For isolationtester, on " + place + ": " + createdb}, r.offending()...)
	if r.Example.Outcomes {
		notes = append(append(notes, ""), r.toldOf()...)
	} else {
		spec.Sessions = append(spec.Sessions, isolation.Session{Name: "invariant"})
		add(len(in.Clients), "offending", block(r.Example.Query))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	spec.Permutations = []isolation.Permutation{order}
	_, err = io.WriteString(w, comment("#", notes...)+"\n"+spec.String())
	return err
}

// alone reports whether a script has a statement that does not go into one message with others.
func alone(script string) bool {
	return slices.ContainsFunc(sqltext.Split(script), func(s sqltext.Statement) bool {
		return s.Begins("vacuum") || slices.Contains(s.Words, "concurrently")
	})
}

// braceless returns sql without a closing brace, which would end a block of a spec: within strings it is escaped.
func braceless(sql string) (string, error) {
	if !strings.Contains(sql, "}") {
		return sql, nil
	}
	var b strings.Builder
	for kind, text := range literal.Pieces(sql) {
		switch {
		case !strings.Contains(text, "}"):
		case kind == literal.Space:
			text = strings.ReplaceAll(text, "}", ")")
		case kind == literal.String:
			text = escaped(text)
		default:
			return "", fmt.Errorf("a spec cannot hold %.40s, which has a brace outside a string; try --as psql", text)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// escaped returns a string in SQL with its closing braces as escapes.
func escaped(s string) string {
	switch s[0] {
	case '$':
		tag := s[:strings.IndexByte(s[1:], '$')+2]
		s = literal.Quote(strings.TrimSuffix(s[len(tag):], tag))
		fallthrough
	case '\'':
		s = "E" + strings.ReplaceAll(s, `\`, `\\`)
	}
	return strings.ReplaceAll(s, "}", `\x7d`)
}

// made finds what a statement creates that has to be dropped: not what goes with a table or a schema.
var made = regexp.MustCompile(`(?i)^create\s+(?:or\s+replace\s+)?(?:global\s+|local\s+)?(?:temp(?:orary)?\s+|unlogged\s+)?(?:recursive\s+)?` +
	`(schema|table|(?:materialized\s+)?view|foreign\s+table|sequence|type|domain|extension|function|procedure|aggregate)\s+(?:if\s+not\s+exists\s+)?` +
	`((?:"(?:[^"]|"")+"|[\pL_][\pL_0-9$]*)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\pL_][\pL_0-9$]*))?)`)

// drops returns statements that undo what scripts create, the latest first.
func drops(scripts []string) []string {
	var all []string
	var schemas []string
	for _, script := range scripts {
		for _, s := range sqltext.Split(script) {
			found := made.FindStringSubmatch(literal.Squeeze(s.Text))
			if found == nil {
				continue
			}
			kind, name := strings.ToUpper(found[1]), found[2]
			if schema, _, ok := strings.Cut(name, "."); ok && slices.Contains(schemas, schema) {
				continue // goes with it
			}
			if kind == "SCHEMA" {
				schemas = append(schemas, name)
			}
			if drop := fmt.Sprintf("DROP %s %s CASCADE", kind, name); !slices.Contains(all, drop) {
				all = append(all, drop)
			}
		}
	}
	slices.Reverse(all)
	return all
}
