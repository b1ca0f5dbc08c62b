package ddl

import (
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/schema"
)

// name is that of a relation, a type or an index, as the catalog has it: without quotes.
type name struct{ schema, name string }

func (n name) String() string {
	if n.schema == "" || n.schema == "pg_temp" {
		return quote(n.name)
	}
	return quote(n.schema) + "." + quote(n.name)
}

var plain = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quote puts an identifier in quotes where it must be.
func quote(identifier string) string {
	if plain.MatchString(identifier) && !slices.Contains(reserved, identifier) {
		return identifier
	}
	return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
}

// reserved are the words that cannot be the name of a table or a column unquoted.
var reserved = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast
	char character check coalesce collate collation column concurrently constraint create cross current_catalog current_date current_role
	current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do else end except exists extract false
	fetch float for foreign freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect interval into
	is isnull join json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value
	lateral leading least left like limit localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric
	offset on only or order out outer overlaps overlay placing position precision primary real references returning right row select session_user
	setof similar smallint some substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user
	using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse
	xmlpi xmlroot xmlserialize xmltable`)

// cut takes a name as package schema has it apart.
func cut(qualified string) []string {
	var parts []string
	var part strings.Builder
	quoted := false
	for i := 0; i < len(qualified); i++ {
		switch c := qualified[i]; {
		case c == '"' && quoted && i+1 < len(qualified) && qualified[i+1] == '"':
			part.WriteByte('"')
			i++
		case c == '"':
			quoted = !quoted
		case c == '.' && !quoted:
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	return append(parts, part.String())
}

func named(qualified string) name {
	parts := cut(qualified)
	if len(parts) < 2 {
		return name{"", parts[0]}
	}
	return name{parts[0], parts[1]}
}

// catalog is a schema by names.
type catalog struct {
	known       bool
	relations   map[name]schema.Object // tables and views
	columns     map[name]map[string]schema.Object
	constraints map[name][]schema.Object // by table or domain
	indexes     map[name]schema.Object
	types       map[name]schema.Object
	functions   map[string]string // how they vary, by bare name; the worst where there are several
}

func index(s schema.Schema) catalog {
	c := catalog{
		known: len(s.Objects) > 0, relations: map[name]schema.Object{}, columns: map[name]map[string]schema.Object{},
		constraints: map[name][]schema.Object{}, indexes: map[name]schema.Object{}, types: map[name]schema.Object{}, functions: map[string]string{},
	}
	for _, o := range s.Objects {
		switch o.Kind {
		case schema.Table, schema.View, schema.MaterialisedView:
			c.relations[named(o.Name)] = o
		case schema.Column:
			table := named(o.Table)
			if c.columns[table] == nil {
				c.columns[table] = map[string]schema.Object{}
			}
			if parts := cut(o.Name); len(parts) == 3 {
				c.columns[table][parts[2]] = o
			}
		case schema.Constraint:
			c.constraints[named(o.Table)] = append(c.constraints[named(o.Table)], o)
		case schema.Index:
			c.indexes[named(o.Name)] = o
		case schema.Type:
			c.types[named(o.Name)] = o
		case schema.Function:
			bare, _, _ := strings.Cut(o.Name, "(")
			varies := volatility(o.Get("definition"))
			if n := named(bare).name; c.functions[n] != "volatile" {
				c.functions[n] = varies
			}
		}
	}
	return c
}

// volatility reads it from the definition of a function, as the catalog writes it: one word of the line before the body. Of functions in SQL it
// says only that they are immutable: the server may put their body in the place of the call, and then it is the body that counts.
func volatility(definition string) string {
	head, _, _ := strings.Cut(definition, "\nAS ")
	for _, word := range []string{"IMMUTABLE", "STABLE"} {
		if strings.Contains(head, " "+word) {
			return strings.ToLower(word)
		}
	}
	if strings.Contains(head, "LANGUAGE sql") {
		return ""
	}
	return "volatile"
}

// searched are the schemas in which a bare name is looked up.
func (r *reader) searched() []string {
	path := r.path
	if path == nil {
		path = []string{"public"}
	}
	return append([]string{"pg_temp"}, path...)
}

// resolve says which relation is meant. One that is in no schema of the path is taken to be the only one of its name elsewhere, as the role or
// the database may have a path of its own.
func (r *reader) resolve(rv *pg.RangeVar) name {
	return resolve(r, rv.GetSchemaname(), rv.GetRelname(), func(n name) bool { return r.created[n] || known(r.before.relations, n) }, r.before.relations)
}

// resolveIndex is resolve for an index.
func (r *reader) resolveIndex(parts []string) (name, schema.Object, bool) {
	n := resolveParts(r, parts, r.before.indexes)
	o, found := r.before.indexes[n]
	return n, o, found
}

func resolveParts(r *reader, parts []string, in map[name]schema.Object) name {
	switch len(parts) {
	case 0:
		return name{}
	case 1:
		return resolve(r, "", parts[0], func(n name) bool { return r.created[n] || known(in, n) }, in)
	}
	return name{parts[len(parts)-2], parts[len(parts)-1]}
}

func known(in map[name]schema.Object, n name) bool {
	_, found := in[n]
	return found
}

func resolve(r *reader, schemaName, bare string, is func(name) bool, in map[name]schema.Object) name {
	if schemaName != "" {
		return name{schemaName, bare}
	}
	for _, s := range r.searched() {
		if is(name{s, bare}) {
			return name{s, bare}
		}
	}
	if r.path == nil {
		if elsewhere := others(in, bare); len(elsewhere) == 1 {
			return elsewhere[0]
		}
	}
	return r.make(&pg.RangeVar{Relname: bare})
}

// others are the objects of a name, in any schema.
func others(in map[name]schema.Object, bare string) []name {
	var out []name
	for n := range in {
		if n.name == bare {
			out = append(out, n)
		}
	}
	return out
}

// make says what a relation is called that is created under this name.
func (r *reader) make(rv *pg.RangeVar) name {
	switch path := r.searched(); {
	case rv.Schemaname != "":
		return name{rv.Schemaname, rv.Relname}
	case rv.Relpersistence == "t":
		return name{"pg_temp", rv.Relname}
	case len(path) > 1:
		return name{path[1], rv.Relname}
	}
	return name{"public", rv.Relname}
}

// existed reports whether a relation was there before the file.
func (r *reader) existed(n name) bool {
	return !r.created[n] && n.name != "" && (!r.before.known || known(r.before.relations, n))
}

// show names a relation as the snapshot does.
func (r *reader) show(n name) string {
	if o, found := r.before.relations[n]; found {
		return o.Name
	}
	return n.String()
}

// written is a relation as SQL.
func written(rv *pg.RangeVar) string { return name{rv.GetSchemaname(), rv.GetRelname()}.String() }

// family is a table with all that inherit from it, partitions too.
func (r *reader) family(n name) []name {
	out := []name{n}
	for i := 0; i < len(out) && len(out) < 10_000; i++ {
		var children []name
		for child, o := range r.before.relations {
			for parent := range strings.SplitSeq(o.Get("parent"), ", ") {
				if parent != "" && named(parent) == out[i] && !slices.Contains(out, child) {
					children = append(children, child)
				}
			}
		}
		slices.SortFunc(children, func(a, b name) int { return strings.Compare(a.String(), b.String()) })
		out = append(out, children...)
	}
	return out
}
