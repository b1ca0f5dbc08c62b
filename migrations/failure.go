package migrations

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rivo/uniseg"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Error is a statement of a migration that was refused.
type Error struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // in the file, from 1; zero: the place is not known, or there is none, as when the commit fails
	Column int    `json:"column"` // in characters, from 1

	Statement string `json:"statement"` // all of it
	Source    string `json:"source"`    // the line that Line names; without Line, the line of Statement that Column is in

	SQLState string `json:"sqlstate,omitempty"` // empty: the server was not asked
	Message  string `json:"message"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Where    string `json:"where,omitempty"` // the server's own context, as the line of a function

	// Kept counts the statements of this file that were committed before the one that failed, and stay.
	Kept int `json:"kept"`

	Try string `json:"try"` // the next thing to do
	Err error  `json:"-"`   // what the driver returned
}

func (e *Error) Unwrap() error { return e.Err }

// Error returns several lines: place, SQLSTATE and message as compilers print them, the line of SQL with a caret below the place, what the
// server had to say further, what is left behind, and what to try.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ERROR")
	if e.SQLState != "" {
		b.WriteString(" " + e.SQLState)
	}
	b.WriteString(": " + e.Message)
	if e.Source != "" {
		source, column := crop(e.Source, e.Column)
		fmt.Fprintf(&b, "\n  %s\n  %s^", source, pad(source, column-1))
	}
	kept := ""
	switch {
	case e.Kept == 1:
		kept = "1 statement before it in this file is committed, and stays"
	case e.Kept > 1:
		kept = fmt.Sprintf("%d statements before it in this file are committed, and stay", e.Kept)
	}
	for _, more := range [][2]string{{"DETAIL", e.Detail}, {"HINT", e.Hint}, {"WHERE", e.Where}, {"LEFT", kept}, {"TRY", e.Try}} {
		if more[1] != "" {
			b.WriteString("\n" + more[0] + ": " + strings.ReplaceAll(more[1], "\n", "\n  "))
		}
	}
	return b.String()
}

// advice is what to try after a SQLSTATE.
var advice = map[string]string{
	"0A000": "another form of the statement: this PostgreSQL does not support it, or the extension is not installed beside it",
	"23502": "fill in the rows that have NULL there, then apply again",
	"23503": "find the rows that refer to nothing; or ADD CONSTRAINT … NOT VALID now, and VALIDATE CONSTRAINT when they are gone",
	"23505": "find the rows that are there twice, with GROUP BY … HAVING count(*) > 1 (DETAIL names one key only), and resolve them before applying again",
	"23514": "find the rows that break the check; or ADD CONSTRAINT … NOT VALID now, and VALIDATE CONSTRAINT when they are gone",
	"23P01": "find the rows that conflict (DETAIL names one pair only), and resolve them before applying again",
	"25001": "put the statement alone into a file that runs without a transaction (goose: -- +goose NO TRANSACTION)",
	"3F000": "create the schema before it",
	"40P01": "apply again: another session took the same locks in another order",
	"42501": "a role that owns the object, or that may create it",
	"42601": "correct the SQL at the caret, or just before it",
	"42701": "look for what added the column before: an earlier migration, or a database that is not fresh",
	"42703": "compare the name with the columns of the table",
	"42704": "CREATE TYPE or CREATE EXTENSION before it (an exclusion constraint on plain columns needs btree_gist)",
	"42710": "look for what created the object before: an earlier migration, or a database that is not fresh",
	"42883": "cast the arguments to the types that the function takes",
	"42P01": "write the name with its schema; if it is, look for the migration that should have created it before",
	"42P06": "look for what created the schema before: an earlier migration, or a database that is not fresh",
	"42P07": "look for what created the table or index before: an earlier migration, or a database that is not fresh",
	"42P17": "an expression that depends on no setting: of a timestamptz, (column AT TIME ZONE 'UTC')::date instead of DATE(column)",
	"55P03": "apply when no long transaction holds the table, or with a longer lock_timeout",
	"57014": "apply at a quieter time, or with a longer statement_timeout",
}

// fail makes an Error of what the driver returned for a message. text is the file, or empty if the message cannot be found in it; s is the
// statement of the message that failed, as far as that is known. Offsets are in text. Trouble that is not a refusal is wrapped as it is.
func fail(m Migration, text string, s, message sqltext.Statement, kept int, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Errorf("applying %s: %w", m.Path, err)
	}
	e := &Error{
		File: m.Path, Statement: s.Text, Kept: kept, Err: err,
		SQLState: pg.Code, Message: pg.Message, Detail: pg.Detail, Hint: pg.Hint, Where: pg.Where,
	}
	e.Try = cmp.Or(advice[pg.Code], "correct the statement, and apply to a fresh database")
	if leavesInvalid(s, pg.Code) {
		e.Try += "; first DROP the INVALID index that CONCURRENTLY leaves: it enforces nothing, and it keeps its name"
	}
	offset := s.Offset
	if pg.Position > 0 {
		offset = message.Offset + runes(message.Text, int(pg.Position)-1)
	}
	switch {
	case message.Text == "":
		return e
	case text == "":
		_, e.Column, e.Source = place(message.Text, offset)
	default:
		e.Line, e.Column, e.Source = place(text, offset)
	}
	return e
}

// refusal makes an Error of a statement that is not sent.
func refusal(m Migration, s sqltext.Statement, message, try string) error {
	e := &Error{File: m.Path, Statement: s.Text, Message: message, Try: try}
	e.Line, e.Column, e.Source = place(m.SQL, s.Offset)
	return e
}

// leavesInvalid: the statement builds an index concurrently, and failed when its entry in the catalog was committed already: on the rows, on
// other sessions or for want of resources, which are the classes 22 to 57; what is wrong with the statement itself is found before.
func leavesInvalid(s sqltext.Statement, code string) bool {
	return slices.Contains([]string{"22", "23", "40", "53", "55", "57"}, code[:min(2, len(code))]) &&
		slices.ContainsFunc(sqltext.Split(s.Text), func(s sqltext.Statement) bool { return s.Begins("create ?unique index concurrently") })
}

// place returns the line and the column of a byte of text, both from 1, and that line's text.
func place(text string, offset int) (line, column int, source string) {
	begin := strings.LastIndexByte(text[:offset], '\n') + 1
	source, _, _ = strings.Cut(text[begin:], "\n")
	source = strings.TrimSuffix(source, "\r")
	return 1 + strings.Count(text[:begin], "\n"), 1 + utf8.RuneCountInString(text[begin:offset]), source
}

// runes returns how many bytes the first n characters of s take. Postgres counts positions in characters.
func runes(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// widest is how much of a line is shown, in characters: some tools write a whole migration in one.
const widest = 120

// crop cuts a long line down to what is around a column, and returns where that column is then.
func crop(line string, column int) (string, int) {
	all := []rune(line)
	if len(all) <= widest {
		return line, column
	}
	from := min(max(0, column-widest/2), len(all)-widest)
	before, after := "…", "…"
	if from == 0 {
		before = ""
	}
	if from+widest == len(all) {
		after = ""
	}
	return before + string(all[from:from+widest]) + after, column - from + utf8.RuneCountInString(before)
}

// pad returns white space as wide as the first n characters of line are on a terminal; a tab stays a tab.
func pad(line string, n int) string {
	before := line[:runes(line, n)]
	var b strings.Builder
	for i, part := range strings.Split(before, "\t") {
		if i > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(strings.Repeat(" ", uniseg.StringWidth(part)))
	}
	return b.String()
}
