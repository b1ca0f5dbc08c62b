package ddl

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
)

// columnType is the type of a column as SQL; empty: unknown.
func (r *reader) columnType(table name, column string) string {
	if t := r.columns[table][column]; t != "" {
		return t
	}
	return r.before.columns[table][column].Get("type")
}

// sqlType is a type taken apart.
type sqlType struct {
	name  string // the server's short one, as "int4"
	sizes []int32
	array bool
}

// typeOf takes a type apart; its name is empty if it is none.
func typeOf(sql string) sqlType {
	if sql == "" {
		return sqlType{}
	}
	node, err := parse("SELECT NULL::" + sql)
	if err != nil {
		return sqlType{}
	}
	if targets := node.GetSelectStmt().GetTargetList(); len(targets) == 1 {
		return typeOfName(targets[0].GetResTarget().GetVal().GetTypeCast().GetTypeName())
	}
	return sqlType{}
}

func typeOfName(t *pg.TypeName) sqlType {
	out := sqlType{name: last(t.GetNames()), array: len(t.GetArrayBounds()) > 0}
	if serial, found := map[string]string{"integer": "int4", "bigint": "int8", "smallint": "int2"}[serials[out.name]]; found {
		out.name = serial
	}
	for _, m := range t.GetTypmods() {
		if c := m.GetAConst(); c != nil {
			out.sizes = append(out.sizes, c.GetIval().GetIval())
		}
	}
	return out
}

func (s *reading) changeType(p part) {
	d := p.Def.GetColumnDef()
	to := typeText(d.GetTypeName())
	from := s.columnType(p.table, p.Name)
	if s.columns[p.table] == nil {
		s.columns[p.table] = map[string]string{}
	}
	defer func() { s.columns[p.table][p.Name] = to }()
	if !s.existed(p.table) {
		return
	}
	using := d.GetRawDefault()
	if c := using.GetTypeCast(); c != nil && typeText(c.TypeName) == to {
		using = c.Arg
	}
	computed := using != nil && (using.GetColumnRef() == nil || last(using.GetColumnRef().Fields) != p.Name)
	if !computed && from != "" && s.keepsFile(typeOf(from), typeOfName(d.GetTypeName())) {
		return
	}
	for _, one := range s.family(p.table) {
		s.rewrites(one)
	}
	was := ""
	if from != "" {
		was = " from " + from
	}
	unless := ""
	if f, t := typeOf(from).name, typeOfName(d.GetTypeName()).name; f != t && strings.HasPrefix(f, "timestamp") && strings.HasPrefix(t, "timestamp") {
		unless = " It would not if the session's TimeZone were UTC, which the file can set, if the times are meant in UTC."
	}
	value := quote(p.Name)
	if d.GetRawDefault() != nil {
		value = expression(d.RawDefault)
	} else {
		value += "::" + to
	}
	fresh := quote(p.Name + "_new")
	s.find(RuleTypeChange, history.LevelWarning, 0, &history.Rewrite{
		SQL:  s.others(p) + p.alter("ADD COLUMN %s %s", fresh, to),
		Note: "then write both (a trigger can: new." + fresh + " := new." + value + "), fill the old rows in batches, move readers over, and drop the old column",
	}, "The type of %s changes%s to %s: the whole of %s is copied under ACCESS EXCLUSIVE, and its indexes are built again.%s", p.Name, was, to, s.show(p.table), unless)
}

// keepsFile reports whether values of a type are those of another as they are.
func (s *reading) keepsFile(from, to sqlType) bool {
	if from.name == "" || from.array != to.array {
		return false
	}
	if from.array && from.name != to.name {
		return false
	}
	if o, found := s.domain(to); found {
		if o.Get("not null") != "" || len(s.before.constraints[named(o.Name)]) > 0 {
			return from.name == to.name
		}
		to = typeOf(o.Get("base"))
	}
	if o, found := s.domain(from); found {
		from = typeOf(o.Get("base"))
	}
	same := from.name == to.name
	switch {
	case same && slices.Equal(from.sizes, to.sizes):
		return true
	case (from.name == "varchar" || from.name == "text") && (to.name == "varchar" || to.name == "text"):
		return len(to.sizes) == 0 || from.name == "varchar" && len(from.sizes) == 1 && from.sizes[0] <= to.sizes[0]
	case from.name == "citext" || to.name == "citext":
		text := func(t sqlType) bool { return t.name == "text" || t.name == "varchar" }
		return text(from) || text(to) && len(to.sizes) == 0
	case from.name == "cidr" && to.name == "inet", from.name == "xml" && (to.name == "text" || to.name == "varchar") && len(to.sizes) == 0:
		return true
	case slices.Contains([]string{"oid", "int4"}, from.name) && slices.Contains([]string{"oid", "int4"}, to.name):
		return true
	case same && from.name == "numeric":
		return len(to.sizes) == 0 || len(from.sizes) > 0 && scale(from) == scale(to) && from.sizes[0] <= to.sizes[0]
	case same && from.name == "varbit":
		return len(to.sizes) == 0 || len(from.sizes) == 1 && from.sizes[0] <= to.sizes[0]
	case same && slices.Contains([]string{"timestamp", "timestamptz", "time", "timetz"}, from.name):
		return finest(to) >= finest(from)
	case slices.Contains([]string{"timestamp", "timestamptz"}, from.name) && slices.Contains([]string{"timestamp", "timestamptz"}, to.name):
		return s.utc && finest(to) >= finest(from)
	}
	return false
}

func (s *reading) domain(t sqlType) (schema.Object, bool) {
	o, found := s.before.types[resolveParts(s.reader, []string{t.name}, s.before.types)]
	return o, found && o.Get("kind") == "domain"
}

func scale(t sqlType) int32 {
	if len(t.sizes) > 1 {
		return t.sizes[1]
	}
	return 0
}

// finest is how many digits of a second are kept.
func finest(t sqlType) int32 {
	if len(t.sizes) == 1 {
		return t.sizes[0]
	}
	return 6
}
