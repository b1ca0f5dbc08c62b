package reproduce

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce/literal"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Psql writes the race as blocks to be pasted, one by one, into terminals with psql, one terminal a client. Each is headed by a comment with the
// number of its release, its terminal, and what to expect, as
//
//	-- 3  terminal B: waits for A
//
// Blocks before the first step have the number 0. The last one asks for the rows that break the invariant; if that is about what the clients
// are told, it is a comment that says what to look at.
func Psql(w io.Writer, r Race) error {
	r, err := r.writable()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	in := *r.Example.Interleaving
	all := acts(in)

	place, createdb := r.place()
	b.WriteString(comment("--", r.title(), "",
		fmt.Sprintf("For psql, in %d terminals, on %s that you can throw away:", len(in.Clients), place),
		createdb+"; psql race",
		"Paste the blocks one by one, in this order, each into the terminal that its heading names. The heading says what to expect.",
	))
	if slices.ContainsFunc(all, func(a *act) bool { return a.opens }) {
		b.WriteString(comment("--",
			"A statement outside a transaction commits by itself, but not before it has executed. Where something happens in between, it is put into",
			"a transaction here, for that to happen in its place."))
	}
	switch {
	case r.Template == "":
		heading(&b, 0, in.Clients[0], "the schema and the starting rows")
	case len(r.Example.Start) > 0:
		heading(&b, 0, in.Clients[0], "the starting rows beside those of "+r.Template)
	}
	for _, script := range r.Schema {
		statements := sqltext.Split(script)
		if n := len(statements); n > 0 && statements[n-1].Kind != sqltext.SQL {
			b.WriteString(strings.TrimRight(script, "\n") + "\n")
		} else {
			b.WriteString(semicolon(script))
		}
		if slices.ContainsFunc(statements, func(s sqltext.Statement) bool { return s.Begins("set") }) {
			b.WriteString("RESET ALL;\n") // it was not for this session
		}
	}
	for _, row := range r.Example.Start {
		b.WriteString(semicolon(row))
	}
	for i, name := range in.Clients {
		if sets := settings(in, i); sets != nil {
			heading(&b, 0, name, "settings"+needs(sets))
			for _, set := range sets {
				b.WriteString(semicolon(set))
			}
		}
	}
	kept := map[*act]bool{} // acts whose results are used later
	for _, a := range all {
		for _, s := range a.sources {
			kept[s.from] = true
		}
	}
	for _, a := range all {
		heading(&b, a.Number, a.Client, a.comes())
		sql := a.sql(func(i int) string {
			if name := a.sources[i].variable(); name != "" {
				return strings.Replace(a.constant(i), literal.Quote(*a.Parameters[i]), ":'"+name+"'", 1)
			}
			return a.constant(i)
		})
		for i, s := range sql {
			if i == len(sql)-1 && kept[a] {
				fmt.Fprintf(&b, "%s\n\\gset %s\n", s, a.prefix())
				continue
			}
			b.WriteString(semicolon(s))
		}
	}

	if r.Example.Outcomes {
		b.WriteString("\n" + comment("--", r.toldOf()...))
	} else {
		heading(&b, in.Steps[len(in.Steps)-1].Number+1, in.Clients[0], r.Example.Invariant+" is broken, this returns rows:")
		b.WriteString(semicolon(r.Example.Query))
	}
	b.WriteString(comment("--  ", r.offending()...))
	_, err = w.Write(b.Bytes())
	return err
}

func heading(b *bytes.Buffer, number int, client, expect string) {
	fmt.Fprintf(b, "\n-- %d  terminal %s: %s\n", number, line(client), line(expect))
}

// semicolon returns sql with the semicolon at its end, and a line break.
func semicolon(sql string) string {
	sql = bare(sql)
	if lines := strings.Split(sql, "\n"); strings.Contains(lines[len(lines)-1], "--") {
		sql += "\n"
	}
	return sql + ";\n"
}

// prefix begins the names of the variables that hold what the act returned.
func (a *act) prefix() string { return fmt.Sprintf("step_%d_", a.Number) }

// variable returns the name of psql's variable that holds the value; empty: none does.
func (s source) variable() string {
	if s.from == nil || s.column >= len(s.from.ended.Returned.Columns) {
		return ""
	}
	return s.from.prefix() + s.from.ended.Returned.Columns[s.column]
}

// settings returns what a client's session sets before the race.
func settings(in history.Interleaving, client int) []string {
	var all []string
	if client < len(in.Settings) {
		for _, name := range slices.Sorted(maps.Keys(in.Settings[client])) {
			value := in.Settings[client][name]
			if strings.Contains(value, ",") { // SET would take it for one name
				all = append(all, fmt.Sprintf("SELECT set_config(%s, %s, false)", literal.Quote(name), literal.Quote(value)))
			} else {
				all = append(all, fmt.Sprintf("SET %s TO %s", name, literal.Quote(value)))
			}
		}
	}
	return append(all, victim(in, in.Clients[client])...)
}

// needs says who may make the settings.
func needs(sets []string) string {
	if slices.ContainsFunc(sets, func(s string) bool { return strings.HasPrefix(s, "SET deadlock_timeout") }) {
		return ", as a superuser: so the deadlock always has the same victim"
	}
	return ""
}

// victim returns the setting that has a deadlock end as it was recorded: who is refused looks for it at once, the others do not.
func victim(in history.Interleaving, client string) []string {
	deadlocks := func(s history.Step) bool { return s.SQLState == "40P01" }
	switch {
	case !slices.ContainsFunc(in.Steps, deadlocks):
		return nil
	case slices.ContainsFunc(in.Steps, func(s history.Step) bool { return deadlocks(s) && s.Client == client }):
		return []string{"SET deadlock_timeout TO '10ms'"}
	}
	return []string{"SET deadlock_timeout TO '100s'"}
}
