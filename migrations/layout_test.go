package migrations_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/migrations"
)

// tree writes files into a directory "m", which becomes the current one's child.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("m", 0o755))
	write(t, "m", files)
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
}

const up = "-- +goose Up\nSELECT 1;\n"

func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		layout migrations.Layout // as asked for
		want   string            // layout, then version, ref, label, path and undo
	}{
		"goose": {
			files: map[string]string{"00002_b.sql": up, "00001_a_b.sql": up, "00010_c.sql": "-- +goose up\r\n", "README.md": "", "embed.go": "package m", ".00003_c.sql": up},
			want:  "goose\n1 00001 a b m/00001_a_b.sql\n2 00002 b m/00002_b.sql\n10 00010 c m/00010_c.sql",
		},
		"golang-migrate": {
			files: map[string]string{"2_b.up.sql": "", "10_c.up.sql": "", "2_b.down.sql": ""},
			want:  "golang-migrate\n2 2 b m/2_b.up.sql m/2_b.down.sql\n10 10 c m/10_c.up.sql",
		},
		"flyway, whole numbers": {
			files: map[string]string{"V2__b.sql": "", "V10__c.sql": "", "V1.0__a.sql": "", "U2__b.sql": "", "R__b_view.sql": "", "R__a_view.sql": ""},
			want: "flyway\n1 1.0 a m/V1.0__a.sql\n2 2 b m/V2__b.sql m/U2__b.sql\n10 10 c m/V10__c.sql\n" +
				"11 R a view m/R__a_view.sql\n12 R b view m/R__b_view.sql",
		},
		"flyway, parts": {
			files: map[string]string{"V1_2__b.sql": "", "V1.10__d.sql": "", "sub/V1.9__c.sql": "", "V1__a.sql": "", "V2__e.sql": ""},
			want:  "flyway\n1 1 a m/V1__a.sql\n2 1.2 b m/V1_2__b.sql\n3 1.9 c m/sub/V1.9__c.sql\n4 1.10 d m/V1.10__d.sql\n5 2 e m/V2__e.sql",
		},
		"prisma": {
			files: map[string]string{"20251110000000_b/migration.sql": "", "0_init/migration.sql": "", "migration_lock.toml": "", "20251110000000_b/README.md": ""},
			want:  "prisma\n0 0 init m/0_init/migration.sql\n20251110000000 20251110000000 b m/20251110000000_b/migration.sql",
		},
		"prisma, the same time twice, as two branches may have it": {
			files: map[string]string{"2025_a/migration.sql": "", "2025_b/migration.sql": "", "c/migration.sql": ""},
			want:  "prisma\n1 2025 a m/2025_a/migration.sql\n2 2025 b m/2025_b/migration.sql\n3  c m/c/migration.sql",
		},
		"plain, numbers": {
			files: map[string]string{"2_b.sql": "", "010.sql": "", "1-a.sql": "", "007 c.sql": "", "notes.txt": ""},
			want:  "plain\n1 1 a m/1-a.sql\n2 2 b m/2_b.sql\n7 007 c m/007 c.sql\n10 010 010 m/010.sql",
		},
		"plain, no numbers": {
			files: map[string]string{"v10.sql": "", "v2.sql": "", "1.1_x.sql": ""},
			want:  "plain\n1 1.1 x m/1.1_x.sql\n2  v2 m/v2.sql\n3  v10 m/v10.sql",
		},
		"plain, files that revert": {
			files: map[string]string{"1_a.sql": "", "1_a_rollback.sql": "", "2.sql": "", "2.down.sql": "", "3_rollback.sql": "", "shutdown.sql": "", "rollback.sql": ""},
			want:  "plain\n1 1 a m/1_a.sql m/1_a_rollback.sql\n2 2 2 m/2.sql m/2.down.sql\n3 3 3 m/3_rollback.sql\n4  shutdown m/shutdown.sql m/rollback.sql",
		},
		"plain, only down": {
			files: map[string]string{"01_init.sql": "", "02_change.sql": "", "02_change.down.sql": ""},
			want:  "plain\n1 01 init m/01_init.sql\n2 02 change m/02_change.sql m/02_change.down.sql",
		},
		"a mixture, settled": {
			files:  map[string]string{"1_a.sql": up, "V1__b.sql": "", "x/migration.sql": ""},
			layout: migrations.Flyway,
			want:   "flyway\n1 1 b m/V1__b.sql",
		},
		"goose by name": {
			files:  map[string]string{"1_a.sql": "SELECT 1;", "seed.sql": ""},
			layout: migrations.Goose,
			want:   "goose\n1 1 a m/1_a.sql",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree(t, c.files)
			set, err := migrations.Open("m", c.layout)
			require.NoError(t, err)
			lines := []string{string(set.Layout)}
			for _, m := range set.Migrations {
				lines = append(lines, strings.TrimSpace(fmt.Sprintf("%d %s %s %s %s", m.Version, m.Ref, m.Label(), m.Path, m.Undo)))
				bytes, err := os.ReadFile(m.Path)
				require.NoError(t, err)
				require.Equal(t, string(bytes), m.SQL)
				require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(bytes)), m.Checksum)
			}
			require.Equal(t, c.want, strings.Join(lines, "\n"))
		})
	}
}

func TestOpenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		dir    string
		layout migrations.Layout
		want   string
	}{
		"missing":        {dir: "nowhere", want: "migrations in nowhere: there is no such directory; try another path; it is taken from where the command runs"},
		"a file":         {files: map[string]string{"1_a.sql": ""}, dir: "m/1_a.sql", want: "migrations in m/1_a.sql: it is a file, not a directory; try the directory that holds it, m"},
		"unknown layout": {layout: "rails", want: `migrations in m: unknown layout "rails"; try one of goose, golang-migrate, flyway, prisma, plain`},
		"empty": {
			files: map[string]string{"README.md": "", ".hidden.sql": "", ".git/1_a.sql": "", "below/1_a.sql": ""},
			want: `migrations in m: no migrations in it; try another directory; known are goose (001_name.sql with "-- +goose Up"), ` +
				`golang-migrate (1_name.up.sql), flyway (V1__name.sql), prisma (20251110093000_name/migration.sql), plain (*.sql)`,
		},
		"none of that layout": {
			files: map[string]string{"1_a.sql": ""}, layout: migrations.Flyway,
			want: "migrations in m: no flyway migrations in it, which look like V1__name.sql; try no --layout, to have it recognised",
		},
		"mixed": {
			files: map[string]string{"2_b.sql": up, "1_a.sql": up, "V1__a.sql": "", "x/migration.sql": "", "3_c.sql": ""},
			want: "migrations in m: it mixes layouts: goose (1_a.sql), flyway (V1__a.sql), prisma (x/migration.sql), plain (3_c.sql); " +
				"try --layout goose or --layout flyway or --layout prisma or --layout plain, which takes only the files of that one",
		},
		"goose, twice":          {files: map[string]string{"1_a.sql": up, "01_b.sql": up}, want: "migrations in m: 01_b.sql and 1_a.sql have the same version, 1; try to renumber the later one"},
		"golang-migrate, twice": {files: map[string]string{"1_a.up.sql": "", "1_b.up.sql": ""}, want: "migrations in m: 1_a.up.sql and 1_b.up.sql have the same version, 1; try to renumber the later one"},
		"flyway, twice":         {files: map[string]string{"V1.0__a.sql": "", "V1__b.sql": ""}, want: "migrations in m: V1.0__a.sql and V1__b.sql have the same version, 1; try to renumber the later one"},
		"plain, twice":          {files: map[string]string{"1_a.sql": "", "1_b.sql": ""}, want: "migrations in m: 1_a.sql and 1_b.sql have the same version, 1; try to renumber the later one"},
		"only down":             {files: map[string]string{"1_a.down.sql": ""}, want: "migrations in m: it holds only files that revert, such as 1_a.down.sql; try the directory with the files that apply"},
		"goose, zero":           {files: map[string]string{"0_a.sql": up}, want: "migrations in m: 0_a.sql has version 0, which goose keeps for itself; try to number from 1"},
		"too long":              {files: map[string]string{"99999999999999999999_a.up.sql": ""}, want: "migrations in m: 99999999999999999999_a.up.sql has a version of more than 63 bits; try a shorter one"},
		"UTF-16":                {files: map[string]string{"1_a.sql": "S\x00E\x00"}, want: "migrations in m: 1_a.sql is not UTF-8 text; try iconv -t UTF-8 on it"},
		"baseline":              {files: map[string]string{"B1__a.sql": ""}, want: "migrations in m: B1__a.sql is a baseline migration, which is not supported; try the versioned migrations that it stands for"},
		"dbmate":                {files: map[string]string{"1_a.sql": "-- migrate:up\n-- migrate:down\n"}, want: "migrations in m: 1_a.sql is written for dbmate, which is not supported; try the statements that it applies in a file of their own, one file a migration"},
		"goose without number":  {files: map[string]string{"a.sql": up}, want: "migrations in m: a.sql is written for goose; try --layout goose, and a name that begins with a version, as 001_a.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			tree(t, c.files)
			if c.dir == "" {
				c.dir = "m"
			}
			_, err := migrations.Open(c.dir, c.layout)
			var open *migrations.OpenError
			require.ErrorAs(t, err, &open)
			require.Equal(t, c.want, err.Error())
		})
	}
}

func TestSetLookups(t *testing.T) {
	set := migrations.Embedded()
	m, ok := set.At(2)
	require.True(t, ok)
	require.Equal(t, "partial_unique_indexes", m.Name)
	_, ok = set.At(4)
	require.False(t, ok)
	require.Len(t, set.UpTo(0), 3)
	require.Len(t, set.UpTo(-1), 3)
	require.Len(t, set.UpTo(1), 1)
	require.Len(t, set.UpTo(99), 3)
	require.Equal(t, "R", migrations.Migration{Ref: "R"}.Label())
}
