package ddl

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-pg/interlock/harness/history"
)

// volatiles are the functions, built in and of common extensions, that differ from row to row.
var volatiles = strings.Fields(`random random_normal gen_random_uuid uuidv4 uuidv7 clock_timestamp timeofday nextval setval currval lastval setseed pg_sleep
	gen_random_bytes gen_salt uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 uuid_generate_v7 gen_ulid generate_ulid nanoid lo_create pg_notify
	dblink dblink_exec query_to_xml pg_advisory_lock pg_advisory_xact_lock`)

// stables are those that depend on settings, or on the transaction, whatever they are called with.
var stables = strings.Fields(`now transaction_timestamp statement_timestamp to_char to_timestamp_text to_date to_number concat concat_ws format
	to_json to_jsonb row_to_json json_build_object json_build_array jsonb_build_object jsonb_build_array array_to_json array_to_string current_setting
	current_database current_schema current_schemas pg_typeof unaccent quote_nullable txid_current pg_backend_pid inet_client_addr version
	string_to_table has_table_privilege`)

// volatile returns a function of an expression that differs from row to row; empty if there is none.
func (s *reading) volatile(e *pg.Node) (function string) {
	walk(e, func(n *pg.Node) bool {
		if f := n.GetFuncCall(); f != nil && function == "" && s.varies(last(f.Funcname)) == "volatile" {
			function = last(f.Funcname)
		}
		return true
	})
	return function
}

// varies is what is known of a function: immutable, stable, volatile, or nothing.
func (s *reading) varies(function string) string {
	if v := s.functions[function]; v != "" {
		return v
	}
	if v := s.before.functions[function]; v != "" {
		return v
	}
	switch {
	case slices.Contains(volatiles, function):
		return "volatile"
	case slices.Contains(stables, function):
		return "stable"
	}
	return ""
}

// expressions is the reading of expressions over the columns of one table.
type expressions struct {
	*reading
	table name
	wrong []wrong
}

// wrong is a part of an expression that is not immutable.
type wrong struct {
	at    int32
	says  string
	fixed bool // in place
}

// immutable reads an expression, and repairs in place what can be repaired: times with a zone are taken in UTC.
func (e *expressions) immutable(n *pg.Node) {
	if n == nil || n.Node == nil {
		return
	}
	switch x := n.Node.(type) {
	case *pg.Node_TypeCast:
		e.cast(n, x.TypeCast)
	case *pg.Node_FuncCall:
		e.call(n, x.FuncCall)
	case *pg.Node_SqlvalueFunction:
		e.wrong = append(e.wrong, wrong{at: x.SqlvalueFunction.Location, says: expression(n) + " changes with time or session"})
	case *pg.Node_AExpr:
		e.operator(x.AExpr)
	default:
		walk(n, func(child *pg.Node) bool {
			if child == n {
				return true
			}
			e.immutable(child)
			return false
		})
	}
}

// kind is the type of an expression, as "timestamptz"; empty: unknown.
func (e *expressions) kind(n *pg.Node) string {
	switch x := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		if t := typeOf(e.columnType(e.table, last(x.ColumnRef.Fields))); !t.array {
			return t.name
		}
		return "array"
	case *pg.Node_TypeCast:
		return typeOfName(x.TypeCast.TypeName).name
	case *pg.Node_FuncCall:
		args := x.FuncCall.Args
		switch last(x.FuncCall.Funcname) {
		case "timezone":
			if len(args) == 2 {
				return map[string]string{"timestamptz": "timestamp", "timestamp": "timestamptz"}[e.kind(args[1])]
			}
		case "date_trunc":
			if len(args) > 1 {
				if k := e.kind(args[1]); k != "date" {
					return k
				}
				return "timestamptz"
			}
		case "lower", "upper", "trim", "btrim", "ltrim", "rtrim", "to_char", "concat", "format":
			return "text"
		case "date":
			return "date"
		}
	case *pg.Node_AExpr:
		left := e.kind(x.AExpr.Lexpr)
		if op := last(x.AExpr.Name); (op == "+" || op == "-") && (left == "timestamptz" || left == "timestamp") && e.kind(x.AExpr.Rexpr) == "interval" {
			return left
		}
	}
	return ""
}

// atUTC wraps an expression.
func atUTC(e *pg.Node) *pg.Node {
	if e.GetColumnRef() == nil && e.GetFuncCall() == nil {
		e = proto.Clone(e).(*pg.Node)
	}
	f := pg.MakeFuncCallNode([]*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode("timezone")}, []*pg.Node{pg.MakeAConstStrNode("UTC", 0), e}, 0)
	f.GetFuncCall().Funcformat = pg.CoercionForm_COERCE_SQL_SYNTAX
	return f
}

func (e *expressions) cast(n *pg.Node, c *pg.TypeCast) {
	if c.Arg.GetAConst() != nil {
		return // read when the statement is, not when the index is used
	}
	e.immutable(c.Arg)
	from, to := e.kind(c.Arg), typeOfName(c.TypeName).name
	text := to == "text" || to == "varchar" || to == "bpchar"
	dates := []string{"date", "time", "timetz", "timestamp", "timestamptz"}
	says := from + " to " + to
	switch {
	case from == "timestamptz" && slices.Contains([]string{"date", "time", "timestamp"}, to):
		e.wrong = append(e.wrong, wrong{c.Location, expression(n) + " depends on TimeZone", true})
		c.Arg = atUTC(c.Arg)
	case (from == "date" || from == "timestamp") && to == "timestamptz", from == "timestamptz" && to == "timetz":
		e.wrong = append(e.wrong, wrong{c.Location, "the cast from " + says + " depends on TimeZone", false})
	case slices.Contains([]string{"date", "timestamp", "timestamptz", "interval"}, from) && text:
		e.wrong = append(e.wrong, wrong{c.Location, "the cast from " + says + " depends on DateStyle or IntervalStyle", false})
	case (from == "text" || from == "varchar") && slices.Contains(dates, to):
		e.wrong = append(e.wrong, wrong{c.Location, "the cast from " + says + " depends on DateStyle", false})
	case text && (from == "array" || e.isEnum(c.Arg)):
		e.wrong = append(e.wrong, wrong{c.Location, "the cast to " + to + " is only STABLE", false})
	}
}

// isEnum reports whether an expression is a column of an enum's type.
func (e *expressions) isEnum(n *pg.Node) bool {
	c := n.GetColumnRef()
	if c == nil {
		return false
	}
	kind := e.columnType(e.table, last(c.Fields))
	if kind == "" {
		return false
	}
	o, found := e.before.types[resolveParts(e.reader, cut(kind), e.before.types)]
	return found && o.Get("kind") == "enum"
}

func (e *expressions) call(n *pg.Node, f *pg.FuncCall) {
	before := len(e.wrong)
	for _, a := range f.Args {
		e.immutable(a)
	}
	function := last(f.Funcname)
	zoned := func(i int) bool { return len(f.Args) > i && e.kind(f.Args[i]) == "timestamptz" }
	says, fix := "", false
	switch varies := e.varies(function); {
	case function == "date" && zoned(0):
		e.wrong = append(e.wrong, wrong{f.Location, "DATE(timestamptz) depends on TimeZone", true})
		n.Node = &pg.Node_TypeCast{TypeCast: &pg.TypeCast{
			Arg: atUTC(f.Args[0]), TypeName: &pg.TypeName{Names: []*pg.Node{pg.MakeStrNode("date")}, Typemod: -1},
		}}
		return
	case function == "date_trunc" && len(f.Args) == 2 && (zoned(1) || e.kind(f.Args[1]) == "date"):
		says, fix = "date_trunc of a timestamptz depends on TimeZone", zoned(1)
	case function == "date_trunc" && len(f.Args) == 3 && zoned(1) && e.facts.Version > 0 && e.facts.Version < 16:
		says = "date_trunc with a zone is marked STABLE before PostgreSQL 16"
	case (function == "to_tsvector" || function == "to_tsquery" || function == "plainto_tsquery") && len(f.Args) == 1:
		says = function + " without a configuration depends on default_text_search_config"
	case (function == "date_part" || function == "extract") && zoned(1):
		says, fix = function+" from a timestamptz depends on TimeZone", true
	case function == "age" && len(f.Args) == 1:
		says = "age(x) counts from the current date"
	case function == "to_timestamp" && len(f.Args) == 2:
		says = "to_timestamp(text, text) depends on settings"
	case strings.HasPrefix(function, "uuid_generate_v5") || strings.HasPrefix(function, "uuid_generate_v3"):
	case varies == "stable" || varies == "volatile":
		says = function + "() is marked " + strings.ToUpper(varies)
	}
	if says != "" {
		e.wrong = append(e.wrong, wrong{f.Location, says, fix})
	}
	if fix {
		f.Args[1] = atUTC(f.Args[1])
	}
	if bare := strings.TrimSuffix(function, "range"); bare == "tstz" && len(e.wrong) > before { // what was a time with a zone is one without
		f.Funcname = []*pg.Node{pg.MakeStrNode("tsrange")}
		for i, a := range f.Args {
			if i < 2 && e.kind(a) == "timestamptz" {
				f.Args[i] = atUTC(a)
			}
		}
	}
}

func (e *expressions) operator(x *pg.A_Expr) {
	e.immutable(x.Lexpr)
	e.immutable(x.Rexpr)
	op := last(x.Name)
	if (op == "+" || op == "-") && e.kind(x.Lexpr) == "timestamptz" && e.kind(x.Rexpr) == "interval" {
		e.wrong = append(e.wrong, wrong{x.Location, "timestamptz " + op + " interval depends on TimeZone", true})
		x.Lexpr = atUTC(x.Lexpr)
	}
}

// notImmutable adds the finding for a statement, of which fixed is a copy that was repaired in place.
func (e *expressions) notImmutable(what string, fixed *pg.Node) {
	if len(e.wrong) == 0 {
		return
	}
	says := make([]string, len(e.wrong))
	can := fixed != nil
	for i, w := range e.wrong {
		says[i] = w.says
		can = can && w.fixed
	}
	var rewrite *history.Rewrite
	if can {
		if sql := deparse(fixed); sql != "" {
			rewrite = &history.Rewrite{SQL: sql, Note: "with the zone that the times are meant in; queries must use the same expression"}
		}
	}
	f := e.find(RuleNotImmutable, history.LevelError, e.wrong[0].at, rewrite,
		"It fails on every database: %s must be IMMUTABLE, and %s.", what, strings.Join(says, "; "))
	f.SQLState = "42P17"
}

// immutableIndex looks at the expressions of an index, and returns the statement with those that can be repaired.
func (s *reading) immutableIndex(table name) *pg.Node {
	fixed := s.copyOf()
	e := &expressions{reading: s, table: table}
	f := fixed.GetIndexStmt()
	for _, p := range f.IndexParams {
		e.immutable(p.GetIndexElem().GetExpr())
	}
	inExpressions := len(e.wrong)
	e.immutable(f.WhereClause)
	what := "an index expression"
	if inExpressions == 0 {
		what = "an index predicate"
	}
	e.notImmutable(what, fixed)
	return fixed
}

func (s *reading) immutableExclusion(p part) {
	fixed := s.copyOf()
	c := fixed.GetAlterTableStmt().GetCmds()[p.number].GetAlterTableCmd().GetDef().GetConstraint()
	e := &expressions{reading: s, table: p.table}
	for _, x := range c.Exclusions {
		for _, item := range x.GetList().GetItems() {
			e.immutable(item.GetIndexElem().GetExpr())
		}
	}
	e.immutable(c.WhereClause)
	e.notImmutable("an index expression", fixed)
}

func (s *reading) immutableGenerated(p part, k *pg.Constraint) {
	e := &expressions{reading: s, table: p.table}
	e.immutable(proto.Clone(k.RawExpr).(*pg.Node))
	e.notImmutable("a generation expression", nil)
}
