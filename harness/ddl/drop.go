package ddl

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
)

// contract is how to take something away.
const contract = "First ship a release that does not use it; then allow this with the reason"

func (s *reading) drop(d *pg.DropStmt) {
	switch d.RemoveType {
	case pg.ObjectType_OBJECT_INDEX:
		s.unqualified(d, s.before.indexes)
		s.dropIndexes(d)
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW, pg.ObjectType_OBJECT_FOREIGN_TABLE:
		s.unqualified(d, s.before.relations)
		for _, o := range d.Objects {
			s.dropRelation(d, rangeVar(words(o.GetList().GetItems())))
		}
	case pg.ObjectType_OBJECT_SCHEMA:
		for _, o := range d.Objects {
			in := o.GetString_().GetSval()
			tables := s.tables(in)
			for _, t := range tables {
				s.lockDropped(t)
			}
			if len(tables) > 0 && d.Behavior == pg.DropBehavior_DROP_CASCADE {
				s.find(RuleDropTable, history.LevelError, 0, nil,
					"The tables of schema %s go with it, and with them their data. %s.", quote(in), contract)
			}
		}
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY:
		for _, o := range d.Objects {
			if parts := words(o.GetList().GetItems()); len(parts) > 1 {
				s.lock(s.resolve(rangeVar(parts[:len(parts)-1])), accessExclusive)
			}
		}
	}
}

func (s *reading) dropRelation(d *pg.DropStmt, rv *pg.RangeVar) {
	n := s.resolve(rv)
	if !s.existed(n) {
		delete(s.created, n)
		return
	}
	s.lockDropped(n)
	shown := s.show(n)
	again, together := s.again(n)
	switch kind := s.before.relations[n].Kind; {
	case d.RemoveType == pg.ObjectType_OBJECT_TABLE || kind == schema.Table:
		s.find(RuleDropTable, history.LevelError, 0, nil, "The release that still runs fails on %s, and its data is gone. %s.", shown, contract)
	case again != nil:
		if !together {
			s.find(RuleDropTable, history.LevelWarning, 0, &history.Rewrite{SQL: "BEGIN;\n" + s.text() + ";", Note: "and COMMIT after the statement that makes it again"},
				"%s is away until the file makes it again: whoever reads it meanwhile fails.", shown)
		}
	default:
		s.find(RuleDropTable, history.LevelError, 0, nil, "The release that still runs fails on %s. %s.", shown, contract)
	}
}

// again returns the later statement of the file that makes a view of this name, if one does, and whether it does so in the same transaction.
func (s *reading) again(n name) (made *pg.Node, together bool) {
	together = s.inTransaction()
	for _, later := range s.all[s.at+1:] {
		if later.message != s.message && !s.reader.inTransaction() { // that one message was in
			together = false
		}
		var rv *pg.RangeVar
		switch l := later.node.GetNode().(type) {
		case *pg.Node_TransactionStmt:
			if k := l.TransactionStmt.Kind; k == pg.TransactionStmtKind_TRANS_STMT_COMMIT || k == pg.TransactionStmtKind_TRANS_STMT_ROLLBACK {
				together = false
			}
		case *pg.Node_ViewStmt:
			rv = l.ViewStmt.View
		case *pg.Node_CreateTableAsStmt:
			rv = l.CreateTableAsStmt.GetInto().GetRel()
		}
		if rv != nil && rv.Relname == n.name && (rv.Schemaname == "" || rv.Schemaname == n.schema) && rv.Relpersistence != "t" {
			return later.node, together
		}
	}
	return nil, false
}

// unqualified is about DROP … IF EXISTS of something that is elsewhere.
func (s *reading) unqualified(d *pg.DropStmt, in map[name]schema.Object) {
	if !d.MissingOk || s.path != nil {
		return
	}
	for _, o := range d.Objects {
		parts := words(o.GetList().GetItems())
		if len(parts) != 1 || known(in, name{"public", parts[0]}) || s.created[name{"public", parts[0]}] {
			continue
		}
		elsewhere := others(in, parts[0])
		if len(elsewhere) == 0 {
			continue
		}
		safe := s.copyOf()
		var objects []*pg.Node
		for _, one := range elsewhere {
			items := []*pg.Node{pg.MakeStrNode(one.schema), pg.MakeStrNode(one.name)}
			objects = append(objects, &pg.Node{Node: &pg.Node_List{List: &pg.List{Items: items}}})
		}
		safe.GetDropStmt().Objects = objects
		s.find(RuleDropUnqualified, history.LevelWarning, 0, &history.Rewrite{SQL: deparse(safe)},
			"%s is in schema %s, which the file does not name: unless the search_path of the role has it, this drops nothing, says nothing but a notice, and succeeds.",
			quote(parts[0]), quote(elsewhere[0].schema))
	}
}

func (s *reading) dropColumn(p part) {
	if !s.existed(p.table) {
		return
	}
	if columns, found := s.before.columns[p.table]; found {
		if _, was := columns[p.Name]; !was {
			return // the file added it, or it never was
		}
	}
	s.find(RuleDropColumn, history.LevelError, 0, nil,
		"The release that still runs fails on %s.%s, and its data is gone. %s.", s.show(p.table), quote(p.Name), contract)
}

func (s *reading) rename(r *pg.RenameStmt) {
	n := s.resolve(r.Relation)
	switch r.RenameType {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW:
		if _, o, found := s.resolveIndex(relationParts(r.Relation)); found && named(o.Table) != n && !known(s.before.relations, n) {
			return // ALTER TABLE may rename an index too
		}
		s.lock(n, accessExclusive)
		if s.existed(n) {
			s.renameTable(n, r.Relation, name{r.Relation.Schemaname, r.Newname})
		}
		s.created[name{n.schema, r.Newname}] = true
	case pg.ObjectType_OBJECT_COLUMN:
		if r.RelationType != pg.ObjectType_OBJECT_TABLE && r.RelationType != pg.ObjectType_OBJECT_VIEW && r.RelationType != pg.ObjectType_OBJECT_MATVIEW {
			return
		}
		s.lockFamily(r.Relation, accessExclusive)
		if s.columns[n] == nil {
			s.columns[n] = map[string]string{}
		}
		kind := s.columnType(n, r.Subname)
		s.columns[n][r.Newname] = kind
		if !s.existed(n) {
			return
		}
		if columns, found := s.before.columns[n]; found {
			if _, was := columns[r.Subname]; !was {
				return
			}
		}
		var rewrite *history.Rewrite
		if kind != "" {
			rewrite = &history.Rewrite{
				SQL:  "ALTER TABLE " + written(r.Relation) + " ADD COLUMN " + quote(r.Newname) + " " + kind + ";",
				Note: "then write both, fill the old rows in batches, move readers over, and drop the old column in a later release",
			}
		}
		s.find(RuleRenameColumn, history.LevelError, 0, rewrite,
			"The release that still runs fails on %s.%s as soon as this commits, and the new one fails before: there is no moment at which both work.",
			s.show(n), quote(r.Subname))
	case pg.ObjectType_OBJECT_TABCONSTRAINT, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
		s.lockFamily(r.Relation, accessExclusive)
	}
}

// renameTable serves the new name by a view, until nobody uses the old one. A file may also serve the old one by a view, which it makes in the same
// transaction.
func (s *reading) renameTable(n name, from *pg.RangeVar, to name) {
	s.created[n] = true // what has this name from here on
	if again, together := s.again(n); again.GetViewStmt() != nil && together {
		return
	}
	s.find(RuleRenameTable, history.LevelError, 0, &history.Rewrite{
		SQL:  "CREATE VIEW " + to.String() + " AS SELECT * FROM " + written(from) + ";",
		Note: "rows can be written through it; rename the table itself in a later release, when nobody uses the old name",
	}, "The release that still runs fails on %s as soon as this commits, and the new one fails before: there is no moment at which both work.", s.show(n))
}

func (s *reading) moveSchema(a *pg.AlterObjectSchemaStmt) {
	switch a.ObjectType {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW:
	default:
		return
	}
	n := s.resolve(a.Relation)
	s.lock(n, accessExclusive)
	if s.existed(n) {
		s.renameTable(n, a.Relation, name{a.Newschema, a.Relation.Relname})
	}
	s.created[name{a.Newschema, n.name}] = true
}

// shownAll names relations.
func (s *reading) shownAll(names []name) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = s.show(n)
	}
	return strings.Join(out, ", ")
}
