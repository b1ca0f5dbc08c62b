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

// The advisory lock keeps two instances that both find no tables from failing each other. To create a schema takes a right on the database, also where
// it is there: who was given one made before may have none.
const makeTables = `
select pg_advisory_xact_lock(hashtextextended('interlock notify', 0));
do $$ begin if to_regnamespace('interlock') is null then create schema interlock; end if; end $$;
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
	role  string
}

// OpenTable opens the outbox in a database; where it may, it makes the tables if there are none.
func OpenTable(ctx context.Context, database *pgx.ConnConfig, mayCreate bool) (*Table, error) {
	t, err := newTable(ctx, database)
	if err != nil {
		return nil, err
	}
	if _, err := t.prepare(ctx, mayCreate); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// newTable returns an outbox of which nobody knows yet whether it is there.
func newTable(ctx context.Context, database *pgx.ConnConfig) (*Table, error) {
	t := &Table{where: fmt.Sprintf("schema %s of database %s on %s:%d", Schema, database.Database, database.Host, database.Port), role: database.User}
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
	config.MaxConnLifetime = time.Minute // what a session began with, such as default_transaction_read_only, stays with it
	if t.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("opening the outbox in %s: %w; try psql with the same DSN", t.where, err)
	}
	return t, nil
}

// standing is what a database is to an outbox in it.
type standing struct {
	readOnly  bool
	there     bool // the tables
	readable  bool // by our role; of those that are there
	writable  bool
	creatable bool // by our role
}

// It asks the catalog, which everybody may.
const askStanding = `
select pg_is_in_recovery() or current_setting('transaction_read_only')::bool,
	count(c.oid) = count(*),
	coalesce(bool_and(has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')), false),
	coalesce(bool_and(has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
		and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')), false),
	coalesce(bool_and(has_schema_privilege(n.oid, 'create')), has_database_privilege(current_database(), 'create'))
from unnest(array['notify_watch', 'notify_message', 'notify_destination']) name
	left join pg_namespace n on n.nspname = 'interlock'
	left join pg_class c on c.relnamespace = n.oid and c.relname = name`

// prepare finds out whether the tables can be written, and makes them if it may. The error is one of those below, or of the connection.
func (t *Table) prepare(ctx context.Context, mayCreate bool) (s standing, err error) {
	ctx, stop := context.WithTimeout(ctx, tableTimeout)
	defer stop()
	err = t.pool.QueryRow(ctx, askStanding).Scan(&s.readOnly, &s.there, &s.readable, &s.writable, &s.creatable)
	switch {
	case err != nil:
		return s, fmt.Errorf("opening the outbox in %s: %w; try psql with the same DSN", t.where, err)
	case s.readOnly:
		t.pool.Reset() // another session may be another one
		return s, fmt.Errorf("opening the outbox in %s: %w; try a state file", t.where, ErrReadOnly)
	case s.there && !s.writable:
		return s, fmt.Errorf("opening the outbox in %s: %w; try: grant interlock_outbox to %s (docs/deploy/role.sql), or a state file",
			t.where, ErrNoRight, pgx.Identifier{t.role}.Sanitize())
	case s.there:
		return s, nil
	case !mayCreate || !s.creatable:
		return s, fmt.Errorf("opening the outbox in %s: %w; try docs/deploy/role.sql, a role that may create a schema in this database, or a state file",
			t.where, ErrNoTables)
	}
	err = pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, makeTables, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("making the outbox in %s: %w; try a role that may create a schema in this database, or a state file", t.where, t.known(err))
	}
	return s, nil
}

// Why a database may not do for an outbox.
var (
	ErrReadOnly = errors.New("the database is read only")
	ErrNoTables = errors.New("there are no tables of Interlock")
	ErrNoRight  = errors.New("the role may not write the tables of Interlock")
)

// unwritable reports whether a database is there, and does not do.
func unwritable(err error) bool {
	return errors.Is(err, ErrReadOnly) || errors.Is(err, ErrNoTables) || errors.Is(err, ErrNoRight)
}

// known makes a refusal recognizable. A session that is read only is not used again: another one may not be.
func (t *Table) known(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !unwritable(err) {
		switch refused.Code {
		case "25006":
			err = fmt.Errorf("%w: %w", ErrReadOnly, err)
		case "42501":
			err = fmt.Errorf("%w: %w", ErrNoRight, err)
		case "42P01", "3F000":
			err = fmt.Errorf("%w: %w", ErrNoTables, err)
		}
	}
	if errors.Is(err, ErrReadOnly) {
		t.pool.Reset()
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
	if err = t.known(err); unwritable(err) {
		return fmt.Errorf("writing to the outbox in %s: %w; try a state file too, for such times", t.where, err)
	}
	if err != nil {
		return fmt.Errorf("writing to the outbox in %s: %w", t.where, err)
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
		return State{}, fmt.Errorf("reading the outbox in %s: %w", t.where, t.known(err))
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
		var readOnly bool
		err := tx.QueryRow(ctx, `select count(*) filter (where not dead), count(*) filter (where dead), current_setting('transaction_read_only')::bool
			from interlock.notify_message where destination = $1`, destination).Scan(&c.Queued, &c.Dead, &readOnly)
		if err == nil && readOnly { // also where there is nothing to send: somebody is to know that nobody could be told
			err = ErrReadOnly
		}
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
		// The id is looked for in the text: ->> refuses \uXXXX of all there is where the encoding of the database does not have one of them.
		rows, _ := tx.Query(ctx, `select seq, message from interlock.notify_message
			where destination = $1 and strpos(message::text, $2) > 0 for update`, m.Destination, `"id":`+jsonOf(m.Event.ID))
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
		return nil, fmt.Errorf("reading the outbox in %s: %w", t.where, t.known(err))
	}
	return watches, nil
}

// contents returns all there is, messages in their order.
func (t *Table) contents(ctx context.Context) (states map[string]State, queue []Message, err error) {
	ctx, stop := context.WithTimeout(ctx, tableTimeout)
	defer stop()
	states = map[string]State{}
	err = pgx.BeginTxFunc(ctx, t.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `select watch, state from interlock.notify_watch`)
		var watch string
		var state State
		_, err := pgx.ForEachRow(rows, []any{&watch, &state}, func() error {
			states[watch], state = state, State{}
			return nil
		})
		if err != nil {
			return err
		}
		rows, _ = tx.Query(ctx, `select seq, message from interlock.notify_message order by seq`)
		queue, err = pgx.CollectRows(rows, scanMessage)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the outbox in %s: %w", t.where, t.known(err))
	}
	return states, queue, nil
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
