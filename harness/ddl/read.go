package ddl

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
)

// read predicts what the statement does, and notes what the ones after it should know.
func (s *reading) read() {
	s.usesLabel()
	switch n := s.node.Node.(type) {
	case *pg.Node_TransactionStmt:
		s.transaction(n.TransactionStmt)
	case *pg.Node_VariableSetStmt:
		s.set(n.VariableSetStmt)
	case *pg.Node_SelectStmt:
		s.setConfig(n.SelectStmt)
	case *pg.Node_CreateStmt:
		s.createTable(n.CreateStmt)
	case *pg.Node_CreateTableAsStmt:
		s.made(n.CreateTableAsStmt.GetInto().GetRel())
	case *pg.Node_ViewStmt:
		s.lock(s.make(n.ViewStmt.View), accessExclusive)
		s.made(n.ViewStmt.View)
	case *pg.Node_CreateFunctionStmt:
		s.createFunction(n.CreateFunctionStmt)
	case *pg.Node_IndexStmt:
		s.createIndex(n.IndexStmt)
	case *pg.Node_ReindexStmt:
		s.reindex(n.ReindexStmt)
	case *pg.Node_RefreshMatViewStmt:
		s.refresh(n.RefreshMatViewStmt)
	case *pg.Node_AlterTableStmt:
		s.alterTable(n.AlterTableStmt)
	case *pg.Node_DropStmt:
		s.drop(n.DropStmt)
	case *pg.Node_RenameStmt:
		s.rename(n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		s.moveSchema(n.AlterObjectSchemaStmt)
	case *pg.Node_AlterEnumStmt:
		if n.AlterEnumStmt.OldVal == "" && s.inTransaction() {
			s.labels[n.AlterEnumStmt.NewVal] = true
		}
	case *pg.Node_AlterDomainStmt:
		s.alterDomain(n.AlterDomainStmt)
	case *pg.Node_TruncateStmt:
		s.truncate(n.TruncateStmt)
	case *pg.Node_DeleteStmt:
		s.deleteRows(n.DeleteStmt)
	case *pg.Node_UpdateStmt:
		s.updateRows(n.UpdateStmt)
	case *pg.Node_LockStmt:
		s.lockTables(n.LockStmt)
	case *pg.Node_VacuumStmt:
		s.vacuum(n.VacuumStmt)
	case *pg.Node_ClusterStmt:
		s.cluster(n.ClusterStmt)
	case *pg.Node_CreateTrigStmt:
		for _, one := range s.family(s.resolve(n.CreateTrigStmt.Relation)) {
			if s.before.relations[one].Get("parent") == "" || s.before.relations[one].Get("bound") != "" || one == s.resolve(n.CreateTrigStmt.Relation) {
				s.lock(one, shareRowExclusive)
			}
		}
	case *pg.Node_RuleStmt:
		s.lock(s.resolve(n.RuleStmt.Relation), accessExclusive)
	case *pg.Node_CreatePolicyStmt:
		s.lock(s.resolve(n.CreatePolicyStmt.Table), accessExclusive)
	case *pg.Node_AlterPolicyStmt:
		s.lock(s.resolve(n.AlterPolicyStmt.Table), accessExclusive)
	case *pg.Node_CreateStatsStmt:
		for _, rv := range n.CreateStatsStmt.Relations {
			s.lock(s.resolve(rv.GetRangeVar()), shareUpdateExclusive)
		}
	case *pg.Node_CreatePublicationStmt:
		for _, o := range n.CreatePublicationStmt.Pubobjects {
			if rv := o.GetPublicationObjSpec().GetPubtable().GetRelation(); rv != nil {
				s.lockFamily(rv, shareUpdateExclusive)
			}
		}
	case *pg.Node_CommentStmt:
		s.comment(n.CommentStmt)
	}
}

// made notes a relation that the file creates.
func (s *reading) made(rv *pg.RangeVar) {
	if rv != nil {
		s.created[s.make(rv)] = true
	}
}

// rewrites predicts that a table has another file afterwards.
func (s *reading) rewrites(n name) {
	shown := s.show(n)
	if s.existed(n) && !slices.Contains(s.out.Rewrites, shown) {
		s.out.Rewrites = append(s.out.Rewrites, shown)
	}
}

func (s *reading) createTable(c *pg.CreateStmt) {
	n := s.make(c.Relation)
	if c.IfNotExists && s.before.known && s.existed(n) {
		return // it is there, and left as it is
	}
	for _, p := range c.InhRelations {
		m := shareUpdateExclusive
		if c.Partbound != nil {
			m = accessExclusive
			s.lockDefault(s.resolve(p.GetRangeVar()))
		}
		s.lock(s.resolve(p.GetRangeVar()), m)
	}
	s.created[n] = true
	s.columns[n] = map[string]string{}
	for _, e := range c.TableElts {
		if d := e.GetColumnDef(); d != nil {
			s.columns[n][d.Colname] = typeText(d.TypeName)
			for _, k := range d.Constraints {
				s.lockReferred(k.GetConstraint())
			}
		}
		s.lockReferred(e.GetConstraint())
	}
}

// lockReferred locks the table that a new foreign key is to.
func (s *reading) lockReferred(k *pg.Constraint) {
	if k.GetContype() == pg.ConstrType_CONSTR_FOREIGN && k.GetPktable() != nil {
		s.lock(s.resolve(k.Pktable), shareRowExclusive)
	}
}

func (s *reading) createFunction(f *pg.CreateFunctionStmt) {
	varies, inlined := "volatile", false
	for _, o := range f.Options {
		if d := o.GetDefElem(); d.GetDefname() == "volatility" {
			varies = d.GetArg().GetString_().GetSval()
		} else if d.GetDefname() == "language" {
			inlined = strings.EqualFold(d.GetArg().GetString_().GetSval(), "sql")
		}
	}
	if inlined && varies != "immutable" {
		return // as with volatility
	}
	s.functions[last(f.Funcname)] = varies
}

func (s *reading) transaction(t *pg.TransactionStmt) {
	switch t.Kind {
	case pg.TransactionStmtKind_TRANS_STMT_BEGIN, pg.TransactionStmtKind_TRANS_STMT_START:
		s.begin()
		s.begun = true
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		s.begin()
		s.begun = t.Chain
	default:
		return
	}
	if s.facts.Transaction && !s.facts.Message {
		s.find(RuleBeginInside, history.LevelWarning, 0, nil,
			"The tool runs this file in a transaction of its own, which this statement %s. Leave it out, or tell the tool to run the file without one.",
			map[bool]string{true: "repeats (a warning of the server, nothing else)", false: "ends: what follows is not taken back with the rest"}[s.begun])
	}
}

func (s *reading) set(v *pg.VariableSetStmt) {
	var values []string
	for _, a := range v.Args {
		switch c := a.GetAConst(); {
		case c.GetSval() != nil:
			values = append(values, c.GetSval().Sval)
		case c.GetIval() != nil:
			values = append(values, map[bool]string{true: "0", false: "1"}[c.GetIval().Ival == 0])
		}
	}
	if v.Kind != pg.VariableSetKind_VAR_SET_VALUE {
		values = nil
	}
	s.setting(v.Name, values, v.IsLocal)
}

// setConfig understands SELECT set_config('search_path', ”, false), with which dumps begin.
func (s *reading) setConfig(q *pg.SelectStmt) {
	for _, t := range q.TargetList {
		f := t.GetResTarget().GetVal().GetFuncCall()
		if f == nil || last(f.Funcname) != "set_config" || len(f.Args) != 3 {
			continue
		}
		var values []string
		for v := range strings.SplitSeq(f.Args[1].GetAConst().GetSval().GetSval(), ",") {
			values = append(values, strings.Trim(strings.TrimSpace(v), `"`))
		}
		s.setting(f.Args[0].GetAConst().GetSval().GetSval(), values, f.Args[2].GetAConst().GetBoolval().GetBoolval())
	}
}

func (s *reading) setting(setting string, values []string, local bool) {
	switch strings.ToLower(setting) {
	case "search_path":
		s.path = nil
		if len(values) > 0 {
			s.path = []string{}
		}
		for _, v := range values {
			if v != "" && v != "$user" && v != "pg_catalog" {
				s.path = append(s.path, v)
			}
		}
	case "timezone":
		s.utc = len(values) == 1 && slices.Contains([]string{"utc", "etc/utc", "gmt", "0"}, strings.ToLower(values[0]))
	case "lock_timeout":
		on := len(values) == 1 && strings.Trim(values[0], "0ms ") != ""
		switch {
		case !local:
			s.timeout = on
		case s.inTransaction(): // outside one, SET LOCAL has no effect
			s.timeoutLocal = on
		}
	}
}

// usesLabel finds the use of an enum's value in the transaction that adds it.
func (s *reading) usesLabel() {
	if len(s.labels) == 0 || !s.inTransaction() {
		return
	}
	switch s.node.Node.(type) {
	case *pg.Node_CreateFunctionStmt, *pg.Node_DoStmt, *pg.Node_CommentStmt, *pg.Node_AlterEnumStmt, *pg.Node_VariableSetStmt:
		return
	}
	walk(s.node, func(n *pg.Node) bool {
		c := n.GetAConst()
		if c.GetSval() == nil || !s.labels[c.GetSval().Sval] {
			return true
		}
		f := s.find(RuleEnumValue, history.LevelError, c.Location, &history.Rewrite{SQL: s.text() + ";", Note: "in a later file: after the transaction that adds the value"},
			"The value '%s' is added to its enum earlier in the same transaction, and cannot be used before that commits.", c.GetSval().Sval)
		f.SQLState = "55P04"
		return false
	})
}

func (s *reading) comment(c *pg.CommentStmt) {
	switch c.Objtype {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW:
		s.lock(s.resolve(rangeVar(words(c.Object.GetList().GetItems()))), shareUpdateExclusive)
	case pg.ObjectType_OBJECT_COLUMN:
		if parts := words(c.Object.GetList().GetItems()); len(parts) > 1 {
			s.lock(s.resolve(rangeVar(parts[:len(parts)-1])), shareUpdateExclusive)
		}
	}
}

// rangeVar is a relation by its qualified name.
func rangeVar(parts []string) *pg.RangeVar {
	switch len(parts) {
	case 0:
		return &pg.RangeVar{}
	case 1:
		return &pg.RangeVar{Relname: parts[0], Inh: true}
	}
	return &pg.RangeVar{Schemaname: parts[len(parts)-2], Relname: parts[len(parts)-1], Inh: true}
}

// alterDomain locks the tables that have a column of the domain.
func (s *reading) alterDomain(d *pg.AlterDomainStmt) {
	switch {
	case d.Subtype == "C" && !d.Def.GetConstraint().GetSkipValidation(), d.Subtype == "V", d.Subtype == "O":
	default:
		return
	}
	domain, found := s.before.types[resolveParts(s.reader, words(d.TypeName), s.before.types)]
	if !found {
		return
	}
	for table, columns := range s.before.columns {
		for _, c := range columns {
			if c.Get("type") == domain.Name {
				s.lock(table, share)
			}
		}
	}
	slices.SortFunc(s.order, func(a, b name) int { return strings.Compare(a.String(), b.String()) })
}

// tables are the ordinary and partitioned tables before the file in a schema; in all, if it is empty.
func (s *reading) tables(in string) []name {
	var out []name
	for n, o := range s.before.relations {
		if o.Kind != schema.View && (in == "" || n.schema == in) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b name) int { return strings.Compare(a.String(), b.String()) })
	return out
}
