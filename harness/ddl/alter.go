package ddl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
)

// notNull is a CHECK that a column is not null.
type notNull struct {
	column, constraint string
	valid              bool
}

func (s *reading) alterTable(a *pg.AlterTableStmt) {
	if a.Objtype != pg.ObjectType_OBJECT_TABLE && a.Objtype != pg.ObjectType_OBJECT_VIEW && a.Objtype != pg.ObjectType_OBJECT_MATVIEW {
		return
	}
	table := s.resolve(a.Relation)
	for i, n := range a.Cmds {
		c := n.GetAlterTableCmd()
		if c == nil {
			continue
		}
		s.lockAltered(a, table, c)
		p := part{AlterTableCmd: c, table: table, relation: a.Relation, number: i}
		switch c.Subtype {
		case pg.AlterTableType_AT_AddColumn:
			s.addColumn(p)
		case pg.AlterTableType_AT_DropColumn:
			s.dropColumn(p)
		case pg.AlterTableType_AT_AlterColumnType:
			s.changeType(p)
		case pg.AlterTableType_AT_SetNotNull:
			s.setNotNull(p)
		case pg.AlterTableType_AT_AddConstraint:
			s.addConstraint(p)
		case pg.AlterTableType_AT_ValidateConstraint:
			s.validate(p)
		case pg.AlterTableType_AT_SetLogged:
			if !s.before.known || s.before.relations[table].Get("unlogged") != "" {
				s.rewrites(table)
			}
		case pg.AlterTableType_AT_SetUnLogged:
			if s.before.relations[table].Get("unlogged") == "" {
				s.rewrites(table)
			}
		case pg.AlterTableType_AT_SetAccessMethod, pg.AlterTableType_AT_SetTableSpace, pg.AlterTableType_AT_SetExpression:
			s.rewrites(table)
		case pg.AlterTableType_AT_DetachPartition:
			if c.Def.GetPartitionCmd().GetConcurrent() {
				s.concurrently("DETACH PARTITION CONCURRENTLY", "")
			}
		}
	}
}

// part is one of the commands of an ALTER TABLE.
type part struct {
	*pg.AlterTableCmd
	table    name
	relation *pg.RangeVar
	number   int
}

// lockAltered predicts the locks of one command, on the table and on others.
func (s *reading) lockAltered(a *pg.AlterTableStmt, table name, c *pg.AlterTableCmd) {
	m := alterMode(c)
	switch c.Subtype {
	case pg.AlterTableType_AT_AttachPartition, pg.AlterTableType_AT_DetachPartition, pg.AlterTableType_AT_DetachPartitionFinalize:
		s.lock(table, m)
		of := s.resolve(c.Def.GetPartitionCmd().GetName())
		if c.Subtype == pg.AlterTableType_AT_DetachPartition {
			s.lock(of, m)
		} else {
			s.lock(of, accessExclusive)
		}
		if c.Def.GetPartitionCmd().GetConcurrent() {
			return
		}
		s.lockDefault(table)
		return
	case pg.AlterTableType_AT_AddInherit:
		s.lock(table, m)
		s.lock(s.resolve(c.Def.GetRangeVar()), shareUpdateExclusive)
		return
	case pg.AlterTableType_AT_AddColumn:
		for _, k := range c.Def.GetColumnDef().GetConstraints() {
			s.lockReferred(k.GetConstraint())
		}
	case pg.AlterTableType_AT_AddConstraint:
		s.lockReferred(c.Def.GetConstraint())
	case pg.AlterTableType_AT_DropColumn, pg.AlterTableType_AT_AlterColumnType:
		s.lockKeys(table, []string{c.Name}, "")
	case pg.AlterTableType_AT_DropConstraint:
		s.lockKeys(table, nil, c.Name)
	}
	switch c.Subtype {
	case pg.AlterTableType_AT_ChangeOwner, pg.AlterTableType_AT_SetRelOptions, pg.AlterTableType_AT_ResetRelOptions, pg.AlterTableType_AT_SetLogged,
		pg.AlterTableType_AT_SetUnLogged, pg.AlterTableType_AT_SetTableSpace, pg.AlterTableType_AT_SetAccessMethod, pg.AlterTableType_AT_ClusterOn,
		pg.AlterTableType_AT_ReplicaIdentity, pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_DisableRowSecurity:
		s.lock(table, m) // these do not go down to children
	default:
		s.lockFamily(a.Relation, m)
	}
}

// others is the statement without this command; empty if it is the only one.
func (s *reading) others(p part) string {
	rest := s.copyOf()
	a := rest.GetAlterTableStmt()
	if a.Cmds = slices.Delete(a.Cmds, p.number, p.number+1); len(a.Cmds) == 0 {
		return ""
	}
	return deparse(rest) + "\n"
}

// alter writes an ALTER TABLE of the same table.
func (p part) alter(format string, a ...any) string {
	return "ALTER TABLE " + written(p.relation) + " " + fmt.Sprintf(format, a...) + ";"
}

// newColumn is a column that ALTER TABLE adds, with what its definition says of it; nil: nothing.
type newColumn struct {
	*pg.ColumnDef
	defaults, generated, check, unique, reference *pg.Constraint

	identity bool
	refuses  bool   // NULL
	kind     string // its type
	serial   string // the type that it has as a serial; empty: it is none
}

func newColumnOf(d *pg.ColumnDef) newColumn {
	c := newColumn{ColumnDef: d, kind: typeText(d.TypeName), serial: serials[last(d.TypeName.GetNames())]}
	for _, n := range d.Constraints {
		k := n.GetConstraint()
		switch k.GetContype() {
		case pg.ConstrType_CONSTR_DEFAULT:
			c.defaults = k
		case pg.ConstrType_CONSTR_GENERATED:
			c.generated = k
		case pg.ConstrType_CONSTR_IDENTITY:
			c.identity = true
		case pg.ConstrType_CONSTR_NOTNULL:
			c.refuses = true
		case pg.ConstrType_CONSTR_CHECK:
			c.check = k
		case pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_PRIMARY:
			c.unique = k
			c.refuses = c.refuses || k.Contype == pg.ConstrType_CONSTR_PRIMARY
		case pg.ConstrType_CONSTR_FOREIGN:
			c.reference = k
		}
	}
	if c.defaults.GetRawExpr().GetAConst().GetIsnull() {
		c.defaults = nil
	}
	return c
}

func (s *reading) addColumn(p part) {
	d := p.Def.GetColumnDef()
	if d == nil {
		return
	}
	c := newColumnOf(d)
	if s.columns[p.table] == nil {
		s.columns[p.table] = map[string]string{}
	}
	defer func() { s.columns[p.table][d.Colname] = c.kind }()
	if c.generated != nil {
		s.immutableGenerated(p, c.generated)
	}
	if !s.existed(p.table) {
		return
	}
	bare := s.others(p) + p.alter("ADD COLUMN %s %s", quote(d.Colname), c.kind)
	copies := s.fillColumn(p, c, bare)
	if o, found := s.before.types[resolveParts(s.reader, words(d.TypeName.GetNames()), s.before.types)]; found && o.Get("kind") == "domain" {
		copies = copies || o.Get("not null") != "" || len(s.before.constraints[named(o.Name)]) > 0
	}
	if copies {
		for _, one := range s.family(p.table) {
			s.rewrites(one)
		}
	}
	s.constrainColumn(p, c, bare+"\n")
}

// fillColumn is about what the rows that are there have in a new column. It reports whether the table is copied for that. The SQL adds it as it may be.
func (s *reading) fillColumn(p part, c newColumn, bare string) (copies bool) {
	const fill = "then fill it in batches, and make it NOT NULL by way of a CHECK … NOT VALID"
	table, column := s.show(p.table), quote(c.Colname)
	switch {
	case c.serial != "" || c.identity:
		sequence := name{p.relation.Schemaname, p.table.name + "_" + c.Colname + "_seq"}.String()
		sql := s.others(p) + p.alter("ADD COLUMN %s %s", column, cmp.Or(c.serial, c.kind)) + "\nCREATE SEQUENCE " + sequence + " OWNED BY " + written(p.relation) + "." + column + ";\n" +
			p.alter("ALTER COLUMN %s SET DEFAULT nextval('%s')", column, strings.ReplaceAll(sequence, "'", "''"))
		s.find(RuleVolatileDefault, history.LevelWarning, c.Location, &history.Rewrite{SQL: sql, Note: fill},
			"Each row of %s gets a number of its own: the whole table is copied under ACCESS EXCLUSIVE.", table)
		return true
	case c.generated != nil:
		s.find(RuleVolatileDefault, history.LevelWarning, c.Location, nil,
			"A stored generated column is computed for each row: the whole of %s is copied under ACCESS EXCLUSIVE. "+
				"Safe is a nullable column that a trigger fills, or a view, or an index on the expression.", table)
		return true
	case c.defaults != nil:
		f := s.volatile(c.defaults.RawExpr)
		if f == "" {
			return false
		}
		sql := bare + "\n" + p.alter("ALTER COLUMN %s SET DEFAULT %s", column, expression(c.defaults.RawExpr))
		s.find(RuleVolatileDefault, history.LevelWarning, c.Location, &history.Rewrite{SQL: sql, Note: fill},
			"%s() differs from row to row: the whole of %s is copied under ACCESS EXCLUSIVE. A constant, or now(), would not copy it.", f, table)
		return true
	case c.refuses:
		f := s.find(RuleAddNotNull, history.LevelError, c.Location, &history.Rewrite{SQL: bare, Note: fill},
			"It fails as soon as %s has a row: those that are there would have NULL. Give it a constant default, or let it be NULL at first.", table)
		f.SQLState = "23502"
	}
	return false
}

// constrainColumn is about the constraints of a new column, which are checked for the rows that are there. The SQL is what the safe forms begin with.
func (s *reading) constrainColumn(p part, c newColumn, first string) {
	itself := []*pg.Node{pg.MakeStrNode(c.Colname)}
	if c.check != nil {
		s.constraintScans(p, c.check, first, c.check.Location)
	}
	if r := c.reference; r != nil && (c.defaults != nil || c.serial != "" || c.identity || c.generated != nil) {
		key := &pg.Constraint{
			Contype: r.Contype, Conname: r.Conname, FkAttrs: itself, PkAttrs: r.PkAttrs, Pktable: r.Pktable, FkMatchtype: r.FkMatchtype,
			FkUpdAction: r.FkUpdAction, FkDelAction: r.FkDelAction, InitiallyValid: true,
		}
		s.constraintScans(p, key, first, r.Location)
	}
	if c.unique != nil {
		s.uniqueScans(p, &pg.Constraint{Contype: c.unique.Contype, Conname: c.unique.Conname, Keys: itself}, first, c.unique.Location)
	}
}

// serials are the types that come with a sequence.
var serials = map[string]string{
	"serial": "integer", "serial4": "integer", "bigserial": "bigint", "serial8": "bigint", "smallserial": "smallint", "serial2": "smallint",
}

func (s *reading) setNotNull(p part) {
	if !s.existed(p.table) || s.proven(p.table, p.Name) {
		return
	}
	if c, found := s.before.columns[p.table][p.Name]; found && c.Get("not null") == "true" {
		return
	}
	k := quote(p.table.name + "_" + p.Name + "_not_null")
	column := quote(p.Name)
	sql := s.others(p) + strings.Join([]string{
		p.alter("ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", k, column), p.alter("VALIDATE CONSTRAINT %s", k),
		p.alter("ALTER COLUMN %s SET NOT NULL", column), p.alter("DROP CONSTRAINT %s", k),
	}, "\n")
	s.find(RuleNotNullScans, history.LevelWarning, 0, &history.Rewrite{SQL: sql, Note: "each in a transaction of its own, outside the tool's"},
		"It reads the whole of %s under ACCESS EXCLUSIVE, in search of a NULL in %s. A valid CHECK (%s IS NOT NULL) would spare that.",
		s.show(p.table), p.Name, column)
}

// proven reports whether a valid CHECK says that a column is not null.
func (s *reading) proven(table name, column string) bool {
	for _, n := range s.notNull[table] {
		if n.column == column && n.valid {
			return true
		}
	}
	for _, o := range s.before.constraints[table] {
		if o.Get("kind") != "check" || o.Get("not valid") != "" || !strings.Contains(o.Get("definition"), "IS NOT NULL") {
			continue
		}
		if c := definition(o); c != nil && slices.Contains(requires(c.RawExpr), column) {
			return true
		}
	}
	return false
}

// requires are the columns that a CHECK says are not null.
func requires(e *pg.Node) []string {
	if b := e.GetBoolExpr(); b != nil && b.Boolop == pg.BoolExprType_AND_EXPR {
		var out []string
		for _, a := range b.Args {
			out = append(out, requires(a)...)
		}
		return out
	}
	if t := e.GetNullTest(); t != nil && t.Nulltesttype == pg.NullTestType_IS_NOT_NULL {
		if c := t.Arg.GetColumnRef(); c != nil {
			return []string{last(c.Fields)}
		}
	}
	return nil
}

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
