package ddl

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

const cases = "../gate/testdata/cases"

// TestCases judges the broken and the fixed form of each case, and runs what is to be written instead.
func TestCases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(cases, "*.txtar"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 27)
	for i, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			if i%13 != 0 {
				servertest.Slow(t)
			}
			t.Parallel()
			sections := map[string]string{}
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			for _, f := range archive.Files {
				sections[f.Name] = string(f.Data)
			}
			want := strings.Fields(sections["want"])
			require.GreaterOrEqual(t, len(want), 2)
			template := servertest.Template(t, sections["before.sql"])
			runOnly := len(want) > 2 // then it names the trial
			rule, level := want[0], want[1]

			conn := database(t, template)
			facts := Facts{Before: before(t, conn)}
			if !runOnly {
				found := findings(t, sections["broken.sql"], facts)
				i := slices.IndexFunc(found, func(f history.Finding) bool { return f.Rule == rule })
				require.GreaterOrEqual(t, i, 0, "%v", found)
				require.Equal(t, history.Level(level), found[i].Level)
				require.True(t, strings.HasSuffix(found[i].Says, "."), found[i].Says)
				if r := found[i].Rewrite; r != nil {
					require.NotEmpty(t, r.SQL)
					for _, s := range sqltext.Split(sections["broken.sql"]) { // what stands before it, each in a transaction of its own
						if s.Line < found[i].Line && !s.Begins("begin|commit") {
							apply(t, conn, s.Text)
						}
					}
					apply(t, conn, r.SQL)
				}
			}

			fixed := database(t, template)
			for _, name := range []string{"fixed.sql", "fixed-1.sql", "fixed-2.sql", "fixed-3.sql"} {
				sql, exists := sections[name]
				if !exists {
					continue
				}
				for _, f := range findings(t, sql, Facts{Before: before(t, fixed)}) {
					require.False(t, f.Counts(), "%+v", f)
					require.False(t, f.Rule == rule && f.Allowed == "", "%+v", f)
				}
				apply(t, fixed, sql)
			}
		})
	}
}

func findings(t *testing.T, file string, facts Facts) []history.Finding {
	t.Helper()
	statements, directives, err := Read(file, sqltext.Split(file), facts)
	require.NoError(t, err)
	var out []history.Finding
	for _, s := range statements {
		out = append(out, s.Findings...)
	}
	return Silence(out, directives)
}

// apply sends a text statement by statement.
func apply(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	for _, s := range sqltext.Split(sql) {
		_, err := conn.Exec(t.Context(), s.Text, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err, s.Text)
	}
}

// Every rule has a case, but for one that needs a tool with a transaction of its own.
func TestRulesHaveCases(t *testing.T) {
	var all strings.Builder
	files, err := filepath.Glob(filepath.Join(cases, "*.txtar"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(text)
	}
	for _, r := range Rules() {
		require.NotEmpty(t, r.Says)
		if r.Name != RuleBeginInside {
			require.Contains(t, all.String(), "-- want --\n"+r.Name+" ", r.Name)
		}
	}
}
