package migrations_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/migrations"
)

// The same four files, more or less, in each layout: with a function whose body has semicolons, with CREATE INDEX CONCURRENTLY, and with
// 10 after 2.
func TestApplyGood(t *testing.T) {
	devices := []string{"function devices_touch()", "index devices_pkey", "table devices"}
	indexed := []string{"function devices_touch()", "index devices_pkey", "index devices_serial", "table devices"}
	visits := []string{"function devices_touch()", "index devices_pkey", "index devices_serial", "table devices", "table visits"}
	views := append(visits[:len(visits):len(visits)], "view busy", "view planned")
	type stop struct {
		version int64
		objects []string
	}
	for layout, stops := range map[migrations.Layout][]stop{
		migrations.Goose:         {{1, devices}, {2, indexed}, {9, indexed}, {10, visits}, {0, visits}},
		migrations.GolangMigrate: {{1, devices}, {2, indexed}, {10, visits}, {0, visits}},
		migrations.Flyway:        {{1, devices}, {2, indexed}, {3, visits}, {0, views}},
		migrations.Prisma:        {{20251101000000, devices}, {20251102000000, indexed}, {0, visits}},
		migrations.Plain:         {{1, devices}, {2, indexed}, {0, visits}},
	} {
		set, err := migrations.Open(filepath.Join("testdata", "good", string(layout)), "")
		require.NoError(t, err)
		require.Equal(t, layout, set.Layout)
		for _, stop := range stops {
			t.Run(string(layout), func(t *testing.T) {
				b := setup(t)
				done, err := set.Apply(b.ctx, b.config, stop.version)
				require.NoError(t, err)
				require.Len(t, done, len(set.UpTo(stop.version)))
				for i, a := range done {
					require.Equal(t, set.Migrations[i], a.Migration)
					require.Positive(t, a.Duration)
				}
				require.Equal(t, stop.objects, b.objects())
			})
		}
	}
}

// Each directory of testdata/failing fails, with the text in its file "want", which ends with what is left in the database.
func TestApplyFailing(t *testing.T) {
	dirs, err := filepath.Glob("testdata/failing/*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			b := setup(t)
			set, err := migrations.Open(dir, "")
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(filepath.Base(dir), string(set.Layout)), "recognised as %s", set.Layout)
			done, err := set.Apply(b.ctx, b.config, 0)
			var failure *migrations.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, set.Migrations[len(done)].Path, failure.File)

			left := strings.Join(b.objects(), "\n  ")
			got := err.Error() + "\n\nIn the database then:\n  " + cmp.Or(left, "nothing") + "\n"
			file := filepath.Join(dir, "want")
			if *rewrite {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// The control of plain-command and plain-copy: what is refused is refused before anything is sent; without it, the rest goes through.
func TestApplyPlainWithoutCommand(t *testing.T) {
	b := setup(t)
	set, err := migrations.Open("testdata/failing/plain-command", "")
	require.NoError(t, err)
	set.Migrations[0].SQL = strings.ReplaceAll(set.Migrations[0].SQL, `\connect other`, "")
	_, err = set.Apply(b.ctx, b.config, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"table a", "table b"}, b.objects())
}

func TestApplyGooseTwice(t *testing.T) {
	b := setup(t)
	set := migrations.Embedded()
	_, err := set.Apply(b.ctx, b.config, 2)
	require.NoError(t, err)
	done, err := set.Apply(b.ctx, b.config, 0)
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.EqualValues(t, 3, done[0].Migration.Version)
	require.Equal(t, []string{"0", "1", "2", "3"}, b.column(`select version_id::text from goose_db_version order by id`))
}

// What the caller's own tracer sees is not taken away by ours, and the caller's config stays as it was.
func TestApplyKeepsTracer(t *testing.T) {
	b := setup(t)
	seen := &counter{}
	b.config.Tracer = seen
	_, err := migrations.Embedded().Apply(b.ctx, b.config, 0)
	require.NoError(t, err)
	require.Same(t, seen, b.config.Tracer)
	require.Positive(t, seen.n)
}

type counter struct{ n int }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { c.n++ }

func TestApplyTrouble(t *testing.T) {
	b := setup(t)
	nowhere := b.config.Copy()
	nowhere.Database = "interlock_no_such_database"
	stopped, stop := context.WithCancel(b.ctx)
	stop()
	for _, layout := range migrations.Layouts() {
		set, err := migrations.Open(filepath.Join("testdata", "good", string(layout)), "")
		require.NoError(t, err)
		var failure *migrations.Error
		_, err = set.Apply(b.ctx, nowhere, 0)
		require.ErrorContains(t, err, "interlock_no_such_database", "%s", layout)
		require.NotErrorAs(t, err, &failure, "no statement was refused")
		_, err = set.Apply(stopped, b.config, 0)
		require.ErrorIs(t, err, context.Canceled, "%s", layout)
	}
	require.Empty(t, b.objects())

	_, err := migrations.Set{}.Apply(b.ctx, b.config, 0)
	require.ErrorContains(t, err, "unknown layout")
	broken := migrations.Embedded()
	broken.Migrations[1].SQL = "-- +goose Up\nSELECT 1"
	_, err = broken.Apply(b.ctx, b.config, 0)
	require.ErrorContains(t, err, "missing semicolon")
	require.Empty(t, b.objects(), "goose reads all files before it begins")
}

// Each tool's way back: the schema is empty again. What has none says so.
func TestDownOtherLayouts(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"golang-migrate": {"1_a.up.sql": `CREATE TABLE a (); CREATE TABLE b ();`, "1_a.down.sql": `DROP TABLE b; DROP TABLE a;`},
		"flyway":         {"V1__a.sql": `CREATE TABLE a ();`, "U1__a.sql": `DROP TABLE a;`, "V2__b.sql": `CREATE TABLE b ();`, "U2__back.sql": `DROP TABLE b;`},
		"prisma": {
			"1_a/migration.sql": `CREATE TABLE a ();`, "1_a/rollback.sql": `DROP TABLE a;`,
			"b/migration.sql": `CREATE TABLE b ();`, "b/down.sql": `DROP TABLE b;`,
		},
		"plain":       {"1_a.sql": `CREATE TABLE a ();`, "1_a_rollback.sql": `DROP TABLE a;`, "2.sql": `CREATE TABLE b ();`, "2.down.sql": `DROP TABLE b;`},
		"plain, bare": {"a.sql": `CREATE TABLE a ();`, "rollback.sql": `DROP TABLE a;`},
	} {
		t.Run(name, func(t *testing.T) {
			b, dir := setup(t), t.TempDir()
			write(t, dir, files)
			set, err := migrations.Open(dir, "")
			require.NoError(t, err)
			require.True(t, set.Reverts(set.Migrations[0]))
			_, err = set.Apply(b.ctx, b.config, 0)
			require.NoError(t, err)
			done, err := set.Down(b.ctx, b.config, 0)
			require.NoError(t, err)
			require.Len(t, done, len(set.Migrations))
			require.Empty(t, b.objects())
		})
	}
	_, err := migrations.Set{Layout: migrations.Plain, Migrations: []migrations.Migration{{Version: 1, Path: "1.sql"}}}.Down(t.Context(), nil, 0)
	require.ErrorContains(t, err, "1.sql has no file that reverts it")
}

func TestApplyOne(t *testing.T) {
	for _, layout := range migrations.Layouts() {
		t.Run(string(layout), func(t *testing.T) {
			b := setup(t)
			head := map[migrations.Layout]string{migrations.Goose: "-- +goose Up\n"}[layout]
			set := migrations.Set{Layout: layout, Migrations: []migrations.Migration{
				{Version: 1, Path: "1_a.sql", SQL: head + "CREATE TABLE a ();"},
				{Version: 2, Path: "2_b.sql", SQL: head + "CREATE TABLE b ();"},
				{Version: 3, Path: "3_c.sql", SQL: head + "CREATE TABLE c ();"},
			}}
			_, err := set.Apply(b.ctx, b.config, 1)
			require.NoError(t, err)
			one, err := set.ApplyOne(b.ctx, b.config, 2)
			require.NoError(t, err)
			require.Equal(t, int64(2), one.Migration.Version)
			require.Equal(t, []string{"table a", "table b"}, b.objects())
			_, err = set.ApplyOne(b.ctx, b.config, 4)
			require.ErrorContains(t, err, "there is no migration 4")
		})
	}
}

// What is put in is executed there: between the statements before and those after, whatever the layout.
func TestInsert(t *testing.T) {
	files := map[migrations.Layout]string{
		migrations.Goose: "-- a;\n-- +goose Up\nCREATE TABLE a ();\n-- +goose StatementBegin\nDO $$ BEGIN CREATE TABLE b (); END $$;\n" +
			"-- +goose StatementEnd\nCREATE TABLE c (); -- last\n-- +goose Down\nDROP TABLE a;\n",
		migrations.Plain:  "-- a;\nCREATE TABLE a ();\nDO $$ BEGIN CREATE TABLE b (); END $$; CREATE TABLE c () -- last",
		migrations.Flyway: "CREATE TABLE a ();CREATE TABLE b ();CREATE TABLE c ()",
		migrations.Prisma: "CREATE TABLE a ();CREATE TABLE b ();CREATE TABLE c ()",
	}
	for layout, sql := range files {
		for after, want := range map[int]int{0: 1, 1: 2, 2: 3, 3: 4} {
			t.Run(fmt.Sprint(layout, " ", after), func(t *testing.T) {
				set := migrations.Set{Layout: layout, Migrations: []migrations.Migration{{Version: 1, Path: "1_a.sql", SQL: sql}}}
				statements, transaction := set.Statements(set.Migrations[0])
				require.Len(t, statements, 3)
				require.Equal(t, layout != migrations.Plain, transaction)
				for _, s := range statements {
					require.Equal(t, s.Text, sql[s.Offset:s.Offset+len(s.Text)])
					require.Equal(t, 1+strings.Count(sql[:s.Offset], "\n"), s.Line)
				}
				with := set.Insert(1, after, "CREATE TABLE z ();")
				statements, _ = with.Statements(with.Migrations[0])
				require.Len(t, statements, 4)
				require.Equal(t, "CREATE TABLE z ();", statements[want-1].Text, with.Migrations[0].SQL)
				b := setup(t)
				_, err := with.Apply(b.ctx, b.config, 0)
				require.NoError(t, err)
				require.Equal(t, []string{"table a", "table b", "table c", "table z"}, b.objects())
				require.Equal(t, sql, set.Migrations[0].SQL)
			})
		}
	}
}

// A failure on the way down is found below the annotation, though the same statement stands above it.
func TestDownFailing(t *testing.T) {
	b := setup(t)
	set := migrations.Set{Layout: migrations.Goose, Migrations: []migrations.Migration{{
		Version: 1, Path: "1_a.sql", SQL: "-- +goose Up\nDROP TABLE IF EXISTS a;\nCREATE TABLE a ();\n-- +goose Down\nCREATE TABLE a ();\n",
	}}}
	_, err := set.Apply(b.ctx, b.config, 0)
	require.NoError(t, err)
	_, err = set.Down(b.ctx, b.config, 0)
	var failure *migrations.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, 5, failure.Line)
	require.Equal(t, "42P07", failure.SQLState)
	require.Equal(t, []string{"table a"}, b.objects())
}
