package repair

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
)

// Undo restores the rows that a repair changed and that nobody has changed since, and says which it left as they are. The error is as for [Apply].
func Undo(ctx context.Context, config Config, id string, database *pgx.ConnConfig) (history.Run, error) {
	return with(ctx, config, database, func(j *job) error { return j.undo(ctx, id) })
}

// relation is what a repair changed in one table.
type relation struct {
	name    string   // as SQL names it
	stored  string   // as the archive has it
	columns []string // that the repair changed
	ids     []string
	keys    map[string]string // by id
}

func (j *job) undo(ctx context.Context, id string) error {
	relations, err := j.archived(ctx, id)
	if err != nil {
		return err
	}
	j.out.ID, j.out.Undone = id, &history.Undone{}
	for _, r := range relations {
		keep := func(id, why string) {
			j.out.Undone.Kept = append(j.out.Undone.Kept, history.ArchivedRow{Table: r.name, ID: id, Key: r.keys[id], Why: why})
		}
		done := 0
		err := inBatches(ctx, r.ids, j.Batch, func(ctx context.Context, ids []string) error {
			restored, err := j.restore(ctx, id, r, ids)
			if err != nil {
				return err
			}
			j.out.Undone.Restored += len(restored)
			for _, one := range ids {
				if !slices.Contains(restored, one) {
					keep(one, "it has been changed since, or is gone")
				}
			}
			done += len(ids)
			j.Progress(done, len(r.ids), "rows of "+r.name+" put back")
			return nil
		}, func(id string, why *pgconn.PgError) {
			said := fmt.Sprintf("%s (%s)", why.Message, why.Code)
			if taken(why) {
				said += fmt.Sprintf(": %s does not let it come back", why.ConstraintName)
			}
			keep(id, said)
			done++
		})
		if err != nil {
			return err
		}
	}
	j.run.Verdict = verdict(len(j.out.Undone.Kept))
	return nil
}

// archived returns what a repair changed and was not yet restored, by table.
func (j *job) archived(ctx context.Context, id string) ([]relation, error) {
	var there, known bool
	err := j.conn.QueryRow(ctx, `select to_regclass($1::text) is not null`, Archive).Scan(&there)
	if err == nil && there {
		err = j.conn.QueryRow(ctx, `select exists (select from `+Archive+` where repair = $1)`, id).Scan(&known)
	}
	if err != nil {
		return nil, fmt.Errorf("looking into the archive %s: %w", Archive, err)
	}
	if !known {
		return nil, fmt.Errorf("there is no repair %q in the archive; try: select distinct repair from %s", id, Archive)
	}
	// The planner takes a table that was filled a moment ago for one of a few rows.
	if _, err := j.conn.Exec(ctx, `analyze `+Archive); err != nil {
		return nil, err
	}
	rows, err := j.conn.Query(ctx, `
		select relation::regclass::text, relation, id::text, key,
			array(select k from jsonb_object_keys(after) k where before -> k is distinct from after -> k order by k)
		from `+Archive+` a where repair = $1 and undone_at is null order by a.relation, a.id`, id)
	if err != nil {
		return nil, err
	}
	var all []relation
	var name, stored, row, key string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&name, &stored, &row, &key, &columns}, func() error {
		if len(all) == 0 || all[len(all)-1].stored != stored {
			all = append(all, relation{name: name, stored: stored, keys: map[string]string{}})
		}
		r := &all[len(all)-1]
		r.ids, r.keys[row] = append(r.ids, row), key
		for _, c := range columns {
			if !slices.Contains(r.columns, c) {
				r.columns = append(r.columns, c)
			}
		}
		return nil
	})
	return all, err
}

// restore puts back, in one transaction, those of the rows that are still as the repair left them, and returns their ids.
func (j *job) restore(ctx context.Context, id string, r relation, ids []string) (restored []string, err error) {
	var columns, values []string
	for _, c := range r.columns {
		name := pgx.Identifier{c}.Sanitize()
		columns, values = append(columns, name), append(values, "was."+name)
	}
	err = pgx.BeginTxFunc(ctx, j.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := settle(ctx, tx, j.LockTimeout); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select from `+r.name+` where id = any ($1::text[]::uuid[]) order by id for update`, ids); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			with archived as materialized (
				select id, before, after from `+Archive+` where repair = $1 and relation = $2 and id = any ($3::text[]::uuid[]) and undone_at is null
			)
			update `+r.name+` t set (`+strings.Join(columns, ", ")+`) = row(`+strings.Join(values, ", ")+`)
			from archived a, jsonb_populate_record(null::`+r.name+`, a.before) was
			where t.id = a.id and case when t.id = a.id then to_jsonb(t) = a.after end -- not to be joined by: it is dear
			returning t.id::text`, id, r.stored, ids)
		if err != nil {
			return err
		}
		if restored, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update `+Archive+` set undone_at = now() where repair = $1 and relation = $2 and id = any ($3::text[]::uuid[])`,
			id, r.stored, restored)
		return err
	})
	return restored, err
}
