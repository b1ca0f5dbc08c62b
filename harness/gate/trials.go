package gate

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/traffic"
)

// dirty plants rows that the new constraints must refuse.
func (j *judge) dirty(ctx context.Context) (history.Trial, error) {
	constraints, err := j.constraints(ctx)
	if err != nil {
		return history.Trial{}, err
	}
	config := plant.Config{Database: j.filled.Database, Apply: j.apply, File: j.migration.Path, Keys: j.Keys}
	if j.Domain != nil && j.Domain.Repair != nil {
		config.Repair = j.repair
	}
	trial, found, err := plant.Try(ctx, constraints, config)
	for _, f := range found {
		f.Trial = history.TrialDirty
		j.find(f)
	}
	return trial, err
}

// repair has the domain resolve rows, if it knows them.
func (j *judge) repair(ctx context.Context, config *pgx.ConnConfig) (string, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", err
	}
	fits := j.Domain.Fits(ctx, conn)
	if err := conn.Close(ctx); err != nil || fits != nil {
		return "", err
	}
	return j.Domain.Repair(ctx, config)
}

// live applies the migration among clients that read and write the tables that it touches.
func (j *judge) live(ctx context.Context) (history.Trial, error) {
	trial, found, report, err := traffic.Try(ctx, traffic.Config{
		Database: j.filled.Database, Apply: j.apply, Tables: j.touched(), MaxStall: j.MaxStall, File: j.migration.Path, Seed: j.Seed,
	})
	j.judged.Beside = report.Beside
	for _, f := range found {
		f.Trial = history.TrialLive
		var worst traffic.Held
		switch f.Rule {
		case traffic.StallsClients:
			worst = report.Locks[0]
			if f.Level == history.LevelNote && (worst.Held < time.Millisecond || report.During.Max <= report.Baseline.Max) {
				continue // nothing that anybody felt
			}
		case traffic.LockQueue:
			worst = slices.MaxFunc(report.Queued, func(a, b traffic.Held) int { return cmp.Compare(a.Behind, b.Behind) })
		case traffic.CannotBeRepeated:
			if f.SQLState == "42P07" && strings.Contains(strings.ToLower(f.Statement), "concurrently") {
				f.Level = history.LevelWarning // the trial that interrupts it says more
			}
		}
		if i := slices.IndexFunc(j.judged.Statements, func(s history.Statement) bool {
			return slices.ContainsFunc(s.Locks, func(l history.Lock) bool { return l.Table == worst.Table && l.Mode == worst.Mode })
		}); i >= 0 { // the statement that takes the lock, whatever the migration was at when it was seen
			f.Line, f.Statement = j.judged.Statements[i].Line, j.judged.Statements[i].SQL
		}
		j.find(f)
	}
	return trial, err
}

// touched returns the tables that were there before and that the migration locks.
func (j *judge) touched() (tables []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if _, before := j.was.Find(schema.Table, name); before && !seen[name] {
			seen[name] = true
			tables = append(tables, name)
		}
	}
	for _, s := range j.judged.Statements {
		for _, l := range s.Locks {
			add(l.Table)
		}
	}
	for _, s := range j.statements {
		for _, l := range s.Locks {
			add(l.Table)
		}
	}
	return tables
}
