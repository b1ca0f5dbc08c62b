package migrations

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Set is a series of migrations. It is data: reading it again, or changing the files, does not change it.
type Set struct {
	Layout Layout `json:"layout"`

	// Dir is where the files are, as the caller of [Open] named it; "embedded" for [Embedded].
	Dir string `json:"dir"`

	// Migrations are in the order in which they are applied; versions increase strictly.
	Migrations []Migration `json:"migrations"`
}

// Migration is one file of SQL.
type Migration struct {
	// Version is the number that the file name carries. Where the names of a set carry none, or none that is a whole number (as in 1.2),
	// it is the place in the order, from 1.
	Version int64 `json:"version"`

	// Ref is the version as the tool writes it, as "00002" or "1.2"; "R" for a repeatable migration of Flyway; empty: none.
	Ref string `json:"ref,omitempty"`

	Name     string `json:"name"`           // without version and ending, as "partial_unique_indexes"
	Path     string `json:"path"`           // of the file, Set.Dir included
	Undo     string `json:"undo,omitempty"` // path of the file that reverts it; empty: none, or the same file (goose)
	Checksum string `json:"checksum"`       // SHA-256 of the file's bytes, in hex
	SQL      string `json:"-"`              // what the file holds
	UndoSQL  string `json:"-"`              // what the file that reverts it holds
}

// Label is the name in words, for people, as "partial unique indexes".
func (m Migration) Label() string {
	label := strings.Join(strings.FieldsFunc(m.Name, func(r rune) bool { return r == '_' || r == '-' || r == ' ' }), " ")
	return cmp.Or(label, m.Ref, path.Base(m.Path))
}

// Scripts returns what the migrations up to a version execute, without what goes down again.
func (s Set) Scripts(version int64) []string {
	var scripts []string
	for _, m := range s.UpTo(version) {
		from, to := s.section(m)
		scripts = append(scripts, strings.TrimSpace(m.SQL[from:to])+"\n")
	}
	return scripts
}

// section returns where in the file is what it applies: between the annotations of goose, or all of it.
func (s Set) section(m Migration) (from, to int) {
	to = len(m.SQL)
	if s.Layout != Goose {
		return 0, to
	}
	if at := gooseUp.FindStringIndex(m.SQL); at != nil {
		from = at[1]
	}
	if at := gooseDown.FindStringIndex(m.SQL[from:]); at != nil {
		to = from + at[0]
	}
	return from, to
}

// Statements returns what a migration executes, with places in its file, and whether its tool has all of it in one transaction. Statements that
// begin or end a transaction themselves are among them.
func (s Set) Statements(m Migration) (statements []sqltext.Statement, transaction bool) {
	from, to := s.section(m)
	line := strings.Count(m.SQL[:from], "\n")
	for _, one := range sqltext.Split(m.SQL[from:to]) {
		one.Offset += from
		one.Line += line
		statements = append(statements, one)
	}
	switch {
	case s.Layout == Goose:
		return statements, !gooseBare.MatchString(m.SQL)
	case manners[s.Layout].whole:
		return statements, len(statements) > 1 // one statement alone is a transaction only if it wants to be
	}
	p, err := manners[s.Layout].plan(m)
	return statements, err == nil && p.transaction
}

// Insert returns the set with SQL put into one of its migrations after so many of its statements, where it is executed as they are.
func (s Set) Insert(version int64, after int, sql string) Set {
	s.Migrations = slices.Clone(s.Migrations)
	for i := range s.Migrations {
		m := &s.Migrations[i]
		if m.Version != version {
			continue
		}
		at, _ := s.section(*m)
		if statements, _ := s.Statements(*m); after > 0 {
			last := statements[after-1]
			at = last.Offset + len(last.Text)
			if end := gooseBlock.FindStringIndex(m.SQL[at:]); s.Layout == Goose && end != nil {
				at += end[1]
			}
		}
		before, semicolon := strings.TrimRight(m.SQL[:at], " \t\r\n"), ""
		if after > 0 && !strings.HasSuffix(before, ";") && !gooseEnd.MatchString(before) {
			semicolon = ";"
		}
		m.SQL = before + semicolon + "\n" + sql + "\n" + m.SQL[at:]
		m.Checksum = checksum(m.SQL)
	}
	return s
}

var (
	gooseBare  = regexp.MustCompile(`(?mi)^--+[ \t]*\+goose[ \t]+NO[ \t]+TRANSACTION[ \t\r]*$`)
	gooseEnd   = regexp.MustCompile(`(?i)--+[ \t]*\+goose[ \t]+StatementEnd[ \t\r]*$`)
	gooseBlock = regexp.MustCompile(`(?i)^\s*--+[ \t]*\+goose[ \t]+StatementEnd[ \t\r]*`) // the end of a block whose last statement is before
)

// At returns the migration with this version.
func (s Set) At(version int64) (Migration, bool) {
	i := slices.IndexFunc(s.Migrations, func(m Migration) bool { return m.Version == version })
	if i < 0 {
		return Migration{}, false
	}
	return s.Migrations[i], true
}

// Versions returns the versions in order.
func (s Set) Versions() []int64 {
	versions := make([]int64, len(s.Migrations))
	for i, m := range s.Migrations {
		versions[i] = m.Version
	}
	return versions
}

// UpTo returns the migrations with a version of at most limit; all of them if limit is zero or negative.
func (s Set) UpTo(limit int64) []Migration {
	if limit <= 0 {
		return s.Migrations
	}
	end := slices.IndexFunc(s.Migrations, func(m Migration) bool { return m.Version > limit })
	if end < 0 {
		end = len(s.Migrations)
	}
	return s.Migrations[:end]
}

//go:embed sql/*.sql
var embedded embed.FS

// Embedded returns Interlock's own migrations: 1 is the schema without protection, 2 adds the partial unique index and the indexes for
// monitoring, 3 the exclusion constraint on the window of 30 minutes.
func Embedded() Set {
	set := Set{Layout: Goose, Dir: "embedded"}
	files, err := fs.Glob(embedded, "sql/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var entries []entry
	for _, file := range files {
		sql, err := embedded.ReadFile(file)
		if err != nil {
			panic(err) // it is in the program
		}
		e, _ := layouts[Goose].parse(path.Base(file), string(sql))
		e.path = file
		entries = append(entries, e)
	}
	if set.Migrations, err = arrange(Goose, entries); err != nil {
		panic(err) // a test opens them
	}
	return set
}

func checksum(sql string) string {
	sum := sha256.Sum256([]byte(sql))
	return hex.EncodeToString(sum[:])
}
