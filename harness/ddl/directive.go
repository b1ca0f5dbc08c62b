package ddl

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Directive is a comment that speaks to interlock:
//
//	-- interlock: allow RULE REASON
//	-- interlock: allow-file RULE REASON
//	-- interlock: uses INDEX for: SELECT …
//
// One that stands on a line of a statement is about that statement, any other about the next one below it; allow-file is about the whole file.
type Directive struct {
	Line int // of the comment
	// First and Last are the lines of the statement that it is about; 0: the whole file.
	First, Last int

	Allow, Reason  string // a rule that is silenced, and why
	UsesIndex, For string // an index that is to be used, and the query that uses it
	Problem        string // why it is none of these; then it says nothing else
}

const forms = "write -- interlock: allow RULE REASON, -- interlock: allow-file RULE REASON, or -- interlock: uses INDEX for: SELECT …"

// directives finds them in a file.
func directives(file string) []Directive {
	if !strings.Contains(file, "interlock:") {
		return nil
	}
	type span struct{ first, last int }
	var statements []span
	var out []Directive
	at := 0
	scan := func(start, end int) {
		for _, c := range comments(file[start:end]) {
			rest, found := strings.CutPrefix(strings.TrimSpace(strings.TrimLeft(c.text, "-")), "interlock:")
			if found {
				d := directive(strings.TrimSpace(rest))
				d.Line, _ = place(file, start+c.at)
				out = append(out, d)
			}
		}
	}
	for _, s := range sqltext.Split(file) {
		scan(at, s.Offset)
		at = s.Offset + len(s.Text)
		if s.Kind == sqltext.SQL {
			scan(s.Offset, at)
		}
		statements = append(statements, span{s.Line, s.Line + strings.Count(s.Text, "\n")})
	}
	scan(at, len(file))
	for i, d := range out {
		if d.First < 0 { // allow-file
			out[i].First = 0
			continue
		}
		n := slices.IndexFunc(statements, func(s span) bool { return s.last >= d.Line })
		switch {
		case n >= 0:
			out[i].First, out[i].Last = statements[n].first, statements[n].last
		case d.Problem == "":
			out[i] = Directive{Line: d.Line, Problem: "There is no statement below this comment: move it above the one that it is about."}
		}
	}
	return out
}

// comment is a line comment.
type comment struct {
	at   int
	text string
}

func comments(sql string) (out []comment) {
	if !strings.Contains(sql, "interlock:") {
		return nil
	}
	defer func() {
		if recover() != nil {
			gaveUp.Store(true)
			out = nil
		}
	}()
	tokens, err := pgquery.Scan(sql)
	if err != nil {
		return nil
	}
	for _, t := range tokens.Tokens {
		if t.Token == pg.Token_SQL_COMMENT && t.Start >= 0 && t.Start <= t.End && int(t.End) <= len(sql) {
			out = append(out, comment{int(t.Start), sql[t.Start:t.End]})
		}
	}
	return out
}

// directive reads what follows "interlock:". First is -1 for the whole file.
func directive(text string) Directive {
	verb, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch verb {
	case "allow", "allow-file":
		d := Directive{}
		d.Allow, d.Reason, _ = strings.Cut(rest, " ")
		d.Reason = strings.TrimSpace(d.Reason)
		if d.Allow == "" {
			return Directive{Problem: "It does not say what is allowed: write -- interlock: " + verb + " RULE REASON."}
		}
		if d.Reason == "" {
			return Directive{Problem: "It gives no reason: write -- interlock: " + verb + " " + d.Allow + " REASON."}
		}
		if verb == "allow-file" {
			d.First = -1
		}
		return d
	case "uses":
		before, query, found := strings.Cut(rest, " for:")
		d := Directive{UsesIndex: strings.TrimSpace(before), For: strings.TrimSuffix(strings.TrimSpace(query), ";")}
		if !found || d.UsesIndex == "" || d.For == "" {
			return Directive{Problem: "It does not name an index and a query: write -- interlock: uses INDEX for: SELECT …"}
		}
		return d
	}
	return Directive{Problem: "It says nothing that interlock knows: " + forms + "."}
}

// Silence returns the findings with Allowed set in those that the directives silence. A finding that is about no line is silenced by allow-file.
func Silence(findings []history.Finding, directives []Directive) []history.Finding {
	out := slices.Clone(findings)
	for i, f := range out {
		for _, d := range directives {
			if d.Allow == f.Rule && f.Allowed == "" && (d.First == 0 || d.First <= f.Line && f.Line <= d.Last) {
				out[i].Allowed = d.Reason
			}
		}
	}
	return out
}
