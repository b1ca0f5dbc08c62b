package gate_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/interlock-pg/interlock/harness/gate"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

// Each case is a migration with a hazard, and its safe form, judged on the same schema. The broken one gets the finding that the case names; the
// fixed one does not, and may ship. A case whose finding only a run can give names the trial.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 25)
	for i, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			sections := map[string]string{}
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			for _, f := range archive.Files {
				sections[f.Name] = string(f.Data)
			}
			want := strings.Fields(sections["want"])
			require.GreaterOrEqual(t, len(want), 2, "want: rule, level, and the trial if only that shows it")
			if len(want) == 2 && i%26 != 0 || len(want) == 3 && i%3 != 0 {
				servertest.Slow(t)
			}
			var skip []history.TrialName
			for _, trial := range history.Trials()[2:] {
				if len(want) == 2 || string(trial) != want[2] {
					skip = append(skip, trial)
				}
			}
			is := func(f history.Finding) bool {
				return f.Rule == want[0] && string(f.Level) == want[1] && (len(want) == 2 || string(f.Trial) == want[2])
			}
			broken := judge(t, sections, "broken", skip)
			require.True(t, slices.ContainsFunc(broken[0].Findings, is), "%+v", broken[0].Findings)
			require.Equal(t, want[1] == "error", broken[0].Verdict == history.Violated, "%+v", broken[0].Findings)

			for _, m := range judge(t, sections, "fixed", skip) {
				require.Equal(t, history.Held, m.Verdict, "%s: %+v %+v", m.Path, m.Findings, m.Trials)
				for _, f := range m.Findings {
					require.True(t, f.Rule != want[0] || f.Allowed != "", "%+v", f)
				}
			}
		})
	}
}

// judge judges the migrations of one form, on top of the schema before.
func judge(t *testing.T, sections map[string]string, form string, skip []history.TrialName) []history.Judged {
	t.Helper()
	var before []string
	for line := range strings.Lines(sections["before.sql"]) {
		if !strings.HasPrefix(line, "INSERT INTO") { // rows are generated
			before = append(before, line)
		}
	}
	set := migrations.Set{Layout: migrations.Plain, Dir: form, Migrations: []migrations.Migration{{Version: 1, Path: "before.sql", SQL: strings.Join(before, "")}}}
	var versions []int64
	for _, name := range []string{form, form + "-1", form + "-2", form + "-3"} {
		sql, ok := sections[name+".sql"]
		if !ok {
			continue
		}
		m := migrations.Migration{Version: int64(2 + len(versions)), Name: name, Path: name + ".sql", SQL: sql}
		if down, ok := sections[name+"-down.sql"]; ok {
			m.Undo, m.UndoSQL = name+"-down.sql", down
		}
		set.Migrations = append(set.Migrations, m)
		versions = append(versions, m.Version)
	}
	require.NotEmpty(t, versions)
	run, err := gate.Run(t.Context(), gate.Config{Server: servertest.Server(t), Set: set, Versions: versions, Rows: 200, Skip: skip})
	require.NoError(t, err)
	require.Len(t, run.Gate.Migrations, len(versions))
	return run.Gate.Migrations
}

// A directory of each tool is gated as it is.
func TestCasesOfLayouts(t *testing.T) {
	for _, layout := range []migrations.Layout{migrations.Goose, migrations.GolangMigrate, migrations.Flyway, migrations.Prisma} {
		t.Run(string(layout), func(t *testing.T) {
			servertest.Slow(t)
			set, err := migrations.Open(filepath.Join("..", "..", "migrations", "testdata", "good", string(layout)), "")
			require.NoError(t, err)
			require.Equal(t, layout, set.Layout)
			run, err := gate.Run(t.Context(), gate.Config{Server: servertest.Server(t), Set: set, Versions: set.Versions(), Rows: 200})
			require.NoError(t, err)
			for _, m := range run.Gate.Migrations {
				require.Equal(t, history.Held, m.Verdict, "%s: %+v", m.Path, m.Findings)
			}
		})
	}
}
