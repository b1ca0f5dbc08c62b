package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/server"
)

const (
	shortest    = 300 * time.Millisecond // without the migration
	longestRest = 5 * time.Second        // without the migration, however long it takes
	mostTries   = 5                      // of a migration that lock_timeout refuses
)

// trial is a [Try] in the making.
type trial struct {
	Config
	report  Report
	other   time.Duration // the longest that the migration waited for transactions to end, with the long one open
	refused []string      // statements of clients that do not work even without the migration
	usual   []failing     // what fails now and then without the migration
	failed  error         // what the migration failed with while clients were at work
	stuck   error         // what it failed with behind a long transaction, when that had ended
}

// run measures. With an error of the migration's own it ends early and returns nil.
func (t *trial) run(ctx context.Context) (err error) {
	defer func() {
		for _, err := range []error{t.failed, t.stuck} {
			if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == deadlockDetected {
				t.report.Deadlocks++
				t.report.Deadlocked = append(t.report.Deadlocked, "the migration was refused: "+pg.Detail)
			}
		}
	}()
	t.report.During, err = t.phase(ctx, false, func(ctx context.Context, p *phase) error {
		began := time.Now()
		t.failed = t.apply(ctx, p.db)
		t.report.Applied = time.Since(began)
		return p.trouble(t.failed)
	}, &t.report.Locks)
	if err != nil || t.failed != nil {
		return err
	}
	t.report.Baseline, err = t.phase(ctx, false, func(ctx context.Context, _ *phase) error {
		return pause.For(ctx, min(max(t.report.Applied, shortest), longestRest))
	}, nil)
	if err != nil {
		return err
	}
	t.report.Beside[0].Usual = history.Duration(t.report.Baseline.Max)
	t.report.Queue, err = t.phase(ctx, true, t.behind, &t.report.Queued)
	if len(t.report.Beside) > 1 {
		t.report.Beside[1].Usual = t.report.Beside[0].Usual
	}
	return err
}

// apply applies the migration. If lock_timeout refuses it, it is applied again, a few times.
func (t *trial) apply(ctx context.Context, db *server.Database) error {
	for try := 1; ; try++ {
		err := t.Apply(ctx, db.Config(migrating))
		if err == nil || state(err) != lockNotAvailable || try == mostTries {
			return err
		}
		t.report.Refused++
	}
}

// behind applies the migration while a transaction is open that has read every table, as a report or a backup would have. That ends when the
// migration has waited for it for long enough, or has been refused.
func (t *trial) behind(ctx context.Context, p *phase) error {
	applied := make(chan error, 1)
	go func() { applied <- t.Apply(ctx, p.db.Config(migrating)) }()
	var failed error
	ended := false
	select {
	case failed = <-applied:
		ended = true
	case <-p.watcher.reached:
	}
	_, err := p.reader.Exec(ctx, `commit`)
	if err != nil {
		err = errors.Join(fmt.Errorf("ending the long transaction: %w", err), p.reader.Close(context.WithoutCancel(ctx)))
	}
	if !ended {
		failed = <-applied
	}
	if code := state(failed); err == nil && (code == lockNotAvailable || code == queryCanceled) {
		t.report.Refused++
		failed = t.apply(ctx, p.db)
	}
	t.stuck = failed
	return errors.Join(err, p.trouble(failed))
}

// collect adds what clients of a phase met. What they met without the migration is not its doing.
func (t *trial) collect(p *phase, migrates bool) {
	r := &t.report
	for _, c := range p.clients {
		for _, said := range c.refused {
			if !slices.Contains(t.refused, said) {
				t.refused = append(t.refused, said)
			}
		}
		if !migrates {
			for id := range c.failures {
				t.usual = append(t.usual, id)
			}
			continue
		}
		r.Deadlocks += len(c.deadlocks)
		r.Deadlocked = append(r.Deadlocked, c.deadlocks...)
		for _, f := range c.failures {
			r.Errors += f.Count
			same := slices.IndexFunc(r.Failures, func(o Failure) bool {
				return o.Table == f.Table && o.SQLState == f.SQLState && o.Statement == f.Statement
			})
			if same < 0 {
				r.Failures = append(r.Failures, *f)
			} else {
				r.Failures[same].Count += f.Count
			}
		}
	}
	slices.SortFunc(r.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.SQLState, b.SQLState), cmp.Compare(a.Statement, b.Statement))
	})
}
