package explore

import (
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/sqltext"
	"github.com/interlock-pg/interlock/harness/wire"
)

var (
	// pings ask whether the server is there, or what it is like.
	pings = regexp.MustCompile(`(?i)^(select (\?(\+\?)?|version\(\)|current_schema\(\))( as "?\w+"?)?|show [\w ]+)?$`)
	// resets make a session as new, for who has it next.
	resets = regexp.MustCompile(`(?i)^(rollback|discard all|reset all|close all|unlisten \*|select pg_advisory_unlock_all\(\))$`)
)

// isHousekeeping reports whether a statement outside a transaction is one that drivers and pools make for themselves: a ping, a reset of the session, or
// a read of the system's catalog. None of them has to do with a client's rows.
func isHousekeeping(state wire.State) bool {
	if state.Step.InTransaction {
		return false
	}
	sql := strings.TrimRight(sqltext.Normal(state.Step.SQL), "; ")
	if pings.MatchString(sql) || readsCatalog(sql) {
		return true
	}
	for statement := range strings.SplitSeq(sql, ";") {
		if !resets.MatchString(strings.TrimSpace(statement)) {
			return false
		}
	}
	return true
}

var (
	tokens = regexp.MustCompile(`"(?:[^"]|"")*"|[\w$]+|[^\s]`)
	acts   = regexp.MustCompile(`(?i)\b(insert|update|delete|merge|into|call|pg_notify|pg_(try_)?advisory\w*|pg_sleep\w*|pg_(terminate|cancel)_backend)\b`)
	// harmless is what a query of the catalog may have before a parenthesis, besides functions of which the name begins with pg_. Any other function may be
	// the application's.
	harmless = regexp.MustCompile(`(?i)^(all|and|any|as|array|between|by|case|distinct|else|exists|filter|from|group|having|in|join|lateral|like|limit|not|on|operator|or|over|` +
		`select|some|then|union|using|values|when|where|char|numeric|varchar|varying|` +
		`_pg_\w+|array_(agg|length|position|remove|to_string|upper|lower)|bool_(and|or)|cast|coalesce|col_description|concat|concat_ws|count|current_(database|schemas?|setting|user)|` +
		`extract|format|format_type|generate_(series|subscripts)|greatest|has_\w+_privilege|json_(agg|build_object|object_agg)|jsonb_(agg|build_object|object_agg)|` +
		`least|left|length|lower|max|min|nullif|obj_description|oidvectortypes|position|quote_(ident|literal)|regexp_(match|matches|replace|split_to_array)|replace|right|row|` +
		`row_number|row_to_json|shobj_description|split_part|starts_with|string_agg|string_to_array|substr|substring|sum|to_json|to_reg\w+|trim|unnest|upper|version)$`)
	isName = regexp.MustCompile(`^["\pL_]`)
)

// readsCatalog reports whether a text without values is a query that names relations of the system and no others, and no function that may be somebody
// else's. What it does not understand is none.
func readsCatalog(sql string) bool {
	words := tokens.FindAllString(sql, -1)
	if len(words) == 0 || !strings.EqualFold(words[0], "select") || acts.MatchString(sql) {
		return false
	}
	found, listing := false, false // a list of relations is under way
	var outer []bool               // the same, of the parentheses around
	for i, word := range words {
		switch strings.ToLower(word) {
		case "(":
			called := words[i-1]
			if isName.MatchString(called) && !isSystem(called) && !harmless.MatchString(called) && !strings.EqualFold(words[i-2], "as") {
				return false
			}
			outer, listing = append(outer, listing), false
		case ")":
			if len(outer) == 0 {
				return false
			}
			listing, outer = outer[len(outer)-1], outer[:len(outer)-1]
		case "where", "group", "order", "having", "limit", "union":
			listing = false
		case ",", "from", "join":
			if listing = listing || word != ","; !listing {
				continue
			}
			of := relation(words[i+1:])
			if of == nobodys {
				return false
			}
			found = found || of == systems
		}
	}
	return found
}

// whose says whose a relation is.
type whose int

const (
	nobodys whose = iota // that is known
	anyones              // a set that is made of values
	systems
)

// relation returns whose the first relation is that words name; one in parentheses is the first within, or comes later.
func relation(words []string) whose {
	for len(words) > 0 && (words[0] == "(" || slices.Contains([]string{"lateral", "only"}, strings.ToLower(words[0]))) {
		words = words[1:]
	}
	if len(words) == 0 {
		return nobodys
	}
	name := strings.ToLower(strings.Trim(words[0], `"`))
	qualified := len(words) > 1 && words[1] == "."
	switch {
	case name == "pg_catalog" || name == "information_schema":
		if qualified {
			return systems
		}
	case name == "select" || name == "values" || !qualified && (name == "unnest" || name == "generate_series"):
		return anyones
	case isSystem(name) && !qualified:
		return systems
	}
	return nobodys
}

// isSystem reports whether a name is one that the system gives.
func isSystem(name string) bool {
	return strings.HasPrefix(strings.ToLower(strings.Trim(name, `"`)), "pg_")
}
