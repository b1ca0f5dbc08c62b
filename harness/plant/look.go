package plant

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/migrations"
)

// state is what there is to see of a database.
type state struct {
	schema schema.Schema
	keys   history.Table // that break the constraint
	rows   int           // of the table
}

// look reads the state.
func look(ctx context.Context, conn *pgx.Conn, c Constraint) (s state, err error) {
	if s.schema, err = schemaOf(ctx, conn); err != nil {
		return s, err
	}
	if err := conn.QueryRow(ctx, "select count(*) from "+c.from("", "")).Scan(&s.rows); err != nil {
		return s, err
	}
	s.keys, err = c.Offenders(ctx, conn)
	return s, err
}

// schemaOf takes a snapshot of the schema, without the ledger of the migration tool.
func schemaOf(ctx context.Context, conn *pgx.Conn) (schema.Schema, error) {
	s, err := schema.Read(ctx, conn)
	return s.Without(migrations.Ledger), err
}

// left looks what a refused migration left behind.
func (t *trial) left(c Constraint, f history.Finding, before, after schema.Schema) bool {
	var half, drop, invalid []string
	for _, change := range schema.Diff(before, after) {
		now, _ := after.Find(change.Kind, change.Name)
		if change.Kind == schema.Index && change.What == schema.Added && now.Get("invalid") != "" {
			invalid = append(invalid, change.String())
			drop = append(drop, "DROP INDEX CONCURRENTLY "+change.Name+";")
			continue
		}
		half = append(half, change.String())
	}
	f.Query = ""
	if len(invalid) > 0 {
		g := f
		g.Rule, g.Level = RuleInvalidIndex, history.LevelWarning
		g.Says = "refused over rows that break " + c.String() + ", it leaves an INVALID index: that enforces nothing, slows every write down, and keeps its name"
		g.Evidence, g.Repair = shorten(invalid), "before the migration is applied again: "+strings.Join(drop, " ")
		t.add(g)
	}
	if len(half) > 0 {
		g := f
		g.Rule, g.Level = RuleLeavesHalf, history.LevelError
		g.Says = "refused over rows that break " + c.String() + ", it leaves half of itself behind, and cannot be applied again as it is"
		g.Evidence, g.Repair = shorten(half), "one transaction for the whole file; or a file of its own for each statement that cannot run in one"
		t.add(g)
	}
	return len(half)+len(invalid) == 0
}

// add adds a finding, unless an earlier constraint of the same statement gave it already.
func (t *trial) add(f history.Finding) {
	for _, there := range t.findings {
		if there.Rule == f.Rule && there.Line == f.Line && strings.Join(there.Evidence, "\n") == strings.Join(f.Evidence, "\n") {
			return
		}
	}
	t.findings = append(t.findings, f)
}

func shorten(lines []string) []string {
	const most = 20
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most:most], fmt.Sprintf("and %d more", len(lines)-most))
}
