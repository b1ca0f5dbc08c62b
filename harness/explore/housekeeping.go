package explore

import (
	"regexp"
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
	acts   = regexp.MustCompile(`(?i)\b(insert|update|delete|merge|into|call|nextval|setval|pg_notify|pg_(try_)?advisory\w*)\b`)
)

// readsCatalog reports whether a text without values is a query that names relations of the system and no others. What it does not understand is none.
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
			if !isCatalog(words[i+1:]) {
				return false
			}
			found = true
		}
	}
	return found
}

// isCatalog reports whether words begin with the name of a relation or a function of the system, or with a parenthesis, in which there may be others.
func isCatalog(words []string) bool {
	for len(words) > 0 && (strings.EqualFold(words[0], "lateral") || strings.EqualFold(words[0], "only")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	name := strings.ToLower(strings.Trim(words[0], `"`))
	qualified := len(words) > 1 && words[1] == "."
	switch name {
	case "(":
		return true
	case "pg_catalog", "information_schema":
		return qualified
	case "unnest", "generate_series":
		return !qualified
	}
	return strings.HasPrefix(name, "pg_") && !qualified
}
