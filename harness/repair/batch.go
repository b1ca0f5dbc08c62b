package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
)

// Batch is one transaction of a repair: the groups of some keys.
type Batch struct {
	Repair string // the id under which rows are archived
	Rule   Rule
	Keys   []string

	// Planned are the groups to resolve, where they are exactly as planned; nil: all groups of the keys, whatever they are by now.
	Planned []history.RepairGroup

	LockTimeout time.Duration // how long to wait for one lock; 0: 1 s; negative: for ever
}

// Resolve resolves the groups of the batch, in one transaction, and returns what became of them. The archive must be there: see [Prepare].
func (b Batch) Resolve(ctx context.Context, conn *pgx.Conn) ([]history.RepairGroup, error) {
	var done []history.RepairGroup
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := settle(ctx, tx, b.LockTimeout); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, b.Rule.Lock, b.Keys); err != nil {
			return fmt.Errorf("locking what %s is about: %w", b.Rule.Invariant, err)
		}
		groups, err := b.Rule.read(ctx, tx, func() error { return nil }, b.Rule.Read, b.Keys)
		if err != nil {
			return err
		}
		var due []found
		if b.Planned == nil {
			due = groups
		} else {
			due, done = b.compare(groups)
		}
		for _, g := range due {
			state := history.RepairResolved
			if g.Why != "" {
				state = history.RepairStuck
			}
			done = append(done, b.Rule.recorded(g, state))
		}
		return b.cancel(ctx, tx, due)
	})
	return done, err
}

// compare returns the groups that are as planned, and what is to be said of the other planned ones.
func (b Batch) compare(groups []found) (due []found, refused []history.RepairGroup) {
	for _, planned := range b.Planned {
		planned.State = history.RepairGone
		for _, g := range groups {
			now := b.Rule.recorded(g, history.RepairPlanned)
			if now.Same(planned) {
				due, planned.State = append(due, g), history.RepairPlanned
				break
			}
			if now.Key == planned.Key && overlap(now, planned) {
				planned.State, planned.Why = history.RepairChanged, "it is not what it was when it was planned; try planning again"
			}
		}
		if planned.State != history.RepairPlanned {
			refused = append(refused, planned)
		}
	}
	return due, refused
}

// overlap reports whether two groups have a row in common.
func overlap(a, b history.RepairGroup) bool {
	rows := append(slices.Clone(a.Keep), a.Cancel...)
	return slices.ContainsFunc(append(slices.Clone(b.Keep), b.Cancel...), func(row history.RepairRow) bool {
		return slices.ContainsFunc(rows, func(other history.RepairRow) bool { return other.ID == row.ID })
	})
}

// cancel archives and cancels, in one statement, what is to go of groups whose rows are locked.
func (b Batch) cancel(ctx context.Context, tx pgx.Tx, groups []found) error {
	var ids, keys, notes []string
	for _, g := range groups {
		for _, row := range g.Cancel {
			ids, keys, notes = append(ids, row.ID), append(keys, g.key), append(notes, "interlock repair "+b.Repair+": "+row.Note)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, `
		with change as (
			select * from unnest($3::text[]::uuid[], $4::text[], $5::text[]) change (id, key, note)
		), was as materialized (
			select t.id, change.key, to_jsonb(t) as before from change join `+b.Rule.Table+` t using (id)
		), changed as (
			update `+b.Rule.Table+` t set `+b.Rule.Set+` from change where t.id = change.id returning t.id, to_jsonb(t) as after
		)
		insert into `+Archive+` (repair, relation, id, invariant, key, before, after)
		select $1::text, $2::text, id, $6::text, was.key, was.before, changed.after from was join changed using (id)`,
		b.Repair, b.Rule.Table, ids, keys, notes, b.Rule.Invariant)
	if err != nil {
		return fmt.Errorf("cancelling what breaks %s: %w", b.Rule.Invariant, err)
	}
	if int(tag.RowsAffected()) != len(ids) {
		return fmt.Errorf("cancelling what breaks %s: %d of %d rows could be changed; try a role that no trigger or policy of %s stops",
			b.Rule.Invariant, tag.RowsAffected(), len(ids), b.Rule.Table)
	}
	return nil
}

// settle sets what a transaction of a repair goes by: short waits, an end even if we stop answering, and times that print the same for everybody.
func settle(ctx context.Context, tx pgx.Tx, lockTimeout time.Duration) error {
	if lockTimeout == 0 {
		lockTimeout = time.Second
	}
	settings := fmt.Sprintf(`set local lock_timeout = %d; set local statement_timeout = '1min'; set local idle_in_transaction_session_timeout = '1min';
		set local timezone = 'UTC'; set local datestyle = 'ISO'`, max(lockTimeout.Milliseconds(), 0))
	_, err := tx.Exec(ctx, settings, pgx.QueryExecModeSimpleProtocol)
	return err
}

// attempts is how often a single item is tried.
const attempts = 3

// inBatches does items, so many at a time. A batch that did not get its locks is done again in halves; an item that cannot be had alone is given
// to lost, with the reason. It stops between batches when ctx is done; a batch that has begun is brought to its end.
func inBatches[T any](ctx context.Context, items []T, size int, do func(context.Context, []T) error, lost func(T, *pgconn.PgError)) error {
	for batch := range slices.Chunk(items, size) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		err := do(context.WithoutCancel(ctx), batch)
		var refused *pgconn.PgError
		for attempt := 1; attempt < attempts && len(batch) == 1 && errors.As(err, &refused) && passes(refused); attempt++ {
			err = do(context.WithoutCancel(ctx), batch)
		}
		switch {
		case err == nil:
		case !errors.As(err, &refused) || !passes(refused) && !taken(refused):
			return err
		case len(batch) == 1:
			lost(batch[0], refused)
		default:
			if err := inBatches(ctx, batch, (len(batch)+1)/2, do, lost); err != nil {
				return err
			}
		}
	}
	return nil
}

// passes reports whether a refusal may be another one, or none, the next time: a lock that was not to be had, a deadlock, a conflict.
func passes(e *pgconn.PgError) bool {
	return slices.Contains([]string{"55P03", "40P01", "40001"}, e.Code)
}

// taken reports whether a constraint refused what was to be restored.
func taken(e *pgconn.PgError) bool { return e.Code == "23505" || e.Code == "23P01" }
