package monitor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	firstSlice = 64     // keys, of the first look in part
	leastSlice = 16     // keys
	mostSlice  = 50_000 // keys
	cheap      = 100 * time.Millisecond
)

// parts decides between looks at everything and looks in part, and makes them. A look works on a copy, which counts if it succeeds.
type parts struct {
	config *Config
	watch  Watch

	ended time.Time     // the latest look at everything, or a pass of slices from its beginning; zero: there was none
	cost  time.Duration // of the latest look at everything: its queries, and not what it waited for a connection
	owed  bool          // there was no look at everything since the latest one that took long, and failed
	why   string        // it failed
	whole time.Time     // everything was looked at since; zero: not yet

	led   bool      // there is an index that tells what has changed, and that was not too much
	since time.Time // what has changed by then was looked at
	now   time.Time // what has changed by then will have been

	after *string   // the next slice begins behind this key; nil: a pass begins
	began time.Time // the pass
	size  int       // of the next slice
}

// enough reports whether a look in part will do: everything was looked at so recently that to do it again would take more than half of the share of
// time that looks may take. The other half is for the looks in part. A look at everything that is cheap is never worth avoiding.
func (p *parts) enough(now time.Time) bool {
	if p.ended.IsZero() || p.cost <= cheap {
		return false
	}
	wait := rest(p.cost, p.config.Share/2)
	if p.led && !p.owed {
		wait = max(wait, p.config.Full)
	}
	return now.Sub(p.ended) < wait
}

// watermark is when the oldest transaction began that is not over: what has been written by others is to be seen, unless it was written in the
// transaction's first moments by a clock that is behind, or where our role or a replica does not see the transaction; see [Config.Overlap]. A prepared
// transaction began before it was prepared, but not long before. A replica has seen what was committed until the latest commit that it has replayed; one
// that has replayed none since it was started does not say.
const watermark = `
select least(clock_timestamp(),
	case when pg_is_in_recovery() then coalesce(pg_last_xact_replay_timestamp(), 'epoch') end,
	(select min(xact_start) from pg_stat_activity
		where pid <> pg_backend_pid() and datname = current_database() and backend_type is distinct from 'autovacuum worker'),
	(select min(prepared) from pg_prepared_xacts where database = current_database())) - $1 * interval '1 microsecond'`

// mark takes the watermark of the look that follows. Whatever ends between it and the look's snapshot was still in it.
func mark(ctx context.Context, tx pgx.Tx, overlap time.Duration) (at time.Time, err error) {
	err = tx.QueryRow(ctx, watermark, overlap.Microseconds()).Scan(&at)
	return at, err
}

// all looks at everything.
func (p *parts) all(ctx context.Context, tx pgx.Tx, t *tally, began time.Time) error {
	if err := t.read(ctx, tx, p.watch.All); err != nil {
		return err
	}
	p.owed, p.why, p.whole = false, "", began
	p.after = nil
	return p.follow(ctx, tx)
}

// follow finds out whether what changes from now on can be had from an index.
func (p *parts) follow(ctx context.Context, tx pgx.Tx) error {
	if p.watch.Changed == "" {
		return nil
	}
	rows, err := tx.Query(ctx, `explain (costs off) `+p.watch.Changed, pgx.QueryExecModeExec, p.now)
	if err != nil {
		return err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	p.led = !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "Seq Scan") })
	p.since = p.now
	return err
}

// look looks at what is known to be broken, at what has changed, and at the next slice of the rest. Where more has changed than is worth looking at key by
// key, it does without, and so do those that follow: from there on it can only become more, until the next look at everything.
func (p *parts) look(ctx context.Context, tx pgx.Tx, t *tally, known []Group, began time.Time) error {
	most := p.config.Groups
	keys := make([]string, 0, len(known)+p.size)
	for _, g := range known {
		keys = append(keys, g.Key)
	}
	if p.led {
		changed, err := keysOf(ctx, tx, fmt.Sprintf(`select distinct k from (%s) c (k) limit $2`, p.watch.Changed), p.since, most+1)
		if err != nil {
			return err
		}
		if p.led = len(changed) <= most; p.led {
			keys = append(keys, changed...)
		}
	}
	var last *string
	through := false
	if p.watch.Next != "" {
		slice, err := keysOf(ctx, tx, p.watch.Next, p.after, p.size)
		if err != nil {
			return err
		}
		keys = append(keys, slice...)
		if through = len(slice) < p.size; !through {
			last = &slice[len(slice)-1]
		}
	}
	asked := time.Now()
	if err := t.read(ctx, tx, p.watch.Some, keys); err != nil {
		return err
	}
	p.resize(time.Since(asked))
	if p.after == nil {
		p.began = began
	}
	if p.after = last; through {
		p.whole, p.owed, p.why = p.began, false, ""
		if p.began.After(p.ended) {
			p.ended = p.began
		}
	}
	p.since = p.now
	return nil
}

// resize makes the next slice take about as long as it ought to. Where everything at once takes too long, slices are all there is, and may have what
// looks in part may take.
func (p *parts) resize(took time.Duration) {
	ought := p.config.Part
	if p.owed {
		ought = max(ought, time.Duration(float64(p.config.Every)*p.config.Share/2))
	}
	factor := min(max(float64(ought)/float64(max(took, time.Microsecond)), 0.25), 2)
	p.size = min(max(int(float64(p.size)*factor), leastSlice), mostSlice)
}

func keysOf(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
