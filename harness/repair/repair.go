package repair

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
)

// Config says what to repair, and how.
type Config struct {
	Rules []Rule

	Batch       int           // keys in one transaction; 0: 500
	LockTimeout time.Duration // how long to wait for one lock; 0: 1 s
	Timeout     time.Duration // of one search for what breaks an invariant; 0: 5 min
	MaxRead     int           // rows that break the invariants, that a search has in memory: of more, the error is [ErrTooMany]; 0: any number

	Progress func(done, total int, what string) // nil: nobody wants to know
}

// ErrTooMany is wrapped by the error of a search that finds more than Config.MaxRead.
var ErrTooMany = errors.New("too many rows break the invariants")

func (c Config) resolve() Config {
	if c.Batch <= 0 {
		c.Batch = 500
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.Progress == nil {
		c.Progress = func(int, int, string) {}
	}
	return c
}

// Find looks for what breaks the invariants, in one read-only transaction, and returns what would become of it: a plan, as a run of kind repair
// without its head.
func Find(ctx context.Context, config Config, database *pgx.ConnConfig) (history.Run, error) {
	return with(ctx, config, database, func(j *job) error { return j.find(ctx) })
}

// Apply resolves the groups of a plan that [Find] returned, as they are by now; with exact set, only those that are exactly as planned. The error
// says what ended it early, a cancelled ctx included; the run has what was done until then.
func Apply(ctx context.Context, config Config, plan history.Repair, exact bool, database *pgx.ConnConfig) (history.Run, error) {
	return with(ctx, config, database, func(j *job) error { return j.apply(ctx, plan, exact) })
}

// job is one command at work.
type job struct {
	Config
	conn *pgx.Conn
	run  *history.Run
	out  *history.Repair
}

// with runs a job on a connection of its own.
func with(ctx context.Context, config Config, database *pgx.ConnConfig, do func(*job) error) (history.Run, error) {
	run := history.Run{Kind: history.KindRepair, Verdict: history.Unknown, Started: time.Now()}
	database = database.Copy()
	database.RuntimeParams["application_name"] = "interlock repair"
	if database.ConnectTimeout == 0 {
		database.ConnectTimeout = 10 * time.Second
	}
	conn, err := pgx.ConnectConfig(ctx, database)
	if err != nil {
		return run, fmt.Errorf("connecting to %s:%d: %w; try psql with the same DSN", database.Host, database.Port, err)
	}
	out := &history.Repair{Database: fmt.Sprintf("%s on %s:%d", database.Database, database.Host, database.Port), Groups: []history.RepairGroup{}}
	run.Repair, run.Server.Provider, run.Server.Where = out, "dsn", out.Database
	err = conn.QueryRow(ctx, `select split_part(current_setting('server_version'), ' ', 1)`).Scan(&run.Server.Release)
	if err == nil {
		err = do(&job{config.resolve(), conn, &run, out})
	}
	run.Elapsed = history.Since(run.Started)
	err = errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	if err != nil {
		run.Verdict, run.Trouble = history.Unknown, err.Error()
		return run, fmt.Errorf("repairing %s: %w", out.Database, err)
	}
	return run, nil
}

// find fills in the groups that there are.
func (j *job) find(ctx context.Context) error {
	groups, err := j.search(ctx)
	if err != nil {
		return err
	}
	j.out.Groups, j.out.Left, j.run.Verdict = groups, len(groups), verdict(len(groups))
	return nil
}

func verdict(left int) history.Verdict {
	if left > 0 {
		return history.Violated
	}
	return history.Held
}

// search returns the groups that there are, in one snapshot.
func (j *job) search(ctx context.Context) ([]history.RepairGroup, error) {
	groups := []history.RepairGroup{}
	err := pgx.BeginTxFunc(ctx, j.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := settle(ctx, tx, j.LockTimeout); err != nil {
			return err
		}
		settings := fmt.Sprintf(`set local statement_timeout = %d; set local work_mem = '256MB'`, j.Timeout.Milliseconds())
		if _, err := tx.Exec(ctx, settings, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		read := 0
		for _, rule := range j.Rules {
			taken := func() error {
				if read++; j.MaxRead > 0 && read > j.MaxRead {
					return fmt.Errorf("%w: more than %d; try: interlock repair --dry-run, which reads any number", ErrTooMany, j.MaxRead)
				}
				return nil
			}
			all, err := rule.read(ctx, tx, taken, rule.Find)
			if err != nil {
				return err
			}
			for _, g := range all {
				groups = append(groups, rule.recorded(g, history.RepairPlanned))
			}
		}
		return nil
	})
	return groups, err
}

// apply resolves the groups of a plan, and looks what is left.
func (j *job) apply(ctx context.Context, plan history.Repair, exact bool) error {
	if err := Prepare(ctx, j.conn); err != nil {
		return err
	}
	j.out.ID = newID(j.run.Started)
	for _, rule := range j.Rules {
		if err := j.resolveAll(ctx, rule, plan.Groups, exact); err != nil {
			return err
		}
	}
	left, err := j.search(ctx)
	if err != nil {
		return err
	}
	j.out.Left, j.run.Verdict = len(left), verdict(len(left))
	return nil
}

// resolveAll resolves the planned groups of one rule, batch by batch.
func (j *job) resolveAll(ctx context.Context, rule Rule, plan []history.RepairGroup, exact bool) error {
	var keys []string
	planned := map[string][]history.RepairGroup{}
	for _, g := range plan {
		if g.Invariant != rule.Invariant {
			continue
		}
		if _, seen := planned[g.Key]; !seen {
			keys = append(keys, g.Key)
		}
		planned[g.Key] = append(planned[g.Key], g)
	}
	done := 0
	return inBatches(ctx, keys, j.Batch, func(ctx context.Context, keys []string) error {
		batch := Batch{Repair: j.out.ID, Rule: rule, Keys: keys, LockTimeout: j.LockTimeout}
		if exact {
			batch.Planned = []history.RepairGroup{}
			for _, key := range keys {
				batch.Planned = append(batch.Planned, planned[key]...)
			}
		}
		resolved, err := batch.Resolve(ctx, j.conn)
		if err != nil {
			return err
		}
		j.out.Groups = append(j.out.Groups, resolved...)
		if !exact {
			j.out.Groups = append(j.out.Groups, gone(keys, planned, resolved)...)
		}
		done += len(keys)
		j.Progress(done, len(planned), "devices that break "+rule.Invariant)
		return nil
	}, func(key string, why *pgconn.PgError) {
		for _, g := range planned[key] {
			g.State, g.Why = history.RepairBusy, fmt.Sprintf("%s (%s); try again later", why.Message, why.Code)
			j.out.Groups = append(j.out.Groups, g)
		}
		done++
	})
}

// gone returns the planned groups of keys under which nothing was left to resolve.
func gone(keys []string, planned map[string][]history.RepairGroup, resolved []history.RepairGroup) []history.RepairGroup {
	there := map[string]bool{}
	for _, g := range resolved {
		there[g.Key] = true
	}
	var all []history.RepairGroup
	for _, key := range keys {
		for _, g := range planned[key] {
			if !there[key] {
				g.State = history.RepairGone
				all = append(all, g)
			}
		}
	}
	return all
}
