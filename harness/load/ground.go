package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/wire"
)

// ground is what one subject is measured on: its database, and the clients in it.
type ground struct {
	db      *server.Database
	stream  race.Stream
	limit   time.Duration // of a wait for a lock, and for the application's reset
	control *pgx.Conn     // looks at invariants, keeps outcomes
	clients []*client
	hosted  *arena.Application // that the clients ask; nil: Postgres
	trouble error              // why it could not be judged
	told    [][]any            // what was told and is not known to be in the table of outcomes yet, as its rows
	sent    int                // so many of them were sent there, and the answer was lost

	before, after counts
}

// fill makes a template with the stream's rows.
func fill(ctx context.Context, t *server.Template, stream race.Stream) (*server.Template, error) {
	return t.Extend(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		if stream.Fill != nil {
			if err = arena.Guard(func() error { return stream.Fill(ctx, conn) }); err != nil {
				err = fmt.Errorf("filling its tables: %w", err)
			}
		}
		if err == nil {
			_, err = conn.Exec(ctx, outcomesTable, pgx.QueryExecModeSimpleProtocol)
		}
		if err == nil {
			_, err = conn.Exec(ctx, `vacuum analyze`)
		}
		return errors.Join(err, conn.Close(ctx))
	})
}

// schemaName is where the table of outcomes is: it has to survive the session, and the server's crash.
const schemaName = "interlock"

const outcomesTable = race.OutcomesTable + `; create schema ` + schemaName + `; create table ` + schemaName + `.interlock_outcomes (like interlock_outcomes);
	drop table pg_temp.interlock_outcomes`

// open clones a filled template and seats clients in it. An application has as long as limit to answer its reset, and to have a lock in the way.
func open(ctx context.Context, t *server.Template, stream race.Stream, clients int, limit time.Duration) (*ground, error) {
	db, err := t.Database(ctx)
	if err != nil {
		return nil, err
	}
	g := &ground{db: db, stream: stream, limit: limit}
	if err := g.connect(ctx); err != nil {
		return nil, errors.Join(err, g.close(context.WithoutCancel(ctx)))
	}
	if err := g.host(ctx); err != nil {
		return nil, errors.Join(err, g.close(context.WithoutCancel(ctx)))
	}
	for n := range clients {
		c := &client{n: n, config: db.Config(fmt.Sprintf("client %d", n+1))}
		if err := arena.Guard(func() error { c.next = stream.Client(n); return nil }); err != nil {
			return nil, errors.Join(err, g.close(context.WithoutCancel(ctx)))
		}
		if g.hosted != nil {
			c.instance = g.hosted.Instance
			g.clients = append(g.clients, c)
			continue
		}
		if c.conn, err = pgx.ConnectConfig(ctx, c.config); err != nil {
			return nil, errors.Join(fmt.Errorf("connecting client %d: %w", n+1, err), g.close(context.WithoutCancel(ctx)))
		}
		g.clients = append(g.clients, c)
	}
	return g, nil
}

// host starts the application that the clients ask, if there is one. Its gate holds nothing.
func (g *ground) host(ctx context.Context) (err error) {
	if g.stream.System == nil {
		return nil
	}
	if g.hosted, err = arena.Launch(ctx, g.stream.System, g.db, wire.New(wire.Config{}), nil); err != nil {
		return err
	}
	return g.hosted.Reset(ctx, g.limit)
}

// lost returns an error if the application has ended by itself.
func (g *ground) lost(ctx context.Context) error {
	if g.hosted == nil {
		return nil
	}
	return g.hosted.Lost(ctx)
}

// connect opens the control connection, if it is not open. What it writes lasts: outcomes that a crash takes back would make what they tell of look like
// more than was told.
func (g *ground) connect(ctx context.Context) (err error) {
	if g.control != nil && !g.control.IsClosed() {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, g.db.Config("control"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `select set_config('search_path', '`+schemaName+`, ' || current_setting('search_path'), false),
		set_config('synchronous_commit', 'local', false), set_config('lock_timeout', $1, false)`, fmt.Sprint(max(g.limit.Milliseconds(), 1)))
	if err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	g.control = conn
	return nil
}

// keep adds what clients were told to the table of outcomes. While the server does not serve, it is remembered.
func (g *ground) keep(ctx context.Context, records []record) error {
	for _, r := range records {
		row, err := r.row()
		if err != nil {
			return err
		}
		g.told = append(g.told, row)
	}
	err := g.connect(ctx)
	if err == nil && g.sent > 0 {
		err = g.resolve(ctx)
	}
	if err == nil {
		g.sent = len(g.told)
		_, err = g.control.CopyFrom(ctx, pgx.Identifier{schemaName, "interlock_outcomes"}, outcomeColumns, pgx.CopyFromRows(g.told))
	}
	switch {
	case err == nil:
		g.told, g.sent = g.told[:0], 0
	case !server.IsTrouble(err):
		g.sent = 0
	case ctx.Err() == nil:
		return nil
	}
	return err
}

// resolve finds out whether what was sent to the table of outcomes, without an answer, is there: all of it or nothing.
func (g *ground) resolve(ctx context.Context) error {
	there := false
	err := g.control.QueryRow(ctx, `select exists (select from interlock_outcomes where client = $1 and number = $2)`, g.told[0][:2]...).Scan(&there)
	if err == nil && there {
		g.told = g.told[g.sent:]
	}
	if err == nil {
		g.sent = 0
	}
	return err
}

var outcomeColumns = []string{
	"client", "number", "kind", "subject", "input", "outcome", "row_id", "sqlstate", "message", "attempts", "invoked", "returned",
}

// row returns the record as the table of outcomes has it.
func (r record) row() ([]any, error) {
	var input []byte
	if r.input != nil {
		var err error
		if input, err = json.Marshal(r.input); err != nil {
			return nil, fmt.Errorf("client %d, operation %d (%s): its input: %w", r.client+1, r.number+1, r.kind, err)
		}
	}
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return []any{
		fmt.Sprint(r.client), int32(r.number), r.kind, text(r.subject), json.RawMessage(input), string(r.outcome), text(r.rowID), text(r.sqlState), text(r.message), //nolint:gosec // a client does not do so many
		int32(r.attempts), r.invoked.Microseconds(), r.returned.Microseconds(), //nolint:gosec // nor tries
	}, nil
}

// look looks at the invariants that need nothing but the tables, or at the others. It returns those that are broken.
func (g *ground) look(ctx context.Context, outcomes bool, moment history.Moment) ([]history.Violation, error) {
	if err := g.connect(ctx); err != nil {
		return nil, err
	}
	var broken []history.Violation
	for _, inv := range g.stream.Invariants {
		if inv.Outcomes != outcomes {
			continue
		}
		rows, err := inv.Offending(ctx, g.control)
		if err != nil {
			return broken, arena.Blocked(ctx, g.control, err)
		}
		if rows.Total > 0 || len(rows.Rows) > 0 {
			broken = append(broken, history.Violation{Invariant: inv.Name, Moment: moment, Rows: rows})
		}
	}
	return broken, nil
}

// settle waits until the server serves, and puts what is remembered into the table of outcomes.
func (g *ground) settle(ctx context.Context, deadline time.Time) error {
	short, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := g.keep(short, nil)
		if err == nil && len(g.told) == 0 {
			_, err = g.control.Exec(short, `analyze `+schemaName+`.interlock_outcomes`)
		}
		switch {
		case err == nil && len(g.told) == 0:
			return nil
		case err != nil && !server.IsTrouble(err) || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case time.Now().After(deadline):
			return errors.New("the server did not serve when all was over, so what clients were told could not be judged; look into its log, and try again")
		}
		_ = pause.For(short, wait)
	}
}

func (g *ground) close(ctx context.Context) error {
	if g.hosted != nil {
		_ = g.hosted.Close(ctx) // if it ended by itself, that has been said
	}
	for _, c := range g.clients {
		c.close(ctx)
	}
	if g.control != nil {
		_ = g.control.Close(ctx)
		<-g.control.PgConn().CleanupDone()
	}
	return g.db.Drop(ctx)
}
