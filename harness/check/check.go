package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// Config says what to look at.
type Config struct {
	Invariants []race.Invariant // those with Outcomes set are passed over: a database does not tell what clients were told
	Indexes    []Index

	StatementTimeout time.Duration // of one invariant; default 5 min
	LockTimeout      time.Duration // default 1 s
	Rows             int           // of what breaks an invariant, to record; the others are counted. Default 10,000
	Plans            bool          // record the plan of each invariant's query
}

// Index is one index, or one constraint that has an index, which ought to be there.
type Index struct {
	Schema, Table, Name string
	// Protects is the invariant that it enforces. Empty: it only makes queries fast.
	Protects string
	// Definition is what it must be, as pg_get_indexdef or, for a constraint, pg_get_constraintdef prints it. Empty: anything.
	Definition string
}

// Run looks, and returns a run of kind check without its head. The error says why nothing could be looked at.
func Run(ctx context.Context, config Config, database *pgx.ConnConfig) (history.Run, error) {
	if config.StatementTimeout <= 0 {
		config.StatementTimeout = 5 * time.Minute
	}
	if config.LockTimeout <= 0 {
		config.LockTimeout = time.Second
	}
	if config.Rows <= 0 {
		config.Rows = 10_000
	}
	run := history.Run{Kind: history.KindCheck, Verdict: history.Held, Started: time.Now()}
	database = database.Copy()
	database.RuntimeParams["application_name"] = "interlock check"
	if database.ConnectTimeout == 0 {
		database.ConnectTimeout = 10 * time.Second
	}
	conn, err := pgx.ConnectConfig(ctx, database)
	if err != nil {
		return run, fmt.Errorf("connecting to %s:%d: %w; try psql with the same DSN", database.Host, database.Port, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))

	look := history.Check{Database: fmt.Sprintf("%s on %s:%d", database.Database, database.Host, database.Port)}
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		settings := fmt.Sprintf(`set local statement_timeout = %d; set local lock_timeout = %d; set local work_mem = '256MB'; set local timezone = 'UTC'`,
			config.StatementTimeout.Milliseconds(), config.LockTimeout.Milliseconds())
		if _, err := tx.Exec(ctx, settings, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `select split_part(current_setting('server_version'), ' ', 1)`).Scan(&run.Server.Release); err != nil {
			return err
		}
		for _, inv := range config.Invariants {
			if inv.Outcomes {
				continue
			}
			one, err := lookAt(ctx, tx, inv, config)
			if err != nil {
				return err
			}
			look.Invariants = append(look.Invariants, one)
		}
		var err error
		look.Indexes, err = Indexes(ctx, tx, config.Indexes)
		return err
	})
	run.Elapsed = history.Since(run.Started)
	run.Server.Provider, run.Server.Where = "dsn", look.Database
	run.Check = &look
	for _, inv := range look.Invariants {
		run.Verdict = history.Worst(run.Verdict, inv.Verdict)
	}
	if err != nil {
		return run, fmt.Errorf("looking at %s: %w", look.Database, err)
	}
	return run, nil
}

// lookAt judges one invariant. What the server refuses makes the verdict unknown; the transaction goes on.
func lookAt(ctx context.Context, tx pgx.Tx, inv race.Invariant, config Config) (history.CheckedOne, error) {
	began := time.Now()
	one := history.CheckedOne{Invariant: inv.Name, Says: inv.Says, Verdict: history.Unknown}
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		if config.Plans {
			rows, err := savepoint.Query(ctx, `explain `+inv.SQL)
			if err != nil {
				return err
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			one.Plan = strings.Join(lines, "\n")
		}
		var err error
		one.Rows, one.Groups, err = inv.Look(ctx, savepoint.Conn(), config.Rows)
		return err
	})
	one.Elapsed = history.Since(began)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		one.Why = Why(refused)
		return one, nil
	case err != nil:
		return one, err
	}
	one.Verdict = history.Held
	if one.Rows.Total > 0 {
		one.Verdict = history.Violated
	}
	return one, nil
}

// Why says what a refusal of the server means for somebody who wants the answer.
func Why(e *pgconn.PgError) string {
	said := fmt.Sprintf("%s (%s)", e.Message, e.Code)
	switch e.Code {
	case "57014":
		return said + "; try a longer --timeout"
	case "55P03":
		return said + ": a migration may be running; try again later"
	case "42P01", "3F000", "42703":
		return said + ": this database does not have the schema that the invariant is about; try another database, or its migrations"
	case "42501":
		return said + "; try a role that may read the tables, such as a member of pg_read_all_data"
	case "28P01", "28000":
		return said + "; try another role or password in the DSN, or psql with the same one"
	case "3D000":
		return said + "; try another database in the DSN: psql --list has their names"
	case "40001":
		return said + ": on a replica, it was in the way of what its primary has done; try again, hot_standby_feedback = on, or a longer max_standby_streaming_delay"
	case "53100":
		return said + "; try making room on the server's disk"
	}
	return said + "; try psql with the same DSN"
}

// Indexes looks indexes up in the catalog. What the transaction does after it finds no names but those of the catalog, unless they name their schema.
func Indexes(ctx context.Context, tx pgx.Tx, wanted []Index) ([]history.Index, error) {
	// Definitions then name every schema, and have intervals as the wanted ones have.
	if _, err := tx.Exec(ctx, `set local search_path = pg_catalog; set local intervalstyle = 'postgres'`, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, err
	}
	var found []history.Index
	for _, index := range wanted {
		one, err := find(ctx, tx, index)
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

// find looks an index up in the catalog.
func find(ctx context.Context, tx pgx.Tx, want Index) (history.Index, error) {
	out := history.Index{Name: want.Name, Table: want.Schema + "." + want.Table, Protects: want.Protects}
	var refuses bool
	err := tx.QueryRow(ctx, `
		select i.indisvalid and i.indisready and i.indislive, (i.indisunique or i.indisexclusion) and coalesce(k.convalidated, true),
			coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(c.oid)), coalesce(s.idx_scan, 0), coalesce(s.idx_tup_read, 0),
			coalesce(s.idx_tup_fetch, 0), pg_relation_size(c.oid)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_index i on i.indexrelid = c.oid
		join pg_class t on t.oid = i.indrelid
		left join pg_constraint k on k.conindid = c.oid and k.contype in ('p', 'u', 'x') and k.conrelid = t.oid
		left join pg_stat_user_indexes s on s.indexrelid = c.oid
		where n.nspname = $1 and t.relname = $2 and c.relname = $3`, want.Schema, want.Table, want.Name).
		Scan(&out.Valid, &refuses, &out.Definition, &out.Scans, &out.Read, &out.Fetched, &out.Bytes)
	if errors.Is(err, pgx.ErrNoRows) {
		out.Why = "missing"
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("looking for index %s: %w", want.Name, err)
	}
	out.Present = true
	out.Enforcing = refuses && out.Valid && (want.Definition == "" || out.Definition == want.Definition)
	switch {
	case !out.Valid:
		out.Why = "invalid: it was left behind by a failed CREATE INDEX CONCURRENTLY and enforces nothing; drop it and create it again"
	case want.Definition != "" && out.Definition != want.Definition:
		out.Why = "it is not what it should be: " + want.Definition
	case want.Protects != "" && !refuses:
		out.Why = "not unique: it enforces nothing"
	}
	return out, nil
}
