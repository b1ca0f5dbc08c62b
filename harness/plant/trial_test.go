package plant_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/populate"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

// Interlock's own migrations over generated rows: all that is in the way is named. Migration 1 adds no constraint to a table that is there.
func TestTryEmbedded(t *testing.T) {
	t.Parallel()
	set := migrations.Embedded()
	for version, test := range map[int64]struct {
		finds, state, key string
		line              int
	}{
		2: {"unique aedpics.idx_inspection_sessions_active_session_per_equipment", "23505", "equipment_serial", 8},
		3: {"exclusion aedpics.inspection_schedules_no_overlap_30min", "23P01", "aed_data_id", 23},
	} {
		template, err := servertest.Server(t).Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
			// Filled as it is afterwards, the rows break nothing.
			if _, err := set.Apply(ctx, config, version); err != nil {
				return err
			}
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				return err
			}
			_, err = populate.Fill(ctx, conn, populate.Config{Rows: 500, Seed: 1})
			if err := errors.Join(err, conn.Close(ctx)); err != nil {
				return err
			}
			_, err = set.Down(ctx, config, version-1)
			return err
		})
		require.NoError(t, err)
		before, _ := database(t, template)
		after, db := database(t, template)
		apply := func(ctx context.Context, config *pgx.ConnConfig) error {
			_, err := set.Apply(ctx, config, version)
			return err
		}
		require.NoError(t, apply(t.Context(), db.Config("test")), "control: nothing is in the way")
		added, err := plant.Added(t.Context(), before, after)
		require.NoError(t, err)
		require.Len(t, added, 1)
		require.Equal(t, test.finds, added[0].String())

		var repaired string
		config := plant.Config{Database: template.Database, Apply: apply, File: "m.sql"}
		trial, findings, err := plant.Try(t.Context(), added, config)
		require.NoError(t, err)
		require.Equal(t, history.TrialPassed, trial.State, "%+v", trial)
		require.Equal(t, "1 constraint, 52 offending keys planted: refused cleanly, all named", trial.Says)
		require.Len(t, findings, 1, "%+v", findings)
		f := findings[0]
		require.Equal(t, plant.RuleDirtyData, f.Rule)
		require.Equal(t, history.LevelNote, f.Level)
		require.Equal(t, test.state, f.SQLState)
		require.Equal(t, "m.sql", f.File)
		require.Equal(t, test.line, f.Line)
		require.Contains(t, f.Says, "would refuse 52 keys")
		require.Equal(t, 52, f.Keys.Total)
		require.Len(t, f.Keys.Rows, 52)
		require.Equal(t, test.key, f.Keys.Columns[0])
		require.Contains(t, f.Evidence[1], "DETAIL: Key")
		require.NotContains(t, f.Repair, "DELETE FROM")

		// With a repair, the migration applies afterwards, and the finding says so.
		config.Repair = func(ctx context.Context, database *pgx.ConnConfig) (string, error) {
			conn, err := pgx.ConnectConfig(ctx, database)
			if err != nil {
				return "", err
			}
			_, err = conn.Exec(ctx, `update aedpics.inspection_sessions set status = 'cancelled'; update aedpics.inspection_schedules set status = 'cancelled'`, pgx.QueryExecModeSimpleProtocol)
			repaired = "interlock repair cancels what is too much"
			return repaired, errors.Join(err, conn.Close(ctx))
		}
		_, findings, err = plant.Try(t.Context(), added, config)
		require.NoError(t, err)
		require.Equal(t, repaired+"; after that, the migration applies", findings[0].Repair)
		config.Repair = func(context.Context, *pgx.ConnConfig) (string, error) { return "nothing of use", nil }
		_, findings, err = plant.Try(t.Context(), added, config)
		require.NoError(t, err)
		require.Contains(t, findings[0].Repair, "after that, the migration is still refused: ERROR "+test.state)
		require.NoError(t, template.Drop(t.Context()))
	}
}

const things = `
	create table things (id int primary key, code text, parent int, size int not null);
	insert into things select n, 'c' || n, n, n from generate_series(1, 200) n;
	create table bare (v int);
	insert into bare select generate_series(1, 200);
	create table parted (id int not null, at date not null) partition by range (at);
	create table parted_a partition of parted for values from (minvalue) to (maxvalue);
	insert into parted select n, date '2025-01-01' + n from generate_series(1, 200) n;
	create table bad (a int, b int);
	insert into bad select n / 2, n from generate_series(2, 2401) n;`

// rules says findings as "level rule".
func rules(findings []history.Finding) (rules []string) {
	for _, f := range findings {
		rules = append(rules, string(f.Level)+" "+f.Rule)
	}
	return rules
}

// What a migration does about the rows in its way. Each that is judged well is the control of one that is not.
func TestTry(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, things)
	const passed, failed, skipped = history.TrialPassed, history.TrialFailed, history.TrialSkipped
	for name, test := range map[string]struct {
		layout migrations.Layout
		sql    string
		noop   bool // the migration is not applied at all
		state  history.TrialState
		says   string
		rules  []string
		in     string // of the details, or of a finding
	}{
		"clean": {
			"", `create unique index u on things (code)`, false, passed,
			"1 constraint, 52 offending keys planted: refused cleanly, all named",
			[]string{"note dirty-data"},
			"all named",
		},
		"three": {
			migrations.Prisma, `create unique index u on things (code); alter table things alter parent set not null, add check (size > 0)`, false, passed,
			"3 constraints, 156 offending keys planted: each refused cleanly, all named",
			[]string{"note dirty-data", "note dirty-data", "note dirty-data"},
			"UPDATE public.things SET parent = … WHERE parent IS NULL;",
		},
		"half": {
			migrations.Plain, `alter table things add more int; create unique index u on things (code);`, false, failed,
			"1 constraint, 52 offending keys planted: refused, and leaving something behind, 1 finding that must be put right",
			[]string{"error dirty-leaves-half", "note dirty-data"},
			"column public.things.more added: type: integer",
		},
		"not half": {
			migrations.Flyway, `alter table things add more int; create unique index u on things (code);`, false, passed,
			"1 constraint, 52 offending keys planted: refused cleanly, all named",
			[]string{"note dirty-data"},
			"the schema is as it was",
		},
		"concurrently": {
			migrations.Plain, `create unique index concurrently u on things (code);`, false, passed,
			"1 constraint, 52 offending keys planted: ",
			[]string{"warning dirty-leaves-invalid-index", "note dirty-data"},
			"DROP INDEX CONCURRENTLY public.u;",
		},
		"not valid": {
			"", `alter table things add constraint f foreign key (parent) references things not valid`, false, passed,
			"1 constraint, 52 offending keys planted: accepted, as NOT VALID says", nil, "VALIDATE CONSTRAINT is refused as long as this query finds any: SELECT t.parent",
		},
		"valid": {
			"", `alter table things add constraint f foreign key (parent) references things`, false, passed,
			"1 constraint, 52 offending keys planted: refused cleanly, all named",
			[]string{"note dirty-data"},
			"is not in public.things (id)",
		},
		"nothing": {"", `create index i on things (code)`, false, skipped, "adds nothing that rows could break", nil, ""},
		"cannot be broken": {
			"", `alter table things add constraint c check (size is not null)`, false, skipped, "1 constraint, none of which could be tried", nil,
			"not tried: could not be planted: 23502",
		},
		"one of two cannot be broken": {
			"", `alter table things add constraint c check (size is not null), add check (size > 0)`, false, passed,
			"2 constraints, 52 offending keys planted: refused cleanly, all named, 1 not tried",
			[]string{"note dirty-data"},
			"not tried: could not be planted: 23502",
		},
		"accepted": {
			"", `create unique index u on things (code)`, true, failed, "1 constraint, 52 offending keys planted: 1 finding", []string{"error dirty-data-accepted"}, "52 are still there",
		},
		"resolves": {
			"", `update things set parent = 0 where parent is null; alter table things alter parent set not null`, false, passed,
			"1 constraint, 52 offending keys planted: resolved by the migration itself",
			[]string{"note dirty-data-resolved"},
			"none of them is left",
		},
		"deletes": {
			"", `delete from things where parent is null; alter table things alter parent set not null`, false, passed,
			"1 constraint, 52 offending keys planted: resolved by the migration itself",
			[]string{"warning dirty-data-resolved"},
			"removes 52 rows",
		},
		"primary key": {
			"", `alter table bare add primary key (v)`, false, passed,
			"2 constraints, 104 offending keys planted: each refused cleanly, all named",
			[]string{"note dirty-data", "note dirty-data"},
			"rows of public.bare that have NULL in v",
		},
		"partitions": {
			"", `create unique index u on parted (id, at)`, false, passed,
			"1 constraint, 52 offending keys planted: refused cleanly, all named",
			[]string{"note dirty-data"},
			"(parted_a,",
		},
		"another refuses first": {
			"", `create unique index u on bad (a); create unique index v on bad (b)`, false, passed,
			"2 constraints, 1200 offending keys planted: refused cleanly, 1000 of its keys named at most, 1 not tried",
			[]string{"note dirty-data"},
			"generated rows broke 1200 already; 1000 named, the query finds all\nunique public.v: not tried: the migration was refused by u first",
		},
		"looks itself": {
			"", `do $$ begin if exists (select from things where parent is null) then raise 'fill in parent first'; end if; end $$; alter table things alter parent set not null`, false, passed,
			"1 constraint, 52 offending keys planted: refused cleanly, all named",
			[]string{"note dirty-data"},
			"ERROR P0001: fill in parent first",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := migration(t, test.layout, test.sql)
			apply := func(ctx context.Context, config *pgx.ConnConfig) error {
				_, err := set.Apply(ctx, config, 0)
				return err
			}
			before, _ := database(t, template)
			after, db := database(t, template)
			_, err := after.Exec(t.Context(), `truncate bad`)
			require.NoError(t, err)
			require.NoError(t, apply(t.Context(), db.Config("test")), "control: it applies to good rows")
			added, err := plant.Added(t.Context(), before, after)
			require.NoError(t, err)
			if test.noop {
				apply = func(context.Context, *pgx.ConnConfig) error { return nil }
			}
			trial, findings, err := plant.Try(t.Context(), added, plant.Config{Database: template.Database, Apply: apply, File: "m.sql"})
			require.NoError(t, err)
			require.Equal(t, test.state, trial.State, "%+v", trial)
			require.Contains(t, trial.Says, test.says)
			require.Equal(t, test.rules, rules(findings))
			all := trial.Details
			for _, f := range findings {
				all = append(append(all, f.Says, f.Repair), f.Evidence...)
				if f.Keys != nil && f.Keys.Rows[0][len(f.Keys.Columns)-1] != nil {
					all = append(all, *f.Keys.Rows[0][len(f.Keys.Columns)-1])
				}
			}
			require.Contains(t, strings.Join(all, "\n"), test.in)
		})
	}
}

// Trouble of the server is never the migration's.
func TestTryTrouble(t *testing.T) {
	t.Parallel()
	template := servertest.Template(t, things)
	before, _ := database(t, template)
	after, _ := database(t, template)
	_, err := after.Exec(t.Context(), `create unique index u on things (code)`)
	require.NoError(t, err)
	added, err := plant.Added(t.Context(), before, after)
	require.NoError(t, err)
	for name, refusal := range map[string]error{
		"disk": &migrations.Error{SQLState: "53100", Err: &pgconn.PgError{Code: "53100", Message: "no space left on device"}},
		"file": &pgconn.PgError{Code: "58P01", Message: "could not open file"},
		"lost": func() error {
			config := before.Config().Copy()
			config.Host, config.Port, config.Fallbacks = "127.0.0.1", 1, nil
			_, err := pgx.ConnectConfig(t.Context(), config)
			return err
		}(),
		"syntax": &pgconn.PgError{Code: "42601", Message: "syntax error"},
	} {
		t.Run(name, func(t *testing.T) {
			trial, findings, err := plant.Try(t.Context(), added, plant.Config{
				Database: template.Database,
				Apply:    func(context.Context, *pgx.ConnConfig) error { return refusal },
			})
			require.NoError(t, err)
			require.Equal(t, history.TrialUnknown, trial.State)
			require.Empty(t, findings)
			require.NotEmpty(t, trial.Details)
		})
	}
	_, _, err = plant.Try(t.Context(), added, plant.Config{Database: func(context.Context) (*server.Database, error) { return nil, errors.New("no template") }})
	require.ErrorContains(t, err, "no template")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_, _, err = plant.Try(stopped, added, plant.Config{Database: template.Database})
	require.ErrorIs(t, err, context.Canceled)
}

// migration is a set of one file.
func migration(t *testing.T, layout migrations.Layout, sql string) migrations.Set {
	t.Helper()
	if layout == "" {
		layout = migrations.Prisma
	}
	dir := t.TempDir()
	name := map[migrations.Layout]string{
		migrations.Plain: "001_m.sql", migrations.Flyway: "V1__m.sql", migrations.Prisma: filepath.Join("20250101000000_m", "migration.sql"),
	}[layout]
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(sql), 0o644))
	set, err := migrations.Open(dir, layout)
	require.NoError(t, err)
	return set
}
