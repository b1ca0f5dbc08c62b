package target_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/target"
)

// tablesOf returns a target file that has its tables from somewhere.
func tablesOf(t *testing.T, dir, database string) *target.File {
	t.Helper()
	path := filepath.Join(dir, "target.yaml")
	require.NoError(t, os.WriteFile(path, []byte("database:\n  "+database+"\nclients: [{command: [job], copies: 2}]\n"), 0o600))
	f, err := target.Load(path)
	require.NoError(t, err)
	return f
}

// What a file names and is not there is wrong where the file names it.
func TestTablesThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "none"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "some"), 0o700))
	for _, name := range []string{"1_a.up.sql", "2_b.up.sql"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "some", name), []byte("select 1"), 0o600))
	}
	for database, want := range map[string]string{
		"schema: nowhere.sql": `
target.yaml:2:11: nowhere.sql: no such file or directory
  schema: nowhere.sql
          ^
try: a path relative to this file`,
		"schema: none": `
target.yaml:2:11: none: is a directory
  schema: none
          ^
try: a path relative to this file`,
		"migrations: nowhere": `
target.yaml:2:15: migrations in nowhere: there is no such directory
  migrations: nowhere
              ^
try: a path relative to this file`,
		"migrations: none": `
target.yaml:2:15: migrations in none: no migrations in it
  migrations: none
              ^
try: another directory; known are`,
		"{migrations: some, layout: flyway}": `
target.yaml:2:16: migrations in some: no flyway migrations in it, which look like V1__name.sql
  {migrations: some, layout: flyway}
               ^
try: no layout, to have it recognised`,
		"{migrations: some, at: 7}": `
target.yaml:2:26: there is no migration 7 in some
  {migrations: some, at: 7}
                         ^
try: 1 or 2`,
	} {
		f := tablesOf(t, dir, database)
		var err error
		if f.Database.Schema != "" {
			_, err = f.SchemaSQL()
		} else {
			_, err = f.Migrations()
		}
		require.Error(t, err, database)
		says := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
		require.True(t, strings.HasPrefix(says, strings.TrimPrefix(want, "\n")), says)
	}

	f := tablesOf(t, dir, "{migrations: some, at: 2}")
	set, err := f.Migrations()
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, set.Versions())
	f = tablesOf(t, dir, "schema: some/1_a.up.sql")
	sql, err := f.SchemaSQL()
	require.NoError(t, err)
	require.Equal(t, "select 1", sql)
}
