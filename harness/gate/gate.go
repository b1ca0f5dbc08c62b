package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
)

// Config says what to judge. Zero fields have defaults, but for Server, Set and Versions.
type Config struct {
	Server   *server.Server
	Set      migrations.Set
	Versions []int64 // the migrations to judge; the others are applied before them
	Base     string  // why these, in words

	Rows     int                 // generated in each table; default 10,000
	Data     string              // SQL that fills the database in the state before, instead of generated rows
	Seed     int64               // of the generated rows
	MaxStall time.Duration       // the longest that a client may wait for the migration; default 500 ms
	Keys     int                 // that break a new constraint; default 52
	Domain   *Domain             // nil: no more is known than the schema
	Skip     []history.TrialName // trials that are not made

	Progress func(done, total int, what string) // may be nil
}

// Domain is what is known of an application beside its schema.
type Domain struct {
	// Fits reports whether a database has the tables that the domain is about.
	Fits func(context.Context, *pgx.Conn) error
	// Fill puts rows, so many in a table, into the domain's empty tables, such as all of its migrations accept.
	Fill func(ctx context.Context, conn *pgx.Conn, rows int, seed int64) error
	// Repair resolves the rows that break the domain's invariants, and says what it did.
	Repair func(context.Context, *pgx.ConnConfig) (string, error)
	// Prove explores the domain's scenarios at the schema that after makes, of two clients: what each came to, a line each, and which broke what held at
	// the schema that before makes. A nil before is one that does not fit.
	Prove func(ctx context.Context, before, after Apply) (seen, broken []string, err error)
}

// Apply brings a fresh database to a schema. It closes the connections that it opens.
type Apply = func(context.Context, *pgx.ConnConfig) error

func (c Config) resolve() Config {
	c.Rows, c.MaxStall, c.Keys = cmp.Or(c.Rows, 10_000), cmp.Or(c.MaxStall, 500*time.Millisecond), cmp.Or(c.Keys, 52)
	if c.Progress == nil {
		c.Progress = func(int, int, string) {}
	}
	return c
}

// Run judges the migrations one after another, each on top of those before it. The run is held when all of them may ship, and violated when one
// must not. The error says why the run could not be made or finished; the run returned with it holds what there was until then. Its head (tool,
// command) is left to the caller.
func Run(ctx context.Context, config Config) (history.Run, error) {
	config = config.resolve()
	run := history.Run{
		Format: history.Format, Kind: history.KindGate, Started: time.Now(), Seed: config.Seed, Verdict: history.Unknown,
		MigrationsDir: config.Set.Dir, Layout: string(config.Set.Layout),
		Server: history.Server{
			Provider: config.Server.Provider, Where: config.Server.Where, Release: config.Server.Release, Ready: history.Duration(config.Server.Ready),
		},
		Gate: &history.Gate{Base: config.Base, Rows: config.Rows, MaxStall: history.Duration(config.MaxStall)},
	}
	err := config.judge(ctx, run.Gate)
	run.Elapsed = history.Since(run.Started)
	run.Verdict = history.Held
	for _, m := range run.Gate.Migrations {
		run.Verdict = history.Worst(run.Verdict, m.Verdict)
	}
	if err != nil {
		run.Verdict = history.Worst(run.Verdict, history.Unknown)
		run.Trouble = err.Error()
		if errors.Is(err, context.Canceled) {
			run.Trouble = "interrupted"
		}
	}
	return run, err
}

// judge judges all versions.
func (c Config) judge(ctx context.Context, gate *history.Gate) (err error) {
	at, applied := c.Server.Blank(), int64(-1) // where we are: all migrations up to it are applied
	defer func() { err = errors.Join(err, at.Drop(context.WithoutCancel(ctx))) }()
	for i, version := range c.Versions {
		m, found := c.Set.At(version)
		if !found {
			return fmt.Errorf("there is no migration %d in %s; try one of %d", version, c.Set.Dir, c.Set.Versions())
		}
		var earlier []migrations.Migration
		for _, one := range c.Set.UpTo(0) {
			if one.Version > applied && one.Version < version {
				earlier = append(earlier, one)
			}
		}
		before, err := at.Extend(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
			for _, one := range earlier {
				c.Progress(i, len(c.Versions), "applying "+one.Label())
				var err error
				if applied < 0 { // all at once
					_, err = c.Set.Apply(ctx, config, earlier[len(earlier)-1].Version)
				} else {
					_, err = c.Set.ApplyOne(ctx, config, one.Version)
				}
				if err != nil {
					return fmt.Errorf("a migration before the one to judge does not apply; try judging it first, with --from: %w", err)
				}
				if applied < 0 {
					break
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := at.Drop(ctx); err != nil {
			return err
		}
		at = before
		if len(earlier) > 0 {
			applied = earlier[len(earlier)-1].Version
		}
		j := &judge{Config: c, migration: m, before: before, clones: new(atomic.Int32), judged: history.Judged{Migration: history.Migration{
			Version: m.Version, Label: m.Label(), Path: m.Path, Checksum: m.Checksum,
		}}}
		j.step = func(what string) { c.Progress(i, len(c.Versions), fmt.Sprintf("%s: %s", m.Label(), what)) }
		j.Set.Migrations = slices.Clone(c.Set.UpTo(version))
		err = j.run(ctx)
		gate.Migrations = append(gate.Migrations, j.judged)
		if err != nil {
			return err
		}
	}
	return nil
}
