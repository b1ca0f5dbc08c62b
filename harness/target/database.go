package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/migrations"
)

// Database is where the tables come from: exactly one of Migrations, Schema and Template.
type Database struct {
	Migrations string            `yaml:"migrations"` // a directory; once read, relative to the working directory, like all paths here
	Layout     migrations.Layout `yaml:"layout"`     // of Migrations. Empty: it is recognised
	At         int64             `yaml:"at"`         // of Migrations, the last version that is applied. 0: all
	Schema     string            `yaml:"schema"`     // a file of SQL
	Template   string            `yaml:"template"`   // the name of a database of the server, which is copied with its rows, and not written to
}

// check says what is wrong with where the tables come from.
func (d Database) check(r *strict.Reader) {
	switch sources := given(r, "database", "migrations", "schema", "template"); {
	case len(sources) == 0:
		r.WrongAt("database", "nothing says where the tables come from",
			"database: {migrations: DIRECTORY}, database: {schema: FILE} or database: {template: NAME}")
	case len(sources) > 1:
		r.WrongAt("database."+sources[1], "the tables come from migrations, from a schema or from a template", "one of them")
	case sources[0] != "migrations" && (d.Layout != "" || r.Has("database.at")):
		r.WrongAt("database", "layout and at are about migrations", "leaving them out")
	case d.At < 1 && r.Has("database.at"):
		r.WrongAt("database.at", "a version is at least 1", "leaving it out, for all migrations")
	case d.Template == "" && sources[0] == "template":
		r.WrongAt("database.template", "a database has a name", "that of a database of the server that --postgres DSN names")
	}
	if d.Layout != "" && !slices.Contains(migrations.Layouts(), d.Layout) {
		var known []string
		for _, layout := range migrations.Layouts() {
			known = append(known, string(layout))
		}
		r.WrongAt("database.layout", fmt.Sprintf("there is no layout %q", d.Layout), strict.Nearest(string(d.Layout), known))
	}
}

// given returns which of some keys there are in a mapping.
func given(r *strict.Reader, path string, keys ...string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return !r.Has(strict.Join(path, key)) })
}

// Migrations reads those that the file names. The error is [Errors] where they are not there.
func (f *File) Migrations() (migrations.Set, error) {
	r := f.reader.Later()
	set, err := migrations.Open(f.Database.Migrations, f.Database.Layout)
	var wrong *migrations.OpenError
	switch {
	case errors.As(err, &wrong):
		what := fmt.Sprintf("migrations in %s: %s", wrong.Dir, wrong.Why)
		if wrong.Err != nil {
			what += ": " + wrong.Err.Error()
		}
		try := strings.NewReplacer("no --layout", "no layout", "--layout ", "layout: ").Replace(wrong.Try) // which is about our flags
		if _, err := os.Stat(f.Database.Migrations); errors.Is(err, fs.ErrNotExist) {
			try = "a path relative to this file"
		}
		r.WrongAt("database.migrations", what, try)
	case err != nil:
		return set, err
	case f.Database.At != 0 && !slices.Contains(set.Versions(), f.Database.At):
		r.WrongAt("database.at", fmt.Sprintf("there is no migration %d in %s", f.Database.At, f.Database.Migrations), latest(set))
	}
	return set, r.Err()
}

// latest names the last few versions of migrations.
func latest(set migrations.Set) string {
	const few = 5
	var words []string
	for _, version := range set.Versions()[max(0, len(set.Migrations)-few):] {
		words = append(words, fmt.Sprint(version))
	}
	return strict.AnyOf(words)
}

// SchemaSQL returns what the file of the tables holds. The error is [Errors] where it cannot be read.
func (f *File) SchemaSQL() (string, error) {
	text, err := os.ReadFile(f.Database.Schema)
	if err == nil {
		return string(text), nil
	}
	why := err
	var wrong *fs.PathError
	if errors.As(err, &wrong) {
		why = wrong.Err
	}
	r := f.reader.Later()
	r.WrongAt("database.schema", fmt.Sprintf("%s: %v", f.Database.Schema, why), "a path relative to this file")
	return "", r.Err()
}
