package ddl

import (
	"cmp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
)

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
