package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Schema is where the tables of [Table] are: notify_watch, notify_message and notify_destination.
const Schema = "interlock"

// The advisory lock keeps two instances that both find no tables from failing each other.
const makeTables = `
select pg_advisory_xact_lock(hashtextextended('interlock notify', 0));
create schema if not exists interlock;
create table if not exists interlock.notify_watch (
	watch text primary key,
	state json not null default '{}'
);
create table if not exists interlock.notify_message (
	seq         bigint generated always as identity primary key,
	destination text not null,
	watch       text not null,
	dead        boolean not null,
	message     json not null
);
create index if not exists notify_message_destination on interlock.notify_message (destination, seq);
create index if not exists notify_message_watch on interlock.notify_message (watch, seq);
create table if not exists interlock.notify_destination (
	destination  text primary key,
	claim        text,
	leased_until timestamptz
);
comment on table interlock.notify_watch is 'what Interlock has told of each watch, format 1';
comment on table interlock.notify_message is 'what Interlock has still to tell';
comment on table interlock.notify_destination is 'which instance of Interlock sends to whom'`

// Table is an outbox in a database, which any number of instances share.
type Table struct {
	pool  *pgxpool.Pool
	where string
}

// OpenTable opens the outbox in a database; with make set, it makes the tables where there are none.
func OpenTable(ctx context.Context, database *pgx.ConnConfig, mayCreate bool) (_ *Table, err error) {
	t := &Table{where: fmt.Sprintf("schema %s of database %s on %s:%d", Schema, database.Database, database.Host, database.Port)}
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("opening the outbox: %w; try without PG… in the environment", err)
	}
	config.ConnConfig = database.Copy()
	config.ConnConfig.RuntimeParams["application_name"] = "interlock notify"
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	config.MinConns, config.MaxConns = 0, 2
	if t.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("opening the outbox in %s: %w; try psql with the same DSN", t.where, err)
	}
	defer func() {
		if err != nil {
			t.pool.Close()
		}
	}()
	var there, readOnly bool
	err = t.pool.QueryRow(ctx, `select count(to_regclass('interlock.' || name)) = 3, pg_is_in_recovery() or current_setting('transaction_read_only')::bool
		from unnest(array['notify_watch', 'notify_message', 'notify_destination']) name`).Scan(&there, &readOnly)
	switch {
	case err != nil:
		return nil, fmt.Errorf("opening the outbox in %s: %w; try psql with the same DSN", t.where, err)
	case readOnly:
		return nil, fmt.Errorf("opening the outbox in %s: %w; try a state file", t.where, ErrReadOnly)
	case there:
		return t, nil
	case !mayCreate:
		return nil, fmt.Errorf("opening the outbox in %s: %w; allow them to be made, or try a state file", t.where, ErrNoTables)
	}
	err = pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, makeTables, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making the outbox in %s: %w; try a role that may create a schema in this database, or a state file", t.where, readOnlyError(err))
	}
	return t, nil
}

// What is wrong with a database for an outbox.
var (
	ErrReadOnly = errors.New("the database is read only")
	ErrNoTables = errors.New("there are no tables of Interlock")
)

// readOnlyError makes a refusal to write recognizable.
func readOnlyError(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "25006" && !errors.Is(err, ErrReadOnly) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

// tableTimeout is how long one thing may take, where the network does not answer.
const tableTimeout = 30 * time.Second

// write does something in one transaction of short waits.
func (t *Table) write(ctx context.Context, do func(pgx.Tx) error) error {
	ctx, stop := context.WithTimeout(ctx, tableTimeout)
	defer stop()
	err := pgx.BeginTxFunc(ctx, t.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `set local lock_timeout = '5s'; set local statement_timeout = '10s'; set local idle_in_transaction_session_timeout = '30s'`,
			pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			err = do(tx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("writing to the outbox in %s: %w", t.where, readOnlyError(err))
	}
	return nil
}

// Read implements [Outbox].
func (t *Table) Read(ctx context.Context, watch string) (State, error) {
	ctx, stop := context.WithTimeout(ctx, tableTimeout)
	defer stop()
	var state State
	err := t.pool.QueryRow(ctx, `select state from interlock.notify_watch where watch = $1`, watch).Scan(&state)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return State{}, fmt.Errorf("reading the outbox in %s: %w", t.where, err)
	}
	return state, nil
}

// Update implements [Outbox].
func (t *Table) Update(ctx context.Context, watch string, change func(*Book)) error {
	return t.write(ctx, func(tx pgx.Tx) error {
		var book Book
		if _, err := tx.Exec(ctx, `insert into interlock.notify_watch (watch) values ($1) on conflict do nothing`, watch); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `select state from interlock.notify_watch where watch = $1 for update`, watch).Scan(&book.State)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `select seq, message from interlock.notify_message where watch = $1 order by seq for update`, watch)
		if book.Queue, err = pgx.CollectRows(rows, scanMessage); err != nil {
			return err
		}
		was := map[int64]string{}
		for _, m := range book.Queue {
			was[m.Seq] = jsonOf(m)
		}
		change(&book)
		if _, err := tx.Exec(ctx, `update interlock.notify_watch set state = $2::text::json where watch = $1`, watch, jsonOf(book.State)); err != nil {
			return err
		}
		var batch pgx.Batch
		for _, m := range book.Queue {
			switch text := jsonOf(m); {
			case m.Seq == 0:
				batch.Queue(`insert into interlock.notify_message (destination, watch, dead, message) values ($1, $2, $3, $4::text::json)`, m.Destination, watch, m.Dead, text)
			case text != was[m.Seq]:
				batch.Queue(`update interlock.notify_message set dead = $2, message = $3::text::json where seq = $1`, m.Seq, m.Dead, text)
			}
			delete(was, m.Seq)
		}
		for seq := range was {
			batch.Queue(`delete from interlock.notify_message where seq = $1`, seq)
		}
		if batch.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}

// Claim implements [Outbox].
func (t *Table) Claim(ctx context.Context, destination string, now time.Time, lease time.Duration) (c Claim, err error) {
	err = t.write(ctx, func(tx pgx.Tx) error {
		c = Claim{}
		err := tx.QueryRow(ctx, `select count(*) filter (where not dead), count(*) filter (where dead) from interlock.notify_message where destination = $1`,
			destination).Scan(&c.Queued, &c.Dead)
		if err != nil || c.Queued == 0 {
			return err
		}
		if _, err = tx.Exec(ctx, `insert into interlock.notify_destination (destination) values ($1) on conflict do nothing`, destination); err != nil {
			return err
		}
		var free bool
		err = tx.QueryRow(ctx, `select coalesce(leased_until <= clock_timestamp(), true) from interlock.notify_destination where destination = $1
			for update skip locked`, destination).Scan(&free)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !free {
			c.Taken = true
			return nil
		}
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `select seq, message from interlock.notify_message where destination = $1 and not dead order by seq limit 1 for update`, destination)
		m, err := pgx.CollectExactlyOneRow(rows, scanMessage)
		if errors.Is(err, pgx.ErrNoRows) { // it was taken over meanwhile
			c.Due = now
			return nil
		}
		if err != nil {
			return err
		}
		if !m.due(now) {
			c.Due = m.Due
			return nil
		}
		m.begin()
		c.Message = &m
		_, err = tx.Exec(ctx, `update interlock.notify_message set message = $2::text::json where seq = $1`, m.Seq, jsonOf(m))
		if err == nil {
			_, err = tx.Exec(ctx, `update interlock.notify_destination set claim = $2, leased_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
				where destination = $1`, destination, m.Claim, lease.Microseconds())
		}
		return err
	})
	if err != nil {
		return Claim{}, err
	}
	return c, nil
}

// Finish implements [Outbox]. It takes its locks in the order in which Claim does.
func (t *Table) Finish(ctx context.Context, m Message, o Outcome) error {
	return t.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update interlock.notify_destination set claim = null, leased_until = null where destination = $1 and claim = $2`, m.Destination, m.Claim)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `select seq, message from interlock.notify_message
			where destination = $1 and message -> 'event' ->> 'id' = $2 for update`, m.Destination, m.Event.ID)
		now, err := pgx.CollectExactlyOneRow(rows, scanMessage)
		switch left, keep := now.finish(m.Claim, o); {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		case keep:
			_, err = tx.Exec(ctx, `update interlock.notify_message set dead = $2, message = $3::text::json where seq = $1`, left.Seq, left.Dead, jsonOf(left))
		default:
			_, err = tx.Exec(ctx, `delete from interlock.notify_message where seq = $1`, left.Seq)
		}
		return err
	})
}

// Watches implements [Outbox].
func (t *Table) Watches(ctx context.Context) ([]string, error) {
	ctx, stop := context.WithTimeout(ctx, tableTimeout)
	defer stop()
	rows, _ := t.pool.Query(ctx, `select watch from interlock.notify_watch order by watch`)
	watches, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("reading the outbox in %s: %w", t.where, err)
	}
	return watches, nil
}

func (t *Table) String() string { return t.where }

// Close implements [Outbox].
func (t *Table) Close() error {
	t.pool.Close()
	return nil
}

func scanMessage(row pgx.CollectableRow) (Message, error) {
	var seq int64
	var text []byte
	if err := row.Scan(&seq, &text); err != nil {
		return Message{}, err
	}
	m, err := readMessage(text)
	m.Seq = seq
	return m, err
}

// readMessage reads what jsonOf wrote.
func readMessage(text []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("reading a message of the outbox: %w", err)
	}
	if m.Event.Format > Format {
		return m, fmt.Errorf("a message of the outbox has format %d, and this Interlock knows %d; try a newer one", m.Event.Format, Format)
	}
	return m, nil
}

// jsonOf writes a message or a state, in ASCII: a database may have any encoding.
func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // facts are the one thing in it that can be no JSON, and are checked
		panic(err)
	}
	var out strings.Builder
	for _, c := range string(text) {
		switch {
		case c < 0x80:
			out.WriteRune(c)
		case c < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	return out.String()
}
