package ddl

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
)

func (s *reading) addConstraint(p part) {
	k := p.Def.GetConstraint()
	switch k.GetContype() {
	case pg.ConstrType_CONSTR_CHECK:
		for _, column := range requires(k.RawExpr) {
			s.notNull[p.table] = append(s.notNull[p.table], &notNull{column, k.Conname, !k.SkipValidation})
		}
		s.constraintScans(p, k, s.others(p), k.Location)
	case pg.ConstrType_CONSTR_FOREIGN:
		s.constraintScans(p, k, s.others(p), k.Location)
	case pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_PRIMARY:
		if k.Indexname == "" {
			s.uniqueScans(p, k, s.others(p), k.Location)
		}
	case pg.ConstrType_CONSTR_EXCLUSION:
		s.immutableExclusion(p)
		if s.existed(p.table) {
			s.find(RuleUniqueScans, history.LevelWarning, k.Location, nil,
				"It builds its index under ACCESS EXCLUSIVE on %s, and there is no safe form: an exclusion constraint can neither be NOT VALID nor use an index "+
					"that is there. Set a lock_timeout and choose an hour.", s.show(p.table))
		}
	}
	if k.GetSkipValidation() && s.inTransaction() {
		if s.unproven[p.table] == nil {
			s.unproven[p.table] = map[string]bool{}
		}
		s.unproven[p.table][k.Conname] = true
	}
}

// constraintScans is about a CHECK or foreign key that is checked for all rows. The SQL is what the safe form begins with.
func (s *reading) constraintScans(p part, k *pg.Constraint, first string, at int32) {
	if !s.existed(p.table) || k.SkipValidation {
		return
	}
	what, lock := "CHECK", "ACCESS EXCLUSIVE on "+s.show(p.table)
	if k.Contype == pg.ConstrType_CONSTR_FOREIGN {
		what, lock = "foreign key", "SHARE ROW EXCLUSIVE on "+s.show(p.table)+" and "+s.show(s.resolve(k.Pktable))
	}
	safe := &pg.Constraint{
		Contype: k.Contype, Conname: k.Conname, Deferrable: k.Deferrable, Initdeferred: k.Initdeferred, IsNoInherit: k.IsNoInherit, RawExpr: k.RawExpr,
		Pktable: k.Pktable, FkAttrs: k.FkAttrs, PkAttrs: k.PkAttrs, FkMatchtype: k.FkMatchtype, FkUpdAction: k.FkUpdAction, FkDelAction: k.FkDelAction,
		FkDelSetCols: k.FkDelSetCols, SkipValidation: true,
	}
	if safe.Conname == "" {
		safe.Conname = s.constraintName(p.table, k)
	}
	add := &pg.Node{Node: &pg.Node_AlterTableStmt{AlterTableStmt: &pg.AlterTableStmt{
		Relation: p.relation, Objtype: pg.ObjectType_OBJECT_TABLE,
		Cmds: []*pg.Node{{Node: &pg.Node_AlterTableCmd{AlterTableCmd: &pg.AlterTableCmd{
			Subtype: pg.AlterTableType_AT_AddConstraint, Def: &pg.Node{Node: &pg.Node_Constraint{Constraint: safe}}, Behavior: pg.DropBehavior_DROP_RESTRICT,
		}}}},
	}}}
	var rewrite *history.Rewrite
	if sql := deparse(add); sql != "" {
		rewrite = &history.Rewrite{
			SQL:  first + sql + "\n" + p.alter("VALIDATE CONSTRAINT %s", quote(safe.Conname)),
			Note: "VALIDATE in a later transaction, as in a file of its own: it lets reads and writes through",
		}
	}
	s.find(RuleConstraintScans, history.LevelWarning, at, rewrite,
		"The %s is checked for all rows under %s. With NOT VALID it is only for new ones, at once.", what, lock)
}

// constraintName is one as the server would give.
func (s *reading) constraintName(table name, k *pg.Constraint) string {
	parts := []string{table.name}
	if k.Contype == pg.ConstrType_CONSTR_FOREIGN {
		parts = append(append(parts, words(k.FkAttrs)...), "fkey")
	} else {
		var columns []string
		walk(k.RawExpr, func(n *pg.Node) bool {
			if c := n.GetColumnRef(); c != nil && !slices.Contains(columns, last(c.Fields)) {
				columns = append(columns, last(c.Fields))
			}
			return true
		})
		if len(columns) == 1 {
			parts = append(parts, columns[0])
		}
		parts = append(parts, "check")
	}
	return strings.Join(parts, "_")
}

func (s *reading) uniqueScans(p part, k *pg.Constraint, first string, at int32) {
	if !s.existed(p.table) {
		return
	}
	kind, suffix := "UNIQUE", "_key"
	if k.Contype == pg.ConstrType_CONSTR_PRIMARY {
		kind, suffix = "PRIMARY KEY", "_pkey"
	}
	columns := words(k.Keys)
	for i := range columns {
		columns[i] = quote(columns[i])
	}
	constraint := k.Conname
	if constraint == "" {
		constraint = p.table.name + suffix
		if kind == "UNIQUE" {
			constraint = p.table.name + "_" + strings.Join(words(k.Keys), "_") + suffix
		}
	}
	nulls := ""
	if k.NullsNotDistinct {
		nulls = " NULLS NOT DISTINCT"
	}
	deferrable := ""
	if k.Deferrable {
		deferrable = " DEFERRABLE"
	}
	if k.Initdeferred {
		deferrable += " INITIALLY DEFERRED"
	}
	include := ""
	if len(k.Including) > 0 {
		include = " INCLUDE (" + strings.Join(words(k.Including), ", ") + ")"
	}
	var rewrite *history.Rewrite
	if s.before.relations[p.table].Get("kind") != "partitioned" {
		rewrite = &history.Rewrite{Note: "the index " + alone, SQL: first +
			fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY %s ON %s (%s)%s%s;\n", quote(constraint), written(p.relation), strings.Join(columns, ", "), include, nulls) +
			p.alter("ADD CONSTRAINT %s %s USING INDEX %s%s", quote(constraint), kind, quote(constraint), deferrable)}
	}
	s.find(RuleUniqueScans, history.LevelWarning, at, rewrite,
		"It builds its index under ACCESS EXCLUSIVE: nobody can read or write %s until it is done.", s.show(p.table))
}

func (s *reading) validate(p part) {
	for _, n := range s.notNull[p.table] {
		if n.constraint == p.Name {
			n.valid = true
		}
	}
	for _, o := range s.before.constraints[p.table] {
		if parts := cut(o.Name); parts[len(parts)-1] == p.Name {
			if c := definition(o); c != nil {
				for _, column := range requires(c.RawExpr) {
					s.notNull[p.table] = append(s.notNull[p.table], &notNull{column, p.Name, true})
				}
			}
		}
	}
	if s.unproven[p.table][p.Name] && s.inTransaction() && s.existed(p.table) {
		s.find(RuleValidateTogether, history.LevelWarning, 0,
			&history.Rewrite{SQL: p.alter("VALIDATE CONSTRAINT %s", quote(p.Name)), Note: "in a later file, in a transaction of its own"},
			"The transaction still holds the lock with which it added the constraint: %s is read as a whole under that, as without NOT VALID.", s.show(p.table))
	}
}
