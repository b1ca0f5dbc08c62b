package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/scenarios"
)

type checkCommand struct {
	Window  time.Duration `help:"How far apart two schedules of a device must be." default:"30m"`
	Timeout time.Duration `help:"The longest that one query may take." default:"5m"`
	Rows    int           `help:"The most groups to list of each invariant; all are counted." default:"10000"`
	Plans   bool          `help:"Show the plan of each query."`
}

func (c *checkCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	if !isDSN(pg.Postgres) {
		return usage("check looks at a database of yours; try: interlock check --postgres postgres://user@host/database")
	}
	if c.Window <= 0 || c.Timeout <= 0 || c.Rows <= 0 {
		return usage("--window, --timeout and --rows must be more than 0")
	}
	database, err := pgx.ParseConfig(pg.Postgres)
	if err != nil {
		return exit{exitUsage, err}
	}
	result, err := check.Run(ctx, check.Config{
		Invariants: scenarios.StateInvariants(c.Window), Indexes: scenarios.Indexes(c.Window), StatementTimeout: c.Timeout, Rows: c.Rows, Plans: c.Plans,
	}, database)
	if err != nil {
		return err
	}
	result.Tool, result.Command = harness.Tool(), redactAll(os.Args)
	if err := out.saveAndPrint(filepath.Join(out.Out, "check.json"), result); err != nil {
		return err
	}
	return verdict(result)
}
